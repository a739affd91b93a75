//! One shard's books: who has which slot, what each user has, what each hold became. Written from the events alone,
//! without the sale's own rules, so that a fault in those shows as a difference.

use rustc_hash::FxHashMap;

use super::report::{Id, Report};
use crate::domain::definition::Definition;
use crate::domain::event::{ActivityDefined, ActivityRedefined, Entry, Event, OrderPlaced, StockChange, Switch};
use crate::domain::order::OrderState;
use crate::domain::sale::Sale;
use crate::domain::slots::Slots;
use crate::ids::{KeyDigest, Seq, SkuId, UnixMillis, UserId};

/// Where a slot is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Free,
    Held(u32),
}

/// A SKU's units. `initial + added - removed = free + held + sold`; nothing is sold before payments exist.
#[derive(Default)]
struct SkuBook {
    initial: u64,
    added: u64,
    removed: u64,
    free: u64,
    held: u64,
    slots: FxHashMap<u32, Place>,
}

struct OrderBook {
    user: UserId,
    sku: usize,
    slots: Slots,
    expires_at_ms: UnixMillis,
    state: OrderState,
}

pub(super) struct Books {
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
    pub fn open(event: &ActivityDefined, at_ms: UnixMillis) -> Self {
        let mut books = Self {
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
            books.names.push(sku.sku_id.clone());
            let slots = (1..=sku.stock.0).map(|slot| (slot, Place::Free)).collect();
            let units = u64::from(sku.stock.0);
            books.skus.push(SkuBook { initial: units, free: units, slots, ..SkuBook::default() });
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
                match event.to {
                    Switch::Paused => self.paused = true,
                    Switch::Resumed => self.paused = false,
                    Switch::Closed => self.closed = true,
                }
                true
            }
            Event::ActivityDefined(_) => false,
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

        let units = self.units_of_user.entry(event.user).or_default();
        *units += u64::from(event.slots.count());
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
        let free = event.slots.count() > 0 && self.skus.get_mut(sku).is_some_and(|book| book.take(&event.slots, order));
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
        for sku in &event.definition.skus {
            if !self.names.contains(&sku.sku_id) {
                self.names.push(sku.sku_id.clone());
                self.skus.push(SkuBook::default());
            }
        }
        self.definition = event.definition.clone();
        let mut sound = true;
        for change in &event.stock {
            let (sku, holds) = match change {
                StockChange::Added { sku, slots } => {
                    (sku, self.skus.get_mut(usize::from(sku.0)).is_some_and(|book| book.add(slots)))
                }
                StockChange::Removed { sku, slots } => {
                    (sku, self.skus.get_mut(usize::from(sku.0)).is_some_and(|book| book.discard(slots)))
                }
            };
            report.check(Id::S2, holds, || format!("event {seq}: stock of SKU number {sku} changes by wrong slots"));
            sound &= holds;
        }
        let totals: Vec<_> = event.definition.skus.iter().map(|sku| (&sku.sku_id, u64::from(sku.stock.0))).collect();
        for (name, stock) in totals {
            let counted = self.names.iter().position(|known| known == name).map(|place| self.skus[place].stock());
            report.check(Id::S1, counted == Some(stock), || {
                format!("event {seq}: SKU {name} is defined with {stock} units and has {counted:?}")
            });
            sound &= counted == Some(stock);
        }
        sound
    }

    /// Holds the sale's own counts against the books: at every prefix of the journal.
    pub fn compare(&self, sale: &Sale, seq: Seq, report: &mut Report) {
        for count in sale.counts() {
            let place = self.names.iter().position(|name| *name == count.sku_id);
            let Some(book) = place.map(|place| &self.skus[place]) else {
                report.broken(Id::S1, format!("event {seq}: SKU {} is not in the books", count.sku_id));
                continue;
            };
            let (available, held) = (u64::from(count.available.0), u64::from(count.held.0));
            let sums = book.stock() == available + held && book.free == available && book.held == held;
            report.check(Id::S1, sums, || {
                format!(
                    "event {seq}: SKU {}: initial {} + added {} - removed {} against available {available} + held {held}",
                    count.sku_id, book.initial, book.added, book.removed
                )
            });
        }
    }

    /// The checks that walk everything once: every slot in one place, every order as the sale shows it.
    pub fn close(&self, sale: &Sale, report: &mut Report) {
        if self.faulty {
            return;
        }
        for (place, book) in self.orders.iter().enumerate() {
            let shown = u32::try_from(place + 1).ok().and_then(|number| sale.order(number));
            let same = shown.as_ref().is_some_and(|shown| shown.state == book.state && shown.slots == book.slots);
            report
                .check(Id::S3, same, || format!("shard {}: order {} differs from the books", sale.shard(), place + 1));
        }
        for (name, book) in self.names.iter().zip(&self.skus) {
            let free = book.slots.values().filter(|place| **place == Place::Free).count() as u64;
            let whole = free == book.free && book.slots.len() as u64 == book.stock();
            report.check(Id::S2, whole, || {
                format!("shard {}: SKU {name}: a slot is lost or in two places", sale.shard())
            });
            report.held(Id::S5, 1);
        }
    }
}

impl SkuBook {
    fn stock(&self) -> u64 {
        (self.initial + self.added).saturating_sub(self.removed)
    }

    fn take(&mut self, slots: &Slots, order: u32) -> bool {
        let units = u64::from(slots.count());
        let moved = self.shift(slots, Place::Free, Place::Held(order));
        if moved {
            self.free -= units;
            self.held += units;
        }
        moved
    }

    fn give_back(&mut self, slots: &Slots, order: u32) -> bool {
        let units = u64::from(slots.count());
        let moved = self.shift(slots, Place::Held(order), Place::Free);
        if moved {
            self.held -= units;
            self.free += units;
        }
        moved
    }

    fn shift(&mut self, slots: &Slots, from: Place, to: Place) -> bool {
        slots.iter().all(|slot| match self.slots.get_mut(&slot) {
            Some(place) if *place == from => {
                *place = to;
                true
            }
            _ => false,
        })
    }

    fn add(&mut self, slots: &Slots) -> bool {
        self.added += u64::from(slots.count());
        self.free += u64::from(slots.count());
        slots.iter().all(|slot| self.slots.insert(slot, Place::Free).is_none())
    }

    fn discard(&mut self, slots: &Slots) -> bool {
        let units = u64::from(slots.count());
        if units > self.free {
            return false;
        }
        self.removed += units;
        self.free -= units;
        slots.iter().all(|slot| self.slots.remove(&slot) == Some(Place::Free))
    }
}
