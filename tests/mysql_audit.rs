//! X1 to X3 through the shipper's own sessions and a real MariaDB: whatever the batches, the rows are what the journal
//! gives; and whatever is changed in any column of any table, the audit names it.

mod domain;
mod journal;
mod mysql;
mod mysql_rows;
mod server;

use std::fs;
use std::path::Path;
use std::time::Instant;

use doorbuster::cli::audit::audit;
use doorbuster::config::{self, Config};
use doorbuster::domain::audit::{Id, Report};
use doorbuster::domain::payment::Why;
use doorbuster::ids::{Seq, UnixMillis};
use doorbuster::persist::mysql::{Error, Session, Target};
use doorbuster::persist::{Journal, SledJournal, Tail, identity, portion};
use mysql::Maria;
use mysql_rows::History;
use server::{Dice, SECRET};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

const TABLES: [(&str, &[&str]); 7] = [
    ("activities", &["activity_id"]),
    ("activity_shards", &["shard_id"]),
    ("sku_stock", &["activity_id", "sku_id"]),
    ("orders", &["order_id"]),
    ("order_slots", &["order_id", "slot"]),
    ("payments", &["payment_id"]),
    ("operator_actions", &["seq"]),
];

/// The page describes these too; `mysql_red_packets.rs` has histories of red packets.
const OTHERS: [&str; 4] = ["red_packet_rounds", "red_packet_grabs", "ship_cursor", "catalog_activity"];

/// A journal on disk, and a MariaDB.
struct Stage {
    dir: TempDir,
    maria: Maria,
    journal: SledJournal,
    runtime: Runtime,
    events: u64,
}

impl Stage {
    /// A journal of that history, up to `group_max` events a record. `None` where there is no MariaDB.
    fn set(seed: u64, steps: u32, group_max: u64) -> Option<Self> {
        let maria = Maria::start()?;
        let dir = tempfile::Builder::new().prefix("rows-").tempdir_in(env!("CARGO_TARGET_TMPDIR"));
        let dir = dir.expect("a directory below the build's");
        let mut journal = journal::open(&dir.path().join("data")).expect("a fresh journal");
        let entries = History::of(seed, steps).entries;
        let (mut rest, mut dice) = (entries.as_slice(), Dice::new(seed));
        while !rest.is_empty() {
            let count = usize::try_from(dice.below(group_max) + 1).expect("few").min(rest.len());
            journal::append(&mut journal, &rest[..count]).expect("a sound disk");
            rest = &rest[count..];
        }
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        Some(Self { dir, maria, journal, runtime, events: entries.len() as u64 })
    }

    fn target(&self, database: &str) -> Target {
        self.maria.url(database).parse().expect("a URL")
    }

    fn config(&self, url: &str) -> Config {
        config_in(self.dir.path(), url)
    }

    fn open(&self, database: &str) -> Result<Session, Error> {
        let target = self.target(database);
        let ours = identity(&self.journal).expect("it is sound");
        self.runtime.block_on(async {
            target.migrate().await?;
            Session::open(&target, ours).await
        })
    }

    /// Ships up to event `until` in batches of at least so many events as `batch` says each time.
    fn ship(&self, database: &str, until: u64, mut batch: impl FnMut() -> usize) -> Tail {
        let mut session = self.open(database).expect("MySQL is there");
        let ours = identity(&self.journal).expect("it is sound").expect("it is not empty");
        while session.cursor().seq < Seq(until) {
            let batch = portion(&self.journal, session.cursor(), Seq(until), batch());
            let (entries, to) = batch.expect("a sound journal");
            if entries.is_empty() {
                // A record that reaches past `until` is not begun.
                break;
            }
            self.runtime.block_on(session.ship(ours, &entries, to, UnixMillis(7))).expect("it can be shipped");
        }
        let cursor = session.cursor();
        self.runtime.block_on(session.close());
        cursor
    }

    fn audit(&self, database: &str) -> Report {
        audit(&self.config(&self.maria.url(database)), None).expect("all can be read")
    }

    fn tables(&self, database: &str) -> Vec<Vec<Vec<Option<String>>>> {
        let read = |(table, key): (&str, &[&str])| {
            self.maria.query(&format!(
                "SELECT {} FROM {database}.{table} ORDER BY {}",
                self.list(database, table),
                key.join(", ")
            ))
        };
        TABLES.map(read).into()
    }

    /// A table's columns, as the server knows them.
    fn columns(&self, database: &str, table: &str) -> Vec<(String, String)> {
        let sql = format!(
            "SELECT column_name, data_type FROM information_schema.columns \
             WHERE table_schema = '{database}' AND table_name = '{table}' ORDER BY ordinal_position"
        );
        let text = |value: &Option<String>| value.clone().expect("it has a name and a type");
        self.maria.query(&sql).iter().map(|row| (text(&row[0]), text(&row[1]))).collect()
    }

    /// A table's columns to select, each as text.
    fn list(&self, database: &str, table: &str) -> String {
        let columns = self.columns(database, table).into_iter().map(|(name, kind)| match kind.as_str() {
            "binary" => format!("HEX({name})"),
            _ => name,
        });
        columns.collect::<Vec<_>>().join(", ")
    }

    fn count(&self, table: &str) -> u64 {
        let rows = self.maria.query(&format!("SELECT COUNT(*) FROM {table}"));
        rows[0][0].as_ref().expect("a count").parse().expect("a number")
    }
}

impl Stage {
    /// The rows would tell if anything in them were wrong: each column has several values, each word is there.
    fn assert_history_is_rich(&self, database: &str) {
        for (table, _) in TABLES {
            for (column, _) in self.columns(database, table) {
                let values = self.count(&format!("(SELECT DISTINCT {column} FROM {database}.{table}) AS found"));
                let constant = column == "kind";
                assert_eq!(values > 1, !constant, "{table}.{column} has {values} values");
            }
        }
        let words = |column: &str, table: &str| {
            let sql = format!("SELECT GROUP_CONCAT(DISTINCT {column} ORDER BY {column}) FROM {database}.{table}");
            self.maria.query(&sql)[0][0].clone().expect("there are rows")
        };
        assert_eq!(words("state", "orders"), "cancelled,expired,held,paid,refunded");
        let actions = "close,define,note,pause,redefine,refund,refund_done,resume";
        assert_eq!(words("action", "operator_actions"), actions);
        assert_eq!(words("actor", "operator_actions"), "operator,start_up");
        assert_eq!(words("payment_state", "payments"), "applied,refund_due,refunded");
        let mut reasons = Why::ALL.map(Why::as_str);
        reasons.sort_unstable();
        assert_eq!(words("reason", "payments"), reasons.join(","));
        for what in [
            "orders o JOIN payments p USING (order_id) WHERE p.reacquired = 1 AND o.state = 'paid'",
            "orders o JOIN payments p USING (order_id) WHERE p.reacquired = 1 AND o.state = 'refunded'",
            "orders o JOIN order_slots s USING (order_id) WHERE o.state = 'refunded' AND s.live = 1",
            "orders o JOIN order_slots s USING (order_id) WHERE o.state = 'refunded' AND s.live IS NULL",
            "orders o JOIN order_slots s USING (order_id) WHERE o.state = 'paid' AND o.quantity > 1",
            "payments WHERE owner_shard = 0 AND order_id IS NOT NULL AND payment_state = 'refunded'",
            "payments p JOIN orders o USING (order_id) WHERE p.owner_shard = 0",
        ] {
            let tables = what.replace("orders o", &format!("{database}.orders o"));
            let tables = tables.replace("order_slots s", &format!("{database}.order_slots s"));
            let tables = tables.replace("payments ", &format!("{database}.payments "));
            assert!(self.count(&tables) > 0, "{what}");
        }
    }
}

fn config_in(dir: &Path, url: &str) -> Config {
    let file = dir.join("doorbuster.toml");
    let text = format!("data_dir = \"data\"\n[auth]\nsecret = \"{SECRET}\"\n[mysql]\nurl = \"{url}\"\n");
    fs::write(&file, text).expect("it can be written");
    config::load(&file, std::iter::empty::<(String, String)>()).expect("it is sound")
}

#[track_caller]
fn assert_holds(report: &Report, what: &str) {
    let broken: Vec<_> = report.findings().filter(|(_, finding)| finding.broken > 0).collect();
    assert!(broken.is_empty(), "{what}: {broken:#?}");
}

#[test]
fn rows_are_what_the_journal_gives_whatever_the_batches() {
    let seed = std::env::var("DOORBUSTER_SEED").ok().map_or(1, |seed| seed.parse().expect("a number"));
    for seed in seed..seed + 3 {
        let Some(stage) = Stage::set(seed, 900, 3) else { return };
        let mut dice = Dice::new(seed);
        let all = stage.events;
        stage.ship("whole", all, || usize::MAX);
        assert_holds(&stage.audit("whole"), &format!("seed {seed}, in one batch"));
        let whole = stage.tables("whole");
        if seed == 1 {
            stage.assert_history_is_rich("whole");
        }
        stage.ship("one", all, || 1);
        stage.ship("seven", all, || 7);
        stage.ship("any", all, || usize::try_from(dice.below(90)).expect("few") + 1);
        for database in ["one", "seven", "any"] {
            assert_eq!(stage.tables(database), whole, "seed {seed}, {database}");
        }
        // On the way, too: by sessions that each read what those before them wrote.
        for until in (3..all).step_by(97) {
            let cursor = stage.ship("steps", until, || 5);
            let report = stage.audit("steps");
            assert_holds(&report, &format!("seed {seed}, at event {cursor:?}"));
            let behind = format!("the events up to {}; {} later ones", cursor.seq, all - cursor.seq.0);
            assert!(report.notes().any(|(id, note)| id == Id::X2 && note.contains(&behind)), "{report:?}");
        }
        stage.ship("steps", all, || 5);
        assert_eq!(stage.tables("steps"), whole, "seed {seed}");
    }
}

#[test]
fn whatever_is_changed_in_any_column_is_named() {
    let Some(stage) = Stage::set(4, 300, 3) else { return };
    stage.ship("shop", stage.events, || 50);
    assert_holds(&stage.audit("shop"), "before");
    stage.maria.execute("CREATE DATABASE kept");
    for (table, key) in TABLES {
        stage.maria.execute(&format!("CREATE TABLE kept.{table} AS SELECT * FROM shop.{table}"));
        let change = |what: &str, sql: &str, differences: u64, words: &[&str]| {
            stage.maria.execute(&format!("USE shop; SET check_constraint_checks = 0; {sql}"));
            let report = stage.audit("shop");
            let finding = report.finding(Id::X1).expect("there are rows");
            assert_eq!((finding.broken, finding.examples.len()), (differences, 1), "{table} {what}: {report:?}");
            let example = &finding.examples[0];
            assert!(example.starts_with(table), "{table} {what}: {example}");
            for word in words {
                assert!(example.contains(word), "{table} {what}: {example}");
            }
            stage.maria.execute(&format!(
                "USE shop; SET check_constraint_checks = 0; DELETE FROM {table}; INSERT INTO {table} SELECT * FROM kept.{table}"
            ));
        };
        let (order, columns) = (key.join(", "), stage.columns("shop", table));
        for (column, kind) in &columns {
            let is_key = key.contains(&column.as_str());
            let (differences, words) =
                if is_key { (2, [" is ", "1 more"]) } else { (1, [column.as_str(), "the journal gives"]) };
            let other = other_value(column, kind);
            change(
                column,
                &format!("UPDATE {table} SET {column} = {other} ORDER BY {order} LIMIT 1"),
                differences,
                &words,
            );
            let last: Vec<String> = key.iter().map(|key| format!("{key} DESC")).collect();
            let last = last.join(", ");
            change(
                column,
                &format!("UPDATE {table} SET {column} = {other} ORDER BY {last} LIMIT 1"),
                differences,
                &words,
            );
            if stage.maria.query(&format!("SELECT 1 FROM shop.{table} WHERE {column} IS NULL LIMIT 1")).is_empty() {
                continue;
            }
            // From a value to none, and from none to a value.
            let with = format!("UPDATE {table} SET {column} = NULL WHERE {column} IS NOT NULL LIMIT 1");
            change(column, &with, 1, &[column, "null"]);
            let without =
                format!("UPDATE {table} SET {column} = {other} WHERE {column} IS NULL ORDER BY {order} LIMIT 1");
            if column != "live" {
                change(column, &without, 1, &[column, "gives null"]);
            }
        }
        change("a row less", &format!("DELETE FROM {table} ORDER BY {order} LIMIT 1"), 1, &["is missing"]);
        let more: Vec<String> = columns
            .iter()
            .map(|(name, kind)| match (name.as_str(), kind.as_str()) {
                ("live", _) => "NULL".to_owned(),
                (_, "tinyint") => name.clone(),
                _ => other_value(name, kind),
            })
            .collect();
        let more = format!("INSERT INTO {table} SELECT {} FROM {table} ORDER BY {order} LIMIT 1", more.join(", "));
        change("a row more", &more, 1, &["the journal gives no such row"]);
        let none = stage.count(&format!("kept.{table}"));
        change("all rows gone", &format!("DELETE FROM {table}"), none, &["is missing", "more differences"]);
        stage.maria.execute(&format!("USE shop; ALTER TABLE {table} RENAME TO elsewhere"));
        assert_eq!(
            stage.audit("shop").finding(Id::X1).expect("there are rows").broken,
            none,
            "a table that is not there"
        );
        stage.maria.execute(&format!("USE shop; ALTER TABLE elsewhere RENAME TO {table}"));
    }
    assert_holds(&stage.audit("shop"), "after");
}

/// Another value that a column of that kind can hold, of a row as it stands.
fn other_value(column: &str, kind: &str) -> String {
    match (column, kind) {
        ("currency", _) => "'ZZZ'".to_owned(),
        ("state", _) => "IF(state = 'paid', 'held', 'paid')".to_owned(),
        ("live", _) => "IF(live = 1, NULL, 1)".to_owned(),
        (_, "tinyint") => format!("1 - {column}"),
        (_, "smallint") => format!("{column} + 1000"),
        (_, "int" | "bigint") => format!("COALESCE({column}, 0) + 1000000"),
        (_, "binary") => "UNHEX(REPEAT('a7', 16))".to_owned(),
        // Where there is no room for one more, the last character is another.
        _ => format!("CONCAT(LEFT(COALESCE({column}, ''), 63), 'x')"),
    }
}

#[test]
fn a_cursor_that_names_no_tail_of_this_journal_is_found() {
    let Some(stage) = Stage::set(5, 200, 3) else { return };
    let half = stage.ship("shop", stage.events / 2, || 20);
    let before = stage.maria.query("SELECT journal_id, seq, hash FROM shop.ship_cursor");
    let [journal_id, seq, hash] = [0, 1, 2].map(|column| before[0][column].clone().expect("it is there"));
    let last = stage.ship("shop", stage.events, || 20);
    let found = |sql: &str| {
        stage.maria.execute(&format!("USE shop; {sql}"));
        let report = stage.audit("shop");
        let broken: Vec<_> = report.findings().filter(|(_, finding)| finding.broken > 0).collect();
        let [(id, finding)] = broken.as_slice() else { panic!("one invariant is broken: {sql}: {report:?}") };
        let found = (*id, finding.examples[0].clone());
        stage.maria.execute(&format!(
            "USE shop; REPLACE INTO ship_cursor (one, journal_id, seq, hash, shipped_at_ms) \
             VALUES (1, '{journal_id}', {}, '{}', 7)",
            last.seq, last.hash
        ));
        found
    };
    let of = |id, sql: &str, words: &str| {
        let (got, example) = found(sql);
        assert!(got == id && example.contains(words), "{sql}: {got}: {example}");
    };
    of(Id::X2, "UPDATE ship_cursor SET journal_id = REPEAT('ab', 32)", "another journal (abababababababab…");
    of(Id::X2, "UPDATE ship_cursor SET hash = REPEAT('ab', 32)", "does not lead there");
    of(Id::X2, &format!("UPDATE ship_cursor SET seq = {seq}"), "does not lead there");
    of(Id::X2, "UPDATE ship_cursor SET hash = 'ab'", "64 hexadecimal digits");
    of(Id::X2, "UPDATE ship_cursor SET journal_id = 'being emptied by doorbuster reship'", "`doorbuster reship` again");
    of(Id::J3, "UPDATE ship_cursor SET seq = seq + 1", "does not lead there");
    of(Id::X1, "DELETE FROM ship_cursor", "the journal gives no such row");
    // Rows ahead of the cursor: what a transaction would leave that does not move both.
    let ahead = format!("UPDATE ship_cursor SET seq = {seq}, hash = '{hash}'");
    assert_eq!((half.seq.to_string(), half.hash.to_string()), (seq, hash));
    of(Id::X1, &ahead, "the journal gives");
    assert_holds(&stage.audit("shop"), "after");
}

#[test]
fn an_audit_needs_no_rights_but_to_read_and_no_tables() {
    let Some(stage) = Stage::set(6, 100, 3) else { return };
    let report = stage.audit("not_there");
    assert_holds(&report, "a database that is not there");
    assert!(stage.maria.query("SHOW DATABASES LIKE 'not\\_there'").is_empty(), "an audit makes nothing");
    stage.maria.execute("CREATE DATABASE bare");
    assert_holds(&stage.audit("bare"), "tables that are not there");
    stage.runtime.block_on(stage.target("empty").migrate()).expect("MySQL is there");
    assert_holds(&stage.audit("empty"), "tables that are empty");
    stage.maria.execute("INSERT INTO empty.activity_shards VALUES (1, 2, 3, 4)");
    let report = stage.audit("empty");
    assert_eq!(report.finding(Id::X1).map(|finding| finding.broken), Some(1), "{report:?}");

    stage.ship("shop", stage.events, || 30);
    stage
        .maria
        .execute("CREATE USER reader@'127.0.0.1' IDENTIFIED BY 'p'; GRANT SELECT ON shop.* TO reader@'127.0.0.1'");
    let url = format!("mysql://reader:p@127.0.0.1:{}/shop", stage.maria.port());
    assert_holds(&audit(&stage.config(&url), None).expect("it may read"), "a user that may only read");
    let url = format!("mysql://reader:wrong@127.0.0.1:{}/shop", stage.maria.port());
    let said = format!("{:#}", audit(&stage.config(&url), None).expect_err("it may not even read"));
    assert!(said.contains(&format!("MySQL at 127.0.0.1:{}/shop", stage.maria.port())), "{said}");
    assert!(said.contains("--without-mysql") && said.contains("Access denied"), "{said}");
}

#[test]
fn the_page_about_the_tables_is_true() {
    let Some(stage) = Stage::set(9, 300, 3) else { return };
    stage.ship("shop", stage.events, || 100);
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/SCHEMA.md")).expect("it is there");
    let queries: Vec<&str> = page.split("```sql\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(queries.len() > 8, "the page has its queries");
    queries.into_iter().for_each(|query| stage.maria.execute(&format!("USE shop; {query}")));
    for table in TABLES.map(|(table, _)| table).into_iter().chain(OTHERS) {
        let section = page.split("\n## ").find(|section| section.starts_with(&format!("{table}\n")));
        let section = section.unwrap_or_else(|| panic!("a section about {table}"));
        let told: Vec<&str> = section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
        let columns: Vec<String> = stage.columns("shop", table).into_iter().map(|(name, _)| name).collect();
        assert_eq!(told, columns, "the columns of {table}");
    }
}

#[test]
fn a_journal_that_is_behind_mysql_is_found() {
    let Some(stage) = Stage::set(8, 100, 3) else { return };
    stage.ship("shop", stage.events, || 30);
    let older = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let mut journal = journal::open(&older.path().join("data")).expect("a fresh journal");
    let mut tail = Tail::START;
    let (entries, _) = portion(&stage.journal, tail, Seq(stage.events), 9).expect("a sound journal");
    while tail.seq.0 + 3 < entries.len() as u64 {
        let (record, to) = portion(&stage.journal, tail, Seq(stage.events), 1).expect("a sound journal");
        let entries: Vec<_> = record.into_iter().map(|(_, entry)| entry).collect();
        assert_eq!(journal::append(&mut journal, &entries).expect("a sound disk"), to);
        tail = to;
    }
    Journal::close(journal).expect("a sound disk");
    let report = audit(&config_in(older.path(), &stage.maria.url("shop")), None).expect("all can be read");
    let finding = report.finding(Id::J3).expect("it is checked");
    assert_eq!(finding.broken, 1, "{report:?}");
    assert!(finding.examples[0].contains("would sell again"), "{report:?}");
}

/// `cargo test --release --test mysql_audit -- --ignored --nocapture` prints the figure of docs/FIGURES.md.
#[test]
#[ignore = "a measurement"]
fn many_orders_are_compared_in_a_few_seconds() {
    const ORDERS: u32 = 500_000;
    let Some(maria) = Maria::start_with(&["--innodb-buffer-pool-size=512M"]) else { return };
    let dir = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let journal = journal::open(&dir.path().join("data")).expect("a fresh journal");
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut stage = Stage { dir, maria, journal, runtime, events: u64::from(ORDERS) + 1 };
    let first = mysql_rows::crowd(0..0, ORDERS).next().expect("a definition comes first");
    journal::append(&mut stage.journal, &[first]).expect("a sound disk");
    for from in (1..=ORDERS).step_by(1_000) {
        let orders: Vec<_> = mysql_rows::crowd(from..from + 1_000, ORDERS).skip(1).collect();
        journal::append(&mut stage.journal, &orders).expect("a sound disk");
    }
    let begun = Instant::now();
    stage.ship("shop", stage.events, || 4_000);
    let shipped = begun.elapsed();
    let with = Instant::now();
    let report = stage.audit("shop");
    let with = with.elapsed();
    assert_holds(&report, "what was just shipped");
    assert_eq!(report.finding(Id::X1).map(|finding| finding.checked), Some(2 * u64::from(ORDERS) + 4));
    let mut config = stage.config(&stage.maria.url("shop"));
    config.mysql = None;
    let without = Instant::now();
    audit(&config, None).expect("it can be read");
    let without = without.elapsed();
    println!("{ORDERS} orders: shipped in {shipped:?}, audited in {with:?}, without MySQL in {without:?}");
}
