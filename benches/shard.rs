//! Shards with the journal on sled and a real fdatasync, in one process: what the server does for an order, without
//! HTTP. 4,096 orders of distinct users are in flight at any time; each sale sells 200,000 units to as many users, then
//! the next one opens. The sale is on one shard, on eight, or it is 10,000 small activities at once; and the same sale on
//! a journal in memory.
//!
//! `cargo bench --bench shard`

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use doorbuster::actors::desk::{By, Put};
use doorbuster::actors::{Ack, Answer, Asked, CatalogSource, House, Readiness, Settings, Threads};
use doorbuster::catalog;
use doorbuster::clock::Clock;
use doorbuster::domain::command::{PlaceOrder, Source};
use doorbuster::domain::event::{ActivityDefined, Author, Change};
use doorbuster::domain::found::found;
use doorbuster::domain::{Definition, Sales};
use doorbuster::ids::{ActivityId, KeyDigest, Seq, ShardId, UnixMillis, UserId};
use doorbuster::persist::memory::MemoryDisk;
use doorbuster::persist::{self, Journal, Options, Writer};

// As in the server.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const IN_FLIGHT: usize = 4_096;
const ORDERS: u64 = 200_000;
const SMALL_ACTIVITIES: u64 = 10_000;
/// Enough for all rounds, and still small.
const SMALL_STOCK: u32 = 999;
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
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// One sale after the other, each on so many shards.
    Shards(u16),
    /// Many small ones, all at once, open from the start.
    Small,
}

/// A house, and the numbers of the sales that are open.
struct Bench {
    house: House,
    writer: Writer<Ack>,
    kind: Kind,
    first: ActivityId,
    last: ActivityId,
    /// Buyers so far: nobody buys twice.
    users: u64,
}

impl Bench {
    async fn open(journal: impl Journal + 'static, kind: Kind) -> Self {
        let options = Options {
            queue_submissions_max: 65_536,
            observe: Box::new(()),
            on_fault: Box::new(|error| panic!("the journal failed: {error}")),
        };
        let history = Arc::new(journal.reader());
        let writer = Writer::spawn(journal, options).expect("a thread");
        let readiness = Readiness::default();
        readiness.ready();
        let settings = Settings {
            journal: writer.handle(),
            clock: Clock::start(UnixMillis(0)),
            readiness,
            history,
            mysql: None,
            catalog: CatalogSource::Dir("nowhere".into()),
            mailbox: IN_FLIGHT,
            threads: Threads::Own(std::thread::available_parallelism().map_or(1, usize::from)),
        };
        let (sales, last) = match kind {
            Kind::Shards(_) => (Sales::default(), ActivityId(0)),
            Kind::Small => (small_activities(), ActivityId(SMALL_ACTIVITIES)),
        };
        let house = House::open(settings, sales);
        house.settle().await;
        Self { house, writer, kind, first: ActivityId(1), last, users: 0 }
    }

    /// Opens what is sold next.
    async fn next_sale(&mut self) {
        let Kind::Shards(shards) = self.kind else { return };
        let mut definition = definition();
        definition.shards = shards;
        (self.first.0, self.last.0) = (self.last.0 + 1, self.last.0 + 1);
        let put = Put { activity_id: self.last, definition, from: Source::Put, if_match: None, dry_run: false };
        let by = By { author: Author::StartUp, key: None };
        assert!(matches!(self.house.desk.put(put, by).await, Answer::Changed(_)), "the sale is defined");
    }

    /// Sells a sale out and waits for the last one's durable answer.
    async fn sell_out(&mut self) -> Duration {
        let sku: doorbuster::ids::SkuId = "2001".parse().expect("a SKU id");
        let mut waiting: VecDeque<Asked> = VecDeque::with_capacity(IN_FLIGHT);
        let started = Instant::now();
        for user in self.users + 1..=self.users + ORDERS {
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
            // Where there are many, neighbours in time are never of the same one.
            let sale = ActivityId(self.first.0 + user % (self.last.0 - self.first.0 + 1));
            waiting.push_back(self.house.router.place(sale, command));
        }
        for asked in waiting {
            accepted(asked).await;
        }
        self.users += ORDERS;
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

fn definition() -> Definition {
    let mut definition = catalog::read_toml(SALE, "bench".as_ref()).expect("a sound sale");
    definition.shared_sku = true;
    definition
}

/// As a start finds them: nobody waits for ten thousand syncs here.
fn small_activities() -> Sales {
    let mut sales = Sales::default();
    for number in 1..=SMALL_ACTIVITIES {
        let mut definition = definition();
        definition.skus[0].stock.0 = SMALL_STOCK;
        let change = Change { change_id: number, by: Author::StartUp, key: None };
        let first =
            ActivityDefined { activity_id: ActivityId(number), definition, from_catalog: false, change, part: None };
        let shard = ShardId(u32::try_from(number).expect("few"));
        let entries = found(shard, first, UnixMillis(1));
        entries.iter().for_each(|entry| sales.take(Seq(number), entry).expect("it is founded"));
    }
    sales
}

fn durable_orders(criterion: &mut Criterion) {
    let system = actix::System::new();
    let mut group = criterion.benchmark_group("shard");
    group.sample_size(10).throughput(Throughput::Elements(ORDERS));
    for (name, kind) in [("1_shard", Kind::Shards(1)), ("8_shards", Kind::Shards(8)), ("10k_activities", Kind::Small)] {
        for on_sled in [true, false] {
            let dir = tempfile::tempdir().expect("a temporary directory");
            let mut bench = if on_sled {
                let journal = persist::open(dir.path(), &persist::Generations::default()).expect("a fresh journal");
                system.block_on(Bench::open(journal, kind))
            } else {
                system.block_on(Bench::open(MemoryDisk::new().open().expect("a fresh disk"), kind))
            };
            let name = format!("{}_{name}", if on_sled { "sled" } else { "memory" });
            group.bench_function(BenchmarkId::new("200k_durable_orders", name), |bencher| {
                bencher.iter_custom(|sales| {
                    let mut took = Duration::ZERO;
                    for _ in 0..sales {
                        system.block_on(bench.next_sale());
                        took += system.block_on(bench.sell_out());
                    }
                    took
                });
            });
            bench.close();
        }
    }
    group.finish();
}

criterion_group!(benches, durable_orders);
criterion_main!(benches);
