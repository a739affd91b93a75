//! Steps: what each transition of an order does to the units of its SKU.

use super::order::{OrderState, Step};
use super::sale::Sale;

impl Sale {
    /// Takes an order a step on. Units that a late payment needs are taken by the caller.
    ///
    /// # Panics
    /// Where the table of transitions refuses the step (S3).
    pub(super) fn take_step(&mut self, number: u32, step: Step) {
        let order = self.orders.get_mut(number).expect("U2: an order that changes was placed");
        let before = order.state;
        let after = before.after(step);
        order.state = after.unwrap_or_else(|| panic!("S3: an order that is {} takes no {step:?}", before.as_str()));
        let (index, slots) = (order.sku, order.slots.clone());
        let units = slots.count();
        let sku = self.sku_mut(index);
        match before {
            OrderState::Held => sku.held -= units,
            OrderState::Paid if step == (Step::Refund { restock: true }) => sku.sold -= units,
            _ => {}
        }
        match step {
            Step::Pay | Step::Reacquire => sku.sold += units,
            Step::Cancel | Step::Expire | Step::Refund { restock: true } => sku.free.add(&slots),
            // Nobody else may have them: they stay among the sold.
            Step::Refund { restock: false } => _ = self.unreturned.insert(number),
        }
        if before == OrderState::Held {
            self.deadlines.trim(&self.orders);
        }
    }
}
