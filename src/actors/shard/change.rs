//! An operator's change: decided at the activity's home, followed by its other parts, answered when it is durable in all.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::Shard;
use super::gather::{Change, Job};
use crate::actors::ack::{Ack, PublishAck, Unanimous};
use crate::actors::ask::{Answer, Changed, Operation};
use crate::actors::door::Card;
use crate::actors::letter::Letter;
use crate::actors::turn::Turn;
use crate::domain::command::{Command, Decision, Stamped};
use crate::domain::event::Control;
use crate::domain::{Definition, Event, Phase, Refusal};
use crate::ids::{SkuIndex, UnixMillis};

/// How often the free slots of one SKU are gathered for one change.
const GATHERS_MAX: usize = 16;

impl Shard {
    pub(super) fn change(&mut self, operation: Operation, reply: oneshot::Sender<Answer>, turn: &mut Turn) {
        self.change_with(operation, reply, Vec::new(), turn);
    }

    /// Decides a change for which the free slots of some SKUs were gathered already.
    pub(super) fn change_with(
        &mut self,
        operation: Operation,
        reply: oneshot::Sender<Answer>,
        gathered: Vec<SkuIndex>,
        turn: &mut Turn,
    ) {
        let (command, dry_run) = match operation.clone() {
            Operation::Redefine { redefine, dry_run } => (Command::Redefine(*redefine), dry_run),
            Operation::AddStock(add) => (Command::AddStock(add), false),
            Operation::Switch(switch) => (Command::SwitchSale(switch), false),
        };
        let stamped = Stamped { at_ms: turn.at_ms, command };
        let decision = loop {
            match self.state.decide(&stamped) {
                // What would change something comes too late; a repeat, and what stands already, are told.
                Ok(decision) if self.has_left && !decision.events.is_empty() => {
                    return self.refuse(reply, Refusal::ActivityClosed.into(), turn);
                }
                Err(refusal) if self.has_left && refusal != Refusal::KeyReused => {
                    return self.refuse(reply, Refusal::ActivityClosed.into(), turn);
                }
                Ok(decision) => break decision,
                // What has lapsed is free.
                Err(refusal) if refusal.scarce_sku().is_some() && self.is_due(turn.at_ms) => _ = self.expire(turn),
                Err(refusal) => match self.elsewhere(&refusal, &gathered, turn.at_ms) {
                    Some(sku) => return self.queue_next(Job::gather(sku, Change { operation, reply, gathered }), turn),
                    None => return self.refuse(reply, refusal.into(), turn),
                },
            }
        };
        if dry_run {
            let before = self.state.shared_definition();
            let answer = self.changed(turn.at_ms, before, self.preview(&decision), &decision);
            return turn.reveal(reply, answer);
        }
        self.carry_out(decision, reply, turn);
    }

    /// The SKU whose free units may be in other parts, where their lack here is why a change is refused. While they were
    /// gathered others may have become free, or be due to, so it is tried again; but not for ever.
    fn elsewhere(&self, refusal: &Refusal, gathered: &[SkuIndex], at_ms: UnixMillis) -> Option<SkuIndex> {
        let sku_id = refusal.scarce_sku().filter(|_| self.has_siblings())?;
        let (sku, _, _) = self.state.sku_ids().find(|(_, known, _)| **known == sku_id)?;
        let tries = gathered.iter().filter(|known| **known == sku).count();
        let some_left =
            self.units[usize::from(sku.0)].all() > self.state.free_units(sku) || !self.door.is_current(at_ms);
        (tries == 0 || (some_left && tries < GATHERS_MAX)).then_some(sku)
    }

    fn carry_out(&mut self, decision: Decision, reply: oneshot::Sender<Answer>, turn: &mut Turn) {
        let before = (self.state.shared_definition(), self.common());
        let replayed = decision.replayed;
        let entries = self.take_in(turn.at_ms, decision);
        let after = self.state.shared_definition();
        let decision = Decision { replayed, ..Decision::default() };
        let answer = self.changed(turn.at_ms, before.0, after, &decision);
        if entries.is_empty() {
            return turn.reveal(reply, answer);
        }
        let card = Arc::new(Card::new(&self.state, &self.units));
        let publish = PublishAck { door: Arc::clone(&self.door), card, reply, answer };
        if !self.has_siblings() || self.common() == before.1 {
            return turn.submit(entries, Ack::Publish(publish));
        }
        let all = Unanimous::of(self.door.parts(), publish);
        self.last_change = Some(Arc::clone(&all));
        turn.submit(entries, Ack::Unanimous(Arc::clone(&all)));
        let home = Arc::new(self.state.control());
        for part in 1..self.door.parts() {
            turn.write(part, Letter::Follow { home: Arc::clone(&home), all: Arc::clone(&all) });
        }
    }

    /// What the parts have in common, apart from the definition, which has its version.
    fn common(&self) -> (u64, bool, bool) {
        (self.state.version(), self.state.is_paused(), self.state.is_closed())
    }

    /// Does as the home does.
    pub(super) fn follow(&mut self, home: &Control, all: Arc<Unanimous>, turn: &mut Turn) {
        let command = Command::FollowHome(Box::new(home.clone()));
        let decision = self.decide(turn.at_ms, command).expect("following is never refused");
        let entries = self.take_in(turn.at_ms, decision);
        // Where this part is like the home already, it follows as soon as what made it so is durable.
        turn.submit(entries, Ack::Unanimous(all));
    }

    fn changed(&self, at_ms: UnixMillis, before: Arc<Definition>, after: Arc<Definition>, made: &Decision) -> Answer {
        let redefines = made.events.iter().any(|event| matches!(event, Event::ActivityRedefined(_)));
        let version = self.state.version() + u64::from(redefines);
        Answer::Changed(Box::new(Changed {
            before: Some(before),
            phase: Phase::at(at_ms, &after, self.state.is_paused(), self.state.is_closed()),
            after,
            version,
            paused: self.state.is_paused(),
            replayed: made.replayed,
        }))
    }

    /// What the definition would be after a decision that is not carried out.
    fn preview(&self, decision: &Decision) -> Arc<Definition> {
        let redefined = decision.events.iter().find_map(|event| match event {
            Event::ActivityRedefined(event) => Some(Arc::new(event.definition.clone())),
            _ => None,
        });
        redefined.unwrap_or_else(|| self.state.shared_definition())
    }
}
