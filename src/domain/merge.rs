//! The three-way merge of a reload: what changed in the catalogue since it was last applied is applied to what stands,
//! so that what a `PUT` or a restock did in between stays. Stock is applied as a difference.

use super::definition::{Definition, Packets, SkuDefinition};
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
    if let (Some(ours_packets), Some(theirs_packets)) = (&ours.packets, &theirs.packets) {
        let packets = if base.packets == theirs.packets { ours_packets } else { theirs_packets };
        let merged = |packets: &Packets| {
            Definition::of_packets(pick!(title), pick!(currency), pick!(shards), pick!(per_user_limit), packets.clone())
        };
        return Ok(merged(packets));
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
        packets: theirs.packets.clone(),
    })
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
