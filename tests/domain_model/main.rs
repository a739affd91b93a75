//! Random commands, time jumps and restarts against a naive model written from the contract. After every step the
//! model must have predicted the answer and everything that can be seen of the sale, and the auditor must agree.
//!
//! A failure prints the run's seed; `DOORBUSTER_SEED=<seed> DOORBUSTER_CASES=1 cargo test --test domain_model` replays
//! it. `DOORBUSTER_CASES` raises the number of runs.

#[path = "../domain/mod.rs"]
mod domain;
mod model;
mod ops;
mod payments;
#[path = "../domain/seeds.rs"]
mod seeds;
mod world;

use ops::*;
use proptest::prelude::*;
use world::*;

const CASES: u64 = 256;
const STEPS: usize = 200;
const EXPIRE_STEP: usize = 256;

#[test]
fn random_commands_do_what_the_naive_model_says() {
    let steps = (any::<bool>(), prop::collection::vec(step(), STEPS..=STEPS));
    seeds::for_each_seed("domain_model", CASES, &steps, |(from_catalog, steps)| {
        let mut world = World::new(from_catalog);
        steps.iter().for_each(|step| world.step(step));
        world.restart();
        world.check();
        let report = world.auditor.finish();
        assert!(report.holds(), "{report:?}");
    });
}
