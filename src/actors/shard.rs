//! One shard of a sale. It lets the domain decide, applies, and leaves events and answer in one submission, so that no
//! answer can overtake its events. What it knows and does is here; who drives it, by what clock, is the [`host`]'s.
//!
//! Anything that reveals an event waits for the disk. When nothing is in flight all is durable already and the answer
//! goes at once; else it goes through the writer's queue as a submission without events.
//!
//! [`host`]: super::host

mod change;
mod gather;
mod grab;
mod look_up;
mod order;
mod parked;
mod pay;
mod retire;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use smallvec::SmallVec;
use tokio::sync::oneshot;

use self::gather::Job;
pub(super) use self::look_up::newest_live;
use self::parked::Parked;
use super::ack::{Ack, Unanimous};
use super::ask::{Answer, Question, Reason, Refused};
use super::door::Door;
use super::letter::Letter;
use super::payment_index::PaymentIndex;
use super::turn::Turn;
use super::units::Units;
use crate::domain::command::{Command, Decision, MoveSlots, Stamped};
use crate::domain::slots::Slots;
use crate::domain::{Entry, Event, Refusal, Sale};
use crate::ids::{ShardId, SkuIndex, UnixMillis};

/// See the file's head.
pub(super) struct Shard {
    state: Sale,
    door: Arc<Door>,
    /// By SKU index.
    units: Vec<Arc<Units>>,
    refused: BTreeMap<&'static str, u64>,
    parked: Parked,
    /// Of the home only: what waits for slots to be gathered. The first is being worked on.
    jobs: VecDeque<Job>,
    /// Of the home only: the last change that the other parts follow.
    last_change: Option<Arc<Unanimous>>,
    /// Whose each payment of the process is.
    payments: PaymentIndex,
    /// Of the home only: a round's end is among the jobs.
    is_ending: bool,
    /// The part has said that nothing is left to do, and the home may write the activity's last event at any moment.
    is_settled: bool,
    /// The activity's last event is in the journal, or on its way there.
    has_left: bool,
}

impl Shard {
    /// A shard whose free units the door shows from now on.
    pub fn new(state: Sale, door: Arc<Door>, payments: PaymentIndex) -> Self {
        let units = door.units(state.sku_ids().count());
        let shard = Self {
            state,
            door,
            units,
            refused: BTreeMap::new(),
            parked: Parked::default(),
            jobs: VecDeque::new(),
            last_change: None,
            payments,
            is_ending: false,
            is_settled: false,
            has_left: false,
        };
        shard.door.show_debt(shard.part(), shard.state.owes());
        for (index, _, _) in shard.state.sku_ids() {
            shard.units[usize::from(index.0)].changed(shard.part(), 0, shard.state.free_units(index));
        }
        shard
    }

    /// A shard of an activity that has left: it answers, and nothing changes in it.
    pub fn of_left(state: Sale, door: Arc<Door>) -> Self {
        Self { has_left: true, ..Self::new(state, door, PaymentIndex::default()) }
    }

    /// The shard's number.
    pub fn id(&self) -> ShardId {
        self.state.shard()
    }

    /// The shard that is the activity's part of that number.
    pub fn sibling(&self, part: u16) -> ShardId {
        self.state.part().shard(part)
    }

    /// When the next hold runs out.
    pub fn next_deadline(&self) -> Option<UnixMillis> {
        self.state.next_deadline()
    }

    /// When something is due next: a hold runs out, or a round ends that nobody has begun to end.
    pub fn next_wake(&self) -> Option<UnixMillis> {
        self.next_deadline().into_iter().chain(self.next_round_end()).min()
    }

    /// Shows the door when the next hold runs out.
    pub fn show_deadline(&self) {
        self.door.show_deadline(self.part(), self.next_deadline());
    }

    /// Answers a question, now or when what it needs is there.
    pub fn ask(&mut self, question: Question, reply: oneshot::Sender<Answer>, turn: &mut Turn) {
        self.wake(turn);
        match question {
            Question::Place(command) => self.place(command, reply, turn),
            Question::Cancel(command) => self.cancel(command, reply, turn),
            Question::Grab(command) => self.grab(command, reply, turn),
            Question::Pay(command) => self.pay(command, reply, turn),
            Question::Refund(command) => self.refund(command, reply, turn),
            Question::CloseRefund(command) => self.close_refund(command, reply, turn),
            Question::Stay => self.stay(reply, turn),
            Question::Change(operation) => self.change(operation, reply, turn),
            Question::Settled { retain_ms } => self.tell_if_settled(retain_ms, reply, turn),
            Question::Retire { retain_ms, orders } => self.retire(retain_ms, orders, reply, turn),
            look_up => match self.look_up(&look_up, turn.at_ms) {
                Ok(answer) => turn.reveal(reply, answer),
                Err(refusal) => self.refuse(reply, refusal.into(), turn),
            },
        }
    }

    /// Takes in what another part wrote.
    pub fn read(&mut self, letter: Letter, turn: &mut Turn) {
        self.wake(turn);
        match letter {
            Letter::Need { part, sku, units } => self.queue(Job::fetch(part, sku, units), turn),
            Letter::Collect { sku, units } => self.give_up(sku, units, turn),
            Letter::Collected { part, sku, slots, more } => {
                self.receive(sku, &slots);
                self.collected(part, more, turn);
            }
            Letter::Grant { sku, slots } => {
                self.receive(sku, &slots);
                self.serve_parked(sku, turn);
            }
            Letter::Follow { home, all } => self.follow(&home, all, turn),
        }
    }

    /// Does what time has made due: one step of it.
    pub fn wake(&mut self, turn: &mut Turn) {
        self.expire(turn);
        self.end_due_round(turn);
    }

    /// Releases one step of what has run out; `true` where more is due.
    pub fn expire(&mut self, turn: &mut Turn) -> bool {
        if !self.is_due(turn.at_ms) {
            return false;
        }
        let decision = self.decide(turn.at_ms, Command::ExpireHolds).expect("expiry is never refused");
        let entries = self.take_in(turn.at_ms, decision);
        if !entries.is_empty() {
            turn.submit(entries, Ack::Nobody);
        }
        self.is_due(turn.at_ms)
    }

    /// Whether holds have run out that are not released.
    pub fn is_due(&self, at_ms: UnixMillis) -> bool {
        self.next_deadline().is_some_and(|deadline| deadline <= at_ms)
    }

    /// What the shard has and knows.
    #[cfg(test)]
    pub fn sale(&self) -> &Sale {
        &self.state
    }

    /// The free units of a SKU over the whole activity, as the door counts them.
    #[cfg(test)]
    pub fn counted(&self, sku: SkuIndex) -> u32 {
        self.units[usize::from(sku.0)].all()
    }

    fn part(&self) -> u16 {
        self.state.part().number
    }

    /// Whether the activity has other parts.
    fn has_siblings(&self) -> bool {
        self.door.parts() > 1
    }

    fn decide(&self, at_ms: UnixMillis, command: Command) -> Result<Decision, Refusal> {
        self.state.decide(&Stamped { at_ms, command })
    }

    /// Applies events and returns them as the journal keeps them.
    fn take_in(&mut self, at_ms: UnixMillis, decision: Decision) -> SmallVec<[Entry; 1]> {
        let shard = self.state.shard();
        for event in &decision.events {
            self.apply(at_ms, event);
            self.payments.note(shard, event);
            if event.is_of_money() {
                self.door.show_debt(self.part(), self.state.owes());
            }
        }
        decision.events.into_iter().map(|event| Entry { shard, at_ms, event }).collect()
    }

    /// Applies an event and shows what it did to the counts of free units.
    fn apply(&mut self, at_ms: UnixMillis, event: &Event) {
        let taken_of = match event {
            Event::OrderPlaced(order) => Some(order.sku),
            Event::PacketGrabbed(grab) => Some(grab.round),
            _ => None,
        };
        if let Some(sku) = taken_of {
            let before = self.state.free_units(sku);
            self.state.apply(at_ms, event);
            return self.units[usize::from(sku.0)].changed(self.part(), before, self.state.free_units(sku));
        }
        if let Event::SlotsMoved(moved) = event {
            self.state.apply(at_ms, event);
            let to = self.state.part().number_of(moved.to);
            return self.units[usize::from(moved.sku.0)].moved(self.part(), to, moved.slots.count());
        }
        let free = |state: &Sale| state.sku_ids().map(|(index, _, _)| state.free_units(index)).collect();
        let before: SmallVec<[u32; 4]> = free(&self.state);
        self.state.apply(at_ms, event);
        let after: SmallVec<[u32; 4]> = free(&self.state);
        if self.units.len() < after.len() {
            self.units = self.door.units(after.len());
        }
        for (place, units) in self.units.iter().enumerate() {
            units.changed(self.part(), before.get(place).copied().unwrap_or(0), after[place]);
        }
    }

    /// Moves up to so many free units to another part: those that went. The event is left for the journal before any
    /// letter that tells of it.
    fn move_to(&mut self, part: u16, sku: SkuIndex, units: u32, turn: &mut Turn) -> Slots {
        let to = self.state.part().shard(part);
        let command = Command::MoveSlots(MoveSlots { to, sku, units });
        let decision = self.decide(turn.at_ms, command).expect("a move is never refused");
        let slots = match decision.events.first() {
            Some(Event::SlotsMoved(moved)) => moved.slots.clone(),
            _ => return Slots::default(),
        };
        let entries = self.take_in(turn.at_ms, decision);
        turn.submit(entries, Ack::Nobody);
        slots
    }

    /// Takes the other end of a move in; the giver wrote its event.
    fn receive(&mut self, sku: SkuIndex, slots: &Slots) {
        self.state.receive(sku, slots);
    }

    fn refuse(&mut self, reply: oneshot::Sender<Answer>, reason: Reason, turn: &mut Turn) {
        let runs_ahead = match &reason {
            Reason::Rule(refusal) => {
                *self.refused.entry(refusal.code()).or_default() += 1;
                *refusal == Refusal::SoldOut
            }
            Reason::ActivityNotFound | Reason::Unavailable(_) => true,
        };
        let answer = Answer::Refused(Refused { reason, at_ms: turn.at_ms, shard: self.state.shard() });
        if runs_ahead {
            drop(reply.send(answer));
        } else {
            turn.reveal(reply, answer);
        }
    }
}
