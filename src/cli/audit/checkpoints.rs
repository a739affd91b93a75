//! J6: every checkpoint there is holds what the fold from the beginning gives at its event. Where there are any, the
//! audit folds the journal's state beside its own books: twice the memory, and the time of one more fold.

use crate::domain::audit::{Id, Report};
use crate::domain::image::{StateHash, state_hash};
use crate::domain::{Entry, Sales};
use crate::ids::Seq;
use crate::persist::Read;
use crate::persist::checkpoint::{Store, check};

/// The checkpoints that are still to be met, and what was found of the others.
pub(super) struct Checkpoints {
    /// The next one last.
    ahead: Vec<(Seq, StateHash)>,
    /// `None` once there is nothing left to compare it with.
    sales: Option<Sales>,
    held: u64,
    faults: Vec<String>,
}

impl Checkpoints {
    /// Reads every checkpoint through.
    pub(super) fn list<R: Read + ?Sized>(store: &Store, journal: &R) -> Self {
        let mut found = Self { ahead: Vec::new(), sales: None, held: 0, faults: Vec::new() };
        match store.list() {
            Ok(listed) => listed.into_iter().for_each(|listed| match check(store, journal, listed) {
                Ok(manifest) => found.ahead.push((manifest.tail.seq, manifest.state)),
                Err(passed_over) => found.faults.push(passed_over.to_string()),
            }),
            Err(error) => found.faults.push(error.to_string()),
        }
        found.sales = (!found.ahead.is_empty()).then(Sales::default);
        found
    }

    /// The event of the newest one that can be read.
    pub(super) fn newest(&self) -> Option<Seq> {
        self.ahead.iter().map(|(seq, _)| *seq).max()
    }

    /// Takes an event in, and compares the state where a checkpoint stands.
    pub(super) fn observe(&mut self, seq: Seq, entry: &Entry) {
        let Some(sales) = &mut self.sales else { return };
        if let Err(unfit) = sales.take(seq, entry) {
            self.faults.push(unfit.to_string());
            self.sales = None;
            return;
        }
        if let Some((_, hash)) = self.ahead.pop_if(|(at, _)| *at == seq) {
            let folded = state_hash(sales);
            if folded == hash {
                self.held += 1;
            } else {
                let words = "the checkpoint at event";
                self.faults.push(format!("{words} {seq} has state {hash}, the fold from the beginning {folded}"));
            }
        }
        if self.ahead.is_empty() {
            self.sales = None;
        }
    }

    /// Says what was found. A checkpoint that was not met lies past what could be read, which is told elsewhere.
    pub(super) fn report(self, report: &mut Report) {
        report.held(Id::J6, self.held);
        self.faults.into_iter().for_each(|fault| report.broken(Id::J6, fault));
    }
}
