//! `doorbuster serve`: the server on its journal, from the lock on its data directory to the last durable byte.

use std::io::Write;
use std::path::Path;
use std::thread;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::exit;
use super::keeper::{Keeper, Keeping};
use super::process::{self, Error, Front, Process};
use super::signals::Signals;
use crate::actors::Readiness;
use crate::clock::Clock;
use crate::config::{self, Config, LogFormat};
use crate::ids::UnixMillis;
use crate::persist::checkpoint::Store;
use crate::persist::{self, DataDirLock, Generations, Journal, JournalReader, Tail};
use crate::telemetry::log_to_stderr;

/// Descriptors kept for everything but connections: the journal, listeners, pollers, logs, the catalogue.
const OWN_DESCRIPTORS: usize = 256;
/// How often it is looked whether generations are sealed.
const SEAL_LOOK_EVERY: Duration = Duration::from_secs(1);
/// Below so many events since the last checkpoint the journal is read as fast as another one would be.
const CHECKPOINT_EVENTS_MIN: u64 = 100_000;
/// How long a failed process may take to say why before it ends without words.
const LAST_WORDS_WAIT: Duration = Duration::from_secs(1);

/// Runs until a signal; gives the exit code, see [`exit`].
#[must_use]
pub fn run(config_file: &Path) -> u8 {
    let mut config = match config::load(config_file, std::env::vars_os()) {
        Ok(config) => config,
        Err(faults) => {
            faults.iter().for_each(|fault| eprintln!("{fault}"));
            return exit::FAULTY;
        }
    };
    log_to_stderr(config.log.format == LogFormat::Json, config.log.level);
    let started = Clock::start(UnixMillis(0)).now_ms();
    let _lock = match DataDirLock::take(&config.data_dir, started) {
        Ok(lock) => lock,
        Err(error @ persist::Error::Locked { .. }) => return told(&error, exit::LOCKED),
        Err(error) => return told(&error, exit::CANNOT),
    };
    fit_descriptors(&mut config);
    match actix_web::rt::System::new().block_on(serve(&config, started)) {
        Ok(()) => exit::OK,
        Err(error @ (Error::Auth(_) | Error::Listen(_))) => told(&error, exit::FAULTY),
        Err(Error::Journal(error) | Error::Mysql(persist::mysql::Error::Journal(error))) if !error.is_damage() => {
            told(&error, exit::CANNOT)
        }
        Err(error @ (Error::Journal(_) | Error::Unfit(_) | Error::NoCheckpoint(_) | Error::Mysql(_))) => {
            told(&error, exit::DAMAGED)
        }
        Err(error @ Error::Close(_)) => told(&error, exit::JOURNAL_FAULT),
    }
}

/// Takes as many file descriptors as the system lets us have, and lowers the connections to what they are enough for:
/// beyond that a connection waits to be accepted, and the journal and the catalogue can still open their files.
fn fit_descriptors(config: &mut Config) {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }) {
        tracing::warn!(%error, "the limit on open files could not be raised");
    }
    let open_files_max = getrlimit(Resource::Nofile).current.and_then(|limit| usize::try_from(limit).ok());
    let for_connections = open_files_max.unwrap_or(usize::MAX).saturating_sub(OWN_DESCRIPTORS);
    let enough_for = (for_connections / (config.limits.worker_threads() + 1)).max(1);
    if enough_for < config.limits.connections_max {
        let wanted = config.limits.connections_max;
        tracing::info!(open_files_max, wanted, enough_for, "limits.connections_max is lowered to fit the open files");
        config.limits.connections_max = enough_for;
    }
}

fn told(error: &dyn std::error::Error, code: u8) -> u8 {
    // Where even that cannot be written the exit code still says it.
    let _told = writeln!(std::io::stderr(), "doorbuster: {error}");
    code
}

async fn serve(config: &Config, started: UnixMillis) -> Result<(), Error> {
    let mut signals = Signals::listen()?;
    let front = Front::bind(config, format!("{:x}{:04x}", started.0, std::process::id() & 0xffff))?;
    let (shopper, operator, drain) = (front.bound.shopper, front.bound.operator, front.bound.drain());
    tracing::info!(%shopper, %operator, "listening; recovering");
    let mut listeners = actix::spawn(front.bound.serve());

    let data_dir = config.data_dir.clone();
    let generations = Generations { max_bytes: config.journal.generation_max_bytes, ..Generations::default() };
    let opening = actix_web::web::block(move || {
        let journal = persist::open(&data_dir, &generations)?;
        let recovered = process::recover_from(&data_dir, &journal)?;
        Ok::<_, Error>((journal, recovered))
    });
    let opened = tokio::select! {
        opened = opening => opened.expect("the pool of blocking threads outlives the start"),
        _ = signals.next() => {
            // Nothing was acknowledged yet, and reading cannot be cut short: the next start reads again.
            tracing::info!("stopped while recovering");
            std::process::exit(i32::from(exit::OK));
        }
    };
    let (journal, recovered) = opened?;
    actix::spawn(tell_of_seal_trouble(journal.reader(), front.state.readiness.clone()));
    let passed_over = recovered.passed_over.iter().map(ToString::to_string).collect();
    front.state.readiness.set_notes("checkpoint", passed_over);
    let (reader, found) = (journal.reader(), recovered.tail);
    let newest = recovered.from;
    let clock = process::clock(recovered.sales.last_at_ms());
    let process = Process::open(config, &front.state, journal, recovered.sales, clock, stop_at_once).await?;
    let took_ms = process.clock.now_ms().0.saturating_sub(started.0);
    tracing::info!(activities = process.house.router.count(), took_ms, "ready");
    let is_worth_it = found.seq.0 - newest.seq.0 >= CHECKPOINT_EVENTS_MIN;
    let sealed = reader.clone();
    let may_fold_to = move || match sealed.sealed_tail() {
        Ok(sealed) if sealed.seq > found.seq => sealed,
        // What a start had to replay, the next need not.
        Ok(_) if is_worth_it => found,
        // Closed: the process is stopping.
        Ok(_) | Err(_) => Tail::START,
    };
    let checkpointer = process::make_checkpoints(config, reader.clone(), newest, may_fold_to)?;
    let keeping = process.shipped.clone().map(|shipped| Keeping {
        store: Store::of(&config.data_dir),
        journal: reader,
        shipped,
        clock: process.clock.clone(),
        keep_days: config.journal.keep_generations_days,
    });
    let keeper = keeping.map(Keeper::start).transpose()?;

    let asked_politely = tokio::select! {
        asked_politely = signals.next() => asked_politely,
        ended = &mut listeners => {
            // Nobody asked them to. Without ears the process is no use; what was acknowledged is on disk.
            let why = ended.map_or_else(|_| "they panicked".to_owned(), |ended| format!("{ended:?}"));
            return Err(Error::Listen(std::io::Error::other(format!("the listeners ended: {why}"))));
        }
    };
    tracing::info!("draining");
    front.state.readiness.draining();
    if asked_politely {
        actix_web::rt::time::sleep(Duration::from_secs(config.limits.drain_delay_s)).await;
    }
    drain.stop().await;
    // They have ended because they were told to; what they would say is said already.
    let _ended = listeners.await;
    // They read the journal, which is closed next.
    keeper.into_iter().for_each(Keeper::stop);
    checkpointer.stop();
    let tail = process.close().map_err(Error::Close)?;
    tracing::info!(events = %tail.seq, "stopped; everything is durable");
    Ok(())
}

/// Logs what keeps generations from being sealed, when that changes. Nothing is lost by it; but a start takes longer and
/// needs more room, the more is not sealed.
async fn tell_of_seal_trouble(journal: JournalReader, readiness: Readiness) {
    let mut told = None;
    while let Ok(trouble) = journal.seal_trouble() {
        if trouble != told {
            match &trouble {
                Some(trouble) => tracing::warn!(
                    generation = %trouble.path.display(),
                    error = trouble.message,
                    "a generation of the journal cannot be sealed; nothing is lost, and it is tried again"
                ),
                None => tracing::info!("generations of the journal are sealed again"),
            }
            let text = trouble.as_ref().map(|trouble| format!("{}: {}", trouble.path.display(), trouble.message));
            readiness.set_notes("sealing", text.into_iter().collect());
            told = trouble;
        }
        actix_web::rt::time::sleep(SEAL_LOOK_EVERY).await;
    }
}

/// The journal failed. What is in memory may be ahead of the disk, so nothing more may be said to anyone: only a start
/// from disk gives the true state again. Exits from the writer's thread, before any handler can run on.
fn stop_at_once(error: persist::Error) {
    let code = i32::from(exit::JOURNAL_FAULT);
    // Whoever reads our stderr may have stopped reading; that must not keep a process alive that can only mislead.
    thread::spawn(move || {
        thread::sleep(LAST_WORDS_WAIT);
        std::process::exit(code);
    });
    // Where even that cannot be written the exit code still says it.
    let _told = writeln!(
        std::io::stderr(),
        "doorbuster: the journal failed: {error}. Nothing was acknowledged since; the process stops. Mend the disk and \
         start again: every acknowledged order is kept."
    );
    std::process::exit(code);
}
