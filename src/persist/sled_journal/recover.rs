//! Opening: from whatever the last stop left to a journal that adds up and is durable, or to a refusal that destroys
//! nothing.
//!
//! ```text
//!  sealed generations ──▶ their ends hold and link ──▶ those in sled:
//!  clean mark holds ─────────────────────────────▶ open, tail = mark's ───────┐
//!  no clean mark ──▶ set aside, copy ──▶ open the copy, verify all ──ok──▶ drop what is aside ─┴▶ note the tail, ready
//!  it is aside already ──▶ open, verify all ──ok──────────▲ │ no
//!                            └─no─▶ copy it once more ──────┘ └▶ Refused: says what, keeps what is aside
//! ```
//!
//! The files that the stop left are set aside before anything writes, because sled writes as it opens; what is opened is
//! a copy. That has a second reason: after an fsync that failed, the kernel may hold pages in memory that are clean by
//! its account and not on the disk. They read well until the power is cut. A copy is written, and synced, afresh. A
//! sealed file needs no copy: it was read back from the disk before it had its name, and nothing writes it.
//!
//! Where something is aside already, an earlier start was refused or killed; nothing was appended since, so it is never
//! set aside anew, and the generation beside it is tried as it is first: it may be an operator's repair.

use std::path::PathBuf;

use super::base::Beginning;
use super::clean::CleanMark;
use super::found::Found;
use super::layout::{Layout, copy_tree, copy_tree_whole, discard, make_dir, partial, remove, rename, sync_tree};
use super::next::make_generation;
use super::open_all::{Failed, Opened, open_untouched, open_verified, open_without_snapshots};
use super::sealed::Sealed;
use super::witness::Witness;
use super::{Generations, SledJournal};
use crate::ids::Seq;
use crate::persist::{Error, SealFault, Tail};

/// See [`super::open`].
pub(super) fn open(layout: &Layout, generations: &Generations) -> Result<SledJournal, Error> {
    make_dir(&layout.data_dir)?;
    make_dir(&layout.journal)?;
    let beginning = Beginning::read(layout)?;
    let found = Found::list(layout, &beginning)?;
    found.check(layout, &beginning)?;
    let mark = CleanMark::read(layout)?;
    let witnessed = witnessed(layout, mark.as_ref(), !found.is_empty())?;
    if found.is_empty() {
        return create(layout, generations, witnessed);
    }
    let begin = beginning.base.tail;
    let sealed = open_sealed(layout, begin, &found.sealed())?;
    let base = sealed.last().map_or(begin, Sealed::end);
    finish_what_was_begun(layout, &found, beginning.first, &sealed)?;
    let in_sled: Vec<(u32, PathBuf)> =
        found.unsealed().into_iter().map(|number| (number, layout.generation(number))).collect();
    let dirs: Vec<PathBuf> = in_sled.iter().map(|(_, dir)| dir.clone()).collect();
    let untouched = match &mark {
        // A witness ahead of the mark: both files were put back from before.
        Some(mark) if witnessed.is_some_and(|seen| seen.seq >= mark.tail.seq && seen != mark.tail) => false,
        Some(mark) => !found.has_aside() && mark.holds(&dirs)?,
        None => false,
    };
    if !untouched {
        set_aside(layout, &found)?;
    }
    let stopped_at = mark.map(|mark| mark.tail);
    let opened = match stopped_at {
        Some(stopped_at) if untouched => open_untouched(&in_sled, base, stopped_at)?,
        _ => {
            let marks: Vec<Tail> = witnessed.into_iter().chain(stopped_at).collect();
            open_suspect(layout, &in_sled, base, &marks_after(begin, &sealed, marks)?)?
        }
    };
    // They follow on the note, so it is right about what came before.
    found.dropped.iter().try_for_each(|dropped| remove(dropped))?;
    ready(layout, generations, beginning, sealed, opened)
}

/// What the witness saw. It may be gone where the clean mark, which is as good, is there; and where nothing is yet.
fn witnessed(layout: &Layout, mark: Option<&CleanMark>, there: bool) -> Result<Option<Tail>, Error> {
    match Witness::read(&layout.witness) {
        Err(Error::WitnessLost { .. }) if mark.is_some() || !(there || layout.witness.exists()) => Ok(None),
        read => read,
    }
}

/// The first start. The witness comes before the generation, so that a generation never stands without one.
fn create(layout: &Layout, generations: &Generations, witnessed: Option<Tail>) -> Result<SledJournal, Error> {
    if let Some(Tail { seq: witness, .. }) = witnessed.filter(|tail| *tail != Tail::START) {
        return Err(Error::TailLost { tail: Seq(0), witness });
    }
    drop(Witness::begin(&layout.witness, &Tail::START)?);
    let engine = make_generation(layout, 1)?;
    let first = Opened { number: 1, engine, base: Tail::START, end: Tail::START, bytes: 0 };
    ready(layout, generations, Beginning::default(), Vec::new(), vec![first])
}

/// Opens the sealed generations and holds each to the one before it, the first to the journal's base.
pub(super) fn open_sealed(layout: &Layout, base: Tail, numbers: &[u32]) -> Result<Vec<Sealed>, Error> {
    let mut all = Vec::with_capacity(numbers.len());
    let mut end = base;
    for number in numbers {
        let path = layout.sealed(*number);
        let sealed = Sealed::open(&path, *number)?;
        if sealed.base() != end {
            return Err(Error::Sealed { path, fault: SealFault::Unchained });
        }
        end = sealed.end();
        all.push(sealed);
    }
    Ok(all)
}

/// Of tails that the journal once had, those that lie after the sealed generations. The others must be where a record
/// ends in one of these (J3): a power cut can leave a witness from before a generation was full. What lies before `base`
/// was dropped, and the note of that is as good a witness.
pub(super) fn marks_after(base: Tail, sealed: &[Sealed], mut marks: Vec<Tail>) -> Result<Vec<Tail>, Error> {
    marks.retain(|mark| mark.seq >= base.seq && *mark != base);
    let end = sealed.last().map_or(base, Sealed::end);
    for mark in marks.iter().filter(|mark| mark.seq <= end.seq) {
        let holder = sealed.iter().find(|sealed| mark.seq <= sealed.end().seq);
        if !holder.map_or(Ok(false), |sealed| sealed.has_tail(mark))? {
            return Err(Error::Forked { witness: mark.seq });
        }
    }
    marks.retain(|mark| mark.seq > end.seq);
    Ok(marks)
}

/// Does the last step of what a stop cut short: removes what was in the making or going, and what sled had of a
/// generation whose sealed file is there, once all of that file has been read.
fn finish_what_was_begun(layout: &Layout, found: &Found, first: u32, sealed: &[Sealed]) -> Result<(), Error> {
    for leftover in &found.leftovers {
        remove(leftover)?;
    }
    for (number, sealed) in (first..).zip(sealed).filter(|(number, _)| found.half_removed().contains(number)) {
        sealed.verify()?;
        discard(&layout.generation(number))?;
        discard(&layout.aside(number))?;
    }
    Ok(())
}

/// After any other stop than a clean one: everything is checked, and on failure once more from the copy.
fn open_suspect(layout: &Layout, in_sled: &[(u32, PathBuf)], base: Tail, marks: &[Tail]) -> Result<Vec<Opened>, Error> {
    let refused = |Failed { number, error }: Failed| match error {
        // Says nothing of the journal, and passes: the next start with room goes on from the copy.
        error if error.is_lack_of_room() => error,
        error => {
            Error::Refused { journal: layout.generation(number), aside: layout.aside(number), source: Box::new(error) }
        }
    };
    // Where there is only the copy, an earlier start got that far: the engine would begin an empty generation.
    if in_sled.iter().all(|(_, dir)| dir.exists())
        && let Ok(opened) = open_verified(in_sled, base, marks)
    {
        return Ok(opened);
    }
    // Opening may have changed what was found, and an error of reading may pass: what is aside has it as it was.
    for (number, _) in in_sled {
        restore(layout, *number).map_err(|error| refused(Failed { number: *number, error }))?;
    }
    open_without_snapshots(in_sled, base, marks).map_err(refused)
}

/// Sets the generations aside as the stop left them, with copies in their places, as far as that was not done already.
/// None is opened before all are aside. A kill between the two renames leaves no generation; then the next start makes
/// the copy.
fn set_aside(layout: &Layout, found: &Found) -> Result<(), Error> {
    for number in found.unsealed().into_iter().filter(|number| !found.is_aside(*number)) {
        let generation = layout.generation(number);
        let copy = partial(&generation);
        copy_tree(&generation, &copy)?;
        sync_tree(&copy)?;
        rename(&generation, &layout.aside(number))?;
        rename(&copy, &generation)?;
    }
    Ok(())
}

/// Puts a copy of what is aside in the generation's place.
fn restore(layout: &Layout, number: u32) -> Result<(), Error> {
    let generation = layout.generation(number);
    discard(&generation)?;
    copy_tree_whole(&layout.aside(number), &generation)
}

/// The last steps before anything is acknowledged: what was recovered is made durable, the witness begins at the tail,
/// and with that the mark and what is aside have done their service. Until then both are evidence, for a further start.
fn ready(
    layout: &Layout,
    generations: &Generations,
    beginning: Beginning,
    sealed: Vec<Sealed>,
    mut opened: Vec<Opened>,
) -> Result<SledJournal, Error> {
    for generation in &opened {
        sync_tree(&layout.generation(generation.number))?;
    }
    let tail = opened.last().expect("one generation is always in sled").end;
    let witness = Witness::begin(&layout.witness, &tail)?;
    remove(&layout.clean)?;
    // One that was made ahead and never used; the one before it goes on.
    while opened.len() > 1
        && let Some(empty) = opened.pop_if(|last| last.end == last.base)
    {
        empty.engine.close()?;
        discard(&layout.aside(empty.number))?;
        discard(&layout.generation(empty.number))?;
    }
    for generation in &opened {
        discard(&layout.aside(generation.number))?;
    }
    SledJournal::begin(layout.clone(), generations, beginning, sealed, opened, witness)
}
