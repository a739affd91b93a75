//! When holds run out. Deadlines nearly always come in the order of their orders, because all have the same payment
//! window; those are a plain queue of order numbers. The few that do not (the window was shortened) stand aside, sorted.
//!
//! Orders that are no longer held stay in the queue until they come to its front: a cancel costs nothing here.

use std::collections::{BTreeSet, VecDeque};

use super::order::OrderState;
use super::orders::Orders;
use crate::ids::UnixMillis;

/// An index of the orders: which of its two places an order stands in depends on what came before, and what it answers
/// does not. So it is not compared; see [`Sale`](super::Sale)'s equality.
#[derive(Clone, Debug, Default)]
pub(super) struct Deadlines {
    queue: VecDeque<u32>,
    newest: UnixMillis,
    early: BTreeSet<(UnixMillis, u32)>,
}

impl Deadlines {
    pub fn push(&mut self, order: u32, expires_at_ms: UnixMillis) {
        if expires_at_ms >= self.newest || self.queue.is_empty() {
            self.newest = expires_at_ms;
            self.queue.push_back(order);
        } else {
            self.early.insert((expires_at_ms, order));
        }
    }

    /// The earliest deadline of a held order. Exact after [`Deadlines::trim`].
    pub fn next(&self, orders: &Orders) -> Option<UnixMillis> {
        let queued = self.queue.front().and_then(|order| orders.get(*order)).map(|order| order.expires_at_ms);
        let early = self.early.first().map(|(at, _)| *at);
        queued.into_iter().chain(early).min()
    }

    /// Held orders whose deadline is at or before `now_ms`, in the order of their deadlines, at most `max` of them.
    pub fn due(&self, orders: &Orders, now_ms: UnixMillis, max: usize) -> Vec<u32> {
        let deadline = |order: &u32| orders.get(*order).map(|found| (found.expires_at_ms, *order));
        let mut queued = self.queue.iter().filter_map(deadline).peekable();
        let mut early = self.early.iter().copied().peekable();
        let mut due = Vec::new();
        while due.len() < max {
            let early_is_next = match (early.peek(), queued.peek()) {
                (Some(early), Some(queued)) => early < queued,
                (early, _) => early.is_some(),
            };
            let next = if early_is_next { early.next() } else { queued.next() };
            let Some((_, order)) = next.filter(|(at, _)| *at <= now_ms) else { break };
            if orders.get(order).is_some_and(|order| order.state == OrderState::Held) {
                due.push(order);
            }
        }
        due
    }

    /// Drops what is no longer held from the front.
    pub fn trim(&mut self, orders: &Orders) {
        let is_held = |order: u32| orders.get(order).is_some_and(|order| order.state == OrderState::Held);
        while self.queue.front().is_some_and(|order| !is_held(*order)) {
            self.queue.pop_front();
        }
        while self.early.first().is_some_and(|(_, order)| !is_held(*order)) {
            self.early.pop_first();
        }
    }
}
