//! The auditor: folds a journal beside the sale's own `apply` with books of its own, kept as naively as can be, and says
//! which invariant does not hold. `doorbuster audit` runs it over a journal, the simulator after every step.
//!
//! It checks an event before the sale takes it in, so that a broken journal is reported rather than asserted on.

mod books;
mod report;

use rustc_hash::FxHashMap;

use self::books::Books;
pub use self::report::{Finding, Id, Report};
use super::event::{Entry, Event};
use super::sale::Sale;
use crate::ids::{OrderId, Seq, ShardId};

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
        let follows = self.last_seq.is_none_or(|last| seq.0 == last.0 + 1);
        self.report.check(Id::J1, follows, || format!("event {seq} follows on event {:?}", self.last_seq));
        self.last_seq = Some(seq);

        let report = &mut self.report;
        match (&entry.event, self.shards.get_mut(&entry.shard)) {
            (Event::ActivityDefined(event), None) => {
                let books = Books::open(event, entry.at_ms);
                let sale = Sale::define(entry.shard, event);
                books.compare(&sale, seq, report);
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
                    books.compare(sale, seq, report);
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
        let mut ids = rustc_hash::FxHashSet::default();
        for (shard, (sale, books)) in &self.shards {
            for number in 1..=sale.orders_placed() {
                let id = OrderId::new(*shard, number);
                self.report.check(Id::U2, ids.insert(id), || format!("order id {id} was given twice"));
            }
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
