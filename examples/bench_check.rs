//! Compares instruction counts with the committed ones: `make bench-check`, which runs `benches/instructions.rs` first and
//! hands over what gungraun says. Fails where a function takes more than 3 % more than it did. With `--accept`, which
//! `make bench-accept` says, the counts become the committed ones.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use comfy_table::{CellAlignment, Table, presets};
use serde::{Deserialize, Serialize};
use serde_json::Value;

const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions.json");
/// A count may be so much more than the committed one.
const GROWTH_PERCENT_MAX: u64 = 3;

#[derive(Parser)]
struct Arguments {
    /// What `cargo bench --bench instructions -- --output-format=json` printed
    said: PathBuf,
    /// Let the counts be the committed ones
    #[arg(long)]
    accept: bool,
}

/// Counts, and what they depend on beside the code and Cargo.lock.
#[derive(Serialize, Deserialize)]
struct Counts {
    rustc: String,
    host: String,
    instructions: BTreeMap<String, u64>,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let now = counted(&arguments.said)?;
    if arguments.accept {
        fs::write(COMMITTED, serde_json::to_string_pretty(&now)? + "\n")?;
        println!("{} counts are in benches/instructions.json", now.instructions.len());
        return Ok(ExitCode::SUCCESS);
    }
    let committed = fs::read_to_string(COMMITTED).context("benches/instructions.json; make bench-accept writes it")?;
    let committed: Counts = serde_json::from_str(&committed).context("benches/instructions.json")?;
    let (table, wrong) = compared(&committed.instructions, &now.instructions);
    println!("{table}");
    if (&committed.rustc, &committed.host) != (&now.rustc, &now.host) {
        println!(
            "the committed counts are of rustc {} for {}, these of {} for {}: that alone may make a difference",
            committed.rustc, committed.host, now.rustc, now.host
        );
    }
    for what in &wrong {
        println!("{what}");
    }
    if wrong.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    println!("if that is worth it: make bench-accept, and commit benches/instructions.json");
    Ok(ExitCode::FAILURE)
}

/// Each function then and now; and what must not be.
fn compared(committed: &BTreeMap<String, u64>, now: &BTreeMap<String, u64>) -> (Table, Vec<String>) {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_header(["function", "committed", "now", "ratio"]);
    let mut wrong = Vec::new();
    for (name, &count) in now {
        let Some(&before) = committed.get(name) else {
            table.add_row([name, "", &count.to_string(), ""]);
            wrong.push(format!("{name} is not among the committed counts"));
            continue;
        };
        #[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
        let ratio = count as f64 / before as f64;
        table.add_row([name, &before.to_string(), &count.to_string(), &format!("{ratio:.3}")]);
        if count * 100 > before * (100 + GROWTH_PERCENT_MAX) {
            wrong.push(format!("{name} takes {:.1} % more than it did", (ratio - 1.0) * 100.0));
        }
    }
    let gone = committed.keys().filter(|name| !now.contains_key(*name));
    wrong.extend(gone.map(|name| format!("{name} is among the committed counts, and was not counted")));
    table.column_iter_mut().skip(1).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
    (table, wrong)
}

/// What gungraun counted: a line of JSON a function.
fn counted(said: &Path) -> Result<Counts> {
    let text = fs::read_to_string(said).with_context(|| said.display().to_string())?;
    let mut instructions = BTreeMap::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        let (name, count) = summary(line).with_context(|| format!("no summary of a benchmark: {line}"))?;
        instructions.insert(name, count);
    }
    ensure!(!instructions.is_empty(), "nothing was counted");
    let rustc = Command::new("rustc").arg("-vV").output().context("rustc")?.stdout;
    let rustc = String::from_utf8(rustc).context("rustc -vV")?;
    let told = |what: &str| rustc.lines().find_map(|line| Some(line.strip_prefix(what)?.to_owned()));
    let (rustc, host) = (told("release: ").context("rustc -vV")?, told("host: ").context("rustc -vV")?);
    Ok(Counts { rustc, host, instructions })
}

/// A function's name and its count.
fn summary(line: &str) -> Option<(String, u64)> {
    let summary: Value = serde_json::from_str(line).ok()?;
    let word = |key: &str| summary[key].as_str();
    let name = format!("{} {}.{}", word("group")?, word("function_name")?, word("id")?);
    let count = summary.pointer("/profiles/0/data/total/metrics/Ir/values/new")?.as_u64()?;
    Some((name, count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_and_what_is_not_on_both_sides_are_told() {
        let counts = |counts: &[(&str, u64)]| counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        let committed = counts(&[("equal", 100), ("gone", 7), ("grown", 1_000), ("less", 100), ("within", 1_000)]);
        let now = counts(&[("equal", 100), ("grown", 1_031), ("less", 50), ("new", 7), ("within", 1_030)]);
        let (_, wrong) = compared(&committed, &now);
        let wanted = [
            "grown takes 3.1 % more than it did",
            "new is not among the committed counts",
            "gone is among the committed counts, and was not counted",
        ];
        assert_eq!(wrong, wanted);
    }
}
