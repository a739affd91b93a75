//! Random commands to an activity of one to five parts against a naive model, which knows of each slot where it is.
//! Moves arrive late, parts follow late or miss a change, and the process stops at any time. After every step each slot
//! is where the model has it, the units add up, the auditor agrees, and the fold of the journal's bytes is the state
//! that was lived, once what is under way has arrived. In the end the activity leaves.
//!
//! A failure prints the run's seed; `DOORBUSTER_SEED=<seed> DOORBUSTER_CASES=1 cargo test --test domain_parts_model`
//! replays it. `DOORBUSTER_CASES` raises the number of runs.

#[path = "../domain/mod.rs"]
mod domain;
mod model;
mod money;
#[path = "../domain/seeds.rs"]
mod seeds;
mod world;

use doorbuster::domain::event::Switch;
use proptest::prelude::*;

use world::*;

const CASES: u64 = 256;
const STEPS: usize = 200;

fn op() -> impl Strategy<Value = Op> {
    let (part, sku) = (|| 0..5usize, || 0..SKUS.len());
    let to = prop_oneof![9 => Just(Switch::Paused), 18 => Just(Switch::Resumed), 1 => Just(Switch::Closed)];
    let edit = prop_oneof![
        6 => (sku(), -4..5i64).prop_map(|(sku, by)| Edit::StockBy(sku, by)),
        5 => (sku(), 0..8u32).prop_map(|(sku, stock)| Edit::Add(sku, stock)),
        3 => sku().prop_map(Edit::Drop),
        3 => (1..5u32).prop_map(Edit::Limit),
        1 => (0..9u8).prop_map(Edit::Title),
        1 => Just(Edit::Swap),
    ];
    prop_oneof![
        50 => (0..16u64, sku(), 1..4i64).prop_map(|(user, sku, quantity)| Op::Place { user, sku, quantity }),
        10 => (part(), 0..40u32).prop_map(|(part, order)| Op::Cancel { part, order }),
        8 => part().prop_map(|part| Op::Expire { part }),
        20 => (part(), 0..24u32, prop::bool::weighted(0.1), any::<bool>())
            .prop_map(|(part, order, wrong, may_wait)| Op::Pay { part, order, wrong, may_wait }),
        4 => (part(), 0..40usize, any::<bool>()).prop_map(|(part, nth, restock)| Op::Refund { part, nth, restock }),
        5 => (0..40usize).prop_map(|nth| Op::PayBack { nth }),
        2 => (0..9u64).prop_map(|cents| Op::Suspend { cents }),
        12 => (part(), sku(), 1..6u32).prop_map(|(part, sku, units)| Op::FromHome { part, sku, units }),
        8 => (part(), sku(), 1..9u32).prop_map(|(part, sku, units)| Op::ToHome { part, sku, units }),
        8 => (part(), part(), sku(), 1..4u32).prop_map(|(from, to, sku, units)| Op::Move { from, to, sku, units }),
        20 => (0..8usize).prop_map(|nth| Op::Deliver { nth }),
        12 => prop::collection::vec(edit, 1..3).prop_map(|edits| Op::Redefine { edits }),
        6 => to.prop_map(|to| Op::Switch { to }),
        16 => (part(), any::<bool>()).prop_map(|(part, skips)| Op::Follow { part, skips }),
        3 => Just(Op::Restart),
        30 => (1..30u64).prop_map(Op::Wait),
    ]
}

#[test]
fn each_slot_is_where_the_naive_model_says() {
    let steps = (1..=5u16, prop::collection::vec(op(), STEPS..=STEPS));
    seeds::for_each_seed("domain_parts_model", CASES, &steps, |(parts, steps)| {
        let mut world = World::new(parts);
        steps.iter().for_each(|op| world.step(op));
        world.leave();
    });
}
