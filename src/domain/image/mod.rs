//! The image of a state: [`Sales`] as pieces of bytes, and back. A checkpoint keeps it; the state hash is made of it.
//!
//! ```text
//!  piece   "DBI", version (1 byte), rows
//!  row     kind (1 byte), length (4, little-endian), content
//!
//!  orders of one shard      16,384 of them from a fixed number on, in a piece of their own; the last few as below
//!  payments of one shard    the same, after its orders; those of the suspense account come first of all
//!  a shard's head           what it is, its SKUs; free slots and operators' keys in rows of their own
//!  standing, retired, end   the ledger: what is in memory, what has left it, the last numbers given
//! ```
//!
//! It is canonical: equal states give equal bytes, whatever order their maps iterate in. Pieces begin at fixed order
//! numbers and at every 256th shard, so that what no longer changes keeps its bytes and its hash from one image to the
//! next, and ten thousand small activities are not ten thousand pieces. No piece is above [`PIECE_BYTES_MAX`], and the
//! encoder holds only the one in the making.
//!
//! What can be worked out from the rest is not written but made again: a user's chain of orders, the queue of deadlines,
//! how many units are held. Decoding believes nothing: any bytes give a [`Fault`] or a state that `apply` can go on from
//! without reaching beyond what is there.

mod bytes;
mod decode;
mod encode;
mod ledger;
mod orders;
mod payments;
mod shard;

use std::fmt;

pub use decode::Decoder;
pub use encode::{Encoder, encode};

use super::sales::Sales;
use crate::ids::ShardId;

/// The version of a piece with payments or rounds. What has none is written as before: [`VERSION_OLDEST`].
pub const VERSION: u8 = 2;
/// The oldest version that is read: 1 has no payments.
pub const VERSION_OLDEST: u8 = 1;
/// No piece is larger. One is closed after the row that takes it past 1 MiB, and the largest row is one of orders, which
/// ends after the order that takes it past 2 MiB.
pub const PIECE_BYTES_MAX: usize = 4 << 20;
/// Orders in a piece of their own.
pub const PIECE_ORDERS: u32 = 16_384;
/// Payments in a piece of their own.
pub const PIECE_PAYMENTS: u32 = 8_192;

const MAGIC: [u8; 3] = *b"DBI";
const PIECE_BYTES_CLOSE: usize = 1 << 20;
const ROW_BYTES_CLOSE: usize = 2 << 20;
/// Shards whose heads may share a piece.
const BLOCK_SHARDS: u32 = 256;

/// What a row holds.
mod kind {
    pub const ORDERS: u8 = 1;
    pub const HEAD: u8 = 2;
    pub const FREE: u8 = 3;
    pub const CHANGE_KEYS: u8 = 4;
    pub const STANDING: u8 = 5;
    pub const RETIRED: u8 = 6;
    pub const END: u8 = 7;
    pub const PAYMENTS: u8 = 8;
    pub const LEFT_PAYMENTS: u8 = 9;
    pub const ROUNDS: u8 = 10;
}

/// A piece as it leaves the encoder.
#[derive(Clone, Copy, Debug)]
pub struct Piece<'a> {
    /// All of it.
    pub bytes: &'a [u8],
    /// The first shard that it says something of.
    pub first: ShardId,
    /// The last one. The ledger's pieces concern all shards.
    pub last: ShardId,
    /// Orders in it.
    pub orders: u32,
}

/// A piece's hash, which is also its name: BLAKE3 over its bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PieceHash(pub [u8; 32]);

/// A state's hash: BLAKE3 over the hashes of its image's pieces, in order. Equal states have equal hashes (J6).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct StateHash(pub [u8; 32]);

impl PieceHash {
    /// The hash of a piece's bytes.
    #[must_use]
    pub fn of(piece: &[u8]) -> Self {
        Self(*blake3::hash(piece).as_bytes())
    }
}

impl StateHash {
    /// The hash of the state whose image has pieces with these hashes.
    #[must_use]
    pub fn over<'a>(pieces: impl IntoIterator<Item = &'a PieceHash>) -> Self {
        let mut hasher = blake3::Hasher::new();
        for piece in pieces {
            hasher.update(&piece.0);
        }
        Self(*hasher.finalize().as_bytes())
    }
}

/// The hash of a state. Costs as much as encoding it; nothing is kept but a hash for each piece.
#[must_use]
pub fn state_hash(sales: &Sales) -> StateHash {
    let mut hashes = Vec::new();
    let never: Result<(), std::convert::Infallible> = encode(sales, |piece| {
        hashes.push(PieceHash::of(piece.bytes));
        Ok(())
    });
    let Ok(()) = never;
    StateHash::over(&hashes)
}

macro_rules! hexadecimal {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    )*};
}
hexadecimal!(PieceHash, StateHash);

/// Why bytes are no image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The bytes do not begin as a piece does.
    #[error("it does not begin as a piece does")]
    NotAPiece,
    /// A piece of a version that this program does not know.
    #[error("it is of version {version}, and this program knows versions {VERSION_OLDEST} to {VERSION}")]
    UnknownVersion {
        /// The version it names.
        version: u8,
    },
    /// The bytes end within something, or something has bytes left over.
    #[error("its rows are not whole")]
    Ragged,
    /// The rows are whole and say what cannot be.
    #[error("{0}")]
    Senseless(&'static str),
}
