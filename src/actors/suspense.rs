//! The actor of the suspense account: it records payments that no order in memory answers for.

use actix::{Actor, Context, Handler};
use tokio::sync::oneshot;

use super::ack::Ack;
use super::ask::{Answer, Ask, Question, Reason, Refused};
use super::host::Shared;
use super::payment_index::PaymentIndex;
use super::turn::Turn;
use crate::domain::command::Decision;
use crate::domain::{Entry, Refusal, Suspense};
use crate::ids::UnixMillis;

/// See the file's head.
pub(super) struct SuspenseAccount {
    state: Suspense,
    index: PaymentIndex,
    shared: Shared,
    last_ms: UnixMillis,
}

impl SuspenseAccount {
    pub fn new(state: Suspense, index: PaymentIndex, shared: Shared) -> Self {
        Self { state, index, shared, last_ms: UnixMillis(0) }
    }

    fn answer(&mut self, question: Question, reply: oneshot::Sender<Answer>, turn: &mut Turn) {
        let payment_id = match &question {
            Question::Suspend(command) => command.payment_id.clone(),
            Question::CloseRefund(command) => command.payment_id.clone(),
            Question::Payment { payment_id } => payment_id.clone(),
            Question::Payments { numbers } => {
                let found = numbers.iter().filter_map(|number| self.state.payment(*number)).collect();
                return turn.reveal(reply, Answer::Payments(found));
            }
            other => unreachable!("nobody asks the suspense account for {other:?}"),
        };
        let decided = match &question {
            Question::Suspend(command) => self.state.suspend(command),
            Question::CloseRefund(command) => self.state.close_refund(command),
            _ => match self.state.find_payment(&payment_id) {
                Some(payment) => Ok(Decision { payment: Some(payment.number), ..Decision::default() }),
                None => Err(Refusal::PaymentNotFound),
            },
        };
        let decision = match decided {
            Ok(decision) => decision,
            Err(refusal) => return turn.reveal(reply, self.refused(refusal.into(), turn.at_ms)),
        };
        if !decision.events.is_empty()
            && let Err(owner) = self.index.claim(&payment_id, Suspense::SHARD)
        {
            return drop(reply.send(Answer::Elsewhere(owner)));
        }
        let (number, replayed) = (decision.payment.expect("it is about a payment"), decision.replayed);
        let entries: smallvec::SmallVec<[Entry; 1]> = decision
            .events
            .into_iter()
            .map(|event| Entry { shard: Suspense::SHARD, at_ms: turn.at_ms, event })
            .collect();
        for entry in &entries {
            self.state.apply(entry);
            self.index.note(Suspense::SHARD, &entry.event);
        }
        let payment = self.state.payment(number).expect("it was just decided on");
        let answer = Answer::Payment { payment: Box::new(payment), order: None, replayed };
        if entries.is_empty() {
            turn.reveal(reply, answer);
        } else {
            turn.submit(entries, Ack::Answer(reply, answer));
        }
    }

    fn refused(&self, reason: Reason, at_ms: UnixMillis) -> Answer {
        Answer::Refused(Refused { reason, at_ms, shard: Suspense::SHARD })
    }
}

impl Actor for SuspenseAccount {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.set_mailbox_capacity(self.shared.mailbox);
    }
}

impl Drop for SuspenseAccount {
    fn drop(&mut self) {
        // As for a host: half a command may have been applied.
        if std::thread::panicking() {
            std::process::abort();
        }
    }
}

impl Handler<Ask> for SuspenseAccount {
    type Result = ();

    fn handle(&mut self, Ask { question, reply, .. }: Ask, _: &mut Context<Self>) {
        self.last_ms = self.last_ms.max(self.shared.clock.now_ms());
        let mut turn = Turn::at(self.last_ms, self.shared.journal.is_idle(), None);
        self.answer(question, reply, &mut turn);
        // Where the writer is gone the journal has failed and the process stops: the answer is dropped on purpose.
        let _stopped = self.shared.journal.submit_all(turn.submissions);
    }
}
