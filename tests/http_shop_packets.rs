//! A shop's own red packets, over HTTP: made once, grabbed by whoever is told of them, seen and ended by their shop alone.

mod http;

use std::thread;

use http::packets::*;
use http::*;
use serde_json::{Value, json};

const MAKE: &str = "/admin/v1/red-packets";
const EXPIRES_IN_S: u64 = 60;

fn packet(packets: u32, total_cents: u64) -> Value {
    json!({ "title": "Thank you", "total_cents": total_cents, "packets": packets, "split": "random", "min_cents": 1,
        "max_cents": 2_000, "expires_in_s": EXPIRES_IN_S, "funding_ref": "wallet-7" })
}

fn with(mut packet: Value, field: &str, value: impl Into<Value>) -> Value {
    packet[field] = value.into();
    packet
}

/// What a merchant asks for.
fn ask(server: &Server, merchant: u64, request: Request) -> Reply {
    connect(server.operator).ask(&request.token(&server.token(merchant, Some("merchant"))))
}

fn make(server: &Server, merchant: u64, packet: &Value) -> String {
    let made = ask(server, merchant, post(MAKE).json(packet)).ok(201);
    made["activity_id"].as_str().expect("an id").to_owned()
}

fn grab_of(server: &Server, id: &str, user: u64) -> Reply {
    server.shopper(user, post(&format!("/v1/red-packets/{id}/grabs")))
}

/// Its numbers by its shop: granted, remaining and refunded, packets and cents.
fn numbers(server: &Server, merchant: u64, id: &str) -> [(u64, u64); 3] {
    let stats = ask(server, merchant, get(&format!("/admin/v1/activities/{id}/stats"))).ok(200);
    let round = &stats["rounds"][0];
    let number = |name: &str| round[name].as_u64().expect("a number");
    let of = |name: &str| (number(name), number(&format!("{name}_cents")));
    let all = [of("granted"), of("remaining"), of("refunded")];
    let sum = all.iter().fold((0, 0), |sum, of| (sum.0 + of.0, sum.1 + of.1));
    assert_eq!(sum, (number("packets"), number("total_cents")), "M1: {stats}");
    all
}

/// Waits until what nobody grabbed is refunded.
fn expired(server: &Server, merchant: u64, id: &str) -> [(u64, u64); 3] {
    let begun = std::time::Instant::now();
    loop {
        let numbers = numbers(server, merchant, id);
        if numbers[1].0 == 0 {
            return numbers;
        }
        assert!(begun.elapsed() < std::time::Duration::from_secs(20), "it is never refunded: {numbers:?}");
    }
}

#[test]
fn a_shop_makes_packets_that_are_grabbed_and_refunded() {
    let server = Server::start(Settings::default());
    let made = ask(&server, 70, post(MAKE).json(&packet(20, 8_800))).ok(201);
    let id = made["activity_id"].as_str().expect("an id").to_owned();
    let commitment = made["commitment"].as_str().expect("it is public").to_owned();
    assert_eq!(
        made,
        json!({ "activity_id": id, "version": 1, "state": "running", "merchant_id": "70", "funding_ref": "wallet-7",
            "title": "Thank you", "currency": "CNY", "total_cents": 8_800, "packets": 20, "split": "random",
            "min_cents": 1, "max_cents": 2_000, "starts_at_ms": NOW_MS, "expires_at_ms": NOW_MS + 1_000 * EXPIRES_IN_S,
            "granted": 0, "granted_cents": 0, "remaining": 20, "remaining_cents": 8_800, "refunded": 0,
            "refunded_cents": 0, "commitment": commitment, "seed": null })
    );
    let cents: u64 = (1..=3).map(|user| grab_of(&server, &id, user).ok(201)["amount_cents"].as_u64().expect("c")).sum();
    let again = grab_of(&server, &id, 1).problem(409, "limit_reached");
    assert_eq!(again["order_ids"].as_array().map(Vec::len), Some(1));
    assert_eq!(numbers(&server, 70, &id), [(3, cents), (17, 8_800 - cents), (0, 0)]);
    let shown = server.shopper(9, get(&format!("/v1/activities/{id}"))).ok(200);
    assert_eq!((&shown["state"], &shown["rounds"][0]["commitment"]), (&json!("running"), &json!(commitment)));
    assert_eq!((shown.get("merchant_id"), shown.get("funding_ref")), (None, None), "that is the shop's business");

    let disk = server.disk.clone();
    server.stop_and_audit();
    let server = Server::start(Settings { disk, ..Settings::default() });
    server.clock.advance_ms(1_000 * EXPIRES_IN_S);
    assert_eq!(expired(&server, 70, &id), [(3, cents), (0, 0), (17, 8_800 - cents)]);
    grab_of(&server, &id, 4).problem(409, "ended");
    assert!(server.shopper(9, get(&format!("/v1/activities/{id}"))).ok(200)["rounds"][0]["seed"].is_string());
    server.stop_and_audit();
}

#[test]
fn the_same_request_makes_packets_once() {
    let server = Server::start(Settings::default());
    let keyed = |packets: u32| post(MAKE).key("k").json(&packet(packets, 8_800));
    let first = ask(&server, 70, keyed(20)).ok(201);
    let id = first["activity_id"].as_str().expect("an id").to_owned();
    let again = |server: &Server, what: &str| {
        let reply = ask(server, 70, keyed(20));
        let now = reply.ok(200);
        assert_eq!((&now["activity_id"], reply.header("idempotent-replayed")), (&json!(id), Some("true")), "{what}");
        now
    };
    assert_eq!(again(&server, "at once"), first);
    ask(&server, 70, keyed(21)).problem(422, "idempotency_key_reused");
    // Another field of the same value, in another order, is the same body.
    let spaced =
        post(MAKE).key("k").text(&format!("{:#}", packet(20, 8_800))).header("Content-Type", "application/json");
    assert_eq!(ask(&server, 70, spaced).ok(200)["activity_id"], json!(id));
    assert_ne!(ask(&server, 71, keyed(20)).ok(201)["activity_id"], json!(id), "another shop's key");
    assert_ne!(server.operator(keyed(20)).ok(201)["activity_id"], json!(id), "an operator's");
    assert_ne!(make(&server, 70, &packet(20, 8_800)), id, "without a key");

    let cents = grab_of(&server, &id, 1).ok(201)["amount_cents"].clone();
    let now = again(&server, "as it stands");
    assert_eq!((&now["granted"], &now["granted_cents"]), (&json!(1), &cents));
    ask(&server, 70, post(&format!("/admin/v1/activities/{id}/pause"))).ok(200);
    assert_eq!(again(&server, "paused")["state"], "paused");
    let disk = server.disk.clone();
    server.stop_and_audit();
    let tweak = |config: &mut doorbuster::config::Config| config.journal.retain_ended_s = 0;
    let server = Server::start(Settings { disk, tweak: Some(tweak), ..Settings::default() });
    assert_eq!(again(&server, "after a restart")["granted"], 1);
    server.clock.advance_ms(1_000 * EXPIRES_IN_S);
    let begun = std::time::Instant::now();
    while server.metric("doorbuster_activities_left") != Some(4.0) {
        assert!(begun.elapsed() < std::time::Duration::from_secs(20), "they never leave");
    }
    let now = again(&server, "left memory");
    assert_eq!((&now["state"], &now["granted"], &now["refunded"]), (&json!("ended"), &json!(1), &json!(19)));
    let disk = server.disk.clone();
    server.stop_and_audit();
    let server = Server::start(Settings { disk, tweak: Some(tweak), ..Settings::default() });
    server.clock.advance_ms(1_000 * EXPIRES_IN_S);
    assert_eq!(again(&server, "left memory before the start"), now);
}

/// Many at once, half of them repeats of the others: each key has packets of its own, and none is answered before it stands.
#[test]
fn requests_at_the_same_moment_make_packets_once() {
    let server = Server::start(Settings::default());
    let lane = |lane: usize| {
        let server = &server;
        move || -> Vec<(String, u16)> {
            let token = server.token(70, Some("merchant"));
            let mut client = connect(server.operator);
            (0..50)
                .map(|number| {
                    // Two lanes share each key.
                    let key = format!("{}-{number}", lane / 2);
                    let reply = client.ask(&post(MAKE).key(&key).json(&packet(20, 8_800)).token(&token));
                    let id = reply.json()["activity_id"].as_str().expect("an id").to_owned();
                    grab_of(server, &id, lane as u64 + 1).ok(201);
                    (id, reply.status)
                })
                .collect()
        }
    };
    let made: Vec<Vec<(String, u16)>> = thread::scope(|scope| {
        let lanes: Vec<_> = (0..8).map(|number| scope.spawn(lane(number))).collect();
        lanes.into_iter().map(|lane| lane.join().expect("it ends")).collect()
    });
    let mut ids: Vec<&String> = Vec::new();
    for pair in made.chunks(2) {
        for ((one, first), (other, second)) in pair[0].iter().zip(&pair[1]) {
            assert_eq!((one, first + second), (other, 401), "one made it, and one was told");
            ids.push(one);
        }
    }
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 200);
    server.stop_and_audit();
}

#[test]
fn a_merchant_sees_and_ends_its_own_only() {
    let server = Server::selling(5);
    server.operator(put(RAIN, &rain(5, 1_000))).ok(201);
    let mine = make(&server, 70, &packet(20, 8_800));
    let theirs = make(&server, 71, &packet(20, 8_800));
    let path = |id: &str| format!("/admin/v1/activities/{id}");
    let listed = |reply: &Reply| -> Vec<String> {
        let reply = reply.ok(200);
        let all = reply["activities"].as_array().expect("a list").iter();
        all.map(|line| line["activity_id"].as_str().expect("an id").to_owned()).collect()
    };
    let list = "/admin/v1/activities";
    assert_eq!(listed(&ask(&server, 70, get(list))), std::slice::from_ref(&mine));
    assert_eq!(listed(&ask(&server, 72, get(list))), Vec::<String>::new());
    let mut all = vec!["1001".to_owned(), "1002".to_owned(), mine.clone(), theirs.clone()];
    all.sort_unstable_by_key(|id| id.parse::<u64>().expect("a number"));
    assert_eq!(listed(&server.operator(get(list))), all);
    let page = server.operator(get(&format!("{list}?limit=3"))).ok(200);
    let rest = server.operator(get(&format!("{list}?cursor={}", page["next_cursor"].as_str().expect("one more"))));
    assert_eq!(listed(&rest), all[3..]);
    assert_eq!(server.shopper(1, get("/v1/activities")).ok(200)["activities"].as_array().map(Vec::len), Some(2));

    let standing = ask(&server, 70, get(&path(&mine))).ok(200);
    assert_eq!((&standing["merchant_id"], &standing["funding_ref"]), (&json!("70"), &json!("wallet-7")));
    for (id, status, code) in
        [(theirs.as_str(), 404, "activity_not_found"), ("1002", 403, "forbidden"), ("9", 404, "activity_not_found")]
    {
        ask(&server, 70, get(&path(id))).problem(status, code);
        for view in ["stats", "grabs"] {
            ask(&server, 70, get(&format!("{}/{view}", path(id)))).problem(status, code);
        }
        for act in ["pause", "resume", "close"] {
            ask(&server, 70, post(&format!("{}/{act}", path(id)))).problem(status, code);
        }
    }
    for request in
        [put(&path(&mine), &rain(5, 1_000)), post(&format!("{}/reload", path(&mine))), post("/admin/v1/reload")]
    {
        ask(&server, 70, request).problem(403, "forbidden");
    }
    for role in ["shopper", "auditor"] {
        let token = server.token(70, Some(role));
        connect(server.operator).ask(&post(MAKE).json(&packet(2, 88)).token(&token)).problem(403, "forbidden");
    }
    assert_eq!(
        connect(server.operator).ask(&post(MAKE).json(&packet(2, 88))).problem(401, "unauthenticated")["status"],
        401
    );

    grab_of(&server, &mine, 5).ok(201);
    let grabs = ask(&server, 70, get(&format!("{}/grabs", path(&mine)))).ok(200);
    assert_eq!(grabs["grabs"][0]["user_id"], "5");
    ask(&server, 70, post(&format!("{}/pause", path(&mine)))).ok(200);
    grab_of(&server, &mine, 6).problem(409, "paused");
    ask(&server, 70, post(&format!("{}/close", path(&mine)))).ok(200);
    grab_of(&server, &mine, 6).problem(409, "ended");
    let [granted, remaining, refunded] = expired(&server, 70, &mine);
    assert_eq!((granted.0, remaining, refunded.0, granted.1 + refunded.1), (1, (0, 0), 19, 8_800));
    assert_eq!(numbers(&server, 71, &theirs), [(0, 0), (20, 8_800), (0, 0)], "another shop's goes on");
    assert!(server.metric("doorbuster_sku_available{activity_id=\"1002\",sku_id=\"0\"}").is_some());
    let no_series = format!("doorbuster_sku_available{{activity_id=\"{mine}\",sku_id=\"0\"}}");
    assert_eq!(server.metric(&no_series), None, "no label for each shop packet");
    server.stop_and_audit();
}

#[test]
fn an_operator_may_change_a_shops_packets_and_they_stay_the_shops() {
    let server = Server::start(Settings::default());
    let id = make(&server, 70, &packet(20, 8_800));
    let path = format!("/admin/v1/activities/{id}");
    let mut standing = server.operator(get(&path)).ok(200);
    for field in ["activity_id", "version", "state", "paused", "merchant_id", "funding_ref"] {
        standing.as_object_mut().expect("an object").remove(field);
    }
    let changed = server.operator(put(&path, &with(standing.clone(), "title", "Thanks"))).ok(200);
    assert_eq!(changed["changes"], json!([{ "field": "title", "from": "Thank you", "to": "Thanks" }]));
    standing["rounds"][0]["total_cents"] = json!(8_801);
    assert_eq!(
        server.operator(put(&path, &standing)).problem(422, "immutable_field")["field"],
        "rounds[0].total_cents"
    );
    assert_eq!(ask(&server, 70, get(&path)).ok(200)["title"], "Thanks");
    assert_eq!(server.shopper(1, get("/v1/activities")).ok(200)["activities"], json!([]));
    server.stop_and_audit();
}

/// An operator's PUT may have any id, those included that the server is about to give.
#[test]
fn an_id_is_given_once() {
    let server = Server::start(Settings::default());
    let first: u64 = make(&server, 70, &packet(20, 8_800)).parse().expect("a number");
    // The next home is the operator's, the one after it the next shop's.
    server.operator(put(&format!("/admin/v1/activities/{}", first + 2), &rain(5, 1_000))).ok(201);
    let second: u64 = make(&server, 70, &packet(20, 8_800)).parse().expect("a number");
    assert_ne!(second, first + 2);
    assert_eq!(server.operator(get(&format!("/admin/v1/activities/{}", first + 2))).ok(200).get("merchant_id"), None);
    assert_eq!(server.shopper(1, get("/v1/activities")).ok(200)["activities"].as_array().map(Vec::len), Some(1));
    server.stop_and_audit();
}

#[test]
fn what_cannot_be_made_is_told_with_all_its_faults() {
    let server = Server::start(Settings::default());
    let faults = |body: &Value| -> Vec<(String, String)> {
        let problem = ask(&server, 70, post(MAKE).json(body)).problem(422, "invalid_definition");
        let text = |error: &Value, name: &str| error[name].as_str().expect("text").to_owned();
        let errors = problem["errors"].as_array().expect("a list").iter();
        errors.map(|error| (text(error, "path"), text(error, "mend"))).collect()
    };
    for (field, value) in [
        ("title", json!("")),
        ("title", json!(7)),
        ("currency", json!("yuan")),
        ("total_cents", json!(0)),
        ("total_cents", json!(1.5)),
        ("total_cents", json!(-5)),
        ("packets", json!(0)),
        ("packets", json!(10_001)),
        ("split", json!("lucky")),
        ("min_cents", json!(0)),
        ("max_cents", json!(0)),
        ("max_cents", json!("2000")),
        ("expires_in_s", json!(0)),
        ("expires_in_s", json!(2_592_001)),
        ("funding_ref", json!("two words")),
        ("funding_ref", json!("x".repeat(65))),
        ("shards", json!(4)),
    ] {
        let told = faults(&with(packet(20, 8_800), field, value.clone()));
        assert_eq!(told.iter().map(|(path, _)| path.as_str()).collect::<Vec<_>>(), [field], "{field}: {value}");
    }
    let told = faults(&packet(20, 19));
    assert_eq!(told[0].1, "at least 20 would do, or at most 19 packets");
    let told = faults(&packet(4, 8_001));
    assert_eq!(told[0].1, "at most 8000 would do, or at least 5 packets");
    assert_eq!(faults(&json!({ "colour": "red" })).len(), 8, "all that are missing, and the unknown one");
    for (body, status, code) in [("{", 400, "malformed_request"), ("[]", 422, "invalid_definition")] {
        let request = post(MAKE).text(body).header("Content-Type", "application/json");
        ask(&server, 70, request).problem(status, code);
    }
    ask(&server, 70, post(&format!("{MAKE}?dry_run=true")).json(&packet(2, 88))).problem(400, "malformed_request");
    ask(&server, 70, post(MAKE).header("Idempotency-Key", "two words").json(&json!({})))
        .problem(400, "malformed_request");
    ask(&server, 70, get(MAKE)).problem(405, "method_not_allowed");
    let largest = with(packet(10_000, 20_000_000), "expires_in_s", 2_592_000);
    let id = make(&server, 70, &largest);
    grab_of(&server, &id, 1).ok(201);
    let bare = json!({ "title": "t", "total_cents": 1, "packets": 1, "split": "equal", "min_cents": 1, "max_cents": 1,
        "expires_in_s": 1 });
    let made = ask(&server, 70, post(MAKE).json(&bare)).ok(201);
    assert_eq!(made.get("funding_ref"), None);
    server.stop_and_audit();
}
