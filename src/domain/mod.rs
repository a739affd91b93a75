//! Selling is decided here: command in, events or a refusal out.

pub mod definition;
pub mod event;
pub mod expire;
pub mod slots;
