//! The wire, whoever asks: methods, sizes, time-outs, malformed bytes, request ids, and a problem on every error. Nothing
//! that a client sends may stop the server or make it answer anything but what the contract lists.

mod http;

use std::time::Duration;

use http::{ORDERS, Server, Settings, connect, get, post, wish};
use serde_json::json;

#[test]
fn an_unknown_route_is_a_problem_on_both_listeners() {
    let server = Server::empty();
    for path in ["/", "/v1", "/v1/activities/", "/v2/activities", "/v1/red-packets/1", "/v1/payments"] {
        server.shopper(7, get(path)).problem(404, "not_found");
        server.shopper(7, post(path).json(&json!({}))).problem(404, "not_found");
        server.operator(get(path)).problem(404, "not_found");
    }
    for path in ["/admin/v1/activities", "/admin/v1/red-packets", "/metrics", "/openapi.json", "/docs/"] {
        server.shopper(7, get(path)).problem(404, "not_found");
    }
    for path in ["/admin/v1/refund", "/admin/v1/red-packets/1", "/docs/nowhere.js"] {
        server.operator(get(path)).problem(404, "not_found");
    }
}

#[test]
fn another_method_is_refused_and_told_which_there_are() {
    let server = Server::empty();
    for (path, allow) in [
        ("/v1/activities", "GET, HEAD"),
        ("/v1/activities/1001", "GET, HEAD"),
        (ORDERS, "GET, HEAD, POST"),
        ("/v1/red-packets/1002/grabs", "GET, HEAD, POST"),
        ("/v1/flash-sales/1001/result", "GET, HEAD"),
        ("/v1/orders/1", "GET, HEAD"),
        ("/v1/orders/1/cancel", "POST"),
        ("/healthz", "GET, HEAD"),
        ("/readyz", "GET, HEAD"),
    ] {
        for method in ["DELETE", "PATCH", "PUT", "OPTIONS", "TRACE", "BREW"] {
            let reply = server.stranger(http::Request::new(method, path));
            reply.problem(405, "method_not_allowed");
            assert_eq!(reply.header("allow"), Some(allow), "{method} {path}");
        }
    }
    for (path, allow) in [
        ("/admin/v1/activities", "GET, HEAD"),
        ("/admin/v1/activities/1", "GET, HEAD, PUT"),
        ("/admin/v1/activities/1/reload", "POST"),
        ("/admin/v1/activities/1/stats", "GET, HEAD"),
        ("/metrics", "GET, HEAD"),
        ("/openapi.json", "GET, HEAD"),
        ("/docs/", "GET, HEAD"),
    ] {
        let reply = server.operator(http::Request::new("DELETE", path));
        reply.problem(405, "method_not_allowed");
        assert_eq!(reply.header("allow"), Some(allow), "{path}");
    }
}

#[test]
fn head_is_get_without_the_body() {
    let server = Server::selling(1);
    for path in ["/healthz", "/readyz", "/v1/activities", "/v1/activities/1001"] {
        let mut client = server.shopper_client();
        let token = server.token(7, None);
        let head = client.ask(&http::Request::new("HEAD", path).token(&token));
        // The connection is in step: no body followed.
        let whole = client.ask(&get(path).token(&token));
        assert_eq!((head.status, head.header("content-length")), (200, whole.header("content-length")), "{path}");
    }
}

#[test]
fn the_request_id_is_echoed_or_made_on_every_answer() {
    let server = Server::selling(1);
    for (path, status) in [("/healthz", 200), ("/v1/activities", 200), ("/nowhere", 404), ("/v1/orders/x", 400)] {
        let reply = server.shopper(7, get(path).header("X-Request-Id", "abc-123"));
        assert_eq!((reply.status, reply.header("x-request-id")), (status, Some("abc-123")), "{path}");
        for bad in ["", "with space", "\u{e9}", &"x".repeat(129)] {
            let reply = server.shopper(7, get(path).header("X-Request-Id", bad));
            let made = reply.header("x-request-id").expect("an id");
            assert!(reply.status == status && made.starts_with("test-"), "{path}: {made:?} for {bad:?}");
        }
    }
    let ids: std::collections::BTreeSet<String> =
        (0..20).map(|_| server.shopper(7, get("/healthz")).header("x-request-id").expect("an id").to_owned()).collect();
    assert_eq!(ids.len(), 20, "made ids differ");
}

#[test]
fn garbage_in_the_path_is_refused_in_words() {
    let server = Server::selling(1);
    let long = format!("/v1/activities/{}", "9".repeat(4_000));
    for (path, statuses) in [
        ("/v1/activities/%00", &[400][..]),
        ("/v1/activities/%ff", &[400]),
        ("/v1/activities/%", &[400]),
        ("/v1/activities/%zz", &[400]),
        ("/v1/activities/..", &[400, 404]),
        ("/v1/../v1/activities", &[404]),
        ("/v1/activities/1001%2f", &[400]),
        ("/v1/activities/-1", &[400]),
        ("/v1/activities/0", &[400]),
        ("/v1/activities/18446744073709551616", &[400]),
        ("/v1/activities/18446744073709551615", &[404]),
        (long.as_str(), &[400]),
        ("/v1//activities", &[404]),
        ("/v1/orders/1e3", &[400]),
        ("/v1/activities?limit=%ff", &[400]),
        ("/v1/activities?limit=0", &[400]),
        ("/v1/activities?limit=1001", &[400]),
        ("/v1/activities?limit=abc", &[400]),
        ("/v1/activities?state=asleep", &[400]),
        ("/v1/activities?kind=lottery", &[400]),
        ("/v1/activities?cursor=abc", &[400]),
        ("/v1/activities?limit=1&limit=2", &[400]),
        ("/v1/flash-sales/1001/result", &[400]),
        ("/v1/flash-sales/1001/result?sku_id=", &[400]),
        ("/v1/flash-sales/1001/result?sku_id=a%20b", &[400]),
        ("http://elsewhere/v1/nowhere", &[404]),
    ] {
        let reply = server.shopper(7, get(path));
        assert!(statuses.contains(&reply.status), "{path}: {reply:?}");
        let code = match reply.json()["code"].as_str() {
            Some(code @ ("malformed_request" | "not_found" | "activity_not_found")) => code.to_owned(),
            other => panic!("{path}: {other:?}"),
        };
        reply.problem(reply.status, &code);
    }
}

#[test]
fn a_head_too_large_is_431() {
    let server = Server::empty();
    let pad = "x".repeat(17_000);
    server.shopper(7, get("/healthz").header("Cookie", &pad)).problem(431, "headers_too_large");
    server.shopper(7, get(&format!("/v1/activities?cursor={pad}"))).problem(431, "headers_too_large");
    server.shopper(7, get(&format!("/{pad}"))).problem(431, "headers_too_large");
    // Beyond the framework's own buffer there is no request yet to answer with a problem: status only, then the end.
    let mut client = server.shopper_client();
    client.send(b"GET /healthz HTTP/1.1\r\n");
    let line = format!("X-Pad: {}\r\n", "x".repeat(4_000));
    while client.try_send(line.as_bytes()).is_ok() && !client_has_answer(&mut client) {}
    assert_eq!(client.reply().expect("an answer").status, 431);
    assert!(client.is_hung_up());
    server.shopper(7, get("/healthz")).ok(200);
}

fn client_has_answer(client: &mut http::Client) -> bool {
    !client.is_left_waiting(Duration::from_millis(1))
}

#[test]
fn bytes_that_are_no_http_end_the_connection_and_nothing_else() {
    let server = Server::empty();
    for garbage in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"[..],
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /v1/orders/1/cancel HTTP/1.1\r\nHost: x\r\nContent-Length: abc\r\n\r\n",
        b"POST /v1/orders/1/cancel HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/orders/1/cancel HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"POST /v1/orders/1/cancel HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        b"POST /v1/orders/1/cancel HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nA\0B: c\r\n\r\n",
    ] {
        let mut client = server.shopper_client();
        client.send(garbage);
        client.finish();
        if let Ok(reply) = client.reply() {
            assert!((400..500).contains(&reply.status), "{reply:?} for {garbage:?}");
        }
        assert!(client.is_hung_up(), "{garbage:?}");
    }
    server.shopper(7, get("/healthz")).ok(200);
}

#[test]
fn a_body_too_long_is_413_however_it_comes() {
    let server = Server::selling(1);
    let token = server.token(7, None);
    let long = json!({ "sku_id": "2001", "quantity": 1, "pad": "x".repeat(20_000) });
    server.shopper(7, post(ORDERS).json(&long)).problem(413, "payload_too_large");
    for path in [ORDERS, "/v1/orders/68719476737/cancel"] {
        for length in ["2147483648", "18446744073709551615", "16385"] {
            let mut client = server.shopper_client();
            let head = format!(
                "POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\
                 Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
            );
            client.send(head.as_bytes());
            client.reply().expect("at once").problem(413, "payload_too_large");
        }
    }
    assert_eq!(server.stats()["accepted"], 0);
}

#[test]
fn an_endless_body_is_cut_whether_or_not_anybody_reads_it() {
    let toml = "[limits]\nworkers = 1\nrequest_head_timeout_ms = 1000\n";
    let server = Server::selling_with(1, Settings { toml, ..Settings::default() });
    let token = server.token(7, None);
    for (path, status) in [(ORDERS, 413), ("/v1/orders/68719476737/cancel", 404), ("/nowhere", 404), ("/healthz", 405)]
    {
        let mut client = server.shopper_client();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        );
        client.send(head.as_bytes());
        let chunk = format!("1000\r\n{}\r\n", " ".repeat(4_096));
        for _ in 0..5 {
            client.send(chunk.as_bytes());
        }
        let reply = client.reply().expect("an answer while the body goes on");
        assert_eq!((reply.status, reply.header("connection")), (status, Some("close")), "{path}");
        let begun = std::time::Instant::now();
        while client.try_send(chunk.as_bytes()).is_ok() {
            assert!(begun.elapsed() < Duration::from_secs(15), "{path}: an endless body is cut");
        }
    }
    assert_eq!(server.stats()["accepted"], 0);
}

#[test]
fn a_stalled_body_is_408_and_a_stalled_head_is_cut() {
    let settings = Settings {
        toml: "[limits]\nworkers = 1\nbody_timeout_ms = 150\nrequest_head_timeout_ms = 1000\n",
        ..Settings::default()
    };
    let server = Server::selling_with(1, settings);
    let token = server.token(7, None);
    for rest in ["Content-Length: 100\r\n\r\n{\"sku_id\"", "Transfer-Encoding: chunked\r\n\r\n5\r\n{\"sku"] {
        let mut client = server.shopper_client();
        let head = format!("POST {ORDERS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n{rest}");
        client.send(head.as_bytes());
        client.reply().expect("an answer in time").problem(408, "request_timeout");
        assert!(client.is_hung_up(), "what follows could not be told apart from the body");
    }
    let mut client = server.shopper_client();
    client.send(b"GET /healthz HTT");
    assert_eq!(client.reply().expect("an answer in time").status, 408);
    assert!(client.is_hung_up());
    assert_eq!(server.stats()["accepted"], 0);
}

#[test]
fn a_connection_stays_in_step_whatever_becomes_of_a_body() {
    let server = Server::selling(5);
    let token = server.token(7, None);
    // A body on routes that read none, and on refusals that come before it is read: never taken for a request.
    let smuggled = "POST /v1/flash-sales/1001/orders HTTP/1.1\r\nHost: x\r\n\r\n";
    for (path, status) in [
        ("/v1/orders/68719476999/cancel", 404),
        ("/v1/activities", 405),
        ("/nowhere", 404),
        ("/v1/flash-sales/0/orders", 400),
    ] {
        let mut client = server.shopper_client();
        let request = post(path).token(&token).text(smuggled).wire();
        client.send(&request);
        client.send(&get("/healthz").wire());
        assert_eq!(client.reply().expect("an answer").status, status, "{path}");
        // Either the connection ends here, or the next answer is the next request's.
        if let Ok(reply) = client.reply() {
            reply.ok(200);
        }
    }
    // Pipelined requests are answered in order.
    let mut client = server.shopper_client();
    let mut wire = Vec::new();
    for user in 1..=5 {
        wire.extend(post(ORDERS).token(&server.token(user, None)).json(&wish(1)).wire());
    }
    wire.extend(get("/v1/activities/1001").token(&token).wire());
    client.send(&wire);
    let slots: Vec<_> = (0..5).map(|_| client.reply().expect("an answer").ok(201)["slots"][0].clone()).collect();
    assert_eq!(slots, [1, 2, 3, 4, 5]);
    assert_eq!(client.reply().expect("an answer").ok(200)["skus"][0]["remaining"], 0);
}

#[test]
fn expect_continue_is_answered_before_the_body() {
    let server = Server::selling(1);
    let token = server.token(7, None);
    let body = wish(1).to_string();
    let mut client = server.shopper_client();
    let head = format!(
        "POST {ORDERS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nExpect: 100-continue\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    client.send(head.as_bytes());
    assert_eq!(client.head().expect("an answer").status, 100);
    client.send(body.as_bytes());
    client.reply().expect("an answer").ok(201);
}

#[test]
fn another_content_type_is_415_and_none_is_taken_for_json() {
    let server = Server::selling(9);
    let body = wish(1).to_string();
    for bad in
        ["text/plain", "application/x-www-form-urlencoded", "application/jsonx", "", "multipart/form-data; boundary=x"]
    {
        let reply = server.shopper(7, post(ORDERS).header("Content-Type", bad).text(&body));
        reply.problem(415, "unsupported_media_type");
    }
    for (user, good) in ["application/json", "application/json; charset=utf-8", "Application/JSON"].iter().enumerate() {
        server.shopper(user as u64, post(ORDERS).header("Content-Type", good).text(&body)).ok(201);
    }
    server.shopper(8, post(ORDERS).text(&body)).ok(201);
}

#[test]
fn a_page_of_another_origin_may_read_answers_and_problems_alike() {
    let settings = Settings {
        toml: "[shopper]\nlisten = '127.0.0.1:0'\ncors_origins = ['https://shop.example']\n",
        ..Settings::default()
    };
    let server = Server::selling_with(2, settings);
    let preflight = |origin: &str, method: &str| {
        http::Request::new("OPTIONS", ORDERS)
            .header("Origin", origin)
            .header("Access-Control-Request-Method", method)
            .header("Access-Control-Request-Headers", "authorization, idempotency-key, content-type")
    };
    let allowed = server.stranger(preflight("https://shop.example", "POST"));
    assert_eq!((allowed.status, allowed.header("access-control-allow-origin")), (200, Some("https://shop.example")));
    assert!(allowed.header("x-request-id").is_some());
    for (origin, method) in [("https://evil.example", "POST"), ("https://shop.example", "DELETE")] {
        let refused = server.stranger(preflight(origin, method));
        refused.problem(400, "malformed_request");
        assert_eq!(refused.header("access-control-allow-origin"), None);
    }
    let asked = |request: http::Request| server.shopper(7, request.header("Origin", "https://shop.example"));
    let bought = asked(post(ORDERS).json(&wish(1)));
    bought.ok(201);
    let refused = asked(post(ORDERS).json(&wish(1)));
    refused.problem(409, "limit_reached");
    let stranger = server.stranger(get("/v1/activities").header("Origin", "https://shop.example"));
    stranger.problem(401, "unauthenticated");
    for reply in [bought, refused, stranger] {
        assert_eq!(reply.header("access-control-allow-origin"), Some("https://shop.example"), "{reply:?}");
        assert!(
            reply
                .header("access-control-expose-headers")
                .is_some_and(|names| names.to_lowercase().contains("retry-after"))
        );
        assert!(reply.header("vary").is_some_and(|names| names.to_lowercase().contains("origin")), "{reply:?}");
    }
    // Without origins there is no such answer.
    let server = Server::empty();
    assert_eq!(server.stranger(preflight("https://shop.example", "POST")).status, 405);
}

#[test]
fn a_client_that_goes_away_in_the_middle_harms_nobody() {
    let server = Server::selling(10);
    for cut in [10, 60, 200, 400] {
        let wire = post(ORDERS).token(&server.token(cut, None)).json(&wish(1)).wire();
        let mut client = connect(server.shopper);
        client.send(&wire[..wire.len().min(usize::try_from(cut).expect("small"))]);
    }
    let before = server.stats();
    assert_eq!(before["skus"][0]["stock"], 10);
    server.shopper(7, post(ORDERS).json(&wish(1))).ok(201);
    server.stop_and_audit();
}
