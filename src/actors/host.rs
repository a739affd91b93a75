//! The actor: it owns shards, gives each its turns by the process clock, and carries out what a turn leaves. A busy sale's
//! shards have a host each; small activities share a few, because a mailbox for each would cost more than they do.

use std::collections::BTreeSet;
use std::future::ready;
use std::mem;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use actix::{Actor, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, SpawnHandle, WrapFuture};
use rustc_hash::FxHashMap;

use super::ack::Ack;
use super::ask::{Answer, Ask, Reason, Refused, Unavailable};
use super::letter::Letter;
use super::readiness::Readiness;
use super::shard::Shard;
use super::shipped::Shipped;
use super::turn::Turn;
use crate::clock::Clock;
use crate::ids::{ShardId, UnixMillis};
use crate::persist::{Handle, Submission};

/// The longest sleep until the next deadline is looked at again: the clock is slewed, so a timer set for hours would
/// drift from it.
const TIMER_MAX: Duration = Duration::from_secs(1);

/// Shards that one tick gives a step: about a millisecond.
const STEPS_MAX: usize = 32;

/// Turns after which the journal gets what they have left, however many messages are still there: enough that a wake-up for
/// each batch is cheap, few enough that nobody's answer waits for a crowd that is only refused.
const TURNS_MAX: usize = 64;

/// See the file's head.
pub(super) struct Host {
    tenants: FxHashMap<ShardId, Tenant>,
    shared: Shared,
    last_ms: UnixMillis,
    /// When each shard is due next: a hold runs out, or a round ends.
    deadlines: BTreeSet<(UnixMillis, ShardId)>,
    timer: Option<(UnixMillis, SpawnHandle)>,
    /// What this wake's turns have left for the journal.
    left: Vec<Submission<Ack>>,
    /// The turns since the first of them that left something.
    turns: usize,
}

/// A shard, and the way to the other parts of its activity.
pub(super) struct Tenant {
    pub shard: Shard,
    pub siblings: Siblings,
    /// When it is due next, as the host has noted it.
    deadline: Option<UnixMillis>,
}

/// The hosts of an activity's parts, by number. Filled when all have started, and empty where there is but one.
pub(super) type Siblings = Arc<OnceLock<Vec<Addr<Host>>>>;

/// What every host of a process shares.
#[derive(Clone)]
pub(super) struct Shared {
    pub journal: Handle<Ack>,
    pub clock: Clock,
    pub readiness: Readiness,
    /// What MySQL has; `None` where the journal is the only store.
    pub shipped: Option<Shipped>,
    /// Messages that may wait for one host.
    pub mailbox: usize,
}

/// A shard moves in.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct MoveIn(pub Tenant);

/// A shard has left memory, durably.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct MoveOut(pub ShardId);

/// A letter for one of the host's shards.
#[derive(Message)]
#[rtype(result = "()")]
struct Post {
    to: ShardId,
    letter: Letter,
}

/// Holds may have run out, and rounds be over.
#[derive(Message)]
#[rtype(result = "()")]
struct Tick;

impl Tenant {
    pub fn new(shard: Shard, siblings: Siblings) -> Self {
        Self { shard, siblings, deadline: None }
    }
}

impl Host {
    pub fn new(shared: Shared) -> Self {
        Self {
            tenants: FxHashMap::default(),
            shared,
            last_ms: UnixMillis(0),
            deadlines: BTreeSet::new(),
            timer: None,
            left: Vec::new(),
            turns: 0,
        }
    }

    /// What a turn at this instant is given.
    fn turn(&mut self) -> Turn {
        self.last_ms = self.last_ms.max(self.shared.clock.now_ms());
        let journal = &self.shared.journal;
        // Beyond three quarters the rest of the queue is kept for what must not be refused.
        let nearly_full = journal.capacity() / 4 * 3;
        let shipped = self.shared.shipped.as_ref();
        let unavailable = if shipped.is_some_and(Shipped::is_forbidden) {
            Some(Unavailable::NotOurs)
        } else if self.shared.readiness.is_storage_low() {
            Some(Unavailable::StorageLow)
        } else if shipped.is_some_and(|shipped| shipped.is_full(journal.durable_seq())) {
            Some(Unavailable::BacklogFull)
        } else {
            (journal.depth() + self.left.len() > nearly_full).then_some(Unavailable::Overloaded)
        };
        Turn { submissions: mem::take(&mut self.left), ..Turn::at(self.last_ms, journal.is_idle(), unavailable) }
    }

    /// Gives a shard a turn and carries out what it leaves.
    fn give_turn(&mut self, to: ShardId, act: impl FnOnce(&mut Shard, &mut Turn), ctx: &mut Context<Self>) {
        // A shard that has left has nothing to do any more.
        if !self.tenants.contains_key(&to) {
            return;
        }
        let mut turn = self.turn();
        let had_left = !turn.submissions.is_empty();
        let tenant = self.tenants.get_mut(&to).expect("it was just looked at");
        act(&mut tenant.shard, &mut turn);
        // Before anybody hears of the turn: who knows of a hold may ask elsewhere when it has run out, and no door may then
        // take it for one that still stands (S6).
        let (before, after) = (tenant.deadline, tenant.shard.next_wake());
        if before != after {
            tenant.deadline = after;
            tenant.shard.show_deadline();
            before.into_iter().for_each(|at| _ = self.deadlines.remove(&(at, to)));
            after.into_iter().for_each(|at| _ = self.deadlines.insert((at, to)));
        }
        self.left = turn.submissions;
        if !self.left.is_empty() {
            self.turns += 1;
            if self.turns >= TURNS_MAX {
                self.hand_over();
            } else if !had_left {
                // An actor's futures have their turn when its mailbox is empty.
                ctx.spawn(ready(()).into_actor(self).map(|(), host, _| host.hand_over()));
            }
        }
        self.post(to, turn.letters);
        self.arm(ctx);
    }

    /// Hands to the journal what the turns have left. What a crowd asks at one instant so becomes one group, and wakes the
    /// writer once.
    fn hand_over(&mut self) {
        if self.left.is_empty() {
            return;
        }
        self.turns = 0;
        // Of one size, so that the allocator has one that was used before.
        let left = mem::replace(&mut self.left, Vec::with_capacity(TURNS_MAX));
        // Where the writer is gone the journal has failed and the process stops: the answers are dropped on purpose.
        let _stopped = self.shared.journal.submit_all(left);
    }

    /// Sends letters, after what they tell of.
    fn post(&mut self, from: ShardId, letters: Vec<(u16, Letter)>) {
        if letters.is_empty() {
            return;
        }
        self.hand_over();
        let tenant = &self.tenants[&from];
        let siblings = tenant.siblings.get().expect("parts that write to each other have started");
        for (part, letter) in letters {
            // Past the mailbox's bound: letters are few, by the protocol, and must arrive.
            siblings[usize::from(part)].do_send(Post { to: tenant.shard.sibling(part), letter });
        }
    }

    /// Sets the timer for the next deadline, unless it stands already.
    fn arm(&mut self, ctx: &mut Context<Self>) {
        let next = self.deadlines.first().map(|(at, _)| *at);
        if self.timer.as_ref().map(|(at, _)| *at) == next {
            return;
        }
        if let Some((_, timer)) = self.timer.take() {
            ctx.cancel_future(timer);
        }
        if let Some(deadline) = next {
            let wait = Duration::from_millis(deadline.0.saturating_sub(self.shared.clock.now_ms().0)).min(TIMER_MAX);
            self.timer = Some((deadline, ctx.notify_later(Tick, wait)));
        }
    }
}

impl Actor for Host {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.set_mailbox_capacity(self.shared.mailbox);
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // Half a command may have been applied: only a replay gives the true state again.
        if std::thread::panicking() {
            // The panic's hook has said what and where.
            std::process::abort();
        }
        self.hand_over();
    }
}

impl Handler<MoveIn> for Host {
    type Result = ();

    fn handle(&mut self, MoveIn(tenant): MoveIn, ctx: &mut Context<Self>) {
        let id = tenant.shard.id();
        tenant.shard.show_deadline();
        self.tenants.insert(id, tenant);
        // What lapsed while the process was down is released before the first order is looked at.
        let catch_up = |shard: &mut Shard, turn: &mut Turn| {
            while shard.expire(turn) {}
            shard.end_due_round(turn);
        };
        self.give_turn(id, catch_up, ctx);
    }
}

impl Handler<MoveOut> for Host {
    type Result = ();

    fn handle(&mut self, MoveOut(id): MoveOut, _: &mut Context<Self>) {
        // A host of its own ends by itself when nobody has its address any more.
        self.tenants.remove(&id);
    }
}

impl Handler<Ask> for Host {
    type Result = ();

    fn handle(&mut self, Ask { shard, question, reply }: Ask, ctx: &mut Context<Self>) {
        if !self.tenants.contains_key(&shard) {
            // It was on its way while the shard left; asked again, it finds the archive.
            let refused = Refused { reason: Reason::Unavailable(Unavailable::Overloaded), at_ms: self.last_ms, shard };
            return drop(reply.send(Answer::Refused(refused)));
        }
        self.give_turn(shard, |shard, turn| shard.ask(question, reply, turn), ctx);
    }
}

impl Handler<Post> for Host {
    type Result = ();

    fn handle(&mut self, Post { to, letter }: Post, ctx: &mut Context<Self>) {
        self.give_turn(to, |shard, turn| shard.read(letter, turn), ctx);
    }
}

impl Handler<Tick> for Host {
    type Result = ();

    /// One step for each shard that is due, then the mailbox again: a mass expiry must not hold up the next shopper.
    fn handle(&mut self, _: Tick, ctx: &mut Context<Self>) {
        self.timer = None;
        let now_ms = self.shared.clock.now_ms().max(self.last_ms);
        let due: Vec<ShardId> =
            self.deadlines.iter().take_while(|(at, _)| *at <= now_ms).take(STEPS_MAX).map(|(_, id)| *id).collect();
        for id in due {
            self.give_turn(id, Shard::wake, ctx);
        }
        self.arm(ctx);
    }
}
