//! `kill -9` in the middle of a rain of red packets, with the real program, a real directory, a crowd over HTTP and a real
//! MariaDB: no grab lost, no packet given twice, each budget exact to the cent. `make crash SEED=1 ROUNDS=20` runs a
//! campaign; round n has the seed SEED + n, so one round replays by itself. `make rain` plays the large one.

mod campaign;
mod mysql;
mod server;

use std::collections::BTreeMap;
use std::thread;

use campaign::rain::{Outcome, Script, Split, Splits, play};
use loadtest::{Mode, Sums};
use mysql::Maria;
use serde_json::{Value, json};
use server::{Rain, Stage};

const DATABASE: &str = "doorbuster";

fn from_env(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().expect("the variable is a number"))
}

/// Says how to see a failure again.
struct Replay(u64);

impl Drop for Replay {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("failed with seed {0}; to replay: make crash SEED={0} ROUNDS=1", self.0);
        }
    }
}

/// An unoptimised server is some ten times slower, and continuous integration waits.
fn scale() -> u32 {
    if cfg!(debug_assertions) { 1 } else { 5 }
}

/// Every second seed has two rounds, of which the first ends by its time while the server comes and goes; every third has
/// shards, whose packets move.
fn script(seed: u64) -> Script {
    let packets = 300 * u64::from(scale());
    let rain = Rain {
        packets,
        total_cents: packets * 137 + 11,
        per_user_limit: 1,
        shards: if seed % 3 == 1 { 3 } else { 1 },
        first_lasts_ms: seed.is_multiple_of(2).then_some(700),
    };
    let mode = Mode::Open { rate: 400.0 * f64::from(scale()) };
    Script { seed, rain, users: 6 * packets, mode, connections: 64, kills: 4 }
}

fn all_is_granted(script: &Script, outcome: &Outcome) {
    assert!(outcome.kills_in_rain > 0, "the rain was long enough to be killed in: {outcome}");
    if script.rain.first_lasts_ms.is_none() {
        let all = Sums { packets: script.rain.packets, cents: script.rain.total_cents };
        let wanted = Split { granted: all, refunded: Sums::default() };
        assert_eq!(outcome.rounds, Splits::from([(0, wanted)]), "far more asked than there were packets: {outcome}");
    }
}

#[test]
fn a_rain_killed_again_and_again_gives_each_packet_once_and_adds_up_to_the_cent() {
    let first = from_env("CRASH_SEED", 1);
    let (mut in_rain, mut audits) = (0, 0);
    for seed in first..first + from_env("CRASH_ROUNDS", 2) {
        let _replay = Replay(seed);
        let script = script(seed);
        let outcome = play(&script, &Stage::raining(script.rain, None));
        all_is_granted(&script, &outcome);
        println!("{outcome}");
        in_rain += outcome.kills_in_rain;
        audits += outcome.audits;
    }
    println!("killed {in_rain} times in the rain; {audits} audits, all hold");
}

#[test]
fn a_rain_killed_while_it_is_shipped_is_in_mysql_one_row_a_grab() {
    let first = from_env("CRASH_SEED", 1);
    for seed in first..first + from_env("CRASH_ROUNDS", 1).min(5) {
        let Some(maria) = Maria::start() else { return };
        let _replay = Replay(seed);
        let script = script(seed);
        let outcome = play(&script, &Stage::raining(script.rain, Some(&maria.shop_url(DATABASE))));
        all_is_granted(&script, &outcome);
        assert_eq!(in_mysql(&maria), outcome.rounds, "{outcome}");
        println!("{outcome}; MySQL says the same");
    }
}

/// The rows by themselves, without the program that is tested: one for each grab, and what each round says of itself.
fn in_mysql(maria: &Maria) -> Splits {
    let numbers = |sql: String| -> Vec<Vec<u64>> {
        let number = |text: &Option<String>| text.as_ref().expect("no null").parse().expect("a number");
        maria.query(&sql).iter().map(|row| row.iter().map(number).collect()).collect()
    };
    let rounds = numbers(format!(
        "SELECT round, packets, total_cents, granted, granted_cents, refunded, refunded_cents, is_over \
         FROM {DATABASE}.red_packet_rounds"
    ));
    let grabs = numbers(format!(
        "SELECT round, COUNT(*), CAST(SUM(amount_cents) AS UNSIGNED), COUNT(DISTINCT packet), COUNT(DISTINCT grab_id) \
         FROM {DATABASE}.red_packet_grabs GROUP BY round"
    ));
    let grabs: BTreeMap<u64, Sums> = grabs
        .iter()
        .map(|row| {
            assert!(row[3] == row[1] && row[4] == row[1], "one row a packet and a grab: {row:?}");
            (row[0], Sums { packets: row[1], cents: row[2] })
        })
        .collect();
    let split = |row: &Vec<u64>| {
        let (total, granted) = (Sums { packets: row[1], cents: row[2] }, Sums { packets: row[3], cents: row[4] });
        let refunded = Sums { packets: row[5], cents: row[6] };
        let credits = grabs.get(&row[0]).copied().unwrap_or_default();
        assert_eq!((row[7], credits, credits.and(refunded)), (1, granted, total), "M1 and M3: {row:?}");
        (row[0], Split { granted: credits, refunded })
    };
    rounds.iter().map(split).collect()
}

/// A log in which one line says something else than the server said is found, whatever the line says (A1).
#[test]
fn an_acknowledged_grab_that_was_never_granted_is_found() {
    let rain = Rain { packets: 60, total_cents: 6_000, per_user_limit: 1, shards: 1, first_lasts_ms: None };
    let script = Script { seed: 7, rain, users: 120, mode: Mode::Closed, connections: 16, kills: 0 };
    let stage = Stage::raining(rain, None);
    play(&script, &stage);
    let file = stage.path("acks.jsonl");
    let text = std::fs::read_to_string(&file).expect("the crowd wrote it");
    let log: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect();
    let fresh: Vec<usize> = (0..log.len()).filter(|at| log[*at]["replayed"] == false).take(2).collect();
    let &[one, other] = fresh.as_slice() else { panic!("two were granted: {log:?}") };
    let packet = log[one]["packet"].as_u64().expect("a number");
    let cents = log[one]["amount_cents"].as_u64().expect("a number");
    let finds = |change: &dyn Fn(&mut Vec<Value>), words: &str| {
        let mut log = log.clone();
        change(&mut log);
        let lines: Vec<String> = log.iter().map(Value::to_string).collect();
        std::fs::write(&file, lines.join("\n") + "\n").expect("it can be written");
        let ended = stage.run(&["audit", "--acks", file.to_str().expect("plain text")]);
        assert!(ended.code == Some(1) && ended.out.contains(words), "{words}: {ended:?}");
    };
    let line = format!("A1: line {}", one + 1);
    for (field, lie) in [
        ("user_id", json!("1")),
        ("activity_id", json!("1002")),
        ("grab_id", json!("68719999999")),
        ("grab_id", log[other]["grab_id"].clone()),
        ("round", json!(1)),
        ("packet", json!((packet + 1) % 60)),
        ("amount_cents", json!(cents + 1)),
    ] {
        finds(&|log| log[one][field] = lie.clone(), &line);
    }
    finds(&|log| log.push(log[one].clone()), "was acknowledged as new");
    // Each line of a log may have several faults.
    finds(
        &|log| {
            *log = vec![log[one].clone(), log[one].clone()];
            log.iter_mut().for_each(|line| line["amount_cents"] = json!(cents + 1));
        },
        "BROKEN 3 times",
    );
    finds(
        &|log| {
            log[other]["packet"] = json!(packet);
        },
        &format!("packet {packet} of round 0 was grab"),
    );
    let key = json!("one-for-both");
    finds(
        &|log| {
            log[other]["user_id"] = log[one]["user_id"].clone();
            (log[one]["key"], log[other]["key"]) = (key.clone(), key.clone());
        },
        "stands for grab",
    );
}

/// A hundred thousand packets, a million users, a kill in the middle, and MySQL beside it.
#[test]
#[ignore = "takes minutes: make rain"]
fn a_hundred_thousand_packets_and_a_million_attempts_add_up_to_the_cent() {
    let Some(maria) = Maria::start() else { return };
    let rain = Rain { packets: 100_000, total_cents: 100_000_037, per_user_limit: 1, shards: 2, first_lasts_ms: None };
    let seed = from_env("CRASH_SEED", 1);
    let script = Script { seed, rain, users: 1_000_000, mode: Mode::Closed, connections: 256, kills: 1 };
    let outcome = play(&script, &Stage::raining(rain, Some(&maria.shop_url(DATABASE))));
    all_is_granted(&script, &outcome);
    println!("{}{}{outcome}", outcome.table, outcome.audit);
    let (rows, told) = (in_mysql(&maria), outcome.by_clients[&0]);
    assert_eq!(rows, outcome.rounds);
    println!("journal, as audited: {}", outcome.rounds[&0]);
    println!("MySQL's rows:        {}", rows[&0]);
    println!("clients' log:        granted {} cents in {} packets; {} lines", told.cents, told.packets, outcome.acks);
}
