//! The real process and its checkpoints: it makes them while it serves, starts from them, says so, and does without; the
//! audit holds them against the journal (J6).

mod checkpoint;
mod server;

use std::fs;

use checkpoint::{Dice, Market, append_to, manifests, piece_files};
use doorbuster::domain::event::{Event, OrderPlaced};
use doorbuster::domain::slots::Slots;
use doorbuster::ids::{Cents, SkuIndex, UnixMillis, UserId};
use doorbuster::persist::{self, Journal};
use server::{Sale, Server, Stage, until};

/// As many as make a checkpoint worth it.
const ORDERS: u32 = 100_000;

/// A journal with a large sale of long ago in it.
fn write_journal(stage: &Stage) {
    let mut market = Market::new(1);
    let shard = market.define_with(1, 1, ORDERS);
    let mut entries = market.entries;
    let first = entries[0].clone();
    for order in 1..=ORDERS {
        let placed = OrderPlaced {
            order,
            user: UserId(u64::from(order)),
            sku: SkuIndex(0),
            slots: Slots::range(order, 1),
            amount_cents: Cents(100),
            expires_at_ms: UnixMillis(1 << 50),
            key: None,
            reference: None,
        };
        entries.push(doorbuster::domain::Entry { shard, event: Event::OrderPlaced(placed), ..first.clone() });
    }
    let mut journal = persist::open(&stage.path("data"), &persist::Generations::default()).expect("a new journal");
    append_to(&mut journal, &entries[..1], &mut Dice(1));
    for entries in entries[1..].chunks(1_000) {
        let mut record = persist::RecordBuilder::default();
        assert_eq!(record.push(entries).expect("it fits a record"), persist::Pushed::Taken);
        let before = journal.tail();
        journal.append(&before, &record.seal(&before)).expect("a sound disk");
    }
    journal.close().expect("a clean stop");
}

fn audited(stage: &Stage) -> (Option<i32>, String) {
    let audit = stage.run(&["audit"]);
    let j6 = audit.out.lines().filter(|line| line.contains("J6")).collect::<Vec<_>>().join("\n");
    (audit.code, j6)
}

#[test]
fn a_server_makes_a_checkpoint_starts_from_it_and_does_without_when_it_is_damaged_or_gone() {
    let stage = Stage::set(Sale::default());
    fs::create_dir(stage.path("data")).expect("a fresh directory");
    write_journal(&stage);
    let server = Server::start(&stage);
    assert!(server.log().contains("checkpoint=0"), "{}", server.log());
    until("a checkpoint is made", || server.log().contains("orders=100000"));
    let held = stage.order(1, Some("mine")).expect("it answers");
    assert_eq!(held.status, 201, "{held:?}");
    server.stop();
    let (code, j6) = audited(&stage);
    assert!(code == Some(0) && j6.contains("holds"), "{code:?} {j6}");

    let server = Server::start(&stage);
    assert!(server.log().contains(&format!("checkpoint={}", ORDERS + 1)), "{}", server.log());
    let again = stage.order(1, Some("mine")).expect("it answers");
    assert_eq!(again.status, 200, "what came after the checkpoint is there, too: {again:?}");
    server.stop();

    let piece = &piece_files(&stage.path("data"))[0];
    let mut bytes = fs::read(piece).expect("it is there");
    bytes[7] ^= 1;
    fs::write(piece, bytes).expect("it can be written");
    let (code, j6) = audited(&stage);
    assert!(code == Some(1) && j6.contains("BROKEN") && j6.contains("damaged"), "{code:?} {j6}");
    let server = Server::start(&stage);
    assert!(server.log().contains("cannot be used: the piece"), "{}", server.log());
    let ready = stage.readyz().expect("it answers").json();
    assert_eq!((ready["status"].as_str(), ready["reasons"].as_array().map(Vec::len)), (Some("degraded"), Some(1)));
    let told = server::request(stage.operator, "GET", "/readyz", &[], "").expect("it answers").json();
    assert!(told["reasons"][0].as_str().is_some_and(|text| text.starts_with("checkpoint: ")), "{told}");
    assert_eq!(stage.stats().held, 1);
    until("it is made again", || server.log().matches("orders=10000").count() >= 2);
    server.stop();
    assert_eq!(audited(&stage).0, Some(0));

    fs::remove_dir_all(stage.path("data/checkpoints")).expect("nobody uses it");
    let server = Server::start(&stage);
    assert_eq!(stage.stats().held, 1, "a checkpoint is only a short cut");
    until("a new one is made", || stage.path("data/checkpoints").is_dir() && manifests(&stage.path("data")).len() == 1);
    server.stop();
    stage.assert_audit_holds(false);
}
