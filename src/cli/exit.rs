//! What the process's exit code says.

/// All is well.
pub const OK: u8 = 0;
/// Something is wrong with the configuration, or an audited invariant does not hold.
pub const FAULTY: u8 = 1;
/// The command could not do its work: a file could not be read or written, nothing was judged.
pub const CANNOT: u8 = 2;
/// Another process owns the data directory.
pub const LOCKED: u8 = 3;
/// The journal does not add up, and the server refused to start on it.
pub const DAMAGED: u8 = 4;
/// The journal failed while the server ran or stopped: nothing was acknowledged that is not kept.
pub const JOURNAL_FAULT: u8 = 5;
