//! The fields of red packets, and back. What an activity of this kind shares with a flash sale is read beside it.

use serde::Serialize;

use super::instant::rfc3339;
use super::read::window;
use crate::domain::definition::{Packets, RoundDefinition, SKUS_MAX};
use crate::domain::split::{PACKET_CENTS_MAX, PACKETS_MAX, Split, Terms, Unsplittable};
use crate::faults::{Faults, Fields};
use crate::ids::JSON_INTEGER_MAX;

/// Reads the fields; `None` only where a fault was noted.
pub(super) fn packets(fields: &mut Fields<'_>, faults: &Faults) -> Option<Packets> {
    let (split, min_cents, max_cents) = bounds(fields);
    fields.required("rounds", "add at least one round with starts_at, ends_at, total_cents and packets");
    let items = fields.list("rounds")?;
    if items.is_empty() || items.len() > SKUS_MAX {
        let what = format!("must be from 1 to {SKUS_MAX}, are {}", items.len());
        fields.fault("rounds", what, "spread them over several activities");
        return None;
    }
    let mut rounds: Vec<RoundDefinition> = Vec::with_capacity(items.len());
    for (place, item) in items.iter().enumerate() {
        let path = format!("rounds[{place}]");
        let Some(mut fields) = Fields::of(item, &path, faults) else { continue };
        let (starts_at_ms, ends_at_ms) = window(&mut fields);
        fields.required("total_cents", "add the round's budget");
        fields.required("packets", "add into how many packets it is split");
        let total_cents = fields.integer("total_cents", 1..=JSON_INTEGER_MAX);
        let packets = fields.integer("packets", 1..=PACKETS_MAX);
        if rounds.last().is_some_and(|before| starts_at_ms < before.ends_at_ms) {
            fields.fault("starts_at", "is before the end of the round before", "put the rounds in order, apart");
        }
        if let (Some(total_cents), Some(packets), Some(min_cents), Some(max_cents)) =
            (total_cents, packets, min_cents, max_cents)
        {
            check_budget(&fields, Terms { split, packets, total_cents, min_cents, max_cents });
        }
        fields.finish();
        let (total_cents, packets) = (total_cents.unwrap_or(0), packets.unwrap_or(0));
        rounds.push(RoundDefinition { starts_at_ms, ends_at_ms, total_cents, packets, plan: None });
    }
    Some(Packets { split, min_cents: min_cents?, max_cents: max_cents?, rounds, shop: None })
}

/// How budgets are split, and between which bounds.
pub(super) fn bounds(fields: &mut Fields<'_>) -> (Split, Option<u64>, Option<u64>) {
    fields.required("split", "add split = \"random\" or \"equal\"");
    let split = match fields.choice("split", &["random", "equal"]) {
        Some("equal") => Split::Equal,
        _ => Split::Random,
    };
    fields.required("min_cents", "add the least that a packet holds, at least 1");
    fields.required("max_cents", "add the most that a packet holds");
    let min_cents = fields.integer("min_cents", 1..=PACKET_CENTS_MAX);
    let max_cents = fields.integer("max_cents", 1..=PACKET_CENTS_MAX);
    if let (Some(min), Some(max)) = (min_cents, max_cents)
        && max < min
    {
        fields.fault("max_cents", "is below min_cents", "raise it, or lower min_cents");
    }
    (split, min_cents, max_cents)
}

/// Notes a fault where the budget cannot be split so, with the nearest figures that would do.
pub(super) fn check_budget(fields: &Fields<'_>, terms: Terms) {
    match terms.check() {
        Err(Unsplittable::TooLittle { least }) => {
            let what = format!("is below packets times min_cents, {least}");
            let most_packets = (terms.total_cents / terms.min_cents).max(1);
            let mend = format!("at least {least} would do, or at most {most_packets} packets");
            fields.fault("total_cents", what, mend);
        }
        Err(Unsplittable::TooMuch { most }) => {
            let what = format!("is above packets times max_cents, {most}");
            let least_packets = terms.total_cents.div_ceil(terms.max_cents);
            let mend = format!("at most {most} would do, or at least {least_packets} packets");
            fields.fault("total_cents", what, mend);
        }
        // The bounds have their own faults.
        Ok(()) | Err(Unsplittable::Packets | Unsplittable::Bounds) => {}
    }
}

/// One round, as people write it.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = RoundDefinition)]
pub struct RoundWritten {
    /// RFC 3339, in UTC.
    #[schema(example = "2026-11-11T20:00:00+08:00")]
    pub starts_at: String,
    /// RFC 3339, in UTC.
    #[schema(example = "2026-11-11T20:00:30+08:00")]
    pub ends_at: String,
    /// The budget.
    #[schema(example = 1_000_000)]
    pub total_cents: u64,
    /// Into how many packets it is split.
    #[schema(example = 5000)]
    pub packets: u32,
}

impl From<&RoundDefinition> for RoundWritten {
    fn from(round: &RoundDefinition) -> Self {
        Self {
            starts_at: rfc3339(round.starts_at_ms),
            ends_at: rfc3339(round.ends_at_ms),
            total_cents: round.total_cents,
            packets: round.packets,
        }
    }
}
