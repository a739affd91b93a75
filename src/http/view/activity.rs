//! Activities, as shoppers and as operators see them.

use serde::Serialize;
use utoipa::ToSchema;

use super::text;
use crate::actors::ask::SaleView;
use crate::actors::router::Listing;
use crate::catalog::Written;
use crate::domain::Definition;
use crate::ids::ActivityId;

/// An activity in a shopper's list.
#[derive(Serialize, ToSchema)]
pub struct ActivityLine {
    #[serde(serialize_with = "text")]
    #[schema(value_type = String, example = "1001")]
    activity_id: ActivityId,
    #[schema(example = "flash_sale")]
    kind: &'static str,
    #[schema(example = "Doorbuster phones")]
    title: String,
    /// `scheduled`, `running`, `paused` or `ended`.
    #[schema(example = "running")]
    state: &'static str,
    /// The first instant at which an order is taken.
    #[schema(example = 1_794_355_200_000_u64)]
    starts_at_ms: u64,
    /// The first instant at which none is taken any more.
    #[schema(example = 1_794_355_800_000_u64)]
    ends_at_ms: u64,
}

impl From<&Listing> for ActivityLine {
    fn from(listing: &Listing) -> Self {
        Self::new(listing.activity_id, &listing.definition, listing.phase.as_str())
    }
}

impl ActivityLine {
    fn new(activity_id: ActivityId, definition: &Definition, state: &'static str) -> Self {
        Self {
            activity_id,
            kind: "flash_sale",
            title: definition.title.clone(),
            state,
            starts_at_ms: definition.starts_at_ms.0,
            ends_at_ms: definition.ends_at_ms.0,
        }
    }
}

/// A shopper's list of activities.
#[derive(Serialize, ToSchema)]
pub struct Activities {
    /// The server's time, for countdowns.
    #[schema(example = 1_794_355_201_000_u64)]
    pub server_time_ms: u64,
    /// In the order of their ids.
    pub activities: Vec<ActivityLine>,
    /// Where the next page starts; `null` at the end.
    pub next_cursor: Option<String>,
}

/// An activity with what it sells.
#[derive(Serialize, ToSchema)]
pub struct ActivityDetail {
    #[serde(flatten)]
    line: ActivityLine,
    /// The server's time, for countdowns.
    #[schema(example = 1_794_355_201_000_u64)]
    server_time_ms: u64,
    /// Units that one user may hold or have bought.
    #[schema(example = 1)]
    per_user_limit: u32,
    #[schema(example = "CNY")]
    currency: String,
    skus: Vec<SkuLine>,
}

/// What an activity sells.
#[derive(Serialize, ToSchema)]
pub struct SkuLine {
    #[schema(example = "2001")]
    sku_id: String,
    #[schema(example = "Phone")]
    title: String,
    /// A unit's price, for new orders.
    #[schema(example = 199_900)]
    price_cents: u64,
    /// All units.
    #[schema(example = 1000)]
    stock: u32,
    /// Those that are free now.
    #[schema(example = 983)]
    remaining: u32,
}

impl ActivityDetail {
    /// A sale as shoppers see it.
    pub fn new(activity_id: ActivityId, sale: &SaleView) -> Self {
        let definition = &sale.definition;
        let lines = definition.skus.iter().zip(&sale.skus).map(|(sku, count)| SkuLine {
            sku_id: sku.sku_id.to_string(),
            title: sku.title.clone(),
            price_cents: sku.price_cents.0,
            stock: count.stock.0,
            remaining: count.available.0,
        });
        Self {
            line: ActivityLine::new(activity_id, definition, sale.phase.as_str()),
            server_time_ms: sale.at_ms.0,
            per_user_limit: definition.per_user_limit.0,
            currency: definition.currency.clone(),
            skus: lines.collect(),
        }
    }
}

/// A definition with what stands beside it, as operators see it.
#[derive(Serialize, ToSchema)]
pub struct Standing {
    #[serde(serialize_with = "text")]
    #[schema(value_type = String, example = "1001")]
    activity_id: ActivityId,
    /// For `If-Match`.
    #[schema(example = 1)]
    version: u64,
    /// `scheduled`, `running`, `paused` or `ended`.
    #[schema(example = "running")]
    state: &'static str,
    /// Whether an operator paused it, in its window or not.
    #[schema(example = false)]
    paused: bool,
    #[serde(flatten)]
    definition: Written,
}

impl Standing {
    /// As its shard knows it.
    pub fn of(activity_id: ActivityId, sale: &SaleView) -> Self {
        Self {
            activity_id,
            version: sale.version,
            state: sale.phase.as_str(),
            paused: sale.paused,
            definition: Written::from(&*sale.definition),
        }
    }
}

impl From<&Listing> for Standing {
    fn from(listing: &Listing) -> Self {
        Self {
            activity_id: listing.activity_id,
            version: listing.version,
            state: listing.phase.as_str(),
            paused: listing.paused,
            definition: Written::from(&*listing.definition),
        }
    }
}

/// An operator's list of activities.
#[derive(Serialize, ToSchema)]
pub struct StandingPage {
    /// In the order of their ids.
    pub activities: Vec<Standing>,
    /// Where the next page starts; `null` at the end.
    pub next_cursor: Option<String>,
}
