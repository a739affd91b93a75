//! The keeper: drops generations of the journal that nobody needs any more, on a thread of low priority.
//!
//! One may go when MySQL itself has said, in the session that goes on, that it has all of it; when the oldest of two
//! checkpoints that hold stands for it; and when its last event is old enough (X3). The oldest goes first, and what is not
//! sealed never. Without MySQL there is no keeper: the journal is the order store then.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use rustix::process::setpriority_process;

use crate::actors::Shipped;
use crate::clock::Clock;
use crate::ids::{Seq, UnixMillis};
use crate::persist::checkpoint::{self, Store};
use crate::persist::{self, Dropped, JournalReader, Tail, excerpt};

/// How often to look at what costs nothing to look at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long to leave the checkpoints unread after they were read, or could not be.
const REST: Duration = Duration::from_secs(60);
const NICENESS: i32 = 10;
const DAY_MS: u64 = 86_400_000;

/// The thread, held by whoever stops it.
pub struct Keeper {
    stop: Arc<AtomicBool>,
    // The thread wakes when this is dropped.
    awake: Sender<()>,
    thread: JoinHandle<()>,
}

/// What the keeper knows.
pub struct Keeping {
    /// The checkpoints.
    pub store: Store,
    /// The journal that they are of.
    pub journal: JournalReader,
    /// What MySQL says.
    pub shipped: Shipped,
    /// By which events are old.
    pub clock: Clock,
    /// How old the last event of what is dropped must be.
    pub keep_days: u32,
}

impl Keeper {
    /// Starts the thread.
    ///
    /// # Errors
    /// [`persist::Error::Thread`] where there is none to be had.
    pub fn start(keeping: Keeping) -> Result<Self, persist::Error> {
        let stop = Arc::new(AtomicBool::new(false));
        let (awake, asleep) = bounded(0);
        let work = Work { keeping, stop: Arc::clone(&stop), dated: None, rests_until: None };
        let thread = thread::Builder::new()
            .name("keeper".to_owned())
            .spawn(move || work.run(&asleep))
            .map_err(|source| persist::Error::Thread { name: "keeper", source })?;
        Ok(Self { stop, awake, thread })
    }

    /// Ends the thread: within the reading of one piece, or the removal of some files.
    pub fn stop(self) {
        let Self { stop, awake, thread } = self;
        stop.store(true, Ordering::Relaxed);
        drop(awake);
        // A panic has been printed, and what is left undone is done after the next start.
        let _ended = thread.join();
    }
}

struct Work {
    keeping: Keeping,
    stop: Arc<AtomicBool>,
    /// The end of the generation that was looked at last, and when its last event happened.
    dated: Option<(Tail, UnixMillis)>,
    rests_until: Option<Instant>,
}

impl Work {
    fn run(mut self, asleep: &Receiver<()>) {
        // On Linux a priority is a thread's own. Without it, as much is done at the usual one.
        let _lowered = setpriority_process(None, NICENESS);
        while asleep.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
            if self.rests_until.is_some_and(|until| Instant::now() < until) {
                continue;
            }
            match self.look() {
                Ok(None) => {}
                Ok(Some(Dropped { generations, bytes, base })) => {
                    tracing::info!(generations, bytes, begins_after = %base.seq, "dropped from the journal; MySQL has it");
                }
                Err(checkpoint::Error::Stopped | checkpoint::Error::Persist(persist::Error::Closed)) => return,
                Err(error) => {
                    self.rests_until = Some(Instant::now() + REST);
                    tracing::warn!(%error, "generations of the journal are not dropped; it is tried again");
                }
            }
        }
    }

    /// Drops what may be dropped. What costs nothing is asked first: mostly there is nothing to drop.
    fn look(&mut self) -> Result<Option<Dropped>, checkpoint::Error> {
        let ends = self.keeping.journal.sealed_ends()?;
        let Some(shipped) = self.keeping.shipped.confirmed() else { return Ok(None) };
        let Some(oldest) = ends.first().filter(|end| end.seq <= shipped) else { return Ok(None) };
        let claimed = self.keeping.store.claims_to_cover()?;
        if !self.is_old(oldest)? || claimed.is_none_or(|claimed| claimed < oldest.seq) {
            return Ok(None);
        }
        let Keeping { store, journal, shipped, .. } = &self.keeping;
        self.rests_until = Some(Instant::now() + REST);
        let go_on = || if self.stop.load(Ordering::Relaxed) { Err(checkpoint::Error::Stopped) } else { Ok(()) };
        let Some(covered) = store.covers(journal, go_on)? else { return Ok(None) };
        // Asked once more: reading the checkpoints takes a while.
        let Some(shipped) = shipped.confirmed() else { return Ok(None) };
        let mut until = Seq(0);
        for end in ends.iter().filter(|end| end.seq <= covered && end.seq <= shipped) {
            if !self.is_old(end)? {
                break;
            }
            until = end.seq;
        }
        let dropped = self.keeping.journal.drop_until(until)?;
        Ok((dropped.generations > 0).then_some(dropped))
    }

    /// Whether the last event of the generation that ends there is old enough.
    fn is_old(&mut self, end: &Tail) -> Result<bool, persist::Error> {
        let at_ms = match self.dated {
            Some((dated, at_ms)) if dated == *end => at_ms,
            _ => {
                let mut at_ms = UnixMillis(u64::MAX);
                excerpt(&self.keeping.journal, end.seq, end.seq, |_, entry| at_ms = entry.at_ms)?;
                self.dated = Some((*end, at_ms));
                at_ms
            }
        };
        let keep_ms = u64::from(self.keeping.keep_days) * DAY_MS;
        Ok(at_ms.0.checked_add(keep_ms).is_some_and(|until| until <= self.keeping.clock.now_ms().0))
    }
}
