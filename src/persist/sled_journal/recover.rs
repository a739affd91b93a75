//! Opening: from whatever the last stop left to a journal that adds up and is durable, or to a refusal that destroys
//! nothing.
//!
//! ```text
//!  clean mark holds ─────────────────────────────▶ open, tail = mark's ───────┐
//!  no clean mark ──▶ set aside, copy ──▶ open the copy, verify all ──ok──▶ drop what is aside ─┴▶ note the tail, ready
//!  it is aside already ──▶ open, verify all ──ok──────────▲ │ no
//!                            └─no─▶ copy it once more ──────┘ └▶ Refused: says what, keeps what is aside
//! ```
//!
//! The files that the stop left are set aside before anything writes, because sled writes as it opens; what is opened is
//! a copy. That has a second reason: after an fsync that failed, the kernel may hold pages in memory that are clean by
//! its account and not on the disk. They read well until the power is cut. A copy is written, and synced, afresh.
//!
//! Where something is aside already, an earlier start was refused or killed; nothing was appended since, so it is never
//! set aside anew, and the generation beside it is tried as it is first: it may be an operator's repair.

use std::path::Path;

use super::SledJournal;
use super::clean::CleanMark;
use super::engine::{Engine, delete_snapshots};
use super::layout::{Layout, copy_tree, copy_tree_whole, discard, make_dir, partial, remove, rename, sync_tree};
use super::witness::Witness;
use crate::ids::Seq;
use crate::persist::{Error, Tail, verify};

/// See [`super::open`].
pub(super) fn open(layout: &Layout) -> Result<SledJournal, Error> {
    make_dir(&layout.data_dir)?;
    make_dir(&layout.journal)?;
    let there = layout.generation.exists() || layout.aside.exists();
    let mark = CleanMark::read(layout)?;
    let witnessed = witnessed(layout, mark.as_ref(), there)?;
    if !there {
        return create(layout, witnessed);
    }
    let untouched = match &mark {
        // A witness ahead of the mark: both files were put back from before.
        Some(mark) if witnessed.is_some_and(|seen| seen.seq >= mark.tail.seq && seen != mark.tail) => false,
        Some(mark) => !layout.aside.exists() && mark.holds(layout)?,
        None => false,
    };
    if !untouched {
        set_aside(layout)?;
    }
    let stopped_at = mark.map(|mark| mark.tail);
    let (engine, tail) = match stopped_at {
        Some(stopped_at) if untouched => open_untouched(layout, stopped_at)?,
        _ => open_suspect(layout, &witnessed.into_iter().chain(stopped_at).collect::<Vec<_>>())?,
    };
    ready(layout, engine, tail)
}

/// What the witness saw. It may be gone where the clean mark, which is as good, is there; and where nothing is yet.
fn witnessed(layout: &Layout, mark: Option<&CleanMark>, there: bool) -> Result<Option<Tail>, Error> {
    match Witness::read(&layout.witness) {
        Err(Error::WitnessLost { .. }) if mark.is_some() || !(there || layout.witness.exists()) => Ok(None),
        read => read,
    }
}

/// The first start. The witness comes before the generation, so that a generation never stands without one.
fn create(layout: &Layout, witnessed: Option<Tail>) -> Result<SledJournal, Error> {
    if let Some(Tail { seq: witness, .. }) = witnessed.filter(|tail| *tail != Tail::START) {
        return Err(Error::TailLost { tail: Seq(0), witness });
    }
    drop(Witness::begin(&layout.witness, &Tail::START)?);
    // sled writes its settings in two steps, and a kill between them leaves a directory that it never opens again.
    let making = partial(&layout.generation);
    remove(&making)?;
    Engine::open(&making)?.close()?;
    // Only the settings are wanted: a log that was opened before is filled with zeros to a segment's end.
    remove(&making.join("db"))?;
    sync_tree(&making)?;
    rename(&making, &layout.generation)?;
    let engine = Engine::open(&layout.generation)?;
    ready(layout, engine, Tail::START)
}

/// After a clean stop, with every byte as it was: only the tail is compared, as the replay checks the rest.
fn open_untouched(layout: &Layout, stopped_at: Tail) -> Result<(Engine, Tail), Error> {
    let engine = Engine::open(&layout.generation)?;
    match engine.last()? {
        tail if tail == stopped_at => Ok((engine, tail)),
        tail if tail.seq < stopped_at.seq => Err(Error::TailLost { tail: tail.seq, witness: stopped_at.seq }),
        _ => Err(Error::Forked { witness: stopped_at.seq }),
    }
}

/// After any other stop: everything is checked, and on failure once more from the copy.
fn open_suspect(layout: &Layout, marks: &[Tail]) -> Result<(Engine, Tail), Error> {
    let refused = |error: Error| match error {
        // Says nothing of the journal, and passes: the next start with room goes on from the copy.
        error if error.is_lack_of_room() => error,
        error => {
            Error::Refused { journal: layout.generation.clone(), aside: layout.aside.clone(), source: Box::new(error) }
        }
    };
    // Where there is only the copy, an earlier start got that far: the engine would begin an empty generation.
    if layout.generation.exists()
        && let Ok(opened) = open_verified(&layout.generation, marks)
    {
        return Ok(opened);
    }
    // Opening may have changed what was found, and an error of reading may pass: what is aside has it as it was.
    restore(layout).and_then(|()| open_without_snapshots(&layout.generation, marks)).map_err(refused)
}

/// Opens by the log alone. sled's snapshots only save it from reading all of that; but one that points at a damaged
/// place keeps sled from opening at all, and then nobody would know which record it is.
pub(super) fn open_without_snapshots(generation: &Path, marks: &[Tail]) -> Result<(Engine, Tail), Error> {
    delete_snapshots(generation)?;
    open_verified(generation, marks)
}

/// Opens a generation and checks all of it, with `marks` on the way.
pub(super) fn open_verified(generation: &Path, marks: &[Tail]) -> Result<(Engine, Tail), Error> {
    let engine = Engine::open(generation)?;
    match verify(&engine.reader(), marks) {
        Ok(tail) => Ok((engine, tail)),
        Err(fault) => {
            // Let go of, so that it can be opened again; the fault is the news either way.
            let _ = engine.close();
            Err(fault)
        }
    }
}

/// Sets the generation aside as the stop left it, with a copy in its place, unless that was done already. A kill
/// between the two renames leaves no generation; then the next start makes the copy.
fn set_aside(layout: &Layout) -> Result<(), Error> {
    if layout.aside.exists() {
        return Ok(());
    }
    let copy = partial(&layout.generation);
    remove(&copy)?;
    copy_tree(&layout.generation, &copy)?;
    sync_tree(&copy)?;
    rename(&layout.generation, &layout.aside)?;
    rename(&copy, &layout.generation)
}

/// Puts a copy of what is aside in the generation's place.
fn restore(layout: &Layout) -> Result<(), Error> {
    discard(&layout.generation)?;
    copy_tree_whole(&layout.aside, &layout.generation)
}

/// The last steps before anything is acknowledged: what was recovered is made durable, the witness begins at the tail,
/// and with that the mark and what is aside have done their service. Until then both are evidence, for a further start.
fn ready(layout: &Layout, engine: Engine, tail: Tail) -> Result<SledJournal, Error> {
    sync_tree(&layout.generation)?;
    let witness = Witness::begin(&layout.witness, &tail)?;
    remove(&layout.clean)?;
    discard(&layout.aside)?;
    Ok(SledJournal { engine, witness, layout: layout.clone(), tail, failed: false })
}
