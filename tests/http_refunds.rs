//! Refunds: an operator takes a paid order back, reads what is owed back, and says what was paid back. At the end of each
//! test the auditor reads the journal.

mod http;

use http::payments::{buy, id, pay, pay_for, paying, payment, selling};
use http::shards;
use http::{NOW_MS, ORDERS, PAYMENT_WINDOW_S, Reply, Request, SALE, Server, Settings, get, post, put, sale_with, wish};
use serde_json::{Value, json};

const PRICE: u64 = 199_900;

fn refund(order: &Value, restock: bool) -> Request {
    post(&format!("/admin/v1/orders/{}/refund", id(order))).json(&json!({ "restock": restock }))
}

fn done(payment_id: &str) -> Request {
    post(&format!("/admin/v1/refunds/{payment_id}/done"))
}

fn refunds(server: &Server, query: &str) -> Value {
    server.operator(get(&format!("/admin/v1/refunds{query}"))).ok(200)
}

fn ids_of(page: &Value) -> Vec<&str> {
    page["refunds"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|refund| refund["payment_id"].as_str().expect("an id"))
        .collect()
}

/// Stock, available, held, sold.
fn units(server: &Server) -> [u64; 4] {
    let sku = server.stats()["skus"][0].clone();
    ["stock", "available", "held", "sold"].map(|name| sku[name].as_u64().expect("a number"))
}

fn replayed(reply: &Reply) -> bool {
    reply.header("idempotent-replayed") == Some("true")
}

#[test]
fn a_refunded_orders_units_go_back_on_sale_if_told_and_whoever_was_refused_wins_them() {
    let server = selling(2, json!({}));
    let (first, second) = (buy(&server, 1), buy(&server, 2));
    pay_for(&server, "p1", &first).ok(200);
    pay_for(&server, "p2", &second).ok(200);
    server.shopper(3, post(ORDERS).json(&wish(1))).problem(409, "sold_out");

    let back = server.operator(refund(&first, true)).ok(200);
    assert_eq!((&back["state"], &back["user_id"]), (&json!("refunded"), &json!("1")));
    assert_eq!(back["payments"], json!([{ "payment_id": "p1", "payment_state": "refund_due" }]));
    assert_eq!(units(&server), [2, 1, 0, 1]);
    assert_eq!(buy(&server, 3)["slots"], first["slots"], "the very unit");

    let kept = server.operator(refund(&second, false)).ok(200);
    assert_eq!(kept["state"], "refunded");
    assert_eq!(units(&server), [2, 0, 1, 1], "a unit that does not go back stays among the sold");
    server.shopper(4, post(ORDERS).json(&wish(1))).problem(409, "sold_out");

    // The refunded may buy again: what they gave back does not count.
    server.operator(post(&format!("{SALE}/stock")).json(&json!({ "sku_id": "2001", "add": 1 }))).ok(200);
    assert_eq!(buy(&server, 2)["slots"], json!([3]));
    let poll = server.shopper(1, get("/v1/flash-sales/1001/result?sku_id=2001")).ok(200);
    assert_eq!((&poll["result"], &poll["state"]), (&first["order_id"], &json!("refunded")), "never back to -1");
    server.stop_and_audit();
}

#[test]
fn a_refund_is_made_once_and_a_repeat_is_told_so() {
    let server = selling(3, json!({}));
    let [held, paid, cancelled] = [1, 2, 3].map(|user| buy(&server, user));
    server.shopper(3, post(&format!("/v1/orders/{}/cancel", id(&cancelled)))).ok(200);
    for (order, state) in [(&held, "held"), (&cancelled, "cancelled")] {
        assert_eq!(server.operator(refund(order, true)).problem(409, "order_not_refundable")["state"], state);
    }
    pay_for(&server, "p1", &paid).ok(200);
    server.operator(done("p1")).problem(409, "refund_not_due");

    let first = server.operator(refund(&paid, true).key("k1"));
    let body = first.ok(200);
    assert!(!replayed(&first));
    let again = server.operator(refund(&paid, true).key("k1"));
    assert_eq!((again.ok(200), replayed(&again)), (body.clone(), true));
    server.operator(refund(&paid, false).key("k1")).problem(422, "idempotency_key_reused");
    for other in [refund(&paid, true), refund(&paid, false), refund(&paid, true).key("k2")] {
        let reply = server.operator(other);
        assert_eq!((reply.ok(200), replayed(&reply)), (body.clone(), false), "it stands already");
    }
    assert_eq!(units(&server), [3, 2, 1, 0], "one unit went back, once");

    let first = server.operator(done("p1").key("k3"));
    let body = first.ok(200);
    let fields = (&body["payment_state"], &body["reason"], &body["done_at_ms"]);
    assert_eq!(fields, (&json!("refunded"), &json!("order_refunded"), &json!(NOW_MS)));
    let again = server.operator(done("p1").key("k3"));
    assert_eq!((again.ok(200), replayed(&again)), (body.clone(), true));
    assert_eq!(server.operator(done("p1")).ok(200), body);
    assert_eq!(pay_for(&server, "p1", &paid).ok(200)["payment_state"], "refunded", "as it stands now");
    assert_eq!(refunds(&server, "?state=refund_due")["refunds"], json!([]));
    assert_eq!(ids_of(&refunds(&server, "?state=refunded")), ["p1"]);

    for request in [
        post("/admin/v1/orders/68719476999/refund").json(&json!({ "restock": true })),
        post("/admin/v1/orders/1/refund").json(&json!({ "restock": true })),
    ] {
        server.operator(request).problem(404, "order_not_found");
    }
    server.operator(done("p2")).problem(404, "not_found");
    for body in [json!({}), json!({ "restock": 1 }), json!({ "restock": true, "amount": 1 }), json!([true])] {
        let path = format!("/admin/v1/orders/{}/refund", id(&held));
        server.operator(post(&path).json(&body)).problem(400, "malformed_request");
    }
    server.operator(refund(&held, true).key("")).problem(400, "malformed_request");
    server.operator(post("/admin/v1/refunds/%20/done")).problem(400, "malformed_request");
    server.stop_and_audit();
}

#[test]
fn two_operators_at_once_refund_an_order_once() {
    let server = selling(8, json!({}));
    let orders: Vec<Value> = (1..=8).map(|user| buy(&server, user)).collect();
    for (number, order) in (1..).zip(&orders) {
        pay_for(&server, &format!("p{number}"), order).ok(200);
    }
    std::thread::scope(|scope| {
        for order in &orders {
            for restock in [true, false, true] {
                let server = &server;
                scope.spawn(move || server.operator(refund(order, restock)).ok(200));
            }
        }
    });
    let [stock, available, held, sold] = units(&server);
    assert_eq!((stock, held, available + sold), (8, 0, 8));
    assert_eq!(ids_of(&refunds(&server, "?state=refund_due")).len(), 8);
    server.stop_and_audit();
}

#[test]
fn the_list_is_paged_and_each_role_has_its_own() {
    let server = selling(50, json!({ "shards": 3, "per_user_limit": 1 }));
    for user in 1..=9 {
        let order = buy(&server, user);
        pay_for(&server, &format!("p{user}"), &order).ok(200);
        pay_for(&server, &format!("q{user}"), &order).ok(200);
    }
    pay(&server, &payment("lost", "nowhere", 5)).problem(404, "order_not_found");
    for paid_back in ["q1", "q5", "lost"] {
        server.operator(done(paid_back)).ok(200);
    }
    for (query, count) in [("", 10), ("?state=refund_due", 7), ("?state=refunded", 3), ("?limit=1000", 10)] {
        assert_eq!(ids_of(&refunds(&server, query)).len(), count, "{query}");
    }
    for state in ["", "&state=refund_due", "&state=refunded"] {
        let all = refunds(&server, &format!("?limit=1000{state}"));
        let (mut found, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = refunds(&server, &format!("?limit=2{state}{cursor}"));
            found.extend(ids_of(&page).into_iter().map(str::to_owned));
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(found, ids_of(&all), "{state}");
    }
    let lost = &refunds(&server, "?state=refunded")["refunds"][0];
    assert_eq!(
        *lost,
        json!({ "payment_id": "lost", "payment_state": "refunded", "order_id": "nowhere", "amount_cents": 5,
            "currency": "CNY", "reason": "unknown_order", "received_at_ms": NOW_MS, "due_at_ms": NOW_MS,
            "done_at_ms": NOW_MS })
    );
    for query in ["?state=applied", "?limit=0", "?limit=1001", "?cursor=x", "?cursor=1", "?cursor=1-x"] {
        server.operator(get(&format!("/admin/v1/refunds{query}"))).problem(400, "malformed_request");
    }
    let as_role = |role: &'static str, request: Request| {
        let token = server.token(901, Some(role));
        server.operator_client().ask(&request.token(&token))
    };
    assert_eq!(as_role("auditor", get("/admin/v1/refunds")).ok(200), refunds(&server, ""));
    as_role("auditor", done("q2")).problem(403, "forbidden");
    as_role("auditor", post("/admin/v1/orders/1/refund").json(&json!({ "restock": true }))).problem(403, "forbidden");
    for role in ["shopper", "merchant"] {
        as_role(role, get("/admin/v1/refunds")).problem(403, "forbidden");
        as_role(role, done("q2")).problem(403, "forbidden");
    }
    server.stop_and_audit();
}

#[test]
fn a_refund_in_any_part_comes_through_beside_the_homes_changes() {
    let server = Server::start(paying());
    server.operator(put(SALE, &shards::sharded(4, 8, json!({})))).ok(201);
    let users: Vec<u64> = (0..4).map(|part| shards::user_of(part, 4, 1)).collect();
    let mut orders = Vec::new();
    for (number, user) in (1..).zip(&users) {
        let order = shards::buy(&server, &mut server.shopper_client(), *user, 1).ok(201);
        pay_for(&server, &format!("p{number}"), &order).ok(200);
        orders.push(order);
    }
    for (number, order) in (1..).zip(&orders) {
        server.operator(refund(order, true)).ok(200);
        server.operator(done(&format!("p{number}"))).ok(200);
        // A change of the home has a later number, then an earlier one is on its way to no part.
        let word = if number % 2 == 1 { "pause" } else { "resume" };
        server.operator(post(&format!("{SALE}/{word}"))).ok(200);
    }
    for user in users {
        shards::buy(&server, &mut server.shopper_client(), user, 1).ok(201);
    }
    server.operator(post(&format!("{SALE}/close"))).ok(200);
    server.shopper(1_000, post(ORDERS).json(&wish(1))).problem(409, "ended");
    let disk = server.disk.clone();
    server.stop_and_audit();
    let server = Server::start(Settings { disk, ..paying() });
    assert_eq!(units(&server), [8, 4, 4, 0]);
    server.stop_and_audit();
}

#[test]
fn a_payment_id_of_any_visible_characters_can_be_paid_back() {
    let server = selling(1, json!({}));
    let ids = ["ab/cd=", "ab%2Fcd=", "a%41", "aA", "a+b", "a%2Bb", "?q#f", "..", "%", "/", "\"'<>&;"];
    for id in ids {
        pay(&server, &payment(id, "nowhere", 1)).problem(404, "order_not_found");
    }
    let escaped = |id: &str| id.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
    for (left, id) in (0..ids.len()).rev().zip(ids) {
        let body = server.operator(done(&escaped(id))).ok(200);
        assert_eq!((&body["payment_id"], &body["payment_state"]), (&json!(id), &json!("refunded")));
        assert_eq!(ids_of(&refunds(&server, "?state=refund_due")).len(), left, "{id}: its own and no other");
    }
    server.stop_and_audit();
}

/// More of them than are asked to leave at once owe something: the others leave all the same.
#[test]
fn activities_that_owe_do_not_keep_others_in_memory() {
    const OWING: u64 = 65;
    let tweak: fn(&mut doorbuster::config::Config) = |config| config.journal.retain_ended_s = 60;
    let server = Server::start(Settings { tweak: Some(tweak), ..paying() });
    for activity in 1..=OWING + 1 {
        let mut sale = sale_with(1, json!({}));
        sale["skus"][0]["sku_id"] = json!(format!("of-{activity}"));
        server.operator(put(&format!("/admin/v1/activities/{activity}"), &sale)).ok(201);
        if activity <= OWING {
            let wish = json!({ "sku_id": format!("of-{activity}"), "quantity": 1 });
            let path = format!("/v1/flash-sales/{activity}/orders");
            let order = server.shopper(1, post(&path).json(&wish)).ok(201);
            pay(&server, &payment(&format!("p{activity}"), id(&order), 1)).problem(422, "payment_mismatch");
        }
    }
    server.clock.advance_ms(PAYMENT_WINDOW_S * 1_000);
    server.clock.advance_ms(3_600_000 + 120_000);
    wait_until_left(&server, 1.0);
    for activity in 1..=OWING {
        server.operator(done(&format!("p{activity}"))).ok(200);
    }
    wait_until_left(&server, 66.0);
    server.stop_and_audit();
}

/// Waits until so many activities have left memory.
fn wait_until_left(server: &Server, count: f64) {
    while server.metric("doorbuster_activities_left") != Some(count) {
        std::thread::yield_now();
    }
}

#[test]
fn what_is_owed_keeps_its_activity_and_what_comes_after_it_left_is_owed_back() {
    let short = "[payments]\nsecret = \"the payment provider's secret, 32 bytes\"\n";
    let more = format!("{short}[limits]\nworkers = 2\n");
    let tweak: fn(&mut doorbuster::config::Config) = |config| config.journal.retain_ended_s = 60;
    let settings = || Settings { more: more.clone(), tweak: Some(tweak), ..Settings::default() };
    let server = Server::start(settings());
    server.operator(put(SALE, &shards::sharded(2, 6, json!({})))).ok(201);
    let mut other = sale_with(1, json!({}));
    other["skus"][0]["sku_id"] = json!("other");
    server.operator(put("/admin/v1/activities/1002", &other)).ok(201);
    let mut orders = Vec::new();
    for user in 1..=5 {
        orders.push(shards::buy(&server, &mut server.shopper_client(), user, 1).ok(201));
    }
    let [paid, refunded, expired, cancelled, _] = &orders[..] else { panic!("five orders") };
    pay_for(&server, "p1", paid).ok(200);
    pay_for(&server, "p2", refunded).ok(200);
    server.operator(refund(refunded, true)).ok(200);
    server.shopper(4, post(&format!("/v1/orders/{}/cancel", id(cancelled)))).ok(200);
    server.clock.advance_ms(PAYMENT_WINDOW_S * 1_000);
    server.clock.advance_ms(3_600_000 + 120_000);
    // The other leaves, which is looked at after this one: it owes the second payment, and nothing else keeps it.
    wait_until_left(&server, 1.0);
    server.operator(done("p2")).ok(200);
    wait_until_left(&server, 2.0);

    let after = |server: &Server| {
        let order = |order: &Value| server.operator(get(&format!("/admin/v1/orders/{}", id(order)))).ok(200);
        // What was received before it left is answered as before, and an id is taken for good.
        assert_eq!(pay_for(server, "p1", paid).ok(200)["payment_state"], "applied");
        assert_eq!(pay_for(server, "p2", refunded).ok(200)["payment_state"], "refunded");
        pay_for(server, "p1", expired).problem(422, "payment_mismatch");
        pay_for(server, "p2", paid).problem(422, "payment_mismatch");
        pay(server, &payment("p1", id(paid), PRICE + 1)).problem(422, "payment_mismatch");
        let nobodys = format!("{}", id(paid).parse::<u64>().expect("a number") + 77);
        pay(server, &payment("p1", &nobodys, PRICE)).problem(422, "payment_mismatch");
        // What comes now is owed back.
        for (payment_id, of, state) in [
            ("a1", paid, "paid"),
            ("a2", refunded, "refunded"),
            ("a3", expired, "expired"),
            ("a4", cancelled, "cancelled"),
        ] {
            let answer = pay_for(server, payment_id, of).ok(200);
            assert_eq!((&answer["payment_state"], &answer["state"]), (&json!("refund_due"), &json!(state)));
            assert_eq!(pay_for(server, payment_id, of).ok(200), answer);
        }
        let wrong = payment("a5", id(paid), PRICE - 1);
        assert_eq!(pay(server, &wrong).problem(422, "payment_mismatch")["payment_state"], "refund_due");
        let nobody = format!("{}", id(paid).parse::<u64>().expect("a number") + 77);
        pay(server, &payment("a6", &nobody, PRICE)).problem(404, "order_not_found");
        let reasons: Vec<_> = refunds(server, "?state=refund_due")["refunds"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|refund| refund["reason"].as_str().expect("a reason").to_owned())
            .collect();
        let expected = ["already_paid", "already_refunded", "late", "cancelled", "mismatch", "unknown_order"];
        assert_eq!(reasons, expected);
        // Nothing in it changes any more.
        server.operator(refund(paid, true)).problem(409, "activity_closed");
        server.operator(refund(expired, true)).problem(409, "order_not_refundable");
        assert_eq!(server.operator(refund(refunded, true)).ok(200)["state"], "refunded");
        assert_eq!(server.operator(done("p2")).ok(200)["payment_state"], "refunded");
        server.operator(done("p1")).problem(409, "refund_not_due");
        assert_eq!(order(paid)["payments"], json!([{ "payment_id": "p1", "payment_state": "applied" }]));
    };
    after(&server);
    let disk = server.disk.clone();
    server.stop_and_audit();
    let server = Server::start(Settings { disk, ..settings() });
    server.clock.advance_ms(2 * 3_600_000);
    after(&server);
    for payment_id in ["a1", "a2", "a3", "a4", "a5", "a6"] {
        server.operator(done(payment_id)).ok(200);
    }
    assert_eq!(refunds(&server, "?state=refund_due")["refunds"], json!([]));
    server.stop_and_audit();
}
