//! What a small activity costs while it waits for its shoppers. One test in a process of its own: the allocator counts
//! for all.

use std::sync::Arc;

use doorbuster::actors::{CatalogSource, House, Readiness, Settings};
use doorbuster::clock::Clock;
use doorbuster::domain::definition::{Definition, OnLatePayment, SkuDefinition};
use doorbuster::domain::event::{ActivityDefined, ActivityRetired, Author, Change};
use doorbuster::domain::found::found;
use doorbuster::domain::{Entry, Event, Sales};
use doorbuster::ids::{ActivityId, Cents, Qty, Seq, ShardId, UnixMillis};
use doorbuster::persist::memory::MemoryDisk;
use doorbuster::persist::{Journal, Options, Writer};
use peak_alloc::PeakAlloc;

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

/// The bytes that each of the activities takes, once a house has them all.
async fn bytes_each(have_left: bool) -> usize {
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
            from_catalog: true,
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
        arbiters: 1,
    };
    let house = House::open(settings, sales);
    house.settle().await;
    let each = (MEMORY.current_usage() - before) / ACTIVITIES as usize;
    house.close();
    writer.stop().expect("a clean stop");
    each
}

#[test]
fn a_small_activity_costs_at_most_4_kib_and_less_once_it_has_left() {
    actix::System::new().block_on(async {
        let (waiting, left) = (bytes_each(false).await, bytes_each(true).await);
        println!("{ACTIVITIES} small activities: {waiting} bytes each, {left} once they have left");
        assert!(waiting <= BYTES_MAX, "{waiting} bytes each");
        assert!(left < waiting, "{left} bytes each");
    });
}
