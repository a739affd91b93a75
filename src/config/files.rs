//! Reads the files that a configuration is made of, none of which is large.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

/// The largest file that is read. A configuration has a few kilobytes, a key one or two.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Reads a whole file.
pub fn read_bytes(file: &Path) -> io::Result<Vec<u8>> {
    // Pipes are let through, unlike in the catalogue: a secret may come from one (`--config <(…)`, `/dev/fd/3`).
    if fs::metadata(file)?.is_dir() {
        return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a directory"));
    }
    let mut bytes = Vec::new();
    File::open(file)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it is larger than {FILE_BYTES_MAX} bytes")));
    }
    Ok(bytes)
}

/// Reads a whole file of UTF-8.
pub fn read_text(file: &Path) -> io::Result<String> {
    String::from_utf8(read_bytes(file)?).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8"))
}
