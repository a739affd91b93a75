//! Requests that were prepared beforehand, at a fixed rate, and how long each took from the instant at which it was
//! due: a benchmark's open loop, without any of the crowd's behaviour.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use hdrhistogram::Histogram;

use crate::connection::Connection;
use crate::crowd::runtime;
use crate::schedule::{Arrivals, Schedule};

const TIMEOUT: Duration = Duration::from_secs(10);

/// What came back.
#[derive(Debug)]
pub struct Steady {
    /// Microseconds from the instant at which each request was due to the end of its reply.
    pub latency_us: Histogram<u64>,
    /// Replies of the status that was wanted.
    pub as_wanted: u64,
}

/// Sends each request once, `rate` a second, over so many keep-alive connections; `status` is what each should be
/// answered.
///
/// # Errors
/// Where a request got no answer.
pub fn steady(
    target: SocketAddr,
    requests: Vec<Vec<u8>>,
    rate: f64,
    connections: usize,
    status: u16,
) -> Result<Steady> {
    runtime()?.block_on(async {
        let schedule = Arc::new(Schedule::Open(Arrivals::new(Instant::now(), rate)));
        let (requests, next) = (Arc::new(requests), Arc::new(AtomicUsize::new(0)));
        let tasks: Vec<_> = (0..connections)
            .map(|_| {
                let (schedule, requests, next) = (schedule.clone(), requests.clone(), next.clone());
                tokio::spawn(async move {
                    let mut connection = Connection::new(target, TIMEOUT);
                    let mut part = Steady { latency_us: Histogram::new(3)?, as_wanted: 0 };
                    loop {
                        let due = schedule.turn().await;
                        let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed)) else {
                            return anyhow::Ok(part);
                        };
                        let reply = connection.exchange(request).await;
                        let reply = reply.map_err(|error| anyhow::anyhow!("a request got no answer: {error:?}"))?;
                        part.as_wanted += u64::from(reply.status == status);
                        part.latency_us.record(u64::try_from(due.elapsed().as_micros())?)?;
                    }
                })
            })
            .collect();
        let all = async {
            let mut whole = Steady { latency_us: Histogram::new(3)?, as_wanted: 0 };
            for task in tasks {
                let part = task.await.context("a connection's task panicked")??;
                whole.latency_us.add(&part.latency_us)?;
                whole.as_wanted += part.as_wanted;
            }
            Ok(whole)
        };
        tokio::select! {
            whole = all => whole,
            fault = schedule.drive() => bail!("the pacer stopped: {fault:?}"),
        }
    })
}
