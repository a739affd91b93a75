//! From a definition back to the shape that people write. Reading what is written here gives the same definition.

use serde::Serialize;

use crate::domain::definition::{Definition, OnLatePayment, Packets};

use super::instant::rfc3339;
use super::packets::RoundWritten;

/// An activity as the contract writes it.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[serde(untagged)]
#[schema(as = AnyDefinition)]
pub enum Written {
    /// Units are sold.
    FlashSale(FlashSaleWritten),
    /// Packets are grabbed.
    RedPacket(RedPacketWritten),
}

/// Red packets, in the contract's order of fields.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = RedPacketDefinition)]
pub struct RedPacketWritten {
    /// `red_packet`.
    #[schema(example = "red_packet")]
    pub kind: &'static str,
    /// What shoppers see.
    #[schema(example = "Double 11 rain")]
    pub title: String,
    /// ISO 4217, three capital letters.
    #[schema(example = "CNY", default = "CNY", required = false)]
    pub currency: String,
    /// How each round's budget is split: `random` or `equal`.
    #[schema(example = "random")]
    pub split: &'static str,
    /// The least that a packet holds.
    #[schema(example = 1)]
    pub min_cents: u64,
    /// The most.
    #[schema(example = 20_000)]
    pub max_cents: u64,
    /// Packets that one user may grab in one round.
    #[schema(example = 1, default = 1, required = false)]
    pub per_user_limit: u32,
    /// Over how many shards the users are spread.
    #[schema(example = 4, default = 1, required = false)]
    pub shards: u16,
    /// In order, not overlapping.
    pub rounds: Vec<RoundWritten>,
}

/// A flash sale, in the contract's order of fields.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Definition)]
pub struct FlashSaleWritten {
    /// `flash_sale`.
    #[schema(example = "flash_sale")]
    pub kind: &'static str,
    /// What shoppers see.
    #[schema(example = "Doorbuster phones")]
    pub title: String,
    /// ISO 4217, three capital letters.
    #[schema(example = "CNY", default = "CNY", required = false)]
    pub currency: String,
    /// RFC 3339, in UTC.
    #[schema(example = "2026-11-11T00:00:00+08:00")]
    pub starts_at: String,
    /// RFC 3339, in UTC.
    #[schema(example = "2026-11-11T00:10:00+08:00")]
    pub ends_at: String,
    /// Over how many shards the users are spread.
    #[schema(example = 1, default = 1, required = false)]
    pub shards: u16,
    /// Units that one user may hold or have bought.
    #[schema(example = 1, default = 1, required = false)]
    pub per_user_limit: u32,
    /// Seconds after which an unpaid hold expires.
    #[schema(example = 300, default = 300, required = false)]
    pub payment_window_s: u64,
    /// What becomes of a payment that arrives after its hold expired.
    #[schema(required = false)]
    pub on_late_payment: OnLatePaymentWritten,
    /// Whether its SKUs may stand in another activity whose window overlaps.
    #[schema(example = false, default = false, required = false)]
    pub shared_sku: bool,
    /// What is for sale.
    pub skus: Vec<SkuWritten>,
}

/// One SKU of a [`FlashSaleWritten`].
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = SkuDefinition)]
pub struct SkuWritten {
    /// Its name, unique in the activity.
    #[schema(example = "2001")]
    pub sku_id: String,
    /// What shoppers see.
    #[schema(example = "Phone")]
    pub title: String,
    /// A unit's price.
    #[schema(example = 199_900)]
    pub price_cents: u64,
    /// All units, whether free, held or sold.
    #[schema(example = 1000)]
    pub stock: u32,
}

/// What becomes of a payment that arrives after its hold expired.
#[derive(Clone, Copy, Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = OnLatePayment)]
pub enum OnLatePaymentWritten {
    /// A fresh unit where limit, stock and window allow, else the money is owed back.
    ReacquireOrRefund,
    /// The money is owed back.
    Refund,
}

impl From<&Definition> for Written {
    fn from(definition: &Definition) -> Self {
        match definition.packets.as_deref() {
            Some(packets) => Self::RedPacket(RedPacketWritten::of(definition, packets)),
            None => Self::FlashSale(FlashSaleWritten::of(definition)),
        }
    }
}

impl RedPacketWritten {
    fn of(definition: &Definition, packets: &Packets) -> Self {
        Self {
            kind: definition.kind(),
            title: definition.title.clone(),
            currency: definition.currency.clone(),
            split: packets.split.as_str(),
            min_cents: packets.min_cents,
            max_cents: packets.max_cents,
            per_user_limit: definition.per_user_limit.0,
            shards: definition.shards,
            rounds: packets.rounds.iter().map(RoundWritten::from).collect(),
        }
    }
}

impl FlashSaleWritten {
    fn of(definition: &Definition) -> Self {
        let skus = definition.skus.iter().map(|sku| SkuWritten {
            sku_id: sku.sku_id.to_string(),
            title: sku.title.clone(),
            price_cents: sku.price_cents.0,
            stock: sku.stock.0,
        });
        Self {
            kind: definition.kind(),
            title: definition.title.clone(),
            currency: definition.currency.clone(),
            starts_at: rfc3339(definition.starts_at_ms),
            ends_at: rfc3339(definition.ends_at_ms),
            shards: definition.shards,
            per_user_limit: definition.per_user_limit.0,
            payment_window_s: definition.payment_window_ms / 1000,
            on_late_payment: match definition.on_late_payment {
                OnLatePayment::ReacquireOrRefund => OnLatePaymentWritten::ReacquireOrRefund,
                OnLatePayment::Refund => OnLatePaymentWritten::Refund,
            },
            shared_sku: definition.shared_sku,
            skus: skus.collect(),
        }
    }
}

/// The same as a JSON value, to which a reply adds its own fields.
#[must_use]
pub fn to_json(definition: &Definition) -> serde_json::Value {
    serde_json::to_value(Written::from(definition)).expect("texts and integers are JSON")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::catalog;
    use crate::catalog::INSTANT_MAX;
    use crate::domain::definition::{
        PAYMENT_WINDOW_S_MAX, PER_USER_LIMIT_MAX, PRICE_CENTS_MAX, RoundDefinition, STOCK_MAX, SkuDefinition,
    };
    use crate::domain::split::{PACKETS_MAX, Split};
    use crate::ids::{Cents, Qty, UnixMillis};

    fn any_sku() -> impl Strategy<Value = SkuDefinition> {
        ("[A-Za-z0-9._-]{1,64}", "[a-zé\"\\\\]{1,40}", 0..=PRICE_CENTS_MAX, 0..=STOCK_MAX).prop_map(
            |(sku_id, title, price_cents, stock)| SkuDefinition {
                sku_id: sku_id.parse().expect("a SKU's name"),
                title,
                price_cents: Cents(price_cents),
                stock: Qty(stock),
            },
        )
    }

    prop_compose! {
        fn any_definition()(
            title in "[a-zé\"\\\\]{1,40}",
            currency in "[A-Z]{3}",
            starts_at_ms in 0..INSTANT_MAX.0,
            length_ms in 1..INSTANT_MAX.0,
            per_user_limit in 1..=PER_USER_LIMIT_MAX,
            payment_window_s in 1..=PAYMENT_WINDOW_S_MAX,
            refund in any::<bool>(),
            shared_sku in any::<bool>(),
            mut skus in proptest::collection::vec(any_sku(), 1..8),
        ) -> Definition {
            skus.sort_by(|a, b| a.sku_id.cmp(&b.sku_id));
            skus.dedup_by(|a, b| a.sku_id == b.sku_id);
            Definition {
                title,
                currency,
                starts_at_ms: UnixMillis(starts_at_ms),
                ends_at_ms: UnixMillis((starts_at_ms + length_ms).min(INSTANT_MAX.0)),
                shards: 1,
                per_user_limit: Qty(per_user_limit),
                payment_window_ms: payment_window_s * 1000,
                on_late_payment: if refund { OnLatePayment::Refund } else { OnLatePayment::ReacquireOrRefund },
                shared_sku,
                skus,
                packets: None,
            }
        }
    }

    /// Rounds of `packets` packets of about `mean` cents, one after the other.
    fn rounds_of(
        starts_at_ms: u64,
        rounds: &[(u32, u64, u64)],
        (min_cents, max_cents): (u64, u64),
    ) -> Vec<RoundDefinition> {
        let mut next_ms = starts_at_ms;
        let mut round = |(packets, above_cents, length_ms): &(u32, u64, u64)| {
            let starts_at_ms = UnixMillis(next_ms);
            next_ms += length_ms;
            let total_cents = u64::from(*packets) * (min_cents + above_cents % (max_cents - min_cents + 1));
            let ends_at_ms = UnixMillis(next_ms);
            RoundDefinition { starts_at_ms, ends_at_ms, total_cents, packets: *packets, plan: None }
        };
        rounds.iter().map(&mut round).collect()
    }

    prop_compose! {
        fn any_packets()(
            title in "[a-zé\"\\\\]{1,40}",
            currency in "[A-Z]{3}",
            shards in 1..=256_u16,
            per_user_limit in 1..=PER_USER_LIMIT_MAX,
            equal in any::<bool>(),
            min_cents in 1..1_000_u64,
            above_cents in 0..1_000_000_u64,
            starts_at_ms in 0..INSTANT_MAX.0 / 2,
            rounds in proptest::collection::vec((1..=PACKETS_MAX, any::<u64>(), 1..100_000_u64), 1..8),
        ) -> Definition {
            let max_cents = min_cents + above_cents;
            let packets = Packets {
                split: if equal { Split::Equal } else { Split::Random },
                min_cents,
                max_cents,
                rounds: rounds_of(starts_at_ms, &rounds, (min_cents, max_cents)),
                shop: None,
            };
            Definition::of_packets(title, currency, shards, Qty(per_user_limit), packets)
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_as_the_same_definition(definition in prop_oneof![any_definition(), any_packets()]) {
            let json = to_json(&definition);
            prop_assert_eq!(catalog::read_value(&json), Ok(definition.clone()));
            let node = catalog::parse_json(json.to_string().as_bytes()).expect("JSON");
            prop_assert_eq!(catalog::read(&node), Ok(definition.clone()));
            let toml = toml::to_string(&json).expect("TOML");
            prop_assert_eq!(catalog::read_toml(&toml, "1.toml".as_ref()), Ok(definition));
        }
    }
}
