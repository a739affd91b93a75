//! What the tests share of a journal whose beginning is dropped: MySQL has it, and answers for it. A test that declares
//! this module declares `checkpoint`, `mysql` and `server` too.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::fs;

use crate::checkpoint::manifests;
use crate::mysql::{Maria, provider};
use crate::server::{Reply, Sale, Stage, request, until};
use doorbuster::domain::Entry;
use doorbuster::domain::definition::{Definition, OnLatePayment, SkuDefinition};
use doorbuster::domain::event::{ActivityDefined, Author, Change, Event, OrderPlaced};
use doorbuster::domain::slots::Slots;
use doorbuster::ids::{ActivityId, Cents, Qty, ShardId, SkuIndex, UnixMillis, UserId};
use doorbuster::persist::{self, Generations, Journal, Pushed, RecordBuilder};

/// As many as make a checkpoint worth it at a start.
const ORDERS: u32 = 100_000;

/// A stage of which everything that ended leaves, and all goes that may.
pub fn stage(maria: &Maria, sale: Sale) -> Stage {
    let stage = Stage::shipping_to(&maria.shop_url("doorbuster"), sale, provider::PAYMENTS);
    let text = fs::read_to_string(stage.path("doorbuster.toml")).expect("it was written");
    let text = text.replace("[journal]\n", "[journal]\nretain_ended_s = 0\nkeep_generations_days = 0\n");
    fs::write(stage.path("doorbuster.toml"), text).expect("it can be written");
    stage
}

/// A large sale beside the stage's own, appended while no server runs: some generations full.
pub fn append_sale(stage: &Stage, shard: u32) {
    let generations = Generations { max_bytes: 1 << 20, ..Generations::default() };
    let mut journal = persist::open(&stage.path("data"), &generations).expect("it adds up");
    let sku = SkuDefinition {
        sku_id: "bulk".parse().expect("an id"),
        title: String::new(),
        price_cents: Cents(1),
        stock: Qty(ORDERS),
    };
    let definition = Definition {
        title: "Bulk".to_owned(),
        currency: "CNY".to_owned(),
        starts_at_ms: UnixMillis(0),
        ends_at_ms: UnixMillis(1 << 50),
        shards: 1,
        per_user_limit: Qty(50),
        payment_window_ms: 1_000,
        on_late_payment: OnLatePayment::Refund,
        shared_sku: true,
        skus: vec![sku],
        packets: None,
    };
    let defined = ActivityDefined {
        activity_id: ActivityId(9_000 + u64::from(shard)),
        definition,
        from_catalog: false,
        change: Change { change_id: 1_000_000 + u64::from(shard), by: Author::StartUp, key: None },
        part: None,
    };
    let placed = |order| {
        Event::OrderPlaced(OrderPlaced {
            order,
            user: UserId(u64::from(order)),
            sku: SkuIndex(0),
            slots: Slots::range(order, 1),
            amount_cents: Cents(1),
            expires_at_ms: UnixMillis(1 << 50),
            key: None,
            reference: None,
        })
    };
    let entry = |event| Entry { shard: ShardId(shard), at_ms: UnixMillis(1_000), event };
    let mut entries = vec![entry(Event::ActivityDefined(Box::new(defined)))];
    entries.extend((1..=ORDERS).map(|order| entry(placed(order))));
    for entries in entries.chunks(1_000) {
        let mut record = RecordBuilder::default();
        assert_eq!(record.push(entries).expect("it fits a record"), Pushed::Taken);
        let before = journal.tail();
        journal.append(&before, &record.seal(&before)).expect("a sound disk");
    }
    journal.close().expect("a clean stop");
}

/// Asks as a user, or as an operator.
pub fn ask(stage: &Stage, user: Option<u64>, method: &str, path: &str) -> Reply {
    ask_with(stage, user, method, path, None, "")
}

/// The same with an idempotency key, and a body.
pub fn ask_with(stage: &Stage, user: Option<u64>, method: &str, path: &str, key: Option<&str>, body: &str) -> Reply {
    let role = user.is_none().then_some("operator");
    let bearer = format!("Bearer {}", stage.token(user.unwrap_or(1), role));
    let address = if user.is_some() { stage.shopper } else { stage.operator };
    let mut headers = vec![("Authorization", bearer.as_str())];
    headers.extend(key.map(|key| ("Idempotency-Key", key)));
    request(address, method, path, &headers, body).expect("the server answers")
}

/// How many checkpoints stand.
pub fn checkpoints(stage: &Stage) -> usize {
    match stage.path("data/checkpoints").is_dir() {
        true => manifests(&stage.path("data")).len(),
        false => 0,
    }
}

pub fn until_shipped(stage: &Stage) {
    until("MySQL has everything", || {
        let mysql = &stage.state()["mysql"];
        mysql["connected"] == true && mysql["lag_events"] == 0
    });
}
