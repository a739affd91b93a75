//! Reading a sealed generation: large reads in order, each record handed over where it lies in the buffer.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::{HEADER_BYTES, LENGTH_BYTES, Place, Sealed, array};
use crate::ids::Seq;
use crate::persist::journal::Each;
use crate::persist::sled_journal::chain::At;
use crate::persist::{Error, Fault, RECORD_BYTES_MAX, Record};

/// Large enough that the kernel's part is small, small enough to stay in the processor's cache.
const BUFFER_BYTES: usize = 1 << 20;
const _: () = assert!(BUFFER_BYTES > RECORD_BYTES_MAX + LENGTH_BYTES, "any one record fits the buffer");

/// How a walk ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Walked {
    /// All records were handed over.
    ToTheEnd,
    /// Whoever took them had enough.
    Broken,
}

impl Sealed {
    /// Hands over the records from `at` on.
    pub(in super::super) fn walk(&self, at: At, each: &mut Each<'_>) -> Result<Walked, Error> {
        let file = File::open(&self.path).map_err(Error::io("opening", &self.path))?;
        let mut scan = Scan::begin(self, &file, self.locate(&file, at)?);
        while let Some((first, place)) = scan.next()? {
            if each(first, &scan.buffer[place])?.is_break() {
                return Ok(Walked::Broken);
            }
        }
        Ok(Walked::ToTheEnd)
    }

    /// Where the record begins that `at` means: from the nearest place before it on, record by record. These are
    /// checked, because a wrong count would lead to a wrong place.
    fn locate(&self, file: &File, at: At) -> Result<Place, Error> {
        let (At::Holding(seq) | At::After(seq)) = at;
        let nearest = self.places.partition_point(|place| place.first <= seq).saturating_sub(1);
        let start = Place { first: Seq(self.base.seq.0.saturating_add(1)), offset: HEADER_BYTES as u64 };
        let mut place = self.places.get(nearest).copied().unwrap_or(start);
        if place.first > seq {
            return Ok(place);
        }
        let mut scan = Scan::begin(self, file, place);
        while let Some((first, range)) = scan.next()? {
            let record = Record::decode(&scan.buffer[range]);
            record.map_err(|fault| Error::Damaged { record: first, fault })?;
            let next = scan.place();
            if matches!(at, At::Holding(_)) && (next.first > seq || next.offset >= self.records_end) {
                return Ok(place);
            }
            place = next;
            if place.first > seq {
                break;
            }
        }
        Ok(place)
    }
}

/// Goes through the records from one place to the last.
struct Scan<'a> {
    file: &'a File,
    path: &'a Path,
    buffer: Vec<u8>,
    /// What of the buffer is read and not yet handed over.
    unread: Range<usize>,
    /// Where in the file `unread` begins, and the event that the record there must begin with.
    next: Place,
    end: u64,
}

impl<'a> Scan<'a> {
    fn begin(sealed: &'a Sealed, file: &'a File, at: Place) -> Self {
        let (path, end) = (sealed.path.as_path(), sealed.records_end);
        Self { file, path, buffer: Vec::new(), unread: 0..0, next: at, end }
    }

    /// Where the next record begins.
    fn place(&self) -> Place {
        self.next
    }

    /// The next record's first event, by its place in the file, and where in the buffer it lies; `None` after the last.
    fn next(&mut self) -> Result<Option<(Seq, Range<usize>)>, Error> {
        if self.next.offset >= self.end {
            return Ok(None);
        }
        let first = self.next.first;
        let damaged = |fault| Error::Damaged { record: first, fault };
        let length = self.have(LENGTH_BYTES)?.map(|at| u32::from_be_bytes(array(&self.buffer[at])));
        let length = length.map_or(usize::MAX, |length| usize::try_from(length).unwrap_or(usize::MAX));
        if length > RECORD_BYTES_MAX {
            return Err(damaged(Fault::TooLong { bytes: length }));
        }
        let Some(whole) = self.have(LENGTH_BYTES + length)? else {
            return Err(damaged(Fault::TooLong { bytes: length }));
        };
        let record = whole.start + LENGTH_BYTES..whole.end;
        // Its own account, unchecked: if it is wrong, the record's checksum is as well, and that is looked at first.
        let Some(count) = Record::claimed_count(&self.buffer[record.clone()]) else {
            return Err(damaged(Fault::TooShort { bytes: length }));
        };
        self.unread.start = whole.end;
        self.next.offset += whole.len() as u64;
        self.next.first = Seq(first.0.saturating_add(u64::from(count)));
        Ok(Some((first, record)))
    }

    /// Where the next `bytes` bytes lie in the buffer; `None` where there are not as many.
    fn have(&mut self, bytes: usize) -> Result<Option<Range<usize>>, Error> {
        if self.end.saturating_sub(self.next.offset) < bytes as u64 {
            return Ok(None);
        }
        if self.unread.len() < bytes {
            self.fill()?;
        }
        Ok(Some(self.unread.start..self.unread.start + bytes))
    }

    /// Reads on, up to a full buffer.
    fn fill(&mut self) -> Result<(), Error> {
        self.buffer.resize(BUFFER_BYTES, 0);
        self.buffer.copy_within(self.unread.clone(), 0);
        self.unread = 0..self.unread.len();
        let from = self.next.offset + self.unread.len() as u64;
        let room = &mut self.buffer[self.unread.end..];
        let wanted = usize::try_from(self.end - from).unwrap_or(usize::MAX).min(room.len());
        self.file.read_exact_at(&mut room[..wanted], from).map_err(Error::io("reading", self.path))?;
        self.unread.end += wanted;
        Ok(())
    }
}
