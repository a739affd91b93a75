//! Generations that were dropped: the journal begins where its note says, starts again after a kill at any step, and who
//! asks for what went is told so.

#[path = "journal/generations.rs"]
mod generations;
mod journal;

use std::fs;
use std::ops::ControlFlow;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};

use doorbuster::ids::Seq;
use doorbuster::persist::mysql::Error as MysqlError;
use doorbuster::persist::{
    Error, Journal, Read, SealFault, SledJournal, Tail, excerpt, identity, open, open_copy_read_only, portion, replay,
    verify,
};
use generations::{Data, SMALL, copy_dir, overwrite};
use journal::{append_orders, entries, order};

const VICTIM: &str = "DOORBUSTER_DROPPED_VICTIM";
/// Up to which event the victim drops.
const CUT: &str = "DOORBUSTER_DROPPED_CUT";

/// The journal of twenty records whose first `count` generations are dropped, and still open.
fn dropped(count: usize) -> (Data, SledJournal, Tail) {
    let data = Data::with_sealed(20);
    let journal = data.open();
    let ends = journal.reader().sealed_ends().expect("it is open");
    let base = ends[count - 1];
    let dropped = journal.reader().drop_until(base.seq).expect("a sound disk");
    assert_eq!((dropped.generations as usize, dropped.base), (count, base));
    (data, journal, base)
}

/// Asserts that the journal has every order after `base` and tells of what came before.
fn assert_begins_after<R: Read>(journal: &R, base: Tail, known: doorbuster::persist::RecordHash) {
    assert_eq!(journal.base().expect("it is open").tail, base);
    assert_eq!(identity(journal).expect("it is noted"), Some(known));
    let all = entries(journal, base).expect("what follows the base is there");
    assert!(!all.is_empty());
    for ((seq, entry), expected) in all.iter().zip(base.seq.0 + 1..) {
        assert_eq!((*seq, entry), (Seq(expected), &order(u32::try_from(expected).expect("small"))));
    }
    let whole = verify(journal, &[base]).map(|tail| tail.seq).unwrap_or_else(|_| all[all.len() - 1].0);
    assert_eq!(whole, all[all.len() - 1].0);
    let is_told = |error: Error, from: u64| matches!(error, Error::Dropped { from: at, base: to } if at == Seq(from) && to == base.seq);
    assert!(is_told(entries(journal, Tail::START).expect_err("it was dropped"), 1));
    let below = Tail { seq: Seq(base.seq.0 - 1), ..base };
    assert!(is_told(portion(journal, below, Seq(u64::MAX), 1).expect_err("it was dropped"), base.seq.0));
    let read = excerpt(journal, base.seq, base.seq, |_, _| {});
    assert!(is_told(read.expect_err("it was dropped"), base.seq.0));
    excerpt(journal, Seq(base.seq.0 + 1), Seq(base.seq.0 + 1), |_, _| {}).expect("it is there");
    let forged = Tail { hash: known, ..base };
    assert!(matches!(portion(journal, forged, base.seq, 0), Err(Error::Forked { .. })), "the note says another hash");
    portion(journal, base, base.seq, 0).expect("the note is the anchor");
}

#[test]
fn what_was_dropped_is_told_and_what_follows_goes_on_over_restarts() {
    let data = Data::with_sealed(20);
    let mut journal = data.open();
    let known = identity(&journal).expect("sound").expect("a record");
    let ends = journal.reader().sealed_ends().expect("it is open");
    assert!(ends.len() >= 2, "{ends:?}");
    // Not a byte goes before a whole generation may.
    let early = journal.reader().drop_until(Seq(ends[0].seq.0 - 1)).expect("nothing is done");
    assert_eq!((early.generations, early.base, data.journal("base").exists()), (0, Tail::START, false));
    let one = journal.reader().drop_until(Seq(ends[1].seq.0 - 1)).expect("a sound disk");
    assert_eq!((one.generations, one.base), (1, ends[0]));
    assert!(one.bytes > 1_000 && !data.sealed(1).exists() && data.sealed(2).exists());
    assert_begins_after(&journal, ends[0], known);
    append_orders(&mut journal, 20);
    assert_begins_after(&journal, ends[0], known);
    drop(journal);
    for clean in [true, false, true] {
        let mut journal = data.open();
        assert_begins_after(&journal, ends[0], known);
        append_orders(&mut journal, 3);
        if clean {
            journal.close().expect("a sound disk");
        }
        let copy = open_copy_read_only(data.dir()).expect("it adds up");
        assert_begins_after(&copy, ends[0], known);
    }
    // However much may go: what is in sled stays.
    let journal = data.open();
    let last = *journal.reader().sealed_ends().expect("it is open").last().expect("some");
    let rest = journal.reader().drop_until(Seq(u64::MAX)).expect("a sound disk");
    assert_eq!((rest.base, journal.sealed_tail()), (last, last));
    assert_eq!(data.count(".log"), 0);
    assert_begins_after(&journal, last, known);
    drop(journal);
    assert_begins_after(&data.open(), last, known);
}

#[test]
fn a_reader_in_the_middle_of_what_is_dropped_is_told_and_others_are_not_disturbed() {
    let data = Data::with_sealed(40);
    let journal = data.open();
    let ends = journal.reader().sealed_ends().expect("it is open");
    assert!(ends.len() > 3, "{ends:?}");
    let (mut read, mut is_dropped) = (0, false);
    let told = journal.read(Seq(1), &mut |kept_as, _| {
        read = kept_as.0;
        if !is_dropped {
            is_dropped = true;
            journal.reader().drop_until(ends[2].seq).expect("a sound disk");
        }
        Ok(ControlFlow::Continue(()))
    });
    assert!(matches!(told, Err(Error::Dropped { base, .. }) if base == ends[2].seq), "{told:?}");
    assert!(read + 3 > ends[0].seq.0, "the file that it had open it read to the end: {read}");
    // By the events handed over, nobody is told of a beginning that he has read past.
    let mut seen = ends[2].seq;
    let mut is_dropped = false;
    replay(&journal, ends[2], Seq(u64::MAX), |seq, _| {
        seen = seq;
        if !is_dropped {
            is_dropped = true;
            assert_eq!(journal.reader().drop_until(ends[2].seq).expect("nothing to do").generations, 0);
        }
    })
    .expect("it follows the base");
    assert_eq!(seen, journal.tail().seq);
}

#[test]
fn a_drop_beside_writing_and_reading_disturbs_neither() {
    let data = Data::new();
    let mut journal = data.open();
    let reader = journal.reader();
    let ended = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let dropping = scope.spawn(|| {
            let mut generations = 0;
            while !ended.load(std::sync::atomic::Ordering::Relaxed) {
                generations += reader.drop_until(Seq(u64::MAX)).expect("a sound disk").generations;
            }
            generations
        });
        let reading = scope.spawn(|| {
            while !ended.load(std::sync::atomic::Ordering::Relaxed) {
                let base = reader.base().expect("it is open").tail;
                match entries(&reader, base) {
                    Ok(all) => assert!(all.first().is_none_or(|(seq, _)| seq.0 == base.seq.0 + 1)),
                    Err(Error::Dropped { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
                assert!(identity(&reader).is_ok());
            }
        });
        append_orders(&mut journal, 400);
        generations::wait_until_sealed(&data, &journal);
        ended.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(dropping.join().expect("it holds") > 3);
        reading.join().expect("it holds");
    });
}

#[test]
fn a_note_that_is_absent_or_damaged_is_refused_by_name() {
    let (data, journal, _) = dropped(1);
    drop(journal);
    let note = fs::read(data.journal("base")).expect("it is there");
    for at in 0..note.len() {
        overwrite(&data.journal("base"), at, &[note[at] ^ 1]);
        assert!(matches!(data.refusal(), Error::BaseLost { .. }), "byte {at}");
        overwrite(&data.journal("base"), at, &note[at..=at]);
    }
    for length in [0, 1, note.len() - 1] {
        generations::replace(&data.journal("base"), &note[..length]);
        assert!(matches!(data.refusal(), Error::BaseLost { .. }), "{length} bytes");
        let error = open_copy_read_only(data.dir()).expect_err("nor is it audited");
        assert!(matches!(error, Error::BaseLost { .. }) && error.is_damage());
    }
    fs::remove_file(data.journal("base")).expect("it is there");
    assert!(matches!(data.refusal(), Error::GenerationAbsent { generation: 1, .. }));
    fs::write(data.journal("base"), &note).expect("it can be written");
    drop(data.open());
}

#[test]
fn a_first_generation_that_does_not_follow_the_base_is_refused_and_nothing_is_removed() {
    let (data, journal, _) = dropped(1);
    drop(journal);
    // Of another journal: the same numbers, and other records.
    let other = Data::new();
    let mut journal = other.open();
    journal::append(&mut journal, &[order(7), order(8), order(9)]).expect("a sound disk");
    append_orders(&mut journal, 19);
    generations::wait_until_sealed(&other, &journal);
    drop(journal);
    let own = fs::read(data.sealed(2)).expect("it is there");
    generations::replace(&data.sealed(2), &fs::read(other.sealed(2)).expect("it is there"));
    fs::write(data.sealed(1), b"a leftover").expect("it can be written");
    assert!(matches!(data.refusal(), Error::Sealed { fault: SealFault::Unchained, .. }));
    assert!(data.sealed(1).exists(), "evidence stays until all adds up");
    generations::replace(&data.sealed(2), &own);
    drop(data.open());
    assert!(!data.sealed(1).exists(), "what was dropped and not removed goes");
    // One that is gone is a loss, however the journal was cut before.
    fs::rename(data.sealed(2), data.dir().join("elsewhere")).expect("it is there");
    assert!(matches!(data.refusal(), Error::GenerationAbsent { generation: 2, .. }));
    fs::rename(data.dir().join("elsewhere"), data.sealed(2)).expect("it is there");
    copy_dir(&data.in_sled(3), &data.in_sled(1));
    assert!(
        data.in_sled(3).exists().then(|| data.refusal()).is_none_or(|error| matches!(error, Error::ForeignName { .. }))
    );
}

#[test]
fn a_journal_of_which_only_the_note_is_left_is_not_begun_anew() {
    let (data, journal, _) = dropped(2);
    drop(journal);
    for name in data.names().iter().filter(|name| *name != "base") {
        let path = data.journal(name);
        if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.expect("it is ours");
    }
    assert!(matches!(data.refusal(), Error::GenerationAbsent { generation: 3, .. }));
}

#[test]
fn mysqls_cursor_below_the_base_stands_and_names_what_helps() {
    let (_data, journal, base) = dropped(1);
    let error = portion(&journal, Tail::START, Seq(u64::MAX), 0).expect_err("it was dropped");
    let error = MysqlError::behind(Tail::START, error);
    let text = error.to_string();
    assert!(matches!(error, MysqlError::BeforeBase { base: to, .. } if to == base.seq) && !error.may_pass(), "{text}");
    assert!(text.contains("newer backup of MySQL") && text.contains("`doorbuster reship` cannot help"), "{text}");
}

#[test]
fn the_victim_drops_generations() {
    let Some(dir) = std::env::var_os(VICTIM) else { return };
    let journal = open(Path::new(&dir), &SMALL).expect("what was killed before adds up");
    let cut = std::env::var(CUT).expect("it is told").parse().expect("a number");
    journal.reader().drop_until(Seq(cut)).expect("a sound disk");
    // The end of a process that was killed a little later.
    std::process::exit(0);
}

#[test]
fn a_kill_at_any_system_call_of_a_drop_leaves_what_starts_with_nothing_else_gone() {
    if !Command::new("strace").arg("-V").output().is_ok_and(|ended| ended.status.success()) {
        let skip = std::env::var("SKIP").unwrap_or_default();
        let skipped = skip.split([',', ' ']).any(|word| word == "strace");
        assert!(skipped, "NOT RUN: strace is missing; apt-get install strace, or say SKIP=strace");
        return;
    }
    let before = Data::with_sealed(30);
    let journal = before.open();
    let known = identity(&journal).expect("sound").expect("a record");
    let ends = journal.reader().sealed_ends().expect("it is open");
    let (tail, cut) = (journal.tail(), ends[ends.len() - 2]);
    journal.close().expect("a sound disk");
    let stage = tempfile::tempdir().expect("a temporary directory");
    let data = Data::new();
    let mut kills = 0;
    for calls in ["openat", "write", "fsync", "rename", "unlink", "unlinkat"] {
        for at in 1.. {
            fs::remove_dir_all(data.journal("")).unwrap_or_default();
            copy_dir(&before.journal(""), &data.journal(""));
            let mut command = Command::new("strace");
            command.args(["-f", "-y", "-o"]).arg(stage.path().join("trace"));
            command.args(["-e", &format!("trace={calls}"), "-e", &format!("inject={calls}:signal=KILL:when={at}")]);
            let sealed = (1..=u32::try_from(ends.len()).expect("few")).map(|number| data.sealed(number));
            let paths = [data.journal(""), data.journal("base"), data.journal("base.partial")];
            for path in paths.into_iter().chain(sealed) {
                command.args(["-P", path.to_str().expect("a path of text").trim_end_matches('/')]);
            }
            command.arg(std::env::current_exe().expect("the test runs from a file"));
            command.args(["--exact", "the_victim_drops_generations", "--test-threads=1"]).env(VICTIM, data.dir());
            command.env(CUT, cut.seq.to_string());
            let ended = command.stdout(Stdio::null()).stderr(Stdio::null()).status().expect("strace runs");
            if ended.signal().is_none() {
                assert!(ended.success(), "{calls} {at}: {ended:?}");
                break;
            }
            kills += 1;
            let copy = open_copy_read_only(data.dir()).unwrap_or_else(|error| panic!("{calls} {at}: {error}"));
            assert_eq!(copy.tail(), tail, "{calls} {at}");
            drop(copy);
            let journal = data.open();
            let base = journal.base().expect("it is open").tail;
            assert!(base == Tail::START || base == cut, "{calls} {at}: the note was written whole or not at all");
            assert_eq!(data.sealed(1).exists(), base == Tail::START, "{calls} {at}: {:?}", data.names());
            assert_eq!(entries(&journal, base).expect("sound").len() as u64, tail.seq.0 - base.seq.0);
            assert_eq!(identity(&journal).expect("sound"), Some(known));
            journal.reader().drop_until(cut.seq).expect("a sound disk");
            assert_begins_after(&journal, cut, known);
            journal.close().expect("a sound disk");
            assert!(!data.names().iter().any(|name| name.ends_with(".partial")), "{calls} {at}: {:?}", data.names());
        }
    }
    assert!(kills > 15, "the calls were met: {kills}");
    println!("killed at {kills} system calls of drops");
}
