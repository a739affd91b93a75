//! One contract, every journal. What a [`Journal`] promises is asserted here once and run over each implementation.

mod journal;

use std::ops::ControlFlow;

use doorbuster::ids::Seq;
use doorbuster::persist::memory::{MemoryDisk, MemoryJournal};
use doorbuster::persist::{
    Error, Generations, Journal, RECORD_BYTES_MAX, Read, RecordBuilder, SledJournal, Tail, replay, verify,
};
use journal::{append, append_orders, assert_orders, entries, large, order};

/// Where journals are opened: the same place opens the same journal.
trait Place {
    type Journal: Journal;
    fn open(&self) -> Self::Journal;
}

impl Place for MemoryDisk {
    type Journal = MemoryJournal;
    fn open(&self) -> MemoryJournal {
        MemoryDisk::open(self).expect("what was written holds")
    }
}

/// A data directory, and how large its generations are.
struct OnSled {
    dir: tempfile::TempDir,
    generations: Generations,
}

impl OnSled {
    fn in_generations_of(max_bytes: u64) -> Self {
        let generations = Generations { max_bytes, ..Generations::default() };
        Self { dir: tempfile::tempdir().expect("a temporary directory"), generations }
    }
}

impl Place for OnSled {
    type Journal = SledJournal;
    fn open(&self) -> SledJournal {
        doorbuster::persist::open(self.dir.path(), &self.generations).expect("what was written holds")
    }
}

/// Runs each clause over each journal.
macro_rules! contract {
    ($($clause:ident),* $(,)?) => {
        mod in_memory {
            $(#[test] fn $clause() { super::$clause(&doorbuster::persist::memory::MemoryDisk::new()) })*
        }
        mod on_sled {
            $(#[test] fn $clause() { super::$clause(&super::OnSled::in_generations_of(u64::MAX)) })*
        }
        /// A few records each, so that every clause runs over several, sealed and not.
        mod on_sled_in_small_generations {
            $(#[test] fn $clause() { super::$clause(&super::OnSled::in_generations_of(2_000)) })*
        }
        /// One record each.
        mod on_sled_in_the_smallest_generations {
            $(#[test] fn $clause() { super::$clause(&super::OnSled::in_generations_of(1)) })*
        }
    };
}

contract![
    a_new_journal_is_empty,
    what_was_appended_is_read_back_after_a_clean_stop,
    what_was_appended_is_read_back_after_an_unclean_stop,
    an_append_after_another_tail_is_refused_and_final,
    a_record_made_for_another_tail_is_refused,
    reading_begins_with_the_record_that_holds_the_event,
    reading_ends_when_told,
    a_replay_goes_no_further_than_asked,
    a_replay_continues_from_a_tail_and_no_other,
    a_reader_reads_while_the_journal_is_written_and_not_after_its_close,
    the_largest_records_are_kept,
];

fn a_new_journal_is_empty<P: Place>(place: &P) {
    let journal = place.open();
    assert_eq!(journal.tail(), Tail::START);
    assert_eq!(entries(&journal, Tail::START).expect("an empty journal holds"), []);
}

fn what_was_appended_is_read_back_after_a_clean_stop<P: Place>(place: &P) {
    for round in 0..3 {
        let mut journal = place.open();
        let tail = append_orders(&mut journal, 40);
        assert_eq!(tail.seq, Seq(120 * (round + 1)));
        assert_eq!(assert_orders(&journal, tail.seq.0), tail);
        journal.close().expect("a sound disk");
        let journal = place.open();
        assert_eq!(journal.tail(), tail);
        journal.close().expect("a sound disk");
    }
    assert_orders(&place.open(), 360);
}

fn what_was_appended_is_read_back_after_an_unclean_stop<P: Place>(place: &P) {
    for round in 0..3 {
        let mut journal = place.open();
        let tail = append_orders(&mut journal, 40);
        assert_eq!(tail.seq, Seq(120 * (round + 1)));
        drop(journal);
    }
    let journal = place.open();
    assert_eq!(assert_orders(&journal, 360), journal.tail());
}

fn an_append_after_another_tail_is_refused_and_final<P: Place>(place: &P) {
    let mut journal = place.open();
    let tail = append_orders(&mut journal, 1);
    let mut record = RecordBuilder::default();
    record.push(&[order(4)]).expect("it fits");
    let record = record.seal(&tail);
    assert!(matches!(journal.append(&Tail::START, &record), Err(Error::TailMoved { .. })));
    assert!(matches!(journal.append(&tail, &record), Err(Error::Failed)), "an error is final");
    drop(journal);
    assert_orders(&place.open(), 3);
}

fn a_record_made_for_another_tail_is_refused<P: Place>(place: &P) {
    let mut journal = place.open();
    let tail = append_orders(&mut journal, 1);
    let mut record = RecordBuilder::default();
    record.push(&[order(4)]).expect("it fits");
    let record = record.seal(&Tail { hash: Tail::START.hash, ..tail });
    assert!(matches!(journal.append(&tail, &record), Err(Error::TailMoved { .. })), "J2");
}

fn reading_begins_with_the_record_that_holds_the_event<P: Place>(place: &P) {
    let mut journal = place.open();
    append_orders(&mut journal, 20);
    for (from, first) in [(0, 1), (1, 1), (3, 1), (4, 4), (6, 4), (58, 58), (60, 58), (61, 58), (u64::MAX, 58)] {
        let mut seen = Vec::new();
        let read = journal.read(Seq(from), &mut |seq, _| {
            seen.push(seq.0);
            Ok(ControlFlow::Continue(()))
        });
        read.expect("a sound disk");
        assert_eq!(seen, (first..=58).step_by(3).collect::<Vec<_>>(), "from event {from}");
    }
}

fn reading_ends_when_told<P: Place>(place: &P) {
    let mut journal = place.open();
    append_orders(&mut journal, 5);
    let mut seen = 0;
    let read = journal.read(Seq(1), &mut |_, _| {
        seen += 1;
        Ok(if seen == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    });
    read.expect("a sound disk");
    assert_eq!(seen, 2);
    assert!(matches!(journal.read(Seq(1), &mut |_, _| Err(Error::Closed)), Err(Error::Closed)));
}

fn a_replay_goes_no_further_than_asked<P: Place>(place: &P) {
    let mut journal = place.open();
    append_orders(&mut journal, 5);
    let mut last = Seq(0);
    let tail = replay(&journal, Tail::START, Seq(6), |seq, _| last = seq).expect("a sound disk");
    assert_eq!((last, tail.seq), (Seq(6), Seq(6)));
    assert_eq!(entries(&journal, tail).expect("a sound disk").len(), 9);
}

fn a_replay_continues_from_a_tail_and_no_other<P: Place>(place: &P) {
    let mut journal = place.open();
    let early = append_orders(&mut journal, 2);
    let late = append_orders(&mut journal, 2);
    assert_eq!(entries(&journal, late).expect("nothing comes after"), []);
    assert_eq!(verify(&journal, &[early, late]).expect("both were tails"), late);
    let other = Tail { hash: late.hash, ..early };
    assert!(matches!(entries(&journal, other), Err(Error::Forked { witness: Seq(6) })), "J2");
    assert!(matches!(verify(&journal, &[other]), Err(Error::Forked { witness: Seq(6) })), "J3");
    let beyond = Tail { seq: Seq(13), ..late };
    assert!(matches!(entries(&journal, beyond), Err(Error::TailLost { tail: Seq(12), witness: Seq(13) })), "J3");
    let lost = verify(&journal, &[beyond]);
    assert!(matches!(lost, Err(Error::TailLost { tail: Seq(12), witness: Seq(13) })), "J3");
}

fn a_reader_reads_while_the_journal_is_written_and_not_after_its_close<P: Place>(place: &P) {
    let mut journal = place.open();
    let reader = journal.reader();
    append_orders(&mut journal, 2);
    assert_orders(&reader, 6);
    append_orders(&mut journal, 2);
    assert_orders(&reader, 12);
    journal.close().expect("a sound disk");
    assert!(matches!(entries(&reader, Tail::START), Err(Error::Closed)));
}

fn the_largest_records_are_kept<P: Place>(place: &P) {
    let mut journal = place.open();
    // Enough that a leaf of sled holds nothing else: together they must stay below a quarter of its segment.
    let bytes = RECORD_BYTES_MAX - 4096;
    for n in 0..60 {
        append(&mut journal, &[large(n, bytes)]).expect("records of the largest size are kept");
    }
    drop(journal);
    let all = entries(&place.open(), Tail::START).expect("they hold");
    assert_eq!(all.len(), 60);
    assert!(all.iter().zip(0..).all(|((_, entry), n)| *entry == large(n, bytes)));
}
