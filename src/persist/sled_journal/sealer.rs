//! The thread that seals full generations, one after the other: writes each anew as one flat file, reads that back, gives
//! it its name, and only then removes what sled had.
//!
//! ```text
//!  gen-1/ ──▶ gen-1.log.partial, synced, read back ──▶ gen-1.log ──▶ readers go over ──▶ sled closed ──▶ gen-1/ removed
//! ```
//!
//! At every moment one of the two is whole under its name. A failure is no fault of the journal: the sled directory has
//! all, and the generation is tried again later, from the beginning and in a new file.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};

use super::chain::{Chain, SealTrouble};
use super::engine::Engine;
use super::layout::{Layout, discard, partial, remove, rename};
use super::sealed;
use crate::persist::{Error, Tail};

/// How long a clean stop waits for what is being sealed. What is not sealed by then is, after the next start.
const FINISH_WAIT: Duration = Duration::from_secs(2);
/// How long the thread may take to end once it has to: for a piece that is being written, or for sled to let go.
const END_WAIT: Duration = Duration::from_secs(10);
/// How far below the rest of the server the thread runs.
const NICENESS: i32 = 10;
/// Each attempt may write all of a generation: where something is wrong for good, not so often that it wears the disk.
const RETRY_WAIT_MAX: Duration = Duration::from_secs(3_600);

/// A generation that takes no more records.
#[derive(Debug)]
pub(super) struct Full {
    pub number: u32,
    pub engine: Engine,
    pub base: Tail,
    pub end: Tail,
}

/// The running thread.
#[derive(Debug)]
pub(super) struct Sealer {
    jobs: Option<Sender<Full>>,
    /// From when on nothing more is to be begun or gone on with.
    until: Arc<Mutex<Option<Instant>>>,
    thread: Option<JoinHandle<VecDeque<Full>>>,
}

impl Sealer {
    /// Starts the thread; `retry` is how long it waits after a failure.
    pub(super) fn start(layout: &Layout, chain: &Arc<Chain>, retry: Duration) -> Result<Self, Error> {
        let (jobs, inbox) = unbounded();
        let until = Arc::new(Mutex::new(None));
        let work = Work { layout: layout.clone(), chain: Arc::clone(chain), until: Arc::clone(&until), retry };
        let thread = thread::Builder::new()
            .name("sealer".to_owned())
            .spawn(move || work.run(&inbox))
            .map_err(|source| Error::Thread { name: "sealer", source })?;
        Ok(Self { jobs: Some(jobs), until, thread: Some(thread) })
    }

    /// Has a generation sealed, after those before it.
    pub(super) fn seal(&self, full: Full) {
        if let Some(jobs) = &self.jobs {
            // Where the thread is gone its generations stay as they are, until the next start.
            let _ = jobs.send(full);
        }
    }

    /// Lets it finish what is quick, ends it, and gives back what was not sealed. `None` where it does not end: it may
    /// hang in a disk, or in sled.
    pub(super) fn finish(mut self) -> Option<VecDeque<Full>> {
        self.end(FINISH_WAIT)
    }

    fn end(&mut self, wait: Duration) -> Option<VecDeque<Full>> {
        let until = Instant::now() + wait;
        *self.until.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
        self.jobs = None;
        let thread = self.thread.take()?;
        while !thread.is_finished() {
            if Instant::now() > until + END_WAIT {
                return None;
            }
            thread::sleep(Duration::from_millis(1));
        }
        thread.join().ok()
    }
}

impl Drop for Sealer {
    fn drop(&mut self) {
        self.end(Duration::ZERO);
    }
}

/// What the thread knows.
struct Work {
    layout: Layout,
    chain: Arc<Chain>,
    until: Arc<Mutex<Option<Instant>>>,
    retry: Duration,
}

impl Work {
    /// Until there is nobody to give it more; returns what it did not get done.
    fn run(self, inbox: &Receiver<Full>) -> VecDeque<Full> {
        // Where the system does not comply it runs like the rest.
        let _lowered = rustix::process::setpriority_process(None, NICENESS);
        let mut waiting = VecDeque::new();
        let mut retry = self.retry;
        loop {
            waiting.extend(inbox.try_iter());
            let Some(full) = waiting.pop_front() else {
                match inbox.recv() {
                    Ok(full) => waiting.push_back(full),
                    Err(_) => return waiting,
                }
                continue;
            };
            match self.seal(&full) {
                Ok(()) => {
                    retry = self.retry;
                    let removed = self.remove(full);
                    self.chain.set_trouble(removed.err());
                }
                Err(trouble) => {
                    waiting.push_front(full);
                    self.chain.set_trouble(Some(trouble));
                    if !wait(inbox, retry, &mut waiting) {
                        return waiting;
                    }
                    retry = retry.saturating_mul(2).min(RETRY_WAIT_MAX);
                }
            }
        }
    }

    /// From the sled directory to the sealed file under its name, with the readers gone over.
    fn seal(&self, full: &Full) -> Result<(), SealTrouble> {
        let path = self.layout.sealed(full.number);
        let unfinished = partial(&path);
        let sealed = remove(&unfinished).and_then(|()| {
            let mut between = || self.may_go_on();
            let sealed =
                sealed::write(&unfinished, full.number, (full.base, full.end), &full.engine.reader(), &mut between)?;
            rename(&unfinished, &path)?;
            Ok(sealed)
        });
        match sealed {
            Ok(sealed) => {
                self.chain.seal(full.number, sealed.renamed(path));
                Ok(())
            }
            Err(error) => {
                // To give the room back; what is left goes with the next attempt or start.
                let _removed = remove(&unfinished);
                Err(SealTrouble { path, message: error.to_string() })
            }
        }
    }

    /// Removes what sled had of a sealed generation.
    fn remove(&self, full: Full) -> Result<(), SealTrouble> {
        let generation = self.layout.generation(full.number);
        let removed = full.engine.close().and_then(|()| discard(&generation));
        removed.map_err(|error| SealTrouble { path: generation, message: error.to_string() })
    }

    fn may_go_on(&self) -> Result<(), Error> {
        let until = *self.until.lock().unwrap_or_else(PoisonError::into_inner);
        if until.is_some_and(|until| Instant::now() >= until) { Err(Error::Closed) } else { Ok(()) }
    }
}

/// Lets `time` pass while more generations may come; `false` where the end is asked for.
fn wait(inbox: &Receiver<Full>, time: Duration, waiting: &mut VecDeque<Full>) -> bool {
    let until = Instant::now() + time;
    loop {
        match inbox.recv_deadline(until) {
            Ok(full) => waiting.push_back(full),
            Err(RecvTimeoutError::Timeout) => return true,
            Err(RecvTimeoutError::Disconnected) => return false,
        }
    }
}
