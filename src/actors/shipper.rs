//! The shipper: brings what is durable to MySQL, batch after batch, on a thread of its own.
//!
//! Its inbox is the journal: it reads from MySQL's cursor on, so a restart, a lost connection or a killed server all come
//! down to reading the cursor again. It never keeps a sale waiting. While the process is busy it works a small part of
//! the time, and what waits meanwhile lies in the journal; a bound on that is the door's business (`backlog_full`).

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::Arbiter;
use tokio::sync::watch;

use super::archive::History;
use super::readiness::Readiness;
use super::shipped::Shipped;
use crate::clock::{Clock, CpuMeter};
use crate::domain::Entry;
use crate::ids::Seq;
use crate::persist::mysql::{Error, Session, ShippedNote, Target};
use crate::persist::{self, RecordHash, Tail, identity, portion};

/// Orders or other events in one transaction, but for the last record's. One of this size takes some 60 ms; a larger one is no faster
/// and is lost as a whole when the connection breaks.
const BATCH_ORDERS: usize = 8_192;
/// How long without news MySQL is asked for a sign of life.
const PING_AFTER: Duration = Duration::from_secs(1);
/// The first wait after an error, which doubles up to the longest.
const BACKOFF_FIRST: Duration = Duration::from_millis(50);
const BACKOFF_LONGEST: Duration = Duration::from_secs(5);
/// The longest wait where somebody has to mend something first: each try reads what MySQL has, and says the same.
const BACKOFF_STANDING: Duration = Duration::from_secs(15);
/// The longest that a batch is followed by rest.
const PAUSE_LONGEST: Duration = Duration::from_secs(1);
/// The batches in a row that MySQL rolls back from which on it is trouble.
const GAVE_WAY_TOLD: u32 = 3;
/// Over how long the rate is taken.
const RATE_OVER: Duration = Duration::from_secs(2);
/// How long a stop waits for what is durable and not shipped. The next start ships the rest.
const STOP_WAIT: Duration = Duration::from_secs(5);
/// How often the note of the cursor is written, at most.
const NOTE_EVERY: Duration = Duration::from_secs(1);
/// The part of the machine's cores from which on the process counts as busy.
const BUSY_PERCENT: u64 = 20;
/// The part of the time in which a batch is on its way while the process is busy.
const BUSY_SHARE: u32 = 10;
/// The part of the backlog's bound from which on shipping comes before speed.
const URGENT_PERCENT: u64 = 50;

/// What a shipper works with.
pub struct Shipper {
    /// Where to.
    pub target: Target,
    /// From what.
    pub journal: History,
    /// How far that is on disk.
    pub durable: Arc<dyn Fn() -> Seq + Send + Sync>,
    /// What is known of MySQL.
    pub shipped: Shipped,
    /// Where trouble is told.
    pub readiness: Readiness,
    /// The process clock.
    pub clock: Clock,
    /// Where the cursor is noted for the next start.
    pub note: ShippedNote,
}

/// A shipper at work. Dropped instead of stopped, it works on until the process ends.
pub struct Shipping {
    arbiter: Arbiter,
    stop: watch::Sender<bool>,
}

impl Shipping {
    /// Starts a shipper. Runs inside an actix system.
    #[must_use]
    pub fn start(shipper: Shipper) -> Self {
        let (stop, stopping) = watch::channel(false);
        let arbiter = Arbiter::new();
        arbiter.spawn_fn(move || {
            let cut = cut_off(stopping.clone());
            actix::spawn(async move {
                let _ends = EndsThread;
                tokio::select! {
                    () = Work::new(shipper, stopping).run() => {}
                    // What was on its way is in MySQL or it is not; the next start reads which.
                    () = cut => {}
                }
            });
        });
        Self { arbiter, stop }
    }

    /// Ships what is durable, for a few seconds at most, and stops.
    pub fn stop(self) {
        // Where nobody listens it has ended by itself.
        let _ended = self.stop.send(true);
        drop(self.arbiter.join());
    }
}

/// Comes when a stop has waited long enough.
async fn cut_off(mut stopping: watch::Receiver<bool>) {
    stop_wanted(&mut stopping).await;
    tokio::time::sleep(STOP_WAIT).await;
}

/// Comes when a stop is wanted; never where nobody is left who could want one.
async fn stop_wanted(stopping: &mut watch::Receiver<bool>) {
    if stopping.wait_for(|stopping| *stopping).await.is_err() {
        std::future::pending().await
    }
}

/// Ends the shipper's thread, also where it panics: a stop waits for it.
struct EndsThread;

impl Drop for EndsThread {
    fn drop(&mut self) {
        Arbiter::current().stop();
    }
}

struct Work {
    shipper: Shipper,
    stopping: watch::Receiver<bool>,
    journal_id: Option<RecordHash>,
    /// Whether the tables are known to be up to date.
    migrated: bool,
    /// The trouble that was told last, so that it is told once.
    told: Option<String>,
    /// Whether it was told that all is well.
    told_well: bool,
    /// Batches in a row that MySQL rolled back.
    gave_way: u32,
    pace: Pace,
    noted: Instant,
}

impl Work {
    fn new(shipper: Shipper, stopping: watch::Receiver<bool>) -> Self {
        Self {
            shipper,
            stopping,
            journal_id: None,
            migrated: false,
            told: None,
            told_well: false,
            gave_way: 0,
            pace: Pace::default(),
            noted: Instant::now(),
        }
    }

    async fn run(mut self) {
        let mut backoff = BACKOFF_FIRST;
        loop {
            self.told_well = false;
            let ended = self.session().await;
            self.shipper.shipped.doubt();
            let Err(error) = ended else { return };
            if self.is_stopping() || matches!(error, Error::Journal(persist::Error::Closed)) {
                return;
            }
            if self.told_well {
                // All was well in between: this is news.
                backoff = BACKOFF_FIRST;
            }
            self.tell(&error);
            self.look_what_waits();
            self.wait(jittered(backoff)).await;
            backoff = (backoff * 2).min(if error.may_pass() { BACKOFF_LONGEST } else { BACKOFF_STANDING });
        }
    }

    /// Ships until something goes wrong, or to the end where a stop is wanted.
    async fn session(&mut self) -> Result<(), Error> {
        if self.journal_id.is_none() {
            self.journal_id = identity(&*self.shipper.journal)?;
        }
        if !self.migrated {
            self.shipper.target.migrate().await?;
            self.migrated = true;
        }
        let mut session = Session::open(&self.shipper.target, self.journal_id).await?;
        // A cursor that this journal never had is refused before it is believed.
        self.portion(session.cursor(), 0).map_err(|error| Error::behind(session.cursor(), error))?;
        let shipped = self.shipper.shipped.clone();
        shipped.forget_orders();
        session.orders_shipped().for_each(|(shard, newest)| shipped.set_orders(shard, newest));
        shipped.confirm(session.cursor().seq);
        shipped.set_connected(true);
        shipped.set_forbidden(false);
        loop {
            let (entries, tail) = self.portion(session.cursor(), BATCH_ORDERS)?;
            let Some((_, oldest)) = entries.first() else {
                shipped.set_waiting_since(None);
                self.note(session.cursor(), true);
                self.tell_well(&session);
                if self.is_stopping() {
                    session.close().await;
                    return Ok(());
                }
                self.idle(&mut session).await?;
                continue;
            };
            shipped.set_waiting_since(Some(oldest.at_ms));
            let begun = Instant::now();
            let journal_id = match self.journal_id {
                Some(journal_id) => journal_id,
                None => *self.journal_id.insert(identity(&*self.shipper.journal)?.expect("a journal with a record")),
            };
            let shards = session.ship(journal_id, &entries, tail, self.shipper.clock.now_ms()).await?;
            shards.into_iter().for_each(|(shard, newest)| shipped.set_orders(shard, newest));
            shipped.confirm(tail.seq);
            self.tell_well(&session);
            let took = begun.elapsed();
            shipped.set_rate(self.pace.shipped(entries.len(), took));
            self.note(tail, false);
            let urgent = shipped.percent_full((self.shipper.durable)()) >= URGENT_PERCENT;
            if !urgent && !self.is_stopping() {
                let pause = self.pace.pause_after(took);
                self.wait(pause).await;
            }
        }
    }

    fn portion(&self, after: Tail, enough: usize) -> Result<(Vec<(Seq, Entry)>, Tail), persist::Error> {
        portion(&*self.shipper.journal, after, (self.shipper.durable)(), enough)
    }

    /// Waits for something to ship; asks from time to time whether MySQL is there.
    async fn idle(&mut self, session: &mut Session) -> Result<(), Error> {
        tokio::select! {
            () = self.shipper.shipped.news() => Ok(()),
            () = stop_wanted(&mut self.stopping) => Ok(()),
            () = tokio::time::sleep(PING_AFTER) => session.ping().await,
        }
    }

    /// Waits, but not into a stop.
    async fn wait(&mut self, pause: Duration) {
        if pause.is_zero() {
            return;
        }
        tokio::select! {
            () = stop_wanted(&mut self.stopping) => {}
            () = tokio::time::sleep(pause) => {}
        }
    }

    fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// Where MySQL was not reached since something came to wait, only the journal tells since when.
    fn look_what_waits(&self) {
        let seq = self.shipper.shipped.seq();
        let noted = self.shipper.note.last().filter(|noted| noted.seq == seq);
        if let Some(after) = noted.or((seq == Seq(0)).then_some(Tail::START)) {
            let oldest = self.portion(after, 1).ok().and_then(|(entries, _)| Some(entries.first()?.1.at_ms));
            self.shipper.shipped.set_waiting_since(oldest);
        }
    }

    fn note(&mut self, cursor: Tail, now: bool) {
        let known = self.shipper.note.last() == Some(cursor);
        if known || (!now && self.noted.elapsed() < NOTE_EVERY) {
            return;
        }
        self.noted = Instant::now();
        if let Err(error) = self.shipper.note.write(cursor) {
            // It only spares the next start a guess.
            tracing::debug!(%error, "the cursor could not be noted");
        }
    }

    fn tell(&mut self, error: &Error) {
        if let Some(connected) = error.has_answered() {
            self.shipper.shipped.set_connected(connected);
        }
        if error.forbids_selling() {
            self.shipper.shipped.set_forbidden(true);
        }
        self.gave_way = if error.gave_way() { self.gave_way + 1 } else { 0 };
        // Once or twice that is everyday; again and again somebody holds what it waits for.
        if (1..GAVE_WAY_TOLD).contains(&self.gave_way) {
            return tracing::info!(%error, "MySQL let another go first; the batch is shipped again");
        }
        self.migrated &= !error.is_of_missing_table();
        let text = format!("{}: {error}", self.shipper.target);
        if self.told.as_ref() != Some(&text) {
            tracing::warn!(mysql = %self.shipper.target, %error, "orders are not shipped; selling goes on");
            self.shipper.readiness.set_notes("mysql", vec![text.clone()]);
            self.told = Some(text);
        }
    }

    /// Something was shipped, or nothing waits.
    fn tell_well(&mut self, session: &Session) {
        self.gave_way = 0;
        if std::mem::replace(&mut self.told_well, true) {
            return;
        }
        let event = session.cursor().seq;
        let doubt = session.version().doubt();
        if self.told.take().is_some() {
            tracing::info!(mysql = %self.shipper.target, %event, "orders are shipped again");
        } else {
            tracing::info!(mysql = %self.shipper.target, server = session.version().0, %event, "shipping");
        }
        if let Some(doubt) = doubt {
            tracing::warn!("{doubt}");
        }
        self.shipper.readiness.set_notes("mysql", Vec::new());
    }
}

/// How fast it goes, and how fast it may.
#[derive(Default)]
struct Pace {
    cpu: CpuMeter,
    /// Events shipped since.
    events: u64,
    since: Option<Instant>,
}

impl Pace {
    /// Counts what was shipped; returns events a second.
    fn shipped(&mut self, events: usize, took: Duration) -> u64 {
        let now = Instant::now();
        let since = *self.since.get_or_insert(now.checked_sub(took).unwrap_or(now));
        let elapsed = now - since;
        self.events += events as u64;
        let rate = u128::from(self.events) * 1_000 / elapsed.as_millis().max(1);
        if elapsed > RATE_OVER {
            (self.events, self.since) = (0, None);
        }
        u64::try_from(rate).unwrap_or(u64::MAX)
    }

    /// How long to stand back after a batch.
    fn pause_after(&mut self, batch: Duration) -> Duration {
        if self.cpu.others_percent() < BUSY_PERCENT {
            return Duration::ZERO;
        }
        (batch * (100 / BUSY_SHARE - 1)).min(PAUSE_LONGEST)
    }
}

/// Between half of it and all of it: servers that lost MySQL together do not come back together.
fn jittered(wait: Duration) -> Duration {
    // The hasher's keys are random; nothing here needs more than that.
    let chance = u32::try_from(RandomState::new().hash_one(0_u8) & 0xff).expect("a byte");
    wait / 2 + wait / 512 * chance
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_jittered_between_half_and_all() {
        for _ in 0..100 {
            let wait = jittered(Duration::from_secs(1));
            assert!((Duration::from_millis(500)..=Duration::from_secs(1)).contains(&wait), "{wait:?}");
        }
    }
}
