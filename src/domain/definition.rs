//! What an operator says of an activity, once it has been read and found sound. Plain data; who may change what is
//! decided in `redefine.rs`.

use serde::{Deserialize, Serialize};

use crate::ids::{Cents, Qty, SkuId, UnixMillis};

/// SKUs in one activity. Bounds the size of a definition event and lets a SKU's place be a small number.
pub const SKUS_MAX: usize = 200;
/// Units of one SKU at a time. Over its life a SKU may have more slots than that, but fewer than 2^32.
pub const STOCK_MAX: u32 = 100_000_000;
/// Units in one order. Bounds the size of an order event: each unit may lie in a range of its own.
pub const QUANTITY_MAX: u32 = 1_000;
/// Units that one user may hold or have bought in one activity.
pub const PER_USER_LIMIT_MAX: u32 = 10_000;
/// A unit's price; with [`QUANTITY_MAX`] an order's amount stays below 2^53.
pub const PRICE_CENTS_MAX: u64 = 1_000_000_000_000;
/// The longest payment window: 30 days.
pub const PAYMENT_WINDOW_S_MAX: u64 = 30 * 24 * 3600;
/// A title's longest length in bytes of UTF-8; bounds the size of a definition event.
pub const TITLE_BYTES_MAX: usize = 200;

/// A flash sale.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Definition {
    /// What shoppers see.
    pub title: String,
    /// ISO 4217, three capital letters.
    pub currency: String,
    /// The first instant at which an order is taken.
    pub starts_at_ms: UnixMillis,
    /// The first instant at which none is taken any more.
    pub ends_at_ms: UnixMillis,
    /// Over how many shards the users are spread.
    pub shards: u16,
    /// Units that one user may hold or have bought, over the whole activity.
    pub per_user_limit: Qty,
    /// How long a hold waits for its payment.
    pub payment_window_ms: u64,
    /// What becomes of a payment that arrives after its hold expired.
    pub on_late_payment: OnLatePayment,
    /// Whether its SKUs may stand in another activity whose window overlaps.
    pub shared_sku: bool,
    /// What is for sale, in the operator's order.
    pub skus: Vec<SkuDefinition>,
}

/// One SKU of a [`Definition`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkuDefinition {
    /// Its name, unique in the activity.
    pub sku_id: SkuId,
    /// What shoppers see.
    pub title: String,
    /// A unit's price, for new orders.
    pub price_cents: Cents,
    /// All units, whether free, held or sold.
    pub stock: Qty,
}

/// What becomes of a payment that arrives after its hold expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnLatePayment {
    /// A fresh slot where limit, stock and window allow, else the money is owed back.
    ReacquireOrRefund,
    /// The money is owed back.
    Refund,
}

impl Definition {
    /// The largest number of units that a single order of this activity may have.
    #[must_use]
    pub fn quantity_max(&self) -> u32 {
        self.per_user_limit.0.min(QUANTITY_MAX)
    }

    /// Whether the windows of the two share an instant.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.starts_at_ms < other.ends_at_ms && other.starts_at_ms < self.ends_at_ms
    }

    /// The SKU of that name.
    #[must_use]
    pub fn sku(&self, sku_id: &SkuId) -> Option<&SkuDefinition> {
        self.skus.iter().find(|sku| sku.sku_id == *sku_id)
    }
}
