//! How fast a budget is split, and how fast one thread hands packets out: `cargo bench --bench split`. Each iteration of
//! the latter is one whole round with a crowd of its own, so the figures include the growth of every collection; the split
//! is made before, as a server does before a round starts.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use doorbuster::domain::command::Grab;
use doorbuster::domain::definition::{Packets, RoundDefinition};
use doorbuster::domain::event::{ActivityDefined, Author, Change};
use doorbuster::domain::split::{Seed, Split, Terms};
use doorbuster::domain::{Command, Definition, Sale, Stamped};
use doorbuster::ids::{ActivityId, KeyDigest, Qty, ShardId, UnixMillis, UserId};

/// The server's own allocator: growth is part of what is measured.
#[global_allocator]
static MEMORY: mimalloc::MiMalloc = mimalloc::MiMalloc;

const OPEN: UnixMillis = UnixMillis(1_000);
const PACKETS: u32 = 1_000_000;
/// The crowds' sizes.
const CROWDS: [u32; 2] = [100_000, 1_000_000];

fn terms(split: Split) -> Terms {
    Terms { split, packets: PACKETS, total_cents: u64::from(PACKETS) * 200, min_cents: 1, max_cents: 20_000 }
}

/// A rain of one round, split.
fn rain() -> Sale {
    let Terms { split, packets, total_cents, min_cents, max_cents } = terms(Split::Random);
    let round =
        RoundDefinition { starts_at_ms: OPEN, ends_at_ms: UnixMillis(u64::MAX), total_cents, packets, plan: None };
    let packets = Packets { split, min_cents, max_cents, rounds: vec![round], shop: None };
    let definition = Definition::of_packets("Rain".to_owned(), "CNY".to_owned(), 1, Qty(1), packets);
    let first = ActivityDefined {
        activity_id: ActivityId(1),
        definition: definition.planned(None, &[Seed([7; 32])], |_| 0),
        from_catalog: false,
        change: Change { change_id: 1, by: Author::StartUp, key: None },
        part: None,
    };
    let sale = Sale::define(ShardId(1), &first);
    black_box(sale.rounds()[0].plan.amounts());
    sale
}

/// The one command of another user, as a server finds it in its mailbox.
fn grab(n: u32, with_key: bool) -> Stamped<Command> {
    // Users in no order, as tokens have them; an odd factor keeps them distinct.
    let user = u64::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 1;
    let key = with_key.then(|| KeyDigest((u128::from(user) | u128::from(n) << 64).to_le_bytes()));
    let at_ms = UnixMillis(OPEN.0 + u64::from(n / 10_000));
    Stamped { at_ms, command: Command::Grab(Grab { user: UserId(user), key }) }
}

fn hand_out(rain: &Sale, crowd: u32, with_key: bool) -> Duration {
    let mut sale = rain.clone();
    let start = Instant::now();
    for n in 0..crowd {
        let stamped = grab(n, with_key);
        let decision = sale.decide(&stamped).expect("there are as many packets as people");
        for event in &decision.events {
            sale.apply(stamped.at_ms, event);
        }
        black_box(decision.order);
    }
    let took = start.elapsed();
    assert_eq!(sale.orders_placed(), crowd);
    took
}

/// Losers of a round of which nothing is left.
fn refuse(gone: &Sale, crowd: u32) -> Duration {
    let start = Instant::now();
    for n in PACKETS..PACKETS + crowd {
        black_box(gone.decide(&grab(n, false))).expect_err("everything is granted");
    }
    start.elapsed()
}

fn whole(iterations: u64, mut run: impl FnMut() -> Duration) -> Duration {
    (0..iterations).map(|_| run()).sum()
}

fn split(c: &mut Criterion) {
    let mut group = c.benchmark_group("split/1000000");
    group.sample_size(10).throughput(Throughput::Elements(PACKETS.into()));
    for kind in [Split::Random, Split::Equal] {
        group.bench_function(kind.as_str(), |b| b.iter(|| terms(kind).split(black_box(Seed([9; 32])))));
    }
    group.finish();
}

fn packets(c: &mut Criterion) {
    let rain = rain();
    let mut gone = rain.clone();
    for n in 0..PACKETS {
        let stamped = grab(n, false);
        let decision = gone.decide(&stamped).expect("a packet for each");
        decision.events.iter().for_each(|event| gone.apply(stamped.at_ms, event));
    }
    for crowd in CROWDS {
        let mut group = c.benchmark_group(format!("packets/{crowd}"));
        group.sample_size(10).throughput(Throughput::Elements(crowd.into()));
        group.bench_function("grab", |b| b.iter_custom(|n| whole(n, || hand_out(&rain, crowd, false))));
        group.bench_function("grab_with_key", |b| b.iter_custom(|n| whole(n, || hand_out(&rain, crowd, true))));
        group.bench_function("sold_out", |b| b.iter_custom(|n| whole(n, || refuse(&gone, crowd))));
        group.finish();
    }
}

criterion_group!(benches, split, packets);
criterion_main!(benches);
