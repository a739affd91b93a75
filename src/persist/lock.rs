//! One process owns a data directory at a time (J4). The lock is the kernel's, on an open file, so it goes with its
//! process however that ends; what the file says is for people.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

use super::error::Error;
use crate::ids::UnixMillis;

/// Ownership of a data directory, until dropped.
#[derive(Debug)]
pub struct DataDirLock {
    /// Held for its lock alone.
    file: File,
    path: PathBuf,
}

impl DataDirLock {
    /// Takes `<data_dir>/LOCK`, making both where they are missing, and writes into it who has it since when.
    ///
    /// # Errors
    /// [`Error::Locked`] with the holder's process id where another process has it; [`Error::Io`].
    pub fn take(data_dir: &Path, started_at: UnixMillis) -> Result<Self, Error> {
        fs::create_dir_all(data_dir).map_err(Error::io("making", data_dir))?;
        let path = data_dir.join("LOCK");
        // Not truncated on opening: until the lock is ours, the words are the holder's.
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(Error::io("opening", &path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(locked(path)),
            Err(TryLockError::Error(source)) => return Err(Error::io("locking", &path)(source)),
        }
        let words = format!("pid {}, since {started_at} ms after 1970\n", std::process::id());
        file.set_len(0).and_then(|()| file.write_all(words.as_bytes())).map_err(Error::io("writing", &path))?;
        Ok(Self { file, path })
    }

    /// The lock file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for DataDirLock {
    fn drop(&mut self) {
        // Closing would do, but for a child that is being started at this moment: until it runs its program it has a copy
        // of the descriptor. Where even this fails, the lock goes when the child has come so far.
        let _left_to_close = self.file.unlock();
    }
}

fn locked(path: PathBuf) -> Error {
    let holder = match fs::read_to_string(&path) {
        Ok(words) if !words.trim().is_empty() => words.trim().to_owned(),
        // It has the lock and has not written yet, or cannot be read: held all the same.
        _ => "which has not said who it is".to_owned(),
    };
    Error::Locked { path, holder }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_directory_has_one_owner_who_is_named_to_the_second() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let data = dir.path().join("new");
        let first = DataDirLock::take(&data, UnixMillis(17)).expect("a fresh directory is free");
        let refusal = DataDirLock::take(&data, UnixMillis(18)).expect_err("J4: one owner at a time").to_string();
        assert!(refusal.contains(&format!("pid {}, since 17 ms", std::process::id())), "{refusal}");
        drop(first);
        let second = DataDirLock::take(&data, UnixMillis(19)).expect("the lock went with its owner");
        assert_eq!(fs::read_to_string(second.path()).expect("it is a text").matches("pid").count(), 1);
    }
}
