//! The contract's refusal codes.
//!
//! A code is its place in the table, so that counting one costs an index and reading one no allocation.

/// Every refusal code of the contract and its status.
const CODES: &[(&str, u16)] = &[
    ("malformed_request", 400),
    ("unauthenticated", 401),
    ("bad_signature", 401),
    ("forbidden", 403),
    ("blocked", 403),
    ("not_eligible", 403),
    ("not_found", 404),
    ("activity_not_found", 404),
    ("sku_not_found", 404),
    ("order_not_found", 404),
    ("method_not_allowed", 405),
    ("request_timeout", 408),
    ("payload_too_large", 413),
    ("unsupported_media_type", 415),
    ("headers_too_large", 431),
    ("not_started", 409),
    ("ended", 409),
    ("paused", 409),
    ("limit_reached", 409),
    ("sold_out", 409),
    ("order_not_cancellable", 409),
    ("order_not_refundable", 409),
    ("refund_not_due", 409),
    ("activity_closed", 409),
    ("version_conflict", 412),
    ("invalid_quantity", 422),
    ("invalid_definition", 422),
    ("immutable_field", 422),
    ("sku_in_use", 422),
    ("idempotency_key_reused", 422),
    ("payment_mismatch", 422),
    ("rate_limited", 429),
    ("overloaded", 503),
    ("backlog_full", 503),
    ("storage_low", 503),
    ("recovering", 503),
    ("draining", 503),
];

/// A refusal code, as its place in the contract's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Code(usize);

impl Code {
    /// How many codes there are; a code's [`index`](Code::index) is below it.
    pub(crate) const COUNT: usize = CODES.len();

    /// Finds a code by its name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        CODES.iter().position(|(known, _)| *known == name).map(Self)
    }

    pub(crate) fn name(self) -> &'static str {
        CODES[self.0].0
    }

    pub(crate) fn index(self) -> usize {
        self.0
    }

    pub(crate) fn name_of(index: usize) -> &'static str {
        CODES[index].0
    }

    pub(crate) fn status(self) -> u16 {
        CODES[self.0].1
    }

    pub(crate) fn is(self, name: &str) -> bool {
        self.name() == name
    }

    pub(crate) fn is_any(self, names: &[&str]) -> bool {
        names.contains(&self.name())
    }

    /// The server has no time for anyone just now; says nothing about the request.
    pub(crate) fn is_busy(self) -> bool {
        matches!(self.status(), 429 | 503)
    }

    /// The server is on its way up or down: asking again soon makes sense.
    pub(crate) fn is_passing(self) -> bool {
        self.is_any(&["recovering", "draining"])
    }
}
