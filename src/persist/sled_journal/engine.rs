//! sled as this journal uses it: how it is set up, opened in spite of itself, and read. Facts and lines are of 0.34.7.

use std::fs::{self, File, OpenOptions};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use sled::Db;

use super::layout::{children, make_dir};
use crate::ids::Seq;
use crate::persist::error::is_lack_of_room;
use crate::persist::journal::{Each, Read};
use crate::persist::writer::panic_message;
use crate::persist::{Error, Record, Tail};

/// The largest that sled takes. A quarter of it is the largest item that stays in the log: see
/// [`RECORD_BYTES_MAX`](crate::persist::RECORD_BYTES_MAX).
const SEGMENT_BYTES: usize = 16 << 20;
/// Nothing that was written is read again while the server runs. A small cache reuses its memory, where a large one takes
/// fresh pages for every group, and clearing those was a third of an order's processor time: see docs/adr/0002.
const CACHE_BYTES: u64 = 8 << 20;
/// How long threads of sled may hold on to its file after it was dropped; usually it is no time at all.
const LET_GO_WAIT_MAX: Duration = Duration::from_secs(5);

/// An open generation.
#[derive(Clone, Debug)]
pub(super) struct Engine {
    db: Arc<Db>,
    /// Our own descriptor of sled's file, for what sled leaves undone.
    file: Arc<File>,
    dir: PathBuf,
    blobs_untouched: SystemTime,
}

impl Engine {
    /// Opens the generation in `dir`, making it where it is missing.
    ///
    /// # Errors
    /// [`Error::Engine`] where sled fails or panics, [`Error::Io`].
    pub(super) fn open(dir: &Path) -> Result<Self, Error> {
        make_dir(dir)?;
        delete_unfinished_snapshots(dir)?;
        // Before sled opens it: an error of writing is reported once to each descriptor that was open then.
        let path = dir.join("db");
        let mut options = OpenOptions::new();
        let opened = options.create(true).truncate(false).read(true).write(true).open(&path);
        let file = Arc::new(opened.map_err(Error::io("opening", &path))?);
        wait_until_let_go(&file, "opening", dir)?;
        let config = sled::Config::new()
            .path(dir)
            .segment_size(SEGMENT_BYTES)
            .cache_capacity(CACHE_BYTES)
            // No thread that rewrites and frees segments behind our syncs; space comes back with the generation.
            .flush_every_ms(None);
        let db = guarded("opening", dir, || config.open())?;
        let mut engine = Self { db: Arc::new(db), file, dir: dir.to_owned(), blobs_untouched: SystemTime::UNIX_EPOCH };
        engine.check_no_blobs()?;
        engine.blobs_untouched = engine.blobs_touched()?;
        Ok(engine)
    }

    /// Puts a record into sled's log and through to the disk.
    pub(super) fn put(&self, record: &Record<'_>) -> Result<(), Error> {
        let failed = |error: sled::Error| self.failed("writing", &error);
        self.db.insert(record.first().0.to_be_bytes(), record.bytes()).map_err(failed)?;
        self.db.flush().map_err(failed)?;
        self.sync_data()?;
        // One look at the directory's time costs no descriptor, of which a crowd's connections may have left none.
        if self.blobs_touched()? == self.blobs_untouched { Ok(()) } else { self.check_no_blobs() }
    }

    /// When something was last made or removed among the blobs.
    fn blobs_touched(&self) -> Result<SystemTime, Error> {
        let path = self.dir.join("blobs");
        fs::metadata(&path).and_then(|blobs| blobs.modified()).map_err(Error::io("looking at", &path))
    }

    /// `flush` ends in `sync_file_range`, which neither writes the file's metadata nor empties the drive's cache; only
    /// this does.
    fn sync_data(&self) -> Result<(), Error> {
        self.file.sync_data().map_err(|error| Error::io("syncing", &self.dir.join("db"))(error))
    }

    /// What lies in a blob file was not synced by the sync above.
    pub(super) fn check_no_blobs(&self) -> Result<(), Error> {
        let path = self.dir.join("blobs");
        let mut blobs = fs::read_dir(&path).map_err(Error::io("listing", &path))?;
        if blobs.next().is_some() { Err(Error::Blobs { path }) } else { Ok(()) }
    }

    /// The tail, by the last record's own account.
    pub(super) fn last(&self) -> Result<Tail, Error> {
        let Some((key, bytes)) = guarded("reading", &self.dir, || self.db.last())? else { return Ok(Tail::START) };
        let record = seq_of(&self.dir, &key)?;
        Record::decode(&bytes).map(|record| record.tail()).map_err(|fault| Error::Damaged { record, fault })
    }

    /// A reader that does not keep the engine open.
    pub(super) fn reader(&self) -> SledReader {
        SledReader { db: Arc::downgrade(&self.db), dir: self.dir.clone() }
    }

    /// Closes sled, and waits until it has let go of its file: threads of its pool, or a reader, may still be at it.
    pub(super) fn close(self) -> Result<(), Error> {
        let Self { db, file, dir, .. } = self;
        drop(db);
        wait_until_let_go(&file, "closing", &dir)
    }

    fn failed(&self, doing: &'static str, error: &sled::Error) -> Error {
        Error::Engine { doing, path: self.dir.clone(), message: error.to_string() }
    }
}

/// Reads a [`SledJournal`](super::SledJournal), also while it is written; after its close there is nothing to read.
#[derive(Clone, Debug)]
pub struct SledReader {
    db: Weak<Db>,
    dir: PathBuf,
}

impl Read for SledReader {
    fn read(&self, from: Seq, each: &mut Each<'_>) -> Result<(), Error> {
        let db = self.db.upgrade().ok_or(Error::Closed)?;
        let after = Seq(from.0.saturating_add(1)).0.to_be_bytes();
        let holder = guarded("reading", &self.dir, || db.get_lt(after))?;
        let mut records = match holder {
            Some((key, _)) => db.range(key..),
            None => db.range::<&[u8], _>(..),
        };
        let mut reached = Seq(0);
        loop {
            let next = guarded("reading", &self.dir, || records.next().transpose());
            let Some((key, bytes)) = next.map_err(|error| after_record(error, reached))? else { return Ok(()) };
            reached = seq_of(&self.dir, &key)?;
            if each(reached, &bytes)?.is_break() {
                return Ok(());
            }
        }
    }
}

/// Names the record that was read last, as the one that cannot be read has no name yet.
fn after_record(error: Error, reached: Seq) -> Error {
    match error {
        Error::Engine { doing, path, message } => {
            Error::Engine { doing, path, message: format!("{message}, after the record at event {reached}") }
        }
        other => other,
    }
}

fn seq_of(dir: &Path, key: &[u8]) -> Result<Seq, Error> {
    let message = || format!("a record under a key of {} bytes", key.len());
    let foreign = |_| Error::Engine { doing: "reading", path: dir.to_owned(), message: message() };
    key.try_into().map(|key| Seq(u64::from_be_bytes(key))).map_err(foreign)
}

/// sled locks its file while it is open. Dropped, it may keep it for a moment: threads of its pool finish what they do.
fn wait_until_let_go(file: &File, doing: &'static str, dir: &Path) -> Result<(), Error> {
    let begun = Instant::now();
    while file.try_lock().is_err() {
        if begun.elapsed() > LET_GO_WAIT_MAX {
            let message = "its file is in use".to_owned();
            return Err(Error::Engine { doing, path: dir.to_owned(), message });
        }
        thread::sleep(Duration::from_millis(1));
    }
    file.unlock().map_err(Error::io("unlocking", dir))
}

/// A kill while sled opens can leave `snap.*.generating`, which the next open takes for a snapshot and fails over. Such
/// a file is always unfinished: sled renames it when it is done.
fn delete_unfinished_snapshots(dir: &Path) -> Result<(), Error> {
    delete_files(dir, |name| name.ends_with(".generating"))
}

/// Deletes sled's snapshots, so that it opens by its log alone.
pub(super) fn delete_snapshots(dir: &Path) -> Result<(), Error> {
    delete_files(dir, |name| name.starts_with("snap."))
}

fn delete_files(dir: &Path, is_one: impl Fn(&str) -> bool) -> Result<(), Error> {
    for path in children(dir)? {
        if path.file_name().and_then(|name| name.to_str()).is_some_and(&is_one) {
            fs::remove_file(&path).map_err(Error::io("removing", &path))?;
        }
    }
    Ok(())
}

/// Runs a call into sled, which on damaged files may also panic: it asserts what it believes of them. Nothing of ours
/// is half changed by then, and what failed is not used again.
fn guarded<T>(doing: &'static str, dir: &Path, call: impl FnOnce() -> sled::Result<T>) -> Result<T, Error> {
    let message = match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => return Ok(value),
        Ok(Err(sled::Error::Io(source))) if is_lack_of_room(&source) => return Err(Error::io(doing, dir)(source)),
        Ok(Err(error)) => error.to_string(),
        Err(panic) => format!("it panicked: {}", panic_message(panic.as_ref())),
    };
    Err(Error::Engine { doing, path: dir.to_owned(), message })
}
