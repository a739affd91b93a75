//! One round of the campaign: a crowd buys, an operator changes the sale under it, and the server is killed again and
//! again. Afterwards three accounts must agree to the unit: the journal's (audit), the server's (stats), the clients'.
#![allow(dead_code, reason = "each test binary uses its part")]

mod books;
mod operator;
pub mod paying;
pub mod rain;

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use loadtest::{AcksFile, Mode, Plan, Report, Shares, Snapshot};

use self::books::Books;
use self::operator::Operator;
use crate::server::{ACTIVITY, Dice, PATIENCE, SECRET, SKU, Sale, Server, Stage, until};

/// What a round is like.
#[derive(Clone, Copy, Debug)]
pub struct Script {
    pub seed: u64,
    pub sale: Sale,
    /// Distinct shoppers, more than there are units.
    pub shoppers: u64,
    /// Requests a second, so that the sale lasts as long as the kills take.
    pub rate: f64,
    pub kills: u64,
    /// Every request carries a key: then what the clients know is exactly what there is.
    pub all_keyed: bool,
    /// The journal is cut into the smallest generations and the operator hardly rests, so that kills hit switches, seals
    /// and changes.
    pub small_generations: bool,
}

/// What came of a round.
#[derive(Debug, Default)]
pub struct Outcome {
    pub seed: u64,
    pub kills_in_sale: u64,
    pub kills_in_start: u64,
    pub audits: u64,
    pub operator_changes: u64,
    pub operator_replays: u64,
    pub accepted: u64,
    pub retries: u64,
    pub acks: u64,
    pub stock: u64,
    pub held: u64,
    pub expired: u64,
    /// Events of units that moved, of shards that did as their home did, and sealed generations.
    pub moves: u64,
    pub followed: u64,
    pub sealed: u64,
    /// Shards that a start brought in line with their home.
    pub rolled_forward: u64,
    pub seconds: f64,
}

/// The crowd while it is about.
pub struct Crowd {
    seen: Arc<Mutex<Snapshot>>,
    thread: thread::JoinHandle<Report>,
}

impl Crowd {
    pub fn send(plan: Plan) -> Self {
        let seen = Arc::new(Mutex::new(Snapshot::default()));
        let shown = Arc::clone(&seen);
        let progress = Arc::new(move |now: &Snapshot| *shown.lock().unwrap_or_else(PoisonError::into_inner) = *now);
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(loadtest::run(&plan, progress)).expect("the crowd can do its work")
        });
        Self { seen, thread }
    }

    fn accepted(&self) -> u64 {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).accepted
    }

    pub fn answered(&self) -> u64 {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).answered
    }

    pub fn is_over(&self) -> bool {
        self.thread.is_finished()
    }

    pub fn join(self) -> Report {
        let report = self.thread.join().expect("the crowd does not panic");
        assert!(report.holds(), "the crowd saw a rule broken: {}", report.table());
        assert_eq!(report.lost, 0, "every request was answered in the end: {}", report.table());
        report
    }
}

/// Plays a round; panics where anything does not hold.
pub fn play(script: &Script) -> Outcome {
    let begun = Instant::now();
    let mut dice = Dice::new(script.seed);
    let mut outcome = Outcome { seed: script.seed, ..Outcome::default() };
    let stage =
        if script.small_generations { Stage::in_small_generations(script.sale) } else { Stage::set(script.sale) };
    let server = Server::start(&stage);
    let crowd = Crowd::send(plan(script, &stage));
    let (over, asked) = (AtomicBool::new(false), AtomicU64::new(0));
    let (server, operator) = thread::scope(|scope| {
        let rest_ms = if script.small_generations { 5 } else { 45 };
        let operator = Operator::new(&stage, Dice::new(!script.seed), rest_ms, &asked);
        let operator = scope.spawn(|| operator.work(script.sale.stock, &over));
        let _over = Over(&over);
        let server = kill_and_kill_again(script, &stage, server, (&crowd, &asked), &mut dice, &mut outcome);
        until("the crowd goes home", || crowd.is_over());
        over.store(true, Ordering::SeqCst);
        (server, operator.join().expect("the operator does not panic"))
    });
    let report = crowd.join();
    (outcome.operator_changes, outcome.operator_replays) = (operator.changes, operator.replays);
    (outcome.accepted, outcome.retries) = (report.accepted, report.retries);
    let holds_last = script.sale.payment_window_s > 60;
    if holds_last {
        buy_the_rest(script, &stage);
    }

    let stats = stage.stats();
    assert_eq!(stats.stock, operator.stock, "every change of the operator took effect once, and none other did");
    if dice.one_in(2) {
        server.kill()
    } else {
        server.stop()
    }
    stage.assert_audit_holds(true);
    outcome.audits += 1;
    let books = Books::read(&stage);
    (outcome.acks, outcome.stock, outcome.held) = (books.lines, stats.stock, stats.held);
    look_over(&stage, &mut outcome);
    if holds_last {
        assert_eq!((stats.available, stats.held), (0, stats.stock), "sold out to the unit, and not beyond");
        books.assert_no_slot_twice();
        assert!(books.live_units() <= stats.held, "clients hold {} of {stats:?}", books.live_units());
        assert!(!script.all_keyed || books.live_units() == stats.held, "{} of {stats:?}", books.live_units());
        let server = Server::start(&stage);
        assert_eq!(stage.stats(), stats, "a further start changes nothing");
        server.stop();
    }
    outcome.seconds = begun.elapsed().as_secs_f64();
    outcome
}

/// Ends the operator's work also where the round fails, for its thread is waited for.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn plan(script: &Script, stage: &Stage) -> Plan {
    let shares = Shares { cancel: 0.1, ..Shares::default() };
    let keyed = Shares { key: 1.0, repeat_without_key: 0.0, ..shares };
    Plan {
        target: stage.shopper,
        attempts: script.shoppers,
        connections: 64,
        mode: Mode::Open { rate: script.rate },
        seed: script.seed,
        sku_ids: vec![SKU.to_owned()],
        per_user_limit: script.sale.per_user_limit,
        quantities: if script.sale.per_user_limit > 1 { vec![(1, 3), (2, 1)] } else { vec![(1, 1)] },
        shares: if script.all_keyed { keyed } else { shares },
        ride_out: PATIENCE,
        acks: Some(AcksFile { path: stage.path("acks.jsonl"), append: true }),
        ..Plan::new(ACTIVITY, SECRET)
    }
}

/// After all the kills a few units may be free: some cancelled at the end. Others come and take those.
fn buy_the_rest(script: &Script, stage: &Stage) {
    for wave in 1.. {
        let left = stage.stats().available;
        if left == 0 {
            return;
        }
        assert!(wave < 5, "a crowd larger than what is left buys all of it, but {left} are left");
        let plan = Plan {
            attempts: left + 20,
            seed: script.seed.wrapping_add(wave << 32),
            mode: Mode::Closed,
            connections: 8,
            quantities: vec![(1, 1)],
            shares: Shares::PLAIN,
            ..plan(script, stage)
        };
        Crowd::send(plan).join();
    }
}

/// Kills as often as the script says while the crowd is about; gives the last server, which is ready.
fn kill_and_kill_again(
    script: &Script,
    stage: &Stage,
    first: Server,
    (crowd, asked): (&Crowd, &AtomicU64),
    dice: &mut Dice,
    outcome: &mut Outcome,
) -> Server {
    let mut server = first;
    let share = script.sale.stock / (script.kills + 1);
    for kill in 0..script.kills {
        if kill > 0 && dice.one_in(3) {
            // In start-up or recovery, or just after: whatever this many milliseconds meet.
            thread::sleep(Duration::from_millis(dice.below(120)));
            server.kill();
            outcome.kills_in_start += 1;
        } else {
            let more = crowd.accepted() + 1 + dice.below(share / 2);
            until("the crowd buys on", || crowd.accepted() >= more || crowd.is_over());
            if script.small_generations {
                // In the middle of a change, which takes some milliseconds.
                let (before, begun) = (asked.load(Ordering::SeqCst), Instant::now());
                while asked.load(Ordering::SeqCst) == before {
                    assert!(begun.elapsed() < PATIENCE, "the operator works on");
                    thread::yield_now();
                }
                thread::sleep(Duration::from_micros(dice.below(12_000)));
            } else {
                // The crowd shows its count ten times a second; the moment in between is chance too.
                thread::sleep(Duration::from_micros(dice.below(60_000)));
            }
            outcome.kills_in_sale += u64::from(!crowd.is_over());
            server.kill();
        }
        if dice.one_in(2) {
            stage.assert_audit_holds(true);
            outcome.audits += 1;
        }
        server = Server::spawn(stage);
    }
    server.wait_until_ready(stage);
    server
}

/// What the journal tells of the round.
fn look_over(stage: &Stage, outcome: &mut Outcome) {
    for event in stage.events() {
        match event["event"].as_str() {
            Some("holds_expired") => outcome.expired += event["order_ids"].as_array().map_or(0, Vec::len) as u64,
            Some("slots_moved") => outcome.moves += 1,
            Some("home_followed") => outcome.followed += 1,
            _ => {}
        }
    }
    let names =
        std::fs::read_dir(stage.journal()).expect("a directory").map(|entry| entry.expect("a name").file_name());
    outcome.sealed = names.filter(|name| name.to_string_lossy().ends_with(".log")).count() as u64;
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "seed {}: killed {} times in the sale, {} in start-up; {} orders accepted, {} requests sent again; operator \
             {} changes, {} found done; {} acknowledgements, {} audits: none lost, none doubled; stock {}, held {}, \
             expired {}; {} moves, {} followed, {} sealed generations, {} shards rolled forward; {:.1} s",
            self.seed,
            self.kills_in_sale,
            self.kills_in_start,
            self.accepted,
            self.retries,
            self.operator_changes,
            self.operator_replays,
            self.acks,
            self.audits,
            self.stock,
            self.held,
            self.expired,
            self.moves,
            self.followed,
            self.sealed,
            self.rolled_forward,
            self.seconds
        )
    }
}
