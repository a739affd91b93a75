//! The door of a shard: what the HTTP workers may know of a sale without asking its actor.
//!
//! The card (definition, pause, version) is shown only once it is durable. The counts of free units are shown at once:
//! `sold_out` is the one answer that may run ahead of the disk, and it is what losers get, at the price of one load.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use arc_swap::ArcSwap;

use crate::domain::{Definition, Phase};
use crate::ids::{ActivityId, ShardId, SkuId, UnixMillis};

/// What stands before a shard's actor.
pub(super) struct Door {
    pub activity_id: ActivityId,
    pub shard: ShardId,
    card: ArcSwap<Card>,
    /// When the next hold runs out; the end of time where none is held. From then on the counts are out of date.
    next_deadline_ms: AtomicU64,
    /// Refusals that were given here, at the door.
    pub refused: DoorRefusals,
}

/// What a sale is, as far as it is durable.
#[derive(Clone, Debug)]
pub(super) struct Card {
    pub definition: Arc<Definition>,
    pub version: u64,
    pub paused: bool,
    pub closed: bool,
    /// The listed SKUs with the live count of each one's free units.
    pub skus: Vec<(SkuId, Arc<AtomicU32>)>,
}

/// Refusals counted where they were given.
#[derive(Default)]
pub(super) struct DoorRefusals {
    pub sold_out: AtomicU64,
    pub not_started: AtomicU64,
    pub ended: AtomicU64,
}

impl Door {
    pub fn new(activity_id: ActivityId, shard: ShardId, card: Card) -> Self {
        // Until its actor has started, everything goes to the actor.
        let next_deadline_ms = AtomicU64::new(0);
        Self {
            activity_id,
            shard,
            card: ArcSwap::from_pointee(card),
            next_deadline_ms,
            refused: DoorRefusals::default(),
        }
    }

    /// Shows when the next hold runs out.
    pub fn show_deadline(&self, next: Option<UnixMillis>) {
        self.next_deadline_ms.store(next.map_or(u64::MAX, |next| next.0), Ordering::SeqCst);
    }

    /// Whether the counts of free units are those of this instant: no hold has run out that is not released yet.
    pub fn is_current(&self, now_ms: UnixMillis) -> bool {
        now_ms.0 < self.next_deadline_ms.load(Ordering::SeqCst)
    }

    pub fn card(&self) -> arc_swap::Guard<Arc<Card>> {
        self.card.load()
    }

    pub fn publish(&self, card: Arc<Card>) {
        self.card.store(card);
    }
}

impl Card {
    /// What the sale is doing, as far as it is durable.
    pub fn phase(&self, now_ms: UnixMillis) -> Phase {
        Phase::at(now_ms, &self.definition, self.paused, self.closed)
    }

    /// Whether fewer than `quantity` units of a listed SKU are free at this instant.
    pub fn is_sold_out(&self, sku_id: &SkuId, quantity: i64) -> bool {
        let may_be_held = (1..=i64::from(self.definition.quantity_max())).contains(&quantity);
        let free = self.skus.iter().find(|(known, _)| known == sku_id).map(|(_, free)| free.load(Ordering::SeqCst));
        may_be_held && free.is_some_and(|free| i64::from(free) < quantity)
    }
}
