//! The catalogue as a table: one row an activity, its definition as JSON in the shape of a PUT's body. The table is the
//! back office's, so nothing of a row is taken for granted. Rows come from elsewhere: nothing here asks a database.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{ENTRIES_MAX, Entry, FILE_BYTES_MAX, Reading, fault, read, sound};
use crate::domain::definition::Definition;
use crate::faults::{Fault, Faults, clipped, tree};
use crate::ids::ActivityId;

/// The bytes of all definitions together. Ten thousand of the usual size have some ten million; keeps a table that is not
/// a catalogue out of memory.
pub const TABLE_BYTES_MAX: usize = 256 << 20;

/// The table, as faults name it.
const TABLE: &str = "catalog_activity";

/// A row as it was found: the activity's number in decimal, and the definition.
pub type Row = (Option<String>, Option<Vec<u8>>);

/// What faults name an activity's row by.
#[must_use]
pub fn place_of_row(activity_id: ActivityId) -> PathBuf {
    format!("{TABLE} {activity_id}").into()
}

/// Reads every activity of the table; `is_cut` says that it has more rows than these. One faulty row does not hinder the
/// others.
#[must_use]
pub fn read_rows(rows: Vec<Row>, is_cut: bool) -> Reading {
    let strays = Faults::new(None);
    let mut entries = BTreeMap::new();
    for (number, definition) in rows {
        match id_of(number) {
            Ok(id) => {
                let read = match entries.contains_key(&id) {
                    true => Err(vec![twice(id)]),
                    false => read_text(id, definition),
                };
                entries.insert(id, read);
            }
            Err(stray) => strays.extend([stray]),
        }
    }
    if is_cut {
        let what = format!(
            "holds more than {ENTRIES_MAX} activities, or more than {TABLE_BYTES_MAX} bytes; the rest is left out"
        );
        strays.extend([fault(Path::new(TABLE), &what, "delete the rows of activities that have ended")]);
    }
    let entries = entries.into_iter().map(|(activity_id, definition)| Entry { activity_id, definition });
    Reading { entries: entries.collect(), faults: strays.into_sorted() }
}

/// Reads one activity from the rows that the table has of it; `None` where there is none.
///
/// # Errors
/// All that is wrong with it.
pub fn read_row(activity_id: ActivityId, rows: Vec<Row>) -> Result<Option<Definition>, Vec<Fault>> {
    // In a table whose numbers are text, a database takes "1001 " and "1001x" for 1001.
    let number = activity_id.to_string();
    let mut rows = rows.into_iter().filter(|(found, _)| found.as_ref() == Some(&number));
    match (rows.next(), rows.next()) {
        (None, _) => Ok(None),
        (Some((_, definition)), None) => read_text(activity_id, definition).map(Some),
        (Some(_), Some(_)) => Err(vec![twice(activity_id)]),
    }
}

fn id_of(number: Option<String>) -> Result<ActivityId, Fault> {
    const MEND: &str = "give the row the activity's number, such as 1001, or delete it";
    let table = Path::new(TABLE);
    let Some(number) = number else { return Err(fault(table, "a row's activity_id is NULL", MEND)) };
    number.parse().map_err(|bad| fault(table, &format!("\"{}\" is no activity id: it {bad}", clipped(&number)), MEND))
}

fn read_text(activity_id: ActivityId, text: Option<Vec<u8>>) -> Result<Definition, Vec<Fault>> {
    let place = place_of_row(activity_id);
    let wrong = |what: &str, mend: &str| Err(vec![fault(&place, what, mend)]);
    let Some(text) = text else { return wrong("is NULL", "write the activity as JSON, or delete the row") };
    if text.len() as u64 > FILE_BYTES_MAX {
        let what = format!("is larger than {FILE_BYTES_MAX} bytes");
        return wrong(&what, "is this an activity? the largest one is far smaller");
    }
    if std::str::from_utf8(&text).is_err() {
        return wrong("is not UTF-8", "write it as utf8mb4");
    }
    let faults = Faults::new(Some(&place));
    let definition = tree::from_json(&text, &faults).and_then(|root| read::definition(&root, &faults));
    sound(definition, faults)
}

/// Only in a table that somebody made without its primary key.
fn twice(activity_id: ActivityId) -> Fault {
    fault(
        &place_of_row(activity_id),
        "has more than one row",
        "delete all but one, and make activity_id the primary key",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOUND: &str = r#"{"kind":"flash_sale","title":"t","starts_at":"2026-11-11T00:00:00Z",
        "ends_at":"2026-11-12T00:00:00Z","skus":[{"sku_id":"x","title":"t","price_cents":1,"stock":1}]}"#;

    fn row(id: &str, text: impl Into<Vec<u8>>) -> Row {
        (Some(id.to_owned()), Some(text.into()))
    }

    #[test]
    fn each_faulty_row_is_told_and_hinders_no_other() {
        let twice = SOUND.replacen("\"title\"", "\"title\":\"u\",\"title\"", 1);
        let rows = vec![
            row("1", SOUND),
            (Some("2".to_owned()), None),
            row("3", [b'{', 0xff]),
            row("4", twice),
            row("5", format!("{SOUND} x")),
            row("6", SOUND.replace("flash_sale", "lucky_draw")),
            row("7", "[1]"),
            row("8", "x".repeat((1 << 20) + 1)),
            row("9", "[".repeat(100_000)),
            row("10", ""),
            row("11", SOUND),
            row("11", SOUND),
            row("18446744073709551615", SOUND),
        ];
        let reading = read_rows(rows, false);
        assert_eq!(reading.faults, []);
        let mut told = Vec::new();
        for entry in reading.entries {
            match entry.definition {
                Ok(_) => told.push(format!("{} is sound", entry.activity_id)),
                Err(faults) => {
                    told.extend(faults.iter().map(|fault| fault.to_string().lines().next().expect("a line").to_owned()))
                }
            }
        }
        assert_eq!(
            told,
            [
                "1 is sound",
                "catalog_activity 2: is NULL",
                "catalog_activity 3: is not UTF-8",
                "catalog_activity 4: title: is given more than once",
                "catalog_activity 5:2: is not JSON: trailing characters at line 2 column 105",
                "catalog_activity 6: kind: \"lucky_draw\" is not known here",
                "catalog_activity 7: must be a table of named fields, is a list",
                "catalog_activity 8: is larger than 1048576 bytes",
                "catalog_activity 9:1: is not JSON: recursion limit exceeded at line 1 column 128",
                "catalog_activity 10:1: is not JSON: EOF while parsing a value at line 1 column 0",
                "catalog_activity 11: has more than one row",
                "18446744073709551615 is sound",
            ]
        );
    }

    #[test]
    fn rows_that_name_no_activity_and_rows_left_out_are_told() {
        let rows = vec![row("0", SOUND), (None, Some(SOUND.into())), row("-1", SOUND), row("1.5", SOUND)];
        let reading = read_rows(rows, true);
        assert!(reading.entries.is_empty());
        let told: Vec<_> = reading.faults.iter().map(Fault::in_one_line).collect();
        assert_eq!(told.len(), 5);
        assert!(told[0].starts_with("catalog_activity: \"0\" is no activity id: it must be "), "{told:?}");
        assert!(told[1].starts_with("catalog_activity: a row's activity_id is NULL ("), "{told:?}");
        assert!(told[4].starts_with("catalog_activity: holds more than 10000 activities, or"), "{told:?}");
    }

    #[test]
    fn one_activity_is_read_absent_or_faulty() {
        let id = ActivityId(7);
        assert_eq!(read_row(id, vec![]), Ok(None));
        assert_eq!(read_row(id, vec![row("7x", SOUND)]), Ok(None));
        assert!(matches!(read_row(id, vec![row("7", SOUND)]), Ok(Some(_))));
        let faults = read_row(id, vec![row("7", SOUND), row("7", SOUND)]).expect_err("faulty");
        assert_eq!(
            (faults[0].place().as_str(), faults[0].what.as_str()),
            ("catalog_activity 7", "has more than one row")
        );
    }
}
