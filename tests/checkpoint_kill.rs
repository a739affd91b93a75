//! The disk under a checkpoint in the making: a kill at any system call leaves the one before whole and nothing that the
//! next run does not clear; what a manifest names is durable before it is; no room harms nothing.
//!
//! The test runs itself as the victim. Needs strace (`make test` fetches it); without it these tests fail with `NOT RUN`,
//! unless SKIP has the word strace.

mod checkpoint;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use checkpoint::*;
use doorbuster::persist::checkpoint::{Error, Store, recover};
use doorbuster::persist::memory::MemoryJournal;
use doorbuster::persist::{self, Tail};

const VICTIM: &str = "DOORBUSTER_CHECKPOINT_VICTIM";
const VICTIM_WITHOUT_ROOM: &str = "DOORBUSTER_CHECKPOINT_VICTIM_WITHOUT_ROOM";

/// The same each time: a market, its journal, and three places for a checkpoint.
fn scene() -> (Market, MemoryJournal, [Tail; 3]) {
    let market = Market::after(41, 700);
    let (journal, tails) = journal_of(&market.entries, &mut Dice(41));
    let at = [2, 4, 5].map(|sixths| tails[tails.len() * sixths / 6]);
    (market, journal, at)
}

/// A data directory with the first two checkpoints.
fn with_two(journal: &MemoryJournal, at: [Tail; 3]) -> tempfile::TempDir {
    let dir = data_dir();
    for to in &at[..2] {
        make(&Store::of(dir.path()), journal, *to, PLENTY).expect("there is room");
    }
    dir
}

#[test]
fn the_victim_makes_the_third_checkpoint() {
    let Some(dir) = std::env::var_os(VICTIM) else { return };
    let (_, journal, at) = scene();
    make(&Store::of(Path::new(&dir)), &journal, at[2], LITTLE).expect("there is room");
}

/// strace's path; `None` where it is to be done without.
fn strace() -> Option<PathBuf> {
    let unpacked = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/target/tools/usr/bin/strace"));
    let works = |place: &PathBuf| Command::new(place).arg("-V").output().is_ok_and(|ended| ended.status.success());
    let found = [PathBuf::from("strace"), unpacked].into_iter().find(works);
    if found.is_none() {
        println!("NOT RUN: strace is missing, so nobody watched the system calls; apt-get install strace");
        let skip = std::env::var("SKIP").unwrap_or_default();
        let skipped = skip.split([',', ' ']).any(|word| word == "strace");
        assert!(skipped, "NOT RUN: strace is missing; apt-get install strace, or say SKIP=strace");
    }
    found
}

fn this_test() -> PathBuf {
    std::env::current_exe().expect("the test runs from a file")
}

fn victim(strace: &Path, data: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(strace);
    command.args(["-f", "-y"]).args(arguments).arg(this_test());
    command.args(["--exact", "the_victim_makes_the_third_checkpoint", "--test-threads=1"]);
    command.env(VICTIM, data).output().expect("strace starts")
}

/// Every file below, with its bytes.
fn contents(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).expect("it is there") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(contents(&path));
        } else {
            found.insert(path.clone(), fs::read(&path).expect("it is there"));
        }
    }
    found
        .into_iter()
        .map(|(path, bytes)| (path.strip_prefix(dir).map_or(path.clone(), Path::to_owned), bytes))
        .collect()
}

#[test]
fn a_kill_at_any_system_call_leaves_the_checkpoint_before_and_what_the_next_run_clears() {
    let Some(strace) = strace() else { return };
    let (market, journal, at) = scene();
    let whole = with_two(&journal, at);
    make(&Store::of(whole.path()), &journal, at[2], LITTLE).expect("there is room");
    let whole = contents(&whole.path().join("checkpoints"));
    let (mut kills, mut seen) = (0, [0, 0]);
    for call in ["write", "fdatasync", "fsync", "rename", "unlink"] {
        for nth in 1.. {
            let dir = with_two(&journal, at);
            let arguments = [format!("trace={call}"), format!("inject={call}:signal=KILL:when={nth}")];
            let ended = victim(&strace, dir.path(), &["-o", "/dev/null", "-e", &arguments[0], "-e", &arguments[1]]);
            let store = Store::of(dir.path());
            if ended.status.success() {
                assert!(contents(&dir.path().join("checkpoints")) == whole, "it came through");
                break;
            }
            assert_eq!(ended.status.signal(), Some(9), "{ended:?}");
            kills += 1;
            let recovered = assert_recovers(&store, &journal, &market.entries);
            assert!(recovered.passed_over.is_empty(), "{call} {nth}: {:?}", recovered.passed_over);
            assert!(at[1..].contains(&recovered.from), "{call} {nth}");
            seen[usize::from(recovered.from == at[2])] += 1;
            // The one to fall back to is whole, too.
            let newest = manifests(dir.path()).pop().expect("there are two at least");
            let kept = fs::read(&newest).expect("it is there");
            fs::remove_file(&newest).expect("it is there");
            let fallen_back = recover(&store, &journal).expect("a sound journal");
            assert!(fallen_back.passed_over.is_empty() && fallen_back.from.seq < recovered.from.seq);
            assert!(fallen_back.from.seq.0 > 0, "{call} {nth}");
            fs::write(&newest, kept).expect("it can be written");
            make(&store, &journal, at[2], PLENTY).expect("there is room");
            assert!(contents(&dir.path().join("checkpoints")) == whole, "{call} {nth}: the next run clears the rest");
        }
    }
    assert!(kills > 20 && seen[0] > 8 && seen[1] > 5, "{kills} kills, {seen:?}");
    println!("killed at {kills} system calls: {seen:?} before and after the new one stood");
}

/// What was done to which file, in order.
fn calls(trace: &str) -> Vec<(&str, &str)> {
    let done = trace.lines().filter(|line| line.ends_with(" = 0") && line.contains("/checkpoints"));
    let named = done.filter_map(|line| {
        let (call, rest) = line.rsplit_once("/checkpoints")?;
        let path = rest.split(['>', '"']).next()?;
        let before = call.split('(').next()?;
        Some((before.rsplit(' ').next()?, path))
    });
    named.collect()
}

/// Whether everything is durable before what rests on it.
fn order_of_syncs(calls: &[(&str, &str)]) -> Result<(), String> {
    let is_sync = |call: &str| call == "fsync" || call == "fdatasync";
    let first =
        |from: usize, wanted: &dyn Fn(&(&str, &str)) -> bool| calls[from..].iter().position(wanted).map(|at| from + at);
    for (at, (call, path)) in calls.iter().enumerate().filter(|(_, (call, _))| *call == "rename") {
        let partial = format!("{path}.partial");
        if !calls[..at].iter().any(|(sync, of)| is_sync(sync) && *of == partial) {
            return Err(format!("{call} of {path} before its bytes were synced"));
        }
    }
    let manifest = first(0, &|(call, path)| *call == "rename" && path.ends_with(".manifest")).ok_or("no manifest")?;
    let last_piece = calls.iter().rposition(|(call, path)| *call == "rename" && path.starts_with("/pieces/"));
    let last_piece = last_piece.ok_or("no piece")?;
    let pieces = first(last_piece, &|(call, path)| is_sync(call) && *path == "/pieces").ok_or("pieces not synced")?;
    if pieces > manifest {
        return Err("the manifest stood before its pieces' names were synced".to_owned());
    }
    let stands = first(manifest, &|(call, path)| is_sync(call) && path.is_empty()).ok_or("manifest not synced")?;
    let removed = first(0, &|(call, _)| *call == "unlink").ok_or("nothing was removed")?;
    if removed < stands {
        return Err("something was removed before the manifest was synced".to_owned());
    }
    let last_manifest = calls.iter().rposition(|(call, path)| *call == "unlink" && path.ends_with(".manifest"));
    let gone = first(last_manifest.ok_or("no manifest was removed")?, &|(call, path)| is_sync(call) && path.is_empty());
    let first_piece = first(0, &|(call, path)| *call == "unlink" && path.starts_with("/pieces/"));
    if gone.ok_or("the removal of a manifest was not synced")? > first_piece.ok_or("no piece was removed")? {
        return Err("a piece was removed before the manifest that names it was gone for good".to_owned());
    }
    Ok(())
}

#[test]
fn what_a_checkpoint_rests_on_is_durable_before_it() {
    let Some(strace) = strace() else { return };
    let (_, journal, at) = scene();
    let dir = with_two(&journal, at);
    let trace = dir.path().join("trace");
    let output = trace.to_str().expect("a path of text");
    let ended = victim(&strace, dir.path(), &["-o", output, "-e", "trace=fsync,fdatasync,rename,unlink,openat"]);
    assert!(ended.status.success(), "{ended:?}");
    let trace = fs::read_to_string(trace).expect("strace wrote it");
    assert_eq!(order_of_syncs(&calls(&trace)), Ok(()), "{trace}");
    // All of it was read back in between.
    let begin = trace.rfind("/checkpoints/pieces>) = 0").expect("the pieces' names were synced");
    let end = trace.find(".manifest\") = 0").expect("the manifest was renamed");
    let newest = &Store::of(dir.path()).list().expect("it can be listed")[0];
    for piece in named(dir.path(), newest) {
        let piece = piece.to_str().expect("a path of text");
        assert!(trace[begin..end].contains(&format!("{piece}\", O_RDONLY")), "{piece} was not read back: {trace}");
    }
}

#[test]
fn a_sync_that_is_missing_or_late_is_seen_in_a_trace() {
    let sound = [
        ("fsync", "/pieces/1.partial"),
        ("rename", "/pieces/1"),
        ("fsync", "/pieces"),
        ("fsync", "/2.manifest.partial"),
        ("rename", "/2.manifest"),
        ("fsync", ""),
        ("unlink", "/1.manifest"),
        ("fsync", ""),
        ("unlink", "/pieces/0"),
    ];
    assert_eq!(order_of_syncs(&sound), Ok(()));
    for at in 0..sound.len() {
        let mut missing = sound.to_vec();
        missing.remove(at);
        assert!(order_of_syncs(&missing).is_err(), "without {:?}", sound[at]);
    }
    for (from, to) in [(2, 1), (2, 4), (5, 6), (7, 8)] {
        let mut late = sound.to_vec();
        let moved = late.remove(from);
        late.insert(to, moved);
        assert!(order_of_syncs(&late).is_err(), "{:?} at {to}", sound[from]);
    }
}

#[test]
fn the_victim_has_no_room() {
    let Some(dir) = std::env::var_os(VICTIM_WITHOUT_ROOM) else { return };
    let data = Path::new(&dir);
    fs::create_dir(data.join("journal")).expect("there is room for that");
    let (market, journal, at) = scene();
    let store = Store::of(data);
    make(&store, &journal, at[0], PLENTY).expect("there is room");
    let before = contents(data);
    let mut fillers = Vec::new();
    let no_room = |error: &io::Error| error.kind() == io::ErrorKind::StorageFull;
    loop {
        let filler = data.join(format!("filler-{}", fillers.len()));
        match fs::write(&filler, "") {
            Ok(()) => fillers.push(filler),
            Err(error) => break assert!(no_room(&error), "{error}"),
        }
    }
    // Room for none of its files, then for one: it fails at another step each time.
    for room in 0..2 {
        fillers.drain(..room).for_each(|filler| fs::remove_file(filler).expect("it is there"));
        let failed = make(&store, &journal, at[1], PLENTY).expect_err("there is no room");
        let is_full = matches!(&failed, Error::Persist(persist::Error::Io { source, .. }) if no_room(source));
        assert!(is_full, "{failed}");
        let mut kept = contents(data);
        kept.retain(|path, _| !path.to_string_lossy().starts_with("filler-"));
        assert!(before == kept, "what was written for nothing is gone");
        assert_eq!(assert_recovers(&store, &journal, &market.entries).from, at[0]);
    }
    fillers.iter().for_each(|filler| fs::remove_file(filler).expect("it is there"));
    make(&store, &journal, at[1], PLENTY).expect("there is room again");
    assert_eq!(assert_recovers(&store, &journal, &market.entries).from, at[1]);
    println!("had no room");
}

#[test]
fn no_room_leaves_the_checkpoint_before_and_takes_none_from_the_journal() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let script = "mount -t tmpfs -o nr_inodes=24 none \"$0\" && exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", script]).arg(dir.path()).arg(this_test());
    command.args(["--exact", "the_victim_has_no_room", "--test-threads=1", "--nocapture"]);
    let ended = command.env(VICTIM_WITHOUT_ROOM, dir.path()).output().expect("unshare starts");
    let (said, failed) = (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    if said.is_empty() {
        println!("NOT RUN: no room, as this user may not mount a small disk (run as root): {failed}");
        return;
    }
    assert!(ended.status.success() && said.contains("had no room"), "{said}\n{failed}");
}
