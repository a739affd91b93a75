//! `kill -9` at random moments: every event that was acknowledged is there afterwards, and the chain holds.
//!
//! The test runs itself as the victim: a child that appends through the writer as fast as it can and prints what was
//! acknowledged. `DOORBUSTER_KILL_ROUNDS` asks for more rounds, `DOORBUSTER_KILL_SEED` for others.

mod journal;

use std::io::{BufRead, BufReader, Write, stdout};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use doorbuster::persist::{Acknowledge, Journal, Options, Submission, Writer, open, open_copy_read_only};
use journal::{assert_orders, order};
use smallvec::smallvec;

const VICTIM: &str = "DOORBUSTER_KILL_VICTIM";

/// Prints its number: from then on the parent counts on it.
struct Print(u64);

impl Acknowledge for Print {
    fn durable(self) {
        // One write a line, so that a kill cuts no line in two that the parent could misread.
        stdout().write_all(format!("durable {}\n", self.0).as_bytes()).expect("the parent reads");
    }
}

#[test]
fn the_victim_appends_until_it_is_killed() {
    let Some(dir) = std::env::var_os(VICTIM) else { return };
    let journal = open(Path::new(&dir)).expect("what was killed before adds up");
    let next = u32::try_from(journal.tail().seq.0).expect("a small number") + 1;
    let on_fault = Box::new(|error| panic!("{error}"));
    let options = Options { queue_submissions_max: 256, observe: Box::new(()), on_fault };
    let writer = Writer::spawn(journal, options).expect("a thread can be started");
    for n in next.. {
        let submission = Submission { entries: smallvec![order(n)], ack: Print(u64::from(n)) };
        writer.handle().submit(submission).expect("the writer runs");
    }
}

fn victim(dir: &Path) -> Child {
    let this = std::env::current_exe().expect("the test runs from a file");
    Command::new(this)
        .args(["--exact", "the_victim_appends_until_it_is_killed", "--nocapture", "--test-threads=1"])
        .env(VICTIM, dir)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the test can run itself")
}

fn from_env(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().expect("the variable is a number"))
}

#[test]
fn every_acknowledged_event_survives_kill_minus_nine() {
    let seed = from_env("DOORBUSTER_KILL_SEED", 0xDB);
    let rounds = from_env("DOORBUSTER_KILL_ROUNDS", 10);
    let mut random = seed.max(1);
    let data = tempfile::tempdir().expect("a temporary directory");
    let mut acknowledged = 0;
    for round in 0..rounds {
        let context = format!("seed {seed}, round {round}");
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // A count of acknowledgements rather than a time: the moment within a group is as random, and nothing sleeps.
        let until = (random >> 33) % 3000;
        let mut child = victim(data.path());
        let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let mut read = |acknowledged: &mut u64| {
            let line = lines.next()?.expect("the pipe can be read");
            // Other lines are the test runner's, and may stand before ours.
            if let Some((_, number)) = line.rsplit_once("durable ") {
                let number: u64 = number.parse().expect("a line is written whole");
                assert_eq!(number, *acknowledged + 1, "acknowledged in order. {context}");
                *acknowledged = number;
            }
            Some(())
        };
        let enough = acknowledged + until;
        while acknowledged < enough {
            read(&mut acknowledged).expect("the victim does not end by itself");
        }
        child.kill().expect("it runs until it is killed");
        // What it printed before the kill reached it was promised too.
        while read(&mut acknowledged).is_some() {}
        child.wait().expect("it was killed");
        let copy = open_copy_read_only(data.path()).unwrap_or_else(|error| panic!("{error}. {context}"));
        let tail = copy.tail().seq.0;
        assert!(tail >= acknowledged, "{acknowledged} was acknowledged, {tail} is there. {context}");
        assert_orders(&copy, tail);
        // The next victim opens the original. It goes on from the tail: what was durable and not acknowledged stays.
        acknowledged = tail;
    }
    let journal = open(data.path()).expect("what was killed adds up");
    assert_eq!(assert_orders(&journal, acknowledged), journal.tail());
}
