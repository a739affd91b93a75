//! The witness: the last durable tail, noted in a file outside sled (J3).
//!
//! sled reads a damaged record as the end of its log, so the tail can vanish without a trace. The witness is the trace.
//! It is written after each append has become durable and therefore never runs ahead of the journal. It is not synced
//! then but every 200 ms, by a thread of its own: exact after a kill (the kernel keeps the write), and at most 200 ms
//! behind after a power cut. A rollback of the whole data directory takes the witness along: only MySQL's cursor sees it.
//!
//! The file has two slots on pages of their own, written in turn: a torn write spoils one, the other is the tail before.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::layout::sync_dir;
use super::note::{CHECK_BYTES, TAIL_BYTES, read_tail, seal, unseal, write_tail};
use crate::persist::{Error, Tail};

const KIND: [u8; 8] = *b"DBWITN01";
const SLOT_BYTES: usize = TAIL_BYTES + CHECK_BYTES;
/// The slots lie a page apart, so that no single torn write reaches both.
const SLOT_STRIDE: u64 = 4096;
/// How far behind the journal the witness may be after a power cut.
const SYNC_EVERY: Duration = Duration::from_millis(200);

/// The witness of an open journal.
#[derive(Debug)]
pub(super) struct Witness {
    file: Arc<File>,
    path: PathBuf,
    next_slot: u64,
    syncing: Syncing,
}

impl Witness {
    /// The tail that the file notes: the later of its slots. `None` where the file is there and empty: new, or an
    /// operator's word that the journal is to be taken as it stands.
    ///
    /// # Errors
    /// [`Error::WitnessLost`] where it is missing, or neither slot is whole.
    pub(super) fn read(path: &Path) -> Result<Option<Tail>, Error> {
        let lost = || Error::WitnessLost { path: path.to_owned() };
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(lost()),
            Err(error) => return Err(Error::io("reading", path)(error)),
        };
        if bytes.is_empty() {
            return Ok(None);
        }
        let stride = usize::try_from(SLOT_STRIDE).expect("a page is small");
        let slot = |start: usize| read_tail(KIND, unseal(bytes.get(start..start + SLOT_BYTES)?)?);
        [slot(0), slot(stride)].into_iter().flatten().max_by_key(|tail| tail.seq).map(Some).ok_or_else(lost)
    }

    /// Notes `tail` in both slots, durably, and keeps the file open for the next ones.
    pub(super) fn begin(path: &Path, tail: &Tail) -> Result<Self, Error> {
        // Kept from being truncated: until the new slots are down, the old ones must stand.
        let mut options = OpenOptions::new();
        let opened = options.create(true).truncate(false).write(true).open(path);
        let file = Arc::new(opened.map_err(Error::io("opening", path))?);
        let syncing = Syncing::start(Arc::clone(&file))?;
        let mut witness = Self { file, path: path.to_owned(), next_slot: 0, syncing };
        for _ in 0..2 {
            witness.note(tail)?;
            witness.file.sync_all().map_err(Error::io("syncing", path))?;
        }
        sync_dir(path.parent().expect("the witness lies in the journal's directory"))?;
        Ok(witness)
    }

    /// Notes a tail that has become durable.
    ///
    /// # Errors
    /// [`Error::Io`], also where an earlier note could not be synced.
    pub(super) fn note(&mut self, tail: &Tail) -> Result<(), Error> {
        let mut slot = [0; SLOT_BYTES];
        write_tail(KIND, tail, &mut slot);
        seal(&mut slot);
        self.file.write_all_at(&slot, self.next_slot * SLOT_STRIDE).map_err(Error::io("writing", &self.path))?;
        self.next_slot = 1 - self.next_slot;
        self.syncing.dirty.store(true, Ordering::Release);
        if self.syncing.failed.load(Ordering::Acquire) {
            return Err(Error::io("syncing", &self.path)(io::Error::other("an earlier sync failed")));
        }
        Ok(())
    }

    /// Ends with what was noted durable.
    pub(super) fn finish(self) -> Result<(), Error> {
        self.file.sync_data().map_err(Error::io("syncing", &self.path))
    }
}

/// The thread that syncs the witness while it is open.
#[derive(Debug)]
struct Syncing {
    dirty: Arc<AtomicBool>,
    failed: Arc<AtomicBool>,
    // Dropped first, which ends the thread.
    until: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Syncing {
    fn start(file: Arc<File>) -> Result<Self, Error> {
        let (dirty, failed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (until, ended) = bounded(0);
        let (has_news, has_failed) = (Arc::clone(&dirty), Arc::clone(&failed));
        let thread = thread::Builder::new()
            .name("witness".to_owned())
            .spawn(move || sync_now_and_then(&file, &ended, &has_news, &has_failed))
            .map_err(|source| Error::Thread { name: "witness", source })?;
        Ok(Self { dirty, failed, until: Some(until), thread: Some(thread) })
    }
}

impl Drop for Syncing {
    fn drop(&mut self) {
        self.until = None;
        if let Some(thread) = self.thread.take() {
            // It cannot panic, and a drop has nobody to tell.
            let _ = thread.join();
        }
    }
}

fn sync_now_and_then(file: &File, ended: &Receiver<()>, dirty: &AtomicBool, failed: &AtomicBool) {
    while ended.recv_timeout(SYNC_EVERY) == Err(RecvTimeoutError::Timeout) {
        if dirty.swap(false, Ordering::AcqRel) && file.sync_data().is_err() {
            // The next append reports it and fails: a disk that cannot sync this cannot be trusted with the journal.
            failed.store(true, Ordering::Release);
            return;
        }
    }
}
