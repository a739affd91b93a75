//! Logs and metrics: plain set-up, and the numbers that `/metrics` shows. Metric names are part of the contract with
//! whoever graphs them; no label has a value for each user, order or key.

use std::io::IsTerminal;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// Sends logs to stderr. `level` is the least that is shown; `RUST_LOG` says more where it is set.
pub fn log_to_stderr(json: bool, level: &str) {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new(format!("{level},actix_server=warn,sled=warn")));
    let colours = std::io::stderr().is_terminal();
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr);
    // Nobody reads the log any more: telling stderr so would panic, in whichever actor logs next.
    let logs = logs.log_internal_errors(false);
    // A second set-up in one process (tests) keeps the first.
    let _set = if json { logs.json().try_init() } else { logs.with_target(false).try_init() };
}

/// The refusal or problem code of a counter.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Code {
    /// Stable, as in a problem's `code`.
    pub code: &'static str,
}

/// The listener and status of a counter.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Served {
    /// `shopper` or `operator`.
    pub listener: &'static str,
    /// The HTTP status.
    pub status: u16,
}

/// The SKU of a gauge.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct SkuLabel {
    /// Its activity.
    pub activity_id: u64,
    /// Its name.
    pub sku_id: String,
}

/// The state of a payment as it was recorded.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct PaymentLabel {
    /// `applied` or `refund_due`.
    pub payment_state: &'static str,
}

/// Everything that is counted.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Responses by listener and status.
    pub http_requests: Family<Served, Counter>,
    /// Orders accepted: each counted once, replays not.
    pub orders_accepted: Counter,
    /// Replies that repeated an earlier acceptance by its key.
    pub orders_replayed: Counter,
    /// Packets grabbed: each counted once, replays not.
    pub grabs_granted: Counter,
    /// Replies that repeated an earlier grab by its key.
    pub grabs_replayed: Counter,
    /// Payments recorded, by the state in which they were.
    pub payments: Family<PaymentLabel, Counter>,
    /// Payments that are owed back, as of the last scrape.
    pub refunds_due: Gauge,
    /// Refusals and other problems by code.
    pub refusals: Family<Code, Counter>,
    /// Free units of each SKU, as of the last scrape.
    pub sku_available: Family<SkuLabel, Gauge>,
    /// Activities that there are.
    pub activities: Gauge,
    /// Those of them that have left memory.
    pub activities_left: Gauge,
    /// Events made durable.
    pub journal_events: Counter,
    /// Records written: a record is one group.
    pub journal_records: Counter,
    /// Bytes written.
    pub journal_bytes: Counter,
    /// How long a group took from its first byte to the end of its fdatasync.
    pub journal_append_seconds: Histogram,
    /// Events in a group.
    pub journal_group_events: Histogram,
    /// Submissions that wait for the journal.
    pub journal_queue: Gauge,
    /// Wall time less the process clock.
    pub clock_gap_seconds: Gauge<f64, AtomicU64>,
    /// Free bytes on the journal's disk.
    pub storage_free_bytes: Gauge,
    /// 1 where MySQL answered when it was last asked.
    pub mysql_connected: Gauge,
    /// Durable events that MySQL does not have yet.
    pub mysql_lag_events: Gauge,
    /// How long the oldest of them has waited.
    pub mysql_lag_seconds: Gauge<f64, AtomicU64>,
    /// Events shipped a second, over the last seconds in which something was.
    pub mysql_events_per_second: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("doorbuster");
        let mut metrics = Self {
            http_requests: Family::default(),
            orders_accepted: Counter::default(),
            orders_replayed: Counter::default(),
            grabs_granted: Counter::default(),
            grabs_replayed: Counter::default(),
            payments: Family::default(),
            refunds_due: Gauge::default(),
            refusals: Family::default(),
            sku_available: Family::default(),
            activities: Gauge::default(),
            activities_left: Gauge::default(),
            journal_events: Counter::default(),
            journal_records: Counter::default(),
            journal_bytes: Counter::default(),
            journal_append_seconds: Histogram::new(exponential_buckets(0.000_05, 2.0, 16)),
            journal_group_events: Histogram::new(exponential_buckets(1.0, 2.0, 14)),
            journal_queue: Gauge::default(),
            clock_gap_seconds: Gauge::default(),
            storage_free_bytes: Gauge::default(),
            mysql_connected: Gauge::default(),
            mysql_lag_events: Gauge::default(),
            mysql_lag_seconds: Gauge::default(),
            mysql_events_per_second: Gauge::default(),
            registry: Registry::default(),
        };
        let r = &mut registry;
        r.register("http_requests", "Responses by listener and status", metrics.http_requests.clone());
        r.register("orders_accepted", "Orders accepted", metrics.orders_accepted.clone());
        r.register("orders_replayed", "Acceptances repeated by key", metrics.orders_replayed.clone());
        r.register("grabs_granted", "Packets grabbed", metrics.grabs_granted.clone());
        r.register("grabs_replayed", "Grabs repeated by key", metrics.grabs_replayed.clone());
        r.register("payments", "Payments recorded, by state", metrics.payments.clone());
        r.register("refunds_due", "Payments owed back", metrics.refunds_due.clone());
        r.register("refusals", "Refusals and other problems by code", metrics.refusals.clone());
        r.register("sku_available", "Free units of a SKU", metrics.sku_available.clone());
        r.register("activities", "Activities", metrics.activities.clone());
        r.register("activities_left", "Activities that have left memory", metrics.activities_left.clone());
        r.register("journal_events", "Events made durable", metrics.journal_events.clone());
        r.register("journal_records", "Records (groups) made durable", metrics.journal_records.clone());
        r.register_with_unit("journal", "Bytes made durable", Unit::Bytes, metrics.journal_bytes.clone());
        let append = metrics.journal_append_seconds.clone();
        r.register_with_unit("journal_append", "Writing and syncing one group", Unit::Seconds, append);
        r.register("journal_group_events", "Events in a group", metrics.journal_group_events.clone());
        r.register("journal_queue", "Submissions waiting for the journal", metrics.journal_queue.clone());
        let gap = metrics.clock_gap_seconds.clone();
        r.register_with_unit("clock_gap", "Wall time less the process clock", Unit::Seconds, gap);
        let free = metrics.storage_free_bytes.clone();
        r.register_with_unit("storage_free", "Free space on the journal's disk", Unit::Bytes, free);
        r.register("mysql_connected", "1 where MySQL answered last", metrics.mysql_connected.clone());
        r.register("mysql_lag_events", "Durable events not in MySQL yet", metrics.mysql_lag_events.clone());
        let lag = metrics.mysql_lag_seconds.clone();
        r.register_with_unit("mysql_lag", "How long the oldest of them has waited", Unit::Seconds, lag);
        r.register("mysql_events_per_second", "Events shipped lately", metrics.mysql_events_per_second.clone());
        metrics.registry = registry;
        metrics
    }
}

impl Metrics {
    /// All metrics in the OpenMetrics text format.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("a String takes any text");
        text
    }
}
