//! A start: the newest checkpoint that holds, and what the journal has after it.

use std::fmt;

use super::error::Error;
use super::manifest::Manifest;
use super::store::{Listed, Store};
use crate::domain::{Sales, Unfit};
use crate::ids::Seq;
use crate::persist::{self, Read, Tail, replay};

/// A journal's state, and how it was come by.
#[derive(Debug)]
pub struct Recovered {
    /// The state at the journal's end.
    pub sales: Sales,
    /// Where the checkpoint stood that was used; [`Tail::START`] where none was.
    pub from: Tail,
    /// Where the journal ends.
    pub tail: Tail,
    /// The newer checkpoints that could not be used, the newest first. Somebody should look: a disk may be failing.
    pub passed_over: Vec<PassedOver>,
}

/// A checkpoint that could not be used.
#[derive(Debug)]
pub struct PassedOver {
    /// The event at which it stands; `None` where not even their directory could be read.
    pub seq: Option<Seq>,
    /// Why not.
    pub why: Error,
}

impl fmt::Display for PassedOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.seq {
            Some(seq) => write!(f, "the checkpoint at event {seq} cannot be used: {}", self.why),
            None => write!(f, "the checkpoints cannot be read: {}", self.why),
        }
    }
}

/// Why a journal gives no state. No fault of a checkpoint is among them.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// The journal does not add up, or cannot be read.
    #[error(transparent)]
    Journal(#[from] persist::Error),
    /// It is whole and holds an event that cannot be.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// The journal's beginning was dropped, and no checkpoint that can be used stands for it.
    #[error(
        "the journal begins after event {base}, as older generations were dropped, and no checkpoint can be used that \
         stands for what came before{}. Restore the data directory's `checkpoints` from a backup; or the dropped \
         generations, with the file `base` of that time beside them (none, where generation 1 is among them); then start \
         again", passed_over.iter().map(|passed_over| format!("; {passed_over}")).collect::<String>()
    )]
    NoCheckpoint {
        /// The last event that was dropped.
        base: Seq,
        /// Those that are there, the newest first.
        passed_over: Vec<PassedOver>,
    },
}

/// Folds the journal from the newest checkpoint on that holds and is of this journal; where none is, from the beginning,
/// if that is still there.
/// Reads only. That the journal itself is whole is for who opened it.
///
/// # Errors
/// See [`Failed`]; both were found without a checkpoint's help, or do not depend on one.
pub fn recover<R: Read + ?Sized>(store: &Store, journal: &R) -> Result<Recovered, Failed> {
    let mut passed_over = Vec::new();
    let listed = store.list().unwrap_or_else(|why| {
        passed_over.push(PassedOver { seq: None, why });
        Vec::new()
    });
    for listed in listed {
        let seq = Some(listed.seq);
        match from_one(store, journal, listed.manifest)? {
            Ok((from, tail, sales)) => return Ok(Recovered { sales, from, tail, passed_over }),
            Err(why) => passed_over.push(PassedOver { seq, why }),
        }
    }
    match journal.base()?.tail.seq {
        Seq(0) => {}
        base => return Err(Failed::NoCheckpoint { base, passed_over }),
    }
    let (tail, sales) = fold(journal, Tail::START, Sales::default())?;
    Ok(Recovered { sales, from: Tail::START, tail, passed_over })
}

/// The state at the journal's end, from a checkpoint on; the inner error is the checkpoint's.
fn from_one<R: Read + ?Sized>(
    store: &Store,
    journal: &R,
    manifest: Result<Manifest, Error>,
) -> Result<Result<(Tail, Tail, Sales), Error>, Failed> {
    let manifest = match manifest {
        Ok(manifest) => manifest,
        Err(why) => return Ok(Err(why)),
    };
    let from = manifest.tail;
    let sales = match check_place(&manifest, journal)?.and_then(|()| store.load(&manifest, None, || Ok(()))) {
        Ok(sales) => sales,
        Err(why) => return Ok(Err(why)),
    };
    match fold(journal, from, sales) {
        Ok((tail, sales)) => Ok(Ok((from, tail, sales))),
        // A checkpoint of a state that never was, perhaps. If it is the journal's fault, an older one tells so too.
        Err(Failed::Unfit(unfit)) => Ok(Err(unfit.into())),
        Err(error) => Err(error),
    }
}

/// Reads a checkpoint through: its manifest, its place in the journal, its pieces, and the state that these make.
///
/// # Errors
/// Why it cannot be used.
pub fn check<R: Read + ?Sized>(store: &Store, journal: &R, listed: Listed) -> Result<Manifest, PassedOver> {
    let seq = Some(listed.seq);
    let checked = listed.manifest.and_then(|manifest| {
        check_place(&manifest, journal)??;
        store.load(&manifest, None, || Ok(()))?;
        Ok(manifest)
    });
    checked.map_err(|why| PassedOver { seq, why })
}

/// Whether the journal passes through a checkpoint's tail; the outer error is the journal's own.
pub(super) fn check_place<R: Read + ?Sized>(
    manifest: &Manifest,
    journal: &R,
) -> Result<Result<(), Error>, persist::Error> {
    let seq = manifest.tail.seq;
    match replay(journal, manifest.tail, seq, |_, _| {}) {
        Ok(_) => Ok(Ok(())),
        Err(persist::Error::TailLost { .. }) => Ok(Err(Error::Ahead { seq })),
        Err(persist::Error::Forked { .. }) => Ok(Err(Error::Foreign { seq })),
        Err(persist::Error::Dropped { base, .. }) => Ok(Err(Error::BeforeBase { seq, base })),
        Err(error) => Err(error),
    }
}

/// Takes every event after `after` in; gives the tail reached.
fn fold<R: Read + ?Sized>(journal: &R, after: Tail, mut sales: Sales) -> Result<(Tail, Sales), Failed> {
    let mut unfit = None;
    let tail = replay(journal, after, Seq(u64::MAX), |seq, entry| {
        if unfit.is_none() {
            unfit = sales.take(seq, &entry).err();
        }
    })?;
    unfit.map_or(Ok((tail, sales)), |unfit| Err(unfit.into()))
}
