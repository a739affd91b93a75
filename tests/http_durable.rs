//! What the outside may learn, and when: nothing that reveals an event before that event is durable, nothing at all
//! after the journal failed; and what a server says that cannot take a request now.

mod http;

use std::sync::mpsc;
use std::time::{Duration, Instant};

use doorbuster::persist::memory::DiskFault;
use http::{Client, ORDERS, Request, SALE, Server, Settings, connect, get, post, put, sale, sale_with, wish};
use serde_json::{Value, json};

/// Long enough for an answer that is given too early to be seen; no test waits for it to pass where all is well.
const A_WHILE: Duration = Duration::from_millis(100);

/// Sends a request and does not wait.
fn send(server: &Server, user: u64, request: Request) -> Client {
    let mut client = server.shopper_client();
    client.send(&request.token(&server.token(user, None)).wire());
    client
}

fn send_as_operator(server: &Server, request: Request) -> Client {
    let mut client = server.operator_client();
    client.send(&request.token(&server.token(900, Some("operator"))).wire());
    client
}

#[test]
fn what_reveals_an_event_waits_for_the_disk() {
    let server = Server::selling(2);
    let first = server.shopper(1, post(ORDERS).key("k").json(&wish(1))).ok(201);
    let first_id = first["order_id"].as_str().expect("an id").to_owned();
    server.gate.shut();
    let order = send(&server, 2, post(ORDERS).key("k").json(&wish(1)));
    server.gate.wait_for_an_append();
    // Losers hear at once: `sold_out` is the one answer that may run ahead of the disk.
    server.shopper(3, post(ORDERS).json(&wish(1))).problem(409, "sold_out");
    server.shopper(3, get("/v1/activities")).ok(200);
    server.shopper(3, get("/v1/activities/9")).problem(404, "activity_not_found");
    server.stranger(get("/readyz")).ok(200);
    let waiting: Vec<(&str, u16, Client)> = vec![
        ("its acceptance", 201, order),
        ("its repeat", 200, send(&server, 2, post(ORDERS).key("k").json(&wish(1)))),
        ("the limit", 409, send(&server, 2, post(ORDERS).key("k2").json(&wish(1)))),
        ("the key's reuse", 422, send(&server, 2, post(ORDERS).key("k").json(&wish(7)))),
        ("its look-up", 200, send(&server, 2, get(ORDERS))),
        ("the result", 200, send(&server, 2, get("/v1/flash-sales/1001/result?sku_id=2001"))),
        ("what remains", 200, send(&server, 3, get("/v1/activities/1001"))),
        ("an earlier order", 200, send(&server, 1, get(&format!("/v1/orders/{first_id}")))),
        ("a cancel", 200, send(&server, 1, post(&format!("/v1/orders/{first_id}/cancel")))),
        ("the numbers", 200, send_as_operator(&server, get(&format!("{SALE}/stats")))),
        ("an operator's look-up", 200, send_as_operator(&server, get(&format!("{SALE}/orders")))),
        ("a pause", 200, send_as_operator(&server, post(&format!("{SALE}/pause")))),
    ];
    let mut answered = Vec::new();
    for (what, status, mut client) in waiting {
        assert!(client.is_left_waiting(A_WHILE), "{what} waits for the disk");
        answered.push((what, status, client));
    }
    assert_eq!(server.shopper(3, get("/v1/activities")).ok(200)["activities"][0]["state"], "running");
    server.gate.open();
    for (what, status, mut client) in answered {
        let reply = client.reply().expect("an answer");
        assert_eq!(reply.status, status, "{what}: {}", reply.text());
    }
    assert_eq!(server.shopper(3, get("/v1/activities")).ok(200)["activities"][0]["state"], "paused");
    server.stop_and_audit();
}

#[test]
fn a_new_activity_is_not_there_before_it_is_durable() {
    let server = Server::empty();
    server.gate.shut();
    let mut defining = send_as_operator(&server, put(SALE, &sale(5)));
    server.gate.wait_for_an_append();
    server.shopper(1, get("/v1/activities/1001")).problem(404, "activity_not_found");
    server.shopper(1, post(ORDERS).json(&wish(1))).problem(404, "activity_not_found");
    assert_eq!(server.shopper(1, get("/v1/activities")).ok(200)["activities"], json!([]));
    assert!(defining.is_left_waiting(A_WHILE));
    server.gate.open();
    defining.reply().expect("an answer").ok(201);
    server.shopper(1, post(ORDERS).json(&wish(1))).ok(201);
    server.stop_and_audit();
}

#[test]
fn a_definition_whose_client_has_gone_away_stands_all_the_same() {
    let server = Server::empty();
    server.gate.shut();
    let defining = send_as_operator(&server, put(SALE, &sale(5)));
    server.gate.wait_for_an_append();
    drop(defining);
    server.gate.open();
    // The next change waits its turn at the desk, behind the one whose client has left.
    assert_eq!(server.operator(put(SALE, &sale(6))).ok(200)["version"], 2);
    server.shopper(1, post(ORDERS).json(&wish(1))).ok(201);
    server.stop_and_audit();
}

#[test]
fn after_a_fault_of_the_journal_nothing_is_acknowledged() {
    for fault in [DiskFault::Write, DiskFault::Sync, DiskFault::Full] {
        let settings = Settings { toml: "[limits]\nworkers = 2\ndrain_timeout_s = 1\n", ..Settings::default() };
        let server = Server::selling_with(3, settings);
        server.shopper(1, post(ORDERS).key("k").json(&wish(1))).ok(201);
        server.disk.fail_after(0, fault);
        let mut clients = vec![send(&server, 2, post(ORDERS).json(&wish(1)))];
        assert!(!server.expect_a_fault().is_empty());
        for request in [post(ORDERS).key("k").json(&wish(1)), get(ORDERS), get("/v1/activities/1001")] {
            clients.push(send(&server, 1, request));
        }
        clients.push(send(&server, 3, post(ORDERS).json(&wish(1))));
        clients.push(send_as_operator(&server, post(&format!("{SALE}/pause"))));
        for client in &mut clients {
            assert!(client.is_left_waiting(A_WHILE), "{fault:?}: an unknown outcome is neither a yes nor a no");
        }
        // The next process knows the order that was acknowledged, and sells what was left.
        let disk = server.disk.clone();
        drop((clients, server));
        let server = Server::start(Settings { disk, ..Settings::default() });
        let reply = server.shopper(1, post(ORDERS).key("k").json(&wish(1)));
        assert_eq!(reply.header("idempotent-replayed"), Some("true"), "{fault:?}");
        assert!(server.shopper(9, post(ORDERS).json(&wish(1))).status == 201, "{fault:?}");
        server.stop_and_audit();
    }
}

#[test]
fn full_queues_are_refused_in_words_and_lose_and_double_nothing() {
    const BUYERS: u64 = 60;
    let tweak = |config: &mut doorbuster::config::Config| {
        config.limits.shard_mailbox = 4;
        config.limits.journal_queue = 4;
    };
    let settings = Settings { tweak: Some(tweak), ..Settings::default() };
    let server = Server::selling_with(u32::try_from(BUYERS).expect("small"), settings);
    server.gate.shut();
    let (refused, refusals) = mpsc::channel();
    let ids: Vec<Value> = std::thread::scope(|scope| {
        let buyers: Vec<_> = (0..BUYERS)
            .map(|user| {
                let (server, refused) = (&server, refused.clone());
                scope.spawn(move || {
                    let mut client = server.shopper_client();
                    let request = post(ORDERS).key("k").json(&wish(1)).token(&server.token(user, None));
                    loop {
                        let reply = client.ask(&request);
                        match reply.status {
                            503 => {
                                reply.problem(503, "overloaded");
                                refused.send(()).expect("the test listens");
                            }
                            _ => return reply.ok(201)["order_id"].clone(),
                        }
                    }
                })
            })
            .collect();
        refusals.recv().expect("a small queue is full soon");
        server.gate.open();
        buyers.into_iter().map(|buyer| buyer.join().expect("a buyer")).collect()
    });
    let distinct: std::collections::BTreeSet<&str> = ids.iter().filter_map(Value::as_str).collect();
    assert_eq!(distinct.len() as u64, BUYERS);
    assert_eq!(server.stats()["skus"][0]["available"], 0);
    server.stop_and_audit();
}

#[test]
fn low_storage_stops_new_orders_only() {
    let server = Server::selling(5);
    let order = server.shopper(1, post(ORDERS).key("k").json(&wish(1))).ok(201);
    let disk = server.disk.clone();
    server.stop_and_audit();
    // No disk has that much room: the server finds so at its start, and at each look after it.
    let tweak = |config: &mut doorbuster::config::Config| config.journal.min_free_bytes = u64::MAX;
    let server = Server::start(Settings { disk, tweak: Some(tweak), ..Settings::default() });
    server.shopper(2, post(ORDERS).json(&wish(1))).problem(503, "storage_low");
    let id = order["order_id"].as_str().expect("an id");
    server.shopper(1, post(ORDERS).key("k").json(&wish(1))).ok(200);
    server.shopper(1, get(&format!("/v1/orders/{id}"))).ok(200);
    server.shopper(1, post(&format!("/v1/orders/{id}/cancel"))).ok(200);
    server.operator(put(SALE, &sale_with(6, json!({ "title": "More" })))).ok(200);
}

#[test]
fn a_server_that_recovers_says_so_and_lives() {
    let server = Server::start(Settings { stays_recovering: true, ..Settings::default() });
    server.stranger(get("/healthz")).ok(200);
    server.stranger(get("/readyz")).problem(503, "recovering");
    for path in
        ["/v1/activities", "/v1/activities?kind=red_packet", "/v1/activities/1001", ORDERS, "/v1/orders/68719476737"]
    {
        server.shopper(1, get(path)).problem(503, "recovering");
    }
    server.shopper(1, post(ORDERS).json(&wish(1))).problem(503, "recovering");
    server.stranger(get("/v1/activities")).problem(401, "unauthenticated");
    server.shopper(1, post(ORDERS).text("{")).problem(400, "malformed_request");
    let operator = || server.operator_client();
    assert_eq!(operator().ask(&get("/metrics")).status, 200);
    assert_eq!(operator().ask(&get("/openapi.json")).status, 200);
    operator().ask(&get("/readyz")).problem(503, "recovering");
    for request in [get(SALE), put(SALE, &sale(1)), post("/admin/v1/reload"), post(&format!("{SALE}/pause"))] {
        server.operator(request).problem(503, "recovering");
    }
}

#[test]
fn a_draining_server_still_answers_and_idle_connections_do_not_hold_it() {
    let server = Server::selling(5);
    let mut idle = connect(server.shopper);
    idle.ask(&get("/healthz")).ok(200);
    server.readiness.draining();
    server.stranger(get("/readyz")).problem(503, "draining");
    server.stranger(get("/healthz")).ok(200);
    server.shopper(1, post(ORDERS).json(&wish(1))).ok(201);
    let begun = Instant::now();
    server.stop_and_audit();
    assert!(begun.elapsed() < Duration::from_secs(10), "drain_timeout_s is for requests, not for idle connections");
    assert!(idle.is_hung_up());
}
