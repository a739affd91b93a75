//! What a shard answers without changing anything: one order, many orders, the sale's numbers.

use std::sync::atomic::Ordering;

use super::Shard;
use crate::actors::ask::{Answer, Page, Question, RoundCount, SaleView, ShardView};
use crate::domain::round::Round;
use crate::domain::{OrderState, OrderView, Refusal};
use crate::ids::{OrderId, UnixMillis};

/// The order that a poll tells of, among one user's of a SKU, newest first: the newest live one; else the newest that was
/// refunded, which was bought and is neither cancelled nor expired.
pub(in crate::actors) fn newest_live(orders: &mut dyn Iterator<Item = OrderView>) -> Option<OrderView> {
    let mut refunded = None;
    for order in orders {
        if order.state.is_live() {
            return Some(order);
        }
        if order.state == OrderState::Refunded && refunded.is_none() {
            refunded = Some(order);
        }
    }
    refunded
}

/// Orders that one page of a look-up walks at most: about a millisecond.
const SCAN_MAX: usize = 20_000;

impl Shard {
    pub(super) fn look_up(&self, question: &Question, at_ms: UnixMillis) -> Result<Answer, Refusal> {
        match question {
            Question::Order { number, user } => {
                let is_wanted = |order: &OrderView| user.is_none_or(|user| order.user == user);
                // A grab is no order.
                let order = self.state.order(*number).filter(|order| !self.is_of_packets() && is_wanted(order));
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
            Question::GrabsOf { user, before, limit } => {
                let older = |grab: &OrderView| before.is_none_or(|before| grab.order_id.sequence() < Some(before));
                let grabs = self.state.orders_of(*user).filter(older).take(limit + 1);
                let mut grabs: Vec<_> = grabs.map(|grab| self.grab_view(&grab)).collect();
                let more = grabs.len() > *limit;
                grabs.truncate(*limit);
                let next = grabs.last().filter(|_| more).and_then(|grab| grab.grab_id.sequence());
                Ok(Answer::Grabs(grabs, next))
            }
            Question::Live { user, sku } => {
                let listed = self.state.sku_ids().any(|(_, known, _)| known == sku);
                let mut orders = self.state.orders_of(*user).filter(|order| order.sku_id == *sku);
                let live = newest_live(&mut orders);
                if listed { Ok(Answer::Live(live)) } else { Err(Refusal::SkuNotFound) }
            }
            Question::Payment { payment_id } => {
                let payment = self.state.find_payment(payment_id).ok_or(Refusal::PaymentNotFound)?;
                Ok(self.payment_answer(payment, false))
            }
            Question::Payments { numbers } => {
                Ok(Answer::Payments(numbers.iter().filter_map(|number| self.state.payment(*number)).collect()))
            }
            Question::Orders(page) => {
                let (orders, next) = self.page(page);
                Ok(Answer::Page(orders, next))
            }
            Question::Grabs(page) => {
                let (grabs, next) = self.page(page);
                Ok(Answer::GrabPage(grabs.iter().map(|grab| self.grab_view(grab)).collect(), next))
            }
            Question::Sale => Ok(Answer::Sale(Box::new(self.view(at_ms)))),
            Question::Place(_)
            | Question::Cancel(_)
            | Question::Grab(_)
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

    /// One page of the shard's orders, or grabs. Scans at most [`SCAN_MAX`] orders, so that a rare state cannot hold up the sale; a page may
    /// therefore be short and still have a next one.
    fn page(&self, page: &Page) -> (Vec<OrderView>, Option<OrderId>) {
        let mut found = Vec::new();
        let after =
            page.after.filter(|after| after.shard() == Some(self.id())).and_then(OrderId::sequence).unwrap_or(0);
        let mut last = after;
        if let Some(user) = page.user {
            let wanted = |order: &OrderView| page.state.is_none_or(|state| order.state == state);
            let mut orders: Vec<_> = self.state.orders_of(user).filter(wanted).collect();
            orders.retain(|order| order.order_id.sequence().is_some_and(|number| number > after));
            orders.reverse();
            let more = orders.len() > page.limit;
            orders.truncate(page.limit);
            let next = orders.last().filter(|_| more).map(|order| order.order_id);
            return (orders, next);
        }
        for (number, state) in self.state.states_from(after.saturating_add(1)).take(SCAN_MAX) {
            last = number;
            if page.state.is_none_or(|wanted| wanted == state) {
                found.extend(self.state.order(number));
            }
            if found.len() == page.limit {
                break;
            }
        }
        let next = (last < self.state.orders_placed()).then(|| self.state.order_id(last));
        (found, next)
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
        let rounds: Vec<RoundCount> = self.state.rounds().iter().map(count).collect();
        SaleView {
            definition: self.state.shared_definition(),
            version: self.state.version(),
            phase: self.state.phase(at_ms),
            paused: self.state.is_paused(),
            skus: skus.clone(),
            rounds: rounds.clone(),
            accepted,
            refused,
            shards: vec![ShardView { shard: self.id(), accepted, skus, rounds }],
            at_ms,
        }
    }
}

fn count(round: &Round) -> RoundCount {
    RoundCount {
        granted: round.granted,
        granted_cents: round.granted_cents,
        refunded: round.refunded,
        refunded_cents: round.refunded_cents,
    }
}
