//! Reading a journal without touching it, for offline audits: sealed generations are read where they are; what is in
//! sled is read from a copy, as sled writes when it opens.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;

use super::base::Beginning;
use super::chain::{Chain, JournalReader};
use super::chain_of;
use super::clean::CleanMark;
use super::found::Found;
use super::layout::{Layout, copy_tree, generation_name, remove};
use super::open_all::{Opened, open_verified, open_without_snapshots};
use super::recover::{marks_after, open_sealed};
use super::sealed::Sealed;
use super::witness::Witness;
use crate::ids::Seq;
use crate::persist::journal::{Base, Each, Read};
use crate::persist::{Error, Tail};

/// A journal as it was found, checked as a start would. What was copied of it goes when it is dropped.
#[derive(Debug)]
pub struct JournalCopy {
    chain: Arc<Chain>,
    // Before the directory: they are closed before their files go.
    _opened: Vec<Opened>,
    tail: Tail,
    _dir: TempDir,
}

/// Opens the journal in `<data_dir>/journal/` as a start would, changing nothing: what is sealed in place, of the rest a
/// copy (of what a refused start set aside, where there is that). Sealed generations are checked by their ends, the rest
/// from end to end, and the whole against the witness and the clean mark; the records of sealed ones are checked as they
/// are read. For a data directory that no server is using: what is read while it is written may not add up.
///
/// # Errors
/// [`Error::NoJournal`], and as [`super::open`] for what does not add up.
pub fn open_copy_read_only(data_dir: &Path) -> Result<JournalCopy, Error> {
    let layout = Layout::of(data_dir);
    let beginning = Beginning::read(&layout)?;
    let found = Found::list(&layout, &beginning)?;
    found.check(&layout, &beginning)?;
    if found.is_empty() {
        return Err(Error::NoJournal { path: layout.journal });
    }
    let mark = CleanMark::read(&layout)?.map(|mark| mark.tail);
    let witnessed = match Witness::read(&layout.witness) {
        Err(Error::WitnessLost { .. }) if mark.is_some() => None,
        read => read?,
    };
    let begin = beginning.base.tail;
    let sealed = open_sealed(&layout, begin, &found.sealed())?;
    let base = sealed.last().map_or(begin, Sealed::end);
    let marks = marks_after(begin, &sealed, witnessed.into_iter().chain(mark).collect())?;
    let dir = temporary_dir(data_dir)?;
    let copies: Vec<(u32, PathBuf)> =
        found.unsealed().into_iter().map(|number| (number, dir.path().join(generation_name(number)))).collect();
    let copy_all = || {
        copies.iter().try_for_each(|(number, to)| {
            remove(to)?;
            let from = if found.is_aside(*number) { layout.aside(*number) } else { layout.generation(*number) };
            copy_tree(&from, to)
        })
    };
    copy_all()?;
    let opened = match open_verified(&copies, base, &marks) {
        Ok(opened) => opened,
        Err(_) => {
            // As a start would: once more, from the log alone, so that the fault names its record.
            copy_all()?;
            open_without_snapshots(&copies, base, &marks).map_err(|failed| failed.error)?
        }
    };
    let tail = opened.last().map_or(base, |opened| opened.end);
    Ok(JournalCopy { chain: Arc::new(chain_of(&layout, beginning, sealed, &opened)), _opened: opened, tail, _dir: dir })
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
        JournalReader { chain: Arc::downgrade(&self.chain) }.read(from, each)
    }

    fn base(&self) -> Result<Base, Error> {
        Ok(self.chain.beginning().base)
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
