//! One SKU's units in one part of an activity: what came in, what went out, who has what. The sale keeps the slots that
//! are free; a share keeps those that are in the part and those that somebody has, and counts the rest. Its size
//! therefore follows the orders and the moves, not the stock.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;

use crate::domain::slots::{FreeSlots, SlotRange, Slots};

/// A set of slots, as ranges that do not touch: each one's last by its first.
#[derive(Default)]
pub(super) struct Ranges(BTreeMap<u32, u32>);

impl Ranges {
    /// Whether all of these are in the set.
    fn has_all(&self, first: u32, last: u32) -> bool {
        self.0.range(..=first).next_back().is_some_and(|(_, end)| *end >= last)
    }

    /// Whether some of these are in the set.
    fn has_any(&self, first: u32, last: u32) -> bool {
        self.0.range(..=last).next_back().is_some_and(|(_, end)| *end >= first)
    }

    /// Puts these in; `false` where one of them was in already.
    fn put(&mut self, mut first: u32, mut last: u32) -> bool {
        if self.has_any(first, last) {
            return false;
        }
        if let Some((start, end)) = self.0.range(..first).next_back()
            && *end == first - 1
        {
            first = *start;
        }
        if let Some(end) = last.checked_add(1).and_then(|next| self.0.remove(&next)) {
            last = end;
        }
        self.0.insert(first, last);
        true
    }

    /// Takes these out; `false` where one of them was not in.
    fn strike(&mut self, first: u32, last: u32) -> bool {
        if !self.has_all(first, last) {
            return false;
        }
        let Some((&start, &end)) = self.0.range(..=first).next_back() else { return false };
        self.0.remove(&start);
        if start < first {
            self.0.insert(start, first - 1);
        }
        if last < end {
            self.0.insert(last + 1, end);
        }
        true
    }

    pub fn iter(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        self.0.iter().map(|(first, last)| (*first, *last))
    }

    fn units(&self) -> u64 {
        self.iter().map(|(first, last)| u64::from(last - first) + 1).sum()
    }
}

/// `initial + added - removed + came - went - ended = free + held + sold`.
#[derive(Default)]
pub(super) struct Share {
    pub initial: u64,
    pub added: u64,
    pub removed: u64,
    came: u64,
    went: u64,
    /// Packets that nobody grabbed, when their round ended: part of the total, and nowhere any more.
    ended: u64,
    pub free: u64,
    pub held: u64,
    /// Paid for, or paid for once and not put back on sale.
    pub sold: u64,
    /// The highest number ever given to a unit. Only a home gives numbers, and each once, ascending.
    pub last_given: u32,
    /// The slots that are here, free or not.
    pub slots: Ranges,
    /// The order that has a slot. What is here and has none is free.
    holder: FxHashMap<u32, u32>,
}

impl Share {
    /// The share with which an activity's home begins.
    pub fn initial(stock: u32) -> Self {
        let mut share = Self::default();
        share.give(&Slots::range(1, stock));
        (share.initial, share.added) = (share.added, 0);
        share
    }

    /// All units that the activity has, as its home knows them: only a home gives and takes away.
    pub fn total(&self) -> u64 {
        (self.initial + self.added).saturating_sub(self.removed)
    }

    /// Of all units those that are somewhere: a round's end is known at its home too.
    pub fn standing(&self) -> u64 {
        self.total().saturating_sub(self.ended)
    }

    /// The units that are here.
    pub fn stock(&self) -> u64 {
        (self.total() + self.came).saturating_sub(self.went + self.ended)
    }

    /// Gives slots to an order; `false` where one of them is not here or not free.
    pub fn take(&mut self, slots: &Slots, order: u32) -> bool {
        let taken =
            slots.iter().all(|slot| self.slots.has_all(slot, slot) && self.holder.insert(slot, order).is_none());
        if taken {
            self.free -= u64::from(slots.count());
            self.held += u64::from(slots.count());
        }
        taken
    }

    /// What an order holds is bought; `false` where it has not all of it.
    pub fn buy(&mut self, slots: &Slots, order: u32) -> bool {
        let units = u64::from(slots.count());
        let bought = self.has(slots, order) && self.held >= units;
        if bought {
            self.held -= units;
            self.sold += units;
        }
        bought
    }

    /// Puts what an order holds back; `false` where it has not all of it.
    pub fn give_back(&mut self, slots: &Slots, order: u32) -> bool {
        let back = self.let_go(slots, order);
        if back {
            self.held -= u64::from(slots.count());
        }
        back
    }

    /// Puts what an order bought back; `false` where it has not all of it.
    pub fn sell_back(&mut self, slots: &Slots, order: u32) -> bool {
        let back = self.let_go(slots, order);
        if back {
            self.sold -= u64::from(slots.count());
        }
        back
    }

    fn let_go(&mut self, slots: &Slots, order: u32) -> bool {
        let back = slots.iter().all(|slot| self.holder.remove(&slot) == Some(order));
        if back {
            self.free += u64::from(slots.count());
        }
        back
    }

    /// Enters fresh slots; `false` where one of them was given before.
    pub fn give(&mut self, slots: &Slots) -> bool {
        let fresh = slots.ranges().first().is_none_or(|range| range.first > self.last_given);
        self.last_given = slots.ranges().last().map_or(self.last_given, |range| range.last());
        self.added += u64::from(slots.count());
        fresh && self.put(slots)
    }

    /// Strikes free slots off for good; `false` where one of them is not here or not free.
    pub fn discard(&mut self, slots: &Slots) -> bool {
        self.removed += u64::from(slots.count());
        self.strike(slots)
    }

    /// Strikes free slots off because their round is over; `false` where one of them is not here or not free.
    pub fn end(&mut self, slots: &Slots) -> bool {
        self.ended += u64::from(slots.count());
        self.strike(slots)
    }

    /// Gives free slots to another part; `false` where one of them is not here or not free.
    pub fn go(&mut self, slots: &Slots) -> bool {
        self.went += u64::from(slots.count());
        self.strike(slots)
    }

    /// Takes slots of another part in; `false` where one of them is here already.
    pub fn come(&mut self, slots: &Slots) -> bool {
        self.came += u64::from(slots.count());
        self.put(slots)
    }

    fn put(&mut self, slots: &Slots) -> bool {
        self.free += u64::from(slots.count());
        slots.ranges().iter().all(|range| self.slots.put(range.first, range.last()))
    }

    fn strike(&mut self, slots: &Slots) -> bool {
        let units = u64::from(slots.count());
        if units > self.free {
            return false;
        }
        self.free -= units;
        slots.ranges().iter().all(|range| !self.is_taken(*range) && self.slots.strike(range.first, range.last()))
    }

    /// Whether an order has all of these.
    pub fn has(&self, slots: &Slots, order: u32) -> bool {
        slots.iter().all(|slot| self.holder.get(&slot) == Some(&order))
    }

    /// Whether somebody has some of these. Walks what is shorter: the range or the holders.
    fn is_taken(&self, range: SlotRange) -> bool {
        if self.holder.len() < range.count as usize {
            self.holder.keys().any(|slot| (range.first..=range.last()).contains(slot))
        } else {
            (range.first..=range.last()).any(|slot| self.holder.contains_key(&slot))
        }
    }

    /// Whether the sale's free slots are exactly those that are here and nobody's.
    pub fn is_complement_of(&self, free: &FreeSlots) -> bool {
        let ranges: Vec<SlotRange> = free.ranges().collect();
        let is_free = |slot: u32| {
            let after = ranges.partition_point(|range| range.first <= slot);
            after.checked_sub(1).is_some_and(|place| ranges[place].last() >= slot)
        };
        ranges.iter().map(|range| u64::from(range.count)).sum::<u64>() == self.free
            && self.holder.len() as u64 == self.held + self.sold
            && self.slots.units() == self.free + self.held + self.sold
            && ranges.iter().all(|range| self.slots.has_all(range.first, range.last()))
            && !self.holder.keys().any(|slot| is_free(*slot))
    }
}
