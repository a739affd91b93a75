//! What is known of MySQL: how far it has the journal, and since when something waits. The shipper writes it; the polling
//! route, the backlog's bound and `/readyz` read it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use dashmap::DashMap;
use tokio::sync::Notify;

use crate::ids::{OrderId, Seq, ShardId, UnixMillis};

/// Cheap to clone; all clones are the same.
#[derive(Clone, Debug)]
pub struct Shipped(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    backlog_events_max: u64,
    /// Whether MySQL answered when it was last asked.
    connected: AtomicBool,
    /// Whether MySQL has what this journal does not have, so that it would be sold again.
    forbidden: AtomicBool,
    /// At least up to here MySQL has the journal.
    seq: AtomicU64,
    /// Up to where MySQL itself said that it has the journal, as long as it answers; 0 where it does not.
    confirmed: AtomicU64,
    /// When the oldest event happened that waits; 0 where none does.
    waiting_since_ms: AtomicU64,
    /// Events a second, over the last seconds in which something was shipped.
    rate: AtomicU64,
    /// The newest order of each shard that MySQL has, and with it all before. Empty until MySQL was asked once.
    orders: DashMap<ShardId, u32>,
    news: Notify,
}

/// What `/readyz` and `/metrics` tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lag {
    /// Whether MySQL answered when it was last asked.
    pub connected: bool,
    /// Durable events that MySQL does not have yet.
    pub events: u64,
    /// How long the oldest of them has waited.
    pub ms: u64,
    /// Events shipped a second, over the last seconds in which something was.
    pub rate: u64,
}

impl Shipped {
    /// Nothing is known but that MySQL had the journal up to `seq` once. Beyond `backlog_events_max` waiting events new
    /// orders are refused.
    #[must_use]
    pub fn new(backlog_events_max: u64, seq: Seq) -> Self {
        Self(Arc::new(Inner {
            backlog_events_max,
            connected: AtomicBool::new(false),
            forbidden: AtomicBool::new(false),
            seq: AtomicU64::new(seq.0),
            confirmed: AtomicU64::new(0),
            waiting_since_ms: AtomicU64::new(0),
            rate: AtomicU64::new(0),
            orders: DashMap::new(),
            news: Notify::new(),
        }))
    }

    /// Whether MySQL is known to have an order.
    #[must_use]
    pub fn has(&self, order_id: OrderId) -> bool {
        let (Some(shard), Some(number)) = (order_id.shard(), order_id.sequence()) else { return false };
        self.0.orders.get(&shard).is_some_and(|newest| number <= *newest)
    }

    /// Whether so much waits that no new order may join it. `durable` is how far the journal is on disk.
    #[must_use]
    pub fn is_full(&self, durable: Seq) -> bool {
        durable.0.saturating_sub(self.seq().0) >= self.0.backlog_events_max
    }

    /// How much of the backlog's bound is used, in hundredths.
    pub(super) fn percent_full(&self, durable: Seq) -> u64 {
        durable.0.saturating_sub(self.seq().0).saturating_mul(100) / self.0.backlog_events_max
    }

    /// Up to where MySQL has the journal, at least.
    #[must_use]
    pub fn seq(&self) -> Seq {
        Seq(self.0.seq.load(Ordering::Relaxed))
    }

    /// Up to where MySQL has the journal by its own word, given to this process in the session that goes on. `None` before
    /// there is one and from when it is lost: whoever drops what MySQL has must know that it still has it.
    #[must_use]
    pub fn confirmed(&self) -> Option<Seq> {
        Some(self.0.confirmed.load(Ordering::Relaxed)).filter(|seq| *seq > 0).map(Seq)
    }

    /// How far MySQL is behind.
    #[must_use]
    pub fn lag(&self, durable: Seq, now_ms: UnixMillis) -> Lag {
        let events = durable.0.saturating_sub(self.seq().0);
        let since_ms = self.0.waiting_since_ms.load(Ordering::Relaxed);
        Lag {
            connected: self.0.connected.load(Ordering::Relaxed),
            events,
            ms: if events == 0 || since_ms == 0 { 0 } else { now_ms.0.saturating_sub(since_ms) },
            rate: self.0.rate.load(Ordering::Relaxed),
        }
    }

    /// The journal has grown.
    pub fn wake(&self) {
        self.0.news.notify_one();
    }

    pub(super) async fn news(&self) {
        self.0.news.notified().await;
    }

    pub(super) fn set_connected(&self, connected: bool) {
        self.0.connected.store(connected, Ordering::Relaxed);
    }

    /// Whether MySQL has what this journal does not have: then nothing more may be sold from it (J3).
    #[must_use]
    pub fn is_forbidden(&self) -> bool {
        self.0.forbidden.load(Ordering::Relaxed)
    }

    pub(super) fn set_forbidden(&self, forbidden: bool) {
        self.0.forbidden.store(forbidden, Ordering::Relaxed);
    }

    /// MySQL said that it has the journal up to there.
    pub(super) fn confirm(&self, seq: Seq) {
        self.0.seq.store(seq.0, Ordering::Relaxed);
        self.0.confirmed.store(seq.0, Ordering::Relaxed);
    }

    /// The session with MySQL is over, and with it what it said.
    pub(super) fn doubt(&self) {
        self.0.confirmed.store(0, Ordering::Relaxed);
    }

    pub(super) fn set_waiting_since(&self, at_ms: Option<UnixMillis>) {
        self.0.waiting_since_ms.store(at_ms.map_or(0, |at_ms| at_ms.0), Ordering::Relaxed);
    }

    pub(super) fn set_rate(&self, rate: u64) {
        self.0.rate.store(rate, Ordering::Relaxed);
    }

    pub(super) fn set_orders(&self, shard: ShardId, newest: u32) {
        self.0.orders.insert(shard, newest);
    }

    /// What was known of orders is known no more: MySQL may have been set back.
    pub(super) fn forget_orders(&self) {
        self.0.orders.clear();
    }
}
