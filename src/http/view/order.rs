//! Orders, as their owners and as operators see them.

use serde::Serialize;
use utoipa::ToSchema;

use super::{OrderPayment, maybe_text, text};
use crate::domain::{OrderState, OrderView};
use crate::ids::{ActivityId, OrderId, UserId};

/// An order.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"order_id": "68719476737", "activity_id": "1001", "sku_id": "2001", "quantity": 1,
    "amount_cents": 199_900, "slots": [17], "state": "held", "expires_at_ms": 1_794_355_500_000_u64,
    "held_at_ms": 1_794_355_200_000_u64, "ref": "cart-7", "payments": []}))]
pub struct Order {
    #[serde(serialize_with = "text")]
    #[schema(value_type = String, example = "68719476737")]
    order_id: OrderId,
    #[serde(serialize_with = "text")]
    #[schema(value_type = String, example = "1001")]
    activity_id: ActivityId,
    #[schema(example = "2001")]
    sku_id: String,
    #[schema(example = 1)]
    quantity: u32,
    /// Price times quantity, as of the purchase.
    #[schema(example = 199_900)]
    amount_cents: u64,
    /// The numbered units; after a release, those that the order had.
    #[schema(example = json!([17]))]
    slots: Vec<u32>,
    /// `held`, `paid`, `cancelled`, `expired` or `refunded`.
    #[schema(value_type = String, example = "held")]
    state: OrderState,
    /// An unpaid hold ends then.
    #[schema(example = 1_794_355_500_000_u64)]
    expires_at_ms: u64,
    /// When it was accepted.
    #[schema(example = 1_794_355_200_000_u64)]
    held_at_ms: u64,
    /// As it came with the request.
    #[serde(rename = "ref")]
    #[schema(value_type = Option<String>, example = "cart-7")]
    reference: Option<Box<str>>,
    /// The payments that named it, oldest first; not those that came after its activity had left memory.
    payments: Vec<OrderPayment>,
    /// Whose it is; only operators see it.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "maybe_text")]
    #[schema(value_type = Option<String>, example = "42")]
    user_id: Option<UserId>,
}

impl Order {
    /// As its owner sees it.
    pub fn own(order: OrderView) -> Self {
        Self {
            order_id: order.order_id,
            activity_id: order.activity_id,
            sku_id: order.sku_id.to_string(),
            quantity: order.quantity.0,
            amount_cents: order.amount_cents.0,
            slots: order.slots.iter().collect(),
            state: order.state,
            expires_at_ms: order.expires_at_ms.0,
            held_at_ms: order.held_at_ms.0,
            reference: order.reference,
            payments: order.payments.iter().map(OrderPayment::new).collect(),
            user_id: None,
        }
    }

    /// As an operator sees it.
    pub fn for_operator(order: OrderView) -> Self {
        let user = order.user;
        Self { user_id: Some(user), ..Self::own(order) }
    }
}

/// Several orders.
#[derive(Serialize, ToSchema)]
pub struct Orders {
    /// Newest first for a shopper, oldest first for an operator.
    pub orders: Vec<Order>,
    /// Where the next page starts; `null` at the end. A page may be short and still have a next one.
    pub next_cursor: Option<String>,
}

/// What became of a request to buy.
#[derive(Serialize, ToSchema)]
pub struct Outcome {
    /// `-1`, `0` or the order's id.
    #[schema(example = "68719476737")]
    pub result: String,
    /// The order's id, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "68719476737")]
    pub order_id: Option<String>,
    /// Where it stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "held")]
    pub state: Option<OrderState>,
    /// When its hold runs out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 1_794_355_500_000_u64)]
    pub expires_at_ms: Option<u64>,
}

impl Outcome {
    /// For the newest live order, if there is one; `settled` says whether other systems can see it.
    pub fn new(order: Option<&OrderView>, settled: bool) -> Self {
        let order_id = order.map(|order| order.order_id.to_string());
        let result = match &order_id {
            None => "-1",
            Some(_) if !settled => "0",
            Some(order_id) => order_id,
        };
        Self {
            result: result.to_owned(),
            order_id,
            state: order.map(|order| order.state),
            expires_at_ms: order.map(|order| order.expires_at_ms.0),
        }
    }
}
