//! What a run came to, as numbers: fields for programs, the same as JSON.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::code::Code;
use crate::desk::Sale;
use crate::pay::PayReport;
use crate::plan::Mode;
use crate::rain::RainReport;
use crate::tally::{Group, Tally};
use crate::token::unix_ms;
use crate::worker::{Settled, Worked};

/// A finished run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The activity asked.
    pub activity_id: String,
    /// The seed, which repeats the run.
    pub seed: u64,
    /// The first shopper's user id; the others follow it.
    pub first_user: String,
    /// Distinct shoppers of the rush.
    pub shoppers: u64,
    /// Keep-alive connections.
    pub connections: usize,
    /// Requests made, repeats, polls and cancels included; each counts once, however often it had to be sent.
    pub asked: u64,
    /// New orders: 201.
    pub accepted: u64,
    /// Orders returned again for a key: 200.
    pub replayed: u64,
    /// Cancels: 200.
    pub cancelled: u64,
    /// Polls: 200.
    pub polled: u64,
    /// Callbacks of payments: 200.
    pub paid: u64,
    /// Looks at one order: 200.
    pub found: u64,
    /// Looks at one's own grabs: 200.
    pub looked: u64,
    /// An operator's requests: 200.
    pub operated: u64,
    /// What came of the payments, where the winners paid.
    pub pay: Option<PayReport>,
    /// What came of the rounds, where it rained.
    pub rain: Option<RainReport>,
    /// Refusals by code.
    pub refused: BTreeMap<&'static str, u64>,
    /// Errors of connections by kind; with riding out, one request may meet several.
    pub transport_errors: BTreeMap<&'static str, u64>,
    /// Tries after the first, while riding out.
    pub retries: u64,
    /// Requests that never got an answer.
    pub lost: u64,
    /// Connections opened again.
    pub reconnects: u64,
    /// Shoppers who came when the rush was over.
    pub latecomers: Latecomers,
    /// Winners who came back and found their order.
    pub revisited: u64,
    /// What is held, by SKU.
    pub skus: Vec<SkuReport>,
    /// The rush alone: what throughput is about.
    pub rush: Phase,
    /// The whole run in seconds.
    pub elapsed_s: f64,
    /// Latencies by outcome.
    pub latency: Vec<Latency>,
    /// In the open loop, how well the schedule was kept.
    pub pace: Option<Pace>,
    /// The log of acknowledgements.
    pub acks: Option<Acks>,
    /// Rules that were broken.
    pub violations: Vec<ViolationReport>,
}

/// Those who came when the rush was over.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Latecomers {
    /// How many came.
    pub came: u64,
    /// How many of them got something, because something was left or came back.
    pub accepted: u64,
}

/// One SKU, as the crowd knows it.
#[derive(Clone, Debug, Serialize)]
pub struct SkuReport {
    /// The SKU.
    pub sku_id: String,
    /// Its stock before the rush.
    pub stock: u64,
    /// Units that shoppers of this run surely hold or have bought.
    pub held: u64,
}

/// The rush.
#[derive(Clone, Debug, Serialize)]
pub struct Phase {
    /// Seconds, of the slowest thread.
    pub seconds: f64,
    /// Requests made.
    pub requests: u64,
    /// Requests a second.
    pub requests_per_s: f64,
    /// The crowd's own processor time for one request, in microseconds.
    pub client_cpu_us: f64,
}

/// The latencies of one outcome in microseconds; in the open loop from the instant at which a request was due.
#[derive(Clone, Debug, Serialize)]
pub struct Latency {
    /// Which answers.
    pub outcome: &'static str,
    /// How many.
    pub count: u64,
    /// Half were faster.
    pub p50_us: f64,
    /// 99 in 100 were faster.
    pub p99_us: f64,
    /// 999 in 1000 were faster.
    pub p999_us: f64,
    /// The slowest.
    pub max_us: f64,
}

/// How well the open loop kept its schedule. Where requests were sent much later than due, all connections were busy.
#[derive(Clone, Debug, Serialize)]
pub struct Pace {
    /// Requests a second that were due.
    pub rate: f64,
    /// Half were sent less late than this, in microseconds.
    pub late_p50_us: f64,
    /// 99 in 100 were sent less late than this, in microseconds.
    pub late_p99_us: f64,
}

/// The log of acknowledgements.
#[derive(Clone, Debug, Serialize)]
pub struct Acks {
    /// Where it is.
    pub file: PathBuf,
    /// Lines that this run put on disk.
    pub lines: u64,
}

/// A broken rule: an invariant's id, or the contract.
#[derive(Clone, Debug, Serialize)]
pub struct ViolationReport {
    /// The rule.
    pub rule: &'static str,
    /// How often it was broken.
    pub count: u64,
    /// The first few.
    pub examples: Vec<String>,
}

impl Report {
    pub(crate) fn new(
        sale: &Sale,
        tally: Tally,
        rush: &[Worked],
        elapsed: Duration,
        acks: Option<Acks>,
        settled: Settled,
    ) -> Self {
        let Settled { mut pay, rain } = settled;
        let plan = &sale.plan;
        pay.iter_mut().for_each(|pay| pay.count(tally.pay));
        let units = sale.ledger.units_live(sale.skus.len(), unix_ms());
        let sku =
            |(sku, held): (&crate::desk::Sku, u64)| SkuReport { sku_id: sku.sku_id.clone(), stock: sku.stock, held };
        let pace = match plan.mode {
            Mode::Closed => None,
            Mode::Open { rate } => Some(Pace {
                rate,
                late_p50_us: quantile(&tally.lateness, 0.5),
                late_p99_us: quantile(&tally.lateness, 0.99),
            }),
        };
        let by_name = |(index, count): (usize, u64)| (count > 0).then(|| (Code::name_of(index), count));
        Self {
            activity_id: plan.activity_id.to_string(),
            seed: plan.seed,
            first_user: plan.first_user_id().to_string(),
            shoppers: plan.attempts,
            connections: plan.connections,
            asked: tally.asked,
            accepted: tally.accepted,
            replayed: tally.replayed,
            cancelled: tally.cancelled,
            polled: tally.polled,
            paid: tally.paid,
            found: tally.found,
            looked: tally.looked,
            operated: tally.operated,
            pay,
            rain,
            refused: tally.refused.into_iter().enumerate().filter_map(by_name).collect(),
            transport_errors: tally.transport.iter().map(|(error, count)| (error.name(), *count)).collect(),
            retries: tally.retries,
            lost: tally.lost,
            reconnects: tally.reconnects,
            latecomers: Latecomers { came: tally.late_asked, accepted: tally.late_accepted },
            revisited: tally.revisited,
            skus: sale.skus.iter().zip(units).map(sku).collect(),
            rush: Phase::new(rush),
            elapsed_s: elapsed.as_secs_f64(),
            latency: Group::ALL.iter().filter_map(|group| latency(*group, &tally)).collect(),
            pace,
            acks,
            violations: tally
                .violations
                .into_iter()
                .map(|(rule, (count, examples))| ViolationReport { rule, count, examples })
                .collect(),
        }
    }

    /// No rule was broken.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.violations.is_empty()
    }

    /// Refusals of every kind.
    #[must_use]
    pub fn refused_total(&self) -> u64 {
        self.refused.values().sum()
    }
}

impl Phase {
    #[expect(clippy::cast_precision_loss, reason = "ratios for people")]
    fn new(threads: &[Worked]) -> Self {
        let seconds = threads.iter().map(|thread| thread.rush.as_secs_f64()).fold(0.0, f64::max);
        let requests: u64 = threads.iter().map(|thread| thread.asked).sum();
        let cpu_us: f64 = threads.iter().map(|thread| thread.cpu.as_secs_f64() * 1e6).sum();
        let of = |total: f64, parts: f64| if parts > 0.0 { total / parts } else { 0.0 };
        Self {
            seconds,
            requests,
            requests_per_s: of(requests as f64, seconds),
            client_cpu_us: of(cpu_us, requests as f64),
        }
    }
}

fn latency(group: Group, tally: &Tally) -> Option<Latency> {
    let times = &tally.latency[group as usize];
    (!times.is_empty()).then(|| Latency {
        outcome: group.name(),
        count: times.len(),
        p50_us: quantile(times, 0.5),
        p99_us: quantile(times, 0.99),
        p999_us: quantile(times, 0.999),
        max_us: quantile(times, 1.0),
    })
}

#[expect(clippy::cast_precision_loss, reason = "microseconds for people")]
fn quantile(times: &Histogram<u64>, at: f64) -> f64 {
    times.value_at_quantile(at) as f64 / 1000.0
}
