//! Damage to sealed generations: every byte of every kind, and files that are missing, cut, renamed, doubled or foreign.
//! A start refuses by the file's name, a replay by the record's.

#[path = "journal/generations.rs"]
mod generations;
mod journal;

use std::fs;
use std::path::Path;

use doorbuster::ids::Seq;
use doorbuster::persist::{Error, Fault, Journal, SealFault, Tail, open_copy_read_only};
use generations::{Data, copy_dir, overwrite, records_of, replace, wait_until_sealed};
use journal::{append, append_orders, assert_orders, entries, order};

/// Records of a journal of some six sealed generations and a live one.
const RECORDS: u32 = 40;
const HEADER_BYTES: usize = 56;

/// What is wrong with the sealed file at `path`, to a start and to an audit alike.
fn fault(data: &Data, path: &Path) -> SealFault {
    let audited = open_copy_read_only(data.dir()).expect_err("an audit does not take it");
    match data.refusal() {
        error @ Error::Sealed { .. } => {
            assert_eq!(error.to_string(), audited.to_string());
            assert!(error.is_damage() && error.to_string().contains(&path.display().to_string()), "{error}");
            let Error::Sealed { path: named, fault } = error else { unreachable!() };
            assert_eq!(named, path);
            fault
        }
        error => panic!("{error}"),
    }
}

#[test]
fn every_changed_byte_of_header_and_footer_is_seen_at_the_start() {
    let data = Data::with_sealed(RECORDS);
    let path = data.sealed(2);
    let sound = fs::read(&path).expect("it is there");
    let footer = records_of(&sound).last().expect("it has records").2;
    for at in (0..HEADER_BYTES).chain(footer..sound.len()) {
        overwrite(&path, at, &[sound[at] ^ 0x10]);
        let fault = fault(&data, &path);
        let expected = match at {
            0..8 => SealFault::NotSealed,
            8..12 => {
                let version =
                    u32::from_be_bytes([8, 9, 10, 11].map(|byte| sound[byte] ^ if byte == at { 0x10 } else { 0 }));
                SealFault::UnknownVersion { version }
            }
            _ if at >= sound.len() - 8 => SealFault::CutShort,
            _ => SealFault::EndsDamaged,
        };
        assert_eq!(fault, expected, "byte {at} of {}", sound.len());
        overwrite(&path, at, &[sound[at]]);
    }
    assert_orders(&data.open(), u64::from(RECORDS) * 3);
}

#[test]
fn every_changed_byte_of_the_records_is_named_by_its_record_when_it_is_read() {
    let data = Data::with_sealed(RECORDS);
    let journal = data.open();
    let path = data.sealed(2);
    let sound = fs::read(&path).expect("it is there");
    let records = records_of(&sound);
    for (first, start, end) in &records {
        // The length before it included.
        for (at, byte) in sound.iter().enumerate().take(*end).skip(start - 4) {
            overwrite(&path, at, &[byte ^ 1]);
            let error = entries(&journal, Tail::START).expect_err("J2");
            let named = matches!(&error, Error::Damaged { record, .. } if record == first);
            assert!(named, "byte {at}, of the record at event {first}: {error}");
            overwrite(&path, at, &[*byte]);
        }
    }
    // Where reading begins in the middle, what lies before is looked at too: a wrong count would lead astray.
    let (first, start, _) = records[1];
    overwrite(&path, start + 7, &[sound[start + 7] ^ 1]);
    let error = journal::entries_from(&journal, records[3].0).expect_err("J2");
    assert!(matches!(error, Error::Damaged { record, fault: Fault::Checksum } if record == first), "{error}");
    overwrite(&path, start + 7, &[sound[start + 7]]);
    assert_orders(&journal, u64::from(RECORDS) * 3);
}

#[test]
fn a_file_that_was_cut_anywhere_is_refused() {
    let data = Data::with_sealed(RECORDS);
    let path = data.sealed(3);
    let sound = fs::read(&path).expect("it is there");
    for length in 0..sound.len() {
        replace(&path, &sound[..length]);
        assert!(matches!(fault(&data, &path), SealFault::CutShort), "at {length}");
    }
    replace(&path, &[sound.as_slice(), b"x"].concat());
    assert_eq!(fault(&data, &path), SealFault::CutShort);
    // One with a record taken out, and whole at both ends.
    let (_, start, end) = records_of(&sound)[1];
    replace(&path, &[&sound[..start - 4], &sound[end..]].concat());
    assert_eq!(fault(&data, &path), SealFault::EndsDamaged);
    replace(&path, &sound);
    assert_orders(&data.open(), u64::from(RECORDS) * 3);
}

#[test]
fn a_missing_generation_is_named() {
    let data = Data::with_sealed(RECORDS);
    let live = u32::try_from(data.count(".log")).expect("few") + 1;
    for number in 1..=live {
        let path = if number == live { data.in_sled(number) } else { data.sealed(number) };
        let away = data.dir().join("away");
        fs::rename(&path, &away).expect("it is there");
        for error in [data.refusal(), open_copy_read_only(data.dir()).expect_err("J1")] {
            assert!(matches!(error, Error::GenerationAbsent { generation, .. } if generation == number), "{error}");
            assert!(error.is_damage() && error.to_string().contains(&format!("gen-{number:08}")), "{error}");
        }
        fs::rename(&away, &path).expect("it can be put back");
    }
    assert_orders(&data.open(), u64::from(RECORDS) * 3);
}

#[test]
fn a_file_under_another_name_is_refused() {
    let data = Data::with_sealed(RECORDS);
    let (second, third) = (data.sealed(2), data.sealed(3));
    let sound = (fs::read(&second).expect("it is there"), fs::read(&third).expect("it is there"));
    // Doubled, in place of another; and swapped.
    replace(&third, &sound.0);
    assert_eq!(fault(&data, &third), SealFault::Misnamed { number: 2 });
    replace(&second, &sound.1);
    assert_eq!(fault(&data, &second), SealFault::Misnamed { number: 3 });
    replace(&second, &sound.0);
    replace(&third, &sound.1);
    // Doubled, under a number that the journal does not have yet, or in other words.
    let last = u32::try_from(data.count(".log")).expect("few");
    replace(&data.sealed(last + 2), &sound.0);
    assert_eq!(fault(&data, &data.sealed(last + 2)), SealFault::TooEarly, "the live one is not sealed");
    fs::remove_file(data.sealed(last + 2)).expect("it is there");
    for name in
        ["gen-2.log", "gen-00000002.log.bak", "gen-00000002 (copy)", "gen-00000000.log", "aside-gen-00000002.log"]
    {
        fs::write(data.journal(name), b"").expect("it can be written");
        for error in [data.refusal(), open_copy_read_only(data.dir()).expect_err("J1")] {
            assert!(matches!(&error, Error::ForeignName { path } if *path == data.journal(name)), "{error}");
        }
        fs::remove_file(data.journal(name)).expect("it is there");
    }
    fs::write(data.journal("notes"), b"a name that is nobody's").expect("it can be written");
    assert_orders(&data.open(), u64::from(RECORDS) * 3);
}

#[test]
fn a_file_of_another_journal_is_refused() {
    let (data, other) = (Data::with_sealed(RECORDS), Data::new());
    let mut journal = other.open();
    for n in 0..RECORDS {
        append(&mut journal, &[order(500 + n), order(600 + n), order(700 + n)]).expect("a sound disk");
    }
    wait_until_sealed(&other, &journal);
    drop(journal);
    let last = u32::try_from(data.count(".log")).expect("few");
    for number in 1..=last {
        let sound = fs::read(data.sealed(number)).expect("it is there");
        let foreign = fs::read(other.sealed(number)).expect("it is as long");
        assert_eq!(records_of(&sound).len(), records_of(&foreign).len(), "it differs by its hashes alone");
        replace(&data.sealed(number), &foreign);
        // The first one follows nothing, so the second tells.
        let named = if number == 1 { 2 } else { number };
        assert_eq!(fault(&data, &data.sealed(named)), SealFault::Unchained);
        replace(&data.sealed(number), &sound);
    }
    assert_orders(&data.open(), u64::from(RECORDS) * 3);
}

#[test]
fn a_live_generation_of_another_journal_is_refused_after_a_clean_stop_as_well() {
    let (data, other) = (Data::new(), Data::new());
    for (data, from) in [(&data, 0), (&other, 500)] {
        let mut journal = data.open();
        for n in 0..RECORDS {
            append(&mut journal, &[order(from + n)]).expect("a sound disk");
        }
        wait_until_sealed(data, &journal);
        journal.close().expect("a sound disk");
    }
    // With the mark and the witness that belong to it: only the chain tells.
    let live = u32::try_from(data.count(".log")).expect("few") + 1;
    fs::remove_dir_all(data.in_sled(live)).expect("it is there");
    copy_dir(&other.in_sled(live), &data.in_sled(live));
    for name in ["clean", "witness"] {
        replace(&data.journal(name), &fs::read(other.journal(name)).expect("it is there"));
    }
    assert!(data.refusal().is_damage(), "J2");
}

#[test]
fn a_generation_sealed_before_an_earlier_one_is_refused() {
    let unsealed = Data::with_unsealed(RECORDS, false);
    let sealed = Data::with_sealed(RECORDS);
    fs::remove_dir_all(unsealed.in_sled(2)).expect("it is there");
    fs::copy(sealed.sealed(2), unsealed.sealed(2)).expect("it can be copied");
    assert_eq!(fault(&unsealed, &unsealed.sealed(2)), SealFault::TooEarly);
}

#[test]
fn an_audit_reads_sealed_generations_where_they_are_and_changes_nothing() {
    let data = Data::with_sealed(RECORDS);
    let before: Vec<_> = data.names();
    let copy = open_copy_read_only(data.dir()).expect("a sound journal");
    let tail = assert_orders(&copy, u64::from(RECORDS) * 3);
    assert_eq!((copy.tail(), data.names()), (tail, before));
    let sound = fs::read(data.sealed(1)).expect("it is there");
    overwrite(&data.sealed(1), 200, &[sound[200] ^ 1]);
    assert!(matches!(entries(&copy, Tail::START), Err(Error::Damaged { record: Seq(1), .. })), "it is no copy of it");
    drop(copy);
    let copy = open_copy_read_only(data.dir()).expect("its ends hold, and its records are checked when they are read");
    assert!(matches!(entries(&copy, Tail::START), Err(Error::Damaged { record: Seq(1), .. })), "J2");
}

#[test]
fn what_is_read_while_the_journal_is_open_is_checked_as_well() {
    let data = Data::with_sealed(RECORDS);
    let mut journal = data.open();
    let sound = fs::read(data.sealed(1)).expect("it is there");
    replace(&data.sealed(1), &sound[..400]);
    assert!(matches!(entries(&journal, Tail::START), Err(Error::Io { .. })), "it is cut short under our hands");
    append_orders(&mut journal, 1);
    replace(&data.sealed(1), &sound);
    assert_orders(&journal, u64::from(RECORDS) * 3 + 3);
}
