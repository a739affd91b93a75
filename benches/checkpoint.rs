//! What a checkpoint costs and saves: `cargo bench --bench checkpoint -- [orders]`, a million orders unless told. Each row
//! is measured once: the large ones take seconds, and the figures depend on the disk under the temporary directory.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use doorbuster::domain::Sales;
use doorbuster::domain::definition::{Definition, OnLatePayment, SkuDefinition};
use doorbuster::domain::event::{ActivityDefined, Author, Change, Entry, Event, OrderPlaced};
use doorbuster::domain::image::{Decoder, encode, state_hash};
use doorbuster::domain::slots::Slots;
use doorbuster::ids::{ActivityId, Cents, KeyDigest, Qty, Seq, ShardId, SkuIndex, UnixMillis, UserId};
use doorbuster::persist::checkpoint::{Limits, Making, Store, recover};
use doorbuster::persist::memory::MemoryDisk;
use doorbuster::persist::{
    Acknowledge, Handle, Journal, Options, Pushed, Read, RecordBuilder, Submission, Tail, Writer, replay,
};
use rustix::process::setpriority_process;
use smallvec::smallvec;

/// The server's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Events that come after the last checkpoint: as a generation holds of them.
const SINCE: u64 = 2_500_000;
const RECORD_EVENTS: u64 = 1_000;
const HOT_EVENTS: u32 = 200_000;
const HOT_EVERY: Duration = Duration::from_micros(50);

fn defined(shard: ShardId, stock: u32) -> Entry {
    let sku = SkuDefinition {
        sku_id: "phone".parse().expect("a sound SKU id"),
        title: "Phone".to_owned(),
        price_cents: Cents(19_900),
        stock: Qty(stock),
    };
    let definition = Definition {
        title: "Doorbuster".to_owned(),
        currency: "CNY".to_owned(),
        starts_at_ms: UnixMillis(0),
        ends_at_ms: UnixMillis(u64::MAX),
        shards: 1,
        per_user_limit: Qty(2),
        payment_window_ms: 900_000,
        on_late_payment: OnLatePayment::Refund,
        shared_sku: true,
        skus: vec![sku],
        packets: None,
    };
    let change = Change { change_id: 1, by: Author::StartUp, key: None };
    let activity_id = ActivityId(u64::from(shard.0));
    let event = ActivityDefined { activity_id, definition, from_catalog: true, change, part: None };
    Entry { shard, at_ms: UnixMillis(1), event: Event::ActivityDefined(Box::new(event)) }
}

/// The `n`-th order of a busy shard, with an idempotency key.
fn order(shard: ShardId, n: u32) -> Entry {
    let at_ms = 1_790_000_000_000 + u64::from(n) / 1_000;
    let user = UserId(u64::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    Entry {
        shard,
        at_ms: UnixMillis(at_ms),
        event: Event::OrderPlaced(OrderPlaced {
            order: n,
            user,
            sku: SkuIndex(0),
            slots: Slots::range(n, 1),
            amount_cents: Cents(19_900),
            expires_at_ms: UnixMillis(at_ms + 900_000),
            key: Some(KeyDigest((u128::from(n) << 64 | u128::from(user.0)).to_le_bytes())),
            reference: None,
        }),
    }
}

/// A journal of so many orders, over `activities` in turn; and its tail [`SINCE`] events before its end.
fn journal(orders: u64, activities: u32) -> (impl Journal, Tail) {
    let mut journal = MemoryDisk::new().open().expect("a new journal");
    let (mut record, mut events, mut older) = (RecordBuilder::default(), 0, Tail::START);
    let definitions = (1..=activities).map(|shard| defined(ShardId(shard), 100_000_000));
    let placed = (0..u32::try_from(orders).expect("fewer orders"))
        .map(|n| order(ShardId(1 + n % activities), 1 + n / activities));
    let total = orders + u64::from(activities);
    for entry in definitions.chain(placed) {
        assert_eq!(record.push(&[entry]).expect("it fits"), Pushed::Taken);
        events += 1;
        if events % RECORD_EVENTS == 0 || events == total {
            let before = journal.tail();
            let tail = journal.append(&before, &record.seal(&before)).expect("a sound disk");
            record.clear();
            if tail.seq.0 <= total.saturating_sub(SINCE) {
                older = tail;
            }
        }
    }
    (journal, older)
}

fn timed<T>(what: &str, count: u64, run: impl FnOnce() -> T) -> T {
    let (begun, ran) = (Instant::now(), on_processor());
    let result = run();
    let (took, ran) = (begun.elapsed(), on_processor() - ran);
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let rate = count as f64 / took.as_secs_f64() / 1e6;
    println!("{what:<60} {took:>9.2?}, {ran:>9.2?} on the processor, {rate:>6.2} million/s");
    result
}

/// How long this thread has run: on a busy machine less than what has passed.
fn on_processor() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(stat.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or_default())
}

fn image(sales: &Sales, orders: u64) {
    let mut pieces: Vec<Vec<u8>> = Vec::new();
    let encoded: Result<(), Infallible> = timed("encode", orders, || {
        encode(sales, |piece| {
            pieces.push(piece.bytes.to_vec());
            Ok(())
        })
    });
    let Ok(()) = encoded;
    let bytes: usize = pieces.iter().map(Vec::len).sum();
    println!("  {} pieces, {bytes} bytes: {} an order", pieces.len(), bytes as u64 / orders);
    timed("state hash", orders, || state_hash(sales));
    let read = timed("decode, the map of users rebuilt", orders, || {
        let mut decoder = Decoder::whole();
        pieces.iter().for_each(|piece| decoder.take(piece).expect("it was just encoded"));
        decoder.finish().expect("it was just encoded")
    });
    assert!(read == *sales, "J6");
}

fn checkpoints<J: Journal>(journal: &J, older: Tail, orders: u64, memory_bytes: u64) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    std::fs::create_dir(dir.path().join("journal")).expect("a fresh directory");
    let store = Store::of(dir.path());
    let limits = Limits { memory_bytes, share_percent: 100, min_free_bytes: 0 };
    let make = |to: Tail| {
        let stop = AtomicBool::new(false);
        let made = Making::new(&store, journal, limits, &stop).run(to).expect("there is room");
        println!(
            "  {} passes, {} pieces, {} of them new, {} bytes written",
            made.passes, made.pieces.0, made.pieces.1, made.written_bytes
        );
    };
    if older.seq.0 > 0 {
        timed("checkpoint from the beginning, without the last generation", older.seq.0, || make(older));
        timed("start from it, with that generation to replay", orders, || start(&store, journal));
    }
    let before = older.seq.0.max(1);
    timed("checkpoint of all, from that one", orders + 1 - before.min(orders), || make(journal.tail()));
    timed("start from it", orders, || start(&store, journal));
}

fn start<R: Read>(store: &Store, journal: &R) {
    let recovered = recover(store, journal).expect("a sound journal");
    assert!(recovered.passed_over.is_empty() && recovered.from.seq.0 > 0);
}

/// Notes how long after it was due an event was durable.
struct Late(Instant, Arc<Mutex<Vec<Duration>>>);

impl Acknowledge for Late {
    fn durable(self) {
        self.1.lock().expect("nobody panics").push(self.0.elapsed());
    }
}

/// Events come one by one at a steady rate, to a journal on the disk that checkpoints are written to; gives the middle and
/// the 99th percentile of their latency.
fn latencies(handle: &Handle<Late>) -> (Duration, Duration) {
    let late = Arc::new(Mutex::new(Vec::new()));
    let begun = Instant::now();
    for n in 0..HOT_EVENTS {
        let due = begun + HOT_EVERY * n;
        while let Some(wait) = due.checked_duration_since(Instant::now()) {
            thread::sleep(wait);
        }
        let ack = Late(due, Arc::clone(&late));
        handle.submit(Submission { entries: smallvec![order(ShardId(1), n + 1)], ack }).expect("the writer runs");
    }
    while !handle.is_idle() {
        thread::sleep(HOT_EVERY);
    }
    let mut late = late.lock().expect("nobody panics").clone();
    late.sort();
    (late[late.len() / 2], late[late.len() * 99 / 100])
}

/// The hot path alone and beside a thread that makes one checkpoint after the other, in turn.
fn hot_path<J: Journal>(journal: &J) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let options = Options {
        queue_submissions_max: 65_536,
        observe: Box::new(()),
        on_fault: Box::new(|error| panic!("the disk failed: {error}")),
    };
    let live =
        doorbuster::persist::open(dir.path(), &doorbuster::persist::Generations::default()).expect("a new journal");
    let writer = Writer::<Late>::spawn(live, options).expect("a thread can be started");
    let (store, reader) = (Store::of(dir.path()), journal.reader());
    let to = journal.tail();
    for _ in 0..2 {
        println!("alone: middle, p99 {:?}", latencies(&writer.handle()));
        let (stop, made) = (AtomicBool::new(false), AtomicU64::new(0));
        thread::scope(|scope| {
            scope.spawn(|| {
                setpriority_process(None, 10).expect("anybody may be nice");
                let limits = Limits { memory_bytes: 256 << 20, share_percent: 25, min_free_bytes: 0 };
                while let Ok(_made) = Making::new(&store, &reader, limits, &stop).run(to) {
                    made.fetch_add(1, Ordering::Relaxed);
                    // All of it is written again.
                    std::fs::remove_dir_all(dir.path().join("checkpoints")).expect("it was just made");
                }
            });
            let beside = latencies(&writer.handle());
            stop.store(true, Ordering::Relaxed);
            println!("beside {} checkpoints: middle, p99 {beside:?}", made.load(Ordering::Relaxed));
        });
    }
    writer.stop().expect("a sound disk");
}

fn main() {
    // cargo passes `--bench`.
    let orders: u64 = std::env::args().find_map(|word| word.parse().ok()).unwrap_or(1_000_000);
    println!("{orders} orders with a key in one activity");
    let (one, older) = journal(orders, 1);
    let mut sales = Sales::default();
    timed("fold from the beginning", orders, || {
        replay(&one, Tail::START, Seq(u64::MAX), |seq, entry| sales.take(seq, &entry).expect("sound")).expect("sound");
    });
    image(&sales, orders);
    drop(sales);
    checkpoints(&one, older, orders, 256 << 20);
    println!("\n20,000 events a second to a journal on sled, beside checkpoints of {orders} orders");
    hot_path(&one);
    drop(one);
    println!("\n{orders} orders with a key in 100 activities, in passes of 256 MiB");
    let (many, older) = journal(orders, 100);
    checkpoints(&many, older, orders, 256 << 20);
}
