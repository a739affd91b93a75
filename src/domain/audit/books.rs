//! One shard's books: who has which slot, what each user has, what each hold became. Written from the events alone,
//! without the sale's own rules, so that a fault in those shows as a difference.
//!
//! The sale keeps the slots that are free; the books keep those that are not, and count the rest. Their size therefore
//! follows the orders, not the stock.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;

use super::report::{Id, Report};
use crate::domain::definition::Definition;
use crate::domain::event::{ActivityDefined, ActivityRedefined, Entry, Event, OrderPlaced, StockChange, Switch};
use crate::domain::order::OrderState;
use crate::domain::sale::Sale;
use crate::domain::slots::{FreeSlots, SlotRange, Slots};
use crate::ids::{KeyDigest, Seq, SkuId, UnixMillis, UserId};

/// A SKU's units. `initial + added - removed = free + held + sold`; nothing is sold before payments exist.
#[derive(Default)]
struct SkuBook {
    initial: u64,
    added: u64,
    removed: u64,
    free: u64,
    held: u64,
    /// The slots ever given out, as ascending ranges.
    given: Vec<SlotRange>,
    /// The slots taken away for good: each range's last by its first.
    gone: BTreeMap<u32, u32>,
    /// The order that has a slot. What was given, is not gone and is not here is free.
    holder: FxHashMap<u32, u32>,
}

struct OrderBook {
    user: UserId,
    sku: usize,
    slots: Slots,
    expires_at_ms: UnixMillis,
    state: OrderState,
}

pub(super) struct Books {
    version: u64,
    definition: Definition,
    names: Vec<SkuId>,
    skus: Vec<SkuBook>,
    orders: Vec<OrderBook>,
    units_of_user: FxHashMap<UserId, u64>,
    keys: FxHashMap<(UserId, KeyDigest), u32>,
    paused: bool,
    closed: bool,
    last_at_ms: UnixMillis,
    faulty: bool,
}

impl Books {
    pub fn open(seq: Seq, event: &ActivityDefined, at_ms: UnixMillis, report: &mut Report) -> Self {
        let mut books = Self {
            version: 1,
            definition: event.definition.clone(),
            names: Vec::new(),
            skus: Vec::new(),
            orders: Vec::new(),
            units_of_user: FxHashMap::default(),
            keys: FxHashMap::default(),
            paused: false,
            closed: false,
            last_at_ms: at_ms,
            faulty: false,
        };
        for sku in &event.definition.skus {
            let once = !books.names.contains(&sku.sku_id);
            report.check(Id::S1, once, || format!("event {seq}: SKU {} is defined twice", sku.sku_id));
            books.faulty |= !once;
            books.names.push(sku.sku_id.clone());
            let mut book = SkuBook::default();
            book.give(&Slots::range(1, sku.stock.0));
            (book.initial, book.added) = (book.added, 0);
            books.skus.push(book);
        }
        books
    }

    /// Whether an event of this shard could not be true, so that its later ones cannot be judged.
    pub fn is_faulty(&self) -> bool {
        self.faulty
    }

    /// Enters one event; `false` where it cannot be true.
    pub fn post(&mut self, seq: Seq, entry: &Entry, report: &mut Report) -> bool {
        let at_ms = entry.at_ms;
        report.check(Id::J5, at_ms >= self.last_at_ms, || {
            format!("event {seq} of shard {} is at {at_ms}, after one at {}", entry.shard, self.last_at_ms)
        });
        self.last_at_ms = self.last_at_ms.max(at_ms);
        let sound = match &entry.event {
            Event::OrderPlaced(event) => self.placed(seq, at_ms, event, report),
            Event::OrderCancelled(event) => self.released(seq, event.order, OrderState::Cancelled, at_ms, report),
            Event::HoldsExpired(event) => {
                // Every order is entered even after a fault, so that all faults of the event are named.
                let ends =
                    event.orders.iter().map(|order| self.released(seq, *order, OrderState::Expired, at_ms, report));
                ends.fold(true, |sound, one| sound & one)
            }
            Event::ActivityRedefined(event) => self.redefined(seq, event, report),
            Event::SaleSwitched(event) => {
                self.check_not_closed(seq, report);
                match event.to {
                    Switch::Paused => self.paused = true,
                    Switch::Resumed => self.paused = false,
                    Switch::Closed => self.closed = true,
                }
                true
            }
            Event::ChangeNoted(_) => true,
            Event::ActivityDefined(_) | Event::SlotsMoved(_) | Event::HomeFollowed(_) | Event::ActivityRetired(_) => {
                false
            }
        };
        self.faulty = !sound;
        sound
    }

    fn placed(&mut self, seq: Seq, at_ms: UnixMillis, event: &OrderPlaced, report: &mut Report) -> bool {
        let order = event.order;
        let window = self.definition.starts_at_ms..self.definition.ends_at_ms;
        let open = window.contains(&at_ms) && !self.paused && !self.closed;
        report.check(Id::U4, open, || format!("event {seq}: order {order} is accepted while the sale is not running"));

        let numbered = usize::try_from(order).is_ok_and(|order| order == self.orders.len() + 1);
        report.check(Id::U2, numbered, || format!("event {seq}: order {order} is not the shard's next number"));

        let well_formed = event.slots.is_well_formed();
        let units = self.units_of_user.entry(event.user).or_default();
        *units += if well_formed { u64::from(event.slots.count()) } else { 0 };
        let (units, limit) = (*units, self.definition.per_user_limit);
        report.check(Id::U1, units <= u64::from(limit.0), || {
            format!("event {seq}: user {} has {units} units, the limit is {limit}", event.user)
        });

        if let Some(key) = event.key {
            let first = self.keys.insert((event.user, key), order);
            report.check(Id::U3, first.is_none(), || {
                format!("event {seq}: orders {first:?} and {order} of user {} have one key", event.user)
            });
        }

        let sku = usize::from(event.sku.0);
        let some = well_formed && event.slots.count() > 0;
        let free = some && self.skus.get_mut(sku).is_some_and(|book| book.take(&event.slots, order));
        report.check(Id::S2, free, || format!("event {seq}: order {order} takes slots that are not free"));
        self.orders.push(OrderBook {
            user: event.user,
            sku,
            slots: event.slots.clone(),
            expires_at_ms: event.expires_at_ms,
            state: OrderState::Held,
        });
        numbered && free
    }

    fn released(&mut self, seq: Seq, number: u32, to: OrderState, at_ms: UnixMillis, report: &mut Report) -> bool {
        let place = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
        let order = place.and_then(|place| self.orders.get_mut(place));
        let was_held = order.as_ref().is_some_and(|order| order.state == OrderState::Held);
        report.check(Id::S3, was_held, || format!("event {seq}: order {number} becomes {to:?} but was not held"));
        let Some(order) = order.filter(|_| was_held) else { return false };
        let due = to != OrderState::Expired || at_ms >= order.expires_at_ms;
        report.check(Id::S4, due, || format!("event {seq}: order {number} expires before its time"));
        order.state = to;
        let units = u64::from(order.slots.count());
        if let Some(of_user) = self.units_of_user.get_mut(&order.user) {
            *of_user = of_user.saturating_sub(units);
        }
        let back = self.skus.get_mut(order.sku).is_some_and(|book| book.give_back(&order.slots, number));
        report.check(Id::S2, back, || format!("event {seq}: order {number} gives back slots that it has not"));
        back
    }

    fn redefined(&mut self, seq: Seq, event: &ActivityRedefined, report: &mut Report) -> bool {
        self.check_not_closed(seq, report);
        let follows = self.version.checked_add(1) == Some(event.version);
        report.check(Id::U4, follows, || format!("event {seq}: version {} follows on {}", event.version, self.version));
        self.version = event.version;
        self.definition = event.definition.clone();
        for sku in &event.definition.skus {
            if !self.names.contains(&sku.sku_id) {
                self.names.push(sku.sku_id.clone());
                self.skus.push(SkuBook::default());
            }
        }
        let mut sound = follows;
        for change in &event.stock {
            let (StockChange::Added { sku, slots } | StockChange::Removed { sku, slots }) = change;
            let book = self.skus.get_mut(usize::from(sku.0)).filter(|_| slots.is_well_formed());
            let holds = book.is_some_and(|book| match change {
                StockChange::Added { .. } => book.give(slots),
                StockChange::Removed { .. } => book.discard(slots),
            });
            report.check(Id::S2, holds, || format!("event {seq}: stock of SKU number {sku} changes by wrong slots"));
            sound &= holds;
        }
        // Where the slots are wrong already, so are the totals: one fault, one name.
        sound && self.totals_stand(seq, report)
    }

    /// Whether each SKU has the stock that the definition says, and one that was taken off has none.
    fn totals_stand(&self, seq: Seq, report: &mut Report) -> bool {
        let mut sound = true;
        for (name, book) in self.names.iter().zip(&self.skus) {
            let mut said = self.definition.skus.iter().filter(|sku| sku.sku_id == *name).map(|sku| sku.stock.0);
            let stock = u64::from(said.next().unwrap_or(0));
            let holds = book.stock() == stock && said.next().is_none();
            report.check(Id::S1, holds, || {
                format!("event {seq}: SKU {name} is defined once with {stock} units, and has {}", book.stock())
            });
            sound &= holds;
        }
        sound
    }

    fn check_not_closed(&self, seq: Seq, report: &mut Report) {
        report.check(Id::U4, !self.closed, || format!("event {seq} changes a sale that was closed for good"));
    }

    /// Holds the sale's own counts of the SKUs that `event` touched against the books: at every prefix of the journal.
    pub fn compare(&self, sale: &Sale, event: &Event, seq: Seq, report: &mut Report) {
        match event {
            Event::OrderPlaced(event) => self.compare_sku(sale, usize::from(event.sku.0), seq, report),
            Event::OrderCancelled(event) => self.compare_order(sale, event.order, seq, report),
            Event::HoldsExpired(event) => {
                event.orders.iter().for_each(|order| self.compare_order(sale, *order, seq, report));
            }
            Event::ActivityDefined(_) | Event::ActivityRedefined(_) => {
                let same = sale.counts().len() == self.definition.skus.len() && sale.skus.len() == self.skus.len();
                report.check(Id::S1, same, || format!("event {seq}: the sale has other SKUs than the books"));
                (0..self.skus.len().min(sale.skus.len())).for_each(|sku| self.compare_sku(sale, sku, seq, report));
            }
            Event::SaleSwitched(_)
            | Event::ChangeNoted(_)
            | Event::SlotsMoved(_)
            | Event::HomeFollowed(_)
            | Event::ActivityRetired(_) => {}
        }
    }

    fn compare_order(&self, sale: &Sale, number: u32, seq: Seq, report: &mut Report) {
        if let Some(order) = self.order(number) {
            self.compare_sku(sale, order.sku, seq, report);
        }
    }

    fn compare_sku(&self, sale: &Sale, place: usize, seq: Seq, report: &mut Report) {
        let (name, book, sku) = (&self.names[place], &self.skus[place], &sale.skus[place]);
        let (available, held) = (u64::from(sku.free.count()), u64::from(sku.held));
        let sums = book.stock() == available + held && book.free == available && book.held == held;
        report.check(Id::S1, sums && sku.sku_id == *name, || {
            format!(
                "event {seq}: SKU {name}: initial {} + added {} - removed {} against available {available} + held {held}",
                book.initial, book.added, book.removed
            )
        });
    }

    fn order(&self, number: u32) -> Option<&OrderBook> {
        self.orders.get(usize::try_from(number).ok()?.checked_sub(1)?)
    }

    /// The checks that walk everything once: every slot in one place, every order as the sale shows it.
    pub fn close(&self, sale: &Sale, report: &mut Report) {
        if self.faulty {
            return;
        }
        let shard = sale.shard();
        let mut held = vec![0; self.skus.len()];
        for (number, book) in (1..).zip(&self.orders) {
            let shown = sale.order(number);
            let same = shown.as_ref().is_some_and(|shown| shown.state == book.state && shown.slots == book.slots);
            report.check(Id::S3, same, || format!("shard {shard}: order {number} differs from the books"));
            // An id that gives back its shard and its number is no other order's.
            let id = sale.order_id(number);
            let own = id.shard() == Some(shard) && id.sequence() == Some(number);
            report.check(Id::U2, own, || format!("shard {shard}: order {number} has id {id}, which is not its own"));
            if book.state == OrderState::Held {
                held[book.sku] += u64::from(book.slots.count());
                let has = book.slots.iter().all(|slot| self.skus[book.sku].holder.get(&slot) == Some(&number));
                report.check(Id::S2, has, || format!("shard {shard}: order {number} has not its slots"));
            }
        }
        for (place, (name, book)) in self.names.iter().zip(&self.skus).enumerate() {
            let whole = book.held == held[place] && book.is_complement_of(&sale.skus[place].free);
            report.check(Id::S2, whole, || format!("shard {shard}: SKU {name}: a slot is lost or in two places"));
            report.held(Id::S5, 1);
        }
    }
}

impl SkuBook {
    fn stock(&self) -> u64 {
        (self.initial + self.added).saturating_sub(self.removed)
    }

    fn take(&mut self, slots: &Slots, order: u32) -> bool {
        let taken = slots
            .iter()
            .all(|slot| self.was_given(slot, slot) && !self.is_gone(slot, slot) && self.hold(slot, order).is_none());
        if taken {
            self.free -= u64::from(slots.count());
            self.held += u64::from(slots.count());
        }
        taken
    }

    fn hold(&mut self, slot: u32, order: u32) -> Option<u32> {
        self.holder.insert(slot, order)
    }

    fn give_back(&mut self, slots: &Slots, order: u32) -> bool {
        let back = slots.iter().all(|slot| self.holder.remove(&slot) == Some(order));
        if back {
            self.held -= u64::from(slots.count());
            self.free += u64::from(slots.count());
        }
        back
    }

    /// Enters fresh slots; `false` where one of them was given before.
    fn give(&mut self, slots: &Slots) -> bool {
        self.added += u64::from(slots.count());
        self.free += u64::from(slots.count());
        slots.ranges().iter().all(|range| match self.given.last_mut() {
            Some(last) if range.first <= last.last() => false,
            Some(last) if range.first == last.last() + 1 => {
                last.count += range.count;
                true
            }
            _ => {
                self.given.push(*range);
                true
            }
        })
    }

    /// Strikes free slots off for good; `false` where one of them is not free.
    fn discard(&mut self, slots: &Slots) -> bool {
        let units = u64::from(slots.count());
        if units > self.free {
            return false;
        }
        self.removed += units;
        self.free -= units;
        slots.ranges().iter().all(|range| {
            let free = self.was_given(range.first, range.last())
                && !self.is_gone(range.first, range.last())
                && !self.is_held(*range);
            self.gone.insert(range.first, range.last());
            free
        })
    }

    /// Whether all of these were given out at some time.
    fn was_given(&self, first: u32, last: u32) -> bool {
        let after = self.given.partition_point(|range| range.first <= first);
        after.checked_sub(1).is_some_and(|place| self.given[place].last() >= last)
    }

    /// Whether some of these were taken away.
    fn is_gone(&self, first: u32, last: u32) -> bool {
        self.gone.range(..=last).next_back().is_some_and(|(_, end)| *end >= first)
    }

    /// Whether somebody has some of these. Walks what is shorter: the range or the holders.
    fn is_held(&self, range: SlotRange) -> bool {
        if self.holder.len() < range.count as usize {
            self.holder.keys().any(|slot| (range.first..=range.last()).contains(slot))
        } else {
            (range.first..=range.last()).any(|slot| self.holder.contains_key(&slot))
        }
    }

    /// Whether the sale's free slots are exactly those that were given, are not gone, and are nobody's.
    fn is_complement_of(&self, free: &FreeSlots) -> bool {
        let ranges: Vec<SlotRange> = free.ranges().collect();
        let is_free = |slot: u32| {
            let after = ranges.partition_point(|range| range.first <= slot);
            after.checked_sub(1).is_some_and(|place| ranges[place].last() >= slot)
        };
        let units = |range: &SlotRange| u64::from(range.count);
        let gone: u64 = self.gone.iter().map(|(first, last)| u64::from(last - first) + 1).sum();
        let given: u64 = self.given.iter().map(units).sum();
        ranges.iter().map(units).sum::<u64>() == self.free
            && self.holder.len() as u64 == self.held
            && given == gone + self.free + self.held
            && ranges.iter().all(|range| self.was_given(range.first, range.last()))
            && ranges.iter().all(|range| !self.is_gone(range.first, range.last()))
            && !self.holder.keys().any(|slot| is_free(*slot))
    }
}
