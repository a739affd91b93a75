//! Shards with the journal on sled and a real fdatasync, in one process: what the server does for an order, without
//! HTTP. 4,096 orders of distinct users are in flight at any time; each sale sells 200,000 units to as many users, then
//! the next one opens. The sale is on one shard, on eight, or it is 10,000 small activities at once; and the same sale on
//! a journal in memory.
//!
//! `cargo bench --bench shard`

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use doorbuster::actors::desk::{By, Put};
use doorbuster::actors::{Ack, Answer, Asked, House, Readiness, Settings};
use doorbuster::catalog;
use doorbuster::clock::Clock;
use doorbuster::domain::command::{PlaceOrder, Source};
use doorbuster::domain::event::Author;
use doorbuster::domain::{Definition, Sales};
use doorbuster::ids::{ActivityId, KeyDigest, UnixMillis, UserId};
use doorbuster::persist::memory::MemoryDisk;
use doorbuster::persist::{self, Journal, Options, Writer};

// As in the server.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const IN_FLIGHT: usize = 4_096;
const ORDERS: u64 = 200_000;
const SMALL_ACTIVITIES: u64 = 10_000;
const SALE: &str = r#"
kind = "flash_sale"
title = "bench"
starts_at = "2020-01-01T00:00:00Z"
ends_at = "2100-01-01T00:00:00Z"
payment_window_s = 86400
[[skus]]
sku_id = "2001"
title = "unit"
price_cents = 100
stock = 200000
"#;

/// What is sold.
#[derive(Clone, Copy)]
enum Kind {
    /// One sale on so many shards.
    Shards(u16),
    /// Many small ones.
    Small,
}

/// A house, and the numbers of the sales that opened last.
struct Bench {
    house: House,
    writer: Writer<Ack>,
    first: ActivityId,
    sale: ActivityId,
}

impl Bench {
    async fn open(journal: impl Journal + 'static) -> Self {
        let options = Options {
            queue_submissions_max: 65_536,
            observe: Box::new(()),
            on_fault: Box::new(|error| panic!("the journal failed: {error}")),
        };
        let writer = Writer::spawn(journal, options).expect("a thread");
        let readiness = Readiness::default();
        readiness.ready();
        let settings = Settings {
            journal: writer.handle(),
            clock: Clock::start(UnixMillis(0)),
            readiness,
            catalog_dir: "nowhere".into(),
            mailbox: IN_FLIGHT,
            arbiters: std::thread::available_parallelism().map_or(1, usize::from),
        };
        let house = House::open(settings, Sales::default());
        Self { house, writer, first: ActivityId(0), sale: ActivityId(0) }
    }

    /// Opens what is sold next.
    async fn next_sale(&mut self, kind: Kind) {
        let mut definition = catalog::read_toml(SALE, "bench".as_ref()).expect("a sound sale");
        definition.shared_sku = true;
        let activities = match kind {
            Kind::Shards(shards) => {
                definition.shards = shards;
                1
            }
            Kind::Small => {
                definition.skus[0].stock.0 /= u32::try_from(SMALL_ACTIVITIES).expect("few");
                SMALL_ACTIVITIES
            }
        };
        self.first = ActivityId(self.sale.0 + 1);
        for _ in 0..activities {
            self.define(definition.clone()).await;
        }
    }

    async fn define(&mut self, definition: Definition) {
        self.sale.0 += 1;
        let put = Put { activity_id: self.sale, definition, from: Source::Put, if_match: None, dry_run: false };
        let by = By { author: Author::StartUp, key: None };
        assert!(matches!(self.house.desk.put(put, by).await, Answer::Changed(_)), "the sale is defined");
    }

    /// Sells a sale out and waits for the last one's durable answer.
    async fn sell_out(&mut self) -> Duration {
        let sku: doorbuster::ids::SkuId = "2001".parse().expect("a SKU id");
        let mut waiting: VecDeque<Asked> = VecDeque::with_capacity(IN_FLIGHT);
        let started = Instant::now();
        for user in 1..=ORDERS {
            if waiting.len() == IN_FLIGHT {
                accepted(waiting.pop_front().expect("it is full")).await;
            }
            let mut key = [0; 16];
            key[..8].copy_from_slice(&user.to_le_bytes());
            let command = PlaceOrder {
                user: UserId(user),
                sku: sku.clone(),
                quantity: 1,
                key: Some(KeyDigest(key)),
                reference: None,
            };
            // Activity after activity, so that neighbours in time are never of the same one.
            let sale = ActivityId(self.first.0 + user % (self.sale.0 - self.first.0 + 1));
            waiting.push_back(self.house.router.place(sale, command));
        }
        for asked in waiting {
            accepted(asked).await;
        }
        started.elapsed()
    }

    fn close(self) {
        self.house.close();
        self.writer.stop().expect("a clean stop");
    }
}

async fn accepted(asked: Asked) {
    let answer = asked.answer().await;
    assert!(matches!(answer, Answer::Order { .. }), "every order is accepted, not {answer:?}");
}

fn durable_orders(criterion: &mut Criterion) {
    let system = actix::System::new();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let journal = persist::open(dir.path(), &persist::Generations::default()).expect("a fresh journal");
    let mut on_sled = system.block_on(Bench::open(journal));
    let mut in_memory = system.block_on(Bench::open(MemoryDisk::new().open().expect("a fresh disk")));

    let mut group = criterion.benchmark_group("shard");
    group.sample_size(10).throughput(Throughput::Elements(ORDERS));
    let kinds = [
        ("sled", Kind::Shards(1)),
        ("sled_8_shards", Kind::Shards(8)),
        ("sled_10k_activities", Kind::Small),
        ("memory", Kind::Shards(1)),
        ("memory_8_shards", Kind::Shards(8)),
        ("memory_10k_activities", Kind::Small),
    ];
    for (name, kind) in kinds {
        let bench = if name.starts_with("sled") { &mut on_sled } else { &mut in_memory };
        group.bench_function(BenchmarkId::new("200k_durable_orders", name), |bencher| {
            bencher.iter_custom(|sales| {
                let mut took = Duration::ZERO;
                for _ in 0..sales {
                    system.block_on(bench.next_sale(kind));
                    took += system.block_on(bench.sell_out());
                }
                took
            });
        });
    }
    group.finish();
    on_sled.close();
    in_memory.close();
}

criterion_group!(benches, durable_orders);
criterion_main!(benches);
