//! The threads that serve shoppers, and what they are serving: actors may run on them, so they may end only when nobody
//! waits for an answer any more.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use actix::{Arbiter, ArbiterHandle};
use tokio::sync::Notify;

/// See the file's head.
#[derive(Default)]
pub struct Workers {
    handles: Mutex<Vec<ArbiterHandle>>,
    in_flight: AtomicUsize,
    is_closing: AtomicBool,
    changed: Notify,
}

/// A request that is being served.
pub(super) struct InFlight<'w>(&'w Workers);

impl Workers {
    /// Notes the thread that this runs on.
    pub(super) fn note(&self) {
        self.handles.lock().unwrap_or_else(PoisonError::into_inner).push(Arbiter::current());
        self.changed.notify_waiters();
    }

    /// Waits until so many have started.
    pub async fn started(&self, count: usize) -> Vec<ArbiterHandle> {
        loop {
            let changed = self.changed.notified();
            let handles = self.handles.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if handles.len() >= count {
                return handles;
            }
            changed.await;
        }
    }

    /// Begins to serve a request; `None` where it came too late, and must be refused without asking anybody.
    pub(super) fn begin(&self) -> Option<InFlight<'_>> {
        // Counted first: whoever closes sees it, or it sees that they do.
        self.in_flight.fetch_add(1, Ordering::SeqCst);
        let begun = InFlight(self);
        (!self.is_closing.load(Ordering::SeqCst)).then_some(begun)
    }

    /// Takes no request any more, and waits until those that were taken are answered.
    pub(super) async fn close(&self) {
        self.is_closing.store(true, Ordering::SeqCst);
        loop {
            let changed = self.changed.notified();
            if self.in_flight.load(Ordering::SeqCst) == 0 {
                return;
            }
            changed.await;
        }
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        let left = self.0.in_flight.fetch_sub(1, Ordering::SeqCst) - 1;
        if left == 0 && self.0.is_closing.load(Ordering::SeqCst) {
            self.0.changed.notify_waiters();
        }
    }
}
