//! Expiry: holds whose deadline has passed give their slots back, a bounded step at a time, so that a mass expiry does
//! not hold up the next shopper.

use smallvec::smallvec;

use super::command::Decision;
use super::event::{Event, HoldsExpired};
use super::order::Step;
use super::sale::Sale;
use crate::ids::UnixMillis;

/// Orders in one expiry event: small enough that a step takes well under a millisecond, large enough that 200,000
/// holds take fewer than 800 events.
pub const EXPIRE_STEP_ORDERS: usize = 256;

impl Sale {
    pub(super) fn expire(&self, now_ms: UnixMillis) -> Decision {
        let orders = self.deadlines.due(&self.orders, now_ms, EXPIRE_STEP_ORDERS);
        if orders.is_empty() {
            return Decision::default();
        }
        Decision::events(smallvec![Event::HoldsExpired(HoldsExpired { orders })])
    }

    pub(super) fn apply_expired(&mut self, event: &HoldsExpired) {
        for order in &event.orders {
            self.take_step(*order, Step::Expire);
        }
    }
}
