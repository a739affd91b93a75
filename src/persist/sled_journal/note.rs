//! How a tail is noted outside sled: a few bytes with a checksum of their own, for the witness and the clean mark.

use crate::ids::Seq;
use crate::persist::{RecordHash, Tail};

/// What a noted tail takes, its checksum not included.
pub(super) const TAIL_BYTES: usize = 48;
/// What a checksum takes.
pub(super) const CHECK_BYTES: usize = 16;

/// A tail behind the eight bytes that say what it is noted for.
pub(super) fn write_tail(kind: [u8; 8], tail: &Tail, out: &mut [u8]) {
    out[..8].copy_from_slice(&kind);
    out[8..16].copy_from_slice(&tail.seq.0.to_be_bytes());
    out[16..TAIL_BYTES].copy_from_slice(&tail.hash.0);
}

/// The tail noted, where it was noted for `kind`.
pub(super) fn read_tail(kind: [u8; 8], bytes: &[u8]) -> Option<Tail> {
    if bytes.first_chunk() != Some(&kind) {
        return None;
    }
    let seq = u64::from_be_bytes(bytes.get(8..16)?.try_into().ok()?);
    let hash = bytes.get(16..TAIL_BYTES)?.try_into().ok()?;
    Some(Tail { seq: Seq(seq), hash: RecordHash(hash) })
}

/// Ends `out` with the checksum over what comes before.
pub(super) fn seal(out: &mut [u8]) {
    let body = out.len() - CHECK_BYTES;
    let check = checksum(&out[..body]);
    out[body..].copy_from_slice(&check);
}

/// What a checksum at the end covers, where it holds.
pub(super) fn unseal(bytes: &[u8]) -> Option<&[u8]> {
    let (body, check) = bytes.split_at_checked(bytes.len().checked_sub(CHECK_BYTES)?)?;
    (checksum(body) == check).then_some(body)
}

fn checksum(bytes: &[u8]) -> [u8; CHECK_BYTES] {
    *blake3::hash(bytes).as_bytes().first_chunk().expect("a hash is longer than the checksum")
}
