//! Payments in the audit's fold: what each event does to them and to the orders that they pay, and their rows.

use super::{Expected, Last, user_of};
use crate::domain::event::{Entry, OrderRefunded, Outcome, PaymentReceived, PaymentSuspended, RefundDone};
use crate::domain::{OrderState, Suspense};
use crate::ids::{Cents, OrderId, Seq, ShardId, UnixMillis};
use crate::persist::mysql::tables::Cell;

#[derive(Debug)]
pub(super) struct Payment {
    id: Box<str>,
    /// The order that it names, as it names it: in the suspense account, where there may be no such order.
    named: Option<Box<str>>,
    /// The order's number in the shard otherwise.
    order: u32,
    amount_cents: Cents,
    /// Where it is not the activity's.
    currency: Option<Box<str>>,
    received: (UnixMillis, Seq),
    reacquired: bool,
    due: Option<Due>,
    done: Option<Done>,
    seq: Seq,
}

#[derive(Debug)]
struct Due {
    reason: &'static str,
    at_ms: UnixMillis,
    by: Option<String>,
}

#[derive(Debug)]
struct Done {
    at_ms: UnixMillis,
    by: Option<String>,
}

impl Expected {
    pub(super) fn receive(&mut self, seq: Seq, entry: &Entry, event: &PaymentReceived) -> Result<(), &'static str> {
        let (shard, at_ms) = (entry.shard, entry.at_ms);
        let due = match &event.outcome {
            Outcome::Applied => {
                let order = self.order_in(shard, event.order, OrderState::Held)?;
                order.last = Some(Last { state: OrderState::Paid, live: true, at_ms, seq });
                let sku = order.sku;
                self.sku_changed(seq, shard, sku)?;
                None
            }
            Outcome::Reacquired(slots) => {
                let order = self.order_in(shard, event.order, OrderState::Expired)?;
                order.last = Some(Last { state: OrderState::Paid, live: true, at_ms, seq });
                order.slots = slots.clone();
                let sku = order.sku;
                self.sku_changed(seq, shard, sku)?;
                None
            }
            Outcome::Due(why) => Some(Due { reason: why.as_str(), at_ms, by: None }),
        };
        let payments = &mut self.shards.get_mut(&shard).ok_or("its shard is not defined")?.payments;
        let payment = Payment {
            id: event.payment_id.clone(),
            named: None,
            order: event.order,
            amount_cents: event.amount_cents,
            currency: event.currency.clone(),
            received: (at_ms, seq),
            reacquired: matches!(event.outcome, Outcome::Reacquired(_)),
            due,
            done: None,
            seq,
        };
        push(payments, event.payment, payment)
    }

    pub(super) fn suspend(&mut self, seq: Seq, entry: &Entry, event: &PaymentSuspended) -> Result<(), &'static str> {
        if entry.shard != Suspense::SHARD {
            return Err("it is not of the suspense account's shard");
        }
        let payment = Payment {
            id: event.payment_id.clone(),
            named: Some(event.named.clone()),
            order: 0,
            amount_cents: event.amount_cents,
            currency: Some(event.currency.clone()),
            received: (entry.at_ms, seq),
            reacquired: false,
            due: Some(Due { reason: event.why.as_str(), at_ms: entry.at_ms, by: None }),
            done: None,
            seq,
        };
        push(&mut self.suspended, event.payment, payment)
    }

    pub(super) fn refund(&mut self, seq: Seq, entry: &Entry, event: &OrderRefunded) -> Result<(), &'static str> {
        let (shard, at_ms, live) = (entry.shard, entry.at_ms, !event.restock);
        let order = self.order_in(shard, event.order, OrderState::Paid)?;
        order.last = Some(Last { state: OrderState::Refunded, live, at_ms, seq });
        let sku = order.sku;
        if event.restock {
            self.sku_changed(seq, shard, sku)?;
        }
        let payment = self.payment(shard, event.payment)?;
        if payment.due.is_some() || payment.order != event.order {
            return Err("the payment that is to be paid back did not pay the order");
        }
        payment.due = Some(Due { reason: "order_refunded", at_ms, by: user_of(&event.change) });
        payment.seq = seq;
        let id = quoted(&payment.id);
        let order_id = OrderId::new(shard, event.order);
        let told = format!("{{\"order_id\":\"{order_id}\",\"payment_id\":{id},\"restock\":{}}}", event.restock);
        self.act(seq, entry, &event.change, "refund", [Cell::digest(&told), Cell::Null])
    }

    pub(super) fn pay_back(&mut self, seq: Seq, entry: &Entry, event: &RefundDone) -> Result<(), &'static str> {
        let payment = self.payment(entry.shard, event.payment)?;
        if payment.due.is_none() || payment.done.is_some() {
            return Err("a payment is paid back that is not owed back");
        }
        payment.done = Some(Done { at_ms: entry.at_ms, by: user_of(&event.change) });
        payment.seq = seq;
        let told = format!("{{\"payment_id\":{}}}", quoted(&payment.id));
        self.act(seq, entry, &event.change, "refund_done", [Cell::digest(&told), Cell::Null])
    }

    fn payment(&mut self, owner: ShardId, number: u32) -> Result<&mut Payment, &'static str> {
        let payments = if owner == Suspense::SHARD {
            &mut self.suspended
        } else {
            &mut self.shards.get_mut(&owner).ok_or("its shard is not defined")?.payments
        };
        let place = (number as usize).checked_sub(1).ok_or("payments count from 1")?;
        payments.get_mut(place).ok_or("a payment changes that was never received")
    }

    /// The rows of `payments`, in the order of the ids' bytes.
    pub(in crate::persist::mysql) fn payments(&self) -> impl Iterator<Item = Vec<Cell<'_>>> {
        let suspended = (1..).zip(&self.suspended).map(|(number, payment)| (Suspense::SHARD, number, payment, None));
        let others = self.shards.iter().flat_map(|(shard_id, shard)| {
            let numbered = (1..).zip(&shard.payments);
            numbered.map(move |(number, payment)| (*shard_id, number, payment, Some(shard.activity_id)))
        });
        let mut all: Vec<(ShardId, u32, &Payment, _)> = suspended.chain(others).collect();
        all.sort_by_key(|(_, _, payment, _)| payment.id.as_bytes());
        all.into_iter().map(|(owner, number, payment, activity_id)| {
            let order_id = match &payment.named {
                Some(named) => named.parse().ok(),
                None => Some(OrderId::new(owner, payment.order)),
            };
            let named = payment
                .named
                .as_deref()
                .map_or_else(|| Cell::text(order_id.unwrap_or_default().to_string()), Cell::text);
            let of = activity_id.and_then(|activity_id| self.activities.get(&activity_id));
            let currency = payment.currency.as_deref().or(of.map(|activity| activity.definition.currency.as_str()));
            let state = match (&payment.due, &payment.done) {
                (None, _) => "applied",
                (Some(_), None) => "refund_due",
                (Some(_), Some(_)) => "refunded",
            };
            let (due, done) = (payment.due.as_ref(), payment.done.as_ref());
            vec![
                Cell::text(&*payment.id),
                Cell::number(owner.0),
                Cell::number(number),
                Cell::number_or_null(order_id.map(|order_id| order_id.0)),
                named,
                Cell::number_or_null(activity_id.map(|activity_id| activity_id.0)),
                Cell::number(payment.amount_cents.0),
                Cell::text_or_null(currency),
                Cell::text(state),
                Cell::text_or_null(due.map(|due| due.reason)),
                Cell::number(u8::from(payment.reacquired)),
                Cell::number(payment.received.0.0),
                Cell::number_or_null(due.map(|due| due.at_ms.0)),
                Cell::number_or_null(done.map(|done| done.at_ms.0)),
                Cell::text_or_null(due.and_then(|due| due.by.as_deref())),
                Cell::text_or_null(done.and_then(|done| done.by.as_deref())),
                Cell::number(payment.received.1.0),
                Cell::number(payment.seq.0),
            ]
        })
    }
}

fn push(payments: &mut Vec<Payment>, number: u32, payment: Payment) -> Result<(), &'static str> {
    if payments.len() + 1 != number as usize {
        return Err("a payment's number does not follow on the one before");
    }
    payments.push(payment);
    Ok(())
}

/// A payment's id as it stands in JSON: it may have quotes and backslashes.
fn quoted(id: &str) -> String {
    format!("\"{}\"", id.replace('\\', "\\\\").replace('"', "\\\""))
}
