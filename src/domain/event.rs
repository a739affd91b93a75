//! Events: what happened, as the journal keeps it for good. They carry results, so that a replay never decides again.
//!
//! The encoding is MessagePack with fields by position. A variant's short name and a field's place are therefore part
//! of the format: add fields at the end with a default, add variants, change neither.

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::command::RequestKey;
use super::definition::Definition;
use super::part::Part;
use super::payment::Why;
use super::slots::Slots;
use super::split::Seed;
use crate::ids::{ActivityId, Cents, KeyDigest, ShardId, SkuId, SkuIndex, UnixMillis, UserId};

/// The most bytes that one event takes in the journal. The bounds in [`super::definition`] add up to less: a
/// definition of 200 SKUs twice (116 KB) and a stock change of [`STOCK_RANGES_MAX`] ranges (41 KB), or a definition once
/// and the names of all SKUs that an activity ever had (132 KB).
pub const EVENT_BYTES_MAX: usize = 188 << 10;
/// The most slot ranges in one change of stock; a larger one must be made in steps.
pub const STOCK_RANGES_MAX: usize = 4096;

/// The events of one command, in their order. Nearly always one.
pub type Events = SmallVec<[Event; 1]>;

/// An event as it stands in the journal: whose it is, and when it happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The shard whose state it changes; for a move, the giver.
    pub shard: ShardId,
    /// When it was decided; never decreases within a shard (J5).
    pub at_ms: UnixMillis,
    /// What happened.
    pub event: Event,
}

/// Something that happened in one shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// A user took units.
    #[serde(rename = "o")]
    OrderPlaced(OrderPlaced),
    /// A held order was given up by its user; its slots are free again.
    #[serde(rename = "c")]
    OrderCancelled(OrderCancelled),
    /// Holds ran out; their slots are free again.
    #[serde(rename = "x")]
    HoldsExpired(HoldsExpired),
    /// An operator (or the catalogue) said what the activity is. The first event of every shard.
    #[serde(rename = "d")]
    ActivityDefined(Box<ActivityDefined>),
    /// An operator changed what the activity is, or the catalogue did.
    #[serde(rename = "r")]
    ActivityRedefined(Box<ActivityRedefined>),
    /// An operator stopped or resumed the sale, or closed it for good.
    #[serde(rename = "s")]
    SaleSwitched(Box<SaleSwitched>),
    /// An operator's request with a key asked for what stands already. Kept for its key alone: a repeat must not act on
    /// what others changed in between.
    #[serde(rename = "n")]
    ChangeNoted(Box<Change>),
    /// Free slots went from this shard to another of the same activity: one event with two ends (S5).
    #[serde(rename = "m")]
    SlotsMoved(SlotsMoved),
    /// A part other than the home took over what the home has become by a change.
    #[serde(rename = "f")]
    HomeFollowed(Box<Control>),
    /// The activity, long over, left memory with all its shards. Written by its home.
    #[serde(rename = "e")]
    ActivityRetired(ActivityRetired),
    /// A user grabbed a packet.
    #[serde(rename = "g")]
    PacketGrabbed(PacketGrabbed),
    /// A round is over; what nobody grabbed is refunded. Written by the home.
    #[serde(rename = "z")]
    RoundEnded(RoundEnded),
    /// A payment came for an order.
    #[serde(rename = "p")]
    PaymentReceived(Box<PaymentReceived>),
    /// An operator took a paid order back; the payment that paid it is owed back.
    #[serde(rename = "b")]
    OrderRefunded(Box<OrderRefunded>),
    /// An operator said that a payment was paid back.
    #[serde(rename = "q")]
    RefundDone(Box<RefundDone>),
    /// A payment came that no order in memory answers for. Written by the suspense account.
    #[serde(rename = "u")]
    PaymentSuspended(Box<PaymentSuspended>),
}

impl Event {
    /// How many units it takes, or orders it ends; 1 at least. What is made of an event elsewhere is about as much.
    #[must_use]
    pub fn weight(&self) -> usize {
        let weight = match self {
            Self::OrderPlaced(event) => event.slots.count() as usize,
            Self::HoldsExpired(event) => event.orders.len(),
            Self::PaymentReceived(event) => match &event.outcome {
                Outcome::Reacquired(slots) => slots.count() as usize,
                Outcome::Applied | Outcome::Due(_) => 1,
            },
            _ => 1,
        };
        weight.max(1)
    }

    /// Whether it changes what was paid or is owed.
    #[must_use]
    pub fn is_of_money(&self) -> bool {
        matches!(self, Self::PaymentReceived(_) | Self::OrderRefunded(_) | Self::RefundDone(_))
    }

    /// The operator's change that it is or belongs to, where it is one's.
    #[must_use]
    pub fn change(&self) -> Option<&Change> {
        match self {
            Self::ActivityDefined(event) => Some(&event.change),
            Self::ActivityRedefined(event) => Some(&event.change),
            Self::SaleSwitched(event) => Some(&event.change),
            Self::ChangeNoted(change) => Some(change),
            Self::OrderRefunded(event) => Some(&event.change),
            Self::RefundDone(event) => Some(&event.change),
            _ => None,
        }
    }
}

/// See [`Event::OrderPlaced`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderPlaced {
    /// The order's number in its shard, from 1 without a gap.
    pub order: u32,
    /// Who took them.
    pub user: UserId,
    /// Of which SKU.
    pub sku: SkuIndex,
    /// Which units; their count is the quantity.
    pub slots: Slots,
    /// What they cost together, at the price of that instant.
    pub amount_cents: Cents,
    /// When the hold runs out unless it is paid.
    pub expires_at_ms: UnixMillis,
    /// The request's idempotency key, where it had one.
    pub key: Option<KeyDigest>,
    /// The caller's own reference.
    #[serde(rename = "ref")]
    pub reference: Option<Box<str>>,
}

/// See [`Event::OrderCancelled`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderCancelled {
    /// The order's number in its shard.
    pub order: u32,
    /// The request's idempotency key, where it had one.
    pub key: Option<KeyDigest>,
}

/// See [`Event::PacketGrabbed`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PacketGrabbed {
    /// The grab's number in its shard, from 1 without a gap.
    pub grab: u32,
    /// Who grabbed it.
    pub user: UserId,
    /// Of which round.
    pub round: SkuIndex,
    /// Which slot; the round's plan says which packet that is.
    pub slot: u32,
    /// What it holds.
    pub amount_cents: Cents,
    /// The request's idempotency key, where it had one.
    pub key: Option<KeyDigest>,
}

/// See [`Event::RoundEnded`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoundEnded {
    /// Which.
    pub round: SkuIndex,
    /// The packets that nobody grabbed: gone for good.
    pub slots: Slots,
    /// What they held.
    pub refunded_cents: Cents,
    /// By what chance it was split: public from now on.
    pub seed: Seed,
}

/// See [`Event::PaymentReceived`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentReceived {
    /// The payment's number in its shard, from 1 without a gap.
    pub payment: u32,
    /// Its id, the payment provider's; received once.
    pub payment_id: Box<str>,
    /// The order's number in its shard.
    pub order: u32,
    /// How much was paid.
    pub amount_cents: Cents,
    /// In which currency, where it is not the activity's.
    pub currency: Option<Box<str>>,
    /// What it did.
    pub outcome: Outcome,
}

/// What a payment did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// It paid the order in time.
    #[serde(rename = "a")]
    Applied,
    /// It paid the order after the hold had run out, with these units.
    #[serde(rename = "q")]
    Reacquired(Slots),
    /// Nothing: it is owed back.
    #[serde(rename = "d")]
    Due(Why),
}

/// See [`Event::OrderRefunded`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderRefunded {
    /// The order's number in its shard.
    pub order: u32,
    /// The number of the payment that paid it.
    pub payment: u32,
    /// Whether its slots are free again; else they stay with it, sold.
    pub restock: bool,
    /// Who asked.
    pub change: Change,
}

/// See [`Event::RefundDone`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefundDone {
    /// The payment's number in its shard, or in the suspense account.
    pub payment: u32,
    /// Who said so.
    pub change: Change,
}

/// See [`Event::PaymentSuspended`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentSuspended {
    /// The payment's number in the suspense account, from 1 without a gap.
    pub payment: u32,
    /// Its id, the payment provider's; received once.
    pub payment_id: Box<str>,
    /// The order that it names, as it names it.
    pub named: Box<str>,
    /// How much was paid.
    pub amount_cents: Cents,
    /// In which currency.
    pub currency: Box<str>,
    /// Why it is owed back.
    pub why: Why,
}

/// See [`Event::HoldsExpired`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldsExpired {
    /// The orders' numbers in their shard, in the order of their deadlines; at most
    /// [`EXPIRE_STEP_ORDERS`](super::expire::EXPIRE_STEP_ORDERS).
    pub orders: Vec<u32>,
}

/// Who changed an activity, by what request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The same for the events that one change makes in several shards; counted up from 1 over the whole journal.
    pub change_id: u64,
    /// Who asked.
    pub by: Author,
    /// The request's idempotency key, where it had one.
    pub key: Option<RequestKey>,
}

/// Who asked for a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Author {
    /// The holder of an operator's token.
    #[serde(rename = "u")]
    Operator(UserId),
    /// The server itself, applying the catalogue as it starts.
    #[serde(rename = "s")]
    StartUp,
}

/// See [`Event::ActivityDefined`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActivityDefined {
    /// The activity that this shard belongs to.
    pub activity_id: ActivityId,
    /// What it is. Each SKU gets the slots 1 to its stock and the index of its place.
    pub definition: Definition,
    /// Whether it came from the catalogue, and so is the base of the next three-way reload.
    pub from_catalog: bool,
    /// Who asked.
    pub change: Change,
    /// Which part of the activity the shard is; `None` where it is all of it. The home begins with all the stock, the
    /// other parts with none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<Part>,
}

/// See [`Event::SlotsMoved`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotsMoved {
    /// The shard that has them from now on.
    pub to: ShardId,
    /// Of which SKU.
    pub sku: SkuIndex,
    /// Which; at most [`STOCK_RANGES_MAX`] ranges.
    pub slots: Slots,
}

/// What every part of an activity has in common, because the home decides it: see [`Event::HomeFollowed`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Control {
    /// The change that led here, the same in every part.
    pub change_id: u64,
    /// The definition's version.
    pub version: u64,
    /// The definition, where it changed since the part last followed.
    pub definition: Option<Definition>,
    /// Whether the sale is paused.
    pub paused: bool,
    /// Whether it was closed for good.
    pub closed: bool,
    /// The SKUs that the part did not know, by their index at home. The definition does not say them all: one that came
    /// and went since the part last followed has an index as well.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skus: Vec<SkuId>,
}

/// See [`Event::ActivityRetired`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActivityRetired {
    /// The orders that were ever placed, over all parts: what whoever brings the activity back must find.
    pub orders: u64,
}

/// See [`Event::ActivityRedefined`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActivityRedefined {
    /// The definition's version from now on.
    pub version: u64,
    /// What the activity is from now on.
    pub definition: Definition,
    /// The catalogue's entry that led here, where one did: the base of the next three-way reload.
    pub catalog: Option<Definition>,
    /// What this did to the stock of each SKU that it touched.
    pub stock: Vec<StockChange>,
    /// Who asked.
    pub change: Change,
}

/// What a change did to one SKU's stock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StockChange {
    /// Fresh units. A SKU that was not there yet gets the next index.
    #[serde(rename = "a")]
    Added {
        /// Which SKU.
        sku: SkuIndex,
        /// The new slots: numbers that this SKU never had.
        slots: Slots,
    },
    /// Free units taken away for good.
    #[serde(rename = "r")]
    Removed {
        /// Which SKU.
        sku: SkuIndex,
        /// The slots that are gone.
        slots: Slots,
    },
}

/// See [`Event::SaleSwitched`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SaleSwitched {
    /// To what.
    pub to: Switch,
    /// Who asked.
    pub change: Change,
}

/// What an operator can switch a sale to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Switch {
    /// No orders until it is resumed; holds go on.
    #[serde(rename = "p")]
    Paused,
    /// Orders are taken again.
    #[serde(rename = "r")]
    Resumed,
    /// No orders ever again.
    #[serde(rename = "c")]
    Closed,
}
