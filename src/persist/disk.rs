//! How much room the disk has left.

use std::io;
use std::path::Path;

/// The bytes that this process may still write to the file system that holds `path`.
///
/// # Errors
/// Where the file system does not say.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(path)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}
