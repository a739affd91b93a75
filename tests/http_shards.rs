//! A sale of several shards, as its shoppers meet it: no unit is out of reach because it lies in another shard, none is
//! sold twice, and nobody's limit, keys or orders depend on the shard that serves them.

mod http;

use std::collections::BTreeSet;

use http::shards::{buy, buy_at_once, cancel, id, selling_in_shards, sharded, units, user_of, users_of, with_status};
use http::{ORDERS, PAYMENT_WINDOW_S, Reply, SALE, Server, Settings, get, post, put, wish};
use serde_json::{Value, json};

const PARTS: u16 = 4;

/// A window long enough for every hold of a test to expire in.
fn long() -> Value {
    json!({ "ends_at": "2026-11-12T00:00:00Z" })
}

fn slots(replies: &[Reply]) -> BTreeSet<u64> {
    let sold = replies.iter().filter(|reply| reply.status == 201).map(Reply::json);
    sold.flat_map(|order| order["slots"].as_array().expect("a list").clone())
        .map(|slot| slot.as_u64().expect("a number"))
        .collect()
}

#[test]
fn sixty_four_shoppers_get_the_sixty_four_units_of_sixty_four_shards() {
    let server = selling_in_shards(64, 64, json!({}));
    let replies = buy_at_once(&server, &(1..=64).collect::<Vec<_>>(), 16);
    assert_eq!((with_status(&replies, 201), slots(&replies)), (64, (1..=64).collect()));
    server.shopper(65, post(ORDERS).json(&wish(1))).problem(409, "sold_out");
    server.shopper(65, post(ORDERS).key("k").json(&wish(1))).problem(409, "sold_out");
    assert_eq!(units(&server), (64, 0, 64));
    server.stop_and_audit();
}

/// One part is the home; the other must have every unit fetched for it.
#[test]
fn a_crowd_that_is_served_by_one_shard_gets_every_unit_of_all() {
    for part in [0, 5] {
        let server = selling_in_shards(8, 1_000, json!({}));
        let crowd: Vec<u64> = users_of(part, 8, 1).take(1_200).collect();
        let replies = buy_at_once(&server, &crowd, 24);
        assert_eq!((with_status(&replies, 201), with_status(&replies, 409)), (1_000, 200));
        replies.iter().filter(|reply| reply.status == 409).for_each(|reply| _ = reply.problem(409, "sold_out"));
        assert_eq!(slots(&replies), (1..=1_000).collect(), "each a unit of its own");
        let stats = server.stats();
        assert_eq!((&stats["accepted"], &stats["skus"][0]["available"]), (&json!(1_000), &json!(0)));
        assert_eq!(stats["shards"][usize::from(part)]["accepted"], 1_000, "all of them at the one shard");
        server.stop_and_audit();
    }
}

/// S6: as many units as shoppers, so a single `sold_out` would be a lie.
#[test]
fn nobody_is_told_sold_out_while_a_unit_is_free_anywhere() {
    for part in [0, 3, 7] {
        let server = selling_in_shards(8, 250, json!({}));
        let replies = buy_at_once(&server, &users_of(part, 8, 1).take(250).collect::<Vec<_>>(), 24);
        let refused: Vec<&str> = replies.iter().filter(|reply| reply.status != 201).map(Reply::text).collect();
        assert!(refused.is_empty(), "{refused:?}");
        server.stop_and_audit();
    }
}

#[test]
fn units_of_several_shards_are_one_order() {
    for parts in [2, PARTS] {
        for part in 0..parts {
            let server = selling_in_shards(parts, parts.into(), json!({ "per_user_limit": parts }));
            let mut client = server.shopper_client();
            let order = buy(&server, &mut client, user_of(part, parts, 1), parts.into()).ok(201);
            assert_eq!(order["slots"].as_array().map(Vec::len), Some(parts.into()), "{order}");
            let next = user_of((part + 1) % parts, parts, 1_000);
            server.shopper(next, post(ORDERS).json(&wish(1))).problem(409, "sold_out");
            server.stop_and_audit();
        }
    }
}

/// One fewer than the order wants is sold out for it, wherever they lie, and is sold to who wants fewer.
#[test]
fn too_few_over_all_shards_are_sold_out_for_a_large_order_only() {
    let server = selling_in_shards(PARTS, 4, json!({ "per_user_limit": 5 }));
    for part in 0..PARTS {
        let user = user_of(part, PARTS, 1);
        for request in [post(ORDERS), post(ORDERS).key("k")] {
            server.shopper(user, request.json(&wish(5))).problem(409, "sold_out");
        }
    }
    assert_eq!(server.stats()["refused"], json!({ "sold_out": 8 }), "at the door and behind it, each once");
    buy(&server, &mut server.shopper_client(), user_of(3, PARTS, 1), 4).ok(201);
    server.stop_and_audit();
}

/// From every shard to every other one; the second asks at the door, and with a key past it.
#[test]
fn a_unit_given_back_at_one_shard_is_sold_at_another_at_once() {
    let server = selling_in_shards(PARTS, 1, long());
    let mut fresh = 1;
    let mut user = |part| {
        fresh = user_of(part, PARTS, fresh) + 1;
        fresh - 1
    };
    for (from, to) in (0..PARTS).flat_map(|from| (0..PARTS).map(move |to| (from, to))) {
        for way in ["cancelled", "expired"] {
            let (first, second) = (user(from), user(to));
            let order = server.shopper(first, post(ORDERS).json(&wish(1))).ok(201);
            server.shopper(second, post(ORDERS).json(&wish(1))).problem(409, "sold_out");
            server.shopper(second, post(ORDERS).key("k").json(&wish(1))).problem(409, "sold_out");
            match way {
                "cancelled" => _ = cancel(&server, first, &order),
                _ => server.clock.advance_ms(PAYMENT_WINDOW_S * 1_000),
            }
            let request = if from < to { post(ORDERS) } else { post(ORDERS).key("k") };
            let reply = server.shopper(second, request.json(&wish(1)));
            assert_eq!(reply.status, 201, "{way} at {from}, wanted at {to}: {}", reply.text());
            let was = server.shopper(first, get(&format!("/v1/orders/{}", id(&order)))).ok(200);
            assert_eq!(was["state"], way);
            cancel(&server, second, &reply.json());
        }
    }
    assert_eq!(units(&server), (1, 1, 0));
    server.stop_and_audit();
}

#[test]
fn units_that_are_added_are_sold_at_every_shard_at_once() {
    let server = selling_in_shards(PARTS, 1, json!({}));
    server.shopper(user_of(2, PARTS, 1), post(ORDERS).json(&wish(1))).ok(201);
    for part in 0..PARTS {
        let user = user_of(part, PARTS, 1_000);
        server.shopper(user, post(ORDERS).json(&wish(1))).problem(409, "sold_out");
        server.operator(post(&format!("{SALE}/stock")).json(&json!({ "sku_id": "2001", "add": 1 }))).ok(200);
        server.shopper(user, post(ORDERS).json(&wish(1))).ok(201);
    }
    assert_eq!(units(&server), (5, 0, 5));
    server.stop_and_audit();
}

/// More lapse in all shards than one step releases.
#[test]
fn a_mass_expiry_in_all_shards_frees_every_unit_for_the_users_of_one() {
    let server = selling_in_shards(PARTS, 400, long());
    let replies = buy_at_once(&server, &(1..=400).collect::<Vec<_>>(), 8);
    assert_eq!(with_status(&replies, 201), 400);
    server.clock.advance_ms(PAYMENT_WINDOW_S * 1_000);
    let crowd: Vec<u64> = users_of(1, PARTS, 1_000).take(400).collect();
    assert_eq!(with_status(&buy_at_once(&server, &crowd, 16), 201), 400);
    server.stop_and_audit();
}

/// A limit and a key belong to one shard, whatever is asked of the others, and over a restart.
#[test]
fn limits_and_keys_hold_in_every_shard_and_over_a_restart() {
    let server = selling_in_shards(PARTS, 40, json!({ "per_user_limit": 2 }));
    let users: Vec<u64> = (0..PARTS).map(|part| user_of(part, PARTS, 1)).collect();
    let orders: Vec<Value> =
        users.iter().map(|user| server.shopper(*user, post(ORDERS).key("k").json(&wish(2))).ok(201)).collect();
    let stock = post(&format!("{SALE}/stock")).key("more").json(&json!({ "sku_id": "2001", "add": 3 }));
    server.operator(stock.clone()).ok(200);
    let check = |server: &Server| {
        for (user, order) in users.iter().zip(&orders) {
            let again = server.shopper(*user, post(ORDERS).key("k").json(&wish(2)));
            assert_eq!((again.ok(200), again.header("idempotent-replayed")), (order.clone(), Some("true")));
            server.shopper(*user, post(ORDERS).key("k").json(&wish(1))).problem(422, "idempotency_key_reused");
            for request in [post(ORDERS), post(ORDERS).key("other")] {
                let problem = server.shopper(*user, request.json(&wish(1))).problem(409, "limit_reached");
                assert_eq!(problem["order_ids"], json!([id(order)]));
            }
        }
        assert_eq!(server.operator(stock.clone()).header("idempotent-replayed"), Some("true"));
        assert_eq!(units(server), (43, 35, 8));
    };
    check(&server);
    let disk = server.disk.clone();
    drop(server);
    let server = Server::start(Settings { disk, ..Settings::default() });
    check(&server);
    server.stop_and_audit();
}

#[test]
fn users_of_every_shard_find_and_cancel_their_orders_and_no_others() {
    let server = selling_in_shards(PARTS, 40, json!({ "per_user_limit": 3 }));
    for part in 0..PARTS {
        let (user, other) = (user_of(part, PARTS, 1), user_of(part, PARTS, 1_000));
        assert_eq!(server.shopper(user, get("/v1/flash-sales/1001/result?sku_id=2001")).ok(200)["result"], "-1");
        let orders: Vec<Value> = (0..3).map(|_| server.shopper(user, post(ORDERS).json(&wish(1))).ok(201)).collect();
        let own = server.shopper(user, get(ORDERS)).ok(200)["orders"].clone();
        assert_eq!(own, orders.iter().rev().cloned().collect::<Value>(), "newest first");
        let page = server.shopper(user, get(&format!("{ORDERS}?limit=2"))).ok(200);
        let next = page["next_cursor"].as_str().expect("one more is there");
        let rest = server.shopper(user, get(&format!("{ORDERS}?limit=2&cursor={next}"))).ok(200);
        assert_eq!((&rest["orders"], &rest["next_cursor"]), (&json!([orders[0]]), &Value::Null));
        let result = server.shopper(user, get("/v1/flash-sales/1001/result?sku_id=2001")).ok(200);
        assert_eq!(result["result"], orders[2]["order_id"]);
        let path = format!("/v1/orders/{}", id(&orders[1]));
        assert_eq!(server.shopper(user, get(&path)).ok(200), orders[1]);
        server.shopper(other, get(&path)).problem(404, "order_not_found");
        server.shopper(other, post(&format!("{path}/cancel"))).problem(404, "order_not_found");
        let cancelled = cancel(&server, user, &orders[1]);
        assert_eq!((&cancelled["state"], &cancel(&server, user, &orders[1])), (&json!("cancelled"), &cancelled));
        let looked_up = server.operator(get(&format!("/admin/v1/orders/{}", id(&orders[1])))).ok(200);
        assert_eq!((&looked_up["user_id"], &looked_up["state"]), (&json!(user.to_string()), &json!("cancelled")));
        assert_eq!(server.shopper(other, get(ORDERS)).ok(200)["orders"], json!([]));
    }
    server.stop_and_audit();
}

#[test]
fn outside_its_window_no_shard_sells() {
    let server = selling_in_shards(PARTS, 8, json!({ "starts_at": "2026-11-11T00:30:00Z" }));
    let each = |status: u16, code: &str| {
        for user in (0..PARTS).map(|part| user_of(part, PARTS, 1)) {
            for request in [post(ORDERS), post(ORDERS).key("k")] {
                server.shopper(user, request.json(&wish(1))).problem(status, code);
            }
        }
    };
    each(409, "not_started");
    server.clock.advance_ms(30 * 60 * 1_000);
    server.shopper(user_of(1, PARTS, 50), post(ORDERS).json(&wish(1))).ok(201);
    server.clock.advance_ms(30 * 60 * 1_000);
    each(409, "ended");
    server.operator(put(SALE, &sharded(PARTS, 9, json!({ "starts_at": "2026-11-11T00:30:00Z" })))).ok(200);
    server.stop_and_audit();
}
