//! The reload: what changed in the catalogue's files since they were last applied is applied to what stands, live, and
//! nothing else; at the start of a process the same.

mod http;

use http::{ORDERS, SALE, Server, Settings, get, post, put, sale, sale_with, toml_of, wish};
use serde_json::{Value, json};

const OTHER: &str = "/admin/v1/activities/1002";

fn cataloged(stock: u32) -> Settings {
    Settings { catalog: vec![("1001.toml", toml_of(&sale(stock)))], ..Settings::default() }
}

fn reload(server: &Server) -> Value {
    server.operator(post(&format!("{SALE}/reload"))).ok(200)
}

fn stock(server: &Server) -> Value {
    server.operator(get(SALE)).ok(200)["skus"][0]["stock"].clone()
}

#[test]
fn only_what_changed_in_the_file_is_applied() {
    let server = Server::start(cataloged(100));
    assert_eq!(reload(&server)["changes"], json!([]), "the start has applied it");
    server.shopper(7, post(ORDERS).json(&wish(1))).ok(201);
    // A person changes the title and adds 50; then the file gets another price and 20 more.
    let mut by_hand = sale(100);
    by_hand["title"] = json!("By hand");
    server.operator(put(SALE, &by_hand)).ok(200);
    server.operator(post(&format!("{SALE}/stock")).json(&json!({ "sku_id": "2001", "add": 50 }))).ok(200);
    assert_eq!(reload(&server)["changes"], json!([]), "the file has not changed");
    let mut file = sale(120);
    file["skus"][0]["price_cents"] = json!(5);
    server.write_catalog("1001.toml", &toml_of(&file));
    let expected = json!([
        { "field": "skus.2001.price_cents", "from": 199_900, "to": 5 },
        { "field": "skus.2001.stock", "from": 150, "to": 170 },
    ]);
    let dry = server.operator(post(&format!("{SALE}/reload?dry_run=true")));
    assert_eq!((dry.ok(200)["changes"].clone(), dry.header("etag")), (expected.clone(), None));
    assert_eq!(stock(&server), 150);
    assert_eq!(reload(&server)["changes"], expected);
    assert_eq!(reload(&server)["changes"], json!([]), "once");
    assert_eq!(server.operator(get(SALE)).ok(200)["title"], "By hand");
    // Lowering is a difference as well, and not below what is held.
    server.write_catalog("1001.toml", &toml_of(&sale(0)));
    let problem = |stock| {
        server.write_catalog("1001.toml", &toml_of(&sale(stock)));
        server.operator(post(&format!("{SALE}/reload")))
    };
    assert_eq!(problem(0).ok(200)["changes"][1], json!({ "field": "skus.2001.stock", "from": 170, "to": 50 }));
    server.operator(put(SALE, &sale_with(1, json!({ "title": "By hand" })))).ok(200);
    problem(100).ok(200);
    problem(0).ok(200);
    assert_eq!(stock(&server), 1);
    server.stop_and_audit();
}

#[test]
fn a_faulty_file_changes_nothing_and_is_told_by_line() {
    let server = Server::start(cataloged(10));
    server.write_catalog("1001.toml", "kind = 'flash_sale'\ntitle = 7\n");
    let problem = server.operator(post(&format!("{SALE}/reload"))).problem(422, "invalid_definition");
    let errors = problem["errors"].as_array().expect("a list");
    assert!(errors.iter().any(|error| error["line"] == 2), "{problem}");
    server.write_catalog("1001.toml", &toml_of(&sale_with(10, json!({ "currency": "EUR" }))));
    server.operator(post(&format!("{SALE}/reload"))).problem(422, "immutable_field");
    assert_eq!(server.operator(get(SALE)).ok(200)["version"], 1);
    std::fs::remove_file(server.catalog().join("1001.toml")).expect("it is there");
    let problem = server.operator(post(&format!("{SALE}/reload"))).problem(404, "activity_not_found");
    assert_eq!(problem["detail"], "the catalogue has no such activity", "though it stands");
    assert_eq!(server.operator(get(SALE)).ok(200)["state"], "running");
    server.shopper(7, post(ORDERS).json(&wish(1))).ok(201);
}

#[test]
fn a_new_file_defines_an_activity() {
    let server = Server::start(cataloged(10));
    server.operator(post(&format!("{OTHER}/reload"))).problem(404, "activity_not_found");
    let other = sale_with(1, json!({ "skus": [{ "sku_id": "2002", "title": "t", "price_cents": 1, "stock": 5 }] }));
    server.write_catalog("1002.toml", &toml_of(&other));
    server.operator(post(&format!("{OTHER}/reload?dry_run=true"))).ok(200);
    server.operator(get(OTHER)).problem(404, "activity_not_found");
    assert_eq!(server.operator(post(&format!("{OTHER}/reload"))).ok(201)["version"], 1);
    assert_eq!(server.operator(post(&format!("{OTHER}/reload"))).ok(200)["changes"], json!([]));
    server.write_catalog("1003.toml", &toml_of(&sale(1)));
    server.operator(post("/admin/v1/activities/1003/reload")).problem(422, "sku_in_use");
}

#[test]
fn a_reload_of_all_applies_what_it_can_and_tells_the_rest() {
    let server = Server::start(cataloged(10));
    server.write_catalog("1001.toml", &toml_of(&sale(11)));
    server.write_catalog("1002.toml", "kind = 'flash_sale'\n");
    server.write_catalog("1003.toml", &toml_of(&sale(1)));
    server.write_catalog(
        "1004.toml",
        &toml_of(&sale_with(
            1,
            json!({ "skus": [
        { "sku_id": "2004", "title": "t", "price_cents": 1, "stock": 5 }] }),
        )),
    );
    server.write_catalog("misnamed.toml", "");
    let told = |path: &str| {
        let report = server.operator(post(path)).ok(200);
        let of = |list: &str, name: &str| -> Vec<Value> {
            report[list].as_array().expect("a list").iter().map(|entry| entry[name].clone()).collect()
        };
        assert_eq!(of("activities", "activity_id"), ["1001", "1004"], "{report}");
        assert_eq!(of("faults", "activity_id"), [json!("1002"), json!("1003"), Value::Null], "{report}");
        assert_eq!(of("faults", "code"), ["invalid_definition", "sku_in_use", "invalid_definition"], "{report}");
        assert!(report["faults"].as_array().expect("a list").iter().all(|fault| fault["detail"].is_string()));
        report["activities"][0]["changes"].clone()
    };
    let expected = json!([{ "field": "skus.2001.stock", "from": 10, "to": 11 }]);
    assert_eq!(told("/admin/v1/reload?dry_run=true"), expected);
    server.operator(get("/admin/v1/activities/1004")).problem(404, "activity_not_found");
    assert_eq!(told("/admin/v1/reload"), expected);
    assert_eq!(told("/admin/v1/reload"), json!([]));
    server.operator(get("/admin/v1/activities/1004")).ok(200);
    server.stop_and_audit();
}

#[test]
fn one_key_on_the_two_reloads_is_two_keys() {
    let server = Server::start(cataloged(10));
    server.write_catalog("1001.toml", &toml_of(&sale(11)));
    server.operator(post("/admin/v1/reload").key("k")).ok(200);
    assert_eq!(stock(&server), 11);
    server.write_catalog("1001.toml", &toml_of(&sale(12)));
    let reply = server.operator(post(&format!("{SALE}/reload")).key("k"));
    assert_eq!((reply.ok(200)["version"].clone(), reply.header("idempotent-replayed")), (json!(3), None));
    server.write_catalog("1001.toml", &toml_of(&sale(13)));
    let reply = server.operator(post(&format!("{SALE}/reload")).key("k"));
    assert_eq!((reply.ok(200)["changes"].clone(), reply.header("idempotent-replayed")), (json!([]), Some("true")));
    assert_eq!(stock(&server), 12);
}

#[test]
fn a_start_reloads_and_readyz_names_what_it_skipped() {
    let settings = Settings {
        catalog: vec![
            ("1001.toml", toml_of(&sale(10))),
            ("1002.toml", "kind = 1\n".to_owned()),
            ("x.toml", String::new()),
        ],
        ..Settings::default()
    };
    let server = Server::start(settings);
    let ready = server.operator(get("/readyz")).ok(200);
    assert_eq!(
        (&ready["status"], &ready["durability"], ready.get("mysql")),
        (&json!("degraded"), &json!("fsync"), None)
    );
    let reasons: Vec<&str> = ready["reasons"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    assert_eq!(reasons.len(), 2, "{reasons:?}");
    assert!(
        reasons[0].starts_with("catalog 1002: 1002.toml:1: kind: ") && reasons[1].contains("x.toml"),
        "{reasons:?}"
    );
    // Out there nobody learns what the files say or where they lie.
    let public = server.stranger(get("/readyz")).ok(200);
    assert_eq!((&public["status"], public["reasons"].as_array().map(Vec::len)), (&json!("degraded"), Some(1)));
    assert!(!public.to_string().contains(".toml"), "{public}");
    server.operator(post(&format!("{SALE}/stock")).json(&json!({ "sku_id": "2001", "add": 5 }))).ok(200);
    // The second start finds a file that changed, one mended and one gone.
    let disk = server.disk.clone();
    server.stop_and_audit();
    let mended = sale_with(1, json!({ "skus": [{ "sku_id": "2002", "title": "t", "price_cents": 1, "stock": 5 }] }));
    let catalog = vec![("1001.toml", toml_of(&sale(20))), ("1002.toml", toml_of(&mended))];
    let server = Server::start(Settings { disk: disk.clone(), catalog, ..Settings::default() });
    assert_eq!(server.stranger(get("/readyz")).ok(200)["status"], "ready");
    assert_eq!(stock(&server), 25);
    server.stop_and_audit();
    let server = Server::start(Settings { disk, ..Settings::default() });
    assert_eq!(stock(&server), 25, "an absent file is left alone");
    assert_eq!(server.operator(get(OTHER)).ok(200)["state"], "running");
}

#[test]
fn a_mended_catalogue_clears_readyz() {
    let settings = Settings { catalog: vec![("1001.toml", "kind = 1\n".to_owned())], ..Settings::default() };
    let server = Server::start(settings);
    assert_eq!(server.stranger(get("/readyz")).ok(200)["status"], "degraded");
    server.write_catalog("1001.toml", &toml_of(&sale(10)));
    server.operator(post("/admin/v1/reload?dry_run=true")).ok(200);
    assert_eq!(server.stranger(get("/readyz")).ok(200)["status"], "degraded");
    server.operator(post("/admin/v1/reload")).ok(200);
    // Nor is a file told of that is gone, by whichever reload finds that out.
    for reload in ["/admin/v1/reload".to_owned(), format!("{OTHER}/reload")] {
        server.write_catalog("1002.toml", "kind = 1\n");
        server.operator(post(&format!("{OTHER}/reload"))).problem(422, "invalid_definition");
        assert_eq!(server.stranger(get("/readyz")).ok(200)["status"], "degraded");
        std::fs::remove_file(server.catalog().join("1002.toml")).expect("it is there");
        server.operator(post(&reload));
    }
    assert_eq!(
        server.stranger(get("/readyz")).ok(200),
        json!({
        "status": "ready", "reasons": [], "durability": "fsync", "clock_gap_ms": 0 })
    );
}
