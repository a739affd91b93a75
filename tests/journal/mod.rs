//! What the journal's tests share: entries to write, and ways to read them back.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};

use doorbuster::domain::event::{Entry, Event, HoldsExpired, OrderPlaced};
use doorbuster::domain::slots::Slots;
use doorbuster::ids::{Cents, KeyDigest, Seq, ShardId, SkuIndex, UnixMillis, UserId};
use doorbuster::persist::{
    Acknowledge, Error, Generations, Journal, Pushed, Read, Record, RecordBuilder, SledJournal, Submission, Tail,
    replay,
};

/// The journal in a data directory, in generations of the usual size.
pub fn open(data_dir: &Path) -> Result<SledJournal, Error> {
    doorbuster::persist::open(data_dir, &Generations::default())
}

/// The `n`-th order, as a busy sale writes them.
pub fn order(n: u32) -> Entry {
    let at_ms = 1_790_000_000_000 + u64::from(n / 1000);
    Entry {
        shard: ShardId(1 + n % 4),
        at_ms: UnixMillis(at_ms),
        event: Event::OrderPlaced(OrderPlaced {
            order: n,
            user: UserId(1_000_000 + u64::from(n).wrapping_mul(7919) % 900_000),
            sku: SkuIndex(3),
            slots: Slots::range(n.max(1), 1),
            amount_cents: Cents(19_900),
            expires_at_ms: UnixMillis(at_ms + 900_000),
            key: Some(KeyDigest(u128::from(n).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835).to_be_bytes())),
            reference: None,
        }),
    }
}

/// An entry of about `bytes` bytes.
pub fn large(n: u32, bytes: usize) -> Entry {
    let orders = (0..u32::try_from(bytes / 5).expect("a small number")).map(|i| u32::MAX - i).collect();
    Entry { shard: ShardId(1), at_ms: UnixMillis(u64::from(n)), event: Event::HoldsExpired(HoldsExpired { orders }) }
}

/// Appends one record of `entries`.
pub fn append<J: Journal>(journal: &mut J, entries: &[Entry]) -> Result<Tail, Error> {
    let mut record = RecordBuilder::default();
    assert_eq!(record.push(entries).expect("test entries fit a record"), Pushed::Taken);
    let before = journal.tail();
    journal.append(&before, &record.seal(&before))
}

/// Appends `records` records of three orders each, numbered on from the tail.
pub fn append_orders<J: Journal>(journal: &mut J, records: u32) -> Tail {
    for _ in 0..records {
        let next = u32::try_from(journal.tail().seq.0).expect("a small number") + 1;
        append(journal, &[order(next), order(next + 1), order(next + 2)]).expect("a sound disk");
    }
    journal.tail()
}

/// All entries after `after`, each with its number.
pub fn entries<R: Read>(journal: &R, after: Tail) -> Result<Vec<(Seq, Entry)>, Error> {
    let mut all = Vec::new();
    replay(journal, after, Seq(u64::MAX), |seq, entry| all.push((seq, entry)))?;
    Ok(all)
}

/// Asserts that the journal holds the orders 1 to `count`, and returns its tail.
pub fn assert_orders<R: Read>(journal: &R, count: u64) -> Tail {
    let mut expected = 0;
    let tail = replay(journal, Tail::START, Seq(u64::MAX), |seq, entry| {
        expected += 1;
        assert_eq!(seq, Seq(expected), "J1");
        assert_eq!(entry, order(u32::try_from(expected).expect("a small number")));
    });
    assert_eq!(expected, count);
    tail.expect("J1, J2, J7 hold")
}

/// An acknowledgement that sends its number.
pub struct Ack(pub u64, pub Sender<u64>);

impl Acknowledge for Ack {
    fn durable(self) {
        // A test that no longer listens is no fault of the writer's.
        let _ = self.1.send(self.0);
    }
}

/// A submission of the orders `first` to `first + count - 1`, acknowledged by its first number.
pub fn orders(first: u32, count: u32, acks: &Sender<u64>) -> Submission<Ack> {
    Submission { entries: (first..first + count).map(order).collect(), ack: Ack(u64::from(first), acks.clone()) }
}

/// A channel for [`Ack`]s.
pub fn acks() -> (Sender<u64>, Receiver<u64>) {
    channel()
}

/// Reads on from the record that holds `from`, each checked and no link between them.
pub fn entries_from<R: Read>(journal: &R, from: Seq) -> Result<u64, Error> {
    let mut count = 0;
    journal.read(from, &mut |kept_as, bytes| {
        Record::decode(bytes).map_err(|fault| Error::Damaged { record: kept_as, fault })?;
        count += 1;
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(count)
}
