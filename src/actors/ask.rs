//! What is asked of a shard, and what it answers.

use std::collections::BTreeMap;
use std::sync::Arc;

use actix::Message;
use tokio::sync::oneshot;

use crate::domain::command::{
    AddStock, CancelOrder, CloseRefund, Grab, PayOrder, PlaceOrder, Redefine, RefundOrder, Suspend, SwitchSale,
};
use crate::domain::sale::SkuCount;
use crate::domain::{Definition, OrderState, OrderView, PaymentView, Phase, Refusal};
use crate::ids::{ActivityId, Cents, OrderId, ShardId, SkuId, UnixMillis, UserId};

/// A question to a shard, and where its answer goes.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Ask {
    pub shard: ShardId,
    pub question: Question,
    pub reply: oneshot::Sender<Answer>,
}

/// What is asked of a shard.
#[derive(Clone, Debug)]
pub enum Question {
    /// A shopper wants units.
    Place(PlaceOrder),
    /// A shopper gives an order up.
    Cancel(CancelOrder),
    /// Somebody wants a packet of the round that runs.
    Grab(Grab),
    /// A payment came for an order.
    Pay(PayOrder),
    /// To the suspense account: a payment came that no order in memory answers for.
    Suspend(Suspend),
    /// An operator takes a paid order back.
    Refund(RefundOrder),
    /// An operator says that a payment was paid back.
    CloseRefund(CloseRefund),
    /// A payment, by its id.
    Payment {
        /// The payment provider's id.
        payment_id: Box<str>,
    },
    /// Payments, by their numbers.
    Payments {
        /// Which.
        numbers: Vec<u32>,
    },
    /// One order; another user's is not found unless an operator asks.
    Order {
        /// Its number in the shard.
        number: u32,
        /// The shopper who asks; `None` for an operator.
        user: Option<UserId>,
    },
    /// A user's orders, newest first, a page at a time.
    OrdersOf {
        /// Whose.
        user: UserId,
        /// Only before this number; `None` for the newest.
        before: Option<u32>,
        /// At most so many.
        limit: usize,
    },
    /// The packets that a user grabbed, newest first, a page at a time.
    GrabsOf {
        /// Whose.
        user: UserId,
        /// Only before this number; `None` for the newest.
        before: Option<u32>,
        /// At most so many.
        limit: usize,
    },
    /// The user's newest live order of a SKU.
    Live {
        /// Whose.
        user: UserId,
        /// Of which SKU.
        sku: SkuId,
    },
    /// All orders, oldest first, a page at a time.
    Orders(Page),
    /// All packets that were grabbed, oldest first, a page at a time.
    Grabs(Page),
    /// The sale as it stands.
    Sale,
    /// An operator's change.
    Change(Operation),
    /// Whether nothing can happen in the shard any more, so long after the sale's end.
    Settled {
        /// How long after.
        retain_ms: u64,
    },
    /// To a part that was settled: the activity does not leave memory after all.
    Stay,
    /// To the home: leave memory, with all parts, if here too nothing can happen any more.
    Retire {
        /// How long after the sale's end.
        retain_ms: u64,
        /// The orders that the other parts have.
        orders: u64,
    },
}

/// A page of an activity's orders, or grabs, part after part.
#[derive(Clone, Debug)]
pub struct Page {
    /// Only this user's.
    pub user: Option<UserId>,
    /// Only in this state; grabs have none.
    pub state: Option<OrderState>,
    /// Only after this order, or grab.
    pub after: Option<OrderId>,
    /// At most so many.
    pub limit: usize,
}

/// An operator's change of one sale.
#[derive(Clone, Debug)]
pub enum Operation {
    /// A new definition.
    Redefine {
        /// What is asked for.
        redefine: Box<Redefine>,
        /// Whether to say what would happen and leave it at that.
        dry_run: bool,
    },
    /// More units.
    AddStock(AddStock),
    /// Pause, resume, close.
    Switch(SwitchSale),
}

/// What a shard answers.
#[derive(Clone, Debug)]
pub enum Answer {
    /// An order, as it stands.
    Order {
        /// The order.
        order: OrderView,
        /// Whether an earlier request with the same key placed or cancelled it.
        replayed: bool,
    },
    /// A packet that was grabbed.
    Grab {
        /// The grab.
        grab: GrabView,
        /// Whether an earlier request with the same key grabbed it.
        replayed: bool,
    },
    /// The packets that a user grabbed, newest first, and the number before which the next page starts.
    Grabs(Vec<GrabView>, Option<u32>),
    /// A payment, as it stands.
    Payment {
        /// The payment.
        payment: Box<PaymentView>,
        /// Where the order stands that it names, where it is known.
        order: Option<OrderState>,
        /// Whether it was received before, or marked as paid back before by a request with the same key.
        replayed: bool,
    },
    /// Payments, as they stand.
    Payments(Vec<PaymentView>),
    /// The payment was recorded by another owner, who is to be asked.
    Elsewhere(ShardId),
    /// A user's orders, newest first, and the number before which the next page starts.
    Orders(Vec<OrderView>, Option<u32>),
    /// A page of orders, and the order after which the next page starts.
    Page(Vec<OrderView>, Option<OrderId>),
    /// A page of grabs, and the grab after which the next page starts.
    GrabPage(Vec<GrabView>, Option<OrderId>),
    /// The newest live order, if any.
    Live(Option<OrderView>),
    /// The sale as it stands.
    Sale(Box<SaleView>),
    /// What an operator's change did.
    Changed(Box<Changed>),
    /// Nothing can happen in the shard any more, which has so many orders; or something can.
    Settled(Option<u64>),
    /// The activity may leave: its last event is durable.
    Retired {
        /// Orders that were ever placed, over all parts.
        orders: u64,
    },
    /// Nothing changed.
    Refused(Refused),
}

/// A grab as people see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrabView {
    /// Its id.
    pub grab_id: OrderId,
    /// Of which red packets.
    pub activity_id: ActivityId,
    /// Whose it is.
    pub user: UserId,
    /// Of which round, from 0.
    pub round: usize,
    /// Which packet of the round, from 0.
    pub packet: u32,
    /// What it holds.
    pub amount_cents: Cents,
    /// When it was grabbed.
    pub granted_at_ms: UnixMillis,
}

/// What an activity is; each kind has routes of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Units are sold.
    FlashSale,
    /// Packets are grabbed.
    RedPacket,
}

impl Kind {
    /// What a definition is of.
    #[must_use]
    pub fn of(definition: &Definition) -> Self {
        if definition.packets.is_some() { Self::RedPacket } else { Self::FlashSale }
    }
}

/// What became of a round of red packets: `packets = granted + remaining + refunded`, and so do its cents (M1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RoundCount {
    /// Packets that were grabbed.
    pub granted: u32,
    /// What they held.
    pub granted_cents: u64,
    /// Packets that nobody grabbed until its end.
    pub refunded: u32,
    /// What they held.
    pub refunded_cents: u64,
}

/// One shard's part of a sale.
#[derive(Clone, Debug)]
pub struct ShardView {
    /// Which.
    pub shard: ShardId,
    /// Orders ever placed there.
    pub accepted: u64,
    /// The units that are there.
    pub skus: Vec<SkuCount>,
    /// What was grabbed there of each round of red packets.
    pub rounds: Vec<RoundCount>,
}

/// A sale as it stands: as one shard knows it, or all of them together.
#[derive(Clone, Debug)]
pub struct SaleView {
    /// What it is.
    pub definition: Arc<Definition>,
    /// The definition's version.
    pub version: u64,
    /// What it is doing.
    pub phase: Phase,
    /// Whether an operator paused it, window or not.
    pub paused: bool,
    /// Its units.
    pub skus: Vec<SkuCount>,
    /// Of red packets, its rounds.
    pub rounds: Vec<RoundCount>,
    /// Orders ever placed.
    pub accepted: u64,
    /// Refusals by code since the process started.
    pub refused: BTreeMap<&'static str, u64>,
    /// Its shards.
    pub shards: Vec<ShardView>,
    /// When it was asked.
    pub at_ms: UnixMillis,
}

impl SaleView {
    /// Adds what another part knows to what the home does. The parts were asked one after the other, and units move
    /// between them: what is held is added up, and what is free is the rest of the stock (S1).
    pub(super) fn add(&mut self, part: Self) {
        for count in &mut self.skus {
            let stock = self.definition.sku(&count.sku_id).map_or(0, |sku| sku.stock.0);
            let there = part.skus.iter().find(|there| there.sku_id == count.sku_id);
            let (held, sold) = there.map_or((0, 0), |there| (there.held.0, there.sold.0));
            count.held.0 += held;
            count.sold.0 += sold;
            count.stock.0 = stock;
            count.available.0 = stock.saturating_sub(count.held.0 + count.sold.0);
        }
        for (count, there) in self.rounds.iter_mut().zip(&part.rounds) {
            count.granted += there.granted;
            count.granted_cents += there.granted_cents;
            count.refunded += there.refunded;
            count.refunded_cents += there.refunded_cents;
        }
        self.accepted += part.accepted;
        part.refused.into_iter().for_each(|(code, refused)| *self.refused.entry(code).or_default() += refused);
        self.shards.extend(part.shards);
    }
}

/// What an operator's change did.
#[derive(Clone, Debug)]
pub struct Changed {
    /// Before; `None` where the activity is new.
    pub before: Option<Arc<Definition>>,
    /// After.
    pub after: Arc<Definition>,
    /// The version that stands after it.
    pub version: u64,
    /// What the sale is doing after it.
    pub phase: Phase,
    /// Whether it is paused after it.
    pub paused: bool,
    /// Whether an earlier request with the same key made this change.
    pub replayed: bool,
}

/// A refusal with what its reply needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Why.
    pub reason: Reason,
    /// When it was decided.
    pub at_ms: UnixMillis,
    /// The shard that refused, which turns its order numbers into ids.
    pub shard: ShardId,
}

impl Refused {
    /// The id of the refusing shard's order of that number.
    #[must_use]
    pub fn order_id(&self, number: u32) -> OrderId {
        OrderId::new(self.shard, number)
    }
}

/// Why nothing changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The rules say no.
    Rule(Refusal),
    /// No such activity.
    ActivityNotFound,
    /// The server cannot take it now.
    Unavailable(Unavailable),
}

/// Why the server cannot take a request now. Asking again later is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unavailable {
    /// A queue is full.
    Overloaded,
    /// The disk has less free space than `journal.min_free_bytes`; new orders only.
    StorageLow,
    /// More events wait to be shipped to MySQL than `mysql.backlog_events_max`; new orders only.
    BacklogFull,
    /// MySQL has orders that this journal does not have, whose units it would sell again; new orders only.
    NotOurs,
    /// What is asked for is in MySQL alone, which cannot be reached.
    RowsAway,
    /// The journal is being read.
    Recovering,
    /// The process is stopping.
    Draining,
}

impl From<Refusal> for Reason {
    fn from(refusal: Refusal) -> Self {
        Self::Rule(refusal)
    }
}

/// An answer, or the promise of one.
#[derive(Debug)]
pub enum Asked {
    /// Answered on the spot.
    Now(Answer),
    /// On its way.
    Later(oneshot::Receiver<Answer>),
}

impl Asked {
    /// Waits for the answer. Where none can come any more (the journal has failed and the process is about to stop)
    /// this waits for ever: an unknown outcome is neither a yes nor a no, and the connection breaks instead.
    pub async fn answer(self) -> Answer {
        match self {
            Self::Now(answer) => answer,
            Self::Later(receiver) => match receiver.await {
                Ok(answer) => answer,
                Err(_) => std::future::pending().await,
            },
        }
    }
}
