//! Slots: the numbered units of one SKU. [`Slots`] is what one order or one change takes, [`FreeSlots`] what is left.
//!
//! Both are kept as ranges, so that a fresh stock of ten million costs as much as a stock of one. Removing and adding
//! are set operations: in whatever order they are applied, the same set stands at the end.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use smallvec::{SmallVec, smallvec};

/// A run of slots with nothing missing between.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SlotRange {
    /// The lowest slot, from 1.
    pub first: u32,
    /// How many; never 0.
    pub count: u32,
}

impl SlotRange {
    /// The highest slot of the range.
    #[must_use]
    pub fn last(self) -> u32 {
        self.first + (self.count - 1)
    }
}

/// A few slots, as ascending ranges that do not touch. One range, the usual case, takes no heap.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Slots(SmallVec<[SlotRange; 1]>);

impl Slots {
    /// One run of slots; none where `count` is 0.
    #[must_use]
    pub fn range(first: u32, count: u32) -> Self {
        if count == 0 { Self::default() } else { Self(smallvec![SlotRange { first, count }]) }
    }

    /// Those ranges, where they are [well formed](Self::is_well_formed).
    pub(super) fn of(ranges: SmallVec<[SlotRange; 1]>) -> Option<Self> {
        Some(Self(ranges)).filter(Self::is_well_formed)
    }

    /// How many slots.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.0.iter().map(|range| range.count).sum()
    }

    /// The ranges, ascending.
    #[must_use]
    pub fn ranges(&self) -> &[SlotRange] {
        &self.0
    }

    /// Whether the ranges ascend without touching, none is empty, and every slot has a number from 1. What the sale
    /// makes always is; what is read from a disk may be anything, and may be asked nothing else before this.
    #[must_use]
    pub fn is_well_formed(&self) -> bool {
        let mut lowest = 1;
        self.0.iter().all(|range| {
            let (first, end) = (u64::from(range.first), u64::from(range.first) + u64::from(range.count));
            let fits = range.count > 0 && first >= lowest && end <= 1 << 32;
            lowest = end + 1;
            fits
        })
    }

    /// Each slot, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter().flat_map(|range| range.first..=range.last())
    }
}

impl FromIterator<u32> for Slots {
    /// From slots that ascend.
    fn from_iter<I: IntoIterator<Item = u32>>(slots: I) -> Self {
        let mut ranges: SmallVec<[SlotRange; 1]> = SmallVec::new();
        for slot in slots {
            match ranges.last_mut() {
                Some(range) if range.last().checked_add(1) == Some(slot) => range.count += 1,
                _ => ranges.push(SlotRange { first: slot, count: 1 }),
            }
        }
        Self(ranges)
    }
}

/// The slots of one SKU that nobody holds.
///
/// A map from each range's last slot to its first: taking the lowest slot then changes a value in place and no key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct FreeSlots {
    first_by_last: BTreeMap<u32, u32>,
    count: u32,
}

impl FreeSlots {
    /// How many slots are free.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The ranges, ascending.
    pub fn ranges(&self) -> impl DoubleEndedIterator<Item = SlotRange> + '_ {
        self.first_by_last.iter().map(|(&last, &first)| SlotRange { first, count: last - first + 1 })
    }

    /// The `count` lowest free slots; `None` where fewer are free.
    #[must_use]
    pub fn lowest(&self, count: u32) -> Option<Slots> {
        (count <= self.count).then(|| {
            let mut wanted = count;
            let mut slots = Slots::default();
            for range in self.ranges() {
                if wanted == 0 {
                    break;
                }
                let taken = wanted.min(range.count);
                slots.0.push(SlotRange { first: range.first, count: taken });
                wanted -= taken;
            }
            slots
        })
    }

    /// The `count` highest free slots; `None` where fewer are free.
    #[must_use]
    pub fn highest(&self, count: u32) -> Option<Slots> {
        (count <= self.count).then(|| {
            let mut wanted = count;
            let mut slots = Slots::default();
            for range in self.ranges().rev() {
                if wanted == 0 {
                    break;
                }
                let taken = wanted.min(range.count);
                slots.0.push(SlotRange { first: range.last() - (taken - 1), count: taken });
                wanted -= taken;
            }
            slots.0.reverse();
            slots
        })
    }

    /// Up to `count` of the highest free slots, in at most `ranges_max` ranges.
    #[must_use]
    pub fn highest_within(&self, count: u32, ranges_max: usize) -> Slots {
        let room: u32 = self.ranges().rev().take(ranges_max).map(|range| range.count).sum();
        self.highest(count.min(room)).expect("no more than is free is asked for")
    }

    /// Puts a range above all others in; `false`, and nothing is done, where it is not above them, touches the highest or
    /// is no range at all.
    pub(super) fn push_above(&mut self, range: SlotRange) -> bool {
        let lowest = self.first_by_last.last_key_value().map_or(1, |(&last, _)| u64::from(last) + 2);
        let fits = u64::from(range.first) >= lowest
            && range.count > 0
            && u64::from(range.first) + u64::from(range.count) <= 1 << 32;
        if fits {
            self.count += range.count;
            self.first_by_last.insert(range.last(), range.first);
        }
        fits
    }

    /// Takes `slots` out.
    ///
    /// # Panics
    /// Where one of them is not free: the journal would have one slot in two places (S2).
    pub fn remove(&mut self, slots: &Slots) {
        for range in slots.ranges() {
            self.remove_range(*range);
        }
    }

    /// Puts `slots` in.
    ///
    /// # Panics
    /// Where one of them is free already (S2).
    pub fn add(&mut self, slots: &Slots) {
        for range in slots.ranges() {
            self.add_range(*range);
        }
    }

    fn remove_range(&mut self, gone: SlotRange) {
        let mut holder = self.first_by_last.range_mut(gone.last()..);
        let (&last, first) = holder.next().expect("S2: a slot that is taken was free");
        assert!(*first <= gone.first, "S2: slots {gone:?} are taken but were not all free");
        self.count -= gone.count;
        let before = *first;
        if gone.last() == last {
            self.first_by_last.remove(&last);
        } else {
            *first = gone.last() + 1;
        }
        if before < gone.first {
            self.first_by_last.insert(gone.first - 1, before);
        }
    }

    fn add_range(&mut self, new: SlotRange) {
        let above = self.first_by_last.range(new.first..).next().map(|(&last, &first)| (last, first));
        assert!(above.is_none_or(|(_, first)| first > new.last()), "S2: slots {new:?} come back but were free");
        self.count += new.count;
        let first = match new.first.checked_sub(1).and_then(|below| self.first_by_last.remove(&below)) {
            Some(joined) => joined,
            None => new.first,
        };
        match above {
            Some((last, start)) if start == new.last() + 1 => {
                self.first_by_last.insert(last, first);
            }
            _ => {
                self.first_by_last.insert(new.last(), first);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn free_slots_are_a_set(ops in prop::collection::vec((any::<bool>(), any::<bool>(), 1u32..6), 1..200)) {
            let mut free = FreeSlots::default();
            let mut naive = BTreeSet::new();
            let mut out: Vec<Slots> = vec![Slots::range(1, 20), Slots::range(25, 5), Slots::range(30, 1)];
            for (take, low, n) in ops {
                if take {
                    let chosen = if low { free.lowest(n) } else { free.highest(n) };
                    prop_assert_eq!(chosen.is_some(), naive.len() >= n as usize);
                    let Some(slots) = chosen else { continue };
                    let expected: Vec<u32> = if low {
                        naive.iter().copied().take(n as usize).collect()
                    } else {
                        let mut top: Vec<u32> = naive.iter().rev().copied().take(n as usize).collect();
                        top.reverse();
                        top
                    };
                    prop_assert_eq!(slots.iter().collect::<Vec<_>>(), expected);
                    free.remove(&slots);
                    slots.iter().for_each(|slot| { naive.remove(&slot); });
                    out.push(slots);
                } else if !out.is_empty() {
                    let slots = out.swap_remove(n as usize % out.len());
                    free.add(&slots);
                    naive.extend(slots.iter());
                }
                prop_assert_eq!(free.count() as usize, naive.len());
                prop_assert_eq!(free.ranges().flat_map(|r| r.first..=r.last()).collect::<Vec<_>>(),
                    naive.iter().copied().collect::<Vec<_>>());
                let ranges: Vec<_> = free.ranges().collect();
                prop_assert!(ranges.windows(2).all(|w| w[0].last() + 1 < w[1].first), "ranges that touch are joined");
            }
        }
    }

    #[test]
    #[should_panic(expected = "S2")]
    fn a_slot_cannot_be_taken_twice() {
        let mut free = FreeSlots::default();
        free.add(&Slots::range(1, 3));
        free.remove(&Slots::range(2, 1));
        free.remove(&Slots::range(2, 1));
    }

    #[test]
    #[should_panic(expected = "S2")]
    fn a_slot_cannot_come_back_twice() {
        let mut free = FreeSlots::default();
        free.add(&Slots::range(1, 3));
        free.add(&Slots::range(3, 1));
    }
}
