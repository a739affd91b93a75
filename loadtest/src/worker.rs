//! One thread of the crowd: its runtime, its connections, its share of the arrivals.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::sync::{Barrier, watch};

use crate::acks::AckSender;
use crate::connection::Connection;
use crate::crowd::runtime;
use crate::desk::{Booth, Desk, Sale};
use crate::pay::{self, PayReport};
use crate::plan::Mode;
use crate::rain::{self, RainReport};
use crate::request::{self, From};
use crate::schedule::{Arrivals, Schedule};
use crate::tally::{Gauges, Tally};
use crate::visit;

/// What the rush was on one thread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Worked {
    pub(crate) rush: Duration,
    pub(crate) asked: u64,
    /// Processor time of this thread alone.
    pub(crate) cpu: Duration,
}

/// What an operator found when everyone was gone.
#[derive(Default)]
pub(crate) struct Settled {
    pub(crate) pay: Option<PayReport>,
    pub(crate) rain: Option<RainReport>,
}

impl Settled {
    /// Another thread's, where this one found nothing.
    pub(crate) fn or(self, other: Self) -> Self {
        Self { pay: self.pay.or(other.pay), rain: self.rain.or(other.rain) }
    }
}

/// What a thread comes to; the first one also reconciles.
pub(crate) type Done = (Tally, Worked, Settled);

/// A thread's whole life; `place` of the plan's threads.
pub(crate) fn work(
    sale: &Arc<Sale>,
    place: usize,
    acks: Option<AckSender>,
    barrier: &Barrier,
    mut stop: watch::Receiver<bool>,
) -> Result<Done> {
    runtime()?.block_on(async {
        tokio::select! {
            worked = phases(sale, place, acks, barrier) => worked,
            _ = stop.changed() => bail!("stopped"),
        }
    })
}

async fn phases(sale: &Arc<Sale>, place: usize, acks: Option<AckSender>, barrier: &Barrier) -> Result<Done> {
    let desk = Arc::new(Desk::new(sale.clone(), acks));
    let booths = warm(&desk, place).await?;

    if let Some(books) = &sale.rain {
        books.wait_for_start().await;
    }
    barrier.wait().await;
    let (begun, cpu) = (Instant::now(), cpu_time());
    let booths = everyone(sale, place, booths, rush).await?;
    let worked = Worked { rush: begun.elapsed(), asked: desk.tally().asked, cpu: cpu_time().saturating_sub(cpu) };

    barrier.wait().await;
    let booths = everyone(sale, place, booths, afterwards).await?;

    barrier.wait().await;
    let mut settled = Settled::default();
    if let (Some(pay), 0) = (&sale.plan.pay, place) {
        settled.pay = Some(pay::reconcile(&desk, pay, &sale.counts_before).await?);
    }
    if let (Some(rain), Some(books), 0) = (sale.plan.rain, &sale.rain, place) {
        settled.rain = Some(rain::reconcile(&desk, rain, books).await?);
    }

    let mut tally = std::mem::replace(&mut *desk.tally(), Tally::new());
    tally.reconnects = booths.iter().map(|booth| booth.connection.reconnects + booth.twin.reconnects).sum();
    Ok((tally, worked, settled))
}

/// Opens this thread's share of the connections, and has one reply on each.
async fn warm(desk: &Arc<Desk>, place: usize) -> Result<Vec<Booth>> {
    let plan = &desk.sale.plan;
    let share = plan.connections / plan.threads + usize::from(place < plan.connections % plan.threads);
    let token = desk.sale.mint.token(plan.first_user_id())?;
    let request: Arc<[u8]> = request::activity(From { target: plan.target, token: &token }, plan.activity_id).into();
    let tasks: Vec<_> = (0..share)
        .map(|_| {
            let new = || Connection::new(plan.target, plan.timeout);
            let mut booth = Booth { desk: desk.clone(), connection: new(), twin: new() };
            let request = request.clone();
            tokio::spawn(async move {
                // A connection that cannot be opened now shows as an error when a shopper needs it.
                let _ = booth.connection.exchange(&request).await;
                Ok(booth)
            })
        })
        .collect();
    all(tasks).await
}

/// Lets every booth work until there is nothing left to do.
async fn everyone<F>(
    sale: &Sale,
    place: usize,
    booths: Vec<Booth>,
    phase: fn(Booth, Arc<Schedule>) -> F,
) -> Result<Vec<Booth>>
where
    F: Future<Output = Result<Booth>> + Send + 'static,
{
    let schedule = Arc::new(schedule(sale, place));
    let tasks: Vec<_> = booths.into_iter().map(|booth| tokio::spawn(phase(booth, schedule.clone()))).collect();
    tokio::select! {
        booths = all(tasks) => booths,
        fault = schedule.drive() => bail!("the pacer stopped: {fault:?}"),
    }
}

/// This thread's part of the arrivals: every `threads`-th, so that the threads together keep the plan's rate.
#[expect(clippy::cast_precision_loss, reason = "a few threads")]
fn schedule(sale: &Sale, place: usize) -> Schedule {
    match sale.plan.mode {
        Mode::Closed => Schedule::Closed,
        Mode::Open { rate } => {
            let start = Instant::now() + Duration::from_secs_f64(place as f64 / rate);
            Schedule::Open(Arrivals::new(start, rate / sale.plan.threads as f64))
        }
    }
}

async fn rush(mut booth: Booth, schedule: Arc<Schedule>) -> Result<Booth> {
    let sale = booth.desk.sale.clone();
    while let Some(index) = next(&sale.next_shopper, sale.plan.attempts) {
        come(&mut booth, &schedule, index).await?;
        while let Ok(bill) = pay::due(&booth.desk) {
            pay::step(&mut booth, &schedule, bill).await?;
        }
        Gauges::add(&sale.gauges.shoppers_done);
    }
    Ok(booth)
}

/// Latecomers, and winners who come back.
async fn afterwards(mut booth: Booth, schedule: Arc<Schedule>) -> Result<Booth> {
    let desk = booth.desk.clone();
    let sale = &desk.sale;
    while let Some(index) = next(&sale.next_latecomer, sale.plan.latecomers()) {
        let won = come(&mut booth, &schedule, sale.plan.attempts + index).await?;
        let mut tally = desk.tally();
        tally.late_asked += 1;
        tally.late_accepted += u64::from(won);
        Gauges::add(&sale.gauges.shoppers_done);
    }
    loop {
        let Some(winner) = desk.winners().pop() else { break };
        visit::revisit(&mut booth, &schedule, winner).await?;
    }
    loop {
        let Some(back) = desk.returns().pop() else { break };
        rain::come_back(&mut booth, &schedule, back).await?;
    }
    // Whoever takes the last bill takes its further steps too, so nobody has to wait for a bill that is in hand.
    loop {
        let bill = pay::due(&desk);
        match bill {
            Ok(bill) => pay::step(&mut booth, &schedule, bill).await?,
            Err(Some(wait)) => tokio::time::sleep(wait).await,
            Err(None) => break,
        }
    }
    Ok(booth)
}

/// A shopper's first visit; whether it got anything.
async fn come(booth: &mut Booth, schedule: &Schedule, index: u64) -> Result<bool> {
    match &booth.desk.sale.plan.rain {
        None => visit::shop(booth, schedule, index).await,
        Some(_) => rain::grab(booth, schedule, index).await,
    }
}

fn next(counter: &AtomicU64, end: u64) -> Option<u64> {
    Some(counter.fetch_add(1, Ordering::Relaxed)).filter(|index| *index < end)
}

async fn all<T>(tasks: Vec<tokio::task::JoinHandle<Result<T>>>) -> Result<Vec<T>> {
    let mut done = Vec::with_capacity(tasks.len());
    for task in tasks {
        done.push(task.await.context("a shopper's task panicked")??);
    }
    Ok(done)
}

fn cpu_time() -> Duration {
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(spent).unwrap_or_default()
}
