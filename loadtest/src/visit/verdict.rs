//! What a visit makes of each answer: what its user now owns, what goes into the log, and what breaks a rule.

use anyhow::Result;

use super::Visit;
use crate::acks::Ack;
use crate::desk::Sent;
use crate::judge;
use crate::ledger::{CLOCK_SKEW_MS_MAX, Violation};
use crate::reply::{Answer, Order, Polled};
use crate::token::unix_ms;

pub(super) const RULE_KEY: &str = "U3: one key, one order";

/// An order that the user was told is theirs.
pub(super) struct Owned {
    pub(super) order: Box<Order>,
    pub(super) keyed: bool,
}

impl Owned {
    /// Surely still held.
    pub(super) fn is_live(&self, now_ms: u64) -> bool {
        self.order.state.is_live() && self.order.expires_at_ms > now_ms + CLOCK_SKEW_MS_MAX
    }
}

impl Visit<'_> {
    /// A reply to a request that may buy something.
    pub(super) fn on_purchase(&mut self, sent: Sent, keyed: bool, ended_before: bool) -> Result<()> {
        let sale = &self.desk.sale;
        let newcomer = !self.asked_before && !sent.retried && self.owned.is_empty();
        self.uncertain |= sent.answer.is_none() || (sent.retried && !keyed);
        match sent.answer {
            Some(Answer::Accepted(order)) => {
                self.desk.report(judge::fresh(&order, ended_before, unix_ms()));
                self.own(order, keyed, false)?;
            }
            Some(Answer::Replayed(order)) => {
                let known = self.keyed_order();
                if known.is_some_and(|id| id != order.order_id) {
                    self.found(Violation::new(RULE_KEY, format!("{known:?} became {}", order.order_id)));
                } else if known.is_none() && !sent.retried && !self.uncertain {
                    let example = format!(
                        "user {} got order {} replayed for a key that was never accepted (were these users here before, by \
                         the same --seed or --first-user? then say --returning)",
                        self.shopper.user_id, order.order_id
                    );
                    self.found(Violation::new(RULE_KEY, example));
                }
                self.own(order, keyed, true)?;
            }
            Some(Answer::Refused(code)) => {
                if code.is("ended") {
                    sale.ledger.note_end();
                }
                self.desk.report(judge::refusal(code, newcomer, self.shopper.quantity, &sale.plan));
            }
            _ => {}
        }
        self.asked_before |= sent.retried;
        Ok(())
    }

    /// The same key and body after an acceptance: the same order, in whatever state the activity is.
    pub(super) fn on_repeat(&mut self, sent: Sent, order_id: u64, state: Option<&'static str>) -> Result<()> {
        let wrong = |got: String| Violation::new(RULE_KEY, format!("repeat of order {order_id} was answered by {got}"));
        match sent.answer {
            Some(Answer::Replayed(order)) => {
                if order.order_id != order_id {
                    self.found(wrong(format!("order {}", order.order_id)));
                } else if state.is_some_and(|state| order.state.name() != state) {
                    self.found(wrong(format!("state {}", order.state.name())));
                }
                self.own(order, true, true)?;
            }
            Some(Answer::Accepted(order)) => {
                self.found(wrong(format!("a new order {}", order.order_id)));
                self.own(order, true, false)?;
            }
            Some(Answer::Refused(code)) => self.desk.report(judge::busy("the repeat of an accepted key", code)),
            _ => {}
        }
        Ok(())
    }

    pub(super) fn on_other_body(&self, sent: &Sent) {
        match &sent.answer {
            Some(Answer::Refused(code)) if code.is("idempotency_key_reused") => {}
            Some(Answer::Refused(code)) => self.desk.report(judge::busy("a used key with another body", *code)),
            Some(Answer::Accepted(order) | Answer::Replayed(order)) => {
                let example = format!("a used key with another body got order {}, not 422", order.order_id);
                self.found(Violation::new(RULE_KEY, example));
            }
            _ => {}
        }
    }

    pub(super) fn on_poll(&self, sent: &Sent) {
        let now_ms = unix_ms();
        let wrong = |example| Violation::new("A2: what was accepted is found again", example);
        let user_id = self.shopper.user_id;
        match &sent.answer {
            Some(Answer::Polled(Polled::Nothing)) => {
                if let Some(owned) = self.owned.iter().find(|owned| owned.is_live(now_ms)) {
                    self.found(wrong(format!("user {user_id} holds order {}, the poll says -1", owned.order.order_id)));
                }
            }
            Some(Answer::Polled(Polled::Order { order_id, state })) => {
                let order_id = *order_id;
                match self.owned.iter().find(|owned| owned.order.order_id == order_id) {
                    None if !self.uncertain => {
                        self.found(wrong(format!(
                            "the poll shows user {user_id} order {order_id}, which is not theirs"
                        )));
                    }
                    Some(owned) if owned.is_live(now_ms) && !state.is_live() => {
                        self.found(wrong(format!("the poll shows order {order_id} as {}, it is held", state.name())));
                    }
                    _ => {}
                }
            }
            Some(Answer::Refused(code)) => self.desk.report(judge::busy("a poll", *code)),
            _ => {}
        }
    }

    /// Books and logs an order that this user was just told is theirs.
    pub(super) fn own(&mut self, order: Box<Order>, keyed: bool, replayed: bool) -> Result<()> {
        let sale = &self.desk.sale;
        let now_ms = unix_ms();
        self.desk.report(judge::order(&sale.plan, &sale.skus[self.shopper.sku], &self.shopper, &order));
        self.desk.report(sale.ledger.book(self.shopper.user_id, self.shopper.sku, &order, now_ms));
        self.log(&Ack::Order {
            user_id: self.shopper.user_id.to_string(),
            activity_id: order.activity_id.to_string(),
            order_id: order.order_id.to_string(),
            sku_id: &order.sku_id,
            quantity: order.quantity,
            amount_cents: order.amount_cents,
            slots: &order.slots,
            state: order.state.name(),
            key: self.shopper.key.as_deref().filter(|_| keyed),
            replayed,
            at_ms: now_ms,
        })?;
        if self.owned.iter().all(|owned| owned.order.order_id != order.order_id) {
            self.owned.push(Owned { order, keyed });
            self.check_limit(now_ms);
        }
        Ok(())
    }

    fn check_limit(&self, now_ms: u64) {
        let live = self.owned.iter().filter(|owned| owned.is_live(now_ms));
        let units: u64 = live.map(|owned| u64::from(owned.order.quantity)).sum();
        let limit = u64::from(self.desk.sale.plan.per_user_limit);
        if units > limit {
            let example = format!("user {} holds {units} units, the limit is {limit}", self.shopper.user_id);
            self.found(Violation::new("U1: units held by one user are within the limit", example));
        }
    }

    pub(super) fn keyed_order(&self) -> Option<u64> {
        self.owned.iter().find(|owned| owned.keyed).map(|owned| owned.order.order_id)
    }

    pub(super) fn found(&self, violation: Violation) {
        self.desk.report([violation]);
    }

    pub(super) fn log(&self, ack: &Ack<'_>) -> Result<()> {
        self.desk.acks.as_ref().map_or(Ok(()), |acks| acks.send(ack))
    }
}
