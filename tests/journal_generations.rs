//! A journal goes on in a fresh generation when one is full, seals the full one, and is found again in order at any start.

#[path = "journal/generations.rs"]
mod generations;
mod journal;

use std::fs;
use std::ops::ControlFlow;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use doorbuster::ids::Seq;
use doorbuster::persist::{
    Error, Generations, Journal, Read, Record, Tail, open_copy_read_only, replay, unsealed_bytes,
};
use generations::{Data, SMALL, copy_dir, overwrite, records_of, replace, until, wait_until_sealed};
use journal::{append, append_orders, assert_orders, large, order};

const LARGE_BYTES: usize = 180 << 10;

#[test]
fn a_full_generation_becomes_one_read_only_file_and_what_sled_had_of_it_goes() {
    let data = Data::new();
    let mut journal = data.open();
    let tail = append_orders(&mut journal, 60);
    let sealed = wait_until_sealed(&data, &journal);
    assert!(data.count(".log") > 5 && Seq(0) < sealed.seq && sealed.seq < tail.seq, "{:?}", data.names());
    for number in 1..=u32::try_from(data.count(".log")).expect("few") {
        let meta = fs::metadata(data.sealed(number)).expect("they are numbered from 1");
        assert_eq!(meta.permissions().mode() & 0o777, 0o444);
        assert!(!data.in_sled(number).exists());
        let bytes = fs::read(data.sealed(number)).expect("it can be read");
        let records: usize = records_of(&bytes).iter().map(|(_, start, end)| end - start).sum();
        let one = records / records_of(&bytes).len();
        let max = usize::try_from(SMALL.max_bytes).expect("small");
        assert!((max - one - 50..=max).contains(&records), "it is full and no fuller: {records}");
    }
    assert_eq!(assert_orders(&journal, 180), tail);
    assert_eq!(journal.reader().sealed_tail().expect("it is open"), sealed);
    assert_eq!(niceness_of("sealer"), Some(10), "it yields to the sale");
    journal.close().expect("a sound disk");
    let journal = data.open();
    assert_eq!((journal.tail(), journal.sealed_tail()), (tail, sealed), "found again in order");
    assert_orders(&journal, 180);
}

/// How nice a thread of this name is.
fn niceness_of(name: &str) -> Option<i32> {
    let tasks = fs::read_dir("/proc/self/task").expect("Linux");
    let stats = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("stat")).ok());
    // Other tests have theirs, and one may have started just now.
    let named = stats.filter(|stat| stat.contains(&format!("({name})")));
    named.filter_map(|stat| stat.rsplit(") ").next()?.split(' ').nth(16)?.parse().ok()).max()
}

#[test]
fn a_reader_loses_and_repeats_nothing_while_generations_are_switched_and_sealed_under_it() {
    const RECORDS: u32 = 600;
    let data = Data::new();
    let mut journal = data.open();
    let (durable, done, sealed_under) = (AtomicU64::new(0), AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        for from in [0, 1, 2] {
            let (reader, durable, done, sealed_under) = (journal.reader(), &durable, &done, &sealed_under);
            scope.spawn(move || {
                let mut start = Tail::START;
                loop {
                    let is_last = done.load(Ordering::Acquire);
                    let until = durable.load(Ordering::Acquire);
                    let (before, mut expected) = (reader.sealed_tail().expect("it is open"), start.seq.0);
                    let reached = replay(&reader, start, Seq(until), |seq, entry| {
                        expected += 1;
                        assert_eq!((seq.0, entry), (expected, order(u32::try_from(expected).expect("few"))));
                    });
                    let reached = reached.expect("whatever is switched or sealed meanwhile");
                    assert_eq!(reached.seq.0, until, "all that was durable when it was asked is there");
                    if reader.sealed_tail().expect("it is open") != before {
                        sealed_under.fetch_add(1, Ordering::Relaxed);
                    }
                    // One from the beginning each time, one on from where it was, one now and then from the beginning.
                    start = if from == 1 || (from == 2 && until % 7 != 0) { reached } else { Tail::START };
                    if is_last {
                        return;
                    }
                }
            });
        }
        for _ in 0..RECORDS {
            let tail = append_orders(&mut journal, 1);
            durable.store(tail.seq.0, Ordering::Release);
        }
        done.store(true, Ordering::Release);
    });
    assert!(sealed_under.into_inner() > 20, "generations were sealed under the readers");
    assert_orders(&journal, u64::from(RECORDS) * 3);
}

/// The reader takes its records in pieces of about a MiB, so that it is in the middle of a generation between two.
#[test]
fn a_reader_in_the_middle_of_a_generation_goes_on_in_its_sealed_file() {
    let data = Data::of(Generations { max_bytes: 2 << 20, ..SMALL });
    let mut journal = data.open();
    for n in 0..9 {
        append(&mut journal, &[large(n, LARGE_BYTES)]).expect("a sound disk");
    }
    let reader = journal.reader();
    let mut seen = Vec::new();
    let read = reader.read(Seq(1), &mut |seq, _| {
        seen.push(seq.0);
        if seq == Seq(2) {
            assert!(!data.sealed(1).exists(), "it is still in sled");
            for n in 9..30 {
                append(&mut journal, &[large(n, LARGE_BYTES)]).expect("a sound disk");
            }
            until("the generation under the reader is gone", || {
                data.sealed(1).exists() && !data.in_sled(1).exists() && !data.journal("gen-00000001.partial").exists()
            });
        }
        Ok(ControlFlow::Continue(()))
    });
    read.expect("sealing is nothing to a reader");
    assert_eq!(seen, (1..=30).collect::<Vec<_>>());
}

#[test]
fn reading_begins_at_any_event_of_a_sealed_generation() {
    let data = Data::of(Generations { max_bytes: 1 << 20, ..SMALL });
    let mut journal = data.open();
    for n in 0..300 {
        append(&mut journal, &[large(n, 4_000), large(n, 100)]).expect("a sound disk");
    }
    until("one is sealed", || journal.sealed_tail() != Tail::START);
    for from in 1..=600 {
        let mut first = None;
        let read = journal.read(Seq(from), &mut |seq, bytes| {
            assert_eq!(Record::decode(bytes).expect("it holds").first(), seq);
            first = Some(seq.0);
            Ok(ControlFlow::Break(()))
        });
        read.expect("a sound disk");
        assert_eq!(first, Some(from - (from - 1) % 2), "from event {from}");
    }
}

#[test]
fn a_generation_that_cannot_be_sealed_is_no_fault_and_is_sealed_later() {
    let data = Data::new();
    let mut journal = data.open();
    // Nothing can be renamed to where a directory stands.
    fs::create_dir(data.sealed(1)).expect("it can be made");
    append_orders(&mut journal, 30);
    until("it is told of", || journal.reader().seal_trouble().expect("it is open").is_some());
    let trouble = journal.reader().seal_trouble().expect("it is open").expect("it cannot be sealed");
    assert_eq!(trouble.path, data.sealed(1));
    assert!(!trouble.message.is_empty() && data.in_sled(1).exists() && journal.sealed_tail() == Tail::START);
    append_orders(&mut journal, 30);
    assert_orders(&journal, 180);
    let unsealed = unsealed_bytes(data.dir()).expect("it can be listed");
    fs::remove_dir(data.sealed(1)).expect("nothing took its place");
    wait_until_sealed(&data, &journal);
    assert!(data.count(".log") > 5, "and those that waited after it");
    assert!(unsealed_bytes(data.dir()).expect("it can be listed") < unsealed / 2, "sealed ones are not copied");
    assert_orders(&journal, 180);
}

#[test]
fn generations_that_were_not_sealed_before_the_stop_are_sealed_after_it() {
    for clean in [false, true] {
        let data = Data::with_unsealed(30, clean);
        assert_eq!((data.count(".log"), data.in_sled(2).exists()), (0, true), "{:?}", data.names());
        let mut before = data.names();
        let copy = open_copy_read_only(data.dir()).expect("it adds up");
        assert_orders(&copy, 90);
        drop(copy);
        assert_eq!(data.names(), before, "an audit changes nothing");
        let mut journal = data.open();
        assert_orders(&journal, 90);
        append_orders(&mut journal, 20);
        wait_until_sealed(&data, &journal);
        assert_orders(&journal, 150);
        journal.close().expect("a sound disk");
        before.retain(|name| name.starts_with("aside-"));
        assert!(before.is_empty() && data.count(".log") > 6, "{:?}", data.names());
        assert_orders(&data.open(), 150);
    }
}

#[test]
fn damage_in_any_generation_that_is_not_sealed_is_refused_by_its_name() {
    for clean in [false, true] {
        for number in 1..=3 {
            let data = Data::with_unsealed(20, clean);
            let db = data.in_sled(number).join("db");
            let bytes = fs::read(&db).expect("it is there");
            // Its last record, so that the generation ends early and only the next one tells.
            let at = bytes.windows(4).rposition(|window| window == b"DBJ\x01").expect("a record is in the log");
            overwrite(&db, at + 60, &[0xFF; 4]);
            let error = data.refusal();
            let Error::Refused { journal, aside, source } = &error else { panic!("{error}") };
            assert_eq!(*journal, data.in_sled(number), "clean {clean}: {error}");
            assert!(aside.exists() && source.is_damage(), "{error}");
            assert!(data.refusal().is_damage(), "a second start is no wiser");
            assert!(open_copy_read_only(data.dir()).expect_err("nor is an audit").is_damage());
            // The repair that the message asks for: from the copy.
            overwrite(&aside.join("db"), at + 60, &bytes[at + 60..at + 64]);
            let copy = open_copy_read_only(data.dir()).expect("an audit reads what was set aside");
            assert_orders(&copy, 60);
            assert_orders(&data.open(), 60);
        }
    }
}

#[test]
fn a_witness_from_before_a_switch_is_found_in_its_generation() {
    for unsealed in [false, true] {
        let make = || if unsealed { Data::with_unsealed(20, false) } else { Data::with_sealed(20) };
        // What the witness was after a few records, as a power cut can leave it.
        let (data, early, foreign) = (make(), Data::new(), Data::new());
        append_orders(&mut early.open(), 3);
        replace(&data.journal("witness"), &fs::read(early.journal("witness")).expect("it is there"));
        assert_orders(&data.open(), 60);
        // A tail with that number, of another journal; and a number at which no record ends.
        let mut journal = foreign.open();
        for n in 1..=3 {
            append(&mut journal, &[order(70 + n), order(n), order(n)]).expect("a sound disk");
        }
        drop(journal);
        let data = make();
        replace(&data.journal("witness"), &fs::read(foreign.journal("witness")).expect("it is there"));
        let error = data.refusal();
        let is_forked = |error: &Error| matches!(error, Error::Forked { witness: Seq(9) });
        assert!(
            matches!(&error, Error::Refused { source, .. } if is_forked(source)) || is_forked(&error),
            "J3: {error}"
        );
        assert!(open_copy_read_only(data.dir()).is_err(), "J3");
        append(&mut foreign.open(), &[order(1)]).expect("a sound disk");
        let data = make();
        replace(&data.journal("witness"), &fs::read(foreign.journal("witness")).expect("it is there"));
        assert!(data.refusal().to_string().contains("event 10"), "J3");
    }
}

#[test]
fn what_a_crash_leaves_half_done_is_finished_or_removed() {
    // Between the sealed file's name and the end of what sled had.
    let data = Data::with_unsealed(40, false);
    let kept = tempfile::tempdir().expect("a temporary directory");
    copy_dir(&data.in_sled(1), kept.path());
    let journal = data.open();
    let sealed = wait_until_sealed(&data, &journal);
    drop(journal);
    copy_dir(kept.path(), &data.in_sled(1));
    copy_dir(kept.path(), &data.journal("gen-00000002.partial"));
    for name in ["gen-00000001.log.partial", "gen-00000009.log.partial", "aside-gen-00000002.partial"] {
        fs::write(data.journal(name), b"half").expect("it can be written");
    }
    let copy = open_copy_read_only(data.dir()).expect("an audit passes over them");
    assert_orders(&copy, 120);
    let journal = data.open();
    assert_eq!(journal.sealed_tail(), sealed);
    assert_orders(&journal, 120);
    assert!(!data.in_sled(1).exists() && !data.names().iter().any(|name| name.ends_with(".partial")));
    drop(journal);

    // The same, with a record of the sealed file spoilt: then sled's is all there is.
    copy_dir(kept.path(), &data.in_sled(1));
    let bytes = fs::read(data.sealed(1)).expect("it is there");
    overwrite(&data.sealed(1), 300, &[bytes[300] ^ 1]);
    assert!(matches!(data.refusal(), Error::Damaged { .. }));
    assert!(data.in_sled(1).exists(), "it is not removed before all of the file was read");
}

#[test]
fn a_next_generation_that_was_made_ahead_is_not_taken_for_a_loss_nor_for_the_live_one() {
    let data = Data::of(Generations { max_bytes: 66_000, ..SMALL });
    let mut journal = data.open();
    append_orders(&mut journal, 200);
    until("the next one is made ahead", || data.in_sled(2).join("db").exists());
    drop(journal);
    assert_orders(&open_copy_read_only(data.dir()).expect("it adds up"), 600);
    let mut journal = data.open();
    assert!(!data.in_sled(2).exists(), "the one before it goes on");
    assert_eq!(append_orders(&mut journal, 20).seq, Seq(660));
    until("it is made again", || data.in_sled(2).join("db").exists());
    journal.close().expect("a sound disk");
    assert!(!data.in_sled(2).exists(), "a clean stop leaves none");
    assert_orders(&data.open(), 660);
}

/// A kill between going on in a fresh generation and the first record there, and what was before is sealed by then.
#[test]
fn an_empty_live_generation_after_sealed_ones_goes_on() {
    for clean in [false, true] {
        let (data, fresh) = (Data::with_sealed(40), Data::new());
        drop(fresh.open());
        let live = u32::try_from(data.count(".log")).expect("few") + 1;
        fs::remove_dir_all(data.in_sled(live)).expect("it is there");
        copy_dir(&fresh.in_sled(1), &data.in_sled(live));
        replace(&data.journal("witness"), b"");
        let mut journal = data.open();
        let tail = journal.tail();
        assert!(tail == journal.sealed_tail() && tail.seq > Seq(90), "{tail:?}");
        for from in [tail.seq.0, tail.seq.0 + 1, u64::MAX] {
            let mut seen = Vec::new();
            let read = journal.read(Seq(from), &mut |seq, _| {
                seen.push(seq.0);
                Ok(ControlFlow::Continue(()))
            });
            read.expect("a sound disk");
            assert_eq!(seen, [tail.seq.0 - 2], "the last record there is, from event {from}");
        }
        if clean {
            journal.close().expect("a sound disk");
            journal = data.open();
            assert_eq!(journal.tail(), tail);
        }
        append_orders(&mut journal, 10);
        assert_orders(&journal, tail.seq.0 + 30);
    }
}

/// Everything that the version before wrote, as it wrote it: one directory, and a mark whose digest is that of its files.
#[test]
fn a_data_directory_of_the_version_before_opens_as_it_was() {
    use std::os::unix::fs::MetadataExt;
    let data = Data::of(Generations { max_bytes: u64::MAX, ..SMALL });
    let mut journal = data.open();
    let tail = append_orders(&mut journal, 40);
    journal.close().expect("a sound disk");
    let mut mark = b"DBCLEAN1".to_vec();
    mark.extend_from_slice(&tail.seq.0.to_be_bytes());
    mark.extend_from_slice(&tail.hash.0);
    mark.extend_from_slice(&digest_as_before(&data.in_sled(1)));
    let check = blake3::hash(&mark);
    mark.extend_from_slice(&check.as_bytes()[..16]);
    replace(&data.journal("clean"), &mark);
    assert_eq!(data.names(), ["clean", "gen-00000001", "witness"]);
    let db = data.in_sled(1).join("db");
    let inode = || fs::metadata(&db).expect("it is there").ino();
    let before = inode();
    let data = data.in_generations(SMALL);
    let mut journal = data.open();
    assert_eq!(inode(), before, "nothing is copied");
    assert_eq!(assert_orders(&journal, 120), tail);
    // It is larger than a generation may be by now.
    append_orders(&mut journal, 1);
    until("it is sealed", || journal.sealed_tail() == tail && !data.in_sled(1).exists());
    assert_orders(&journal, 123);
}

/// As the version before computed it.
fn digest_as_before(dir: &std::path::Path) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    let mut paths: Vec<_> =
        fs::read_dir(dir).expect("it is there").map(|entry| entry.expect("listed").path()).collect();
    paths.sort();
    for path in paths {
        let name = path.file_name().expect("it has one").as_encoded_bytes();
        hasher.update(&(name.len() as u64).to_be_bytes()).update(name);
        if path.is_dir() {
            hasher.update(&digest_as_before(&path));
        } else {
            let bytes = fs::read(&path).expect("it can be read");
            hasher.update(&(bytes.len() as u64).to_be_bytes()).update(&bytes);
        }
    }
    *hasher.finalize().as_bytes()
}

#[test]
fn a_clean_stop_waits_for_what_is_sealed_quickly() {
    let data = Data::of(Generations { max_bytes: 2 << 20, seal_retry: Duration::from_secs(3_600) });
    let mut journal = data.open();
    // The last one is too much for the first generation.
    for n in 0..12 {
        append(&mut journal, &[large(n, LARGE_BYTES)]).expect("a sound disk");
    }
    journal.close().expect("a sound disk");
    assert_eq!(data.names(), ["clean", "gen-00000001.log", "gen-00000002", "witness"]);
}
