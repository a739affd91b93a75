//! The end of a rain: its rounds are over, and what the operator reads of each is held against its budget, against what
//! the crowd was told, and against the seed that is public now.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::Deserialize;

use super::books::{Books, Round, rounds};
use super::outcome::{Counts, RainReport, RoundReport, Sums};
use crate::crowd::look;
use crate::desk::Desk;
use crate::ledger::Violation;
use crate::operator::{LOOK_AGAIN, Operator};
use crate::pay::skew_ms;
use crate::plan::Rain;
use crate::token::unix_ms;

const RULE_SUM: &str = "M1: granted + remaining + refunded = total";
const RULE_TOLD: &str = "M1: what was granted is what the crowd was told";
const RULE_END: &str = "M1: what nobody grabbed is refunded at the end";
const RULE_SOLD_OUT: &str = "S6: sold_out only when no packet is free";
/// How long the crowd waits for a round's end.
const END_WAIT_MAX: Duration = Duration::from_secs(60);
/// What is left is gathered and refunded a moment after the end, or after a server's start: within so many time-outs.
const REFUND_TIMEOUTS: u32 = 2;

/// The counts before anybody came.
///
/// # Errors
/// Where the operator listener does not answer as the contract says.
pub(crate) async fn counts(desk: &Desk, rain: Rain) -> Result<Vec<Counts>> {
    let counts = Operator::new(desk, rain.operator)?.rounds().await;
    counts.with_context(|| format!("the operator listener {} does not show the rain's counts", rain.operator))
}

/// Ends the rain, or waits for its end, and reconciles; what is wrong is counted at the desk.
///
/// # Errors
/// Only the crowd's own: a token that cannot be signed.
pub(crate) async fn reconcile(desk: &Desk, rain: Rain, books: &Books) -> Result<RainReport> {
    let plan = &desk.sale.plan;
    let mut operator = Operator::new(desk, rain.operator)?;
    let mut report = RainReport { rounds: Vec::new(), unknown: books.unknown() };
    if rain.close {
        let path = format!("activities/{}/close", plan.activity_id);
        if operator.post(&path, Some(&format!("end-{:x}", plan.seed)), "").await.is_none() {
            return Ok(report);
        }
    }
    let ends = books.rounds.iter().filter(|round| rain.close || ends_soon(round, unix_ms()));
    let over: Vec<usize> = ends.map(|round| round.round).collect();
    if !rain.close {
        let last_ms = over.iter().filter_map(|round| books.round(*round)).map(|round| round.ends_at_ms).max();
        let wait_ms = last_ms.map_or(0, |end| (end + skew_ms(plan)).saturating_sub(unix_ms()));
        tokio::time::sleep(Duration::from_millis(wait_ms)).await;
    }
    let Some(counts) = operator.wait_for_refunds(&over).await else { return Ok(report) };
    let now = match look(plan, &desk.sale.mint).await.and_then(|activity| rounds(plan, &activity)) {
        Ok(now) => now,
        Err(error) => {
            operator.wrong("contract: an activity after its rounds", error.to_string());
            return Ok(report);
        }
    };
    for (before, now) in books.rounds.iter().zip(&now) {
        let Some(count) = counts.iter().find(|count| count.round == before.round) else { continue };
        let mut faults = weigh(desk, books, before, count);
        let is_over = over.contains(&before.round);
        if is_over {
            let unverified = books.verify(before, now);
            report.rounds.push(round(books, count, unverified.is_empty()));
            faults.extend(unverified);
            faults.extend(unended(before, count));
        } else {
            report.rounds.push(round(books, count, false));
        }
        desk.report(faults);
    }
    Ok(report)
}

fn ends_soon(round: &Round, now_ms: u64) -> bool {
    u128::from(round.ends_at_ms) <= u128::from(now_ms) + END_WAIT_MAX.as_millis()
}

fn round(books: &Books, count: &Counts, verified: bool) -> RoundReport {
    let (total, granted) = (count.total(), count.granted());
    let (remaining, refunded) = (count.remaining(), count.refunded());
    RoundReport { round: count.round, total, granted, remaining, refunded, told: books.sums(count.round), verified }
}

fn unended(round: &Round, count: &Counts) -> Option<Violation> {
    let left = count.remaining();
    (left != Sums::default())
        .then(|| Violation::new(RULE_END, format!("of round {}, which is over, {left:?} remain", round.round)))
}

/// A round's numbers, against its budget and against what the crowd knows.
fn weigh(desk: &Desk, books: &Books, round: &Round, count: &Counts) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut wrong = |rule, what: String| found.push(Violation::new(rule, format!("round {}: {what}", round.round)));
    let budget = Sums { packets: round.packets.into(), cents: round.total_cents };
    let (granted, refunded) = (count.granted(), count.refunded());
    let sum = granted.and(count.remaining()).and(refunded);
    if (count.total(), sum) != (budget, budget) {
        wrong(RULE_SUM, format!("{count:?} do not add up to {budget:?}"));
    }
    let before =
        books.before.iter().find(|before| before.round == round.round).map_or(Sums::default(), Counts::granted);
    let told = books.sums(round.round).and(before);
    let sale = &desk.sale;
    let all_known = books.unknown() == 0 && !sale.plan.returning;
    // Whoever was here before may have been told again of what was granted before.
    let most = granted.and(before);
    let too_much = told.packets > most.packets || told.cents > most.cents;
    if (all_known && told != granted) || too_much {
        wrong(RULE_TOLD, format!("{granted:?} were granted, the crowd was told of {told:?}"));
    }
    let heard = books.heard_sold_out(round.round);
    // What a crash takes back before it is on disk is free again, though somebody was told otherwise.
    let steady = sale.gauges.transport_errors.load(Ordering::Relaxed) == 0;
    if heard > 0 && steady && granted.packets < budget.packets {
        wrong(
            RULE_SOLD_OUT,
            format!(
                "{heard} users heard sold_out, and {} packets were never granted",
                budget.packets - granted.packets
            ),
        );
    }
    found
}

impl Operator<'_> {
    async fn rounds(&mut self) -> Option<Vec<Counts>> {
        #[derive(Deserialize)]
        struct Stats {
            rounds: Vec<Counts>,
        }
        let path = format!("activities/{}/stats", self.sale().plan.activity_id);
        let body = self.get(&path).await?;
        self.read(&path, body).map(|stats: Stats| stats.rounds)
    }

    /// Reads the numbers until nothing remains of the rounds that are over, or it has taken too long.
    async fn wait_for_refunds(&mut self, over: &[usize]) -> Option<Vec<Counts>> {
        let (begun, patience) = (Instant::now(), self.sale().plan.timeout * REFUND_TIMEOUTS);
        loop {
            let counts = self.rounds().await?;
            let remains = counts.iter().any(|count| over.contains(&count.round) && count.remaining().packets > 0);
            if !remains || begun.elapsed() > patience {
                return Some(counts);
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}
