//! What replay and verification say of a journal that was changed behind its back: which record, and what is wrong.

mod journal;

use doorbuster::ids::Seq;
use doorbuster::persist::memory::{DiskFault, MemoryDisk, Tear};
use doorbuster::persist::{Error, Fault, Journal, Tail};
use journal::{append, append_orders, assert_orders, entries, order};

/// A disk with ten records of three orders.
fn written() -> MemoryDisk {
    let disk = MemoryDisk::new();
    append_orders(&mut disk.open().expect("a new journal"), 10);
    disk
}

fn refusal(disk: &MemoryDisk) -> Error {
    disk.open().expect_err("the journal does not add up")
}

#[test]
fn a_missing_record_is_named() {
    let disk = written();
    disk.lose(4);
    assert!(matches!(refusal(&disk), Error::Missing { expected: Seq(13), found: Seq(16) }), "J1");
}

#[test]
fn a_missing_tail_is_named() {
    let disk = written();
    disk.lose(9);
    assert!(matches!(refusal(&disk), Error::TailLost { tail: Seq(27), witness: Seq(30) }), "J3");
}

#[test]
fn a_changed_record_is_named() {
    let disk = written();
    disk.damage(4, |bytes| bytes[70] ^= 1);
    assert!(matches!(refusal(&disk), Error::Damaged { record: Seq(13), fault: Fault::Checksum }), "J2");
}

#[test]
fn a_record_of_a_later_version_is_named() {
    let disk = written();
    disk.damage(4, |bytes| bytes[3] = 9);
    let error = refusal(&disk);
    assert!(matches!(error, Error::Damaged { record: Seq(13), fault: Fault::UnknownVersion { version: 9 } }), "J7");
    assert!(error.to_string().contains("event 13") && error.to_string().contains("version 9"), "{error}");
}

#[test]
fn a_record_that_was_swapped_for_a_sound_one_is_named_by_the_next() {
    let (disk, other) = (written(), MemoryDisk::new());
    let mut journal = other.open().expect("a new journal");
    append_orders(&mut journal, 4);
    append(&mut journal, &[order(90), order(91), order(92)]).expect("a sound disk");
    let mut swapped = Vec::new();
    other.damage(4, |bytes| swapped.clone_from(bytes));
    disk.damage(4, |bytes| *bytes = swapped);
    assert!(matches!(refusal(&disk), Error::Damaged { record: Seq(16), fault: Fault::Unlinked }), "J2");
}

#[test]
fn a_record_in_another_ones_place_is_named() {
    let disk = written();
    let mut fifth = Vec::new();
    disk.damage(4, |bytes| fifth.clone_from(bytes));
    disk.damage(6, |bytes| *bytes = fifth);
    let misfiled = Fault::Misfiled { first: Seq(13) };
    assert!(matches!(refusal(&disk), Error::Damaged { record: Seq(19), fault } if fault == misfiled), "J1");
}

#[test]
fn a_torn_tail_that_was_never_acknowledged_is_lost_in_silence_and_an_acknowledged_one_is_not() {
    for tear in [Tear::Dropped, Tear::Half, Tear::Kept] {
        let disk = written();
        let mut journal = disk.open().expect("it holds");
        disk.fail_after(1, DiskFault::Sync);
        append_orders(&mut journal, 1);
        append(&mut journal, &[order(34)]).expect_err("the disk fails");
        disk.crash(tear);
        assert!(matches!(entries(&journal, Tail::START), Err(Error::Closed)), "the process went with the power");
        let there = 33 + u64::from(tear == Tear::Kept);
        assert_eq!(assert_orders(&disk.open().expect("it holds"), there).seq, Seq(there));
    }
    let disk = written();
    disk.damage(9, |bytes| bytes.truncate(40));
    assert!(matches!(refusal(&disk), Error::TailLost { tail: Seq(27), witness: Seq(30) }), "J3");
}

#[test]
fn a_journal_from_before_a_crash_writes_no_more() {
    let disk = written();
    let mut journal = disk.open().expect("it holds");
    disk.crash(Tear::Dropped);
    assert!(append(&mut journal, &[order(31)]).is_err());
    let mut next = disk.open().expect("it holds");
    append_orders(&mut next, 1);
    assert!(matches!(append(&mut journal, &[order(31)]), Err(Error::Failed)));
    assert_eq!(next.tail().seq, Seq(33));
    assert_eq!(disk.record_count(), 11);
}
