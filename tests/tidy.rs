//! Holds what reviews forget: who may import whom, that each file says what it is for, that none grows without end and
//! none names a path of somebody's machine. Each checker is shown a planted violation, so that it cannot go blind.

use std::fs;
use std::path::{Path, PathBuf};

/// Who may import whom: the map of docs/ARCHITECTURE.md. `main` and `cli` stand above it, and nobody imports them.
const ROOMS: [(&str, &[&str]); 10] = [
    ("ids", &[]),
    ("faults", &[]),
    ("clock", &["ids"]),
    ("telemetry", &["ids"]),
    ("domain", &["ids"]),
    ("persist", &["domain", "ids"]),
    ("config", &["faults", "ids"]),
    ("catalog", &["domain", "faults", "ids"]),
    ("actors", &["catalog", "clock", "config", "domain", "faults", "ids", "persist", "telemetry"]),
    ("http", &["actors", "catalog", "config", "domain", "faults", "ids", "telemetry"]),
];
const ABOVE: [&str; 3] = ["main", "lib", "cli"];

/// Crates and parts of std that a room must never name: the domain has to replay bit for bit.
const FORBIDDEN: [(&str, &[&str]); 3] = [
    (
        "domain",
        &[
            "tokio",
            "actix",
            "actix_web",
            "sled",
            "tracing",
            "dashmap",
            "rand",
            "getrandom",
            "time",
            "chrono",
            "std::time",
            "std::fs",
            "std::io",
            "std::net",
            "std::env",
            "std::thread",
            "std::process",
        ],
    ),
    ("http", &["sled"]),
    ("actors", &["sled"]),
];

const LINES_MAX: usize = 500;

#[test]
fn rooms_import_only_what_the_map_allows() {
    all_hold(&sources("src"), |file, code| [imports_wrongly(file, code), names_wrongly(file, code)].concat());
}

#[test]
fn the_wall_clock_is_read_in_one_place() {
    all_hold(&sources("src"), reads_wall_clock);
}

#[test]
fn the_crowd_depends_on_nothing_of_the_server() {
    let manifest = fs::read_to_string(root().join("loadtest/Cargo.toml")).expect("a manifest");
    assert_eq!(depends_on_server(&manifest), Vec::<String>::new());
    all_hold(&sources("loadtest"), |file, code| {
        mentions(code, "doorbuster").then(|| format!("{file} names the server's crate")).into_iter().collect()
    });
}

#[test]
fn each_file_says_what_it_is_for_and_stays_short() {
    for dir in ["src", "tests", "benches", "loadtest"] {
        all_hold(&sources(dir), is_no_good_file);
    }
}

#[test]
fn no_file_names_a_path_of_a_machine() {
    all_hold(&texts(), names_machine_path);
}

#[test]
fn every_checker_catches_a_planted_violation() {
    for (file, code, caught) in [
        ("src/http/routes.rs", "use crate::persist::Journal;", true),
        ("src/http/routes.rs", "use crate::{ids::Seq, persist::{self, Journal}};", true),
        ("src/http/routes.rs", "fn f() { let _ = crate::persist::open(); }", true),
        ("src/http/routes.rs", "use super::super::persist;", true),
        ("src/http/mod.rs", "use super::persist;", true),
        ("src/persist/journal.rs", "use crate::actors::Shard;", true),
        ("src/domain/state.rs", "pub use crate::clock::Clock;", true),
        ("src/config/mod.rs", "use crate::cli::check;", true),
        ("src/kitchen/mod.rs", "use crate::ids::Seq;", true),
        ("src/http/routes.rs", "use crate::{actors::{router, persist}, ids::Seq};", false),
        (
            "src/http/routes.rs",
            "// use crate::persist;\n/* crate::persist */ const A: &str = \"crate::persist\";",
            false,
        ),
        ("src/http/routes.rs", "const A: char = '\"'; use crate::ids; // \"", false),
        ("src/http/routes.rs", "use super::persist_nothing; use crate::http::persist;", false),
        ("src/persist/mod.rs", "use crate::domain::event::Event;", false),
        ("src/cli/serve.rs", "use crate::persist::Journal;", false),
    ] {
        assert_eq!(!imports_wrongly(file, code).is_empty(), caught, "{file}: {code}");
    }
    for (file, code, caught) in [
        ("src/domain/state.rs", "use std::time::Instant;", true),
        ("src/domain/state.rs", "use std::{fmt, time::Instant};", true),
        ("src/domain/state.rs", "fn f() { tracing::info!(\"x\") }", true),
        ("src/domain/state.rs", "use rand;", true),
        ("src/http/mod.rs", "use sled::Db;", true),
        ("src/domain/state.rs", "let time = 7; let a = Self::time; a.time::<u8>();", false),
        ("src/persist/sled.rs", "use sled::Db;", false),
    ] {
        assert_eq!(!names_wrongly(file, code).is_empty(), caught, "{file}: {code}");
    }
    assert!(!reads_wall_clock("src/actors/shard.rs", "let now = SystemTime::now();").is_empty());
    assert!(reads_wall_clock("src/clock.rs", "let now = SystemTime::now();").is_empty());
    assert!(!depends_on_server("[dev-dependencies]\ndoorbuster = { path = \"..\" }").is_empty());
    assert!(!depends_on_server("[dependencies]\nserver = { package = \"doorbuster\", path = \"..\" }").is_empty());
    assert!(mentions("use doorbuster::ids;", "doorbuster"));
    assert!(!is_no_good_file("src/a.rs", "use std::fmt;\n").is_empty());
    assert!(!is_no_good_file("src/a.rs", &format!("//! a\n{}", "\n".repeat(LINES_MAX))).is_empty());
    let planted = format!("see `/{}/somebody/x`", "home");
    assert!(!names_machine_path("README.md", &planted).is_empty());
    assert!(names_machine_path("README.md", "src/home/x and https://a.example/home/x").is_empty());
}

/// What `file` imports of other rooms and may not.
fn imports_wrongly(file: &str, code: &str) -> Vec<String> {
    let room = room_of(file);
    if ABOVE.contains(&room) {
        return Vec::new();
    }
    let Some((_, allowed)) = ROOMS.iter().find(|(name, _)| *name == room) else {
        return vec![format!("{file} stands in {room}, a room that the map does not have")];
    };
    let named = |name: &str| ABOVE.contains(&name) || ROOMS.iter().any(|(room, _)| *room == name);
    let reached = paths_from_root(file, &without_comments_and_texts(code));
    let wrong = reached.into_iter().filter(|name| name != room && named(name) && !allowed.contains(&name.as_str()));
    wrong.map(|name| format!("{file}: {room} may not import {name}")).collect()
}

/// What `file` names of other crates and may not.
fn names_wrongly(file: &str, code: &str) -> Vec<String> {
    let rules = FORBIDDEN.iter().filter(|(room, _)| *room == room_of(file));
    let wrong = rules.flat_map(|(_, names)| names.iter()).filter(|name| mentions(code, name));
    wrong.map(|name| format!("{file} may not name {name}")).collect()
}

fn reads_wall_clock(file: &str, code: &str) -> Vec<String> {
    let reads = file != "src/clock.rs" && without_comments_and_texts(code).contains("SystemTime::now");
    reads.then(|| format!("{file} reads the wall clock, which is src/clock.rs's to do")).into_iter().collect()
}

fn depends_on_server(manifest: &str) -> Vec<String> {
    let manifest: toml::Table = manifest.parse().expect("TOML");
    let tables = manifest.iter().filter(|(name, _)| name.ends_with("dependencies"));
    let depends = tables.flat_map(|(_, table)| table.as_table().into_iter().flatten()).filter(|(name, how)| {
        *name == "doorbuster" || how.get("package").and_then(toml::Value::as_str) == Some("doorbuster")
    });
    depends.map(|(name, _)| format!("loadtest depends on {name}")).collect()
}

fn is_no_good_file(file: &str, code: &str) -> Vec<String> {
    let mut faults = Vec::new();
    if !code.starts_with("//!") {
        faults.push(format!("{file} does not begin with //! and what it is for"));
    }
    if code.lines().count() > LINES_MAX {
        faults.push(format!("{file} has more than {LINES_MAX} lines: look for the second idea in it"));
    }
    faults
}

fn names_machine_path(file: &str, text: &str) -> Vec<String> {
    let starts_path =
        |before: &str| before.chars().last().is_none_or(|c| !c.is_alphanumeric() && !"._-/*}".contains(c));
    let mut faults = Vec::new();
    for dir in ["home", "root", "Users", "work", "tmp"] {
        let needle = format!("/{dir}/");
        if text.match_indices(&needle).any(|(place, _)| starts_path(&text[..place])) {
            faults.push(format!("{file} names a path of a machine: {needle}"));
        }
    }
    faults
}

/// Whether code names a crate, or a module such as `std::time`, by the beginning of a path.
fn mentions(code: &str, name: &str) -> bool {
    let code = without_comments_and_texts(code);
    if let Some((parent, child)) = name.split_once("::") {
        return paths_after(&code, parent).iter().any(|first| first == child);
    }
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(name).any(|(place, _)| {
        let (before, after) = (code[..place].trim_end(), &code[place + name.len()..]);
        let whole = !code[..place].ends_with(is_name) && !after.starts_with(is_name);
        let begins = !before.ends_with("::") && !before.ends_with('.');
        whole && begins && (after.starts_with("::") || before.ends_with("use"))
    })
}

/// The rooms that code reaches by `crate::` or by climbing to the root with `super::`.
fn paths_from_root(file: &str, code: &str) -> Vec<String> {
    let depth = file.trim_end_matches("/mod.rs").matches('/').count();
    let mut found = paths_after(code, "crate");
    found.extend(paths_after(code, vec!["super"; depth].join("::").as_str()));
    found
}

/// The first names after `start::`, of a plain path or of each in braces.
fn paths_after(code: &str, start: &str) -> Vec<String> {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let first = |text: &str| text.trim_start().chars().take_while(|c| is_name(*c)).collect::<String>();
    let mut found = Vec::new();
    for (place, _) in code.match_indices(&format!("{start}::")) {
        if code[..place].ends_with(is_name) || code[..place].ends_with("::") {
            continue;
        }
        let rest = &code[place + start.len() + 2..];
        let Some(group) = rest.trim_start().strip_prefix('{') else {
            found.push(first(rest));
            continue;
        };
        let mut depth = 0_usize;
        found.push(first(group));
        for (place, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => found.push(first(&group[place + 1..])),
                _ => {}
            }
        }
    }
    found
}

/// Code with comments and the insides of texts taken out, so that only code is left to be searched.
fn without_comments_and_texts(code: &str) -> String {
    let mut kept = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(c) = rest.chars().next() {
        let hashes = rest.strip_prefix('r').map(|r| r.chars().take_while(|c| *c == '#').count());
        let raw = hashes.filter(|n| rest[1 + n..].starts_with('"') && !kept.ends_with(char::is_alphanumeric));
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(hashes) = raw {
            let (open, close) = (hashes + 2, format!("\"{}", "#".repeat(hashes)));
            rest[open..].find(&close).map_or(rest.len(), |end| open + end + close.len())
        } else if c == '"' {
            text_length(rest)
        } else if let Some(quote) = ["'\"'", "'\\\"'"].iter().find(|quote| rest.starts_with(**quote)) {
            quote.len()
        } else {
            kept.push(c);
            rest = &rest[c.len_utf8()..];
            continue;
        };
        rest = &rest[length..];
    }
    kept
}

/// The length of the quoted text that `code` begins with, quotes included.
fn text_length(code: &str) -> usize {
    let mut escaped = false;
    for (place, c) in code.char_indices().skip(1) {
        match c {
            '"' if !escaped => return place + 1,
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    code.len()
}

fn room_of(file: &str) -> &str {
    let below = file.strip_prefix("src/").unwrap_or(file);
    below.split('/').next().map_or(below, |first| first.trim_end_matches(".rs"))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn all_hold(files: &[(String, String)], check: impl Fn(&str, &str) -> Vec<String>) {
    let faults: Vec<String> = files.iter().flat_map(|(file, text)| check(file, text)).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// The Rust files below `dir`, by their path from the root, with their text.
fn sources(dir: &str) -> Vec<(String, String)> {
    read(&root().join(dir), &|path| path.extension().is_some_and(|ending| ending == "rs"))
}

/// Every file of the repository that is text.
fn texts() -> Vec<(String, String)> {
    read(root(), &|_| true)
}

fn read(dir: &Path, wanted: &dyn Fn(&Path) -> bool) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let Ok(items) = fs::read_dir(dir) else { return found };
    let mut paths: Vec<PathBuf> = items.map(|item| item.expect("an entry").path()).collect();
    paths.sort();
    for path in paths {
        let name = path.file_name().unwrap_or_default();
        if path.is_dir() {
            if name != "target" && name != ".git" {
                found.extend(read(&path, wanted));
            }
        } else if name != ".git" && wanted(&path) {
            let file = path.strip_prefix(root()).expect("below the root").to_string_lossy().into_owned();
            // What is no text names no path that anybody reads.
            found.extend(fs::read_to_string(&path).ok().map(|text| (file, text)));
        }
    }
    found
}
