//! A running server, put together: journal, actors, listeners. `serve` runs one on sled; tests run one on whatever
//! journal and clock they like, with real sockets.
//!
//! ```text
//!  bind listeners (503 recovering) ─▶ open journal ─▶ replay ─▶ clock ─▶ writer ─▶ actors ─▶ catalogue ─▶ ready
//!  drain ─▶ stop listeners ─▶ stop actors ─▶ stop the writer, cleanly
//! ```

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::web::Data;

use super::shipping::Mysql;
use crate::actors::{
    Ack, CatalogSource, Desk, House, Readiness, Settings, Shipped, Shipper, Shipping, Threads, apply_catalog,
};
use crate::clock::{Clock, SLEW_EVERY};
use crate::config::Config;
use crate::domain::{Sales, Unfit};
use crate::http::{Bound, State, Verifier, bind};
use crate::ids::{Seq, UnixMillis};
use crate::persist::checkpoint::{self, Checkpointer, Limits, Pace, Recovered, Store, Told};
use crate::persist::{self, DurableGroup, Journal, Observe, Options, Tail, Writer, free_bytes, unsealed_bytes};
use crate::telemetry::Metrics;

/// How often the disk's free space is looked at.
const STORAGE_LOOK_EVERY: Duration = Duration::from_secs(1);

/// Up to so many cores the actors share the threads that serve shoppers.
const FEW_CORES: usize = 4;

/// How long the listeners' threads may take to start.
const WORKERS_WAIT: Duration = Duration::from_secs(5);

/// What of the state the making of a checkpoint may hold in memory at a time; an activity that is larger by itself is held
/// whole. Some one and a half million orders.
const CHECKPOINT_MEMORY_BYTES: u64 = 256 << 20;

/// How much of one core may go into checkpoints while one is made.
const CHECKPOINT_SHARE_PERCENT: u32 = 25;

/// How often it is looked whether activities may leave memory.
const RETIRE_EVERY: Duration = Duration::from_secs(1);

/// Why a process did not come up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A key of `[auth]` does not fit its algorithm.
    #[error("auth: {0}")]
    Auth(#[from] jsonwebtoken::errors::Error),
    /// A listener's address cannot be had.
    #[error("{0}")]
    Listen(#[from] std::io::Error),
    /// The journal cannot be used.
    #[error("{0}")]
    Journal(#[from] persist::Error),
    /// MySQL has orders that this journal does not have.
    #[error("{0}")]
    Mysql(#[from] persist::mysql::Error),
    /// The stop was not clean.
    #[error(
        "the journal could not be closed cleanly: {0}. Every acknowledged order is kept; the next start checks it all"
    )]
    Close(#[source] persist::Error),
    /// The journal is whole and holds an event that cannot be.
    #[error("{0}")]
    Unfit(#[from] Unfit),
    /// The journal's beginning was dropped, and nothing stands for it.
    #[error("{0}")]
    NoCheckpoint(checkpoint::Failed),
}

/// Listeners that answer `recovering`, before there are actors.
pub struct Front {
    /// What the handlers use.
    pub state: Data<State>,
    /// The sockets.
    pub bound: Bound,
}

/// A server that takes orders.
pub struct Process {
    /// The actors.
    pub house: House,
    /// The process clock.
    pub clock: Clock,
    /// What is known of MySQL, where orders are shipped there.
    pub shipped: Option<Shipped>,
    writer: Writer<Ack>,
    shipping: Option<Shipping>,
}

impl Front {
    /// Binds the listeners.
    ///
    /// # Errors
    /// [`Error::Auth`], [`Error::Listen`].
    pub fn bind(config: &Config, instance: String) -> Result<Self, Error> {
        let verifier = Verifier::new(&config.auth)?;
        let metrics = Arc::new(Metrics::default());
        let state = State::new(
            verifier,
            Readiness::default(),
            metrics,
            config.limits.clone(),
            config.payments.clone(),
            instance,
        );
        let state = Data::new(state);
        let bound = bind(config, state.clone())?;
        Ok(Self { state, bound })
    }
}

/// Folds a journal into the state of every shard, from the newest checkpoint on that can be used. Which one that is, and
/// what is wrong with newer ones, is logged.
///
/// # Errors
/// As [`recover`]: no fault of a checkpoint is one.
pub fn recover_from<R: persist::Read + ?Sized>(data_dir: &Path, journal: &R) -> Result<Recovered, Error> {
    let begun = Instant::now();
    let recovered = checkpoint::recover(&Store::of(data_dir), journal).map_err(|failed| match failed {
        checkpoint::Failed::Journal(error) => Error::Journal(error),
        checkpoint::Failed::Unfit(unfit) => Error::Unfit(unfit),
        failed @ checkpoint::Failed::NoCheckpoint { .. } => Error::NoCheckpoint(failed),
    })?;
    for passed_over in &recovered.passed_over {
        tracing::warn!("{passed_over}; an older state and more of the journal do instead");
    }
    let (from, tail) = (recovered.from.seq, recovered.tail.seq);
    tracing::info!(
        checkpoint = %from,
        replayed = tail.0 - from.0,
        events = %tail,
        took_ms = millis(begun.elapsed()),
        "recovered"
    );
    Ok(recovered)
}

/// Starts making checkpoints in the background: see [`Checkpointer::spawn`].
///
/// # Errors
/// [`Error::Journal`] where the thread cannot be started.
pub fn make_checkpoints<R: persist::Read + Send + 'static>(
    config: &Config,
    journal: R,
    newest: Tail,
    may_fold_to: impl Fn() -> Tail + Send + 'static,
) -> Result<Checkpointer, Error> {
    let limits = Limits {
        memory_bytes: CHECKPOINT_MEMORY_BYTES,
        share_percent: CHECKPOINT_SHARE_PERCENT,
        min_free_bytes: config.journal.min_free_bytes,
    };
    let store = Store::of(&config.data_dir);
    let checkpointer =
        Checkpointer::spawn(store, journal, limits, Pace::default(), newest, may_fold_to, |told| match told {
            Told::Made { made, took } => {
                for passed_over in &made.passed_over {
                    tracing::warn!("{passed_over}");
                }
                let (pieces, new_pieces) = made.pieces;
                tracing::info!(
                    event = %made.tail.seq,
                    from = %made.from.seq,
                    orders = made.orders,
                    pieces,
                    new_pieces,
                    written_bytes = made.written_bytes,
                    passes = made.passes,
                    took_ms = millis(took),
                    "checkpoint"
                );
            }
            Told::Failed(error) => {
                tracing::warn!(%error, "no checkpoint was made; the one before stands, and it is tried again");
            }
        })?;
    Ok(checkpointer)
}

fn millis(took: Duration) -> u64 {
    u64::try_from(took.as_millis()).unwrap_or(u64::MAX)
}

/// Folds a journal into the state of every shard, from its beginning.
///
/// # Errors
/// [`Error::Journal`] for a record that does not hold, [`Error::Unfit`] for an event that cannot be.
pub fn recover<R: persist::Read + ?Sized>(journal: &R) -> Result<Sales, Error> {
    let mut recovered = Sales::default();
    let mut unfit = None;
    persist::replay(journal, Tail::START, Seq(u64::MAX), |seq, entry| {
        if unfit.is_none() {
            unfit = recovered.take(seq, &entry).err();
        }
    })?;
    match unfit {
        Some(unfit) => Err(unfit.into()),
        None => Ok(recovered),
    }
}

impl Process {
    /// Starts the actors on a recovered journal, applies the catalogue, and opens the listeners to traffic. Runs inside
    /// an actix system. `on_fault` is told when the journal fails; nothing is acknowledged from then on.
    ///
    /// # Errors
    /// [`Error::Journal`] where the writer's thread cannot be started; [`Error::Mysql`] where MySQL has orders that this
    /// journal does not have.
    pub async fn open<J: Journal + 'static>(
        config: &Config,
        state: &Data<State>,
        journal: J,
        recovered: Sales,
        clock: Clock,
        on_fault: impl FnOnce(persist::Error) + Send + 'static,
    ) -> Result<Self, Error> {
        let metrics = Arc::clone(&state.metrics);
        let mysql = config.mysql.as_ref().map(|mysql| Mysql::new(mysql, &config.data_dir));
        if let Some(mysql) = &mysql {
            mysql.must_agree(&journal.reader()).await?;
        }
        let shipped = mysql.as_ref().map(|mysql| mysql.shipped(&journal.reader()));
        let history = Arc::new(journal.reader());
        let writer = Writer::spawn(
            journal,
            Options {
                queue_submissions_max: config.limits.journal_queue,
                observe: Box::new(Counted { metrics: Arc::clone(&metrics), shipped: shipped.clone() }),
                on_fault: Box::new(on_fault),
            },
        )?;
        let settings = Settings {
            journal: writer.handle(),
            clock: clock.clone(),
            readiness: state.readiness.clone(),
            history: history.clone(),
            mysql: mysql.as_ref().map(|mysql| mysql.target.clone()).zip(shipped.clone()),
            catalog: CatalogSource::of(config),
            mailbox: config.limits.shard_mailbox,
            threads: threads(config, state).await,
        };
        let house = House::open(settings, recovered);

        look_at_storage(&config.data_dir, config.journal.min_free_bytes, state);
        // The door is shut while the catalogue is applied, but the desk has to get through it.
        state.readiness.ready();
        apply_catalog(&house.desk, &state.readiness).await;
        house.settle().await;

        let shipping = mysql.zip(shipped.clone()).map(|(mysql, shipped)| {
            let (target, note, readiness, clock) = (mysql.target, mysql.note, state.readiness.clone(), clock.clone());
            let handle = writer.handle();
            let durable = Arc::new(move || handle.durable_seq());
            Shipping::start(Shipper { target, journal: history, durable, shipped, readiness, clock, note })
        });
        let (handle, gauged, router) = (writer.handle(), clock.clone(), house.router.clone());
        state.open(house.router.clone(), house.desk.clone(), move |metrics| {
            if let Some(lag) = router.lag() {
                let gauge = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
                metrics.mysql_connected.set(i64::from(lag.connected));
                metrics.mysql_lag_events.set(gauge(lag.events));
                #[expect(clippy::cast_precision_loss, reason = "a gauge in seconds; no lag is 2^53 ms")]
                metrics.mysql_lag_seconds.set(lag.ms as f64 / 1_000.0);
                metrics.mysql_events_per_second.set(gauge(lag.rate));
            }
            metrics.journal_queue.set(i64::try_from(handle.depth()).unwrap_or(i64::MAX));
            #[expect(clippy::cast_precision_loss, reason = "a gauge in seconds; no gap is 2^53 ms")]
            metrics.clock_gap_seconds.set(gauged.gap_ms() as f64 / 1_000.0);
        });
        tend(config, state.clone(), clock.clone());
        retire(house.desk.clone(), config.journal.retain_ended_s.saturating_mul(1_000));
        Ok(Self { house, clock, shipped, writer, shipping })
    }

    /// Stops the actors, makes everything durable, and closes the journal. The listeners have stopped before.
    ///
    /// # Errors
    /// Where the journal could not be closed cleanly; nothing acknowledged is lost.
    pub fn close(self) -> Result<Tail, persist::Error> {
        self.house.close();
        // Nothing is added any more: what is durable can be shipped to the end.
        self.shipping.into_iter().for_each(Shipping::stop);
        self.writer.stop()
    }
}

/// Where the actors run. With few cores, on the threads that serve shoppers: a question then mostly needs no other thread,
/// and none is woken for it. With more, on their own, since a busy shard would slow the shoppers that share its thread.
async fn threads(config: &Config, state: &Data<State>) -> Threads {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    if cores > FEW_CORES {
        return Threads::Own(cores);
    }
    let workers = state.workers.started(config.limits.worker_threads());
    // Where the listeners cannot start, whoever serves them says so.
    let started = actix_web::rt::time::timeout(WORKERS_WAIT, workers).await;
    started.map_or(Threads::Own(cores), Threads::Shared)
}

/// What a server does by the clock, beside its work.
fn tend(config: &Config, state: Data<State>, clock: Clock) {
    actix::spawn(async move {
        let mut every = actix_web::rt::time::interval(SLEW_EVERY);
        loop {
            every.tick().await;
            clock.slew();
        }
    });
    let (data_dir, min_free_bytes) = (config.data_dir.clone(), config.journal.min_free_bytes);
    actix::spawn(async move {
        let mut every = actix_web::rt::time::interval(STORAGE_LOOK_EVERY);
        loop {
            every.tick().await;
            look_at_storage(&data_dir, min_free_bytes, &state);
            state.forget_quiet_users();
        }
    });
}

/// Lets what ended long ago leave memory, from time to time.
fn retire(desk: Desk, retain_ms: u64) {
    actix::spawn(async move {
        let mut every = actix_web::rt::time::interval(RETIRE_EVERY);
        loop {
            every.tick().await;
            let activities = desk.retire_ended(retain_ms).await;
            if activities > 0 {
                tracing::info!(activities, "ended long ago; left memory, and stay answerable from the journal");
            }
        }
    });
}

/// Compares the free space with what must be kept: `min_free_bytes`, and as much as the generations take that are not
/// sealed, because a start after a kill makes a copy of those, and sealing them writes them once more.
fn look_at_storage(data_dir: &Path, min_free_bytes: u64, state: &State) {
    match free_bytes(data_dir).and_then(|free| Ok((free, unsealed_bytes(data_dir)?))) {
        Ok((free, unsealed)) => {
            let needed = min_free_bytes.saturating_add(unsealed);
            let (was_low, is_low) = (state.readiness.is_storage_low(), free < needed);
            if was_low != is_low {
                tracing::warn!(free, needed, is_low, "storage: new orders are refused while it is low");
            }
            state.readiness.set_storage_low(is_low);
            state.metrics.storage_free_bytes.set(i64::try_from(free).unwrap_or(i64::MAX));
        }
        Err(error) => tracing::warn!(%error, "the disk's free space cannot be read"),
    }
}

/// Counts groups for `/metrics`, and wakes the shipper.
struct Counted {
    metrics: Arc<Metrics>,
    shipped: Option<Shipped>,
}

impl Observe for Counted {
    fn group(&mut self, group: &DurableGroup) {
        let metrics = &self.metrics;
        metrics.journal_records.inc();
        metrics.journal_events.inc_by(u64::from(group.events));
        metrics.journal_bytes.inc_by(group.bytes as u64);
        metrics.journal_append_seconds.observe(group.append.as_secs_f64());
        metrics.journal_group_events.observe(f64::from(group.events));
        self.shipped.iter().for_each(Shipped::wake);
    }
}

/// The process clock for a journal that ends at `last_at_ms`.
#[must_use]
pub fn clock(last_at_ms: UnixMillis) -> Clock {
    let clock = Clock::start(last_at_ms);
    let gap_ms = clock.gap_ms();
    if gap_ms < -1_000 {
        tracing::warn!(gap_ms, "wall time is before the journal's last event; time goes on from there");
    }
    clock
}
