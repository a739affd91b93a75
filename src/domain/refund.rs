//! Refunds: an operator takes a paid order back, and says of what is owed back that it was paid back.

use smallvec::smallvec;

use super::command::{CloseRefund, Decision, RefundOrder, Request};
use super::event::{Author, Event, Events, OrderRefunded, RefundDone};
use super::order::{OrderState, Step};
use super::payment::{Act, Payment, PaymentState, PaymentStep, Payments};
use super::refusal::Refusal;
use super::sale::Sale;
use crate::ids::UnixMillis;

impl Sale {
    pub(super) fn refund(&self, command: &RefundOrder) -> Result<Decision, Refusal> {
        let order = self.orders.get(command.order).filter(|_| self.rounds.is_empty()).ok_or(Refusal::OrderNotFound)?;
        match order.state {
            OrderState::Paid => {
                let mut applied = self.payments.of_order(command.order);
                let (payment, _) = applied
                    .find(|(_, payment)| payment.state() == PaymentState::Applied)
                    .expect("M6: a paid order has the payment that paid it");
                let (restock, change) = (command.restock, command.request.change());
                let event = OrderRefunded { order: command.order, payment, restock, change };
                let events = smallvec![Event::OrderRefunded(Box::new(event))];
                Ok(Decision { order: Some(command.order), ..Decision::payment(events, payment, false) })
            }
            OrderState::Refunded => {
                let ordered = |payment: &Payment| payment.refund.as_ref().and_then(|refund| refund.ordered.clone());
                let acts = self.payments.of_order(command.order).find_map(|(_, payment)| ordered(payment));
                Ok(Decision::existing(command.order, is_repeat(acts.as_ref(), &command.request)?))
            }
            state => Err(Refusal::OrderNotRefundable { state }),
        }
    }

    pub(super) fn apply_refunded(&mut self, at_ms: UnixMillis, event: &OrderRefunded) {
        let paid_by = self.payments.get(event.payment).map(|payment| payment.order);
        assert_eq!(paid_by, Some(event.order), "M5: the payment that is owed back is the order's");
        self.take_step(event.order, Step::Refund { restock: event.restock });
        self.payments.step(event.payment, PaymentStep::Return, at_ms, &event.change);
    }

    pub(super) fn close_refund(&self, command: &CloseRefund) -> Result<Decision, Refusal> {
        self.payments.close_refund(command)
    }

    pub(super) fn apply_refund_done(&mut self, at_ms: UnixMillis, event: &RefundDone) {
        self.payments.step(event.payment, PaymentStep::PayBack, at_ms, &event.change);
    }
}

impl Payments {
    /// What becomes of an operator's word that a payment was paid back.
    pub(super) fn close_refund(&self, command: &CloseRefund) -> Result<Decision, Refusal> {
        let (number, payment) = self.find(&command.payment_id).ok_or(Refusal::PaymentNotFound)?;
        match payment.state() {
            PaymentState::RefundDue => {
                let event = RefundDone { payment: number, change: command.request.change() };
                Ok(Decision::payment(smallvec![Event::RefundDone(Box::new(event))], number, false))
            }
            PaymentState::Refunded => {
                let done = payment.refund.as_ref().and_then(|refund| refund.done.as_ref());
                Ok(Decision::payment(Events::new(), number, is_repeat(done, &command.request)?))
            }
            PaymentState::Applied => Err(Refusal::RefundNotDue),
        }
    }
}

/// Whether a request is the one that led to `act`, by its key; the key's reuse for something else is refused (U3).
fn is_repeat(act: Option<&Act>, request: &Request) -> Result<bool, Refusal> {
    let same = |by: Author| by == request.by;
    let (Some(known), Some(key)) = (act.filter(|act| same(act.by)).and_then(|act| act.key), request.key) else {
        return Ok(false);
    };
    match (known.key == key.key, known.body == key.body) {
        (true, true) => Ok(true),
        (true, false) => Err(Refusal::KeyReused),
        (false, _) => Ok(false),
    }
}
