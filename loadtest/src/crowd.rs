//! One run of the crowd: look at the sale, warm the connections, rush, let the latecomers and some winners come, look
//! again, report.
//!
//! ```text
//!   run() ──spawns──▶ head thread ──spawns──▶ worker threads, each with a runtime and connections of its own
//!     ▲                   │  progress             │  warm ─barrier─ rush ─barrier─ afterwards
//!     └────── report ─────┴─────── tallies ◀──────┘
//! ```
//!
//! Threads of its own keep the crowd off the caller's runtime, which in `doorbuster demo` is the server's, and one thread
//! with its own connections needs no locks that anyone else holds. Dropping the future of `run` stops the crowd and waits
//! until every acknowledgement so far is on disk.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde::Deserialize;
use tokio::sync::{Barrier, mpsc, oneshot, watch};

use crate::acks::{AckLog, AckSender};
use crate::connection::Connection;
use crate::desk::{Desk, Outage, Sale, Sku};
use crate::ledger::{Ledger, Violation};
use crate::pay::{self, Till};
use crate::plan::Plan;
use crate::progress::Progress;
use crate::report::{Acks, Report};
use crate::request::{self, From};
use crate::tally::{Gauges, Tally};
use crate::token::{Mint, unix_ms};
use crate::worker::{self, Done, Settled, Worked};
use crate::{judge, rain, reply};

const PROGRESS_EVERY: Duration = Duration::from_millis(100);

/// Sends the crowd and waits for it. Works on any runtime, and uses none of the caller's threads.
///
/// # Errors
/// When the plan is refused, the sale cannot be read, or the log of acknowledgements cannot be written. What the server
/// does wrong is no error: it is in the report.
pub async fn run(plan: &Plan, progress: Progress) -> Result<Report> {
    plan.check()?;
    let (stop, stopped) = watch::channel(false);
    let (answer, report) = oneshot::channel();
    let plan = plan.clone();
    let head = std::thread::Builder::new().name("crowd".into()).spawn(move || {
        let outcome = runtime().and_then(|runtime| runtime.block_on(lead(plan, &progress, stopped)));
        // Nobody listens when the caller went away.
        let _ = answer.send(outcome);
    })?;
    let _guard = StopOnDrop { stop, head: Some(head) };
    report.await.map_err(|_| anyhow!("the crowd's thread panicked"))?
}

struct StopOnDrop {
    stop: watch::Sender<bool>,
    head: Option<JoinHandle<()>>,
}

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        let _ = self.stop.send(true);
        if let Some(head) = self.head.take() {
            let _ = head.join();
        }
    }
}

pub(crate) fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("could not start a runtime")
}

/// The head thread.
async fn lead(plan: Plan, progress: &Progress, mut stopped: watch::Receiver<bool>) -> Result<Report> {
    let started = Instant::now();
    let mint = Mint::new(&plan.auth);
    let told = tokio::select! {
        told = look(&plan, &mint) => told?,
        _ = stopped.changed() => bail!("stopped"),
    };
    let (skus, rain) = match plan.rain {
        None => (choose(&plan, sold_in(&plan, &told)?)?, None),
        Some(_) => (Vec::new(), Some(rain::Books::of(&plan, &told)?)),
    };
    let acks = plan.acks.as_ref().map(AckLog::open).transpose()?;
    let mut sale = Arc::new(Sale {
        skus,
        mint,
        ledger: Ledger::default(),
        till: Till::default(),
        counts_before: Vec::new(),
        rain,
        gauges: Gauges::default(),
        outage: Outage::none(),
        next_shopper: AtomicU64::new(0),
        next_latecomer: AtomicU64::new(0),
        plan,
    });
    if let Some(pay) = sale.plan.pay.clone() {
        let desk = Desk::new(sale.clone(), None);
        let before = tokio::select! {
            before = pay::counts(&desk, &pay) => before?,
            _ = stopped.changed() => bail!("stopped"),
        };
        drop(desk);
        Arc::get_mut(&mut sale).context("nobody else has the sale yet")?.counts_before = before;
    }
    if let Some(rain) = sale.plan.rain {
        let desk = Desk::new(sale.clone(), None);
        let before = tokio::select! {
            before = rain::counts(&desk, rain) => before?,
            _ = stopped.changed() => bail!("stopped"),
        };
        drop(desk);
        let books = Arc::get_mut(&mut sale).and_then(|sale| sale.rain.as_mut());
        books.context("nobody else has the sale yet")?.before(before);
    }
    let sender = acks.as_ref().map(AckLog::sender).transpose()?;
    let worked = work(&sale, sender, progress, &stopped).await;
    // Closing says why the log failed, where that is what stopped the shoppers.
    let lines = acks.map(AckLog::close).transpose()?;
    let (mut tally, phase, settled) = worked?;
    if sale.rain.is_none() {
        let after = look(&sale.plan, &sale.mint).await.and_then(|told| sold_in(&sale.plan, &told));
        weigh(&sale, after.as_deref().ok(), &mut tally);
    }
    let acks = sale.plan.acks.as_ref().zip(lines).map(|(file, lines)| Acks { file: file.path.clone(), lines });
    let report = Report::new(&sale, tally, &phase, started.elapsed(), acks, settled);
    progress(&sale.gauges.snapshot(sale.gauges.snapshot(0).shoppers_done));
    Ok(report)
}

/// Runs the worker threads to their end.
async fn work(
    sale: &Arc<Sale>,
    acks: Option<AckSender>,
    progress: &Progress,
    stopped: &watch::Receiver<bool>,
) -> Result<(Tally, Vec<Worked>, Settled)> {
    let threads = sale.plan.threads;
    let barrier = Arc::new(Barrier::new(threads));
    let (done, mut results) = mpsc::channel(threads);
    let (stop, stop_workers) = watch::channel(false);
    let mut handles = Vec::new();
    for place in 0..threads {
        let (sale, acks, barrier) = (sale.clone(), acks.clone(), barrier.clone());
        let (done, stop) = (done.clone(), stop_workers.clone());
        let thread = std::thread::Builder::new().name(format!("crowd-{place}"));
        handles.push(thread.spawn(move || {
            let result = worker::work(&sale, place, acks, &barrier, stop);
            let _ = done.blocking_send(result);
        })?);
    }
    drop((done, acks));
    let watching = watching(sale, progress, &mut results, stopped.clone());
    let collected = watching.await;
    let _ = stop.send(true);
    for handle in handles {
        handle.join().map_err(|_| anyhow!("a thread of the crowd panicked"))?;
    }
    let mut tally = Tally::new();
    let mut phases = Vec::new();
    let mut settled = Settled::default();
    for (theirs, worked, found) in collected? {
        tally.merge(theirs);
        phases.push(worked);
        settled = settled.or(found);
    }
    Ok((tally, phases, settled))
}

async fn watching(
    sale: &Sale,
    progress: &Progress,
    results: &mut mpsc::Receiver<Result<Done>>,
    mut stopped: watch::Receiver<bool>,
) -> Result<Vec<Done>> {
    let shoppers = sale.plan.attempts + sale.plan.latecomers();
    let mut ticks = tokio::time::interval(PROGRESS_EVERY);
    let mut collected = Vec::new();
    while collected.len() < sale.plan.threads {
        tokio::select! {
            result = results.recv() => collected.push(result.context("a thread of the crowd panicked")??),
            _ = ticks.tick() => progress(&sale.gauges.snapshot(shoppers)),
            _ = stopped.changed() => bail!("stopped"),
        }
    }
    Ok(collected)
}

/// Reads the activity, as a shopper's page would.
pub(crate) async fn look(plan: &Plan, mint: &Mint) -> Result<Vec<u8>> {
    let token = mint.token(plan.first_user_id())?;
    let request = request::activity(From { target: plan.target, token: &token }, plan.activity_id);
    let mut connection = Connection::new(plan.target, plan.timeout);
    let since = Instant::now();
    loop {
        match connection.exchange(&request).await {
            Ok(reply) if reply.status == 200 => return Ok(reply.body.to_vec()),
            Ok(reply) if reply.status == 401 => bail!(
                "{} does not accept the crowd's tokens: give its [auth] secret, issuer and audience ({})",
                plan.target,
                reply::excerpt(reply.body)
            ),
            Ok(reply) if reply.status == 503 && since.elapsed() < plan.ride_out => {}
            Ok(reply) => bail!(
                "activity {} on {} answered {}: {}",
                plan.activity_id,
                plan.target,
                reply.status,
                reply::excerpt(reply.body)
            ),
            Err(_) if since.elapsed() < plan.ride_out => {}
            Err(error) => bail!("nothing answers on {} ({}); is the server running?", plan.target, error.name()),
        }
        tokio::time::sleep(PROGRESS_EVERY).await;
    }
}

/// What a flash sale sells.
fn sold_in(plan: &Plan, told: &[u8]) -> Result<Vec<Sku>> {
    #[derive(Deserialize)]
    struct Activity {
        kind: String,
        #[serde(default)]
        skus: Vec<Line>,
    }
    #[derive(Deserialize)]
    struct Line {
        sku_id: String,
        price_cents: u64,
        stock: u64,
    }
    let activity: Activity = serde_json::from_slice(told)
        .with_context(|| format!("activity {} is not what the contract says", plan.activity_id))?;
    ensure!(activity.kind == "flash_sale", "activity {} is a {}, not a flash_sale", plan.activity_id, activity.kind);
    let skus = activity.skus.into_iter();
    Ok(skus.map(|Line { sku_id, price_cents, stock }| Sku { sku_id, price_cents, stock }).collect())
}

/// The SKUs to ask for.
fn choose(plan: &Plan, all: Vec<Sku>) -> Result<Vec<Sku>> {
    if let Some(unknown) = plan.sku_ids.iter().find(|id| all.iter().all(|sku| sku.sku_id != **id)) {
        bail!("activity {} has no SKU `{unknown}`", plan.activity_id);
    }
    let wanted = |sku: &Sku| plan.sku_ids.is_empty() || plan.sku_ids.contains(&sku.sku_id);
    let skus: Vec<_> = all.into_iter().filter(wanted).collect();
    ensure!(!skus.is_empty(), "activity {} has no SKUs", plan.activity_id);
    Ok(skus)
}

/// What can only be judged when everyone is gone.
fn weigh(sale: &Sale, after: Option<&[Sku]>, tally: &mut Tally) {
    let Some(after) = after else { return };
    let units = sale.ledger.units_live(sale.skus.len(), unix_ms());
    for (before, live) in sale.skus.iter().zip(units) {
        let Some(now) = after.iter().find(|sku| sku.sku_id == before.sku_id) else { continue };
        if now.price_cents != before.price_cents {
            // An operator changed the price meanwhile, so either may have been right.
            tally.violations.remove(judge::RULE_AMOUNT);
        }
        if live > now.stock {
            let example = format!("sku {}: shoppers hold {live} units of {}", now.sku_id, now.stock);
            tally.violation(Violation::new("S2: no more is sold than there is", example));
        }
    }
}
