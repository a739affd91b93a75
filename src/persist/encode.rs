//! Builds records: entries are encoded one after the other straight into the buffer that goes to disk, which is kept
//! from record to record.

use rmp_serde::Serializer;
use serde::Serialize;

use super::error::Error;
use super::frame::{FRAME_BYTES, HEADER_BYTES, RECORD_BYTES_MAX, Record, Tail};
use crate::domain::event::Entry;

/// What became of a command's entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// They are in the record.
    Taken,
    /// They would make the record too large; none of them is in it.
    Full,
}

/// A record being made.
#[derive(Debug)]
pub struct RecordBuilder {
    /// Room for the header, then the payload.
    buffer: Vec<u8>,
    count: u32,
}

impl Default for RecordBuilder {
    fn default() -> Self {
        let mut buffer = Vec::with_capacity(RECORD_BYTES_MAX);
        buffer.resize(HEADER_BYTES, 0);
        Self { buffer, count: 0 }
    }
}

impl RecordBuilder {
    /// How many events it holds.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Adds the entries of one command, all or none: they never straddle records.
    ///
    /// # Errors
    /// [`Error::CommandTooLarge`] where they would not even fit a record of their own.
    pub fn push(&mut self, entries: &[Entry]) -> Result<Pushed, Error> {
        let before = self.buffer.len();
        for entry in entries {
            entry
                .serialize(&mut Serializer::new(&mut self.buffer))
                .map_err(|error| Error::Encoding { message: error.to_string() })?;
        }
        // The hash comes on top when the record is sealed.
        if self.buffer.len() + (FRAME_BYTES - HEADER_BYTES) <= RECORD_BYTES_MAX {
            self.count += u32::try_from(entries.len()).expect("entries of at least a byte each fit a small record");
            return Ok(Pushed::Taken);
        }
        let bytes = self.buffer.len() - before + FRAME_BYTES;
        if bytes > RECORD_BYTES_MAX {
            return Err(Error::CommandTooLarge { bytes });
        }
        self.buffer.truncate(before);
        Ok(Pushed::Full)
    }

    /// Makes a record of what was pushed, to follow `after`. Call [`Self::clear`] before the next push.
    ///
    /// # Panics
    /// Where nothing was pushed: a record without events has no number.
    pub fn seal(&mut self, after: &Tail) -> Record<'_> {
        Record::seal(&mut self.buffer, after, self.count)
    }

    /// Begins the next record.
    pub fn clear(&mut self) {
        self.buffer.truncate(HEADER_BYTES);
        self.count = 0;
    }
}
