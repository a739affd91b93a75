//! What the tests of shipping to MySQL share: a real MariaDB of each test's own, and a network in front of it that fails
//! where it is told to. A test that declares this module declares `server` too, for its patience.
//!
//! Needs mariadbd (`make test` fetches it); without it these tests fail with `NOT RUN`, unless SKIP has the word mysql.
#![allow(dead_code, unused_imports, reason = "each test binary uses its part")]

mod maria;
mod packets;
mod programs;
pub mod provider;
mod proxy;

pub use maria::{Maria, ask, copy};
pub use proxy::{Proxy, When};
