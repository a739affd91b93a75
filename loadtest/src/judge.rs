//! What the contract allows as an answer, as plain functions from what was asked and what is known to what is wrong.
//! Every rule here has a planted bug in `tests/` that it must find.

use crate::code::Code;
use crate::desk::Sku;
use crate::ledger::{CLOCK_SKEW_MS_MAX, Violation};
use crate::plan::Plan;
use crate::reply::{Order, State};
use crate::shopper::Shopper;

/// The rule on amounts, named because a price that changed during the run lifts it.
pub(crate) const RULE_AMOUNT: &str = "contract: the amount is price times quantity";

/// Refusals that anyone who asks to buy may meet.
const BUYING: &[&str] = &[
    "not_started",
    "ended",
    "paused",
    "activity_closed",
    "blocked",
    "not_eligible",
    "limit_reached",
    "sold_out",
    "rate_limited",
    "overloaded",
    "backlog_full",
    "storage_low",
    "recovering",
    "draining",
];

/// Refusals that say nothing about the request, on routes that take no new order.
const BUSY: &[&str] = &["rate_limited", "overloaded", "recovering", "draining"];

/// An order against the request that it answers.
pub(crate) fn order(plan: &Plan, sku: &Sku, shopper: &Shopper, order: &Order) -> Option<Violation> {
    let wrong = |field: &str, expected: &dyn std::fmt::Display, got: &dyn std::fmt::Display| {
        let example = format!("order {}: `{field}` is {got}, expected {expected}", order.order_id);
        Some(Violation::new("contract: an order is what was asked for", example))
    };
    let units = usize::try_from(order.quantity).unwrap_or(usize::MAX);
    let repeated = order.slots.iter().enumerate().any(|(at, slot)| order.slots[..at].contains(slot));
    if order.activity_id != plan.activity_id {
        wrong("activity_id", &plan.activity_id, &order.activity_id)
    } else if order.sku_id != sku.sku_id {
        wrong("sku_id", &sku.sku_id, &order.sku_id)
    } else if order.quantity != shopper.quantity {
        wrong("quantity", &shopper.quantity, &order.quantity)
    } else if order.reference != shopper.reference {
        let text = |reference: &Option<String>| reference.clone().unwrap_or_else(|| "absent".into());
        wrong("ref", &text(&shopper.reference), &text(&order.reference))
    } else if order.state.is_live() && (order.slots.len() != units || repeated) {
        wrong("slots", &format!("{units} distinct slots"), &format!("{:?}", order.slots))
    } else if Some(order.amount_cents) != sku.price_cents.checked_mul(u64::from(order.quantity)) {
        let example = format!(
            "order {}: {} cents for {} at {} each",
            order.order_id, order.amount_cents, order.quantity, sku.price_cents
        );
        Some(Violation::new(RULE_AMOUNT, example))
    } else {
        None
    }
}

/// A new order's state.
pub(crate) fn fresh(order: &Order, ended_before: bool, now_ms: u64) -> Option<Violation> {
    if ended_before {
        let example = format!("order {} was accepted after someone had been told `ended`", order.order_id);
        Some(Violation::new("U4: nothing is accepted after the end", example))
    } else if order.state != State::Held || order.expires_at_ms + CLOCK_SKEW_MS_MAX < now_ms {
        let state = order.state.name();
        let example = format!("new order {} is {state}, expires at {}", order.order_id, order.expires_at_ms);
        Some(Violation::new("contract: a new order is held", example))
    } else {
        None
    }
}

/// A refusal to buy. `newcomer` holds nothing, has not asked before, and wants no more than the limit.
pub(crate) fn refusal(code: Code, newcomer: bool, quantity: u32, plan: &Plan) -> Option<Violation> {
    let allowed = code.is_any(BUYING)
        || (code.is("invalid_quantity") && quantity > 1)
        || (code.is("idempotency_key_reused") && plan.returning);
    if !allowed {
        return Some(unexpected("an order", code));
    }
    if code.is("limit_reached") && newcomer && !plan.returning && quantity <= plan.per_user_limit {
        let example = "a user who holds nothing was refused `limit_reached` (were these users here before, by the same \
                       --seed or --first-user? then say --returning)";
        return Some(Violation::new("U1: the limit counts only what a user holds", example));
    }
    None
}

/// A refusal where only the server's own state may refuse: polls, replays, cancels.
pub(crate) fn busy(what: &'static str, code: Code) -> Option<Violation> {
    (!code.is_any(BUSY)).then(|| unexpected(what, code))
}

fn unexpected(what: &str, code: Code) -> Violation {
    Violation::new("contract: refusals and their precedence", format!("{what} was refused with `{}`", code.name()))
}
