//! One writer a shard. Every rule that concerns a sale is decided by the one shard that owns it; nothing here locks
//! stock, and nothing that reveals an event is answered before that event is on disk.
//!
//! ```text
//!   http ── Router ──▶ door ──try_send──▶ host ──turn──▶ shard      (decides, applies; touches nothing else)
//!                       │ free units 0:    │ ◀──submissions, letters──┘
//!                       │ sold_out, no     ├── Submission { entries, Ack } ──▶ the journal's writer
//!                       ▼ message          └── letters ──▶ hosts of other parts   │ durable
//!   http ◀───────────────── oneshot ◀────────────────────── Ack::durable ◀─────────┘
//! ```
//!
//! An activity of several shards has a home, part 0: units move between the others through it (`letter.rs`), and
//! operators' changes, which come by the [`desk`], are decided there and followed by the rest.

mod ack;
mod archive;
pub mod ask;
mod catalog_source;
pub mod desk;
mod door;
mod host;
pub mod house;
#[cfg(test)]
mod interleavings;
mod letter;
mod payment_index;
pub mod readiness;
mod roll_forward;
pub mod router;
mod shard;
mod shipped;
mod shipper;
mod start_up;
mod suspense;
mod turn;
mod units;

pub use ack::Ack;
pub use archive::History;
pub use ask::{Answer, Asked, Question, Refused, Unavailable};
pub use catalog_source::{CatalogSource, Unread, look_at_table};
pub use desk::Desk;
pub use house::{House, Settings, Threads};
pub use readiness::{Readiness, Stage};
pub use router::Router;
pub use shipped::{Lag, Shipped};
pub use shipper::{Shipper, Shipping};
pub use start_up::apply_catalog;
