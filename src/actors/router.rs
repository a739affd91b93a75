//! Finds the shard that a request is for and asks it, or answers at the door when the door knows enough: the losers'
//! `sold_out` and, outside the window, `not_started` and `ended` cost no message.

mod lists;
mod pages;
mod payments;

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, RwLock};

use actix::Addr;
use actix::dev::SendError;
use dashmap::DashMap;
use tokio::sync::oneshot;

use super::ack::Ack;
use super::archive::{Archive, Lies};
use super::ask::{Answer, Ask, Asked, Kind, Operation, Question, Reason, Refused, SaleView, Unavailable};
use super::door::{Card, Door};
use super::host::{Host, MoveOut, Shared};
use super::payment_index::PaymentIndex;
use super::readiness::{Readiness, Stage};
use super::shipped::{Lag, Shipped};
use super::suspense::SuspenseAccount;
use crate::clock::Clock;
use crate::domain::command::{Grab, PlaceOrder};
use crate::domain::{Part, Phase, Refusal};
use crate::ids::{ActivityId, OrderId, Seq, ShardId, UnixMillis, UserId};
use crate::persist::Handle;

use self::lists::Doors;
pub use lists::{Listing, Whose};
pub use payments::{Notice, Refunds};

/// The way to every shard. Cheap to clone; all clones are the same.
#[derive(Clone)]
pub struct Router(Arc<Inner>);

struct Inner {
    entrances: DashMap<ActivityId, Arc<Entrance>>,
    shards: DashMap<ShardId, Arc<Entrance>>,
    /// For lists; the maps above are for the hot path.
    doors: RwLock<Doors>,
    archive: Archive,
    clock: Clock,
    readiness: Readiness,
    /// What MySQL has, and what it should have; `None` where the journal is the only store.
    shipping: Option<(Shipped, Handle<Ack>)>,
    payments: PaymentIndex,
    suspense: Addr<SuspenseAccount>,
}

/// A door with what is behind it.
pub(super) struct Entrance {
    pub activity_id: ActivityId,
    pub home: Part,
    pub parts: u16,
    pub door: Arc<Door>,
    pub behind: Behind,
}

/// What is behind a door.
pub(super) enum Behind {
    /// Actors, by part; and an event that the journal had before the activity's first.
    Hosts(Vec<Addr<Host>>, Seq),
    /// The journal: the activity has left memory.
    Archive(Lies),
}

impl Entrance {
    /// The part that serves a user.
    fn part_of(&self, user: UserId) -> u16 {
        self.home.spread.part_of(user, self.parts)
    }

    fn is_of(&self, kind: Kind) -> bool {
        Kind::of(&self.door.card().definition) == kind
    }
}

impl Router {
    pub(super) fn new(
        archive: Archive,
        shared: &Shared,
        shipping: Option<(Shipped, Handle<Ack>)>,
        payments: PaymentIndex,
        suspense: Addr<SuspenseAccount>,
    ) -> Self {
        let (entrances, shards, doors) = (DashMap::new(), DashMap::new(), RwLock::default());
        let (clock, readiness) = (shared.clock.clone(), shared.readiness.clone());
        Self(Arc::new(Inner { entrances, shards, doors, archive, clock, readiness, shipping, payments, suspense }))
    }

    pub(super) fn add(&self, entrance: Entrance) {
        let entrance = Arc::new(entrance);
        let mut doors = self.0.doors.write().unwrap_or_else(PoisonError::into_inner);
        doors.add(&entrance.door);
        for part in 0..entrance.parts {
            self.0.shards.insert(entrance.home.shard(part), Arc::clone(&entrance));
        }
        self.0.entrances.insert(entrance.activity_id, entrance);
    }

    pub(super) fn door(&self, activity_id: ActivityId) -> Option<Arc<Door>> {
        self.0.entrances.get(&activity_id).map(|entrance| Arc::clone(&entrance.door))
    }

    /// The process clock's instant, for replies that name it.
    #[must_use]
    pub fn now_ms(&self) -> UnixMillis {
        self.0.clock.now_ms()
    }

    /// How far wall time is ahead of the process clock.
    #[must_use]
    pub fn clock_gap_ms(&self) -> i64 {
        self.0.clock.gap_ms()
    }

    /// The process's readiness.
    #[must_use]
    pub fn readiness(&self) -> &Readiness {
        &self.0.readiness
    }

    /// How far MySQL is behind; `None` where the journal is the only store.
    #[must_use]
    pub fn lag(&self) -> Option<Lag> {
        self.0.shipping.as_ref().map(|(shipped, journal)| shipped.lag(journal.durable_seq(), self.now_ms()))
    }

    /// Whether so much waits for MySQL that new orders are refused.
    #[must_use]
    pub fn is_backlog_full(&self) -> bool {
        self.0.shipping.as_ref().is_some_and(|(shipped, journal)| shipped.is_full(journal.durable_seq()))
    }

    /// Whether an order, which is durable, is where other systems look for it: in MySQL, where there is one.
    #[must_use]
    pub fn is_settled(&self, order_id: OrderId) -> bool {
        self.0.shipping.as_ref().is_none_or(|(shipped, _)| shipped.has(order_id))
    }

    /// Asks the shard that serves a user in an activity of that kind.
    #[must_use]
    pub fn ask(&self, kind: Kind, activity_id: ActivityId, user: UserId, question: Question) -> Asked {
        if let Some(answer) = self.not_yet() {
            return answer;
        }
        match self.0.entrances.get(&activity_id) {
            Some(entrance) if entrance.is_of(kind) => self.send(&entrance, entrance.part_of(user), question),
            _ => self.refuse(Reason::ActivityNotFound),
        }
    }

    /// An activity as it stands, over all its shards.
    pub async fn sale(&self, activity_id: ActivityId) -> Answer {
        let asked: Vec<Asked> = match (self.not_yet(), self.entrance(activity_id)) {
            (Some(answer), _) => return answer.answer().await,
            (None, None) => return self.refuse(Reason::ActivityNotFound).answer().await,
            (None, Some(entrance)) => {
                if let Behind::Archive(lies) = &entrance.behind {
                    return self.0.archive.sale(*lies).answer().await;
                }
                (0..entrance.parts).map(|part| self.send(&entrance, part, Question::Sale)).collect()
            }
        };
        let mut whole: Option<Box<SaleView>> = None;
        for part in asked {
            match (part.answer().await, &mut whole) {
                (Answer::Sale(part), Some(whole)) => whole.add(*part),
                (Answer::Sale(home), whole) => *whole = Some(home),
                (refused, _) => return refused,
            }
        }
        Answer::Sale(whole.expect("an activity has a home"))
    }

    /// Whether an activity, if there is one, can have an order of that id.
    #[must_use]
    pub fn may_have(&self, activity_id: ActivityId, order_id: OrderId) -> bool {
        let owner = order_id.shard().and_then(|shard| self.0.shards.get(&shard));
        owner.map_or(!self.0.entrances.contains_key(&activity_id), |owner| owner.activity_id == activity_id)
    }

    /// Places an order, or refuses it at the door.
    #[must_use]
    pub fn place(&self, activity_id: ActivityId, command: PlaceOrder) -> Asked {
        if let Some(answer) = self.not_yet() {
            return answer;
        }
        let Some(entrance) = self.0.entrances.get(&activity_id).filter(|entrance| entrance.is_of(Kind::FlashSale))
        else {
            return self.refuse(Reason::ActivityNotFound);
        };
        let is_sold_out = |card: &Card, _| card.is_sold_out(&command.sku, command.quantity);
        // A request with a key always goes to the actor: it may be a replay, and those are answered in every state.
        if command.key.is_none()
            && let Some(refused) = self.refused_at_door(&entrance, is_sold_out)
        {
            return refused;
        }
        self.send(&entrance, entrance.part_of(command.user), Question::Place(command))
    }

    /// Grabs a packet, or refuses it at the door.
    #[must_use]
    pub fn grab(&self, activity_id: ActivityId, command: Grab) -> Asked {
        if let Some(answer) = self.not_yet() {
            return answer;
        }
        let Some(entrance) = self.0.entrances.get(&activity_id).filter(|entrance| entrance.is_of(Kind::RedPacket))
        else {
            return self.refuse(Reason::ActivityNotFound);
        };
        if command.key.is_none()
            && let Some(refused) = self.refused_at_door(&entrance, Card::is_round_sold_out)
        {
            return refused;
        }
        self.send(&entrance, entrance.part_of(command.user), Question::Grab(command))
    }

    /// Brings an operator's change to the shard of an activity. Unlike a shopper it waits for room in the mailbox: in
    /// the middle of a rush a pause must get through.
    pub(super) async fn change(&self, activity_id: ActivityId, operation: Operation) -> Answer {
        match self.entrance(activity_id) {
            Some(entrance) => self.wait(&entrance, 0, Question::Change(operation)).await,
            None => self.refuse(Reason::ActivityNotFound).answer().await,
        }
    }

    /// Waits until an activity's actor has started: a mailbox has its full size only then, and a burst of shoppers must
    /// not meet a smaller one.
    pub(super) async fn settle(&self, activity_id: ActivityId) {
        let Some(entrance) = self.entrance(activity_id).filter(|entrance| !entrance.door.has_left()) else { return };
        for part in 0..entrance.parts {
            let _sale = self.wait(&entrance, part, Question::Sale).await;
        }
    }

    /// Asks every part whether it is settled, then the home to leave; and if it does, puts the archive behind the door.
    /// `durable` says how far the journal is on disk. `true` where the activity has left.
    pub(super) async fn retire(&self, activity_id: ActivityId, retain_ms: u64, durable: impl Fn() -> Seq) -> bool {
        let Some(entrance) = self.entrance(activity_id) else { return false };
        let Behind::Hosts(hosts, first) = &entrance.behind else { return false };
        let (mut orders, mut settled) = (0, 1);
        while settled < entrance.parts {
            match self.wait(&entrance, settled, Question::Settled { retain_ms }).await {
                Answer::Settled(Some(there)) => (orders, settled) = (orders + there, settled + 1),
                _ => break,
            }
        }
        let all_are = settled == entrance.parts;
        let retired = match all_are {
            true => self.wait(&entrance, 0, Question::Retire { retain_ms, orders }).await,
            false => Answer::Settled(None),
        };
        let Answer::Retired { orders } = retired else {
            for part in 1..settled {
                let _told = self.wait(&entrance, part, Question::Stay).await;
            }
            return false;
        };
        let card = entrance.door.card();
        let (home, parts) = (entrance.home, entrance.parts);
        let lies = Lies { activity_id, home, parts, first: *first, last: durable(), orders };
        let door = Arc::new(Door::of_left(activity_id, Arc::clone(&card.definition), card.version));
        self.add(Entrance { activity_id, home, parts, door, behind: Behind::Archive(lies) });
        for (part, host) in (0..parts).zip(hosts) {
            // Past the mailbox's bound: a shard moves out once.
            host.do_send(MoveOut(home.shard(part)));
        }
        self.0.payments.forget(home.shard(0)..=home.shard(parts - 1));
        true
    }

    async fn wait(&self, entrance: &Entrance, part: u16, question: Question) -> Answer {
        let hosts = match &entrance.behind {
            Behind::Hosts(hosts, _) => hosts,
            Behind::Archive(lies) => {
                return self.0.archive.ask(*lies, entrance.home.shard(part), question).answer().await;
            }
        };
        let (reply, receiver) = oneshot::channel();
        let shard = entrance.home.shard(part);
        // Where the actor is gone the process is stopping; see `Asked::answer`.
        let _gone = hosts[usize::from(part)].send(Ask { shard, question, reply }).await;
        Asked::Later(receiver).answer().await
    }

    fn entrance(&self, activity_id: ActivityId) -> Option<Arc<Entrance>> {
        self.0.entrances.get(&activity_id).map(|entrance| Arc::clone(&entrance))
    }

    /// Asks the shard that gave an order id. `question` gets the order's number there.
    #[must_use]
    pub fn ask_of_order(&self, order_id: OrderId, question: impl FnOnce(u32) -> Question) -> Asked {
        if let Some(answer) = self.not_yet() {
            return answer;
        }
        let place = order_id.shard().and_then(|shard| Some((shard, self.0.shards.get(&shard)?)));
        match (place, order_id.sequence()) {
            (Some((shard, entrance)), Some(number)) => {
                self.send(&entrance, entrance.home.number_of(shard), question(number))
            }
            _ => self.refuse(Refusal::OrderNotFound.into()),
        }
    }

    fn not_yet(&self) -> Option<Asked> {
        (self.0.readiness.stage() == Stage::Recovering)
            .then(|| self.refuse(Reason::Unavailable(Unavailable::Recovering)))
    }

    fn refused_at_door(&self, entrance: &Entrance, is_sold_out: impl Fn(&Card, UnixMillis) -> bool) -> Option<Asked> {
        let (at_ms, shard) = (self.now_ms(), entrance.home.home);
        let refusal = refusal_at_door(&entrance.door, is_sold_out, at_ms)?;
        Some(Asked::Now(Answer::Refused(Refused { reason: refusal.into(), at_ms, shard })))
    }

    fn send(&self, entrance: &Entrance, part: u16, question: Question) -> Asked {
        let shard = entrance.home.shard(part);
        let hosts = match &entrance.behind {
            Behind::Hosts(hosts, _) => hosts,
            Behind::Archive(lies) => return self.0.archive.ask(*lies, shard, question),
        };
        let (reply, receiver) = oneshot::channel();
        match hosts[usize::from(part)].try_send(Ask { shard, question, reply }) {
            Ok(()) => Asked::Later(receiver),
            Err(SendError::Full(_)) => self.refuse(Reason::Unavailable(Unavailable::Overloaded)),
            // The actor is gone because the process is stopping; see `Asked::answer`.
            Err(SendError::Closed(_)) => Asked::Later(receiver),
        }
    }

    fn refuse(&self, reason: Reason) -> Asked {
        Asked::Now(Answer::Refused(Refused { reason, at_ms: self.now_ms(), shard: ShardId(0) }))
    }
}

/// The refusal that needs no actor.
fn refusal_at_door(door: &Door, is_sold_out: impl Fn(&Card, UnixMillis) -> bool, at_ms: UnixMillis) -> Option<Refusal> {
    let card = door.card();
    let (refusal, count) = match card.phase(at_ms) {
        Phase::Scheduled => {
            let starts_at_ms = card.definition.next_start_ms(at_ms);
            (Refusal::NotStarted { starts_at_ms }, &door.refused.not_started)
        }
        Phase::Ended => (Refusal::Ended, &door.refused.ended),
        Phase::Running if door.is_current(at_ms) && is_sold_out(&card, at_ms) => {
            (Refusal::SoldOut, &door.refused.sold_out)
        }
        Phase::Running | Phase::Paused => return None,
    };
    count.fetch_add(1, Ordering::Relaxed);
    Some(refusal)
}
