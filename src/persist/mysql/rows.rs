//! The rows of the tables that other systems read, as values: what the shipper writes, and what is read back.

use crate::domain::event::Author;
use crate::domain::payment::Why;
use crate::domain::split::{Seed, Terms};
use crate::domain::{Definition, OrderState, PaymentState};
use crate::ids::{ActivityId, Cents, KeyDigest, OrderId, Seq, ShardId, SkuId, SkuIndex, UnixMillis, UserId};

/// A row of `orders`, with its slots: rows of `order_slots`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderRow {
    /// Its id.
    pub order_id: OrderId,
    /// Where it was placed.
    pub activity_id: ActivityId,
    /// What was ordered.
    pub sku_id: SkuId,
    /// Whose it is.
    pub user: UserId,
    /// How many units.
    pub quantity: u32,
    /// What they cost together.
    pub amount_cents: Cents,
    /// In which currency.
    pub currency: String,
    /// Where it stands.
    pub state: OrderState,
    /// The caller's own reference.
    pub reference: Option<Box<str>>,
    /// The digest of the request's idempotency key.
    pub key: Option<KeyDigest>,
    /// When it was placed.
    pub held_at_ms: UnixMillis,
    /// When the hold runs out, or ran out.
    pub expires_at_ms: UnixMillis,
    /// When it took the state that it has; `None` while it is held.
    pub ended_at_ms: Option<UnixMillis>,
    /// The event that placed it.
    pub placed_seq: Seq,
    /// The event that changed it last.
    pub seq: Seq,
    /// Whether its units are its own: it is held, or paid, or was refunded without that they went back on sale.
    pub live: bool,
    /// Which units it has, or had.
    pub slots: Vec<u32>,
}

/// A row of `payments`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaymentRow {
    /// Its id, the payment provider's.
    pub payment_id: Box<str>,
    /// Whose it is: a shard's, or the suspense account's.
    pub owner: ShardId,
    /// Its number there.
    pub number: u32,
    /// The order that it names, where that is an order's id.
    pub order_id: Option<OrderId>,
    /// The same, as it names it.
    pub named: Box<str>,
    /// The order's activity; `None` in the suspense account.
    pub activity_id: Option<ActivityId>,
    /// How much was paid.
    pub amount_cents: Cents,
    /// In which currency.
    pub currency: Box<str>,
    /// Where it stands.
    pub state: PaymentState,
    /// Why it is, or was, owed back.
    pub why: Option<Why>,
    /// Whether it gave an order that had expired fresh units.
    pub reacquired: bool,
    /// When it was received.
    pub received_at_ms: UnixMillis,
    /// Since when it is owed back, where it is or was.
    pub due_at_ms: Option<UnixMillis>,
    /// When it was paid back, where it was.
    pub done_at_ms: Option<UnixMillis>,
    /// The operator who refunded the order that it had paid.
    pub refunded_by: Option<UserId>,
    /// The operator who said that it was paid back.
    pub done_by: Option<UserId>,
    /// The event that received it.
    pub received_seq: Seq,
    /// The event that changed it last.
    pub seq: Seq,
}

/// A row of `activities`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActivityRow {
    /// Which.
    pub activity_id: ActivityId,
    /// The kind's name in the contract; never changes.
    pub kind: &'static str,
    /// What shoppers see.
    pub title: String,
    /// ISO 4217.
    pub currency: String,
    /// The first instant of the window.
    pub starts_at_ms: UnixMillis,
    /// The first instant after it.
    pub ends_at_ms: UnixMillis,
    /// Units that one user may hold or have bought.
    pub per_user_limit: u32,
    /// How long a hold waits for its payment.
    pub payment_window_ms: u64,
    /// The definition's version.
    pub version: u64,
    /// Whether an operator paused it.
    pub paused: bool,
    /// Whether an operator closed it for good.
    pub closed: bool,
    /// The event that changed it last.
    pub seq: Seq,
}

/// A row of `activity_shards`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardRow {
    /// Which.
    pub shard: ShardId,
    /// Of which activity.
    pub activity_id: ActivityId,
    /// Its place among the activity's shards.
    pub part: u16,
    /// Orders ever placed there, or grabs: the newest one's number.
    pub orders_placed: u32,
}

/// A row of `sku_stock`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkuRow {
    /// Where it is for sale.
    pub activity_id: ActivityId,
    /// Which.
    pub sku_id: SkuId,
    /// Its place in the activity, given once.
    pub index: SkuIndex,
    /// What shoppers see.
    pub title: String,
    /// A unit's price, for new orders.
    pub price_cents: Cents,
    /// Whether the definition still names it.
    pub listed: bool,
    /// All units.
    pub stock: i64,
    /// Units that are free, those on their way between shards included.
    pub available: i64,
    /// Units bound to unpaid orders.
    pub held: i64,
    /// Units of paid orders.
    pub sold: i64,
    /// The event that changed it last.
    pub seq: Seq,
}

/// A row of `red_packet_rounds`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoundRow {
    /// Of which activity.
    pub activity_id: ActivityId,
    /// Its number there; given once, but for a round that was taken off before it started.
    pub round: SkuIndex,
    /// The first instant at which a packet can be grabbed.
    pub starts_at_ms: UnixMillis,
    /// The first instant at which none can any more.
    pub ends_at_ms: UnixMillis,
    /// What is split, and how. Nothing, into no packets, where the definition does not name the round any more.
    pub terms: Terms,
    /// Whether the definition still names it.
    pub listed: bool,
    /// The slot that is packet 0.
    pub first_slot: u32,
    /// Packets that were grabbed.
    pub granted: u32,
    /// What they held.
    pub granted_cents: u64,
    /// Packets that nobody grabbed, since the round is over.
    pub refunded: u32,
    /// What they held.
    pub refunded_cents: u64,
    /// When what nobody grabbed was refunded, where it was: nothing happens to the round any more.
    pub ended_at_ms: Option<UnixMillis>,
    /// What was public before the round started.
    pub commitment: String,
    /// By what chance, where that is known and the round is over.
    pub seed: Option<Seed>,
    /// The shop that made it, where one did.
    pub merchant: Option<UserId>,
    /// The shop's own reference for the money.
    pub funding_ref: Option<String>,
    /// The event that changed it last.
    pub seq: Seq,
}

/// A row of `red_packet_grabs`: a credit. It never changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrabRow {
    /// Its id.
    pub grab_id: OrderId,
    /// Where it was grabbed.
    pub activity_id: ActivityId,
    /// In which round.
    pub round: SkuIndex,
    /// Which packet.
    pub packet: u32,
    /// Whose it is.
    pub user: UserId,
    /// What it holds.
    pub amount_cents: Cents,
    /// In which currency.
    pub currency: String,
    /// The digest of the request's idempotency key.
    pub key: Option<KeyDigest>,
    /// When.
    pub granted_at_ms: UnixMillis,
    /// The event.
    pub seq: Seq,
}

/// A row of `operator_actions`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActionRow {
    /// The event: at the activity's home, of a refund at the order's shard.
    pub seq: Seq,
    /// The change's number.
    pub change_id: u64,
    /// When.
    pub at_ms: UnixMillis,
    /// To which activity; 0 for the suspense account's.
    pub activity_id: ActivityId,
    /// Who.
    pub by: Author,
    /// What: `define`, `redefine`, `pause`, `resume`, `close`, `refund`, `refund_done`, or `note` for a request that
    /// changed nothing.
    pub action: &'static str,
    /// The definition's version after it.
    pub version: u64,
    /// The definition after it, as JSON and without the rounds' chance, where it changed; of a refund, which order and payment it was.
    pub definition: Option<String>,
    /// What it did to the stock, as JSON.
    pub stock: Option<String>,
}

impl ActivityRow {
    /// The row of an activity that is defined so.
    #[must_use]
    pub fn of(activity_id: ActivityId, definition: &Definition, version: u64, seq: Seq) -> Self {
        Self {
            activity_id,
            kind: definition.kind(),
            title: definition.title.clone(),
            currency: definition.currency.clone(),
            starts_at_ms: definition.starts_at_ms,
            ends_at_ms: definition.ends_at_ms,
            per_user_limit: definition.per_user_limit.0,
            payment_window_ms: definition.payment_window_ms,
            version,
            paused: false,
            closed: false,
            seq,
        }
    }
}

/// The word in `actor`.
#[must_use]
pub fn actor_word(by: Author) -> &'static str {
    match by {
        Author::Operator(_) => "operator",
        Author::StartUp => "start_up",
    }
}
