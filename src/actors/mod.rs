//! One writer a shard. Every rule that concerns a sale is decided by the one actor that owns it; nothing here locks
//! stock, and nothing that reveals an event is answered before that event is on disk.
//!
//! ```text
//!   http ── Router::ask ──▶ door ──try_send──▶ Shard ── Submission { entries, Ack } ──▶ the journal's writer
//!                            │ free-unit count 0: sold_out, no message                        │ durable
//!   http ◀───────────────── oneshot ◀──────────────────────────────────── Ack::durable ◀──────┘
//! ```
//!
//! Operators' changes go through the [`desk`], one at a time, and from there to the shard like any other command.

mod ack;
pub mod ask;
pub mod desk;
mod door;
pub mod house;
pub mod readiness;
pub mod router;
mod shard;

pub use ack::Ack;
pub use ask::{Answer, Asked, Question, Refused, Unavailable};
pub use desk::Desk;
pub use house::{House, Settings};
pub use readiness::{Readiness, Stage};
pub use router::Router;
