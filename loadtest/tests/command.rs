//! The `crowd` command as a user meets it: exit status, files, messages.

mod shop;

use std::process::{Command, Output};

use serde_json::Value;
use shop::{Bug, PAYMENTS_SECRET, SECRET, opened};

/// Runs the command against a shop with this bug.
fn crowd(bug: Bug, arguments: &[&str]) -> Output {
    let (_serving, plan, _shop) = opened(bug, 100, |_| {});
    let mut command = Command::new(env!("CARGO_BIN_EXE_crowd"));
    command.env_remove("DOORBUSTER_PAYMENTS__SECRET");
    command.env("DOORBUSTER_AUTH__SECRET", SECRET).args(["--target", &plan.target.to_string()]);
    if arguments.contains(&"--pay") || arguments.contains(&"--rain") {
        command.args(["--operator", &plan.target.to_string()]);
    }
    command.args(["--attempts", "500", "--connections", "8"]).args(arguments).output().expect("the command runs")
}

#[test]
fn an_honest_shop_gives_exit_status_0_and_both_files() {
    let dir = tempfile::tempdir().expect("a place for the files");
    let path = |name: &str| dir.path().join(name).to_str().expect("plain text").to_owned();
    let out = crowd(Bug::None, &["--acks", &path("acks.jsonl"), "--json", &path("report.json"), "--seed", "7"]);
    assert_eq!(out.status.code(), Some(0), "{out:?}");
    assert!(out.stderr.is_empty(), "no bar where there is no terminal: {out:?}");
    let text = std::fs::read_to_string(path("report.json")).expect("the report");
    let report: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((report["seed"].as_u64(), report["accepted"].as_u64()), (Some(7), Some(100)));
    let lines = std::fs::read_to_string(path("acks.jsonl")).expect("the log").lines().count() as u64;
    assert_eq!(report["acks"]["lines"].as_u64(), Some(lines));
}

#[test]
fn a_broken_rule_gives_exit_status_1_and_is_named() {
    let out = crowd(Bug::SlotTwice, &[]);
    assert_eq!(out.status.code(), Some(1), "{out:?}");
    assert!(String::from_utf8_lossy(&out.stdout).contains("VIOLATION S2"), "{out:?}");
}

#[test]
fn a_run_that_cannot_be_made_gives_exit_status_2_and_says_why() {
    let says = |arguments: &[&str], why: &str| {
        let out = crowd(Bug::None, arguments);
        assert_eq!(out.status.code(), Some(2), "{out:?}");
        assert!(String::from_utf8_lossy(&out.stderr).contains(why), "{out:?}");
    };
    says(&["--activity", "4"], "activity 4");
    says(&["--sku", "9"], "no SKU `9`");
    says(&["--poll", "2"], "`poll`");
    says(&["--rate", "0"], "the rate");
}

#[test]
fn winners_pay_with_a_secret_from_a_file_or_the_environment_and_never_without_one() {
    let dir = tempfile::tempdir().expect("a place for the secret");
    let file = dir.path().join("payments.txt");
    std::fs::write(&file, format!("{PAYMENTS_SECRET}\n")).expect("it can be written");
    let out = crowd(Bug::None, &["--pay", "--payments-secret-file", file.to_str().expect("plain text")]);
    assert_eq!(out.status.code(), Some(0), "{out:?}");
    let table = String::from_utf8_lossy(&out.stdout);
    assert!(table.contains("payments applied") && table.contains("paid back"), "{table}");
    let out = crowd(Bug::None, &["--pay"]);
    assert_eq!(out.status.code(), Some(2), "{out:?}");
    assert!(String::from_utf8_lossy(&out.stderr).contains("DOORBUSTER_PAYMENTS__SECRET"), "{out:?}");
    let out = crowd(Bug::PaidTwice, &["--pay", "--payments-secret-file", file.to_str().expect("plain text")]);
    assert_eq!(out.status.code(), Some(1), "{out:?}");
}

#[test]
fn a_rain_is_told_in_packets_and_cents() {
    let out = crowd(Bug::None, &["--rain", "--activity", "1002", "--close"]);
    assert_eq!(out.status.code(), Some(0), "{out:?}");
    let table = String::from_utf8_lossy(&out.stdout);
    assert!(table.contains("granted 1000 + remaining 0 + refunded 0 = 1000 cents; each amount"), "{table}");
    let out = crowd(Bug::GrabLost, &["--rain", "--activity", "1002", "--close"]);
    assert_eq!(out.status.code(), Some(1), "{out:?}");
    assert!(String::from_utf8_lossy(&out.stdout).contains("VIOLATION M1"), "{out:?}");
    let out = crowd(Bug::None, &["--rain"]);
    assert_eq!(out.status.code(), Some(2), "{out:?}");
    assert!(String::from_utf8_lossy(&out.stderr).contains("not a red_packet"), "{out:?}");
}
