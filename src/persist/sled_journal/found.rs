//! What lies in a journal's directory: which generations, in which form, and whether that can be a journal at all.
//!
//! Numbers are dense from 1, or from where the note of the base says. Sealed ones come first, then those that are still in sled, of which there is always one:
//! a generation is sealed only when the next one stands. Whatever breaks that is refused by name, as no crash leaves it.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::base::Beginning;
use super::layout::{Layout, children, generation_name};
use crate::persist::{Error, SealFault};

/// The names in a journal's directory, sorted out.
#[derive(Debug, Default)]
pub(super) struct Found {
    sealed: BTreeSet<u32>,
    /// Sled directories, those with a sealed file beside them included.
    in_sled: BTreeSet<u32>,
    aside: BTreeSet<u32>,
    /// What has a name like a generation's, and is none.
    foreign: Vec<PathBuf>,
    /// Sealed files of before the journal's beginning: dropped, and not removed yet.
    pub dropped: Vec<PathBuf>,
    /// What was in the making or going when a process ended.
    pub leftovers: Vec<PathBuf>,
}

impl Found {
    /// Lists the directory of a journal with that beginning; changes nothing.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) fn list(layout: &Layout, beginning: &Beginning) -> Result<Self, Error> {
        let mut found = Self::default();
        if !layout.journal.is_dir() {
            return Ok(found);
        }
        for path in children(&layout.journal)? {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let (is_aside, rest) = name.strip_prefix("aside-").map_or((false, name), |rest| (true, rest));
            if !rest.starts_with("gen-") {
                continue;
            }
            let is_dir = path.is_dir();
            if rest.ends_with(".partial") {
                found.leftovers.push(path);
            } else if let Some(number) = number_of(rest).filter(|_| is_dir) {
                if is_aside { &mut found.aside } else { &mut found.in_sled }.insert(number);
            } else if let Some(number) = rest.strip_suffix(".log").and_then(number_of).filter(|_| !is_aside && !is_dir)
            {
                if number < beginning.first {
                    found.dropped.push(path);
                } else {
                    found.sealed.insert(number);
                }
            } else {
                found.foreign.push(path);
            }
        }
        Ok(found)
    }

    /// Whether there is no generation in any form.
    pub(super) fn is_empty(&self) -> bool {
        self.sealed.is_empty() && self.in_sled.is_empty() && self.aside.is_empty()
    }

    /// The sealed generations, in order.
    pub(super) fn sealed(&self) -> Vec<u32> {
        self.sealed.iter().copied().collect()
    }

    /// The generations that are still in sled, in order; of some there may be only what was set aside.
    pub(super) fn unsealed(&self) -> Vec<u32> {
        self.in_sled.union(&self.aside).filter(|number| !self.sealed.contains(number)).copied().collect()
    }

    /// Generations whose sealed file is there and whose sled directory was not removed yet.
    pub(super) fn half_removed(&self) -> Vec<u32> {
        self.in_sled.union(&self.aside).filter(|number| self.sealed.contains(number)).copied().collect()
    }

    /// Whether something was set aside by an earlier start.
    pub(super) fn has_aside(&self) -> bool {
        self.unsealed().iter().any(|number| self.aside.contains(number))
    }

    /// Whether the generation was set aside.
    pub(super) fn is_aside(&self, number: u32) -> bool {
        self.aside.contains(&number)
    }

    /// Holds what is there to what can be.
    ///
    /// # Errors
    /// [`Error::ForeignName`], also for one in sled from before the beginning: only what is sealed is dropped.
    /// [`Error::GenerationAbsent`], [`Error::Sealed`] for one that is sealed too early.
    pub(super) fn check(&self, layout: &Layout, beginning: &Beginning) -> Result<(), Error> {
        if let Some(path) = self.foreign.first() {
            return Err(Error::ForeignName { path: path.clone() });
        }
        let unsealed = self.unsealed();
        let there: BTreeSet<u32> = self.sealed.iter().chain(&unsealed).copied().collect();
        if there.is_empty() && beginning.first > 1 {
            return Err(absent(layout, beginning.first));
        }
        if let Some(number) = there.first().filter(|number| **number < beginning.first) {
            return Err(Error::ForeignName { path: layout.generation(*number) });
        }
        for (number, expected) in there.iter().copied().zip(beginning.first..) {
            if number != expected {
                return Err(absent(layout, expected));
            }
        }
        match (self.sealed.last(), unsealed.first()) {
            (Some(sealed), None) => Err(absent(layout, sealed.saturating_add(1))),
            (Some(sealed), Some(first)) if sealed > first => {
                Err(Error::Sealed { path: layout.sealed(*sealed), fault: SealFault::TooEarly })
            }
            _ => Ok(()),
        }
    }
}

fn absent(layout: &Layout, number: u32) -> Error {
    Error::GenerationAbsent { generation: number, journal: layout.journal.clone() }
}

fn number_of(name: &str) -> Option<u32> {
    let number = name.strip_prefix("gen-")?.parse().ok()?;
    (generation_name(number) == name && number > 0).then_some(number)
}

/// The bytes of the generations that are not sealed. After an unclean stop the next start copies these, and needs as
/// much room; and sealing them needs no more.
///
/// # Errors
/// Where they cannot be listed.
pub fn unsealed_bytes(data_dir: &Path) -> io::Result<u64> {
    let layout = Layout::of(data_dir);
    // What is not sealed is none of what was dropped.
    let found = Found::list(&layout, &Beginning::default()).map_err(io::Error::other)?;
    found.unsealed().into_iter().map(|number| tree_bytes(&layout.generation(number))).sum()
}

/// What a directory takes, as far as it is still there: a generation goes when it is sealed.
fn tree_bytes(path: &Path) -> io::Result<u64> {
    let bytes = path.symlink_metadata().and_then(|meta| {
        if meta.is_dir() { fs::read_dir(path)?.map(|entry| tree_bytes(&entry?.path())).sum() } else { Ok(meta.len()) }
    });
    match bytes {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        bytes => bytes,
    }
}
