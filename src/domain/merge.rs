//! The three-way merge of a reload: what changed in the catalogue since it was last applied is applied to what stands,
//! so that what a `PUT` or a restock did in between stays. Stock is applied as a difference.

use super::definition::{Definition, Packets, RoundDefinition, SkuDefinition};
use crate::ids::{Qty, SkuId};

/// `ours` with every change from `base` to `theirs`. Without a base, everything in `theirs` counts as changed.
///
/// # Errors
/// The SKU whose stock would fall below nothing.
pub(super) fn merge(ours: &Definition, base: Option<&Definition>, theirs: &Definition) -> Result<Definition, SkuId> {
    let Some(base) = base else { return Ok(theirs.clone()) };
    macro_rules! pick {
        ($field:ident) => {
            if base.$field == theirs.$field { ours.$field.clone() } else { theirs.$field.clone() }
        };
    }
    match (&ours.packets, &base.packets, &theirs.packets) {
        (None, _, None) => {}
        (Some(our), Some(was), Some(is)) => {
            let packets = merge_packets(our, was, is);
            let (title, currency, shards, limit) =
                (pick!(title), pick!(currency), pick!(shards), pick!(per_user_limit));
            if packets.rounds.is_empty() {
                // Refused as what no activity can be; there is no window to make of it.
                return Ok(Definition { skus: Vec::new(), packets: Some(Box::new(packets)), ..theirs.clone() });
            }
            return Ok(Definition::of_packets(title, currency, shards, limit, packets));
        }
        // Another kind, which is refused for that alone.
        _ => return Ok(theirs.clone()),
    }
    Ok(Definition {
        title: pick!(title),
        currency: pick!(currency),
        starts_at_ms: pick!(starts_at_ms),
        ends_at_ms: pick!(ends_at_ms),
        shards: pick!(shards),
        per_user_limit: pick!(per_user_limit),
        payment_window_ms: pick!(payment_window_ms),
        on_late_payment: pick!(on_late_payment),
        shared_sku: pick!(shared_sku),
        skus: merge_skus(ours, base, theirs)?,
        packets: None,
    })
}

/// Rounds go by their numbers, as SKUs do by their names.
fn merge_packets(our: &Packets, was: &Packets, is: &Packets) -> Packets {
    let numbers = 0..our.rounds.len().max(is.rounds.len());
    let rounds = numbers.filter_map(|number| {
        match (our.rounds.get(number), was.rounds.get(number), is.rounds.get(number)) {
            (Some(our), Some(was), Some(is)) => Some(RoundDefinition {
                starts_at_ms: newer(our.starts_at_ms, was.starts_at_ms, is.starts_at_ms),
                ends_at_ms: newer(our.ends_at_ms, was.ends_at_ms, is.ends_at_ms),
                total_cents: newer(our.total_cents, was.total_cents, is.total_cents),
                packets: newer(our.packets, was.packets, is.packets),
                plan: None,
            }),
            (_, None, Some(is)) => Some(is.clone()),
            (Some(our), None, None) => Some(our.clone()),
            (Some(_), Some(_), None) | (None, _, _) => None, // taken off, by the catalogue or by a person
        }
    });
    Packets {
        split: newer(our.split, was.split, is.split),
        min_cents: newer(our.min_cents, was.min_cents, is.min_cents),
        max_cents: newer(our.max_cents, was.max_cents, is.max_cents),
        rounds: rounds.collect(),
        shop: our.shop.clone(),
    }
}

/// What the catalogue says now where that changed there, else what stands.
fn newer<T: PartialEq>(our: T, was: T, is: T) -> T {
    if was == is { our } else { is }
}

fn merge_skus(ours: &Definition, base: &Definition, theirs: &Definition) -> Result<Vec<SkuDefinition>, SkuId> {
    let mut merged = Vec::with_capacity(ours.skus.len().max(theirs.skus.len()));
    for our in &ours.skus {
        match (base.sku(&our.sku_id), theirs.sku(&our.sku_id)) {
            (Some(was), Some(is)) => merged.push(merge_sku(our, was, is)?),
            (Some(_), None) => {} // taken off the catalogue
            (None, Some(is)) => merged.push(is.clone()),
            (None, None) => merged.push(our.clone()),
        }
    }
    // What the catalogue had before and we have no more, a person took off: it stays off until a person brings it back
    // or the catalogue drops it and lists it anew.
    let is_new = |sku: &&SkuDefinition| ours.sku(&sku.sku_id).is_none() && base.sku(&sku.sku_id).is_none();
    merged.extend(theirs.skus.iter().filter(is_new).cloned());
    Ok(merged)
}

fn merge_sku(our: &SkuDefinition, was: &SkuDefinition, is: &SkuDefinition) -> Result<SkuDefinition, SkuId> {
    let stock = i64::from(our.stock.0) + i64::from(is.stock.0) - i64::from(was.stock.0);
    let stock = u32::try_from(stock).map_err(|_| our.sku_id.clone())?;
    Ok(SkuDefinition {
        sku_id: our.sku_id.clone(),
        title: if was.title == is.title { our.title.clone() } else { is.title.clone() },
        price_cents: if was.price_cents == is.price_cents { our.price_cents } else { is.price_cents },
        stock: Qty(stock),
    })
}
