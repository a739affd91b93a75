//! What the journal can do in-process: durable events a second through the writer with 4,096 submissions in flight, and
//! events replayed a second, from memory, from sled and from sealed generations. `cargo bench --bench journal`; the
//! figures depend on the disk under the temporary directory, so name it with them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use std::{hint, thread};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use doorbuster::domain::event::{Entry, Event, OrderPlaced};
use doorbuster::domain::slots::Slots;
use doorbuster::ids::{Cents, KeyDigest, Seq, ShardId, SkuIndex, UnixMillis, UserId};
use doorbuster::persist::memory::MemoryDisk;
use doorbuster::persist::{
    Acknowledge, Generations, Handle, Journal, Options, Pushed, RecordBuilder, Submission, Tail, Writer, replay, verify,
};
use smallvec::smallvec;

/// The server's allocator: sled takes and gives back a record's memory each time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const IN_FLIGHT: u64 = 4096;
const BATCH: u64 = 100_000;
const REPLAYED: u64 = 1_000_000;
const REPLAYED_SEALED: u64 = 3_000_000;

/// The `n`-th order of a busy sale, with an idempotency key.
fn order(n: u64) -> Entry {
    let number = u32::try_from(n).expect("a bench writes fewer orders");
    let at_ms = 1_790_000_000_000 + n / 1000;
    Entry {
        shard: ShardId(1),
        at_ms: UnixMillis(at_ms),
        event: Event::OrderPlaced(OrderPlaced {
            order: number,
            user: UserId(1_000_000 + n.wrapping_mul(7919) % 9_000_000),
            sku: SkuIndex(3),
            slots: Slots::range(number + 1, 1),
            amount_cents: Cents(19_900),
            expires_at_ms: UnixMillis(at_ms + 900_000),
            key: Some(KeyDigest(u128::from(n).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835).to_be_bytes())),
            reference: None,
        }),
    }
}

/// Counts what is durable.
struct Count(Arc<AtomicU64>);

impl Acknowledge for Count {
    fn durable(self) {
        self.0.fetch_add(1, Ordering::Release);
    }
}

/// Submits `events` orders, at most [`IN_FLIGHT`] of them unacknowledged, and waits for the last.
fn drive(handle: &Handle<Count>, events: u64) -> Duration {
    let durable = Arc::new(AtomicU64::new(0));
    let begun = Instant::now();
    for n in 0..events {
        wait_for(&durable, (n + 1).saturating_sub(IN_FLIGHT));
        let submission = Submission { entries: smallvec![order(n)], ack: Count(Arc::clone(&durable)) };
        handle.submit(submission).expect("the writer runs");
    }
    wait_for(&durable, events);
    begun.elapsed()
}

fn wait_for(durable: &AtomicU64, count: u64) {
    while durable.load(Ordering::Acquire) < count {
        hint::spin_loop();
        thread::yield_now();
    }
}

fn options() -> Options {
    let on_fault = Box::new(|error| panic!("the disk failed: {error}"));
    Options { queue_submissions_max: 2 * 4096, observe: Box::new(()), on_fault }
}

fn write_through<J: Journal + 'static>(c: &mut Criterion, name: &str, journal: J) {
    let writer = Writer::spawn(journal, options()).expect("a thread can be started");
    let handle = writer.handle();
    let mut group = c.benchmark_group("durable");
    group.throughput(Throughput::Elements(BATCH)).sample_size(20);
    group.bench_function(name, |b| b.iter_custom(|rounds| (0..rounds).map(|_| drive(&handle, BATCH)).sum()));
    group.finish();
    writer.stop().expect("a sound disk");
}

fn durable(c: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    write_through(c, "sled", doorbuster::persist::open(dir.path(), &Generations::default()).expect("a new journal"));
    write_through(c, "memory", MemoryDisk::new().open().expect("a new journal"));
}

/// A journal with `orders` orders in records of 1,000.
fn filled<J: Journal>(mut journal: J, orders: u64) -> J {
    let mut record = RecordBuilder::default();
    for n in 1..=orders {
        assert_eq!(record.push(&[order(n)]).expect("it fits"), Pushed::Taken);
        if n % 1000 == 0 {
            let before = journal.tail();
            journal.append(&before, &record.seal(&before)).expect("a sound disk");
            record.clear();
        }
    }
    journal
}

/// Reads all of a journal as a start does; how many units were ordered.
fn read_all<J: Journal>(journal: &J) -> u32 {
    let mut units = 0;
    let replayed = replay(journal, Tail::START, Seq(u64::MAX), |_, entry| {
        if let Event::OrderPlaced(order) = entry.event {
            units += order.slots.count();
        }
    });
    replayed.expect("it holds");
    units
}

fn replayed(c: &mut Criterion) {
    let journal = filled(MemoryDisk::new().open().expect("a new journal"), REPLAYED);
    let mut group = c.benchmark_group("read");
    group.throughput(Throughput::Elements(REPLAYED)).sample_size(10);
    group.bench_function("replay", |b| b.iter(|| hint::black_box(read_all(&journal))));
    group.bench_function("verify", |b| b.iter(|| verify(&journal, &[]).expect("it holds")));
    group.finish();
}

/// From the disk's cache: as much in one sled directory, and in sealed generations and the live one.
fn replayed_from_files(c: &mut Criterion) {
    let mut group = c.benchmark_group("read from files");
    group.throughput(Throughput::Elements(REPLAYED_SEALED)).sample_size(10);
    for (name, max_bytes) in [("in sled", u64::MAX), ("sealed", 16 << 20)] {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let generations = Generations { max_bytes, ..Generations::default() };
        let open = || doorbuster::persist::open(dir.path(), &generations).expect("a sound journal");
        filled(open(), REPLAYED_SEALED).close().expect("a sound disk");
        let journal = open();
        group.bench_function(format!("replay {name}"), |b| b.iter(|| hint::black_box(read_all(&journal))));
        group.bench_function(format!("verify {name}"), |b| b.iter(|| verify(&journal, &[]).expect("it holds")));
    }
    group.finish();
}

fn encoded(c: &mut Criterion) {
    let entries: Vec<Entry> = (1..=1000).map(order).collect();
    let mut record = RecordBuilder::default();
    let mut group = c.benchmark_group("encode");
    group.throughput(Throughput::Elements(1000));
    group.bench_function("record of 1000", |b| {
        b.iter(|| {
            record.clear();
            for entry in &entries {
                record.push(std::slice::from_ref(entry)).expect("it fits");
            }
            hint::black_box(record.seal(&Tail::START).bytes().len())
        });
    });
    group.finish();
}

criterion_group!(benches, durable, replayed, replayed_from_files, encoded);
criterion_main!(benches);
