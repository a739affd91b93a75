//! What a shard answers without changing anything: one order, many orders, the sale's numbers.

use std::sync::atomic::Ordering;

use super::Shard;
use crate::actors::ask::{Answer, Page, Question, SaleView, ShardView};
use crate::domain::{OrderView, Refusal};
use crate::ids::{OrderId, UnixMillis};

/// Orders that one page of a look-up walks at most: about a millisecond.
const SCAN_MAX: usize = 20_000;

impl Shard {
    pub(super) fn look_up(&self, question: &Question, at_ms: UnixMillis) -> Result<Answer, Refusal> {
        match question {
            Question::Order { number, user } => {
                let order = self.state.order(*number).filter(|order| user.is_none_or(|user| order.user == user));
                order.map(|order| Answer::Order { order, replayed: false }).ok_or(Refusal::OrderNotFound)
            }
            Question::OrdersOf { user, before, limit } => {
                let older = |order: &OrderView| before.is_none_or(|before| order.order_id.sequence() < Some(before));
                let mut orders: Vec<_> = self.state.orders_of(*user).filter(older).take(limit + 1).collect();
                let more = orders.len() > *limit;
                orders.truncate(*limit);
                let next = orders.last().filter(|_| more).and_then(|order| order.order_id.sequence());
                Ok(Answer::Orders(orders, next))
            }
            Question::Live { user, sku } => {
                let listed = self.state.sku_ids().any(|(_, known, _)| known == sku);
                let is_live = |order: &OrderView| order.state.is_live() && order.sku_id == *sku;
                let live = self.state.orders_of(*user).find(is_live);
                if listed { Ok(Answer::Live(live)) } else { Err(Refusal::SkuNotFound) }
            }
            Question::Payment { payment_id } => {
                let payment = self.state.find_payment(payment_id).ok_or(Refusal::PaymentNotFound)?;
                Ok(self.payment_answer(payment, false))
            }
            Question::Payments { numbers } => {
                Ok(Answer::Payments(numbers.iter().filter_map(|number| self.state.payment(*number)).collect()))
            }
            Question::Orders(page) => Ok(self.page(page)),
            Question::Sale => Ok(Answer::Sale(Box::new(self.view(at_ms)))),
            Question::Place(_)
            | Question::Cancel(_)
            | Question::Pay(_)
            | Question::Suspend(_)
            | Question::Refund(_)
            | Question::CloseRefund(_)
            | Question::Stay
            | Question::Change(_)
            | Question::Settled { .. }
            | Question::Retire { .. } => unreachable!("that is no look-up"),
        }
    }

    /// One page of the shard's orders. Scans at most [`SCAN_MAX`] orders, so that a rare state cannot hold up the sale; a page may
    /// therefore be short and still have a next one.
    fn page(&self, page: &Page) -> Answer {
        let mut found = Vec::new();
        let after =
            page.after.filter(|after| after.shard() == Some(self.id())).and_then(OrderId::sequence).unwrap_or(0);
        let mut last = after;
        let wanted = |order: &OrderView| {
            page.user.is_none_or(|user| order.user == user) && page.state.is_none_or(|state| order.state == state)
        };
        if let Some(user) = page.user {
            let mut orders: Vec<_> = self.state.orders_of(user).filter(wanted).collect();
            orders.retain(|order| order.order_id.sequence().is_some_and(|number| number > after));
            orders.reverse();
            let more = orders.len() > page.limit;
            orders.truncate(page.limit);
            let next = orders.last().filter(|_| more).map(|order| order.order_id);
            return Answer::Page(orders, next);
        }
        for order in self.state.orders_from(after.saturating_add(1)).take(SCAN_MAX) {
            last = order.order_id.sequence().unwrap_or(last);
            if wanted(&order) {
                found.push(order);
            }
            if found.len() == page.limit {
                break;
            }
        }
        let next = (last < self.state.orders_placed()).then(|| self.state.order_id(last));
        Answer::Page(found, next)
    }

    fn view(&self, at_ms: UnixMillis) -> SaleView {
        let mut refused = self.refused.clone();
        let door = &self.door.refused;
        let at_the_door = [("sold_out", &door.sold_out), ("not_started", &door.not_started), ("ended", &door.ended)];
        // One part tells of the door that all have in common.
        for (code, count) in at_the_door.into_iter().filter(|_| self.state.part().is_home()) {
            let count = count.load(Ordering::Relaxed);
            if count > 0 {
                *refused.entry(code).or_default() += count;
            }
        }
        let (skus, accepted) = (self.state.counts(), u64::from(self.state.orders_placed()));
        SaleView {
            definition: self.state.shared_definition(),
            version: self.state.version(),
            phase: self.state.phase(at_ms),
            paused: self.state.is_paused(),
            skus: skus.clone(),
            accepted,
            refused,
            shards: vec![ShardView { shard: self.id(), accepted, skus }],
            at_ms,
        }
    }
}
