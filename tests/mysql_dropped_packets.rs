//! A rain that left memory: what is asked of it is answered the same while it is in memory, from the journal, and, once
//! the journal's beginning is dropped, from MySQL, by the real process. Who verifies its rounds finds what was promised.

mod checkpoint;
mod dropped;
mod mysql;
mod server;

use std::collections::BTreeMap;
use std::process::Command;

use dropped::{append_sale, ask, ask_with, checkpoints, until_shipped};
use mysql::Maria;
use serde_json::{Value, json};
use server::{Sale, Server, Stage, until};

const RAIN: &str = "/admin/v1/activities/1002";
const GRABS: &str = "/v1/red-packets/1002/grabs";
const DETAIL: &str = "/v1/activities/1002";
/// Those who grab; each shard has some of them.
const USERS: [u64; 8] = [1, 2, 3, 4, 5, 6, 7, 8];

/// A rain of two rounds, one after the other.
fn rain(shards: u16, second_starts_at: &str) -> String {
    json!({
        "kind": "red_packet", "title": "Rain", "split": "random", "min_cents": 1, "max_cents": 500,
        "per_user_limit": 2, "shards": shards,
        "rounds": [
            { "starts_at": "2025-01-01T00:00:00Z", "ends_at": second_starts_at, "total_cents": 2_000, "packets": 20 },
            { "starts_at": second_starts_at, "ends_at": "2036-01-01T00:00:00Z", "total_cents": 700, "packets": 7 },
        ],
    })
    .to_string()
}

fn grab(stage: &Stage, user: u64, key: &str) -> Value {
    let reply = ask_with(stage, Some(user), "POST", GRABS, Some(key), "");
    assert_eq!(reply.status, 201, "{reply:?}");
    reply.json()
}

/// Questions with their answers.
type Answers = BTreeMap<String, (u16, Option<String>, Value)>;

fn note(answers: &mut Answers, stage: &Stage, user: Option<u64>, method: &str, path: &str, key: Option<&str>) -> Value {
    let reply = ask_with(stage, user, method, path, key, "");
    let mut body = reply.json();
    // A problem names its request and when it was refused; refusals are counted since the process started.
    for field in ["server_time_ms", "refused", "request_id", "instance"] {
        body.as_object_mut().expect("an object").remove(field);
    }
    let replayed = reply.header("idempotent-replayed").map(str::to_owned);
    answers.insert(format!("{user:?} {method} {path} {key:?}"), (reply.status, replayed, body.clone()));
    body
}

/// Reads a list to its end, two entries at a time, and gives all of them.
fn read_through(answers: &mut Answers, stage: &Stage, user: Option<u64>, path: &str) -> Vec<Value> {
    let (mut grabs, mut page) = (Vec::new(), format!("{path}?limit=2"));
    loop {
        let body = note(answers, stage, user, "GET", &page, None);
        grabs.extend(body["grabs"].as_array().expect("a list").iter().cloned());
        let Some(cursor) = body["next_cursor"].as_str() else { return grabs };
        page = format!("{path}?limit=2&cursor={cursor}");
    }
}

/// What was grabbed, by everybody who may know of it; nothing that a round's end changes.
fn of_grabs(stage: &Stage) -> Answers {
    let mut answers = Answers::new();
    let all = read_through(&mut answers, stage, None, &format!("{RAIN}/grabs"));
    assert_eq!(all.len(), 12, "{all:?}");
    for user in USERS.into_iter().chain([99]) {
        let own = read_through(&mut answers, stage, Some(user), GRABS);
        let of_user = note(&mut answers, stage, None, "GET", &format!("{RAIN}/grabs?user_id={user}"), None);
        let mut of_user = of_user["grabs"].as_array().expect("a list").clone();
        of_user.reverse();
        for grab in &mut of_user {
            assert_eq!(grab["user_id"], user.to_string());
            grab.as_object_mut().expect("an object").remove("user_id");
        }
        assert_eq!(own, of_user, "the owner reads the same, the other way round");
    }
    for grab in &all {
        let user = grab["user_id"].as_str().expect("an id").parse().expect("a number");
        let path = format!("/v1/orders/{}", grab["grab_id"].as_str().expect("an id"));
        note(&mut answers, stage, Some(user), "GET", &path, None);
        note(&mut answers, stage, None, "GET", &format!("/admin{path}"), None);
        note(&mut answers, stage, Some(user), "POST", &format!("{path}/cancel"), None);
    }
    let is_no_order = |(question, (status, ..)): (&String, &(u16, Option<String>, Value))| {
        !question.contains("/orders/") || *status == 404
    };
    assert!(answers.iter().all(is_no_order), "a grab is no order: {answers:#?}");
    for user in USERS {
        let replay = note(&mut answers, stage, Some(user), "POST", GRABS, Some("mine"));
        assert_eq!((&replay["round"], &replay["state"]), (&json!(0), &json!("granted")));
    }
    note(&mut answers, stage, Some(1), "POST", GRABS, Some("second"));
    let replays = answers.values().filter(|(status, replayed, _)| *status == 200 && replayed.is_some());
    assert_eq!(replays.count(), USERS.len() + 1);
    answers
}

/// All that can be asked once it is over.
fn of_what_is_over(stage: &Stage) -> Answers {
    let mut answers = of_grabs(stage);
    for key in [None, Some("second"), Some("unknown")] {
        let refused = note(&mut answers, stage, Some(2), "POST", GRABS, key);
        assert_eq!(refused["code"], "ended", "another's key, or none: {refused}");
    }
    for path in [DETAIL, "/v1/activities?kind=red_packet", "/v1/flash-sales/1002/orders"] {
        note(&mut answers, stage, Some(1), "GET", path, None);
    }
    for path in ["", "/stats", "/orders"] {
        note(&mut answers, stage, None, "GET", &format!("{RAIN}{path}"), None);
    }
    answers
}

/// Who has what was told of it, and the program, works out every packet.
fn verify_split(stage: &Stage) {
    let file = stage.path("told.json");
    std::fs::write(&file, ask(stage, Some(1), "GET", DETAIL).text).expect("it can be written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_doorbuster"));
    let verified = stage.finish(command.arg("verify-split").arg("--activity").arg(&file), "verify-split");
    assert_eq!(verified.code, Some(0), "{verified:?}");
    let amounts: Vec<Value> =
        verified.out.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect();
    assert_eq!(amounts.len(), 27);
    let all = ask(stage, None, "GET", &format!("{RAIN}/grabs")).json();
    for grab in all["grabs"].as_array().expect("a list") {
        let (round, packet, cents) = (&grab["round"], &grab["packet"], &grab["amount_cents"]);
        assert!(amounts.contains(&json!({ "round": round, "packet": packet, "amount_cents": cents })), "{grab}");
    }
}

#[track_caller]
fn assert_same(before: &Answers, after: &Answers, what: &str) {
    for (question, answer) in before {
        assert_eq!(after.get(question), Some(answer), "{what}: {question}");
    }
}

fn a_rain_is_told_as_it_was(shards: u16) {
    let Some(mut maria) = Maria::start() else { return };
    let stage = dropped::stage(&maria, Sale::default());
    let server = Server::start(&stage);
    let put = |second_starts_at| ask_with(&stage, None, "PUT", RAIN, None, &rain(shards, second_starts_at));
    assert_eq!(put("2035-01-01T00:00:00Z").status, 201);
    for user in USERS {
        assert_eq!(grab(&stage, user, "mine")["round"], 0);
    }
    grab(&stage, 1, "again");
    // Its window may change while it runs: now the second round does.
    assert_eq!(put("2025-06-01T00:00:00Z").status, 200);
    for (user, key) in [(1, "second"), (1, "third"), (8, "second")] {
        assert_eq!(grab(&stage, user, key)["round"], 1);
    }
    let in_memory = of_grabs(&stage);
    assert_eq!(ask(&stage, None, "POST", &format!("{RAIN}/close")).status, 200);
    until("it leaves", || server.log().contains("left memory"));
    until_shipped(&stage);
    let from_journal = of_what_is_over(&stage);
    assert_same(&in_memory, &from_journal, "it has left");
    let told = |path: &str| from_journal[path].2.clone();
    let detail = told(&format!("Some(1) GET {DETAIL} None"));
    assert!(detail["rounds"].as_array().expect("rounds").iter().all(|round| round["seed"].is_string()), "{detail}");
    let stats = told(&format!("None GET {RAIN}/stats None"));
    let sum = |rounds: &Value, field: &str| -> u64 {
        rounds.as_array().expect("rounds").iter().map(|round| round[field].as_u64().expect("a number")).sum()
    };
    assert_eq!((sum(&stats["rounds"], "granted"), sum(&stats["rounds"], "refunded")), (12, 15), "{stats}");
    assert_eq!(sum(&stats["rounds"], "granted_cents") + sum(&stats["rounds"], "refunded_cents"), 2_700, "M1: {stats}");
    let of_shards = stats["shards"].as_array().expect("shards").iter();
    assert_eq!(of_shards.map(|shard| sum(&shard["rounds"], "granted")).sum::<u64>(), 12, "{stats}");
    verify_split(&stage);
    server.stop();

    // Two checkpoints stand for what is dropped. The shards are numbered as they come: the stage's sale has the first.
    for number in 1..=2 {
        append_sale(&stage, u32::from(1 + shards) + number);
        let server = Server::start(&stage);
        until_shipped(&stage);
        until("a checkpoint is made", || checkpoints(&stage) >= number as usize);
        if number == 2 {
            until("it is dropped", || server.log().contains("dropped from the journal"));
        }
        server.stop();
    }
    assert!(!stage.journal().join("gen-00000001.log").exists() && stage.journal().join("base").exists());
    let server = Server::start(&stage);
    assert_same(&from_journal, &of_what_is_over(&stage), "its journal was dropped");
    verify_split(&stage);

    // It is MySQL that answers.
    maria.kill();
    until("MySQL is missed", || stage.state()["mysql"]["connected"] == false);
    for path in [GRABS, DETAIL] {
        let reply = ask(&stage, Some(1), "GET", path);
        assert_eq!((reply.status, reply.code()), (503, "recovering".to_owned()), "{reply:?}");
    }
    maria.start_again();
    until("it answers again", || ask(&stage, Some(1), "GET", GRABS).status == 200);
    assert_same(&from_journal, &of_what_is_over(&stage), "MySQL is back");
    until_shipped(&stage);
    server.stop();
    stage.assert_audit_holds(false);
}

#[test]
fn a_rain_whose_journal_was_dropped_is_told_as_it_was() {
    a_rain_is_told_as_it_was(1);
}

#[test]
fn a_rain_of_several_shards_whose_journal_was_dropped_is_told_as_it_was() {
    a_rain_is_told_as_it_was(3);
}
