//! Red packets over the wire: every field, every refusal in its order, limits and keys, crowds over several shards, and
//! rounds' ends. Money is exact to the cent in all of them.

mod http;

use std::time::{Duration, Instant};

use http::packets::{
    FIRST_ENDS_MS, GRABS, RAIN, SECOND_ENDS_MS, SECOND_STARTS_MS, amounts, detail, ended, grab, grab_at_once, grabbed,
    rain, rain_with, raining, round, stats,
};
use http::shards::with_status;
use http::{NOW_MS, ORDERS, Server, Settings, get, post, put, toml_of, wish};
use serde_json::{Value, json};

fn four_shards() -> Value {
    json!({ "shards": 4 })
}

#[test]
fn lists_detail_and_stats_have_the_contracts_fields() {
    let server = raining(5, 1_000, json!({}));
    server.operator(put(http::SALE, &http::sale(1))).ok(201);
    let line = json!({ "activity_id": "1002", "kind": "red_packet", "title": "Double 11 rain", "state": "running",
        "starts_at_ms": NOW_MS - 10_000, "ends_at_ms": SECOND_ENDS_MS });
    let list = |query: &str| server.shopper(7, get(&format!("/v1/activities{query}"))).ok(200)["activities"].clone();
    assert_eq!(list("?kind=red_packet"), json!([line]));
    assert_eq!(list("?kind=flash_sale").as_array().map(Vec::len), Some(1));
    assert_eq!(list("").as_array().map(Vec::len), Some(2));

    let first = grab(&server, 7).ok(201);
    let shown = detail(&server);
    for (name, value) in line.as_object().expect("an object") {
        assert_eq!(shown[name], *value, "the same plus its rounds: {name}");
    }
    assert_eq!(shown.get("skus"), None);
    let rounds = shown["rounds"].as_array().expect("rounds");
    for (number, (round, remaining)) in rounds.iter().zip([4, 7]).enumerate() {
        let (starts_at_ms, ends_at_ms, total_cents, packets) = match number {
            0 => (NOW_MS - 10_000, FIRST_ENDS_MS, 1_000, 5),
            _ => (SECOND_STARTS_MS, SECOND_ENDS_MS, 700, 7),
        };
        let commitment = round["commitment"].as_str().expect("it is public");
        assert!(commitment.len() == 64 && commitment.bytes().all(|byte| byte.is_ascii_hexdigit()), "{commitment}");
        let expected = json!({ "round": number, "starts_at_ms": starts_at_ms, "ends_at_ms": ends_at_ms,
            "total_cents": total_cents, "packets": packets, "remaining": remaining,
            "split": "random", "min_cents": 1, "max_cents": 20_000, "commitment": commitment, "seed": null });
        assert_eq!(*round, expected);
    }

    let cents = first["amount_cents"].as_u64().expect("a number");
    let shown = stats(&server);
    let untouched = json!({ "round": 1, "total_cents": 700, "packets": 7, "granted_cents": 0, "granted": 0,
        "remaining_cents": 700, "remaining": 7, "refunded_cents": 0, "refunded": 0 });
    let touched = json!({ "round": 0, "total_cents": 1_000, "packets": 5, "granted_cents": cents, "granted": 1,
        "remaining_cents": 1_000 - cents, "remaining": 4, "refunded_cents": 0, "refunded": 0 });
    assert_eq!(shown["rounds"], json!([touched, untouched]));
    assert_eq!((&shown["accepted"], &shown["state"], shown.get("skus")), (&json!(1), &json!("running"), None));
    assert_eq!(
        shown["shards"][0]["rounds"][0],
        json!({ "round": 0, "granted": 1, "granted_cents": cents, "remaining": 4 })
    );
    server.stop_and_audit();
}

#[test]
fn a_grab_has_the_contracts_fields_and_is_no_order() {
    let server = raining(5, 1_000, json!({}));
    let reply = grab(&server, 7);
    let first = reply.ok(201);
    assert_eq!(reply.header("location"), None);
    let (id, cents) = (first["grab_id"].as_str().expect("an id"), first["amount_cents"].as_u64().expect("cents"));
    assert_eq!(
        first,
        json!({ "grab_id": id, "activity_id": "1002", "round": 0, "packet": 0, "amount_cents": cents,
        "state": "granted", "granted_at_ms": NOW_MS })
    );
    assert_eq!(server.shopper(7, get(GRABS)).ok(200), json!({ "grabs": [first], "next_cursor": null }));
    assert_eq!(server.shopper(8, get(GRABS)).ok(200), json!({ "grabs": [], "next_cursor": null }));
    // A body, if there is one, is not looked at.
    server.shopper(8, post(GRABS).header("Content-Type", "text/plain").text("{")).ok(201);

    let order = format!("/v1/orders/{id}");
    server.shopper(7, get(&order)).problem(404, "order_not_found");
    server.shopper(7, post(&format!("{order}/cancel"))).problem(404, "order_not_found");
    server.operator(get(&format!("/admin{order}"))).problem(404, "order_not_found");
    server
        .operator(post(&format!("/admin{order}/refund")).json(&json!({ "restock": true })))
        .problem(404, "order_not_found");
    server.operator(get(&format!("{RAIN}/orders"))).problem(404, "activity_not_found");
    server
        .operator(post(&format!("{RAIN}/stock")).json(&json!({ "sku_id": "0", "add": 1 })))
        .problem(404, "sku_not_found");
    server.stop_and_audit();
}

#[test]
fn a_route_of_one_kind_knows_no_activity_of_the_other() {
    let server = raining(5, 1_000, json!({}));
    server.operator(put(http::SALE, &http::sale(1))).ok(201);
    let of_sale = "/v1/red-packets/1001/grabs";
    for request in [post(of_sale), post(of_sale).key("k"), get(of_sale), post("/v1/red-packets/9/grabs")] {
        server.shopper(7, request).problem(404, "activity_not_found");
    }
    let orders = ORDERS.replace("1001", "1002");
    let round = json!({ "sku_id": "0", "quantity": 1 });
    for request in [
        post(&orders).json(&round),
        post(&orders).key("k").json(&wish(1)),
        get(&orders),
        get("/v1/flash-sales/1002/result?sku_id=0"),
    ] {
        server.shopper(7, request).problem(404, "activity_not_found");
    }
    // What counts the packets of round 0 is no SKU that anybody else may not sell.
    let zero = json!({ "skus": [{ "sku_id": "0", "title": "Zero", "price_cents": 1, "stock": 1 }] });
    server.operator(put("/admin/v1/activities/1003", &http::sale_with(1, zero))).ok(201);
    server.stop_and_audit();
}

/// One request in the several worlds that give it each refusal; each has the faults of those below it, too.
#[test]
fn a_grab_is_refused_in_the_contracts_order() {
    let server = Server::empty();
    let round = |starts_at: &str, ends_at: &str| json!([{ "starts_at": starts_at, "ends_at": ends_at, "total_cents": 1, "packets": 1 }]);
    let world = |id: u32, rounds: Value| {
        let path = format!("/admin/v1/activities/{id}");
        server.operator(put(&path, &rain_with(1, 1, json!({ "rounds": rounds })))).ok(201);
        path
    };
    let soon = round("2026-11-11T00:00:01Z", "2026-11-11T00:01:00Z");
    let over = round("2026-11-10T23:59:00Z", "2026-11-11T00:00:00Z");
    let runs = round("2026-11-10T23:59:00Z", "2026-11-11T00:01:00Z");
    world(1, soon.clone());
    server.operator(post(&format!("{}/pause", world(2, soon.clone())))).ok(200);
    world(3, over.clone());
    server.operator(post(&format!("{}/pause", world(4, over)))).ok(200);
    server.operator(post(&format!("{}/close", world(5, soon)))).ok(200);
    let paused = world(6, runs.clone());
    world(7, runs);
    let ask = |id: u32, key: bool| {
        let request = post(&format!("/v1/red-packets/{id}/grabs"));
        server.shopper(7, if key { request.key("k") } else { request })
    };
    let mine = ask(6, false).ok(201)["grab_id"].clone();
    server.operator(post(&format!("{paused}/pause"))).ok(200);

    server.stranger(post("/v1/red-packets/x/grabs").key("")).problem(401, "unauthenticated");
    server.shopper(7, post("/v1/red-packets/x/grabs")).problem(400, "malformed_request");
    server.shopper(7, post("/v1/red-packets/99/grabs").key("a b")).problem(400, "malformed_request");
    let too_much = post("/v1/red-packets/99/grabs").key("k").bytes(&[b'x'; 16_385]);
    server.shopper(7, too_much).problem(413, "payload_too_large");
    for key in [false, true] {
        ask(99, key).problem(404, "activity_not_found");
        for id in [1, 2] {
            let problem = ask(id, key).problem(409, "not_started");
            let told = (&problem["starts_at_ms"], &problem["server_time_ms"]);
            assert_eq!(told, (&json!(NOW_MS + 1_000), &json!(NOW_MS)));
        }
        for id in [3, 4, 5] {
            ask(id, key).problem(409, "ended");
        }
        ask(6, key).problem(409, "paused");
    }
    server.operator(post(&format!("{paused}/resume"))).ok(200);
    // `sold_out` may stand in for it at the door; behind it the limit comes first.
    assert_eq!(ask(6, true).problem(409, "limit_reached")["order_ids"], json!([mine]));
    server.shopper(8, post("/v1/red-packets/7/grabs")).ok(201);
    ask(7, false).problem(409, "sold_out");
    ask(7, true).problem(409, "sold_out");
    server.stop_and_audit();
}

#[test]
fn each_round_has_a_limit_of_its_own_and_between_rounds_nobody_grabs() {
    let server = raining(5, 1_000, json!({ "per_user_limit": 2 }));
    let ids: Vec<Value> = (0..2).map(|_| grab(&server, 7).ok(201)["grab_id"].clone()).collect();
    let problem = grab(&server, 7).problem(409, "limit_reached");
    assert_eq!(problem["order_ids"], json!([ids[1], ids[0]]));
    server.clock.advance_ms(FIRST_ENDS_MS - NOW_MS - 1);
    grab(&server, 8).ok(201);
    server.clock.advance_ms(1);
    for request in [post(GRABS), post(GRABS).key("k")] {
        let problem = server.shopper(9, request).problem(409, "not_started");
        assert_eq!(problem["starts_at_ms"], SECOND_STARTS_MS);
        assert_eq!(problem["server_time_ms"], FIRST_ENDS_MS);
    }
    assert_eq!(detail(&server)["state"], "scheduled");
    server.clock.advance_ms(SECOND_STARTS_MS - FIRST_ENDS_MS);
    assert_eq!(detail(&server)["state"], "running");
    for packet in 0..2 {
        let second = grab(&server, 7).ok(201);
        assert_eq!((&second["round"], &second["packet"]), (&json!(1), &json!(packet)));
    }
    grab(&server, 7).problem(409, "limit_reached");
    // Newest first, over both rounds, a page at a time.
    let page = server.shopper(7, get(&format!("{GRABS}?limit=3"))).ok(200);
    let rounds: Vec<&Value> = page["grabs"].as_array().expect("a list").iter().map(|grab| &grab["round"]).collect();
    assert_eq!(rounds, [1, 1, 0]);
    let cursor = page["next_cursor"].as_str().expect("there is one more");
    let rest = server.shopper(7, get(&format!("{GRABS}?limit=3&cursor={cursor}"))).ok(200);
    assert_eq!((&rest["grabs"][0]["grab_id"], &rest["next_cursor"]), (&ids[0], &Value::Null));
    server.clock.advance_ms(SECOND_ENDS_MS - SECOND_STARTS_MS);
    grab(&server, 9).problem(409, "ended");
    server.stop_and_audit();
}

#[test]
fn a_keys_packet_is_answered_in_every_state_and_after_a_restart() {
    let server = raining(1, 88, json!({}));
    let first = server.shopper(7, post(GRABS).key("k")).ok(201);
    let again = |server: &Server, what: &str| {
        let reply = server.shopper(7, post(GRABS).key("k"));
        assert_eq!((reply.ok(200), reply.header("idempotent-replayed")), (first.clone(), Some("true")), "{what}");
    };
    again(&server, "sold out");
    server.shopper(8, post(GRABS).key("k")).problem(409, "sold_out");
    server.operator(post(&format!("{RAIN}/pause"))).ok(200);
    again(&server, "paused");
    let disk = server.disk.clone();
    server.stop_and_audit();
    let server = Server::start(Settings { disk, ..Settings::default() });
    again(&server, "after a restart");
    server.clock.advance_ms(FIRST_ENDS_MS - NOW_MS);
    again(&server, "between rounds");
    server.operator(post(&format!("{RAIN}/close"))).ok(200);
    again(&server, "closed");
    assert_eq!(ended(&server, 1), [(0, 0), (0, 0), (7, 700)]);
    server.stop_and_audit();
}

#[test]
fn low_storage_stops_new_grabs_only() {
    let server = raining(5, 1_000, json!({}));
    let first = server.shopper(7, post(GRABS).key("k")).ok(201);
    let cents = first["amount_cents"].as_u64().expect("cents");
    let disk = server.disk.clone();
    server.stop_and_audit();
    // No disk has that much room: the server finds so at its start, and at each look after it.
    let tweak = |config: &mut doorbuster::config::Config| config.journal.min_free_bytes = u64::MAX;
    let server = Server::start(Settings { disk, tweak: Some(tweak), ..Settings::default() });
    grab(&server, 8).problem(503, "storage_low");
    assert_eq!(server.shopper(7, post(GRABS).key("k")).ok(200), first);
    grab(&server, 7).problem(409, "limit_reached");
    // What nobody grabbed is refunded all the same.
    server.clock.advance_ms(FIRST_ENDS_MS - NOW_MS);
    assert_eq!(ended(&server, 0), [(1, cents), (0, 0), (4, 1_000 - cents)]);
    server.stop_and_audit();
}

#[test]
fn equal_packets_differ_by_a_cent_at_most() {
    let fields = json!({ "split": "equal", "rounds": [{ "starts_at": "2026-11-10T23:59:50Z",
        "ends_at": "2026-11-11T00:00:30Z", "total_cents": 1_003, "packets": 10 }] });
    let server = raining(0, 0, fields);
    let replies = grab_at_once(&server, &(1..=12).collect::<Vec<_>>(), 3);
    assert_eq!((with_status(&replies, 201), with_status(&replies, 409)), (10, 2));
    let mut cents: Vec<u64> = grabbed(&replies).into_iter().map(|(_, cents)| cents).collect();
    cents.sort_unstable();
    assert_eq!(cents, [100, 100, 100, 100, 100, 100, 100, 101, 101, 101]);
    server.stop_and_audit();
}

/// All of them, whichever shard serves them; and each amount is what the seed says, once it is public.
#[test]
fn a_crowd_over_four_shards_gets_every_packet_and_every_cent() {
    let server = raining(200, 123_457, four_shards());
    let replies = grab_at_once(&server, &(1..=300).collect::<Vec<_>>(), 12);
    assert_eq!((with_status(&replies, 201), with_status(&replies, 409)), (200, 100));
    replies.iter().filter(|reply| reply.status == 409).for_each(|reply| _ = reply.problem(409, "sold_out"));
    let packets = grabbed(&replies);
    assert!(packets.iter().map(|(packet, _)| *packet).eq(0..200), "each a packet of its own");
    assert_eq!(packets.iter().map(|(_, cents)| cents).sum::<u64>(), 123_457);
    assert_eq!(round(&server, 0), [(200, 123_457), (0, 0), (0, 0)]);
    server.clock.advance_ms(FIRST_ENDS_MS - NOW_MS);
    let said = amounts(&detail(&server), &rain(200, 123_457), 0);
    assert_eq!(packets.into_iter().map(|(_, cents)| cents).collect::<Vec<_>>(), said);
    assert_eq!(detail(&server)["rounds"][1]["seed"], Value::Null);
    assert_eq!(ended(&server, 0), [(200, 123_457), (0, 0), (0, 0)]);
    server.stop_and_audit();
}

/// S6: as many packets as users, all of them served by one shard, the home or another.
#[test]
fn nobody_is_told_sold_out_while_a_packet_is_free_anywhere() {
    for part in [0, 2] {
        let server = raining(120, 9_999, four_shards());
        let users: Vec<u64> = http::shards::users_of(part, 4, 1).take(120).collect();
        let replies = grab_at_once(&server, &users, 12);
        assert_eq!(with_status(&replies, 201), 120);
        assert_eq!(grabbed(&replies).iter().map(|(_, cents)| cents).sum::<u64>(), 9_999);
        server.stop_and_audit();
    }
}

#[test]
fn what_nobody_grabbed_is_refunded_at_a_rounds_end_once() {
    for fields in [json!({}), four_shards()] {
        let server = raining(50, 5_000, fields);
        let replies = grab_at_once(&server, &(1..=20).collect::<Vec<_>>(), 4);
        let cents: u64 = grabbed(&replies).iter().map(|(_, cents)| cents).sum();
        assert_eq!(round(&server, 0), [(20, cents), (30, 5_000 - cents), (0, 0)]);
        let disk = server.disk.clone();
        server.stop_and_audit();

        // The round is over while it runs again.
        let server = Server::start(Settings { disk: disk.clone(), ..Settings::default() });
        assert_eq!(round(&server, 0), [(20, cents), (30, 5_000 - cents), (0, 0)], "after a restart");
        server.clock.advance_ms(FIRST_ENDS_MS - NOW_MS);
        assert_eq!(ended(&server, 0), [(20, cents), (0, 0), (30, 5_000 - cents)]);
        assert_eq!(detail(&server)["rounds"][0]["remaining"], 0);
        let said = amounts(&detail(&server), &rain(50, 5_000), 0);
        assert!(grabbed(&replies).iter().all(|(packet, cents)| said[usize::try_from(*packet).expect("few")] == *cents));
        server.stop_and_audit();

        let server = Server::start(Settings { disk, ..Settings::default() });
        server.clock.advance_ms(FIRST_ENDS_MS - NOW_MS);
        assert_eq!(ended(&server, 0), [(20, cents), (0, 0), (30, 5_000 - cents)], "once");
        assert_eq!(round(&server, 1), [(0, 0), (7, 700), (0, 0)]);
        server.clock.advance_ms(SECOND_ENDS_MS - FIRST_ENDS_MS);
        assert_eq!(ended(&server, 1), [(0, 0), (0, 0), (7, 700)]);
        server.stop_and_audit();
    }
}

/// No shard is asked for anything: its host's timer does it, or nobody.
#[test]
fn a_round_is_ended_though_nobody_asks() {
    let server = raining(5, 1_000, json!({}));
    let events = || server.metric("doorbuster_journal_events_total");
    assert_eq!(events(), Some(1.0));
    server.clock.advance_ms(FIRST_ENDS_MS - NOW_MS);
    let begun = Instant::now();
    while events() == Some(1.0) {
        assert!(begun.elapsed() < Duration::from_secs(20), "the host never wakes");
    }
    server.clock.advance_ms(SECOND_ENDS_MS - FIRST_ENDS_MS);
    while events() == Some(2.0) {
        assert!(begun.elapsed() < Duration::from_secs(20), "the host wakes once only");
    }
    assert_eq!(events(), Some(3.0), "each once");
    assert_eq!((ended(&server, 0), ended(&server, 1)), ([(0, 0), (0, 0), (5, 1_000)], [(0, 0), (0, 0), (7, 700)]));
    server.stop_and_audit();
}

/// An ended rain leaves memory once its rounds have ended, and its packets stay answerable.
#[test]
fn a_rain_leaves_memory_after_its_last_rounds_end() {
    for fields in [json!({}), four_shards()] {
        let settings = || Settings { tweak: Some(|config| config.journal.retain_ended_s = 0), ..Settings::default() };
        let server = Server::start(settings());
        server.operator(put(RAIN, &rain_with(50, 5_000, fields))).ok(201);
        let first = server.shopper(7, post(GRABS).key("k")).ok(201);
        let cents = first["amount_cents"].as_u64().expect("cents");
        let disk = server.disk.clone();
        server.clock.advance_ms(SECOND_ENDS_MS - NOW_MS);
        let is_told = |server: &Server| {
            let begun = Instant::now();
            while server.metric("doorbuster_activities_left") != Some(1.0) {
                assert!(begun.elapsed() < Duration::from_secs(20), "it never leaves");
            }
            assert_eq!(server.shopper(7, post(GRABS).key("k")).ok(200), first);
            grab(server, 7).problem(409, "ended");
            server.shopper(8, post(GRABS).key("k")).problem(409, "ended");
            assert_eq!(server.shopper(7, get(GRABS)).ok(200), json!({ "grabs": [first], "next_cursor": null }));
            server.shopper(7, get(ORDERS.replace("1001", "1002").as_str())).problem(404, "activity_not_found");
            assert_eq!(round(server, 0), [(1, cents), (0, 0), (49, 5_000 - cents)]);
            assert_eq!(round(server, 1), [(0, 0), (0, 0), (7, 700)]);
            assert_eq!(detail(server)["state"], "ended");
        };
        is_told(&server);
        server.stop_and_audit();
        let server = Server::start(Settings { disk, ..settings() });
        server.clock.advance_ms(SECOND_ENDS_MS - NOW_MS);
        is_told(&server);
        server.stop_and_audit();
    }
}

/// A home that starts with a round to end writes to its other parts at once.
#[test]
fn a_round_that_was_over_before_its_activity_started_is_ended_at_once() {
    for _ in 0..4 {
        let over = json!([{ "starts_at": "2026-11-10T23:00:00Z", "ends_at": "2026-11-10T23:30:00Z",
            "total_cents": 9_000, "packets": 900 }]);
        let server = raining(0, 0, json!({ "shards": 256, "rounds": over }));
        assert_eq!(ended(&server, 0), [(0, 0), (0, 0), (900, 9_000)]);
        server.stop_and_audit();
    }
}

#[test]
fn a_closed_rain_ends_all_its_rounds() {
    for fields in [json!({}), four_shards()] {
        let server = raining(50, 5_000, fields);
        let cents = grab(&server, 7).ok(201)["amount_cents"].as_u64().expect("cents");
        let report = server.operator(post(&format!("{RAIN}/close"))).ok(200);
        assert_eq!(report["state"], "ended");
        grab(&server, 8).problem(409, "ended");
        assert_eq!(ended(&server, 0), [(1, cents), (0, 0), (49, 5_000 - cents)]);
        assert_eq!(ended(&server, 1), [(0, 0), (0, 0), (7, 700)]);
        assert!(detail(&server)["rounds"][1]["seed"].is_string(), "it is over");
        server.stop_and_audit();
    }
}

#[test]
fn an_operator_changes_rounds_that_have_not_started() {
    for fields in [json!({}), four_shards()] {
        let server = raining(50, 5_000, fields.clone());
        let before = detail(&server);
        let standing = server.operator(get(RAIN)).ok(200);
        for (name, value) in rain_with(50, 5_000, fields.clone()).as_object().expect("an object") {
            assert_eq!(standing[name], *value, "{name}");
        }
        assert_eq!((standing.get("skus"), standing.get("starts_at")), (None, None), "a flash sale's");
        let same = server.operator(put(RAIN, &rain_with(50, 5_000, fields.clone()))).ok(200);
        assert_eq!((&same["version"], &same["changes"]), (&json!(1), &json!([])));

        let mut wanted = rain_with(50, 5_000, fields.clone());
        wanted["rounds"][1]["total_cents"] = 1_400.into();
        wanted["rounds"][1]["packets"] = 14.into();
        let report = server.operator(put(RAIN, &wanted)).ok(200);
        let change = |field: &str, from: u64, to: u64| json!({ "field": field, "from": from, "to": to });
        let mut changes = report["changes"].as_array().expect("a list").clone();
        changes.sort_by_key(|change| change["field"].to_string());
        assert_eq!(changes, [change("rounds[1].packets", 7, 14), change("rounds[1].total_cents", 700, 1_400)]);
        let after = detail(&server);
        assert_eq!(before["rounds"][0], after["rounds"][0], "what runs is not touched");
        assert_ne!(before["rounds"][1]["commitment"], after["rounds"][1]["commitment"]);
        assert_eq!(round(&server, 1), [(0, 0), (14, 1_400), (0, 0)]);

        for (round, field, value) in [(0, "total_cents", 5_001), (0, "packets", 51)] {
            let mut bad = wanted.clone();
            bad["rounds"][round][field] = value.into();
            let problem = server.operator(put(RAIN, &bad)).problem(422, "immutable_field");
            assert_eq!(problem["field"], format!("rounds[{round}].{field}"));
        }
        let mut bad = wanted.clone();
        bad["rounds"][1]["total_cents"] = 3.into();
        server.operator(put(RAIN, &bad)).problem(422, "invalid_definition");
        server.operator(put(RAIN, &http::sale(1))).problem(422, "immutable_field");

        server.clock.advance_ms(SECOND_STARTS_MS - NOW_MS);
        let replies = grab_at_once(&server, &(1..=20).collect::<Vec<_>>(), 4);
        assert_eq!(with_status(&replies, 201), 14);
        assert_eq!(grabbed(&replies).iter().map(|(_, cents)| cents).sum::<u64>(), 1_400);
        assert!(grabbed(&replies).iter().map(|(packet, _)| *packet).eq(0..14));
        server.stop_and_audit();
    }
}

/// PUT and reload refuse it alike, with what would do; `check` says the same, see check.rs.
#[test]
fn a_budget_that_cannot_be_split_is_told_the_nearest_that_could() {
    let server = Server::start(Settings::default());
    server.write_catalog("1002.toml", &toml_of(&rain(5, 1_000)));
    server.operator(post(&format!("{RAIN}/reload"))).ok(201);
    for (packets, total_cents, mend) in [
        (20, 19, "at least 20 would do, or at most 19 packets"),
        (4, 80_001, "at most 80000 would do, or at least 5 packets"),
    ] {
        let bad = rain(packets, total_cents);
        let put = server.operator(put(RAIN, &bad)).problem(422, "invalid_definition");
        server.write_catalog("1002.toml", &toml_of(&bad));
        let reload = server.operator(post(&format!("{RAIN}/reload"))).problem(422, "invalid_definition");
        for problem in [put, reload] {
            let error = &problem["errors"][0];
            assert_eq!((&error["path"], &error["mend"]), (&json!("rounds[0].total_cents"), &json!(mend)), "{problem}");
        }
    }
    assert_eq!(server.operator(get(RAIN)).ok(200)["version"], 1, "nothing changed");
    server.stop_and_audit();
}

#[test]
fn a_rain_of_the_catalogue_is_reloaded() {
    let catalog = vec![("1002.toml", toml_of(&rain(5, 1_000)))];
    let server = Server::start(Settings { catalog, ..Settings::default() });
    grab(&server, 7).ok(201);
    let reload = || server.operator(post(&format!("{RAIN}/reload"))).ok(200);
    assert_eq!(reload()["changes"], json!([]));
    server.write_catalog("1002.toml", &toml_of(&rain_with(5, 1_000, json!({ "title": "Rain", "per_user_limit": 2 }))));
    assert_eq!(reload()["changes"].as_array().map(Vec::len), Some(2));
    grab(&server, 7).ok(201);
    assert_eq!(detail(&server)["title"], "Rain");
    server.stop_and_audit();
}
