//! Placing an order: the one verb that a crowd uses.

use smallvec::smallvec;

use super::command::{Decision, PlaceOrder};
use super::event::{Event, OrderPlaced};
use super::order::{Order, OrderState};
use super::refusal::Refusal;
use super::sale::{Phase, Sale};
use crate::ids::{Qty, UnixMillis};

/// Orders that one user may place in one activity beyond the limit, so that placing and cancelling for ever cannot
/// grow memory: a shop's shopper changes their mind a few times, a script does so for ever.
pub const ORDERS_BEYOND_LIMIT_MAX: u32 = 32;

impl Sale {
    /// The checks stand in the contract's order of precedence.
    pub(super) fn place(&self, command: &PlaceOrder, now_ms: UnixMillis) -> Result<Decision, Refusal> {
        if !self.rounds.is_empty() {
            return Err(Refusal::SkuNotFound);
        }
        if let Some(order) = self.replay_of_order(command)? {
            return Ok(Decision::existing(order, true));
        }
        match self.phase(now_ms) {
            Phase::Scheduled => {
                return Err(Refusal::NotStarted { starts_at_ms: self.definition.starts_at_ms });
            }
            Phase::Ended => return Err(Refusal::Ended),
            Phase::Paused => return Err(Refusal::Paused),
            Phase::Running => {}
        }
        let (index, sku) = self.find_sku(&command.sku).filter(|(_, sku)| sku.listed).ok_or(Refusal::SkuNotFound)?;
        let max = self.definition.quantity_max();
        let quantity = u32::try_from(command.quantity)
            .ok()
            .filter(|quantity| (1..=max).contains(quantity))
            .ok_or(Refusal::InvalidQuantity { max })?;
        self.check_limit(command, quantity)?;
        let slots = sku.free.lowest(quantity).ok_or(Refusal::SoldOut)?;

        let amount_cents = sku.price_cents.times(Qty(quantity)).expect("price and quantity are bounded below 2^53");
        let order = self.orders.count().checked_add(1).ok_or(Refusal::TooLarge { what: "a shard's 2^32 orders" })?;
        let event = Event::OrderPlaced(OrderPlaced {
            order,
            user: command.user,
            sku: index,
            slots,
            amount_cents,
            expires_at_ms: now_ms.plus_ms(self.definition.payment_window_ms),
            key: command.key,
            reference: command.reference.clone(),
        });
        Ok(Decision { events: smallvec![event], order: Some(order), ..Decision::default() })
    }

    /// The order that this user placed with this key, if any. Bodies are compared by what they ask for (U3).
    fn replay_of_order(&self, command: &PlaceOrder) -> Result<Option<u32>, Refusal> {
        let Some(key) = command.key else { return Ok(None) };
        let Some((number, order)) = self.orders.of_user(command.user).find(|(_, order)| order.key == Some(key)) else {
            return Ok(None);
        };
        let same = self.sku(order.sku).sku_id == command.sku
            && i64::from(order.quantity().0) == command.quantity
            && order.reference == command.reference;
        if same { Ok(Some(number)) } else { Err(Refusal::KeyReused) }
    }

    fn check_limit(&self, command: &PlaceOrder, quantity: u32) -> Result<(), Refusal> {
        let (mut placed, mut units, mut orders) = (0, 0, Vec::new());
        for (number, order) in self.orders.of_user(command.user) {
            placed += 1;
            if order.state.is_live() {
                units += order.quantity().0;
                orders.push(number);
            }
        }
        let limit = self.definition.per_user_limit.0;
        if units + quantity > limit || placed >= limit + ORDERS_BEYOND_LIMIT_MAX {
            return Err(Refusal::LimitReached { orders });
        }
        Ok(())
    }

    pub(super) fn apply_placed(&mut self, at_ms: UnixMillis, event: &OrderPlaced) {
        assert_eq!(event.order, self.orders.count() + 1, "U2: a shard's orders are numbered without a gap");
        let sku = self.sku_mut(event.sku);
        sku.free.remove(&event.slots);
        sku.held += event.slots.count();
        self.orders.push(Order {
            user: event.user,
            held_at_ms: at_ms,
            expires_at_ms: event.expires_at_ms,
            amount_cents: event.amount_cents,
            slots: event.slots.clone(),
            reference: event.reference.clone(),
            key: event.key,
            previous_of_user: 0,
            sku: event.sku,
            state: OrderState::Held,
        });
        self.deadlines.push(event.order, event.expires_at_ms);
    }
}
