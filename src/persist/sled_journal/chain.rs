//! The generations of an open journal, one after the other, and reading over them as if they were one.
//!
//! The list changes under its readers: a generation is added when the journal goes on in a fresh one, and another is
//! exchanged for its sealed file. A reader therefore holds on to nothing but its place, and looks the generation up again
//! for each piece that it reads:
//!
//! ```text
//!  gen 1: sealed ── gen 2: sled, being sealed ── gen 3: sled, live
//!                   ▲ exchanged for its file: the reader goes on there, after the record it had
//! ```
//!
//! The first ones go when they are dropped: a reader that comes to one of these is told so.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};

use super::base::Beginning;
use super::engine::EngineReader;
use super::layout::Layout;
use super::sealed::{Sealed, Walked};
use crate::ids::Seq;
use crate::persist::journal::{Base, Each, Read};
use crate::persist::{Error, Tail};

/// A place in a journal to read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum At {
    /// The record that holds this event; or the first one, or the last one, where the event is before or beyond.
    Holding(Seq),
    /// The record after the one that is kept under this event's number.
    After(Seq),
}

/// A generation, in the form it has just now.
#[derive(Clone, Debug)]
pub(super) struct Generation {
    pub number: u32,
    /// The tail that its first record follows.
    pub base: Tail,
    pub form: Form,
}

#[derive(Clone, Debug)]
pub(super) enum Form {
    Sealed(Arc<Sealed>),
    InSled(EngineReader),
}

/// What became of sealing, for whoever watches it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealTrouble {
    /// The generation that could not be sealed or made.
    pub path: PathBuf,
    /// What went wrong.
    pub message: String,
}

/// See the file's head.
#[derive(Debug)]
pub(super) struct Chain {
    layout: Layout,
    state: RwLock<State>,
    /// Held while generations are dropped.
    dropping: Mutex<()>,
}

#[derive(Debug)]
struct State {
    beginning: Beginning,
    /// Ascending by number, without a gap; the last one is live.
    generations: Vec<Generation>,
    /// The end of the last sealed generation.
    sealed: Tail,
    trouble: Option<SealTrouble>,
}

impl Chain {
    /// A chain of these, which are in order, and of which those that are sealed come first.
    pub(super) fn of(layout: Layout, beginning: Beginning, generations: Vec<Generation>) -> Self {
        let ends = generations.iter().filter_map(|generation| match &generation.form {
            Form::Sealed(sealed) => Some(sealed.end()),
            Form::InSled(_) => None,
        });
        let sealed = ends.fold(beginning.base.tail, |_, end| end);
        let state = RwLock::new(State { beginning, generations, sealed, trouble: None });
        Self { layout, state, dropping: Mutex::new(()) }
    }

    /// Adds a fresh generation: the one before it is full.
    pub(super) fn push(&self, generation: Generation) {
        self.write().generations.push(generation);
    }

    /// Exchanges a generation for its sealed file.
    pub(super) fn seal(&self, number: u32, sealed: Sealed) {
        let mut state = self.write();
        state.sealed = sealed.end();
        let generation = state.generations.iter_mut().find(|generation| generation.number == number);
        generation.expect("what is sealed is a generation of this journal").form = Form::Sealed(Arc::new(sealed));
    }

    pub(super) fn sealed_tail(&self) -> Tail {
        self.read().sealed
    }

    pub(super) fn trouble(&self) -> Option<SealTrouble> {
        self.read().trouble.clone()
    }

    pub(super) fn set_trouble(&self, trouble: Option<SealTrouble>) {
        self.write().trouble = trouble;
    }

    pub(super) fn layout(&self) -> &Layout {
        &self.layout
    }

    pub(super) fn beginning(&self) -> Beginning {
        self.read().beginning
    }

    /// The sealed generations by their numbers, the oldest first, and where they end.
    pub(super) fn sealed_ends(&self) -> Vec<(u32, Tail)> {
        let state = self.read();
        let sealed = state.generations.iter().map_while(|generation| match &generation.form {
            Form::Sealed(sealed) => Some((generation.number, sealed.end())),
            Form::InSled(_) => None,
        });
        sealed.collect()
    }

    /// Only who has this may drop generations.
    pub(super) fn lock_drops(&self) -> MutexGuard<'_, ()> {
        self.dropping.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The generations before the new beginning are there no more.
    pub(super) fn begin_at(&self, beginning: Beginning) {
        let mut state = self.write();
        state.beginning = beginning;
        state.generations.retain(|generation| generation.number >= beginning.first);
    }

    /// What to say to who asks for a record at `from`, where that was dropped.
    fn dropped(&self, from: Seq) -> Option<Error> {
        let base = self.read().beginning.base.tail.seq;
        (from < base).then_some(Error::Dropped { from, base })
    }

    /// The number of the generation that holds `seq`, or would; and of the first one.
    fn holding(&self, seq: Seq) -> (u32, u32) {
        let state = self.read();
        let after = state.generations.partition_point(|generation| generation.base.seq < seq);
        let number = |index: usize| state.generations[index].number;
        (number(after.saturating_sub(1)), number(0))
    }

    /// The generation as it is now, and whether it is the last; `None` where it was dropped.
    fn look_up(&self, number: u32) -> Option<(Form, bool)> {
        let state = self.read();
        let index = state.generations.iter().position(|generation| generation.number == number);
        let is_added = number >= state.beginning.first;
        assert!(index.is_some() || !is_added, "of generations that were added only the first are taken away");
        index.map(|index| (state.generations[index].form.clone(), index + 1 == state.generations.len()))
    }

    // Nothing that holds the lock can panic half way.
    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads a [`SledJournal`](super::SledJournal) over all its generations, also while it is written, goes on in fresh
/// generations and seals full ones. After the journal's close there is nothing to read.
#[derive(Clone, Debug)]
pub struct JournalReader {
    pub(super) chain: Weak<Chain>,
}

impl JournalReader {
    /// Where the last sealed generation ends: up to there the journal is in files that are never written again. It costs
    /// next to nothing to ask.
    ///
    /// # Errors
    /// [`Error::Closed`] after the journal's close.
    pub fn sealed_tail(&self) -> Result<Tail, Error> {
        self.chain().map(|chain| chain.sealed_tail())
    }

    /// What keeps a generation from being sealed, or the next one from being made, where something does. It loses
    /// nothing, and is tried again.
    ///
    /// # Errors
    /// [`Error::Closed`] after the journal's close.
    pub fn seal_trouble(&self) -> Result<Option<SealTrouble>, Error> {
        self.chain().map(|chain| chain.trouble())
    }

    pub(super) fn chain(&self) -> Result<Arc<Chain>, Error> {
        self.chain.upgrade().ok_or(Error::Closed)
    }
}

impl JournalReader {
    /// What to say to who has come to a generation that was dropped.
    fn dropped_at(&self, at: At) -> Result<Error, Error> {
        let (At::Holding(from) | At::After(from)) = at;
        Ok(Error::Dropped { from, base: self.chain()?.beginning().base.tail.seq })
    }
}

impl Read for JournalReader {
    fn base(&self) -> Result<Base, Error> {
        Ok(self.chain()?.beginning().base)
    }

    fn read(&self, from: Seq, each: &mut Each<'_>) -> Result<(), Error> {
        let mut at = At::Holding(from);
        let chain = self.chain()?;
        if let Some(dropped) = chain.dropped(from) {
            return Err(dropped);
        }
        let (mut number, first) = chain.holding(from);
        // Held no longer than it takes: who holds it keeps the journal from being closed.
        drop(chain);
        let mut closed = None;
        loop {
            // Whether it is the last is asked before it is read: what was the last may get records and then a successor,
            // and only what is read after it has one is all of it.
            let Some((form, is_last)) = self.chain()?.look_up(number) else {
                return Err(self.dropped_at(at)?);
            };
            let engine = match form {
                Form::Sealed(sealed) => match sealed.walk(at, each) {
                    Ok(Walked::Broken) => return Ok(()),
                    Ok(Walked::ToTheEnd) if is_last => return Ok(()),
                    // Its file went between the look-up and the opening.
                    Err(Error::Io { .. }) if self.chain()?.look_up(number).is_none() => {
                        return Err(self.dropped_at(at)?);
                    }
                    Err(error) => return Err(error),
                    Ok(Walked::ToTheEnd) => {
                        at = At::After(sealed.end().seq);
                        number += 1;
                        continue;
                    }
                },
                Form::InSled(engine) => engine,
            };
            let Some(batch) = engine.batch(at)? else {
                // It was sealed since it was looked up; or the journal is closing.
                if closed.replace(number) == Some(number) {
                    return Err(Error::Closed);
                }
                continue;
            };
            let none = batch.records.is_empty() && batch.error.is_none();
            for (seq, bytes) in batch.records {
                at = At::After(seq);
                if each(seq, &bytes)?.is_break() {
                    return Ok(());
                }
            }
            match batch.error {
                Some(error) => return Err(error),
                // Nothing was appended to it yet: the last record there is lies before.
                None if none && matches!(at, At::Holding(_)) && number > first => number -= 1,
                None if none && is_last => return Ok(()),
                None if none => number += 1,
                None => {}
            }
        }
    }
}
