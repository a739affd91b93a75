//! Red packets in MySQL: whatever the batches, the rows are what the journal gives; whatever is changed in any column is
//! named; no seed is there before its round is over; and what is read back, and what the tables refuse.

mod domain;
mod mysql;
mod mysql_rows;
mod server;

use std::collections::BTreeMap;

use doorbuster::domain::{Definition, Entry, Event};
use doorbuster::ids::{Seq, SkuIndex, UnixMillis};
use doorbuster::persist::mysql::read_back::Wanted;
use doorbuster::persist::mysql::rows::GrabRow;
use doorbuster::persist::mysql::{Compared, Error, Expected, ReadBack, Session, Snapshot, Target, reship};
use doorbuster::persist::{RecordHash, Tail};
use mysql::Maria;
use mysql_rows::History;
use server::Dice;
use tokio::runtime::{Builder, Runtime};

const JOURNAL: RecordHash = RecordHash([7; 32]);
const ROUNDS: (&str, &str) = ("red_packet_rounds", "activity_id, round");
const GRABS: (&str, &str) = ("red_packet_grabs", "grab_id");
const TABLES: [(&str, &str); 9] = [
    ("activities", "activity_id"),
    ("activity_shards", "shard_id"),
    ("sku_stock", "activity_id, sku_id"),
    ("orders", "order_id"),
    ("order_slots", "order_id, slot"),
    ("payments", "payment_id"),
    ROUNDS,
    GRABS,
    ("operator_actions", "seq"),
];

/// A history, and a MariaDB.
struct Stage {
    maria: Maria,
    runtime: Runtime,
    history: History,
    entries: Vec<(Seq, Entry)>,
}

impl Stage {
    /// `None` where there is no MariaDB.
    fn set(seed: u64, steps: u32) -> Option<Self> {
        let maria = Maria::start()?;
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let history = History::of_packets(seed, steps);
        let entries = (1..).map(Seq).zip(history.entries.iter().cloned()).collect();
        Some(Self { maria, runtime, history, entries })
    }

    fn target(&self, database: &str) -> Target {
        self.maria.url(database).parse().expect("a URL")
    }

    /// Ships up to event `until` in batches of so many events as `batch` says each time, by a session of its own.
    fn ship(&self, database: &str, until: usize, mut batch: impl FnMut() -> usize) {
        let target = self.target(database);
        let session = self.runtime.block_on(async {
            target.migrate().await?;
            Session::open(&target, Some(JOURNAL)).await
        });
        let mut session = session.expect("MySQL is there");
        loop {
            let at = usize::try_from(session.cursor().seq.0).expect("few");
            if at >= until {
                break;
            }
            let to = (at + batch()).min(until);
            let seq = Seq(to as u64);
            let tail = Tail { seq, hash: RecordHash([u8::try_from(seq.0 % 251).expect("it is small"); 32]) };
            let shipped = session.ship(JOURNAL, &self.entries[at..to], tail, UnixMillis(1));
            self.runtime.block_on(shipped).expect("it can be shipped");
        }
        self.runtime.block_on(session.close());
    }

    /// What differs from what the first events give.
    fn compare(&self, database: &str, until: usize) -> Vec<Compared> {
        let mut expected = Expected::default();
        for (seq, entry) in &self.entries[..until] {
            expected.take(*seq, entry).expect("it follows");
        }
        let compared = self.runtime.block_on(async {
            let snapshot = Snapshot::take(&self.target(database)).await?;
            snapshot.expect("there is a database").compare(&expected).await
        });
        compared.expect("MySQL is there")
    }

    #[track_caller]
    fn assert_same(&self, database: &str, until: usize) {
        let first: Vec<_> = self.compare(database, until).into_iter().filter_map(|table| table.first).collect();
        assert!(first.is_empty(), "{database}, at event {until}: {first:#?}");
    }

    fn rows(&self, sql: &str) -> Vec<Vec<String>> {
        let rows = self.maria.query(sql);
        let text = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
        rows.into_iter().map(|row| row.into_iter().map(text).collect()).collect()
    }

    fn one(&self, sql: &str) -> String {
        self.rows(sql)[0][0].clone()
    }

    /// A table's columns with their types, as the server knows them.
    fn columns(&self, table: &str) -> Vec<(String, String)> {
        let sql = format!(
            "SELECT column_name, data_type FROM information_schema.columns \
             WHERE table_schema = 'whole' AND table_name = '{table}' ORDER BY ordinal_position"
        );
        self.rows(&sql).into_iter().map(|row| (row[0].clone(), row[1].clone())).collect()
    }

    fn tables(&self, database: &str) -> Vec<Vec<Vec<String>>> {
        let read = |(table, key): (&str, &str)| {
            let name = |(name, kind): (String, String)| if kind == "binary" { format!("HEX({name})") } else { name };
            let columns: Vec<String> = self.columns(table).into_iter().map(name).collect();
            self.rows(&format!("SELECT {} FROM {database}.{table} ORDER BY {key}", columns.join(", ")))
        };
        TABLES.map(read).into()
    }

    /// The rows would tell if anything in them were wrong.
    fn assert_history_is_rich(&self) {
        for (table, _) in [ROUNDS, GRABS] {
            for (column, _) in self.columns(table) {
                let values = self.one(&format!("SELECT COUNT(DISTINCT {column}) FROM whole.{table}"));
                assert!(values.parse::<u32>().expect("a count") > 1, "{table}.{column} has {values} values");
            }
        }
        for what in [
            "red_packet_rounds WHERE listed = 0",
            "red_packet_rounds WHERE first_slot > 1 AND granted > 0",
            "red_packet_rounds WHERE is_over = 1 AND granted = 0",
            "red_packet_rounds WHERE is_over = 1 AND granted > 0 AND refunded > 0",
            "red_packet_rounds WHERE is_over = 1 AND ended_at_ms < ends_at_ms",
            "red_packet_rounds WHERE is_over = 0 AND granted > 0",
            "red_packet_rounds WHERE is_over = 0 AND granted = 0 AND listed = 1",
            "red_packet_grabs WHERE idempotency_digest IS NULL",
            "activity_shards s JOIN whole.red_packet_grabs g ON g.grab_id DIV 68719476736 = s.shard_id WHERE s.part = 2",
            "operator_actions WHERE stock LIKE '%\"removed\":%\"round\":%\"added\":%'",
        ] {
            assert_ne!(self.one(&format!("SELECT COUNT(*) FROM whole.{what}")), "0", "{what}");
        }
        assert_eq!(
            self.one("SELECT GROUP_CONCAT(DISTINCT kind ORDER BY kind) FROM whole.activities"),
            "flash_sale,red_packet"
        );
        assert_eq!(self.one("SELECT GROUP_CONCAT(DISTINCT activity_id) FROM whole.sku_stock"), "17");
    }
}

#[test]
fn rows_are_what_the_journal_gives_whatever_the_batches() {
    let first = std::env::var("DOORBUSTER_SEED").ok().map_or(1, |seed| seed.parse().expect("a number"));
    for seed in first..first + 3 {
        let Some(stage) = Stage::set(seed, 500) else { return };
        let all = stage.entries.len();
        stage.ship("whole", all, || usize::MAX >> 1);
        stage.assert_same("whole", all);
        if seed == 1 {
            stage.assert_history_is_rich();
        }
        let (whole, mut dice) = (stage.tables("whole"), Dice::new(seed));
        stage.ship("one", all, || 1);
        stage.ship("seven", all, || 7);
        stage.ship("any", all, || usize::try_from(dice.below(90)).expect("few") + 1);
        for database in ["one", "seven", "any"] {
            assert_eq!(stage.tables(database), whole, "seed {seed}, {database}");
        }
        // On the way, too: by sessions that each read what those before them wrote.
        for until in (3..all).step_by(41) {
            stage.ship("steps", until, || 5);
            stage.assert_same("steps", until);
        }
        stage.ship("steps", all, || 5);
        assert_eq!(stage.tables("steps"), whole, "seed {seed}");
    }
}

#[test]
fn whatever_is_changed_in_any_column_is_named() {
    let Some(stage) = Stage::set(1, 300) else { return };
    let all = stage.entries.len();
    stage.ship("whole", all, || 50);
    stage.assert_same("whole", all);
    stage.maria.execute("CREATE DATABASE kept");
    for (table, key) in [ROUNDS, GRABS] {
        stage.maria.execute(&format!("CREATE TABLE kept.{table} AS SELECT * FROM whole.{table}"));
        let change = |what: &str, sql: &str, differences: u64, words: &[&str]| {
            stage.maria.execute(&format!("USE whole; SET check_constraint_checks = 0; {sql}"));
            let compared = stage.compare("whole", all);
            let found: Vec<_> = compared.into_iter().filter(|compared| compared.differences > 0).collect();
            let [found] = &found[..] else { panic!("{table} {what}: {found:?}") };
            assert_eq!((found.table, found.differences), (table, differences), "{what}: {found:?}");
            let said = found.first.as_ref().expect("it is told");
            assert!(words.iter().all(|word| said.contains(word)), "{table} {what}: {said}");
            stage.maria.execute(&format!(
                "USE whole; SET check_constraint_checks = 0; DELETE FROM {table}; INSERT INTO {table} SELECT * FROM kept.{table}"
            ));
        };
        for (column, kind) in stage.columns(table) {
            let other = match (column.as_str(), kind.as_str()) {
                ("currency", _) => "'ZZZ'".to_owned(),
                (_, "tinyint") => format!("1 - {column}"),
                (_, "smallint") => format!("{column} + 1000"),
                (_, "int" | "bigint") => format!("COALESCE({column}, 0) + 1000000"),
                (_, "binary") => "UNHEX(REPEAT('a7', 16))".to_owned(),
                (_, "char") => "REPEAT('e', 64)".to_owned(),
                _ => format!("CONCAT(LEFT(COALESCE({column}, ''), 15), 'x')"),
            };
            let is_key = key.split(", ").any(|key| key == column);
            let (differences, words) = if is_key { (2, [table, " is "]) } else { (1, [&*column, "the journal gives"]) };
            for order in ["", " DESC"] {
                let order = key.replace(',', &format!("{order},")) + order;
                let sql = format!("UPDATE {table} SET {column} = {other} ORDER BY {order} LIMIT 1");
                change(&column, &sql, differences, &words);
            }
            if !stage.rows(&format!("SELECT 1 FROM whole.{table} WHERE {column} IS NULL LIMIT 1")).is_empty() {
                let to = format!("UPDATE {table} SET {column} = {other} WHERE {column} IS NULL LIMIT 1");
                change(&column, &to, 1, &[&column, "gives null"]);
                let from = format!("UPDATE {table} SET {column} = NULL WHERE {column} IS NOT NULL LIMIT 1");
                change(&column, &from, 1, &[&column, "is null"]);
            }
        }
        change("a row less", &format!("DELETE FROM {table} ORDER BY {key} LIMIT 1"), 1, &["is missing"]);
    }
    stage.assert_same("whole", all);
}

/// Who reads MySQL must not know what a packet holds before somebody grabbed it.
#[test]
fn no_seed_stands_anywhere_before_its_round_is_over() {
    let Some(stage) = Stage::set(2, 300) else { return };
    let all = stage.entries.len();
    stage.ship("whole", all, || 20);
    let text: Vec<String> = stage.tables("whole").concat().concat();
    let definitions = stage.entries.iter().filter_map(|(_, entry)| match &entry.event {
        Event::ActivityDefined(event) => Some(&event.definition),
        Event::ActivityRedefined(event) => Some(&event.definition),
        _ => None,
    });
    let ended = |(_, entry): &(Seq, Entry)| match &entry.event {
        Event::RoundEnded(event) => Some(event.seed),
        _ => None,
    };
    let ended: Vec<_> = stage.entries.iter().filter_map(ended).collect();
    let (mut looked_for, mut told) = (0, 0);
    for packets in definitions.filter_map(|definition| definition.packets.as_deref()) {
        for plan in packets.rounds.iter().filter_map(|round| round.plan.as_deref()) {
            let is_over = ended.contains(&plan.seed);
            told += u32::from(is_over);
            let bytes: Vec<String> = plan.seed.0.iter().map(u8::to_string).collect();
            for seed in [plan.seed.to_hex(), bytes.join(","), bytes.join(", ")] {
                let stands = text.iter().any(|text| text.to_lowercase().contains(&seed));
                assert_eq!(stands, is_over && !seed.contains(','), "a seed stands in its round's row once it is over");
            }
            looked_for += 1;
        }
    }
    assert!(looked_for > 10 && told > 0 && told < looked_for);
    assert!(text.iter().any(|text| text.contains("\"total_cents\":5000")), "definitions are there");
}

#[test]
fn grabs_are_read_back_as_the_journal_has_them() {
    let Some(stage) = Stage::set(2, 300) else { return };
    stage.ship("whole", stage.entries.len(), || 50);
    let mut read_back = ReadBack::new(stage.target("whole"));
    let mut read = 0;
    for (shard, sale) in stage.history.sales().filter(|(_, sale)| sale.definition().packets.is_some()) {
        let (user, state, key, beyond) = (None, None, None, None);
        let all = Wanted { shard, user, state, key, beyond, newest_first: false, limit: usize::MAX };
        let mut ask = |wanted| stage.runtime.block_on(read_back.grabs(wanted)).expect("MySQL is there");
        let found = ask(all);
        let views: Vec<_> = sale.orders_from(1).collect();
        assert_eq!(found.len(), views.len(), "shard {shard}");
        let mut granted: BTreeMap<SkuIndex, (u32, u64)> = BTreeMap::new();
        for (row, view) in found.iter().zip(&views) {
            assert_eq!((row.grab_id, row.activity_id, row.user), (view.order_id, view.activity_id, view.user));
            assert_eq!(Definition::sku_of_round(row.round.0.into()), view.sku_id);
            let plan = &sale.rounds()[usize::from(row.round.0)].plan;
            assert_eq!(plan.first_slot + row.packet, view.slots.iter().next().expect("a grab has one slot"));
            assert_eq!((row.amount_cents, row.granted_at_ms), (view.amount_cents, view.held_at_ms));
            let count = granted.entry(row.round).or_default();
            *count = (count.0 + 1, count.1 + row.amount_cents.0);
            read += 1;
        }
        let Some(some) = found.get(found.len() / 2) else { continue };
        let numbers = |found: Vec<GrabRow>| found.iter().map(|row| row.grab_id).collect::<Vec<_>>();
        let of_user = views.iter().filter(|view| view.user == some.user).map(|view| view.order_id);
        let user = Some(some.user);
        assert_eq!(numbers(ask(Wanted { user, newest_first: true, ..all })), of_user.rev().collect::<Vec<_>>());
        let with_key = found.iter().find(|row| row.key.is_some()).expect("half of them have keys");
        let (user, key) = (Some(with_key.user), with_key.key);
        assert_eq!(numbers(ask(Wanted { user, key, limit: 1, ..all })), [with_key.grab_id]);
        let beyond = some.grab_id.sequence();
        let after: Vec<_> = views.iter().map(|view| view.order_id).filter(|id| *id > some.grab_id).collect();
        assert_eq!(numbers(ask(Wanted { beyond, limit: 3, ..all })), after[..after.len().min(3)]);
        // A grab is no order.
        let orders = stage.runtime.block_on(async {
            Ok::<_, Error>((read_back.order(some.grab_id).await?.is_none(), read_back.orders(all).await?.is_empty()))
        });
        assert_eq!(orders.expect("MySQL is there"), (true, true));
        let counted = stage.runtime.block_on(read_back.granted(shard, shard)).expect("MySQL is there");
        let counted: BTreeMap<_, _> =
            counted.into_iter().map(|row| (row.round, (row.granted, row.granted_cents.0))).collect();
        assert_eq!(counted, granted, "shard {shard}");
    }
    assert!(read > 30, "somebody grabbed");

    // A round that is over, as whoever asks for what has left is told of it.
    let (_, wide) = stage.history.sales().nth(1).expect("it stands");
    let left = stage.runtime.block_on(read_back.activity(wide.activity_id())).expect("MySQL is there");
    let left = left.expect("it is there");
    assert_eq!(&left.definition, wide.definition());
    let rounds = wide.definition().packets.as_deref().map_or(0, |packets| packets.rounds.len());
    assert!(rounds > 1);
    for (number, round) in left.rounds.iter().take(rounds).enumerate() {
        let plan = wide.definition().plan(number).expect("it is planned");
        assert_eq!((round.terms, round.first_slot, round.listed), (plan.terms, plan.first_slot, true));
        assert_eq!(round.commitment, plan.terms.commitment(plan.seed));
        assert_eq!(left.definition.plan(number), Some(plan), "all rounds of what is closed are over");
        let known = &wide.rounds()[number];
        assert_eq!((round.refunded, round.refunded_cents), (known.refunded, known.refunded_cents));
        assert_eq!(round.granted + round.refunded, plan.terms.packets);
        assert_eq!(round.granted_cents + round.refunded_cents, plan.terms.total_cents, "M1");
    }
}

/// Every query of the page about the tables says something of red packets, or at least can be asked.
#[test]
fn the_page_about_the_tables_answers_for_red_packets() {
    let Some(stage) = Stage::set(1, 300) else { return };
    stage.ship("whole", stage.entries.len(), || 50);
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/SCHEMA.md")).expect("it is there");
    let sections = page.split("\n## ").filter(|section| section.starts_with("red_packet_"));
    let queries: Vec<&str> = sections
        .flat_map(|section| section.split("```sql\n").skip(1))
        .filter_map(|rest| rest.split("```").next())
        .collect();
    assert!(queries.len() >= 5, "the page has its queries");
    let user = stage.one("SELECT user_id FROM whole.red_packet_grabs ORDER BY seq DESC LIMIT 1");
    let adds_up = |query: &str| query.contains("COALESCE(g.cents, 0)");
    for query in queries {
        // The page's numbers are of no history in particular.
        let query = query.replace("'42'", &format!("'{user}'")).replace("1200", "0").replace("= 18", "= 31");
        let rows = stage.rows(&format!("USE whole; {query}"));
        assert_eq!(rows.is_empty(), adds_up(&query), "{query}: {rows:?}");
        if adds_up(&query) {
            stage.maria.execute("UPDATE whole.red_packet_grabs SET amount_cents = amount_cents + 1 LIMIT 1");
            assert_eq!(stage.rows(&format!("USE whole; {query}")).len(), 1, "a cent too much is found");
        }
    }
}

/// The last line of defence.
#[test]
fn the_tables_themselves_refuse_what_cannot_be() {
    let Some(stage) = Stage::set(1, 300) else { return };
    stage.ship("whole", stage.entries.len(), || 50);
    let round =
        |change: &str| format!("UPDATE red_packet_rounds SET {change} WHERE is_over = 1 AND refunded > 0 LIMIT 1");
    let running =
        |change: &str| format!("UPDATE red_packet_rounds SET {change} WHERE is_over = 0 AND granted > 0 LIMIT 1");
    for sql in [
        round("refunded = refunded + 1"),
        round("refunded_cents = refunded_cents - 1"),
        round("granted_cents = granted_cents + 1"),
        round("ended_at_ms = NULL"),
        round("is_over = 0"),
        round("listed = 0"),
        round("split = 'even'"),
        round("max_cents = min_cents - 1"),
        running("granted = packets + 1"),
        running("granted_cents = total_cents + 1"),
        running("refunded = 1"),
        running("seed = REPEAT('a', 64)"),
        "UPDATE red_packet_grabs SET amount_cents = 0 LIMIT 1".to_owned(),
        // A packet is granted once, a grab shipped once.
        "INSERT INTO red_packet_grabs SELECT grab_id + 100000, activity_id, round, packet, user_id, amount_cents, \
         currency, idempotency_digest, granted_at_ms, seq FROM red_packet_grabs LIMIT 1"
            .to_owned(),
        "INSERT INTO red_packet_grabs SELECT grab_id, activity_id, round, packet + 100000, user_id, amount_cents, \
         currency, idempotency_digest, granted_at_ms, seq FROM red_packet_grabs LIMIT 1"
            .to_owned(),
    ] {
        let refused = mysql::ask(&stage.maria.url("whole"), &sql).map(drop).expect_err(&sql);
        let sqlx::Error::Database(said) = &refused else { panic!("{sql}: {refused}") };
        assert!(["23000", "1062"].contains(&said.code().unwrap_or_default().as_ref()), "{sql}: {said}");
    }
    stage.assert_same("whole", stage.entries.len());
}

/// A reship empties these tables too, and a table that somebody dropped is made again.
#[test]
fn the_rows_come_again_as_they_were() {
    let Some(stage) = Stage::set(1, 300) else { return };
    let all = stage.entries.len();
    stage.ship("whole", all, || 50);
    let before = stage.tables("whole");
    stage.maria.execute("DROP TABLE whole.red_packet_grabs");
    let target = stage.target("whole");
    let rows = stage.runtime.block_on(async {
        let mut connection = target.visit().await?.expect("there is a database");
        reship::empty(&mut connection, UnixMillis(5), |_, _| {}).await?;
        target.migrate().await?;
        Ok::<_, Error>(reship::look(&mut connection).await?.rows)
    });
    let rows = rows.expect("MySQL is there");
    assert_eq!(rows.len(), TABLES.len());
    assert!(rows.iter().all(|(_, rows)| *rows == 0), "{rows:?}");
    stage.ship("whole", all, || 20);
    assert_eq!(stage.tables("whole"), before);
}

/// What does not follow on the rows stops shipping, and nothing of it is written.
#[test]
fn a_grab_that_its_round_does_not_have_stops_shipping() {
    let Some(stage) = Stage::set(3, 200) else { return };
    let is_grab = |(_, entry): &(Seq, Entry)| matches!(entry.event, Event::PacketGrabbed(_));
    let at = stage.entries.iter().position(is_grab).expect("somebody grabs");
    stage.ship("whole", at, || 50);
    let target = stage.target("whole");
    let refused = stage.runtime.block_on(async {
        let mut session = Session::open(&target, Some(JOURNAL)).await.expect("MySQL is there");
        let (seq, mut entry) = stage.entries[at].clone();
        if let Event::PacketGrabbed(event) = &mut entry.event {
            event.slot += 1_000;
        }
        let to = Tail { seq, hash: RecordHash([1; 32]) };
        session.ship(JOURNAL, &[(seq, entry)], to, UnixMillis(1)).await.expect_err("there is no such packet")
    });
    assert!(matches!(refused, Error::Unfit { .. }), "{refused}");
    stage.assert_same("whole", at);
}
