//! Leaving memory: see [`retire_ended`](crate::actors::Desk::retire_ended).

use tokio::sync::oneshot;

use super::Shard;
use crate::actors::ack::Ack;
use crate::actors::ask::Answer;
use crate::actors::turn::Turn;
use crate::domain::command::Command;

impl Shard {
    /// Whether nothing is left to do here, except what the home begins.
    fn may_settle(&self, retain_ms: u64, turn: &Turn) -> bool {
        self.state.is_settled(turn.at_ms, retain_ms) && self.parked.is_empty()
    }

    /// Whether no event may be written any more, because the home writes the activity's last one, or did.
    pub(super) fn is_leaving(&self) -> bool {
        self.is_settled || self.has_left
    }

    /// A part that is settled takes no payment until it hears whether the activity leaves: a payment's event must not
    /// come after the activity's last.
    pub(super) fn tell_if_settled(&mut self, retain_ms: u64, reply: oneshot::Sender<Answer>, turn: &mut Turn) {
        self.is_settled = self.may_settle(retain_ms, turn);
        let orders = self.is_settled.then(|| u64::from(self.state.orders_placed()));
        // Waits for the disk: the last hold's end must stand before the activity's.
        turn.reveal(reply, Answer::Settled(orders));
    }

    /// The activity does not leave after all.
    pub(super) fn stay(&mut self, reply: oneshot::Sender<Answer>, turn: &mut Turn) {
        self.is_settled = false;
        turn.reveal(reply, Answer::Settled(None));
    }

    /// The home's part: no move and no change is under way that could write one more event behind the last.
    pub(super) fn retire(&mut self, retain_ms: u64, others: u64, reply: oneshot::Sender<Answer>, turn: &mut Turn) {
        let followed = self.last_change.as_ref().is_none_or(|change| change.is_done());
        let may_leave = !self.has_left && followed && self.jobs.is_empty() && self.may_settle(retain_ms, turn);
        if !may_leave {
            return turn.reveal(reply, Answer::Settled(None));
        }
        let orders = others + u64::from(self.state.orders_placed());
        let decision = self.decide(turn.at_ms, Command::Retire { orders }).expect("leaving is never refused");
        let entries = self.take_in(turn.at_ms, decision);
        self.has_left = true;
        turn.submit(entries, Ack::Answer(reply, Answer::Retired { orders }));
    }
}
