//! A sealed generation: its records in one flat file that is never written again. It opens by its two ends, and is read
//! in place, from near any event on.
//!
//! ```text
//!  header   0  magic "DBSEALED"        8 bytes       footer   0  places: event number, offset   16 each
//!           8  version                 4                         records                         8
//!          12  generation's number     4                         bytes of records                8
//!          16  the tail it follows    40                         places                          8
//!                                                                the tail it ends with          40
//!  records: length (4), record, and so on                        BLAKE3 over header and footer  32
//!                                                                magic "DBSEALED"                8
//! ```
//!
//! All numbers are big-endian. The checksum covers the two ends, so that opening reads no record; each record has its
//! own and is checked when it is read. A place stands for the first record after each 64 KiB.

mod read;
mod write;

use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

pub(super) use self::read::Walked;
pub(super) use self::write::write;
use super::chain::At;
use crate::ids::Seq;
use crate::persist::error::SEALED_VERSION;
use crate::persist::journal::{Each, Read};
use crate::persist::replay::follow;
use crate::persist::{Error, Record, RecordHash, SealFault, Tail};

const MAGIC: [u8; 8] = *b"DBSEALED";
const TAIL_BYTES: usize = 40;
const HEADER_BYTES: usize = 16 + TAIL_BYTES;
const PLACE_BYTES: usize = 16;
const COUNTS_BYTES: usize = 24;
const CHECK_BYTES: usize = 32;
/// The footer without its places.
const END_BYTES: usize = COUNTS_BYTES + TAIL_BYTES + CHECK_BYTES + MAGIC.len();
/// What stands before each record.
const LENGTH_BYTES: usize = 4;

/// A sealed generation whose two ends hold. Keeps no file open: there may be more of these than descriptors.
#[derive(Clone, Debug)]
pub(in super::super) struct Sealed {
    path: PathBuf,
    base: Tail,
    end: Tail,
    /// Where records begin, ascending: the first one, and one for each 64 KiB.
    places: Vec<Place>,
    /// Where the last record ends.
    records_end: u64,
}

/// Where a record begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    first: Seq,
    offset: u64,
}

impl Sealed {
    /// Opens the file of generation `number`: reads and checks its ends.
    ///
    /// # Errors
    /// [`Error::Sealed`] for anything but both ends of that generation, in a version that this program knows.
    pub(super) fn open(path: &Path, number: u32) -> Result<Self, Error> {
        let failed = |fault| Error::Sealed { path: path.to_owned(), fault };
        let io = |source: io::Error| Error::io("reading", path)(source);
        let file = File::open(path).map_err(Error::io("opening", path))?;
        let bytes = file.metadata().map_err(io)?.len();
        let mut header = [0; HEADER_BYTES];
        let mut end = [0; END_BYTES];
        if bytes < (HEADER_BYTES + END_BYTES) as u64 {
            return Err(failed(SealFault::CutShort));
        }
        file.read_exact_at(&mut header, 0).map_err(io)?;
        if header[..8] != MAGIC {
            return Err(failed(SealFault::NotSealed));
        }
        // Before all else, which another version may keep elsewhere.
        let version = u32::from_be_bytes(array(&header[8..12]));
        if version != SEALED_VERSION {
            return Err(failed(SealFault::UnknownVersion { version }));
        }
        let end_at = bytes - END_BYTES as u64;
        file.read_exact_at(&mut end, end_at).map_err(io)?;
        let (body, magic) = end.split_at(END_BYTES - MAGIC.len());
        if magic != MAGIC {
            return Err(failed(SealFault::CutShort));
        }
        let (covered, check) = body.split_at(COUNTS_BYTES + TAIL_BYTES);
        let count = |at: usize| u64::from_be_bytes(array(&covered[at..at + 8]));
        let (records, record_bytes, place_count) = (count(0), count(8), count(16));
        // Before anything is believed of it; and before room is made for as many places as it says.
        let lengths = records.checked_mul(LENGTH_BYTES as u64);
        let records_end =
            lengths.and_then(|lengths| lengths.checked_add(record_bytes)?.checked_add(HEADER_BYTES as u64));
        let places_bytes = place_count.checked_mul(PLACE_BYTES as u64);
        if records_end.zip(places_bytes).and_then(|(records, places)| records.checked_add(places)) != Some(end_at) {
            return Err(failed(SealFault::EndsDamaged));
        }
        let (Some(records_end), Some(places_bytes)) = (records_end, places_bytes) else {
            return Err(failed(SealFault::EndsDamaged));
        };
        let mut index = vec![0; usize::try_from(places_bytes).map_err(|_| failed(SealFault::EndsDamaged))?];
        file.read_exact_at(&mut index, records_end).map_err(io)?;
        if *check_of(&header, &index, covered).as_bytes() != *check {
            return Err(failed(SealFault::EndsDamaged));
        }
        let own = u32::from_be_bytes(array(&header[12..16]));
        if own != number {
            return Err(failed(SealFault::Misnamed { number: own }));
        }
        let place = |bytes: &[u8]| Place {
            first: Seq(u64::from_be_bytes(array(&bytes[..8]))),
            offset: u64::from_be_bytes(array(&bytes[8..])),
        };
        Ok(Self {
            path: path.to_owned(),
            base: tail_of(&header[16..]),
            end: tail_of(&covered[COUNTS_BYTES..]),
            places: index.chunks_exact(PLACE_BYTES).map(place).collect(),
            records_end,
        })
    }

    /// The tail that its first record follows.
    pub(super) fn base(&self) -> Tail {
        self.base
    }

    /// The tail that it ends with.
    pub(super) fn end(&self) -> Tail {
        self.end
    }

    /// The same file under another name.
    pub(super) fn renamed(self, path: PathBuf) -> Self {
        Self { path, ..self }
    }

    /// Checks every record's frame, hash and link, from the base to the end.
    ///
    /// # Errors
    /// The first record that does not hold, as [`replay`](crate::persist::replay()); [`Error::Sealed`] where they do not
    /// lead to the end.
    pub(super) fn verify(&self) -> Result<(), Error> {
        let end = follow(self, self.base, |_| Ok(()))?;
        if end == self.end {
            Ok(())
        } else {
            Err(Error::Sealed { path: self.path.clone(), fault: SealFault::EndsDamaged })
        }
    }

    /// Whether `tail` was a tail of the journal within this generation.
    ///
    /// # Errors
    /// [`Error::Damaged`] for a record that does not hold, [`Error::Io`].
    pub(super) fn has_tail(&self, tail: &Tail) -> Result<bool, Error> {
        let mut found = false;
        self.read(tail.seq, &mut |kept_as, bytes| {
            let record = Record::decode(bytes).map_err(|fault| Error::Damaged { record: kept_as, fault })?;
            found = record.tail() == *tail;
            Ok(ControlFlow::Break(()))
        })?;
        Ok(found)
    }
}

impl Read for Sealed {
    fn read(&self, from: Seq, each: &mut Each<'_>) -> Result<(), Error> {
        self.walk(At::Holding(from), each).map(|_| ())
    }
}

fn check_of(header: &[u8], index: &[u8], covered: &[u8]) -> blake3::Hash {
    blake3::Hasher::new().update(header).update(index).update(covered).finalize()
}

fn tail_of(bytes: &[u8]) -> Tail {
    Tail { seq: Seq(u64::from_be_bytes(array(&bytes[..8]))), hash: RecordHash(array(&bytes[8..TAIL_BYTES])) }
}

fn tail_bytes(tail: &Tail) -> [u8; TAIL_BYTES] {
    let mut bytes = [0; TAIL_BYTES];
    bytes[..8].copy_from_slice(&tail.seq.0.to_be_bytes());
    bytes[8..].copy_from_slice(&tail.hash.0);
    bytes
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().expect("the slice was cut to this length")
}
