//! The money of a made-up history: payments in time, too late, twice, of another amount, for orders that nobody knows;
//! refunds with and without restock; and what was paid back.

use doorbuster::domain::command::{CloseRefund, PayOrder, RefundOrder, Suspend};
use doorbuster::domain::event::Author;
use doorbuster::domain::payment::Why;
use doorbuster::domain::{Command, Decision, Entry, OrderState, OrderView, PaymentState, Refusal, Suspense};
use doorbuster::ids::{Cents, ShardId, UserId};

use super::History;
use crate::domain::ms;

impl History {
    pub(super) fn pay_or_refund(&mut self, shard: ShardId) {
        match self.dice.below(12) {
            0..6 => self.pay(shard),
            6 => {
                let named = ["no-order", "0", "18446744073709551615", "007", "~!\"\\'~", "687194767361"];
                let place = usize::try_from(self.dice.below(6)).expect("one of six");
                self.suspend(named[place]);
            }
            7..10 => self.refund(shard),
            _ => {
                let owner = if self.dice.one_in(3) { Suspense::SHARD } else { shard };
                self.pay_back(owner);
            }
        }
    }

    /// A payment for some order of the shard, in whatever state.
    fn pay(&mut self, shard: ShardId) {
        let late = self.dice.one_in(3);
        let is_late = |order: &OrderView| order.state == OrderState::Expired || !late;
        let orders: Vec<_> = self.sales[&shard].orders_from(1).filter(is_late).collect();
        if orders.is_empty() {
            return;
        }
        // The newest are more likely to be paid in time.
        let back = self.dice.below(orders.len() as u64).min(self.dice.below(orders.len() as u64));
        let order = &orders[orders.len() - 1 - usize::try_from(back).expect("one of few")];
        let mut pay = PayOrder {
            payment_id: self.payment_id(),
            order: order.order_id.sequence().expect("it is an order's"),
            amount_cents: order.amount_cents,
            currency: self.sales[&shard].definition().currency.as_str().into(),
            may_wait: false,
        };
        match self.dice.below(12) {
            0 => pay.amount_cents.0 += 1,
            1 => pay.currency = "US-dollars, of which there are many: $".replace([' ', ','], "_").into(),
            _ => {}
        }
        self.run(shard, Command::PayOrder(Box::new(pay)));
    }

    pub(super) fn suspend(&mut self, named: &str) {
        let reasons = [Why::UnknownOrder, Why::ActivityLeft, Why::Late];
        let why = reasons[usize::try_from(self.dice.below(3)).expect("one of three")];
        let suspend = Suspend {
            payment_id: self.payment_id(),
            named: if self.dice.one_in(5) { "z".repeat(64).into() } else { named.into() },
            amount_cents: Cents(self.dice.below(1 << 50)),
            currency: "EUR".into(),
            why,
        };
        let decided = self.suspense.suspend(&suspend);
        self.suspended(decided);
    }

    fn refund(&mut self, shard: ShardId) {
        let paid: Vec<_> = self.sales[&shard].orders_from(1).filter(|order| order.state == OrderState::Paid).collect();
        if paid.is_empty() {
            return;
        }
        let order = &paid[usize::try_from(self.dice.below(paid.len() as u64)).expect("one of few")];
        let order = order.order_id.sequence().expect("it is an order's");
        let (restock, request) = (self.dice.one_in(2), self.asked(false));
        self.run(shard, Command::RefundOrder(RefundOrder { order, restock, request }));
    }

    /// Some payment that is owed back is paid back.
    fn pay_back(&mut self, owner: ShardId) {
        let due = self.due(owner);
        if due.is_empty() {
            return;
        }
        let payment_id = due[usize::try_from(self.dice.below(due.len() as u64)).expect("one of few")].clone();
        let mut close = CloseRefund { payment_id, request: self.asked(false) };
        if self.dice.one_in(3) {
            close.request.by = Author::Operator(UserId(901));
        }
        if owner == Suspense::SHARD {
            let decided = self.suspense.close_refund(&close);
            self.suspended(decided);
        } else {
            self.run(owner, Command::CloseRefund(close));
        }
    }

    pub(super) fn pay_all_back(&mut self, owner: ShardId) {
        while !self.due(owner).is_empty() {
            self.pay_back(owner);
        }
    }

    fn due(&self, owner: ShardId) -> Vec<Box<str>> {
        let all: Vec<_> = match self.sales.get(&owner) {
            Some(sale) => sale.payments_from(1).collect(),
            None => self.suspense.payments_from(1).collect(),
        };
        let due = all.into_iter().filter(|payment| payment.state == PaymentState::RefundDue);
        due.map(|payment| payment.payment_id).collect()
    }

    fn suspended(&mut self, decided: Result<Decision, Refusal>) {
        for event in decided.expect("nothing of it is refused").events {
            let entry = Entry { shard: Suspense::SHARD, at_ms: ms(self.now), event };
            self.suspense.apply(&entry);
            self.entries.push(entry);
        }
    }

    /// Ids that sort otherwise than they came, begin alike, and have all that visible ASCII has.
    fn payment_id(&mut self) -> Box<str> {
        self.payments += 1;
        let number = self.payments;
        match self.dice.below(6) {
            0 => format!("P{number}"),
            1 => format!("p{number}!"),
            2 => format!("{number}\"\\/'{{}}~"),
            3 => format!("{number:0>64}"),
            _ => format!("p{number}"),
        }
        .into()
    }
}
