//! One turn of a shard: what it is given to decide by, and what it leaves to be carried out. A shard touches neither the
//! journal nor another shard itself, so that it can be driven through any order of events by a test.

use smallvec::SmallVec;
use tokio::sync::oneshot;

use super::ack::Ack;
use super::ask::{Answer, Unavailable};
use super::letter::Letter;
use crate::domain::Entry;
use crate::ids::UnixMillis;
use crate::persist::Submission;

/// See the file's head. Whoever carries it out hands the submissions to the journal, in order, before it sends the
/// letters.
pub(super) struct Turn {
    /// When it is; never before an earlier turn of the same shard.
    pub at_ms: UnixMillis,
    /// Whether all that was submitted before the turn is durable.
    pub idle: bool,
    /// Why new orders must wait, where they must.
    pub unavailable: Option<Unavailable>,
    /// For the journal, after what earlier turns have left that was not handed over yet.
    pub submissions: Vec<Submission<Ack>>,
    /// For other parts of the activity, by their numbers.
    pub letters: Vec<(u16, Letter)>,
}

impl Turn {
    /// A turn at that instant, with nothing done yet and nothing left from before.
    pub fn at(at_ms: UnixMillis, idle: bool, unavailable: Option<Unavailable>) -> Self {
        Self { at_ms, idle, unavailable, submissions: Vec::new(), letters: Vec::new() }
    }

    /// Hands entries and whom to tell to the journal.
    pub fn submit(&mut self, entries: SmallVec<[Entry; 1]>, ack: Ack) {
        self.submissions.push(Submission { entries, ack });
    }

    /// Answers once all that this answer may reveal is durable.
    pub fn reveal(&mut self, reply: oneshot::Sender<Answer>, answer: Answer) {
        if self.idle && self.submissions.is_empty() {
            drop(reply.send(answer));
        } else {
            self.submit(SmallVec::new(), Ack::Answer(reply, answer));
        }
    }

    /// Writes to another part.
    pub fn write(&mut self, part: u16, letter: Letter) {
        self.letters.push((part, letter));
    }
}
