//! A shard's actor with the journal on sled and a real fdatasync, in one process: what the server does for an order,
//! without HTTP. 4,096 orders of distinct users are in flight at any time; each sale sells 200,000 units to as many
//! users, then the next one opens.
//!
//! `cargo bench --bench shard`

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use doorbuster::actors::desk::{By, Put};
use doorbuster::actors::{Ack, Answer, Asked, House, Readiness, Recovered, Settings};
use doorbuster::catalog;
use doorbuster::clock::Clock;
use doorbuster::domain::command::{PlaceOrder, Source};
use doorbuster::domain::event::Author;
use doorbuster::ids::{ActivityId, KeyDigest, UnixMillis, UserId};
use doorbuster::persist::memory::MemoryDisk;
use doorbuster::persist::{self, Journal, Options, Writer};

// As in the server.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const IN_FLIGHT: usize = 4_096;
const ORDERS: u64 = 200_000;
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

/// A house, and the number of the sale that opened last.
struct Bench {
    house: House,
    writer: Writer<Ack>,
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
            arbiters: 1,
        };
        let house = House::open(settings, Recovered::default());
        Self { house, writer, sale: ActivityId(0) }
    }

    /// Opens one sale more.
    async fn next_sale(&mut self) {
        self.sale.0 += 1;
        let mut definition = catalog::read_toml(SALE, "bench".as_ref()).expect("a sound sale");
        definition.shared_sku = true;
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
            waiting.push_back(self.house.router.place(self.sale, command));
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
    let on_sled = system
        .block_on(Bench::open(persist::open(dir.path(), &persist::Generations::default()).expect("a fresh journal")));
    let in_memory = system.block_on(Bench::open(MemoryDisk::new().open().expect("a fresh disk")));

    let mut group = criterion.benchmark_group("shard");
    group.sample_size(10).throughput(Throughput::Elements(ORDERS));
    for (name, mut bench) in [("sled", on_sled), ("memory", in_memory)] {
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
    group.finish();
}

criterion_group!(benches, durable_orders);
criterion_main!(benches);
