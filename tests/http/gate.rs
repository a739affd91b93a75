//! A journal whose disk can be held up: an append waits until the gate is opened.

use std::ops::ControlFlow;
use std::sync::{Arc, Condvar, Mutex};

use doorbuster::ids::Seq;
use doorbuster::persist::memory::{MemoryJournal, MemoryReader};
use doorbuster::persist::{Error, Journal, Read, Record, Tail};

/// Open, or shut and holding appends up. Clones are the same gate.
#[derive(Clone, Default)]
pub struct Gate(Arc<(Mutex<State>, Condvar)>);

#[derive(Default)]
struct State {
    is_shut: bool,
    held_up: usize,
    /// Appends that came to the gate since it was last shut.
    came: usize,
    /// Appends that may pass though it is shut.
    passes: usize,
}

impl Gate {
    pub fn shut(&self) {
        let mut state = self.0.0.lock().expect("not poisoned");
        (state.is_shut, state.came, state.passes) = (true, 0, 0);
    }

    pub fn open(&self) {
        self.0.0.lock().expect("not poisoned").is_shut = false;
        self.0.1.notify_all();
    }

    /// Waits until an append stands before the shut gate.
    pub fn wait_for_an_append(&self) {
        let (state, changed) = &*self.0;
        let state = state.lock().expect("not poisoned");
        drop(changed.wait_while(state, |state| state.held_up == 0).expect("not poisoned"));
    }

    /// Waits until so many appends have come since the gate was shut.
    pub fn wait_for_appends(&self, count: usize) {
        let (state, changed) = &*self.0;
        let state = state.lock().expect("not poisoned");
        drop(changed.wait_while(state, |state| state.came < count).expect("not poisoned"));
    }

    /// Lets one append pass and stays shut.
    pub fn let_one_pass(&self) {
        self.0.0.lock().expect("not poisoned").passes += 1;
        self.0.1.notify_all();
    }

    fn pass(&self) {
        let (state, changed) = &*self.0;
        let mut state = state.lock().expect("not poisoned");
        state.held_up += 1;
        state.came += 1;
        changed.notify_all();
        let mut state = changed.wait_while(state, |state| state.is_shut && state.passes == 0).expect("not poisoned");
        state.held_up -= 1;
        state.passes = state.passes.saturating_sub(1);
    }
}

/// A journal behind a gate.
pub struct Gated {
    pub journal: MemoryJournal,
    pub gate: Gate,
}

impl Journal for Gated {
    type Reader = MemoryReader;

    fn tail(&self) -> Tail {
        self.journal.tail()
    }

    fn append(&mut self, expected: &Tail, record: &Record<'_>) -> Result<Tail, Error> {
        self.gate.pass();
        self.journal.append(expected, record)
    }

    fn reader(&self) -> MemoryReader {
        self.journal.reader()
    }

    fn close(self) -> Result<(), Error> {
        self.journal.close()
    }
}

impl Read for Gated {
    fn read(
        &self,
        from: Seq,
        each: &mut (dyn FnMut(Seq, &[u8]) -> Result<ControlFlow<()>, Error> + '_),
    ) -> Result<(), Error> {
        self.journal.read(from, each)
    }
}
