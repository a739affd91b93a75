//! Rebuilding every shard's state: the fold of the journal, event by event, through the same `apply` that ran live.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::domain::{Entry, Event, Sale};
use crate::ids::{Seq, ShardId, UnixMillis};

/// The state that a journal gives.
#[derive(Debug, Default)]
pub struct Recovered {
    /// Every shard, by number.
    pub sales: BTreeMap<ShardId, Sale>,
    /// The latest instant in the journal: the process clock starts no earlier.
    pub last_at_ms: UnixMillis,
}

/// An event that cannot follow on those before it. The journal is whole (its checksums hold) and still not one that
/// this binary could have written.
#[derive(Debug, thiserror::Error)]
#[error(
    "event {seq} of shard {shard} cannot follow on the events before it: {why}; \
     run `doorbuster audit`, and start a version that can read this journal"
)]
pub struct Unfit {
    /// The event.
    pub seq: Seq,
    /// Whose it is.
    pub shard: ShardId,
    /// What does not fit.
    pub why: String,
}

impl Recovered {
    /// Takes one event in.
    ///
    /// # Errors
    /// [`Unfit`] where it cannot be true; the server must not start.
    pub fn take(&mut self, seq: Seq, entry: &Entry) -> Result<(), Unfit> {
        self.last_at_ms = self.last_at_ms.max(entry.at_ms);
        let unfit = |why: String| Unfit { seq, shard: entry.shard, why };
        match (self.sales.get_mut(&entry.shard), &entry.event) {
            (None, Event::ActivityDefined(event)) => {
                self.sales.insert(entry.shard, Sale::define(entry.shard, event));
                Ok(())
            }
            (None, _) => Err(unfit("the shard was never defined".to_owned())),
            (Some(sale), event) => {
                // `apply` asserts what must be true; here a failed assertion is the journal's fault, not a bug of ours.
                catch_unwind(AssertUnwindSafe(|| sale.apply(entry.at_ms, event))).map_err(|panic| {
                    let text = panic.downcast_ref::<String>().cloned();
                    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
                    unfit(text.unwrap_or_else(|| "it does not apply".to_owned()))
                })
            }
        }
    }
}
