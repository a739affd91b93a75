//! The acknowledgement that carries an answer through the journal: made with the answer, let go when it is true on disk.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::ask::Answer;
use super::door::{Card, Door};
use crate::persist::Acknowledge;

/// What the journal's writer holds until a command's events are durable.
pub enum Ack {
    /// Nobody waits: holds that ran out.
    Nobody,
    /// An answer, let go when it is true on disk.
    Answer(oneshot::Sender<Answer>, Answer),
    /// An operator's change: the door shows it first, then its author hears of it.
    Publish(PublishAck),
}

/// See [`Ack::Publish`].
pub struct PublishAck {
    pub(super) door: Arc<Door>,
    pub(super) card: Arc<Card>,
    pub(super) reply: oneshot::Sender<Answer>,
    pub(super) answer: Answer,
}

impl Acknowledge for Ack {
    fn durable(self) {
        // A send fails only where the asker has gone away; the event stands, and its key or a look-up finds it.
        match self {
            Self::Nobody => {}
            Self::Answer(reply, answer) => drop(reply.send(answer)),
            Self::Publish(PublishAck { door, card, reply, answer }) => {
                door.publish(card);
                drop(reply.send(answer));
            }
        }
    }
}
