//! A sale's numbers.

use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::actors::ask::{RoundCount, SaleView, ShardView};
use crate::domain::definition::RoundDefinition;
use crate::domain::sale::SkuCount;
use crate::ids::ActivityId;

/// An activity's numbers.
#[derive(Serialize, ToSchema)]
pub struct Stats {
    #[schema(example = "1001")]
    activity_id: String,
    /// `scheduled`, `running`, `paused` or `ended`.
    #[schema(example = "running")]
    state: &'static str,
    /// Of a flash sale.
    #[serde(skip_serializing_if = "Option::is_none")]
    skus: Option<Vec<SkuStats>>,
    /// Of red packets.
    #[serde(skip_serializing_if = "Option::is_none")]
    rounds: Option<Vec<RoundStats>>,
    /// Orders ever placed, or packets ever grabbed.
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
    /// Of a flash sale.
    #[serde(skip_serializing_if = "Option::is_none")]
    skus: Option<Vec<SkuStats>>,
    /// Of red packets.
    #[serde(skip_serializing_if = "Option::is_none")]
    rounds: Option<Vec<ShardRound>>,
}

/// One round's budget: `packets = granted + remaining + refunded`, and its cents alike.
#[derive(Serialize, ToSchema)]
pub struct RoundStats {
    /// From 0.
    #[schema(example = 0)]
    round: usize,
    #[schema(example = 1_000_000)]
    total_cents: u64,
    #[schema(example = 5000)]
    packets: u32,
    #[schema(example = 8_203)]
    granted_cents: u64,
    /// Packets that were grabbed.
    #[schema(example = 41)]
    granted: u32,
    #[schema(example = 991_797)]
    remaining_cents: u64,
    #[schema(example = 4959)]
    remaining: u32,
    #[schema(example = 0)]
    refunded_cents: u64,
    /// Packets that nobody had grabbed when the round ended.
    #[schema(example = 0)]
    refunded: u32,
}

/// What was grabbed of a round in one shard, and what is there.
#[derive(Serialize, ToSchema)]
pub struct ShardRound {
    /// From 0.
    #[schema(example = 0)]
    round: usize,
    #[schema(example = 41)]
    granted: u32,
    #[schema(example = 8_203)]
    granted_cents: u64,
    #[schema(example = 1209)]
    remaining: u32,
}

impl RoundStats {
    fn all(sale: &SaleView) -> Option<Vec<Self>> {
        let packets = sale.definition.packets.as_deref()?;
        let stats = |(round, said): (usize, &RoundDefinition)| {
            let count = sale.rounds.get(round).copied().unwrap_or_default();
            Self {
                round,
                total_cents: said.total_cents,
                packets: said.packets,
                granted_cents: count.granted_cents,
                granted: count.granted,
                remaining_cents: said.total_cents.saturating_sub(count.granted_cents + count.refunded_cents),
                remaining: said.packets.saturating_sub(count.granted + count.refunded),
                refunded_cents: count.refunded_cents,
                refunded: count.refunded,
            }
        };
        Some(packets.rounds.iter().enumerate().map(stats).collect())
    }
}

impl ShardStats {
    fn new(shard: &ShardView, is_of_packets: bool) -> Self {
        let round = |(round, (count, units)): (usize, (&RoundCount, &SkuCount))| ShardRound {
            round,
            granted: count.granted,
            granted_cents: count.granted_cents,
            remaining: units.available.0,
        };
        let rounds = || shard.rounds.iter().zip(&shard.skus).enumerate().map(round).collect();
        Self {
            shard: shard.shard.0,
            accepted: shard.accepted,
            skus: (!is_of_packets).then(|| shard.skus.iter().map(SkuStats::from).collect()),
            rounds: is_of_packets.then(rounds),
        }
    }
}

impl Stats {
    /// The numbers of a sale.
    pub fn new(activity_id: ActivityId, sale: &SaleView) -> Self {
        let is_of_packets = sale.definition.packets.is_some();
        let shards = sale.shards.iter().map(|shard| ShardStats::new(shard, is_of_packets));
        Self {
            activity_id: activity_id.to_string(),
            state: sale.phase.as_str(),
            skus: (!is_of_packets).then(|| sale.skus.iter().map(SkuStats::from).collect()),
            rounds: RoundStats::all(sale),
            accepted: sale.accepted,
            refused: sale.refused.iter().map(|(code, count)| ((*code).to_owned(), (*count).into())).collect(),
            shards: shards.collect(),
        }
    }
}
