//! A rain of red packets: far more users than packets ask at once when a round starts, some of them twice; afterwards some
//! look after their packets, an operator reads what became of each round, and everything must add up to the cent.
//!
//! ```text
//!   look at the rounds ─▶ wait for the start ─▶ visit: grab, repeat, look ──▶ come back: whoever won, or does not know
//!        │ commitment                              │ each packet: books           │
//!        └────────────────── seed ◀── reconcile: close or wait for the end ◀──────┘
//! ```
//!
//! What a grab is never changes, so whatever two answers say of one packet must be the same.

mod books;
mod judge;
mod outcome;
mod reconcile;
mod split;
mod visit;

pub(crate) use self::books::Books;
pub use self::outcome::{RainReport, RoundReport, Sums};
pub(crate) use self::reconcile::{counts, reconcile};
pub(crate) use self::visit::{Return, come_back, grab};

const RULE_KEY: &str = "U3: one key, one packet";
const RULE_FOUND: &str = "A2: what was granted is found again";
const RULE_LIMIT: &str = "M2: grabs of one user in a round are within the limit";
const RULE_AMOUNT: &str = "M4: a packet holds what the seed gives it";
const RULE_PROMISE: &str = "M4: the seed is the one that was promised before the round";
