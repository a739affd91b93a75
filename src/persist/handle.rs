//! What the rest of the server holds of the writer: a handle to submit through, and the promise that it gets back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use smallvec::SmallVec;

use super::queue::Outbox;
use crate::domain::event::Entry;
use crate::ids::Seq;

/// Whoever waits for events to be durable.
pub trait Acknowledge: Send + 'static {
    /// The submission's events, and all those submitted before it, survive `kill -9` and a power cut. Runs on the
    /// writer's thread, which waits for it: hand over and return. Never called for what a fault left in doubt; then the
    /// value is only dropped.
    fn durable(self);
}

/// One command's entries, and whom to tell.
#[derive(Debug)]
pub struct Submission<A> {
    /// What happened; these share one record. Empty makes a barrier: the answer waits for all that came before.
    pub entries: SmallVec<[Entry; 1]>,
    /// Whom to tell.
    pub ack: A,
}

/// The writer's thread is gone: it was stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the journal's writer has stopped")]
pub struct WriterGone;

/// What handles and the writer's thread share.
#[derive(Debug, Default)]
pub(super) struct Progress {
    submitted: AtomicU64,
    completed: AtomicU64,
    durable_seq: AtomicU64,
}

impl Progress {
    pub(super) fn starting_at(seq: Seq) -> Self {
        Self { durable_seq: AtomicU64::new(seq.0), ..Self::default() }
    }

    /// Everything up to `seq`, and `submissions` more of the submissions, are durable.
    pub(super) fn advance(&self, seq: Seq, submissions: u64) {
        self.durable_seq.store(seq.0, Ordering::Release);
        self.completed.fetch_add(submissions, Ordering::Release);
    }
}

/// A way to the writer. Cheap to clone, and to be had from any thread.
#[derive(Debug)]
pub struct Handle<A> {
    outbox: Outbox<A>,
    progress: Arc<Progress>,
}

impl<A> Clone for Handle<A> {
    fn clone(&self) -> Self {
        Self { outbox: self.outbox.clone(), progress: Arc::clone(&self.progress) }
    }
}

impl<A: Acknowledge> Handle<A> {
    pub(super) fn new(outbox: Outbox<A>, progress: Arc<Progress>) -> Self {
        Self { outbox, progress }
    }

    /// Hands one command's entries to the writer: [`submit_all`](Self::submit_all) of it alone.
    ///
    /// # Errors
    /// [`WriterGone`] after the writer was stopped; the submission is dropped.
    pub fn submit(&self, submission: Submission<A>) -> Result<(), WriterGone> {
        self.submit_all(vec![submission])
    }

    /// Hands submissions to the writer, in their order and in the order of the calls. It wakes once for all of them, so what
    /// is left at once should come at once: each wake-up may make a group of its own. Blocks while the queue has no room.
    ///
    /// After a fault of the journal this still returns `Ok` and the submissions are never acknowledged.
    ///
    /// # Errors
    /// [`WriterGone`] after the writer was stopped; the submissions are dropped.
    pub fn submit_all(&self, submissions: Vec<Submission<A>>) -> Result<(), WriterGone> {
        if submissions.is_empty() {
            return Ok(());
        }
        // Counted before they are sent: what is on its way already counts as not durable.
        self.progress.submitted.fetch_add(submissions.len() as u64, Ordering::AcqRel);
        self.outbox.send(submissions)
    }

    /// Whether all that was submitted before this call is durable. Never again after a fault that left something out.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        let submitted = self.progress.submitted.load(Ordering::Acquire);
        self.progress.completed.load(Ordering::Acquire) >= submitted
    }

    /// The last event that is known to be durable.
    #[must_use]
    pub fn durable_seq(&self) -> Seq {
        Seq(self.progress.durable_seq.load(Ordering::Acquire))
    }

    /// Submissions that wait in the queue.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.outbox.depth()
    }

    /// Submissions that fit the queue.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.outbox.capacity()
    }

    pub(super) fn ask_to_stop(&self) {
        // Where the thread is gone there is nobody left to ask, and the join says why.
        let _ = self.outbox.send_stop();
    }
}
