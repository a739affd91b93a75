//! MySQL: where what was sold becomes rows that a shop's other systems read.
//!
//! ```text
//!  journal ──entries──▶ session ──▶ projection ──▶ write ──┐
//!                          ▲     (events to rows)          ├─ one transaction ──▶ MySQL
//!                          └──── cursor ◀── compare-and-set ┘
//! ```
//!
//! The audit goes the other way: what the journal gives ([`Expected`], a fold of its own) is held against what MySQL has
//! ([`Snapshot`]). [`reship`] empties the tables, for a fresh start from the journal's beginning.
//!
//! Each event has its effect on the rows exactly once, because rows and cursor change together or not at all (X2). What
//! became of a transaction that nobody answered is read from the cursor.

pub mod catalog;
mod changes;
mod compare;
mod connect;
pub mod cursor;
mod error;
mod expected;
mod note;
mod packets;
mod projection;
pub mod read_back;
pub mod reship;
pub mod rows;
mod session;
mod tables;
mod write;

pub use compare::{Compared, Snapshot};
pub use connect::{ServerVersion, Target};
pub use cursor::Cursor;
pub use error::Error;
pub use expected::{Expected, Unfoldable};
pub use note::ShippedNote;
pub use read_back::ReadBack;
pub use session::{Session, of_journal};
