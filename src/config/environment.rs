//! Lays variables of the environment over the file: `DOORBUSTER_DATA_DIR` for a key at the top, and
//! `DOORBUSTER_SECTION__KEY`, with two underscores, for a key of a section.
//!
//! Names with two underscores are ours, so an unknown one is a fault like an unknown key of the file. Names without are
//! not all ours: Kubernetes gives every container `DOORBUSTER_PORT` and its like for a service called doorbuster. Of
//! these only such are faults as most likely were meant for us.

use std::ffi::OsString;

use crate::faults::nearest::nearest;
use crate::faults::tree::{Entry, Node, Value};
use crate::faults::{At, Faults};

const PREFIX: &str = "DOORBUSTER_";
const TOP_KEYS: [&str; 1] = ["data_dir"];
/// Sections, to recognise a name that lacks its second underscore.
const SECTIONS: [&str; 9] = ["shopper", "operator", "auth", "journal", "catalog", "mysql", "payments", "limits", "log"];

/// Replaces in `root` what the environment gives. A secret and its file stand for one another: giving either in the
/// environment drops both from the file.
pub fn overlay<N, V>(root: &mut Node, environment: impl IntoIterator<Item = (N, V)>, faults: &Faults)
where
    N: Into<OsString>,
    V: Into<OsString>,
{
    let mut found: Vec<(String, OsString)> = environment
        .into_iter()
        .filter_map(|(name, value)| Some((name.into().into_string().ok()?, value.into())))
        .filter(|(name, _)| name.starts_with(PREFIX))
        .collect();
    found.sort();
    let mut written = Vec::new();
    for (name, value) in found {
        let path = name[PREFIX.len()..].to_ascii_lowercase();
        let Some(path) = path_of(&path, &name, faults) else { continue };
        let at = At::Env(name);
        match value.into_string() {
            Ok(text) => written.push((path, Node { at, value: Value::Untyped(text) })),
            Err(_) => faults.push(&at, path.join("."), "is not UTF-8", "set it to UTF-8 text"),
        }
    }
    drop_replaced(root, &written);
    for (path, node) in written {
        put(root, &path, node);
    }
}

/// The path that a variable names; `None` where it is not for us, or a fault.
fn path_of(lower: &str, name: &str, faults: &Faults) -> Option<Vec<String>> {
    if TOP_KEYS.contains(&lower) {
        return Some(vec![lower.to_owned()]);
    }
    if let Some((section, key)) = lower.split_once("__") {
        return Some(vec![section.to_owned(), key.to_owned()]);
    }
    let misspelt = nearest(lower, &TOP_KEYS).map(|key| format!("{PREFIX}{}", key.to_ascii_uppercase()));
    let single = SECTIONS.iter().find_map(|section| {
        let key = lower.strip_prefix(section)?.strip_prefix('_').filter(|key| !kubernetes_gives(key))?;
        Some(format!("{PREFIX}{}__{}", section.to_ascii_uppercase(), key.to_ascii_uppercase()))
    });
    if let Some(meant) = misspelt.or(single) {
        faults.push(&At::Env(name.to_owned()), "", "is not a known variable", format!("did you mean {meant}?"));
    }
    None
}

/// Whether a name ends as those do that Kubernetes makes for a service, here one such as `doorbuster-shopper`.
fn kubernetes_gives(rest: &str) -> bool {
    rest.starts_with("service_") || rest.starts_with("port")
}

/// Takes out of the file what stands for the same thing as a variable does.
fn drop_replaced(root: &mut Node, written: &[(Vec<String>, Node)]) {
    for (path, _) in written {
        let [section, key] = path.as_slice() else { continue };
        let pair = [key.trim_end_matches("_file").to_owned(), format!("{}_file", key.trim_end_matches("_file"))];
        if let Some(entries) = entries_of(root, section) {
            let is_secret = pair[0].ends_with("secret") || (section == "mysql" && pair[0] == "url");
            entries.retain(|entry| !(is_secret && pair.contains(&entry.name)));
        }
    }
}

fn entries_of<'r>(root: &'r mut Node, section: &str) -> Option<&'r mut Vec<Entry>> {
    let Value::Table(sections) = &mut root.value else { return None };
    match &mut sections.iter_mut().find(|entry| entry.name == section)?.node.value {
        Value::Table(entries) => Some(entries),
        _ => None,
    }
}

/// Puts `node` at `path`, in place of what is there. A section that the file lacks is made.
fn put(at_node: &mut Node, path: &[String], node: Node) {
    let Value::Table(entries) = &mut at_node.value else { return };
    let [name, rest @ ..] = path else { return };
    let at = node.at.clone();
    if rest.is_empty() {
        entries.retain(|entry| entry.name != *name);
        entries.push(Entry { name: name.clone(), at, node });
        return;
    }
    if !entries.iter().any(|entry| entry.name == *name) {
        // What the new section lacks is not the variable's fault, so that is told at the file's.
        let node = Node { at: at_node.at.clone(), value: Value::Table(Vec::new()) };
        entries.push(Entry { name: name.clone(), at, node });
    }
    if let Some(entry) = entries.iter_mut().find(|entry| entry.name == *name) {
        put(&mut entry.node, rest, node);
    }
}
