//! Payments, and what becomes of them: the rows of `payments`, and of the orders that they pay.

use serde_json::json;

use super::{Batch, Known};
use crate::domain::event::{
    Author, Change, Entry, OrderRefunded, Outcome, PaymentReceived, PaymentSuspended, RefundDone,
};
use crate::domain::order::Step;
use crate::domain::payment::{PaymentStep, Why};
use crate::domain::{PaymentState, Suspense};
use crate::ids::{Cents, OrderId, Seq, ShardId, UnixMillis, UserId};
use crate::persist::mysql::error::Error;
use crate::persist::mysql::rows::PaymentRow;

/// A payment by its owner and its number there.
pub(in crate::persist::mysql) type Owned = (ShardId, u32);

/// What an operator did with a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::persist::mysql) struct Turn {
    pub owned: Owned,
    pub step: PaymentStep,
    pub at_ms: UnixMillis,
    pub by: Option<UserId>,
    pub seq: Seq,
    /// The order that was refunded, and whether its units went back on sale.
    pub order: Option<(OrderId, bool)>,
    /// Its place among the batch's actions, which wants the payment's id.
    pub action: usize,
}

impl Turn {
    /// What `operator_actions` says of it.
    pub fn told(&self, payment_id: &str) -> String {
        match self.order {
            Some((order_id, restock)) => {
                json!({ "order_id": order_id.to_string(), "payment_id": payment_id, "restock": restock })
            }
            None => json!({ "payment_id": payment_id }),
        }
        .to_string()
    }
}

impl PaymentRow {
    /// Takes over what an operator did with it.
    pub(in crate::persist::mysql) fn turn(&mut self, turn: &Turn) -> Result<(), Error> {
        let unfit = || Error::unfit(turn.seq, "a payment changes as it cannot from where it stands");
        self.state = self.state.after(turn.step).ok_or_else(unfit)?;
        self.seq = turn.seq;
        match turn.step {
            PaymentStep::Return => {
                (self.why, self.due_at_ms) = (Some(Why::OrderRefunded), Some(turn.at_ms));
                self.refunded_by = turn.by;
            }
            PaymentStep::PayBack => (self.done_at_ms, self.done_by) = (Some(turn.at_ms), turn.by),
        }
        Ok(())
    }
}

impl Known {
    pub(super) fn payment_received(
        &mut self,
        batch: &mut Batch,
        seq: Seq,
        entry: &Entry,
        event: &PaymentReceived,
    ) -> Result<(), Error> {
        let shard = self.shards.get(&entry.shard).ok_or_else(|| Error::unfit(seq, "its shard was never defined"))?;
        let activity = self.activities.get(&shard.activity_id);
        let activity = activity.ok_or_else(|| Error::unfit(seq, "its home is unknown"))?;
        let order_id = OrderId::new(entry.shard, event.order);
        let why = match &event.outcome {
            Outcome::Applied | Outcome::Reacquired(_) => None,
            Outcome::Due(why) => Some(*why),
        };
        batch.receive(PaymentRow {
            payment_id: event.payment_id.clone(),
            owner: entry.shard,
            number: event.payment,
            order_id: Some(order_id),
            named: order_id.to_string().into(),
            activity_id: Some(activity.activity_id),
            amount_cents: event.amount_cents,
            currency: event.currency.clone().unwrap_or_else(|| activity.currency.as_str().into()),
            reacquired: matches!(event.outcome, Outcome::Reacquired(_)),
            ..received(seq, entry, why)
        });
        match &event.outcome {
            Outcome::Applied => self.stepped(batch, seq, entry, event.order, Step::Pay),
            Outcome::Reacquired(slots) => {
                self.stepped_with(batch, seq, entry, event.order, Step::Reacquire, Some(slots))
            }
            Outcome::Due(_) => Ok(()),
        }
    }

    pub(super) fn payment_suspended(&mut self, batch: &mut Batch, seq: Seq, entry: &Entry, event: &PaymentSuspended) {
        batch.receive(PaymentRow {
            payment_id: event.payment_id.clone(),
            number: event.payment,
            order_id: event.named.parse().ok(),
            named: event.named.clone(),
            amount_cents: event.amount_cents,
            currency: event.currency.clone(),
            ..received(seq, entry, Some(event.why))
        });
    }

    pub(super) fn refunded(
        &mut self,
        batch: &mut Batch,
        seq: Seq,
        entry: &Entry,
        event: &OrderRefunded,
    ) -> Result<(), Error> {
        self.stepped(batch, seq, entry, event.order, Step::Refund { restock: event.restock })?;
        self.acted(batch, seq, entry, &event.change, "refund")?;
        let order = Some((OrderId::new(entry.shard, event.order), event.restock));
        batch.turn(seq, entry, event.payment, PaymentStep::Return, &event.change, order)
    }

    pub(super) fn paid_back(
        &mut self,
        batch: &mut Batch,
        seq: Seq,
        entry: &Entry,
        event: &RefundDone,
    ) -> Result<(), Error> {
        self.acted(batch, seq, entry, &event.change, "refund_done")?;
        batch.turn(seq, entry, event.payment, PaymentStep::PayBack, &event.change, None)
    }
}

impl Batch {
    fn receive(&mut self, row: PaymentRow) {
        self.paid.insert((row.owner, row.number), self.payments.len());
        self.payments.push(row);
    }

    /// What the action that was just pushed does with a payment.
    fn turn(
        &mut self,
        seq: Seq,
        entry: &Entry,
        payment: u32,
        step: PaymentStep,
        change: &Change,
        order: Option<(OrderId, bool)>,
    ) -> Result<(), Error> {
        let by = match change.by {
            Author::Operator(user) => Some(user),
            Author::StartUp => None,
        };
        let (owned, action) = ((entry.shard, payment), self.actions.len() - 1);
        let turn = Turn { owned, step, at_ms: entry.at_ms, by, seq, order, action };
        match self.paid.get(&owned) {
            Some(place) => {
                let row = &mut self.payments[*place];
                row.turn(&turn)?;
                self.actions[action].definition = Some(turn.told(&row.payment_id));
            }
            None => self.turns.push(turn),
        }
        Ok(())
    }
}

/// What every payment's row begins with.
fn received(seq: Seq, entry: &Entry, why: Option<Why>) -> PaymentRow {
    PaymentRow {
        payment_id: Box::default(),
        owner: Suspense::SHARD,
        number: 0,
        order_id: None,
        named: Box::default(),
        activity_id: None,
        amount_cents: Cents(0),
        currency: Box::default(),
        state: if why.is_some() { PaymentState::RefundDue } else { PaymentState::Applied },
        why,
        reacquired: false,
        received_at_ms: entry.at_ms,
        due_at_ms: why.map(|_| entry.at_ms),
        done_at_ms: None,
        refunded_by: None,
        done_by: None,
        received_seq: seq,
        seq,
    }
}
