//! Shards under every order of events that a seed can think of: letters, requests, payments, syncs, expiries, jumps of the clock
//! and crashes interleave at random, and after each step everything that the invariants say is checked against what the
//! shards really have. One thread, no clock, no disk: a seed gives the same run for good.
//!
//! `make interleavings SEED=1 COUNT=100000` runs many; a failure prints its seed.

mod judge;
mod payments;
mod rain;
mod random;
mod stage;
mod tally;
mod world;

use crate::actors::ask::Unavailable;
use random::Random;
use tally::Tally;
use world::World;

const COUNT: u64 = 1_000;
const STEPS: usize = 160;

fn from_env(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().expect("a number"))
}

#[test]
fn no_interleaving_sells_twice_or_refuses_wrongly() {
    let (first, count) = (from_env("SEED", 1), from_env("COUNT", COUNT));
    let mut tally = Tally::default();
    for seed in first..first + count {
        let told = std::panic::catch_unwind(|| {
            let mut world = World::new(Random::from(seed));
            (0..STEPS).for_each(|_| world.step());
            world.settle();
            world.tally()
        });
        match told {
            Ok(run) => tally.add(&run),
            Err(panic) => {
                eprintln!("replay: SEED={seed} COUNT=1 cargo test --lib interleavings");
                std::panic::resume_unwind(panic);
            }
        }
    }
    println!("{count} interleavings from seed {first}: {tally:?}");
    assert_eq!(tally.overloaded, 0, "nobody is sent away where nobody's list is full");
    // What did not happen was not tested.
    let enough = count / 10;
    for (what, happened) in [
        ("orders", tally.accepted),
        ("sold out", tally.sold_out),
        ("moves", tally.moves),
        ("parked orders that were served", tally.served_later),
        ("changes", tally.changes),
        ("reductions", tally.reductions),
        ("crashes", tally.crashes),
        ("crashes between the two ends of a move", tally.crashes_in_move),
        ("crashes in the middle of a change", tally.crashes_in_change),
        ("replays of a key", tally.replays),
        ("payments", tally.payments),
        ("late payments that had fresh units", tally.reacquired),
        ("late payments that waited for units of another part", tally.reacquired_later),
        ("late payments that are owed back", tally.too_late),
        ("payment ids that were another order's", tally.payments_reused),
        ("refunds", tally.refunds),
        ("refunds that were paid back", tally.paid_back),
    ] {
        assert!(happened >= enough / 10, "only {happened} {what} in {count} interleavings");
    }
}

/// 64 units on 64 shards, and each of 64 users wants one: all are served, whichever shard they are of.
#[test]
fn as_many_users_as_units_are_all_served() {
    for seed in 0..from_env("COUNT", 100).min(1_000) {
        let mut world = World::fixed(Random::from(seed), 64, 64);
        (0..64).for_each(|user| world.place(user, 1));
        world.settle();
        assert_eq!((world.tally().accepted, world.tally().sold_out), (64, 0), "seed {seed}");
    }
}

/// 8 shards with 1,000 units, and everybody is served by one of them: exactly 1,000 are sold.
#[test]
fn a_crowd_at_one_shard_gets_what_all_have() {
    let mut world = World::fixed(Random::from(7), 8, 1_000);
    let users: Vec<u64> = (0..).filter(|user| world.part_of(*user) == 3).take(1_100).collect();
    users.into_iter().for_each(|user| world.place(user, 1));
    world.settle();
    let tally = world.tally();
    assert_eq!((tally.accepted, tally.accepted + tally.sold_out + tally.overloaded), (1_000, 1_100));
    assert!(tally.moves < 200, "{} moves: a crowd does not fetch unit by unit", tally.moves);
}

/// A journal that is not the one whose orders are in MySQL may have lost what it sold: a late payment has no fresh units
/// from it. A payment in time is recorded.
#[test]
fn a_late_payment_takes_no_units_that_another_journal_may_have_sold() {
    for (why, payments, overloaded) in [(Unavailable::NotOurs, 1, 1), (Unavailable::BacklogFull, 2, 0)] {
        let mut world = World::fixed(Random::from(7), 1, 2);
        world.place(1, 1);
        world.settle();
        world.unavailable = Some(why);
        world.pay_one();
        world.settle();
        assert_eq!(world.tally().payments, 1, "in time");
        world.unavailable = None;
        let mut world = World::fixed(Random::from(7), 1, 2);
        world.place(1, 1);
        world.settle();
        world.at_ms += 1_000;
        world.unavailable = Some(why);
        world.expire_all();
        world.pay_one();
        world.settle();
        let tally = world.tally();
        assert_eq!((tally.payments + 1, tally.overloaded), (payments, overloaded), "{why:?}");
    }
}

/// Two units on two shards, and one order wants both.
#[test]
fn an_order_gets_units_of_several_shards() {
    let mut world = World::fixed(Random::from(7), 2, 2);
    world.place(1, 2);
    world.settle();
    assert_eq!(world.tally().accepted, 1);
    world.place(2, 1);
    world.settle();
    assert_eq!(world.tally().sold_out, 1);
}
