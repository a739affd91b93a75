//! What only the kernel can tell: that each reply leaves after an fdatasync of its own record, that a start after a clean
//! stop copies nothing, and that a kill at any single system call of a start leaves what starts again.
//!
//! Needs strace (`make test` fetches it); without it these tests fail with `NOT RUN`, unless SKIP has the word strace.

mod server;

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};
use server::{PATIENCE, Sale, Server, Stage, until};

/// Every call by which the program listens, speaks or changes files.
const CALLS: &str = "read,recvfrom,write,writev,sendto,sendmsg,pwrite64,pwritev,fdatasync,fsync,sync_file_range,?mkdir,mkdirat,\
                     ?rename,renameat,renameat2,?unlink,unlinkat,?rmdir,ftruncate,openat";

/// strace's path; `None` where it is to be done without.
fn strace() -> Option<PathBuf> {
    let unpacked = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/target/tools/usr/bin/strace"));
    let places = [PathBuf::from("strace"), unpacked];
    let works = |place: &PathBuf| Command::new(place).arg("-V").output().is_ok_and(|ended| ended.status.success());
    let found = places.into_iter().find(works);
    if found.is_none() {
        println!("NOT RUN: strace is missing, so nobody watched the system calls; apt-get install strace");
        let skip = std::env::var("SKIP").unwrap_or_default();
        let skipped = skip.split([',', ' ']).any(|word| word == "strace");
        assert!(skipped, "NOT RUN: strace is missing; apt-get install strace, or say SKIP=strace");
    }
    found
}

/// The server under strace. strace ends as its program does, and where the test fails both are ended.
struct Traced<'a> {
    server: Server,
    stage: &'a Stage,
}

impl<'a> Traced<'a> {
    /// Starts both, strace with `arguments`.
    fn spawn(stage: &'a Stage, strace: &Path, arguments: &[&str]) -> Self {
        let serve = stage.command(&["serve"]);
        let mut command = Command::new(strace);
        command.args(["-f", "-y", "-ttt", "-o"]).arg(stage.path("trace")).args(arguments);
        let server = Server::spawn_as(stage, command.arg(serve.get_program()).args(serve.get_args()));
        Self { server, stage }
    }

    /// Signals the program, which its lock names.
    fn signal(&self, signal: Signal) {
        let words = fs::read_to_string(self.stage.path("data/LOCK")).unwrap_or_default();
        let digits = words.strip_prefix("pid ").and_then(|rest| rest.split(',').next());
        if let Some(pid) = digits.and_then(|digits| Pid::from_raw(digits.parse().ok()?)) {
            // It may have ended already; whoever waits for it sees how.
            let _sent = kill_process(pid, signal);
        }
    }

    fn stop(mut self) {
        self.signal(Signal::TERM);
        assert_eq!(self.server.wait_within(PATIENCE).code(), Some(0), "{}", self.server.log());
    }
}

impl Drop for Traced<'_> {
    fn drop(&mut self) {
        if self.server.runs() && self.server.ended().is_none() {
            self.signal(Signal::KILL);
        }
    }
}

/// What happened, in the order in which the kernel was asked: a call's beginning, and its end with success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The request has arrived.
    Asked,
    /// The record's bytes are with the kernel.
    Written,
    SyncBegins,
    SyncEnds,
    ReplyBegins,
}

/// The steps of a trace. A call that others interrupt stands in two lines: `<unfinished ...>`, `<... resumed>`.
fn steps(trace: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut unfinished: Vec<(&str, &str)> = Vec::new();
    for line in trace.lines() {
        // Short process ids are followed by more than one space.
        let Some((pid, rest)) = line.split_once(' ') else { continue };
        let Some((_time, call)) = rest.trim_start().split_once(' ') else { continue };
        let resumed = call.strip_prefix("<... ").is_some();
        let begun = if resumed {
            let at = unfinished.iter().rposition(|(other, _)| *other == pid).expect("what resumes has begun");
            unfinished.remove(at).1
        } else {
            call
        };
        let on_journal =
            begun.split_once('>').is_some_and(|(start, _)| start.contains("/journal/gen-") && start.ends_with("/db"));
        let is_sync = begun.starts_with("fdatasync(") || begun.starts_with("fsync(");
        if !resumed && is_sync && on_journal {
            steps.push(Step::SyncBegins);
        }
        if !resumed && begun.contains("HTTP/1.1 201") {
            steps.push(Step::ReplyBegins);
        }
        if call.ends_with("<unfinished ...>") {
            unfinished.push((pid, begun));
            continue;
        }
        let result = call.rsplit_once(" = ").map_or("", |(_, result)| result.trim());
        if (begun.starts_with("recvfrom(") || begun.starts_with("read(")) && call.contains("\"POST /v1/") {
            steps.push(Step::Asked);
        }
        let wrote = begun.starts_with("pwrite") || begun.starts_with("write");
        if wrote && on_journal && !result.starts_with(['-', '?']) {
            steps.push(Step::Written);
        }
        if is_sync && on_journal && result == "0" {
            steps.push(Step::SyncEnds);
        }
    }
    steps
}

/// How many replies left; each only after the record that its request caused was written, and after that synced from
/// beginning to end. Requests come one by one, so what is written between a request and its reply is its own.
fn replies_after_their_syncs(steps: &[Step]) -> Result<usize, String> {
    let mut replies = 0;
    for of_one in steps.split_inclusive(|step| *step == Step::ReplyBegins) {
        if of_one.last() != Some(&Step::ReplyBegins) {
            continue;
        }
        replies += 1;
        let from = |start: usize, wanted| of_one[start..].iter().position(|step| *step == wanted).map(|at| start + at);
        let asked = of_one.iter().rposition(|step| *step == Step::Asked);
        let written = asked.and_then(|at| from(at, Step::Written));
        let synced = written.and_then(|at| from(at, Step::SyncBegins)).and_then(|at| from(at, Step::SyncEnds));
        if synced.is_none() {
            return Err(format!("reply {replies} left before its record was synced: {of_one:?}"));
        }
    }
    Ok(replies)
}

#[test]
fn each_reply_leaves_after_an_fdatasync_that_began_when_its_record_was_written() {
    let Some(strace) = strace() else { return };
    let stage = Stage::set(Sale::default());
    let mut traced = Traced::spawn(&stage, &strace, &["-e", &format!("trace={CALLS}")]);
    traced.server.wait_until_ready(&stage);
    for user in 1..=8 {
        assert_eq!(stage.order(user, Some("mine")).expect("it answers").status, 201);
    }
    traced.stop();
    let trace = fs::read_to_string(stage.path("trace")).expect("strace wrote it");
    assert_eq!(replies_after_their_syncs(&steps(&trace)), Ok(8));
}

#[test]
fn a_reply_before_its_sync_is_seen_in_a_trace() {
    let db = "16<x/journal/gen-00000001/db>";
    let write = format!("1 1.0 pwrite64({db}, \"a\", 1, 0) = 1\n");
    let (begin, end) = (format!("2  1.0 fdatasync({db} <unfinished ...>\n"), "2 1.0 <... fdatasync resumed>) = 0\n");
    let reply = "3 1.0 sendto(9<socket:[1]>, \"HTTP/1.1 201 Created\", 20, 0, NULL, 0) = 20\n";
    let ask = "3 1.0 recvfrom(9<socket:[1]>, \"POST /v1/flash-sales/1\", 99, 0, NULL, NULL) = 22\n";
    let of = |lines: &[&str]| replies_after_their_syncs(&steps(&lines.concat()));
    assert_eq!(of(&[ask, &write, &begin, end, reply]), Ok(1));
    assert!(of(&[ask, &write, reply]).is_err(), "no sync");
    assert!(of(&[ask, &begin, &write, end, reply]).is_err(), "a sync that began before the write may miss it");
    assert!(of(&[ask, &write, &begin, reply, end]).is_err(), "a sync that has not ended");
    assert!(of(&[ask, &write, &begin, end, reply, ask, reply]).is_err(), "the second reply has none of its own");
    assert!(of(&[&write, &begin, end, ask, reply, &write, &begin, end]).is_err(), "a reply before its write");
    let failed = "2 1.0 <... fdatasync resumed>) = -1 EIO (Input/output error)\n";
    assert!(of(&[ask, &write, &begin, failed, reply]).is_err(), "a sync that failed");
}

#[test]
fn only_after_an_unclean_stop_is_the_journal_set_aside() {
    let Some(strace) = strace() else { return };
    let stage = Stage::set(Sale::default());
    let copies = |stage: &Stage| {
        let mut traced = Traced::spawn(stage, &strace, &["-e", &format!("trace={CALLS}")]);
        traced.server.wait_until_ready(stage);
        assert_eq!(stage.order(1, Some("mine")).expect("it answers").status / 100, 2);
        traced.stop();
        let trace = fs::read_to_string(stage.path("trace")).expect("strace wrote it");
        trace.lines().any(|line| line.contains("rename") && line.contains("aside-gen-00000001"))
    };
    assert!(!copies(&stage), "there is nothing to copy yet");
    assert!(!copies(&stage), "the stop was clean, so nothing is copied");
    Server::start(&stage).kill();
    assert!(copies(&stage), "it was killed");
    assert!(!copies(&stage), "and clean again");
}

/// The calls that change a journal's directory, and how many of each a start makes at most. strace counts each kind by
/// itself in each thread, those on other files included.
const KILLED_AT: [(&str, usize); 11] = [
    ("write", 6),
    ("mkdir", 9),
    ("pwrite64", 7),
    ("fsync", 32),
    ("rename", 4),
    ("unlink", 8),
    ("unlinkat", 9),
    ("ftruncate", 4),
    ("copy_file_range", 5),
    ("sync_file_range", 2),
    ("fdatasync", 3),
];

fn calls() -> impl Iterator<Item = (&'static str, usize)> {
    KILLED_AT.iter().flat_map(|(call, most)| (1..=*most).map(move |at| (*call, at)))
}

/// Starts the server and has it killed as some thread makes its `at`-th `call` if that is in the journal's directory;
/// `false` where the server was ready before.
fn kill_at_call(stage: &Stage, strace: &Path, (call, at): (&str, usize)) -> bool {
    let journal = stage.journal();
    let mut paths = vec![journal.clone()];
    paths.extend(["witness", "clean", "clean.partial"].map(|name| journal.join(name)));
    for dir in ["gen-00000001", "gen-00000001.partial", "aside-gen-00000001", "aside-gen-00000001.partial"] {
        paths.extend(["", "db", "conf", "blobs"].map(|name| journal.join(dir).join(name)));
    }
    let (trace, inject) = (format!("trace={call}"), format!("inject={call}:signal=KILL:when={at}"));
    let mut arguments = vec!["-e".to_owned(), trace, "-e".to_owned(), inject];
    for path in paths {
        let path = path.to_str().expect("a path of text").trim_end_matches('/').to_owned();
        arguments.extend(["-P".to_owned(), path]);
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut traced = Traced::spawn(stage, strace, &arguments);
    let mut killed = false;
    until("it is killed or ready", || {
        if let Some(ended) = traced.server.ended() {
            assert_eq!(ended.signal(), Some(Signal::KILL.as_raw()), "{ended:?}: {}", traced.server.log());
            killed = true;
        }
        killed || stage.readyz().is_ok_and(|reply| reply.status == 200)
    });
    if !killed {
        traced.signal(Signal::KILL);
    }
    traced.server.wait_within(PATIENCE);
    killed
}

#[test]
fn a_kill_at_any_system_call_of_a_first_start_leaves_what_starts_again() {
    let Some(strace) = strace() else { return };
    let stage = Stage::set(Sale::default());
    let mut kills = 0;
    for call in calls() {
        if stage.path("data").exists() {
            fs::remove_dir_all(stage.path("data")).expect("nobody uses it");
        }
        if kill_at_call(&stage, &strace, call) {
            kills += 1;
            Server::start(&stage).kill();
        }
    }
    assert!(kills > 20, "some of the calls were met: {kills}");
    println!("killed at {kills} system calls of a first start");
}

#[test]
fn a_kill_at_any_system_call_of_a_recovery_leaves_what_recovers() {
    let Some(strace) = strace() else { return };
    let stage = Stage::set(Sale::default());
    let server = Server::start(&stage);
    assert_eq!(stage.order(1, Some("mine")).expect("it answers").status, 201);
    server.kill();
    let mut kills = 0;
    for call in calls() {
        // Twice the same, for the second meets what the first left.
        if kill_at_call(&stage, &strace, call) {
            kills += 1 + usize::from(kill_at_call(&stage, &strace, call));
            let server = Server::start(&stage);
            assert_eq!(stage.stats().held, 1, "what was acknowledged is kept, whatever call the kill met: {call:?}");
            server.kill();
        }
    }
    assert!(kills > 30, "some of the calls were met: {kills}");
    println!("killed at {kills} system calls of recoveries");
    stage.assert_audit_holds(false);
}
