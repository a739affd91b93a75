//! What can go wrong with a journal, in words an operator can act on: which record, which path, what mends it.

use std::io;
use std::path::{Path, PathBuf};

use super::frame::{RECORD_BYTES_MAX, VERSION};
use crate::ids::Seq;

/// An operation of the journal that failed. Every one of them is final: what was not acknowledged by then never is.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A record is not what was written (J2), or of no version that this program knows (J7).
    #[error("the journal's record at event {record} is damaged: {fault}")]
    Damaged {
        /// The record's first event.
        record: Seq,
        /// What is wrong with it.
        fault: Fault,
    },
    /// Events are missing between two records (J1).
    #[error("the journal's record at event {expected} is missing: the next one there is begins at event {found}")]
    Missing {
        /// The event that should come next.
        expected: Seq,
        /// The event that does.
        found: Seq,
    },
    /// The journal ends before an event that was durable once (J3).
    #[error(
        "the journal ends at event {tail}, but event {witness} was durable: the record at event {} is lost or damaged, \
         and with it what follows", tail.0 + 1
    )]
    TailLost {
        /// The last event there is.
        tail: Seq,
        /// The last event that there was.
        witness: Seq,
    },
    /// What is asked for was dropped: it was shipped, and a checkpoint covers it.
    #[error("the journal no longer has event {from}: it begins after event {base}, and what came before was dropped")]
    Dropped {
        /// The first event that is asked for.
        from: Seq,
        /// The last event that was dropped.
        base: Seq,
    },
    /// The note of where the journal begins is not what was written, so nothing tells what was dropped on purpose.
    #[error(
        "{} is damaged: it says where the journal begins, after generations were dropped. Restore it from a backup made \
         since the last of them went; then start again", path.display()
    )]
    BaseLost {
        /// The note.
        path: PathBuf,
    },
    /// The journal's records are sound, but they are not those that were acknowledged (J3).
    #[error("the journal's record that ends at event {witness} is not the one that was durable then")]
    Forked {
        /// The last event that the witness saw.
        witness: Seq,
    },
    /// There is a journal, but nothing to tell whether its tail is complete (J3).
    #[error(
        "{} is missing or damaged, so nothing tells whether the journal beside it is complete. Restore the file; or, to \
         accept the journal as it stands, put an empty file in its place", path.display()
    )]
    WitnessLost {
        /// Where the witness should be.
        path: PathBuf,
    },
    /// A sealed generation's file is not what was sealed (J2), or not the one that belongs in its place (J1), or of no
    /// version that this program knows (J7).
    #[error("the sealed generation {} cannot be used: {fault}", path.display())]
    Sealed {
        /// Its file.
        path: PathBuf,
        /// What is wrong with it.
        fault: SealFault,
    },
    /// A generation between others, or after a sealed one, is not there in any form (J1).
    #[error(
        "generation {generation} of the journal in {} is missing: there is neither gen-{generation:08}.log nor \
         gen-{generation:08}. Put it back from where it was moved to, or from a backup; or, where older generations were \
         dropped, the file `base` that says so; then start again",
        journal.display()
    )]
    GenerationAbsent {
        /// Its number.
        generation: u32,
        /// The journal's directory.
        journal: PathBuf,
    },
    /// Something has a name like a generation's, and is none.
    #[error("{} has a name like a generation's and is none of this journal's: move it elsewhere", path.display())]
    ForeignName {
        /// What it is.
        path: PathBuf,
    },
    /// The journal was opened after an unclean stop and does not add up.
    #[error(
        "the journal in {} does not add up: {source}. The copy in {} is as the stop left it, and is kept. Restore the \
         journal from a backup, or repair it from the copy; then start again: the copy goes once all adds up",
        journal.display(), aside.display()
    )]
    Refused {
        /// The generation that was opened.
        journal: PathBuf,
        /// The copy made before it was.
        aside: PathBuf,
        /// The first thing that does not add up.
        source: Box<Error>,
    },
    /// There is no journal to read.
    #[error("there is no journal in {}", path.display())]
    NoJournal {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// An append named another tail than the journal's: two writers, or a bug. Nothing was written.
    #[error("an append after event {expected} met a journal that ends at event {actual}")]
    TailMoved {
        /// The tail that the append named.
        expected: Seq,
        /// The tail there is.
        actual: Seq,
    },
    /// The events of one command are more than a record holds; the bounds in `domain` should prevent it.
    #[error("one command's events take {bytes} bytes, above the {RECORD_BYTES_MAX} of a record")]
    CommandTooLarge {
        /// What they take, the frame included.
        bytes: usize,
    },
    /// An entry has no encoding.
    #[error("an entry cannot be encoded: {message}")]
    Encoding {
        /// What the encoder said.
        message: String,
    },
    /// The storage engine kept a value outside its log, where it is never synced.
    #[error("{} is not empty: sled keeps large values there and never syncs them", path.display())]
    Blobs {
        /// The engine's directory of large values.
        path: PathBuf,
    },
    /// The storage engine failed.
    #[error("sled failed {doing} {}: {message}", path.display())]
    Engine {
        /// What it was asked to do.
        doing: &'static str,
        /// The generation.
        path: PathBuf,
        /// What it said.
        message: String,
    },
    /// The file system failed.
    #[error("{doing} {}: {source}", path.display())]
    Io {
        /// What was asked of it.
        doing: &'static str,
        /// Of which file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// The system gave no thread.
    #[error("cannot start the {name} thread: {source}")]
    Thread {
        /// Which.
        name: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// Another process owns the data directory (J4).
    #[error("{} is owned by another process ({holder}). Stop it first, or use another data directory", path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// What the holder wrote into it.
        holder: String,
    },
    /// An earlier failure closed the journal to appends for good.
    #[error("the journal failed before and takes no more records; start again to rebuild from disk")]
    Failed,
    /// The journal was closed while it was being read.
    #[error("the journal is closed")]
    Closed,
    /// The thread that writes the journal panicked: our bug.
    #[error("the journal's writer panicked: {message}")]
    WriterPanicked {
        /// The panic's message.
        message: String,
    },
}

impl Error {
    /// Whether the journal itself does not add up, rather than that it could not be read or written just now.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Damaged { .. }
            | Self::Missing { .. }
            | Self::TailLost { .. }
            | Self::Forked { .. }
            | Self::WitnessLost { .. }
            | Self::BaseLost { .. }
            | Self::Sealed { .. }
            | Self::GenerationAbsent { .. }
            | Self::ForeignName { .. }
            | Self::Blobs { .. } => true,
            Self::Refused { source, .. } => source.is_damage() || matches!(**source, Self::Engine { .. }),
            _ => false,
        }
    }

    /// For `map_err`: an I/O error with what was being done, to which file.
    pub(super) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { doing, path: path.to_owned(), source }
    }

    /// Whether there was no room on the disk: that says nothing of what is on it.
    pub(super) fn is_lack_of_room(&self) -> bool {
        matches!(self, Self::Io { source, .. } if is_lack_of_room(source))
    }
}

/// See [`Error::is_lack_of_room`].
pub(super) fn is_lack_of_room(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge)
}

/// The version of sealed generations that this program writes, and the only one it knows.
pub const SEALED_VERSION: u32 = 1;

/// What is wrong with a sealed generation, apart from its records.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealFault {
    /// The file does not begin as one does.
    #[error("it does not begin as one does. Restore it from a backup")]
    NotSealed,
    /// A file of a version that this program does not know (J7).
    #[error(
        "it is of version {version}, and this program knows version {SEALED_VERSION}; use the program that wrote it"
    )]
    UnknownVersion {
        /// The version it names.
        version: u32,
    },
    /// The file's end is not there.
    #[error("its end is missing. Restore it from a backup")]
    CutShort,
    /// Header or footer are not those that were written.
    #[error("its header or its footer is damaged. Restore it from a backup")]
    EndsDamaged,
    /// It has another generation's name.
    #[error("by its own account it is generation {number}, a copy or renamed. Put the right one in its place")]
    Misnamed {
        /// Which it is.
        number: u32,
    },
    /// It does not follow the one before it.
    #[error(
        "it does not follow the generation before it: one of the two is of another journal, or of another time. \
             Put the right one in its place"
    )]
    Unchained,
    /// It is sealed, and a generation before it is not: no crash leaves that.
    #[error("a generation before it is not sealed. Put back the sealed file of that one")]
    TooEarly,
}

/// What is wrong with one record's bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Fewer bytes than a frame takes.
    #[error("{bytes} bytes are too few for a record")]
    TooShort {
        /// How many there are.
        bytes: usize,
    },
    /// More bytes than a record may take.
    #[error("{bytes} bytes are too many for a record")]
    TooLong {
        /// How many there are.
        bytes: usize,
    },
    /// The bytes do not begin as a record does.
    #[error("it does not begin as a record does")]
    NotARecord,
    /// A record of a version that this program does not know (J7).
    #[error("it is of version {version}, and this program knows version {VERSION}; use the program that wrote it")]
    UnknownVersion {
        /// The version it names.
        version: u8,
    },
    /// The bytes are not those that were hashed (J2).
    #[error("its checksum does not hold")]
    Checksum,
    /// A record that says it holds no event, or that numbers its events past the last possible one.
    #[error("its event numbers make no sense: {count} from {first}")]
    Numbers {
        /// The first.
        first: Seq,
        /// How many.
        count: u32,
    },
    /// The record is kept under another event's number than its own.
    #[error("it is a record of event {first}, misfiled")]
    Misfiled {
        /// The record's first event by its own account.
        first: Seq,
    },
    /// The record follows another one than the one before it (J2).
    #[error("it does not follow the record before it")]
    Unlinked,
    /// An entry does not decode (J7).
    #[error("event {event} does not decode: {message}")]
    Entry {
        /// Which.
        event: Seq,
        /// What the decoder said.
        message: String,
    },
    /// There are bytes after the last entry.
    #[error("{bytes} bytes are left over after its last event")]
    Leftover {
        /// How many.
        bytes: usize,
    },
}
