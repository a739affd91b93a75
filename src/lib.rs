//! Doorbuster decides who gets the last one. Each module is a room; docs/ARCHITECTURE.md says why each exists, and
//! `tests/tidy.rs` holds who may import whom.

pub mod actors;
pub mod catalog;
pub mod cli;
pub mod clock;
pub mod config;
pub mod domain;
pub mod faults;
pub mod http;
pub mod ids;
pub mod persist;
pub mod telemetry;
