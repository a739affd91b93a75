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

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};

use super::engine::EngineReader;
use super::sealed::{Sealed, Walked};
use crate::ids::Seq;
use crate::persist::journal::{Each, Read};
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
pub(super) struct Chain(RwLock<State>);

#[derive(Debug)]
struct State {
    /// Ascending by number, without a gap; the last one is live.
    generations: Vec<Generation>,
    /// The end of the last sealed generation.
    sealed: Tail,
    trouble: Option<SealTrouble>,
}

impl Chain {
    /// A chain of these, which are in order, and of which those that are sealed come first.
    pub(super) fn of(generations: Vec<Generation>) -> Self {
        let ends = generations.iter().filter_map(|generation| match &generation.form {
            Form::Sealed(sealed) => Some(sealed.end()),
            Form::InSled(_) => None,
        });
        let sealed = ends.fold(Tail::START, |_, end| end);
        Self(RwLock::new(State { generations, sealed, trouble: None }))
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

    /// The number of the generation that holds `seq`, or would; and of the first one.
    fn holding(&self, seq: Seq) -> (u32, u32) {
        let state = self.read();
        let after = state.generations.partition_point(|generation| generation.base.seq < seq);
        let number = |index: usize| state.generations[index].number;
        (number(after.saturating_sub(1)), number(0))
    }

    /// The generation as it is now, and whether it is the last.
    fn look_up(&self, number: u32) -> (Form, bool) {
        let state = self.read();
        let index = state.generations.iter().position(|generation| generation.number == number);
        let index = index.expect("generations are added, and none is taken away");
        (state.generations[index].form.clone(), index + 1 == state.generations.len())
    }

    // Nothing that holds the lock can panic half way.
    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
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

    fn chain(&self) -> Result<Arc<Chain>, Error> {
        self.chain.upgrade().ok_or(Error::Closed)
    }
}

impl Read for JournalReader {
    fn read(&self, from: Seq, each: &mut Each<'_>) -> Result<(), Error> {
        let mut at = At::Holding(from);
        let (mut number, first) = self.chain()?.holding(from);
        let mut closed = None;
        loop {
            // Whether it is the last is asked before it is read: what was the last may get records and then a successor,
            // and only what is read after it has one is all of it.
            let (form, is_last) = self.chain()?.look_up(number);
            let engine = match form {
                Form::Sealed(sealed) => match sealed.walk(at, each)? {
                    Walked::Broken => return Ok(()),
                    Walked::ToTheEnd if is_last => return Ok(()),
                    Walked::ToTheEnd => {
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
