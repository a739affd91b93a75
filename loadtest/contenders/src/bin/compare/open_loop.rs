//! The open loop: orders at a fixed rate, whether or not the contender keeps up.

use anyhow::{Result, ensure};
use contenders::Work;
use serde::Serialize;

use crate::crowd::Crowd;
use crate::standing::Standing;

/// What one run came to.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Open {
    /// Orders a second.
    pub(crate) rate: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    /// The journal's own: a group from its first byte to the end of its fdatasync. Only Doorbuster tells it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) journal_p99_ms: Option<f64>,
}

/// Sends orders at a rate, all of which are accepted.
pub(crate) fn run(standing: &Standing<'_>, crowd: &Crowd, rate: f64, seconds: f64, connections: usize) -> Result<Open> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of some seconds")]
    let count = (rate * seconds) as usize;
    let requests: Vec<_> = crowd.requests(Work::Accepted, count).collect();
    ensure!(requests.len() == count, "{count} tokens are needed, and there are fewer");
    let steady = loadtest::steady(standing.shopper, requests, rate, connections, 201)?;
    ensure!(steady.as_wanted == u64::try_from(count)?, "{} of {count} were accepted", steady.as_wanted);
    #[expect(clippy::cast_precision_loss, reason = "microseconds of some seconds")]
    let ms = |quantile| steady.latency_us.value_at_quantile(quantile) as f64 / 1e3;
    let journal_p99_ms = match standing.ours() {
        Some(ours) => Some(quantile(&ours.journal_groups()?, 0.99) * 1e3),
        None => None,
    };
    Ok(Open { rate, p50_ms: ms(0.5), p99_ms: ms(0.99), journal_p99_ms })
}

/// A quantile of what is counted in classes, each with its upper bound and how many there are up to it; within a class
/// as if all were spread evenly.
fn quantile(classes: &[(f64, f64)], quantile: f64) -> f64 {
    let wanted = classes.last().map_or(0.0, |(_, count)| count * quantile);
    let mut below = (0.0, 0.0);
    for (bound, count) in classes {
        if *count >= wanted {
            let part = (wanted - below.1) / (count - below.1).max(f64::MIN_POSITIVE);
            return if bound.is_finite() { below.0 + (bound - below.0) * part } else { below.0 };
        }
        below = (*bound, *count);
    }
    below.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_lies_in_the_class_that_reaches_it() {
        let classes = [(1.0, 50.0), (2.0, 100.0), (f64::INFINITY, 100.0)];
        assert!((quantile(&classes, 0.25) - 0.5).abs() < 1e-9);
        assert!((quantile(&classes, 0.99) - 1.98).abs() < 1e-9);
        assert!((quantile(&[(1.0, 50.0), (f64::INFINITY, 100.0)], 0.99) - 1.0).abs() < 1e-9);
    }
}
