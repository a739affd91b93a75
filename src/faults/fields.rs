//! Takes typed fields out of a table, and notes what does not fit. A field is asked for once by its name; at the end,
//! names that nobody asked for are the unknown ones. Absent and faulty fields both read as `None`, so that reading goes
//! on to the next fault; whoever reads must look at the faults before using what was read.

use std::fmt::Display;
use std::ops::RangeInclusive;

use super::nearest::nearest;
use super::tree::{Entry, Node, Value};
use super::{At, Faults, clipped};

/// A table that is being read.
#[derive(Debug)]
pub struct Fields<'n> {
    entries: &'n [Entry],
    at: At,
    path: String,
    known: Vec<&'static str>,
    faults: &'n Faults,
}

impl<'n> Fields<'n> {
    /// Begins to read `node`, which stands at `path`; `None`, and a fault, where it is no table.
    #[must_use]
    pub fn of(node: &'n Node, path: &str, faults: &'n Faults) -> Option<Self> {
        let Value::Table(entries) = &node.value else {
            let what = format!("must be a table of named fields, is {}", node.value.kind());
            faults.push(&node.at, path, what, "write its fields by their names");
            return None;
        };
        let fields = Self { entries, at: node.at.clone(), path: path.to_owned(), known: Vec::new(), faults };
        fields.refuse_repeats();
        Some(fields)
    }

    /// A TOML text has no repeats, for its parser refuses them; a JSON text may.
    fn refuse_repeats(&self) {
        let mut names: Vec<&str> = self.entries.iter().map(|entry| entry.name.as_str()).collect();
        names.sort_unstable();
        let mut told = None;
        for pair in names.windows(2) {
            if pair[0] == pair[1] && told != Some(pair[0]) {
                told = Some(pair[0]);
                self.fault(&clipped(pair[0]), "is given more than once", "keep one of them");
            }
        }
    }

    /// The path of the field `name` from the top of the text.
    #[must_use]
    pub fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// Notes a fault of the field `name`: at the field where it was written, else at the table.
    pub fn fault(&self, name: &str, what: impl Into<String>, mend: impl Into<String>) {
        let at = self.entry(name).map_or(&self.at, |entry| &entry.at);
        self.faults.push(at, self.path_of(name), what, mend);
    }

    /// Notes that the field's value is not available in this version.
    pub fn unavailable(&self, name: &str, value: &str, mend: &str) {
        self.fault(name, format!("{value} is not available in this version"), mend);
    }

    /// Whether the field was written, soundly or not. Makes the name known.
    pub fn has(&mut self, name: &'static str) -> bool {
        self.node(name).is_some()
    }

    /// Notes a fault where the field was not written.
    pub fn required(&mut self, name: &'static str, mend: &str) {
        if !self.has(name) {
            self.fault(name, "is missing", mend);
        }
    }

    /// The field as it was written. Makes the name known.
    pub fn node(&mut self, name: &'static str) -> Option<&'n Node> {
        if !self.known.contains(&name) {
            self.known.push(name);
        }
        self.entry(name).map(|entry| &entry.node)
    }

    /// Text.
    pub fn text(&mut self, name: &'static str) -> Option<&'n str> {
        match &self.node(name)?.value {
            Value::Text(text) | Value::Untyped(text) => Some(text),
            other => {
                self.fault(name, format!("must be text, is {}", other.kind()), "write it in double quotes");
                None
            }
        }
    }

    /// One of `choices`; the value itself is named in the fault, so this is not for secrets.
    pub fn choice(&mut self, name: &'static str, choices: &[&'static str]) -> Option<&'static str> {
        let text = self.text(name)?;
        let chosen = choices.iter().find(|choice| **choice == text).copied();
        if chosen.is_none() {
            let mend = match nearest(text, choices) {
                Some(choice) => format!("did you mean \"{choice}\"?"),
                None => format!("write one of \"{}\"", choices.join("\", \"")),
            };
            self.fault(name, format!("\"{}\" is not known here", clipped(text)), mend);
        }
        chosen
    }

    /// `true` or `false`.
    pub fn flag(&mut self, name: &'static str) -> Option<bool> {
        let value = &self.node(name)?.value;
        match value {
            Value::Flag(flag) => return Some(*flag),
            Value::Untyped(text) if text == "true" => return Some(true),
            Value::Untyped(text) if text == "false" => return Some(false),
            _ => {}
        }
        self.fault(name, format!("must be true or false, is {}", value.kind()), "write true or false, without quotes");
        None
    }

    /// A whole number within `bounds`.
    pub fn integer<T>(&mut self, name: &'static str, bounds: RangeInclusive<T>) -> Option<T>
    where
        T: TryFrom<i128> + PartialOrd + Display,
    {
        let (least, most) = (bounds.start(), bounds.end());
        let written = match &self.node(name)?.value {
            Value::Integer(number) => Ok(*number),
            Value::Untyped(text) => text.parse::<i128>().map_err(|_| "other text"),
            other => Err(other.kind()),
        };
        let (what, mend) = match written.map(T::try_from) {
            Ok(Ok(number)) if bounds.contains(&number) => return Some(number),
            Ok(_) => (format!("must be from {least} to {most}"), "write a number within these bounds"),
            Err(kind) => {
                (format!("must be an integer from {least} to {most}, is {kind}"), "write digits only, without quotes")
            }
        };
        self.fault(name, what, mend);
        None
    }

    /// A list.
    pub fn list(&mut self, name: &'static str) -> Option<&'n [Node]> {
        match &self.node(name)?.value {
            Value::List(items) => Some(items),
            other => {
                self.fault(name, format!("must be a list, is {}", other.kind()), "write the items in [ and ]");
                None
            }
        }
    }

    /// A list of texts; from the environment, separated by commas.
    pub fn texts(&mut self, name: &'static str) -> Option<Vec<&'n str>> {
        if let Value::Untyped(text) = &self.node(name)?.value {
            return Some(text.split(',').map(str::trim).filter(|item| !item.is_empty()).collect());
        }
        let mut texts = Vec::new();
        for (place, item) in self.list(name)?.iter().enumerate() {
            match &item.value {
                Value::Text(text) => texts.push(text.as_str()),
                other => {
                    let path = format!("{}[{place}]", self.path_of(name));
                    let what = format!("must be text, is {}", other.kind());
                    self.faults.push(&item.at, path, what, "write it in double quotes");
                }
            }
        }
        Some(texts)
    }

    /// A table within the table. An absent one reads as an empty one, which stands where this one stands.
    pub fn section(&mut self, name: &'static str) -> Self {
        let path = self.path_of(name);
        let faults = self.faults;
        self.node(name).and_then(|node| Self::of(node, &path, faults)).unwrap_or_else(|| Self {
            entries: &[],
            at: self.at.clone(),
            path,
            known: Vec::new(),
            faults,
        })
    }

    /// Ends the reading: every name that was not asked for is a fault, with the nearest known name.
    pub fn finish(self) {
        for entry in self.entries.iter().filter(|entry| !self.known.contains(&entry.name.as_str())) {
            if self.faults.is_full() {
                return;
            }
            let mend = match nearest(&entry.name, &self.known) {
                Some(name) => format!("did you mean {name}?"),
                None => format!("remove it; known here: {}", self.known.join(", ")),
            };
            self.faults.push(&entry.at, self.path_of(&clipped(&entry.name)), "is not a known name", mend);
        }
    }

    fn entry(&self, name: &str) -> Option<&'n Entry> {
        self.entries.iter().find(|entry| entry.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tree::from_toml;
    use super::*;

    /// Reads `text` by `read` and gives the faults as `line path what`.
    fn faults_of(text: &str, read: impl Fn(&mut Fields<'_>)) -> Vec<String> {
        let faults = Faults::default();
        let root = from_toml(text, &faults).expect("sound TOML");
        let mut fields = Fields::of(&root, "", &faults).expect("a table");
        read(&mut fields);
        fields.finish();
        faults.into_sorted().iter().map(|fault| format!("{} {} {}", fault.place(), fault.path, fault.what)).collect()
    }

    #[test]
    fn a_value_of_another_kind_names_both_kinds() {
        let faults = faults_of("a = 1\nb = 'x'\nc = 2\nd = 1.5\ne = {}\nf = ['x', 7]", |fields| {
            fields.text("a");
            fields.integer("b", 0..=9_u64);
            fields.flag("c");
            fields.integer("d", 0..=9_u16);
            fields.list("e");
            fields.texts("f");
        });
        assert_eq!(
            faults,
            [
                "line 1 a must be text, is an integer",
                "line 2 b must be an integer from 0 to 9, is text",
                "line 3 c must be true or false, is an integer",
                "line 4 d must be an integer from 0 to 9, is a number with a fraction",
                "line 5 e must be a list, is a table",
                "line 6 f[1] must be text, is an integer",
            ]
        );
    }

    #[test]
    fn a_missing_field_is_told_at_its_table() {
        let faults = faults_of("\n[a]\nx = 1", |fields| {
            let mut section = fields.section("a");
            section.required("x", "");
            section.required("y", "");
            fields.section("b").required("z", "");
            section.finish();
        });
        assert_eq!(faults, ["line 1 b.z is missing", "line 2 a.y is missing"]);
    }

    #[test]
    fn names_that_nobody_asked_for_are_unknown() {
        let faults = Faults::default();
        let root = from_toml("stcok = 1\nzzz = 2\nstock = 3", &faults).expect("sound TOML");
        let mut fields = Fields::of(&root, "", &faults).expect("a table");
        assert_eq!(fields.integer("stock", 0..=5_u32), Some(3));
        fields.finish();
        let mends: Vec<String> = faults.into_sorted().into_iter().map(|fault| fault.mend).collect();
        assert_eq!(mends, ["did you mean stock?", "remove it; known here: stock"]);
    }
}
