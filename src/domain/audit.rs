//! The auditor: folds a journal beside the sale's own `apply` with books of its own, kept as naively as can be, and says
//! which invariant does not hold. `doorbuster audit` runs it over a journal, the simulator after every step.
//!
//! It checks an event before the sale takes it in, so that a broken journal is reported rather than asserted on.
//! Besides what docs/INVARIANTS.md says in so many words, it counts under S1 a SKU that is defined twice or taken off
//! with units left, under S4 a hold that expires before its time, and under U4 a change of a closed sale or a missing
//! version of its definition.

mod books;
mod report;

use rustc_hash::FxHashMap;

use self::books::Books;
pub use self::report::{Finding, Id, Report};
use super::event::{Entry, Event};
use super::sale::Sale;
use crate::ids::{Seq, ShardId};

/// Folds events and checks each; see the module.
#[derive(Default)]
pub struct Auditor {
    shards: FxHashMap<ShardId, (Sale, Books)>,
    last_seq: Option<Seq>,
    report: Report,
}

impl Auditor {
    /// Checks one event and takes it in. After a fault in a shard, that shard's later events are not judged.
    pub fn observe(&mut self, seq: Seq, entry: &Entry) {
        let follows = self.last_seq.is_none_or(|last| last.0.checked_add(1) == Some(seq.0));
        self.report.check(Id::J1, follows, || format!("event {seq} follows on event {:?}", self.last_seq));
        self.last_seq = Some(seq);

        let report = &mut self.report;
        match (&entry.event, self.shards.get_mut(&entry.shard)) {
            (Event::ActivityDefined(event), None) => {
                let books = Books::open(seq, event, entry.at_ms, report);
                let sale = Sale::define(entry.shard, event);
                if !books.is_faulty() {
                    books.compare(&sale, &entry.event, seq, report);
                }
                self.shards.insert(entry.shard, (sale, books));
            }
            (Event::ActivityDefined(_), Some(_)) => {
                report.broken(Id::U4, format!("event {seq} defines shard {} a second time", entry.shard));
            }
            (_, None) => {
                report.broken(Id::U4, format!("event {seq} is of shard {}, which is not defined", entry.shard));
            }
            (_, Some((_, books))) if books.is_faulty() => {}
            (event, Some((sale, books))) => {
                if books.post(seq, entry, report) {
                    sale.apply(entry.at_ms, event);
                    books.compare(sale, event, seq, report);
                }
            }
        }
    }

    /// A shard's state as of the last event.
    #[must_use]
    pub fn sale(&self, shard: ShardId) -> Option<&Sale> {
        self.shards.get(&shard).map(|(sale, _)| sale)
    }

    /// Every shard's state as of the last event.
    pub fn sales(&self) -> impl Iterator<Item = &Sale> {
        self.shards.values().map(|(sale, _)| sale)
    }

    /// The number of the last event seen.
    #[must_use]
    pub fn last_seq(&self) -> Option<Seq> {
        self.last_seq
    }

    /// What was counted and what does not hold, after the checks that only the end allows.
    #[must_use]
    pub fn finish(mut self) -> Report {
        for (sale, books) in self.shards.values() {
            books.close(sale, &mut self.report);
        }
        self.report
    }

    /// What was counted so far and what does not hold.
    #[must_use]
    pub fn report(&self) -> &Report {
        &self.report
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::definition::{Definition, OnLatePayment, SkuDefinition};
    use crate::domain::event::{ActivityDefined, Author, Change, OrderPlaced, Switch};
    use crate::domain::slots::Slots;
    use crate::ids::{ActivityId, Cents, Qty, SkuIndex, UnixMillis, UserId};

    fn entry(at_ms: u64, event: Event) -> Entry {
        Entry { shard: ShardId(1), at_ms: UnixMillis(at_ms), event }
    }

    fn order(order: u32) -> Entry {
        let event = OrderPlaced {
            order,
            user: UserId(order.into()),
            sku: SkuIndex(0),
            slots: Slots::range(order, 1),
            amount_cents: Cents(1),
            expires_at_ms: UnixMillis(500),
            key: None,
            reference: None,
        };
        entry(10, Event::OrderPlaced(event))
    }

    /// An auditor after one order of ten units.
    fn auditor() -> Auditor {
        let sku = SkuDefinition {
            sku_id: "a".parse().expect("a SKU id"),
            title: String::new(),
            price_cents: Cents(1),
            stock: Qty(10),
        };
        let definition = Definition {
            title: String::new(),
            currency: "CNY".to_owned(),
            starts_at_ms: UnixMillis(1),
            ends_at_ms: UnixMillis(1_000),
            shards: 1,
            per_user_limit: Qty(1),
            payment_window_ms: 490,
            on_late_payment: OnLatePayment::Refund,
            shared_sku: false,
            skus: vec![sku],
        };
        let change = Change { change_id: 1, by: Author::StartUp, key: None };
        let event = ActivityDefined { activity_id: ActivityId(1), definition, from_catalog: false, change, part: None };
        let mut auditor = Auditor::default();
        auditor.observe(Seq(1), &entry(0, Event::ActivityDefined(Box::new(event))));
        auditor.observe(Seq(2), &order(1));
        auditor
    }

    fn broken(auditor: Auditor) -> Vec<Id> {
        let report = auditor.finish();
        report.findings().filter(|(_, finding)| finding.broken > 0).map(|(id, _)| id).collect()
    }

    /// Bugs in `apply`, which no journal shows: the sale's state is changed behind the auditor's back.
    #[test]
    fn a_sale_that_differs_from_the_books_is_named() {
        type Plant = fn(&mut Sale);
        let plants: [(&[Id], &str, Plant); 5] = [
            (&[Id::S1], "a unit is held that is not", |sale| sale.skus[0].held += 1),
            (&[Id::S1, Id::S2], "a free unit is lost", |sale| sale.skus[0].free.remove(&Slots::range(10, 1))),
            (&[Id::S2], "a held slot is free as well, and another is lost", |sale| {
                sale.skus[0].free.remove(&Slots::range(10, 1));
                sale.skus[0].free.add(&Slots::range(1, 1));
            }),
            (&[Id::S2], "a slot is free that never was", |sale| {
                sale.skus[0].free.remove(&Slots::range(10, 1));
                sale.skus[0].free.add(&Slots::range(11, 1));
            }),
            (&[Id::S3], "an order is shown in another state", |sale| {
                let order = sale.orders.get_mut(1).expect("it was placed");
                order.state = crate::domain::order::OrderState::Cancelled;
            }),
        ];
        for (ids, what, plant) in plants {
            let mut auditor = auditor();
            plant(&mut auditor.shards.get_mut(&ShardId(1)).expect("it is defined").0);
            auditor.observe(Seq(3), &order(2));
            assert_eq!(broken(auditor), ids, "{what}");
        }
        assert_eq!(broken(auditor()), []);
    }

    #[test]
    fn an_event_that_touches_no_unit_compares_none() {
        let mut auditor = auditor();
        let before = auditor.report().finding(Id::S1).map(|finding| finding.checked);
        let change = Change { change_id: 2, by: Author::StartUp, key: None };
        let switched = crate::domain::event::SaleSwitched { to: Switch::Paused, change };
        auditor.observe(Seq(3), &entry(11, Event::SaleSwitched(Box::new(switched))));
        assert_eq!(auditor.report().finding(Id::S1).map(|finding| finding.checked), before);
    }
}
