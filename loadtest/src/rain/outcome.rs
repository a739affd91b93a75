//! What came of a rain, in packets and cents.

use serde::{Deserialize, Serialize};

/// Packets, and what they hold together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Sums {
    /// How many.
    pub packets: u64,
    /// The cents in them.
    pub cents: u64,
}

impl Sums {
    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { packets: self.packets + other.packets, cents: self.cents + other.cents }
    }
}

/// What came of a rain.
#[derive(Clone, Debug, Default, Serialize)]
pub struct RainReport {
    /// Each round, in order; empty where the operator was not answered.
    pub rounds: Vec<RoundReport>,
    /// Users of whom nobody knows what they have, because no answer came.
    pub unknown: u64,
}

/// What came of a round.
#[derive(Clone, Debug, Serialize)]
pub struct RoundReport {
    /// From 0.
    pub round: usize,
    /// The budget.
    pub total: Sums,
    /// By the server's numbers, what was grabbed.
    pub granted: Sums,
    /// What is still to be had.
    pub remaining: Sums,
    /// What nobody had grabbed at the end.
    pub refunded: Sums,
    /// What users of this crowd were told that they have.
    pub told: Sums,
    /// Whether each amount was worked out again from the seed.
    pub verified: bool,
}

/// A round's numbers, as an operator reads them.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Counts {
    pub(super) round: usize,
    total_cents: u64,
    packets: u64,
    granted_cents: u64,
    granted: u64,
    remaining_cents: u64,
    remaining: u64,
    refunded_cents: u64,
    refunded: u64,
}

impl Counts {
    pub(super) fn total(&self) -> Sums {
        Sums { packets: self.packets, cents: self.total_cents }
    }

    pub(super) fn granted(&self) -> Sums {
        Sums { packets: self.granted, cents: self.granted_cents }
    }

    pub(super) fn remaining(&self) -> Sums {
        Sums { packets: self.remaining, cents: self.remaining_cents }
    }

    pub(super) fn refunded(&self) -> Sums {
        Sums { packets: self.refunded, cents: self.refunded_cents }
    }
}
