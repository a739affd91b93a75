//! One shopper's visit, from the first click to the last, and what must be true of every answer on the way.
//!
//! ```text
//!   ask (or click twice) ──accepted──▶ poll, repeat with the key, repeat without it, same key and another body, cancel
//!                        ──refused───▶ poll, ask again
//! ```
//!
//! A visit knows only its own user; what two users were promised meets in the ledger. Where a reply was lost, what the
//! server did is unknown, and the visit stops judging by it.

mod verdict;

use anyhow::Result;

use crate::acks::Ack;
use crate::desk::{Booth, Desk, Sent, Winner};
use crate::judge;
use crate::ledger::Violation;
use crate::pay;
use crate::reply::{Answer, Route};
use crate::schedule::Schedule;
use crate::shopper::Shopper;
use crate::token::unix_ms;
use crate::visit::verdict::{Owned, RULE_KEY};

struct Visit<'a> {
    desk: &'a Desk,
    schedule: &'a Schedule,
    shopper: Shopper,
    owned: Vec<Owned>,
    /// A reply was lost, so there may be an order that nobody was told of.
    uncertain: bool,
    asked_before: bool,
}

/// The whole visit of the `index`-th shopper. Whether it got anything.
///
/// # Errors
/// Only the crowd's own: a token that cannot be signed, a log that cannot be written.
pub(crate) async fn shop(booth: &mut Booth, schedule: &Schedule, index: u64) -> Result<bool> {
    let desk = booth.desk.clone();
    let sale = &desk.sale;
    let shares = sale.plan.shares;
    let shopper = Shopper::new(sale, index)?;
    let returning = sale.plan.returning;
    let mut visit =
        Visit { desk: &desk, schedule, shopper, owned: Vec::new(), uncertain: returning, asked_before: returning };
    if visit.shopper.key.is_some() && visit.shopper.rolls(shares.double_click) {
        visit.click_twice(booth).await?;
    } else {
        visit.ask(booth).await?;
    }
    if visit.owned.is_empty() && visit.shopper.rolls(shares.repeat) {
        visit.ask(booth).await?;
    }
    if visit.shopper.rolls(shares.poll) {
        visit.poll(booth).await;
    }
    if visit.owned.is_empty() {
        return Ok(false);
    }
    visit.after_winning(booth).await?;
    visit.leave();
    Ok(true)
}

/// A winner comes back: the key still gets the same order, and the poll still shows it.
pub(crate) async fn revisit(booth: &mut Booth, schedule: &Schedule, winner: Winner) -> Result<()> {
    let desk = booth.desk.clone();
    let shopper = Shopper::new(&desk.sale, winner.index)?;
    let mut visit = Visit { desk: &desk, schedule, shopper, owned: Vec::new(), uncertain: false, asked_before: true };
    let request = std::mem::take(&mut visit.shopper.request);
    let sent = desk.send(schedule, &mut booth.connection, Route::Order, &request).await;
    visit.on_repeat(sent, winner.order_id, None)?;
    if !visit.owned.is_empty() {
        visit.poll(booth).await;
        desk.tally().revisited += 1;
    }
    Ok(())
}

impl Visit<'_> {
    async fn ask(&mut self, booth: &mut Booth) -> Result<()> {
        let ended_before = self.desk.sale.ledger.has_ended();
        let request = &self.shopper.request;
        let sent = self.desk.send(self.schedule, &mut booth.connection, Route::Order, request).await;
        let keyed = self.shopper.key.is_some();
        self.on_purchase(sent, keyed, ended_before)
    }

    async fn click_twice(&mut self, booth: &mut Booth) -> Result<()> {
        let ended_before = self.desk.sale.ledger.has_ended();
        let (desk, schedule, request) = (self.desk, self.schedule, &self.shopper.request);
        let (one, two) = tokio::join!(
            desk.send(schedule, &mut booth.connection, Route::Order, request),
            desk.send(schedule, &mut booth.twin, Route::Order, request)
        );
        // In the order in which the server must have decided: the acceptance first.
        let accepted = |sent: &Sent| matches!(sent.answer, Some(Answer::Accepted(_)));
        let (first, second) = if accepted(&two) { (two, one) } else { (one, two) };
        if accepted(&first) && accepted(&second) {
            self.found(Violation::new(RULE_KEY, "two requests at once with one key were both answered 201"));
        }
        // A click that was sent again may find what its own first try bought.
        self.asked_before |= first.retried || second.retried;
        self.uncertain |= self.asked_before;
        self.on_purchase(first, true, ended_before)?;
        self.on_purchase(second, true, ended_before)
    }

    async fn after_winning(&mut self, booth: &mut Booth) -> Result<()> {
        let shares = self.desk.sale.plan.shares;
        let sale = &self.desk.sale;
        if let Some(order_id) = self.keyed_order() {
            if self.shopper.rolls(shares.repeat) {
                self.repeat(booth, order_id, None).await?;
            }
            if self.shopper.rolls(shares.other_body) {
                let request = self.shopper.other_body(sale);
                let sent = self.desk.send(self.schedule, &mut booth.connection, Route::Order, &request).await;
                self.on_other_body(&sent);
            }
        }
        if self.shopper.rolls(shares.repeat_without_key) {
            let request = self.shopper.without_key(sale);
            let ended_before = sale.ledger.has_ended();
            let sent = self.desk.send(self.schedule, &mut booth.connection, Route::Order, &request).await;
            self.on_purchase(sent, false, ended_before)?;
        }
        if self.shopper.rolls(shares.cancel) {
            self.cancel(booth).await?;
        }
        Ok(())
    }

    async fn repeat(&mut self, booth: &mut Booth, order_id: u64, state: Option<&'static str>) -> Result<()> {
        let request = &self.shopper.request;
        let sent = self.desk.send(self.schedule, &mut booth.connection, Route::Order, request).await;
        self.on_repeat(sent, order_id, state)
    }

    async fn poll(&mut self, booth: &mut Booth) {
        let request = self.shopper.poll(&self.desk.sale);
        let sent = self.desk.send(self.schedule, &mut booth.connection, Route::Poll, &request).await;
        self.on_poll(&sent);
    }

    async fn cancel(&mut self, booth: &mut Booth) -> Result<()> {
        let Some(mut owned) = self.owned.pop() else { return Ok(()) };
        let order_id = owned.order.order_id;
        // From here on the server may sell these slots to another, before this user hears back.
        self.desk.sale.ledger.release(self.shopper.sku, &owned.order);
        let request = self.shopper.cancel(&self.desk.sale, order_id);
        let sent = self.desk.send(self.schedule, &mut booth.connection, Route::Cancel, &request).await;
        let state = match sent.answer {
            Some(Answer::Cancelled(order)) => {
                let state = order.state.name();
                if (order.order_id, state) != (order_id, "cancelled") {
                    let example = format!("cancelling {order_id} was answered by {} as {state}", order.order_id);
                    self.found(Violation::new("contract: cancel", example));
                }
                self.log(&Ack::Cancel {
                    user_id: self.shopper.user_id.to_string(),
                    order_id: order_id.to_string(),
                    state,
                })?;
                owned.order.state = order.state;
                Some(state)
            }
            Some(Answer::Refused(code)) => {
                if !code.is("order_not_cancellable") || owned.is_live(unix_ms()) {
                    self.desk.report(judge::busy("cancelling a held order", code));
                }
                None
            }
            _ => None,
        };
        let keyed = owned.keyed;
        self.uncertain = true;
        if keyed && state.is_some() && self.shopper.rolls(self.desk.sale.plan.shares.repeat) {
            self.repeat(booth, order_id, state).await?;
        }
        Ok(())
    }

    /// Winners will pay, or some of them will come back.
    fn leave(mut self) {
        if let Some(pay) = &self.desk.sale.plan.pay {
            let Shopper { sku, user_id, .. } = self.shopper;
            let bill = |owned: &Owned| pay::bill(self.desk, pay, &owned.order, sku, user_id, self.shopper.token());
            return self.owned.iter().for_each(bill);
        }
        let single = self.owned.len() == 1 && !self.uncertain;
        if single && self.owned[0].keyed && self.shopper.rolls(self.desk.sale.plan.shares.revisit) {
            let winner = Winner { index: self.shopper.index, order_id: self.owned[0].order.order_id };
            self.desk.winners().push(winner);
        }
    }
}
