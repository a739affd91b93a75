//! Durability is a contract, not a detail. This room owns the journal: what a record is, what `append` promises, the one
//! thread that writes, and the file system's part in it.
//!
//! ```text
//!  shards ──Submission──▶ writer ──one record a group──▶ journal ──▶ sled_journal: sled, fdatasync, witness
//!         ◀──durable()───                                       └──▶ memory: the same promises, with faults on demand
//!  recovery, audit, shipping ◀──Entry── replay ◀──raw records──┘
//! ```
//!
//! Nothing here decides or folds: [`replay`] hands the entries on, in order, each checked (J1, J2, J7).

pub mod checkpoint;
mod disk;
mod encode;
mod error;
mod frame;
mod handle;
mod journal;
mod lock;
pub mod memory;
pub mod mysql;
mod queue;
mod replay;
mod sled_journal;
mod writer;

pub use disk::free_bytes;
pub use encode::{Pushed, RecordBuilder};
pub use error::{Error, Fault, SealFault};
pub use frame::{FRAME_BYTES, RECORD_BYTES_MAX, Record, RecordHash, Tail, VERSION};
pub use handle::{Acknowledge, Handle, Submission, WriterGone};
pub use journal::{Base, Journal, Read};
pub use lock::DataDirLock;
pub use replay::{excerpt, identity, portion, replay, verify};
pub use sled_journal::{
    Dropped, Generations, JournalCopy, JournalReader, SealTrouble, SledJournal, open, open_copy_read_only,
    unsealed_bytes,
};
pub use writer::{DurableGroup, Observe, Options, Writer};
