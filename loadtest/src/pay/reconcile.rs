//! The operator at the end of the day: reads what is owed back, pays some of it back, refunds some orders, and counts
//! units; the lists and the counts must be what the shoppers and their provider were told.
//!
//! ```text
//!   holds have run out ─▶ counts ─▶ list of refunds due ─▶ pay some back, refund some orders ─▶ lists and counts again
//! ```

use std::time::Duration;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::listing::{self, Book, Listed, RULE_REFUNDS, UnitCounts, Units, book, compare, weigh};
use super::outcome::Count;
use super::{PATIENCE, PayReport, prefix, skew_ms};
use crate::acks::Ack;
use crate::desk::Desk;
use crate::operator::{LOOK_AGAIN, Operator, Said};
use crate::plan::Pay;
use crate::reply::{PaymentState, RULE_SHAPE, State};
use crate::token::unix_ms;

const RULE_REPEAT: &str = "U3: an operator's request that is repeated does nothing more";
/// More would only take longer.
const ACTS_MAX: usize = 300;
/// Small, so that lists have several pages.
const PAGE: usize = 40;
/// Units come back a moment after their hold ran out, or after a server's start.
const RELEASE_MAX: Duration = Duration::from_secs(10);

/// The counts before anybody came.
///
/// # Errors
/// Where the operator listener does not answer as the contract says.
pub(crate) async fn counts(desk: &Desk, pay: &Pay) -> Result<Vec<UnitCounts>> {
    let mut operator = Operator::new(desk, pay.operator)?;
    let counts = operator.counts().await;
    counts.with_context(|| format!("the operator listener {} does not show the sale's counts", pay.operator))
}

/// Reconciles; what is wrong is counted at the desk.
///
/// # Errors
/// Only the crowd's own: a log that cannot be written.
pub(crate) async fn reconcile(desk: &Desk, pay: &Pay, before: &[UnitCounts]) -> Result<PayReport> {
    let sale = &desk.sale;
    let mut accounts = sale.till.accounts().clone();
    // In no order that depends on threads.
    accounts.sort_by_key(|account| account.order_id);
    let mut report = PayReport::of(&accounts);
    let mut book = book(&accounts);
    let mut operator = Operator::new(desk, pay.operator)?;
    let all_gone = operator.wait_for_holds(&accounts).await;
    let mut unreturned = vec![0; sale.skus.len()];
    let mut reconciled = operator.weigh(&accounts, &unreturned, before, all_gone).await;
    reconciled &= operator.list(&book, PaymentState::RefundDue).await.is_some();

    let mut dice = fastrand::Rng::with_seed(!sale.plan.seed);
    let due = book.iter().filter(|(_, entry)| entry.state == Some(PaymentState::RefundDue));
    let due: Vec<String> =
        due.map(|(payment_id, _)| payment_id.clone()).filter(|_| dice.bool()).take(ACTS_MAX).collect();
    for payment_id in due {
        operator.pay_back(&mut book, &payment_id, dice.u32(0..3) == 0).await?;
    }
    let paid: Vec<usize> = (0..accounts.len())
        .filter(|at| accounts[*at].states.certain() == Some(State::Paid))
        .filter(|_| dice.u32(0..5) == 0)
        .take(ACTS_MAX)
        .collect();
    for at in paid {
        let account = &mut accounts[at];
        let Some(slip) = account.slips.iter().find(|slip| slip.is_applied()) else { continue };
        let (payment_id, restock) = (slip.payment_id.clone(), dice.bool());
        if operator.refund(account.order_id, &payment_id, restock).await? {
            account.states = super::account::States::only(State::Refunded);
            if restock {
                sale.ledger.restock(account.order_id);
            } else {
                unreturned[account.sku] += u64::from(account.quantity);
            }
            stands(&mut book, &payment_id, Some(PaymentState::RefundDue));
            if dice.bool() {
                operator.pay_back(&mut book, &payment_id, dice.bool()).await?;
            }
        } else {
            account.states = account.states.with(State::Refunded);
            stands(&mut book, &payment_id, None);
        }
    }

    reconciled &= operator.list(&book, PaymentState::RefundDue).await.is_some();
    reconciled &= operator.list(&book, PaymentState::Refunded).await.is_some();
    reconciled &= operator.weigh(&accounts, &unreturned, before, all_gone).await;
    report.reconciled = reconciled;
    for entry in book.values() {
        if let Some(state) = entry.state {
            report.money.entry(entry.currency.clone()).or_default().add(entry.amount_cents, state);
        }
    }
    Ok(report)
}

fn stands(book: &mut Book, payment_id: &str, state: Option<PaymentState>) {
    if let Some(entry) = book.get_mut(payment_id) {
        entry.state = state;
    }
}

impl Operator<'_> {
    async fn counts(&mut self) -> Option<Vec<UnitCounts>> {
        #[derive(Deserialize)]
        struct Stats {
            skus: Vec<UnitCounts>,
        }
        let path = format!("activities/{}/stats", self.sale().plan.activity_id);
        let body = self.get(&path).await?;
        self.read(&path, body).map(|stats: Stats| stats.skus)
    }

    /// Waits until the last hold has run out, where that takes not too long; whether it has.
    async fn wait_for_holds(&mut self, accounts: &[super::account::Account]) -> bool {
        let held = accounts.iter().filter(|account| account.states.has(State::Held));
        let last_ms = held.map(|account| account.expires_at_ms).max().unwrap_or(0) + skew_ms(&self.sale().plan);
        let wait = Duration::from_millis(last_ms.saturating_sub(unix_ms()));
        if wait > PATIENCE {
            return false;
        }
        tokio::time::sleep(wait).await;
        let begun = std::time::Instant::now();
        while begun.elapsed() < RELEASE_MAX {
            match self.counts().await {
                Some(counts) if counts.iter().any(|sku| sku.held > 0) => tokio::time::sleep(LOOK_AGAIN).await,
                _ => break,
            }
        }
        true
    }

    /// Holds the counts against the accounts; whether there were counts.
    async fn weigh(
        &mut self,
        accounts: &[super::account::Account],
        unreturned: &[u64],
        before: &[UnitCounts],
        all_gone: bool,
    ) -> bool {
        let Some(counts) = self.counts().await else { return false };
        for (at, sku) in self.sale().skus.iter().enumerate() {
            let of = |counts: &[UnitCounts]| counts.iter().find(|counts| counts.sku_id == sku.sku_id).cloned();
            let Some(now) = of(&counts) else {
                self.wrong(listing::RULE_UNITS, format!("sku {} has no counts", sku.sku_id));
                continue;
            };
            let sold_before = of(before).map_or(0, |before| before.sold);
            let units = listing::units(accounts, at, unreturned[at], sold_before, unix_ms());
            self.desk.report(weigh(&now, Units { all_known: all_gone, ..units }));
        }
        true
    }

    /// Reads all pages of the refunds in one state and compares them.
    async fn list(&mut self, book: &Book, state: PaymentState) -> Option<()> {
        #[derive(Deserialize)]
        struct Page {
            refunds: Vec<Listed>,
            next_cursor: Option<String>,
        }
        let (mut all, mut cursor): (_, Option<String>) = (Vec::new(), None);
        loop {
            let from = cursor.as_ref().map_or_else(String::new, |cursor| format!("&cursor={cursor}"));
            let path = format!("refunds?state={}&limit={PAGE}{from}", state.name());
            let body = self.get(&path).await?;
            let page: Page = self.read(&path, body)?;
            if page.next_cursor.is_some() && page.next_cursor == cursor {
                self.wrong(RULE_SHAPE, format!("{path}: the next page is the same"));
                return None;
            }
            all.extend(page.refunds);
            cursor = page.next_cursor;
            if cursor.is_none() {
                break;
            }
        }
        self.desk.report(compare(book, &prefix(&self.sale().plan), state, &all));
        Some(())
    }

    /// Says that a payment was paid back, and perhaps says it again.
    async fn pay_back(&mut self, book: &mut Book, payment_id: &str, again: bool) -> Result<()> {
        #[derive(Deserialize)]
        struct Done {
            payment_id: String,
            payment_state: PaymentState,
        }
        let path = format!("refunds/{payment_id}/done");
        let key = format!("done-{payment_id}");
        for time in 0..=u32::from(again) {
            let Some(said) = self.post(&path, Some(&key), "").await else {
                stands(book, payment_id, None);
                return Ok(());
            };
            self.judge_repeat(&path, time, &said);
            let Some(done) = self.read::<Done>(&path, said.body) else { return Ok(()) };
            if (&*done.payment_id, done.payment_state) != (payment_id, PaymentState::Refunded) {
                let (id, state) = (done.payment_id, done.payment_state.name());
                self.wrong(RULE_REFUNDS, format!("{path} was answered by payment {id}, which is {state}"));
            }
            stands(book, payment_id, Some(done.payment_state));
        }
        self.desk.tally().pay.add(Count::PaidBack);
        let order_id = book.get(payment_id).map_or(0, |entry| entry.order_id).to_string();
        self.log(&Ack::Repaid { payment_id, order_id })
    }

    /// Takes a paid order back, then again with the key, and with the key for something else; whether it was answered.
    async fn refund(&mut self, order_id: u64, payment_id: &str, restock: bool) -> Result<bool> {
        #[derive(Deserialize)]
        struct Refunded {
            #[serde(deserialize_with = "crate::reply::decimal")]
            order_id: u64,
            state: State,
        }
        let path = format!("orders/{order_id}/refund");
        let key = format!("refund-{order_id}");
        let body = format!(r#"{{"restock":{restock}}}"#);
        for time in 0..2 {
            let Some(said) = self.post(&path, Some(&key), &body).await else { return Ok(time > 0) };
            self.judge_repeat(&path, time, &said);
            let Some(refunded) = self.read::<Refunded>(&path, said.body) else { return Ok(time > 0) };
            if (refunded.order_id, refunded.state) != (order_id, State::Refunded) {
                let (id, state) = (refunded.order_id, refunded.state.name());
                self.wrong(RULE_REFUNDS, format!("{path} was answered by order {id}, which is {state}"));
            }
            if time == 0 {
                self.desk.tally().pay.add(Count::OrderRefunded);
                self.log(&Ack::Refund { order_id: order_id.to_string(), payment_id, restock })?;
            }
        }
        Ok(true)
    }

    /// The first answer to a key is new, the next is not.
    fn judge_repeat(&self, path: &str, time: u32, said: &Said) {
        if time > 0 {
            self.desk.tally().pay.add(Count::Repeated);
        }
        if (time > 0) != said.replayed && !said.retried {
            let what = if said.replayed { "was answered as a repeat at once" } else { "was done again" };
            self.wrong(RULE_REPEAT, format!("{path} {what}"));
        }
    }
}
