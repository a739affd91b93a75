//! The journal on sled 0.34.7, with a guard for each thing that sled does not promise.
//!
//! | sled | guard | where |
//! |---|---|---|
//! | `flush` does not fsync | our own descriptor's `sync_data` before every acknowledgement | `engine` |
//! | a new directory may vanish | its parent is synced | `layout` |
//! | large values go to unsynced blob files | bounded records, large segments, `blobs/` stays empty | `engine` |
//! | opening writes over what follows a damaged record | a copy aside after an unclean stop, a digest after a clean one | `recover`, `clean` |
//! | the tail can vanish without a trace | the witness | `witness` |
//! | an unfinished snapshot file stops the next open | it is deleted | `engine` |
//! | its settings file is written in two steps, and half of it never opens | made under another name, then renamed | `recover` |
//! | a background thread rewrites segments | it is off | `engine` |

mod clean;
mod copy;
mod engine;
mod layout;
mod note;
mod recover;
mod witness;

use std::mem;
use std::path::Path;

use self::clean::CleanMark;
pub use self::copy::{JournalCopy, open_copy_read_only};
use self::engine::Engine;
pub use self::engine::SledReader;
use self::layout::{Layout, sync_tree};
use self::witness::Witness;
use super::journal::{Each, Journal, Read, check_tail};
use super::{Error, Record, Tail};
use crate::ids::Seq;

/// Opens the journal in `<data_dir>/journal/`, making it where there is none. The caller holds the directory's lock
/// (J4). On return the journal has been checked from end to end where the last stop was unclean, and what was recovered
/// is durable; its entries are checked as they are replayed.
///
/// # Errors
/// [`Error::TailLost`] or [`Error::Forked`] where events are missing that were durable (J3); [`Error::WitnessLost`];
/// [`Error::Refused`] around what does not add up after an unclean stop, with a copy kept of how it was found; errors
/// of the engine and the file system.
pub fn open(data_dir: &Path) -> Result<SledJournal, Error> {
    recover::open(&Layout::of(data_dir))
}

/// The journal on sled. It survives `kill -9` and a power cut up to the last append that returned `Ok`.
#[derive(Debug)]
pub struct SledJournal {
    engine: Engine,
    witness: Witness,
    layout: Layout,
    tail: Tail,
    failed: bool,
}

impl SledJournal {
    fn write(&mut self, record: &Record<'_>) -> Result<Tail, Error> {
        self.engine.put(record)?;
        let tail = record.tail();
        // After the record is durable and before anyone is told: so the witness is never ahead of the journal, and
        // after a kill never behind what was acknowledged.
        self.witness.note(&tail)?;
        Ok(tail)
    }
}

impl Journal for SledJournal {
    type Reader = SledReader;

    fn tail(&self) -> Tail {
        self.tail
    }

    fn append(&mut self, expected: &Tail, record: &Record<'_>) -> Result<Tail, Error> {
        // Failed until proven durable, so that an error and a panic both close the journal to appends for good.
        if mem::replace(&mut self.failed, true) {
            return Err(Error::Failed);
        }
        check_tail(&self.tail, expected, record)?;
        self.tail = self.write(record)?;
        self.failed = false;
        Ok(self.tail)
    }

    fn reader(&self) -> SledReader {
        self.engine.reader()
    }

    /// Leaves the mark of a clean stop, with the files' digest: takes as long as reading the generation once.
    fn close(self) -> Result<(), Error> {
        if self.failed {
            return Err(Error::Failed);
        }
        let Self { engine, witness, layout, tail, .. } = self;
        engine.close()?;
        witness.finish()?;
        sync_tree(&layout.generation)?;
        CleanMark::leave(&layout, tail)
    }
}

impl Read for SledJournal {
    fn read(&self, from: Seq, each: &mut Each<'_>) -> Result<(), Error> {
        self.engine.reader().read(from, each)
    }
}
