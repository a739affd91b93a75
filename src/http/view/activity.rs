//! Activities, as shoppers and as operators see them.

use serde::Serialize;
use utoipa::ToSchema;

use super::{ShopLine, text};
use crate::actors::ask::SaleView;
use crate::actors::router::Listing;
use crate::catalog::Written;
use crate::domain::definition::RoundDefinition;
use crate::domain::split::Split;
use crate::domain::{Definition, Phase};
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
            kind: definition.kind(),
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
    /// Units that one user may hold or have bought; of red packets, packets that one may grab in a round.
    #[schema(example = 1)]
    per_user_limit: u32,
    #[schema(example = "CNY")]
    currency: String,
    /// Of a flash sale.
    #[serde(skip_serializing_if = "Option::is_none")]
    skus: Option<Vec<SkuLine>>,
    /// Of red packets.
    #[serde(skip_serializing_if = "Option::is_none")]
    rounds: Option<Vec<RoundLine>>,
}

/// A round of red packets.
#[derive(Serialize, ToSchema)]
pub struct RoundLine {
    /// From 0.
    #[schema(example = 0)]
    round: usize,
    /// The first instant at which a packet can be grabbed.
    #[schema(example = 1_794_398_400_000_u64)]
    starts_at_ms: u64,
    /// The first instant at which none can any more.
    #[schema(example = 1_794_398_430_000_u64)]
    ends_at_ms: u64,
    /// The budget.
    #[schema(example = 1_000_000)]
    total_cents: u64,
    /// Into how many packets it is split.
    #[schema(example = 5000)]
    packets: u32,
    /// `random` or `equal`.
    #[schema(value_type = String, example = "random")]
    split: Split,
    /// The least that a packet holds.
    #[schema(example = 1)]
    min_cents: u64,
    /// The most.
    #[schema(example = 20_000)]
    max_cents: u64,
    /// Those that nobody has grabbed yet; none any more once what was left is refunded.
    #[schema(example = 4959)]
    remaining: u32,
    /// SHA-256 over the seed and what is split, fixed before the round starts.
    #[schema(example = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")]
    commitment: Option<String>,
    /// What the split was drawn from; `null` until the round is over.
    #[schema(example = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f")]
    seed: Option<String>,
}

impl RoundLine {
    fn all(definition: &Definition, sale: &SaleView) -> Option<Vec<Self>> {
        let packets = definition.packets.as_deref()?;
        let line = |(round, said): (usize, &RoundDefinition)| {
            let count = sale.rounds.get(round).copied().unwrap_or_default();
            // Where the activity was closed, all its rounds are over.
            let is_over = sale.at_ms >= said.ends_at_ms || sale.phase == Phase::Ended;
            Self {
                round,
                starts_at_ms: said.starts_at_ms.0,
                ends_at_ms: said.ends_at_ms.0,
                total_cents: said.total_cents,
                packets: said.packets,
                split: packets.split,
                min_cents: packets.min_cents,
                max_cents: packets.max_cents,
                remaining: said.packets.saturating_sub(count.granted + count.refunded),
                commitment: said.plan.as_ref().map(|plan| plan.terms.commitment(plan.seed)),
                seed: said.plan.as_ref().filter(|_| is_over).map(|plan| plan.seed.to_hex()),
            }
        };
        Some(packets.rounds.iter().enumerate().map(line).collect())
    }
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
            skus: definition.packets.is_none().then(|| lines.collect()),
            rounds: RoundLine::all(definition, sale),
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
    /// Of a shop's own packets.
    #[serde(flatten)]
    of: ShopLine,
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
            of: ShopLine::of(sale.definition.shop()),
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
            of: ShopLine::of(listing.definition.shop()),
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
