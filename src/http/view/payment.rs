//! Payments, as the provider is answered and as operators see them.

use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::{OrderState, PaymentView};

/// A payment of an order, in short.
#[derive(Serialize, ToSchema)]
pub struct OrderPayment {
    #[schema(example = "pay-7f3a")]
    payment_id: Box<str>,
    /// `applied`, `refund_due` or `refunded`.
    #[schema(example = "applied")]
    payment_state: &'static str,
}

impl OrderPayment {
    pub fn new(payment: &PaymentView) -> Self {
        Self { payment_id: payment.payment_id.clone(), payment_state: payment.state.as_str() }
    }
}

/// What became of a payment.
#[derive(Serialize, ToSchema)]
pub struct PaymentAnswer<'a> {
    #[schema(example = "pay-7f3a")]
    pub payment_id: &'a str,
    /// `applied`, `refund_due` or `refunded`.
    #[schema(example = "applied")]
    pub payment_state: &'static str,
    #[schema(example = "68719476737")]
    pub order_id: &'a str,
    /// Where the order stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "paid")]
    pub state: Option<OrderState>,
}

impl<'a> PaymentAnswer<'a> {
    pub fn new(payment: &'a PaymentView, state: Option<OrderState>) -> Self {
        let payment_state = payment.state.as_str();
        Self { payment_id: &payment.payment_id, payment_state, order_id: &payment.named, state }
    }
}

/// A payment that is, or was, owed back.
#[derive(Serialize, ToSchema)]
pub struct Refund<'a> {
    #[schema(example = "pay-7f3a")]
    payment_id: &'a str,
    /// `refund_due` or `refunded`.
    #[schema(example = "refund_due")]
    payment_state: &'static str,
    /// The order that it names, as it names it.
    #[schema(example = "68719476737")]
    order_id: &'a str,
    #[schema(example = 199_900)]
    amount_cents: u64,
    #[schema(example = "CNY")]
    currency: &'a str,
    /// Why it is owed back: `late`, `cancelled`, `already_paid`, `already_refunded`, `mismatch`, `unknown_order`,
    /// `activity_left` or `order_refunded`.
    #[schema(example = "late")]
    reason: Option<&'static str>,
    /// When it was received.
    #[schema(example = 1_794_355_500_000_u64)]
    received_at_ms: u64,
    /// Since when it is owed back.
    #[schema(example = 1_794_355_500_000_u64)]
    due_at_ms: Option<u64>,
    /// When it was paid back.
    #[schema(example = 1_794_442_000_000_u64)]
    done_at_ms: Option<u64>,
}

impl<'a> Refund<'a> {
    pub fn new(payment: &'a PaymentView) -> Self {
        Self {
            payment_id: &payment.payment_id,
            payment_state: payment.state.as_str(),
            order_id: &payment.named,
            amount_cents: payment.amount_cents.0,
            currency: &payment.currency,
            reason: payment.why.map(crate::domain::payment::Why::as_str),
            received_at_ms: payment.received_at_ms.0,
            due_at_ms: payment.due_at_ms.map(|at| at.0),
            done_at_ms: payment.done_at_ms.map(|at| at.0),
        }
    }
}

/// Several of them.
#[derive(Serialize, ToSchema)]
pub struct Refunds<'a> {
    /// In the order of their orders' shards, and there as they came.
    pub refunds: Vec<Refund<'a>>,
    /// Where the next page starts; `null` at the end. A page may be short and still have a next one.
    pub next_cursor: Option<String>,
}
