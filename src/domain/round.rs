//! Rounds of red packets: what each hands out, and what has become of it. A round is to red packets what a SKU is to a
//! flash sale: its packets are numbered slots, which move between parts and are gathered like any others.

use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};

use super::split::{Seed, Terms};

/// A round's budget, split: fixed before it starts, and the same in every part of the activity.
#[derive(Debug, Serialize, Deserialize)]
pub struct Plan {
    /// What is split, and how.
    pub terms: Terms,
    /// By what chance.
    pub seed: Seed,
    /// The slot that is packet 0; the others follow on it.
    pub first_slot: u32,
    /// Split when somebody first asks: a replay, whose events carry the amounts, never does.
    #[serde(skip)]
    amounts: OnceLock<Box<[u32]>>,
}

impl Plan {
    /// A plan whose terms were checked.
    #[must_use]
    pub fn new(terms: Terms, seed: Seed, first_slot: u32) -> Self {
        Self { terms, seed, first_slot, amounts: OnceLock::new() }
    }

    /// The amounts by packet. The first call splits, some 100 ns a packet.
    ///
    /// # Panics
    /// Where the terms cannot be split, which is found out before a definition stands.
    #[must_use]
    pub fn amounts(&self) -> &[u32] {
        self.amounts.get_or_init(|| {
            self.terms.split(self.seed).expect("M1: terms are checked before a definition stands").into()
        })
    }

    /// Whether a slot is one of its packets.
    #[must_use]
    pub fn has(&self, slot: u32) -> bool {
        slot.checked_sub(self.first_slot).is_some_and(|packet| packet < self.terms.packets)
    }

    /// The packet that a slot is.
    #[must_use]
    pub fn packet(&self, slot: u32) -> u32 {
        slot - self.first_slot
    }

    /// The amount in the packet that a slot is (M4).
    #[must_use]
    pub fn cents(&self, slot: u32) -> u64 {
        self.amounts()[self.packet(slot) as usize].into()
    }
}

impl PartialEq for Plan {
    fn eq(&self, other: &Self) -> bool {
        (self.terms, self.seed, self.first_slot) == (other.terms, other.seed, other.first_slot)
    }
}

impl Eq for Plan {}

/// A round in one part of its activity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Round {
    /// What it hands out.
    pub plan: Arc<Plan>,
    /// Packets that were grabbed here.
    pub granted: u32,
    /// What they held.
    pub granted_cents: u64,
    /// Packets that nobody grabbed, refunded at its end; at home only.
    pub refunded: u32,
    /// What they held.
    pub refunded_cents: u64,
    /// Whether what nobody grabbed was refunded: nothing happens to it any more.
    pub is_over: bool,
}

impl Round {
    /// A round that is to come.
    #[must_use]
    pub fn to_come(plan: Arc<Plan>) -> Self {
        Self { plan, granted: 0, granted_cents: 0, refunded: 0, refunded_cents: 0, is_over: false }
    }
}
