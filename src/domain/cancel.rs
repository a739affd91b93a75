//! Cancelling: a shopper gives a held order up, and its slots are back on sale at once.

use smallvec::smallvec;

use super::command::{CancelOrder, Decision};
use super::event::{Event, OrderCancelled};
use super::order::{OrderState, Step};
use super::refusal::Refusal;
use super::sale::Sale;
use crate::ids::UnixMillis;

impl Sale {
    pub(super) fn cancel(&self, command: &CancelOrder, now_ms: UnixMillis) -> Result<Decision, Refusal> {
        let order = self
            .orders
            .get(command.order)
            .filter(|order| order.user == command.user && self.rounds.is_empty())
            .ok_or(Refusal::OrderNotFound)?;
        match order.state {
            OrderState::Cancelled => {
                let replayed = command.key.is_some() && self.cancel_keys.get(&command.order) == command.key.as_ref();
                Ok(Decision::existing(command.order, replayed))
            }
            state @ (OrderState::Expired | OrderState::Paid | OrderState::Refunded) => {
                Err(Refusal::OrderNotCancellable { state })
            }
            // The deadline has passed and its release is a moment away: what has run out cannot be given up.
            OrderState::Held if now_ms >= order.expires_at_ms => {
                Err(Refusal::OrderNotCancellable { state: OrderState::Expired })
            }
            OrderState::Held => {
                let event = Event::OrderCancelled(OrderCancelled { order: command.order, key: command.key });
                Ok(Decision { events: smallvec![event], order: Some(command.order), ..Decision::default() })
            }
        }
    }

    pub(super) fn apply_cancelled(&mut self, event: &OrderCancelled) {
        self.take_step(event.order, Step::Cancel);
        if let Some(key) = event.key {
            self.cancel_keys.insert(event.order, key);
        }
    }
}
