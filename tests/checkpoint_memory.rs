//! What the making of a checkpoint takes of memory: the budget, or the largest activity, and little beside. One test in a
//! process of its own: the allocator counts for all.

mod checkpoint;

use checkpoint::*;
use doorbuster::domain::event::{Event, OrderPlaced};
use doorbuster::domain::slots::Slots;
use doorbuster::ids::{Cents, KeyDigest, ShardId, SkuIndex, UnixMillis, UserId};
use doorbuster::persist::Tail;
use doorbuster::persist::checkpoint::{Limits, Store};
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const ACTIVITIES: u32 = 12;
const ORDERS: u32 = 5_000;
/// Room for three of the activities.
const BUDGET: u64 = 4 << 20;
/// Pieces as they are made and read: here none is above a MiB.
const BESIDE: usize = 3 << 20;

fn order(shard: ShardId, order: u32) -> Event {
    let user = u64::from(order).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    Event::OrderPlaced(OrderPlaced {
        order,
        user: UserId(user),
        sku: SkuIndex(0),
        slots: Slots::range(order, 1),
        amount_cents: Cents(100),
        expires_at_ms: UnixMillis(900_000),
        key: Some(KeyDigest((u128::from(shard.0) << 64 | u128::from(user)).to_le_bytes())),
        reference: None,
    })
}

#[test]
fn a_checkpoint_is_made_within_its_budget() {
    let mut market = Market::new(1);
    let shards: Vec<ShardId> = (0..ACTIVITIES).map(|_| market.define_with(1, 1, ORDERS)).collect();
    for number in 1..=ORDERS {
        shards.iter().for_each(|shard| market.take(*shard, order(*shard, number)));
    }
    let (journal, tails) = journal_of(&market.entries, &mut Dice(1));
    drop(market);
    let dir = data_dir();
    let store = Store::of(dir.path());
    let budget = Limits { memory_bytes: BUDGET, share_percent: 100, min_free_bytes: 0 };
    let made_of = |to: Tail, limits| {
        let before = MEMORY.current_usage();
        MEMORY.reset_peak_usage();
        let made = make(&store, &journal, to, limits).expect("there is room");
        (MEMORY.peak_usage() - before, made)
    };
    let half = tails[tails.len() / 2];
    let last = tails[tails.len() - 1];
    let (from_start, made) = made_of(half, budget);
    assert!(made.passes >= 2, "{made:?}");
    let (from_half, made) = made_of(last, budget);
    assert!(made.passes >= 4 && made.from == half, "{made:?}");
    let (at_once, made) = made_of(last, PLENTY);
    assert_eq!(made.passes, 1);
    println!("{from_start} and {from_half} bytes within a budget of {BUDGET}; {at_once} at once");
    let bound = usize::try_from(BUDGET).expect("small") + BESIDE;
    assert!(from_start <= bound && from_half <= bound, "{from_start} and {from_half}, {bound} at most");
    // The bound is one.
    assert!(at_once > bound, "{at_once}");
}
