//! How many units of a SKU are free, for all to see without a message: over the whole activity, those on their way
//! between parts included, and in each part.
//!
//! The activity's count is what `sold_out` is judged by (S6): it changes when a unit is taken, given back, added or
//! removed, and never because a unit moves. A part's count has what is on its way to it. Changes are differences, so
//! that it does not matter who makes them first.

use std::sync::atomic::{AtomicU32, Ordering};

/// One SKU's free units.
#[derive(Debug)]
pub(super) struct Units {
    all: AtomicU32,
    /// Empty where the activity has one part, whose units are all there are.
    by_part: Box<[AtomicU32]>,
}

impl Units {
    /// None yet.
    pub fn new(parts: u16) -> Self {
        let parts = if parts > 1 { parts } else { 0 };
        Self { all: AtomicU32::new(0), by_part: (0..parts).map(|_| AtomicU32::new(0)).collect() }
    }

    /// Free over the whole activity.
    pub fn all(&self) -> u32 {
        self.all.load(Ordering::SeqCst)
    }

    /// Free in one part, or on their way to it.
    pub fn at(&self, part: u16) -> u32 {
        self.by_part.get(usize::from(part)).unwrap_or(&self.all).load(Ordering::SeqCst)
    }

    /// A part had `before` free and has `after`: units were taken, given back, added or removed there.
    pub fn changed(&self, part: u16, before: u32, after: u32) {
        if before == after {
            return;
        }
        // Modulo 2^32: the sum is right whichever of the two is larger.
        let difference = after.wrapping_sub(before);
        if let Some(here) = self.by_part.get(usize::from(part)) {
            here.fetch_add(difference, Ordering::SeqCst);
        }
        self.all.fetch_add(difference, Ordering::SeqCst);
    }

    /// So many left one part for another.
    pub fn moved(&self, from: u16, to: u16, units: u32) {
        // First to where they are found next: who looks in between sees them twice rather than nowhere.
        if let (Some(from), Some(to)) = (self.by_part.get(usize::from(from)), self.by_part.get(usize::from(to))) {
            to.fetch_add(units, Ordering::SeqCst);
            from.fetch_sub(units, Ordering::SeqCst);
        }
    }
}
