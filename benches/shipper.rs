//! How fast the journal reaches MySQL, beside LOAD DATA of the same rows into the same tables of the same server, by turns.
//! The server is a MariaDB of the bench's own, with durable commits.
//!
//! `cargo bench --bench shipper -- [orders] [rounds]`, 300,000 and 5 unless told.

#[path = "../tests/mysql/mod.rs"]
mod mysql;
#[path = "../tests/server/mod.rs"]
mod server;

use std::time::{Duration, Instant};

use doorbuster::domain::definition::{Definition, OnLatePayment, SkuDefinition};
use doorbuster::domain::event::{ActivityDefined, Author, Change, Entry, Event, HoldsExpired, OrderPlaced};
use doorbuster::domain::slots::Slots;
use doorbuster::ids::{ActivityId, Cents, KeyDigest, Qty, Seq, ShardId, SkuIndex, UnixMillis, UserId};
use doorbuster::persist::mysql::{Session, Target};
use doorbuster::persist::{
    Generations, Journal, Pushed, Read, RecordBuilder, SledJournal, Tail, identity, open, portion,
};
use mysql::Maria;

const SHARD: ShardId = ShardId(1);
const AT_MS: u64 = 1_780_000_000_000;
const HELD_MS: u64 = 300_000;
const RECORD_EVENTS: u32 = 500;
/// As the shipper's.
const BATCH_ORDERS: usize = 8_192;
const EXPIRED_AT_ONCE: usize = 256;
const DATABASE: &str = "doorbuster";
const TABLES: [&str; 2] = ["orders", "order_slots"];

fn main() {
    let mut numbers = std::env::args().skip(1).filter_map(|arg| arg.parse().ok());
    let (orders, rounds) = (numbers.next().unwrap_or(300_000), numbers.next().unwrap_or(5));
    let arguments = ["--innodb-buffer-pool-size=1G", "--innodb-log-file-size=512M", "--local-infile=1"];
    let maria = Maria::start_with(&arguments).expect("a MariaDB");
    let target: Target = maria.url(DATABASE).parse().expect("a URL");
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut journal = open(&dir.path().join("data"), &Generations::default()).expect("a new journal");
    let placed = write(&mut journal, std::iter::once(defined(orders)).chain((1..=orders).map(order)));
    let numbers: Vec<u32> = (1..=orders).collect();
    let expired = write(&mut journal, numbers.chunks(EXPIRED_AT_ONCE).map(expired));

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (mut shipping, mut loading, mut expiring) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        maria.execute(&format!("DROP DATABASE IF EXISTS {DATABASE}"));
        runtime.block_on(target.migrate()).expect("tables");
        let reader = journal.reader();
        let mut session =
            runtime.block_on(Session::open(&target, identity(&reader).expect("a journal"))).expect("a session");
        shipping.push(ship(&runtime, &reader, &mut session, placed));
        if round == 0 {
            TABLES.iter().for_each(|table| {
                maria.execute(&format!("SELECT * FROM {DATABASE}.{table} INTO OUTFILE '{}'", file(&dir, table)))
            });
        }
        expiring.push(ship(&runtime, &reader, &mut session, expired));
        TABLES.iter().for_each(|table| maria.execute(&format!("TRUNCATE {DATABASE}.{table}")));
        let load =
            TABLES.map(|table| format!("LOAD DATA INFILE '{}' INTO TABLE {DATABASE}.{table};", file(&dir, table)));
        let begun = Instant::now();
        maria.execute(&format!("START TRANSACTION; {} COMMIT", load.concat()));
        loading.push(begun.elapsed());
    }
    let rate = |took: Duration| f64::from(orders) / took.as_secs_f64();
    for (what, took) in
        [("shipping", &mut shipping), ("LOAD DATA", &mut loading), ("shipping their expiry", &mut expiring)]
    {
        took.sort();
        let (fastest, median, slowest) = (took[0], took[took.len() / 2], took[took.len() - 1]);
        println!(
            "{what:<24} {:>8.0} orders/s in the median ({:.0} to {:.0})",
            rate(median),
            rate(slowest),
            rate(fastest)
        );
    }
    let median = |took: &[Duration]| took[took.len() / 2].as_secs_f64();
    println!("shipping / LOAD DATA     {:.2}", median(&loading) / median(&shipping));
}

fn ship<R: Read>(runtime: &tokio::runtime::Runtime, journal: &R, session: &mut Session, until: Seq) -> Duration {
    let journal_id = identity(journal).expect("a journal").expect("it has a record");
    let begun = Instant::now();
    while session.cursor().seq < until {
        let (entries, tail) = portion(journal, session.cursor(), until, BATCH_ORDERS).expect("a sound journal");
        runtime.block_on(session.ship(journal_id, &entries, tail, UnixMillis(AT_MS))).expect("MySQL takes it");
    }
    begun.elapsed()
}

fn file(dir: &tempfile::TempDir, table: &str) -> String {
    dir.path().join(table).display().to_string()
}

fn write(journal: &mut SledJournal, entries: impl Iterator<Item = Entry>) -> Seq {
    let mut record = RecordBuilder::default();
    let mut append = |record: &mut RecordBuilder| -> Tail {
        let before = journal.tail();
        let tail = journal.append(&before, &record.seal(&before)).expect("a sound disk");
        record.clear();
        tail
    };
    for entry in entries.map(|entry| [entry]) {
        if record.push(&entry).expect("it fits") == Pushed::Full {
            append(&mut record);
            assert_eq!(record.push(&entry).expect("it fits"), Pushed::Taken);
        }
        if record.count() == RECORD_EVENTS {
            append(&mut record);
        }
    }
    if record.count() > 0 {
        append(&mut record);
    }
    journal.tail().seq
}

fn defined(orders: u32) -> Entry {
    let sku = SkuDefinition {
        sku_id: "2001".parse().expect("a SKU"),
        title: "Unit".to_owned(),
        price_cents: Cents(199_900),
        stock: Qty(orders),
    };
    let definition = Definition {
        title: "Everything".to_owned(),
        currency: "CNY".to_owned(),
        starts_at_ms: UnixMillis(AT_MS - 1),
        ends_at_ms: UnixMillis(AT_MS + HELD_MS),
        shards: 1,
        per_user_limit: Qty(1),
        payment_window_ms: HELD_MS,
        on_late_payment: OnLatePayment::Refund,
        shared_sku: false,
        skus: vec![sku],
        packets: None,
    };
    let change = Change { change_id: 1, by: Author::StartUp, key: None };
    let event = ActivityDefined { activity_id: ActivityId(1001), definition, from_catalog: true, change, part: None };
    Entry { shard: SHARD, at_ms: UnixMillis(AT_MS), event: Event::ActivityDefined(Box::new(event)) }
}

/// Users come in no order, half of them with a key and a reference.
fn order(number: u32) -> Entry {
    let user = u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 24;
    let keyed = number.is_multiple_of(2);
    let event = OrderPlaced {
        order: number,
        user: UserId(user),
        sku: SkuIndex(0),
        slots: Slots::range(number, 1),
        amount_cents: Cents(199_900),
        expires_at_ms: UnixMillis(AT_MS + HELD_MS),
        key: keyed.then(|| KeyDigest(u128::from(user).to_be_bytes())),
        reference: keyed.then(|| format!("cart-{number}").into()),
    };
    Entry { shard: SHARD, at_ms: UnixMillis(AT_MS), event: Event::OrderPlaced(event) }
}

fn expired(orders: &[u32]) -> Entry {
    let event = Event::HoldsExpired(HoldsExpired { orders: orders.to_vec() });
    Entry { shard: SHARD, at_ms: UnixMillis(AT_MS + HELD_MS), event }
}
