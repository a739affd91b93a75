//! Reading a journal without touching it, for offline audits: sled writes as it opens, so it is given a copy.

use std::path::Path;

use tempfile::TempDir;

use super::clean::CleanMark;
use super::engine::Engine;
use super::layout::{Layout, copy_tree, remove};
use super::recover::{open_verified, open_without_snapshots};
use super::witness::Witness;
use crate::ids::Seq;
use crate::persist::journal::{Each, Read};
use crate::persist::{Error, Tail};

/// A copy of a journal as it was found, checked as a start would. It goes when dropped.
#[derive(Debug)]
pub struct JournalCopy {
    // Before the directory: it is closed before its files go.
    engine: Engine,
    tail: Tail,
    _dir: TempDir,
}

/// Copies the journal in `<data_dir>/journal/` (the copy set aside by a refused start, where there is one) and opens
/// that, checking it from end to end against the witness and the clean mark. For a data directory that no server is
/// using: a copy made while it is written may not add up.
///
/// # Errors
/// [`Error::NoJournal`], and as [`super::open`] for what does not add up.
pub fn open_copy_read_only(data_dir: &Path) -> Result<JournalCopy, Error> {
    let layout = Layout::of(data_dir);
    let source = if layout.aside.exists() { &layout.aside } else { &layout.generation };
    if !source.is_dir() {
        return Err(Error::NoJournal { path: layout.journal });
    }
    let mark = CleanMark::read(&layout)?.map(|mark| mark.tail);
    let witnessed = match Witness::read(&layout.witness) {
        Err(Error::WitnessLost { .. }) if mark.is_some() => None,
        read => read?,
    };
    let marks: Vec<Tail> = witnessed.into_iter().chain(mark).collect();
    let dir = temporary_dir(data_dir)?;
    let generation = dir.path().join("journal");
    copy_tree(source, &generation)?;
    let opened = open_verified(&generation, &marks).or_else(|_| {
        // As a start would: once more, from the log alone, so that the fault names its record.
        remove(&generation)?;
        copy_tree(source, &generation)?;
        open_without_snapshots(&generation, &marks)
    });
    let (engine, tail) = opened?;
    Ok(JournalCopy { engine, tail, _dir: dir })
}

impl JournalCopy {
    /// Where the journal ends.
    #[must_use]
    pub fn tail(&self) -> Tail {
        self.tail
    }
}

impl Read for JournalCopy {
    fn read(&self, from: Seq, each: &mut Each<'_>) -> Result<(), Error> {
        self.engine.reader().read(from, each)
    }
}

/// Beside the data directory, where there is most likely room for a copy; where that cannot be written, among the
/// system's temporary files.
fn temporary_dir(data_dir: &Path) -> Result<TempDir, Error> {
    let named = || {
        let mut builder = tempfile::Builder::new();
        builder.prefix("doorbuster-audit-");
        builder
    };
    let beside = data_dir.parent().filter(|parent| !parent.as_os_str().is_empty());
    beside
        .and_then(|parent| named().tempdir_in(parent).ok())
        .map_or_else(|| named().tempdir(), Ok)
        .map_err(Error::io("making a temporary directory beside", data_dir))
}
