//! What a run came to: numbers for programs (JSON), a table for people.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table};
use hdrhistogram::Histogram;
use serde::Serialize;

use crate::code::Code;
use crate::desk::Sale;
use crate::plan::Mode;
use crate::tally::{Group, Tally};
use crate::token::unix_ms;
use crate::worker::Worked;

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
    /// Shoppers who came when the rush was over, and how many of them got something.
    pub latecomers: (u64, u64),
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

/// One SKU, as the crowd knows it.
#[derive(Clone, Debug, Serialize)]
pub struct SkuReport {
    /// The SKU.
    pub sku_id: String,
    /// Its stock before the rush.
    pub stock: u64,
    /// Units that shoppers of this run surely hold.
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
    pub(crate) fn new(sale: &Sale, tally: Tally, rush: &[Worked], elapsed: Duration, acks: Option<Acks>) -> Self {
        let plan = &sale.plan;
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
            refused: tally.refused.into_iter().enumerate().filter_map(by_name).collect(),
            transport_errors: tally.transport.iter().map(|(error, count)| (error.name(), *count)).collect(),
            retries: tally.retries,
            lost: tally.lost,
            reconnects: tally.reconnects,
            latecomers: (tally.late_asked, tally.late_accepted),
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

    /// The report for people, several lines of text.
    #[must_use]
    pub fn table(&self) -> String {
        let mut text = format!("{}\n{}\n", self.outcomes(), self.latencies());
        for line in self.remarks() {
            text.push_str(&line);
            text.push('\n');
        }
        text
    }

    fn outcomes(&self) -> Table {
        let mut table = table(&["outcome", "requests"]);
        let mut row = |name: &str, count: u64| {
            table.add_row([Cell::new(name), Cell::new(thousands(count)).set_alignment(CellAlignment::Right)]);
        };
        row("asked", self.asked);
        row("accepted", self.accepted);
        for (name, count) in [("replayed", self.replayed), ("cancelled", self.cancelled), ("polled", self.polled)] {
            if count > 0 {
                row(name, count);
            }
        }
        row("refused", self.refused_total());
        for (code, count) in &self.refused {
            row(&format!("  {code}"), *count);
        }
        if self.lost > 0 {
            row("never answered", self.lost);
        }
        for (error, count) in &self.transport_errors {
            row(&format!("  {error}"), *count);
        }
        row("violations", self.violations.iter().map(|violation| violation.count).sum());
        table
    }

    fn latencies(&self) -> Table {
        let mut table = table(&["latency", "count", "p50", "p99", "p99.9", "max"]);
        for line in &self.latency {
            let times = [line.p50_us, line.p99_us, line.p999_us, line.max_us].map(duration);
            let cells = [thousands(line.count)].into_iter().chain(times);
            let right = cells.map(|text| Cell::new(text).set_alignment(CellAlignment::Right));
            table.add_row([Cell::new(line.outcome)].into_iter().chain(right));
        }
        table
    }

    fn remarks(&self) -> Vec<String> {
        let rush = &self.rush;
        let mut lines = vec![format!(
            "{:.0} requests/s over {:.2} s on {} connections; the crowd itself took {:.1} µs of processor time a request",
            rush.requests_per_s, rush.seconds, self.connections, rush.client_cpu_us
        )];
        if let Some(pace) = &self.pace {
            lines.push(format!(
                "due at {:.0} requests/s, latency counted from then; sent late by {} (p50), {} (p99)",
                pace.rate,
                duration(pace.late_p50_us),
                duration(pace.late_p99_us)
            ));
        }
        for sku in &self.skus {
            lines.push(format!("sku {}: {} of {} units held by these shoppers", sku.sku_id, sku.held, sku.stock));
        }
        if self.latecomers.0 + self.revisited > 0 {
            let (came, got) = self.latecomers;
            let back = self.revisited;
            lines.push(format!("afterwards: {came} latecomers came and {got} got something; {back} winners came back and found their order"));
        }
        if self.retries > 0 {
            lines.push(format!("rode out outages with {} further tries, same request, same key", self.retries));
        }
        if let Some(acks) = &self.acks {
            lines.push(format!("{} acknowledgements on disk in {}", acks.lines, acks.file.display()));
        }
        lines.push(format!("seed {}, users from {}", self.seed, self.first_user));
        for violation in &self.violations {
            lines.push(format!("VIOLATION {} ({} times)", violation.rule, violation.count));
            lines.extend(violation.examples.iter().map(|example| format!("  {example}")));
        }
        lines
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

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.iter().map(Cell::new));
    table
}

fn duration(us: f64) -> String {
    match us {
        us if us < 1000.0 => format!("{us:.0} µs"),
        us if us < 1_000_000.0 => format!("{:.2} ms", us / 1000.0),
        us => format!("{:.2} s", us / 1_000_000.0),
    }
}

fn thousands(count: u64) -> String {
    let digits = count.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    groups.join(",")
}
