//! Opens the generations that are still in sled, in order, each after the one before it.

use std::path::{Path, PathBuf};

use super::engine::{Engine, delete_snapshots};
use crate::ids::Seq;
use crate::persist::frame::Record;
use crate::persist::replay::{all_met, follow};
use crate::persist::{Error, Fault, Tail};

/// A generation in sled, opened.
#[derive(Debug)]
pub(super) struct Opened {
    pub number: u32,
    pub engine: Engine,
    /// The tail that its first record follows.
    pub base: Tail,
    /// The tail that it ends with; the base where it is empty.
    pub end: Tail,
    /// The bytes of its records.
    pub bytes: u64,
}

/// What does not add up, and in which generation.
#[derive(Debug)]
pub(super) struct Failed {
    pub number: u32,
    pub error: Error,
}

/// Opens these and checks every record's frame, number and link from `base` on, and that each of `marks` is on the way.
/// On an error all are closed again.
pub(super) fn open_verified(generations: &[(u32, PathBuf)], base: Tail, marks: &[Tail]) -> Result<Vec<Opened>, Failed> {
    let mut all: Vec<Opened> = Vec::new();
    let mut unmet = marks.to_vec();
    let mut end = base;
    for (number, dir) in generations {
        match open_one(*number, dir, end, &mut unmet) {
            Ok(opened) => {
                end = opened.end;
                all.push(opened);
            }
            Err(error) => {
                // What should come first and does not is what the generation before has lost.
                let is_gap = matches!(&error, Error::Missing { expected, .. } if expected.0 == end.seq.0 + 1);
                let before = all.last().map(|opened| opened.number).filter(|_| is_gap);
                return Err(close_all(all, Failed { number: before.unwrap_or(*number), error }));
            }
        }
    }
    match all_met(&unmet, &end) {
        Ok(()) => Ok(all),
        Err(error) => {
            // One that was made ahead is empty, and has lost nothing.
            let holder = all.iter().rfind(|opened| opened.end != opened.base).or(all.last());
            let number = holder.map_or(0, |opened| opened.number);
            Err(close_all(all, Failed { number, error }))
        }
    }
}

/// As [`open_verified`], by sled's log alone. Its snapshots only save it from reading all of that; but one that points
/// at a damaged place keeps sled from opening at all, and then nobody would know which record it is.
pub(super) fn open_without_snapshots(
    generations: &[(u32, PathBuf)],
    base: Tail,
    marks: &[Tail],
) -> Result<Vec<Opened>, Failed> {
    for (number, dir) in generations {
        delete_snapshots(dir).map_err(|error| Failed { number: *number, error })?;
    }
    open_verified(generations, base, marks)
}

/// Opens generations of which every byte is as a clean stop left it: only their ends are looked at, as the replay checks
/// the rest.
pub(super) fn open_untouched(
    generations: &[(u32, PathBuf)],
    base: Tail,
    stopped_at: Tail,
) -> Result<Vec<Opened>, Error> {
    let mut all = Vec::new();
    let mut end = base;
    for (number, dir) in generations {
        let engine = Engine::open(dir)?;
        let base = end;
        if let Some((first, last)) = engine.ends()? {
            if first != base {
                let record = Seq(first.seq.0.saturating_add(1));
                return Err(Error::Damaged { record, fault: Fault::Unlinked });
            }
            end = last;
        }
        let bytes = if all.len() + 1 == generations.len() { engine.record_bytes()? } else { 0 };
        all.push(Opened { number: *number, engine, base, end, bytes });
    }
    if end == stopped_at { Ok(all) } else { all_met(&[stopped_at], &end).map(|()| all) }
}

fn open_one(number: u32, dir: &Path, base: Tail, unmet: &mut Vec<Tail>) -> Result<Opened, Error> {
    let engine = Engine::open(dir)?;
    let mut bytes = 0;
    let followed = follow(&engine.reader(), base, |record: &Record<'_>| {
        bytes += record.bytes().len() as u64;
        unmet.retain(|mark| *mark != record.tail());
        Ok(())
    });
    match followed {
        Ok(end) => Ok(Opened { number, engine, base, end, bytes }),
        Err(fault) => {
            // Let go of, so that it can be opened again; the fault is the news either way.
            let _ = engine.close();
            Err(fault)
        }
    }
}

fn close_all(all: Vec<Opened>, failed: Failed) -> Failed {
    for opened in all {
        let _ = opened.engine.close();
    }
    failed
}
