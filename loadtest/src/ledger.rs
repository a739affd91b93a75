//! What the whole crowd knows of the sale: which order and which slot belongs to whom, so that one thing promised to two
//! shoppers is noticed the moment the second hears of it.
//!
//! Holds winners only, so it is as small as the stock. A slot is free to be sold again once its owner has asked to cancel
//! (the server may resell it before the owner hears back) or its hold has run out.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::reply::{Order, State};

/// How far the server's clock may be from ours before an expiry is judged wrongly.
pub(crate) const CLOCK_SKEW_MS_MAX: u64 = 2000;

/// A broken rule and an example of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) rule: &'static str,
    pub(crate) example: String,
}

impl Violation {
    pub(crate) fn new(rule: &'static str, example: impl Into<String>) -> Self {
        Self { rule, example: example.into() }
    }
}

/// Shared by all threads; touched only when something was accepted or is given back.
#[derive(Default)]
pub(crate) struct Ledger {
    books: Mutex<Books>,
    ended: AtomicBool,
}

#[derive(Default)]
struct Books {
    owner_by_order: HashMap<u64, u64>,
    /// Live slots by the SKU's place in the plan and the slot's number.
    holds: HashMap<(usize, u64), Hold>,
}

#[derive(Clone, Copy)]
struct Hold {
    order_id: u64,
    expires_at_ms: u64,
}

impl Hold {
    /// Surely still held: past this instant it may be gone.
    fn is_live(self, now_ms: u64) -> bool {
        self.expires_at_ms > now_ms.saturating_add(CLOCK_SKEW_MS_MAX)
    }
}

impl Ledger {
    /// Books an order that a user was told of.
    pub(crate) fn book(&self, user_id: u64, sku: usize, order: &Order, now_ms: u64) -> Vec<Violation> {
        let mut found = Vec::new();
        let mut books = self.books();
        match books.owner_by_order.entry(order.order_id) {
            Entry::Vacant(place) => {
                place.insert(user_id);
            }
            Entry::Occupied(owner) if *owner.get() != user_id => found.push(Violation::new(
                "U2: order ids are unique",
                format!("order {} was given to user {} and to user {user_id}", order.order_id, owner.get()),
            )),
            Entry::Occupied(_) => {}
        }
        if !order.state.is_live() {
            return found;
        }
        // What is paid does not run out.
        let expires_at_ms = if order.state == State::Paid { u64::MAX } else { order.expires_at_ms };
        let hold = Hold { order_id: order.order_id, expires_at_ms };
        for slot in &order.slots {
            let other = books.holds.insert((sku, *slot), hold);
            if let Some(other) =
                other.filter(|other| other.order_id != hold.order_id && other.is_live(now_ms) && hold.is_live(now_ms))
            {
                found.push(Violation::new(
                    "S2: no slot is sold twice",
                    format!(
                        "slot {slot} of sku {} is held by order {} and by order {}",
                        order.sku_id, other.order_id, order.order_id
                    ),
                ));
            }
        }
        found
    }

    /// The owner is about to give the order's slots back.
    pub(crate) fn release(&self, sku: usize, order: &Order) {
        let mut books = self.books();
        for slot in &order.slots {
            if let Entry::Occupied(place) = books.holds.entry((sku, *slot))
                && place.get().order_id == order.order_id
            {
                place.remove();
            }
        }
    }

    /// An operator took the order back, and its units are on sale again. Looks at every unit: for few orders.
    pub(crate) fn restock(&self, order_id: u64) {
        self.books().holds.retain(|_, hold| hold.order_id != order_id);
    }

    /// Units of each of `skus` SKUs that are surely held, or bought, now.
    pub(crate) fn units_live(&self, skus: usize, now_ms: u64) -> Vec<u64> {
        let mut units = vec![0; skus];
        for ((sku, _), hold) in &self.books().holds {
            units[*sku] += u64::from(hold.is_live(now_ms));
        }
        units
    }

    /// Someone was told that the sale has ended.
    pub(crate) fn note_end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }

    /// Whether anyone was told so.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(order_id: u64, slot: u64, expires_at_ms: u64) -> Order {
        Order {
            order_id,
            activity_id: 1,
            sku_id: "2001".into(),
            quantity: 1,
            amount_cents: 5,
            slots: vec![slot],
            state: State::Held,
            expires_at_ms,
            reference: None,
            payments: Vec::new(),
        }
    }

    #[test]
    fn a_slot_held_by_two_orders_is_found() {
        let ledger = Ledger::default();
        assert!(ledger.book(1, 0, &order(10, 7, 300_000), 0).is_empty());
        assert!(ledger.book(2, 1, &order(11, 7, 300_000), 0).is_empty(), "another SKU's slot 7");
        let found = ledger.book(3, 0, &order(12, 7, 300_000), 0);
        assert_eq!(found.len(), 1);
        assert!(found[0].rule.starts_with("S2"));
    }

    #[test]
    fn a_slot_given_back_or_expired_may_be_sold_again() {
        let ledger = Ledger::default();
        let first = order(10, 7, 300_000);
        ledger.book(1, 0, &first, 0);
        ledger.release(0, &first);
        assert!(ledger.book(2, 0, &order(11, 7, 300_000), 0).is_empty());
        assert!(ledger.book(3, 0, &order(12, 7, 700_000), 400_000).is_empty());
        assert_eq!(ledger.units_live(1, 400_000), [1]);
    }

    #[test]
    fn an_order_id_given_to_two_users_is_found() {
        let ledger = Ledger::default();
        ledger.book(1, 0, &order(10, 7, 300_000), 0);
        assert!(ledger.book(1, 0, &order(10, 7, 300_000), 0).is_empty(), "the same answer again");
        assert!(ledger.book(2, 0, &order(10, 8, 300_000), 0)[0].rule.starts_with("U2"));
    }
}
