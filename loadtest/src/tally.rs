//! Counts and latencies of one thread, and what all threads can see of each other while they run.
//!
//! Nothing here grows with the number of requests: counters, histograms of fixed size, and a few examples a rule.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::code::Code;
use crate::connection::TransportError;
use crate::ledger::Violation;
use crate::pay;
use crate::reply::Answer;

/// Examples kept of each broken rule.
const EXAMPLES_MAX: usize = 3;
/// Latencies are kept in nanoseconds from 1 µs up to this, to three digits.
const LATENCY_NS_MAX: u64 = 300_000_000_000;

/// The groups whose latencies are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    Accepted,
    Replayed,
    Refused,
    Cancelled,
    Polled,
    /// Callbacks of payments.
    Paid,
    /// Looks at one order.
    Found,
    /// Looks at one's own grabs.
    Looked,
    /// An operator's requests.
    Operated,
    /// Answered at last, after the connection was lost or the server was on its way up or down.
    RiddenOut,
}

impl Group {
    pub(crate) const ALL: [Self; 10] = [
        Self::Accepted,
        Self::Replayed,
        Self::Refused,
        Self::Cancelled,
        Self::Polled,
        Self::Paid,
        Self::Found,
        Self::Looked,
        Self::Operated,
        Self::RiddenOut,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Replayed => "replayed",
            Self::Refused => "refused",
            Self::Cancelled => "cancelled",
            Self::Polled => "polled",
            Self::Paid => "payments answered",
            Self::Found => "orders looked at",
            Self::Looked => "own packets looked at",
            Self::Operated => "operator's requests",
            Self::RiddenOut => "after an outage",
        }
    }
}

/// What one thread saw.
pub(crate) struct Tally {
    pub(crate) asked: u64,
    pub(crate) accepted: u64,
    pub(crate) replayed: u64,
    pub(crate) cancelled: u64,
    pub(crate) polled: u64,
    pub(crate) paid: u64,
    pub(crate) found: u64,
    pub(crate) looked: u64,
    pub(crate) operated: u64,
    pub(crate) pay: pay::Counts,
    pub(crate) broken: u64,
    pub(crate) refused: [u64; Code::COUNT],
    pub(crate) transport: BTreeMap<TransportError, u64>,
    pub(crate) retries: u64,
    pub(crate) lost: u64,
    pub(crate) reconnects: u64,
    pub(crate) late_asked: u64,
    pub(crate) late_accepted: u64,
    pub(crate) revisited: u64,
    pub(crate) latency: [Histogram<u64>; Group::ALL.len()],
    pub(crate) lateness: Histogram<u64>,
    pub(crate) violations: BTreeMap<&'static str, (u64, Vec<String>)>,
}

impl Tally {
    pub(crate) fn new() -> Self {
        Self {
            asked: 0,
            accepted: 0,
            replayed: 0,
            cancelled: 0,
            polled: 0,
            paid: 0,
            found: 0,
            looked: 0,
            operated: 0,
            pay: pay::Counts::default(),
            broken: 0,
            refused: [0; Code::COUNT],
            transport: BTreeMap::new(),
            retries: 0,
            lost: 0,
            reconnects: 0,
            late_asked: 0,
            late_accepted: 0,
            revisited: 0,
            latency: std::array::from_fn(|_| histogram()),
            lateness: histogram(),
            violations: BTreeMap::new(),
        }
    }

    /// Counts an answer.
    pub(crate) fn answer(&mut self, answer: &Answer, latency: Duration, ridden_out: bool) {
        let group = match answer {
            Answer::Accepted(_) | Answer::Granted(_) => {
                self.accepted += 1;
                Group::Accepted
            }
            Answer::Replayed(_) | Answer::GrantedBefore(_) => {
                self.replayed += 1;
                Group::Replayed
            }
            Answer::Cancelled(_) => {
                self.cancelled += 1;
                Group::Cancelled
            }
            Answer::Polled(_) => {
                self.polled += 1;
                Group::Polled
            }
            Answer::Paid(_) => {
                self.paid += 1;
                Group::Paid
            }
            Answer::Found(_) => {
                self.found += 1;
                Group::Found
            }
            Answer::Grabs(_) => {
                self.looked += 1;
                Group::Looked
            }
            Answer::Done { .. } => {
                self.operated += 1;
                Group::Operated
            }
            Answer::Refused(code) | Answer::AtLimit(code, _) => {
                self.refused[code.index()] += 1;
                Group::Refused
            }
            Answer::Broken(rule, fault) => {
                self.broken += 1;
                self.violation(Violation::new(rule, fault.clone()));
                return;
            }
        };
        let group = if ridden_out { Group::RiddenOut } else { group };
        record(&mut self.latency[group as usize], latency);
    }

    /// How much later than due a request was sent.
    pub(crate) fn late(&mut self, by: Duration) {
        record(&mut self.lateness, by);
    }

    /// Counts an error of the connection.
    pub(crate) fn transport(&mut self, error: TransportError) {
        *self.transport.entry(error).or_default() += 1;
    }

    /// Keeps a violation, with its example where there are few yet.
    pub(crate) fn violation(&mut self, Violation { rule, example }: Violation) {
        let (count, examples) = self.violations.entry(rule).or_default();
        *count += 1;
        if examples.len() < EXAMPLES_MAX {
            examples.push(example);
        }
    }

    /// Adds another thread's.
    pub(crate) fn merge(&mut self, other: Self) {
        self.asked += other.asked;
        self.accepted += other.accepted;
        self.replayed += other.replayed;
        self.cancelled += other.cancelled;
        self.polled += other.polled;
        self.paid += other.paid;
        self.found += other.found;
        self.looked += other.looked;
        self.operated += other.operated;
        self.pay.merge(other.pay);
        self.broken += other.broken;
        self.retries += other.retries;
        self.lost += other.lost;
        self.reconnects += other.reconnects;
        self.late_asked += other.late_asked;
        self.late_accepted += other.late_accepted;
        self.revisited += other.revisited;
        self.refused.iter_mut().zip(other.refused).for_each(|(mine, theirs)| *mine += theirs);
        for (error, count) in other.transport {
            *self.transport.entry(error).or_default() += count;
        }
        let pairs = self.latency.iter_mut().zip(&other.latency).chain([(&mut self.lateness, &other.lateness)]);
        for (mine, theirs) in pairs {
            // Equal bounds, so nothing can be out of range.
            let _ = mine.add(theirs);
        }
        for (rule, (count, examples)) in other.violations {
            let (all, kept) = self.violations.entry(rule).or_default();
            *all += count;
            kept.extend(examples.into_iter().take(EXAMPLES_MAX.saturating_sub(kept.len())));
        }
    }
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1000, LATENCY_NS_MAX, 3).expect("1 µs to 5 min at three digits are valid bounds")
}

fn record(into: &mut Histogram<u64>, duration: Duration) {
    into.saturating_record(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
}

/// Where a run stands; the sum over all threads.
#[derive(Clone, Copy, Debug, Default)]
pub struct Snapshot {
    /// Shoppers, latecomers included, whose visit is over.
    pub shoppers_done: u64,
    /// Shoppers in all.
    pub shoppers: u64,
    /// Requests answered.
    pub answered: u64,
    /// New orders among them.
    pub accepted: u64,
    /// Refusals among them.
    pub refused: u64,
    /// Errors of connections so far.
    pub transport_errors: u64,
}

/// The counters behind [`Snapshot`].
#[derive(Default)]
pub(crate) struct Gauges {
    pub(crate) shoppers_done: AtomicU64,
    pub(crate) answered: AtomicU64,
    pub(crate) accepted: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) transport_errors: AtomicU64,
}

impl Gauges {
    pub(crate) fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn snapshot(&self, shoppers: u64) -> Snapshot {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Snapshot {
            shoppers_done: read(&self.shoppers_done),
            shoppers,
            answered: read(&self.answered),
            accepted: read(&self.accepted),
            refused: read(&self.refused),
            transport_errors: read(&self.transport_errors),
        }
    }
}
