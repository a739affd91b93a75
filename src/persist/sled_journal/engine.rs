//! sled as this journal uses it: how it is set up, opened in spite of itself, and read. Facts and lines are of 0.34.7.

use std::fs::{self, File, OpenOptions};
use std::ops::{Bound, ControlFlow};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use sled::{Db, IVec};

use super::chain::At;
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
/// How much is read at a time: enough that finding the place again costs nothing, little enough that nobody waits long
/// for sled to be let go of.
const BATCH_BYTES: usize = 1 << 20;
/// What a record counts in a batch beside its bytes.
const RECORD_COST_BYTES: usize = 64;
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

    /// What the first record follows and where the last one leads, by their own account; `None` where there is none.
    pub(super) fn ends(&self) -> Result<Option<(Tail, Tail)>, Error> {
        let first = guarded("reading", &self.dir, || self.db.first())?;
        let last = guarded("reading", &self.dir, || self.db.last())?;
        let Some(((first_key, first), (last_key, last))) = first.zip(last) else { return Ok(None) };
        let decoded = |key: &[u8], bytes| -> Result<(Tail, Tail), Error> {
            let record = seq_of(&self.dir, key)?;
            let decoded = Record::decode(bytes).map_err(|fault| Error::Damaged { record, fault })?;
            Ok((decoded.follows(), decoded.tail()))
        };
        Ok(Some((decoded(&first_key, &first)?.0, decoded(&last_key, &last)?.1)))
    }

    /// The bytes of all its records.
    pub(super) fn record_bytes(&self) -> Result<u64, Error> {
        let mut sum = 0;
        self.reader().read(Seq(0), &mut |_, bytes| {
            sum += bytes.len() as u64;
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(sum)
    }

    /// A reader that does not keep the engine open.
    pub(super) fn reader(&self) -> EngineReader {
        EngineReader { db: Arc::downgrade(&self.db), dir: self.dir.clone() }
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

/// Reads one generation in sled. It does not keep sled open but for a moment at a time, so that a generation can be
/// closed while it is read.
#[derive(Clone, Debug)]
pub(super) struct EngineReader {
    db: Weak<Db>,
    dir: PathBuf,
}

/// Some records that follow each other.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub records: Vec<(Seq, IVec)>,
    /// Why there are no more than these.
    pub error: Option<Error>,
}

impl EngineReader {
    /// The records from `at` on, as many as make a good piece; none where there are none. `None` where sled was closed.
    pub(super) fn batch(&self, at: At) -> Result<Option<Batch>, Error> {
        let Some(db) = self.db.upgrade() else { return Ok(None) };
        let mut records = match at {
            At::After(seq) => db.range((Bound::Excluded(seq.0.to_be_bytes()), Bound::Unbounded)),
            At::Holding(seq) => {
                let after = seq.0.saturating_add(1).to_be_bytes();
                match guarded("reading", &self.dir, || db.get_lt(after))? {
                    Some((key, _)) => db.range(key..),
                    None => db.range::<&[u8], _>(..),
                }
            }
        };
        let (mut batch, mut bytes) = (Batch::default(), 0);
        let mut reached = if let At::After(seq) = at { seq } else { Seq(0) };
        while bytes < BATCH_BYTES {
            let next = guarded("reading", &self.dir, || records.next().transpose())
                .and_then(|next| next.map(|(key, value)| Ok((seq_of(&self.dir, &key)?, value))).transpose());
            match next {
                Ok(Some((seq, value))) => {
                    bytes += value.len() + RECORD_COST_BYTES;
                    reached = seq;
                    batch.records.push((seq, value));
                }
                Ok(None) => break,
                Err(error) => {
                    batch.error = Some(after_record(error, reached));
                    break;
                }
            }
        }
        Ok(Some(batch))
    }
}

impl Read for EngineReader {
    fn read(&self, from: Seq, each: &mut Each<'_>) -> Result<(), Error> {
        let mut at = At::Holding(from);
        loop {
            let batch = self.batch(at)?.ok_or(Error::Closed)?;
            let is_last = batch.records.is_empty();
            for (seq, bytes) in batch.records {
                if each(seq, &bytes)?.is_break() {
                    return Ok(());
                }
                at = At::After(seq);
            }
            match batch.error {
                Some(error) => return Err(error),
                None if is_last => return Ok(()),
                None => {}
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
