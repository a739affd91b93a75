//! `doorbuster check`: tells everything that is wrong with a configuration and its catalogue, and changes nothing. It
//! looks at the same things by the same code as the server, so what it finds sound the server takes.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;

use crate::catalog;
use crate::config;
use crate::domain::definition::Definition;
use crate::faults::{FAULTS_MAX, Fault};
use crate::ids::ActivityId;

/// Everything is sound.
pub const SOUND: u8 = 0;
/// Something is wrong, and has been told.
pub const FAULTY: u8 = 1;

/// Checks the configuration in `config_file`, as `environment` (such as `std::env::vars_os()`) changes it, and the
/// catalogue that it names. Writes every fault to `out`, then one line that sums up; gives the exit code.
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
    let config::Survey { catalog_dir, mut faults, .. } = config::survey(config_file, environment);
    let mut sound = BTreeMap::new();
    if let Some(dir) = &catalog_dir {
        sound = check_catalogue(dir, &mut faults);
    }
    for fault in &faults {
        writeln!(out, "{fault}")?;
    }
    let activities = counted(sound.len(), "activity", "activities");
    if faults.is_empty() {
        writeln!(out, "sound: {} and {activities}", config_file.display())?;
        return Ok(SOUND);
    }
    let looked_at = match catalog_dir {
        Some(_) => format!("{activities} sound"),
        None => "the catalogue was not looked at".to_owned(),
    };
    writeln!(out, "faulty: {}; {looked_at}", counted(faults.len(), "fault", "faults"))?;
    Ok(FAULTY)
}

/// Adds what is wrong with the catalogue to `faults`, and gives what is sound taken by itself.
fn check_catalogue(dir: &Path, faults: &mut Vec<Fault>) -> BTreeMap<ActivityId, Definition> {
    let reading = catalog::read_all(dir);
    faults.extend(reading.faults);
    let mut sound = BTreeMap::new();
    for entry in reading.entries {
        match entry.definition {
            Ok(definition) => _ = sound.insert(entry.activity_id, definition),
            Err(found) => faults.extend(found),
        }
    }
    let conflicts = catalog::conflicts(&sound, FAULTS_MAX);
    faults.extend(conflicts.into_iter().map(|conflict| told(dir, &conflict)));
    sound
}

/// A conflict as a fault of the later file, which names the earlier one.
fn told(dir: &Path, conflict: &catalog::Conflict) -> Fault {
    let first = catalog::file_of(dir, conflict.first);
    Fault {
        file: Some(catalog::file_of(dir, conflict.second).into()),
        at: catalog::place_of_sku(dir, conflict.second, &conflict.sku_id),
        path: "skus".to_owned(),
        what: format!("{} stands in {} too, and the windows overlap", conflict.sku_id, first.display()),
        mend: "move a window, take it out of one file, or write shared_sku = true in both".to_owned(),
    }
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}
