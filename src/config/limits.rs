//! `[limits]`: every bound on what the outside may ask of the process, each with its reason.

use crate::faults::Fields;

/// Bounds on bodies, headers, connections, waiting and queues.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a shopper's request body; more is 413. An order is some 200 bytes, a payment callback some 2,000.
    pub shopper_body_bytes_max: usize,
    /// Bytes of an operator's request body; more is 413. The largest activity is some 100 KiB.
    pub operator_body_bytes_max: usize,
    /// Bytes of a request's head; more is 431. A token takes 1 to 2 KiB, a browser's cookies may take 8.
    pub header_bytes_max: usize,
    /// Milliseconds for a request's head to arrive; then 408. Cuts clients that hold a connection by sending nothing.
    pub request_head_timeout_ms: u64,
    /// Milliseconds for a request's body to arrive; then 408. The same, for bodies that drip or never end.
    pub body_timeout_ms: u64,
    /// Seconds that an idle connection stays open: longer than the 60 of common load balancers, so that it is they who
    /// close, and none of them sends into a connection that is being closed.
    pub keep_alive_s: u64,
    /// Open connections of a worker; more wait in the backlog. Each takes a file descriptor and some 20 KiB.
    pub connections_max: usize,
    /// Connections that wait to be accepted; the kernel refuses more. Rides out the first second of a sale.
    pub backlog: u32,
    /// Threads that serve HTTP; 0 for one a core.
    pub workers: usize,
    /// Commands that wait for one shard; more is 503 `overloaded`. Some 20 ms of work, so that no answer waits longer.
    pub shard_mailbox: usize,
    /// Decisions that wait for the journal, over all shards; more is 503 `overloaded`. Some 50 ms of work.
    pub journal_queue: usize,
    /// Requests a second that one user may send; more is 429. 0 for no such limit.
    pub requests_per_user_per_s: u32,
    /// Requests that one user may send at once, after a pause, before the rate holds. Without a rate it is not used.
    pub requests_burst: u32,
    /// Seconds between SIGTERM and the end of accepting, in which `/readyz` says 503 and load balancers turn away.
    pub drain_delay_s: u64,
    /// Seconds that requests in flight may then take to be answered.
    pub drain_timeout_s: u64,
}

impl Limits {
    /// The threads that serve HTTP: those configured, or one a core.
    #[must_use]
    pub fn worker_threads(&self) -> usize {
        match self.workers {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            workers => workers,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            shopper_body_bytes_max: 16_384,
            operator_body_bytes_max: 1_048_576,
            header_bytes_max: 16_384,
            request_head_timeout_ms: 5_000,
            body_timeout_ms: 5_000,
            keep_alive_s: 75,
            connections_max: 25_000,
            backlog: 1_024,
            workers: 0,
            shard_mailbox: 16_384,
            journal_queue: 65_536,
            requests_per_user_per_s: 0,
            requests_burst: 20,
            drain_delay_s: 5,
            drain_timeout_s: 30,
        }
    }
}

/// Reads the section. The lower bounds leave the server usable, the upper ones catch a slip in the unit.
pub fn read(section: &mut Fields<'_>) -> Limits {
    let default = Limits::default();
    Limits {
        shopper_body_bytes_max: section
            .integer("shopper_body_bytes_max", 1_024..=1_048_576)
            .unwrap_or(default.shopper_body_bytes_max),
        operator_body_bytes_max: section
            .integer("operator_body_bytes_max", 1_024..=16_777_216)
            .unwrap_or(default.operator_body_bytes_max),
        header_bytes_max: section.integer("header_bytes_max", 1_024..=131_072).unwrap_or(default.header_bytes_max),
        // The framework reads its time twice a second: a shorter time-out could be over before the request came.
        request_head_timeout_ms: section
            .integer("request_head_timeout_ms", 1_000..=600_000)
            .unwrap_or(default.request_head_timeout_ms),
        body_timeout_ms: section.integer("body_timeout_ms", 100..=600_000).unwrap_or(default.body_timeout_ms),
        keep_alive_s: section.integer("keep_alive_s", 1..=3_600).unwrap_or(default.keep_alive_s),
        connections_max: section.integer("connections_max", 16..=1_000_000).unwrap_or(default.connections_max),
        backlog: section.integer("backlog", 16..=65_535).unwrap_or(default.backlog),
        workers: section.integer("workers", 0..=1_024).unwrap_or(default.workers),
        shard_mailbox: section.integer("shard_mailbox", 16..=1_048_576).unwrap_or(default.shard_mailbox),
        journal_queue: section.integer("journal_queue", 16..=1_048_576).unwrap_or(default.journal_queue),
        requests_per_user_per_s: section
            .integer("requests_per_user_per_s", 0..=1_000_000)
            .unwrap_or(default.requests_per_user_per_s),
        requests_burst: section.integer("requests_burst", 1..=1_000_000).unwrap_or(default.requests_burst),
        drain_delay_s: section.integer("drain_delay_s", 0..=600).unwrap_or(default.drain_delay_s),
        drain_timeout_s: section.integer("drain_timeout_s", 1..=600).unwrap_or(default.drain_timeout_s),
    }
}
