//! Activities that ended long ago: they leave memory, and everything that was true of them is still told, from the
//! journal, also after a restart. At the end the auditor reads it.

mod http;

use http::packets::{GRABS, RAIN, SECOND_ENDS_MS, SECOND_STARTS_MS, amounts, detail, ended, rain_with};
use http::{NOW_MS, ORDERS, PAYMENT_WINDOW_S, Reply, SALE, Server, Settings, get, post, put, sale_with, toml_of, wish};
use serde_json::{Value, json};

const HOUR_MS: u64 = 3_600_000;

/// Waits until so many activities have left memory.
fn wait_until_left(server: &Server, count: f64) {
    while server.metric("doorbuster_activities_left") != Some(count) {
        std::thread::yield_now();
    }
}

fn order_id(reply: &Reply) -> String {
    reply.json()["order_id"].as_str().expect("an order id").to_owned()
}

/// A body without the server's time, which goes on.
fn timeless(mut body: Value) -> Value {
    if let Some(fields) = body.as_object_mut() {
        fields.remove("server_time_ms");
        // Counted since the process started, or the activity was brought back.
        fields.remove("refused");
    }
    body
}

/// What can be asked of the sale, by whom: `None` is the operator.
fn questions(ids: &[String]) -> Vec<(Option<u64>, String)> {
    let mut questions: Vec<(Option<u64>, String)> = vec![
        (Some(1), "/v1/activities/1001".to_owned()),
        (Some(1), "/v1/activities?state=ended".to_owned()),
        (None, SALE.to_owned()),
        (None, "/admin/v1/activities".to_owned()),
        (None, format!("{SALE}/stats")),
        (None, format!("{SALE}/orders")),
        (None, format!("{SALE}/orders?state=cancelled&limit=1")),
        (None, format!("{SALE}/orders?user_id=2")),
    ];
    for user in 1..=8 {
        questions.push((Some(user), ORDERS.to_owned()));
        questions.push((Some(user), "/v1/flash-sales/1001/result?sku_id=2001".to_owned()));
    }
    for (user, id) in (1..).zip(ids) {
        questions.push((Some(user), format!("/v1/orders/{id}")));
        questions.push((Some(user + 1), format!("/v1/orders/{id}")));
        questions.push((None, format!("/admin/v1/orders/{id}")));
    }
    questions
}

fn answers(server: &Server, questions: Vec<(Option<u64>, String)>) -> Vec<(String, u16, Value)> {
    let ask = |(who, path): (Option<u64>, String)| {
        let reply = match who {
            Some(user) => server.shopper(user, get(&path)),
            None => server.operator(get(&path)),
        };
        let mut body = timeless(reply.json());
        // A problem names its request.
        body.as_object_mut().expect("an object").remove("request_id");
        body.as_object_mut().expect("an object").remove("instance");
        (format!("{who:?} {path}"), reply.status, body)
    };
    questions.into_iter().map(ask).collect()
}

fn what_left_is_told(shards: u64) {
    let settings = || Settings { tweak: Some(|config| config.journal.retain_ended_s = 7_200), ..Settings::default() };
    let server = Server::start(settings());
    server.operator(put(SALE, &sale_with(8, json!({ "shards": shards })))).ok(201);
    let ids: Vec<String> = (1..=8)
        .map(|user| order_id(&server.shopper(user, post(ORDERS).json(&wish(1)).key(&format!("key-{user}")))))
        .collect();
    server.shopper(3, post(&format!("/v1/orders/{}/cancel", ids[2])).key("c")).ok(200);
    server.shopper(9, post(ORDERS).json(&wish(1))).ok(201);
    let restock = post(&format!("{SALE}/stock")).json(&json!({ "sku_id": "2001", "add": 5 })).key("more");
    server.operator(restock.clone()).ok(200);

    // The window and the holds are over, but not for long: nothing leaves yet.
    server.clock.advance_ms(HOUR_MS + PAYMENT_WINDOW_S * 1_000);
    let held = |server: &Server| server.stats()["skus"][0]["held"].as_u64();
    while held(&server) != Some(0) {
        std::thread::yield_now();
    }
    let before = answers(&server, questions(&ids));
    assert_eq!(server.metric("doorbuster_activities_left"), Some(0.0));

    server.clock.advance_ms(2 * HOUR_MS);
    wait_until_left(&server, 1.0);
    assert_eq!(server.metric("doorbuster_activities"), Some(1.0));
    let told = |server: &Server| {
        for (before, after) in before.iter().zip(answers(server, questions(&ids))) {
            assert_eq!(*before, after);
        }
        // What would change something is refused, what would repeat something repeats it.
        server.shopper(10, post(ORDERS).json(&wish(1))).problem(409, "ended");
        server.shopper(10, post(ORDERS).json(&wish(1)).key("new")).problem(409, "ended");
        let replay = server.shopper(2, post(ORDERS).json(&wish(1)).key("key-2"));
        assert_eq!((replay.status, order_id(&replay)), (200, ids[1].clone()));
        assert_eq!(replay.header("idempotent-replayed"), Some("true"));
        let other = json!({ "sku_id": "2001", "quantity": 1, "ref": "x" });
        server.shopper(2, post(ORDERS).json(&other).key("key-2")).problem(422, "idempotency_key_reused");
        let cancel = |user, id: &str| server.shopper(user, post(&format!("/v1/orders/{id}/cancel")));
        cancel(3, &ids[2]).ok(200);
        cancel(2, &ids[1]).problem(409, "order_not_cancellable");
        cancel(3, &ids[1]).problem(404, "order_not_found");
        server.operator(put(SALE, &sale_with(99, json!({ "shards": shards })))).problem(409, "activity_closed");
        server.operator(post(&format!("{SALE}/pause"))).problem(409, "activity_closed");
        let replay = server.operator(restock.clone());
        assert_eq!((replay.status, replay.header("idempotent-replayed")), (200, Some("true")));
        server.operator(post(&format!("{SALE}/resume"))).ok(200);
        server.shopper(1, get("/v1/orders/1000000000000")).problem(404, "order_not_found");
        server.operator(post(&format!("{SALE}/close"))).problem(409, "activity_closed");
        let more = json!({ "sku_id": "2001", "add": 5 });
        server.operator(post(&format!("{SALE}/stock")).json(&more)).problem(409, "activity_closed");
    };
    told(&server);
    // Its SKU is free for another sale, even one whose window overlaps.
    let again = json!({ "ends_at": "2026-11-12T01:00:00Z" });
    server.operator(put("/admin/v1/activities/1002", &sale_with(1, again))).ok(201);

    let disk = server.disk.clone();
    drop(server);
    // The catalogue may still name it: that changes nothing and is no fault.
    let catalog = vec![("1001.toml", toml_of(&sale_with(50, json!({ "shards": shards }))))];
    let server = Server::start(Settings { disk, catalog, ..settings() });
    assert_eq!(server.metric("doorbuster_activities_left"), Some(1.0));
    server.clock.advance_ms(4 * HOUR_MS);
    let reloaded = server.operator(post("/admin/v1/reload")).ok(200);
    assert_eq!(reloaded["faults"].as_array().map(Vec::len), Some(1), "its file says something else: {reloaded}");
    server.write_catalog("1001.toml", &toml_of(&sale_with(13, json!({ "shards": shards }))));
    let reloaded = server.operator(post("/admin/v1/reload")).ok(200);
    assert_eq!(reloaded["faults"].as_array().map(Vec::len), Some(0), "its file says what stands: {reloaded}");
    let ready = server.stranger(get("/readyz"));
    assert_eq!((ready.status, ready.json()["status"].as_str()), (200, Some("ready")), "{}", ready.text());
    // The other activity is in the lists now.
    let about_one = |(question, _, _): &(String, u16, Value)| {
        !question.contains("/activities?") && !question.ends_with("/activities")
    };
    for (before, after) in before.iter().zip(answers(&server, questions(&ids))).filter(|(before, _)| about_one(before))
    {
        assert_eq!(*before, after);
    }
    let place = server.shopper(10, post("/v1/flash-sales/1002/orders").json(&wish(1))).ok(201);
    assert!(!ids.contains(&place["order_id"].as_str().expect("an id").to_owned()), "U2: ids are never used again");
    assert!(server.clock.now_ms().0 > NOW_MS);
    server.stop_and_audit();
}

#[test]
fn what_left_memory_is_told_as_it_was() {
    what_left_is_told(1);
}

#[test]
fn what_left_memory_with_all_its_shards_is_told_as_it_was() {
    what_left_is_told(4);
}

/// A closed activity leaves so long after its closing, whatever its window says; one that still holds units stays.
#[test]
fn a_closed_activity_leaves_when_its_holds_are_over() {
    let server =
        Server::start(Settings { tweak: Some(|config| config.journal.retain_ended_s = 60), ..Settings::default() });
    server.operator(put(SALE, &sale_with(2, json!({ "shards": 2 })))).ok(201);
    server.shopper(1, post(ORDERS).json(&wish(1))).ok(201);
    server.operator(post(&format!("{SALE}/close"))).ok(200);
    server.clock.advance_ms(61_000);
    server
        .operator(put(
            "/admin/v1/activities/2",
            &sale_with(
                1,
                json!({ "skus": [
        { "sku_id": "other", "title": "t", "price_cents": 1, "stock": 1 }
    ] }),
            ),
        ))
        .ok(201);
    server.operator(post("/admin/v1/activities/2/close")).ok(200);
    server.clock.advance_ms(61_000);
    wait_until_left(&server, 1.0);
    assert_eq!(server.stats()["skus"][0]["held"], 1, "the first still holds a unit");
    server.clock.advance_ms(PAYMENT_WINDOW_S * 1_000);
    wait_until_left(&server, 2.0);
    assert_eq!(server.stats()["accepted"], 1);
    server.operator(post(&format!("{SALE}/close"))).ok(200);
    server.stop_and_audit();
}

/// The same of a rain, by whom: `None` is the operator.
fn questions_of_rain(grabs: &[Value]) -> Vec<(Option<u64>, String)> {
    let mut questions: Vec<(Option<u64>, String)> = vec![
        (Some(1), "/v1/activities/1002".to_owned()),
        (Some(1), "/v1/activities?kind=red_packet".to_owned()),
        (None, RAIN.to_owned()),
        (None, "/admin/v1/activities".to_owned()),
        (None, format!("{RAIN}/stats")),
        (None, format!("{RAIN}/grabs")),
        (None, format!("{RAIN}/grabs?limit=3")),
        (None, format!("{RAIN}/grabs?user_id=2")),
        (None, format!("{RAIN}/orders")),
    ];
    for user in 1..=9 {
        questions.push((Some(user), GRABS.to_owned()));
        questions.push((Some(user), format!("{GRABS}?limit=1")));
    }
    for grab in grabs {
        let id = grab["grab_id"].as_str().expect("an id");
        questions.push((None, format!("{RAIN}/grabs?limit=2&cursor={id}")));
        questions.push((None, format!("/admin/v1/orders/{id}")));
        questions.push((Some(1), format!("/v1/orders/{id}")));
    }
    questions
}

fn a_rain_that_left_is_told(shards: u64) {
    let settings = || Settings { tweak: Some(|config| config.journal.retain_ended_s = 7_200), ..Settings::default() };
    let server = Server::start(settings());
    let rain = rain_with(20, 2_000, json!({ "shards": shards }));
    server.operator(put(RAIN, &rain)).ok(201);
    let grab = |server: &Server, user: u64, round: u64| server.shopper(user, post(GRABS).key(&format!("key-{round}")));
    let mut grabs: Vec<Value> = (1..=8).map(|user| grab(&server, user, 0).ok(201)).collect();
    server.clock.advance_ms(SECOND_STARTS_MS - NOW_MS);
    grabs.extend((1..=3).map(|user| grab(&server, user, 1).ok(201)));
    server.clock.advance_ms(SECOND_ENDS_MS - SECOND_STARTS_MS);
    assert_eq!((ended(&server, 0)[2].0, ended(&server, 1)[2].0), (12, 4));
    let before = answers(&server, questions_of_rain(&grabs));
    assert_eq!(server.metric("doorbuster_activities_left"), Some(0.0));

    server.clock.advance_ms(2 * HOUR_MS);
    wait_until_left(&server, 1.0);
    let told = |server: &Server| {
        for (before, after) in before.iter().zip(answers(server, questions_of_rain(&grabs))) {
            assert_eq!(*before, after);
        }
        for (number, first) in (0..).zip(&grabs) {
            let (user, round) = if number < 8 { (number + 1, 0) } else { (number - 7, 1) };
            let replay = grab(server, user, round);
            assert_eq!((replay.ok(200), replay.header("idempotent-replayed")), (first.clone(), Some("true")));
        }
        // Another's key is nobody's, and nothing is grabbed any more.
        grab(server, 4, 1).problem(409, "ended");
        server.shopper(9, post(GRABS)).problem(409, "ended");
        server.operator(post(&format!("{RAIN}/pause"))).problem(409, "activity_closed");
        let shown = detail(server);
        for (round, packets) in [(0, 20), (1, 7)] {
            let said = amounts(&shown, &rain, round);
            assert_eq!(said.len(), packets);
            for grab in grabs.iter().filter(|grab| grab["round"] == round) {
                let packet = usize::try_from(grab["packet"].as_u64().expect("a number")).expect("few");
                assert_eq!(grab["amount_cents"], said[packet], "what the seed says");
            }
        }
    };
    told(&server);
    let disk = server.disk.clone();
    server.stop_and_audit();
    let server = Server::start(Settings { disk, ..settings() });
    server.clock.advance_ms(4 * HOUR_MS);
    assert_eq!(server.metric("doorbuster_activities_left"), Some(1.0));
    told(&server);
    server.stop_and_audit();
}

#[test]
fn a_rain_that_left_memory_is_told_as_it_was() {
    a_rain_that_left_is_told(1);
}

#[test]
fn a_rain_that_left_memory_with_all_its_shards_is_told_as_it_was() {
    a_rain_that_left_is_told(4);
}
