//! The crowd against a shop that keeps the contract: what it counts, logs and survives.

mod shop;

use std::collections::HashSet;
use std::time::Duration;

use loadtest::{AcksFile, Mode, Pay, Shares};
use serde_json::Value;
use shop::{Bug, PAYMENTS_SECRET, crowd_at, rain, rain_at};

#[test]
fn an_honest_shop_is_bought_out_without_a_violation() {
    let (report, shop) = crowd_at(Bug::None, 100, |plan| plan.shares.cancel = 0.2);
    assert!(report.holds(), "{}", report.table());
    assert_eq!(report.lost, 0);
    assert!(report.replayed > 0 && report.cancelled > 0 && report.polled > 0 && report.revisited > 0);
    assert!(report.refused["sold_out"] > 0 && report.refused["limit_reached"] > 0);
    assert!(report.refused["idempotency_key_reused"] > 0);
    let books = shop.books.lock().expect("the shop is closed");
    let held = books.orders.values().filter(|order| order["state"] == "held").count() as u64;
    assert_eq!(report.accepted, books.orders.len() as u64);
    assert_eq!(report.skus[0].held, held);
    assert_eq!(report.accepted - report.cancelled, held);
    let outcomes = report.accepted + report.replayed + report.cancelled + report.polled + report.refused_total();
    assert_eq!(outcomes, report.asked);
}

#[test]
fn two_runs_with_one_seed_ask_the_same() {
    let run = || {
        let (report, _) = crowd_at(Bug::None, 100, |plan| {
            plan.connections = 1;
            plan.seed = 42;
        });
        assert!(report.holds(), "{}", report.table());
        (report.asked, report.accepted, report.replayed, report.polled, report.refused)
    };
    assert_eq!(run(), run());
}

#[test]
fn every_quantity_comes_in_its_share() {
    let (report, shop) = crowd_at(Bug::None, 1000, |plan| {
        plan.quantities = vec![(1, 1), (2, 1)];
        plan.shares = Shares { key: 0.5, ..Shares::PLAIN };
    });
    assert!(report.holds(), "{}", report.table());
    let twos = report.refused["limit_reached"];
    assert!((800..1200).contains(&twos), "{twos} of 2000 asked for two");
    assert_eq!(shop.books.lock().expect("the shop is closed").asked, 2000);
}

#[test]
fn the_open_loop_asks_for_as_much_as_the_closed_one() {
    let (report, _) = crowd_at(Bug::None, 100, |plan| {
        plan.mode = Mode::Open { rate: 50_000.0 };
        plan.threads = 2;
        plan.shares = Shares::PLAIN;
    });
    assert!(report.holds(), "{}", report.table());
    assert_eq!((report.asked, report.accepted), (2000, 100));
    // The last of 2000 arrivals at 50,000 a second is due after 39.98 ms, and nothing is sent before it is due.
    assert!(report.rush.seconds > 0.0399, "{}", report.rush.seconds);
    assert!(report.pace.is_some());
}

/// Every reply that was lost is found again by its key: what the shop sold is exactly what the crowd was told.
fn nothing_is_lost(bug: Bug) {
    let dir = tempfile::tempdir().expect("a place for the log");
    let path = dir.path().join("acks.jsonl");
    let (report, shop) = crowd_at(bug, 300, |plan| {
        plan.ride_out = Duration::from_secs(30);
        plan.shares = Shares { double_click: 0.3, repeat: 0.3, poll: 0.3, revisit: 1.0, ..Shares::PLAIN };
        plan.acks = Some(AcksFile { path: path.clone(), append: false });
    });
    assert!(report.holds(), "{}", report.table());
    assert!(report.retries > 0 && report.reconnects > 0, "{}", report.table());
    assert_eq!(report.lost, 0);
    let text = std::fs::read_to_string(&path).expect("the log");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(report.acks.expect("there is a log").lines, lines.len() as u64);
    let told: HashSet<_> = lines.iter().map(|line| line["order_id"].as_str().expect("an id").to_owned()).collect();
    let sold: HashSet<_> = shop.books.lock().expect("closed").orders.keys().map(u64::to_string).collect();
    assert_eq!(sold.len(), 300);
    assert_eq!(told, sold);
}

#[test]
fn lost_replies_are_asked_for_again_with_the_same_key() {
    nothing_is_lost(Bug::LosesReplies);
}

#[test]
fn a_shop_that_dies_and_comes_back_finds_the_same_crowd() {
    nothing_is_lost(Bug::CrashesOnce);
}

#[test]
fn without_riding_out_a_lost_reply_is_counted_and_left_alone() {
    let (report, shop) = crowd_at(Bug::LosesReplies, 300, |plan| plan.shares = Shares::PLAIN);
    assert!(report.holds(), "{}", report.table());
    assert_eq!(report.retries, 0);
    assert_eq!(report.lost, 2000 / 7);
    assert_eq!(report.transport_errors["connection lost"], 2000 / 7);
    assert_eq!(shop.books.lock().expect("closed").asked, 2000);
}

#[test]
fn an_acknowledgement_has_exactly_the_fields_that_the_audit_reads() {
    let dir = tempfile::tempdir().expect("a place for the log");
    let path = dir.path().join("acks.jsonl");
    let (report, _) = crowd_at(Bug::None, 50, |plan| {
        plan.shares = Shares { key: 0.5, cancel: 0.5, ..Shares::PLAIN };
        plan.acks = Some(AcksFile { path: path.clone(), append: false });
    });
    assert!(report.holds(), "{}", report.table());
    let order = ["activity_id", "amount_cents", "at_ms", "key", "kind", "order_id", "quantity", "replayed", "sku_id"];
    let order: Vec<_> = order.into_iter().chain(["slots", "state", "user_id"]).collect();
    let text = std::fs::read_to_string(&path).expect("the log");
    let mut kinds = HashSet::new();
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).expect("JSON");
        let fields: Vec<_> = line.as_object().expect("an object").keys().map(String::as_str).collect();
        match line["kind"].as_str().expect("a kind") {
            "order" => assert_eq!(fields, order),
            kind => {
                assert_eq!(kind, "cancel");
                assert_eq!(fields, ["kind", "order_id", "state", "user_id"]);
            }
        }
        kinds.insert(line["kind"].clone());
    }
    assert_eq!(kinds.len(), 2);
}

/// The caller goes away in the middle, as `ctrl-c` does: the crowd stops, and the log is whole up to there.
#[test]
fn a_crowd_that_is_dropped_in_the_middle_leaves_its_log_whole() {
    let dir = tempfile::tempdir().expect("a place for the log");
    let path = dir.path().join("acks.jsonl");
    let shop = shop::dropped_after_first_order(|plan| {
        plan.attempts = u64::MAX >> 1;
        plan.shares = Shares::PLAIN;
        plan.acks = Some(AcksFile { path: path.clone(), append: false });
    });
    let text = std::fs::read_to_string(&path).expect("the log");
    assert!(text.ends_with('\n'));
    let sold = &shop.books.lock().expect("closed").orders;
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).expect("no line is torn");
        let id: u64 = line["order_id"].as_str().expect("an id").parse().expect("decimal");
        assert!(sold.contains_key(&id));
    }
}

#[test]
fn an_honest_shop_is_paid_in_every_way_and_the_operators_books_agree() {
    let dir = tempfile::tempdir().expect("a place for the log");
    let path = dir.path().join("acks.jsonl");
    let (report, _) = crowd_at(Bug::None, 300, |plan| {
        plan.threads = 2;
        plan.attempts = 500;
        plan.pay = Some(Pay { operator: plan.target, ..Pay::new(PAYMENTS_SECRET) });
        plan.acks = Some(AcksFile { path: path.clone(), append: false });
    });
    assert!(report.holds(), "{}", report.table());
    let pay = report.pay.as_ref().expect("they paid");
    assert!(pay.reconciled && report.found > 250, "{}", report.table());
    let all = ["applied", "refund_due", "refused, owed back: no such order"];
    assert!(all.iter().all(|outcome| pay.payments[outcome] > 0), "{pay:?}");
    assert_eq!(pay.acts.len(), 6, "{pay:?}");
    for money in pay.money.values() {
        let parts = money.applied_cents + money.owed_back_cents + money.paid_back_cents;
        assert_eq!(money.received_cents, parts);
    }
    assert!(pay.money["CNY"].paid_back_cents > 0 && pay.money["XTS"].applied_cents == 0, "{pay:?}");
    assert!(report.table().contains("paid back"), "{}", report.table());
    let text = std::fs::read_to_string(&path).expect("the log");
    let fields = |kind: &str| {
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        let line = lines.into_iter().find(|line| line["kind"] == kind).expect("one of each kind");
        line.as_object().expect("an object").keys().cloned().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(fields("payment"), "amount_cents currency kind order_id payment_id payment_state state");
    assert_eq!(fields("refund"), "kind order_id payment_id restock");
    assert_eq!(fields("repaid"), "kind order_id payment_id");
}

#[test]
fn an_honest_rain_adds_up_to_the_cent() {
    let (report, shop) = rain_at(Bug::None, |plan| plan.shares = Shares { revisit: 1.0, poll: 0.5, ..plan.shares });
    assert!(report.holds(), "{}", report.table());
    let books = shop.books.lock().expect("the shop is closed");
    assert_eq!((report.accepted, books.sky.grabs.len()), (10, 10));
    assert!(report.refused["sold_out"] > 200 && report.looked > 0 && report.revisited > 0, "{}", report.table());
    let round = report.rain.as_ref().expect("it rained").rounds[0].clone();
    let all = loadtest::Sums { packets: 10, cents: 1000 };
    assert_eq!((round.total, round.granted, round.told), (all, all, all));
    assert!(round.verified);
    assert!(report.table().contains("granted 1000 + remaining 0 + refunded 0 = 1000 cents"), "{}", report.table());
}

#[test]
fn what_nobody_grabs_is_refunded() {
    let (report, _) = rain_at(Bug::None, |plan| (plan.attempts, plan.shares) = (3, Shares::PLAIN));
    assert!(report.holds(), "{}", report.table());
    let round = report.rain.as_ref().expect("it rained").rounds[0].clone();
    assert_eq!((round.granted.packets, round.refunded.packets), (3, 7));
    assert_eq!(round.told.cents, rain::AMOUNTS[..3].iter().sum::<u64>());
}

/// Replies are lost, some of them to users without a key: each looks at what they have, and the sums still agree.
#[test]
fn grabs_whose_answers_were_lost_are_found_again() {
    for ride_out in [Duration::ZERO, Duration::from_secs(30)] {
        let (report, _) = rain_at(Bug::LosesReplies, |plan| {
            plan.ride_out = ride_out;
            plan.shares = Shares { key: 0.5, ..Shares::default() };
        });
        assert!(report.holds(), "{}", report.table());
        let rain = report.rain.as_ref().expect("it rained");
        assert_eq!((rain.unknown, rain.rounds[0].told.cents), (0, 1000), "{}", report.table());
        assert!(report.transport_errors["connection lost"] > 20, "{}", report.table());
    }
}

#[test]
fn the_acknowledgement_of_a_grab_has_exactly_the_fields_that_the_audit_reads() {
    let dir = tempfile::tempdir().expect("a place for the log");
    let path = dir.path().join("acks.jsonl");
    let acks = AcksFile { path: path.clone(), append: false };
    let (report, _) = rain_at(Bug::None, |plan| plan.acks = Some(acks));
    assert!(report.holds(), "{}", report.table());
    let text = std::fs::read_to_string(&path).expect("the log");
    assert_eq!(report.acks.expect("there is a log").lines, text.lines().count() as u64);
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).expect("JSON");
        let fields: Vec<_> = line.as_object().expect("an object").keys().map(String::as_str).collect();
        let wanted = "activity_id amount_cents at_ms grab_id key kind packet replayed round state user_id";
        assert_eq!(fields.join(" "), wanted);
    }
}
