//! Every step of going on in a fresh generation and of sealing a full one, cut short: by a kill at each system call that
//! changes the journal's directory, by an error of each, and by a disk without room.
//!
//! The test runs itself as the victim: a child that writes a journal of a few generations and prints what is durable.
//! Needs strace, as `tests/strace.rs` does; SKIP with the word strace does without. A disk without room needs a mount.

#[path = "journal/generations.rs"]
mod generations;
mod journal;

use std::fs;
use std::io::{BufRead, BufReader, Write, stdout};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use doorbuster::persist::{Generations, Journal, SledJournal, open, open_copy_read_only};
use generations::{Data, copy_dir, overwrite, until};
use journal::{append, append_orders, assert_orders, large};

const VICTIM: &str = "DOORBUSTER_STEPS_VICTIM";
const RECORDS: u32 = 16;
/// Some six records, so that the victim fills two.
const SMALL: Generations = Generations { max_bytes: 2_000, seal_retry: Duration::from_millis(20) };
/// The calls that change a journal's directory, or tell how far the victim is. strace counts each in each thread.
const KILLED_AT: [&str; 12] = [
    "mkdir",
    "rename",
    "unlink",
    "unlinkat",
    "fsync",
    "fdatasync",
    "write",
    "pwrite64",
    "ftruncate",
    "copy_file_range",
    "fchmodat,chmod,fchmod",
    "fadvise64",
];
/// Those by which a start takes its steps, and makes each of them durable.
const KILLED_AT_A_START: [&str; 5] = ["mkdir", "rename", "unlink", "unlinkat", "fsync"];

/// A journal that the victim leaves with two sealed generations.
#[test]
fn the_victim_fills_generations() {
    let Some(dir) = std::env::var_os(VICTIM) else { return };
    let dir = Path::new(&dir);
    let mut journal = open(dir, &SMALL).expect("what was killed before adds up");
    for _ in 0..RECORDS {
        let tail = append_orders(&mut journal, 1);
        // One write a line, so that a kill cuts no line in two that the parent could misread.
        stdout().write_all(format!("durable {}\n", tail.seq).as_bytes()).expect("the parent reads");
    }
    wait_until_sealed(&journal);
    journal.close().expect("a sound disk");
}

/// Until less than a full generation is left in sled.
fn wait_until_sealed(journal: &SledJournal) {
    until("it is sealed", || journal.tail().seq.0 - journal.sealed_tail().seq.0 < 30);
}

/// The command that runs this binary's test of that name as a victim.
fn victim(name: &str, dir: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("the test runs from a file"));
    command.args(["--exact", name, "--nocapture", "--test-threads=1"]).env(VICTIM, dir).env("RUST_BACKTRACE", "0");
    command
}

/// Runs a command to its end; returns that, and the last event that it said was durable.
fn run(command: &mut Command) -> (ExitStatus, u64) {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it can be started");
    let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let said = lines.map_while(Result::ok).filter_map(|line| line.rsplit_once("durable ")?.1.parse().ok());
    let last = said.last().unwrap_or(0);
    (child.wait().expect("it was started"), last)
}

/// Whether strace is there, or is to be done without.
fn has_strace() -> bool {
    let works = Command::new("strace").arg("-V").output().is_ok_and(|ended| ended.status.success());
    if !works {
        println!("NOT RUN: strace is missing; apt-get install strace");
        let skip = std::env::var("SKIP").unwrap_or_default();
        let skipped = skip.split([',', ' ']).any(|word| word == "strace");
        assert!(skipped, "NOT RUN: strace is missing; apt-get install strace, or say SKIP=strace");
    }
    works
}

/// The victim under strace, which does `inject` to the calls on the journal's files.
fn injected(data: &Path, trace: &Path, inject: &str) -> Command {
    let calls = inject.split(':').next().expect("it begins with the calls");
    let mut command = Command::new("strace");
    command.args(["-f", "-y", "-o"]).arg(trace).args([
        "-e",
        &format!("trace={calls}"),
        "-e",
        &format!("inject={inject}"),
    ]);
    let journal = data.join("journal");
    let mut paths = vec![journal.clone(), journal.join("witness"), journal.join("clean.partial")];
    for number in 1..=4 {
        let name = format!("gen-{number:08}");
        paths.extend([format!("{name}.log"), format!("{name}.log.partial")].map(|name| journal.join(name)));
        for dir in [name.clone(), format!("{name}.partial"), format!("aside-{name}"), format!("aside-{name}.partial")] {
            paths.extend(["", "db", "conf", "blobs"].map(|file| journal.join(&dir).join(file)));
        }
    }
    for path in paths {
        command.args(["-P", path.to_str().expect("a path of text").trim_end_matches('/')]);
    }
    let victim = victim("the_victim_fills_generations", data);
    command.arg(victim.get_program()).args(victim.get_args()).env(VICTIM, data).env("RUST_BACKTRACE", "0");
    command
}

/// The victim under strace, with the calls that seal a generation traced and `inject` done to the first one's file.
fn traced(data: &Path, trace: &Path, inject: Option<&str>) -> Command {
    let mut command = Command::new("strace");
    command.args(["-f", "-y", "-o"]).arg(trace);
    command.args(["-e", "trace=openat,fsync,fdatasync,write,rename,unlinkat,rmdir,fchmodat,chmod,fchmod"]);
    if let Some(inject) = inject {
        command.args(["-e", &format!("inject={inject}"), "-P"]).arg(data.join("journal/gen-00000001.log.partial"));
    }
    let victim = victim("the_victim_fills_generations", data);
    command.arg(victim.get_program()).args(victim.get_args()).env(VICTIM, data).env("RUST_BACKTRACE", "0");
    command
}

#[test]
fn a_kill_at_any_system_call_of_a_switch_or_a_seal_leaves_what_goes_on() {
    if !has_strace() {
        return;
    }
    let stage = tempfile::tempdir().expect("a temporary directory");
    let data = stage.path().join("data");
    let mut kills = 0;
    for calls in KILLED_AT {
        for at in 1.. {
            let inject = format!("{calls}:signal=KILL:when={at}");
            let (ended, said) = run(&mut injected(&data, &stage.path().join("trace"), &inject));
            if ended.signal().is_some() {
                kills += 1;
                assert_goes_on(&data, said, &inject);
            } else {
                // No thread of it makes as many.
                assert!(ended.success(), "{inject}: {ended:?}");
            }
            fs::remove_dir_all(&data).expect("nobody uses it");
            if ended.success() {
                break;
            }
        }
    }
    assert!(kills > 60, "the calls were met: {kills}");
    println!("killed at {kills} system calls of switches and seals");
}

/// The start has to do with every form of a generation: sealed, sealed with what sled had of it, full, live, made ahead.
#[test]
fn a_kill_at_any_system_call_of_a_start_over_several_generations_leaves_what_starts_again() {
    if !has_strace() {
        return;
    }
    let stage = tempfile::tempdir().expect("a temporary directory");
    let data = stage.path().join("data");
    let before = several_generations();
    let mut kills = 0;
    for calls in KILLED_AT_A_START {
        for at in 1.. {
            copy_dir(before.dir(), &data);
            let inject = format!("{calls}:signal=KILL:when={at}");
            let start = || run(&mut injected(&data, &stage.path().join("trace"), &inject));
            let (ended, said) = start();
            let is_start = ended.signal().is_some() && said == 0;
            if is_start {
                kills += 1;
                if calls == "rename" {
                    // Once more the same, which meets what the first one left.
                    start();
                }
                let journal = open(&data, &SMALL).unwrap_or_else(|error| panic!("{inject}: {error}"));
                let tail = journal.tail().seq.0;
                assert!(tail >= 60, "{inject}: 60 were acknowledged, {tail} are there");
                assert_eq!(assert_orders(&journal, tail), journal.tail(), "{inject}");
            }
            fs::remove_dir_all(&data).expect("nobody uses it");
            if !is_start {
                break;
            }
        }
    }
    assert!(kills > 60, "the calls were met: {kills}");
    println!("killed at {kills} system calls of starts");
}

/// A journal of twenty records, as a kill could leave it.
fn several_generations() -> Data {
    let (data, sealed) = (Data::with_unsealed(20, false), Data::with_sealed(20));
    // The same records make the same bytes.
    fs::copy(sealed.sealed(1), data.sealed(1)).expect("it can be copied");
    copy_dir(&data.in_sled(2), &data.journal("gen-00000004.partial"));
    assert!(data.in_sled(1).exists() && data.in_sled(3).exists(), "{:?}", data.names());
    data
}

/// Holds what a kill left to what was acknowledged before it, and goes on with it.
fn assert_goes_on(data: &Path, said: u64, context: &str) {
    if said > 0 {
        let copy = open_copy_read_only(data).unwrap_or_else(|error| panic!("{context}: {error}"));
        assert!(copy.tail().seq.0 >= said, "{context}: {said} was acknowledged");
        assert_orders(&copy, copy.tail().seq.0);
    }
    let mut journal = open(data, &SMALL).unwrap_or_else(|error| panic!("{context}: {error}"));
    let tail = journal.tail().seq.0;
    assert!(tail >= said, "{context}: {said} was acknowledged, {tail} is there");
    assert_eq!(assert_orders(&journal, tail), journal.tail(), "{context}");
    append_orders(&mut journal, RECORDS);
    wait_until_sealed(&journal);
    assert_orders(&journal, tail + 3 * u64::from(RECORDS));
    journal.close().unwrap_or_else(|error| panic!("{context}: {error}"));
    assert_tidy(data, context);
}

/// Nothing is left of what was in the making or going.
fn assert_tidy(data: &Path, context: &str) {
    let names: Vec<String> = fs::read_dir(data.join("journal"))
        .expect("it is there")
        .map(|entry| entry.expect("listed").file_name().into_string().expect("a text"))
        .collect();
    let in_sled = names.iter().filter(|name| name.starts_with("gen-") && !name.ends_with(".log")).count();
    let left = names.iter().any(|name| name.ends_with(".partial") || name.starts_with("aside-"));
    assert!(in_sled == 1 && !left, "{context}: {names:?}");
}

/// An error of any call of the sealer's: no fault of the journal, and sealed at another attempt, in a file made afresh.
#[test]
fn an_error_of_sealing_is_no_fault_and_no_sync_is_repeated_on_the_same_file() {
    if !has_strace() {
        return;
    }
    let stage = tempfile::tempdir().expect("a temporary directory");
    for (call, error) in [("fsync", "EIO"), ("write", "ENOSPC"), ("openat", "EMFILE"), ("fchmodat,chmod,fchmod", "EIO")]
    {
        let (data, trace) = (stage.path().join(&call[..5]), stage.path().join("trace"));
        let mut command = traced(&data, &trace, Some(&format!("{call}:error={error}:when=1")));
        let (ended, said) = run(&mut command);
        assert!(ended.success(), "{call}: {ended:?}");
        assert_eq!(said, 3 * u64::from(RECORDS), "every record was taken");
        let trace = fs::read_to_string(&trace).expect("strace wrote it");
        assert!(trace.contains("(INJECTED)"), "{call}: {trace}");
        // What was made after the error, by the descriptor's own file: each is synced once and no more.
        let mut made = 0;
        let mut synced = 0;
        for line in trace.lines() {
            made += usize::from(line.contains("O_CREAT") && !line.contains("(INJECTED)"));
            synced += usize::from(line.contains(" fsync("));
            assert!(synced <= made, "{call}: a sync was repeated on the same file: {trace}");
        }
        assert!(made > usize::from(call != "openat"), "{call}: it was made afresh: {trace}");
        assert_orders(&open(&data, &SMALL).expect("it adds up"), said);
    }
}

#[test]
fn a_sealed_file_is_synced_before_it_has_its_name_and_that_before_what_sled_had_goes() {
    if !has_strace() {
        return;
    }
    let stage = tempfile::tempdir().expect("a temporary directory");
    let (data, trace) = (stage.path().join("data"), stage.path().join("trace"));
    let (ended, _) = run(&mut traced(&data, &trace, None));
    assert!(ended.success(), "{ended:?}");
    let trace = fs::read_to_string(&trace).expect("strace wrote it");
    let lines: Vec<&str> = trace.lines().filter(|line| !line.contains("resumed>")).collect();
    for number in ["1", "2"] {
        let place = |call: &str, file: &str| {
            let file = format!("gen-0000000{number}{file}");
            let found = lines.iter().rposition(|line| line.contains(call) && line.contains(&file));
            found.unwrap_or_else(|| panic!("{call} of {file}: {trace}"))
        };
        let named = place("rename(", ".log.partial\"");
        let steps = [place(" fsync(", ".log.partial>"), named, place("rename(", "\"")];
        assert!(steps.is_sorted(), "{steps:?}: {trace}");
        let going = steps[2];
        let of_the_name = lines[named..going].iter().any(|line| line.contains(" fsync(") && line.contains("/journal>"));
        assert!(of_the_name, "the name is durable before what it stands for goes: {trace}");
    }
}

#[test]
fn the_next_generation_is_on_the_disk_with_all_its_names_before_a_record_is() {
    if !has_strace() {
        return;
    }
    let stage = tempfile::tempdir().expect("a temporary directory");
    let (data, trace) = (stage.path().join("data"), stage.path().join("trace"));
    let (ended, _) = run(&mut traced(&data, &trace, None));
    assert!(ended.success(), "{ended:?}");
    let trace = fs::read_to_string(&trace).expect("strace wrote it");
    let lines: Vec<&str> = trace.lines().filter(|line| !line.contains("resumed>")).collect();
    for number in ["2", "3"] {
        let dir = format!("/journal/gen-0000000{number}");
        let first = |from: usize, call: &str, end: &str| {
            let wanted = format!("{dir}{end}");
            let found = lines[from..].iter().position(|line| line.contains(call) && line.contains(&wanted));
            from + found.unwrap_or_else(|| panic!("{call} of {wanted}: {trace}"))
        };
        let named = first(0, "rename(", "\"");
        let acknowledged = first(named, " fdatasync(", "/db>");
        let synced =
            |what: &str| lines[named..acknowledged].iter().any(|line| line.contains(" fsync(") && line.contains(what));
        assert!(synced("/journal>"), "its own name: {trace}");
        // sled makes its log when it opens the directory.
        let logged = first(named, "openat(", "/db\"");
        let entries = first(logged, " fsync(", ">");
        assert!(entries < acknowledged, "the names within: {trace}");
    }
}

/// Between the writing and the reading back a byte of it changes.
#[test]
fn what_is_read_back_wrong_gets_no_name() {
    if !has_strace() {
        return;
    }
    let stage = tempfile::tempdir().expect("a temporary directory");
    let (data, trace) = (stage.path().join("data"), stage.path().join("trace"));
    let mut command = traced(&data, &trace, Some("fsync:delay_enter=1500000:when=1"));
    let partial = data.join("journal/gen-00000001.log.partial");
    let spoils = std::thread::spawn(move || {
        until("it is written", || fs::metadata(&partial).is_ok_and(|meta| meta.len() > 1_000));
        let byte = fs::read(&partial).expect("it waits to be synced")[500];
        overwrite(&partial, 500, &[byte ^ 1]);
    });
    let (ended, said) = run(&mut command);
    spoils.join().expect("it was in time");
    assert!(ended.success(), "it is sealed at another attempt: {ended:?}");
    let made = fs::read_to_string(&trace).expect("strace wrote it").matches("O_CREAT").count();
    assert!(made >= 2, "it was made afresh");
    assert_orders(&open(&data, &SMALL).expect("it adds up"), said);
}

/// Where neither a directory nor a file can be made: the live generation takes what it should not have to.
#[test]
fn the_victim_runs_out_of_room_for_files() {
    let Some(dir) = std::env::var_os(VICTIM) else { return };
    let dir = Path::new(&dir);
    let data = dir.join("data");
    let mut journal = open(&data, &SMALL).expect("there is room");
    append_orders(&mut journal, 2);
    // Every file that the disk has room for but a name.
    fs::create_dir(dir.join("filler")).expect("there is room");
    let filler = |n: u32| dir.join("filler").join(n.to_string());
    let count = (0..).take_while(|n| fs::write(filler(*n), b"").is_ok()).count();
    append_orders(&mut journal, 30);
    assert_orders(&journal, 96);
    assert!(journal.reader().seal_trouble().expect("it is open").is_some());
    assert!(!data.join("journal/gen-00000002").exists(), "it could not be made");
    (0..count).for_each(|n| fs::remove_file(filler(u32::try_from(n).expect("few"))).expect("it is there"));
    append_orders(&mut journal, 30);
    wait_until_sealed(&journal);
    until("all is well", || journal.reader().seal_trouble().expect("it is open").is_none());
    assert_orders(&journal, 186);
    journal.close().expect("there is room");
    assert_orders(&open(&data, &SMALL).expect("it adds up"), 186);
    println!("durable 186");
}

/// Where a file can be made and not filled.
#[test]
fn the_victim_runs_out_of_room_for_bytes() {
    let Some(dir) = std::env::var_os(VICTIM) else { return };
    let dir = Path::new(&dir);
    let data = dir.join("data");
    let generations = Generations { max_bytes: 2 << 20, ..SMALL };
    let mut journal = open(&data, &generations).expect("there is room");
    let append_large = |journal: &mut SledJournal, n: u32| {
        append(journal, &[large(n, 180 << 10)]).expect("there is room for a record");
    };
    (0..11).for_each(|n| append_large(&mut journal, n));
    until("the next one is made ahead", || data.join("journal/gen-00000002/db").exists());
    let filler = dir.join("filler");
    let free = doorbuster::persist::free_bytes(dir).expect("it says so");
    // Enough for two records more, as sled writes them, and not for a generation.
    fs::write(&filler, vec![0; usize::try_from(free - (1 << 20)).expect("a small disk")]).expect("there is room");
    (11..13).for_each(|n| append_large(&mut journal, n));
    let trouble = || journal.reader().seal_trouble().expect("it is open");
    until("it is told of", || trouble().is_some_and(|trouble| trouble.message.contains("No space left")));
    assert!(!data.join("journal/gen-00000001.log").exists() && data.join("journal/gen-00000001").exists());
    fs::remove_file(&filler).expect("it is there");
    until("it is sealed", || journal.sealed_tail().seq.0 == 11 && trouble().is_none());
    journal.close().expect("there is room");
    assert_eq!(open(&data, &generations).expect("it adds up").tail().seq.0, 13);
    println!("durable 13");
}

/// Runs a victim on a disk of its own, of few MiB and few files; `None` where this user may not mount.
fn run_on_a_small_disk(name: &str, options: &str) -> Option<u64> {
    let at = tempfile::tempdir().expect("a temporary directory");
    let script = format!("mount -t tmpfs -o {options} none \"$0\" || exit 99; exec \"$@\"");
    let victim = victim(name, at.path());
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", &script]).arg(at.path()).arg(victim.get_program()).args(victim.get_args());
    let (ended, said) = run(command.env(VICTIM, at.path()));
    if !ended.success() && said == 0 && may_not_mount() {
        println!("NOT RUN: a disk without room, as this user may not mount one (run as root)");
        return None;
    }
    assert!(ended.success(), "{name}: {ended:?}");
    Some(said)
}

fn may_not_mount() -> bool {
    let at = tempfile::tempdir().expect("a temporary directory");
    let script = "mount -t tmpfs none \"$0\"";
    let mounted =
        Command::new("unshare").args(["-m", "sh", "-c", script]).arg(at.path()).stderr(Stdio::null()).status();
    !mounted.is_ok_and(|ended| ended.success())
}

#[test]
fn without_room_for_a_directory_the_journal_goes_on_in_the_one_it_has() {
    let said = run_on_a_small_disk("the_victim_runs_out_of_room_for_files", "size=64m,nr_inodes=200");
    assert!(said.is_none_or(|said| said == 186));
}

#[test]
fn without_room_for_a_sealed_file_the_journal_goes_on_and_seals_later() {
    let said = run_on_a_small_disk("the_victim_runs_out_of_room_for_bytes", "size=96m");
    assert!(said.is_none_or(|said| said == 13));
}
