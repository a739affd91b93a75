//! `doorbuster audit`: reads a journal that no server is using, and MySQL where it is configured, checks every invariant
//! by its id, and prints what it counted and whether it holds. It works on a copy and changes nothing.

use std::io::{self, Write};
use std::path::Path;

use comfy_table::{Cell, Color, ContentArrangement, Table, presets};

use self::acks::Acks;
use self::checkpoints::Checkpoints;
use self::rows::Rows;
use super::exit;
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::domain::audit::{Auditor, Finding, Id, Keep, Report};
use crate::ids::{Seq, UnixMillis};
use crate::persist::checkpoint::Store;
use crate::persist::{self, DataDirLock, Read, Tail};

mod acks;
mod checkpoints;
mod later;
mod rows;

/// Every invariant in words. Those of what this version does not have yet find nothing to check.
const TOLD: [(Id, &str); 26] = [
    (Id::J1, "event numbers are contiguous"),
    (Id::J2, "checksums and links of records hold (events)"),
    (Id::J3, "the tail is at or past the witness"),
    (Id::J4, "one process owns the directory"),
    (Id::J5, "time never goes back in a shard"),
    (Id::J6, "a checkpoint is the fold from the beginning"),
    (Id::J7, "every event decodes"),
    (Id::S1, "initial + added - removed = available + held + sold"),
    (Id::S2, "no slot in two places, no count negative"),
    (Id::S3, "a hold ends once: paid, cancelled or expired"),
    (Id::S4, "paid in time or afresh, expired after it"),
    (Id::S5, "the shards' shares add up"),
    (Id::U1, "no user above the limit"),
    (Id::U2, "order ids are unique"),
    (Id::U3, "a key has one order"),
    (Id::U4, "nothing outside window, pause and close"),
    (Id::M1, "total = granted + remaining + refunded"),
    (Id::M2, "each grab within its bounds"),
    (Id::M3, "one credit a grab"),
    (Id::M4, "amounts are as the seed gives them"),
    (Id::M5, "a payment is received and applied once"),
    (Id::M6, "received - paid back - owed = paid orders"),
    (Id::X1, "MySQL's rows are the events"),
    (Id::X2, "rows and cursor change together"),
    (Id::X3, "nothing unshipped is dropped"),
    (Id::A1, "every acknowledgement is in the journal"),
];

/// Audits the data directory of a configuration; gives the exit code: 0 all holds, 1 something does not, 2 it could not
/// be read.
#[must_use]
pub fn run(config_file: &Path, acks_file: Option<&Path>, without_mysql: bool) -> u8 {
    let mut config = match config::load(config_file, std::env::vars_os()) {
        Ok(config) => config,
        Err(faults) => {
            faults.iter().for_each(|fault| eprintln!("{fault}"));
            return exit::CANNOT;
        }
    };
    if without_mysql {
        config.mysql = None;
    }
    match audit(&config, acks_file) {
        Ok(report) => {
            let code = if report.holds() { exit::OK } else { exit::FAULTY };
            match print(&report, &mut io::stdout().lock()) {
                Ok(()) => code,
                Err(_) => exit::CANNOT,
            }
        }
        Err(error) => {
            eprintln!("doorbuster: audit: {error:#}");
            exit::CANNOT
        }
    }
}

/// Audits the data directory of a configuration, with a client's log of acknowledgements where there is one.
///
/// # Errors
/// Where journal, log or MySQL cannot be read at all; a journal that is damaged is a finding.
pub fn audit(config: &Config, acks_file: Option<&Path>) -> anyhow::Result<Report> {
    let acks = acks_file.map(Acks::read).transpose()?;
    anyhow::ensure!(config.data_dir.is_dir(), "there is no data directory {}", config.data_dir.display());
    // Held while the copy is made: a server that starts in between would write under our hands.
    let _lock = DataDirLock::take(&config.data_dir, Clock::start(UnixMillis(0)).now_ms())?;
    let mut damage = Report::default();
    damage.held(Id::J4, 1);
    let copy = match persist::open_copy_read_only(&config.data_dir) {
        Ok(copy) => copy,
        Err(error) => match invariant_of(&error) {
            Some(id) => {
                damage.broken(id, error.to_string());
                return Ok(damage);
            }
            None => return Err(error.into()),
        },
    };
    let mut rows = config.mysql.as_ref().map(|mysql| Rows::of(mysql, &copy)).transpose()?;
    let base = copy.base()?.tail.seq;
    if base > Seq(0) {
        let store = Store::of(&config.data_dir);
        let mut report = later::audit(&store, &copy, base, acks.as_ref())?;
        if let Some(rows) = rows {
            rows.report(copy.tail().seq, Checkpoints::list(&store, &copy).newest(), &mut report)?;
        }
        return Ok(report);
    }
    // An order that somebody was told of may be of an activity that has left.
    let keep = if acks.is_some() { Keep::All } else { Keep::Standing };
    let mut auditor = Auditor::new(keep);
    let mut checkpoints = Checkpoints::list(&Store::of(&config.data_dir), &copy);
    let newest_checkpoint = checkpoints.newest();
    let mut events = 0;
    let read = persist::replay(&copy, Tail::START, Seq(u64::MAX), |seq, entry| {
        events += 1;
        auditor.observe(seq, &entry);
        checkpoints.observe(seq, &entry);
        if let Some(rows) = &mut rows {
            rows.observe(seq, &entry);
        }
    });
    let orders = acks.map(|acks| acks.look_for(&auditor));
    let mut report = auditor.finish();
    report.held(Id::J4, 1);
    if let Some(rows) = rows {
        rows.report(Seq(events), newest_checkpoint, &mut report)?;
    }
    checkpoints.report(&mut report);
    match read {
        Ok(_) => {
            report.held(Id::J2, events);
            report.held(Id::J3, 1);
            report.held(Id::J7, events);
        }
        Err(error) => match invariant_of(&error) {
            Some(id) => report.broken(id, error.to_string()),
            None => return Err(error.into()),
        },
    }
    if let Some((checked, _, faults)) = orders {
        report.held(Id::A1, checked.saturating_sub(faults.len() as u64));
        faults.into_iter().for_each(|fault| report.broken(Id::A1, fault));
    }
    Ok(report)
}

/// Which invariant an error of the journal breaks; `None` where it only could not be read.
fn invariant_of(error: &persist::Error) -> Option<Id> {
    use persist::Error as E;
    match error {
        E::Missing { .. } | E::GenerationAbsent { .. } | E::ForeignName { .. } | E::BaseLost { .. } => Some(Id::J1),
        E::Sealed { fault: persist::SealFault::UnknownVersion { .. }, .. } => Some(Id::J7),
        E::Sealed { .. } => Some(Id::J2),
        E::Damaged { fault: persist::Fault::UnknownVersion { .. } | persist::Fault::Entry { .. }, .. } => Some(Id::J7),
        E::Damaged { .. } | E::Blobs { .. } => Some(Id::J2),
        E::TailLost { .. } | E::Forked { .. } | E::WitnessLost { .. } => Some(Id::J3),
        E::Refused { source, .. } => invariant_of(source),
        _ => None,
    }
}

/// Prints a report as a table, with the first faults under it.
///
/// # Errors
/// Where `out` cannot be written.
pub fn print(report: &Report, out: &mut impl Write) -> io::Result<()> {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(["id", "invariant", "checked", "verdict"]);
    let mut faults = Vec::new();
    for (id, words) in TOLD {
        let (checked, verdict) = match report.finding(id) {
            None => {
                let words = report.left_out(id).filter(|words| words.starts_with(later::NOT_CHECKED));
                ("0".to_owned(), Cell::new(words.unwrap_or("nothing to check")))
            }
            Some(Finding { checked, broken: 0, .. }) => {
                let words = report.left_out(id).map_or_else(|| "holds".to_owned(), |words| format!("holds; {words}"));
                (checked.to_string(), Cell::new(words).fg(Color::Green))
            }
            Some(Finding { checked, broken, examples }) => {
                faults.extend(examples.iter().map(|example| format!("{id}: {example}")));
                (checked.to_string(), Cell::new(format!("BROKEN {broken} times")).fg(Color::Red))
            }
        };
        table.add_row([Cell::new(id), Cell::new(words), Cell::new(checked), verdict]);
    }
    writeln!(out, "{table}")?;
    report.notes().try_for_each(|(id, note)| writeln!(out, "{id}: {note}"))?;
    faults.iter().try_for_each(|fault| writeln!(out, "{fault}"))?;
    let verdict = if report.holds() { "every invariant that was checked holds" } else { "BROKEN: see above" };
    writeln!(out, "audit: {verdict}")
}
