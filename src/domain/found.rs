//! Founding an activity: the events that define it in each of its shards and give each its share of the stock.

use super::definition::Definition;
use super::event::{ActivityDefined, Entry, Event, SlotsMoved};
use super::part::Part;
use super::slots::Slots;
use crate::ids::{ShardId, SkuIndex, UnixMillis};

/// What founds an activity whose first shard has that number: the home with all the stock, the other parts, and the move
/// of an equal share to each. A crash may cut this anywhere after the first event: what is missing follows from the home.
#[must_use]
pub fn found(home: ShardId, first: ActivityDefined, at_ms: UnixMillis) -> Vec<Entry> {
    let shards = first.definition.shards;
    let entry = |shard, event| Entry { shard, at_ms, event };
    if shards <= 1 {
        return vec![entry(home, Event::ActivityDefined(Box::new(first)))];
    }
    let at_home = Part::sole(home);
    let defined = (0..shards).map(|number| {
        let part = Some(Part { number, ..at_home });
        // Only the home compares with the catalogue.
        let from_catalog = first.from_catalog && number == 0;
        entry(
            at_home.shard(number),
            Event::ActivityDefined(Box::new(ActivityDefined { from_catalog, part, ..first.clone() })),
        )
    });
    let moves = (1..shards).flat_map(|number| {
        shares(&first.definition, number).map(move |(sku, slots)| {
            entry(home, Event::SlotsMoved(SlotsMoved { to: at_home.shard(number), sku, slots }))
        })
    });
    defined.chain(moves).collect()
}

/// A part's share of each SKU: the home keeps the lowest slots, and what does not divide.
fn shares(definition: &Definition, number: u16) -> impl Iterator<Item = (SkuIndex, Slots)> {
    let shards = u32::from(definition.shards);
    (0..).zip(&definition.skus).filter_map(move |(index, sku)| {
        let share = sku.stock.0 / shards;
        let kept = sku.stock.0 - share * (shards - 1);
        let first = kept + share * (u32::from(number) - 1) + 1;
        (share > 0).then(|| (SkuIndex(index), Slots::range(first, share)))
    })
}
