//! Damage anywhere in sled's files: the journal either gives back exactly what was acknowledged, or refuses to start,
//! names a record, and keeps a copy of what it found. It never silently differs.
//!
//! `DOORBUSTER_DAMAGE_ROUNDS` asks for more rounds, `DOORBUSTER_DAMAGE_SEED` for others.

mod journal;

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use doorbuster::persist::{Error, Journal};
use journal::{append_orders, assert_orders, open};

/// A small generator, so that a round can be made again from its seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

fn from_env(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().expect("the variable is a number"))
}

const RECORDS: u32 = 60;
const EVENTS: u64 = 3 * RECORDS as u64;

/// A journal of [`EVENTS`] orders over two starts, so that sled has a snapshot and a log after it.
fn written(dir: &Path, clean: bool) {
    append_orders(&mut open(dir).expect("a new journal"), RECORDS / 2);
    let mut journal = open(dir).expect("a sound journal");
    append_orders(&mut journal, RECORDS / 2);
    if clean {
        journal.close().expect("a sound disk");
    }
}

/// Changes the file somehow, and says how.
fn damage(path: &Path, random: &mut Random) -> String {
    let file = OpenOptions::new().read(true).write(true).open(path).expect("the file is there");
    let len = file.metadata().expect("the file is there").len();
    // Half of the damage goes to the front of the log, where there is more to lose after it.
    let at = if random.below(2) == 0 { random.below(len) } else { random.below(len.min(4096)) };
    let name = path.display();
    match random.below(4) {
        0 => {
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).expect("it lies within");
            let bit = random.below(8);
            file.write_all_at(&[byte[0] ^ (1 << bit)], at).expect("it can be written");
            format!("bit {bit} of byte {at} flipped in {name}")
        }
        1 => {
            let count = (1 + random.below(2000)).min(len - at);
            file.write_all_at(&vec![0; usize::try_from(count).expect("few")], at).expect("it can be written");
            format!("{count} bytes zeroed from {at} on in {name}")
        }
        2 => {
            let garbage: Vec<u8> = (0..64.min(len - at)).map(|_| random.below(256).to_le_bytes()[0]).collect();
            file.write_all_at(&garbage, at).expect("it can be written");
            format!("garbage at {at} in {name}")
        }
        _ => {
            file.set_len(at).expect("it can be cut");
            format!("{name} cut to {at} bytes")
        }
    }
}

#[test]
fn damage_is_harmless_or_refused_and_never_silent() {
    let seed = from_env("DOORBUSTER_DAMAGE_SEED", 0x5EED);
    let rounds = from_env("DOORBUSTER_DAMAGE_ROUNDS", 24);
    let mut random = Random(seed.max(1));
    let mut refused = 0;
    for round in 0..rounds {
        let data = tempfile::tempdir().expect("a temporary directory");
        let clean = random.below(2) == 0;
        written(data.path(), clean);
        let generation = data.path().join("journal").join("gen-00000001");
        let mut files: Vec<_> =
            fs::read_dir(&generation).expect("it is there").map(|e| e.expect("listed").path()).collect();
        files.retain(|path| path.is_file());
        files.sort();
        // Mostly the log itself; sometimes its configuration or its snapshot.
        let index = if random.below(4) == 0 { random.below(files.len() as u64) } else { 1 };
        let path = &files[usize::try_from(index).expect("few")];
        let how = damage(path, &mut random);
        let context = format!("seed {seed}, round {round}, clean {clean}: {how}");
        let found = fs::read(path).expect("the file is there");
        match open(data.path()) {
            Ok(journal) => {
                let tail = assert_orders(&journal, EVENTS);
                assert_eq!(tail, journal.tail(), "{context}");
            }
            Err(Error::Refused { aside, source, .. }) => {
                refused += 1;
                let copy = aside.join(path.file_name().expect("a file"));
                assert!(fs::read(copy).expect("the copy is kept") == found, "{context}");
                assert!(open(data.path()).is_err(), "a second start is no wiser. {context}");
                // Where sled cannot even open, there is no record to name.
                let unopened = matches!(*source, Error::Engine { doing: "opening", .. });
                assert!(unopened || source.to_string().contains("event "), "no record is named: {source}. {context}");
            }
            Err(error) => panic!("{error}. {context}"),
        }
    }
    assert!(refused > 0, "some damage matters");
}
