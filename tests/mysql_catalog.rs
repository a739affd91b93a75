//! The catalogue in MySQL: a back office writes rows, and starts and reloads apply what changed in them, exactly as with
//! files. With a real MariaDB, which is killed, frozen and absent; the server is the real one, on a journal in memory.

mod http;
mod mysql;
mod server;

use doorbuster::cli::check;
use doorbuster::domain::Event;
use doorbuster::domain::event::Author;
use doorbuster::ids::Seq;
use doorbuster::persist::{Tail, replay};
use http::packets::rain;
use http::{ORDERS, SALE, Server, Settings, get, post, put, sale, sale_with, wish};
use mysql::Maria;
use serde_json::{Value, json};
use server::until;

const OTHER: &str = "/admin/v1/activities/1002";
const RELOAD_ALL: &str = "/admin/v1/reload";

/// Settings of a server whose catalogue is in MySQL.
fn cataloged(url: &str) -> Settings {
    Settings { more: configured(url), ..Settings::default() }
}

fn configured(url: &str) -> String {
    format!("[catalog]\nsource = 'mysql'\n[mysql]\nurl = '{url}'\n")
}

/// Writes an activity's row as a back office does.
fn write(maria: &Maria, activity_id: u64, definition: &str) {
    let definition = definition.replace('\\', "\\\\").replace('\'', "\\'");
    maria.execute(&format!(
        "INSERT INTO shop.catalog_activity (activity_id, definition) VALUES ({activity_id}, '{definition}') \
         ON DUPLICATE KEY UPDATE definition = VALUES(definition)"
    ));
}

/// A sale of a SKU that no other sells.
fn sale_of(sku: &str, stock: u32) -> Value {
    sale_with(stock, json!({ "skus": [{ "sku_id": sku, "title": "t", "price_cents": 1, "stock": stock }] }))
}

fn reload(server: &Server) -> http::Reply {
    server.operator(post(&format!("{SALE}/reload")))
}

fn stock(server: &Server) -> Value {
    server.operator(get(SALE)).ok(200)["skus"][0]["stock"].clone()
}

/// Why `/readyz` says that the catalogue is not as it should be.
fn reasons(server: &Server) -> Vec<String> {
    let ready = server.operator(get("/readyz")).ok(200);
    let reasons = ready["reasons"].as_array().expect("a list").iter();
    let reasons: Vec<String> = reasons.map(|reason| reason.as_str().expect("text").to_owned()).collect();
    assert_eq!(ready["status"] == "ready", reasons.is_empty(), "{ready}");
    reasons.into_iter().filter(|reason| reason.starts_with("catalog")).collect()
}

#[test]
fn what_changed_in_a_row_is_applied_and_nothing_else() {
    let Some(maria) = Maria::start() else { return };
    let url = maria.url("shop");
    let server = Server::start(cataloged(&url));
    assert_eq!(reasons(&server), [""; 0], "the start has made the table, and it is empty");
    reload(&server).problem(404, "activity_not_found");
    write(&maria, 1001, &sale(100).to_string());
    let dry = server.operator(post(&format!("{SALE}/reload?dry_run=true"))).ok(200);
    assert_eq!(dry["version"], 1);
    server.operator(get(SALE)).problem(404, "activity_not_found");
    assert_eq!(reload(&server).ok(201)["version"], 1);
    server.shopper(7, post(ORDERS).json(&wish(1))).ok(201);

    // A person changes the title and adds 50; then the row gets another price and 20 more.
    let mut by_hand = sale(100);
    by_hand["title"] = json!("By hand");
    server.operator(put(SALE, &by_hand)).ok(200);
    server.operator(post(&format!("{SALE}/stock")).json(&json!({ "sku_id": "2001", "add": 50 }))).ok(200);
    assert_eq!(reload(&server).ok(200)["changes"], json!([]), "the row has not changed");
    let mut row = sale(120);
    row["skus"][0]["price_cents"] = json!(5);
    write(&maria, 1001, &row.to_string());
    let expected = json!([
        { "field": "skus.2001.price_cents", "from": 199_900, "to": 5 },
        { "field": "skus.2001.stock", "from": 150, "to": 170 },
    ]);
    let dry = server.operator(post(&format!("{SALE}/reload?dry_run=true"))).ok(200);
    assert_eq!(dry["changes"], expected);
    assert_eq!(stock(&server), 150);
    assert_eq!(reload(&server).ok(200)["changes"], expected);
    assert_eq!(reload(&server).ok(200)["changes"], json!([]), "once");
    assert_eq!(server.operator(get(SALE)).ok(200)["title"], "By hand");

    // A row that is gone is left alone, and asked for by its number it is told to be absent.
    maria.execute("DELETE FROM shop.catalog_activity");
    let problem = reload(&server).problem(404, "activity_not_found");
    assert_eq!(problem["detail"], "the catalogue has no such activity");
    assert_eq!(server.operator(post(RELOAD_ALL)).ok(200), json!({ "activities": [], "faults": [] }));
    assert_eq!(stock(&server), 170);

    // A start does the same for a new and a changed row.
    row["skus"][0]["stock"] = json!(130);
    write(&maria, 1001, &row.to_string());
    write(&maria, 1002, &sale_of("2002", 5).to_string());
    let disk = server.disk.clone();
    server.stop_and_audit();
    let server = Server::start(Settings { disk, ..cataloged(&url) });
    assert_eq!((stock(&server), reasons(&server).len()), (json!(180), 0));
    assert_eq!(server.operator(get(OTHER)).ok(200)["skus"][0]["stock"], 5);
    server.stop_and_audit();
}

#[test]
fn a_faulty_row_is_refused_by_name_and_hinders_no_other() {
    let Some(maria) = Maria::start() else { return };
    // A table that a back office made for itself, and that takes anything.
    maria.execute("CREATE DATABASE shop; CREATE TABLE shop.catalog_activity (activity_id BIGINT, definition LONGBLOB)");
    let twice = sale(1).to_string().replacen('{', r#"{"title":"u","#, 1);
    let trailing = format!("{} x", sale(1));
    let mut red = sale(1);
    red["kind"] = json!("red_packet");
    for (id, definition) in [
        ("1001", format!("'{}'", sale(10))),
        ("1002", "NULL".to_owned()),
        ("1003", "x'7bff'".to_owned()),
        ("1004", format!("'{twice}'")),
        ("1005", format!("'{trailing}'")),
        ("1006", format!("'{red}'")),
        ("1011", format!("'{}'", rain(5, 1_000))),
        ("1007", format!("'{}'", sale(1))),
        ("1008", "REPEAT('x', 1048577)".to_owned()),
        ("1009", format!("'{}'", sale_of("2009", 5))),
        ("1010", format!("'{}'", sale_of("2010", 5))),
        ("1010", format!("'{}'", sale_of("2010", 6))),
        ("0", format!("'{}'", sale(1))),
        ("-7", format!("'{}'", sale(1))),
        ("NULL", format!("'{}'", sale(1))),
    ] {
        maria.execute(&format!("INSERT INTO shop.catalog_activity VALUES ({id}, {definition})"));
    }
    let server = Server::start(cataloged(&maria.url("shop")));
    assert_eq!(stock(&server), 10);
    server.operator(get("/admin/v1/activities/1009")).ok(200);
    assert_eq!(server.operator(get("/admin/v1/activities/1011")).ok(200)["kind"], "red_packet");
    let told = reasons(&server);
    let expected = [
        "catalog 1002: catalog_activity 1002: is NULL",
        "catalog 1003: catalog_activity 1003: is not UTF-8",
        "catalog 1004: catalog_activity 1004: title: is given more than once",
        "catalog 1005: catalog_activity 1005:1: is not JSON: trailing characters",
        "catalog 1006: catalog_activity 1006: split: is missing (add split = ",
        "catalog 1007: sku_in_use: ",
        "catalog 1008: catalog_activity 1008: is larger than 1048576 bytes",
        "catalog 1010: catalog_activity 1010: has more than one row",
        "catalog: catalog_activity: a row's activity_id is NULL",
        "catalog: catalog_activity: \"-7\" is no activity id: ",
        "catalog: catalog_activity: \"0\" is no activity id: it must be above 0",
    ];
    assert_eq!(told.len(), expected.len(), "{told:#?}");
    for (told, expected) in told.iter().zip(expected) {
        assert!(told.starts_with(expected), "{told}\nexpected {expected}");
    }
    // What a sale has beside is told of red packets, too.
    assert!(told[4].contains("; catalog_activity 1006: skus: is not a known name (remove it; "), "{}", told[4]);
    let public = server.stranger(get("/readyz")).ok(200);
    assert!(!public.to_string().contains("catalog_activity"), "{public}");

    let report = server.operator(post(RELOAD_ALL)).ok(200);
    let applied: Vec<&Value> = report["activities"].as_array().expect("a list").iter().collect();
    assert_eq!(applied.len(), 3, "{report}");
    let codes: Vec<&Value> = report["faults"].as_array().expect("a list").iter().map(|fault| &fault["code"]).collect();
    assert_eq!(codes.iter().filter(|code| **code == "invalid_definition").count(), 10, "{report}");
    assert_eq!(codes.iter().filter(|code| **code == "sku_in_use").count(), 1, "{report}");
    for (id, what) in [("1003", "is not UTF-8"), ("1010", "has more than one row")] {
        let problem = server.operator(post(&format!("/admin/v1/activities/{id}/reload")));
        let problem = problem.problem(422, "invalid_definition");
        assert_eq!(
            (&problem["errors"][0]["what"], problem["errors"].as_array().map(Vec::len)),
            (&json!(what), Some(1))
        );
        assert_eq!(problem["errors"][0]["file"], format!("catalog_activity {id}"));
    }
    server.operator(post("/admin/v1/activities/1007/reload")).problem(422, "sku_in_use");

    // A sound row that turns faulty, or wants what cannot be, changes nothing.
    let becomes = |definition: &Value| {
        let set = format!("UPDATE shop.catalog_activity SET definition = '{definition}' WHERE activity_id = 1001");
        maria.execute(&set);
        reload(&server)
    };
    let problem = becomes(&sale_with(20, json!({ "title": 7, "sku": 1 }))).problem(422, "invalid_definition");
    let paths: Vec<&Value> = problem["errors"].as_array().expect("a list").iter().map(|error| &error["path"]).collect();
    assert_eq!(paths, ["title", "sku"], "{problem}");
    becomes(&sale_with(20, json!({ "currency": "EUR" }))).problem(422, "immutable_field");
    assert_eq!(server.operator(get(SALE)).ok(200)["version"], 1);

    // Once all is mended nothing is told any more.
    maria.execute(
        "DELETE FROM shop.catalog_activity WHERE activity_id IS NULL OR activity_id NOT IN (1001, 1010, 1011)",
    );
    maria.execute("DELETE FROM shop.catalog_activity WHERE activity_id = 1010 LIMIT 1");
    becomes(&sale(20)).ok(200);
    assert_eq!(reasons(&server).len(), 11, "what was not read again is told still");
    let report = server.operator(post(RELOAD_ALL)).ok(200);
    assert_eq!(report["faults"], json!([]), "{report}");
    assert_eq!((stock(&server), reasons(&server).len()), (json!(20), 0));
    server.stop_and_audit();
}

#[test]
fn more_rows_than_a_catalogue_has_are_left_out_and_told() {
    let Some(maria) = Maria::start() else { return };
    let server = Server::start(cataloged(&maria.url("shop")));
    maria.execute("INSERT INTO shop.catalog_activity SELECT seq, '' FROM shop.seq_2000_to_12000");
    let report = server.operator(post(&format!("{RELOAD_ALL}?dry_run=true"))).ok(200);
    let faults = report["faults"].as_array().expect("a list");
    assert_eq!(faults.len(), 10_001, "10,000 rows and the fault of the table");
    let detail = faults[10_000]["detail"].as_str().expect("text");
    assert!(detail.starts_with("catalog_activity: holds more than 10000 activities, or more than"), "{detail}");
}

#[test]
fn without_mysql_a_reload_is_told_to_wait_and_the_sale_goes_on() {
    let Some(mut maria) = Maria::start() else { return };
    let server = Server::start(cataloged(&maria.shop_url("shop")));
    write(&maria, 1001, &sale(10).to_string());
    reload(&server).ok(201);
    write(&maria, 1001, &sale(20).to_string());
    maria.kill();
    for path in [format!("{SALE}/reload"), format!("{SALE}/reload?dry_run=true"), RELOAD_ALL.to_owned()] {
        let problem = server.operator(post(&path)).problem(503, "recovering");
        let detail = problem["detail"].as_str().expect("text");
        let expected =
            format!("the catalogue in MySQL at 127.0.0.1:{}/shop cannot be read: connecting: ", maria.port());
        assert!(detail.starts_with(&expected) && !detail.contains("open-at-nine"), "{detail}");
    }
    server.shopper(7, post(ORDERS).json(&wish(1))).ok(201);
    server.operator(post(&format!("{SALE}/stock")).json(&json!({ "sku_id": "2001", "add": 5 }))).ok(200);
    server.operator(put(OTHER, &sale_of("2002", 5))).ok(201);
    assert_eq!(reasons(&server), [""; 0], "what was read last is applied");

    maria.start_again();
    assert_eq!(reload(&server).ok(200)["changes"], json!([{ "field": "skus.2001.stock", "from": 15, "to": 25 }]));
    // One that takes connections and never says a word is not waited for either.
    maria.freeze();
    let problem = reload(&server).problem(503, "recovering");
    assert!(
        problem["detail"].as_str().is_some_and(|detail| detail.ends_with("connecting: no answer for 5 s")),
        "{problem}"
    );
    maria.thaw();
    assert_eq!(reload(&server).ok(200)["changes"], json!([]));
    server.stop_and_audit();
}

#[test]
fn a_start_without_mysql_sells_and_applies_the_table_once_it_is_there() {
    let Some(mut maria) = Maria::start() else { return };
    let url = maria.shop_url("shop");
    let server = Server::start(cataloged(&url));
    write(&maria, 1001, &sale(10).to_string());
    reload(&server).ok(201);
    let disk = server.disk.clone();
    server.stop_and_audit();
    write(&maria, 1001, &sale(20).to_string());
    write(&maria, 1002, &sale_of("2002", 5).to_string());
    write(&maria, 1003, "{}");
    maria.kill();

    let server = Server::start(Settings { disk: disk.clone(), ..cataloged(&url) });
    let told = reasons(&server);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("catalog: not applied since the start: the catalogue in MySQL at "), "{told:?}");
    assert!(told[0].ends_with("; it is tried again") && !told[0].contains("open-at-nine"), "{told:?}");
    let public = server.stranger(get("/readyz")).ok(200);
    assert!(public["status"] == "degraded" && !public.to_string().contains("127.0.0.1"), "{public}");
    server.shopper(7, post(ORDERS).json(&wish(1))).ok(201);
    assert_eq!(stock(&server), 10);
    server.operator(get(OTHER)).problem(404, "activity_not_found");

    maria.start_again();
    until("the table is applied", || stock(&server) == 20);
    // Rows are applied in the order of their numbers, and this one is the last.
    until(
        "/readyz tells what is wrong in the table",
        || matches!(reasons(&server).as_slice(), [told] if told.starts_with("catalog 1003: ")),
    );
    assert_eq!(server.operator(get(OTHER)).ok(200)["version"], 1);
    // It was the start's one application: what is written from now on waits for a reload.
    write(&maria, 1001, &sale(30).to_string());
    assert_eq!(reload(&server).ok(200)["version"], 3);
    server.stop_and_audit();

    let (journal, mut authors) = (disk.open().expect("it holds"), Vec::new());
    let each = |_, entry: doorbuster::domain::Entry| match entry.event {
        Event::ActivityDefined(event) => authors.push(event.change.by),
        Event::ActivityRedefined(event) => authors.push(event.change.by),
        _ => {}
    };
    replay(&journal, Tail::START, Seq(u64::MAX), each).expect("it is whole");
    let operators = authors.iter().filter(|author| matches!(author, Author::Operator(_))).count();
    assert_eq!((authors.len(), operators), (4, 2), "{authors:?}");
    assert_eq!(authors[1..3], [Author::StartUp, Author::StartUp]);
}

#[test]
fn a_user_who_may_only_read_the_table_is_enough() {
    let Some(maria) = Maria::start() else { return };
    maria.execute(
        "CREATE DATABASE shop;
         CREATE TABLE shop.catalog_activity (activity_id BIGINT UNSIGNED PRIMARY KEY, definition LONGTEXT NOT NULL);
         CREATE USER reader@'127.0.0.1'; GRANT SELECT ON shop.catalog_activity TO reader@'127.0.0.1'",
    );
    write(&maria, 1001, &sale(10).to_string());
    let url = format!("mysql://reader@127.0.0.1:{}/shop", maria.port());
    let server = Server::start(cataloged(&url));
    assert_eq!((stock(&server), reasons(&server).len()), (json!(10), 0));
    // One who may not even do that is told so, and not that the catalogue is empty.
    maria.execute(
        "REVOKE SELECT ON shop.catalog_activity FROM reader@'127.0.0.1'; GRANT SELECT ON shop.* TO reader@'127.0.0.1'",
    );
    maria.execute("DROP TABLE shop.catalog_activity");
    let problem = reload(&server).problem(503, "recovering");
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("denied")), "{problem}");
}

#[test]
fn check_tells_the_faults_of_the_table() {
    let Some(mut maria) = Maria::start() else { return };
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("d.toml");
    let auth = "[auth]\nsecret = 'a secret of the tests, 32 bytes or more'\n";
    std::fs::write(&file, format!("{auth}{}", configured(&maria.url("shop")))).expect("a file");
    let none: [(String, String); 0] = [];
    let check = || {
        let mut out = Vec::new();
        let code = check::run(&file, none.clone(), &mut out).expect("memory takes all");
        let text = String::from_utf8(out).expect("UTF-8").replace(&format!("{}/", dir.path().display()), "");
        (code, text)
    };
    let no_table = "sound: d.toml; there is no table catalog_activity yet: a server that starts makes it\n";
    assert_eq!(check(), (0, no_table.to_owned()));
    assert!(maria.query("SHOW DATABASES LIKE 'shop'").is_empty(), "a check makes nothing");
    maria.execute("CREATE DATABASE shop");
    assert_eq!(check(), (0, no_table.to_owned()));
    assert!(maria.query("SHOW TABLES FROM shop").is_empty(), "a check makes nothing");

    drop(Server::start(cataloged(&maria.url("shop"))));
    write(&maria, 1001, &sale(10).to_string());
    assert_eq!(check(), (0, "sound: d.toml and 1 activity\n".to_owned()));
    write(&maria, 1002, &sale_with(10, json!({ "title": 7 })).to_string());
    write(&maria, 1003, &sale(10).to_string());
    let expected = "\
catalog_activity 1002: title: must be text, is an integer
    mend: write it in double quotes
catalog_activity 1003: skus: 2001 stands in catalog_activity 1001 too, and the windows overlap
    mend: move a window, take it out of one row, or write shared_sku = true in both
faulty: 2 faults; 2 activities sound
";
    assert_eq!(check(), (1, expected.to_owned()));
    maria.kill();
    let (code, text) = check();
    assert_eq!(code, 2, "{text}");
    assert!(text.ends_with("\nnot judged: d.toml is sound, the catalogue was not looked at\n"), "{text}");
}
