//! Commands: what somebody asks of a sale, and what the sale makes of it.

use super::definition::Definition;
use super::event::{Author, Change, Control, Events, Switch};
use super::payment::Why;
use super::split::Seed;
use crate::ids::{Cents, KeyDigest, ShardId, SkuId, SkuIndex, UnixMillis, UserId};

/// A command and the instant at which it is decided. Time is an input, so a replay sees the same one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamped<C> {
    /// By the process clock; never before an earlier command of the same shard.
    pub at_ms: UnixMillis,
    /// What is asked.
    pub command: C,
}

/// What somebody asks of a sale.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// A shopper wants units.
    PlaceOrder(PlaceOrder),
    /// A shopper gives a held order up.
    CancelOrder(CancelOrder),
    /// Somebody wants a packet of the round that runs.
    Grab(Grab),
    /// A round is over, and its packets are gathered here: refund what nobody grabbed.
    EndRound(SkuIndex),
    /// A payment came for an order.
    PayOrder(Box<PayOrder>),
    /// An operator takes a paid order back.
    RefundOrder(RefundOrder),
    /// An operator says that a payment was paid back.
    CloseRefund(CloseRefund),
    /// Time has passed: release what has run out, at most a step of it.
    ExpireHolds,
    /// An operator says what the sale is from now on.
    Redefine(Redefine),
    /// An operator adds units to one SKU.
    AddStock(AddStock),
    /// An operator pauses, resumes or closes the sale.
    SwitchSale(SwitchSale),
    /// Another part of the activity needs units.
    MoveSlots(MoveSlots),
    /// The home has changed; this part does as it does.
    FollowHome(Box<Control>),
    /// The activity is long over: it leaves memory. Asked of its home, once every part is settled.
    Retire {
        /// Orders that were ever placed, over all parts.
        orders: u64,
    },
}

/// See [`Command::MoveSlots`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MoveSlots {
    /// To which shard of the activity.
    pub to: ShardId,
    /// Of which SKU: one that the taker's events so far have named, or the journal holds a move that nobody can take in.
    pub sku: SkuIndex,
    /// At most so many. Fewer where fewer are free, or where they lie in more ranges than an event may name.
    pub units: u32,
}

/// See [`Command::PlaceOrder`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlaceOrder {
    /// Who asks.
    pub user: UserId,
    /// For which SKU.
    pub sku: SkuId,
    /// How many units, as asked: the sale judges it.
    pub quantity: i64,
    /// The request's idempotency key.
    pub key: Option<KeyDigest>,
    /// The caller's own reference, kept and returned.
    pub reference: Option<Box<str>>,
}

/// See [`Command::CancelOrder`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CancelOrder {
    /// Who asks.
    pub user: UserId,
    /// The order's number in this shard.
    pub order: u32,
    /// The request's idempotency key.
    pub key: Option<KeyDigest>,
}

/// See [`Command::Grab`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grab {
    /// Who asks.
    pub user: UserId,
    /// The request's idempotency key.
    pub key: Option<KeyDigest>,
}

/// See [`Command::PayOrder`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayOrder {
    /// The payment's id, the payment provider's.
    pub payment_id: Box<str>,
    /// The order's number in this shard.
    pub order: u32,
    /// How much was paid.
    pub amount_cents: Cents,
    /// In which currency.
    pub currency: Box<str>,
    /// Whether it may be refused with [`SoldOut`](super::Refusal::SoldOut) where it comes late and the units that it
    /// needs are not here; else it is owed back.
    pub may_wait: bool,
}

/// A payment that no order in memory answers for; see [`Suspense`](super::Suspense).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspend {
    /// The payment's id, the payment provider's.
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

/// See [`Command::RefundOrder`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefundOrder {
    /// The order's number in this shard.
    pub order: u32,
    /// Whether its units go back on sale.
    pub restock: bool,
    /// Who asks.
    pub request: Request,
}

/// See [`Command::CloseRefund`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloseRefund {
    /// The payment's id.
    pub payment_id: Box<str>,
    /// Who asks.
    pub request: Request,
}

/// An operator's request: who, and by what key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The number that the change gets if it is made.
    pub change_id: u64,
    /// Who asks.
    pub by: Author,
    /// The idempotency key and a digest of the parsed body.
    pub key: Option<RequestKey>,
}

/// An idempotency key with what it was used for. The digest of the key covers the path as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RequestKey {
    /// Of the path and the key.
    pub key: KeyDigest,
    /// Of the parsed body.
    pub body: KeyDigest,
}

impl Request {
    /// What the journal keeps of the request.
    #[must_use]
    pub fn change(&self) -> Change {
        Change { change_id: self.change_id, by: self.by, key: self.key }
    }
}

/// See [`Command::Redefine`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redefine {
    /// What is asked for.
    pub definition: Definition,
    /// How to read it.
    pub from: Source,
    /// Chance for each round of red packets, should it have to be split.
    pub seeds: Vec<Seed>,
    /// The version that the caller saw, if it insists.
    pub if_version: Option<u64>,
    /// Who asks.
    pub request: Request,
}

/// Where a definition comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A person's `PUT`: it replaces what stands.
    Put,
    /// The catalogue: only what changed there since it was last applied.
    Catalog,
}

/// See [`Command::AddStock`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddStock {
    /// To which SKU.
    pub sku: SkuId,
    /// How many units, as asked: the sale judges it.
    pub add: i64,
    /// Who asks.
    pub request: Request,
}

/// See [`Command::SwitchSale`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SwitchSale {
    /// To what.
    pub to: Switch,
    /// Who asks.
    pub request: Request,
}

/// What a sale makes of a command that it does not refuse.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// What happens. Empty where it has happened already.
    pub events: Events,
    /// The order that the answer is about.
    pub order: Option<u32>,
    /// The payment that the answer is about.
    pub payment: Option<u32>,
    /// Whether an earlier request with the same key was answered already.
    pub replayed: bool,
}
