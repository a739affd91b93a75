//! Refusals: the expected answers other than yes. The order of the variants of a purchase is their precedence, which
//! `place.rs` follows and a table in its tests holds.

use super::order::OrderState;
use crate::ids::{ActivityId, SkuId, UnixMillis};

/// Why a command changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The key was used for something else.
    #[error("this Idempotency-Key was used here with another body")]
    KeyReused,
    /// The sale opens later.
    #[error("the sale has not started")]
    NotStarted {
        /// When.
        starts_at_ms: UnixMillis,
    },
    /// The window is over, or the sale was closed.
    #[error("the sale has ended")]
    Ended,
    /// An operator paused the sale.
    #[error("the sale is paused; it may go on")]
    Paused,
    /// No such SKU in this activity.
    #[error("there is no such SKU in this activity")]
    SkuNotFound,
    /// Below 1, or above what one order may have.
    #[error("the quantity is an integer from 1 to {max}")]
    InvalidQuantity {
        /// The largest that would do.
        max: u32,
    },
    /// The user holds or has bought as much as anyone may, or has placed as many orders as anyone may.
    #[error("this user has as much as the sale's limit allows")]
    LimitReached {
        /// The user's orders that count, by their numbers in the shard.
        orders: Vec<u32>,
    },
    /// Fewer units are free than asked for.
    #[error("fewer units are free than asked for")]
    SoldOut,

    /// No such order, or another user's.
    #[error("this user has no such order")]
    OrderNotFound,
    /// The order is no longer held.
    #[error("the order is {}; only a held order can be cancelled", state.as_str())]
    OrderNotCancellable {
        /// What it is instead.
        state: OrderState,
    },

    /// The order is not paid.
    #[error("the order is {}; only a paid order can be refunded", state.as_str())]
    OrderNotRefundable {
        /// What it is instead.
        state: OrderState,
    },
    /// The payment's id came before, for another order, amount or currency.
    #[error("this payment_id was received with another content")]
    PaymentReused,
    /// No such payment.
    #[error("there is no such payment")]
    PaymentNotFound,
    /// The payment paid its order, which stands.
    #[error("the payment is applied: it paid its order; refund the order first")]
    RefundNotDue,

    /// An operator closed the activity for good.
    #[error("the activity was closed for good")]
    ActivityClosed,
    /// The activity has left memory, and nothing changes in it any more.
    #[error("the activity ended long ago and has left memory (journal.retain_ended_s); nothing in it can be changed")]
    ActivityLeft,
    /// The definition has changed since the caller read it.
    #[error("the version that stands is {version} (0: there is no such activity); read it and try again")]
    VersionConflict {
        /// The version that stands.
        version: u64,
    },
    /// A field that may not change (any more).
    #[error("{field} cannot be changed (any more)")]
    ImmutableField {
        /// Which.
        field: String,
    },
    /// Stock cannot be lowered so far, because units are held or sold.
    #[error("the stock of SKU {sku} can be lowered by {largest_reduction} at most now; the rest is held or sold")]
    StockTooLow {
        /// Of which SKU.
        sku: SkuId,
        /// The largest reduction that would do now.
        largest_reduction: u32,
    },
    /// The definition asks for more than an activity can hold, or its window starts too late for its end.
    #[error("past the bound of {what}")]
    TooLarge {
        /// What is too large, and its bound.
        what: &'static str,
    },
    /// The SKU is for sale in another activity at the same time.
    #[error(
        "SKU {sku} is for sale in activity {activity_id} at the same time; move a window, or set shared_sku in both"
    )]
    SkuInUse {
        /// Which SKU.
        sku: SkuId,
        /// Where else.
        activity_id: ActivityId,
    },
}

impl Refusal {
    /// The SKU that the change is refused for because too few of its units are free here.
    #[must_use]
    pub fn scarce_sku(&self) -> Option<SkuId> {
        match self {
            Self::StockTooLow { sku, .. } => Some(sku.clone()),
            Self::ImmutableField { field } => field.strip_prefix("skus.").and_then(|sku| sku.parse().ok()),
            _ => None,
        }
    }

    /// The stable code that clients switch on.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::KeyReused => "idempotency_key_reused",
            Self::NotStarted { .. } => "not_started",
            Self::Ended => "ended",
            Self::Paused => "paused",
            Self::SkuNotFound => "sku_not_found",
            Self::InvalidQuantity { .. } => "invalid_quantity",
            Self::LimitReached { .. } => "limit_reached",
            Self::SoldOut => "sold_out",
            Self::OrderNotFound => "order_not_found",
            Self::OrderNotCancellable { .. } => "order_not_cancellable",
            Self::OrderNotRefundable { .. } => "order_not_refundable",
            Self::PaymentReused => "payment_mismatch",
            Self::PaymentNotFound => "not_found",
            Self::RefundNotDue => "refund_not_due",
            Self::ActivityClosed | Self::ActivityLeft => "activity_closed",
            Self::VersionConflict { .. } => "version_conflict",
            Self::ImmutableField { .. } => "immutable_field",
            Self::StockTooLow { .. } | Self::TooLarge { .. } => "invalid_definition",
            Self::SkuInUse { .. } => "sku_in_use",
        }
    }
}
