//! Selling is decided here: command in, events or a refusal out. Pure integers: no clock, no chance, no I/O, no logging,
//! and no map whose order of iteration could reach an event.
//!
//! ```text
//!  Stamped<Command> ──▶ Sale::decide (reads, never writes) ──▶ Decision { events } or Refusal
//!  Event            ──▶ Sale::apply  (writes, never refuses)
//! ```
//!
//! Recovery, checkpoints, the auditor and the simulator all fold the same `apply`, through [`Sales`]; replaying a journal gives the same state, bit for
//! bit. One verb a file: each holds its part of `decide` and of `apply`.

pub mod audit;
mod cancel;
pub mod command;
mod deadlines;
pub mod definition;
pub mod event;
pub mod expire;
pub mod found;
mod grab;
pub mod image;
mod merge;
mod moves;
mod newest;
pub mod order;
mod orders;
pub mod part;
mod pay;
pub mod payment;
mod phase;
mod place;
mod redefine;
mod refund;
pub mod refusal;
mod retire;
pub mod round;
mod rounds;
pub mod sale;
pub mod sales;
pub mod slots;
pub mod split;
mod step;
pub mod suspense;
mod switch;

pub use command::{Command, Decision, Stamped};
pub use definition::Definition;
pub use event::{Entry, Event, Events};
pub use order::{OrderState, OrderView};
pub use part::Part;
pub use payment::{PaymentState, PaymentView};
pub use refusal::Refusal;
pub use sale::{Phase, Sale};
pub use sales::{Sales, Unfit};
pub use suspense::Suspense;
