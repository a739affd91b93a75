//! What a crash cut while it was being spread over the shards of an activity, a founding or an operator's change, is
//! carried on by the real process at its next start: once, in every shard, before anybody is served.

mod server;

use std::fs;

use doorbuster::catalog;
use doorbuster::domain::command::{Command, Redefine, Request, Source, SwitchSale};
use doorbuster::domain::event::{ActivityDefined, Author, Change, Switch};
use doorbuster::domain::found::found;
use doorbuster::domain::part::Spread;
use doorbuster::domain::{Definition, Entry, Sales, Stamped};
use doorbuster::ids::{ActivityId, Cents, Seq, ShardId, UnixMillis, UserId};
use doorbuster::persist::{self, Journal, Pushed, RecordBuilder};
use serde_json::Value;
use server::{ACTIVITY, Reply, Sale, Server, Stage};

const PARTS: u16 = 4;
const STOCK: u64 = 10;
const HOME: ShardId = ShardId(1);
/// In the sale's window, and long past.
const AT_MS: UnixMillis = UnixMillis(1_750_000_000_000);

fn set() -> (Stage, Definition) {
    let stage = Stage::set(Sale { stock: STOCK, shards: PARTS, ..Sale::default() });
    let definition = catalog::read_one(&stage.path("catalog"), ActivityId(ACTIVITY)).expect("it is sound");
    (stage, definition.expect("it is there"))
}

/// The events that found the activity: its four parts, and a move of its share to each but the home.
fn founding(definition: &Definition) -> Vec<Entry> {
    let change = Change { change_id: 1, by: Author::StartUp, key: None };
    let first = ActivityDefined {
        activity_id: ActivityId(ACTIVITY),
        definition: definition.clone(),
        from_catalog: true,
        change,
        part: None,
    };
    let entries = found(HOME, first, AT_MS);
    assert_eq!(entries.len(), 7);
    entries
}

/// The events of a change: the home's, then those of the three parts that follow it.
fn change(founded: &[Entry], command: Command) -> Vec<Entry> {
    let mut sales = Sales::default();
    founded.iter().for_each(|entry| sales.take(Seq(0), entry).expect("what was founded applies"));
    let mut entries = Vec::new();
    let mut command = Some(command);
    for shard in (0..u32::from(PARTS)).map(|number| ShardId(HOME.0 + number)) {
        let home = sales.get(HOME).expect("it is founded").control();
        let command = command.take().unwrap_or(Command::FollowHome(Box::new(home)));
        let decision = sales.get(shard).expect("it is founded").decide(&Stamped { at_ms: AT_MS, command });
        for event in decision.expect("it is not refused").events {
            let entry = Entry { shard, at_ms: AT_MS, event };
            sales.take(Seq(0), &entry).expect("what was decided applies");
            entries.push(entry);
        }
    }
    assert_eq!(entries.len(), usize::from(PARTS));
    entries
}

/// A journal of these events, a record each, and no more.
fn write_journal(stage: &Stage, entries: &[Entry]) {
    fs::create_dir(stage.path("data")).expect("a fresh directory");
    let mut journal = persist::open(&stage.path("data"), &persist::Generations::default()).expect("a new journal");
    for entry in entries {
        let mut record = RecordBuilder::default();
        assert_eq!(record.push(std::slice::from_ref(entry)).expect("it fits a record"), Pushed::Taken);
        let before = journal.tail();
        journal.append(&before, &record.seal(&before)).expect("a sound disk");
    }
    journal.close().expect("a clean stop");
}

/// The first user from `from` on of each part asks for a unit, with a key, so that no door answers in the part's stead.
fn each_part(stage: &Stage, from: u64) -> Vec<Reply> {
    let serves = |part, user| Spread::default().part_of(UserId(user), PARTS) == part;
    let user_of = |part| (from..).find(|user| serves(part, *user)).expect("every part serves somebody");
    (0..PARTS).map(|part| stage.order(user_of(part), Some("k")).expect("it answers")).collect()
}

/// Shards that the server says it brought in line.
fn brought_in_line(server: &Server) -> usize {
    server.log().matches("is brought in line with its home").count()
}

/// The shards of the events of a kind, in the journal's order.
fn shards_of(stage: &Stage, kind: &str) -> Vec<u64> {
    let events = stage.events();
    let of_kind = events.iter().filter(|event| event["event"] == kind);
    of_kind
        .map(|event| event["shard"].as_str().and_then(|id| id.parse().ok()).or(event["shard"].as_u64()))
        .map(|shard| shard.expect("an event names its shard"))
        .collect()
}

#[test]
fn an_activity_of_which_a_crash_left_some_shards_is_whole_after_a_start() {
    for cut in 1..=7 {
        let (stage, definition) = set();
        write_journal(&stage, &founding(&definition)[..cut]);
        let server = Server::start(&stage);
        assert_eq!(brought_in_line(&server), 4_usize.saturating_sub(cut), "{}", server.log());
        let stats = stage.operate("GET", "/stats", None, "").expect("it answers").json();
        let shards: Vec<&Value> = stats["shards"].as_array().expect("a list").iter().map(|one| &one["shard"]).collect();
        assert_eq!(shards, [1, 2, 3, 4], "cut after {cut}");
        assert_eq!((stage.stats().stock, stage.stats().available), (STOCK, STOCK), "cut after {cut}");
        let sold = (0..2).flat_map(|n| each_part(&stage, 1 + n * 1_000)).filter(|reply| reply.status == 201).count();
        assert_eq!(sold, 8, "every shard sells, cut after {cut}");
        server.kill();
        stage.assert_audit_holds(false);
        assert_eq!(shards_of(&stage, "activity_defined"), [1, 2, 3, 4], "cut after {cut}");
        let before = stage.events().len();
        Server::start(&stage).stop();
        assert_eq!(stage.events().len(), before, "it is carried on once");
        stage.assert_audit_holds(false);
    }
}

#[test]
fn a_change_that_a_crash_left_in_some_shards_is_in_all_after_a_start() {
    let request = Request { change_id: 2, by: Author::Operator(UserId(900)), key: None };
    let switch = |to| Command::SwitchSale(SwitchSale { to, request: request.clone() });
    let redefine = |mut definition: Definition| {
        definition.skus[0].price_cents = Cents(777);
        Command::Redefine(Redefine {
            definition,
            from: Source::Put,
            seeds: Vec::new(),
            if_version: None,
            request: request.clone(),
        })
    };
    for followers in 0..=3 {
        for what in ["paused", "ended", "dearer"] {
            let (stage, definition) = set();
            let founded = founding(&definition);
            let changed = match what {
                "paused" => change(&founded, switch(Switch::Paused)),
                "ended" => change(&founded, switch(Switch::Closed)),
                _ => change(&founded, redefine(definition)),
            };
            write_journal(&stage, &[&founded[..], &changed[..=followers]].concat());
            let server = Server::start(&stage);
            assert_eq!(brought_in_line(&server), 3 - followers, "{}", server.log());
            for reply in each_part(&stage, 1) {
                match what {
                    "dearer" => assert_eq!(reply.json()["amount_cents"], 777, "{followers} had followed: {reply:?}"),
                    code => assert_eq!((reply.status, reply.code().as_str()), (409, code), "{followers} had followed"),
                }
            }
            server.stop();
            stage.assert_audit_holds(false);
            assert_eq!(shards_of(&stage, "home_followed"), [2, 3, 4], "{what}, {followers} had followed");
            if what == "paused" {
                let server = Server::start(&stage);
                assert_eq!(stage.operate("POST", "/resume", None, "").expect("it answers").status, 200);
                each_part(&stage, 1).iter().for_each(|reply| assert_eq!(reply.status, 201, "{reply:?}"));
                server.stop();
                stage.assert_audit_holds(false);
            }
        }
    }
}
