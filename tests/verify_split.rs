//! `doorbuster verify-split` as a stranger uses it: with what shoppers are told, and nothing else.

mod http;

use std::fs;
use std::process::Command;

use http::packets::*;
use http::*;
use serde_json::{Value, json};

/// Runs the command; gives its exit code, what it printed and what it told.
fn verify(activity: &Value, more: &[&str], grabs: Option<&Value>) -> (i32, String, String) {
    let dir = tempfile::tempdir().expect("a directory");
    let write = |name: &str, value: &Value| {
        let path = dir.path().join(name);
        fs::write(&path, value.to_string()).expect("it can be written");
        path
    };
    let mut command = Command::new(env!("CARGO_BIN_EXE_doorbuster"));
    command.arg("verify-split").arg("--activity").arg(write("activity.json", activity)).args(more);
    if let Some(grabs) = grabs {
        command.arg("--grabs").arg(write("grabs.json", grabs));
    }
    let output = command.output().expect("it runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code().expect("it ends"), text(output.stdout), text(output.stderr))
}

#[test]
fn a_stranger_verifies_a_round_from_what_everybody_is_told() {
    let server = raining(50, 5_000, json!({ "per_user_limit": 2 }));
    let noted = detail(&server)["rounds"][0]["commitment"].as_str().expect("it is public").to_owned();
    for user in [7, 7, 8] {
        grab(&server, user).ok(201);
    }
    let (code, out, told) = verify(&detail(&server), &[], None);
    assert_eq!((code, out.as_str()), (2, ""), "{told}");
    assert!(told.contains("round 0: is not over, its seed is not public yet"), "{told}");

    server.clock.advance_ms(FIRST_ENDS_MS - NOW_MS);
    let activity = detail(&server);
    let grabs = server.shopper(7, get(GRABS)).ok(200);
    let (code, out, told) = verify(&activity, &["--round", "0", "--commitment", &noted], Some(&grabs));
    assert_eq!(code, 0, "{told}");
    let lines: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).expect("JSON lines")).collect();
    let cents = |line: &Value| line["amount_cents"].as_u64().expect("cents");
    assert_eq!((lines.len(), lines.iter().map(cents).sum::<u64>()), (50, 5_000));
    for grab in grabs["grabs"].as_array().expect("a list") {
        let packet = usize::try_from(grab["packet"].as_u64().expect("an index")).expect("few");
        assert_eq!(lines[packet], json!({ "round": 0, "packet": packet, "amount_cents": grab["amount_cents"] }));
        let id = grab["grab_id"].as_str().expect("an id");
        assert!(
            told.contains(&format!("grab {id}: packet {packet} held {} cents, as it was given", cents(grab))),
            "{told}"
        );
    }
    let (code, _, told) = verify(&activity, &[], None);
    assert!(code == 0 && told.contains("round 1: is not over"), "{told}");

    // Whatever differs is found.
    let other = noted.replace(|digit: char| digit.is_ascii_digit(), "a");
    let (code, out, told) = verify(&activity, &["--round", "0", "--commitment", &other], None);
    assert!(code == 1 && out.is_empty() && told.contains("round 0: NOT as committed"), "{told}");
    for (field, value) in [
        ("seed", json!("00".repeat(32))),
        ("seed", json!("no")),
        ("total_cents", json!(5_001)),
        ("packets", json!(49)),
        ("packets", json!(4_000_000_000_u64)),
        ("split", json!("equal")),
        ("min_cents", json!(2)),
        ("max_cents", json!(19_999)),
        ("max_cents", json!(1)),
    ] {
        let mut forged = activity.clone();
        forged["rounds"][0][field] = value.clone();
        let (code, _, told) = verify(&forged, &["--round", "0"], None);
        assert!(code == 1 && told.contains("NOT as committed"), "{field} {value}: {told}");
    }
    let mut forged = grabs.clone();
    forged["grabs"][1]["amount_cents"] = json!(cents(&grabs["grabs"][1]) + 1);
    let (code, _, told) = verify(&activity, &["--round", "0"], Some(&forged));
    assert!(code == 1 && told.contains("were given"), "{told}");
    forged["grabs"][1]["packet"] = json!(50);
    let (code, _, told) = verify(&activity, &["--round", "0"], Some(&forged));
    assert!(code == 1 && told.contains("packet 50 is none"), "{told}");
    server.stop_and_audit();
}

#[test]
fn what_cannot_be_verified_is_said() {
    let server = raining(5, 1_000, json!({}));
    server.clock.advance_ms(SECOND_ENDS_MS - NOW_MS);
    let activity = detail(&server);
    assert_eq!(verify(&activity, &[], None).0, 0, "both rounds");
    let noted = activity["rounds"][0]["commitment"].as_str().expect("it is public");
    let (code, _, told) = verify(&activity, &["--commitment", noted], None);
    assert!(code == 2 && told.contains("say which with --round"), "{told}");
    assert_eq!(verify(&activity, &["--round", "7"], None).0, 2, "there is none");
    let (code, _, told) = verify(&sale(1), &[], None);
    assert!(code == 2 && told.contains("no activity of red packets"), "{told}");
    let (code, _, told) = verify(&activity, &[], Some(&json!([])));
    assert!(code == 2 && told.contains("these are no grabs"), "{told}");
    let mut missing = Command::new(env!("CARGO_BIN_EXE_doorbuster"));
    missing.args(["verify-split", "--activity", "nowhere.json"]);
    let output = missing.output().expect("it runs");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(2) && told.contains("nowhere.json"), "{told}");
}
