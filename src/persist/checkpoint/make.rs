//! Making a checkpoint: from the one before it and the journal's events since, in passes, so that no more of the state is
//! in memory at a time than the budget allows.

use std::cell::Cell;
use std::ops::{ControlFlow, RangeInclusive};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::error::Error;
use super::manifest::{Manifest, PieceEntry};
use super::plan::{Plan, fits_one_pass, one_pass};
use super::recover::{PassedOver, check_place};
use super::store::Store;
use crate::domain::image::{Encoder, Piece, StateHash};
use crate::domain::{Entry, Sales};
use crate::ids::{Seq, ShardId};
use crate::persist::journal::Each;
use crate::persist::{self, Base, Read, Tail, free_bytes, replay, unsealed_bytes};

/// A pause comes after so much work at the earliest: a sleep is never shorter than the timer's grain.
const WORK_MIN: Duration = Duration::from_millis(1);
/// No pause is longer, so that a stop waits for none.
const PAUSE_MAX: Duration = Duration::from_millis(200);
/// How much longer the pauses between syncs are: the journal's own syncs wait for these, while other work only takes
/// processor time.
const AFTER_A_SYNC: u32 = 12;

/// How much the making of a checkpoint may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// What of the state may be in memory at a time, or one activity where that is more; off by what one piece holds that
    /// small activities share. Beside it stand pieces of at most 4 MiB, and the ledger: some hundred bytes for each
    /// activity that was ever defined, and eighteen for each payment of those that have left.
    pub memory_bytes: u64,
    /// Which share of the time it may work, in percent; for the rest of it the thread sleeps.
    pub share_percent: u32,
    /// What must stay free on the disk beside as much as the journal takes: below that, new orders are refused.
    pub min_free_bytes: u64,
}

/// A checkpoint in the making.
#[derive(Debug)]
pub struct Making<'a, R> {
    /// Where it goes.
    store: &'a Store,
    /// What it is made of.
    journal: &'a R,
    /// How much it may take.
    limits: Limits,
    /// Looked at between slices: it ends with [`Error::Stopped`] once this is set.
    stop: &'a AtomicBool,
    /// Since when it has worked without a pause.
    since: Cell<Instant>,
}

/// A checkpoint that was made.
#[derive(Debug)]
pub struct Made {
    /// Where it stands.
    pub tail: Tail,
    /// Its state's hash.
    pub state: StateHash,
    /// The checkpoint that it was made from; [`Tail::START`] where there was none.
    pub from: Tail,
    /// Checkpoints that could not be used for that.
    pub passed_over: Vec<PassedOver>,
    /// Orders in it.
    pub orders: u64,
    /// Pieces in it, and how many of them are new.
    pub pieces: (usize, usize),
    /// Bytes of the new pieces.
    pub written_bytes: u64,
    /// In how many passes it was made.
    pub passes: usize,
}

impl<'a, R: Read> Making<'a, R> {
    /// Nothing is done yet.
    pub fn new(store: &'a Store, journal: &'a R, limits: Limits, stop: &'a AtomicBool) -> Self {
        Self { store, journal, limits, stop, since: Cell::new(Instant::now()) }
    }

    /// Makes the checkpoint at `to`, where one of the journal's durable records ends, from the newest one before that
    /// holds. On `Ok` it survives a power cut, and the newest two that hold are kept; on an error, and wherever it is cut
    /// short, those before stand as they were.
    ///
    /// # Errors
    /// What it failed of; see [`Error`].
    pub fn run(&self, to: Tail) -> Result<Made, Error> {
        let made = self.make(to);
        if let Err(error) = &made
            && !matches!(error, Error::Stopped)
        {
            // What was written for nothing takes room from the journal. Where even this fails, the next run does it; the
            // error that counts is the first.
            let _cleared = self.clear();
        }
        made
    }

    fn make(&self, to: Tail) -> Result<Made, Error> {
        let mut passed_over = Vec::new();
        for listed in self.store.list()? {
            let seq = Some(listed.seq);
            let made = match listed.manifest {
                Ok(manifest) if manifest.tail.seq > to.seq => Err(Error::Ahead { seq: manifest.tail.seq }),
                Ok(manifest) => self.make_on(&manifest, to),
                Err(why) => Err(why),
            };
            match made {
                Err(why) if why.is_of_checkpoint() => passed_over.push(PassedOver { seq, why }),
                made => return made.map(|made| Made { passed_over, ..made }),
            }
        }
        self.make_from(None, to).map(|made| Made { passed_over, ..made })
    }

    fn make_on(&self, base: &Manifest, to: Tail) -> Result<Made, Error> {
        check_place(base, self.journal)??;
        self.make_from(Some(base), to)
    }

    fn make_from(&self, base: Option<&Manifest>, to: Tail) -> Result<Made, Error> {
        let from = base.map_or(Tail::START, |manifest| manifest.tail);
        let passes = self.plan(base, to)?;
        self.store.make_dirs()?;
        let kept = self.kept_bytes()?;
        let (new_pieces, written_bytes) = (Cell::new(0), Cell::new(0));
        let mut entries = Vec::new();
        let mut encoder = Encoder::new(|piece: Piece<'_>| {
            self.go_on()?;
            self.check_room(kept + piece.bytes.len() as u64)?;
            let entry = PieceEntry::of(&piece);
            if self.store.put_piece(&entry, piece.bytes, || self.pause(AFTER_A_SYNC))? {
                new_pieces.set(new_pieces.get() + 1);
                written_bytes.set(written_bytes.get() + u64::from(entry.bytes));
            }
            entries.push(entry);
            Ok::<(), Error>(())
        });
        let mut ledger = Sales::default();
        for shards in &passes {
            let part = self.fold(base, shards, to)?;
            encoder.shards(&part)?;
            ledger.absorb_ledger(part);
        }
        encoder.finish(&ledger)?;
        drop(ledger);
        self.store.sync_pieces()?;
        let manifest = Manifest::new(to, entries);
        self.verify(&manifest, &passes)?;
        self.store.put_manifest(&manifest)?;
        self.keep_two(&manifest, base)?;
        Ok(Made {
            tail: to,
            state: manifest.state,
            from,
            passed_over: Vec::new(),
            orders: manifest.orders(),
            pieces: (manifest.pieces.len(), new_pieces.get()),
            written_bytes: written_bytes.get(),
            passes: passes.len(),
        })
    }

    fn plan(&self, base: Option<&Manifest>, to: Tail) -> Result<Vec<RangeInclusive<ShardId>>, Error> {
        let from = base.map_or(Tail::START, |manifest| manifest.tail);
        let budget = self.limits.memory_bytes;
        if fits_one_pass(base, to.seq.0 - from.seq.0, budget) {
            return Ok(one_pass());
        }
        let mut plan = Plan::default();
        if let Some(manifest) = base {
            plan.base(manifest, &self.store.load_ledger(manifest)?);
        }
        self.replay(from, to, |_, entry| plan.event(&entry))?;
        Ok(plan.passes(budget))
    }

    /// The state of some shards at `to`.
    fn fold(&self, base: Option<&Manifest>, shards: &RangeInclusive<ShardId>, to: Tail) -> Result<Sales, Error> {
        let (from, mut part) = match base {
            Some(manifest) => (manifest.tail, self.store.load(manifest, Some(shards), || self.go_on())?),
            None => (Tail::START, Sales::default()),
        };
        let mut unfit = None;
        self.replay(from, to, |seq, entry| {
            if unfit.is_none() && shards.contains(&entry.shard) {
                unfit = part.take(seq, &entry).err();
            }
        })?;
        unfit.map_or(Ok(part), |unfit| Err(unfit.into()))
    }

    fn replay(&self, from: Tail, to: Tail, each: impl FnMut(Seq, Entry)) -> Result<(), Error> {
        let reached = replay(&Paced(self), from, to.seq, each);
        // A journal that seemed to end is not told of.
        self.go_on()?;
        let reached = reached?;
        if reached == to { Ok(()) } else { Err(Error::NotReached { wanted: to.seq, reached: reached.seq }) }
    }

    /// Reads all of it back from the disk and encodes what was read: the same state has the same hash.
    fn verify(&self, manifest: &Manifest, passes: &[RangeInclusive<ShardId>]) -> Result<(), Error> {
        let mut hashes = Vec::with_capacity(manifest.pieces.len());
        let mut encoder = Encoder::new(|piece: Piece<'_>| {
            self.go_on()?;
            hashes.push(PieceEntry::of(&piece).hash);
            Ok::<(), Error>(())
        });
        let mut ledger = Sales::default();
        for shards in passes {
            let part = self.store.load(manifest, Some(shards), || self.go_on())?;
            encoder.shards(&part)?;
            ledger.absorb_ledger(part);
        }
        encoder.finish(&ledger)?;
        if StateHash::over(&hashes) == manifest.state { Ok(()) } else { Err(Error::Differs) }
    }

    /// Keeps the new checkpoint, and the one to fall back to: the one that it was made from, or else the newest other one
    /// that holds.
    fn keep_two(&self, new: &Manifest, base: Option<&Manifest>) -> Result<(), Error> {
        let listed = self.store.list()?;
        let mut second = base.filter(|base| base.tail.seq < new.tail.seq);
        for other in listed.iter().filter_map(|listed| listed.manifest.as_ref().ok()) {
            let may_do = second.is_none() && other.tail.seq < new.tail.seq;
            if may_do && check_place(other, self.journal)?.is_ok() && self.store.holds(other, || self.go_on())? {
                second = Some(other);
            }
        }
        let keep: Vec<&Manifest> = [Some(new), second].into_iter().flatten().collect();
        self.store.collect(&keep)
    }

    /// Removes what no checkpoint names.
    fn clear(&self) -> Result<(), Error> {
        let listed = self.store.list()?;
        let unread = |listed: &super::Listed| matches!(listed.manifest, Err(Error::Persist(_)));
        // One that cannot be read just now may name any piece.
        if listed.iter().any(unread) {
            return Ok(());
        }
        let keep: Vec<&Manifest> = listed.iter().filter_map(|listed| listed.manifest.as_ref().ok()).collect();
        self.store.collect(&keep)
    }

    /// What must stay free: a start after a kill makes a copy of the journal.
    fn kept_bytes(&self) -> Result<u64, Error> {
        let data_dir = self.store.data_dir();
        let journal = unsealed_bytes(data_dir).map_err(persist::Error::io("measuring", data_dir))?;
        Ok(self.limits.min_free_bytes.saturating_add(journal))
    }

    fn check_room(&self, kept: u64) -> Result<(), Error> {
        let data_dir = self.store.data_dir();
        let free = free_bytes(data_dir).map_err(persist::Error::io("measuring", data_dir))?;
        if free >= kept { Ok(()) } else { Err(Error::NoRoom { free, kept }) }
    }

    /// Called every few milliseconds of work: pauses as the share demands, and says whether to stop.
    fn go_on(&self) -> Result<(), Error> {
        self.pause(1)
    }

    /// Pauses `times` as long as after other work.
    fn pause(&self, times: u32) -> Result<(), Error> {
        let worked = self.since.get().elapsed();
        let share = self.limits.share_percent.clamp(1, 100);
        if worked >= WORK_MIN && share < 100 {
            thread::sleep((worked * (100 - share) / share * times).min(PAUSE_MAX));
            self.since.set(Instant::now());
        }
        if self.stop.load(Ordering::Relaxed) { Err(Error::Stopped) } else { Ok(()) }
    }
}

/// The journal of a making, read with its pauses; it seems to end when the making is to stop.
struct Paced<'a, R>(&'a Making<'a, R>);

impl<R: Read> Read for Paced<'_, R> {
    fn read(&self, from: Seq, each: &mut Each<'_>) -> Result<(), persist::Error> {
        self.0.journal.read(from, &mut |seq, bytes| match self.0.go_on() {
            Ok(()) => each(seq, bytes),
            Err(_) => Ok(ControlFlow::Break(())),
        })
    }

    fn base(&self) -> Result<Base, persist::Error> {
        self.0.journal.base()
    }
}
