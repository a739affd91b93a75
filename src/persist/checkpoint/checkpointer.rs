//! The thread that makes checkpoints while the server runs. It yields to everything else, rests after each, and stops
//! within a slice.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use rustix::process::setpriority_process;

use super::error::Error;
use super::make::{Limits, Made, Making};
use super::store::Store;
use crate::persist::writer::panic_message;
use crate::persist::{self, Read, Tail};

/// A low priority, and not the lowest: a thread that is hardly ever run may hold a lock of the file system all the while,
/// and the journal's sync waits for that. See docs/adr/0010.
const NICENESS: i32 = 10;

/// When the checkpointer does what.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// How often to look whether there is anything to fold.
    pub look_every: Duration,
    /// After a checkpoint, rest this many times as long as it took: so that under a load that fills generations without
    /// a pause a fixed share of one core goes into checkpoints.
    pub rest: u32,
    /// How long to wait after a failure.
    pub retry_after: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { look_every: Duration::from_secs(1), rest: 1, retry_after: Duration::from_secs(60) }
    }
}

/// What the checkpointer says of its work.
#[derive(Debug)]
pub enum Told {
    /// A checkpoint was made.
    Made {
        /// Which.
        made: Made,
        /// How long it took.
        took: Duration,
    },
    /// None was made; the older one stands, and it is tried again later.
    Failed(Error),
}

/// The thread, held by whoever stops it. Dropped instead, it goes on to its next slice and stops then.
#[derive(Debug)]
pub struct Checkpointer {
    stop: Arc<AtomicBool>,
    // The thread wakes when this is dropped.
    awake: Sender<()>,
    thread: JoinHandle<()>,
}

impl Checkpointer {
    /// Starts the thread. `newest` is the checkpoint that the start used, so that a newer one that does not hold is made
    /// again. `may_fold_to` says up to where the journal may be folded: the end of a durable record that stays as it is.
    /// `told` hears, on the thread, of each checkpoint and each failure.
    ///
    /// # Errors
    /// [`persist::Error::Thread`] where there is none to be had.
    pub fn spawn<R: Read + Send + 'static>(
        store: Store,
        journal: R,
        limits: Limits,
        pace: Pace,
        newest: Tail,
        may_fold_to: impl Fn() -> Tail + Send + 'static,
        told: impl FnMut(Told) + Send + 'static,
    ) -> Result<Self, persist::Error> {
        let stop = Arc::new(AtomicBool::new(false));
        let (awake, asleep) = bounded(0);
        let work = Work { store, journal, limits, pace, stop: Arc::clone(&stop), asleep, newest };
        let thread = thread::Builder::new()
            .name("checkpoint".to_owned())
            .spawn(move || work.run(&may_fold_to, told))
            .map_err(|source| persist::Error::Thread { name: "checkpoint", source })?;
        Ok(Self { stop, awake, thread })
    }

    /// Ends the thread: within the writing of one slice, or the reading of one piece, and its sync.
    pub fn stop(self) {
        let Self { stop, awake, thread } = self;
        stop.store(true, Ordering::Relaxed);
        drop(awake);
        // A panic was told as a failure; one outside of the work has been printed, and there is nothing to be done.
        let _ended = thread.join();
    }
}

struct Work<R> {
    store: Store,
    journal: R,
    limits: Limits,
    pace: Pace,
    stop: Arc<AtomicBool>,
    asleep: Receiver<()>,
    /// Where the newest checkpoint that holds stands.
    newest: Tail,
}

impl<R: Read> Work<R> {
    fn run(mut self, may_fold_to: &impl Fn() -> Tail, mut told: impl FnMut(Told)) {
        // On Linux a priority is a thread's own. Without it, as much is done at the usual one.
        let _lowered = setpriority_process(None, NICENESS);
        loop {
            let begun = Instant::now();
            let worked = catch_unwind(AssertUnwindSafe(|| self.look(may_fold_to)));
            let wait = match worked.unwrap_or_else(|panic| Err(panicked(panic.as_ref()))) {
                Ok(None) => self.pace.look_every,
                Ok(Some(made)) => {
                    let took = begun.elapsed();
                    told(Told::Made { made, took });
                    took * self.pace.rest
                }
                Err(Error::Stopped) => return,
                Err(error) => {
                    told(Told::Failed(error));
                    self.pace.retry_after
                }
            };
            if self.asleep.recv_timeout(wait) != Err(RecvTimeoutError::Timeout) {
                return;
            }
        }
    }

    /// Makes a checkpoint where there is something to fold.
    fn look(&mut self, may_fold_to: &impl Fn() -> Tail) -> Result<Option<Made>, Error> {
        let to = may_fold_to();
        if to.seq <= self.newest.seq {
            return Ok(None);
        }
        let Self { store, journal, limits, stop, .. } = self;
        let made = Making::new(store, journal, *limits, stop).run(to)?;
        self.newest = made.tail;
        Ok(Some(made))
    }
}

fn panicked(panic: &(dyn Any + Send)) -> Error {
    Error::Panicked { message: panic_message(panic).to_owned() }
}
