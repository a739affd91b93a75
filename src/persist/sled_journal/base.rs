//! Where the journal begins, once generations were dropped: noted outside them, as record 1 is gone and nothing else tells
//! a journal that was cut on purpose from one that lost its files.
//!
//! The note is made whole, and durable, before the first file goes. So a sealed file of a number below it is a leftover
//! of a drop that was cut short, and a generation that is missing from it on is a loss.

use std::fs::{self, File};
use std::io::{self, Write};

use super::layout::{Layout, partial, rename};
use super::note::{CHECK_BYTES, TAIL_BYTES, read_tail, seal, unseal, write_tail};
use crate::persist::journal::Base;
use crate::persist::{Error, RecordHash};

const KIND: [u8; 8] = *b"DBBASE01";
const NUMBER_BYTES: usize = 4;
const IDENTITY_BYTES: usize = 32;
const NOTE_BYTES: usize = TAIL_BYTES + NUMBER_BYTES + IDENTITY_BYTES + CHECK_BYTES;

/// The first generation that is kept, and what it follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Beginning {
    /// The first generation's number.
    pub first: u32,
    pub base: Base,
}

impl Default for Beginning {
    /// Nothing was dropped.
    fn default() -> Self {
        Self { first: 1, base: Base::default() }
    }
}

impl Beginning {
    /// What the note says; the very beginning where there is none.
    ///
    /// # Errors
    /// [`Error::BaseLost`] where it is not what was written; [`Error::Io`].
    pub(super) fn read(layout: &Layout) -> Result<Self, Error> {
        let bytes = match fs::read(&layout.base) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(Error::io("reading", &layout.base)(error)),
        };
        decode(&bytes).ok_or_else(|| Error::BaseLost { path: layout.base.clone() })
    }

    /// Puts the note in place of the one before, durably.
    pub(super) fn write(self, layout: &Layout) -> Result<(), Error> {
        let identity = self.base.identity.expect("what was dropped had a first record");
        let mut bytes = [0; NOTE_BYTES];
        write_tail(KIND, &self.base.tail, &mut bytes);
        bytes[TAIL_BYTES..TAIL_BYTES + NUMBER_BYTES].copy_from_slice(&self.first.to_be_bytes());
        bytes[TAIL_BYTES + NUMBER_BYTES..NOTE_BYTES - CHECK_BYTES].copy_from_slice(&identity.0);
        seal(&mut bytes);
        let unfinished = partial(&layout.base);
        File::create(&unfinished)
            .and_then(|mut file| file.write_all(&bytes).and_then(|()| file.sync_all()))
            .map_err(Error::io("writing", &unfinished))?;
        rename(&unfinished, &layout.base)
    }
}

fn decode(bytes: &[u8]) -> Option<Beginning> {
    let body = unseal(bytes).filter(|_| bytes.len() == NOTE_BYTES)?;
    let tail = read_tail(KIND, body)?;
    let (number, identity) = body[TAIL_BYTES..].split_at_checked(NUMBER_BYTES)?;
    let first = u32::from_be_bytes(number.try_into().ok()?);
    let identity = Some(RecordHash(identity.try_into().ok()?));
    (first > 1 && tail.seq.0 > 0).then_some(Beginning { first, base: Base { tail, identity } })
}
