//! An operator's routes: defining and redefining live, switching, restocking, looking up; and that nothing of it touches
//! what is held.

mod http;

use http::{ORDERS, PAYMENT_WINDOW_S, Request, SALE, Server, Settings, get, post, put, sale, sale_with, wish};
use serde_json::{Value, json};

fn restock(add: impl Into<Value>) -> Request {
    post(&format!("{SALE}/stock")).json(&json!({ "sku_id": "2001", "add": add.into() }))
}

fn change(field: &str, from: impl Into<Value>, to: impl Into<Value>) -> Value {
    json!({ "field": field, "from": from.into(), "to": to.into() })
}

#[test]
fn an_activity_is_defined_read_and_redefined() {
    let server = Server::empty();
    let reply = server.operator(put(SALE, &sale(10)));
    let defined = reply.ok(201);
    assert_eq!((&defined["activity_id"], &defined["version"]), (&json!("1001"), &json!(1)));
    assert_eq!(reply.header("etag"), Some("\"1\""));
    let changes = defined["changes"].as_array().expect("a list");
    assert!(changes.contains(&change("skus.2001.stock", Value::Null, 10)), "{changes:?}");
    assert!(changes.contains(&change("title", Value::Null, "Doorbuster phones")), "{changes:?}");

    let reply = server.operator(get(SALE));
    let read = reply.ok(200);
    assert_eq!(reply.header("etag"), Some("\"1\""));
    let expected = json!({
        "activity_id": "1001", "version": 1, "state": "running", "paused": false, "kind": "flash_sale",
        "title": "Doorbuster phones", "currency": "CNY", "starts_at": "2026-11-10T23:59:00Z",
        "ends_at": "2026-11-11T01:00:00Z", "shards": 1, "per_user_limit": 1, "payment_window_s": 300,
        "on_late_payment": "reacquire_or_refund", "shared_sku": false,
        "skus": [{ "sku_id": "2001", "title": "Phone", "price_cents": 199_900, "stock": 10 }],
    });
    assert_eq!(read, expected);

    let same = server.operator(put(SALE, &sale(10))).ok(200);
    assert_eq!((&same["version"], &same["changes"]), (&json!(1), &json!([])), "nothing to change");
    let changed = sale_with(12, json!({ "title": "More phones", "ends_at": "2026-11-11T08:30:00+08:00" }));
    let report = server.operator(put(SALE, &changed)).ok(200);
    assert_eq!(report["version"], 2);
    let expected = json!([
        change("ends_at", "2026-11-11T01:00:00Z", "2026-11-11T00:30:00Z"),
        change("skus.2001.stock", 10, 12),
        change("title", "Doorbuster phones", "More phones"),
    ]);
    assert_eq!(report["changes"], expected);
    server.stop_and_audit();
}

#[test]
fn a_dry_run_says_and_does_nothing() {
    let server = Server::empty();
    let dry = format!("{SALE}?dry_run=true");
    let reply = server.operator(put(&dry, &sale(10)).key("k"));
    assert_eq!((reply.ok(200)["version"].clone(), reply.header("etag")), (json!(1), None), "nothing was created");
    server.operator(get(SALE)).problem(404, "activity_not_found");
    server.operator(put(SALE, &sale(10)).key("k")).ok(201);
    let report = server.operator(put(&dry, &sale(7))).ok(200);
    assert_eq!(report["changes"], json!([change("skus.2001.stock", 10, 7)]));
    server.operator(put(&dry, &sale_with(10, json!({ "currency": "EUR" })))).problem(422, "immutable_field");
    assert_eq!(server.operator(get(SALE)).ok(200)["version"], 1);
    assert_eq!(server.stats()["skus"][0]["stock"], 10);
    // A slip in the parameter must not make a change.
    for bad in [
        "dry_run=banana",
        "dry_run=",
        "dry_run=1",
        "dry_run=TRUE",
        "dry_run",
        "dryrun=true",
        "dry-run=true",
        "dry_run=true&dry_run=false",
    ] {
        server.operator(put(&format!("{SALE}?{bad}"), &sale(7))).problem(400, "malformed_request");
        for path in [format!("{SALE}/reload?{bad}"), format!("/admin/v1/reload?{bad}")] {
            server.operator(post(&path)).problem(400, "malformed_request");
        }
    }
    for route in ["pause", "resume", "close"] {
        server.operator(post(&format!("{SALE}/{route}?dry_run=true"))).problem(400, "malformed_request");
    }
    let stock = restock(1).wire();
    assert!(!stock.is_empty());
    server
        .operator(post(&format!("{SALE}/stock?dry_run=true")).json(&json!({ "sku_id": "2001", "add": 1 })))
        .problem(400, "malformed_request");
    assert_eq!(server.operator(get(SALE)).ok(200)["version"], 1);
    server.operator(put(&format!("{SALE}?dry_run=false"), &sale(7))).ok(200);
}

#[test]
fn if_match_insists_on_the_version_that_was_read() {
    let server = Server::empty();
    let insist = |version: &str, stock| server.operator(put(SALE, &sale(stock)).header("If-Match", version));
    for any in ["\"1\"", "*", "\"0\"", "1"] {
        insist(any, 1).problem(412, "version_conflict");
    }
    server.operator(put(SALE, &sale(1))).ok(201);
    for stale in ["\"0\"", "\"2\"", "W/\"1\"", "\"x\"", "\"\"", "", "\"1\", \"2\"", "\"18446744073709551616\""] {
        insist(stale, 2).problem(412, "version_conflict");
    }
    assert_eq!(insist("\"7\"", 2).problem(412, "version_conflict")["version"], 1);
    let twice = put(SALE, &sale(2)).header("If-Match", "\"1\"").header("If-Match", "\"1\"");
    server.operator(twice).problem(412, "version_conflict");
    assert_eq!(insist("\"1\"", 2).ok(200)["version"], 2);
    insist("\"1\"", 3).problem(412, "version_conflict");
    assert_eq!(insist("*", 3).ok(200)["version"], 3);
    let dry = put(&format!("{SALE}?dry_run=true"), &sale(4)).header("If-Match", "\"2\"");
    server.operator(dry).problem(412, "version_conflict");
    assert_eq!(server.operator(get(SALE)).ok(200)["skus"][0]["stock"], 3);
}

#[test]
fn a_faulty_definition_is_told_whole() {
    let server = Server::empty();
    let faulty = sale_with(1, json!({ "title": "", "per_user_limit": 0, "stok": 3, "ends_at": "tomorrow" }));
    let problem = server.operator(put(SALE, &faulty)).problem(422, "invalid_definition");
    assert_eq!(problem["errors"].as_array().expect("a list").len(), 4, "{problem}");
    let sku = |fields: Value| {
        let mut sku = json!({ "sku_id": "2001", "title": "t", "price_cents": 1, "stock": 1 });
        fields.as_object().expect("an object").iter().for_each(|(name, value)| sku[name] = value.clone());
        json!({ "skus": [sku] })
    };
    for fields in [
        json!({ "kind": "red_packet" }),
        json!({ "kind": "lottery" }),
        json!({ "kind": null }),
        json!({ "shards": 257 }),
        json!({ "shards": 0 }),
        json!({ "currency": "cny" }),
        json!({ "starts_at": "2026-11-11T00:00:00" }),
        json!({ "starts_at": 1 }),
        json!({ "ends_at": "2026-11-10T23:59:00Z" }),
        json!({ "per_user_limit": 1.5 }),
        json!({ "per_user_limit": "1" }),
        json!({ "payment_window_s": 0 }),
        json!({ "on_late_payment": "shrug" }),
        json!({ "shared_sku": "yes" }),
        json!({ "skus": [] }),
        json!({ "skus": {} }),
        json!({ "skus": [1] }),
        json!({ "title": "x".repeat(201) }),
        json!({ "title": "a\nb" }),
        json!({ "unknown": 1 }),
        json!({ "rounds": [] }),
        sku(json!({ "stock": -1 })),
        sku(json!({ "stock": 100_000_001 })),
        sku(json!({ "stock": 1.5 })),
        sku(json!({ "sku_id": "a b" })),
        sku(json!({ "sku_id": 1 })),
        sku(json!({ "price_cents": -1 })),
        sku(json!({ "price_cents": 9_007_199_254_740_992_u64 })),
        sku(json!({ "colour": "red" })),
    ] {
        let reply = server.operator(put(SALE, &sale_with(1, fields.clone())));
        assert_eq!(reply.status, 422, "{fields}: {}", reply.text());
        reply.problem(422, "invalid_definition");
    }
    let raw = |text: &str| server.operator(Request::new("PUT", SALE).text(text));
    let twice = sale(1).to_string().replacen("{", r#"{"title":"a","#, 1);
    let nested = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    for bad in ["", "{", "nonsense", "{\"kind\":}", "\u{feff}{}", &nested] {
        raw(bad).problem(400, "malformed_request");
    }
    assert!(matches!(raw(&twice).status, 400 | 422), "a name that stands twice");
    for odd in ["[]", "1", "null", "{}"] {
        raw(odd).problem(422, "invalid_definition");
    }
    server.operator(Request::new("PUT", SALE).bytes(b"{\"kind\":\"\xff\"}")).problem(400, "malformed_request");
    let large = sale_with(1, json!({ "title": "x".repeat(1_100_000) }));
    server.operator(put(SALE, &large)).problem(413, "payload_too_large");
    for bad in ["0", "x", "-1", "01", "%00"] {
        server.operator(put(&format!("/admin/v1/activities/{bad}"), &sale(1))).problem(400, "malformed_request");
    }
    assert_eq!(server.operator(get("/admin/v1/activities")).ok(200)["activities"], json!([]));
}

#[test]
fn what_may_not_change_is_refused_by_name() {
    let server = Server::selling(10);
    server.shopper(7, post(ORDERS).json(&wish(1))).ok(201);
    let refused = |definition: &Value| server.operator(put(SALE, definition)).problem(422, "immutable_field");
    assert_eq!(refused(&sale_with(10, json!({ "currency": "EUR" })))["field"], "currency");
    let other = json!({ "skus": [{ "sku_id": "2002", "title": "t", "price_cents": 1, "stock": 1 }] });
    assert_eq!(refused(&sale_with(0, other.clone()))["field"], "skus.2001");
    let problem = server.operator(put(SALE, &sale(0))).problem(422, "invalid_definition");
    assert_eq!((&problem["sku_id"], &problem["largest_reduction"]), (&json!("2001"), &json!(9)));
    server.operator(put(SALE, &sale(1))).ok(200);
    assert_eq!(
        server.stats()["skus"][0],
        json!({ "sku_id": "2001", "stock": 1, "available": 0, "held": 1, "sold": 0 })
    );
    server.shopper(8, post(ORDERS).json(&wish(1))).problem(409, "sold_out");
    // A new price is for new orders.
    let mut dearer = sale(2);
    dearer["skus"][0]["price_cents"] = json!(5);
    server.operator(put(SALE, &dearer)).ok(200);
    assert_eq!(server.shopper(8, post(ORDERS).json(&wish(1))).ok(201)["amount_cents"], 5);
    assert_eq!(server.shopper(7, get(ORDERS)).ok(200)["orders"][0]["amount_cents"], 199_900);
    server.clock.advance_ms(3_600_000);
    assert_eq!(refused(&sale_with(2, json!({ "ends_at": "2026-11-12T00:00:00Z" })))["field"], "ends_at");
    // What nobody holds any more may go.
    server.operator(put(SALE, &sale_with(2, other))).ok(200);
    server.stop_and_audit();
}

#[test]
fn pausing_resuming_and_closing_are_idempotent_and_closing_is_final() {
    let server = Server::selling(10);
    let switch = |to: &str| server.operator(post(&format!("{SALE}/{to}")));
    let buy = |user| server.shopper(user, post(ORDERS).json(&wish(1)));
    let order = buy(7).ok(201);
    for _ in 0..2 {
        let report = switch("pause").ok(200);
        assert_eq!(
            (&report["state"], &report["paused"], &report["version"]),
            (&json!("paused"), &json!(true), &json!(1))
        );
    }
    buy(8).problem(409, "paused");
    let id = order["order_id"].as_str().expect("an id");
    server.shopper(7, post(&format!("/v1/orders/{id}/cancel"))).ok(200);
    for _ in 0..2 {
        assert_eq!(switch("resume").ok(200)["state"], "running");
    }
    buy(8).ok(201);
    for _ in 0..2 {
        assert_eq!(switch("close").ok(200)["state"], "ended");
    }
    buy(9).problem(409, "ended");
    for refused in [post(&format!("{SALE}/pause")), post(&format!("{SALE}/resume")), put(SALE, &sale(11)), restock(1)] {
        server.operator(refused).problem(409, "activity_closed");
    }
    assert_eq!(server.operator(put(SALE, &sale(10))).ok(200)["state"], "ended", "as it stands");
    server.clock.advance_ms(PAYMENT_WINDOW_S * 1_000);
    assert_eq!(server.shopper(8, get(ORDERS)).ok(200)["orders"][0]["state"], "expired", "holds go on");
    for to in ["pause", "resume", "close", "reload"] {
        server.operator(post(&format!("/admin/v1/activities/9/{to}"))).problem(404, "activity_not_found");
    }
    let disk = server.disk.clone();
    server.stop_and_audit();
    let server = Server::start(Settings { disk, ..Settings::default() });
    assert_eq!(server.operator(get(SALE)).ok(200)["state"], "ended", "after a start, too");
}

#[test]
fn a_key_makes_an_operators_change_once() {
    let server = Server::selling(10);
    let stock = || server.stats()["skus"][0]["stock"].clone();
    let first = server.operator(restock(5).key("k"));
    assert_eq!((first.ok(200)["changes"].clone(), stock()), (json!([change("skus.2001.stock", 10, 15)]), json!(15)));
    for text in [r#"{"sku_id":"2001","add":5}"#, "{ \"add\":5, \"sku_id\":\"2001\" }"] {
        let again = server.operator(post(&format!("{SALE}/stock")).text(text).key("k"));
        assert_eq!((again.ok(200)["version"].clone(), again.header("idempotent-replayed")), (json!(2), Some("true")));
    }
    server.operator(restock(6).key("k")).problem(422, "idempotency_key_reused");
    assert_eq!(stock(), 15);
    // Another path or another operator is another key.
    let other = server.token(901, Some("operator"));
    server.operator_client().ask(&restock(5).key("k").token(&other)).ok(200);
    assert_eq!(stock(), 20);
    let changed = server.operator(put(SALE, &sale(30)).key("k"));
    assert_eq!((changed.ok(200)["version"].clone(), changed.header("idempotent-replayed")), (json!(4), None));
    server.operator(restock(1)).ok(200);
    let again = server.operator(put(SALE, &sale(30)).key("k").header("If-Match", "\"3\""));
    assert_eq!((again.ok(200)["version"].clone(), again.header("idempotent-replayed")), (json!(5), Some("true")));
    assert_eq!(stock(), 31, "the repeat lowers nothing");
    server.operator(put(SALE, &sale(29)).key("k")).problem(422, "idempotency_key_reused");
    // A repeated pause does not undo the resume that came between, and repeats go on after the end.
    server.operator(post(&format!("{SALE}/pause")).key("k")).ok(200);
    server.operator(post(&format!("{SALE}/resume")).key("k")).ok(200);
    let again = server.operator(post(&format!("{SALE}/pause")).key("k"));
    assert_eq!((again.ok(200)["state"].clone(), again.header("idempotent-replayed")), (json!("running"), Some("true")));
    server.operator(post(&format!("{SALE}/close"))).ok(200);
    assert_eq!(server.operator(restock(5).key("k")).header("idempotent-replayed"), Some("true"));
    // A refusal is not stored, and a definition's key defines once.
    server
        .operator(post("/admin/v1/activities/7/stock").json(&json!({ "sku_id": "x", "add": 1 })).key("z"))
        .problem(404, "activity_not_found");
    let other = json!({ "skus": [{ "sku_id": "x", "title": "t", "price_cents": 1, "stock": 1 }] });
    let define = || server.operator(put("/admin/v1/activities/7", &sale_with(1, other.clone())).key("z"));
    define().ok(201);
    assert_eq!(define().header("idempotent-replayed"), Some("true"));
    server.operator(post("/admin/v1/activities/7/stock").json(&json!({ "sku_id": "x", "add": 1 })).key("z")).ok(200);
    server.stop_and_audit();
}

#[test]
fn a_restock_adds_units_and_nothing_else() {
    let server = Server::selling(0);
    for add in ["0", "-1", "100000001", "9223372036854775808", "1e30", "-0"] {
        let text = format!(r#"{{"sku_id":"2001","add":{add}}}"#);
        server.operator(post(&format!("{SALE}/stock")).text(&text)).problem(422, "invalid_quantity");
    }
    for text in [
        "",
        "{}",
        r#"{"sku_id":"2001"}"#,
        r#"{"add":1}"#,
        r#"["2001",1]"#,
        r#"{"sku_id":"2001","add":1.5}"#,
        r#"{"sku_id":"2001","add":"1"}"#,
        r#"{"sku_id":"2001","add":null}"#,
        r#"{"sku_id":7,"add":1}"#,
        r#"{"sku_id":"a b","add":1}"#,
        r#"{"sku_id":"2001","add":1,"add":2}"#,
    ] {
        server.operator(post(&format!("{SALE}/stock")).text(text)).problem(400, "malformed_request");
    }
    server
        .operator(post(&format!("{SALE}/stock")).json(&json!({ "sku_id": "x", "add": 1 })))
        .problem(404, "sku_not_found");
    server.shopper(7, post(ORDERS).json(&wish(1))).problem(409, "sold_out");
    server.operator(restock(1)).ok(200);
    server.shopper(7, post(ORDERS).json(&wish(1))).ok(201);
    server.stop_and_audit();
}

#[test]
fn one_sku_is_in_one_sale_at_a_time_unless_both_share_it() {
    let server = Server::selling(10);
    let other = "/admin/v1/activities/1002";
    let problem = server.operator(put(other, &sale(5))).problem(422, "sku_in_use");
    assert_eq!((&problem["sku_id"], &problem["activity_id"]), (&json!("2001"), &json!("1001")));
    let shared = json!({ "shared_sku": true });
    server.operator(put(other, &sale_with(5, shared.clone()))).problem(422, "sku_in_use");
    let later = json!({ "starts_at": "2026-11-11T01:00:00Z", "ends_at": "2026-11-11T02:00:00Z" });
    server.operator(put(other, &sale_with(5, later))).ok(201);
    // A redefinition is held to it as well, in a dry run, too.
    let longer = sale_with(10, json!({ "ends_at": "2026-11-11T01:00:01Z" }));
    server.operator(put(SALE, &longer)).problem(422, "sku_in_use");
    server.operator(put(&format!("{SALE}?dry_run=true"), &longer)).problem(422, "sku_in_use");
    server.operator(put(SALE, &sale_with(10, shared.clone()))).ok(200);
    server.operator(put(other, &sale_with(5, shared))).ok(200);
    // A closed activity is in nobody's way.
    let server = Server::selling(10);
    server.operator(post(&format!("{SALE}/close"))).ok(200);
    server.operator(put(other, &sale(5))).ok(201);
}

#[test]
fn lists_and_look_ups_come_in_pages() {
    let server = Server::empty();
    for id in [3, 1, 2] {
        let sku = json!({ "per_user_limit": 4,
            "skus": [{ "sku_id": format!("s{id}"), "title": "t", "price_cents": 1, "stock": 100 }] });
        server.operator(put(&format!("/admin/v1/activities/{id}"), &sale_with(0, sku))).ok(201);
    }
    let list = |query: &str| server.operator(get(&format!("/admin/v1/activities{query}"))).ok(200);
    let ids = |page: &Value, of: &str, id: &str| -> Vec<String> {
        let entries = page[of].as_array().expect("a list").iter();
        entries.map(|entry| entry[id].as_str().expect("an id").to_owned()).collect()
    };
    assert_eq!(ids(&list("?limit=2"), "activities", "activity_id"), ["1", "2"]);
    assert_eq!(list("?limit=2")["next_cursor"], "2");
    assert_eq!(ids(&list("?limit=2&cursor=2"), "activities", "activity_id"), ["3"]);
    assert_eq!(list("?limit=3")["next_cursor"], Value::Null);
    assert_eq!(list("?state=ended")["activities"], json!([]));
    assert_eq!(list("")["activities"][0]["skus"][0]["stock"], 100);

    let mut placed = Vec::new();
    for user in [7, 8, 7, 9, 7] {
        let body = json!({ "sku_id": "s1", "quantity": 1 });
        placed.push(server.shopper(user, post("/v1/flash-sales/1/orders").json(&body)).ok(201));
    }
    let id = |n: usize| placed[n]["order_id"].as_str().expect("an id").to_owned();
    server.shopper(8, post(&format!("/v1/orders/{}/cancel", id(1)))).ok(200);
    let orders = |query: &str| server.operator(get(&format!("/admin/v1/activities/1/orders{query}"))).ok(200);
    let seen = |query: &str| ids(&orders(query), "orders", "order_id");
    assert_eq!(seen(""), [id(0), id(1), id(2), id(3), id(4)], "oldest first");
    assert_eq!(orders("")["orders"][1]["user_id"], "8");
    assert_eq!(seen("?state=cancelled"), [id(1)]);
    assert_eq!(seen("?user_id=7"), [id(0), id(2), id(4)]);
    assert_eq!(seen("?user_id=7&state=cancelled"), Vec::<String>::new());
    for (filter, expected) in [
        ("", vec![id(0), id(1), id(2), id(3), id(4)]),
        ("user_id=7&", vec![id(0), id(2), id(4)]),
        ("state=held&", vec![id(0), id(2), id(3), id(4)]),
        ("user_id=77&", vec![]),
    ] {
        let (mut walked, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = orders(&format!("?{filter}limit=1{cursor}"));
            walked.extend(ids(&page, "orders", "order_id"));
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(walked, expected, "{filter}");
    }
    for bad in
        ["?user_id=x", "?state=lost", "?limit=0", "?limit=1001", "?cursor=x", "?cursor=-1", "?cursor=99999999999"]
    {
        server.operator(get(&format!("/admin/v1/activities/1/orders{bad}"))).problem(400, "malformed_request");
    }
    server.operator(get("/admin/v1/activities/9/orders")).problem(404, "activity_not_found");
    server.operator(get("/admin/v1/orders/1")).problem(404, "order_not_found");
    server.stop_and_audit();
}

#[test]
fn the_numbers_add_up() {
    let server = Server::selling(3);
    for (user, status) in [(1, 201), (2, 201), (3, 201), (4, 409), (5, 409)] {
        assert_eq!(server.shopper(user, post(ORDERS).json(&wish(1))).status, status);
    }
    server.shopper(1, post(ORDERS).key("k").json(&wish(1))).problem(409, "limit_reached");
    let order = server.shopper(2, get(ORDERS)).ok(200)["orders"][0]["order_id"].as_str().expect("an id").to_owned();
    server.shopper(2, post(&format!("/v1/orders/{order}/cancel"))).ok(200);
    let skus = json!([{ "sku_id": "2001", "stock": 3, "available": 1, "held": 2, "sold": 0 }]);
    let stats = server.stats();
    assert_eq!((&stats["activity_id"], &stats["state"], &stats["skus"]), (&json!("1001"), &json!("running"), &skus));
    assert_eq!((&stats["accepted"], &stats["refused"]), (&json!(3), &json!({ "sold_out": 2, "limit_reached": 1 })));
    assert_eq!(stats["shards"].as_array().expect("a list").len(), 1);
    assert_eq!(stats["shards"][0]["skus"], skus);
    server.operator(get("/admin/v1/activities/9/stats")).problem(404, "activity_not_found");
    assert_eq!(server.metric("doorbuster_orders_accepted_total"), Some(3.0));
    assert_eq!(server.metric("doorbuster_refusals_total{code=\"sold_out\"}"), Some(2.0));
    assert_eq!(server.metric("doorbuster_sku_available{activity_id=\"1001\",sku_id=\"2001\"}"), Some(1.0));
}
