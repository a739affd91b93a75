//! What must hold after every step, held against what the shards really have.

use std::collections::BTreeSet;

use tokio::sync::oneshot;

use super::stage::{SKUS, index_of, sku_id};
use super::world::{Asked, What, World};
use crate::actors::ask::{Answer, Reason, Unavailable};
use crate::actors::letter::Letter;
use crate::domain::audit::{Auditor, Keep};
use crate::domain::payment::Why;
use crate::domain::{Entry, OrderState, PaymentState, Refusal, Sale, Sales};
use crate::ids::{Seq, UserId};

impl World {
    /// Notes how few units were free, for every request that waits, then takes in the answers that have come.
    pub fn see(&mut self) {
        let free: Vec<u32> = (0..SKUS.len()).map(|sku| self.free(sku)).collect();
        let stocks: Vec<u32> = (0..SKUS.len()).map(|sku| self.stock(sku)).collect();
        for asked in &mut self.asked {
            if let What::Lower { sku, from, .. } = &mut asked.what {
                *from = stocks[*sku].max(*from);
            }
            if let What::Place { sku, .. } | What::Lower { sku, .. } | What::Pay { sku, .. } = asked.what {
                asked.fewest_free = asked.fewest_free.min(free[sku]);
            }
        }
        for place in 0..self.asked.len() {
            let What::Pay { order_id, .. } = self.asked[place].what else { continue };
            let late = self.is_too_late(order_id);
            if let What::Pay { may_be_late, .. } = &mut self.asked[place].what {
                *may_be_late |= late;
            }
        }
        let mut asked = std::mem::take(&mut self.asked);
        asked.retain_mut(|asked| match asked.receiver.try_recv() {
            Ok(answer) => {
                self.judge(asked, answer);
                false
            }
            Err(oneshot::error::TryRecvError::Empty) => true,
            Err(oneshot::error::TryRecvError::Closed) => panic!("a request was dropped without an answer"),
        });
        self.asked = asked;
    }

    fn judge(&mut self, asked: &Asked, answer: Answer) {
        match (&asked.what, answer) {
            (What::Place { user, key, .. }, Answer::Order { order, replayed }) => {
                let slots: Vec<u32> = order.slots.iter().collect();
                self.tally.accepted += u64::from(!replayed);
                self.tally.replays += u64::from(replayed);
                self.tally.served_later += u64::from(!replayed && asked.turns > 1);
                assert_eq!(order.user, UserId(*user));
                if let Some(key) = key {
                    let first = *self.keys.entry((*user, *key)).or_insert(order.order_id);
                    assert_eq!(first, order.order_id, "U3: one key, one order");
                }
                let has_others = order.payments.iter().any(|payment| payment.reacquired);
                let known = self.kept.entry(order.order_id).or_insert_with(|| (*user, slots.clone()));
                assert!(known.0 == *user && (has_others || known.1 == slots), "an order stays what it was");
            }
            (What::Place { sku, quantity, .. }, Answer::Refused(refused)) => match refused.reason {
                Reason::Rule(Refusal::SoldOut) => {
                    self.tally.sold_out += 1;
                    assert!(
                        asked.fewest_free < *quantity,
                        "S6: {quantity} of {} were refused, and never fewer than {} were free",
                        SKUS[*sku],
                        asked.fewest_free
                    );
                }
                Reason::Unavailable(Unavailable::Overloaded) => self.tally.overloaded += 1,
                Reason::Rule(_) => self.tally.refused += 1,
                other => panic!("{other:?}"),
            },
            (What::Lower { sku, to, from }, Answer::Refused(refused)) => match refused.reason {
                Reason::Rule(Refusal::StockTooLow { sku: low, largest_reduction }) if low == sku_id(*sku) => {
                    self.tally.too_low += 1;
                    let by = &(*from - *to);
                    assert!(largest_reduction < *by);
                    assert!(
                        asked.fewest_free < *by,
                        "{by} of {} could have been taken: never fewer than {} were free",
                        SKUS[*sku],
                        asked.fewest_free
                    );
                }
                Reason::Rule(_) => {}
                other => panic!("{other:?}"),
            },
            (What::Lower { .. }, Answer::Changed(_)) => self.tally.reductions += 1,
            (_, Answer::Changed(_)) => self.tally.changes += 1,
            (What::Pay { .. }, answer) => {
                self.judge_payment(&asked.what, asked.fewest_free, asked.turns, answer);
            }
            (What::Refund, Answer::Order { order, .. }) => {
                assert_eq!(order.state, OrderState::Refunded);
                self.tally.refunds += 1;
                for payment in order.payments.iter().filter(|payment| payment.why == Some(Why::OrderRefunded)) {
                    let id = payment.payment_id.parse().expect("a number of ours");
                    self.acknowledge(id, order.order_id, payment.state);
                }
            }
            (What::Done { payment }, Answer::Payment { payment: told, .. }) => {
                assert_eq!(told.state, PaymentState::Refunded);
                self.tally.paid_back += 1;
                self.acknowledge(*payment, told.order_id.expect("it is an order's"), told.state);
            }
            (_, Answer::Order { order, .. }) => {
                assert_eq!(order.state, OrderState::Cancelled);
                self.cancelled.insert(order.order_id);
            }
            (_, Answer::Refused(_)) => {}
            (_, other) => panic!("{other:?}"),
        }
    }

    pub fn stock(&self, sku: usize) -> u32 {
        self.shards[0].sale().definition().sku(&sku_id(sku)).map_or(0, |known| known.stock.0)
    }

    pub fn free_now(&self, what: &What) -> u32 {
        match what {
            What::Place { sku, .. } | What::Lower { sku, .. } | What::Pay { sku, .. } => self.free(*sku),
            What::Refund | What::Done { .. } | What::Other => 0,
        }
    }

    /// The units of a SKU that are free at this instant: at the parts, on their way, and lapsed but not released.
    fn free(&self, sku: usize) -> u32 {
        let here = |sale: &Sale| {
            let index = index_of(sale, sku);
            let lapsed = sale.orders_from(1).filter(|order| {
                order.state == OrderState::Held && order.expires_at_ms.0 <= self.at_ms && order.sku_id == sku_id(sku)
            });
            index.map_or(0, |index| sale.free_units(index)) + lapsed.map(|order| order.quantity.0).sum::<u32>()
        };
        let parts: u32 = self.shards.iter().map(|shard| here(shard.sale())).sum();
        parts + u32::try_from(self.on_their_way(sku).len()).expect("few")
    }

    /// The slots of a SKU that are in letters.
    fn on_their_way(&self, sku: usize) -> Vec<u32> {
        let index = index_of(self.shards[0].sale(), sku);
        let slots = self.letters.values().flatten().filter_map(|letter| match letter {
            Letter::Collected { sku, slots, .. } | Letter::Grant { sku, slots } => Some((*sku, slots)),
            _ => None,
        });
        slots.filter(|(sku, _)| Some(*sku) == index).flat_map(|(_, slots)| slots.iter().collect::<Vec<_>>()).collect()
    }

    /// Every slot is in one place, there are as many as the definition says, the door counts right, and no user has more
    /// than the limit.
    pub fn check(&self) {
        let home = self.shards[0].sale();
        for (sku, name) in SKUS.iter().enumerate() {
            let Some(index) = index_of(home, sku) else { continue };
            let mut seen = BTreeSet::new();
            let mut free = self.on_their_way(sku);
            for shard in &self.shards {
                let Some(index) = index_of(shard.sale(), sku) else { continue };
                free.extend(shard.sale().free_slots(index).flat_map(|range| range.first..=range.last()));
            }
            let counted = u32::try_from(free.len()).expect("few");
            let held = self.shards.iter().flat_map(|shard| {
                let held = shard.sale().orders_from(1);
                let held = held.filter(|order| order.state.is_live() && order.sku_id.as_str() == *name);
                held.flat_map(|order| order.slots.iter().collect::<Vec<_>>()).collect::<Vec<_>>()
            });
            let all = free.into_iter().chain(held).inspect(|slot| assert!(seen.insert(*slot), "S2: slot {slot} twice"));
            // Units of refunded orders that did not go back on sale are sold and no live order's.
            let bought = self.shards.iter().flat_map(|shard| shard.sale().orders_from(1).collect::<Vec<_>>());
            let bought = bought.filter(|order| order.state == OrderState::Paid && order.sku_id.as_str() == *name);
            let unreturned = self.sold(sku) - bought.map(|order| order.quantity.0).sum::<u32>();
            assert_eq!(all.count() + unreturned as usize, self.stock(sku) as usize, "S1: SKU {name}");
            assert_eq!(self.shards[0].counted(index), counted, "the door's count of {name} is what is free");
        }
        let limit = home.definition().per_user_limit.0;
        for shard in &self.shards {
            for order in shard.sale().orders_from(1) {
                let units: u32 =
                    shard.sale().orders_of(order.user).filter(|o| o.state.is_live()).map(|o| o.quantity.0).sum();
                assert!(units <= limit, "U1");
            }
        }
    }

    /// The journal gives what lives.
    pub fn compare(&self, sales: &Sales) {
        for shard in &self.shards {
            assert!(sales.get(shard.id()) == Some(shard.sale()), "shard {} replays otherwise", shard.id());
        }
        self.compare_acknowledged(sales);
    }

    /// What was acknowledged is there.
    pub fn compare_acknowledged(&self, sales: &Sales) {
        for (id, (user, slots)) in &self.kept {
            let sale = id.shard().and_then(|shard| sales.get(shard)).expect("its shard is there");
            let order = id.sequence().and_then(|number| sale.order(number)).expect("an acknowledged order is there");
            let has_others = order.payments.iter().any(|payment| payment.reacquired);
            assert_eq!(order.user.0, *user);
            assert!(has_others || order.slots.iter().eq(slots.iter().copied()), "an order stays what it was");
            if self.cancelled.contains(id) {
                assert_eq!(order.state, OrderState::Cancelled);
            }
        }
        self.compare_payments(sales);
    }
}

/// What the auditor says of a journal: every invariant holds.
pub fn audit(entries: &[Entry]) {
    let mut auditor = Auditor::new(Keep::Standing);
    (1..).zip(entries).for_each(|(seq, entry)| auditor.observe(Seq(seq), entry));
    let report = auditor.finish();
    assert!(report.holds(), "{report:?}");
}
