//! A record: the unit that is durable or not. It frames the entries of one group of commands and names the record it
//! follows by hash, so that no record can be lost, changed or moved without the next one telling.
//!
//! ```text
//!   0  magic "DBJ"          3 bytes
//!   3  version              1
//!   4  event count          4   big-endian
//!   8  first event's number 8   big-endian
//!  16  previous record's hash 32
//!  48  payload: the entries, consecutive MessagePack values
//!   n  hash                 32  BLAKE3 over all before it: the checksum, and what the next record names
//! ```
//!
//! Decoding never panics and never trusts: a [`Record`] exists only where its frame has been checked or just made.

use std::fmt;

use rmp_serde::Deserializer;
use serde::Deserialize;

use super::error::Fault;
use crate::domain::event::{EVENT_BYTES_MAX, Entry};
use crate::ids::Seq;

/// The version that this program writes, and the only one it knows.
pub const VERSION: u8 = 1;

/// The most bytes of a record, its frame included.
///
/// sled keeps a leaf of up to 17 values as one item, and an item above a quarter of a segment (16 MiB / 4) goes to a
/// blob file that is never synced. 17 × 192 KiB = 3.2 MiB stays below.
pub const RECORD_BYTES_MAX: usize = 192 << 10;

/// What a record takes beside its entries.
pub const FRAME_BYTES: usize = HEADER_BYTES + HASH_BYTES;

pub(super) const HEADER_BYTES: usize = 48;
pub(super) const MAGIC: [u8; 3] = *b"DBJ";
const HASH_BYTES: usize = 32;

const _: () = assert!(EVENT_BYTES_MAX + FRAME_BYTES <= RECORD_BYTES_MAX, "any one event fits a record");

/// A record's hash.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct RecordHash(pub [u8; 32]);

impl fmt::Display for RecordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for RecordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Where a journal ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tail {
    /// The last event's number; 0 where there is none.
    pub seq: Seq,
    /// The last record's hash; zeroes where there is none.
    pub hash: RecordHash,
}

impl Tail {
    /// The tail of a journal without a record.
    pub const START: Self = Self { seq: Seq(0), hash: RecordHash([0; 32]) };
}

/// A record whose frame holds. Its entries are checked as they are read.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    bytes: &'a [u8],
    first: Seq,
    last: Seq,
    previous: RecordHash,
    hash: RecordHash,
}

impl<'a> Record<'a> {
    /// Checks a record's frame and hash.
    ///
    /// # Errors
    /// The first [`Fault`] found, for any bytes that are not a whole record of a known version.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, Fault> {
        let len = bytes.len();
        let (Some(header), Some(body)) = (bytes.first_chunk::<HEADER_BYTES>(), len.checked_sub(HASH_BYTES)) else {
            return Err(Fault::TooShort { bytes: len });
        };
        if len < FRAME_BYTES {
            return Err(Fault::TooShort { bytes: len });
        }
        if len > RECORD_BYTES_MAX {
            return Err(Fault::TooLong { bytes: len });
        }
        if header[..3] != MAGIC {
            return Err(Fault::NotARecord);
        }
        // The version comes before the checksum: another version may keep its checksum elsewhere.
        if header[3] != VERSION {
            return Err(Fault::UnknownVersion { version: header[3] });
        }
        let hash = blake3::hash(&bytes[..body]);
        if bytes[body..] != *hash.as_bytes() {
            return Err(Fault::Checksum);
        }
        let count = u32::from_be_bytes(array(&header[4..8]));
        let first = Seq(u64::from_be_bytes(array(&header[8..16])));
        let last = last_seq(first, count).ok_or(Fault::Numbers { first, count })?;
        let previous = RecordHash(array(&header[16..]));
        Ok(Self { bytes, first, last, previous, hash: RecordHash(*hash.as_bytes()) })
    }

    /// Writes header and hash around a payload that lies in `buffer` after [`HEADER_BYTES`].
    pub(super) fn seal(buffer: &'a mut Vec<u8>, after: &Tail, count: u32) -> Self {
        let first = Seq(after.seq.0.checked_add(1).expect("J1: event numbers do not run out"));
        let last = last_seq(first, count).expect("J1: a record holds events, and their numbers do not run out");
        buffer[..3].copy_from_slice(&MAGIC);
        buffer[3] = VERSION;
        buffer[4..8].copy_from_slice(&count.to_be_bytes());
        buffer[8..16].copy_from_slice(&first.0.to_be_bytes());
        buffer[16..HEADER_BYTES].copy_from_slice(&after.hash.0);
        let hash = *blake3::hash(buffer).as_bytes();
        buffer.extend_from_slice(&hash);
        Self { bytes: buffer, first, last, previous: after.hash, hash: RecordHash(hash) }
    }

    /// How many events the bytes of a record say they hold, before anything of them is checked.
    pub(super) fn claimed_count(bytes: &[u8]) -> Option<u32> {
        bytes.get(4..8).map(|count| u32::from_be_bytes(array(count)))
    }

    /// All of it, as it goes to disk.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The first event's number.
    #[must_use]
    pub fn first(&self) -> Seq {
        self.first
    }

    /// The tail that it was made to follow.
    #[must_use]
    pub fn follows(&self) -> Tail {
        Tail { seq: Seq(self.first.0 - 1), hash: self.previous }
    }

    /// The tail of a journal that ends with it.
    #[must_use]
    pub fn tail(&self) -> Tail {
        Tail { seq: self.last, hash: self.hash }
    }

    /// Hands each entry to `each`, in order.
    ///
    /// # Errors
    /// [`Fault::Entry`] or [`Fault::Leftover`] where the payload is not exactly as many entries as the header says;
    /// the entries before the fault were handed over.
    pub fn entries(&self, mut each: impl FnMut(Seq, Entry)) -> Result<(), Fault> {
        let payload = &self.bytes[HEADER_BYTES..self.bytes.len() - HASH_BYTES];
        let mut decoder = Deserializer::new(payload);
        for event in self.first.0..=self.last.0 {
            let entry = Entry::deserialize(&mut decoder)
                .map_err(|error| Fault::Entry { event: Seq(event), message: error.to_string() })?;
            each(Seq(event), entry);
        }
        match decoder.get_ref().len() {
            0 => Ok(()),
            bytes => Err(Fault::Leftover { bytes }),
        }
    }
}

/// The number of the last of `count` events from `first` on; `None` where there is none.
fn last_seq(first: Seq, count: u32) -> Option<Seq> {
    let beyond_first = count.checked_sub(1)?;
    if first.0 == 0 {
        return None;
    }
    first.0.checked_add(u64::from(beyond_first)).map(Seq)
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().expect("the slice was cut to this length")
}
