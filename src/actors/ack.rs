//! The acknowledgement that carries an answer through the journal: made with the answer, let go when it is true on disk.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use super::ask::Answer;
use super::door::{Card, Door};
use crate::persist::Acknowledge;

/// What the journal's writer holds until a command's events are durable.
pub enum Ack {
    /// Nobody waits: holds that ran out, slots that moved.
    Nobody,
    /// An answer, let go when it is true on disk.
    Answer(oneshot::Sender<Answer>, Answer),
    /// An operator's change: the door shows it first, then its author hears of it.
    Publish(PublishAck),
    /// A part's share in such a change: the last of them lets it go.
    Unanimous(Arc<Unanimous>),
}

/// See [`Ack::Publish`].
pub struct PublishAck {
    pub(super) door: Arc<Door>,
    pub(super) card: Arc<Card>,
    pub(super) reply: oneshot::Sender<Answer>,
    pub(super) answer: Answer,
}

/// A change that is durable when it is so in every part of its activity.
pub struct Unanimous {
    left: AtomicUsize,
    publish: Mutex<Option<PublishAck>>,
}

impl Unanimous {
    /// Waits for `parts` parts.
    pub(super) fn of(parts: u16, publish: PublishAck) -> Arc<Self> {
        Arc::new(Self { left: AtomicUsize::new(usize::from(parts)), publish: Mutex::new(Some(publish)) })
    }

    /// Whether it is durable everywhere.
    pub(super) fn is_done(&self) -> bool {
        self.left.load(Ordering::Acquire) == 0
    }

    fn one_more(&self) {
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            let publish = self.publish.lock().unwrap_or_else(PoisonError::into_inner).take();
            publish.into_iter().for_each(PublishAck::go);
        }
    }
}

impl fmt::Debug for Unanimous {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unanimous").field("left", &self.left).finish_non_exhaustive()
    }
}

impl PublishAck {
    fn go(self) {
        self.door.publish(self.card);
        drop(self.reply.send(self.answer));
    }
}

impl Acknowledge for Ack {
    fn durable(self) {
        // A send fails only where the asker has gone away; the event stands, and its key or a look-up finds it.
        match self {
            Self::Nobody => {}
            Self::Answer(reply, answer) => drop(reply.send(answer)),
            Self::Publish(publish) => publish.go(),
            Self::Unanimous(all) => all.one_more(),
        }
    }
}
