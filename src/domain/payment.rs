//! Payments: what a shard keeps of each, and where it stands. A payment is received once, by its id, and from then on
//! belongs to whoever received it first: the shard of the order that it names, or the [suspense
//! account](super::suspense).
//!
//! | payment | an operator refunds its order | it was paid back |
//! |---|---|---|
//! | `applied` | `refund_due` | – |
//! | `refund_due` | – | `refunded` |
//! | `refunded` | – | – |

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use super::command::RequestKey;
use super::event::{Author, Change};
use crate::ids::{Cents, KeyDigest, OrderId, UnixMillis};

/// The longest payment id, order as named, or currency that a payment may carry, in bytes.
pub const PAYMENT_TEXT_BYTES_MAX: usize = 64;

/// Where a payment stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PaymentState {
    /// It paid its order.
    Applied,
    /// It is owed back.
    RefundDue,
    /// It was paid back.
    Refunded,
}

/// What can become of a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PaymentStep {
    /// The order that it paid is refunded.
    Return,
    /// Somebody paid it back.
    PayBack,
}

impl PaymentState {
    /// Every state.
    pub const ALL: [Self; 3] = [Self::Applied, Self::RefundDue, Self::Refunded];

    /// The table of transitions; `None` is a refusal.
    #[must_use]
    pub const fn after(self, step: PaymentStep) -> Option<Self> {
        match (self, step) {
            (Self::Applied, PaymentStep::Return) => Some(Self::RefundDue),
            (Self::RefundDue, PaymentStep::PayBack) => Some(Self::Refunded),
            _ => None,
        }
    }

    /// The state of that name.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }

    /// The state's name in the contract.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::RefundDue => "refund_due",
            Self::Refunded => "refunded",
        }
    }
}

impl PaymentStep {
    /// Every step.
    pub const ALL: [Self; 2] = [Self::Return, Self::PayBack];
}

/// Why a payment is owed back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Why {
    /// The hold had run out, and the order could not, or was not to, have fresh units.
    #[serde(rename = "l")]
    Late,
    /// The order had been cancelled.
    #[serde(rename = "c")]
    Cancelled,
    /// Another payment had paid the order.
    #[serde(rename = "p")]
    AlreadyPaid,
    /// The order had been refunded.
    #[serde(rename = "r")]
    AlreadyRefunded,
    /// The amount or the currency was not the order's.
    #[serde(rename = "m")]
    Mismatch,
    /// There is no such order.
    #[serde(rename = "u")]
    UnknownOrder,
    /// The order's activity had left memory, and the order could not be read at that moment.
    #[serde(rename = "e")]
    ActivityLeft,
    /// It had paid the order, which an operator then refunded.
    #[serde(rename = "o")]
    OrderRefunded,
}

impl Why {
    /// Every reason.
    pub const ALL: [Self; 8] = [
        Self::Late,
        Self::Cancelled,
        Self::AlreadyPaid,
        Self::AlreadyRefunded,
        Self::Mismatch,
        Self::UnknownOrder,
        Self::ActivityLeft,
        Self::OrderRefunded,
    ];

    /// The reason's name for other systems.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Late => "late",
            Self::Cancelled => "cancelled",
            Self::AlreadyPaid => "already_paid",
            Self::AlreadyRefunded => "already_refunded",
            Self::Mismatch => "mismatch",
            Self::UnknownOrder => "unknown_order",
            Self::ActivityLeft => "activity_left",
            Self::OrderRefunded => "order_refunded",
        }
    }
}

/// A payment as its owner keeps it. Its number is its place among its owner's payments and is not stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Payment {
    pub payment_id: Box<str>,
    /// The order's number in the shard; 0 in the suspense account.
    pub order: u32,
    pub amount_cents: Cents,
    /// Where it is not the activity's.
    pub currency: Option<Box<str>>,
    pub received_at_ms: UnixMillis,
    /// Whether it gave an order that had expired fresh units.
    pub reacquired: bool,
    /// Where it is owed back, or was paid back.
    pub refund: Option<Box<Refund>>,
    /// The same order's payment before this one; 0 where there is none. Worked out again from the others.
    #[serde(skip)]
    pub previous_of_order: u32,
}

/// How a payment came to be owed back, and what became of that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Refund {
    pub why: Why,
    pub due_at_ms: UnixMillis,
    /// The operator who refunded the order; `None` where the payment was owed back as it came.
    pub ordered: Option<Act>,
    /// The operator who said that it was paid back.
    pub done: Option<Act>,
}

/// What an operator did, and by what request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Act {
    pub at_ms: UnixMillis,
    pub by: Author,
    pub key: Option<RequestKey>,
}

impl Act {
    pub fn of(at_ms: UnixMillis, change: &Change) -> Self {
        Self { at_ms, by: change.by, key: change.key }
    }
}

impl Payment {
    pub fn state(&self) -> PaymentState {
        match self.refund.as_deref() {
            None => PaymentState::Applied,
            Some(Refund { done: None, .. }) => PaymentState::RefundDue,
            Some(Refund { done: Some(_), .. }) => PaymentState::Refunded,
        }
    }

    /// Takes a step that the table has.
    ///
    /// # Panics
    /// Where the table refuses it (M5).
    pub fn step(&mut self, step: PaymentStep, at_ms: UnixMillis, change: &Change) {
        assert!(self.state().after(step).is_some(), "M5: a payment that is {:?} takes no {step:?}", self.state());
        let act = Some(Act::of(at_ms, change));
        match step {
            PaymentStep::Return => {
                let refund = Refund { why: Why::OrderRefunded, due_at_ms: at_ms, ordered: act, done: None };
                self.refund = Some(Box::new(refund));
            }
            PaymentStep::PayBack => self.refund.as_mut().expect("what is due back has a refund").done = act,
        }
    }

    pub fn why(&self) -> Option<Why> {
        self.refund.as_ref().map(|refund| refund.why)
    }
}

/// The digest by which a payment id is looked up: 128 bits of BLAKE3. Ids come from the payment provider alone.
#[must_use]
pub fn payment_key(payment_id: &str) -> KeyDigest {
    let digest = blake3::hash(payment_id.as_bytes());
    KeyDigest(*digest.as_bytes().first_chunk().expect("BLAKE3 gives 32 bytes"))
}

/// An owner's payments: found by number, by id, and by order from the newest to the oldest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Payments {
    all: Vec<Payment>,
    by_key: FxHashMap<KeyDigest, u32>,
    newest_of_order: FxHashMap<u32, u32>,
    /// How many are owed back.
    due: usize,
}

impl Payments {
    /// How many there are, which is also the newest one's number.
    pub fn count(&self) -> u32 {
        u32::try_from(self.all.len()).expect("a payment's number is a u32, checked when it is given")
    }

    pub fn get(&self, payment: u32) -> Option<&Payment> {
        self.all.get((payment as usize).checked_sub(1)?)
    }

    /// The payment of that id, with its number.
    pub fn find(&self, payment_id: &str) -> Option<(u32, &Payment)> {
        let number = *self.by_key.get(&payment_key(payment_id))?;
        Some((number, self.get(number)?)).filter(|(_, payment)| *payment.payment_id == *payment_id)
    }

    /// The payments that name an order, newest first.
    pub fn of_order(&self, order: u32) -> impl Iterator<Item = (u32, &Payment)> + '_ {
        let mut next = self.newest_of_order.get(&order).copied().unwrap_or(0);
        std::iter::from_fn(move || {
            let payment = self.get(next)?;
            let number = next;
            next = payment.previous_of_order;
            Some((number, payment))
        })
    }

    /// Every payment with its number, oldest first, from number `first` on.
    pub fn from(&self, first: u32) -> impl Iterator<Item = (u32, &Payment)> + '_ {
        (first.max(1)..=self.count()).filter_map(|number| Some((number, self.get(number)?)))
    }

    /// The digests of all ids, in the order of the payments' numbers.
    pub fn keys(&self) -> impl Iterator<Item = KeyDigest> + '_ {
        self.all.iter().map(|payment| payment_key(&payment.payment_id))
    }

    /// Whether any is owed back.
    pub fn any_due(&self) -> bool {
        self.due > 0
    }

    /// Adds the next payment; `false` where one with its id is there already.
    pub fn push(&mut self, mut payment: Payment) -> bool {
        let number = self.count() + 1;
        if self.by_key.insert(payment_key(&payment.payment_id), number).is_some() {
            return false;
        }
        payment.previous_of_order = match payment.order {
            0 => 0,
            order => self.newest_of_order.insert(order, number).unwrap_or(0),
        };
        self.due += usize::from(payment.state() == PaymentState::RefundDue);
        self.all.push(payment);
        true
    }

    /// Takes a step with a payment.
    ///
    /// # Panics
    /// Where there is no such payment, or the table refuses the step (M5).
    pub fn step(&mut self, number: u32, step: PaymentStep, at_ms: UnixMillis, change: &Change) {
        let place = (number as usize).checked_sub(1);
        let payment = place.and_then(|place| self.all.get_mut(place)).expect("M5: a payment was received before");
        let was_due = payment.state() == PaymentState::RefundDue;
        payment.step(step, at_ms, change);
        let is_due = payment.state() == PaymentState::RefundDue;
        self.due = self.due + usize::from(is_due) - usize::from(was_due);
    }
}

/// A payment as people see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaymentView {
    /// Its number at its owner.
    pub number: u32,
    /// Its id, the payment provider's.
    pub payment_id: Box<str>,
    /// The order that it names, as it names it.
    pub named: Box<str>,
    /// The same, where that is an order's id.
    pub order_id: Option<OrderId>,
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
}

impl PaymentView {
    pub(super) fn of(number: u32, payment: &Payment, named: &str, order_id: Option<OrderId>, currency: &str) -> Self {
        let refund = payment.refund.as_deref();
        Self {
            number,
            payment_id: payment.payment_id.clone(),
            named: named.into(),
            order_id,
            amount_cents: payment.amount_cents,
            currency: payment.currency.as_deref().unwrap_or(currency).into(),
            state: payment.state(),
            why: payment.why(),
            reacquired: payment.reacquired,
            received_at_ms: payment.received_at_ms,
            due_at_ms: refund.map(|refund| refund.due_at_ms),
            done_at_ms: refund.and_then(|refund| refund.done.as_ref()).map(|act| act.at_ms),
        }
    }
}
