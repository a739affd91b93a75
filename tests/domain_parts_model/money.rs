//! What the model knows of money: all payments that ever came, whoever has them, and the suspense account.

use std::collections::BTreeSet;

use crate::domain::*;
use crate::model::*;
use crate::world::World;
use doorbuster::domain::audit::Auditor;
use doorbuster::domain::command::Suspend;
use doorbuster::domain::event::{HoldsExpired, Outcome};
use doorbuster::domain::payment::Why;
use doorbuster::domain::{Entry, Event, OrderState, PaymentState, PaymentView, Refusal, Sales, Suspense};
use doorbuster::ids::Cents;

#[derive(Clone, Debug)]
pub struct ModelPayment {
    pub id: String,
    /// Whose it is; `None` for the suspense account.
    pub part: Option<usize>,
    pub order: u32,
    pub cents: u64,
    pub state: PaymentState,
}

#[derive(Default)]
pub struct Money {
    pub payments: Vec<ModelPayment>,
    pub suspense: Suspense,
}

impl Money {
    pub fn owed(&self) -> impl Iterator<Item = &ModelPayment> {
        self.payments.iter().filter(|payment| payment.state == PaymentState::RefundDue)
    }

    fn of(&self, part: Option<usize>) -> impl Iterator<Item = &ModelPayment> {
        self.payments.iter().filter(move |payment| payment.part == part)
    }
}

impl World {
    pub fn pay(&mut self, part: usize, number: u32, wrong: bool, may_wait: bool) {
        let number = number % (u32::try_from(self.model.orders[part].len()).expect("few orders") + 1);
        let id = format!("pay-{}", self.money.payments.len());
        let order = number.checked_sub(1).and_then(|place| self.model.orders[part].get(place as usize)).cloned();
        let cents = order.as_ref().map_or(0, |order| order.amount) + u64::from(wrong);
        let mut pay = pay(&id, number, cents);
        pay.may_wait = may_wait;
        let expected = order.as_ref().map(|order| match wrong {
            true => Ok(Does::Due(Why::Mismatch)),
            false => self.model.outcome(part, self.now, order, may_wait),
        });
        let got = self.run(part, pay.clone().command());
        let does = match (expected, &got) {
            (None, Err(refusal)) => return assert_eq!(*refusal, Refusal::OrderNotFound),
            (Some(Err(expected)), Err(refusal)) => return assert_eq!(*refusal, expected),
            (Some(Ok(does)), Ok(_)) => does,
            (expected, got) => panic!("part {part}, {pay:?}: expected {expected:?}, got {got:?}"),
        };
        let events = got.expect("it was just looked at").events;
        let event = match events.as_slice() {
            [Event::PaymentReceived(event)] => event,
            [Event::HoldsExpired(HoldsExpired { orders }), Event::PaymentReceived(event)] => {
                assert_eq!(*orders, self.model.lapsed_of(part, self.now, number));
                orders.iter().for_each(|order| self.model.released(part, *order, OrderState::Expired));
                event
            }
            other => panic!("a payment was expected: {other:?}"),
        };
        assert_eq!(event.payment as usize, self.money.of(Some(part)).count() + 1, "M5");
        let state = match (&event.outcome, does) {
            (Outcome::Applied, Does::Applied) => {
                self.model.paid(part, number, None);
                PaymentState::Applied
            }
            (Outcome::Reacquired(slots), Does::Reacquired) => {
                self.model.paid(part, number, Some(slots.iter().collect::<BTreeSet<u32>>()));
                PaymentState::Applied
            }
            (Outcome::Due(why), Does::Due(expected)) if *why == expected => PaymentState::RefundDue,
            (got, expected) => panic!("part {part}, order {number}: expected {expected:?}, got {got:?}"),
        };
        self.money.payments.push(ModelPayment { id: id.clone(), part: Some(part), order: number, cents, state });
        let again = self.run(part, pay.command()).expect("the same payment again is answered as before");
        assert!(again.events.is_empty() && again.replayed, "M5: payment {id} is received once");
    }

    /// Takes the `nth` paid order of the part back, or what is none.
    pub fn refund(&mut self, part: usize, nth: usize, restock: bool) {
        let orders = (1..).zip(&self.model.orders[part]);
        let paid: Vec<u32> =
            orders.filter(|(_, order)| order.state == OrderState::Paid).map(|(number, _)| number).collect();
        let order = paid.get(nth % (paid.len() + 1)).copied().unwrap_or(1);
        let known = order.checked_sub(1).and_then(|place| self.model.orders[part].get(place as usize));
        let may = known.is_some_and(|order| order.state == OrderState::Paid);
        let control = self.parts.sales[part].last_change_id();
        self.change_id += 1;
        let mut refund = refund(order, restock);
        refund.request.change_id = self.change_id;
        let got = self.run(part, refund.command());
        assert_eq!(got.is_ok_and(|decision| !decision.events.is_empty()), may);
        if may {
            self.model.refunded(part, order, restock);
            let payment = self.money.payments.iter_mut().find(|payment| {
                (payment.part, payment.order, payment.state) == (Some(part), order, PaymentState::Applied)
            });
            payment.expect("M5: a paid order has the payment that paid it").state = PaymentState::RefundDue;
            assert_eq!(self.parts.sales[part].last_change_id(), control, "it is no change of the sale");
        }
    }

    pub fn pay_back(&mut self, nth: usize) {
        let owed: Vec<usize> = (0..self.money.payments.len())
            .filter(|place| self.money.payments[*place].state == PaymentState::RefundDue)
            .collect();
        if owed.is_empty() {
            return;
        }
        let place = owed[nth % owed.len()];
        let ModelPayment { id, part, .. } = self.money.payments[place].clone();
        self.change_id += 1;
        let mut close = paid_back(&id);
        close.request.change_id = self.change_id;
        let decision = match part {
            Some(part) => self.run(part, close.command()),
            None => self.money.suspense.close_refund(&close),
        };
        let decision = decision.expect("it is owed back");
        let [event @ Event::RefundDone(_)] = decision.events.as_slice() else { panic!("{decision:?}") };
        if part.is_none() {
            self.take_suspended(event.clone());
        }
        self.money.payments[place].state = PaymentState::Refunded;
    }

    pub fn suspend(&mut self, cents: u64) {
        let id = format!("pay-{}", self.money.payments.len());
        let suspend = Suspend {
            payment_id: id.as_str().into(),
            named: "no order".into(),
            amount_cents: Cents(cents),
            currency: if cents % 3 == 0 { "EUR".into() } else { "CNY".into() },
            why: Why::UnknownOrder,
        };
        let decision = self.money.suspense.suspend(&suspend).expect("it is new");
        let [event] = decision.events.as_slice() else { panic!("{decision:?}") };
        self.take_suspended(event.clone());
        let again = self.money.suspense.suspend(&suspend).expect("it is the same");
        assert!(again.events.is_empty() && again.replayed, "M5");
        let state = PaymentState::RefundDue;
        self.money.payments.push(ModelPayment { id, part: None, order: 0, cents, state });
    }

    fn take_suspended(&mut self, event: Event) {
        let entry = Entry { shard: Suspense::SHARD, at_ms: ms(self.now), event };
        self.money.suspense.apply(&entry);
        self.parts.entries.push(entry);
    }

    /// Each payment is with its owner as the model has it, and the sums of money hold (M6).
    pub fn check_money(&self, sales: &Sales, auditor: &Auditor) {
        assert!(sales.suspense() == &self.money.suspense && auditor.suspense() == &self.money.suspense);
        let same = |known: &ModelPayment, shown: &PaymentView| {
            assert_eq!((known.id.as_str(), known.cents), (&*shown.payment_id, shown.amount_cents.0));
            assert_eq!(known.state, shown.state, "payment {}", known.id);
        };
        for (part, sale) in self.parts.sales.iter().enumerate() {
            assert_eq!(sale.payments_from(1).count(), self.money.of(Some(part)).count());
            self.money.of(Some(part)).zip(sale.payments_from(1)).for_each(|(known, shown)| same(known, &shown));
            assert_eq!(sale.owes(), self.money.owed().any(|payment| payment.part == Some(part)));
        }
        self.money.of(None).zip(self.money.suspense.payments_from(1)).for_each(|(known, shown)| same(known, &shown));
        let kept = self.money.payments.iter().filter(|payment| payment.state == PaymentState::Applied);
        assert_eq!(kept.map(|payment| payment.cents).sum::<u64>(), self.model.cost(), "M6");
    }
}
