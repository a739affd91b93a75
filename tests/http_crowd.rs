//! Many at once: no unit is sold twice, none is left over, each key makes one order, each order is paid once; also while
//! operators raise and lower the stock. At the end of each test the auditor reads the journal.

mod http;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Barrier, Mutex};

use doorbuster::domain::audit::Id;
use doorbuster::domain::expire::EXPIRE_STEP_ORDERS;
use http::payments::{pay_for, paying};
use http::{ORDERS, PAYMENT_WINDOW_S, Reply, SALE, Server, connect, get, post, put, sale_with, wish};
use serde_json::{Value, json};

/// Lets `count` askers go at one instant, each over a connection of its own.
fn at_once(count: u64, ask: impl Fn(u64) -> Reply + Sync) -> Vec<Reply> {
    let start = Barrier::new(usize::try_from(count).expect("small"));
    std::thread::scope(|scope| {
        let ask = |n| {
            start.wait();
            ask(n)
        };
        let askers: Vec<_> = (0..count).map(|n| scope.spawn(move || ask(n))).collect();
        askers.into_iter().map(|asker| asker.join().expect("an asker")).collect()
    })
}

fn ids(replies: &[Reply]) -> BTreeSet<String> {
    replies.iter().map(|reply| reply.json()["order_id"].as_str().expect("an id").to_owned()).collect()
}

fn with_status(replies: &[Reply], status: u16) -> usize {
    replies.iter().filter(|reply| reply.status == status).count()
}

#[test]
fn two_hundred_want_ten() {
    let server = Server::selling(10);
    let replies = at_once(200, |user| {
        let request = post(ORDERS).json(&wish(1));
        server.shopper(user, if user % 2 == 0 { request.key("k") } else { request })
    });
    assert_eq!((with_status(&replies, 201), with_status(&replies, 409)), (10, 190));
    let sold: Vec<Reply> = replies.iter().filter(|reply| reply.status == 201).cloned().collect();
    assert_eq!(ids(&sold).len(), 10);
    let slots: BTreeSet<String> = sold.iter().map(|reply| reply.json()["slots"].to_string()).collect();
    assert_eq!(slots.len(), 10, "each a unit of its own");
    replies.iter().filter(|reply| reply.status != 201).for_each(|reply| _ = reply.problem(409, "sold_out"));
    server.stop_and_audit();
}

/// The shard's timer may be late; what has lapsed by the clock must refuse nobody all the same.
#[test]
fn a_lapsed_hold_that_is_not_released_yet_makes_nothing_sold_out() {
    let server = Server::selling(1);
    server.shopper(1, post(ORDERS).json(&wish(1))).ok(201);
    server.shopper(2, post(ORDERS).json(&wish(1))).problem(409, "sold_out");
    server.clock.advance_ms(PAYMENT_WINDOW_S * 1_000);
    server.shopper(2, post(ORDERS).json(&wish(1))).ok(201);
    server.stop_and_audit();
}

/// More lapse at once than one step releases, and the one who asks again comes last.
#[test]
fn in_a_mass_expiry_the_last_ones_own_lapsed_hold_does_not_stand_against_them() {
    const STEPS: u64 = 3 * EXPIRE_STEP_ORDERS as u64;
    let server = Server::selling(u32::try_from(STEPS).expect("small"));
    let mut client = server.shopper_client();
    for user in 1..=STEPS {
        client.ask(&post(ORDERS).token(&server.token(user, None)).json(&wish(1))).ok(201);
    }
    server.clock.advance_ms(PAYMENT_WINDOW_S * 1_000);
    server.shopper(STEPS, post(ORDERS).json(&wish(1))).ok(201);
    server.stop_and_audit();
}

#[test]
fn one_key_at_once_makes_one_order() {
    let server = Server::selling(100);
    let replies = at_once(100, |_| server.shopper(7, post(ORDERS).key("k").json(&wish(1))));
    assert_eq!((with_status(&replies, 201), with_status(&replies, 200), ids(&replies).len()), (1, 99, 1));
    let replies = at_once(50, |n| {
        let stock = post(&format!("{SALE}/stock")).json(&json!({ "sku_id": "2001", "add": 1 }));
        server.operator(stock.key(if n % 2 == 0 { "even" } else { "odd" }))
    });
    let repeated = replies.iter().filter(|reply| reply.header("idempotent-replayed").is_some()).count();
    assert_eq!((with_status(&replies, 200), repeated), (50, 48));
    assert_eq!(server.stats()["skus"][0]["stock"], 102);
    server.stop_and_audit();
}

#[test]
fn one_user_at_once_gets_the_limit_and_no_more() {
    let server = Server::empty();
    server.operator(put(SALE, &sale_with(100, json!({ "per_user_limit": 3 })))).ok(201);
    let replies = at_once(60, |_| server.shopper(7, post(ORDERS).json(&wish(1))));
    assert_eq!((with_status(&replies, 201), with_status(&replies, 409)), (3, 57));
    for reply in replies.iter().filter(|reply| reply.status == 409) {
        let held = reply.problem(409, "limit_reached")["order_ids"].as_array().expect("a list").len();
        assert_eq!(held, 3);
    }
    server.stop_and_audit();
}

#[test]
fn cancels_and_repeats_race_to_one_end() {
    let server = Server::selling(1);
    let order = server.shopper(7, post(ORDERS).key("k").json(&wish(1))).ok(201);
    let id = order["order_id"].as_str().expect("an id").to_owned();
    let replies = at_once(100, |n| match n % 3 {
        0 => server.shopper(7, post(&format!("/v1/orders/{id}/cancel"))),
        1 => server.shopper(7, post(&format!("/v1/orders/{id}/cancel")).key("c")),
        _ => server.shopper(7, post(ORDERS).key("k").json(&wish(1))),
    });
    assert_eq!((with_status(&replies, 200), ids(&replies)), (100, BTreeSet::from([id])));
    assert_eq!(
        server.stats()["skus"][0],
        json!({ "sku_id": "2001", "stock": 1, "available": 1, "held": 0, "sold": 0 })
    );
    server.stop_and_audit();
}

/// A server that takes payments, with an order of each of so many users.
fn selling_and_sold(stock: u32, users: u64) -> (Server, Vec<Value>) {
    let server = Server::start(paying());
    server.operator(put(SALE, &sale_with(stock, json!({})))).ok(201);
    let orders = (1..=users).map(|user| server.shopper(user, post(ORDERS).json(&wish(1))).ok(201)).collect();
    (server, orders)
}

/// What became of payments that were all taken.
fn payment_states(replies: &[Reply]) -> (usize, usize) {
    let states: Vec<Value> = replies.iter().map(|reply| reply.ok(200)["payment_state"].clone()).collect();
    let count = |wanted: &str| states.iter().filter(|state| **state == wanted).count();
    assert_eq!(count("applied") + count("refund_due"), replies.len(), "{states:?}");
    (count("applied"), count("refund_due"))
}

fn units(server: &Server) -> (u64, u64, u64) {
    let sku = server.stats()["skus"][0].clone();
    let number = |name: &str| sku[name].as_u64().expect("a number");
    (number("available"), number("held"), number("sold"))
}

#[test]
fn of_many_payments_for_one_order_at_once_one_is_applied() {
    let (server, orders) = selling_and_sold(5, 1);
    // Each of thirty payments is told of twice.
    let replies = at_once(60, |n| pay_for(&server, &format!("p{}", n / 2), &orders[0]));
    assert_eq!(payment_states(&replies), (2, 58));
    for pair in replies.chunks(2) {
        assert_eq!(pair[0].json()["payment_state"], pair[1].json()["payment_state"], "one payment, one answer");
    }
    assert_eq!(units(&server), (4, 0, 1));
    server.stop_and_audit();
}

#[test]
fn one_payment_at_once_for_many_orders_is_of_one_of_them() {
    let (server, orders) = selling_and_sold(40, 40);
    let replies = at_once(40, |n| pay_for(&server, "one", &orders[usize::try_from(n).expect("small")]));
    assert_eq!((with_status(&replies, 200), with_status(&replies, 422)), (1, 39));
    replies.iter().filter(|reply| reply.status == 422).for_each(|reply| _ = reply.problem(422, "payment_mismatch"));
    assert_eq!(units(&server), (0, 39, 1));
    server.stop_and_audit();
}

#[test]
fn a_payment_and_a_cancel_at_once_have_one_winner() {
    let (server, orders) = selling_and_sold(40, 40);
    let replies = at_once(80, |n| {
        let order = &orders[usize::try_from(n / 2).expect("small")];
        let id = order["order_id"].as_str().expect("an id");
        match n % 2 {
            0 => pay_for(&server, &format!("of-{id}"), order),
            _ => server.shopper(n / 2 + 1, post(&format!("/v1/orders/{id}/cancel"))),
        }
    });
    let mut paid = 0;
    for pair in replies.chunks(2) {
        let payment = pair[0].ok(200);
        if payment["payment_state"] == "applied" {
            assert_eq!(pair[1].problem(409, "order_not_cancellable")["state"], "paid");
            paid += 1;
        } else {
            assert_eq!((&payment["payment_state"], &payment["state"]), (&json!("refund_due"), &json!("cancelled")));
            assert_eq!(pair[1].ok(200)["state"], "cancelled");
        }
    }
    assert_eq!(units(&server), (40 - paid, 0, paid));
    server.stop_and_audit();
}

#[test]
fn late_payments_and_newcomers_at_once_share_what_is_left() {
    let (server, orders) = selling_and_sold(20, 20);
    server.clock.advance_ms(PAYMENT_WINDOW_S * 1_000);
    let replies = at_once(40, |n| match n % 2 {
        0 => pay_for(&server, &format!("late-{n}"), &orders[usize::try_from(n / 2).expect("small")]),
        _ => server.shopper(1_000 + n, post(ORDERS).json(&wish(1))),
    });
    let (late, newcomers): (Vec<_>, Vec<_>) = replies.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).unzip();
    let (applied, _) = payment_states(&late);
    let sold = with_status(&newcomers, 201);
    assert_eq!(applied + sold, 20, "to the unit, and not beyond");
    assert_eq!(units(&server), (0, sold as u64, applied as u64));
    server.stop_and_audit();
}

#[test]
fn definitions_race_and_one_of_each_version_wins() {
    let server = Server::empty();
    let replies = at_once(20, |n| server.operator(put(SALE, &sale_with(10, json!({ "title": format!("t{n}") })))));
    assert_eq!((with_status(&replies, 201), with_status(&replies, 200)), (1, 19));
    let versions: BTreeSet<u64> = replies.iter().filter_map(|reply| reply.json()["version"].as_u64()).collect();
    assert_eq!(versions, (1..=20).collect());
    let insisting =
        |n: u64| put(SALE, &sale_with(10, json!({ "title": format!("u{n}") }))).header("If-Match", "\"20\"");
    let replies = at_once(20, |n| server.operator(insisting(n)));
    assert_eq!((with_status(&replies, 200), with_status(&replies, 412)), (1, 19));
    server.stop_and_audit();
}

/// Operators raise and lower the stock in three ways while a crowd buys and cancels: at the end every unit is accounted
/// for, and the stock is what the operators' own sums say.
#[test]
fn the_stock_moves_under_a_buying_crowd_and_adds_up() {
    let server = Server::empty();
    server.operator(put(SALE, &sale_with(50, json!({ "per_user_limit": 2 })))).ok(201);
    let (expected, is_over) = (AtomicI64::new(50), AtomicBool::new(false));
    let accepted = Mutex::new(Vec::<Value>::new());
    std::thread::scope(|scope| {
        let (server, expected, is_over, accepted) = (&server, &expected, &is_over, &accepted);
        let crowd: Vec<_> = (0..8_u64)
            .map(|lane| {
                scope.spawn(move || {
                    let mut client = connect(server.shopper);
                    for n in 0..250 {
                        let user = lane * 1_000 + n;
                        let token = server.token(user, None);
                        let request = post(ORDERS).json(&wish(1 + n % 2)).token(&token);
                        let reply = client.ask(&if n % 3 == 0 { request.key("k") } else { request });
                        if reply.status != 201 {
                            reply.problem(409, "sold_out");
                            continue;
                        }
                        let order = reply.ok(201);
                        if n % 4 == 0 {
                            let id = order["order_id"].as_str().expect("an id");
                            client.ask(&post(&format!("/v1/orders/{id}/cancel")).token(&token)).ok(200);
                        }
                        accepted.lock().expect("not poisoned").push(order);
                    }
                })
            })
            .collect();
        // By difference: each restock counts once whatever happens around it.
        scope.spawn(move || {
            let mut n = 0;
            while !is_over.load(Ordering::SeqCst) {
                let stock = post(&format!("{SALE}/stock")).json(&json!({ "sku_id": "2001", "add": 3 }));
                server.operator(stock.clone().key(&format!("r{n}"))).ok(200);
                server.operator(stock.key(&format!("r{n}"))).ok(200);
                expected.fetch_add(3, Ordering::SeqCst);
                n += 1;
            }
        });
        // By total, as a person does: read, then PUT what was read with another total, insisting on the version.
        scope.spawn(move || {
            let mut n = 0_i64;
            while !is_over.load(Ordering::SeqCst) {
                let read = server.operator(get(SALE));
                let stock = read.ok(200)["skus"][0]["stock"].as_i64().expect("a number");
                let wanted = if n % 2 == 0 { stock - 4 } else { stock + 2 };
                let definition =
                    sale_with(u32::try_from(wanted.max(0)).expect("small"), json!({ "per_user_limit": 2 }));
                let tag = read.header("etag").expect("a version");
                let reply = server.operator(put(SALE, &definition).header("If-Match", tag));
                match reply.status {
                    200 => _ = expected.fetch_add(wanted.max(0) - stock, Ordering::SeqCst),
                    412 => _ = reply.problem(412, "version_conflict"),
                    _ => {
                        let problem = reply.problem(422, "invalid_definition");
                        assert!(problem["largest_reduction"].as_u64().is_some_and(|most| most < 4), "{problem}");
                    }
                }
                n += 1;
            }
        });
        crowd.into_iter().for_each(|lane| lane.join().expect("a lane"));
        is_over.store(true, Ordering::SeqCst);
    });
    let accepted = accepted.into_inner().expect("not poisoned");
    let stats = server.stats();
    assert_eq!(stats["skus"][0]["stock"], expected.load(Ordering::SeqCst), "the operators' own sum");
    assert_eq!(stats["accepted"], accepted.len());
    let distinct: BTreeSet<&str> = accepted.iter().filter_map(|order| order["order_id"].as_str()).collect();
    assert_eq!(distinct.len(), accepted.len(), "every acceptance is an order of its own");
    let auditor = server.stop_and_audit();
    assert!(auditor.report().finding(Id::S2).is_some_and(|slots| slots.checked > 100), "and each slot is one unit's");
}
