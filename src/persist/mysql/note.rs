//! A note in the data directory of how far MySQL had the journal. MySQL's own cursor is what counts; the note tells, while
//! MySQL cannot be asked, how much waits. It is no promise: written without a sync, and passed over where it is damaged.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::cursor::from_hex;
use crate::ids::Seq;
use crate::persist::{RecordHash, Tail};

/// See the module.
#[derive(Debug)]
pub struct ShippedNote {
    path: PathBuf,
    last: Option<Tail>,
}

impl ShippedNote {
    /// The note of a data directory.
    #[must_use]
    pub fn of(data_dir: &Path) -> Self {
        let mut note = Self { path: data_dir.join("shipped"), last: None };
        note.last = note.read();
        note
    }

    /// What was noted last.
    #[must_use]
    pub fn last(&self) -> Option<Tail> {
        self.last
    }

    fn read(&self) -> Option<Tail> {
        let text = fs::read_to_string(&self.path).ok()?;
        let (seq, hash) = text.trim_end().split_once(' ')?;
        Some(Tail { seq: Seq(seq.parse().ok()?), hash: RecordHash(from_hex(hash)?) })
    }

    /// Notes a cursor, whole or not at all.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn write(&mut self, cursor: Tail) -> io::Result<()> {
        let unfinished = self.path.with_extension("partial");
        fs::write(&unfinished, format!("{} {}\n", cursor.seq, cursor.hash))?;
        fs::rename(&unfinished, &self.path)?;
        self.last = Some(cursor);
        Ok(())
    }
}
