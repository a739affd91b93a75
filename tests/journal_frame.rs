//! A record proves what it says: any change to its bytes is found and named, and no bytes make its reader panic.

mod journal;

use doorbuster::domain::event::Entry;
use doorbuster::ids::Seq;
use doorbuster::persist::{FRAME_BYTES, Fault, RECORD_BYTES_MAX, Record, RecordBuilder, RecordHash, Tail, VERSION};
use journal::{large, order};
use proptest::prelude::*;

const AFTER: Tail = Tail { seq: Seq(41), hash: RecordHash([7; 32]) };

fn record_of(entries: &[Entry]) -> Vec<u8> {
    let mut record = RecordBuilder::default();
    record.push(entries).expect("it fits");
    record.seal(&AFTER).bytes().to_vec()
}

/// A record with a sound frame around any payload.
fn framed(count: u32, first: u64, payload: &[u8]) -> Vec<u8> {
    let mut bytes =
        [b"DBJ".as_slice(), &[VERSION], &count.to_be_bytes(), &first.to_be_bytes(), &[7; 32], payload].concat();
    let hash = blake3::hash(&bytes);
    bytes.extend_from_slice(hash.as_bytes());
    bytes
}

fn read(bytes: &[u8]) -> Result<Vec<(Seq, Entry)>, Fault> {
    let mut entries = Vec::new();
    Record::decode(bytes)?.entries(|seq, entry| entries.push((seq, entry)))?;
    Ok(entries)
}

#[test]
fn a_record_gives_back_what_was_put_in() {
    let entries = [order(1), large(2, 1000), order(3)];
    let bytes = record_of(&entries);
    let record = Record::decode(&bytes).expect("it was just made");
    assert_eq!((record.first(), record.follows(), record.tail().seq), (Seq(42), AFTER, Seq(44)));
    let numbered: Vec<_> = (42..).map(Seq).zip(entries).collect();
    assert_eq!(read(&bytes), Ok(numbered));
}

#[test]
fn each_fault_has_its_name() {
    let bytes = record_of(&[order(1)]);
    let changed = |at: usize, to: u8| {
        let mut bytes = bytes.clone();
        bytes[at] = to;
        read(&bytes).expect_err("a byte was changed")
    };
    let entry = rmp_serde::to_vec(&order(1)).expect("it encodes");
    let table = [
        (read(&[]), Fault::TooShort { bytes: 0 }),
        (read(&bytes[..FRAME_BYTES - 1]), Fault::TooShort { bytes: FRAME_BYTES - 1 }),
        (read(&vec![0; RECORD_BYTES_MAX + 1]), Fault::TooLong { bytes: RECORD_BYTES_MAX + 1 }),
        (read(&bytes[..bytes.len() - 1]), Fault::Checksum),
        (Err(changed(0, b'X')), Fault::NotARecord),
        (Err(changed(3, VERSION + 1)), Fault::UnknownVersion { version: VERSION + 1 }),
        (Err(changed(60, 0xC1)), Fault::Checksum),
        (read(&framed(0, 1, &[])), Fault::Numbers { first: Seq(1), count: 0 }),
        (read(&framed(1, 0, &entry)), Fault::Numbers { first: Seq(0), count: 1 }),
        (read(&framed(2, u64::MAX, &entry)), Fault::Numbers { first: Seq(u64::MAX), count: 2 }),
        (read(&framed(1, 1, &[entry.as_slice(), &[0xC0, 0xC0]].concat())), Fault::Leftover { bytes: 2 }),
    ];
    for (result, fault) in table {
        assert_eq!(result, Err(fault));
    }
    let short = read(&framed(2, 5, &entry)).expect_err("one entry is not two");
    assert!(matches!(short, Fault::Entry { event: Seq(6), .. }), "J7: {short}");
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(read(&bytes).is_err());
    }

    #[test]
    fn no_payload_makes_the_reader_panic(
        count in any::<u32>(), first in any::<u64>(), payload in prop::collection::vec(any::<u8>(), 0..400)
    ) {
        let _ = read(&framed(count, first, &payload));
    }

    #[test]
    fn no_changed_payload_makes_the_reader_panic(at in any::<prop::sample::Index>(), to in any::<u8>()) {
        let mut payload = rmp_serde::to_vec(&order(1)).expect("it encodes");
        let at = at.index(payload.len());
        payload[at] = to;
        let _ = read(&framed(1, 1, &payload));
    }

    #[test]
    fn any_flipped_bit_is_found(at in any::<prop::sample::Index>(), bit in 0..8u32) {
        let mut bytes = record_of(&[order(1), order(2)]);
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        prop_assert!(Record::decode(&bytes).is_err());
    }

    #[test]
    fn any_cut_is_found(len in any::<prop::sample::Index>()) {
        let bytes = record_of(&[order(1), order(2)]);
        prop_assert!(Record::decode(&bytes[..len.index(bytes.len())]).is_err());
    }
}
