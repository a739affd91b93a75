//! Leaving memory: see [`retire_ended`](crate::actors::Desk::retire_ended).

use tokio::sync::oneshot;

use super::Shard;
use crate::actors::ack::Ack;
use crate::actors::ask::Answer;
use crate::actors::turn::Turn;
use crate::domain::command::Command;

impl Shard {
    /// Whether nothing can happen here any more, except what the home begins.
    fn is_settled(&self, retain_ms: u64, turn: &Turn) -> bool {
        self.state.is_settled(turn.at_ms, retain_ms) && self.parked.is_empty()
    }

    pub(super) fn tell_if_settled(&self, retain_ms: u64, reply: oneshot::Sender<Answer>, turn: &mut Turn) {
        let orders = self.is_settled(retain_ms, turn).then(|| u64::from(self.state.orders_placed()));
        // Waits for the disk: the last hold's end must stand before the activity's.
        turn.reveal(reply, Answer::Settled(orders));
    }

    /// The home's part: no move and no change is under way that could write one more event behind the last.
    pub(super) fn retire(&mut self, retain_ms: u64, others: u64, reply: oneshot::Sender<Answer>, turn: &mut Turn) {
        let followed = self.last_change.as_ref().is_none_or(|change| change.is_done());
        let may_leave = !self.has_left && followed && self.jobs.is_empty() && self.is_settled(retain_ms, turn);
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
