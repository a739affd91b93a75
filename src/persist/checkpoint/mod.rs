//! Checkpoints: the state at some event of the journal, on disk, so that a start folds only what follows. The journal is
//! the truth; a checkpoint is a short cut that can be made again, and may be deleted at any time.
//!
//! ```text
//!  <data_dir>/checkpoints/
//!    00000000000012345678.manifest   a checkpoint at that event: the journal's tail there, the pieces, the state's hash
//!    pieces/<hash>                   pieces of images, each under the hash of its bytes, shared by checkpoints
//!    *.partial                       a file in the making, of no worth
//!
//!  newest checkpoint ─▶ load, a few activities at a time ─▶ fold the journal's events since ─▶ encode ─▶ pieces
//!    ─▶ read back, decode, encode again: the same state hash ─▶ manifest ─▶ drop what no kept checkpoint names
//! ```
//!
//! A manifest is renamed into place when all its pieces are durable and have been read back, so one that is there was
//! whole once. A kill, or a power cut, at any step leaves the checkpoints before as they were, and files that the next
//! run clears away. The newest two are kept. Each step trusts nothing: a checkpoint that does not hold, or is not of this
//! journal, is passed over for the one before, with the reason.
//!
//! Nothing here can fail the journal. Where there is no room, or anything else is wrong, the older checkpoint stands.

mod checkpointer;
mod covered;
mod error;
mod files;
mod make;
mod manifest;
mod plan;
mod recover;
mod store;

pub use checkpointer::{Checkpointer, Pace, Told};
pub use error::Error;
pub use make::{Limits, Made, Making};
pub use manifest::{Manifest, ManifestFault, PieceEntry};
pub use recover::{Failed, PassedOver, Recovered, check, recover};
pub use store::{Listed, Store};
