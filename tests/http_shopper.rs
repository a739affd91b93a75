//! A shopper's routes: every field of every success, every refusal in its order of precedence, keys in every state.

mod http;

use http::{
    NOW_MS, ORDERS, PAYMENT_WINDOW_S, Reply, Request, SALE, Server, Settings, get, post, put, sale, sale_with, wish,
};
use serde_json::{Value, json};

const START_MS: u64 = NOW_MS - 60_000;
const END_MS: u64 = NOW_MS + 3_600_000;

fn buy(server: &Server, user: u64) -> Value {
    server.shopper(user, post(ORDERS).json(&wish(1))).ok(201)
}

fn id_of(order: &Value) -> String {
    order["order_id"].as_str().expect("an id is a string").to_owned()
}

fn cancel(order: &Value) -> Request {
    post(&format!("/v1/orders/{}/cancel", id_of(order)))
}

#[test]
fn the_lists_and_the_detail_have_the_contracts_fields() {
    let server = Server::selling(10);
    let later = json!({ "title": "Later", "starts_at": "2026-11-12T00:00:00+08:00", "ends_at": "2026-11-12T01:00:00+08:00",
        "skus": [{ "sku_id": "b.2-x_Y", "title": "B", "price_cents": 0, "stock": 0 }] });
    server.operator(put("/admin/v1/activities/1002", &sale_with(1, later))).ok(201);
    buy(&server, 7);
    let line = |id: &str, title: &str, state: &str, starts: u64, ends: u64| {
        json!({ "activity_id": id, "kind": "flash_sale", "title": title, "state": state,
            "starts_at_ms": starts, "ends_at_ms": ends })
    };
    let first = line("1001", "Doorbuster phones", "running", START_MS, END_MS);
    let second = line("1002", "Later", "scheduled", 1_794_412_800_000, 1_794_416_400_000);
    let list = |query: &str| server.shopper(7, get(&format!("/v1/activities{query}"))).ok(200);
    let page = |activities: Value, next: Value| json!({ "server_time_ms": NOW_MS, "activities": activities, "next_cursor": next });
    for (query, expected) in [
        ("", page(json!([first, second]), Value::Null)),
        ("?limit=1", page(json!([first]), json!("1001"))),
        ("?limit=1&cursor=1001", page(json!([second]), Value::Null)),
        ("?limit=1000&cursor=1002", page(json!([]), Value::Null)),
        ("?state=scheduled", page(json!([second]), Value::Null)),
        ("?state=running&kind=flash_sale", page(json!([first]), Value::Null)),
        ("?state=paused", page(json!([]), Value::Null)),
        ("?kind=red_packet", page(json!([]), Value::Null)),
        ("?unknown=1", page(json!([first, second]), Value::Null)),
    ] {
        assert_eq!(list(query), expected, "{query}");
    }
    let detail = server.shopper(7, get("/v1/activities/1001")).ok(200);
    let sku = json!({ "sku_id": "2001", "title": "Phone", "price_cents": 199_900, "stock": 10, "remaining": 9 });
    for (name, value) in first.as_object().expect("an object") {
        assert_eq!(detail[name], *value, "the same plus its SKUs: {name}");
    }
    assert_eq!(detail["skus"], json!([sku]));
    server.shopper(7, get("/v1/activities/9")).problem(404, "activity_not_found");
    server.clock.advance_ms(3_600_000);
    assert_eq!(list("?state=ended")["activities"][0]["activity_id"], "1001", "the end is not in the window");
}

#[test]
fn an_order_has_the_contracts_fields_wherever_it_is_shown() {
    let server = Server::selling(10);
    let reply = server.shopper(
        7,
        post(ORDERS).json(&json!({
        "sku_id": "2001", "quantity": 1, "ref": "cart-7", "unknown": { "is": ["ignored"] } })),
    );
    let order = reply.ok(201);
    let id = id_of(&order);
    let path = format!("/v1/orders/{id}");
    assert_eq!(reply.header("location"), Some(path.as_str()));
    let expires = NOW_MS + PAYMENT_WINDOW_S * 1_000;
    for (name, value) in json!({ "activity_id": "1001", "sku_id": "2001", "quantity": 1, "amount_cents": 199_900,
        "slots": [1], "state": "held", "expires_at_ms": expires, "ref": "cart-7", "payments": [] })
    .as_object()
    .expect("an object")
    {
        assert_eq!(order[name], *value, "{name}");
    }
    assert!(order.get("user_id").is_none(), "a shopper knows who they are");
    assert_eq!(server.shopper(7, get(&path)).ok(200), order);
    assert_eq!(server.shopper(7, get(ORDERS)).ok(200)["orders"], json!([order]));
    assert_eq!(server.shopper(8, get(ORDERS)).ok(200)["orders"], json!([]));
    assert_eq!(
        server.shopper(7, get("/v1/flash-sales/1001/result?sku_id=2001")).ok(200),
        json!({ "result": id, "order_id": id, "state": "held", "expires_at_ms": expires })
    );
    let mut for_operator = order.clone();
    for_operator["user_id"] = json!("7");
    assert_eq!(server.operator(get(&format!("/admin/v1/orders/{id}"))).ok(200), for_operator);

    let mut cancelled = order.clone();
    cancelled["state"] = json!("cancelled");
    assert_eq!(server.shopper(7, cancel(&order)).ok(200), cancelled);
    assert_eq!(server.shopper(7, cancel(&order)).ok(200), cancelled, "twice is the same answer");
    // Without a ref there is none.
    assert_eq!(buy(&server, 8)["ref"], Value::Null);
    server.stop_and_audit();
}

#[test]
fn another_users_order_is_not_found() {
    let server = Server::selling(10);
    let order = buy(&server, 7);
    let id = id_of(&order);
    server.shopper(8, get(&format!("/v1/orders/{id}"))).problem(404, "order_not_found");
    server.shopper(8, cancel(&order)).problem(404, "order_not_found");
    for none in ["0", "1", "68719476738", "68719476736", "137438953473", "18446744073709551615"] {
        server.shopper(7, get(&format!("/v1/orders/{none}"))).problem(404, "order_not_found");
        server.shopper(7, post(&format!("/v1/orders/{none}/cancel"))).problem(404, "order_not_found");
    }
    for bad in ["x", "-1", "01", "1.0", "18446744073709551616", "%20"] {
        server.shopper(7, get(&format!("/v1/orders/{bad}"))).problem(400, "malformed_request");
        server.shopper(7, post(&format!("/v1/orders/{bad}/cancel"))).problem(400, "malformed_request");
    }
}

#[test]
fn the_result_is_never_back_to_none_but_after_a_cancel_or_an_expiry() {
    let server = Server::start(Settings::default());
    server.operator(put(SALE, &sale_with(10, json!({ "per_user_limit": 3 })))).ok(201);
    let result = |user| server.shopper(user, get("/v1/flash-sales/1001/result?sku_id=2001")).ok(200);
    let none = json!({ "result": "-1" });
    assert_eq!(result(7), none);
    let first = buy(&server, 7);
    assert_eq!(result(7)["result"], first["order_id"]);
    assert_eq!(result(8), none, "of this user");
    server.clock.advance_ms(1_000);
    let second = buy(&server, 7);
    assert_eq!(result(7)["result"], second["order_id"], "the newest live one");
    server.operator(post(&format!("{SALE}/pause"))).ok(200);
    assert_eq!(result(7)["result"], second["order_id"]);
    server.shopper(7, cancel(&second)).ok(200);
    assert_eq!(result(7)["result"], first["order_id"]);
    server.clock.advance_ms(PAYMENT_WINDOW_S * 1_000 - 1_001);
    assert_eq!(result(7)["result"], first["order_id"], "a millisecond before its time");
    server.clock.advance_ms(1);
    assert_eq!(result(7), none);
    server.shopper(7, get("/v1/flash-sales/9/result?sku_id=2001")).problem(404, "activity_not_found");
    server.shopper(7, get("/v1/flash-sales/1001/result?sku_id=nope")).problem(404, "sku_not_found");
}

#[test]
fn a_held_order_expires_at_its_instant_and_its_unit_is_sold_again() {
    let server = Server::selling(1);
    let order = buy(&server, 7);
    server.shopper(8, post(ORDERS).json(&wish(1))).problem(409, "sold_out");
    server.clock.advance_ms(PAYMENT_WINDOW_S * 1_000);
    let shown = server.shopper(7, get(&format!("/v1/orders/{}", id_of(&order)))).ok(200);
    assert_eq!((&shown["state"], &shown["slots"]), (&json!("expired"), &json!([1])));
    let problem = server.shopper(7, cancel(&order)).problem(409, "order_not_cancellable");
    assert_eq!(problem["state"], "expired");
    assert_eq!(buy(&server, 8)["slots"], json!([1]));
    server.stop_and_audit();
}

/// One request in the several worlds that give it each refusal; each has all the faults of those below it, too.
#[test]
fn a_purchase_is_refused_in_the_contracts_order() {
    let server = Server::empty();
    let world = |id: u32, fields: Value| {
        let path = format!("/admin/v1/activities/{id}");
        let mut fields = fields;
        fields["skus"] = json!([{ "sku_id": format!("s{id}"), "title": "t", "price_cents": 1, "stock": 1 }]);
        server.operator(put(&path, &sale_with(0, fields))).ok(201);
        path
    };
    let soon = json!({ "starts_at": "2026-11-11T00:00:01Z" });
    let over = json!({ "ends_at": "2026-11-11T00:00:00Z" });
    world(1, soon.clone());
    let paused_soon = world(2, soon);
    server.operator(post(&format!("{paused_soon}/pause"))).ok(200);
    world(3, over.clone());
    let paused_over = world(4, over);
    server.operator(post(&format!("{paused_over}/pause"))).ok(200);
    let closed = world(5, json!({ "starts_at": "2026-11-11T00:00:01Z" }));
    server.operator(post(&format!("{closed}/close"))).ok(200);
    let paused = world(6, json!({}));
    server.operator(post(&format!("{paused}/pause"))).ok(200);
    world(7, json!({ "per_user_limit": 2 }));
    let ask = |id: u32, body: Value| server.shopper(7, post(&format!("/v1/flash-sales/{id}/orders")).json(&body));
    let bad_sku = json!({ "sku_id": "none", "quantity": 0 });

    let orders = "/v1/flash-sales/99/orders";
    server.stranger(post(orders).header("Content-Type", "text/plain").text("{")).problem(401, "unauthenticated");
    server
        .shopper(7, post(orders).header("Content-Type", "text/plain").text("{"))
        .problem(415, "unsupported_media_type");
    server.shopper(7, post(orders).text("{")).problem(400, "malformed_request");
    ask(99, json!({ "sku_id": "none" })).problem(400, "malformed_request");
    ask(99, bad_sku.clone()).problem(404, "activity_not_found");
    for id in [1, 2] {
        let problem = ask(id, bad_sku.clone()).problem(409, "not_started");
        assert_eq!((&problem["starts_at_ms"], &problem["server_time_ms"]), (&json!(NOW_MS + 1_000), &json!(NOW_MS)));
    }
    for id in [3, 4, 5] {
        ask(id, bad_sku.clone()).problem(409, "ended");
    }
    ask(6, bad_sku.clone()).problem(409, "paused");
    ask(7, bad_sku).problem(404, "sku_not_found");
    ask(7, json!({ "sku_id": "s7", "quantity": 1 })).ok(201);
    for quantity in [0, -1, 3, 1_001] {
        let problem = ask(7, json!({ "sku_id": "s7", "quantity": quantity })).problem(422, "invalid_quantity");
        assert_eq!(problem["quantity_max"], 2);
    }
    // The door may say sold_out in place of limit_reached; a key goes to the shard, which says what is true first.
    let key = |body: Value, user| server.shopper(user, post("/v1/flash-sales/7/orders").key("k").json(&body));
    let problem = key(json!({ "sku_id": "s7", "quantity": 2 }), 7).problem(409, "limit_reached");
    assert_eq!(problem["order_ids"].as_array().expect("a list").len(), 1);
    key(json!({ "sku_id": "s7", "quantity": 1 }), 8).problem(409, "sold_out");
    ask(7, json!({ "sku_id": "s7", "quantity": 1 })).problem(409, "sold_out");
    server.stop_and_audit();
}

#[test]
fn a_window_is_closed_at_its_start_and_open_at_its_end() {
    let server = Server::empty();
    let window = json!({ "starts_at": "2026-11-11T00:00:01Z", "ends_at": "2026-11-11T00:00:02Z" });
    server.operator(put(SALE, &sale_with(9, window))).ok(201);
    let asked = |user| server.shopper(user, post(ORDERS).json(&wish(1)));
    server.clock.advance_ms(999);
    asked(1).problem(409, "not_started");
    server.clock.advance_ms(1);
    asked(1).ok(201);
    server.clock.advance_ms(999);
    asked(2).ok(201);
    server.clock.advance_ms(1);
    asked(3).problem(409, "ended");
}

#[test]
fn a_body_that_does_not_fit_is_malformed_and_a_wrong_quantity_is_not() {
    let server = Server::empty();
    server.operator(put(SALE, &sale_with(100, json!({ "per_user_limit": 5 })))).ok(201);
    let nested = format!(r#"{{"sku_id":"2001","quantity":1,"deep":{}1{}}}"#, "[".repeat(5_000), "]".repeat(5_000));
    let quantity = |text: &str| format!(r#"{{"sku_id":"2001","quantity":{text}}}"#);
    for text in [
        "0",
        "-1",
        "6",
        "1001",
        "9007199254740992",
        "9223372036854775808",
        "-9223372036854775809",
        "18446744073709551616",
        "1e30",
        "-1e30",
        "-0",
    ] {
        server.shopper(7, post(ORDERS).text(&quantity(text))).problem(422, "invalid_quantity");
    }
    let with_ref = |text: &str| format!(r#"{{"sku_id":"2001","quantity":1,"ref":{text}}}"#);
    let long = format!("\"{}\"", "x".repeat(65));
    for text in [
        "",
        " ",
        "null",
        "1",
        "\"x\"",
        "[]",
        "[1]",
        "[\"2001\",1]",
        "[\"2001\",1,null]",
        "{",
        "{}",
        "{\"sku_id\":\"2001\"}",
        "{\"quantity\":1}",
        "{'sku_id':'2001','quantity':1}",
        "{\"sku_id\":\"2001\",\"quantity\":1}}",
        "{\"sku_id\":\"2001\",\"quantity\":1,}",
        r#"{"sku_id":2001,"quantity":1}"#,
        r#"{"sku_id":"","quantity":1}"#,
        r#"{"sku_id":"a b","quantity":1}"#,
        r#"{"sku_id":"\ud800","quantity":1}"#,
        r#"{"sku_id":null,"quantity":1}"#,
        r#"{"sku_id":"2001","sku_id":"2001","quantity":1}"#,
        r#"{"sku_id":"2001","quantity":1,"quantity":1}"#,
        "\u{feff}{\"sku_id\":\"2001\",\"quantity\":1}",
        &quantity("1.5"),
        &quantity("\"1\""),
        &quantity("null"),
        &quantity("true"),
        &quantity("[1]"),
        &quantity("01"),
        &quantity("+1"),
        &quantity("NaN"),
        &quantity("1e400"),
        &quantity(""),
        &with_ref("1"),
        &with_ref("\"a b\""),
        &with_ref("\"\\u0000\""),
        &with_ref("\"\u{e9}\""),
        &with_ref(&long),
        &with_ref("[]"),
    ] {
        let reply = server.shopper(7, post(ORDERS).text(text));
        assert_eq!(reply.status, 400, "{text}: {}", reply.text());
        reply.problem(400, "malformed_request");
    }
    server
        .shopper(7, post(ORDERS).bytes(b"{\"sku_id\":\"2001\",\"quantity\":1,\"ref\":\"\xff\xfe\"}"))
        .problem(400, "malformed_request");
    server.shopper(7, post(ORDERS)).problem(400, "malformed_request");
    // What is odd and fits: unknown fields of whatever depth, escapes, spaces, an empty and an absent ref.
    for (user, text) in [
        nested.as_str(),
        r#"{"quantity":1,"sku_id":"\u0032001"}"#,
        " {\n\"sku_id\" : \"2001\" , \"quantity\":\t1 } ",
        &with_ref("\"\""),
        &with_ref("null"),
        r#"{"sku_id":"2001","quantity":1,"x":1,"x":2}"#,
    ]
    .iter()
    .enumerate()
    {
        server.shopper(100 + user as u64, post(ORDERS).text(text)).ok(201);
    }
    server.stop_and_audit();
}

#[test]
fn a_key_gives_the_same_order_in_every_state() {
    let server = Server::selling(2);
    let with_key = |body: Value| server.shopper(7, post(ORDERS).key("k-1").json(&body));
    let order = with_key(wish(1)).ok(201);
    let replays = |state: &str, when: &str| {
        // Whatever the order of names and the spaces between: the body is compared after parsing.
        for text in
            [r#"{"sku_id":"2001","quantity":1}"#, "{ \"quantity\" : 1,\n \"sku_id\":\"20\\u00301\", \"new\": 0 }"]
        {
            let reply = server.shopper(7, post(ORDERS).text(text).key("k-1"));
            let shown = reply.ok(200);
            assert_eq!((&shown["order_id"], &shown["state"]), (&order["order_id"], &json!(state)), "{when}");
            assert_eq!(reply.header("idempotent-replayed"), Some("true"), "{when}");
        }
        for other in [
            json!({ "sku_id": "2001", "quantity": 2 }),
            json!({ "sku_id": "2002", "quantity": 1 }),
            json!({ "sku_id": "2001", "quantity": 1, "ref": "x" }),
            json!({ "sku_id": "2001", "quantity": 0 }),
        ] {
            let reply = with_key(other);
            assert_eq!(reply.status, 422, "{when}: {}", reply.text());
            reply.problem(422, "idempotency_key_reused");
        }
    };
    replays("held", "running");
    server.shopper(8, post(ORDERS).json(&wish(1))).ok(201);
    replays("held", "sold out");
    server.operator(post(&format!("{SALE}/pause"))).ok(200);
    replays("held", "paused");
    server.clock.advance_ms(PAYMENT_WINDOW_S * 1_000);
    replays("expired", "paused");
    server.operator(post(&format!("{SALE}/resume"))).ok(200);
    replays("expired", "running again");
    // The key is spent; another key is another order.
    let again = server.shopper(7, post(ORDERS).key("k-2").json(&wish(1))).ok(201);
    assert_ne!(again["order_id"], order["order_id"]);
    server.clock.advance_ms(3_600_000);
    replays("expired", "ended");
    server.operator(post(&format!("{SALE}/close"))).ok(200);
    replays("expired", "closed");

    let server = Server::selling(2);
    let order = server.shopper(7, post(ORDERS).key("k-1").json(&wish(1))).ok(201);
    server.shopper(7, cancel(&order)).ok(200);
    let reply = server.shopper(7, post(ORDERS).key("k-1").json(&wish(1)));
    assert_eq!((&reply.ok(200)["state"], reply.header("idempotent-replayed")), (&json!("cancelled"), Some("true")));
    assert_eq!(server.metric("doorbuster_orders_accepted_total"), Some(1.0));
    assert_eq!(server.metric("doorbuster_orders_replayed_total"), Some(1.0));
    server.stop_and_audit();
}

#[test]
fn a_key_outlives_the_process() {
    let server = Server::selling(2);
    let order = server.shopper(7, post(ORDERS).key("k-1").json(&wish(1))).ok(201);
    let disk = server.disk.clone();
    server.stop_and_audit();
    let server = Server::start(Settings { disk, ..Settings::default() });
    let reply = server.shopper(7, post(ORDERS).key("k-1").json(&wish(1)));
    assert_eq!((reply.ok(200), reply.header("idempotent-replayed")), (order, Some("true")));
    assert_eq!(server.operator(put(SALE, &sale(2))).ok(200)["changes"], json!([]));
}

#[test]
fn a_keys_scope_is_user_and_path_and_a_refusal_is_not_stored() {
    let server = Server::selling(2);
    let other =
        json!({ "shared_sku": false, "skus": [{ "sku_id": "2002", "title": "t", "price_cents": 1, "stock": 2 }] });
    server.operator(put("/admin/v1/activities/1002", &sale_with(2, other))).ok(201);
    let mut ids = std::collections::BTreeSet::new();
    for (user, path, sku) in [(7, ORDERS, "2001"), (8, ORDERS, "2001"), (7, "/v1/flash-sales/1002/orders", "2002")] {
        let request = post(path).key("one key").key("x");
        server.shopper(user, request.json(&wish(1))).problem(400, "malformed_request");
        let body = json!({ "sku_id": sku, "quantity": 1 });
        ids.insert(id_of(&server.shopper(user, post(path).key("one-key").json(&body)).ok(201)));
    }
    assert_eq!(ids.len(), 3);
    let order = server.shopper(7, get(ORDERS)).ok(200)["orders"][0].clone();
    let cancelled = server.shopper(7, cancel(&order).key("one-key"));
    assert_eq!((&cancelled.ok(200)["state"], cancelled.header("idempotent-replayed")), (&json!("cancelled"), None));
    let again = server.shopper(7, cancel(&order).key("one-key"));
    assert_eq!((again.ok(200), again.header("idempotent-replayed")), (cancelled.json(), Some("true")));

    // A refusal is not stored: once there is a unit, the same key and body succeed.
    let server = Server::selling(0);
    let asked = || server.shopper(7, post(ORDERS).key("k").json(&wish(1)));
    asked().problem(409, "sold_out");
    asked().problem(409, "sold_out");
    server.operator(post(&format!("{SALE}/stock")).json(&json!({ "sku_id": "2001", "add": 1 }))).ok(200);
    asked().ok(201);
    asked().ok(200);
}

#[test]
fn a_key_is_one_header_of_1_to_64_visible_characters() {
    let server = Server::selling(9);
    let order = buy(&server, 1);
    let long = "x".repeat(65);
    for bad in ["", " ", "a b", "\u{e9}", "a\tb", &long] {
        server.shopper(7, post(ORDERS).key(bad).json(&wish(1))).problem(400, "malformed_request");
        server.shopper(1, cancel(&order).key(bad)).problem(400, "malformed_request");
        let stock = post(&format!("{SALE}/stock")).json(&json!({ "sku_id": "2001", "add": 1 }));
        for request in [
            stock,
            post(&format!("{SALE}/pause")),
            post("/admin/v1/reload"),
            put(SALE, &sale(8)),
            put(SALE, &json!({})),
        ] {
            server.operator(request.key(bad)).problem(400, "malformed_request");
        }
    }
    server.shopper(7, post(ORDERS).key("a").key("a").json(&wish(1))).problem(400, "malformed_request");
    for (user, good) in [(10, "x".repeat(64)), (11, "!\"#$%&'()*+,-./:;<=>?@[]^_`{|}~".to_owned())] {
        let first: Reply = server.shopper(user, post(ORDERS).key(&good).json(&wish(1)));
        let second = server.shopper(user, post(ORDERS).key(&good).json(&wish(1)));
        assert_eq!(first.ok(201), second.ok(200));
    }
}

#[test]
fn a_user_who_asks_too_often_is_told_when_to_ask_again() {
    let toml = "[limits]\nworkers = 2\nrequests_per_user_per_s = 1\nrequests_burst = 3\n";
    let server = Server::selling_with(9, Settings { toml, ..Settings::default() });
    let replies: Vec<Reply> = (0..20).map(|_| server.shopper(7, get("/v1/activities"))).collect();
    assert!(replies[..3].iter().all(|reply| reply.status == 200), "the burst is free");
    let refused = replies.iter().find(|reply| reply.status != 200).expect("20 at once are more than 1 a second");
    refused.problem(429, "rate_limited");
    // Another user is not this one, and operators, who are few, have no quota.
    server.shopper(8, post(ORDERS).json(&wish(1))).ok(201);
    for _ in 0..9 {
        server.operator(get(SALE)).ok(200);
    }
}
