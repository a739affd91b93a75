//! The payment callback: who may call it, and every answer of the contract, whatever a payment names, however often and
//! however late it comes. At the end of each test the auditor reads the journal.

mod http;

use http::payments::{CALLBACK, SECRET, buy, id, pay, pay_for, paying, payment, selling, signature, signed};
use http::shards::{self, user_of};
use http::{NOW_MS, ORDERS, PAYMENT_WINDOW_S, Reply, SALE, Server, Settings, get, post, put, sale, wish};
use serde_json::{Value, json};

const PRICE: u64 = 199_900;
const LATE_MS: u64 = PAYMENT_WINDOW_S * 1_000;

fn state(server: &Server, order: &Value) -> Value {
    server.operator(get(&format!("/admin/v1/orders/{}", id(order)))).ok(200)["state"].clone()
}

/// Available, held, sold.
fn units(server: &Server) -> (u64, u64, u64) {
    let sku = server.stats()["skus"][0].clone();
    let number = |name: &str| sku[name].as_u64().expect("a number");
    (number("available"), number("held"), number("sold"))
}

fn due(server: &Server) -> Vec<(String, String)> {
    let page = server.operator(get("/admin/v1/refunds?state=refund_due")).ok(200);
    let text = |refund: &Value, name: &str| refund[name].as_str().expect("text").to_owned();
    let refunds = page["refunds"].as_array().expect("a list").clone();
    refunds.iter().map(|refund| (text(refund, "payment_id"), text(refund, "reason"))).collect()
}

fn answer(id: &str, payment_state: &str, order: &Value, state: &str) -> Value {
    json!({ "payment_id": id, "payment_state": payment_state, "order_id": order["order_id"], "state": state })
}

#[test]
fn a_payment_in_time_pays_its_order_for_good() {
    let server = selling(3, json!({}));
    let order = buy(&server, 7);
    server.clock.advance_ms(LATE_MS - 1);
    assert_eq!(pay_for(&server, "p1", &order).ok(200), answer("p1", "applied", &order, "paid"));
    assert_eq!(units(&server), (2, 0, 1));
    server.clock.advance_ms(2);
    let shown = server.shopper(7, get(&format!("/v1/orders/{}", id(&order)))).ok(200);
    assert_eq!((&shown["state"], &shown["slots"]), (&json!("paid"), &json!([1])));
    assert_eq!(shown["payments"], json!([{ "payment_id": "p1", "payment_state": "applied" }]));
    let poll = server.shopper(7, get("/v1/flash-sales/1001/result?sku_id=2001")).ok(200);
    assert_eq!((&poll["result"], &poll["state"]), (&order["order_id"], &json!("paid")));
    let refused = server.shopper(7, post(&format!("/v1/orders/{}/cancel", id(&order))));
    assert_eq!(refused.problem(409, "order_not_cancellable")["state"], "paid");
    let refused = server.shopper(7, post(ORDERS).json(&wish(1))).problem(409, "limit_reached");
    assert_eq!(refused["order_ids"], json!([order["order_id"]]), "what is bought counts");
    let listed = server.operator(get(&format!("{SALE}/orders?state=paid"))).ok(200);
    assert_eq!(listed["orders"][0]["order_id"], order["order_id"]);
    assert_eq!(server.operator(get(&format!("{SALE}/orders?state=refunded"))).ok(200)["orders"], json!([]));
    assert_eq!(due(&server), []);
    assert_eq!(server.metric("doorbuster_payments_total{payment_state=\"applied\"}"), Some(1.0));
    server.stop_and_audit();
}

#[test]
fn only_the_provider_is_heard_and_only_in_time() {
    let server = selling(3, json!({}));
    let order = buy(&server, 7);
    let body = payment("p1", id(&order), PRICE).to_string();
    let now_s = NOW_MS / 1_000;
    let call = |header: Option<String>, body: &str| {
        let request = post(CALLBACK).header("Content-Type", "application/json").text(body);
        server.stranger(header.iter().fold(request, |request, header| request.header("Doorbuster-Signature", header)))
    };
    let good = signature(&body, now_s, SECRET);
    for header in [
        None,
        Some(String::new()),
        Some(good.replace("v1=", "v2=")),
        Some(good[..good.len() - 1].to_owned()),
        Some(signature(&body, now_s, "another secret, which nobody here knows")),
        Some(signature(&body, now_s - 301, SECRET)),
        Some(signature(&body, now_s + 301, SECRET)),
        Some(format!("t={},{}", now_s + 1, good.split_once(',').expect("two parts").1)),
    ] {
        call(header, &body).problem(401, "bad_signature");
    }
    call(Some(good.clone()), &body.replace("CNY", "CNY ")).problem(401, "bad_signature");
    call(Some(good.clone()), &format!("{body} ")).problem(401, "bad_signature");
    // A shopper's token is no signature.
    let request = post(CALLBACK).json(&payment("p1", id(&order), PRICE)).token(&server.token(7, Some("operator")));
    server.stranger(request).problem(401, "bad_signature");
    assert_eq!(state(&server, &order), "held");

    let several = format!("t={now_s},v1={},v1={}", "0".repeat(64), good.split_once("v1=").expect("a signature").1);
    assert_eq!(call(Some(several), &body).ok(200)["payment_state"], "applied");
    for header in [
        signature(&body, now_s - 300, SECRET),
        signature(&body, now_s + 300, SECRET),
        signature(&body, now_s, "the provider's secret of last year, 32 bytes"),
    ] {
        assert_eq!(call(Some(header), &body).ok(200)["payment_state"], "applied");
    }
    server.stop_and_audit();
}

#[test]
fn what_is_signed_and_no_payment_is_refused_and_not_recorded() {
    let server = selling(3, json!({}));
    let order = buy(&server, 7);
    let sound = payment("p1", id(&order), PRICE);
    let with = |name: &str, value: Value| {
        let mut body = sound.clone();
        body[name] = value;
        body.to_string()
    };
    for body in [
        String::new(),
        "[]".to_owned(),
        "{".to_owned(),
        "{}".to_owned(),
        with("payment_id", json!("")),
        with("payment_id", json!("é")),
        with("payment_id", json!("a b")),
        with("payment_id", json!("x".repeat(65))),
        with("payment_id", json!(7)),
        with("order_id", json!("")),
        with("order_id", json!(7)),
        with("order_id", json!("x".repeat(65))),
        with("amount_cents", json!(-1)),
        with("amount_cents", json!(1.5)),
        with("amount_cents", json!("1")),
        with("amount_cents", json!(9_007_199_254_740_992_u64)),
        with("currency", json!("")),
        with("currency", json!("x".repeat(65))),
        with("status", json!("failed")),
        with("status", json!("PAID")),
    ] {
        server.stranger(signed(&server, &body)).problem(400, "malformed_request");
    }
    let typed = |kind: &str| {
        let body = sound.to_string();
        let header = signature(&body, NOW_MS / 1_000, SECRET);
        let request = post(CALLBACK).header("Content-Type", kind).header("Doorbuster-Signature", &header);
        server.stranger(request.text(&body))
    };
    typed("text/plain").problem(415, "unsupported_media_type");
    assert_eq!(state(&server, &order), "held");
    assert_eq!(due(&server), []);
    let huge = post(CALLBACK).header("Content-Length", "2147483648").header("Content-Type", "application/json");
    server.stranger(huge).problem(413, "payload_too_large");
    assert_eq!(typed("application/json; charset=utf-8").ok(200)["payment_state"], "applied");
    server.stop_and_audit();

    let deaf = Server::selling(1);
    deaf.stranger(signed(&deaf, &sound.to_string())).problem(404, "not_found");
}

#[test]
fn a_payment_is_received_once() {
    let server = selling(5, json!({ "per_user_limit": 2 }));
    let (order, other) = (buy(&server, 7), buy(&server, 7));
    let first = pay_for(&server, "p1", &order).ok(200);
    assert_eq!(pay_for(&server, "p1", &order).ok(200), first);
    for changed in [
        payment("p1", id(&other), PRICE),
        payment("p1", id(&order), PRICE + 1),
        payment("p1", "no-order", PRICE),
        payment("p1", "68719476999", PRICE),
        json!({ "payment_id": "p1", "order_id": order["order_id"], "amount_cents": PRICE, "currency": "USD",
            "status": "paid" }),
    ] {
        let problem = pay(&server, &changed).problem(422, "payment_mismatch");
        assert!(problem.get("payment_state").is_none(), "nothing is recorded of it: {problem}");
    }
    assert_eq!((state(&server, &order), state(&server, &other)), (json!("paid"), json!("held")));
    assert_eq!(due(&server), []);
    // Fields that are not ours are ignored.
    let mut more = payment("p1", id(&order), PRICE);
    more["provider"] = json!({ "fee": 3 });
    assert_eq!(pay(&server, &more).ok(200), first);
    server.stop_and_audit();
}

#[test]
fn a_hundred_deliveries_for_orders_everywhere_have_one_effect() {
    let server = selling(50, json!({ "shards": 4 }));
    let orders: Vec<Value> = (1..=10).map(|user| buy(&server, user)).collect();
    let answers: Vec<Reply> = std::thread::scope(|scope| {
        let deliver = |n: usize| {
            let (server, order) = (&server, &orders[n % orders.len()]);
            scope.spawn(move || pay_for(server, "p1", order))
        };
        let deliveries: Vec<_> = (0..100).map(deliver).collect();
        deliveries.into_iter().map(|delivery| delivery.join().expect("no panic")).collect()
    });
    let (applied, refused): (Vec<&Reply>, Vec<&Reply>) = answers.iter().partition(|reply| reply.status == 200);
    refused.iter().for_each(|reply| drop(reply.problem(422, "payment_mismatch")));
    assert_eq!((applied.len(), refused.len()), (10, 90), "each delivery for the order that was first");
    applied.iter().for_each(|reply| assert_eq!(reply.json(), applied[0].json()));
    let paid = orders.iter().filter(|order| state(&server, order) == "paid").count();
    assert_eq!((paid, units(&server)), (1, (40, 9, 1)));
    server.stop_and_audit();
}

#[test]
fn what_comes_for_an_order_that_is_over_is_owed_back() {
    let server = selling(5, json!({}));
    let [cancelled, paid, refunded] = [1, 2, 3].map(|user| buy(&server, user));
    server.shopper(1, post(&format!("/v1/orders/{}/cancel", id(&cancelled)))).ok(200);
    pay_for(&server, "p2", &paid).ok(200);
    pay_for(&server, "p3", &refunded).ok(200);
    server
        .operator(post(&format!("/admin/v1/orders/{}/refund", id(&refunded))).json(&json!({ "restock": true })))
        .ok(200);
    for (order, at, again) in [(&cancelled, "cancelled", "q1"), (&paid, "paid", "q2"), (&refunded, "refunded", "q3")] {
        let first = pay_for(&server, again, order).ok(200);
        assert_eq!(first, answer(again, "refund_due", order, at));
        assert_eq!(pay_for(&server, again, order).ok(200), first);
    }
    let payments = server.operator(get(&format!("/admin/v1/orders/{}", id(&paid)))).ok(200)["payments"].clone();
    let expected = json!([{ "payment_id": "p2", "payment_state": "applied" },
        { "payment_id": "q2", "payment_state": "refund_due" }]);
    assert_eq!(payments, expected);
    let mut reasons = due(&server);
    reasons.sort_unstable();
    let expected = [("p3", "order_refunded"), ("q1", "cancelled"), ("q2", "already_paid"), ("q3", "already_refunded")];
    assert_eq!(reasons, expected.map(|(id, why)| (id.to_owned(), why.to_owned())));
    assert_eq!(units(&server), (4, 0, 1));
    server.stop_and_audit();
}

#[test]
fn a_payment_of_another_amount_or_currency_leaves_the_order_as_it_is() {
    let server = selling(5, json!({}));
    let order = buy(&server, 7);
    let dollars = json!({ "payment_id": "p2", "order_id": order["order_id"], "amount_cents": PRICE, "currency": "USD",
        "status": "paid" });
    for (number, wrong) in (1..).zip([payment("p1", id(&order), PRICE - 1), dollars, payment("p3", id(&order), 0)]) {
        let problem = pay(&server, &wrong).problem(422, "payment_mismatch");
        let fields = (&problem["payment_id"], &problem["payment_state"], &problem["state"]);
        assert_eq!(fields, (&json!(format!("p{number}")), &json!("refund_due"), &json!("held")));
        let again = pay(&server, &wrong).problem(422, "payment_mismatch");
        assert_eq!(again["payment_state"], problem["payment_state"], "the same answer");
    }
    assert_eq!(due(&server).len(), 3);
    assert_eq!(pay_for(&server, "p4", &order).ok(200)["state"], "paid");
    server.stop_and_audit();
}

#[test]
fn a_payment_that_names_no_order_is_recorded() {
    let server = selling(5, json!({}));
    buy(&server, 7);
    let no_such = [
        "68719476999",
        "1",
        "0",
        "-1",
        "x'; DROP TABLE orders; --",
        "9223372036854775807",
        "007",
        "184467440737095516160",
    ];
    for (number, named) in no_such.iter().enumerate() {
        let named = named.replace(' ', "_");
        let given = payment(&format!("p{number}"), &named, 5);
        let problem = pay(&server, &given).problem(404, "order_not_found");
        assert_eq!((&problem["payment_state"], &problem["order_id"]), (&json!("refund_due"), &json!(named)));
        let again = pay(&server, &given).problem(404, "order_not_found");
        assert_eq!(again["payment_state"], "refund_due");
        pay(&server, &payment(&format!("p{number}"), &named, 6)).problem(422, "payment_mismatch");
    }
    let owed = due(&server);
    assert_eq!(owed.len(), no_such.len());
    assert!(owed.iter().all(|(_, why)| why == "unknown_order"), "{owed:?}");
    // The id that an unknown order's payment has is taken, for orders that there are too.
    let order = buy(&server, 8);
    pay_for(&server, "p0", &order).problem(422, "payment_mismatch");
    server.operator(post("/admin/v1/refunds/p0/done")).ok(200);
    assert_eq!(due(&server).len(), no_such.len() - 1);
    server.stop_and_audit();
}

#[test]
fn a_late_payment_has_fresh_units_or_is_owed_back() {
    // What differs from a running sale with units to spare: the definition, what else happens, and the outcome.
    type Meanwhile = fn(&Server);
    let nothing: Meanwhile = |_| {};
    let buy_the_rest: Meanwhile = |server| (50..53).for_each(|user| drop(buy(server, user)));
    let buy_again: Meanwhile = |server| drop(buy(server, 7));
    let pause: Meanwhile = |server| drop(server.operator(post(&format!("{SALE}/pause"))).ok(200));
    let close: Meanwhile = |server| drop(server.operator(post(&format!("{SALE}/close"))).ok(200));
    let to_the_end: Meanwhile = |server| server.clock.advance_ms(3_600_000);
    let cases: [(&str, Value, Meanwhile, bool); 8] = [
        ("units to spare", json!({}), nothing, true),
        ("the policy", json!({ "on_late_payment": "refund" }), nothing, false),
        ("no units", json!({}), buy_the_rest, false),
        ("the limit", json!({}), buy_again, false),
        ("a limit of two", json!({ "per_user_limit": 2 }), buy_again, true),
        ("a pause", json!({}), pause, true),
        ("closed", json!({}), close, false),
        ("the end", json!({}), to_the_end, false),
    ];
    for (what, fields, meanwhile, reacquired) in cases {
        let server = selling(3, fields);
        let order = buy(&server, 7);
        server.clock.advance_ms(LATE_MS);
        assert_eq!(state(&server, &order), "expired", "{what}");
        meanwhile(&server);
        let before = units(&server);
        let answered = pay_for(&server, "p1", &order).ok(200);
        if reacquired {
            assert_eq!(answered, answer("p1", "applied", &order, "paid"), "{what}");
            assert_eq!(units(&server), (before.0 - 1, before.1, before.2 + 1), "{what}");
        } else {
            assert_eq!(answered, answer("p1", "refund_due", &order, "expired"), "{what}");
            assert_eq!((units(&server), due(&server)), (before, vec![("p1".to_owned(), "late".to_owned())]), "{what}");
        }
        assert_eq!(pay_for(&server, "p1", &order).ok(200), answered, "{what}");
        server.stop_and_audit();
    }
}

#[test]
fn fresh_units_are_others_if_somebody_has_the_first_by_now() {
    let server = selling(3, json!({}));
    let order = buy(&server, 7);
    server.clock.advance_ms(LATE_MS);
    let other = buy(&server, 8);
    assert_eq!((&order["slots"], &other["slots"]), (&json!([1]), &json!([1])));
    pay_for(&server, "p1", &order).ok(200);
    let shown = server.shopper(7, get(&format!("/v1/orders/{}", id(&order)))).ok(200);
    assert_eq!((&shown["slots"], &shown["state"]), (&json!([2]), &json!("paid")));
    server.stop_and_audit();
}

#[test]
fn a_late_payment_waits_for_units_of_another_shard() {
    let server = Server::start(paying());
    let fields = json!({ "per_user_limit": 4 });
    server.operator(put(SALE, &shards::sharded(4, 4, fields))).ok(201);
    let (user, other) = (user_of(1, 4, 1), user_of(2, 4, 1));
    let mut client = server.shopper_client();
    let order = shards::buy(&server, &mut client, user, 3).ok(201);
    server.clock.advance_ms(LATE_MS);
    // Somebody else takes one and gives three back; the units lie in the other part by now.
    let all = shards::buy(&server, &mut client, other, 4).ok(201);
    shards::cancel(&server, other, &all);
    shards::buy(&server, &mut client, other, 1).ok(201);
    let paid = pay_for(&server, "p1", &order).ok(200);
    assert_eq!(paid, answer("p1", "applied", &order, "paid"), "three units are free, wherever they are");
    assert_eq!(units(&server), (0, 1, 3));
    server.clock.advance_ms(1);
    let late = shards::buy(&server, &mut client, user_of(3, 4, 1), 1);
    late.problem(409, "sold_out");
    server.stop_and_audit();

    let server = Server::start(paying());
    server.operator(put(SALE, &shards::sharded(4, 4, json!({ "per_user_limit": 4 })))).ok(201);
    let order = shards::buy(&server, &mut server.shopper_client(), user, 3).ok(201);
    server.clock.advance_ms(LATE_MS);
    shards::buy(&server, &mut server.shopper_client(), other, 2).ok(201);
    let owed = pay_for(&server, "p1", &order).ok(200);
    assert_eq!(owed, answer("p1", "refund_due", &order, "expired"), "two are not three, wherever they are");
    assert_eq!(units(&server), (2, 2, 0));
    server.stop_and_audit();
}

#[test]
fn what_was_paid_stands_after_a_restart_and_a_hold_from_before_it_runs_out() {
    let server = selling(2, json!({}));
    let (paid, lapsed) = (buy(&server, 1), buy(&server, 2));
    let answers: Vec<Value> = vec![
        pay_for(&server, "p1", &paid).ok(200),
        pay_for(&server, "p2", &paid).ok(200),
        pay(&server, &payment("p3", "nothing", 5)).problem(404, "order_not_found"),
    ];
    let disk = server.disk.clone();
    drop(server);

    let server = Server::start(Settings { disk, ..paying() });
    server.clock.advance_ms(LATE_MS);
    let _won = buy(&server, 3);
    assert_eq!((state(&server, &lapsed), units(&server)), (json!("expired"), (0, 1, 1)));
    assert_eq!(pay_for(&server, "p1", &paid).ok(200), answers[0]);
    assert_eq!(pay_for(&server, "p2", &paid).ok(200), answers[1]);
    let again = pay(&server, &payment("p3", "nothing", 5)).problem(404, "order_not_found");
    assert_eq!(again["payment_state"], answers[2]["payment_state"]);
    pay_for(&server, "p3", &lapsed).problem(422, "payment_mismatch");
    pay_for(&server, "p1", &lapsed).problem(422, "payment_mismatch");
    let owed: Vec<_> = due(&server).into_iter().map(|(id, _)| id).collect();
    assert_eq!(owed, ["p3", "p2"], "shard 0 comes first");
    assert_eq!(pay_for(&server, "p4", &lapsed).ok(200)["payment_state"], "refund_due", "its unit is another's");
    server.stop_and_audit();
}

#[test]
fn a_payment_is_answered_when_it_is_on_disk_and_not_before() {
    let server = selling(5, json!({}));
    let order = buy(&server, 7);
    server.gate.shut();
    let body = payment("p1", id(&order), PRICE).to_string();
    let request = signed(&server, &body);
    let mut clients: Vec<_> = (0..3).map(|_| server.shopper_client()).collect();
    for client in &mut clients {
        client.send(&request.wire());
    }
    // The same id for another order must not be told of before the first is on disk either.
    let mut conflict = server.shopper_client();
    server.gate.wait_for_an_append();
    conflict.send(&signed(&server, &payment("p1", "nothing", PRICE).to_string()).wire());
    for client in clients.iter_mut().chain([&mut conflict]) {
        assert!(client.is_left_waiting(std::time::Duration::from_millis(100)));
    }
    server.gate.open();
    for client in &mut clients {
        assert_eq!(client.reply().expect("an answer").ok(200)["payment_state"], "applied");
    }
    conflict.reply().expect("an answer").problem(422, "payment_mismatch");
    server.stop_and_audit();
}

#[test]
fn payments_go_on_where_new_orders_cannot() {
    let server = selling(5, json!({}));
    let order = buy(&server, 7);
    let disk = server.disk.clone();
    server.stop_and_audit();
    // No disk has that much room: the server finds so at its start, and at each look after it.
    let tweak = |config: &mut doorbuster::config::Config| config.journal.min_free_bytes = u64::MAX;
    let server = Server::start(Settings { disk, tweak: Some(tweak), ..paying() });
    server.shopper(8, post(ORDERS).json(&wish(1))).problem(503, "storage_low");
    assert_eq!(pay_for(&server, "p1", &order).ok(200)["state"], "paid");
    server.operator(post(&format!("/admin/v1/orders/{}/refund", id(&order))).json(&json!({ "restock": true }))).ok(200);
    server.operator(post("/admin/v1/refunds/p1/done")).ok(200);
    server.stop_and_audit();
}

#[test]
fn an_order_is_one_activitys_and_its_payment_too() {
    let server = selling(5, json!({}));
    let mut second = sale(5);
    second["shared_sku"] = json!(true);
    second["skus"][0]["sku_id"] = json!("other");
    server.operator(put("/admin/v1/activities/1002", &second)).ok(201);
    let here = buy(&server, 7);
    let wish = json!({ "sku_id": "other", "quantity": 1 });
    let there = server.shopper(7, post("/v1/flash-sales/1002/orders").json(&wish)).ok(201);
    pay_for(&server, "p1", &here).ok(200);
    pay_for(&server, "p1", &there).problem(422, "payment_mismatch");
    assert_eq!(state(&server, &there), "held");
    pay_for(&server, "p2", &there).ok(200);
    server.stop_and_audit();
}
