//! One round of the paying campaign: winners pay in time, late, twice or never, some give up what they have, some
//! callbacks must be refused, and the server is killed again and again while they do, and while the operator reconciles.
//! Each answer is judged as it comes; afterwards the journal has every payment that anybody was told of.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use loadtest::{AcksFile, Mode, Pay, PayReport, Plan, Shares};

use super::operator::Operator;
use super::{Crowd, Over};
use crate::server::{ACTIVITY, Dice, PATIENCE, SECRET, SKU, Sale, Server, Stage, until};

pub const PAYMENTS_SECRET: &str = "a-secret-of-the-provider-of-at-least-32-bytes";
/// What `Stage` needs beyond its own configuration.
pub const SECTION: &str = "[payments]\nsecret = \"a-secret-of-the-provider-of-at-least-32-bytes\"\n";

/// What a paying round is like.
#[derive(Clone, Copy, Debug)]
pub struct Script {
    pub seed: u64,
    pub sale: Sale,
    pub shoppers: u64,
    pub rate: f64,
    pub kills: u64,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Outcome {
    pub seed: u64,
    pub kills: u64,
    /// While the operator reconciled, among them.
    pub kills_in_books: u64,
    pub audits: u64,
    pub retries: u64,
    pub acks: u64,
    pub pay: PayReport,
    pub seconds: f64,
}

/// The stage of a sale whose winners pay.
pub fn stage(sale: Sale) -> Stage {
    let stage = Stage::set(sale);
    let file = stage.path("doorbuster.toml");
    let text = std::fs::read_to_string(&file).expect("the stage has a configuration");
    std::fs::write(file, text + SECTION).expect("it can be written again");
    stage
}

/// The crowd of a round.
pub fn plan(script: &Script, stage: &Stage) -> Plan {
    Plan {
        target: stage.shopper,
        attempts: script.shoppers,
        connections: 64,
        mode: Mode::Open { rate: script.rate },
        seed: script.seed,
        sku_ids: vec![SKU.to_owned()],
        per_user_limit: script.sale.per_user_limit,
        shares: Shares { key: 1.0, repeat_without_key: 0.0, ..Shares::default() },
        ride_out: PATIENCE,
        pay: Some(Pay { operator: stage.operator, ..Pay::new(PAYMENTS_SECRET) }),
        acks: Some(AcksFile { path: stage.path("acks.jsonl"), append: true }),
        ..Plan::new(ACTIVITY, SECRET)
    }
}

/// Plays a round; panics where anything does not hold.
pub fn play(script: &Script) -> Outcome {
    let begun = Instant::now();
    let mut dice = Dice::new(script.seed);
    let mut outcome = Outcome { seed: script.seed, ..Outcome::default() };
    let stage = stage(script.sale);
    let server = Server::start(&stage);
    let crowd = Crowd::send(plan(script, &stage));
    let (over, asked) = (AtomicBool::new(false), AtomicU64::new(0));
    let server = thread::scope(|scope| {
        let operator = Operator::new(&stage, Dice::new(!script.seed), 600, &asked);
        scope.spawn(|| operator.work(script.sale.stock, &over));
        let _over = Over(&over);
        until("somebody buys", || crowd.accepted() > 0 || crowd.is_over());
        let server = kill(script, &stage, server, &crowd, &mut dice, &mut outcome);
        until("the crowd goes home", || crowd.is_over());
        over.store(true, Ordering::SeqCst);
        server
    });
    let report = crowd.join();
    outcome.retries = report.retries;
    outcome.acks = report.acks.as_ref().expect("there is a log").lines;
    outcome.pay = report.pay.expect("they paid");
    assert!(outcome.pay.reconciled, "the operator was answered: {outcome}");
    let stats = stage.stats();
    if dice.one_in(2) {
        server.kill()
    } else {
        server.stop()
    }
    stage.assert_audit_holds(true);
    let server = Server::start(&stage);
    assert_eq!(stage.stats(), stats, "a further start changes nothing");
    server.stop();
    outcome.audits += 1;
    outcome.seconds = begun.elapsed().as_secs_f64();
    outcome
}

/// Kills as often as the script says while the crowd is about: in the sale, while the late pay, while the operator
/// reconciles, in a start. Gives the last server, which is ready.
fn kill(
    script: &Script,
    stage: &Stage,
    first: Server,
    crowd: &Crowd,
    dice: &mut Dice,
    outcome: &mut Outcome,
) -> Server {
    let mut server = first;
    for _ in 0..script.kills {
        let longest_ms = if dice.one_in(4) { 150 } else { 1_500 };
        let (wait, begun) = (Duration::from_millis(dice.below(longest_ms)), Instant::now());
        while begun.elapsed() < wait && !crowd.is_over() {
            thread::sleep(Duration::from_millis(1));
        }
        if crowd.is_over() {
            break;
        }
        server.kill();
        outcome.kills += 1;
        if dice.one_in(3) {
            stage.assert_audit_holds(true);
            outcome.audits += 1;
        }
        server = Server::spawn(stage);
    }
    server.wait_until_ready(stage);
    // And once in the middle of the reconciliation.
    let acks = stage.path("acks.jsonl");
    let reconciles = || std::fs::read_to_string(&acks).is_ok_and(|text| text.contains("\"repaid\""));
    until("the operator reconciles", || reconciles() || crowd.is_over());
    thread::sleep(Duration::from_millis(dice.below(30)));
    if !crowd.is_over() {
        server.kill();
        (outcome.kills, outcome.kills_in_books) = (outcome.kills + 1, outcome.kills_in_books + 1);
        server = Server::start(stage);
    }
    server
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, kills, kills_in_books, audits, retries, acks, pay, seconds } = self;
        write!(
            f,
            "seed {seed}: killed {kills} times, {kills_in_books} of them in the reconciliation, {retries} requests sent again; orders {:?}; payments {:?}; {:?}; {acks} \
             acknowledgements, {audits} audits: none lost, none doubled; {seconds:.1} s",
            pay.orders, pay.payments, pay.acts
        )
    }
}
