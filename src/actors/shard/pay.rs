//! Payments and refunds of a shard's orders. A late payment that needs units which are elsewhere waits for them as a
//! shopper does.

use tokio::sync::oneshot;

use super::Shard;
use super::order::takes_free_units;
use super::parked::Waiting;
use crate::actors::ack::Ack;
use crate::actors::ask::{Answer, Reason, Unavailable};
use crate::actors::turn::Turn;
use crate::domain::command::{CloseRefund, Command, Decision, PayOrder, RefundOrder, Stamped};
use crate::domain::{PaymentView, Refusal};

impl Shard {
    pub(super) fn pay(&mut self, command: PayOrder, reply: oneshot::Sender<Answer>, turn: &mut Turn) {
        let asked = Stamped { at_ms: turn.at_ms, command: Command::PayOrder(Box::new(command)) };
        self.serve(Waiting { asked, reply, units: 0, fetches: 0 }, turn);
    }

    /// Records a payment, if nobody else has, and answers.
    pub(super) fn conclude_payment(
        &mut self,
        command: &PayOrder,
        decided: Result<Decision, Refusal>,
        reply: oneshot::Sender<Answer>,
        turn: &mut Turn,
    ) {
        let decision = match decided {
            Ok(decision) => decision,
            Err(refusal) => return self.refuse(reply, refusal.into(), turn),
        };
        if !decision.events.is_empty() {
            // What another journal may have sold is not sold again; every other payment is only recorded.
            if takes_free_units(&decision) && turn.unavailable == Some(Unavailable::NotOurs) {
                return self.refuse(reply, Reason::Unavailable(Unavailable::NotOurs), turn);
            }
            if self.is_leaving() {
                return self.refuse(reply, Reason::Unavailable(Unavailable::Overloaded), turn);
            }
            if let Err(owner) = self.payments.claim(&command.payment_id, self.id()) {
                return drop(reply.send(Answer::Elsewhere(owner)));
            }
        }
        self.answer_payment(decision, reply, turn);
    }

    pub(super) fn refund(&mut self, command: RefundOrder, reply: oneshot::Sender<Answer>, turn: &mut Turn) {
        match self.decide(turn.at_ms, Command::RefundOrder(command)) {
            Ok(decision) if self.is_leaving() && !decision.events.is_empty() => {
                self.refuse(reply, Reason::Unavailable(Unavailable::Overloaded), turn);
            }
            Ok(decision) => self.answer_order(decision, reply, turn),
            Err(refusal) => self.refuse(reply, refusal.into(), turn),
        }
    }

    pub(super) fn close_refund(&mut self, command: CloseRefund, reply: oneshot::Sender<Answer>, turn: &mut Turn) {
        // What is owed keeps its activity in memory: it cannot be leaving.
        match self.decide(turn.at_ms, Command::CloseRefund(command)) {
            Ok(decision) => self.answer_payment(decision, reply, turn),
            Err(refusal) => self.refuse(reply, refusal.into(), turn),
        }
    }

    fn answer_payment(&mut self, decision: Decision, reply: oneshot::Sender<Answer>, turn: &mut Turn) {
        let (number, replayed) = (decision.payment.expect("a payment's decision names it"), decision.replayed);
        let entries = self.take_in(turn.at_ms, decision);
        let payment = self.state.payment(number).expect("the payment that was decided on is there");
        let answer = self.payment_answer(payment, replayed);
        if entries.is_empty() {
            turn.reveal(reply, answer);
        } else {
            turn.submit(entries, Ack::Answer(reply, answer));
        }
    }

    /// A payment with where its order stands.
    pub(super) fn payment_answer(&self, payment: PaymentView, replayed: bool) -> Answer {
        let order = payment.order_id.and_then(crate::ids::OrderId::sequence);
        let order = order.and_then(|number| self.state.order(number)).map(|order| order.state);
        Answer::Payment { payment: Box::new(payment), order, replayed }
    }
}
