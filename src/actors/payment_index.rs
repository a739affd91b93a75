//! Whose each payment is. A payment id has one owner over the whole process: the shard of the order that it named first,
//! or the suspense account. The owner claims the id in the turn in which it records the payment; whoever comes with the
//! same id later is sent to the owner, who knows what was recorded. So two orders in two shards, or a hundred deliveries
//! at once, have one effect.
//!
//! It also lists what is owed back and what was paid back, for operators.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dashmap::DashMap;

use crate::domain::event::Outcome;
use crate::domain::payment::payment_key;
use crate::domain::{Event, PaymentState, PaymentView, Sales};
use crate::ids::{KeyDigest, ShardId};

/// A payment's place: its owner, and its number there.
pub(super) type Place = (ShardId, u32);

/// See the file's head. Cheap to clone; all clones are the same.
#[derive(Clone, Default)]
pub(super) struct PaymentIndex(Arc<Inner>);

#[derive(Default)]
struct Inner {
    owners: DashMap<KeyDigest, ShardId>,
    refunds: Mutex<Refunds>,
}

/// Payments that are, or were, owed back, of activities in memory and of the suspense account.
#[derive(Default)]
struct Refunds {
    due: BTreeSet<Place>,
    done: BTreeSet<Place>,
}

impl PaymentIndex {
    /// What a journal's state knows.
    pub fn of(sales: &Sales) -> Self {
        let index = Self::default();
        sales.payment_owners().for_each(|(key, owner)| _ = index.0.owners.insert(key, owner));
        let suspense = sales.suspense().payments_from(1).map(|payment| (ShardId(0), payment));
        let shards = sales.iter().flat_map(|sale| sale.payments_from(1).map(|payment| (sale.shard(), payment)));
        for (owner, payment) in suspense.chain(shards) {
            index.refunds().enter((owner, payment.number), &payment);
        }
        index
    }

    /// Who owns a payment, if it was received.
    pub fn owner(&self, payment_id: &str) -> Option<ShardId> {
        self.0.owners.get(&payment_key(payment_id)).map(|owner| *owner)
    }

    /// Makes `owner` the owner of a payment that it is about to record.
    ///
    /// # Errors
    /// The owner that the payment has already.
    pub fn claim(&self, payment_id: &str, owner: ShardId) -> Result<(), ShardId> {
        let claimed = *self.0.owners.entry(payment_key(payment_id)).or_insert(owner);
        if claimed == owner { Ok(()) } else { Err(claimed) }
    }

    /// Notes what an event of an owner did to what is owed back.
    pub fn note(&self, owner: ShardId, event: &Event) {
        match event {
            Event::PaymentReceived(event) if matches!(event.outcome, Outcome::Due(_)) => {
                self.refunds().due.insert((owner, event.payment));
            }
            Event::PaymentSuspended(event) => _ = self.refunds().due.insert((owner, event.payment)),
            Event::OrderRefunded(event) => _ = self.refunds().due.insert((owner, event.payment)),
            Event::RefundDone(event) => {
                let mut refunds = self.refunds();
                refunds.due.remove(&(owner, event.payment));
                refunds.done.insert((owner, event.payment));
            }
            _ => {}
        }
    }

    /// Up to `limit` of them after a place: those owed back, those paid back, or both.
    pub fn refunds_after(&self, after: Place, state: Option<PaymentState>, limit: usize) -> Vec<Place> {
        let refunds = self.refunds();
        let after = (std::ops::Bound::Excluded(after), std::ops::Bound::Unbounded);
        let due = refunds.due.range(after).take(limit).filter(|_| state != Some(PaymentState::Refunded));
        let done = refunds.done.range(after).take(limit).filter(|_| state != Some(PaymentState::RefundDue));
        let mut places: Vec<Place> = due.chain(done).copied().collect();
        places.sort_unstable();
        places.truncate(limit);
        places
    }

    /// How many are owed back.
    pub fn due(&self) -> usize {
        self.refunds().due.len()
    }

    /// An activity has left memory: what it paid back is told by the journal and MySQL. Nothing of it is owed.
    pub fn forget(&self, shards: RangeInclusive<ShardId>) {
        self.refunds().done.retain(|(owner, _)| !shards.contains(owner));
    }

    fn refunds(&self) -> MutexGuard<'_, Refunds> {
        self.0.refunds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Refunds {
    fn enter(&mut self, place: Place, payment: &PaymentView) {
        match payment.state {
            PaymentState::Applied => {}
            PaymentState::RefundDue => _ = self.due.insert(place),
            PaymentState::Refunded => _ = self.done.insert(place),
        }
    }
}
