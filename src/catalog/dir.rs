//! The catalogue as a directory: one file `<activity_id>.toml` an activity. Hidden files and other endings are left
//! alone, so that an editor's backup, a README or a version control directory may lie beside. Nothing is written.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::domain::definition::Definition;
use crate::faults::tree::{self, Value};
use crate::faults::{At, Fault, Faults, Node, clipped};
use crate::ids::{ActivityId, SkuId};

use super::{Entry, Reading, fault, read_toml};

/// The largest file that is read: some ten times the largest activity. Keeps a misplaced dump out of memory.
pub const FILE_BYTES_MAX: u64 = 1 << 20;
/// Activities in one catalogue. Bounds the time and memory of a start-up and of a reload.
pub const ENTRIES_MAX: usize = 10_000;

/// Where the catalogue in `dir` keeps an activity.
#[must_use]
pub fn file_of(dir: &Path, activity_id: ActivityId) -> PathBuf {
    dir.join(format!("{activity_id}.toml"))
}

/// Reads every activity of the catalogue in `dir`. One faulty file does not hinder the others.
#[must_use]
pub fn read_all(dir: &Path) -> Reading {
    let faults = Faults::new(None);
    let ids = ids_in(dir, &faults);
    let entries = ids.into_iter().map(|activity_id| {
        let file = file_of(dir, activity_id);
        let definition = match read_file(&file) {
            Ok(Some(definition)) => Ok(definition),
            Ok(None) => Err(vec![fault(&file, "vanished while the catalogue was read", "read the catalogue again")]),
            Err(faults) => Err(faults),
        };
        Entry { activity_id, definition }
    });
    Reading { entries: entries.collect(), faults: faults.into_sorted() }
}

/// Reads one activity afresh; `None` where the catalogue has no such file.
///
/// # Errors
/// All that is wrong with the file, or that there is no catalogue.
pub fn read_one(dir: &Path, activity_id: ActivityId) -> Result<Option<Definition>, Vec<Fault>> {
    let read = read_file(&file_of(dir, activity_id))?;
    if read.is_none() {
        // An absent file means that the activity is not there only if the catalogue is.
        fs::read_dir(dir).map_err(|error| vec![no_directory(dir, &error)])?;
    }
    Ok(read)
}

/// Where the catalogue in `dir` writes an activity's SKU, for a fault that was found after reading; without a line
/// where the file no longer says so.
#[must_use]
pub fn place_of_sku(dir: &Path, activity_id: ActivityId, sku_id: &SkuId) -> At {
    let written = fs::read_to_string(file_of(dir, activity_id)).ok();
    let root = written.and_then(|text| tree::from_toml(&text, &Faults::default()));
    let list = root.and_then(|root| root.into_field("skus"));
    let Some(Node { value: Value::List(skus), .. }) = list else { return At::Nowhere };
    let named = skus.into_iter().filter_map(|sku| sku.into_field("sku_id"));
    named.filter(|name| name.value == Value::Text(sku_id.to_string())).map(|name| name.at).next().unwrap_or_default()
}

/// The activities that `dir` has files for, in order.
fn ids_in(dir: &Path, faults: &Faults) -> Vec<ActivityId> {
    let names = fs::read_dir(dir).and_then(|items| items.map(|item| Ok(item?.file_name())).collect());
    let names: Vec<std::ffi::OsString> = match names {
        Ok(names) => names,
        Err(error) => {
            faults.extend([no_directory(dir, &error)]);
            return Vec::new();
        }
    };
    let mut ids = Vec::new();
    for name in names {
        let name = name.to_string_lossy();
        let Some(stem) = name.strip_suffix(".toml").filter(|_| !name.starts_with('.')) else { continue };
        match stem.parse() {
            Ok(id) => ids.push(id),
            Err(bad) => {
                let what = format!("\"{}\" is no activity id: it {bad}", clipped(stem));
                faults.extend([fault(&dir.join(&*name), &what, "name the file <activity_id>.toml, such as 1001.toml")]);
            }
        }
    }
    ids.sort_unstable();
    if ids.len() > ENTRIES_MAX {
        let what = format!("holds {} activities, more than {ENTRIES_MAX}; the rest is left out", ids.len());
        faults.extend([fault(dir, &what, "move activities that have ended elsewhere")]);
        ids.truncate(ENTRIES_MAX);
    }
    ids
}

/// Reads one file; `None` where it is absent.
fn read_file(file: &Path) -> Result<Option<Definition>, Vec<Fault>> {
    let text = match read_bounded(file) {
        Ok(bytes) if bytes.len() as u64 > FILE_BYTES_MAX => {
            let what = format!("is larger than {FILE_BYTES_MAX} bytes");
            return Err(vec![fault(file, &what, "is this an activity? the largest one is far smaller")]);
        }
        Ok(bytes) => String::from_utf8(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(vec![fault(file, &format!("cannot be read: {error}"), "make it a file that can be read")]);
        }
    };
    match text {
        Ok(text) => read_toml(&text, file).map(Some),
        Err(_) => Err(vec![fault(file, "is not UTF-8", "save it as UTF-8")]),
    }
}

/// At most one byte more than may be, which shows that there is more.
fn read_bounded(file: &Path) -> io::Result<Vec<u8>> {
    // Asked before opening, for opening a pipe waits until someone writes to it.
    if !fs::metadata(file)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    let mut bytes = Vec::new();
    File::open(file)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn no_directory(dir: &Path, error: &io::Error) -> Fault {
    fault(dir, &format!("the catalogue cannot be read: {error}"), "create the directory, or set catalog.dir")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOUND: &str = "kind = 'flash_sale'\ntitle = 't'\nstarts_at = 2026-11-11T00:00:00Z\n\
        ends_at = 2026-11-12T00:00:00Z\nskus = [{ sku_id = 'x', title = 't', price_cents = 1, stock = 1 }]\n";

    fn catalogue(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a directory");
        for (name, text) in files {
            fs::write(dir.path().join(name), text).expect("a file");
        }
        dir
    }

    #[test]
    fn activities_come_in_the_order_of_their_numbers() {
        let dir = catalogue(&[("10.toml", SOUND), ("9.toml", "kind = "), ("2.toml", SOUND)]);
        let reading = read_all(dir.path());
        let sound: Vec<_> = reading.entries.iter().map(|e| (e.activity_id.0, e.definition.is_ok())).collect();
        assert_eq!(sound, [(2, true), (9, false), (10, true)]);
        assert_eq!(reading.faults, []);
    }

    #[test]
    fn other_files_are_left_alone_and_ill_named_ones_are_told() {
        let dir =
            catalogue(&[("README.md", ""), (".7.toml", ""), ("7.toml~", ""), ("007.toml", SOUND), ("x.toml", SOUND)]);
        let reading = read_all(dir.path());
        assert!(reading.entries.is_empty());
        let mut told: Vec<_> = reading.faults.iter().map(|fault| fault.what.as_str()).collect();
        told.sort_unstable();
        let because = "is no activity id: it must be a decimal number";
        assert_eq!(told, [format!("\"007\" {because}"), format!("\"x\" {because}")]);
    }

    #[test]
    fn one_activity_is_read_absent_or_faulty() {
        let dir = catalogue(&[("1.toml", SOUND), ("2.toml", "kind = 7")]);
        assert!(matches!(read_one(dir.path(), ActivityId(1)), Ok(Some(_))));
        assert_eq!(read_one(dir.path(), ActivityId(3)), Ok(None));
        let faults = read_one(dir.path(), ActivityId(2)).expect_err("faulty");
        assert_eq!(faults[0].place(), format!("{}:1", dir.path().join("2.toml").display()));
    }

    #[test]
    fn an_absent_catalogue_is_a_fault() {
        let dir = catalogue(&[]).path().join("nowhere");
        assert!(read_all(&dir).faults[0].what.starts_with("the catalogue cannot be read: "));
        assert!(read_one(&dir, ActivityId(1)).is_err());
    }

    #[test]
    fn a_file_too_large_not_utf8_or_not_a_file_is_a_fault() {
        let dir = catalogue(&[("1.toml", &"#".repeat(1 << 21))]);
        fs::write(dir.path().join("2.toml"), [0xff]).expect("a file");
        fs::create_dir(dir.path().join("3.toml")).expect("a directory");
        let whats: Vec<_> = read_all(dir.path())
            .entries
            .into_iter()
            .map(|e| e.definition.expect_err("faulty")[0].what.clone())
            .collect();
        let expected = ["is larger than 1048576 bytes", "is not UTF-8", "cannot be read: it is not a regular file"];
        assert_eq!(whats, expected);
    }
}
