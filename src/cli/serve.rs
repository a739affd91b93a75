//! `doorbuster serve`: the server on its journal, from the lock on its data directory to the last durable byte.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use actix_web::rt::signal::unix::{Signal, SignalKind, signal};

use super::audit::invariant_of;
use super::exit;
use super::process::{self, Error, Front, Process};
use crate::clock::Clock;
use crate::config::{self, Config, LogFormat};
use crate::ids::UnixMillis;
use crate::persist::{self, DataDirLock};
use crate::telemetry::log_to_stderr;

/// Runs until a signal; gives the exit code, see [`exit`].
#[must_use]
pub fn run(config_file: &Path) -> u8 {
    let config = match config::load(config_file, std::env::vars_os()) {
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
    match actix_web::rt::System::new().block_on(serve(&config, started)) {
        Ok(()) => exit::OK,
        Err(error @ (Error::Auth(_) | Error::Listen(_))) => told(&error, exit::FAULTY),
        Err(Error::Journal(error)) if !is_damage(&error) => told(&error, exit::CANNOT),
        Err(error @ (Error::Journal(_) | Error::Unfit(_))) => told(&error, exit::DAMAGED),
        Err(error @ Error::Close(_)) => told(&error, exit::JOURNAL_FAULT),
    }
}

/// Whether the journal itself is at fault. A full disk, a thread or a descriptor that is not to be had passes.
fn is_damage(error: &persist::Error) -> bool {
    matches!(error, persist::Error::Refused { .. }) || invariant_of(error).is_some()
}

fn told(error: &dyn std::error::Error, code: u8) -> u8 {
    // Where even that cannot be written the exit code still says it.
    let _told = writeln!(std::io::stderr(), "doorbuster: {error}");
    code
}

async fn serve(config: &Config, started: UnixMillis) -> Result<(), Error> {
    // First of all: the first process of a container is not ended by a signal that it does not catch.
    let mut stop = Stop::catch()?;
    let front = Front::bind(config, format!("{:x}{:04x}", started.0, std::process::id() & 0xffff))?;
    let (shopper, operator, drain) = (front.bound.shopper, front.bound.operator, front.bound.drain());
    tracing::info!(%shopper, %operator, "listening; recovering");
    let listeners = actix::spawn(front.bound.serve());

    let data_dir = config.data_dir.clone();
    let opening = actix_web::web::block(move || {
        let journal = persist::open(&data_dir)?;
        let recovered = process::recover(&journal)?;
        Ok::<_, Error>((journal, recovered))
    });
    let opened = tokio::select! {
        opened = opening => opened.expect("the pool of blocking threads outlives the start"),
        _ = stop.asked() => stop_in_recovery(),
    };
    let (journal, recovered) = opened?;
    let clock = process::clock(recovered.last_at_ms);
    let shards = recovered.sales.len();
    let process = Process::open(config, &front.state, journal, recovered, clock, stop_at_once).await?;
    let took_ms = process.clock.now_ms().0.saturating_sub(started.0);
    tracing::info!(shards, took_ms, "ready");

    let asked_politely = stop.asked().await;
    tracing::info!("draining");
    front.state.readiness.draining();
    if asked_politely {
        actix_web::rt::time::sleep(Duration::from_secs(config.limits.drain_delay_s)).await;
    }
    drain.stop().await;
    // The listeners have ended because they were told to; what they would say is said already.
    let _ended = listeners.await;
    let tail = process.close().map_err(Error::Close)?;
    tracing::info!(events = %tail.seq, "stopped; everything is durable");
    Ok(())
}

/// The journal failed. What is in memory may be ahead of the disk, so nothing more may be said to anyone: only a start
/// from disk gives the true state again. Exits from the writer's thread, before any handler can run on.
fn stop_at_once(error: persist::Error) {
    let mut stderr = std::io::stderr().lock();
    // Where even that cannot be written the exit code still says it.
    let _told = writeln!(
        stderr,
        "doorbuster: the journal failed: {error}. Nothing was acknowledged since; the process stops. Mend the disk and \
         start again: every acknowledged order is kept."
    );
    std::process::exit(i32::from(exit::JOURNAL_FAULT));
}

/// Recovery cannot be called off, and need not be waited for: wherever it is, the next start begins anew, as after a kill.
fn stop_in_recovery() -> ! {
    tracing::info!("stopped while recovering; the next start begins the recovery anew");
    std::process::exit(i32::from(exit::OK))
}

/// The signals that ask the process to stop.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    fn catch() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for SIGTERM (`true`) or Ctrl-C (`false`: a person waits, so there is no delay for load balancers).
    async fn asked(&mut self) -> bool {
        tokio::select! {
            _ = self.terminate.recv() => true,
            _ = self.interrupt.recv() => false,
        }
    }
}
