//! What all rounds came to: medians and spreads, ratios to the ceiling of the same round, and whether the aims are met.

use std::collections::BTreeMap;

use contenders::Work;
use serde::Serialize;

use crate::machine::Machine;
use crate::measure::Sample;
use crate::open_loop::Open;
use crate::standing::Contender;

/// All samples, by contender and work, in the order of the rounds.
pub(crate) type Samples = BTreeMap<(Contender, Work), Vec<Sample>>;
/// All runs of the open loop, by contender.
pub(crate) type Opens = BTreeMap<Contender, Vec<Open>>;

/// What is saved.
#[derive(Serialize)]
pub(crate) struct Results {
    pub(crate) commit: String,
    pub(crate) machine: Machine,
    pub(crate) rounds: usize,
    pub(crate) seconds: f64,
    pub(crate) connections: usize,
    pub(crate) contenders: BTreeMap<&'static str, BTreeMap<&'static str, Figures>>,
    pub(crate) open_loop: BTreeMap<&'static str, Open>,
    pub(crate) aims: Vec<Aim>,
}

/// One contender at one kind of work.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figures {
    pub(crate) rps_median: f64,
    pub(crate) rps_min: f64,
    pub(crate) rps_max: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) max_ms: f64,
    pub(crate) server_cpu_us: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) store_cpu_us: Option<f64>,
    /// To the ceiling of the same round.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) of_ceiling: Option<Spread>,
    pub(crate) decided_per_s: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) durable_per_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) in_mysql_per_s: Option<f64>,
    pub(crate) reply_bytes: usize,
}

/// A figure of every round.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

/// What was aimed at, and what came of it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Aim {
    pub(crate) what: String,
    pub(crate) aim: String,
    pub(crate) measured: f64,
    pub(crate) met: bool,
}

impl Spread {
    /// `None` of nothing.
    pub(crate) fn of(figures: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = figures.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median =
            if sorted.len() % 2 == 1 { sorted[middle] } else { f64::midpoint(sorted[middle - 1], sorted[middle]) };
        Some(Self { median: rounded(median), min: rounded(min), max: rounded(max) })
    }
}

impl Figures {
    fn of(samples: &[Sample], ceiling: Option<&Vec<Sample>>) -> Option<Self> {
        let median = |figure: fn(&Sample) -> f64| Spread::of(samples.iter().map(figure)).map(|spread| spread.median);
        let maybe = |figure: fn(&Sample) -> Option<f64>| {
            Spread::of(samples.iter().filter_map(figure)).map(|spread| spread.median)
        };
        let rps = Spread::of(samples.iter().map(|sample| sample.rps))?;
        Some(Self {
            rps_median: rps.median,
            rps_min: rps.min,
            rps_max: rps.max,
            p50_ms: median(|sample| sample.p50_ms)?,
            p99_ms: median(|sample| sample.p99_ms)?,
            max_ms: median(|sample| sample.max_ms)?,
            server_cpu_us: median(|sample| sample.server_cpu_us)?,
            store_cpu_us: maybe(|sample| sample.store_cpu_us),
            of_ceiling: ceiling.and_then(|ceiling| ratios(samples, ceiling, |sample| sample.rps)),
            decided_per_s: rps.median,
            durable_per_s: maybe(|sample| sample.durable_per_s),
            in_mysql_per_s: maybe(|sample| sample.in_mysql_per_s),
            reply_bytes: samples.last()?.reply_bytes,
        })
    }
}

/// A figure to another's of the same round, which had the same neighbours.
fn ratios(samples: &[Sample], others: &[Sample], figure: fn(&Sample) -> f64) -> Option<Spread> {
    Spread::of(samples.iter().zip(others).map(|(sample, other)| figure(sample) / figure(other)))
}

/// What each contender came to at each kind of work.
pub(crate) fn figures(samples: &Samples) -> BTreeMap<&'static str, BTreeMap<&'static str, Figures>> {
    let mut all = BTreeMap::<_, BTreeMap<_, _>>::new();
    for ((contender, work), of_rounds) in samples {
        let ceiling = samples.get(&(Contender::Ceiling, *work));
        if let Some(figures) = Figures::of(of_rounds, ceiling) {
            all.entry(contender.name()).or_default().insert(work.name(), figures);
        }
    }
    all
}

/// The medians of each contender's runs of the open loop.
pub(crate) fn open_figures(opens: &Opens) -> BTreeMap<&'static str, Open> {
    let median = |runs: &[Open], figure: fn(&Open) -> Option<f64>| {
        Spread::of(runs.iter().filter_map(figure)).map(|spread| spread.median)
    };
    let of = |runs: &Vec<Open>| {
        Some(Open {
            rate: median(runs, |run| Some(run.rate))?,
            p50_ms: median(runs, |run| Some(run.p50_ms))?,
            p99_ms: median(runs, |run| Some(run.p99_ms))?,
            journal_p99_ms: median(runs, |run| run.journal_p99_ms),
        })
    };
    opens.iter().filter_map(|(contender, runs)| Some((contender.name(), of(runs)?))).collect()
}

/// The aims, as far as there are figures for them.
pub(crate) fn aims(samples: &Samples, open_loop: &BTreeMap<&'static str, Open>) -> Vec<Aim> {
    let ratio = |one: Contender, other: Contender, work: Work, figure: fn(&Sample) -> f64| {
        ratios(samples.get(&(one, work))?, samples.get(&(other, work))?, figure).map(|spread| spread.median)
    };
    let ours = |other, work, figure| ratio(Contender::OursFsync, other, work, figure);
    let rps: fn(&Sample) -> f64 = |sample| sample.rps;
    let at_least = |what: &str, measured: Option<f64>, aim: f64| {
        let aimed = format!(">= {aim:.2}");
        measured.map(|measured| Aim { what: what.to_owned(), aim: aimed, measured, met: measured >= aim })
    };
    let at_most = |what: &str, measured: Option<f64>, aim: f64| {
        let aimed = format!("<= {aim:.2}");
        measured.map(|measured| Aim { what: what.to_owned(), aim: aimed, measured, met: measured <= aim })
    };
    let mut aims = vec![
        at_least("accepted: ours_fsync to ceiling", ours(Contender::Ceiling, Work::Accepted, rps), 0.80),
        at_least("accepted: ours_fsync to redis_everysec", ours(Contender::RedisEverysec, Work::Accepted, rps), 1.6),
        at_least("accepted: ours_fsync to redis_always", ours(Contender::RedisAlways, Work::Accepted, rps), 2.0),
        at_least("sold_out: ours_fsync to ceiling", ours(Contender::Ceiling, Work::SoldOut, rps), 0.95),
        at_most(
            "accepted: server CPU of ours_fsync to ceiling",
            ours(Contender::Ceiling, Work::Accepted, |sample| sample.server_cpu_us),
            1.35,
        ),
    ];
    let opens = [Contender::OursFsync, Contender::Ceiling].map(|contender| open_loop.get(contender.name()));
    if let [Some(Open { p99_ms, journal_p99_ms: Some(journal), .. }), Some(ceiling)] = opens {
        let bound = 2.5 * ceiling.p99_ms + 2.0 * journal;
        let what = "open loop at half of the peak: p99 in ms, to 2.5 x ceiling's + 2 x journal's";
        aims.push(at_most(what, Some(*p99_ms), bound));
    }
    aims.into_iter().flatten().collect()
}

/// To what a figure of a noisy machine is worth.
fn rounded(figure: f64) -> f64 {
    let digits = if figure.abs() >= 1_000.0 { 1.0 } else { 1_000.0 };
    (figure * digits).round() / digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_has_the_middle_and_both_ends() {
        let odd = Spread::of([3.0, 1.0, 2.0]).expect("three");
        assert_eq!((odd.median, odd.min, odd.max).partial_cmp(&(2.0, 1.0, 3.0)), Some(std::cmp::Ordering::Equal));
        let even = Spread::of([4.0, 1.0]).expect("two");
        assert_eq!(even.median.total_cmp(&2.5), std::cmp::Ordering::Equal);
        assert!(Spread::of([]).is_none());
    }
}
