//! What a small activity costs while it waits for its shoppers, and a shop's packets before they are grabbed. One test in a process of its own: the allocator counts
//! for all.

use std::sync::Arc;

use doorbuster::actors::{CatalogSource, House, Readiness, Settings, Threads};
use doorbuster::catalog;
use doorbuster::clock::Clock;
use doorbuster::domain::command::RequestKey;
use doorbuster::domain::definition::{Definition, OnLatePayment, Shop, SkuDefinition};
use doorbuster::domain::event::{ActivityDefined, ActivityRetired, Author, Change};
use doorbuster::domain::found::found;
use doorbuster::domain::split::Seed;
use doorbuster::domain::{Entry, Event, Sales};
use doorbuster::ids::{ActivityId, Cents, KeyDigest, Qty, Seq, ShardId, UnixMillis, UserId};
use doorbuster::persist::memory::MemoryDisk;
use doorbuster::persist::{Journal, Options, Writer};
use peak_alloc::PeakAlloc;
use serde_json::json;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const ACTIVITIES: u32 = 10_000;
const BYTES_MAX: usize = 4_096;

fn definition(number: u32) -> Definition {
    Definition {
        title: format!("A shop's lunch box of the day, number {number}"),
        currency: "CNY".to_owned(),
        starts_at_ms: UnixMillis(1),
        ends_at_ms: UnixMillis(1 << 50),
        shards: 1,
        per_user_limit: Qty(1),
        payment_window_ms: 300_000,
        on_late_payment: OnLatePayment::Refund,
        shared_sku: false,
        skus: vec![SkuDefinition {
            sku_id: format!("lunch-{number}").parse().expect("a SKU id"),
            title: "Lunch box".to_owned(),
            price_cents: Cents(1_500),
            stock: Qty(20),
        }],
        packets: None,
    }
}

/// A shop's packets as a request with a key makes them.
fn shop_packets(number: u32) -> Definition {
    let request = json!({ "title": format!("Thank you, number {number}"), "total_cents": 8_800, "packets": 20,
        "split": "random", "min_cents": 1, "max_cents": 2_000, "expires_in_s": 86_400,
        "funding_ref": format!("wallet-7/{number}") });
    let tree = catalog::parse_json(request.to_string().as_bytes()).expect("JSON");
    let packet = catalog::ShopPacket::read(&tree).expect("sound");
    let digest = |byte: u8| KeyDigest([byte; 16]);
    let key = Some(RequestKey { key: digest(1), body: digest(2) });
    let shop = Shop { merchant: UserId(number.into()), funding_ref: packet.funding_ref.clone(), key };
    packet.definition(shop, UnixMillis(1 << 50)).planned(None, &[Seed([7; 32])], |_| 0)
}

/// The bytes that each of the activities takes, once a house has them all.
async fn bytes_each(definition: impl Fn(u32) -> Definition, have_left: bool) -> usize {
    let journal = MemoryDisk::new().open().expect("a fresh disk");
    let history = Arc::new(journal.reader());
    let options = Options {
        queue_submissions_max: 1_024,
        observe: Box::new(()),
        on_fault: Box::new(|error| panic!("the journal failed: {error}")),
    };
    let writer = Writer::spawn(journal, options).expect("a thread");

    let before = MEMORY.current_usage();
    let mut sales = Sales::default();
    for number in 1..=ACTIVITIES {
        let (shard, seq) = (ShardId(number), Seq(number.into()));
        let change = Change { change_id: number.into(), by: Author::StartUp, key: None };
        let first = ActivityDefined {
            activity_id: ActivityId(number.into()),
            definition: definition(number),
            from_catalog: false,
            change,
            part: None,
        };
        for entry in found(shard, first, UnixMillis(1)) {
            sales.take(seq, &entry).expect("it is founded");
        }
        if have_left {
            let event = Event::ActivityRetired(ActivityRetired { orders: 0 });
            sales.take(seq, &Entry { shard, at_ms: UnixMillis(1), event }).expect("it may leave");
        }
    }
    let settings = Settings {
        journal: writer.handle(),
        clock: Clock::start(UnixMillis(0)),
        readiness: Readiness::default(),
        mysql: None,
        history,
        catalog: CatalogSource::Dir("nowhere".into()),
        mailbox: 1_024,
        threads: Threads::Own(1),
    };
    let house = House::open(settings, sales);
    house.settle().await;
    let each = (MEMORY.current_usage() - before) / ACTIVITIES as usize;
    house.close();
    writer.stop().expect("a clean stop");
    each
}

#[test]
fn a_small_activity_and_a_shops_20_packets_cost_at_most_4_kib_each() {
    actix::System::new().block_on(async {
        let packets = bytes_each(shop_packets, false).await;
        println!("{ACTIVITIES} times a shop's 20 packets: {packets} bytes each");
        assert!(packets <= BYTES_MAX, "{packets} bytes each");
        let (waiting, left) = (bytes_each(definition, false).await, bytes_each(definition, true).await);
        println!("{ACTIVITIES} small activities: {waiting} bytes each, {left} once they have left");
        assert!(waiting <= BYTES_MAX, "{waiting} bytes each");
        assert!(left < waiting, "{left} bytes each");
    });
}
