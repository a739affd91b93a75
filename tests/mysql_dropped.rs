//! The real process drops generations that MySQL has, that two checkpoints stand for and that are old enough, and goes on
//! answering for what lay in them: from MySQL. Without MySQL nothing goes (X3).

mod checkpoint;
mod dropped;
mod mysql;
mod server;

use std::fs;

use checkpoint::manifests;
use doorbuster::ids::{OrderId, ShardId};
use dropped::{append_sale, ask, checkpoints, until_shipped};
use mysql::{Maria, provider};
use serde_json::json;
use server::{ACTIVITY, Reply, SKU, Sale, Server, Stage, until};

/// A stage of which everything that ended leaves, and all goes that may.
fn stage(maria: &Maria) -> Stage {
    dropped::stage(maria, Sale { payment_window_s: 3, ..Sale::default() })
}

/// Tells of a payment for an order, and checks the answer's status.
#[track_caller]
fn pay(stage: &Stage, payment_id: &str, order_id: &str, amount_cents: u64, status: u16) -> Reply {
    let reply = provider::pay(stage, payment_id, order_id, amount_cents).expect("the server answers");
    assert_eq!(reply.status, status, "{payment_id}: {reply:?}");
    reply
}

/// What was paid for, and what came of it.
fn assert_paid(stage: &Stage, paid: &str, refunded: &str) {
    for (id, user, state, payment_id, payment_state) in
        [(paid, 9, "paid", "p-9", "applied"), (refunded, 10, "refunded", "p-10", "refunded")]
    {
        let own = ask(stage, Some(user), "GET", &format!("/v1/orders/{id}"));
        assert_eq!((own.status, own.json()["state"].as_str()), (200, Some(state)), "{own:?}");
        let payments = json!([{ "payment_id": payment_id, "payment_state": payment_state }]);
        assert_eq!(own.json()["payments"], payments, "{own:?}");
        let again = pay(stage, payment_id, id, 100, 200).json();
        assert_eq!((&again["payment_state"], &again["state"]), (&json!(payment_state), &json!(state)), "{again}");
        assert_eq!(pay(stage, payment_id, id, 101, 422).code(), "payment_mismatch");
    }
    assert_eq!(pay(stage, "p-9", "12345", 100, 422).code(), "payment_mismatch", "it was another order's");
    assert_eq!(pay(stage, "p-9-again", paid, 100, 200).json()["payment_state"], "refund_due");
    let result = format!("/v1/flash-sales/{ACTIVITY}/result?sku_id={SKU}");
    let poll = |user| ask(stage, Some(user), "GET", &result).json()["result"].clone();
    assert_eq!((poll(9), poll(10)), (json!(paid), json!(refunded)), "what was paid never goes back to -1");
}

/// Everything that can be asked of the sale that left, with the answers.
fn assert_answered(stage: &Stage, [cancelled, expired, paid, refunded]: [&str; 4]) {
    assert_paid(stage, paid, refunded);
    for (id, user, state) in [(cancelled, 7, "cancelled"), (expired, 8, "expired")] {
        let own = ask(stage, Some(user), "GET", &format!("/v1/orders/{id}"));
        assert_eq!((own.status, own.json()["state"].as_str()), (200, Some(state)), "{own:?}");
        let operators = ask(stage, None, "GET", &format!("/admin/v1/orders/{id}"));
        assert_eq!((operators.status, operators.json()["order_id"].as_str()), (200, Some(id)), "{operators:?}");
        let strangers = ask(stage, Some(99), "GET", &format!("/v1/orders/{id}"));
        assert_eq!((strangers.status, strangers.code()), (404, "order_not_found".to_owned()), "{strangers:?}");
        let list = ask(stage, Some(user), "GET", &server::order_path());
        assert!(list.status == 200 && list.json().to_string().contains(id), "{list:?}");
        let replay = stage.order(user, Some("mine")).expect("the server answers");
        assert_eq!((replay.status, replay.json()["order_id"].as_str()), (200, Some(id)), "{replay:?}");
        assert_eq!(replay.header("idempotent-replayed"), Some("true"));
    }
    let result = format!("/v1/flash-sales/{ACTIVITY}/result?sku_id={SKU}");
    assert_eq!(ask(stage, Some(8), "GET", &result).json()["result"], "-1");
    let cancel = stage.cancel(8, expired).expect("the server answers");
    assert_eq!((cancel.status, cancel.code()), (409, "order_not_cancellable".to_owned()), "{cancel:?}");
    let stats = stage.stats();
    assert_eq!((stats.stock, stats.available, stats.held, stats.accepted), (100, 98, 0, 4));
}

fn assert_recovering(stage: &Stage, id: &str) {
    let reply = ask(stage, Some(8), "GET", &format!("/v1/orders/{id}"));
    assert_eq!((reply.status, reply.code()), (503, "recovering".to_owned()), "{reply:?}");
    assert!(reply.header("retry-after").is_some(), "{reply:?}");
}

#[test]
fn what_mysql_has_is_dropped_and_still_answered_for_and_nothing_else_is() {
    let Some(mut maria) = Maria::start() else { return };
    let stage = stage(&maria);
    let server = Server::start(&stage);
    let buy = |user| {
        let reply = stage.order(user, Some("mine")).expect("the server answers");
        assert_eq!(reply.status, 201, "{reply:?}");
        reply.json()["order_id"].as_str().expect("an id").to_owned()
    };
    // At once: a hold that has run out is not cancelled. What is paid for late has fresh units.
    let cancelled = buy(7);
    assert_eq!(stage.cancel(7, &cancelled).expect("the server answers").status, 200);
    let expired = buy(8);
    until_shipped(&stage);
    maria.back_up();
    let paid = buy(9);
    pay(&stage, "p-9", &paid, 100, 200);
    let refunded = buy(10);
    pay(&stage, "p-10", &refunded, 100, 200);
    let answered = [provider::refund(&stage, &refunded, false), provider::paid_back(&stage, "p-10")];
    answered.into_iter().for_each(|reply| assert_eq!(reply.expect("the server answers").status, 200));
    until("the other runs out", || stage.stats().held == 0);
    assert_eq!(stage.operate("POST", "/close", None, "").expect("the server answers").status, 200);
    let orders = [&*cancelled, &*expired, &*paid, &*refunded];
    until("it leaves", || server.log().contains("left memory"));
    until_shipped(&stage);
    assert_answered(&stage, orders);
    server.stop();

    // One checkpoint is not enough.
    append_sale(&stage, 2);
    let server = Server::start(&stage);
    until_shipped(&stage);
    until("a checkpoint is made", || checkpoints(&stage) == 1);
    server.stop();
    // Two are, and MySQL is away.
    maria.kill();
    append_sale(&stage, 3);
    let server = Server::start(&stage);
    until("a second checkpoint is made", || checkpoints(&stage) == 2);
    until("the trouble is told", || stage.state()["reasons"].to_string().contains("mysql"));
    assert!(stage.journal().join("gen-00000001.log").exists() && !stage.journal().join("base").exists(), "X3");
    maria.start_again();
    until("it is dropped", || server.log().contains("dropped from the journal"));
    assert!(!stage.journal().join("gen-00000001.log").exists() && stage.journal().join("base").exists());
    assert_answered(&stage, orders);
    until_shipped(&stage);
    server.kill();

    let server = Server::start(&stage);
    assert_answered(&stage, orders);
    maria.kill();
    until("MySQL is missed", || stage.state()["mysql"]["connected"] == false);
    assert_recovering(&stage, &expired);
    assert_eq!(ask(&stage, Some(1), "GET", "/v1/activities/9002").status, 200, "what stands is in memory");
    // Money that comes meanwhile for what cannot be read is recorded all the same.
    for _ in 0..2 {
        let reply = provider::pay(&stage, "p-late", &expired, 100).expect("the server answers");
        assert_eq!((reply.status, &reply.json()["payment_state"]), (200, &"refund_due".into()), "{reply:?}");
    }
    maria.start_again();
    until("it answers again", || ask(&stage, Some(8), "GET", &format!("/v1/orders/{expired}")).status == 200);
    assert_answered(&stage, orders);
    until_shipped(&stage);
    assert!(server.runs());
    server.stop();

    // What is left is judged, and MySQL's cursor with it.
    let audit = stage.run(&["audit"]);
    assert_eq!(audit.code, Some(0), "{audit:?}");
    assert!(audit.out.contains("the rows are not compared: the journal begins after"), "{}", audit.out);

    // A record that no checkpoint needs any more is read nevertheless.
    let mut sealed: Vec<_> =
        fs::read_dir(stage.journal()).expect("it is there").map(|entry| entry.expect("an entry").path()).collect();
    sealed.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
    sealed.sort();
    let kept = sealed.first().expect("a sealed generation is kept");
    let sound = fs::read(kept).expect("it can be read");
    let mut damaged = sound.clone();
    damaged[sound.len() / 2] ^= 1;
    let replace = |bytes: &[u8]| {
        fs::remove_file(kept).expect("it is there");
        fs::write(kept, bytes).expect("it can be written");
    };
    replace(&damaged);
    let audit = stage.run(&["audit", "--without-mysql"]);
    assert!(audit.code == Some(1) && audit.out.contains("J2: "), "{audit:?}");
    replace(&sound);

    // MySQL is set back behind what was dropped: nothing more is shipped, and somebody is told what helps.
    maria.stop();
    maria.restore();
    maria.start_again();
    let server = Server::start(&stage);
    until("it is told", || stage.state()["reasons"].to_string().contains("MySQL was set back since"));
    // Its rows say that the order is held, which it was then.
    assert_recovering(&stage, &expired);
    server.stop();

    // MySQL has no longer what was dropped because it had it.
    let audit = stage.run(&["audit"]);
    assert!(audit.code == Some(1) && audit.out.contains("X3: MySQL has this journal's events"), "{audit:?}");
    assert_eq!(stage.run(&["reship", "--yes"]).code, Some(1), "nothing could fill the tables again");
    let audit = stage.run(&["audit", "--without-mysql"]);
    assert_eq!(audit.code, Some(0), "{audit:?}");
    assert!(audit.out.contains("not checked: the journal begins after") && audit.out.contains("J6"), "{}", audit.out);
    // Of an order that left with the beginning nobody can tell; one that never was is a fault as ever.
    let acks = stage.path("acks.jsonl");
    let audited = |order_id: &str| {
        let ack = serde_json::json!({ "kind": "cancel", "user_id": "7", "order_id": order_id });
        fs::write(&acks, format!("{ack}\n")).expect("it can be written");
        let audit = stage.run(&["audit", "--without-mysql", "--acks", acks.to_str().expect("a path of text")]);
        (audit.code, audit.out.contains("not checkable: 1"))
    };
    assert_eq!(audited(&cancelled), (Some(0), true));
    assert_eq!(audited(&OrderId::new(ShardId(77), 1).to_string()), (Some(1), false));
    let printed = stage.run(&["journal", "--from", "1", "--to", "3"]);
    assert!(printed.code == Some(0) && printed.out.is_empty(), "{printed:?}");
    assert!(printed.err.contains("it begins after event"), "{printed:?}");

    // A checkpoint is no short cut any more.
    let checkpoints = manifests(&stage.path("data"));
    fs::write(&checkpoints[1], b"damaged").expect("it can be written");
    let server = Server::start(&stage);
    assert!(server.log().contains("cannot be used"), "{}", server.log());
    server.kill();
    let checkpoints = manifests(&stage.path("data"));
    checkpoints.iter().for_each(|path| fs::write(path, b"damaged").expect("it can be written"));
    let refused = stage.run(&["serve"]);
    assert_eq!(refused.code, Some(4), "{refused:?}");
    assert!(refused.err.contains("no checkpoint can be used") && refused.err.contains("manifest"), "{}", refused.err);
}
