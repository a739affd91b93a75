//! A small rain of red packets, and commands for it in one line.

use super::*;
use doorbuster::domain::command::Grab;
use doorbuster::domain::definition::{Packets, RoundDefinition};
use doorbuster::domain::event::{PacketGrabbed, RoundEnded};
use doorbuster::domain::split::{Seed, Split};
use doorbuster::ids::SkuIndex;

/// The rounds' windows, each half-open.
pub const WINDOWS: [(u64, u64); 3] = [(START, 2_000), (3_000, 4_000), (8_000, END)];

pub fn round(number: usize, total_cents: u64, packets: u32) -> RoundDefinition {
    let (starts, ends) = WINDOWS[number];
    RoundDefinition { starts_at_ms: ms(starts), ends_at_ms: ms(ends), total_cents, packets, plan: None }
}

pub fn packets() -> Packets {
    let rounds = vec![round(0, 1_000, 10), round(1, 100, 4), round(2, 50, 5)];
    Packets { split: Split::Random, min_cents: 1, max_cents: 500, rounds, shop: None }
}

/// What people write of it.
pub fn rain_with(change: impl FnOnce(&mut Packets)) -> Definition {
    let mut packets = packets();
    change(&mut packets);
    Definition::of_packets("Rain".to_owned(), "CNY".to_owned(), 1, Qty(1), packets)
}

/// Three rounds: 1000 cents in 10 packets, 100 in 4, 50 in 5; one packet a user in each.
pub fn rain() -> Definition {
    rain_with(|_| ())
}

pub fn seeds(first: u8) -> Vec<Seed> {
    (first..).take(8).map(|n| Seed([n; 32])).collect()
}

/// As it stands.
pub fn planned(definition: Definition) -> Definition {
    definition.planned(None, &seeds(1), |_| 0)
}

pub fn put_rain(definition: Definition) -> Redefine {
    Redefine { seeds: seeds(100), ..put(definition) }
}

pub fn grab(user: u64) -> Grab {
    Grab { user: UserId(user), key: None }
}

pub fn keyed_grab(user: u64, n: u8) -> Grab {
    Grab { key: Some(key(n)), ..grab(user) }
}

pub fn end(round: u16) -> Command {
    Command::EndRound(SkuIndex(round))
}

#[track_caller]
pub fn grabbed(event: &Event) -> PacketGrabbed {
    match event {
        Event::PacketGrabbed(event) => *event,
        other => panic!("a grab was expected: {other:?}"),
    }
}

#[track_caller]
pub fn ended(event: &Event) -> RoundEnded {
    match event {
        Event::RoundEnded(event) => event.clone(),
        other => panic!("a round's end was expected: {other:?}"),
    }
}
