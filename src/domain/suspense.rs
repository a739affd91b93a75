//! The suspense account: payments that no order in memory answers for, because there is no such order, or because its
//! activity has left. They are owed back from the beginning. Accounting knows such an account by this name.
//!
//! It belongs to no activity. In the journal it is shard 0, which no activity ever has.

use smallvec::smallvec;

use super::command::{CloseRefund, Decision, Suspend};
use super::event::{Entry, Event, Events, PaymentSuspended};
use super::payment::{Payment, PaymentStep, PaymentView, Payments, Refund};
use super::refusal::Refusal;
use crate::ids::{OrderId, ShardId, UnixMillis};

/// The state of the suspense account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Suspense {
    pub(super) payments: Payments,
    /// The order that each payment names, as it names it.
    pub(super) named: Vec<Box<str>>,
}

impl Suspense {
    /// Its number in the journal.
    pub const SHARD: ShardId = ShardId(0);

    /// What becomes of a payment that no order in memory answers for.
    ///
    /// # Errors
    /// [`Refusal::PaymentReused`] where one with its id and another content is there.
    pub fn suspend(&self, command: &Suspend) -> Result<Decision, Refusal> {
        if let Some((number, known)) = self.payments.find(&command.payment_id) {
            let named = &self.named[number as usize - 1];
            let same = (named, known.amount_cents, known.currency.as_deref())
                == (&command.named, command.amount_cents, Some(&*command.currency));
            return if same { Ok(Decision::payment(Events::new(), number, true)) } else { Err(Refusal::PaymentReused) };
        }
        let too_many = Refusal::TooLarge { what: "the suspense account's 2^32 payments" };
        let payment = self.payments.count().checked_add(1).ok_or(too_many)?;
        let event = PaymentSuspended {
            payment,
            payment_id: command.payment_id.clone(),
            named: command.named.clone(),
            amount_cents: command.amount_cents,
            currency: command.currency.clone(),
            why: command.why,
        };
        Ok(Decision::payment(smallvec![Event::PaymentSuspended(Box::new(event))], payment, false))
    }

    /// What becomes of an operator's word that a payment was paid back.
    ///
    /// # Errors
    /// [`Refusal::PaymentNotFound`]; [`Refusal::KeyReused`].
    pub fn close_refund(&self, command: &CloseRefund) -> Result<Decision, Refusal> {
        self.payments.close_refund(command)
    }

    /// Takes an event of shard 0 in.
    ///
    /// # Panics
    /// Where the event cannot follow on this state.
    pub fn apply(&mut self, entry: &Entry) {
        match &entry.event {
            Event::PaymentSuspended(event) => self.apply_suspended(entry.at_ms, event),
            Event::RefundDone(event) => {
                self.payments.step(event.payment, PaymentStep::PayBack, entry.at_ms, &event.change);
            }
            _ => panic!("U4: an activity's event in the suspense account"),
        }
    }

    fn apply_suspended(&mut self, at_ms: UnixMillis, event: &PaymentSuspended) {
        assert_eq!(event.payment, self.payments.count() + 1, "M5: payments are numbered without a gap");
        let is_new = self.payments.push(Payment {
            payment_id: event.payment_id.clone(),
            order: 0,
            amount_cents: event.amount_cents,
            currency: Some(event.currency.clone()),
            received_at_ms: at_ms,
            reacquired: false,
            refund: Some(Box::new(Refund { why: event.why, due_at_ms: at_ms, ordered: None, done: None })),
            previous_of_order: 0,
        });
        assert!(is_new, "M5: a payment id is received once");
        self.named.push(event.named.clone());
    }

    /// The payment of that number.
    #[must_use]
    pub fn payment(&self, number: u32) -> Option<PaymentView> {
        self.payments.get(number).map(|payment| self.view(number, payment))
    }

    /// The payment of that id.
    #[must_use]
    pub fn find_payment(&self, payment_id: &str) -> Option<PaymentView> {
        self.payments.find(payment_id).map(|(number, payment)| self.view(number, payment))
    }

    /// All payments from number `first` on, oldest first.
    pub fn payments_from(&self, first: u32) -> impl Iterator<Item = PaymentView> + '_ {
        self.payments.from(first).map(|(number, payment)| self.view(number, payment))
    }

    fn view(&self, number: u32, payment: &Payment) -> PaymentView {
        let named = &self.named[number as usize - 1];
        PaymentView::of(number, payment, named, named.parse::<OrderId>().ok(), "")
    }
}
