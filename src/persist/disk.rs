//! How much room the disk has left.

use std::io;
use std::path::Path;

/// The bytes that the journal in a data directory takes. After an unclean stop the next start needs as many again.
///
/// # Errors
/// Where it cannot be listed.
pub fn journal_bytes(data_dir: &Path) -> io::Result<u64> {
    fn tree_bytes(path: &Path) -> io::Result<u64> {
        let meta = path.symlink_metadata()?;
        if !meta.is_dir() {
            return Ok(meta.len());
        }
        let mut bytes = 0;
        for entry in std::fs::read_dir(path)? {
            bytes += tree_bytes(&entry?.path())?;
        }
        Ok(bytes)
    }
    tree_bytes(&data_dir.join("journal"))
}

/// The bytes that this process may still write to the file system that holds `path`.
///
/// # Errors
/// Where the file system does not say.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(path)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}
