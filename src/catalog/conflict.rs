//! Whether two activities may be on sale together. A unit of a SKU is counted in one activity only, so one SKU in two
//! of them at one time is most likely an operator's slip, unless both say that it is meant.

use std::collections::BTreeMap;

use crate::domain::definition::Definition;
use crate::ids::{ActivityId, SkuId};

/// A SKU that two activities sell at one time and do not both share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The activity with the lower number.
    pub first: ActivityId,
    /// The other one.
    pub second: ActivityId,
    /// What both sell.
    pub sku_id: SkuId,
}

/// The first SKU of `a` that stands in `b` too, where their windows overlap and not both say `shared_sku`.
#[must_use]
pub fn conflict(a: &Definition, b: &Definition) -> Option<SkuId> {
    // What counts a round's packets is no SKU that anybody sells.
    let sell = a.packets.is_none() && b.packets.is_none();
    if !sell || !a.overlaps(b) || (a.shared_sku && b.shared_sku) {
        return None;
    }
    a.skus.iter().find(|sku| b.sku(&sku.sku_id).is_some()).map(|sku| sku.sku_id.clone())
}

/// Every conflict among `activities`, at most `conflicts_max`, one for each pair and SKU.
///
/// Only activities that have a SKU in common are compared, so a large catalogue with few of these is read quickly.
#[must_use]
pub fn conflicts(activities: &BTreeMap<ActivityId, Definition>, conflicts_max: usize) -> Vec<Conflict> {
    let mut sold_in: BTreeMap<&SkuId, Vec<(ActivityId, &Definition)>> = BTreeMap::new();
    for (id, definition) in activities {
        for sku in &definition.skus {
            sold_in.entry(&sku.sku_id).or_default().push((*id, definition));
        }
    }
    let mut found = Vec::new();
    for (sku_id, mut sellers) in sold_in {
        sellers.sort_by_key(|(id, definition)| (definition.starts_at_ms, *id));
        for (place, (id, definition)) in sellers.iter().enumerate() {
            let while_it_runs = |other: &&(ActivityId, &Definition)| other.1.starts_at_ms < definition.ends_at_ms;
            for (other_id, other) in sellers[place + 1..].iter().take_while(while_it_runs) {
                if found.len() == conflicts_max {
                    return found;
                }
                if conflict(definition, other).is_some() {
                    let (first, second) = (*id.min(other_id), *id.max(other_id));
                    found.push(Conflict { first, second, sku_id: sku_id.clone() });
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::read_toml;

    fn sale(hours: std::ops::Range<u32>, shared: bool, skus: &[&str]) -> Definition {
        let mut text = format!(
            "kind = 'flash_sale'\ntitle = 't'\nshared_sku = {shared}\n\
             starts_at = 2026-11-11T{:02}:00:00Z\nends_at = 2026-11-11T{:02}:00:00Z\n",
            hours.start, hours.end
        );
        for sku in skus {
            text += &format!("[[skus]]\nsku_id = '{sku}'\ntitle = 't'\nprice_cents = 1\nstock = 1\n");
        }
        read_toml(&text, "1.toml".as_ref()).expect("sound")
    }

    #[test]
    fn one_sku_at_one_time_conflicts_unless_both_share() {
        for (a, b, expected) in [
            (sale(0..2, false, &["x", "y"]), sale(1..3, false, &["y"]), Some("y")),
            (sale(0..2, true, &["y"]), sale(1..3, false, &["y"]), Some("y")),
            (sale(0..2, true, &["y"]), sale(1..3, true, &["y"]), None),
            (sale(0..2, false, &["y"]), sale(2..3, false, &["y"]), None),
            (sale(0..2, false, &["x"]), sale(1..3, false, &["y"]), None),
        ] {
            assert_eq!(conflict(&a, &b).map(|sku| sku.to_string()).as_deref(), expected);
            assert_eq!(conflict(&b, &a).map(|sku| sku.to_string()).as_deref(), expected, "either way round");
        }
    }

    #[test]
    fn all_conflicts_are_found_up_to_the_bound() {
        let activities: BTreeMap<ActivityId, Definition> = [
            (ActivityId(1), sale(3..9, false, &["x", "y"])),
            (ActivityId(2), sale(0..4, false, &["x"])),
            (ActivityId(3), sale(4..5, false, &["y"])),
            (ActivityId(4), sale(9..10, false, &["x", "y"])),
        ]
        .into();
        let named = |list: Vec<Conflict>| -> Vec<_> {
            list.into_iter().map(|c| (c.first.0, c.second.0, c.sku_id.to_string())).collect()
        };
        assert_eq!(named(conflicts(&activities, 9)), [(1, 2, "x".into()), (1, 3, "y".into())]);
        assert_eq!(conflicts(&activities, 1).len(), 1);
    }
}
