//! What a winner costs and a payment, and that a loser costs nothing. One test in a process of its own: the allocator counts for all.

mod domain;

use domain::*;
use doorbuster::domain::command::PlaceOrder;
use doorbuster::domain::{Command, Refusal, Sale, Stamped};
use doorbuster::ids::{KeyDigest, Qty, UserId};
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const WINNERS: u32 = 1_000_000;
const LOSERS: u64 = 1_000_000;
const BYTES_PER_WINNER_MAX: usize = 250;
/// Beside the winner, with an id of 24 letters.
const BYTES_PER_PAYMENT_MAX: usize = 250;

fn shopper(n: u64) -> PlaceOrder {
    // Users in no order, as tokens have them; an odd factor keeps them distinct.
    let user = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let key = KeyDigest((u128::from(n) << 64 | u128::from(user)).to_le_bytes());
    PlaceOrder { user: UserId(user), key: Some(key), ..place(0, "a", 1) }
}

#[test]
fn a_winner_costs_at_most_250_bytes_and_so_does_a_payment_and_a_loser_costs_none() {
    let first = defined(with(|definition| definition.skus = vec![sku("a", WINNERS)]), true);
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let mut sale = Sale::define(SHARD, &first);
    for n in 0..u64::from(WINNERS) {
        let at_ms = ms(START + n / 1_000);
        let stamped = Stamped { at_ms, command: Command::PlaceOrder(shopper(n)) };
        let decision = sale.decide(&stamped).expect("the stock is as large as the crowd");
        decision.events.iter().for_each(|event| sale.apply(at_ms, event));
    }
    assert_eq!(sale.counts()[0].available, Qty(0));
    // The peak holds the old and the new table while the map grows.
    let peak = (MEMORY.peak_usage() - before) / WINNERS as usize;
    let kept = (MEMORY.current_usage() - before) / WINNERS as usize;
    println!("{WINNERS} winners with a key: {kept} bytes each, {peak} at the peak");
    assert!(peak <= BYTES_PER_WINNER_MAX, "{peak} bytes a winner");

    let before = MEMORY.current_usage();
    for n in 0..LOSERS {
        let order = shopper(u64::from(WINNERS) + n);
        let stamped = Stamped { at_ms: ms(START + 2_000), command: Command::PlaceOrder(order) };
        assert_eq!(sale.decide(&stamped), Err(Refusal::SoldOut));
    }
    assert_eq!(MEMORY.current_usage(), before, "{LOSERS} losers leave nothing behind");

    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    for order in 1..=WINNERS {
        let at_ms = ms(START + u64::from(order) / 10_000);
        let pay = pay(&format!("payment-id-of-{order:010}"), order, 100);
        let decision = sale.decide(&Stamped { at_ms, command: pay.command() }).expect("it is new and in time");
        decision.events.iter().for_each(|event| sale.apply(at_ms, event));
    }
    assert_eq!(sale.counts()[0].sold, Qty(WINNERS));
    let peak = (MEMORY.peak_usage() - before) / WINNERS as usize;
    let kept = (MEMORY.current_usage() - before) / WINNERS as usize;
    println!("{WINNERS} payments that were applied: {kept} bytes each, {peak} at the peak");
    assert!(peak <= BYTES_PER_PAYMENT_MAX, "{peak} bytes a payment");
}
