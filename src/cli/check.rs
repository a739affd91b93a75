//! `doorbuster check`: tells everything that is wrong with a configuration and its catalogue, and changes nothing. It
//! looks at the same things by the same code as the server, so what it finds sound the server takes.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::exit;
use crate::actors::look_at_table;
use crate::catalog::{self, Conflict, Reading};
use crate::config;
use crate::faults::{At, FAULTS_MAX, Fault};
use crate::ids::ActivityId;

/// Everything is sound.
pub const SOUND: u8 = 0;
/// Something is wrong, and has been told.
pub const FAULTY: u8 = 1;

/// Checks the configuration in `config_file`, as `environment` (such as `std::env::vars_os()`) changes it, and the
/// catalogue that it names. Writes every fault to `out`, then one line that sums up; gives the exit code, which is
/// [`exit::CANNOT`] where nothing is wrong so far and the catalogue could not be read.
///
/// # Errors
/// Where `out` cannot be written.
pub fn run<N, V>(
    config_file: &Path,
    environment: impl IntoIterator<Item = (N, V)>,
    out: &mut impl Write,
) -> io::Result<u8>
where
    N: Into<OsString>,
    V: Into<OsString>,
{
    let config::Survey { catalog_dir, catalog_table, mut faults, .. } = config::survey(config_file, environment);
    let looked = match (&catalog_dir, &catalog_table) {
        (Some(dir), _) => Looked::At(check_dir(dir, &mut faults)),
        (None, Some(mysql)) => check_table(mysql, &mut faults)?,
        (None, None) => Looked::Nowhere,
    };
    for fault in &faults {
        writeln!(out, "{fault}")?;
    }
    if let Looked::InVain(why) = &looked {
        writeln!(out, "{why}")?;
    }
    let looked_at = match &looked {
        Looked::At(count) => format!("{} sound", counted(*count, "activity", "activities")),
        Looked::NoTable => "there is no table catalog_activity yet: a server that starts makes it".to_owned(),
        Looked::InVain(_) | Looked::Nowhere => "the catalogue was not looked at".to_owned(),
    };
    if !faults.is_empty() {
        writeln!(out, "faulty: {}; {looked_at}", counted(faults.len(), "fault", "faults"))?;
        return Ok(FAULTY);
    }
    match looked {
        Looked::At(count) => {
            let activities = counted(count, "activity", "activities");
            writeln!(out, "sound: {} and {activities}", config_file.display())?;
        }
        Looked::NoTable => writeln!(out, "sound: {}; {looked_at}", config_file.display())?,
        Looked::InVain(_) | Looked::Nowhere => {
            writeln!(out, "not judged: {} is sound, {looked_at}", config_file.display())?;
            return Ok(exit::CANNOT);
        }
    }
    Ok(SOUND)
}

/// What came of looking at the catalogue.
enum Looked {
    /// So many activities are sound, each taken by itself.
    At(usize),
    /// MySQL has no such table yet.
    NoTable,
    /// MySQL does not tell, for this reason.
    InVain(String),
    /// The configuration does not say where it is.
    Nowhere,
}

fn check_dir(dir: &Path, faults: &mut Vec<Fault>) -> usize {
    let told = |conflict: &Conflict| {
        let at = catalog::place_of_sku(dir, conflict.second, &conflict.sku_id);
        told(conflict, |activity_id| catalog::file_of(dir, activity_id), at, "file")
    };
    check_reading(catalog::read_all(dir), told, faults)
}

fn check_table(mysql: &config::Mysql, faults: &mut Vec<Fault>) -> io::Result<Looked> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(match runtime.block_on(look_at_table(mysql)) {
        Ok(Some(reading)) => {
            let told = |conflict: &Conflict| told(conflict, catalog::place_of_row, At::Nowhere, "row");
            Looked::At(check_reading(reading, told, faults))
        }
        Ok(None) => Looked::NoTable,
        Err(unread) => Looked::InVain(unread.to_string()),
    })
}

/// Adds what is wrong with the catalogue to `faults`, and gives how many activities are sound taken by themselves.
fn check_reading(reading: Reading, told: impl Fn(&Conflict) -> Fault, faults: &mut Vec<Fault>) -> usize {
    faults.extend(reading.faults);
    let mut sound = BTreeMap::new();
    for entry in reading.entries {
        match entry.definition {
            Ok(definition) => _ = sound.insert(entry.activity_id, definition),
            Err(found) => faults.extend(found),
        }
    }
    faults.extend(catalog::conflicts(&sound, FAULTS_MAX).iter().map(told));
    sound.len()
}

/// A conflict as a fault of the later entry, which names the earlier one.
fn told(conflict: &Conflict, place_of: impl Fn(ActivityId) -> PathBuf, at: At, entry: &str) -> Fault {
    let first = place_of(conflict.first);
    Fault {
        file: Some(place_of(conflict.second).into()),
        at,
        path: "skus".to_owned(),
        what: format!("{} stands in {} too, and the windows overlap", conflict.sku_id, first.display()),
        mend: format!("move a window, take it out of one {entry}, or write shared_sku = true in both"),
    }
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}
