//! Red packets: grabbing, and a round's end. At its end the home gathers what nobody grabbed, as it does for a change that
//! lowers the stock, and then refunds all of it by one event. What a crash cuts is due at the next start.

use tokio::sync::oneshot;

use super::Shard;
use super::gather::Job;
use super::parked::Waiting;
use crate::actors::ack::Ack;
use crate::actors::ask::{Answer, GrabView};
use crate::actors::turn::Turn;
use crate::domain::OrderView;
use crate::domain::command::{Command, Grab, Stamped};
use crate::ids::{SkuIndex, UnixMillis};

impl Shard {
    /// Grabs a packet; where this part has none, it waits for those of other parts as an order does for units.
    pub(super) fn grab(&mut self, command: Grab, reply: oneshot::Sender<Answer>, turn: &mut Turn) {
        let asked = Stamped { at_ms: turn.at_ms, command: Command::Grab(command) };
        self.serve(Waiting { asked, reply, units: 0, fetches: 0 }, turn);
    }

    /// Whether this is of red packets.
    pub(super) fn is_of_packets(&self) -> bool {
        !self.state.rounds().is_empty()
    }

    /// What counts the packets of the round that runs.
    pub(super) fn running_round(&self, at_ms: UnixMillis) -> Option<SkuIndex> {
        let round = self.state.definition().round_at(at_ms)?;
        Some(SkuIndex(u16::try_from(round).expect("an activity's rounds are bounded")))
    }

    /// A grab as people see it.
    pub(super) fn grab_view(&self, grab: &OrderView) -> GrabView {
        let (round, packet) = self.state.packet_of(grab).expect("a grab is of a packet that there is");
        GrabView {
            grab_id: grab.order_id,
            activity_id: grab.activity_id,
            user: grab.user,
            round,
            packet,
            amount_cents: grab.amount_cents,
            granted_at_ms: grab.held_at_ms,
        }
    }

    /// When the next round ends whose end is not among the jobs.
    pub(super) fn next_round_end(&self) -> Option<UnixMillis> {
        let may_begin = !self.is_ending && !self.has_left;
        self.state.round_to_end().filter(|_| may_begin).map(|(_, ends_at_ms)| ends_at_ms)
    }

    /// Begins to end a round that is over, one at a time.
    pub(in crate::actors) fn end_due_round(&mut self, turn: &mut Turn) {
        if self.next_round_end().is_none_or(|ends_at_ms| ends_at_ms > turn.at_ms) {
            return;
        }
        let (round, _) = self.state.round_to_end().expect("it was just looked at");
        self.is_ending = true;
        self.queue(Job::end_round(round), turn);
    }

    /// Refunds what nobody grabbed, all of which is here. Nothing, where a change has moved the end meanwhile.
    pub(super) fn end_round(&mut self, round: SkuIndex, turn: &mut Turn) {
        let decision = self.decide(turn.at_ms, Command::EndRound(round)).expect("a round's end is never refused");
        let entries = self.take_in(turn.at_ms, decision);
        if !entries.is_empty() {
            turn.submit(entries, Ack::Nobody);
        }
        self.is_ending = false;
        // Where the activity was closed, all its rounds are over at once.
        self.end_due_round(turn);
    }
}
