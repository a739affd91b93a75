//! One round of the rain campaign: a crowd grabs red packets, an operator pauses and resumes under it, and the server is
//! killed again and again. Afterwards the journal, the server, MySQL where it is shipped to, and the clients' log must
//! agree on each round, to the packet and to the cent.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::fs;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::thread;
use std::time::{Duration, Instant};

use loadtest::{AcksFile, Mode, Plan, Shares, Sums};
use serde_json::Value;

use super::operator::Operator;
use super::{Crowd, Over};
use crate::server::{ACTIVITY, Dice, PATIENCE, Rain, SECRET, Server, Stage, until};

/// What a round is like.
#[derive(Clone, Copy, Debug)]
pub struct Script {
    pub seed: u64,
    pub rain: Rain,
    /// Distinct users, far more than packets.
    pub users: u64,
    pub mode: Mode,
    pub connections: usize,
    pub kills: u64,
}

/// What became of a round's budget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Split {
    pub granted: Sums,
    pub refunded: Sums,
}

/// Each round's, by its number.
pub type Splits = BTreeMap<u64, Split>;

/// What came of a round of the campaign.
#[derive(Debug, Default)]
pub struct Outcome {
    pub seed: u64,
    /// While packets were left.
    pub kills_in_rain: u64,
    /// How many grants the crowd had heard of at the last of them.
    pub heard_at_kill: u64,
    pub kills_in_start: u64,
    pub audits: u64,
    pub operator_changes: u64,
    pub asked: u64,
    pub retries: u64,
    pub acks: u64,
    /// By the journal; the server says the same.
    pub rounds: Splits,
    /// What was granted in each round, by the clients' log.
    pub by_clients: BTreeMap<u64, Sums>,
    pub table: String,
    /// What the last audit printed.
    pub audit: String,
    pub seconds: f64,
}

/// Plays a round; panics where anything does not hold. The stage is left as the audit found it, its server stopped.
pub fn play(script: &Script, stage: &Stage) -> Outcome {
    let begun = Instant::now();
    let mut dice = Dice::new(script.seed);
    let mut outcome = Outcome { seed: script.seed, ..Outcome::default() };
    let server = Server::start(stage);
    let crowd = Crowd::send(plan(script, stage));
    let (over, asked) = (AtomicBool::new(false), AtomicU64::new(0));
    let server = thread::scope(|scope| {
        let operator = Operator::new(stage, Dice::new(!script.seed), 400, &asked);
        let operator = scope.spawn(|| operator.work_in_rain(&over));
        let server = {
            let _over = Over(&over);
            let server = kill(script, stage, server, &crowd, &mut dice, &mut outcome);
            // However long the crowd takes, each of its requests has an end.
            while !crowd.is_over() {
                thread::sleep(Duration::from_millis(20));
            }
            server
        };
        outcome.operator_changes = operator.join().expect("the operator does not panic").changes;
        server
    });
    let report = crowd.join();
    let told = report.rain.as_ref().expect("it rained");
    (outcome.asked, outcome.retries, outcome.table) = (report.asked, report.retries, report.table());
    assert_eq!((told.unknown, told.rounds.is_empty()), (0, false), "{}", report.table());
    assert!(told.rounds.iter().all(|round| round.verified && round.told == round.granted), "{}", report.table());
    let activity = stage.activity().text;
    until_shipped(stage);
    if dice.one_in(2) {
        server.kill()
    } else {
        server.stop()
    }
    outcome.audit = audit(stage);
    outcome.audits += 1;
    verify_split(stage, &activity);
    outcome.rounds = in_journal(stage);
    for round in &told.rounds {
        let of = outcome.rounds[&(round.round as u64)];
        assert_eq!((of.granted, of.refunded), (round.granted, round.refunded), "journal and server: {outcome}");
        assert_eq!(of.granted.and(of.refunded), round.total, "M1: {outcome}");
    }
    (outcome.acks, outcome.by_clients) = in_acks(stage);
    let granted = outcome.rounds.iter().map(|(round, of)| (*round, of.granted)).filter(|(_, of)| of.packets > 0);
    assert_eq!(granted.collect::<BTreeMap<_, _>>(), outcome.by_clients, "journal and clients: {outcome}");
    outcome.seconds = begun.elapsed().as_secs_f64();
    outcome
}

/// The crowd of a round.
pub fn plan(script: &Script, stage: &Stage) -> Plan {
    Plan {
        target: stage.shopper,
        attempts: script.users,
        connections: script.connections,
        mode: script.mode,
        seed: script.seed,
        per_user_limit: script.rain.per_user_limit,
        shares: Shares { latecomers: 0.0, ..Shares::default() },
        ride_out: PATIENCE,
        rain: Some(loadtest::Rain { operator: stage.operator, close: true }),
        acks: Some(AcksFile { path: stage.path("acks.jsonl"), append: true }),
        ..Plan::new(ACTIVITY, SECRET)
    }
}

/// Kills as often as the script says while packets are left; gives the last server, which is ready.
fn kill(
    script: &Script,
    stage: &Stage,
    first: Server,
    crowd: &Crowd,
    dice: &mut Dice,
    outcome: &mut Outcome,
) -> Server {
    let mut server = first;
    let share = script.rain.packets / (script.kills + 1);
    for kill in 0..script.kills {
        if kill > 0 && dice.one_in(3) {
            thread::sleep(Duration::from_millis(dice.below(120)));
            outcome.kills_in_start += 1;
        } else {
            let more = crowd.accepted() + 1 + dice.below(share.max(2) / 2);
            until("the crowd grabs on", || crowd.accepted() >= more || crowd.is_over());
            // The crowd shows its count ten times a second; the moment in between is chance too.
            thread::sleep(Duration::from_micros(dice.below(60_000)));
            if crowd.accepted() < script.rain.packets {
                (outcome.kills_in_rain, outcome.heard_at_kill) = (outcome.kills_in_rain + 1, crowd.accepted());
            }
        }
        server.kill();
        if dice.one_in(2) {
            stage.assert_audit_holds(true);
            outcome.audits += 1;
        }
        server = Server::spawn(stage);
    }
    server.wait_until_ready(stage);
    server
}

fn until_shipped(stage: &Stage) {
    let begun = Instant::now();
    loop {
        let mysql = &stage.state()["mysql"];
        if mysql.is_null() || (mysql["connected"] == true && mysql["lag_events"] == 0) {
            return;
        }
        assert!(begun.elapsed() < 5 * PATIENCE, "MySQL never has everything: {mysql}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// The audit, in which there was something to check of each of these.
fn audit(stage: &Stage) -> String {
    let acks = stage.path("acks.jsonl");
    let ended = stage.run(&["audit", "--acks", acks.to_str().expect("a path of text")]);
    assert_eq!(ended.code, Some(0), "the audit holds: {ended:?}");
    for id in ["S1", "S2", "U2", "M1", "M2", "M4", "A1"] {
        let row = ended.out.lines().find(|line| line.contains(&format!(" {id} ")));
        assert!(row.is_some_and(|row| row.contains("holds")), "{id}: {}", ended.out);
    }
    ended.out
}

/// What is public must give every packet's amount, by the program's own reckoning too.
fn verify_split(stage: &Stage, activity: &str) {
    let file = stage.path("activity.json");
    fs::write(&file, activity).expect("it can be written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_doorbuster"));
    let ended = stage.finish(command.arg("verify-split").arg("--activity").arg(file), "verify-split");
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert!(ended.err.contains("as committed") && !ended.err.contains("NOT as committed"), "{}", ended.err);
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// The journal's own account, event by event.
fn in_journal(stage: &Stage) -> Splits {
    let mut rounds = Splits::new();
    for event in stage.events() {
        let kind = event["event"].as_str().unwrap_or_default();
        if !matches!(kind, "packet_grabbed" | "round_ended") {
            continue;
        }
        let round: &mut Split = rounds.entry(number(&event["round"])).or_default();
        if kind == "packet_grabbed" {
            round.granted = round.granted.and(Sums { packets: 1, cents: number(&event["amount_cents"]) });
        } else {
            let more = Sums { packets: number(&event["refunded"]), cents: number(&event["refunded_cents"]) };
            round.refunded = round.refunded.and(more);
        }
    }
    rounds
}

/// The clients' account: how many acknowledgements, and what they were granted in each round.
fn in_acks(stage: &Stage) -> (u64, BTreeMap<u64, Sums>) {
    let text = fs::read_to_string(stage.path("acks.jsonl")).expect("the crowd wrote it");
    let mut grabs: HashMap<String, (u64, u64, u64)> = HashMap::new();
    let mut owners: HashMap<(u64, u64), String> = HashMap::new();
    let mut lines = 0;
    for line in text.lines() {
        let ack: Value = serde_json::from_str(line).expect("a line is JSON");
        let grab_id = ack["grab_id"].as_str().expect("an acknowledgement names its grab").to_owned();
        let grab = (number(&ack["round"]), number(&ack["packet"]), number(&ack["amount_cents"]));
        let before = grabs.insert(grab_id.clone(), grab);
        assert!(before.is_none_or(|before| before == grab), "a grab is told twice alike: {line}");
        let owner = owners.insert((grab.0, grab.1), grab_id.clone());
        assert!(owner.is_none_or(|owner| owner == grab_id), "a packet is promised to one: {line}");
        lines += 1;
    }
    let mut sums = BTreeMap::new();
    for (round, _, cents) in grabs.into_values() {
        let sum: &mut Sums = sums.entry(round).or_default();
        *sum = sum.and(Sums { packets: 1, cents });
    }
    (lines, sums)
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { granted, refunded } = self;
        let total = granted.and(*refunded);
        write!(
            f,
            "granted {} + remaining 0 + refunded {} = {} cents ({} + 0 + {} = {} packets)",
            granted.cents, refunded.cents, total.cents, granted.packets, refunded.packets, total.packets
        )
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, kills_in_rain, heard_at_kill, kills_in_start, audits, .. } = self;
        let Self { operator_changes, asked, retries, acks, .. } = self;
        write!(
            f,
            "seed {seed}: killed {kills_in_rain} times in the rain, last after {heard_at_kill} grants, {kills_in_start} in start-up; {asked} requests, \
             {retries} sent again; operator {operator_changes} changes; {acks} acknowledgements, {audits} audits: none lost, \
             none doubled"
        )?;
        for (round, split) in &self.rounds {
            write!(f, "; round {round}: {split}")?;
        }
        write!(f, "; {:.1} s", self.seconds)
    }
}
