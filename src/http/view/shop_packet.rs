//! A shop's own packets, as whoever made them sees them.

use serde::Serialize;
use utoipa::ToSchema;

use super::text;
use crate::actors::ask::SaleView;
use crate::domain::Phase;
use crate::domain::definition::Shop;
use crate::domain::split::Split;
use crate::ids::{ActivityId, UserId};

/// A shop's own packets: `packets = granted + remaining + refunded`, and their cents alike.
#[derive(Serialize, ToSchema)]
pub struct ShopPacket {
    #[serde(serialize_with = "text")]
    #[schema(value_type = String, example = "4503599627370513")]
    activity_id: ActivityId,
    /// For `If-Match`.
    #[schema(example = 1)]
    version: u64,
    /// `running`, `paused` or `ended`.
    #[schema(example = "running")]
    state: &'static str,
    #[serde(flatten)]
    of: ShopLine,
    #[schema(example = "Thank you")]
    title: String,
    #[schema(example = "CNY")]
    currency: String,
    #[schema(example = 8_800)]
    total_cents: u64,
    #[schema(example = 20)]
    packets: u32,
    #[schema(value_type = String, example = "random")]
    split: Split,
    #[schema(example = 1)]
    min_cents: u64,
    #[schema(example = 2_000)]
    max_cents: u64,
    #[schema(example = 1_794_398_400_000_u64)]
    starts_at_ms: u64,
    /// The first instant at which none can be grabbed any more.
    #[schema(example = 1_794_484_800_000_u64)]
    expires_at_ms: u64,
    #[schema(example = 3)]
    granted: u32,
    #[schema(example = 1_203)]
    granted_cents: u64,
    #[schema(example = 17)]
    remaining: u32,
    #[schema(example = 7_597)]
    remaining_cents: u64,
    #[schema(example = 0)]
    refunded: u32,
    #[schema(example = 0)]
    refunded_cents: u64,
    /// SHA-256 over the seed and what is split.
    #[schema(example = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")]
    commitment: Option<String>,
    /// What the split was drawn from; `null` until they are over.
    seed: Option<String>,
}

/// Whose packets they are.
#[derive(Default, Serialize, ToSchema)]
pub struct ShopLine {
    /// Of the shop, or of the operator who acted for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "7001")]
    merchant_id: Option<String>,
    /// The shop's own reference for the money.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "wallet-7/2026-11-11")]
    funding_ref: Option<Box<str>>,
}

impl ShopLine {
    /// Nothing, where no shop made them.
    pub fn of(shop: Option<&Shop>) -> Self {
        let merchant_id = shop.map(|shop| UserId::to_string(&shop.merchant));
        Self { merchant_id, funding_ref: shop.and_then(|shop| shop.funding_ref.clone()) }
    }
}

impl ShopPacket {
    /// As they stand.
    ///
    /// # Panics
    /// Where the activity is of no packets: our bug.
    pub fn new(activity_id: ActivityId, sale: &SaleView) -> Self {
        let packets = sale.definition.packets.as_deref().expect("a shop makes packets");
        let round = packets.rounds.first().expect("red packets have a round at least");
        let count = sale.rounds.first().copied().unwrap_or_default();
        let is_over = sale.at_ms >= round.ends_at_ms || sale.phase == Phase::Ended;
        let plan = round.plan.as_ref();
        Self {
            activity_id,
            version: sale.version,
            state: sale.phase.as_str(),
            of: ShopLine::of(packets.shop.as_ref()),
            title: sale.definition.title.clone(),
            currency: sale.definition.currency.clone(),
            total_cents: round.total_cents,
            packets: round.packets,
            split: packets.split,
            min_cents: packets.min_cents,
            max_cents: packets.max_cents,
            starts_at_ms: round.starts_at_ms.0,
            expires_at_ms: round.ends_at_ms.0,
            granted: count.granted,
            granted_cents: count.granted_cents,
            remaining: round.packets.saturating_sub(count.granted + count.refunded),
            remaining_cents: round.total_cents.saturating_sub(count.granted_cents + count.refunded_cents),
            refunded: count.refunded,
            refunded_cents: count.refunded_cents,
            commitment: plan.map(|plan| plan.terms.commitment(plan.seed)),
            seed: plan.filter(|_| is_over).map(|plan| plan.seed.to_hex()),
        }
    }
}
