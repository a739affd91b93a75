//! A manifest: which pieces make a checkpoint, and at which event of which journal it stands.
//!
//! ```text
//!   0  magic "DBM"          3 bytes
//!   3  version              1
//!   4  the tail's event     8   big-endian
//!  12  the tail's hash      32  of the journal's record that ends at that event
//!  44  state hash           32  BLAKE3 over the pieces' hashes, in order
//!  76  how many pieces      4
//!  80  pieces               48 each: hash 32, bytes 4, first shard 4, last shard 4, orders 4
//!   n  hash                 32  BLAKE3 over all before it
//! ```

use std::ops::RangeInclusive;

use crate::domain::image::{PIECE_BYTES_MAX, Piece, PieceHash, StateHash};
use crate::ids::{Seq, ShardId};
use crate::persist::{RecordHash, Tail};

const MAGIC: [u8; 3] = *b"DBM";
/// The version that this program writes, and the only one it knows.
const VERSION: u8 = 1;
const HEADER_BYTES: usize = 80;
const ENTRY_BYTES: usize = 48;
const HASH_BYTES: usize = 32;

/// A checkpoint, by its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The journal's tail at which the state stands.
    pub tail: Tail,
    /// The state's hash.
    pub state: StateHash,
    /// The image's pieces, in order.
    pub pieces: Vec<PieceEntry>,
}

/// A piece, as a manifest names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PieceEntry {
    /// Its hash, which is its file's name.
    pub hash: PieceHash,
    /// Its length.
    pub bytes: u32,
    /// The first shard that it says something of.
    pub first: ShardId,
    /// The last one; a piece of the ledger concerns every shard.
    pub last: ShardId,
    /// Orders in it.
    pub orders: u32,
}

/// What is wrong with a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestFault {
    /// It does not begin as a manifest does.
    #[error("it does not begin as a manifest does")]
    NotAManifest,
    /// It is of a version that this program does not know.
    #[error("it is of version {version}, and this program knows version {VERSION}")]
    UnknownVersion {
        /// The version it names.
        version: u8,
    },
    /// Its bytes are not those that were hashed.
    #[error("its checksum does not hold")]
    Checksum,
    /// Its bytes are those that were hashed, and it does not make sense, or stands under another's name.
    #[error("it does not make sense")]
    Senseless,
}

impl PieceEntry {
    pub(super) fn of(piece: &Piece<'_>) -> Self {
        let bytes = u32::try_from(piece.bytes.len()).expect("a piece is at most PIECE_BYTES_MAX");
        Self { hash: PieceHash::of(piece.bytes), bytes, first: piece.first, last: piece.last, orders: piece.orders }
    }

    /// Whether it says something of one of those shards.
    pub(super) fn concerns(&self, shards: &RangeInclusive<ShardId>) -> bool {
        self.first <= *shards.end() && *shards.start() <= self.last
    }

    /// Whether it is of the ledger.
    pub(super) fn is_ledger(&self) -> bool {
        self.last > ShardId::MAX
    }
}

impl Manifest {
    pub(super) fn new(tail: Tail, pieces: Vec<PieceEntry>) -> Self {
        let state = StateHash::over(pieces.iter().map(|piece| &piece.hash));
        Self { tail, state, pieces }
    }

    /// How many orders the state has.
    #[must_use]
    pub fn orders(&self) -> u64 {
        self.pieces.iter().map(|piece| u64::from(piece.orders)).sum()
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_BYTES + self.pieces.len() * ENTRY_BYTES + HASH_BYTES);
        out.extend_from_slice(&MAGIC);
        out.push(VERSION);
        out.extend_from_slice(&self.tail.seq.0.to_be_bytes());
        out.extend_from_slice(&self.tail.hash.0);
        out.extend_from_slice(&self.state.0);
        let count = u32::try_from(self.pieces.len()).expect("2^32 orders in pieces of thousands");
        out.extend_from_slice(&count.to_be_bytes());
        for piece in &self.pieces {
            out.extend_from_slice(&piece.hash.0);
            for number in [piece.bytes, piece.first.0, piece.last.0, piece.orders] {
                out.extend_from_slice(&number.to_be_bytes());
            }
        }
        let hash = *blake3::hash(&out).as_bytes();
        out.extend_from_slice(&hash);
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, ManifestFault> {
        if bytes.get(..MAGIC.len()) != Some(&MAGIC) {
            return Err(ManifestFault::NotAManifest);
        }
        match bytes.get(MAGIC.len()) {
            // The version comes before the checksum: another version may keep its checksum elsewhere.
            Some(version) if *version != VERSION => return Err(ManifestFault::UnknownVersion { version: *version }),
            _ => {}
        }
        let (body, hash) = bytes.split_last_chunk::<HASH_BYTES>().ok_or(ManifestFault::Checksum)?;
        if body.len() < HEADER_BYTES || blake3::hash(body) != *hash {
            return Err(ManifestFault::Checksum);
        }
        let (header, entries) = body.split_at(HEADER_BYTES);
        let entries = entries.chunks_exact(ENTRY_BYTES);
        let is_whole = entries.remainder().is_empty() && entries.len() as u64 == u64::from(number(header, 76));
        let tail = Tail { seq: Seq(u64::from_be_bytes(array(header, 4))), hash: RecordHash(array(header, 12)) };
        let manifest = Self::new(tail, entries.map(entry).collect());
        let fits = manifest.pieces.iter().all(|piece| piece.bytes as usize <= PIECE_BYTES_MAX);
        if is_whole && fits && manifest.state.0 == array(header, 44) {
            Ok(manifest)
        } else {
            Err(ManifestFault::Senseless)
        }
    }
}

fn entry(bytes: &[u8]) -> PieceEntry {
    PieceEntry {
        hash: PieceHash(array(bytes, 0)),
        bytes: number(bytes, 32),
        first: ShardId(number(bytes, 36)),
        last: ShardId(number(bytes, 40)),
        orders: number(bytes, 44),
    }
}

fn number(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(array(bytes, at))
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    *bytes[at..].first_chunk().expect("the length was checked")
}
