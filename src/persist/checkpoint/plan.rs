//! In how many passes a checkpoint is made: which activities are in memory at once.
//!
//! A pass holds activities of consecutive shard numbers, whole ones, because events of an activity concern no other. It
//! ends before the activity that would take it past the budget; one that is larger than the budget has a pass of its own.
//! What a state will take is estimated from above. An order takes 104 bytes, its user up to 39 in a map that has just
//! grown, its deadline 8; where a shard has few, the room for the next ones is as much again. What the image spends
//! beyond that counts six times.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use rustc_hash::FxHashMap;

use super::manifest::{Manifest, PieceEntry};
use crate::domain::image::PIECE_ORDERS;
use crate::domain::{Entry, Event, Sales};
use crate::ids::ShardId;

/// An order where there are tens of thousands in the shard.
const ORDER_OF_MANY_BYTES: u64 = 160;
const ORDER_BYTES: u64 = 260;
/// A payment with its places in two maps, and what is noted of its refund.
const PAYMENT_BYTES: u64 = 350;
/// An order's share of an image, at most, without reference and scattered slots.
const ORDER_IMAGE_BYTES: u64 = 40;
const IMAGE_GROWS: u64 = 6;
/// What a definition takes for each SKU, twice.
const SKU_BYTES: u64 = 1_000;

/// What each shard will take, and which shards go together.
#[derive(Default)]
pub(super) struct Plan {
    bytes: FxHashMap<ShardId, u64>,
    homes: BTreeMap<ShardId, ()>,
}

/// Whether all of it fits one pass, whatever the events are: none makes more than a payment.
pub(super) fn fits_one_pass(base: Option<&Manifest>, events: u64, budget_bytes: u64) -> bool {
    let held: u64 = base.map_or(0, |manifest| manifest.pieces.iter().map(weight).sum());
    held.saturating_add(events.saturating_mul(PAYMENT_BYTES)) <= budget_bytes
}

/// Every shard in one pass.
pub(super) fn one_pass() -> Vec<RangeInclusive<ShardId>> {
    vec![ShardId(0)..=ShardId(u32::MAX)]
}

impl Plan {
    /// Counts what a checkpoint holds; `ledger` is what it says beside its shards. A piece that shards share is put down
    /// to all of them alike, so a pass may be off by what one such piece holds.
    pub(super) fn base(&mut self, manifest: &Manifest, ledger: &Sales) {
        for piece in manifest.pieces.iter().filter(|piece| !piece.is_ledger()) {
            let shards = u64::from(piece.last.0.saturating_sub(piece.first.0)) + 1;
            (piece.first.0..=piece.last.0).for_each(|shard| self.add(ShardId(shard), weight(piece) / shards));
        }
        self.homes.extend(ledger.standing().values().map(|standing| (standing.home, ())));
    }

    /// Counts what an event adds.
    pub(super) fn event(&mut self, entry: &Entry) {
        let bytes = match &entry.event {
            Event::OrderPlaced(placed) => {
                let reference = placed.reference.as_ref().map_or(0, |text| text.len());
                ORDER_BYTES + reference as u64 + 8 * placed.slots.ranges().len() as u64
            }
            Event::ActivityDefined(defined) => {
                self.homes.insert(defined.part.map_or(entry.shard, |part| part.home), ());
                SKU_BYTES * defined.definition.skus.len() as u64
            }
            Event::PaymentReceived(_) | Event::PaymentSuspended(_) => PAYMENT_BYTES,
            Event::ActivityRedefined(redefined) => SKU_BYTES * redefined.definition.skus.len() as u64,
            _ => return,
        };
        self.add(entry.shard, bytes);
    }

    fn add(&mut self, shard: ShardId, bytes: u64) {
        *self.bytes.entry(shard).or_default() += bytes;
    }

    /// The passes: ranges of shards that follow on one another and leave none out.
    pub(super) fn passes(&self, budget_bytes: u64) -> Vec<RangeInclusive<ShardId>> {
        // The suspense account is at home in shard 0, and goes with the first activities.
        let homes = std::iter::once(ShardId(0)).chain(self.homes.keys().copied());
        let mut by_home: BTreeMap<ShardId, u64> = homes.map(|home| (home, 0)).collect();
        for (shard, bytes) in &self.bytes {
            // What belongs to no activity that is known is counted with the one before it.
            if let Some((_, sum)) = by_home.range_mut(..=*shard).next_back() {
                *sum += bytes;
            }
        }
        let (mut passes, mut begin, mut held) = (Vec::new(), ShardId(0), 0);
        for (home, bytes) in by_home {
            if held > 0 && held + bytes > budget_bytes {
                passes.push(begin..=ShardId(home.0 - 1));
                (begin, held) = (home, 0);
            }
            held += bytes;
        }
        passes.push(begin..=ShardId(u32::MAX));
        passes
    }
}

fn weight(piece: &PieceEntry) -> u64 {
    let orders = u64::from(piece.orders);
    let beyond = u64::from(piece.bytes).saturating_sub(orders * ORDER_IMAGE_BYTES);
    let each = if piece.orders == PIECE_ORDERS { ORDER_OF_MANY_BYTES } else { ORDER_BYTES };
    orders * each + beyond * IMAGE_GROWS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(activities: &[(u32, u64)]) -> Plan {
        let mut plan = Plan::default();
        for (home, bytes) in activities {
            plan.homes.insert(ShardId(*home), ());
            plan.add(ShardId(*home), *bytes);
        }
        plan
    }

    #[test]
    fn passes_keep_the_budget_leave_nothing_out_and_cut_no_activity() {
        let mut plan = plan(&[(1, 40), (2, 70), (5, 20), (6, 300), (9, 1)]);
        plan.add(ShardId(4), 9);
        let all = |numbers: &[(u32, u32)]| -> Vec<RangeInclusive<ShardId>> {
            numbers.iter().map(|(first, last)| ShardId(*first)..=ShardId(*last)).collect()
        };
        assert_eq!(plan.passes(100), all(&[(0, 1), (2, 5), (6, 8), (9, u32::MAX)]));
        assert_eq!(plan.passes(1_000), one_pass());
        assert_eq!(plan.passes(1), all(&[(0, 1), (2, 4), (5, 5), (6, 8), (9, u32::MAX)]));
        assert_eq!(Plan::default().passes(1), one_pass());
    }
}
