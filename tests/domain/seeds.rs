//! Random runs that can be repeated by their seed.

use std::hash::{BuildHasher, RandomState};

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

fn number_from_env(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// Runs `run` over what `strategy` makes of as many seeds as `DOORBUSTER_CASES` says, from `DOORBUSTER_SEED` on or from
/// anywhere. A failure is shrunk, and says how to repeat it.
pub fn for_each_seed<S: Strategy>(test: &str, cases: u64, strategy: &S, run: impl Fn(S::Value)) {
    let first = number_from_env("DOORBUSTER_SEED").unwrap_or_else(|| RandomState::new().hash_one(0u8));
    for seed in (0..number_from_env("DOORBUSTER_CASES").unwrap_or(cases)).map(|case| first.wrapping_add(case)) {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let config = Config {
            cases: 1,
            failure_persistence: None,
            max_shrink_iters: 20_000,
            max_shrink_time: 20_000,
            ..Config::default()
        };
        let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
        let outcome = runner.run(strategy, |value| {
            run(value);
            Ok(())
        });
        if let Err(failure) = outcome {
            panic!("replay: DOORBUSTER_SEED={seed} DOORBUSTER_CASES=1 cargo test --test {test}\n{failure}");
        }
    }
}
