//! `kill -9` at random moments: every event that was acknowledged is there afterwards, and the chain holds.
//!
//! The test runs itself as the victim: a child that appends through the writer as fast as it can and prints what was
//! acknowledged. `DOORBUSTER_KILL_ROUNDS` asks for more rounds, `DOORBUSTER_KILL_SEED` for others.

mod journal;

use std::io::{BufRead, BufReader, Write, stdout};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use doorbuster::persist::{Acknowledge, Generations, Journal, Options, Submission, Writer, open_copy_read_only};
use journal::{assert_orders, open, order};
use smallvec::smallvec;

const VICTIM: &str = "DOORBUSTER_KILL_VICTIM";
/// Some twenty thousand events fill one, or some two hundred: so that a kill meets appends mostly, or switches and seals.
const GENERATIONS: [u64; 2] = [1_500_000, 15_000];
const GENERATION: &str = "DOORBUSTER_KILL_GENERATION";
/// How a victim ends whose journal failed.
const FAULT: i32 = 74;

/// Prints its number: from then on the parent counts on it.
struct Print(u64);

impl Acknowledge for Print {
    fn durable(self) {
        // One write a line, so that a kill cuts no line in two that the parent could misread.
        stdout().write_all(format!("durable {}\n", self.0).as_bytes()).expect("the parent reads");
    }
}

fn from_env(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().expect("the variable is a number"))
}

#[test]
fn the_victim_appends_until_it_is_killed() {
    let Some(dir) = std::env::var_os(VICTIM) else { return };
    let max_bytes = from_env(GENERATION, GENERATIONS[0]);
    let generations = Generations { max_bytes, ..Generations::default() };
    let journal = doorbuster::persist::open(Path::new(&dir), &generations).expect("what was killed before adds up");
    let next = u32::try_from(journal.tail().seq.0).expect("a small number") + 1;
    let on_fault = Box::new(|error| {
        eprintln!("{error}");
        std::process::exit(FAULT);
    });
    let options = Options { queue_submissions_max: 256, observe: Box::new(()), on_fault };
    let writer = Writer::spawn(journal, options).expect("a thread can be started");
    for n in next.. {
        let submission = Submission { entries: smallvec![order(n)], ack: Print(u64::from(n)) };
        writer.handle().submit(submission).expect("the writer runs, or swallows");
    }
}

fn this_test() -> PathBuf {
    std::env::current_exe().expect("the test runs from a file")
}

/// A child that appends to the journal in `dir`, and the numbers that it says are durable.
struct Victim {
    child: Child,
    durable: Receiver<u64>,
}

impl Victim {
    fn start(dir: &Path, generation: u64) -> Self {
        Self::run(dir, Command::new(this_test()).env(GENERATION, generation.to_string()))
    }

    /// Starts one whose files may not grow past a size of 2 MiB (4, where the shell counts in other blocks): to it, the
    /// disk is full then.
    fn start_on_a_small_disk(dir: &Path) -> Self {
        let limited = "trap '' XFSZ; ulimit -f 4096; exec \"$0\" \"$@\"";
        Self::run(dir, Command::new("sh").args(["-c", limited]).arg(this_test()))
    }

    fn run(dir: &Path, command: &mut Command) -> Self {
        let mut child = command
            .args(["--exact", "the_victim_appends_until_it_is_killed", "--nocapture", "--test-threads=1"])
            .env(VICTIM, dir)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the test can run itself");
        let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let (told, durable) = channel();
        thread::spawn(move || {
            for line in lines {
                // Other lines are the test runner's, and may stand before ours.
                if let Some((_, number)) = line.expect("the pipe can be read").rsplit_once("durable ") {
                    let _ = told.send(number.parse().expect("a line is written whole"));
                }
            }
        });
        Self { child, durable }
    }

    /// Kills it, and returns what it had said by then: that was promised too.
    fn kill(mut self) -> Vec<u64> {
        self.child.kill().expect("it runs until it is killed");
        self.child.wait().expect("it was killed");
        self.durable.iter().collect()
    }
}

/// Lets a victim acknowledge `count` events, and kills it at some moment after that.
fn kill_at_work(dir: &Path, generation: u64, count: usize) -> Vec<u64> {
    let victim = Victim::start(dir, generation);
    let mut said: Vec<u64> = victim.durable.iter().take(count).collect();
    assert_eq!(said.len(), count, "the victim does not end by itself");
    said.extend(victim.kill());
    said
}

/// Kills a victim as soon as it has set its copy aside: while it opens and checks the journal, most often.
fn kill_in_recovery(dir: &Path, generation: u64) -> Vec<u64> {
    let is_aside = || {
        let mut names = std::fs::read_dir(dir.join("journal")).into_iter().flatten().flatten();
        names.any(|entry| entry.file_name().to_string_lossy().starts_with("aside-"))
    };
    let victim = Victim::start(dir, generation);
    let mut said = Vec::new();
    // Where it was too quick to be seen at it, it is killed at work.
    while !is_aside() && said.is_empty() {
        said.extend(victim.durable.try_recv());
        thread::yield_now();
    }
    said.extend(victim.kill());
    said
}

#[test]
fn every_acknowledged_event_survives_kill_minus_nine() {
    let seed = from_env("DOORBUSTER_KILL_SEED", 0xDB);
    let rounds = from_env("DOORBUSTER_KILL_ROUNDS", 16);
    let mut random = seed.max(1);
    let data = tempfile::tempdir().expect("a temporary directory");
    let mut tail = 0;
    for round in 0..rounds {
        let context = format!("seed {seed}, round {round}");
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // A count of acknowledgements rather than a time: the moment within a group is as random, and nothing sleeps.
        let count = usize::try_from((random >> 33) % 3000).expect("a small number");
        let generation = GENERATIONS[usize::from(random & (1 << 40) == 0)];
        let in_recovery = count % 3 == 0;
        let said = if in_recovery {
            kill_in_recovery(data.path(), generation)
        } else {
            kill_at_work(data.path(), generation, count)
        };
        let expected: Vec<u64> = (tail + 1..).take(said.len()).collect();
        assert_eq!(said, expected, "acknowledged in order, on from the tail. {context}");
        let copy = open_copy_read_only(data.path()).unwrap_or_else(|error| panic!("{error}. {context}"));
        let acknowledged = tail + said.len() as u64;
        // What was durable and not acknowledged stays: the next victim goes on from the tail.
        tail = copy.tail().seq.0;
        assert!(tail >= acknowledged, "{acknowledged} was acknowledged, {tail} is there. {context}");
        assert_orders(&copy, tail);
    }
    let journal = open(data.path()).expect("what was killed adds up");
    assert_eq!(assert_orders(&journal, tail), journal.tail());
}

#[test]
fn a_full_disk_ends_in_a_fault_and_every_acknowledged_event_is_there() {
    let data = tempfile::tempdir().expect("a temporary directory");
    let mut victim = Victim::start_on_a_small_disk(data.path());
    let said: Vec<u64> = victim.durable.iter().collect();
    let ended = victim.child.wait().expect("it was started");
    assert_eq!(ended.code(), Some(FAULT), "the writer told of the fault, and nothing waits for ever");
    assert!(!said.is_empty(), "there was room for some");
    let journal = open(data.path()).expect("there is room again, and what was acknowledged adds up");
    assert!(journal.tail().seq.0 >= said.len() as u64);
    assert_orders(&journal, journal.tail().seq.0);
}
