//! The contract of a journal, as narrow as it can be: append after a named tail, read in order, close.
//!
//! One contract suite (`tests/journal_contract.rs`) runs over every implementation. The append is a compare-and-set on
//! the tail, so that a replicated journal can stand here later.

use std::ops::ControlFlow;

use super::error::Error;
use super::frame::{Record, RecordHash, Tail};
use crate::ids::Seq;

/// A journal, held by its one writer.
pub trait Journal: Read + Send {
    /// What reads the journal from other threads while it is written.
    type Reader: Read + Clone + Send + Sync + 'static;

    /// Where it ends.
    fn tail(&self) -> Tail;

    /// Appends a record after `expected`.
    ///
    /// On `Ok` the record survives `kill -9` and a power cut, and the tail returned is the record's.
    ///
    /// # Errors
    /// Every error is final. The record may or may not be there after the next start, nothing after it may be
    /// acknowledged, and the call is never repeated: a second fsync after a failed one proves nothing. Later appends
    /// fail with [`Error::Failed`].
    fn append(&mut self, expected: &Tail, record: &Record<'_>) -> Result<Tail, Error>;

    /// A reader of its own.
    fn reader(&self) -> Self::Reader;

    /// Stops cleanly, so that the next start need not suspect anything. Dropping the journal instead is what a kill
    /// does: it loses nothing that was acknowledged, and the next start looks closer.
    ///
    /// # Errors
    /// Where the stop could not be made clean; nothing acknowledged is lost.
    fn close(self) -> Result<(), Error>;
}

/// A journal's raw records, in order.
pub trait Read {
    /// Hands over the record that holds event `from` and every one after it, each with the number of the event that it
    /// is kept under, until `each` breaks. Nothing about the records has been checked, and the last may not be durable
    /// yet where the journal is being written: see [`replay`](super::replay()).
    ///
    /// # Errors
    /// What `each` returns; [`Error::Engine`] where a record cannot be read; [`Error::Closed`] after a close.
    fn read(&self, from: Seq, each: &mut Each<'_>) -> Result<(), Error>;

    /// Where it begins: after event 0, where nothing was dropped. Of what was dropped, [`Self::read`] gives
    /// [`Error::Dropped`]; from the base's own event on, it begins with the first record there is.
    ///
    /// # Errors
    /// [`Error::Closed`] after a close.
    fn base(&self) -> Result<Base, Error> {
        Ok(Base::default())
    }
}

/// Where a journal begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Base {
    /// The tail that its first record follows; [`Tail::START`] where nothing was dropped.
    pub tail: Tail,
    /// The hash of its very first record, where that was dropped.
    pub identity: Option<RecordHash>,
}

/// What is called for each raw record.
pub type Each<'a> = dyn FnMut(Seq, &[u8]) -> Result<ControlFlow<()>, Error> + 'a;

/// Holds an append to the tail: the one it names must be the journal's, and the one its record follows.
pub(super) fn check_tail(actual: &Tail, expected: &Tail, record: &Record<'_>) -> Result<(), Error> {
    if expected == actual && record.follows() == *actual {
        Ok(())
    } else {
        Err(Error::TailMoved { expected: record.follows().seq, actual: actual.seq })
    }
}
