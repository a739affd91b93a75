//! What an operator says of an activity, once it has been read and found sound. Plain data; who may change what is
//! decided in `redefine.rs`.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::command::RequestKey;
use super::round::Plan;
use super::split::{Seed, Split, Terms};
use crate::ids::{Cents, Qty, SkuId, UnixMillis, UserId};

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

/// An activity: a flash sale, or red packets.
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
    /// What is for sale, in the operator's order. Of red packets, made of the rounds: each is one, whose units are its
    /// packets.
    pub skus: Vec<SkuDefinition>,
    /// The rounds of red packets; `None` for a flash sale.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packets: Option<Box<Packets>>,
}

/// What an activity of red packets hands out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packets {
    /// How budgets are split.
    pub split: Split,
    /// The least that a packet holds.
    pub min_cents: u64,
    /// The most.
    pub max_cents: u64,
    /// In their order, not overlapping; at least one, at most [`SKUS_MAX`].
    pub rounds: Vec<RoundDefinition>,
    /// Whose it is, where a shop made it; `None` for a rain.
    #[serde(default)]
    pub shop: Option<Shop>,
}

/// One round of [`Packets`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RoundDefinition {
    /// The first instant at which a packet can be grabbed.
    pub starts_at_ms: UnixMillis,
    /// The first instant at which none can any more.
    pub ends_at_ms: UnixMillis,
    /// The budget.
    pub total_cents: u64,
    /// Into how many packets it is split.
    pub packets: u32,
    /// How it is split, once it stands. No part of what people write: two rounds that differ in their chance alone are the
    /// same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Arc<Plan>>,
}

impl PartialEq for RoundDefinition {
    fn eq(&self, other: &Self) -> bool {
        (self.starts_at_ms, self.ends_at_ms, self.total_cents, self.packets)
            == (other.starts_at_ms, other.ends_at_ms, other.total_cents, other.packets)
    }
}

impl Eq for RoundDefinition {}

/// The shop that made a packet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shop {
    /// Its user id, or the operator's who acted for it.
    pub merchant: UserId,
    /// The shop's own reference for the money.
    pub funding_ref: Option<Box<str>>,
    /// The request that made it, where it had a key: asked again by the same user, it makes no other.
    pub key: Option<RequestKey>,
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
    /// An activity of red packets. Its window reaches from the first round to the last.
    ///
    /// # Panics
    /// Where there is no round.
    #[must_use]
    pub fn of_packets(title: String, currency: String, shards: u16, per_user_limit: Qty, packets: Packets) -> Self {
        let (first, last) = (packets.rounds.first(), packets.rounds.last());
        let (first, last) = first.zip(last).expect("red packets have a round at least");
        let skus = (0..).zip(&packets.rounds).map(|(number, round)| SkuDefinition {
            sku_id: Self::sku_of_round(number),
            title: String::new(),
            price_cents: Cents(0),
            stock: Qty(round.packets),
        });
        Self {
            title,
            currency,
            starts_at_ms: first.starts_at_ms,
            ends_at_ms: last.ends_at_ms,
            shards,
            per_user_limit,
            payment_window_ms: 0,
            on_late_payment: OnLatePayment::Refund,
            shared_sku: true,
            skus: skus.collect(),
            packets: Some(Box::new(packets)),
        }
    }

    /// The name by which a round's packets are counted.
    #[must_use]
    pub fn sku_of_round(round: usize) -> SkuId {
        round.to_string().parse().expect("digits are a SKU id")
    }

    /// The shop that made it, where one did.
    #[must_use]
    pub fn shop(&self) -> Option<&Shop> {
        self.packets.as_deref()?.shop.as_ref()
    }

    /// The kind's name in the contract.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        if self.packets.is_some() { "red_packet" } else { "flash_sale" }
    }

    /// What a round splits, where there is such a round.
    #[must_use]
    pub fn terms(&self, round: usize) -> Option<Terms> {
        let packets = self.packets.as_deref()?;
        let of = packets.rounds.get(round)?;
        Some(Terms {
            split: packets.split,
            packets: of.packets,
            total_cents: of.total_cents,
            min_cents: packets.min_cents,
            max_cents: packets.max_cents,
        })
    }

    /// The same, with rounds that are planned: each as it stands in `before` where it splits the same, else by a fresh seed
    /// and from a fresh slot on. `last_slots` says which slots each round has had before.
    #[must_use]
    pub fn planned(mut self, before: Option<&Self>, seeds: &[Seed], last_slots: impl Fn(usize) -> u32) -> Self {
        let terms: Vec<Option<Terms>> = (0..self.skus.len()).map(|round| self.terms(round)).collect();
        let Some(packets) = self.packets.as_deref_mut() else { return self };
        for (number, (round, terms)) in packets.rounds.iter_mut().zip(terms).enumerate() {
            let terms = terms.expect("each round has its terms");
            let stands = before.and_then(|before| before.packets.as_deref()?.rounds.get(number)?.plan.clone());
            let stands = stands.filter(|plan| plan.terms == terms);
            let fresh = || {
                let seed = seeds.get(number).copied().unwrap_or_else(|| derived(seeds, number));
                Arc::new(Plan::new(terms, seed, last_slots(number) + 1))
            };
            round.plan = Some(stands.unwrap_or_else(fresh));
        }
        self
    }

    /// The plan of a round that stands.
    #[must_use]
    pub fn plan(&self, round: usize) -> Option<&Arc<Plan>> {
        self.packets.as_deref()?.rounds.get(round)?.plan.as_ref()
    }

    /// The round that runs at an instant, if one does.
    #[must_use]
    pub fn round_at(&self, now_ms: UnixMillis) -> Option<usize> {
        let rounds = &self.packets.as_deref()?.rounds;
        rounds.iter().position(|round| (round.starts_at_ms..round.ends_at_ms).contains(&now_ms))
    }

    /// When a sale starts, or the next round after an instant; its end where none follows.
    #[must_use]
    pub fn next_start_ms(&self, now_ms: UnixMillis) -> UnixMillis {
        let Some(packets) = self.packets.as_deref() else { return self.starts_at_ms };
        let mut later = packets.rounds.iter().map(|round| round.starts_at_ms).filter(|starts| *starts > now_ms);
        later.next().unwrap_or(self.ends_at_ms)
    }

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

/// A merge may have more rounds than either that was merged brought seeds for: theirs follow from the last one, which is as
/// secret.
///
/// # Panics
/// Where there is no seed at all.
fn derived(seeds: &[Seed], round: usize) -> Seed {
    let last = seeds.last().expect("who may define rounds brings seeds");
    let digest =
        Sha256::new().chain_update(b"doorbuster-seed").chain_update(last.0).chain_update((round as u64).to_be_bytes());
    Seed(digest.finalize().into())
}
