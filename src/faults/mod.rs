//! What is wrong with something that people wrote, where it stands, and how to mend it.
//!
//! Configuration and catalogue are read by the same steps: text becomes a tree that remembers its lines ([`tree`]),
//! typed fields are taken out of the tree ([`fields`]), and whatever does not fit is noted, so that a reader learns of
//! all faults at once and not of one a run. This room knows no key of either; it never prints a value on its own, for
//! a value may be a secret.

pub mod fields;
pub mod nearest;
pub mod tree;

use std::cell::RefCell;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

pub use fields::Fields;
pub use tree::Node;

/// Faults told of one text; those past it are left out. A body of a megabyte can hold a hundred thousand unknown
/// names, and nobody mends more than these before asking again.
pub const FAULTS_MAX: usize = 100;

/// One thing that is wrong. Serialized for clients as `path`, `what` and `mend`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The file, or the row of a table, that it stands in; `None` for a request's body.
    #[serde(skip)]
    pub file: Option<Arc<Path>>,
    /// Where in the file, or which variable of the environment.
    #[serde(skip)]
    pub at: At,
    /// The field as a path from the top, such as `skus[1].price_cents`; empty for the whole text.
    pub path: String,
    /// What is wrong, in lower case.
    pub what: String,
    /// What to do about it.
    pub mend: String,
}

/// Where a value was written.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum At {
    /// Not known, or not a place within a file.
    #[default]
    Nowhere,
    /// A line, counted from 1.
    Line(u32),
    /// The environment's variable of that name.
    Env(String),
}

impl Fault {
    /// The place as people write it: `file:line`, the file, or the variable's name; empty where there is none.
    #[must_use]
    pub fn place(&self) -> String {
        match (&self.at, &self.file) {
            (At::Env(name), _) => name.clone(),
            (At::Line(line), Some(file)) => format!("{}:{line}", file.display()),
            (At::Line(line), None) => format!("line {line}"),
            (At::Nowhere, Some(file)) => file.display().to_string(),
            (At::Nowhere, None) => String::new(),
        }
    }

    /// The name of the file it stands in, without the directories above: for readers who need not know where it lies.
    #[must_use]
    pub fn file_name(&self) -> Option<String> {
        self.file.as_ref()?.file_name().map(|name| name.to_string_lossy().into_owned())
    }

    /// The fault and its mend on one line, for replies and logs; of the file only its name.
    #[must_use]
    pub fn in_one_line(&self) -> String {
        let file = self.file_name().map(|name| Arc::from(Path::new(&name)));
        let place = Self { file, ..self.clone() }.place();
        let parts = [place.as_str(), &self.path].into_iter().filter(|part| !part.is_empty());
        let before: String = parts.map(|part| format!("{part}: ")).collect();
        format!("{before}{} ({})", self.what, self.mend)
    }
}

impl fmt::Display for Fault {
    /// `file:line: key: what`, then the mend on a line of its own.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in [self.place(), self.path.clone()] {
            if !part.is_empty() {
                write!(f, "{part}: ")?;
            }
        }
        write!(f, "{}\n    mend: {}", self.what, self.mend)
    }
}

/// Takes faults down as they are found. Shared by the readers of nested tables, hence the cell.
#[derive(Debug, Default)]
pub struct Faults {
    file: Option<Arc<Path>>,
    list: RefCell<Vec<Fault>>,
}

impl Faults {
    /// For a text that stands in `file`, or in none.
    #[must_use]
    pub fn new(file: Option<&Path>) -> Self {
        Self { file: file.map(Arc::from), list: RefCell::default() }
    }

    /// Notes one; past [`FAULTS_MAX`] it is dropped.
    pub fn push(&self, at: &At, path: impl Into<String>, what: impl Into<String>, mend: impl Into<String>) {
        let mut list = self.list.borrow_mut();
        if list.len() < FAULTS_MAX {
            let (file, at) = (self.file.clone(), at.clone());
            list.push(Fault { file, at, path: path.into(), what: what.into(), mend: mend.into() });
        }
    }

    /// Notes faults that were found elsewhere; past [`FAULTS_MAX`] they are dropped.
    pub fn extend(&self, faults: impl IntoIterator<Item = Fault>) {
        let mut list = self.list.borrow_mut();
        let room = FAULTS_MAX - list.len();
        list.extend(faults.into_iter().take(room));
    }

    /// Whether no more will be kept, so that looking for more is wasted.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.list.borrow().len() == FAULTS_MAX
    }

    /// Whether none was noted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.borrow().is_empty()
    }

    /// All of them, in the order of their places.
    #[must_use]
    pub fn into_sorted(self) -> Vec<Fault> {
        let mut list = self.list.into_inner();
        list.sort_by(|a, b| a.at.cmp(&b.at));
        list
    }
}

/// A name that someone else wrote, fit for a message: short, on one line.
#[must_use]
pub fn clipped(name: &str) -> String {
    const CHARS_MAX: usize = 64;
    let mut text: String = name.chars().take(CHARS_MAX).flat_map(char::escape_debug).collect();
    if name.chars().nth(CHARS_MAX).is_some() {
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_reads_place_then_key_then_mend() {
        let faults = Faults::new(Some(Path::new("catalog/7.toml")));
        faults.push(&At::Env("DOORBUSTER_DATA_DIR".into()), "data_dir", "is empty", "name a directory");
        faults.push(&At::Line(3), "skus[1].stock", "is missing", "add it");
        let list = faults.into_sorted();
        assert_eq!(list[0].to_string(), "catalog/7.toml:3: skus[1].stock: is missing\n    mend: add it");
        assert_eq!(list[1].to_string(), "DOORBUSTER_DATA_DIR: data_dir: is empty\n    mend: name a directory");
    }

    #[test]
    fn no_more_faults_are_kept_than_the_bound() {
        let faults = Faults::default();
        (0..FAULTS_MAX * 2).for_each(|_| faults.push(&At::Nowhere, "x", "y", "z"));
        assert_eq!(faults.into_sorted().len(), FAULTS_MAX);
    }

    #[test]
    fn a_name_in_a_message_stays_short_and_on_one_line() {
        assert_eq!(clipped("a\nb"), "a\\nb");
        assert_eq!(clipped(&"é".repeat(70)).chars().count(), 65);
    }
}
