//! What a packet costs before anybody grabs it. One test in a process of its own: the allocator counts for all.

mod domain;

use domain::packets::*;
use domain::*;
use doorbuster::domain::image::{Decoder, encode as encode_image};
use doorbuster::domain::{Definition, Entry, Sale};
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const PACKETS: u32 = 1_000_000;
const BYTES_PER_PACKET_MAX: usize = 16;
/// A shop's packets, of 20 each, and what one may cost with all that the domain keeps of it.
const SHOP_PACKETS: u32 = 20_000;
const BYTES_PER_SHOP_PACKET_MAX: usize = 4_096;

#[test]
fn a_packet_that_nobody_grabbed_costs_at_most_16_bytes_and_a_shops_20_at_most_4_kb() {
    let mut definition = planned(rain_with(|packets| {
        packets.rounds.truncate(1);
        (packets.rounds[0].packets, packets.rounds[0].total_cents) = (PACKETS, 200 * u64::from(PACKETS));
    }));
    definition.shards = 4;
    let entries: Vec<Entry> = found_by(definition);
    let before = MEMORY.current_usage();
    // As after a start: each part was read for itself.
    let parts: Vec<Sale> = read_back(&entries);
    parts.iter().for_each(|part| assert_eq!(part.rounds()[0].plan.amounts().len(), PACKETS as usize));
    let kept = (MEMORY.current_usage() - before) as f64 / f64::from(PACKETS);
    println!("{PACKETS} packets that nobody grabbed, in 4 parts: {kept:.2} bytes each");
    assert!(kept <= BYTES_PER_PACKET_MAX as f64, "{kept} bytes a packet");

    let small = rain_with(|packets| {
        packets.rounds.truncate(1);
        (packets.rounds[0].packets, packets.rounds[0].total_cents) = (20, 2_000);
    });
    let before = MEMORY.current_usage();
    let shops: Vec<Sale> =
        (0..SHOP_PACKETS).map(|_| Sale::define(SHARD, &defined(planned(small.clone()), false))).collect();
    shops.iter().for_each(|shop| assert_eq!(shop.rounds()[0].plan.amounts().len(), 20));
    let kept = (MEMORY.current_usage() - before) / SHOP_PACKETS as usize;
    println!("{SHOP_PACKETS} packets of a shop, of 20, split: {kept} bytes each");
    assert!(kept <= BYTES_PER_SHOP_PACKET_MAX, "{kept} bytes a shop's packet");
}

fn found_by(definition: Definition) -> Vec<Entry> {
    doorbuster::domain::found::found(SHARD, defined(definition, false), ms(1))
}

/// From the journal into an image, and from there.
fn read_back(entries: &[Entry]) -> Vec<Sale> {
    let sales = parts::fold(entries).expect("it is a journal");
    let mut decoder = Decoder::whole();
    encode_image(&sales, |piece| decoder.take(piece.bytes)).expect("it is an image");
    let read = decoder.finish().expect("it is whole");
    read.into_activities().next().expect("one activity")
}
