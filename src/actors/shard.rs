//! The actor that owns a shard's state. It stamps the time, lets the domain decide, applies, and hands events and
//! answer to the journal's writer in one submission, so that no answer can overtake its events.
//!
//! Anything that reveals an event waits for the disk. When nothing is in flight all is durable already and the answer
//! goes at once; else it goes through the writer's queue as a submission without events.

mod look_up;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use actix::{Actor, AsyncContext, Context, Handler, Message, SpawnHandle};
use smallvec::SmallVec;
use tokio::sync::oneshot;

use super::ack::{Ack, PublishAck};
use super::ask::{Answer, Ask, Changed, Operation, Question, Reason, Refused, Unavailable};

use super::door::{Card, Door};
use super::readiness::Readiness;
use crate::clock::Clock;
use crate::domain::command::{Command, Decision, Stamped};
use crate::domain::{Definition, Entry, Event, Phase, Refusal, Sale};
use crate::ids::{SkuIndex, UnixMillis};
use crate::persist::{Handle, Submission};

/// The longest sleep until the next deadline is looked at again: the clock is slewed, so a timer set for hours would
/// drift from it.
const TIMER_MAX: Duration = Duration::from_secs(1);

/// The owner of one shard.
pub(super) struct Shard {
    state: Sale,
    door: Arc<Door>,
    free: Vec<Arc<AtomicU32>>,
    definition: Arc<Definition>,
    journal: Handle<Ack>,
    clock: Clock,
    readiness: Readiness,
    mailbox: usize,
    last_ms: UnixMillis,
    timer: Option<(UnixMillis, SpawnHandle)>,
    refused: BTreeMap<&'static str, u64>,
}

/// What every shard of a process shares.
#[derive(Clone)]
pub(super) struct Shared {
    pub journal: Handle<Ack>,
    pub clock: Clock,
    pub readiness: Readiness,
    /// Messages that may wait for one shard.
    pub mailbox: usize,
}

/// Holds may have run out.
#[derive(Message)]
#[rtype(result = "()")]
struct Tick;

impl Shard {
    pub fn new(state: Sale, shared: Shared) -> (Self, Arc<Door>) {
        let free: Vec<_> =
            state.sku_ids().map(|(index, _, _)| Arc::new(AtomicU32::new(state.free_units(index)))).collect();
        let definition = Arc::new(state.definition().clone());
        let card = card(&state, &definition, &free);
        let door = Arc::new(Door::new(state.activity_id(), state.shard(), card));
        let Shared { journal, clock, readiness, mailbox } = shared;
        let shard = Self {
            last_ms: UnixMillis(0),
            state,
            door: Arc::clone(&door),
            free,
            definition,
            journal,
            clock,
            readiness,
            mailbox,
            timer: None,
            refused: BTreeMap::new(),
        };
        (shard, door)
    }

    fn stamp(&mut self) -> UnixMillis {
        self.last_ms = self.last_ms.max(self.clock.now_ms());
        self.last_ms
    }

    fn decide(&self, at_ms: UnixMillis, command: Command) -> Result<Decision, Refusal> {
        self.state.decide(&Stamped { at_ms, command })
    }

    /// Applies events and returns them as the journal keeps them.
    fn take_in(&mut self, at_ms: UnixMillis, decision: Decision) -> SmallVec<[Entry; 1]> {
        let shard = self.state.shard();
        for event in &decision.events {
            self.state.apply(at_ms, event);
            self.count_free(event);
        }
        decision.events.into_iter().map(|event| Entry { shard, at_ms, event }).collect()
    }

    /// Shows the new counts of free units at the door.
    fn count_free(&mut self, event: &Event) {
        if let Event::OrderPlaced(order) = event {
            let units = self.state.free_units(order.sku);
            self.free[usize::from(order.sku.0)].store(units, Ordering::SeqCst);
            return;
        }
        for (index, _, _) in self.state.sku_ids() {
            let units = self.state.free_units(index);
            match self.free.get(usize::from(index.0)) {
                Some(free) => free.store(units, Ordering::SeqCst),
                None => self.free.push(Arc::new(AtomicU32::new(units))),
            }
        }
    }

    fn submit(&self, entries: SmallVec<[Entry; 1]>, ack: Ack) {
        // Where the writer is gone the journal has failed and the process stops: the answer is dropped on purpose.
        let _stopped = self.journal.submit(Submission { entries, ack });
    }

    /// Answers once all that this answer may reveal is durable.
    fn reveal(&self, reply: oneshot::Sender<Answer>, answer: Answer) {
        if self.journal.is_idle() {
            drop(reply.send(answer));
        } else {
            self.submit(SmallVec::new(), Ack::Answer(reply, answer));
        }
    }

    fn refuse(&mut self, reply: oneshot::Sender<Answer>, at_ms: UnixMillis, reason: Reason) {
        let runs_ahead = match &reason {
            Reason::Rule(refusal) => {
                *self.refused.entry(refusal.code()).or_default() += 1;
                *refusal == Refusal::SoldOut
            }
            Reason::ActivityNotFound | Reason::Unavailable(_) => true,
        };
        let answer = Answer::Refused(Refused { reason, at_ms, shard: self.state.shard() });
        if runs_ahead {
            drop(reply.send(answer));
        } else {
            self.reveal(reply, answer);
        }
    }

    /// Whether new orders must wait; look-ups, cancels and operators go on.
    fn unavailable(&self) -> Option<Unavailable> {
        if self.readiness.is_storage_low() {
            return Some(Unavailable::StorageLow);
        }
        // Beyond three quarters the rest of the queue is kept for what must not be refused.
        let nearly_full = self.journal.capacity() / 4 * 3;
        (self.journal.depth() > nearly_full).then_some(Unavailable::Overloaded)
    }

    /// Places or cancels an order.
    fn command(&mut self, reply: oneshot::Sender<Answer>, at_ms: UnixMillis, command: Command) {
        let places = matches!(command, Command::PlaceOrder(_));
        let stamped = Stamped { at_ms, command };
        let decision = loop {
            match self.state.decide(&stamped) {
                Ok(decision) => break decision,
                // In a mass expiry, what has lapsed and is not released yet must refuse nobody.
                Err(Refusal::SoldOut | Refusal::LimitReached { .. }) if self.is_due(at_ms) => _ = self.expire(at_ms),
                Err(refusal) => return self.refuse(reply, at_ms, refusal.into()),
            }
        };
        if places
            && !decision.events.is_empty()
            && let Some(why) = self.unavailable()
        {
            return self.refuse(reply, at_ms, Reason::Unavailable(why));
        }
        let (number, replayed) = (decision.order.expect("an order's decision names it"), decision.replayed);
        let entries = self.take_in(at_ms, decision);
        let order = self.state.order(number).expect("the order that was decided on is there");
        let answer = Answer::Order { order, replayed };
        if entries.is_empty() {
            self.reveal(reply, answer);
        } else {
            self.submit(entries, Ack::Answer(reply, answer));
        }
    }

    fn change(&mut self, reply: oneshot::Sender<Answer>, at_ms: UnixMillis, operation: Operation) {
        let (command, dry_run) = match operation {
            Operation::Redefine { redefine, dry_run } => (Command::Redefine(*redefine), dry_run),
            Operation::AddStock(add) => (Command::AddStock(add), false),
            Operation::Switch(switch) => (Command::SwitchSale(switch), false),
        };
        let decision = match self.decide(at_ms, command) {
            Ok(decision) => decision,
            Err(refusal) => return self.refuse(reply, at_ms, refusal.into()),
        };
        if dry_run {
            let answer = self.changed(at_ms, Arc::clone(&self.definition), preview(&self.state, &decision), &decision);
            return self.reveal(reply, answer);
        }
        let before = Arc::clone(&self.definition);
        let replayed = decision.replayed;
        let entries = self.take_in(at_ms, decision);
        if entries.is_empty() {
            let decision = Decision { replayed, ..Decision::default() };
            let answer = self.changed(at_ms, Arc::clone(&before), before, &decision);
            return self.reveal(reply, answer);
        }
        self.definition = Arc::new(self.state.definition().clone());
        let card = Arc::new(card(&self.state, &self.definition, &self.free));
        let answer = self.changed(at_ms, before, Arc::clone(&self.definition), &Decision::default());
        let door = Arc::clone(&self.door);
        self.submit(entries, Ack::Publish(PublishAck { door, card, reply, answer }));
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

    /// Releases one step of what has run out; `true` where more is due.
    fn expire(&mut self, at_ms: UnixMillis) -> bool {
        if !self.is_due(at_ms) {
            return false;
        }
        let decision = self.decide(at_ms, Command::ExpireHolds).expect("expiry is never refused");
        let entries = self.take_in(at_ms, decision);
        if !entries.is_empty() {
            self.submit(entries, Ack::Nobody);
        }
        self.is_due(at_ms)
    }

    fn is_due(&self, at_ms: UnixMillis) -> bool {
        self.state.next_deadline().is_some_and(|deadline| deadline <= at_ms)
    }

    /// Sets the timer for the next deadline, unless it stands already.
    fn arm(&mut self, ctx: &mut Context<Self>) {
        let next = self.state.next_deadline();
        self.door.show_deadline(next);
        if self.timer.as_ref().map(|(at, _)| *at) == next {
            return;
        }
        if let Some((_, timer)) = self.timer.take() {
            ctx.cancel_future(timer);
        }
        if let Some(deadline) = next {
            let wait = Duration::from_millis(deadline.0.saturating_sub(self.clock.now_ms().0)).min(TIMER_MAX);
            self.timer = Some((deadline, ctx.notify_later(Tick, wait)));
        }
    }
}

fn card(state: &Sale, definition: &Arc<Definition>, free: &[Arc<AtomicU32>]) -> Card {
    let counter = |index: SkuIndex| Arc::clone(&free[usize::from(index.0)]);
    let listed = state.sku_ids().filter(|(_, _, listed)| *listed);
    Card {
        definition: Arc::clone(definition),
        version: state.version(),
        paused: state.is_paused(),
        closed: state.is_closed(),
        skus: listed.map(|(index, sku_id, _)| (sku_id.clone(), counter(index))).collect(),
    }
}

/// What the definition would be after a decision that is not carried out.
fn preview(state: &Sale, decision: &Decision) -> Arc<Definition> {
    let redefined = decision.events.iter().find_map(|event| match event {
        Event::ActivityRedefined(event) => Some(&event.definition),
        _ => None,
    });
    Arc::new(redefined.unwrap_or(state.definition()).clone())
}

impl Actor for Shard {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.set_mailbox_capacity(self.mailbox);
        // What lapsed while the process was down is released before the first order is looked at.
        let at_ms = self.stamp();
        while self.expire(at_ms) {}
        self.arm(ctx);
    }
}

impl Drop for Shard {
    fn drop(&mut self) {
        // Half a command may have been applied: only a replay gives the true state again.
        if std::thread::panicking() {
            // The panic's hook has said what and where.
            std::process::abort();
        }
    }
}

impl Handler<Ask> for Shard {
    type Result = ();

    fn handle(&mut self, ask: Ask, ctx: &mut Context<Self>) {
        let at_ms = self.stamp();
        let more_is_due = self.expire(at_ms);
        match ask.question {
            Question::Place(command) => self.command(ask.reply, at_ms, Command::PlaceOrder(command)),
            Question::Cancel(command) => self.command(ask.reply, at_ms, Command::CancelOrder(command)),
            Question::Change(operation) => self.change(ask.reply, at_ms, operation),
            look_up => match self.look_up(&look_up, at_ms) {
                Ok(answer) => self.reveal(ask.reply, answer),
                Err(refusal) => self.refuse(ask.reply, at_ms, refusal.into()),
            },
        }
        if more_is_due {
            ctx.notify(Tick);
        } else {
            self.arm(ctx);
        }
    }
}

impl Handler<Tick> for Shard {
    type Result = ();

    fn handle(&mut self, _: Tick, ctx: &mut Context<Self>) {
        self.timer = None;
        let at_ms = self.stamp();
        if self.expire(at_ms) {
            ctx.notify(Tick);
        } else {
            self.arm(ctx);
        }
    }
}
