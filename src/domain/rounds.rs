//! Changing what red packets hand out: rounds that have not started may become anything, those that have stay as they are.

use super::definition::{Definition, Packets};
use super::event::StockChange;
use super::refusal::Refusal;
use super::round::Round;
use super::sale::Sale;
use super::slots::Slots;
use super::split::Unsplittable;
use crate::ids::{SkuIndex, UnixMillis};

impl Sale {
    /// Whether the rounds may become those of `new`.
    pub(super) fn check_rounds(&self, new: &Definition, now_ms: UnixMillis) -> Result<(), Refusal> {
        let immutable = |field: String| Err(Refusal::ImmutableField { field });
        let definition = new;
        let (old, new) = match (self.definition.packets.as_deref(), new.packets.as_deref()) {
            (None, None) => return Ok(()),
            (Some(old), Some(new)) => (old, new),
            _ => return immutable("kind".to_owned()),
        };
        check_order(new)?;
        check_budgets(definition)?;
        for (number, (before, round)) in old.rounds.iter().zip(&self.rounds).enumerate() {
            if now_ms < before.starts_at_ms && !round.is_over {
                continue;
            }
            let Some(after) = new.rounds.get(number) else { return immutable(format!("rounds[{number}]")) };
            let is_past = now_ms >= before.ends_at_ms || round.is_over;
            let changed = [
                ("starts_at", before.starts_at_ms != after.starts_at_ms),
                ("ends_at", is_past && before.ends_at_ms != after.ends_at_ms),
                ("total_cents", before.total_cents != after.total_cents),
                ("packets", before.packets != after.packets),
            ];
            if let Some((field, _)) = changed.into_iter().find(|(_, differs)| *differs) {
                return immutable(format!("rounds[{number}].{field}"));
            }
            let bounds = |packets: &Packets| (packets.split, packets.min_cents, packets.max_cents);
            if bounds(old) != bounds(new) {
                // They are every round's, and this one has started.
                return immutable("split, min_cents, max_cents".to_owned());
            }
        }
        Ok(())
    }

    /// What must happen to the slots so that the new rounds stand: a round that splits otherwise has fresh ones, all of them
    /// here, and its old ones are gone. What lies elsewhere must have been gathered before.
    pub(super) fn round_changes(&self, new: &Definition) -> Result<Vec<StockChange>, Refusal> {
        let mut changes = Vec::new();
        for (place, sku) in self.skus.iter().enumerate().filter(|(_, sku)| sku.listed) {
            let stands = new.plan(place).is_some_and(|plan| *plan == self.rounds[place].plan);
            if stands {
                continue;
            }
            let all = self.definition.skus[place].stock.0;
            let slots = sku.free.highest(all);
            let slots = slots
                .ok_or_else(|| Refusal::StockTooLow { sku: sku.sku_id.clone(), largest_reduction: sku.free.count() })?;
            changes.push(StockChange::Removed { sku: index(place), slots });
        }
        for (place, sku) in new.skus.iter().enumerate() {
            let plan = new.plan(place).expect("M4: a round that is to stand is planned");
            if self.rounds.get(place).is_none_or(|round| round.plan != *plan) {
                let slots = Slots::range(plan.first_slot, sku.stock.0);
                changes.push(StockChange::Added { sku: index(place), slots });
            }
        }
        Ok(changes)
    }

    /// Takes over the rounds of a definition that stands from now on.
    pub(super) fn take_rounds(&mut self, definition: &Definition) {
        let plans: Vec<_> = (0..definition.skus.len()).map_while(|round| definition.plan(round)).collect();
        self.rounds.truncate(plans.len());
        for (number, plan) in plans.into_iter().enumerate() {
            match self.rounds.get_mut(number) {
                Some(round) if round.plan == *plan => {}
                Some(round) => {
                    assert_eq!(round.granted, 0, "M1: a round that has started stays as it is");
                    *round = Round::to_come(plan.clone());
                }
                None => self.rounds.push(Round::to_come(plan.clone())),
            }
        }
    }
}

/// Two sound definitions can merge into one that is not.
fn check_order(packets: &Packets) -> Result<(), Refusal> {
    let in_order = packets.rounds.windows(2).all(|two| two[0].ends_at_ms <= two[1].starts_at_ms);
    let windows = packets.rounds.iter().all(|round| round.starts_at_ms < round.ends_at_ms);
    if in_order && windows && !packets.rounds.is_empty() {
        Ok(())
    } else {
        Err(Refusal::TooLarge { what: "rounds: at least one, in order, not overlapping" })
    }
}

/// Nor need its budgets be such as can be split.
fn check_budgets(new: &Definition) -> Result<(), Refusal> {
    let mut terms = (0..new.skus.len()).map_while(|round| new.terms(round));
    match terms.try_for_each(|terms| terms.check()) {
        Ok(()) => Ok(()),
        Err(Unsplittable::Packets) => Err(Refusal::TooLarge { what: "a round's packets: from 1 to 10,000,000" }),
        Err(Unsplittable::Bounds) => Err(Refusal::TooLarge { what: "min_cents: at least 1, and at most max_cents" }),
        Err(Unsplittable::TooLittle { .. } | Unsplittable::TooMuch { .. }) => Err(Refusal::TooLarge {
            what: "a round's total_cents: from packets times min_cents to packets times max_cents",
        }),
    }
}

fn index(round: usize) -> SkuIndex {
    SkuIndex(u16::try_from(round).expect("an activity's rounds are bounded"))
}
