//! How fast one thread decides: `cargo bench --bench domain`. Each iteration is one whole sale with a crowd of its own,
//! so the figures include the growth of every collection. Two sizes, because the larger one is bound by the memory's
//! latency: its map of users is larger than a processor's cache.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use doorbuster::domain::audit::{Auditor, Keep};
use doorbuster::domain::command::PlaceOrder;
use doorbuster::domain::definition::{OnLatePayment, SkuDefinition};
use doorbuster::domain::event::{ActivityDefined, Author, Change, Entry, Event};
use doorbuster::domain::{Command, Definition, Sale, Stamped};
use doorbuster::ids::{ActivityId, Cents, KeyDigest, Qty, Seq, ShardId, UnixMillis, UserId};

/// The server's own allocator: growth is part of what is measured.
#[global_allocator]
static MEMORY: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SHARD: ShardId = ShardId(1);
const OPEN: UnixMillis = UnixMillis(1_000);

/// The crowds' sizes.
const BUYERS: [u64; 2] = [100_000, 1_000_000];

fn defined(stock: u32) -> ActivityDefined {
    let sku = SkuDefinition {
        sku_id: "2001".parse().expect("a SKU id"),
        title: "Phone".to_owned(),
        price_cents: Cents(199_900),
        stock: Qty(stock),
    };
    ActivityDefined {
        activity_id: ActivityId(1),
        definition: Definition {
            title: "Doorbuster phones".to_owned(),
            currency: "CNY".to_owned(),
            starts_at_ms: OPEN,
            ends_at_ms: UnixMillis(u64::MAX),
            shards: 1,
            per_user_limit: Qty(1),
            payment_window_ms: 300_000,
            on_late_payment: OnLatePayment::Refund,
            shared_sku: false,
            skus: vec![sku],
            packets: None,
        },
        from_catalog: true,
        change: Change { change_id: 1, by: Author::StartUp, key: None },
        part: None,
    }
}

fn place() -> Stamped<Command> {
    let command =
        PlaceOrder { user: UserId(0), sku: "2001".parse().expect("a SKU id"), quantity: 1, key: None, reference: None };
    Stamped { at_ms: OPEN, command: Command::PlaceOrder(command) }
}

/// Makes the one command that of another shopper, as a server finds it in its mailbox: without an allocation here,
/// which would be the mailbox's cost.
fn address(stamped: &mut Stamped<Command>, n: u64, with_key: bool) {
    // Users in no order, as tokens have them; an odd factor keeps them distinct.
    let user = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 1;
    stamped.at_ms.0 = OPEN.0 + n / 10_000;
    let Command::PlaceOrder(place) = &mut stamped.command else { unreachable!("the bench places orders") };
    place.user = UserId(user);
    place.key = with_key.then(|| KeyDigest((u128::from(user) | u128::from(n) << 64).to_le_bytes()));
}

fn sell(buyers: u64, with_key: bool) -> Duration {
    let mut sale = Sale::define(SHARD, &defined(100_000_000));
    let mut stamped = place();
    let start = Instant::now();
    for n in 0..buyers {
        address(&mut stamped, n, with_key);
        let decision = sale.decide(&stamped).expect("the stock is larger than the crowd");
        for event in &decision.events {
            sale.apply(stamped.at_ms, event);
        }
        black_box(decision.order);
    }
    let took = start.elapsed();
    assert_eq!(u64::from(sale.orders_placed()), buyers);
    took
}

/// The journal of one sale to `buyers`.
fn journal(buyers: u64) -> Vec<Entry> {
    let first = defined(100_000_000);
    let mut sale = Sale::define(SHARD, &first);
    let mut entries = vec![Entry { shard: SHARD, at_ms: OPEN, event: Event::ActivityDefined(Box::new(first)) }];
    let mut stamped = place();
    for n in 0..buyers {
        address(&mut stamped, n, true);
        for event in sale.decide(&stamped).expect("the stock is larger than the crowd").events {
            sale.apply(stamped.at_ms, &event);
            entries.push(Entry { shard: SHARD, at_ms: stamped.at_ms, event });
        }
    }
    entries
}

fn replay(entries: &[Entry]) -> Duration {
    let Event::ActivityDefined(first) = &entries[0].event else { unreachable!("a journal starts with its definition") };
    let start = Instant::now();
    let mut sale = Sale::define(SHARD, first);
    for entry in &entries[1..] {
        sale.apply(entry.at_ms, &entry.event);
    }
    let took = start.elapsed();
    black_box(sale.orders_placed());
    took
}

fn audit(entries: &[Entry]) -> Duration {
    let start = Instant::now();
    let mut auditor = Auditor::new(Keep::Standing);
    for (seq, entry) in (1..).zip(entries) {
        auditor.observe(Seq(seq), entry);
    }
    let took = start.elapsed();
    assert!(auditor.report().holds());
    took
}

/// Losers against an empty stock, after as many winners.
fn refuse(sale: &Sale, losers: u64, with_key: bool) -> Duration {
    let mut stamped = place();
    let start = Instant::now();
    for n in 0..losers {
        address(&mut stamped, n + losers, with_key);
        black_box(sale.decide(&stamped)).expect_err("everything is sold");
    }
    start.elapsed()
}

/// Criterion's iterations of something that takes its own time.
fn whole(iterations: u64, mut run: impl FnMut() -> Duration) -> Duration {
    (0..iterations).map(|_| run()).sum()
}

fn domain(c: &mut Criterion) {
    for buyers in BUYERS {
        let mut group = c.benchmark_group(format!("domain/{buyers}"));
        group.sample_size(10).throughput(Throughput::Elements(buyers));
        group.bench_function("accept", |b| b.iter_custom(|n| whole(n, || sell(buyers, false))));
        group.bench_function("accept_with_key", |b| b.iter_custom(|n| whole(n, || sell(buyers, true))));

        let entries = journal(buyers);
        group.bench_function("replay", |b| b.iter_custom(|n| whole(n, || replay(&entries))));
        group.bench_function("audit", |b| b.iter_custom(|n| whole(n, || audit(&entries))));

        let mut gone = Sale::define(SHARD, &defined(u32::try_from(buyers).expect("the crowd is below 2^32")));
        for entry in &entries[1..] {
            gone.apply(entry.at_ms, &entry.event);
        }
        group.bench_function("sold_out", |b| b.iter_custom(|n| whole(n, || refuse(&gone, buyers, false))));
        group.bench_function("sold_out_with_key", |b| b.iter_custom(|n| whole(n, || refuse(&gone, buyers, true))));
        group.finish();
    }
}

criterion_group!(benches, domain);
criterion_main!(benches);
