//! One contender at one kind of work: looked at before and after, so that what is measured is the work and not its
//! failure.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use contenders::{SKU, SKU_GONE, Work};

use crate::client::send;
use crate::crowd::Crowd;
use crate::standing::{Contender, Cpu, Standing};
use crate::wrk::{Measured, Wrk};

/// Orders that are sent beside the crowd's, at most, while one kind of work is done.
const PROBES: u64 = 4;

/// What one run came to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) rps: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) max_ms: f64,
    /// Processor time of all its processes, microseconds a request.
    pub(crate) server_cpu_us: f64,
    /// The store's part of that, where there is one.
    pub(crate) store_cpu_us: Option<f64>,
    /// Orders a second that are on disk when they are answered.
    pub(crate) durable_per_s: Option<f64>,
    /// Orders a second that became rows: to the moment at which the last was there.
    pub(crate) in_mysql_per_s: Option<f64>,
    /// Bytes of a reply, head and body.
    pub(crate) reply_bytes: usize,
}

/// Lets a fresh contender open its connections and find its code, without an order that counts.
pub(crate) fn warm(standing: &Standing<'_>, wrk: &Wrk, crowd: &Crowd, dir: &Path) -> Result<()> {
    let short = Wrk { tool: wrk.tool.clone(), seconds: 0.2, ..*wrk };
    let (measured, _) = short.run(crowd, Work::SoldOut, standing.shopper, dir)?;
    ensure!(measured.accepted() == 0, "what is gone was sold");
    Ok(())
}

/// Does the work for as long as wrk is told.
pub(crate) fn measure(
    contender: Contender,
    standing: &Standing<'_>,
    work: Work,
    wrk: &Wrk,
    crowd: &Crowd,
    dir: &Path,
) -> Result<Sample> {
    let reply_bytes = look(standing, work, crowd, 0)?;
    let before = standing.cpu()?;
    let (measured, begun) = wrk.run(crowd, work, standing.shopper, dir)?;
    let shipped = standing.shipped(work)?;
    let (after, took) = (standing.cpu()?, begun.elapsed());
    look(standing, work, crowd, 1)?;

    let found = standing.accepted(work, &crowd.operator)?;
    check(work, &measured, found, wrk.connections).with_context(|| format!("{measured:?}; the store has {found:?}"))?;
    if let Some(rows) = shipped {
        let accepted = found.unwrap_or_default();
        // The last look was after it.
        ensure!(rows <= accepted && rows + PROBES >= accepted, "MySQL has {rows} orders of {accepted}");
    }
    let cpu_us = |cpu: Duration| cpu.as_secs_f64() * 1e6 / count(measured.requests);
    let Cpu { front, store } = spent(before, after);
    let accepted_per_s = measured.per_second(measured.accepted());
    let sells = work != Work::SoldOut;
    let in_mysql_per_s = match contender {
        Contender::Mysql => Some(accepted_per_s),
        _ => shipped.map(|_| count(measured.accepted()) / took.as_secs_f64()),
    };
    Ok(Sample {
        rps: measured.per_second(measured.requests),
        p50_ms: count(measured.p50_us) / 1e3,
        p99_ms: count(measured.p99_us) / 1e3,
        max_ms: count(measured.max_us) / 1e3,
        server_cpu_us: cpu_us(front + store.unwrap_or_default()),
        store_cpu_us: store.map(cpu_us),
        durable_per_s: (sells && contender.is_durable()).then_some(accepted_per_s),
        in_mysql_per_s: in_mysql_per_s.filter(|_| sells),
        reply_bytes,
    })
}

/// Sees that what is there is sold and what is gone is not, each with the words for it; gives the length of the reply
/// that the crowd mostly gets.
fn look(standing: &Standing<'_>, work: Work, crowd: &Crowd, time: u64) -> Result<usize> {
    let gone = send(standing.shopper, &crowd.probe(work, time, SKU_GONE)?)?;
    ensure!(gone.status == 409 && gone.body.contains(r#""code":"sold_out""#), "gone: {} {}", gone.status, gone.body);
    let sold = send(standing.shopper, &crowd.probe(work, time, SKU)?)?;
    ensure!(sold.status == 201 && sold.body.contains(r#""state":"held""#), "{} {}", sold.status, sold.body);
    for (reply, header) in [(&gone, "x-request-id"), (&sold, "x-request-id"), (&sold, "location")] {
        ensure!(reply.head.to_ascii_lowercase().contains(&format!("\n{header}: ")), "no {header}: {}", reply.head);
    }
    let usual = if work == Work::Accepted { sold } else { gone };
    Ok(usual.head.len() + usual.body.len())
}

/// Whether the crowd was answered as the work says, and the store has what was promised.
fn check(work: Work, measured: &Measured, found: Option<u64>, connections: usize) -> Result<()> {
    let (asked, accepted) = (measured.requests, measured.accepted());
    // Requests that are on their way when wrk ends are sent and not counted.
    let open = u64::try_from(connections)?;
    let wanted = asked.checked_div(work.one_accepted_in()).unwrap_or(0);
    let slack = if work == Work::OnePercent { open } else { 0 };
    ensure!(
        (wanted.saturating_sub(slack)..=wanted + slack).contains(&accepted),
        "{accepted} of {asked} orders were accepted at {}",
        work.name()
    );
    if let Some(found) = found {
        ensure!((accepted..=accepted + open + PROBES).contains(&found), "{found} orders for {accepted} acceptances");
    }
    Ok(())
}

fn spent(before: Cpu, after: Cpu) -> Cpu {
    let store = after.store.zip(before.store).map(|(after, before)| after.saturating_sub(before));
    Cpu { front: after.front.saturating_sub(before.front), store }
}

#[expect(clippy::cast_precision_loss, reason = "requests of some seconds")]
fn count(number: u64) -> f64 {
    number as f64
}
