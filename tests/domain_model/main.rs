//! Random commands, time jumps and restarts against a naive model written from the contract. After every step the
//! model must have predicted the answer and everything that can be seen of the sale, and the auditor must agree.
//!
//! A failure prints the run's seed; `DOORBUSTER_SEED=<seed> DOORBUSTER_CASES=1 cargo test --test domain_model` replays
//! it. `DOORBUSTER_CASES` raises the number of runs.

#[path = "../domain/mod.rs"]
mod domain;
mod model;
mod ops;
mod world;

use std::hash::{BuildHasher, RandomState};

use ops::*;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use world::*;

const CASES: u64 = 256;
const STEPS: usize = 200;
const EXPIRE_STEP: usize = 256;

fn number_from_env(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

#[test]
fn random_commands_do_what_the_naive_model_says() {
    let seed = number_from_env("DOORBUSTER_SEED").unwrap_or_else(|| RandomState::new().hash_one(0u8));
    let steps = (any::<bool>(), prop::collection::vec(step(), STEPS..=STEPS));
    for seed in (0..number_from_env("DOORBUSTER_CASES").unwrap_or(CASES)).map(|case| seed.wrapping_add(case)) {
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
        let outcome = runner.run(&steps, |(from_catalog, steps)| {
            let mut world = World::new(from_catalog);
            steps.iter().for_each(|step| world.step(step));
            world.restart();
            world.check();
            let report = world.auditor.finish();
            prop_assert!(report.holds(), "{report:?}");
            Ok(())
        });
        if let Err(failure) = outcome {
            panic!("replay: DOORBUSTER_SEED={seed} DOORBUSTER_CASES=1 cargo test --test domain_model\n{failure}");
        }
    }
}
