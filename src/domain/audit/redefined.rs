//! What a redefinition does to a shard's books: its version, its SKUs, its stock.

use std::sync::Arc;

use super::books::Books;
use super::packets::{self, RoundBook};
use super::report::{Id, Report};
use super::share::Share;
use crate::domain::event::{ActivityRedefined, StockChange};
use crate::ids::Seq;

impl Books {
    pub(super) fn redefined(
        &mut self,
        seq: Seq,
        event: &ActivityRedefined,
        rounds: &mut Vec<RoundBook>,
        report: &mut Report,
    ) -> bool {
        self.check_not_closed(seq, report);
        let follows = self.version.checked_add(1) == Some(event.version);
        report.check(Id::U4, follows, || format!("event {seq}: version {} follows on {}", event.version, self.version));
        let parts = event.definition.shards;
        let spread = parts == self.parts;
        report
            .check(Id::U4, spread, || format!("event {seq}: of {} parts the activity is to have {parts}", self.parts));
        self.version = event.version;
        self.definition = Arc::new(event.definition.clone());
        packets::replan(rounds, &event.definition);
        for sku in &event.definition.skus {
            if !self.names.contains(&sku.sku_id) {
                self.names.push(sku.sku_id.clone());
                self.skus.push(Share::default());
            }
        }
        let mut sound = follows && spread;
        for change in &event.stock {
            let (StockChange::Added { sku, slots } | StockChange::Removed { sku, slots }) = change;
            let book = self.skus.get_mut(usize::from(sku.0)).filter(|_| slots.is_well_formed());
            let holds = book.is_some_and(|book| match change {
                StockChange::Added { .. } => book.give(slots),
                StockChange::Removed { .. } => book.discard(slots),
            });
            report.check(Id::S2, holds, || format!("event {seq}: stock of SKU number {sku} changes by wrong slots"));
            sound &= holds;
        }
        // Where the slots are wrong already, so are the totals: one fault, one name.
        sound && self.totals_stand(seq, report)
    }

    /// Whether each SKU has the stock that the definition says, and one that was taken off has none.
    fn totals_stand(&self, seq: Seq, report: &mut Report) -> bool {
        let mut sound = true;
        for (name, book) in self.names.iter().zip(&self.skus) {
            let mut said = self.definition.skus.iter().filter(|sku| sku.sku_id == *name).map(|sku| sku.stock.0);
            let stock = u64::from(said.next().unwrap_or(0));
            let holds = book.total() == stock && said.next().is_none();
            report.check(Id::S1, holds, || {
                format!("event {seq}: SKU {name} is defined once with {stock} units, and has {}", book.total())
            });
            sound &= holds;
        }
        sound
    }

    pub(super) fn check_not_closed(&self, seq: Seq, report: &mut Report) {
        report.check(Id::U4, !self.closed, || format!("event {seq} changes a sale that was closed for good"));
    }
}
