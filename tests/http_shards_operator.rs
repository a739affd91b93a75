//! A sale of several shards, as its operators meet it: a change acts on every shard before it is answered, it is durable
//! in all of them by then, and numbers and look-ups span them all.

mod http;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use doorbuster::persist::memory::DiskFault;
use http::shards::{
    buy, buy_at_once, cancel, id, line, selling_in_shards, sharded, units, user_of, users_of, with_status,
};
use http::{Client, ORDERS, Reply, SALE, Server, Settings, get, post, put, sale_with, wish};
use serde_json::{Value, json};

const PARTS: u16 = 4;

/// Long enough for an answer that is given too early to be seen; no test waits for it to pass where all is well.
const A_WHILE: Duration = Duration::from_millis(100);

fn switch(server: &Server, to: &str) -> Value {
    server.operator(post(&format!("{SALE}/{to}"))).ok(200)
}

/// A new user of every part asks for a unit, with a key: so no door answers in the part's stead.
fn each_part(server: &Server, from: u64) -> Vec<Reply> {
    let ask = |part| server.shopper(user_of(part, PARTS, from), post(ORDERS).key("k").json(&wish(1)));
    (0..PARTS).map(ask).collect()
}

fn put_stock(server: &Server, path: &str, stock: u32) -> Reply {
    server.operator(put(&format!("{SALE}{path}"), &sharded(PARTS, stock, json!({}))))
}

#[test]
fn a_switch_acts_on_every_shard_before_it_is_answered() {
    let server = selling_in_shards(PARTS, 40, json!({}));
    for from in [1_000, 2_000, 3_000] {
        switch(&server, "pause");
        each_part(&server, from).iter().for_each(|reply| _ = reply.problem(409, "paused"));
        switch(&server, "pause");
        switch(&server, "resume");
        each_part(&server, from).iter().for_each(|reply| _ = reply.ok(201));
    }
    switch(&server, "close");
    each_part(&server, 4_000).iter().for_each(|reply| _ = reply.problem(409, "ended"));
    each_part(&server, 1_000).iter().for_each(|reply| _ = reply.ok(200));
    server.operator(post(&format!("{SALE}/resume"))).problem(409, "activity_closed");
    let disk = server.disk.clone();
    drop(server);
    let server = Server::start(Settings { disk, ..Settings::default() });
    each_part(&server, 4_000).iter().for_each(|reply| _ = reply.problem(409, "ended"));
    server.stop_and_audit();
}

#[test]
fn a_redefinition_acts_on_every_shard_before_it_is_answered() {
    let server = selling_in_shards(PARTS, 40, json!({}));
    for n in 1..=5_u32 {
        let sku = json!({ "sku_id": "2001", "title": "Phone", "price_cents": 100 * n, "stock": 40 });
        let fields = json!({ "skus": [sku], "per_user_limit": n });
        let reply = server.operator(put(SALE, &sharded(PARTS, 40, fields))).ok(200);
        assert_eq!(reply["version"], n + 1);
        // One more a user each time, at the new price.
        for part in 0..PARTS {
            let order = server.shopper(user_of(part, PARTS, 1), post(ORDERS).key(&n.to_string()).json(&wish(1)));
            assert_eq!(order.ok(201)["amount_cents"], 100 * n, "part {part}");
            server.shopper(user_of(part, PARTS, 1), post(ORDERS).json(&wish(1))).problem(409, "limit_reached");
        }
    }
    server.operator(put(SALE, &sharded(PARTS + 1, 40, json!({})))).problem(422, "immutable_field");
    server.stop_and_audit();
}

/// What is to be taken away lies in other shards than the one that decides.
#[test]
fn stock_is_lowered_wherever_its_units_lie_and_never_below_what_is_held() {
    let server = selling_in_shards(PARTS, 40, json!({}));
    put_stock(&server, "", 5).ok(200);
    assert_eq!(units(&server), (5, 5, 0));
    put_stock(&server, "", 41).ok(200);
    each_part(&server, 1).iter().for_each(|reply| _ = reply.ok(201));
    assert_eq!(units(&server), (41, 37, 4));
    for (path, stock) in [("", 3), ("?dry_run=true", 3), ("", 0)] {
        let problem = put_stock(&server, path, stock).problem(422, "invalid_definition");
        assert_eq!((&problem["largest_reduction"], &problem["sku_id"]), (&json!(37), &json!("2001")), "{path} {stock}");
    }
    assert_eq!(units(&server), (41, 37, 4));
    put_stock(&server, "", 4).ok(200);
    assert_eq!(units(&server), (4, 0, 4));
    server.shopper(99, post(ORDERS).json(&wish(1))).problem(409, "sold_out");
    assert_eq!(put_stock(&server, "", 3).problem(422, "invalid_definition")["largest_reduction"], 0);
    put_stock(&server, "", 6).ok(200);
    let replies = buy_at_once(&server, &users_of(3, PARTS, 100).take(3).collect::<Vec<_>>(), 3);
    assert_eq!((with_status(&replies, 201), units(&server)), (2, (6, 0, 6)));
    server.stop_and_audit();
}

/// Held units that have run out by the clock count as free, in whatever shard they lie.
#[test]
fn units_whose_hold_has_run_out_are_taken_away_too() {
    let server = selling_in_shards(PARTS, 8, json!({}));
    assert_eq!(with_status(&buy_at_once(&server, &(1..=8).collect::<Vec<_>>(), 4), 201), 8);
    server.clock.advance_ms(http::PAYMENT_WINDOW_S * 1_000);
    put_stock(&server, "", 1).ok(200);
    assert_eq!(units(&server), (1, 1, 0));
    server.stop_and_audit();
}

#[test]
fn a_sku_is_taken_off_once_nobody_holds_it_and_a_new_one_is_sold_by_every_shard() {
    let server = selling_in_shards(PARTS, 8, json!({}));
    let sku = |sku_id: &str, stock| json!({ "sku_id": sku_id, "title": "Phone", "price_cents": 100, "stock": stock });
    let put_skus = |skus: Value| server.operator(put(SALE, &sharded(PARTS, 8, json!({ "skus": skus }))));
    let of = |sku_id: &str| json!({ "sku_id": sku_id, "quantity": 1 });
    put_skus(json!([sku("2001", 8), sku("2002", 4)])).ok(200);
    let orders: Vec<(u64, Value)> = (0..PARTS)
        .map(|part| user_of(part, PARTS, 1))
        .map(|user| (user, server.shopper(user, post(ORDERS).key("k").json(&of("2002"))).ok(201)))
        .collect();
    server.shopper(99, post(ORDERS).json(&of("2002"))).problem(409, "sold_out");
    assert_eq!(server.stats()["skus"], json!([line("2001", 8, 8, 0), line("2002", 4, 0, 4)]));
    for (user, order) in &orders {
        let problem = put_skus(json!([sku("2001", 8)])).problem(422, "immutable_field");
        assert_eq!(problem["field"], "skus.2002");
        cancel(&server, *user, order);
    }
    put_skus(json!([sku("2001", 8)])).ok(200);
    for (user, _) in &orders {
        server.shopper(*user, post(ORDERS).key("l").json(&of("2002"))).problem(404, "sku_not_found");
    }
    // It comes back with fresh units, which have other numbers.
    put_skus(json!([sku("2002", 4), sku("2001", 8)])).ok(200);
    let again: BTreeSet<String> = orders
        .iter()
        .map(|(user, _)| server.shopper(*user, post(ORDERS).key("m").json(&of("2002"))).ok(201)["slots"].to_string())
        .collect();
    assert_eq!(again, ["[5]", "[6]", "[7]", "[8]"].map(str::to_owned).into());
    server.stop_and_audit();
}

#[test]
fn a_dry_run_changes_nothing_in_any_shard() {
    let server = selling_in_shards(PARTS, 40, json!({}));
    each_part(&server, 1).iter().for_each(|reply| _ = reply.ok(201));
    let before = (server.operator(get(SALE)).ok(200), units(&server));
    let fields = json!({ "title": "Other", "per_user_limit": 9, "skus": [
        { "sku_id": "2001", "title": "Phone", "price_cents": 1, "stock": 4 },
        { "sku_id": "2002", "title": "Case", "price_cents": 1, "stock": 4 },
    ] });
    let reply = server.operator(put(&format!("{SALE}?dry_run=true"), &sharded(PARTS, 4, fields))).ok(200);
    assert!(reply["changes"].as_array().is_some_and(|changes| changes.len() > 2), "{reply}");
    assert_eq!((server.operator(get(SALE)).ok(200), units(&server)), before);
    for part in 0..PARTS {
        let user = user_of(part, PARTS, 1);
        server.shopper(user, post(ORDERS).json(&wish(1))).problem(409, "limit_reached");
        let order = server.shopper(user_of(part, PARTS, 1_000), post(ORDERS).json(&wish(1))).ok(201);
        assert_eq!(order["amount_cents"], 199_900);
        server
            .shopper(user, post(ORDERS).json(&json!({ "sku_id": "2002", "quantity": 1 })))
            .problem(404, "sku_not_found");
    }
    server.stop_and_audit();
}

#[test]
fn the_numbers_are_those_of_all_shards_together() {
    let server = selling_in_shards(PARTS, 20, json!({}));
    let bought: Vec<(u64, Value)> =
        (1..=12).map(|user| (user, server.shopper(user, post(ORDERS).json(&wish(1))).ok(201))).collect();
    bought.iter().step_by(4).for_each(|(user, order)| _ = cancel(&server, *user, order));
    for (user, _) in bought.iter().enumerate().filter(|(n, _)| n % 4 != 0).map(|(_, bought)| bought) {
        server.shopper(*user, post(ORDERS).json(&wish(1))).problem(409, "limit_reached");
    }
    let stats = server.stats();
    assert_eq!(stats["skus"], json!([line("2001", 20, 11, 9)]));
    assert_eq!((&stats["accepted"], &stats["refused"]), (&json!(12), &json!({ "limit_reached": 9 })));
    let shards = stats["shards"].as_array().expect("a list");
    let numbers: Vec<u64> = shards.iter().filter_map(|shard| shard["shard"].as_u64()).collect();
    assert_eq!(numbers, [1, 2, 3, 4]);
    for (field, sum) in [("stock", 20), ("available", 11), ("held", 9)] {
        let each = shards.iter().map(|shard| shard["skus"][0][field].as_u64().expect("a number"));
        assert_eq!(each.sum::<u64>(), sum, "{field}: {stats}");
    }
    for (part, shard) in (0..PARTS).zip(shards) {
        let own = bought.iter().filter(|(user, _)| user_of(part, PARTS, *user) == *user).count();
        assert_eq!(shard["accepted"], own, "part {part}");
    }
    let seen = server.shopper(99, get("/v1/activities/1001")).ok(200);
    assert_eq!((&seen["skus"][0]["remaining"], &seen["skus"][0]["stock"]), (&json!(11), &json!(20)));
    assert_eq!(server.metric("doorbuster_sku_available{activity_id=\"1001\",sku_id=\"2001\"}"), Some(11.0));
    server.stop_and_audit();
}

fn walk(server: &Server, filter: &str, limit: usize) -> Vec<String> {
    let (mut walked, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = server.operator(get(&format!("{SALE}/orders?{filter}limit={limit}{cursor}"))).ok(200);
        let orders = page["orders"].as_array().expect("a list");
        assert!(orders.len() <= limit, "{page}");
        walked.extend(orders.iter().map(|order| id(order).to_owned()));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return walked,
        }
    }
}

/// Shard after shard; one in the middle and the last have none.
#[test]
fn pages_of_orders_go_over_all_shards_and_lose_and_repeat_none() {
    let server = selling_in_shards(6, 60, json!({ "per_user_limit": 2 }));
    let mut placed: Vec<Vec<String>> = Vec::new();
    let (mut cancelled, mut of_user) = (Vec::new(), Vec::new());
    for (part, count) in [(0, 3), (1, 1), (3, 4), (4, 2)] {
        let users: Vec<u64> = users_of(part, 6, 1).take(count).collect();
        let orders = users.iter().map(|user| (*user, server.shopper(*user, post(ORDERS).json(&wish(1))).ok(201)));
        let mut orders: Vec<(u64, Value)> = orders.collect();
        cancel(&server, orders[0].0, &orders[0].1);
        cancelled.push(id(&orders[0].1).to_owned());
        if part == 3 {
            let second = server.shopper(users[2], post(ORDERS).json(&wish(1))).ok(201);
            of_user = vec![id(&orders[2].1).to_owned(), id(&second).to_owned()];
            orders.push((users[2], second));
        }
        placed.push(orders.iter().map(|(_, order)| id(order).to_owned()).collect());
    }
    let all = placed.concat();
    let held: Vec<String> = all.iter().filter(|id| !cancelled.contains(id)).cloned().collect();
    let user = user_of(3, 6, user_of(3, 6, user_of(3, 6, 1) + 1) + 1);
    for limit in [1, 2, 3, 4, 5, 1_000] {
        assert_eq!(walk(&server, "", limit), all, "limit {limit}");
        assert_eq!(walk(&server, "state=cancelled&", limit), cancelled, "limit {limit}");
        assert_eq!(walk(&server, "state=held&", limit), held, "limit {limit}");
        assert_eq!(walk(&server, &format!("user_id={user}&"), limit), of_user, "limit {limit}");
        assert_eq!(walk(&server, "user_id=999999&", limit), Vec::<String>::new());
    }
    let other = json!({ "skus": [{ "sku_id": "2009", "title": "Case", "price_cents": 100, "stock": 10 }] });
    server.operator(put("/admin/v1/activities/1002", &sale_with(10, other))).ok(201);
    let wish = json!({ "sku_id": "2009", "quantity": 1 });
    let order = server.shopper(1, post("/v1/flash-sales/1002/orders").json(&wish)).ok(201);
    let strange = [id(&order), all[0].as_str(), "1", "6871947673600"];
    for (path, cursor) in [(1001, strange[0]), (1002, strange[1]), (1001, strange[2]), (1001, strange[3])] {
        let page = get(&format!("/admin/v1/activities/{path}/orders?cursor={cursor}"));
        server.operator(page).problem(400, "malformed_request");
    }
    server.stop_and_audit();
}

/// So large a definition that the events of eight shards need three records at least.
fn large(title: &str, price_cents: u64) -> Value {
    let sold = json!({ "sku_id": "2001", "title": "Phone", "price_cents": price_cents, "stock": 80 });
    let beside = |n: u32| json!({ "sku_id": format!("beside-{n:0>57}"), "title": "x".repeat(200), "price_cents": 1, "stock": 1 });
    let skus: Value = std::iter::once(sold).chain((1..200).map(beside)).collect();
    sharded(8, 80, json!({ "title": title, "skus": skus }))
}

fn send(server: &Server, request: http::Request) -> Client {
    let mut client = server.operator_client();
    client.send(&request.token(&server.token(900, Some("operator"))).wire());
    client
}

fn title(server: &Server) -> Value {
    server.shopper(1, get("/v1/activities")).ok(200)["activities"][0]["title"].clone()
}

#[test]
fn a_change_is_answered_and_shown_when_it_is_durable_in_every_shard() {
    let server = Server::empty();
    server.operator(put(SALE, &large("Before", 100))).ok(201);
    server.gate.shut();
    let mut change = send(&server, put(SALE, &large("After", 200)));
    for record in 1..=3 {
        server.gate.wait_for_appends(record);
        assert!(change.is_left_waiting(A_WHILE), "record {record} is not durable yet");
        assert_eq!(title(&server), "Before");
        server.gate.let_one_pass();
    }
    server.gate.open();
    assert_eq!(change.reply().expect("an answer").ok(200)["version"], 2);
    assert_eq!(title(&server), "After");
    server.stop_and_audit();
}

/// The journal fails when some shards' events are durable and others' are not: nobody is told, and the next start makes
/// the change whole where its first event is there.
#[test]
fn a_change_that_a_fault_cuts_is_answered_by_nobody_and_is_whole_or_absent_after_the_next_start() {
    for (durable, price_cents) in [(0, 100), (1, 200), (2, 200)] {
        let settings = Settings { toml: "[limits]\nworkers = 2\ndrain_timeout_s = 1\n", ..Settings::default() };
        let server = Server::start(settings);
        server.operator(put(SALE, &large("Before", 100))).ok(201);
        server.disk.fail_after(durable, DiskFault::Sync);
        let mut change = send(&server, put(SALE, &large("After", 200)));
        assert!(!server.expect_a_fault().is_empty());
        assert!(change.is_left_waiting(A_WHILE), "an unknown outcome is neither a yes nor a no");
        assert_eq!(title(&server), "Before");
        let disk = server.disk.clone();
        drop((change, server));
        disk.crash(doorbuster::persist::memory::Tear::Dropped);
        let server = Server::start(Settings { disk, ..Settings::default() });
        assert_eq!(title(&server), if price_cents == 200 { "After" } else { "Before" });
        for part in 0..8 {
            let reply = server.shopper(user_of(part, 8, 1), post(ORDERS).key("k").json(&wish(1)));
            assert_eq!(reply.ok(201)["amount_cents"], price_cents, "part {part}, {durable} records durable");
        }
        server.stop_and_audit();
    }
}

/// Restocks, lower totals, pauses and resumes race a crowd of all shards: every unit is accounted for, the stock is what
/// the operators' own sums say, and what is left is sold to the last unit by one shard.
#[test]
fn operators_race_a_crowd_over_four_shards_and_the_stock_adds_up() {
    let server = selling_in_shards(PARTS, 60, json!({ "per_user_limit": 2 }));
    let (expected, is_over) = (AtomicI64::new(60), AtomicBool::new(false));
    let accepted: Vec<String> = std::thread::scope(|scope| {
        let (server, expected, is_over) = (&server, &expected, &is_over);
        let crowd: Vec<_> = (0..6_u64).map(|lane| scope.spawn(move || lane_of_crowd(server, lane))).collect();
        scope.spawn(move || {
            while !is_over.load(Ordering::SeqCst) {
                let stock = post(&format!("{SALE}/stock")).json(&json!({ "sku_id": "2001", "add": 3 }));
                server.operator(stock).ok(200);
                expected.fetch_add(3, Ordering::SeqCst);
            }
        });
        scope.spawn(move || {
            while !is_over.load(Ordering::SeqCst) {
                let read = server.operator(get(SALE));
                let stock = read.ok(200)["skus"][0]["stock"].as_i64().expect("a number");
                let wanted = u32::try_from((stock - 4).max(0)).expect("small");
                let definition = sharded(PARTS, wanted, json!({ "per_user_limit": 2 }));
                let tag = read.header("etag").expect("a version");
                match server.operator(put(SALE, &definition).header("If-Match", tag)) {
                    reply if reply.status == 200 => _ = expected.fetch_sub(4.min(stock), Ordering::SeqCst),
                    reply if reply.status == 412 => _ = reply.problem(412, "version_conflict"),
                    reply => {
                        let problem = reply.problem(422, "invalid_definition");
                        assert!(problem["largest_reduction"].as_u64().is_some_and(|most| most < 4), "{problem}");
                    }
                }
            }
        });
        scope.spawn(move || {
            while !is_over.load(Ordering::SeqCst) {
                switch(server, "pause");
                switch(server, "resume");
            }
        });
        let accepted = crowd.into_iter().flat_map(|lane| lane.join().expect("a lane")).collect();
        is_over.store(true, Ordering::SeqCst);
        accepted
    });
    let (stock, available, held) = units(&server);
    assert_eq!(i64::try_from(stock), Ok(expected.load(Ordering::SeqCst)), "the operators' own sum");
    assert_eq!(available + held, stock);
    assert_eq!(accepted.iter().collect::<BTreeSet<_>>().len(), accepted.len(), "each an order of its own");
    assert_eq!((server.stats()["accepted"].as_u64(), accepted.is_empty()), (Some(accepted.len() as u64), false));
    let rest: Vec<u64> = users_of(2, PARTS, 100_000).take(usize::try_from(available).expect("small")).collect();
    assert_eq!(with_status(&buy_at_once(&server, &rest, 8), 201), rest.len());
    assert_eq!(units(&server), (stock, 0, stock));
    server.shopper(99_999, post(ORDERS).json(&wish(1))).problem(409, "sold_out");
    server.stop_and_audit();
}

/// Buys and cancels; gives the orders that were accepted.
fn lane_of_crowd(server: &Server, lane: u64) -> Vec<String> {
    let mut client = server.shopper_client();
    let mut accepted = Vec::new();
    for n in 0..150 {
        let user = 1 + lane * 1_000 + n;
        let reply = buy(server, &mut client, user, if n % 2 == 0 { 1 } else { 2 });
        if reply.status != 201 {
            let code = reply.json()["code"].clone();
            assert!(["sold_out", "paused"].contains(&code.as_str().unwrap_or_default()), "{}", reply.text());
            continue;
        }
        let order = reply.ok(201);
        if n % 4 == 0 {
            let path = format!("/v1/orders/{}/cancel", id(&order));
            client.ask(&post(&path).token(&server.token(user, None))).ok(200);
        }
        accepted.push(id(&order).to_owned());
    }
    accepted
}
