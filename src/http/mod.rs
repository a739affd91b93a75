//! The wire. Two listeners, so that administration can stay off the public network: shoppers on one; operators, metrics
//! and the API pages on the other. Nothing is decided here: a request becomes a command or a look-up, an answer becomes
//! a status and JSON, by the one table in `problem.rs`.

mod auth;
mod body;
mod docs;
mod envelope;
mod health;
mod key;
mod listing;
mod openapi;
mod operator;
mod problem;
mod query;
mod route;
mod server;
mod shopper;
mod signature;
mod state;
mod unread;
mod view;
mod whole;
mod workers;

pub use auth::Verifier;
pub use body::parse_object;
pub use openapi::description;
pub use server::{Bound, Drain, bind};
pub use shopper::order_request::OrderRequest;
pub use state::State;
pub use workers::Workers;
