//! Reads a journal back and believes nothing: numbers without a gap (J1), checksums and links (J2), known versions and
//! whole entries (J7). Recovery, the auditor and the shipper all read through here.

use std::ops::ControlFlow;

use super::error::{Error, Fault};
use super::frame::{Record, RecordHash, Tail};
use super::journal::Read;
use crate::domain::event::Entry;
use crate::ids::Seq;

/// Hands every entry after `after`, up to event `until`, to `each`, and returns the tail reached.
///
/// `until` must be where a record ends (a durable sequence always is), or beyond the end; records that reach past it are
/// not read, so that a journal being written can be read up to what is durable.
///
/// # Errors
/// [`Error::TailLost`] or [`Error::Forked`] where `after` is no tail that this journal had; [`Error::Dropped`] where it
/// lies before its base, at which nothing is left to hold it against but the base itself. [`Error::Damaged`] or
/// [`Error::Missing`] for the first record that does not hold, by its first event; the entries before it were handed
/// over. Whether the tail is complete (J3) is for who opened the journal.
pub fn replay<R: Read + ?Sized>(
    journal: &R,
    after: Tail,
    until: Seq,
    mut each: impl FnMut(Seq, Entry),
) -> Result<Tail, Error> {
    walk(journal, after, until, |record| {
        record.entries(&mut each).map_err(|fault| Error::Damaged { record: record.first(), fault })?;
        Ok(ControlFlow::Continue(()))
    })
}

/// The bytes of records from which on a [`portion`] ends: a change of an activity takes up to 188 KiB, and what is made of
/// it about as much again.
const PORTION_BYTES: usize = 4 << 20;

/// The entries of the records after `after`, up to event `until` as in [`replay`], and the tail that they lead to: whole
/// records, no more of them once their entries weigh `enough` (see [`Event::weight`](crate::domain::Event::weight)) or they
/// have 4 MiB together. No entries where there is nothing left to read.
///
/// # Errors
/// As [`replay`].
pub fn portion<R: Read + ?Sized>(
    journal: &R,
    after: Tail,
    until: Seq,
    enough: usize,
) -> Result<(Vec<(Seq, Entry)>, Tail), Error> {
    let (mut entries, mut read, mut bytes) = (Vec::new(), 0, 0);
    let tail = walk(journal, after, until, |record| {
        let taken = record.entries(|seq, entry| {
            read += entry.event.weight();
            entries.push((seq, entry));
        });
        taken.map_err(|fault| Error::Damaged { record: record.first(), fault })?;
        bytes += record.bytes().len();
        Ok(if read < enough && bytes < PORTION_BYTES { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    })?;
    Ok((entries, tail))
}

/// What a journal is known by: its very first record's hash, also where that was dropped. `None` while it is empty.
///
/// # Errors
/// [`Error::Damaged`] where that record does not hold; [`Error::Missing`] where another comes first.
pub fn identity<R: Read + ?Sized>(journal: &R) -> Result<Option<RecordHash>, Error> {
    let mut identity = None;
    let walked = walk(journal, Tail::START, Seq(u64::MAX), |record| {
        identity = Some(record.tail().hash);
        Ok(ControlFlow::Break(()))
    });
    match walked {
        // The record is gone; what it was is noted.
        Err(Error::Dropped { .. }) => Ok(journal.base()?.identity),
        walked => walked.map(|_| identity),
    }
}

/// Hands the entries from event `from` to event `until` to `each`, those at the ends included. What came before them is
/// not looked at: each record's own checksum and its link to the one before it are checked, but for the first.
///
/// # Errors
/// [`Error::Damaged`] or [`Error::Missing`] for the first record that does not hold; [`Error::TailLost`] where the journal
/// ends before `until`; [`Error::Dropped`] where it begins after `from`.
pub fn excerpt<R: Read + ?Sized>(
    journal: &R,
    from: Seq,
    until: Seq,
    mut each: impl FnMut(Seq, &Entry),
) -> Result<(), Error> {
    let mut tail = None;
    let base = journal.base()?.tail.seq;
    if from <= base && base > Seq(0) {
        return Err(Error::Dropped { from, base });
    }
    journal.read(from, &mut |kept_as, bytes| {
        // It was dropped up to there since the base was asked for.
        if tail.is_none() && kept_as > from && kept_as.0 == journal.base()?.tail.seq.0 + 1 && kept_as > Seq(1) {
            return Err(Error::Dropped { from, base: journal.base()?.tail.seq });
        }
        if kept_as > until {
            return Ok(ControlFlow::Break(()));
        }
        let damaged = |fault| Error::Damaged { record: kept_as, fault };
        let record = match &tail {
            Some(tail) => link(tail, kept_as, bytes)?,
            None => Record::decode(bytes).map_err(damaged)?,
        };
        tail = Some(record.tail());
        let within = |seq| (from..=until).contains(&seq);
        record
            .entries(|seq, entry| {
                if within(seq) {
                    each(seq, &entry)
                }
            })
            .map_err(damaged)?;
        Ok(ControlFlow::Continue(()))
    })?;
    match tail {
        Some(tail) if tail.seq >= until => Ok(()),
        tail => Err(Error::TailLost { tail: tail.map_or(Seq(0), |tail| tail.seq), witness: until }),
    }
}

/// Checks every record's frame, number and link from the base on, and that each of `marks` is on the way: what was a
/// durable tail once still is one (J3). Entries are not decoded; a replay does that. Returns the tail.
///
/// # Errors
/// As [`replay`]; [`Error::TailLost`] where the journal ends before a mark, [`Error::Forked`] where it passes one by.
pub fn verify<R: Read + ?Sized>(journal: &R, marks: &[Tail]) -> Result<Tail, Error> {
    let mut unmet: Vec<Tail> = marks.iter().copied().filter(|mark| *mark != Tail::START).collect();
    let base = journal.base()?.tail;
    let tail = walk(journal, base, Seq(u64::MAX), |record| {
        unmet.retain(|mark| *mark != record.tail());
        Ok(ControlFlow::Continue(()))
    })?;
    all_met(&unmet, &tail).map(|()| tail)
}

/// Checks every record's frame, number and link in a piece of a journal whose first record follows `base`, and hands each
/// to `each`. Returns the tail that they lead to.
///
/// # Errors
/// As [`replay`].
pub(super) fn follow<R: Read + ?Sized>(
    piece: &R,
    base: Tail,
    mut each: impl FnMut(&Record<'_>) -> Result<(), Error>,
) -> Result<Tail, Error> {
    let mut tail = base;
    piece.read(Seq(0), &mut |kept_as, bytes| {
        let record = link(&tail, kept_as, bytes)?;
        each(&record)?;
        tail = record.tail();
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(tail)
}

/// Which of `unmet` a journal that ends at `tail` has lost or passed by, as an error (J3).
pub(super) fn all_met(unmet: &[Tail], tail: &Tail) -> Result<(), Error> {
    match unmet.iter().max_by_key(|mark| mark.seq) {
        None => Ok(()),
        Some(mark) if mark.seq > tail.seq => Err(Error::TailLost { tail: tail.seq, witness: mark.seq }),
        Some(mark) => Err(Error::Forked { witness: mark.seq }),
    }
}

/// Follows the chain from `after` through every record that ends at or before `until`, or until `each` breaks after one.
fn walk<R: Read + ?Sized>(
    journal: &R,
    after: Tail,
    until: Seq,
    mut each: impl FnMut(&Record<'_>) -> Result<ControlFlow<()>, Error>,
) -> Result<Tail, Error> {
    let mut base = journal.base()?.tail;
    loop {
        let mut begun = false;
        let walked = walk_from(journal, base, after, until, |record| {
            begun = true;
            each(record)
        });
        // Generations were dropped just then, perhaps right up to `after`: it is told once more by the new base.
        let moved = match &walked {
            Err(error) if !begun && !matches!(error, Error::Closed) => journal.base()?.tail,
            _ => return walked,
        };
        if moved == base {
            return walked;
        }
        base = moved;
    }
}

/// See [`walk`]; `base` is where the journal begins.
fn walk_from<R: Read + ?Sized>(
    journal: &R,
    base: Tail,
    after: Tail,
    until: Seq,
    mut each: impl FnMut(&Record<'_>) -> Result<ControlFlow<()>, Error>,
) -> Result<Tail, Error> {
    if after.seq < base.seq {
        return Err(Error::Dropped { from: Seq(after.seq.0 + 1), base: base.seq });
    }
    if after.seq == base.seq && after != base {
        return Err(Error::Forked { witness: after.seq });
    }
    let mut tail = after;
    // The record that ends at `after` is read too: a cursor of another journal, or one beyond the end, is told apart
    // from one that has nothing left to read. Of the base there is only the note.
    let mut anchored = after == base;
    journal.read(after.seq, &mut |kept_as, bytes| {
        if !anchored {
            anchored = true;
            return anchor(&after, kept_as, bytes).map(ControlFlow::Continue);
        }
        if kept_as > until {
            return Ok(ControlFlow::Break(()));
        }
        let record = link(&tail, kept_as, bytes)?;
        if record.tail().seq > until {
            return Ok(ControlFlow::Break(()));
        }
        let flow = each(&record)?;
        tail = record.tail();
        Ok(flow)
    })?;
    if anchored { Ok(tail) } else { Err(Error::TailLost { tail: Seq(0), witness: after.seq }) }
}

/// Checks that `bytes` are the record that ends at `after`.
fn anchor(after: &Tail, kept_as: Seq, bytes: &[u8]) -> Result<(), Error> {
    let record = Record::decode(bytes).map_err(|fault| Error::Damaged { record: kept_as, fault })?;
    let tail = record.tail();
    if tail == *after {
        Ok(())
    } else if tail.seq < after.seq {
        Err(Error::TailLost { tail: tail.seq, witness: after.seq })
    } else {
        Err(Error::Forked { witness: after.seq })
    }
}

/// Checks that `bytes` are the record that follows `tail`.
fn link<'a>(tail: &Tail, kept_as: Seq, bytes: &'a [u8]) -> Result<Record<'a>, Error> {
    let expected = Seq(tail.seq.0.saturating_add(1));
    if kept_as > expected {
        return Err(Error::Missing { expected, found: kept_as });
    }
    let damaged = |fault| Error::Damaged { record: kept_as, fault };
    let record = Record::decode(bytes).map_err(damaged)?;
    if record.first() != kept_as {
        return Err(damaged(Fault::Misfiled { first: record.first() }));
    }
    if record.follows() != *tail {
        return Err(damaged(Fault::Unlinked));
    }
    Ok(record)
}
