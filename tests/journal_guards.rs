//! Each guard around sled, by what it is for. Without its guard, each of these fails.

mod journal;

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use doorbuster::ids::Seq;
use doorbuster::persist::{Error, Journal, Tail, open_copy_read_only};
use journal::{append, append_orders, assert_orders, open, order};
use tempfile::TempDir;

/// A data directory and the paths in it that the tests lay hands on.
struct Data(TempDir);

impl Data {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary directory"))
    }

    fn dir(&self) -> &Path {
        self.0.path()
    }

    fn journal(&self, name: &str) -> PathBuf {
        self.dir().join("journal").join(name)
    }

    fn generation(&self) -> PathBuf {
        self.journal("gen-00000001")
    }

    fn db(&self) -> PathBuf {
        self.generation().join("db")
    }

    fn aside(&self) -> PathBuf {
        self.journal("aside-gen-00000001")
    }

    /// Writes `records` records of three orders more and stops as a kill does.
    fn write_and_die(&self, records: u32) -> Tail {
        append_orders(&mut open(self.dir()).expect("a sound journal"), records)
    }

    /// The same, and stops cleanly.
    fn write_and_stop(&self, records: u32) -> Tail {
        let mut journal = open(self.dir()).expect("a sound journal");
        let tail = append_orders(&mut journal, records);
        journal.close().expect("a sound disk");
        tail
    }

    /// Spoils the bytes around the middle of the first order's record, and returns the file as it is then.
    fn damage_first_record(&self) -> Vec<u8> {
        let bytes = fs::read(self.db()).expect("the file is there");
        let at = bytes.windows(4).position(|window| window == b"DBJ\x01").expect("a record is in the log");
        overwrite(&self.db(), at + 60, &[0xFF; 4]);
        fs::read(self.db()).expect("the file is there")
    }

    /// The events that the witness's slots note.
    fn noted(&self) -> [u64; 2] {
        let witness = fs::read(self.journal("witness")).expect("it is there");
        [0, 4096].map(|slot| u64::from_be_bytes(witness[slot + 8..slot + 16].try_into().expect("eight bytes")))
    }

    fn refusal(&self) -> Error {
        open(self.dir()).expect_err("the journal does not add up")
    }
}

fn overwrite(path: &Path, at: usize, bytes: &[u8]) {
    let file = OpenOptions::new().write(true).open(path).expect("the file is there");
    file.write_all_at(bytes, at as u64).expect("it can be written");
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("it can be made");
    for entry in fs::read_dir(from).expect("it is there") {
        let entry = entry.expect("it can be listed");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("it can be copied");
        }
    }
}

/// The names and bytes of all files.
fn contents(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).expect("it is there") {
        let path = entry.expect("it can be listed").path();
        if path.is_dir() {
            all.extend(contents(&path));
        } else {
            all.push((path.clone(), fs::read(&path).expect("it can be read")));
        }
    }
    all.sort();
    all
}

#[test]
fn damage_after_an_unclean_stop_is_refused_by_record_and_the_copy_is_kept_through_every_further_start() {
    let data = Data::new();
    let tail = data.write_and_die(30);
    let sound = Data::new();
    copy_dir(&data.generation(), &sound.generation());
    let damaged = data.damage_first_record();
    for start in 1..=3 {
        let error = data.refusal();
        let Error::Refused { aside, source, .. } = &error else { panic!("start {start}: {error}") };
        assert_eq!(*aside, data.aside());
        assert!(error.to_string().contains("event 1"), "the record is named: {error}");
        assert!(error.to_string().contains(&aside.display().to_string()), "the copy is named: {error}");
        let lost = matches!(**source, Error::TailLost { .. } | Error::Missing { .. } | Error::Damaged { .. });
        assert!(lost, "start {start}: {source}");
        let kept = fs::read(aside.join("db")).expect("the copy is kept");
        assert!(kept == damaged, "start {start} left the copy as the stop left the journal");
    }
    // The operator's mend: the journal from a backup. The copy goes once all adds up.
    fs::remove_dir_all(data.generation()).expect("it is there");
    copy_dir(&sound.generation(), &data.generation());
    assert_eq!(assert_orders(&open(data.dir()).expect("all adds up"), 90), tail);
    assert!(!data.aside().exists());
}

/// sled has made a snapshot by then, and does not open at all when the snapshot leads it to the damage.
#[test]
fn damage_is_named_by_its_record_even_where_sled_has_a_snapshot() {
    let data = Data::new();
    data.write_and_stop(30);
    data.write_and_die(30);
    let snapshot = |entry: fs::DirEntry| entry.file_name().to_string_lossy().starts_with("snap.");
    let mut files = fs::read_dir(data.generation()).expect("it is there");
    assert!(files.any(|entry| snapshot(entry.expect("it can be listed"))), "the case is the one meant");
    data.damage_first_record();
    let refusal = data.refusal().to_string();
    assert!(refusal.contains("event 1"), "the record is named: {refusal}");
    let audited = open_copy_read_only(data.dir()).expect_err("it does not add up").to_string();
    assert!(audited.contains("event 1"), "to the audit as well: {audited}");
}

/// The pages of the files that were found may have failed to reach the disk and read well all the same.
#[test]
fn after_an_unclean_stop_the_journal_goes_on_in_files_written_afresh() {
    use std::os::unix::fs::MetadataExt;
    let data = Data::new();
    let file = || fs::metadata(data.db()).expect("it is there").ino();
    data.write_and_stop(3);
    let clean = file();
    data.write_and_die(3);
    assert_eq!(file(), clean, "after a clean stop they are gone on with");
    drop(open(data.dir()).expect("a sound journal"));
    assert_ne!(file(), clean);
}

#[test]
fn a_sound_journal_leaves_no_copy_behind() {
    let data = Data::new();
    data.write_and_die(3);
    data.write_and_die(3);
    assert!(!data.aside().exists());
    fs::create_dir(data.journal("aside-gen-00000001.partial")).expect("it can be made");
    drop(open(data.dir()).expect("a copy that was cut short is of no worth"));
    assert!(!data.journal("aside-gen-00000001.partial").exists());
}

#[test]
fn a_copy_that_was_cut_short_is_not_taken_for_one() {
    let data = Data::new();
    data.write_and_die(3);
    // What cannot be copied, behind all that can.
    let dangling = data.generation().join("zz");
    std::os::unix::fs::symlink("nowhere", &dangling).expect("it can be made");
    assert!(matches!(data.refusal(), Error::Io { doing: "copying", .. }));
    assert!(!data.aside().exists(), "half a copy has another name");
    fs::remove_file(dangling).expect("it is there");
    assert_orders(&open(data.dir()).expect("a sound journal"), 9);
}

#[test]
fn a_start_that_was_killed_while_sled_opened_is_made_good_from_the_copy() {
    let data = Data::new();
    data.write_and_die(30);
    copy_dir(&data.generation(), &data.aside());
    // What sled can leave half way: worse than it ever does.
    fs::write(data.db(), b"half").expect("it can be written");
    assert_orders(&open(data.dir()).expect("the copy has it all"), 90);
    assert!(!data.aside().exists());

    data.write_and_die(10);
    fs::rename(data.generation(), data.aside()).expect("it can be renamed");
    // Not even without a witness may an empty generation be taken for the journal.
    fs::write(data.journal("witness"), b"").expect("it can be written");
    assert_orders(&open(data.dir()).expect("the copy has it all"), 120);
}

#[test]
fn an_unfinished_snapshot_does_not_stop_the_next_start() {
    let data = Data::new();
    data.write_and_die(3);
    fs::write(data.generation().join("snap.00000000FFFFFFFF.generating"), b"half").expect("it can be written");
    assert_orders(&open(data.dir()).expect("sled would have failed on it"), 9);
}

#[test]
fn a_journal_whose_tail_is_gone_is_refused_with_both_numbers() {
    for clean in [false, true] {
        let data = Data::new();
        data.write_and_stop(10);
        let early = Data::new();
        copy_dir(&data.generation(), &early.generation());
        if clean {
            data.write_and_stop(5)
        } else {
            data.write_and_die(5)
        };
        fs::remove_dir_all(data.generation()).expect("it is there");
        copy_dir(&early.generation(), &data.generation());
        let error = data.refusal().to_string();
        assert!(error.contains("ends at event 30") && error.contains("event 45 was durable"), "{error}");
    }
}

#[test]
fn a_journal_put_back_to_an_earlier_clean_stop_is_refused() {
    let data = Data::new();
    data.write_and_stop(10);
    let early = Data::new();
    copy_dir(&data.generation(), &early.generation());
    let mark = fs::read(data.journal("clean")).expect("it is there");
    data.write_and_stop(5);
    fs::remove_dir_all(data.generation()).expect("it is there");
    copy_dir(&early.generation(), &data.generation());
    fs::write(data.journal("clean"), mark).expect("it can be written");
    for _ in 0..2 {
        let error = data.refusal().to_string();
        assert!(error.contains("ends at event 30") && error.contains("event 45 was durable"), "{error}");
    }
}

#[test]
fn a_journal_that_is_not_the_one_that_was_acknowledged_is_refused() {
    let (data, other) = (Data::new(), Data::new());
    data.write_and_die(10);
    let mut journal = open(other.dir()).expect("a new journal");
    for n in 0..30 {
        append(&mut journal, &[order(1000 + n)]).expect("a sound disk");
    }
    drop(journal);
    fs::remove_dir_all(data.generation()).expect("it is there");
    copy_dir(&other.generation(), &data.generation());
    let Error::Refused { source, .. } = data.refusal() else { panic!("J3") };
    assert!(matches!(*source, Error::Forked { witness: Seq(30) }), "{source}");
}

#[test]
fn a_journal_that_is_gone_is_not_begun_anew() {
    let data = Data::new();
    data.write_and_die(10);
    fs::remove_dir_all(data.generation()).expect("it is there");
    assert!(matches!(data.refusal(), Error::TailLost { tail: Seq(0), witness: Seq(30) }));
    assert!(!data.generation().exists());
}

#[test]
fn a_torn_witness_has_another_slot_and_a_lost_one_is_refused() {
    let data = Data::new();
    data.write_and_die(10);
    let witness = data.journal("witness");
    let whole = fs::read(&witness).expect("it is there");
    let early = Data::new();
    copy_dir(&data.generation(), &early.generation());
    for slot in [0, 4096] {
        overwrite(&witness, slot + 20, &[0xFF; 8]);
        assert_orders(&open(data.dir()).expect("the other slot is whole"), 30);
        fs::write(&witness, &whole).expect("it can be written");
    }
    overwrite(&witness, 20, &[0xFF; 8]);
    overwrite(&witness, 4096 + 20, &[0xFF; 8]);
    assert!(matches!(data.refusal(), Error::WitnessLost { path } if path == witness), "both slots are spoilt");
    fs::remove_file(&witness).expect("it is there");
    assert!(matches!(data.refusal(), Error::WitnessLost { path } if path == witness), "it is gone");
    fs::write(&witness, b"").expect("it can be written");
    assert_orders(&open(data.dir()).expect("the operator takes the journal as it stands"), 30);
    assert_eq!(fs::read(&witness).expect("it is there").len(), 4096 + 64, "and from here on it has a witness");
}

#[test]
fn the_witness_is_exact_after_a_kill() {
    let data = Data::new();
    let tail = data.write_and_die(7);
    let noted = data.noted();
    assert_eq!(noted.into_iter().max(), Some(tail.seq.0));
    assert_eq!(noted[0].abs_diff(noted[1]), 3, "the slots are written in turn");
}

#[test]
fn damage_after_a_clean_stop_is_seen_before_sled_writes_over_it() {
    let data = Data::new();
    data.write_and_stop(30);
    let damaged = data.damage_first_record();
    let error = data.refusal();
    assert!(error.to_string().contains("event 1"), "{error}");
    assert!(fs::read(data.aside().join("db")).expect("the copy is kept") == damaged);
    // The mark is evidence until all adds up: alone it tells as much.
    fs::remove_file(data.journal("witness")).expect("it is there");
    assert!(matches!(data.refusal(), Error::Refused { .. }), "a further start is no wiser");
}

#[test]
fn a_clean_stop_is_marked_and_the_mark_goes_with_the_next_start() {
    let data = Data::new();
    data.write_and_stop(3);
    assert!(data.journal("clean").exists());
    fs::remove_file(data.journal("witness")).expect("it is there");
    let journal = open(data.dir()).expect("the mark is as good as a witness");
    assert!(!data.journal("clean").exists(), "the next stop is unclean until it is clean");
    assert_orders(&journal, 9);
    drop(journal);
    // A power cut after a clean stop can leave the witness as it was before.
    let data = Data::new();
    data.write_and_die(3);
    let early = fs::read(data.journal("witness")).expect("it is there");
    let tail = data.write_and_stop(3);
    fs::write(data.journal("witness"), early).expect("it can be written");
    let journal = open(data.dir()).expect("the mark is ahead of the witness");
    assert_eq!(assert_orders(&journal, 18), tail);
    drop(journal);
    fs::write(data.journal("clean"), b"torn").expect("it can be written");
    assert_orders(&open(data.dir()).expect("a torn mark is none"), 18);
}

#[test]
fn a_value_outside_the_log_is_never_acknowledged() {
    let data = Data::new();
    let mut journal = open(data.dir()).expect("a new journal");
    append_orders(&mut journal, 1);
    fs::write(data.generation().join("blobs").join("4711"), b"unsynced").expect("it can be written");
    assert!(matches!(append(&mut journal, &[order(4)]), Err(Error::Blobs { .. })));
    assert!(matches!(append(&mut journal, &[order(4)]), Err(Error::Failed)));
    assert!(matches!(journal.close(), Err(Error::Failed)), "a journal that failed does not stop cleanly");
    assert_eq!(data.noted().into_iter().max(), Some(3), "the witness saw nothing that was not acknowledged");
    assert!(!data.journal("clean").exists());
}

#[test]
fn an_audit_reads_a_copy_and_touches_nothing() {
    let data = Data::new();
    assert!(matches!(open_copy_read_only(data.dir()), Err(Error::NoJournal { .. })));
    let tail = data.write_and_die(30);
    let before = contents(data.dir());
    let copy = open_copy_read_only(data.dir()).expect("a sound journal");
    assert_eq!((assert_orders(&copy, 90), copy.tail()), (tail, tail));
    assert!(contents(data.dir()) == before);

    data.damage_first_record();
    let before = contents(data.dir());
    let error = open_copy_read_only(data.dir()).expect_err("J2");
    assert!(error.to_string().contains("event 1"), "{error}");
    assert!(contents(data.dir()) == before);

    // A start that is refused changes the journal; the audit then reads the copy it set aside.
    data.refusal();
    let before = contents(data.dir());
    open_copy_read_only(data.dir()).expect_err("J2");
    assert!(contents(data.dir()) == before);
}
