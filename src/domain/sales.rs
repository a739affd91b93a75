//! All sales of a journal: the fold of its events, one after the other, through the same `apply` that ran live. Recovery,
//! checkpoints and the auditor stand on it.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::definition::Definition;
use super::event::{ActivityRetired, Entry, Event};
use super::part::Part;
use super::sale::Sale;
use super::suspense::Suspense;
use crate::ids::{ActivityId, KeyDigest, Seq, ShardId, UnixMillis};

/// The state that a journal gives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sales {
    pub(super) shards: BTreeMap<ShardId, Sale>,
    pub(super) standing: BTreeMap<ActivityId, Standing>,
    pub(super) retired: BTreeMap<ActivityId, Retired>,
    pub(super) suspense: Suspense,
    pub(super) last_shard: ShardId,
    pub(super) last_change_id: u64,
    pub(super) last_at_ms: UnixMillis,
}

/// Where an activity that is in memory stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Its first event.
    pub first: Seq,
    /// Its home.
    pub home: ShardId,
    /// Over how many shards it is spread.
    pub shards: u16,
}

/// What is remembered of an activity that has left memory: enough to list it, to know its orders' ids, and to find
/// everything else in the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retired {
    /// Its home, with the spread of its users.
    pub home: Part,
    /// What it was at its end.
    pub definition: Arc<Definition>,
    /// The definition's version.
    pub version: u64,
    /// Whether an operator closed it.
    pub closed: bool,
    /// Orders that were ever placed.
    pub orders: u64,
    /// Its first event.
    pub first: Seq,
    /// Its last event, by which it left.
    pub last: Seq,
    /// The payments that its shards own, each by the part and the digest of its id: an id is received once, for good.
    pub payments: Arc<[(u16, KeyDigest)]>,
}

/// An event that cannot follow on those before it. The journal is whole (its checksums hold) and still not one that
/// this binary could have written.
#[derive(Debug, thiserror::Error)]
#[error(
    "event {seq} of shard {shard} cannot follow on the events before it: {why}; \
     run `doorbuster audit`, and start a version that can read this journal"
)]
pub struct Unfit {
    /// The event.
    pub seq: Seq,
    /// Whose it is.
    pub shard: ShardId,
    /// What does not fit.
    pub why: String,
}

impl Sales {
    /// Takes one event in.
    ///
    /// # Errors
    /// [`Unfit`] where it cannot be true; the state is of no use then.
    pub fn take(&mut self, seq: Seq, entry: &Entry) -> Result<(), Unfit> {
        self.last_at_ms = self.last_at_ms.max(entry.at_ms);
        self.last_change_id = entry.event.change().map_or(0, |change| change.change_id).max(self.last_change_id);
        let unfit = |why: String| Unfit { seq, shard: entry.shard, why };
        if entry.shard == Suspense::SHARD {
            return asserted(|| self.suspense.apply(entry)).map_err(unfit);
        }
        let taken = match (self.shards.get_mut(&entry.shard), &entry.event) {
            (None, Event::ActivityDefined(_)) => self.define(seq, entry),
            (None, _) => return Err(unfit("the shard was never defined, or its activity has left".to_owned())),
            (Some(_), Event::SlotsMoved(_)) => self.take_move(entry),
            (Some(_), Event::ActivityRetired(event)) => self.retire(seq, entry.shard, event),
            // `apply` asserts what must be true; here a failed assertion is the journal's fault, not a bug of ours.
            (Some(sale), event) => asserted(|| sale.apply(entry.at_ms, event)),
        };
        if let Some(sale) = self.shards.get(&entry.shard) {
            self.last_change_id = self.last_change_id.max(sale.last_change_id());
        }
        taken.map_err(unfit)
    }

    fn define(&mut self, seq: Seq, entry: &Entry) -> Result<(), String> {
        let Event::ActivityDefined(event) = &entry.event else { unreachable!("only a definition defines") };
        if self.retired.contains_key(&event.activity_id) {
            return Err("its activity has left already".to_owned());
        }
        let part = event.part.unwrap_or_else(|| Part::sole(entry.shard));
        let shards = event.definition.shards;
        let fits = part.home <= ShardId::MAX && part.number < shards.max(1) && (event.part.is_some() || shards <= 1);
        if !fits || part.shard(part.number) != entry.shard {
            return Err(format!("part {} of {shards} from shard {} on", part.number, part.home));
        }
        let mut defined = None;
        asserted(|| defined = Some(Sale::define(entry.shard, event)))?;
        let sale = defined.expect("what was not defined has said why");
        let standing = Standing { first: seq, home: part.home, shards: shards.max(1) };
        let known = self.standing.entry(event.activity_id).or_insert(standing);
        if (known.home, known.shards) != (standing.home, standing.shards) {
            return Err(format!("the activity is at home in shard {} already", known.home));
        }
        // The numbers of all parts are taken from the first part's event on.
        self.last_shard = self.last_shard.max(part.shard(shards.saturating_sub(1)));
        self.shards.insert(entry.shard, sale);
        Ok(())
    }

    fn take_move(&mut self, entry: &Entry) -> Result<(), String> {
        let Event::SlotsMoved(event) = &entry.event else { unreachable!("only a move moves") };
        let of = |shard| self.shards.get(&shard).map(Sale::activity_id);
        if of(event.to) != of(entry.shard) || event.to == entry.shard {
            return Err(format!("slots move to shard {}, which is no other part of the activity", event.to));
        }
        let giver = self.shards.get_mut(&entry.shard).expect("it was just looked at");
        asserted(|| giver.apply(entry.at_ms, &entry.event))?;
        let taker = self.shards.get_mut(&event.to).expect("it was just looked at");
        asserted(|| taker.receive(event.sku, &event.slots))
    }

    fn retire(&mut self, seq: Seq, shard: ShardId, event: &ActivityRetired) -> Result<(), String> {
        let activity_id = self.shards[&shard].activity_id();
        let orders: u64 = self.parts(activity_id).map(|sale| u64::from(sale.orders_placed())).sum();
        let held = self.parts(activity_id).any(|sale| sale.next_deadline().is_some() || sale.owes());
        let keys = |sale: &Sale| sale.payments.keys().map(move |key| (sale.part().number, key)).collect::<Vec<_>>();
        let payments = self.parts(activity_id).flat_map(keys).collect();
        let home = &self.shards[&shard];
        if !home.part().is_home() || held || home.round_to_end().is_some() || orders != event.orders {
            return Err(format!("an activity with {orders} orders leaves with {}, or is not over", event.orders));
        }
        let standing = self.standing.remove(&activity_id).expect("an activity that is in memory stands somewhere");
        let retired = Retired {
            home: home.part(),
            definition: home.shared_definition(),
            version: home.version(),
            closed: home.is_closed(),
            orders,
            first: standing.first,
            last: seq,
            payments,
        };
        (0..standing.shards).for_each(|number| drop(self.shards.remove(&retired.home.shard(number))));
        self.retired.insert(activity_id, retired);
        Ok(())
    }

    /// A shard's state.
    #[must_use]
    pub fn get(&self, shard: ShardId) -> Option<&Sale> {
        self.shards.get(&shard)
    }

    /// Every shard's state, by number.
    pub fn iter(&self) -> impl Iterator<Item = &Sale> {
        self.shards.values()
    }

    /// The parts of an activity that are defined, by number.
    pub fn parts(&self, activity_id: ActivityId) -> impl Iterator<Item = &Sale> {
        let standing = self.standing.get(&activity_id).into_iter();
        standing
            .flat_map(|at| self.shards.range(at.home..ShardId(at.home.0 + u32::from(at.shards))))
            .map(|(_, sale)| sale)
    }

    /// The activities that are in memory.
    #[must_use]
    pub fn standing(&self) -> &BTreeMap<ActivityId, Standing> {
        &self.standing
    }

    /// The activities that have left memory.
    #[must_use]
    pub fn retired(&self) -> &BTreeMap<ActivityId, Retired> {
        &self.retired
    }

    /// The payments that no order in memory answers for.
    #[must_use]
    pub fn suspense(&self) -> &Suspense {
        &self.suspense
    }

    /// Every payment's owner: its shard, or the suspense account, by the digest of its id.
    pub fn payment_owners(&self) -> impl Iterator<Item = (KeyDigest, ShardId)> + '_ {
        let suspended = self.suspense.payments.keys().map(|key| (key, Suspense::SHARD));
        let standing = self.shards.values().flat_map(|sale| sale.payments.keys().map(|key| (key, sale.shard())));
        let left = self
            .retired
            .values()
            .flat_map(|left| left.payments.iter().map(|(part, key)| (*key, left.home.shard(*part))));
        suspended.chain(standing).chain(left)
    }

    /// The highest shard number that was ever given, those of parts that are still to be defined included.
    #[must_use]
    pub fn last_shard(&self) -> ShardId {
        self.last_shard
    }

    /// The highest change id that was ever given.
    #[must_use]
    pub fn last_change_id(&self) -> u64 {
        self.last_change_id
    }

    /// The latest instant in the journal: the process clock starts no earlier.
    #[must_use]
    pub fn last_at_ms(&self) -> UnixMillis {
        self.last_at_ms
    }

    /// Takes the activities out, each as its parts in their order.
    pub fn into_activities(mut self) -> impl Iterator<Item = Vec<Sale>> {
        self.standing.into_values().map(move |at| {
            let ids = at.home.0..at.home.0 + u32::from(at.shards);
            let mut parts: Vec<Sale> = ids.filter_map(|id| self.shards.remove(&ShardId(id))).collect();
            if let Some((home, others)) = parts.split_first_mut() {
                others.iter_mut().for_each(|part| part.share_plans(home));
            }
            parts
        })
    }
}

/// Runs what asserts; what a failed assertion says is the error.
fn asserted(apply: impl FnOnce()) -> Result<(), String> {
    catch_unwind(AssertUnwindSafe(apply)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        text.unwrap_or_else(|| "it does not apply".to_owned())
    })
}
