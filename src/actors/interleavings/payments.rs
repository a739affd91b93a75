//! Payments and refunds among the interleavings: any order is paid at any time, by new payment ids and by old ones, and
//! what becomes of it is held against what the shards really had since it came.

use std::collections::BTreeMap;

use super::stage::{HOME, index_of};
use super::world::{What, World};
use crate::actors::ask::{Answer, Question, Reason, Refused};
use crate::domain::command::{CloseRefund, PayOrder, RefundOrder, Request};
use crate::domain::event::Author;
use crate::domain::payment::Why;
use crate::domain::{OrderState, Part, PaymentState, Phase, Refusal, Sale, Sales};
use crate::ids::{Cents, OrderId, UnixMillis, UserId};

/// What was acknowledged of payments, by their ids.
pub type Paid = BTreeMap<u64, (OrderId, PaymentState)>;

impl World {
    /// Releases all that has run out.
    pub fn expire_all(&mut self) {
        (0..self.parts).for_each(|part| self.turn(part, |shard, turn| while shard.expire(turn) {}));
    }

    /// Pays an order that was acknowledged, whatever became of it.
    pub fn pay_one(&mut self) {
        let ids: Vec<OrderId> = self.kept.keys().copied().collect();
        if ids.is_empty() {
            return;
        }
        let order_id = ids[self.random.place(ids.len())];
        let payment = match self.random.once_in(4) {
            true => self.random.below(self.payments + 1),
            false => self.payments,
        };
        self.payments = self.payments.max(payment + 1);
        let part = Part::sole(HOME).number_of(order_id.shard().expect("ours"));
        let number = order_id.sequence().expect("ours");
        let order = self.shards[usize::from(part)].sale().order(number).expect("it was acknowledged");
        let command = PayOrder {
            payment_id: payment.to_string().into(),
            order: number,
            amount_cents: order.amount_cents,
            currency: "CNY".into(),
            may_wait: true,
        };
        let sku = super::stage::SKUS.iter().position(|name| *name == order.sku_id.as_str()).expect("one of ours");
        let what = What::Pay { payment, order_id, sku, quantity: order.quantity.0, may_be_late: false };
        self.ask(part, Question::Pay(command), what);
    }

    /// Takes back an order that was acknowledged as paid, or says that a payment was paid back.
    pub fn refund_one(&mut self) {
        let paid: Vec<(u64, OrderId)> = self.paid.iter().map(|(payment, (order, _))| (*payment, *order)).collect();
        if paid.is_empty() {
            return;
        }
        let (payment, order_id) = paid[self.random.place(paid.len())];
        let part = Part::sole(HOME).number_of(order_id.shard().expect("ours"));
        self.change_id += 1;
        let request = Request { change_id: self.change_id, by: Author::Operator(UserId(9)), key: None };
        if self.random.once_in(2) {
            let order = order_id.sequence().expect("ours");
            let command = RefundOrder { order, restock: self.random.once_in(2), request };
            self.ask(part, Question::Refund(command), What::Refund);
        } else {
            let command = CloseRefund { payment_id: payment.to_string().into(), request };
            self.ask(part, Question::CloseRefund(command), What::Done { payment });
        }
    }

    /// Whether a late payment of that order would be owed back at this instant for another reason than a lack of units.
    pub fn is_too_late(&self, order_id: OrderId) -> bool {
        let part = Part::sole(HOME).number_of(order_id.shard().expect("ours"));
        let sale = self.shards[usize::from(part)].sale();
        let order = order_id.sequence().and_then(|number| sale.order(number)).expect("it was acknowledged");
        let now_ms = UnixMillis(self.at_ms);
        let open = matches!(sale.phase(now_ms), Phase::Running | Phase::Paused);
        let counts = |other: &crate::domain::OrderView| {
            let lapsed = other.state == OrderState::Held && other.expires_at_ms <= now_ms;
            other.order_id != order_id && other.state.is_live() && !lapsed
        };
        let live: u32 = sale.orders_of(order.user).filter(counts).map(|other| other.quantity.0).sum();
        let listed = sale.definition().sku(&order.sku_id).is_some();
        !open || !listed || live + order.quantity.0 > sale.definition().per_user_limit.0
    }

    /// Judges what became of a payment.
    pub fn judge_payment(&mut self, what: &What, fewest_free: u32, turns: usize, answer: Answer) {
        let What::Pay { payment, order_id, quantity, may_be_late, .. } = what else { unreachable!("a payment") };
        match answer {
            Answer::Payment { payment: told, order, replayed } => {
                assert_eq!(told.order_id, Some(*order_id), "M5: a payment is its first order's");
                self.tally.payments += u64::from(!replayed);
                self.tally.reacquired += u64::from(!replayed && told.reacquired);
                self.tally.reacquired_later += u64::from(!replayed && told.reacquired && turns > 1);
                if !replayed && told.why == Some(Why::Late) {
                    self.tally.too_late += 1;
                    assert!(
                        *may_be_late || fewest_free < *quantity,
                        "{quantity} for a late payment were refused, and never fewer than {fewest_free} were free"
                    );
                }
                assert!(order.is_some(), "its order is known");
                self.acknowledge(*payment, *order_id, told.state);
            }
            // The id is another order's.
            Answer::Elsewhere(_) | Answer::Refused(Refused { reason: Reason::Rule(Refusal::PaymentReused), .. }) => {
                self.tally.payments_reused += 1;
            }
            Answer::Refused(Refused { reason: Reason::Unavailable(_), .. }) => self.tally.overloaded += 1,
            other => panic!("{other:?}"),
        }
    }

    /// A payment was acknowledged in that state: it takes only steps of the table from what was acknowledged before.
    pub fn acknowledge(&mut self, payment: u64, order_id: OrderId, state: PaymentState) {
        let known = self.paid.entry(payment).or_insert((order_id, state));
        assert_eq!(known.0, order_id, "M5: one payment, one order");
        // Answers may cross; the journal is held to the furthest.
        known.1 = if rank(state) > rank(known.1) { state } else { known.1 };
    }

    /// What was acknowledged of payments is there, or has gone on from there.
    pub fn compare_payments(&self, sales: &Sales) {
        for (payment, (order_id, state)) in &self.paid {
            let sale = order_id.shard().and_then(|shard| sales.get(shard)).expect("its shard is there");
            let found = sale.find_payment(&payment.to_string()).expect("an acknowledged payment is there");
            assert_eq!(found.order_id, Some(*order_id), "M5");
            assert!(rank(found.state) >= rank(*state), "payment {payment} was {state:?}, and is {:?}", found.state);
        }
    }

    /// Units of a SKU that orders have for good, by the sales' own counts; and whether each paid order has one payment.
    pub fn sold(&self, sku: usize) -> u32 {
        let sold = |sale: &Sale| {
            let paid = sale.orders_from(1).filter(|order| order.state == OrderState::Paid);
            for order in paid {
                let applied = order.payments.iter().filter(|payment| payment.state == PaymentState::Applied);
                let applied: Cents = Cents(applied.map(|payment| payment.amount_cents.0).sum());
                assert_eq!(applied, order.amount_cents, "M6: what a paid order costs was paid");
            }
            let listed = index_of(sale, sku).is_some();
            let counts = sale.counts().into_iter().find(|count| count.sku_id.as_str() == super::stage::SKUS[sku]);
            counts.filter(|_| listed).map_or(0, |count| count.sold.0)
        };
        self.shards.iter().map(|shard| sold(shard.sale())).sum()
    }
}

fn rank(state: PaymentState) -> u8 {
    match state {
        PaymentState::Applied => 0,
        PaymentState::RefundDue => 1,
        PaymentState::Refunded => 2,
    }
}
