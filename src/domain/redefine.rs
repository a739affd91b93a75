//! Changing what a sale is, while it runs: what may change, what may not, and what it does to the stock. It never
//! touches what is held or sold.

use std::sync::Arc;

use smallvec::smallvec;

use super::command::{AddStock, Decision, Redefine, Source};
use super::definition::{Definition, SKUS_MAX, STOCK_MAX, SkuDefinition};
use super::event::{ActivityRedefined, Event, STOCK_RANGES_MAX, StockChange};
use super::merge::merge;
use super::refusal::Refusal;
use super::sale::{Sale, Sku};
use super::slots::Slots;
use crate::ids::{SkuId, SkuIndex, UnixMillis};

/// SKUs that an activity may have had in its life, those taken off included.
const SKUS_EVER_MAX: usize = 2_000;

impl Sale {
    pub(super) fn redefine(&self, command: &Redefine, now_ms: UnixMillis) -> Result<Decision, Refusal> {
        if self.replay_of_change(command.request.by, command.request.key)? {
            return Ok(Decision::replayed());
        }
        if command.if_version.is_some_and(|version| version != self.version) {
            return Err(Refusal::VersionConflict { version: self.version });
        }
        let (definition, catalog) = match command.from {
            Source::Put => (command.definition.clone(), None),
            Source::Catalog => {
                let merged = merge(&self.definition, self.catalog.as_deref(), &command.definition)
                    .map_err(|sku| self.stock_too_low(sku))?;
                let is_news = self.catalog.as_deref() != Some(&command.definition);
                (merged, is_news.then(|| command.definition.clone()))
            }
        };
        let definition = self.with_shop(definition);
        // What splits as it did keeps its chance and its packets.
        let last_slot = |round: usize| self.skus.get(round).map_or(0, |sku| sku.last_slot);
        let definition = definition.planned(Some(&self.definition), &command.seeds, last_slot);
        if definition == *self.definition && (catalog.is_none() || self.closed) {
            return Ok(Decision::stands(&command.request));
        }
        if self.closed {
            return Err(Refusal::ActivityClosed);
        }
        check_bounds(&definition)?;
        self.check_may_change(&definition, now_ms)?;
        self.check_rounds(&definition, now_ms)?;
        let stock = match definition.packets {
            None => self.stock_changes(&definition)?,
            Some(_) => self.round_changes(&definition)?,
        };
        let change = command.request.change();
        let event = ActivityRedefined { version: self.version + 1, definition, catalog, stock, change };
        Ok(Decision::events(smallvec![Event::ActivityRedefined(Box::new(event))]))
    }

    pub(super) fn add_stock(&self, command: &AddStock) -> Result<Decision, Refusal> {
        if self.replay_of_change(command.request.by, command.request.key)? {
            return Ok(Decision::replayed());
        }
        let mut definition = self.definition().clone();
        if definition.packets.is_some() {
            return Err(Refusal::SkuNotFound);
        }
        let sku = definition.skus.iter_mut().find(|sku| sku.sku_id == command.sku).ok_or(Refusal::SkuNotFound)?;
        let max = STOCK_MAX - sku.stock.0;
        let add = u32::try_from(command.add)
            .ok()
            .filter(|add| (1..=max).contains(add))
            .ok_or(Refusal::InvalidQuantity { max })?;
        if self.closed {
            return Err(Refusal::ActivityClosed);
        }
        sku.stock.0 += add;
        let stock = self.stock_changes(&definition)?;
        let change = command.request.change();
        let event = ActivityRedefined { version: self.version + 1, definition, catalog: None, stock, change };
        Ok(Decision::events(smallvec![Event::ActivityRedefined(Box::new(event))]))
    }

    /// Whose red packets are does not change: what people write does not say it.
    fn with_shop(&self, mut definition: Definition) -> Definition {
        let shop = self.definition.shop().cloned();
        if let Some(packets) = definition.packets.as_deref_mut() {
            packets.shop = shop;
        }
        definition
    }

    fn check_may_change(&self, new: &Definition, now_ms: UnixMillis) -> Result<(), Refusal> {
        let old = &self.definition;
        let window_is_past = now_ms >= old.ends_at_ms;
        let changed = [
            ("shards", old.shards != new.shards),
            ("currency", old.currency != new.currency),
            ("starts_at", window_is_past && old.starts_at_ms != new.starts_at_ms),
            ("ends_at", window_is_past && old.ends_at_ms != new.ends_at_ms),
        ];
        match changed.into_iter().find(|(_, differs)| *differs) {
            Some((field, _)) => Err(Refusal::ImmutableField { field: field.to_owned() }),
            None => Ok(()),
        }
    }

    /// The refusal to lower the stock of `sku` by more than it has free.
    fn stock_too_low(&self, sku: SkuId) -> Refusal {
        let known = self.find_sku(&sku).map(|(_, known)| largest_reduction(known, STOCK_RANGES_MAX));
        Refusal::StockTooLow { sku, largest_reduction: known.unwrap_or(0) }
    }

    /// What must happen to each SKU's slots so that the new definition's totals stand. Where the activity has several
    /// parts, what is free must have been gathered here before: what is elsewhere counts as held.
    fn stock_changes(&self, new: &Definition) -> Result<Vec<StockChange>, Refusal> {
        let mut changes = Vec::new();
        let mut ranges = 0;
        let listed = self.skus.iter().enumerate().filter(|(_, sku)| sku.listed);
        for (index, sku) in listed {
            let taken_off = new.sku(&sku.sku_id).is_none();
            if taken_off && sku.free.count() < self.stock_of(&sku.sku_id) {
                return Err(Refusal::ImmutableField { field: format!("skus.{}", sku.sku_id) });
            }
            if taken_off && sku.free.count() > 0 {
                changes.push(removed(index, sku, sku.free.count(), &mut ranges)?);
            }
        }
        let mut next_index = self.skus.len();
        for sku in &new.skus {
            let place = self.skus.iter().position(|known| known.sku_id == sku.sku_id);
            let index = place.unwrap_or_else(|| {
                next_index += 1;
                next_index - 1
            });
            let known = place.map(|place| (&self.skus[place], self.stock_of(&sku.sku_id)));
            if let Some(change) = stock_change(index, known, sku, &mut ranges)? {
                changes.push(change);
            }
        }
        if next_index > SKUS_EVER_MAX {
            return Err(Refusal::TooLarge { what: "an activity's SKUs, those taken off included: at most 2000" });
        }
        Ok(changes)
    }

    /// All units of a SKU, wherever they are; none where it is not listed.
    fn stock_of(&self, sku_id: &SkuId) -> u32 {
        self.definition.sku(sku_id).map_or(0, |sku| sku.stock.0)
    }

    pub(super) fn apply_redefined(&mut self, event: &ActivityRedefined) {
        assert_eq!(event.version, self.version + 1, "a definition's versions have no gap");
        assert!(self.part.is_home(), "U4: an activity is changed at its home");
        self.version = event.version;
        self.list_skus(&event.definition);
        self.take_rounds(&event.definition);
        if let Some(catalog) = &event.catalog {
            self.catalog = Some(Arc::new(catalog.clone()));
        }
        for change in &event.stock {
            self.apply_stock_change(change);
        }
        for (sku, counted) in event.definition.skus.iter().zip(self.counts()) {
            let whole = event.definition.shards > 1 || sku.stock == counted.stock;
            assert!(whole, "S1: the stock of SKU {} is all its units", sku.sku_id);
        }
        self.remember(&event.change);
    }

    /// Takes a definition over: its SKUs are listed and have its prices, others are not listed any more.
    pub(super) fn list_skus(&mut self, definition: &Definition) {
        self.definition = Arc::new(definition.clone());
        for sku in &mut self.skus {
            sku.listed = false;
        }
        for sku in &definition.skus {
            match self.skus.iter_mut().find(|known| known.sku_id == sku.sku_id) {
                Some(known) => {
                    known.listed = true;
                    known.price_cents = sku.price_cents;
                }
                None => {
                    let fresh = Sku::unlisted(sku.sku_id.clone());
                    self.skus.push(Sku { price_cents: sku.price_cents, listed: true, ..fresh });
                }
            }
        }
    }

    fn apply_stock_change(&mut self, change: &StockChange) {
        match change {
            StockChange::Added { sku, slots } => {
                let sku = self.sku_mut(*sku);
                for range in slots.ranges() {
                    assert!(range.first > sku.last_slot, "S2: a slot's number is given once");
                    sku.last_slot = range.last();
                }
                sku.free.add(slots);
            }
            StockChange::Removed { sku, slots } => self.sku_mut(*sku).free.remove(slots),
        }
    }
}

/// Two sound definitions can merge into one that is not.
fn check_bounds(merged: &Definition) -> Result<(), Refusal> {
    let too_large = [
        (merged.skus.is_empty(), "an activity's SKUs: at least 1"),
        (merged.skus.len() > SKUS_MAX, "an activity's SKUs: at most 200"),
        (merged.skus.iter().any(|sku| sku.stock.0 > STOCK_MAX), "a SKU's stock: at most 100,000,000"),
        (merged.starts_at_ms >= merged.ends_at_ms, "starts_at: before ends_at"),
    ];
    match too_large.into_iter().find(|(is_so, _)| *is_so) {
        Some((_, what)) => Err(Refusal::TooLarge { what }),
        None => Ok(()),
    }
}

fn stock_change(
    index: usize,
    known: Option<(&Sku, u32)>,
    wanted: &SkuDefinition,
    ranges: &mut usize,
) -> Result<Option<StockChange>, Refusal> {
    let (stock, last_slot) = known.map_or((0, 0), |(sku, stock)| (stock, sku.last_slot));
    if wanted.stock.0 > stock {
        let count = wanted.stock.0 - stock;
        last_slot.checked_add(count).ok_or(Refusal::TooLarge { what: "a SKU's slots over its life: below 2^32" })?;
        let slots = Slots::range(last_slot + 1, count);
        return Ok(Some(StockChange::Added { sku: sku_index(index), slots }));
    }
    match known {
        Some((sku, _)) if wanted.stock.0 < stock => removed(index, sku, stock - wanted.stock.0, ranges).map(Some),
        _ => Ok(None),
    }
}

/// Takes the highest free slots away, so that the lowest go on being sold first. One change names at most
/// [`STOCK_RANGES_MAX`] ranges, which bounds its event.
fn removed(index: usize, sku: &Sku, count: u32, ranges: &mut usize) -> Result<StockChange, Refusal> {
    let room = STOCK_RANGES_MAX - *ranges;
    let largest = largest_reduction(sku, room);
    let too_low = || Refusal::StockTooLow { sku: sku.sku_id.clone(), largest_reduction: largest };
    let slots = sku.free.highest(count).filter(|_| count <= largest).ok_or_else(too_low)?;
    *ranges += slots.ranges().len();
    Ok(StockChange::Removed { sku: sku_index(index), slots })
}

/// What can be taken away in one change that may still name `room` ranges.
fn largest_reduction(sku: &Sku, room: usize) -> u32 {
    sku.free.ranges().rev().take(room).map(|range| range.count).sum()
}

fn sku_index(place: usize) -> SkuIndex {
    SkuIndex(u16::try_from(place).expect("an activity never has more SKUs than SKUS_EVER_MAX"))
}
