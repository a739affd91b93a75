//! A journal in small generations, and the files that tests lay hands on.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::fs::{self, OpenOptions, Permissions};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use doorbuster::ids::Seq;
use doorbuster::persist::{Error, Generations, Journal, SledJournal, Tail, open};
use tempfile::TempDir;

use super::append_orders;

/// Some six records of three orders.
pub const SMALL: Generations = Generations { max_bytes: 2_000, seal_retry: Duration::from_millis(5) };
const PATIENCE: Duration = Duration::from_secs(20);

/// A data directory whose journal is in small generations.
pub struct Data {
    dir: TempDir,
    pub generations: Generations,
}

impl Data {
    pub fn new() -> Self {
        Self::of(SMALL)
    }

    pub fn of(generations: Generations) -> Self {
        Self { dir: tempfile::tempdir().expect("a temporary directory"), generations }
    }

    /// The same directory, opened in other generations from now on.
    pub fn in_generations(self, generations: Generations) -> Self {
        Self { generations, ..self }
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn journal(&self, name: &str) -> PathBuf {
        self.dir().join("journal").join(name)
    }

    pub fn sealed(&self, number: u32) -> PathBuf {
        self.journal(&format!("gen-{number:08}.log"))
    }

    pub fn in_sled(&self, number: u32) -> PathBuf {
        self.journal(&format!("gen-{number:08}"))
    }

    pub fn open(&self) -> SledJournal {
        open(self.dir(), &self.generations).expect("what was written holds")
    }

    pub fn refusal(&self) -> Error {
        open(self.dir(), &self.generations).expect_err("the journal does not add up")
    }

    /// A journal of `records` records, of which all full generations are sealed; stopped as a kill does.
    pub fn with_sealed(records: u32) -> Self {
        let data = Self::new();
        let mut journal = data.open();
        append_orders(&mut journal, records);
        wait_until_sealed(&data, &journal);
        drop(journal);
        data
    }

    /// A journal of which nothing can be sealed, stopped after `records` records.
    pub fn with_unsealed(records: u32, clean: bool) -> Self {
        let data = Self::new();
        let mut journal = data.open();
        fs::create_dir(data.sealed(1)).expect("it can be made");
        append_orders(&mut journal, records);
        if clean {
            journal.close().expect("what cannot be sealed is no reason to fail");
        } else {
            drop(journal);
        }
        fs::remove_dir(data.sealed(1)).expect("nothing took its place");
        data
    }

    /// The names in the journal's directory, sorted.
    pub fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.journal("")).expect("it is there");
        let mut names: Vec<String> =
            entries.map(|entry| entry.expect("listed").file_name().into_string().expect("a text")).collect();
        names.sort();
        names
    }

    /// How many names end like this.
    pub fn count(&self, ending: &str) -> usize {
        self.names().iter().filter(|name| name.starts_with("gen-") && name.ends_with(ending)).count()
    }
}

/// Waits until every generation but the live one is sealed, and nothing is left of what sled had of them.
pub fn wait_until_sealed(data: &Data, journal: &SledJournal) -> Tail {
    until("all is sealed", || {
        // The live one, and perhaps the next.
        let names = data.names();
        let in_sled = names.iter().filter(|name| name.starts_with("gen-") && !name.ends_with(".log"));
        in_sled.clone().count() <= 2
            && in_sled.clone().all(|name| !names.contains(&format!("{name}.log")) && !name.ends_with(".partial"))
            && journal.reader().seal_trouble().expect("it is open").is_none()
            && journal.tail().seq.0 - journal.sealed_tail().seq.0 < 30
    });
    journal.sealed_tail()
}

pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "it never comes that {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Takes a file's protection away, and writes over some of it.
pub fn overwrite(path: &Path, at: usize, bytes: &[u8]) {
    fs::set_permissions(path, Permissions::from_mode(0o644)).expect("it is ours");
    let file = OpenOptions::new().write(true).open(path).expect("the file is there");
    file.write_all_at(bytes, at as u64).expect("it can be written");
}

/// Puts other bytes in a file's place.
pub fn replace(path: &Path, bytes: &[u8]) {
    let _there = fs::remove_file(path);
    fs::write(path, bytes).expect("it can be written");
}

pub fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("it can be made");
    for entry in fs::read_dir(from).expect("it is there") {
        let entry = entry.expect("it can be listed");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("it can be copied");
        }
    }
}

/// Where a generation's records lie in its sealed file: the first event's number, and the record's first and last byte.
pub fn records_of(bytes: &[u8]) -> Vec<(Seq, usize, usize)> {
    let end = bytes.len() - 104;
    let count = |at: usize| u64::from_be_bytes(bytes[end + at..end + at + 8].try_into().expect("eight bytes"));
    let mut at = 56;
    (0..count(0))
        .map(|_| {
            let length = u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes")) as usize;
            let record = at + 4;
            at = record + length;
            let first = u64::from_be_bytes(bytes[record + 8..record + 16].try_into().expect("eight bytes"));
            (Seq(first), record, at)
        })
        .collect()
}
