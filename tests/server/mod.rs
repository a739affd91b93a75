//! What the tests of the real program share: a stage (directory, configuration, ports), the server as a child process,
//! and an HTTP client that says what was answered and nothing more.
//!
//! Nothing here sleeps to synchronise: it polls a condition, and a deadline says what did not come true.
#![allow(dead_code, unused_imports, reason = "each test binary uses its part")]

mod http;
mod process;
mod rain;
mod stage;

use std::thread;
use std::time::{Duration, Instant};

pub use http::{Reply, bytes, connect, request};
pub use process::Server;
pub use rain::Rain;
pub use stage::{ACTIVITY, Ended, SECRET, SKU, Sale, Stage, Stats, order_body, order_path};

/// How long anything may take that is expected to happen: generous, for a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Polls until `holds`, and fails with `what` when it never does.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "never came true: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Numbers that a seed decides (splitmix64).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound.max(1)
    }

    /// True once in `of`.
    pub fn one_in(&mut self, of: u64) -> bool {
        self.below(of) == 0
    }
}
