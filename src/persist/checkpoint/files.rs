//! Files that are whole or not there: written beside their name, made durable a slice at a time, then renamed.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::persist::Error;

/// What is written at once before it is synced. A sync of the journal that comes in between waits for no more than this.
const SLICE_BYTES: usize = 256 << 10;

/// What files in the making end in.
pub(super) const PARTIAL: &str = "partial";

/// Writes a file that is durable under its name when [`sync_dir`] has run over its directory. `go_on` is asked after
/// each slice; its error is returned, and leaves a partial file.
pub(super) fn write_whole<E: From<Error>>(
    path: &Path,
    bytes: &[u8],
    go_on: impl Fn() -> Result<(), E>,
) -> Result<(), E> {
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(".");
    unfinished.push(PARTIAL);
    let unfinished = PathBuf::from(unfinished);
    let mut file = File::create(&unfinished).map_err(Error::io("making", &unfinished))?;
    for slice in bytes.chunks(SLICE_BYTES) {
        // The file's new length is synced with its data.
        file.write_all(slice).and_then(|()| file.sync_data()).map_err(Error::io("writing", &unfinished))?;
        go_on()?;
    }
    fs::rename(&unfinished, path).map_err(Error::io("renaming", &unfinished))?;
    Ok(())
}

/// Makes the entries of a directory durable.
pub(super) fn sync_dir(path: &Path) -> Result<(), Error> {
    File::open(path).and_then(|dir| dir.sync_all()).map_err(Error::io("syncing", path))
}

/// Makes a directory whose parent is there, durably.
pub(super) fn make_dir(path: &Path, parent: &Path) -> Result<(), Error> {
    match fs::create_dir(path) {
        Ok(()) => sync_dir(parent),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(Error::io("making", path)(error)),
    }
}

/// The files of a directory; none where there is no directory.
pub(super) fn files(path: &Path) -> Result<Vec<PathBuf>, Error> {
    let listed = fs::read_dir(path).and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
    match listed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        listed => listed.map_err(Error::io("listing", path)),
    }
}

/// Removes a file. What a kill leaves of this is the file, or none.
pub(super) fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io("removing", path)(error)),
        _ => Ok(()),
    }
}
