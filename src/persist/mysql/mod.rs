//! MySQL: where what was sold becomes rows that a shop's other systems read.
//!
//! ```text
//!  journal ──entries──▶ session ──▶ projection ──▶ write ──┐
//!                          ▲     (events to rows)          ├─ one transaction ──▶ MySQL
//!                          └──── cursor ◀── compare-and-set ┘
//! ```
//!
//! Each event has its effect on the rows exactly once, because rows and cursor change together or not at all (X2). What
//! became of a transaction that nobody answered is read from the cursor.

pub mod catalog;
mod connect;
pub mod cursor;
mod error;
mod note;
mod projection;
pub mod read_back;
pub mod rows;
mod session;
mod write;

pub use connect::{ServerVersion, Target};
pub use cursor::Cursor;
pub use error::Error;
pub use note::ShippedNote;
pub use read_back::ReadBack;
pub use session::{Session, of_journal};
