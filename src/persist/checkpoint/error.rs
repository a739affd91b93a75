//! What can be wrong with a checkpoint, or go wrong as one is made. None of it harms the journal.

use std::path::PathBuf;

use super::manifest::ManifestFault;
use crate::domain::Unfit;
use crate::domain::image::{Fault, PieceHash};
use crate::ids::Seq;
use crate::persist;

/// Why a checkpoint cannot be used, or was not made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The journal could not be read, or a file of the checkpoints could not be read or written.
    #[error(transparent)]
    Persist(#[from] persist::Error),
    /// An event of the journal cannot follow on the state before it.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// A manifest is not what was written.
    #[error("the manifest {} is damaged: {fault}", path.display())]
    Manifest {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        fault: ManifestFault,
    },
    /// A piece is not what was written.
    #[error("the piece {piece} is damaged: its bytes are not those of its name")]
    Piece {
        /// The piece.
        piece: PieceHash,
    },
    /// The pieces are what was written and no state.
    #[error("the piece {piece} cannot be read: {fault}")]
    Image {
        /// The piece; of a fault of all together, the last one.
        piece: PieceHash,
        /// What is wrong with it.
        fault: Fault,
    },
    /// The checkpoint is past the journal's end.
    #[error("it is at event {seq}, and the journal ends before that: was an older journal put in place?")]
    Ahead {
        /// The checkpoint's event.
        seq: Seq,
    },
    /// The journal begins after the checkpoint.
    #[error("it is at event {seq}, and the journal begins after event {base}: what came before was dropped")]
    BeforeBase {
        /// The checkpoint's event.
        seq: Seq,
        /// The last event that was dropped.
        base: Seq,
    },
    /// The journal has other events at the checkpoint's place.
    #[error("the journal's record that ends at event {seq} is another one: the checkpoint is of another journal")]
    Foreign {
        /// The checkpoint's event.
        seq: Seq,
    },
    /// The journal does not reach the tail that it was to be folded up to.
    #[error("the journal was to be folded up to event {wanted}, and ended at event {reached}")]
    NotReached {
        /// Up to where.
        wanted: Seq,
        /// How far it came.
        reached: Seq,
    },
    /// What was written and read back is not the state that was folded: our bug, or a disk that lies.
    #[error("what was written reads back as another state")]
    Differs,
    /// The disk's free space is wanted for the journal.
    #[error("there is no room: {free} bytes are free, and {kept} are kept for the journal")]
    NoRoom {
        /// Bytes free.
        free: u64,
        /// Bytes that must stay so.
        kept: u64,
    },
    /// It was asked to stop.
    #[error("it was stopped")]
    Stopped,
    /// A panic: our bug.
    #[error("it panicked: {message}")]
    Panicked {
        /// The panic's message.
        message: String,
    },
}

impl Error {
    /// Whether a checkpoint is to blame, so that the one before it may do.
    pub(super) fn is_of_checkpoint(&self) -> bool {
        match self {
            Self::Manifest { .. } | Self::Piece { .. } | Self::Image { .. } | Self::Ahead { .. } => true,
            Self::Foreign { .. } | Self::BeforeBase { .. } | Self::Unfit(_) => true,
            Self::Persist(error) => matches!(error, persist::Error::Io { .. }),
            _ => false,
        }
    }
}
