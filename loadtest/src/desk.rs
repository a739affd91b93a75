//! Where shoppers ask: what all of them share, what those of one thread share, and the one function through which every
//! request goes, which waits for its turn, sends, rides out an outage and counts.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::acks::AckSender;
use crate::connection::{Connection, TransportError};
use crate::ledger::{Ledger, Violation};
use crate::pay::{Bill, Till, UnitCounts};
use crate::plan::{Mode, Plan};
use crate::rain;
use crate::reply::{self, Answer, Route};
use crate::schedule::Schedule;
use crate::tally::{Gauges, Tally};
use crate::token::{Mint, unix_ms};

/// The pauses between two tries of one request while the server is away.
const RETRY_PAUSE_MIN: Duration = Duration::from_millis(20);
const RETRY_PAUSE_MAX: Duration = Duration::from_millis(500);

/// One SKU on sale, as the activity described it before the rush.
#[derive(Clone, Debug)]
pub(crate) struct Sku {
    pub(crate) sku_id: String,
    pub(crate) price_cents: u64,
    pub(crate) stock: u64,
}

/// What the whole crowd shares.
pub(crate) struct Sale {
    pub(crate) plan: Plan,
    pub(crate) skus: Vec<Sku>,
    pub(crate) mint: Mint,
    pub(crate) ledger: Ledger,
    pub(crate) till: Till,
    /// What had been sold before, where the winners pay.
    pub(crate) counts_before: Vec<UnitCounts>,
    /// What is known of the rounds and packets, where it rains instead.
    pub(crate) rain: Option<rain::Books>,
    pub(crate) gauges: Gauges,
    pub(crate) outage: Outage,
    pub(crate) next_shopper: AtomicU64,
    pub(crate) next_latecomer: AtomicU64,
}

/// A winner to come back after the rush.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Winner {
    pub(crate) index: u64,
    pub(crate) order_id: u64,
}

/// What the shoppers of one thread share.
pub(crate) struct Desk {
    pub(crate) sale: Arc<Sale>,
    pub(crate) acks: Option<AckSender>,
    tally: Mutex<Tally>,
    winners: Mutex<Vec<Winner>>,
    returns: Mutex<Vec<rain::Return>>,
    bills: Mutex<Bills>,
}

/// Bills by the instant at which their next step is due, in Unix milliseconds, and their order.
pub(crate) type Bills = BTreeMap<(u64, u64), Bill>;

/// A shopper's place: its connection, and a second one for those who click twice.
pub(crate) struct Booth {
    pub(crate) desk: Arc<Desk>,
    pub(crate) connection: Connection,
    pub(crate) twin: Connection,
}

/// What became of a request.
#[derive(Debug)]
pub(crate) struct Sent {
    /// `None`: no reply, and nobody knows what the server did.
    pub(crate) answer: Option<Answer>,
    /// Sent more than once, so that it may be answered as its own repeat.
    pub(crate) retried: bool,
    /// When it was sent first.
    pub(crate) from_ms: u64,
}

impl Desk {
    pub(crate) fn new(sale: Arc<Sale>, acks: Option<AckSender>) -> Self {
        Self {
            sale,
            acks,
            tally: Mutex::new(Tally::new()),
            winners: Mutex::default(),
            returns: Mutex::default(),
            bills: Mutex::default(),
        }
    }

    /// The thread's tally. Never held across a wait.
    pub(crate) fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The winners who will come back.
    pub(crate) fn winners(&self) -> MutexGuard<'_, Vec<Winner>> {
        self.winners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those who will look after their packets.
    pub(crate) fn returns(&self) -> MutexGuard<'_, Vec<rain::Return>> {
        self.returns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The orders whose owners are not done. Never held across a wait.
    pub(crate) fn bills(&self) -> MutexGuard<'_, Bills> {
        self.bills.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts violations.
    pub(crate) fn report(&self, found: impl IntoIterator<Item = Violation>) {
        for violation in found {
            self.tally().violation(violation);
        }
    }

    /// Waits for a turn, sends, and reads the reply; asks again through an outage as far as the plan says so.
    pub(crate) async fn send(
        &self,
        schedule: &Schedule,
        connection: &mut Connection,
        route: Route,
        request: &[u8],
    ) -> Sent {
        let due = schedule.turn().await;
        if matches!(self.sale.plan.mode, Mode::Open { .. }) {
            self.tally().late(due.elapsed());
        }
        self.tally().asked += 1;
        let from_ms = unix_ms();
        let mut since = None;
        let mut pause = RETRY_PAUSE_MIN;
        loop {
            let error = match connection.exchange(request).await {
                Ok(reply) => {
                    let answer = reply::read(route, &reply);
                    let passing = matches!(answer, Answer::Refused(code) if code.is_passing());
                    if !passing || self.sale.plan.ride_out.is_zero() {
                        self.answered(&answer, due, since.is_some());
                        return Sent { answer: Some(answer), retried: since.is_some(), from_ms };
                    }
                    None
                }
                Err(error) => Some(error),
            };
            if !self.try_again(error, *since.get_or_insert_with(Instant::now)) {
                return Sent { answer: None, retried: true, from_ms };
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RETRY_PAUSE_MAX);
        }
    }

    fn answered(&self, answer: &Answer, due: Instant, ridden_out: bool) {
        self.tally().answer(answer, due.elapsed(), ridden_out);
        let gauges = &self.sale.gauges;
        Gauges::add(&gauges.answered);
        match answer {
            Answer::Accepted(_) | Answer::Granted(_) => Gauges::add(&gauges.accepted),
            Answer::Refused(_) | Answer::AtLimit(..) => Gauges::add(&gauges.refused),
            _ => {}
        }
        self.sale.outage.over();
    }

    /// Counts a failed try; whether there is time for another. `error` is `None` where the server said to come back.
    fn try_again(&self, error: Option<TransportError>, since: Instant) -> bool {
        let patience = self.sale.plan.ride_out;
        let mut tally = self.tally();
        if let Some(error) = error {
            tally.transport(error);
            Gauges::add(&self.sale.gauges.transport_errors);
            if error == TransportError::Unreadable {
                tally
                    .violation(Violation::new(reply::RULE_SHAPE, "a reply that is not HTTP/1.1 with a Content-Length"));
            }
        }
        let again = since.elapsed() < patience && self.sale.outage.lasted() < patience;
        if again {
            tally.retries += 1;
        } else {
            tally.lost += 1;
        }
        again
    }
}

/// How long nobody has had an answer. Once that exceeds the crowd's patience, everyone else gives up at once, instead of
/// each waiting that long in turn.
pub(crate) struct Outage {
    origin: Instant,
    /// Milliseconds from the origin to the first failure without an answer since, plus one; 0: none.
    since: AtomicU64,
}

impl Outage {
    pub(crate) fn none() -> Self {
        Self { origin: Instant::now(), since: AtomicU64::new(0) }
    }

    fn over(&self) {
        if self.since.load(Ordering::Relaxed) != 0 {
            self.since.store(0, Ordering::Relaxed);
        }
    }

    fn lasted(&self) -> Duration {
        let now = u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX - 1) + 1;
        let first = match self.since.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => now,
            Err(first) => first,
        };
        Duration::from_millis(now.saturating_sub(first))
    }
}
