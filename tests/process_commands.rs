//! The commands as a shell sees them: what they print, where, and with which exit code.

mod server;

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use doorbuster::config;
use server::{ACTIVITY, Sale, Server, Stage, request};

#[test]
fn a_faulty_configuration_is_refused_with_file_and_line_by_every_command() {
    let stage = Stage::set(Sale::default());
    let (file, token) = (stage.path("doorbuster.toml"), ["token", "--user", "1"]);
    let text = fs::read_to_string(&file).expect("it was written").replace("min_free_bytes = 0", "min_free_byte = 0");
    fs::write(&file, &text).expect("it can be written");
    let line = text.lines().position(|line| line.contains("min_free_byte")).expect("it is there") + 1;
    let place = format!("doorbuster.toml:{line}");
    for (arguments, code) in [(&["serve"][..], 1), (&["check"], 1), (&token, 1), (&["audit"], 2), (&["journal"], 2)] {
        let ended = stage.run(arguments);
        assert_eq!(ended.code, Some(code), "{arguments:?}: {ended:?}");
        let said = ended.out + &ended.err;
        assert!(said.contains(&place) && said.contains("min_free_bytes"), "{arguments:?}: {said}");
    }
    assert!(!stage.path("data").exists(), "nothing was begun");
}

#[test]
fn check_passes_over_a_sound_configuration() {
    let stage = Stage::set(Sale::default());
    let ended = stage.run(&["check"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

#[test]
fn the_environment_overrides_the_file_and_a_token_of_that_secret_is_accepted() {
    let (stage, other) = (Stage::set(Sale::default()), Stage::set(Sale::default()));
    let (listen, secret) = (other.shopper.to_string(), "a-secret-of-the-environment-of-32-bytes-or-more");
    let environment = [("DOORBUSTER_SHOPPER__LISTEN", listen.as_str()), ("DOORBUSTER_AUTH__SECRET", secret)];
    let mut server = Server::spawn_as(&stage, stage.command(&["serve"]).envs(environment));
    server.wait_until_ready(&other);
    let minted = stage.finish(stage.command(&["token", "--user", "42"]).envs(environment), "token");
    assert_eq!(minted.code, Some(0), "{minted:?}");
    let ask = |token: &str| {
        let bearer = format!("Bearer {}", token.trim());
        let path = format!("/v1/activities/{ACTIVITY}");
        request(other.shopper, "GET", &path, &[("Authorization", &bearer)], "").expect("it answers").status
    };
    assert_eq!(ask(&minted.out), 200);
    assert_eq!(ask(&stage.token(42, None)), 401, "the file's secret is replaced");
    server.stop();
    let typo = stage.finish(stage.command(&["serve"]).env("DOORBUSTER_SHOPPER__LISTENS", "x"), "serve");
    assert_eq!(typo.code, Some(1), "{typo:?}");
    assert!(typo.err.contains("DOORBUSTER_SHOPPER__LISTENS"), "{typo:?}");
}

#[test]
fn an_audit_of_a_live_directory_exits_2_and_names_the_server() {
    let stage = Stage::set(Sale::default());
    let server = Server::start(&stage);
    for command in ["audit", "journal"] {
        let ended = stage.run(&[command]);
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.err.contains(&format!("pid {}", server.pid())), "{ended:?}");
    }
    assert_eq!(stage.order(1, None).expect("the server goes on").status, 201);
    server.stop();
    stage.assert_audit_holds(false);
}

#[test]
fn an_audit_of_nothing_exits_2_and_makes_nothing() {
    let stage = Stage::set(Sale::default());
    for command in ["audit", "journal"] {
        let ended = stage.run(&[command]);
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(!stage.path("data").exists(), "reading makes nothing");
    }
}

#[test]
fn the_journal_prints_ranges_and_activities_and_ends_quietly_when_nobody_reads_on() {
    let stage = Stage::set(Sale { stock: 600, ..Sale::default() });
    let server = Server::start(&stage);
    // Long enough that it cannot all wait in a pipe.
    for user in 1..=600 {
        assert_eq!(stage.order(user, Some("journal")).expect("it answers").status, 201);
    }
    server.stop();
    let all = stage.events();
    assert_eq!(all.len(), 601);
    assert!(all.iter().zip(1_u64..).all(|(event, seq)| event["seq"] == seq));
    let lines = |arguments: &[&str]| {
        let ended = stage.run(&[&["journal"], arguments].concat());
        assert_eq!(ended.code, Some(0), "{arguments:?}: {ended:?}");
        ended.out.lines().count()
    };
    assert_eq!(lines(&["--from", "3", "--to", "7"]), 5);
    assert_eq!(lines(&["--activity", "1001", "--to", "10"]), 10);
    assert_eq!(lines(&["--activity", "9"]), 0);

    let mut child = stage.command(&["journal"]).stdout(Stdio::piped()).spawn().expect("it starts");
    let mut first = String::new();
    BufReader::new(child.stdout.take().expect("it is piped")).read_line(&mut first).expect("it prints");
    assert!(first.contains("activity_defined"), "{first}");
    assert_eq!(child.wait().expect("it ends").code(), Some(0), "as in `doorbuster journal | head -1`");
}

#[test]
fn a_data_directory_that_cannot_be_made_is_named_and_exits_2() {
    let stage = Stage::set(Sale::default());
    fs::write(stage.path("data"), "a file").expect("it can be written");
    let ended = stage.run(&["serve"]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.err.contains(stage.path("data").to_str().expect("text")), "{ended:?}");
}

/// Plays a scene of the demo to its end; what it printed.
fn demo(scene: &[&str]) -> String {
    // Two at once would both take the ports that the sample names.
    static STAGE: Mutex<()> = Mutex::new(());
    let _alone = STAGE.lock().unwrap_or_else(PoisonError::into_inner);
    let stage = Stage::set(Sale::default());
    let mut command = Command::new(env!("CARGO_BIN_EXE_doorbuster"));
    let command = command.args(["demo", "--exit", "--attempts", "5000"]).args(scene).current_dir(stage.root());
    let ended = stage.finish(command, "demo");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.out.contains("every invariant that was checked holds"), "{}", ended.out);
    assert!(ended.out.contains("each acknowledgement") || ended.out.contains("A1"), "{}", ended.out);
    let made = stage.path("target/demo/doorbuster.toml");
    assert!(config::load(&made, std::iter::empty::<(String, String)>()).is_ok(), "the demo's files are there to try");
    ended.out
}

#[test]
fn the_demo_plays_to_its_end_and_prints_the_audit() {
    assert!(demo(&[]).contains("payments applied"));
}

#[test]
fn the_demo_of_red_packets_adds_up_and_its_amounts_are_what_the_seed_gives() {
    let out = demo(&["--scene", "rain"]);
    assert!(out.contains("= 1000000 cents; each amount is what the seed gives, as committed"), "{out}");
}
