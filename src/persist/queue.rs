//! The way to the writer: what producers leave at once travels as one batch, with one wake-up, and the bound counts
//! submissions, whatever batches they come in.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::vec;

use crossbeam_channel::{Receiver, Sender, TryRecvError, unbounded};

use super::handle::{Submission, WriterGone};

/// What the writer finds.
pub(super) enum Message<A> {
    Submit(Submission<A>),
    /// Write what came before, then stop.
    Stop,
}

enum Sent<A> {
    Batch(Vec<Submission<A>>),
    Stop,
}

/// The producers' end.
#[derive(Debug)]
pub(super) struct Outbox<A> {
    sender: Sender<Sent<A>>,
    level: Arc<Level>,
}

/// The writer's end.
pub(super) struct Inbox<A> {
    receiver: Receiver<Sent<A>>,
    /// What is left of the batch that came last.
    batch: vec::IntoIter<Submission<A>>,
    level: Arc<Level>,
}

/// How full the queue is.
#[derive(Debug)]
struct Level {
    max: usize,
    waiting: AtomicUsize,
    /// Producers that wait for room.
    blocked: AtomicUsize,
    is_closed: AtomicBool,
    lock: Mutex<()>,
    changed: Condvar,
}

/// A queue of at most so many submissions.
pub(super) fn queue<A>(submissions_max: usize) -> (Outbox<A>, Inbox<A>) {
    let (sender, receiver) = unbounded();
    let level = Arc::new(Level {
        max: submissions_max,
        waiting: AtomicUsize::new(0),
        blocked: AtomicUsize::new(0),
        is_closed: AtomicBool::new(false),
        lock: Mutex::new(()),
        changed: Condvar::new(),
    });
    (Outbox { sender, level: Arc::clone(&level) }, Inbox { receiver, batch: Vec::new().into_iter(), level })
}

impl<A> Clone for Outbox<A> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone(), level: Arc::clone(&self.level) }
    }
}

impl<A> Outbox<A> {
    /// Leaves a batch, in its order. Blocks while the queue has no room for it; one that is larger than the queue waits
    /// until nothing is before it.
    pub fn send(&self, batch: Vec<Submission<A>>) -> Result<(), WriterGone> {
        debug_assert!(!batch.is_empty(), "whoever waits for a batch waits for what is in it");
        self.level.enter(batch.len());
        self.sender.send(Sent::Batch(batch)).map_err(|_| WriterGone)
    }

    /// Asks the writer to stop after what was sent before.
    pub fn send_stop(&self) -> Result<(), WriterGone> {
        self.sender.send(Sent::Stop).map_err(|_| WriterGone)
    }

    /// Submissions that wait.
    pub fn depth(&self) -> usize {
        self.level.waiting.load(Ordering::Relaxed)
    }

    /// Submissions that fit.
    pub fn capacity(&self) -> usize {
        self.level.max
    }
}

impl<A> Inbox<A> {
    /// The next message, waited for; `None` where nobody can send one any more.
    pub fn recv(&mut self) -> Option<Message<A>> {
        self.of_batch().or_else(|| self.receiver.recv().ok().and_then(|sent| self.open(sent)))
    }

    /// The next message, where there is one.
    pub fn try_recv(&mut self) -> Option<Message<A>> {
        self.of_batch().or_else(|| match self.receiver.try_recv() {
            Ok(sent) => self.open(sent),
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => None,
        })
    }

    fn of_batch(&mut self) -> Option<Message<A>> {
        self.batch.next().map(Message::Submit)
    }

    fn open(&mut self, sent: Sent<A>) -> Option<Message<A>> {
        match sent {
            Sent::Stop => Some(Message::Stop),
            Sent::Batch(batch) => {
                self.level.leave(batch.len());
                self.batch = batch.into_iter();
                self.of_batch()
            }
        }
    }
}

impl<A> Drop for Inbox<A> {
    fn drop(&mut self) {
        // Whoever waits for room is told by the channel that nobody is there.
        self.level.is_closed.store(true, Ordering::SeqCst);
        self.level.tell();
    }
}

impl Level {
    fn enter(&self, count: usize) {
        if self.try_enter(count) {
            return;
        }
        self.blocked.fetch_add(1, Ordering::SeqCst);
        let mut held = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        while !self.try_enter(count) && !self.is_closed.load(Ordering::SeqCst) {
            held = self.changed.wait(held).unwrap_or_else(PoisonError::into_inner);
        }
        drop(held);
        self.blocked.fetch_sub(1, Ordering::SeqCst);
    }

    fn try_enter(&self, count: usize) -> bool {
        let has_room = |waiting: usize| waiting == 0 || waiting + count <= self.max;
        let entered = |waiting: usize| has_room(waiting).then_some(waiting + count);
        self.waiting.fetch_update(Ordering::SeqCst, Ordering::SeqCst, entered).is_ok()
    }

    fn leave(&self, count: usize) {
        self.waiting.fetch_sub(count, Ordering::SeqCst);
        // In the one order of all these: a producer that is not seen here sees the room.
        if self.blocked.load(Ordering::SeqCst) > 0 {
            self.tell();
        }
    }

    fn tell(&self) {
        // Under the lock: nobody is between finding no room and waiting.
        let _held = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        self.changed.notify_all();
    }
}
