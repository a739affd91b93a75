//! Writing a sealed generation: whole, synced and read back before it has a name that counts.

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::ops::ControlFlow;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::fs::{Advice, fadvise};

use super::{
    COUNTS_BYTES, HEADER_BYTES, LENGTH_BYTES, MAGIC, PLACE_BYTES, Place, Sealed, TAIL_BYTES, check_of, tail_bytes,
};
use crate::ids::Seq;
use crate::persist::error::SEALED_VERSION;
use crate::persist::journal::Read;
use crate::persist::{Error, Tail};

/// How much is written at once, and how much before a sync. One sync of a whole generation would keep the disk from the
/// appends' own syncs for as long as it takes.
const PIECE_BYTES: usize = 1 << 20;
const SYNC_EVERY_BYTES: u64 = 4 << 20;
/// How far apart the places are where reading can begin.
const PLACE_EVERY_BYTES: u64 = 64 << 10;

/// Writes the records of generation `number`, which follow `base` and lead to `end`, to a fresh file at `path`, and
/// reads all of it back from the disk. `between` is called every few MiB and ends the work by an error.
///
/// # Errors
/// What failed; the file is of no worth then, and a further attempt makes another: a sync that failed once proves
/// nothing when it is repeated.
pub(in super::super) fn write<R: Read>(
    path: &Path,
    number: u32,
    (base, end): (Tail, Tail),
    records: &R,
    between: &mut dyn FnMut() -> Result<(), Error>,
) -> Result<Sealed, Error> {
    let mut output = Output::begin(path, number, &base)?;
    records.read(Seq(0), &mut |first, bytes| {
        output.push(first, bytes)?;
        if output.pending.len() >= PIECE_BYTES {
            output.flush()?;
            between()?;
        }
        Ok(ControlFlow::Continue(()))
    })?;
    let file = output.end(&end)?;
    between()?;
    // So that what is read back comes from the disk. Where the kernel does not comply, it is read from memory.
    let _advised = fadvise(&file, 0, None, Advice::DontNeed);
    drop(file);
    let sealed = Sealed::open(path, number)?;
    sealed.verify()?;
    Ok(sealed)
}

/// A file in the making.
struct Output<'a> {
    file: File,
    path: &'a Path,
    header: [u8; HEADER_BYTES],
    /// Not written yet.
    pending: Vec<u8>,
    written: u64,
    unsynced: u64,
    places: Vec<Place>,
    records: u64,
    record_bytes: u64,
}

impl<'a> Output<'a> {
    fn begin(path: &'a Path, number: u32, base: &Tail) -> Result<Self, Error> {
        let file = File::create_new(path).map_err(Error::io("making", path))?;
        let mut header = [0; HEADER_BYTES];
        header[..8].copy_from_slice(&MAGIC);
        header[8..12].copy_from_slice(&SEALED_VERSION.to_be_bytes());
        header[12..16].copy_from_slice(&number.to_be_bytes());
        header[16..].copy_from_slice(&tail_bytes(base));
        let mut pending = Vec::with_capacity(2 * PIECE_BYTES);
        pending.extend_from_slice(&header);
        let (written, unsynced, places) = (0, 0, Vec::new());
        Ok(Self { file, path, header, pending, written, unsynced, places, records: 0, record_bytes: 0 })
    }

    fn push(&mut self, first: Seq, bytes: &[u8]) -> Result<(), Error> {
        let offset = self.written + self.pending.len() as u64;
        if self.places.last().is_none_or(|place| offset - place.offset >= PLACE_EVERY_BYTES) {
            self.places.push(Place { first, offset });
        }
        let length = u32::try_from(bytes.len()).expect("sled's values are records, which are small");
        self.pending.extend_from_slice(&length.to_be_bytes());
        self.pending.extend_from_slice(bytes);
        self.records += 1;
        self.record_bytes += u64::from(length);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.file.write_all(&self.pending).map_err(Error::io("writing", self.path))?;
        self.written += self.pending.len() as u64;
        self.unsynced += self.pending.len() as u64;
        self.pending.clear();
        if self.unsynced >= SYNC_EVERY_BYTES {
            self.file.sync_data().map_err(Error::io("syncing", self.path))?;
            self.unsynced = 0;
        }
        Ok(())
    }

    /// Writes the footer, takes the right to write, and syncs.
    fn end(mut self, end: &Tail) -> Result<File, Error> {
        let mut index = Vec::with_capacity(self.places.len() * PLACE_BYTES);
        for place in &self.places {
            index.extend_from_slice(&place.first.0.to_be_bytes());
            index.extend_from_slice(&place.offset.to_be_bytes());
        }
        let mut covered = [0; COUNTS_BYTES + TAIL_BYTES];
        for (at, count) in [self.records, self.record_bytes, self.places.len() as u64].into_iter().enumerate() {
            covered[at * 8..at * 8 + 8].copy_from_slice(&count.to_be_bytes());
        }
        covered[COUNTS_BYTES..].copy_from_slice(&tail_bytes(end));
        self.pending.extend_from_slice(&index);
        self.pending.extend_from_slice(&covered);
        self.pending.extend_from_slice(check_of(&self.header, &index, &covered).as_bytes());
        self.pending.extend_from_slice(&MAGIC);
        self.flush()?;
        fs::set_permissions(self.path, Permissions::from_mode(0o444)).map_err(Error::io("protecting", self.path))?;
        self.file.sync_all().map_err(Error::io("syncing", self.path))?;
        Ok(self.file)
    }
}

const _: () = assert!(LENGTH_BYTES == size_of::<u32>(), "a length is a u32");
