//! Shoppers who wait because the units they want are in other parts. Bounded: who finds the list full is told to come
//! again, never that all is sold.

use std::collections::{BTreeMap, VecDeque};

use tokio::sync::oneshot;

use crate::actors::ask::Answer;
use crate::domain::command::{Command, Stamped};
use crate::ids::SkuIndex;

/// Shoppers of one shard who may wait. At a fetch of some 50 µs and a million orders a second 50 wait; a crowd at a
/// shard that is dry for longer is better told to come again.
pub(super) const PARKED_MAX: usize = 1_024;
/// Fetches that may come back with too little while units are free elsewhere, before a shopper is told to come again.
/// Others took those units, so each is progress; but nobody waits for ever.
pub(super) const FETCHES_MAX: u32 = 16;

/// Those who wait, by SKU, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Parked {
    queues: BTreeMap<SkuIndex, VecDeque<Waiting>>,
    count: usize,
}

/// One who waits.
#[derive(Debug)]
pub(super) struct Waiting {
    /// The order or the payment, and when it was last decided on.
    pub asked: Stamped<Command>,
    pub reply: oneshot::Sender<Answer>,
    /// Units that it wants, once it waits.
    pub units: u32,
    /// Fetches that came back with too little for this one at the front.
    pub fetches: u32,
}

impl Parked {
    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether anybody waits for the SKU, and with them a fetch is on its way.
    pub fn has(&self, sku: SkuIndex) -> bool {
        self.queues.contains_key(&sku)
    }

    /// Whether nobody more may wait.
    pub fn is_full(&self) -> bool {
        self.count >= PARKED_MAX
    }

    /// Adds one at the end; `true` where it is the first, and a fetch must be sent.
    pub fn push(&mut self, sku: SkuIndex, waiting: Waiting) -> bool {
        self.count += 1;
        let queue = self.queues.entry(sku).or_default();
        queue.push_back(waiting);
        queue.len() == 1
    }

    /// Takes the first out, to be served or put back.
    pub fn pop(&mut self, sku: SkuIndex) -> Option<Waiting> {
        let queue = self.queues.get_mut(&sku)?;
        let first = queue.pop_front();
        if queue.is_empty() {
            self.queues.remove(&sku);
        }
        self.count -= usize::from(first.is_some());
        first
    }

    /// Puts the first back.
    pub fn put_back(&mut self, sku: SkuIndex, waiting: Waiting) {
        self.count += 1;
        self.queues.entry(sku).or_default().push_front(waiting);
    }

    /// The units that those who wait want together.
    pub fn units(&self, sku: SkuIndex) -> u32 {
        let queue = self.queues.get(&sku).into_iter().flatten();
        queue.map(|waiting| waiting.units).fold(0, u32::saturating_add)
    }
}
