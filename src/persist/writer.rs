//! The one thread that writes the journal. It takes what waits, makes one record of it, appends that, and only then
//! tells everyone in the group, in order.
//!
//! ```text
//!  handle ──Submit──▶ [queue] ──▶ gather ─▶ encode ─▶ append ─▶ durable(), durable(), ..
//!                                    ▲                  │ error or panic
//!                                    └── next group     └──▶ on_fault, once; from then on swallow everything
//! ```
//!
//! It promises that nothing is acknowledged before it is durable, and nothing at all after a fault. It does not retry,
//! and it does not stop the process: that is for `on_fault`.

use std::any::Any;
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::encode::{Pushed, RecordBuilder};
use super::error::Error;
use super::frame::Tail;
use super::handle::{Acknowledge, Handle, Progress, Submission};
use super::journal::Journal;
use super::queue::{Inbox, Message, queue};

/// A group that has become durable.
#[derive(Clone, Copy, Debug)]
pub struct DurableGroup {
    /// Its events.
    pub events: u32,
    /// Its submissions, barriers included.
    pub submissions: usize,
    /// Its record's size.
    pub bytes: usize,
    /// How long the append took.
    pub append: Duration,
}

/// Sees each group, for metrics. Runs on the writer's thread.
pub trait Observe: Send {
    /// A record is durable, the handles' [`durable_seq`](Handle::durable_seq) says so, and its submissions are about to be
    /// told.
    fn group(&mut self, group: &DurableGroup);
}

impl Observe for () {
    fn group(&mut self, _: &DurableGroup) {}
}

/// How to run a writer.
pub struct Options {
    /// Submissions that may wait; who submits more is blocked.
    pub queue_submissions_max: usize,
    /// Sees each group.
    pub observe: Box<dyn Observe>,
    /// Called once, on the writer's thread, where the journal failed: nothing is acknowledged any more, so the process
    /// should stop, and rebuild its state from disk.
    pub on_fault: Box<dyn FnOnce(Error) + Send>,
}

/// The writer, held by whoever stops it. Dropped instead, it writes on until the last handle is gone, and stops then.
#[derive(Debug)]
pub struct Writer<A> {
    handle: Handle<A>,
    thread: JoinHandle<Result<Tail, Error>>,
}

impl<A: Acknowledge> Writer<A> {
    /// Starts the thread that owns `journal` from now on.
    ///
    /// # Errors
    /// [`Error::Thread`] where there is none to be had.
    pub fn spawn<J: Journal + 'static>(journal: J, options: Options) -> Result<Self, Error> {
        let (outbox, mut inbox) = queue(options.queue_submissions_max);
        let progress = Arc::new(Progress::starting_at(journal.tail().seq));
        let handle = Handle::new(outbox, Arc::clone(&progress));
        let Options { observe, on_fault, .. } = options;
        let thread = thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || run(journal, &mut inbox, Desk::new(progress, observe), on_fault))
            .map_err(|source| Error::Thread { name: "journal", source })?;
        Ok(Self { handle, thread })
    }

    /// A way to submit.
    #[must_use]
    pub fn handle(&self) -> Handle<A> {
        self.handle.clone()
    }

    /// Makes durable and acknowledges what was submitted before, closes the journal cleanly, and ends the thread.
    ///
    /// # Errors
    /// [`Error::Failed`] after a fault (which `on_fault` was told), or what the close failed of.
    pub fn stop(self) -> Result<Tail, Error> {
        self.handle.ask_to_stop();
        self.thread.join().unwrap_or_else(|panic| Err(panicked(panic.as_ref())))
    }
}

/// The thread's life: write until asked to stop, then close; or fail, and swallow until asked to stop.
fn run<J: Journal, A: Acknowledge>(
    journal: J,
    inbox: &mut Inbox<A>,
    mut desk: Desk<A>,
    on_fault: Box<dyn FnOnce(Error) + Send>,
) -> Result<Tail, Error> {
    // Not dropped where it failed: dropping could write or wait for what will never come, and all it holds goes with
    // the process.
    let mut journal = ManuallyDrop::new(journal);
    let written = catch_unwind(AssertUnwindSafe(|| desk.serve(&mut *journal, inbox)));
    match written.unwrap_or_else(|panic| Err(panicked(panic.as_ref()))) {
        Ok(()) => {
            let tail = journal.tail();
            ManuallyDrop::into_inner(journal).close()?;
            Ok(tail)
        }
        Err(error) => {
            drop(desk);
            on_fault(error);
            while let Some(Message::Submit(_)) = inbox.recv() {}
            Err(Error::Failed)
        }
    }
}

/// The group being made.
struct Desk<A> {
    record: RecordBuilder,
    acks: Vec<A>,
    progress: Arc<Progress>,
    observe: Box<dyn Observe>,
}

impl<A: Acknowledge> Desk<A> {
    fn new(progress: Arc<Progress>, observe: Box<dyn Observe>) -> Self {
        Self { record: RecordBuilder::default(), acks: Vec::new(), progress, observe }
    }

    /// Writes group after group until asked to stop.
    fn serve<J: Journal>(&mut self, journal: &mut J, inbox: &mut Inbox<A>) -> Result<(), Error> {
        let mut waiting = None;
        loop {
            let first = match waiting.take() {
                Some(submission) => submission,
                None => match inbox.recv() {
                    Some(Message::Submit(submission)) => submission,
                    Some(Message::Stop) | None => return Ok(()),
                },
            };
            let stop = self.gather(first, &mut waiting, inbox)?;
            self.commit(journal)?;
            if stop {
                return Ok(());
            }
        }
    }

    /// Takes what waits, until nothing does, the record is full, or the end is asked for (then true). What did not fit
    /// is left in `waiting`.
    fn gather(
        &mut self,
        first: Submission<A>,
        waiting: &mut Option<Submission<A>>,
        inbox: &mut Inbox<A>,
    ) -> Result<bool, Error> {
        let mut submission = first;
        loop {
            match self.record.push(&submission.entries)? {
                Pushed::Taken => self.acks.push(submission.ack),
                Pushed::Full => {
                    *waiting = Some(submission);
                    return Ok(false);
                }
            }
            match inbox.try_recv() {
                Some(Message::Submit(next)) => submission = next,
                Some(Message::Stop) => return Ok(true),
                None => return Ok(false),
            }
        }
    }

    /// Makes the group durable, then tells it so. A group of barriers has nothing to write: all before it is durable.
    fn commit<J: Journal>(&mut self, journal: &mut J) -> Result<(), Error> {
        if self.record.count() > 0 {
            let before = journal.tail();
            let (events, record) = (self.record.count(), self.record.seal(&before));
            let begun = Instant::now();
            let tail = journal.append(&before, &record)?;
            let (append, bytes) = (begun.elapsed(), record.bytes().len());
            assert_eq!(tail, record.tail(), "J1: the journal ends with the record just appended");
            self.record.clear();
            self.progress.advance(tail.seq, self.acks.len() as u64);
            self.observe.group(&DurableGroup { events, submissions: self.acks.len(), bytes, append });
        } else {
            self.progress.advance(journal.tail().seq, self.acks.len() as u64);
        }
        self.acks.drain(..).for_each(A::durable);
        Ok(())
    }
}

fn panicked(panic: &(dyn Any + Send)) -> Error {
    Error::WriterPanicked { message: panic_message(panic).to_owned() }
}

/// What a panic said, where it said it in words.
pub(super) fn panic_message(panic: &(dyn Any + Send)) -> &str {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (_, Some(text)) => text,
        _ => "no message",
    }
}
