//! A sale's numbers.

use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::actors::ask::SaleView;
use crate::domain::sale::SkuCount;
use crate::ids::ActivityId;

/// A sale's numbers.
#[derive(Serialize, ToSchema)]
pub struct Stats {
    #[schema(example = "1001")]
    activity_id: String,
    /// `scheduled`, `running`, `paused` or `ended`.
    #[schema(example = "running")]
    state: &'static str,
    skus: Vec<SkuStats>,
    /// Orders ever placed.
    accepted: u64,
    /// Refusals by code since the process started.
    #[schema(value_type = Object, example = json!({"sold_out": 49000}))]
    refused: Map<String, Value>,
    shards: Vec<ShardStats>,
}

/// One SKU's units: `stock = available + held + sold`.
#[derive(Clone, Serialize, ToSchema)]
pub struct SkuStats {
    #[schema(example = "2001")]
    sku_id: String,
    #[schema(example = 1000)]
    stock: u32,
    #[schema(example = 983)]
    available: u32,
    #[schema(example = 17)]
    held: u32,
    #[schema(example = 0)]
    sold: u32,
}

impl From<&SkuCount> for SkuStats {
    fn from(count: &SkuCount) -> Self {
        Self {
            sku_id: count.sku_id.to_string(),
            stock: count.stock.0,
            available: count.available.0,
            held: count.held.0,
            sold: count.sold.0,
        }
    }
}

/// One shard's part of a sale: its users' orders, and the units that are there. Units move between shards.
#[derive(Serialize, ToSchema)]
pub struct ShardStats {
    shard: u32,
    accepted: u64,
    skus: Vec<SkuStats>,
}

impl Stats {
    /// The numbers of a sale.
    pub fn new(activity_id: ActivityId, sale: &SaleView) -> Self {
        let units = |skus: &[SkuCount]| skus.iter().map(SkuStats::from).collect();
        let shards = sale.shards.iter();
        let shards =
            shards.map(|part| ShardStats { shard: part.shard.0, accepted: part.accepted, skus: units(&part.skus) });
        Self {
            activity_id: activity_id.to_string(),
            state: sale.phase.as_str(),
            skus: units(&sale.skus),
            accepted: sale.accepted,
            refused: sale.refused.iter().map(|(code, count)| ((*code).to_owned(), (*count).into())).collect(),
            shards: shards.collect(),
        }
    }
}
