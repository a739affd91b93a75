//! What the desk knows beyond the doors: the numbers that are given once, where each SKU is for sale, what shops have made.

use std::collections::{BTreeSet, HashMap};

use smallvec::smallvec;
use tokio::sync::oneshot;

use super::shop::Shops;
use crate::actors::ack::Ack;
use crate::actors::ask::{Answer, Asked};
use crate::actors::house::Nursery;
use crate::domain::event::ActivityDefined;
use crate::domain::found::found;
use crate::domain::{Definition, Event, Refusal, Sales};
use crate::ids::{ActivityId, Seq, ShardId, SkuId, UnixMillis};
use crate::persist::Submission;

/// Founding entries in one submission: a definition of some 60 KB and moves of some 40 bytes each stay below a record.
const FOUNDING_ENTRIES_MAX: usize = 256;

/// See the file's head.
pub(super) struct Ledger {
    pub nursery: Option<Nursery>,
    pub last_shard: ShardId,
    /// Where each SKU is or was for sale; the doors say when.
    pub activities_of_sku: HashMap<SkuId, BTreeSet<ActivityId>>,
    /// What shops have made by which key.
    pub shops: Shops,
}

/// An activity whose first events are on their way to the disk.
pub(super) struct Founding {
    /// Its parts.
    pub sales: Sales,
    /// An event that the journal had before its first.
    pub first: Seq,
    /// The answer, once they are durable.
    pub durable: Asked,
}

impl Ledger {
    /// The refusal of more shards than a journal has left.
    pub fn lacks_shards(&self, shards: u16) -> Option<Refusal> {
        let left = ShardId::MAX.0 - self.last_shard.0;
        (left < u32::from(shards.max(1))).then_some(Refusal::TooLarge { what: "a journal's 2^27 shards" })
    }

    /// Writes the first events of an activity, on fresh shards; `answer` comes back once they are durable.
    pub fn found(&mut self, first: ActivityDefined, at_ms: UnixMillis, answer: Answer) -> Founding {
        let home = ShardId(self.last_shard.0 + 1);
        self.last_shard = ShardId(self.last_shard.0 + u32::from(first.definition.shards.max(1)));
        let entries = found(home, first, at_ms);
        let mut sales = Sales::default();
        for entry in &entries {
            sales.take(Seq(0), entry).expect("what founds an activity follows on itself");
        }
        let journal = self.nursery.as_ref().expect("the desk is opened with its nursery").journal();
        let first = journal.durable_seq();
        let (reply, receiver) = oneshot::channel();
        // A start carries on what a crash cuts.
        // Each definition by itself, since together they may be more than a record holds; of moves many fit one.
        for entries in entries.chunk_by(|_, next| matches!(next.event, Event::SlotsMoved(_))) {
            for entries in entries.chunks(FOUNDING_ENTRIES_MAX) {
                let submission = Submission { entries: entries.iter().cloned().collect(), ack: Ack::Nobody };
                let _stopped = journal.submit(submission);
            }
        }
        let _stopped = journal.submit(Submission { entries: smallvec![], ack: Ack::Answer(reply, answer) });
        Founding { sales, first, durable: Asked::Later(receiver) }
    }

    pub fn forget_skus(&mut self, activity_id: ActivityId) {
        self.activities_of_sku.retain(|_, activities| {
            activities.remove(&activity_id);
            !activities.is_empty()
        });
    }

    pub fn note_skus(&mut self, activity_id: ActivityId, definition: &Definition) {
        // What counts a round's packets is for sale nowhere.
        if definition.packets.is_some() {
            return;
        }
        for sku in &definition.skus {
            self.activities_of_sku.entry(sku.sku_id.clone()).or_default().insert(activity_id);
        }
    }
}
