//! Puts the actors of a process together: recovered shards on their arbiters, the router to them, the operator's desk.

use std::sync::Arc;

use actix::{Actor, Addr, Arbiter, ArbiterHandle};

use super::ack::Ack;
use super::archive::{Archive, History, Lies};
use super::catalog_source::CatalogSource;
use super::desk::Desk;
use super::door::Door;
use super::host::{Host, MoveIn, Shared, Siblings, Tenant};
use super::payment_index::PaymentIndex;
use super::readiness::Readiness;
use super::roll_forward::roll_forward;
use super::router::{Behind, Entrance, Router, Whose};
use super::shard::Shard;
use super::shipped::Shipped;
use super::suspense::SuspenseAccount;
use crate::clock::Clock;
use crate::domain::sales::Retired;
use crate::domain::{Sale, Sales};
use crate::ids::{ActivityId, Seq};
use crate::persist::Handle;
use crate::persist::mysql::Target;

/// What a process's actors need.
pub struct Settings {
    /// The way to the journal's writer.
    pub journal: Handle<Ack>,
    /// The process clock.
    pub clock: Clock,
    /// What `/readyz` tells.
    pub readiness: Readiness,
    /// Reads the journal while it is written, for activities that have left memory.
    pub history: History,
    /// Where orders are shipped to and what is known of it; `None` where the journal is the only store.
    pub mysql: Option<(Target, Shipped)>,
    /// Where the catalogue is read from.
    pub catalog: CatalogSource,
    /// Messages that may wait for one shard.
    pub mailbox: usize,
    /// The threads that the actors run on.
    pub threads: Threads,
}

/// The threads that actors run on.
pub enum Threads {
    /// Of their own: so many for busy shards, and one more for small activities.
    Own(usize),
    /// Others', such as those that serve HTTP: where cores are few, a thread more is a switch more for each question.
    Shared(Vec<ArbiterHandle>),
}

impl Threads {
    /// Starts those that are its own; gives the handles for busy shards, and the one for small activities.
    fn start(self) -> (Vec<Arbiter>, Vec<ArbiterHandle>, ArbiterHandle) {
        match self {
            Self::Shared(handles) if !handles.is_empty() => {
                let for_small = handles.last().expect("there is one at least").clone();
                (Vec::new(), handles, for_small)
            }
            Self::Own(_) | Self::Shared(_) => {
                let busy = if let Self::Own(busy) = self { busy.max(1) } else { 1 };
                let arbiters: Vec<Arbiter> = (0..=busy).map(|_| Arbiter::new()).collect();
                let mut handles: Vec<ArbiterHandle> = arbiters.iter().map(Arbiter::handle).collect();
                let for_small = handles.pop().expect("there is one more than busy ones");
                (arbiters, handles, for_small)
            }
        }
    }
}

/// The actors of a process.
pub struct House {
    /// The way to every shard.
    pub router: Router,
    /// Where operators' changes are made.
    pub desk: Desk,
    arbiters: Vec<Arbiter>,
}

/// Finds each shard its host: parts of one sale and large sales get hosts of their own, on arbiters that small
/// activities do not use; those share a host on an arbiter of theirs.
pub(super) struct Nursery {
    shared: Shared,
    router: Router,
    arbiters: Vec<ArbiterHandle>,
    started: usize,
    shared_host: Addr<Host>,
    payments: PaymentIndex,
}

/// Units below which an activity of one shard is small: it is over before it could hold up its neighbours.
const SMALL_UNITS: u64 = 1_000;

impl Nursery {
    /// Starts an activity, given by all its parts in their order, and shows its door.
    /// `first` is an event that the journal had before the activity's first. Rounds of red packets are split first, unless
    /// that was done: no grab waits for it.
    pub fn start(&mut self, mut parts: Vec<Sale>, first: Seq) {
        if let Some((home, others)) = parts.split_first_mut() {
            others.iter_mut().for_each(|part| part.share_plans(home));
            home.split_rounds();
        }
        let home = parts.first().expect("an activity has a home");
        let (activity_id, part, count) = (home.activity_id(), home.part(), parts.len());
        let door = Arc::new(Door::new(home));
        let units: u64 = home.definition().skus.iter().map(|sku| u64::from(sku.stock.0)).sum();
        let is_small = count == 1 && units < SMALL_UNITS;
        // All show their free units before any is asked: a part that is not counted would look sold out.
        let shards: Vec<Shard> =
            parts.into_iter().map(|sale| Shard::new(sale, Arc::clone(&door), self.payments.clone())).collect();
        let siblings = Siblings::default();
        let hosts: Vec<Addr<Host>> =
            shards.iter().map(|_| if is_small { self.shared_host.clone() } else { self.host() }).collect();
        if count > 1 {
            siblings.get_or_init(|| hosts.clone());
        }
        // The home comes last: it may write to the others at once, where a round is over that was not ended.
        for (shard, host) in shards.into_iter().zip(&hosts).rev() {
            // Past the mailbox's bound: a shard moves in once.
            host.do_send(MoveIn(Tenant::new(shard, Arc::clone(&siblings))));
        }
        let parts = u16::try_from(count).expect("an activity has a u16 of parts");
        self.router.add(Entrance { activity_id, home: part, parts, door, behind: Behind::Hosts(hosts, first) });
    }

    pub fn journal(&self) -> &Handle<Ack> {
        &self.shared.journal
    }

    /// A host of its own, on the next arbiter.
    fn host(&mut self) -> Addr<Host> {
        let arbiter = &self.arbiters[self.started % self.arbiters.len()];
        self.started += 1;
        let host = Host::new(self.shared.clone());
        Host::start_in_arbiter(arbiter, |_| host)
    }
}

impl House {
    /// Starts every recovered shard; what a crash left half spread over the parts of an activity is carried on first. Runs inside an actix system; requests are refused with `recovering`
    /// until the caller says [`Readiness::ready`].
    #[must_use]
    pub fn open(settings: Settings, mut recovered: Sales) -> Self {
        let Settings { journal, clock, readiness, history, mysql, catalog, mailbox, threads } = settings;
        let (target, shipped) = mysql.unzip();
        let archive = Archive::open(history, clock.clone(), target);
        let shipping = shipped.clone().map(|shipped| (shipped, journal.clone()));
        let (arbiters, for_busy, for_small) = threads.start();
        let shared = Shared { journal, clock, readiness, shipped, mailbox };
        let shared_host = Host::new(shared.clone());
        let payments = PaymentIndex::of(&recovered);
        let suspense = SuspenseAccount::new(recovered.suspense().clone(), payments.clone(), shared.clone());
        let suspense = SuspenseAccount::start_in_arbiter(&for_small, |_| suspense);
        let router = Router::new(archive, &shared, shipping, payments.clone(), suspense);
        let mut nursery = Nursery {
            shared_host: Host::start_in_arbiter(&for_small, |_| shared_host),
            shared,
            router: router.clone(),
            arbiters: for_busy,
            started: 0,
            payments,
        };
        roll_forward(&mut recovered, nursery.journal(), router.now_ms());
        let desk = Desk::open(router.clone(), catalog, &recovered);
        for (activity_id, left) in recovered.retired() {
            router.add(left_before(*activity_id, left));
        }
        let first_seqs: Vec<Seq> = recovered.standing().values().map(|standing| standing.first).collect();
        for (parts, first) in recovered.into_activities().zip(first_seqs) {
            nursery.start(parts, first);
        }
        Self { router, desk: desk.with(nursery), arbiters }
    }

    /// Waits until every recovered shard has started.
    pub async fn settle(&self) {
        for listing in self.router.list(Whose::All, ActivityId(0), |_| true, usize::MAX) {
            self.router.settle(listing.activity_id).await;
        }
    }

    /// Stops the threads that are its own and waits for them: after this no actor submits anything. Shared ones are others'
    /// to stop, before this.
    pub fn close(self) {
        for arbiter in &self.arbiters {
            arbiter.stop();
        }
        for arbiter in self.arbiters {
            // An arbiter that panicked has aborted the process already; see `Shard`'s drop.
            drop(arbiter.join());
        }
    }
}

/// The entrance to an activity that left before this start.
fn left_before(activity_id: ActivityId, left: &Retired) -> Entrance {
    let (home, parts) = (left.home, left.definition.shards.max(1));
    let door = Arc::new(Door::of_left(activity_id, Arc::clone(&left.definition), left.version));
    let lies = Lies { activity_id, home, parts, first: left.first, last: left.last, orders: left.orders };
    Entrance { activity_id, home, parts, door, behind: Behind::Archive(lies) }
}
