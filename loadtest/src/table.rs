//! The report for people: a table of outcomes, a table of latencies, and what else there is to say.

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table};

use crate::pay::PayReport;
use crate::rain::{RainReport, RoundReport, Sums};
use crate::report::{Latecomers, Report};

impl Report {
    /// The report for people, several lines of text.
    #[must_use]
    pub fn table(&self) -> String {
        let mut text = format!("{}\n{}\n", self.outcomes(), self.latencies());
        if let Some(pay) = &self.pay {
            text.push_str(&format!("{}\n{}\n", payments(pay), money(pay)));
        }
        if let Some(rain) = &self.rain {
            text.push_str(&format!("{}\n", rounds(rain)));
        }
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
        let others = [
            ("replayed", self.replayed),
            ("cancelled", self.cancelled),
            ("polled", self.polled),
            ("payments answered", self.paid),
            ("orders looked at", self.found),
            ("own packets looked at", self.looked),
            ("operator's requests", self.operated),
        ];
        for (name, count) in others {
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
            lines.push(format!(
                "sku {}: {} of {} units held or bought by these shoppers",
                sku.sku_id, sku.held, sku.stock
            ));
        }
        if self.rain.as_ref().is_some_and(|rain| rain.rounds.is_empty()) {
            lines.push("NOT RECONCILED: an operator's request was not answered".to_owned());
        }
        lines.extend(self.rain.iter().flat_map(|rain| &rain.rounds).map(adds_up));
        if self.latecomers.came + self.revisited > 0 {
            let Latecomers { came, accepted: got } = self.latecomers;
            let back = self.revisited;
            let found = if self.rain.is_some() { "packet" } else { "order" };
            lines.push(format!("afterwards: {came} latecomers came and {got} got something; {back} winners came back and found their {found}"));
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

fn payments(pay: &PayReport) -> Table {
    let mut table = table(&["payments", ""]);
    let mut row = |name: String, count: u64| {
        table.add_row([Cell::new(name), Cell::new(thousands(count)).set_alignment(CellAlignment::Right)]);
    };
    pay.orders.iter().for_each(|(state, count)| row(format!("orders {state}"), *count));
    pay.payments.iter().for_each(|(outcome, count)| row(format!("payments {outcome}"), *count));
    pay.acts.iter().for_each(|(act, count)| row((*act).to_owned(), *count));
    if !pay.reconciled {
        row("NOT RECONCILED: an operator's request was not answered".to_owned(), 0);
    }
    table
}

fn money(pay: &PayReport) -> Table {
    let mut table = table(&["money", "received", "applied", "owed back", "paid back"]);
    for (currency, sums) in &pay.money {
        let sums = [sums.received_cents, sums.applied_cents, sums.owed_back_cents, sums.paid_back_cents];
        let cells = sums.map(|cents| format!("{}.{:02}", thousands(cents / 100), cents % 100));
        let right = cells.map(|text| Cell::new(text).set_alignment(CellAlignment::Right));
        table.add_row([Cell::new(currency)].into_iter().chain(right));
    }
    table
}

fn rounds(rain: &RainReport) -> Table {
    let mut table = table(&["round", "packets", "cents", "granted", "remaining", "refunded", "told to the crowd"]);
    for round in &rain.rounds {
        let sums = [round.granted, round.remaining, round.refunded, round.told];
        let sums = sums.map(|sums| format!("{}: {}", thousands(sums.packets), thousands(sums.cents)));
        let all = [round.round.to_string(), thousands(round.total.packets), thousands(round.total.cents)];
        let right = all.into_iter().chain(sums).map(|text| Cell::new(text).set_alignment(CellAlignment::Right));
        table.add_row(right);
    }
    table
}

/// A round in one line.
fn adds_up(round: &RoundReport) -> String {
    let RoundReport { round: number, total, granted, remaining, refunded, .. } = round;
    let sum = [granted, remaining, refunded].iter().fold(Sums::default(), |sum, of| sum.and(**of));
    let holds = if sum == *total { "=" } else { "IS NOT" };
    let seed = if round.verified { "; each amount is what the seed gives, as committed" } else { "" };
    format!(
        "round {number}: granted {} + remaining {} + refunded {} {holds} {} cents{seed}",
        granted.cents, remaining.cents, refunded.cents, total.cents
    )
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
