//! `doorbuster audit` and `doorbuster reship` upon MySQL as a shell sees them: what they print, and their exit codes.

mod domain;
mod journal;
mod mysql;
mod mysql_rows;
mod server;

use std::fs::{self, OpenOptions};
use std::io::Write;

use doorbuster::ids::{Seq, UnixMillis};
use doorbuster::persist::mysql::{Error, Session, Target};
use doorbuster::persist::{DataDirLock, Journal, SledJournal, identity, portion};
use mysql::Maria;
use mysql_rows::History;
use server::{Sale, Server, Stage, until};
use tokio::runtime::{Builder, Runtime};

const TABLES: [&str; 8] = [
    "ship_cursor",
    "activities",
    "activity_shards",
    "sku_stock",
    "orders",
    "order_slots",
    "payments",
    "operator_actions",
];

/// A stage with a journal of 300 steps and a MariaDB that has it all.
struct Shop {
    stage: Stage,
    maria: Maria,
    runtime: Runtime,
}

impl Shop {
    fn open() -> Option<Self> {
        let maria = Maria::start()?;
        let stage = Stage::shipping_to(&maria.url("shop"), Sale::default(), "");
        let mut journal = journal::open(&stage.path("data")).expect("a fresh journal");
        for command in History::of(1, 300).entries.chunks(2) {
            journal::append(&mut journal, command).expect("a sound disk");
        }
        journal.close().expect("a sound disk");
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let shop = Self { stage, maria, runtime };
        shop.ship().expect("it can be shipped");
        Some(shop)
    }

    fn journal(&self) -> SledJournal {
        journal::open(&self.stage.path("data")).expect("a sound journal")
    }

    /// What a server does with MySQL as it starts.
    fn ship(&self) -> Result<(), Error> {
        let journal = self.journal();
        let target: Target = self.maria.url("shop").parse().expect("a URL");
        let ours = identity(&journal).expect("it is sound").expect("it is not empty");
        let shipped = self.runtime.block_on(async {
            target.migrate().await?;
            let mut session = Session::open(&target, Some(ours)).await?;
            loop {
                let (entries, to) = portion(&journal, session.cursor(), Seq(u64::MAX), 40)?;
                if entries.is_empty() {
                    return Ok(());
                }
                session.ship(ours, &entries, to, UnixMillis(7)).await?;
            }
        });
        journal.close().expect("a sound disk");
        shipped
    }

    /// How many rows each table has.
    fn rows(&self) -> Vec<String> {
        let count = |table: &str| {
            let count = self.maria.query(&format!("SELECT COUNT(*) FROM shop.{table}"));
            count[0][0].clone().expect("a count")
        };
        TABLES.map(count).into()
    }

    #[track_caller]
    fn ends(&self, arguments: &[&str], code: i32, words: &[&str]) -> String {
        let ended = self.stage.run(arguments);
        assert_eq!(ended.code, Some(code), "{arguments:?}: {ended:?}");
        let said = ended.out + &ended.err;
        for word in words {
            assert!(said.contains(word), "{arguments:?}: `{word}` in {said}");
        }
        said
    }
}

/// Points the stage's configuration at a database.
fn point_at(stage: &Stage, url: &str) {
    let file = stage.path("doorbuster.toml");
    let text = fs::read_to_string(&file).expect("it was written");
    let before = text.split("[mysql]").next().expect("there is a beginning");
    fs::write(&file, format!("{before}[mysql]\nurl = \"{url}\"\n")).expect("it can be written");
}

#[test]
fn an_audit_says_what_of_mysql_holds_and_what_does_not() {
    let Some(mut shop) = Shop::open() else { return };
    shop.ends(&["audit"], 0, &["every invariant that was checked holds", "0 later ones are not shipped yet"]);
    let id = "SELECT order_id FROM shop.orders WHERE state = 'held' LIMIT 1";
    let id = shop.maria.query(id)[0][0].clone().expect("somebody holds something");
    shop.maria.execute(&format!("UPDATE shop.orders SET state = 'paid', quantity = 9 WHERE order_id = {id}"));
    let broken = format!("X1: orders {id}: quantity is 9, the journal gives ");
    shop.ends(&["audit"], 1, &[&broken, "(and 1 more difference)", "BROKEN 2 times"]);
    shop.ends(&["audit", "--without-mysql"], 0, &["every invariant that was checked holds"]);

    let address = shop.maria.address().to_string();
    shop.maria.stop();
    let away = format!("MySQL at {address}/shop could not be read");
    shop.ends(&["audit"], 2, &[&away, "--without-mysql"]);
    shop.ends(&["reship", "--yes"], 2, &["MySQL at", &address]);
    shop.ends(&["audit", "--without-mysql"], 0, &[]);
    shop.maria.start_again();
    shop.maria.execute("CREATE USER clerk@'127.0.0.1' IDENTIFIED BY 'right'; GRANT ALL ON shop.* TO clerk@'127.0.0.1'");
    point_at(&shop.stage, &format!("mysql://clerk:wrong@{address}/shop"));
    let said = shop.ends(&["audit"], 2, &[&away, "Access denied"]);
    assert!(!said.contains(":wrong"), "a password is never shown: {said}");
    point_at(&shop.stage, &format!("mysql://clerk:right@{address}/shop"));
    shop.ends(&["audit"], 1, &[&broken]);
}

#[test]
fn reship_shows_then_empties_then_everything_is_shipped_again() {
    let Some(shop) = Shop::open() else { return };
    shop.maria
        .execute("INSERT INTO shop.catalog_activity VALUES (5, '{}'); CREATE TABLE shop.theirs AS SELECT 1 AS one");
    let before = shop.rows();
    let id = identity(&shop.journal()).expect("it is sound").expect("it is not empty").to_string();
    let shown = format!("{} in orders", before[4]);
    let payments = format!("{} in payments", before[6]);
    assert_ne!(before[6], "0", "there are payments");
    shop.ends(&["reship"], 1, &["of this journal", &id[..16], &shown, &payments, "nothing was changed", "--yes"]);
    shop.maria.execute("UPDATE shop.ship_cursor SET seq = seq + 5");
    shop.ends(&["reship"], 1, &["the last 5 events are in MySQL only, and will be lost"]);
    shop.maria.execute("UPDATE shop.ship_cursor SET seq = seq - 5, journal_id = REPEAT('ab', 32)");
    shop.ends(&["reship"], 1, &["another journal than this one, abababababababab…"]);
    shop.maria.execute(&format!("UPDATE shop.ship_cursor SET journal_id = '{id}'"));
    assert_eq!(shop.rows(), before);
    {
        let _held = DataDirLock::take(&shop.stage.path("data"), UnixMillis(1)).expect("nobody has it");
        shop.ends(&["reship", "--yes"], 3, &[&format!("pid {}", std::process::id())]);
    }
    assert_eq!(shop.rows(), before);

    shop.ends(&["reship", "--yes"], 0, &[&shown, "ships the journal from its first event on"]);
    assert!(shop.rows().iter().all(|rows| rows == "0"), "{:?}", shop.rows());
    assert_eq!(shop.maria.query("SELECT activity_id FROM shop.catalog_activity").len(), 1, "the back office's stay");
    assert_eq!(shop.maria.query("SELECT one FROM shop.theirs").len(), 1);
    shop.ends(&["audit"], 0, &["has nothing of this journal yet"]);
    shop.ends(&["reship", "--yes"], 0, &["nothing to delete"]);
    shop.ship().expect("it can be shipped again");
    assert_eq!(shop.rows(), before);
    shop.ends(&["audit"], 0, &[]);

    // What is configured is not there at all.
    point_at(&shop.stage, &shop.maria.url("elsewhere"));
    shop.ends(&["reship", "--yes"], 0, &["there is no database"]);
    assert!(shop.maria.query("SHOW DATABASES LIKE 'elsewhere'").is_empty(), "nothing is made");
    let file = shop.stage.path("doorbuster.toml");
    let text = fs::read_to_string(&file).expect("it was written");
    fs::write(&file, text.split("[mysql]").next().expect("a beginning")).expect("it can be written");
    shop.ends(&["reship", "--yes"], 2, &["no [mysql]"]);
    OpenOptions::new().append(true).open(&file).and_then(|mut file| file.write_all(b"x = 1\n")).expect("it is there");
    shop.ends(&["reship", "--yes"], 2, &["doorbuster.toml:"]);
}

#[test]
fn a_reship_that_was_cut_keeps_servers_out_until_it_has_run_to_its_end() {
    let Some(shop) = Shop::open() else { return };
    let whole = shop.rows();
    // The rows go in the order of the statements; cut before, between and after them.
    let steps = ["order_slots", "orders", "payments", "operator_actions", "sku_stock", "activity_shards", "activities"];
    for cut in 0..=steps.len() {
        shop.maria.execute("UPDATE shop.ship_cursor SET journal_id = 'being emptied by doorbuster reship'");
        for gone in &steps[..cut] {
            shop.maria.execute(&format!("DELETE FROM shop.{gone}"));
        }
        if let Some(half) = steps.get(cut) {
            shop.maria.execute(&format!("DELETE FROM shop.{half} LIMIT 2"));
        }
        let refused = shop.ship().expect_err("nobody ships upon half the rows");
        assert!(matches!(refused, Error::BeingEmptied) && !refused.may_pass(), "{refused}");
        shop.ends(&["audit"], 1, &["X2: a `doorbuster reship` was cut in the middle"]);
        shop.ends(&["reship"], 1, &["was being emptied before"]);
        shop.ends(&["reship", "--yes"], 0, &[]);
        shop.ship().expect("it can be shipped again");
        assert_eq!(shop.rows(), whole, "cut after {cut} tables");
    }
    shop.ends(&["audit"], 0, &[]);
}

/// A session that was open while the tables were emptied has its next batch refused.
#[test]
fn a_server_beside_a_reship_cannot_go_on() {
    let Some(shop) = Shop::open() else { return };
    let journal = shop.journal();
    let target: Target = shop.maria.url("shop").parse().expect("a URL");
    let ours = identity(&journal).expect("it is sound").expect("it is not empty");
    let mut session = shop.runtime.block_on(Session::open(&target, Some(ours))).expect("MySQL is there");
    let tail = journal.tail();
    journal.close().expect("a sound disk");
    shop.ends(&["reship", "--yes"], 0, &[]);
    let to = doorbuster::persist::Tail { seq: Seq(tail.seq.0 + 1), ..tail };
    let refused = shop.runtime.block_on(session.ship(ours, &[], to, UnixMillis(7))).expect_err("the cursor is gone");
    assert!(matches!(refused, Error::Moved(at) if at == tail.seq), "{refused}");
    // Rows of nobody are emptied, too, and so are those that another journal left.
    shop.maria.execute("INSERT INTO shop.activity_shards VALUES (1, 2, 3, 4)");
    shop.ends(&["audit"], 1, &["activity_shards 1 is there, the journal gives no such row"]);
    shop.ends(&["reship", "--yes"], 0, &["no cursor that says whose they are"]);
    shop.ship().expect("it can be shipped");
    shop.maria.execute("UPDATE shop.ship_cursor SET journal_id = REPEAT('ab', 32), hash = 'x'");
    shop.ends(&["reship", "--yes"], 0, &["a cursor that cannot be read"]);
    shop.ship().expect("it can be shipped");
    shop.ends(&["audit"], 0, &[]);
}

#[test]
fn the_server_ships_what_an_audit_finds_right_and_refuses_what_a_reship_left_half() {
    let Some(maria) = Maria::start() else { return };
    let stage = Stage::shipping_to(&maria.url("shop"), Sale { shards: 3, ..Sale::default() }, "");
    let shipped = || {
        let state = stage.readyz().expect("it answers").json();
        state["mysql"]["connected"] == true && state["mysql"]["lag_events"] == 0
    };
    let server = Server::start(&stage);
    (1..=60).for_each(|user| assert_eq!(stage.order(user, Some("key")).expect("it answers").status, 201));
    until("MySQL has everything", shipped);
    let ended = stage.run(&["reship", "--yes"]);
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(ended.err.contains(&format!("pid {}", server.pid())), "{ended:?}");
    server.stop();
    stage.assert_audit_holds(false);

    maria.execute("UPDATE shop.ship_cursor SET journal_id = 'being emptied by doorbuster reship'; DELETE FROM shop.orders LIMIT 7");
    let refused = stage.run(&["serve"]);
    assert_eq!(refused.code, Some(4), "{refused:?}");
    assert!((refused.out + &refused.err).contains("run `doorbuster reship` again"));
    assert_eq!(stage.run(&["reship", "--yes"]).code, Some(0));
    let server = Server::start(&stage);
    until("MySQL has everything", shipped);
    server.stop();
    stage.assert_audit_holds(false);
    assert_eq!(maria.query("SELECT COUNT(*) FROM shop.orders"), [[Some("60".to_owned())]]);
}
