//! The journal on sled 0.34.7, with a guard for each thing that sled does not promise.
//!
//! | sled | guard | where |
//! |---|---|---|
//! | `flush` does not fsync | our own descriptor's `sync_data` before every acknowledgement | `engine` |
//! | a new directory may vanish | its parent is synced | `layout` |
//! | large values go to unsynced blob files | bounded records, large segments, `blobs/` stays empty | `engine` |
//! | opening writes over what follows a damaged record | a copy aside after an unclean stop, a digest after a clean one | `recover`, `clean` |
//! | the tail can vanish without a trace | the witness | `witness` |
//! | an unfinished snapshot file stops the next open | it is deleted | `engine` |
//! | its settings file is written in two steps, and half of it never opens | made under another name, then renamed | `next` |
//! | a background thread rewrites segments | it is off | `engine` |
//! | opening takes longer the more there is; space is not given back | generations of bounded size, sealed when full | `next`, `sealer` |
//!
//! ```text
//!  append ──▶ live generation ──full──▶ next one, made ahead ──▶ ...
//!                                │
//!                                └──▶ sealer: one flat read-only file in its place
//!  readers ──▶ chain: sealed, sealed, in sled, live
//!                     └──▶ dropped, the oldest first, when it is asked for
//! ```

mod base;
mod chain;
mod clean;
mod copy;
mod drop;
mod engine;
mod found;
mod layout;
mod next;
mod note;
mod open_all;
mod recover;
mod sealed;
mod sealer;
mod witness;

use std::mem;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use self::base::Beginning;
use self::chain::{Chain, Form, Generation};
pub use self::chain::{JournalReader, SealTrouble};
use self::clean::CleanMark;
pub use self::copy::{JournalCopy, open_copy_read_only};
pub use self::drop::Dropped;
pub use self::found::unsealed_bytes;
use self::layout::{Layout, sync_tree};
use self::next::Next;
use self::open_all::Opened;
use self::sealed::Sealed;
use self::sealer::{Full, Sealer};
use self::witness::Witness;
use super::journal::{Base, Each, Journal, Read, check_tail};
use super::{Error, Record, Tail};
use crate::ids::Seq;

/// How a journal is cut into generations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generations {
    /// The bytes of records after which a fresh generation begins. A generation holds at least one record, however large.
    pub max_bytes: u64,
    /// How long after a failure a generation is tried to be sealed again; twice as long after each further one, up to an
    /// hour.
    pub seal_retry: Duration,
}

impl Default for Generations {
    /// 256 MiB, and ten seconds.
    fn default() -> Self {
        Self { max_bytes: 256 << 20, seal_retry: Duration::from_secs(10) }
    }
}

/// Opens the journal in `<data_dir>/journal/`, making it where there is none. The caller holds the directory's lock
/// (J4). On return the generations in sled have been checked from end to end where the last stop was unclean, those that
/// are sealed by their ends, and what was recovered is durable; records are checked as they are replayed.
///
/// # Errors
/// [`Error::TailLost`] or [`Error::Forked`] where events are missing that were durable (J3); [`Error::WitnessLost`];
/// [`Error::Sealed`], [`Error::GenerationAbsent`], [`Error::BaseLost`] and [`Error::ForeignName`] for generations that cannot be a journal;
/// [`Error::Refused`] around what does not add up after an unclean stop, with a copy kept of how it was found; errors
/// of the engine and the file system.
pub fn open(data_dir: &Path, generations: &Generations) -> Result<SledJournal, Error> {
    recover::open(&Layout::of(data_dir), generations)
}

/// The journal on sled, generation by generation. It survives `kill -9` and a power cut up to the last append that
/// returned `Ok`, wherever that falls in going on in a fresh generation or in sealing a full one.
// Dropped in this order: the threads end before the generation that they work beside is closed.
#[derive(Debug)]
pub struct SledJournal {
    next: Next,
    sealer: Sealer,
    chain: Arc<Chain>,
    live: Opened,
    witness: Witness,
    layout: Layout,
    max_bytes: u64,
    /// How large the live generation must be before making the next one is tried again.
    next_from_bytes: u64,
    failed: bool,
}

impl SledJournal {
    /// Begins on generations that have been found whole and in order: those that are sealed, then those in sled, of
    /// which the last one is live.
    fn begin(
        layout: Layout,
        generations: &Generations,
        beginning: Beginning,
        sealed: Vec<Sealed>,
        mut opened: Vec<Opened>,
        witness: Witness,
    ) -> Result<Self, Error> {
        let chain = Arc::new(chain_of(&layout, beginning, sealed, &opened));
        let live = opened.pop().expect("one generation is always in sled");
        let next = Next::start(&layout)?;
        let sealer = Sealer::start(&layout, &chain, generations.seal_retry)?;
        for full in opened {
            sealer.seal(full.into());
        }
        let max_bytes = generations.max_bytes;
        Ok(Self { next, sealer, chain, live, witness, layout, max_bytes, next_from_bytes: 0, failed: false })
    }

    /// Where the last sealed generation ends. See [`JournalReader::sealed_tail`].
    #[must_use]
    pub fn sealed_tail(&self) -> Tail {
        self.chain.sealed_tail()
    }

    fn write(&mut self, record: &Record<'_>) -> Result<(), Error> {
        let bytes = record.bytes().len() as u64;
        let is_full = self.live.bytes > 0 && self.live.bytes.saturating_add(bytes) > self.max_bytes;
        if is_full && self.live.bytes >= self.next_from_bytes {
            self.go_on_in_next();
        }
        self.live.engine.put(record)?;
        let tail = record.tail();
        // After the record is durable and before anyone is told: so the witness is never ahead of the journal, and
        // after a kill never behind what was acknowledged.
        self.witness.note(&tail)?;
        self.live.end = tail;
        self.live.bytes += bytes;
        if self.live.bytes >= self.next_from_bytes.max(self.max_bytes - self.max_bytes / 4) {
            self.next.ask(self.live.number + 1);
        }
        Ok(())
    }

    /// Makes the next generation the live one. It stands on the disk already; nothing is written here, and where it was
    /// made in time nothing is waited for. Where it cannot be made, the live one takes more than it should, and the next
    /// is tried again a quarter later: too little room for a directory need not stop what has room for a record.
    fn go_on_in_next(&mut self) {
        let (number, tail) = (self.live.number + 1, self.live.end);
        let engine = match self.next.take(number) {
            Ok(engine) => engine,
            Err(error) => {
                let path = self.layout.generation(number);
                self.chain.set_trouble(Some(SealTrouble { path, message: error.to_string() }));
                self.next_from_bytes = self.live.bytes.saturating_add((self.max_bytes / 4).max(1));
                return;
            }
        };
        let form = Form::InSled(engine.reader());
        let fresh = Opened { number, engine, base: tail, end: tail, bytes: 0 };
        let full = mem::replace(&mut self.live, fresh);
        self.next_from_bytes = 0;
        self.chain.push(Generation { number, base: tail, form });
        self.sealer.seal(full.into());
    }
}

/// The generations as their readers see them.
fn chain_of(layout: &Layout, beginning: Beginning, sealed: Vec<Sealed>, opened: &[Opened]) -> Chain {
    let sealed = (beginning.first..).zip(sealed).map(|(number, sealed)| Generation {
        number,
        base: sealed.base(),
        form: Form::Sealed(Arc::new(sealed)),
    });
    let in_sled = opened.iter().map(|opened| Generation {
        number: opened.number,
        base: opened.base,
        form: Form::InSled(opened.engine.reader()),
    });
    Chain::of(layout.clone(), beginning, sealed.chain(in_sled).collect())
}

impl From<Opened> for Full {
    fn from(Opened { number, engine, base, end, .. }: Opened) -> Self {
        Self { number, engine, base, end }
    }
}

impl Journal for SledJournal {
    type Reader = JournalReader;

    fn tail(&self) -> Tail {
        self.live.end
    }

    fn append(&mut self, expected: &Tail, record: &Record<'_>) -> Result<Tail, Error> {
        // Failed until proven durable, so that an error and a panic both close the journal to appends for good.
        if mem::replace(&mut self.failed, true) {
            return Err(Error::Failed);
        }
        check_tail(&self.live.end, expected, record)?;
        self.write(record)?;
        self.failed = false;
        Ok(self.live.end)
    }

    fn reader(&self) -> JournalReader {
        JournalReader { chain: Arc::downgrade(&self.chain) }
    }

    /// Leaves the mark of a clean stop, with the digest of what is not sealed: takes as long as reading that once, after
    /// at most two seconds for what is being sealed. Generations that could not be sealed are no reason to fail.
    fn close(self) -> Result<(), Error> {
        if self.failed {
            return Err(Error::Failed);
        }
        let Self { next, sealer, chain, live, witness, layout, .. } = self;
        next.end(live.number + 1)?;
        let (tail, mut dirs) = (live.end, Vec::new());
        let unsealed = sealer.finish().ok_or_else(|| Error::Engine {
            doing: "sealing",
            path: layout.journal.clone(),
            message: "it does not end".to_owned(),
        })?;
        for full in unsealed.into_iter().chain([live.into()]) {
            dirs.push(layout.generation(full.number));
            full.engine.close()?;
        }
        drop(chain);
        witness.finish()?;
        dirs.iter().try_for_each(|dir| sync_tree(dir))?;
        CleanMark::leave(&layout, &dirs, tail)
    }
}

impl Read for SledJournal {
    fn read(&self, from: Seq, each: &mut Each<'_>) -> Result<(), Error> {
        self.reader().read(from, each)
    }

    fn base(&self) -> Result<Base, Error> {
        self.reader().base()
    }
}
