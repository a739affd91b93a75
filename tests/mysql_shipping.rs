//! Orders in MySQL: that they come there, what is told while they do not, and every way in which MySQL may fail a server
//! that goes on selling. Real servers on both sides, real kills.

mod mysql;
mod server;

use mysql::{Maria, copy};
use serde_json::Value;
use server::{ACTIVITY, Sale, Server, Stage, until};

const DATABASE: &str = "doorbuster";

/// A stage whose server ships to `maria`, under an ordinary user's name.
fn stage(maria: &Maria, sale: Sale) -> Stage {
    Stage::shipping_to(&maria.shop_url(DATABASE), sale, "")
}

/// What a query of the shop's database answers, without the NULLs of its type.
fn rows(maria: &Maria, sql: &str) -> Vec<Vec<String>> {
    let rows = maria.query(&format!("USE {DATABASE}; {sql}"));
    rows.into_iter()
        .map(|row| row.into_iter().map(|value| value.unwrap_or_else(|| "NULL".to_owned())).collect())
        .collect()
}

fn buy(stage: &Stage, user: u64) -> String {
    let reply = stage.order(user, Some("k")).expect("the server answers");
    assert_eq!(reply.status, 201, "{reply:?}");
    reply.json()["order_id"].as_str().expect("an id").to_owned()
}

fn until_shipped(stage: &Stage) {
    until("MySQL has everything", || {
        let mysql = &stage.state()["mysql"];
        mysql["connected"] == true && mysql["lag_events"] == 0
    });
}

/// Stops the server, and holds every row to the journal.
fn stop_and_audit(stage: &Stage, server: Server) {
    until_shipped(stage);
    server.stop();
    stage.assert_audit_holds(false);
}

fn reasons(state: &Value) -> String {
    state["reasons"].to_string()
}

#[test]
fn an_order_comes_to_mysql_and_the_poll_says_when() {
    let Some(maria) = Maria::start() else { return };
    let stage = stage(&maria, Sale { per_user_limit: 3, ..Sale::default() });
    let server = Server::start(&stage);
    until_shipped(&stage);
    maria.freeze();
    let order = buy(&stage, 42);
    let told = stage.poll(42);
    assert_eq!(told["result"], "0", "accepted, and not in MySQL");
    assert_eq!((&told["order_id"], &told["state"]), (&Value::from(order.as_str()), &Value::from("held")));
    assert!(told["expires_at_ms"].is_u64(), "{told}");
    let state = stage.state();
    assert_eq!(state["mysql"]["lag_events"], 1, "{state}");
    maria.thaw();
    until("the poll gives the id", || stage.poll(42)["result"] == order.as_str());
    let row = rows(
        &maria,
        "SELECT order_id, activity_id, sku_id, user_id, quantity, amount_cents, currency, state, ref, seq = placed_seq \
         FROM orders",
    );
    assert_eq!(row, [[order.as_str(), "1001", "2001", "42", "1", "100", "CNY", "held", "NULL", "1"]]);
    assert_eq!(rows(&maria, "SELECT slot, live FROM order_slots"), [["1", "1"]]);
    assert_eq!(rows(&maria, "SELECT stock, available, held, sold FROM sku_stock"), [["100", "99", "1", "0"]]);

    assert_eq!(stage.cancel(42, &order).expect("an answer").status, 200);
    until_shipped(&stage);
    assert_eq!(
        rows(&maria, "SELECT state, ended_at_ms >= held_at_ms, seq > placed_seq FROM orders"),
        [["cancelled", "1", "1"]]
    );
    assert_eq!(rows(&maria, "SELECT slot, live FROM order_slots"), [["1", "NULL"]]);
    let again = buy(&stage, 43);
    until("the poll gives the id", || stage.poll(43)["result"] == again.as_str());
    assert_eq!(rows(&maria, "SELECT slot, live FROM order_slots ORDER BY order_id"), [["1", "NULL"], ["1", "1"]]);
    // After a restart MySQL is asked, and says the same.
    server.stop();
    let server = Server::start(&stage);
    until("the poll gives the id", || stage.poll(43)["result"] == again.as_str());
    assert_eq!(stage.poll(42)["result"], "-1");
    stop_and_audit(&stage, server);
}

#[test]
fn a_sale_opens_without_mysql_and_ships_when_it_comes() {
    let Some(mut maria) = Maria::start() else { return };
    let stage = stage(&maria, Sale::default());
    maria.kill();
    let server = Server::start(&stage);
    let orders: Vec<String> = (1..=20).map(|user| buy(&stage, user)).collect();
    until("the trouble is told", || reasons(&stage.state()).contains("Connection refused"));
    let (told, public) = (stage.state(), stage.readyz().expect("an answer").json());
    assert_eq!((&told["status"], &told["mysql"]["connected"]), (&"degraded".into(), &false.into()), "{told}");
    assert_eq!(told["mysql"]["lag_events"], 21, "the definition and twenty orders: {told}");
    assert_eq!(public["status"], "degraded");
    assert!(!reasons(&public).contains("127.0.0.1"), "where MySQL is, is nobody's business: {public}");
    until("it is known since when they wait", || stage.state()["mysql"]["lag_ms"].as_u64() > Some(0));
    let metrics = stage.metrics();
    for line in
        ["doorbuster_mysql_connected 0\n", "doorbuster_mysql_lag_events 21\n", "doorbuster_mysql_events_per_second 0\n"]
    {
        assert!(metrics.contains(line), "{line}{metrics}");
    }
    let lag = metrics.lines().find_map(|line| line.strip_prefix("doorbuster_mysql_lag_seconds "));
    assert!(lag.is_some_and(|seconds| seconds.parse::<f64>().expect("a number") > 0.0), "{metrics}");
    // A kill and a restart change nothing about it.
    server.kill();
    let server = Server::start(&stage);
    assert_eq!(stage.state()["mysql"]["lag_events"], 21);
    assert_eq!(stage.poll(7)["result"], "0");
    maria.start_again();
    until("it ships", || stage.poll(7)["result"] == orders[6].as_str());
    until_shipped(&stage);
    until("all is well", || stage.state()["status"] == "ready");
    stop_and_audit(&stage, server);
}

#[test]
fn a_user_who_may_not_is_told_so_without_the_password() {
    let Some(maria) = Maria::start() else { return };
    let url = maria.shop_url(DATABASE).replace("open-at-nine", "open%40ten");
    let stage = Stage::shipping_to(&url, Sale::default(), "");
    let server = Server::start(&stage);
    buy(&stage, 1);
    until("the trouble is told", || reasons(&stage.state()).contains("Access denied"));
    assert!(!server.log().contains("open@ten") && !server.log().contains("open%40ten"), "{}", server.log());
    // The password is set to what the configuration says: nobody restarts the server.
    maria.execute("SET PASSWORD FOR shop@'127.0.0.1' = PASSWORD('open@ten')");
    stop_and_audit(&stage, server);
}

#[test]
fn a_server_that_takes_no_rows_is_waited_for() {
    let Some(maria) = Maria::start() else { return };
    let stage = stage(&maria, Sale::default());
    let server = Server::start(&stage);
    until_shipped(&stage);
    maria.set_read_only(true);
    buy(&stage, 1);
    until("the trouble is told", || reasons(&stage.state()).contains("read-only"));
    assert_eq!(stage.state()["mysql"]["connected"], true, "it is there, and says no");
    maria.set_read_only(false);
    stop_and_audit(&stage, server);
}

#[test]
fn somebody_who_holds_the_rows_for_long_is_told_of() {
    let Some(maria) = Maria::start() else { return };
    let stage = stage(&maria, Sale::default());
    let server = Server::start(&stage);
    until_shipped(&stage);
    let hold =
        format!("USE {DATABASE}; START TRANSACTION; SELECT * FROM ship_cursor FOR UPDATE; DO SLEEP(100) /* held */");
    let holders = || maria.query("SELECT id FROM information_schema.processlist WHERE info LIKE 'DO SLEEP(100)%'");
    std::thread::scope(|scope| {
        scope.spawn(|| mysql::ask(&maria.url(""), &hold));
        until("somebody holds the cursor", || !holders().is_empty());
        buy(&stage, 1);
        until("the trouble is told", || reasons(&stage.state()).contains("Lock wait timeout"));
        assert_eq!(stage.state()["status"], "degraded");
        let holder = holders().remove(0).remove(0).expect("a number");
        maria.execute(&format!("KILL CONNECTION {holder}"));
    });
    stop_and_audit(&stage, server);
}

#[test]
fn a_full_mysql_loses_nothing_and_takes_up_again_when_it_has_room() {
    let Some(mut maria) = Maria::start_small() else { return };
    let stage = Stage::shipping_to(&maria.url(DATABASE), Sale { stock: 1_000, ..Sale::default() }, "");
    let server = Server::start(&stage);
    until_shipped(&stage);
    maria.execute(&format!("CREATE TABLE {DATABASE}.ballast (text LONGTEXT) ENGINE = InnoDB"));
    while mysql::ask(&maria.url(DATABASE), "INSERT INTO ballast VALUES (REPEAT('x', 200000))").is_ok() {}
    let mut user = 0;
    until("there is no room for orders", || {
        user += 1;
        buy(&stage, user);
        reasons(&stage.state()).contains("is full")
    });
    buy(&stage, 999);
    maria.give_room();
    stop_and_audit(&stage, server);
}

#[test]
fn too_long_a_backlog_refuses_new_orders_only_and_ends_by_itself() {
    let Some(maria) = Maria::start() else { return };
    let stage = Stage::shipping_to(&maria.shop_url(DATABASE), Sale::default(), "backlog_events_max = 10");
    let server = Server::start(&stage);
    until_shipped(&stage);
    maria.freeze();
    let first = buy(&stage, 1);
    (2..=10).for_each(|user| drop(buy(&stage, user)));
    let refused = stage.order(11, Some("k")).expect("an answer");
    assert_eq!((refused.status, refused.code()), (503, "backlog_full".to_owned()));
    assert!(refused.header("retry-after").is_some(), "{refused:?}");
    assert!(reasons(&stage.state()).contains("backlog_full"));
    // What is accepted stays answered, a repeat too; and what gives units back goes on.
    assert_eq!(stage.order(1, Some("k")).expect("an answer").status, 200);
    assert_eq!(stage.poll(1)["result"], "0");
    assert_eq!(stage.cancel(1, &first).expect("an answer").status, 200);
    let pause = stage.operate("POST", "/pause", None, "").expect("an answer");
    assert_eq!(pause.status, 200);
    assert_eq!(stage.operate("POST", "/resume", None, "").expect("an answer").status, 200);
    // A restart does not forget it.
    server.kill();
    let server = Server::start(&stage);
    assert_eq!(stage.order(11, Some("k")).expect("an answer").code(), "backlog_full");
    maria.thaw();
    until_shipped(&stage);
    buy(&stage, 11);
    stop_and_audit(&stage, server);
}

#[test]
fn a_wiped_or_older_data_directory_is_refused_by_name() {
    let Some(maria) = Maria::start() else { return };
    let stage = stage(&maria, Sale::default());
    let server = Server::start(&stage);
    buy(&stage, 1);
    until_shipped(&stage);
    server.stop();
    let (data, older, newer) = (stage.path("data"), stage.path("older"), stage.path("newer"));
    copy(&data, &older);
    let server = Server::start(&stage);
    buy(&stage, 2);
    until_shipped(&stage);
    server.stop();

    std::fs::rename(&data, &newer).expect("it is there");
    let ended = stage.run(&["serve"]);
    assert_eq!(ended.code, Some(4), "{ended:?}");
    assert!(ended.err.contains("another journal") && ended.err.contains("doorbuster reship"), "{ended:?}");

    std::fs::remove_dir_all(&data).expect("it was made");
    std::fs::rename(&older, &data).expect("it was copied");
    let ended = stage.run(&["serve"]);
    assert_eq!(ended.code, Some(4), "{ended:?}");
    assert!(ended.err.contains("older than MySQL") && ended.err.contains("doorbuster reship"), "{ended:?}");

    std::fs::remove_dir_all(&data).expect("it was renamed");
    std::fs::rename(&newer, &data).expect("it was renamed");
    let server = Server::start(&stage);
    stop_and_audit(&stage, server);
}

#[test]
fn a_wiped_data_directory_that_started_while_mysql_was_away_ships_nothing() {
    let Some(mut maria) = Maria::start() else { return };
    let stage = stage(&maria, Sale::default());
    let server = Server::start(&stage);
    buy(&stage, 1);
    until_shipped(&stage);
    server.stop();
    let before = rows(&maria, "SELECT order_id, user_id, seq FROM orders");
    maria.kill();
    std::fs::remove_dir_all(stage.path("data")).expect("it is there");
    let server = Server::start(&stage);
    buy(&stage, 2);
    maria.start_again();
    until("the trouble is told", || reasons(&stage.state()).contains("doorbuster reship"));
    assert_eq!(stage.poll(2)["result"], "0");
    // Now that it is known whose units these are, no more of them are sold; what was accepted is not taken back.
    let refused = stage.order(3, Some("k")).expect("an answer");
    assert_eq!((refused.status, refused.code()), (503, "backlog_full".to_owned()), "{refused:?}");
    assert_eq!(stage.order(2, Some("k")).expect("an answer").status, 200);
    server.stop();
    assert_eq!(rows(&maria, "SELECT order_id, user_id, seq FROM orders"), before);
    assert_eq!(stage.run(&["audit"]).code, Some(1), "MySQL has what the journal does not");
}

#[test]
fn mysql_from_an_older_backup_gets_what_it_lacks() {
    let Some(mut maria) = Maria::start() else { return };
    let stage = stage(&maria, Sale::default());
    let server = Server::start(&stage);
    let first = buy(&stage, 1);
    until_shipped(&stage);
    maria.back_up();
    buy(&stage, 2);
    assert_eq!(stage.cancel(1, &first).expect("an answer").status, 200);
    until_shipped(&stage);
    // It comes back as it was, while the server runs.
    maria.kill();
    maria.restore();
    maria.start_again();
    buy(&stage, 3);
    until("the third order is there", || rows(&maria, "SELECT count(*) FROM orders") == [["3"]]);
    stop_and_audit(&stage, server);
}

#[test]
fn tables_in_every_state_are_brought_up_to_date_or_refused() {
    let Some(maria) = Maria::start() else { return };
    let stage = stage(&maria, Sale::default());
    let server = Server::start(&stage);
    buy(&stage, 1);
    until_shipped(&stage);
    server.stop();
    // A migration that a crash cut: some tables are there, and it is not noted as done.
    maria.execute(&format!("USE {DATABASE}; UPDATE _sqlx_migrations SET success = FALSE; DROP TABLE catalog_activity"));
    let server = Server::start(&stage);
    until_shipped(&stage);
    assert_eq!(rows(&maria, "SELECT count(*) FROM catalog_activity"), [["0"]]);
    server.stop();
    // A table that somebody dropped.
    maria.execute(&format!("USE {DATABASE}; DROP TABLE operator_actions"));
    let server = Server::start(&stage);
    until_shipped(&stage);
    assert_eq!(rows(&maria, "SELECT count(*) FROM operator_actions"), [["0"]]);
    server.stop();
    let audited = stage.run(&["audit"]);
    assert!(audited.code == Some(1) && audited.out.contains("operator_actions"), "its rows are missed: {audited:?}");
    assert_eq!(stage.run(&["reship", "--yes"]).code, Some(0));
    // Tables of a version that is not born yet.
    maria.execute(&format!(
        "USE {DATABASE}; INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (999, 'later', TRUE, '', 0)"
    ));
    let server = Server::start(&stage);
    buy(&stage, 2);
    until("the trouble is told", || reasons(&stage.state()).contains("newer version"));
    assert_eq!(rows(&maria, "SELECT count(*) FROM orders"), [["0"]], "nothing is written to what is not understood");
    maria.execute(&format!("USE {DATABASE}; DELETE FROM _sqlx_migrations WHERE version = 999"));
    stop_and_audit(&stage, server);
}

#[test]
fn many_changes_of_a_large_activity_fit_what_a_server_takes_at_once() {
    // What a server takes in one packet unless it is told otherwise.
    let Some(maria) = Maria::start_with(&["--max-allowed-packet=16M"]) else { return };
    let stage = stage(&maria, Sale { skus_beside: 199, ..Sale::default() });
    let server = Server::start(&stage);
    until_shipped(&stage);
    maria.freeze();
    for _ in 0..520 {
        let reply = stage.operate("POST", "/stock", None, "{\"sku_id\":\"2001\",\"add\":1}").expect("an answer");
        assert_eq!(reply.status, 200, "{reply:?}");
    }
    maria.thaw();
    stop_and_audit(&stage, server);
    assert_eq!(rows(&maria, "SELECT count(*) FROM operator_actions WHERE action = 'redefine'"), [["520"]]);
}

#[test]
fn a_foreign_row_stops_shipping_until_it_is_gone_and_never_the_sale() {
    let Some(maria) = Maria::start() else { return };
    let stage = stage(&maria, Sale::default());
    let server = Server::start(&stage);
    buy(&stage, 1);
    until_shipped(&stage);
    // The id of the next order.
    maria.execute(&format!(
        "USE {DATABASE}; INSERT INTO orders SELECT order_id + 1, activity_id, sku_id, 'thief', 1, 1, currency, 'held', ref, \
         NULL, held_at_ms, expires_at_ms, NULL, placed_seq, seq FROM orders"
    ));
    buy(&stage, 2);
    until("the trouble is told", || reasons(&stage.state()).contains("Duplicate entry"));
    assert_eq!(stage.poll(2)["result"], "0", "what stands there under its id is not the order");
    buy(&stage, 3);
    maria.execute(&format!("DELETE FROM {DATABASE}.orders WHERE user_id = 'thief'"));
    until("all is shipped", || stage.poll(3)["result"] != "0");
    // A row of ours that somebody took away is missed when the order ends.
    maria.execute(&format!("USE {DATABASE}; DELETE FROM orders WHERE user_id = '2'"));
    let order_id = stage.poll(2)["order_id"].as_str().expect("an id").to_owned();
    assert_eq!(stage.cancel(2, &order_id).expect("an answer").status, 200);
    until("the trouble is told", || reasons(&stage.state()).contains("0 of 1 rows of `orders`"));
    server.stop();
    let audited = stage.run(&["audit"]);
    assert_eq!(audited.code, Some(1), "{audited:?}");
    assert!(audited.out.contains(&order_id), "the audit names the row: {audited:?}");
}

#[test]
fn the_tables_themselves_refuse_a_slot_that_is_sold_twice() {
    let Some(maria) = Maria::start() else { return };
    let stage = stage(&maria, Sale::default());
    let server = Server::start(&stage);
    buy(&stage, 1);
    until_shipped(&stage);
    server.stop();
    let refused = |sql: &str| {
        let refused = mysql::ask(&maria.url(DATABASE), sql).expect_err("a second owner");
        refused.to_string()
    };
    let second = refused(&format!("INSERT INTO order_slots VALUES (77, 1, {ACTIVITY}, '2001', 1)"));
    assert!(second.contains("one_owner"), "{second}");
    for wrong in ["available = -1", "available = available + 1", "held = -1, available = stock + 1"] {
        let said = refused(&format!("UPDATE sku_stock SET {wrong}"));
        assert!(said.contains("CONSTRAINT"), "{wrong}: {said}");
    }
    assert!(refused("UPDATE orders SET state = 'lost'").contains("CONSTRAINT"));
    assert!(refused("UPDATE orders SET quantity = 0").contains("CONSTRAINT"));
    stage.assert_audit_holds(false);
}
