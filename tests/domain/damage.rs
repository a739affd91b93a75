//! Damage to a journal: whatever one event is replaced by, left out or said twice.

use doorbuster::domain::Entry;

use super::encode;

/// Shows `see` every journal that one such damage makes of a good one, and every flip of a bit that still decodes.
pub fn damage_each(good: &[Entry], see: impl Fn(&[Entry])) {
    for place in 0..good.len() {
        let mut left_out = good.to_vec();
        left_out.remove(place);
        see(&left_out);
        for other in 0..good.len() {
            let (mut replaced, mut inserted, mut swapped) = (good.to_vec(), good.to_vec(), good.to_vec());
            replaced[place] = good[other].clone();
            inserted.insert(place, good[other].clone());
            swapped.swap(place, other);
            [replaced, inserted, swapped].iter().for_each(|entries| see(entries));
        }
        let bytes = encode(&good[place]);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let Ok(event) = rmp_serde::from_slice::<Entry>(&flipped) else { continue };
            let mut entries = good.to_vec();
            entries[place] = event;
            see(&entries);
        }
    }
}
