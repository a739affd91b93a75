//! One order: what a shard remembers of a winner, and the view of it that leaves the domain.
//!
//! | order | a payment in time | cancel | its deadline | a late payment that has fresh units | refund |
//! |---|---|---|---|---|---|
//! | `held` | `paid` | `cancelled` | `expired` | – | – |
//! | `paid` | – | – | – | – | `refunded` |
//! | `cancelled` | – | – | – | – | – |
//! | `expired` | – | – | – | `paid` | – |
//! | `refunded` | – | – | – | – | – |

use serde::{Deserialize, Serialize};

use super::payment::PaymentView;
use super::slots::Slots;
use crate::ids::{ActivityId, Cents, KeyDigest, OrderId, Qty, SkuId, SkuIndex, UnixMillis, UserId};

/// Where an order stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderState {
    /// Units are bound to the user until the deadline.
    Held,
    /// The user gave it up.
    Cancelled,
    /// The deadline passed.
    Expired,
    /// A payment bought the units.
    Paid,
    /// An operator took it back after it was paid.
    Refunded,
}

/// What can become of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A payment comes in time.
    Pay,
    /// Its user gives it up.
    Cancel,
    /// Its deadline passes.
    Expire,
    /// A payment comes late, and there are fresh units for it.
    Reacquire,
    /// An operator takes it back.
    Refund {
        /// Whether its units go back on sale.
        restock: bool,
    },
}

impl Step {
    /// Every step.
    pub const ALL: [Self; 6] = [
        Self::Pay,
        Self::Cancel,
        Self::Expire,
        Self::Reacquire,
        Self::Refund { restock: true },
        Self::Refund { restock: false },
    ];
}

impl OrderState {
    /// Every state.
    pub const ALL: [Self; 5] = [Self::Held, Self::Cancelled, Self::Expired, Self::Paid, Self::Refunded];

    /// The table of transitions; `None` is a refusal. See the file's head.
    #[must_use]
    pub const fn after(self, step: Step) -> Option<Self> {
        match (self, step) {
            (Self::Held, Step::Pay) | (Self::Expired, Step::Reacquire) => Some(Self::Paid),
            (Self::Held, Step::Cancel) => Some(Self::Cancelled),
            (Self::Held, Step::Expire) => Some(Self::Expired),
            (Self::Paid, Step::Refund { .. }) => Some(Self::Refunded),
            _ => None,
        }
    }

    /// Whether the order's units count against its user's limit.
    #[must_use]
    pub fn is_live(self) -> bool {
        match self {
            Self::Held | Self::Paid => true,
            Self::Cancelled | Self::Expired | Self::Refunded => false,
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
            Self::Held => "held",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
            Self::Paid => "paid",
            Self::Refunded => "refunded",
        }
    }
}

/// An order as the shard keeps it. Its number is its place among the shard's orders and is not stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Order {
    pub user: UserId,
    pub held_at_ms: UnixMillis,
    pub expires_at_ms: UnixMillis,
    pub amount_cents: Cents,
    pub slots: Slots,
    pub reference: Option<Box<str>>,
    pub key: Option<KeyDigest>,
    /// The same user's order before this one; 0 where there is none.
    pub previous_of_user: u32,
    pub sku: SkuIndex,
    pub state: OrderState,
}

impl Order {
    pub fn quantity(&self) -> Qty {
        Qty(self.slots.count())
    }
}

/// An order as people see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderView {
    /// Its id.
    pub order_id: OrderId,
    /// Where it was placed.
    pub activity_id: ActivityId,
    /// Whose it is.
    pub user: UserId,
    /// What was ordered.
    pub sku_id: SkuId,
    /// How many units.
    pub quantity: Qty,
    /// What they cost together.
    pub amount_cents: Cents,
    /// Which units; after a release these are the units that it had.
    pub slots: Slots,
    /// Where it stands.
    pub state: OrderState,
    /// When it was placed.
    pub held_at_ms: UnixMillis,
    /// When the hold runs out, or ran out.
    pub expires_at_ms: UnixMillis,
    /// The caller's own reference.
    pub reference: Option<Box<str>>,
    /// The payments that name it, oldest first.
    pub payments: Vec<PaymentView>,
}
