//! The door of an activity: what the HTTP workers may know of a sale without asking its actors.
//!
//! The card (definition, pause, version) is shown only once it is durable. The counts of free units are shown at once:
//! `sold_out` is the one answer that may run ahead of the disk, and it is what losers get, at the price of one load.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use arc_swap::ArcSwap;

use super::units::Units;
use crate::domain::{Definition, Phase, Sale};
use crate::ids::{ActivityId, SkuId, UnixMillis};

/// What stands before an activity's actors.
pub(super) struct Door {
    pub activity_id: ActivityId,
    card: ArcSwap<Card>,
    /// Every SKU that the activity has or had, by index.
    units: RwLock<Vec<Arc<Units>>>,
    /// By part, when the next hold runs out; the end of time where none is held. From then on the counts are out of date.
    next_deadlines_ms: Box<[AtomicU64]>,
    /// By part, whether money is owed back there.
    owes: Box<[AtomicBool]>,
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
    /// The first instant at which no order is taken any more.
    pub ended_at_ms: UnixMillis,
    /// The listed SKUs with the live counts of each one's free units.
    pub skus: Vec<(SkuId, Arc<Units>)>,
}

/// Refusals counted where they were given.
#[derive(Default)]
pub(super) struct DoorRefusals {
    pub sold_out: AtomicU64,
    pub not_started: AtomicU64,
    pub ended: AtomicU64,
}

impl Door {
    /// The door of the activity whose home this is. No unit is free until the parts show theirs.
    pub fn new(home: &Sale) -> Self {
        let parts = home.definition().shards.max(1);
        let units: Vec<_> = home.sku_ids().map(|_| Arc::new(Units::new(parts))).collect();
        let card = Card::new(home, &units);
        Self {
            activity_id: home.activity_id(),
            card: ArcSwap::from_pointee(card),
            units: RwLock::new(units),
            // Until its actor has started, everything goes to the actor.
            next_deadlines_ms: (0..parts).map(|_| AtomicU64::new(0)).collect(),
            owes: (0..parts).map(|_| AtomicBool::new(false)).collect(),
            refused: DoorRefusals::default(),
        }
    }

    /// The door of an activity that has left memory: it is over, and nothing is for sale behind it.
    pub fn of_left(activity_id: ActivityId, definition: Arc<Definition>, version: u64) -> Self {
        let ended_at_ms = definition.ends_at_ms;
        let card = Card { definition, version, paused: false, closed: true, ended_at_ms, skus: Vec::new() };
        Self {
            activity_id,
            card: ArcSwap::from_pointee(card),
            units: RwLock::default(),
            next_deadlines_ms: Box::default(),
            owes: Box::default(),
            refused: DoorRefusals::default(),
        }
    }

    /// Whether the activity has left memory.
    pub fn has_left(&self) -> bool {
        self.next_deadlines_ms.is_empty()
    }

    /// Whether nothing is left to do behind it, `retain_ms` after the end: so it seems from here.
    pub fn seems_settled(&self, now_ms: UnixMillis, retain_ms: u64) -> bool {
        let holds_nothing = || self.next_deadlines_ms.iter().all(|at| at.load(Ordering::SeqCst) == u64::MAX);
        let owes_nothing = || !self.owes.iter().any(|owes| owes.load(Ordering::Relaxed));
        let is_over = now_ms >= self.card().ended_at_ms.plus_ms(retain_ms);
        !self.has_left() && is_over && holds_nothing() && owes_nothing()
    }

    /// Over how many parts the activity is spread, while it is in memory.
    pub fn parts(&self) -> u16 {
        u16::try_from(self.next_deadlines_ms.len()).expect("an activity has a u16 of parts")
    }

    /// The counts of free units by SKU index, for `skus` SKUs: those that are new begin at none.
    pub fn units(&self, skus: usize) -> Vec<Arc<Units>> {
        let mut units = self.units.write().unwrap_or_else(PoisonError::into_inner);
        while units.len() < skus {
            units.push(Arc::new(Units::new(self.parts())));
        }
        units[..skus].to_vec()
    }

    /// Shows when the next hold of a part runs out.
    pub fn show_deadline(&self, part: u16, next: Option<UnixMillis>) {
        self.next_deadlines_ms[usize::from(part)].store(next.map_or(u64::MAX, |next| next.0), Ordering::SeqCst);
    }

    /// Shows whether a part owes money back.
    pub fn show_debt(&self, part: u16, owes: bool) {
        self.owes[usize::from(part)].store(owes, Ordering::Relaxed);
    }

    /// Whether a part's counts of free units are those of this instant: it has no hold that ran out and is not released.
    pub fn is_part_current(&self, part: u16, now_ms: UnixMillis) -> bool {
        now_ms.0 < self.next_deadlines_ms[usize::from(part)].load(Ordering::SeqCst)
    }

    /// Whether all counts of free units are those of this instant.
    pub fn is_current(&self, now_ms: UnixMillis) -> bool {
        (0..self.parts()).all(|part| self.is_part_current(part, now_ms))
    }

    pub fn card(&self) -> arc_swap::Guard<Arc<Card>> {
        self.card.load()
    }

    pub fn publish(&self, card: Arc<Card>) {
        self.card.store(card);
    }
}

impl Card {
    /// What the home says of the sale; `units` by SKU index.
    pub fn new(home: &Sale, units: &[Arc<Units>]) -> Self {
        let listed = home.sku_ids().filter(|(_, _, listed)| *listed);
        Self {
            definition: home.shared_definition(),
            version: home.version(),
            paused: home.is_paused(),
            closed: home.is_closed(),
            ended_at_ms: home.ended_at_ms(),
            skus: listed.map(|(index, sku_id, _)| (sku_id.clone(), Arc::clone(&units[usize::from(index.0)]))).collect(),
        }
    }

    /// What the sale is doing, as far as it is durable.
    pub fn phase(&self, now_ms: UnixMillis) -> Phase {
        Phase::at(now_ms, &self.definition, self.paused, self.closed)
    }

    /// Whether no packet of the round that runs is free at this instant.
    pub fn is_round_sold_out(&self, now_ms: UnixMillis) -> bool {
        // What counts a round's packets stands in its place.
        let units = self.definition.round_at(now_ms).and_then(|round| self.skus.get(round));
        units.is_some_and(|(_, units)| units.all() == 0)
    }

    /// Whether fewer than `quantity` units of a listed SKU are free at this instant.
    pub fn is_sold_out(&self, sku_id: &SkuId, quantity: i64) -> bool {
        let may_be_held = (1..=i64::from(self.definition.quantity_max())).contains(&quantity);
        let free = self.skus.iter().find(|(known, _)| known == sku_id).map(|(_, units)| units.all());
        may_be_held && free.is_some_and(|free| i64::from(free) < quantity)
    }
}
