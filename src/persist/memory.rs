//! A journal in memory that keeps the same contract, on a disk that fails on demand. For tests and simulation, of this
//! room and of others: a server that runs on it loses everything with its process.
//!
//! A [`MemoryDisk`] outlives the journals opened on it, as a disk outlives processes. [`MemoryDisk::crash`] is the power
//! cut: it ends the open journal and decides what became of a record that was written and not synced.

use std::sync::{Arc, Mutex, MutexGuard};
use std::{io, mem, path::Path};

use super::error::Error;
use super::frame::{Record, Tail};
use super::journal::{Each, Journal, Read, check_tail};
use super::replay::verify;
use crate::ids::Seq;

/// How an append fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskFault {
    /// The write fails; part of the record may have been written.
    Write,
    /// The write succeeds and the sync fails.
    Sync,
    /// There is no room; nothing is written.
    Full,
}

/// What a power cut leaves of a record that was written and not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tear {
    /// Nothing.
    Dropped,
    /// Its first half.
    Half,
    /// All of it.
    Kept,
}

/// A disk. Clones are the same disk.
#[derive(Clone, Debug, Default)]
pub struct MemoryDisk(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// Each under its first event's number, ascending.
    records: Vec<(Seq, Arc<[u8]>)>,
    /// Written and not synced; at most the last one, as the journal fails for good then.
    unsynced: Option<(Seq, Arc<[u8]>)>,
    /// The last tail that was acknowledged.
    witness: Tail,
    /// After how many more appends to fail, and how.
    fault: Option<(u64, DiskFault)>,
    /// Counts openings and crashes: a journal of an earlier one is dead.
    incarnation: u64,
}

impl MemoryDisk {
    /// An empty disk that does not fail.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Opens the journal as a process does that starts: drops a torn tail, checks the chain and the witness (J3).
    ///
    /// # Errors
    /// As [`verify`].
    pub fn open(&self) -> Result<MemoryJournal, Error> {
        let witness = {
            let mut state = self.state();
            state.incarnation += 1;
            // A process that ended without a power cut leaves its writes with the kernel.
            let written = state.unsynced.take();
            state.records.extend(written);
            drop_torn_tail(&mut state);
            state.witness
        };
        let reader = MemoryReader { disk: self.clone(), incarnation: self.state().incarnation };
        let tail = verify(&reader, &[witness])?;
        self.state().witness = tail;
        Ok(MemoryJournal { reader, tail, failed: false })
    }

    /// Lets the append after `appends` more fail.
    pub fn fail_after(&self, appends: u64, fault: DiskFault) {
        self.state().fault = Some((appends, fault));
    }

    /// Cuts the power: the journal that is open is dead, and what was not synced fares as `tear` says.
    pub fn crash(&self, tear: Tear) {
        let mut state = self.state();
        state.incarnation += 1;
        state.fault = None;
        let Some((first, bytes)) = state.unsynced.take() else { return };
        match tear {
            Tear::Dropped => {}
            Tear::Half => state.records.push((first, bytes[..bytes.len() / 2].into())),
            Tear::Kept => state.records.push((first, bytes)),
        }
    }

    /// The last event that is durable on it.
    #[must_use]
    pub fn durable_seq(&self) -> Seq {
        self.state().witness.seq
    }

    /// How many records are on it.
    #[must_use]
    pub fn record_count(&self) -> usize {
        self.state().records.len()
    }

    /// Changes the `index`-th record's bytes behind the journal's back.
    ///
    /// # Panics
    /// Where there is no such record.
    pub fn damage(&self, index: usize, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.state();
        let mut bytes = state.records[index].1.to_vec();
        change(&mut bytes);
        state.records[index].1 = bytes.into();
    }

    /// Removes the `index`-th record behind the journal's back.
    ///
    /// # Panics
    /// Where there is no such record.
    pub fn lose(&self, index: usize) {
        self.state().records.remove(index);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no code that holds the disk's lock panics in a passing test")
    }
}

/// As sled does on opening: a last record that is not whole was never acknowledged, or the witness tells.
fn drop_torn_tail(state: &mut State) {
    if state.records.last().is_some_and(|(_, bytes)| Record::decode(bytes).is_err()) {
        state.records.pop();
    }
}

/// See [`MemoryDisk::open`].
#[derive(Debug)]
pub struct MemoryJournal {
    reader: MemoryReader,
    tail: Tail,
    failed: bool,
}

impl MemoryJournal {
    fn write(&self, record: &Record<'_>) -> Result<(), Error> {
        let mut state = self.reader.state()?;
        let entry = (record.first(), Arc::from(record.bytes()));
        match take_fault(&mut state) {
            None => {
                state.records.push(entry);
                state.witness = record.tail();
                Ok(())
            }
            Some(DiskFault::Full) => Err(failed(io::ErrorKind::StorageFull)),
            Some(DiskFault::Write) => {
                let half = entry.1[..entry.1.len() / 2].into();
                state.unsynced = Some((entry.0, half));
                Err(failed(io::ErrorKind::Other))
            }
            Some(DiskFault::Sync) => {
                state.unsynced = Some(entry);
                Err(failed(io::ErrorKind::Other))
            }
        }
    }
}

impl Journal for MemoryJournal {
    type Reader = MemoryReader;

    fn tail(&self) -> Tail {
        self.tail
    }

    fn append(&mut self, expected: &Tail, record: &Record<'_>) -> Result<Tail, Error> {
        if mem::replace(&mut self.failed, true) {
            return Err(Error::Failed);
        }
        check_tail(&self.tail, expected, record)?;
        self.write(record)?;
        self.tail = record.tail();
        self.failed = false;
        Ok(self.tail)
    }

    fn reader(&self) -> MemoryReader {
        self.reader.clone()
    }

    fn close(self) -> Result<(), Error> {
        self.reader.state().map(|mut state| state.incarnation += 1)
    }
}

impl Read for MemoryJournal {
    fn read(&self, from: Seq, each: &mut Each<'_>) -> Result<(), Error> {
        self.reader.read(from, each)
    }
}

/// Reads a [`MemoryJournal`].
#[derive(Clone, Debug)]
pub struct MemoryReader {
    disk: MemoryDisk,
    incarnation: u64,
}

impl MemoryReader {
    /// The disk's state, where the journal is still this process's.
    fn state(&self) -> Result<MutexGuard<'_, State>, Error> {
        let state = self.disk.state();
        if state.incarnation == self.incarnation { Ok(state) } else { Err(Error::Closed) }
    }
}

impl Read for MemoryReader {
    fn read(&self, from: Seq, each: &mut Each<'_>) -> Result<(), Error> {
        let mut index = {
            let state = self.state()?;
            state.records.partition_point(|(first, _)| *first <= from).saturating_sub(1)
        };
        // Record by record, so that `each` runs without the lock.
        loop {
            let Some((first, bytes)) = self.state()?.records.get(index).cloned() else { return Ok(()) };
            if each(first, &bytes)?.is_break() {
                return Ok(());
            }
            index += 1;
        }
    }
}

/// The fault that is due, if one is.
fn take_fault(state: &mut State) -> Option<DiskFault> {
    match &mut state.fault {
        Some((0, fault)) => {
            let due = *fault;
            state.fault = None;
            Some(due)
        }
        Some((appends, _)) => {
            *appends -= 1;
            None
        }
        None => None,
    }
}

fn failed(kind: io::ErrorKind) -> Error {
    Error::io("writing to the disk in", Path::new("memory"))(kind.into())
}
