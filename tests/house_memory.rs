//! What a small activity costs while it waits for its shoppers. One test in a process of its own: the allocator counts
//! for all.

use std::sync::Arc;

use doorbuster::actors::{House, Readiness, Settings};
use doorbuster::clock::Clock;
use doorbuster::domain::Sales;
use doorbuster::domain::definition::{Definition, OnLatePayment, SkuDefinition};
use doorbuster::domain::event::{ActivityDefined, Author, Change};
use doorbuster::domain::found::found;
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
    }
}

#[test]
fn a_small_activity_costs_at_most_4_kib() {
    actix::System::new().block_on(async {
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
            let change = Change { change_id: number.into(), by: Author::StartUp, key: None };
            let first = ActivityDefined {
                activity_id: ActivityId(number.into()),
                definition: definition(number),
                from_catalog: true,
                change,
                part: None,
            };
            for entry in found(ShardId(number), first, UnixMillis(1)) {
                sales.take(Seq(number.into()), &entry).expect("it is founded");
            }
        }
        let settings = Settings {
            journal: writer.handle(),
            clock: Clock::start(UnixMillis(0)),
            readiness: Readiness::default(),
            history,
            catalog_dir: "nowhere".into(),
            mailbox: 1_024,
            arbiters: 1,
        };
        let house = House::open(settings, sales);
        house.settle().await;
        let each = (MEMORY.current_usage() - before) / ACTIVITIES as usize;
        println!("{ACTIVITIES} small activities: {each} bytes each");
        assert!(each <= BYTES_MAX, "{each} bytes each");
        house.close();
        writer.stop().expect("a clean stop");
    });
}
