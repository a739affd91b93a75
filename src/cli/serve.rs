//! `doorbuster serve`: the server on its journal, from the lock on its data directory to the last durable byte.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use actix_web::rt::signal::unix::{SignalKind, signal};

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
        Err(error @ (Error::Journal(_) | Error::Unfit(_))) => told(&error, exit::DAMAGED),
    }
}

fn told(error: &dyn std::error::Error, code: u8) -> u8 {
    eprintln!("doorbuster: {error}");
    code
}

async fn serve(config: &Config, started: UnixMillis) -> Result<(), Error> {
    let front = Front::bind(config, format!("{:x}{:04x}", started.0, std::process::id() & 0xffff))?;
    let (shopper, operator, drain) = (front.bound.shopper, front.bound.operator, front.bound.drain());
    tracing::info!(%shopper, %operator, "listening; recovering");
    let listeners = actix::spawn(front.bound.serve());

    let data_dir = config.data_dir.clone();
    let opened = actix_web::web::block(move || {
        let journal = persist::open(&data_dir)?;
        let recovered = process::recover(&journal)?;
        Ok::<_, Error>((journal, recovered))
    })
    .await
    .expect("the pool of blocking threads outlives the start");
    let (journal, recovered) = opened?;
    let clock = process::clock(recovered.last_at_ms);
    let shards = recovered.sales.len();
    let process = Process::open(config, &front.state, journal, recovered, clock, stop_at_once).await?;
    let took_ms = process.clock.now_ms().0.saturating_sub(started.0);
    tracing::info!(shards, took_ms, "ready");

    let asked_politely = wait_for_signal().await?;
    tracing::info!("draining");
    front.state.readiness.draining();
    if asked_politely {
        actix_web::rt::time::sleep(Duration::from_secs(config.limits.drain_delay_s)).await;
    }
    drain.stop().await;
    // The listeners have ended because they were told to; what they would say is said already.
    let _ended = listeners.await;
    let tail = process.close()?;
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

/// Waits for SIGTERM (`true`) or Ctrl-C (`false`: a person waits, so there is no delay for load balancers).
async fn wait_for_signal() -> std::io::Result<bool> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => Ok(true),
        _ = interrupt.recv() => Ok(false),
    }
}
