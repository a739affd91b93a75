//! The archive: answers for activities that have left memory. What is asked of one brings it back from the journal, by
//! the range in which the index says that its events lie, for as long as it goes on being asked for.
//!
//! Bringing back costs a read of that range: about a second for each five million events that the journal has between
//! the activity's first and last, whoever they are of. One thread does it, at a low priority, for one activity at a time:
//! a thousand curious shoppers cost a running sale no more than one does. Nothing is changed here: an activity leaves
//! only when nothing can happen in it any more.

mod rows;

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};
use rustix::process::setpriority_process;
use tokio::sync::oneshot;

use super::ask::{Answer, Asked, Question, Reason, Refused, SaleView, Unavailable};
use super::door::Door;
use super::shard::Shard;
use super::turn::Turn;
use crate::clock::Clock;
use crate::domain::command::CancelOrder;
use crate::domain::{Event, Part, Refusal, Sale, Sales, Unfit};
use crate::ids::{ActivityId, Seq, ShardId, UnixMillis};
use crate::persist::mysql::{self, Target};
use crate::persist::{self, Read, excerpt, identity};

use rows::Rows;

/// Questions that may wait; more is 503 `overloaded`.
const WAITING_MAX: usize = 256;
/// Orders of activities that were brought back and are kept for the next question: some 140 MB.
const KEPT_ORDERS_MAX: u64 = 1_000_000;
/// Activities that are kept so.
const KEPT_MAX: usize = 64;
/// How long one is kept that nobody asks for.
const KEPT_WITHOUT_QUESTIONS: Duration = Duration::from_secs(60);
const NICENESS: i32 = 10;

/// Reads the journal while it is written.
pub type History = Arc<dyn Read + Send + Sync>;

/// Where an activity lies in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lies {
    pub activity_id: ActivityId,
    pub home: Part,
    pub parts: u16,
    /// At or before its first event.
    pub first: Seq,
    /// At or after its last.
    pub last: Seq,
    /// Orders that were ever placed, over all parts.
    pub orders: u64,
}

/// The way to the archive. Its thread ends when the last way to it is gone; it has nothing that could be lost.
pub(super) struct Archive(Sender<Request>);

struct Request {
    lies: Lies,
    about: About,
    reply: oneshot::Sender<Answer>,
}

/// What is asked about.
enum About {
    /// One shard.
    Shard(ShardId, Question),
    /// The sale over all its shards.
    Sale,
}

impl Archive {
    /// Opens an archive over a journal, and over MySQL for what the journal no longer has.
    pub fn open(history: History, clock: Clock, mysql: Option<Target>) -> Self {
        let (sender, inbox) = bounded(WAITING_MAX);
        let desk = ReadingDesk { history, clock, kept: VecDeque::new(), rows: mysql.map(Rows::new) };
        let thread = thread::Builder::new().name("archive".to_owned()).spawn(move || desk.serve(&inbox));
        drop(thread.expect("the system gives a thread when the process starts"));
        Self(sender)
    }

    /// Asks a shard of an activity that has left.
    pub fn ask(&self, lies: Lies, shard: ShardId, question: Question) -> Asked {
        // An order that never was need not be looked for.
        if let Question::Order { number, .. } | Question::Cancel(CancelOrder { order: number, .. }) = &question
            && u64::from(*number) > lies.orders
        {
            let reason = Refusal::OrderNotFound.into();
            return Asked::Now(Answer::Refused(Refused { reason, at_ms: UnixMillis(0), shard }));
        }
        self.send(lies, About::Shard(shard, question))
    }

    /// Asks for an activity that has left as it stood, over all its shards.
    pub fn sale(&self, lies: Lies) -> Asked {
        self.send(lies, About::Sale)
    }

    fn send(&self, lies: Lies, about: About) -> Asked {
        let (reply, receiver) = oneshot::channel();
        match self.0.try_send(Request { lies, about, reply }) {
            Ok(()) => Asked::Later(receiver),
            Err(TrySendError::Full(request)) => {
                request.refuse(Unavailable::Overloaded);
                Asked::Later(receiver)
            }
            Err(TrySendError::Disconnected(request)) => {
                request.refuse(Unavailable::Recovering);
                Asked::Later(receiver)
            }
        }
    }
}

impl Request {
    fn refuse(self, why: Unavailable) {
        let (reason, shard) = (Reason::Unavailable(why), self.lies.home.home);
        drop(self.reply.send(Answer::Refused(Refused { reason, at_ms: UnixMillis(0), shard })));
    }
}

/// What the thread has on its desk.
struct ReadingDesk {
    history: History,
    clock: Clock,
    /// The last asked for is the last.
    kept: VecDeque<BroughtBack>,
    rows: Option<Rows>,
}

struct BroughtBack {
    activity_id: ActivityId,
    shards: Vec<Shard>,
    orders: u64,
    asked: Instant,
}

/// Why an activity could not be brought back.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error(transparent)]
    Journal(#[from] persist::Error),
    #[error(transparent)]
    Unfit(#[from] Unfit),
    #[error("the journal does not have all of it where the index says")]
    Absent,
}

impl ReadingDesk {
    fn serve(mut self, inbox: &Receiver<Request>) {
        // On Linux a priority is a thread's own. Without it, as much is done at the usual one.
        let _lowered = setpriority_process(None, NICENESS);
        loop {
            let request = inbox.recv_timeout(KEPT_WITHOUT_QUESTIONS);
            self.kept.retain(|brought| brought.asked.elapsed() < KEPT_WITHOUT_QUESTIONS);
            match request {
                // Whoever went away needs no reading.
                Ok(request) if request.reply.is_closed() => {}
                Ok(request) => {
                    // A panic has been told by its hook; what is asked next begins afresh.
                    if catch_unwind(AssertUnwindSafe(|| self.answer(request))).is_err() {
                        self.kept.clear();
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn answer(&mut self, request: Request) {
        let at_ms = self.clock.now_ms();
        let has_rows = self.rows.is_some();
        let shards = match self.bring(request.lies) {
            Ok(shards) => shards,
            // The process is stopping; the question is dropped on purpose.
            Err(Lost::Journal(persist::Error::Closed)) => return,
            Err(Lost::Journal(persist::Error::Dropped { .. })) if has_rows => {
                return self.answer_from_rows(request, at_ms);
            }
            Err(error) => {
                let activity = request.lies.activity_id;
                tracing::error!(%activity, %error, "an activity that has left memory cannot be read back");
                return request.refuse(Unavailable::Recovering);
            }
        };
        let Request { lies, about, reply } = request;
        match about {
            About::Shard(shard, question) => {
                let place = usize::from(lies.home.number_of(shard));
                ask(&mut shards[place], question, reply, at_ms);
            }
            About::Sale => {
                let mut whole: Option<Box<SaleView>> = None;
                for shard in shards {
                    let (reply, mut answer) = oneshot::channel();
                    ask(shard, Question::Sale, reply, at_ms);
                    match (answer.try_recv(), &mut whole) {
                        (Ok(Answer::Sale(part)), Some(whole)) => whole.add(*part),
                        (Ok(Answer::Sale(home)), whole) => *whole = Some(home),
                        (other, _) => {
                            unreachable!("a shard that is asked for its sale gives it at once, not {other:?}")
                        }
                    }
                }
                drop(reply.send(Answer::Sale(whole.expect("an activity has a home"))));
            }
        }
    }

    /// The journal's generations that had the activity's first events were dropped.
    fn answer_from_rows(&mut self, request: Request, at_ms: UnixMillis) {
        let Some(rows) = self.rows.as_mut().filter(|rows| rows.is_worth_asking()) else {
            return request.refuse(Unavailable::RowsAway);
        };
        let known = identity(&*self.history).map_err(mysql::Error::from);
        let has_all = known.and_then(|journal| rows.must_have(journal, request.lies));
        let answered = has_all.and_then(|()| match &request.about {
            About::Shard(shard, question) => rows.answer(request.lies, *shard, question.clone(), at_ms),
            About::Sale => rows.sale(request.lies, at_ms),
        });
        match answered {
            Ok(answer) => drop(request.reply.send(answer)),
            Err(error) => {
                let activity = request.lies.activity_id;
                tracing::warn!(%activity, %error, "an activity that only MySQL still has cannot be read back");
                request.refuse(Unavailable::RowsAway);
            }
        }
    }

    fn bring(&mut self, lies: Lies) -> Result<&mut [Shard], Lost> {
        let known = self.kept.iter().position(|brought| brought.activity_id == lies.activity_id);
        let mut brought = match known {
            Some(place) => self.kept.remove(place).expect("it was just found"),
            None => {
                // Room is made before it is taken: beside what is kept stands one activity, however large.
                while self.kept.len() >= KEPT_MAX
                    || (!self.kept.is_empty() && self.orders() + lies.orders > KEPT_ORDERS_MAX)
                {
                    self.kept.pop_front();
                }
                read_back(&*self.history, lies)?
            }
        };
        brought.asked = Instant::now();
        self.kept.push_back(brought);
        Ok(&mut self.kept.back_mut().expect("it was just put there").shards)
    }

    fn orders(&self) -> u64 {
        self.kept.iter().map(|brought| brought.orders).sum()
    }
}

fn ask(shard: &mut Shard, question: Question, reply: oneshot::Sender<Answer>, at_ms: UnixMillis) {
    let mut turn = Turn::at(at_ms, true, None);
    shard.ask(question, reply, &mut turn);
    assert!(turn.submissions.is_empty() && turn.letters.is_empty(), "nothing happens in what has left");
}

/// Folds an activity's events into what it was when it left.
fn read_back(history: &dyn Read, lies: Lies) -> Result<BroughtBack, Lost> {
    let (mut sales, mut unfit, mut end) = (Sales::default(), None, None);
    let shards = lies.home.shard(0)..=lies.home.shard(lies.parts - 1);
    excerpt(history, lies.first, lies.last, |seq, entry| {
        if !shards.contains(&entry.shard) {
            return;
        }
        match &entry.event {
            // By its last event the activity leaves again.
            Event::ActivityRetired(event) => end = Some(event.orders),
            _ if unfit.is_none() => unfit = sales.take(seq, entry).err(),
            _ => {}
        }
    })?;
    if let Some(unfit) = unfit {
        return Err(unfit.into());
    }
    let parts: Vec<Sale> = sales.into_activities().next().unwrap_or_default();
    let orders = parts.iter().map(|sale| u64::from(sale.orders_placed())).sum();
    if parts.len() != usize::from(lies.parts) || end != Some(orders) {
        return Err(Lost::Absent);
    }
    // A door of its own: what is free there is nobody's to buy.
    let door = Arc::new(Door::new(&parts[0]));
    let shards = parts.into_iter().map(|sale| Shard::of_left(sale, Arc::clone(&door))).collect();
    Ok(BroughtBack { activity_id: lies.activity_id, shards, orders, asked: Instant::now() })
}
