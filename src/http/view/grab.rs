//! Packets that were grabbed, as their owners and as operators see them.

use serde::Serialize;
use utoipa::ToSchema;

use super::{maybe_text, text};
use crate::actors::ask::GrabView;
use crate::ids::{ActivityId, OrderId, UserId};

/// A packet that was grabbed. It is yours at once, and for good.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"grab_id": "68719476737", "activity_id": "1002", "round": 0, "packet": 41,
    "amount_cents": 233, "state": "granted", "granted_at_ms": 1_794_398_400_120_u64}))]
pub struct Grab {
    #[serde(serialize_with = "text")]
    #[schema(value_type = String, example = "68719476737")]
    grab_id: OrderId,
    #[serde(serialize_with = "text")]
    #[schema(value_type = String, example = "1002")]
    activity_id: ActivityId,
    /// Of which round, from 0.
    #[schema(example = 0)]
    round: usize,
    /// Which packet of the round, from 0: what it holds stood before the round started.
    #[schema(example = 41)]
    packet: u32,
    #[schema(example = 233)]
    amount_cents: u64,
    /// Always `granted`.
    #[schema(example = "granted")]
    state: &'static str,
    /// When it was grabbed.
    #[schema(example = 1_794_398_400_120_u64)]
    granted_at_ms: u64,
    /// Whose it is; only operators see it.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "maybe_text")]
    #[schema(value_type = Option<String>, example = "42")]
    user_id: Option<UserId>,
}

impl Grab {
    /// As its owner sees it.
    pub fn own(grab: &GrabView) -> Self {
        Self {
            grab_id: grab.grab_id,
            activity_id: grab.activity_id,
            round: grab.round,
            packet: grab.packet,
            amount_cents: grab.amount_cents.0,
            state: "granted",
            granted_at_ms: grab.granted_at_ms.0,
            user_id: None,
        }
    }

    /// As an operator sees it.
    pub fn for_operator(grab: &GrabView) -> Self {
        Self { user_id: Some(grab.user), ..Self::own(grab) }
    }
}

/// Several grabs.
#[derive(Serialize, ToSchema)]
pub struct Grabs {
    /// Newest first for a shopper, oldest first for an operator.
    pub grabs: Vec<Grab>,
    /// Where the next page starts; `null` at the end. A page may be short and still have a next one.
    pub next_cursor: Option<String>,
}
