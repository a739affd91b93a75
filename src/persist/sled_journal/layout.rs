//! Where things lie in a data directory, and how names are made durable.
//!
//! ```text
//!  <data_dir>/journal/
//!    gen-00000001.log             a sealed generation: one file, never written again
//!    gen-00000002/                a generation in sled: full and not sealed yet
//!    gen-00000003/                the last one: the live generation, or the next one, made ahead and empty
//!    base                         where it begins, once the first generations were dropped
//!    witness                      the last durable tail, kept outside sled
//!    clean                        the mark of a clean stop; gone while the journal is open
//!    aside-gen-00000003/          a generation as an unclean stop left it; gone once its copy adds up
//!    *.partial                    something in the making or going, of no worth
//! ```

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::persist::Error;

/// The paths of one data directory's journal.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub data_dir: PathBuf,
    pub journal: PathBuf,
    pub witness: PathBuf,
    pub clean: PathBuf,
    pub base: PathBuf,
}

impl Layout {
    pub(super) fn of(data_dir: &Path) -> Self {
        let journal = data_dir.join("journal");
        let [witness, clean, base] = ["witness", "clean", "base"].map(|name| journal.join(name));
        Self { data_dir: data_dir.to_owned(), journal, witness, clean, base }
    }

    /// A generation's sled directory.
    pub(super) fn generation(&self, number: u32) -> PathBuf {
        self.journal.join(generation_name(number))
    }

    /// A generation's sealed file.
    pub(super) fn sealed(&self, number: u32) -> PathBuf {
        self.journal.join(format!("{}.log", generation_name(number)))
    }

    /// A generation's files as an unclean stop left them.
    pub(super) fn aside(&self, number: u32) -> PathBuf {
        self.journal.join(format!("aside-{}", generation_name(number)))
    }
}

/// `gen-00000001` and so on.
pub(super) fn generation_name(number: u32) -> String {
    format!("gen-{number:08}")
}

/// The name under which something is made that shall appear at `path` whole or not at all.
pub(super) fn partial(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".partial");
    name.into()
}

/// Makes a directory and those above it, each durable. A new directory is an entry in its parent, and that entry is on
/// disk only after the parent's fsync: without it a power cut takes the directory with all that was synced within.
pub(super) fn make_dir(path: &Path) -> Result<(), Error> {
    let parent = parent(path);
    if path.is_dir() {
        // Made by an earlier start, perhaps, that was killed before its sync.
        return sync_dir(parent);
    }
    make_dir(parent)?;
    match fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(Error::io("making", path)(error)),
        _ => {}
    }
    sync_dir(parent)
}

/// Makes the entries of a directory durable: what was created, renamed or removed in it.
pub(super) fn sync_dir(path: &Path) -> Result<(), Error> {
    File::open(path).and_then(|dir| dir.sync_all()).map_err(Error::io("syncing", path))
}

/// Makes a directory and everything in it durable.
pub(super) fn sync_tree(path: &Path) -> Result<(), Error> {
    for child in children(path)? {
        if child.is_dir() {
            sync_tree(&child)?;
        } else {
            File::open(&child).and_then(|file| file.sync_all()).map_err(Error::io("syncing", &child))?;
        }
    }
    sync_dir(path)
}

/// Renames for good.
pub(super) fn rename(from: &Path, to: &Path) -> Result<(), Error> {
    fs::rename(from, to).map_err(Error::io("renaming", from))?;
    sync_dir(parent(to))
}

/// Removes a file or a directory with all in it, if it is there, for good.
pub(super) fn remove(path: &Path) -> Result<(), Error> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Ok(()) => sync_dir(parent(path)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::io("removing", path)(error)),
    }
}

/// Removes what was made whole, and what was left of making or removing it before. Removing a directory takes a while:
/// under its own name it must be whole until it is gone.
pub(super) fn discard(path: &Path) -> Result<(), Error> {
    let unfinished = partial(path);
    remove(&unfinished)?;
    if path.exists() {
        rename(path, &unfinished)?;
        remove(&unfinished)?;
    }
    Ok(())
}

/// Copies a directory with all in it, durable before its name is: where `to` exists it is whole.
pub(super) fn copy_tree_whole(from: &Path, to: &Path) -> Result<(), Error> {
    let unfinished = partial(to);
    remove(&unfinished)?;
    copy_tree(from, &unfinished)?;
    sync_tree(&unfinished)?;
    rename(&unfinished, to)
}

/// Copies a directory with all in it.
pub(super) fn copy_tree(from: &Path, to: &Path) -> Result<(), Error> {
    fs::create_dir(to).map_err(Error::io("making", to))?;
    for child in children(from)? {
        let target = to.join(child.file_name().expect("an entry of a directory has a name"));
        if child.is_dir() {
            copy_tree(&child, &target)?;
        } else {
            fs::copy(&child, &target).map_err(Error::io("copying", &child))?;
        }
    }
    Ok(())
}

/// What a directory holds, sorted by name.
pub(super) fn children(path: &Path) -> Result<Vec<PathBuf>, Error> {
    let listed = fs::read_dir(path).and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
    let mut paths: Vec<PathBuf> = listed.map_err(Error::io("listing", path))?;
    paths.sort();
    Ok(paths)
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        // A bare relative name lies in the working directory.
        _ => Path::new("."),
    }
}
