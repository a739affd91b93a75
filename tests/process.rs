//! The life of the real process: it drains when told to stop, owns its directory, survives being stopped, continued and
//! killed at any moment of its start, and says by its exit code and its words what was the matter.

mod server;

use std::io::Write;
use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::Signal;
use server::{Reply, Sale, Server, Stage, bytes, connect, order_body, order_path, until};

/// A stop that waits for nobody takes no longer, on a loaded machine.
const PROMPT: Duration = Duration::from_secs(10);

#[test]
fn sigterm_drains_says_so_answers_what_is_in_flight_and_leaves_a_clean_stop() {
    let stage = Stage::set(Sale::default());
    let mut command = stage.command(&["serve"]);
    let mut server = Server::spawn_as(&stage, command.env("DOORBUSTER_LIMITS__DRAIN_DELAY_S", "2"));
    server.wait_until_ready(&stage);
    let bearer = format!("Bearer {}", stage.token(7, None));
    let slow = bytes("POST", &order_path(), &[("Authorization", &bearer)], &order_body());
    let (first, rest) = slow.split_at(slow.len() - 5);
    let mut in_flight = connect(stage.shopper).expect("it listens");
    in_flight.write_all(first).expect("it is read");
    let mut kept = connect(stage.shopper).expect("it listens");
    let mut ask = || {
        kept.write_all(&bytes("GET", &order_path(), &[("Authorization", &bearer)], "")).expect("it is read");
        Reply::read(&mut kept).expect("it answers")
    };
    assert_eq!(ask().status, 200);

    server.signal(Signal::TERM);
    until("/readyz says draining", || {
        stage.readyz().is_ok_and(|reply| reply.status == 503 && reply.code() == "draining")
    });
    let during = stage.order(8, None).expect("requests are answered while load balancers turn away");
    assert_eq!(during.status, 201, "{during:?}");
    until("it stops accepting", || connect(stage.shopper).is_err());
    assert!(server.ended().is_none(), "it waits for what is in flight");
    let late = ask();
    assert_eq!((late.status, late.code().as_str()), (503, "draining"), "a request that comes later is none of that");
    in_flight.write_all(rest).expect("the connection is kept for its request");
    let reply = Reply::read(&mut in_flight).expect("what is in flight is answered");
    assert_eq!(reply.status, 201, "{reply:?}");
    assert_eq!(server.wait().code(), Some(0));

    assert!(stage.journal().join("clean").exists(), "the mark of a clean stop");
    assert!(!stage.journal().join("aside-gen-00000001").exists());
    stage.assert_audit_holds(false);
    let server = Server::start(&stage);
    assert_eq!(stage.stats().held, 2, "both orders were kept");
    server.stop();
}

#[test]
fn clients_that_keep_their_connection_do_not_delay_the_exit() {
    let stage = Stage::set(Sale::default());
    let mut command = stage.command(&["serve"]);
    let mut server = Server::spawn_as(&stage, command.env("DOORBUSTER_LIMITS__DRAIN_TIMEOUT_S", "60"));
    server.wait_until_ready(&stage);
    let mut kept: Vec<_> = (0..8).map(|_| connect(stage.shopper).expect("it listens")).collect();
    for stream in &mut kept[1..] {
        stream.write_all(&bytes("GET", "/healthz", &[], "")).expect("it is read");
        assert_eq!(Reply::read(stream).expect("it answers").status, 200);
    }
    server.signal(Signal::TERM);
    assert_eq!(server.wait_within(PROMPT).code(), Some(0), "long before drain_timeout_s");
}

#[test]
fn a_client_that_never_ends_its_request_delays_the_exit_by_the_drain_timeout_at_most() {
    let stage = Stage::set(Sale::default());
    let mut command = stage.command(&["serve"]);
    command.env("DOORBUSTER_LIMITS__DRAIN_TIMEOUT_S", "1").env("DOORBUSTER_LIMITS__BODY_TIMEOUT_MS", "60000");
    let mut server = Server::spawn_as(&stage, &mut command);
    server.wait_until_ready(&stage);
    let bearer = format!("Bearer {}", stage.token(7, None));
    let slow = bytes("POST", &order_path(), &[("Authorization", &bearer)], &order_body());
    let mut stalled = connect(stage.shopper).expect("it listens");
    stalled.write_all(&slow[..slow.len() - 5]).expect("it is read");
    server.signal(Signal::TERM);
    assert_eq!(server.wait_within(PROMPT).code(), Some(0), "a stalled client does not hold the process");
    assert!(stage.journal().join("clean").exists(), "and the stop is clean all the same");
}

#[test]
fn sigterm_at_any_moment_of_the_start_ends_the_process_promptly_and_harms_nothing() {
    let stage = Stage::set(Sale::default());
    for after_ms in (0..120).step_by(10) {
        let mut server = Server::spawn(&stage);
        // The moment is what varies; nothing is waited for.
        std::thread::sleep(Duration::from_millis(after_ms));
        server.signal(Signal::TERM);
        let ended = server.wait_within(PROMPT);
        let by_signal = ended.signal() == Some(Signal::TERM.as_raw());
        assert!(ended.code() == Some(0) || by_signal, "{after_ms} ms: {ended:?}: {}", server.log());
    }
    Server::start(&stage).stop();
    stage.assert_audit_holds(false);
}

#[test]
fn sigterm_ends_a_recovery_that_is_far_from_its_end() {
    let stage = Stage::set(Sale::default());
    Server::start(&stage).kill();
    // The copy aside waits for ever for somebody to write into this.
    let pipe = stage.journal().join("gen-00000001/pipe");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR, 0).expect("a pipe can be made");
    let mut server = Server::spawn(&stage);
    until("it recovers", || stage.readyz().is_ok_and(|reply| reply.code() == "recovering"));
    server.signal(Signal::TERM);
    assert_eq!(server.wait_within(PROMPT).code(), Some(0), "{}", server.log());
    std::fs::remove_file(pipe).expect("nobody uses it");
    Server::start(&stage).stop();
    stage.assert_audit_holds(false);
}

#[test]
fn a_server_whose_log_nobody_reads_any_more_serves_on() {
    let stage = Stage::set(Sale::default());
    let mut child = stage.command(&["serve"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
    drop(child.stderr.take());
    let mut server = Server::of(child, &stage);
    server.wait_until_ready(&stage);
    for user in 1..=3 {
        // An operator's request is logged.
        let changed = stage.operate("POST", "/pause", None, "").expect("it answers");
        assert_eq!(changed.status, 200, "{changed:?}");
        let changed = stage.operate("POST", "/resume", None, "").expect("it answers");
        assert_eq!(changed.status, 200, "{changed:?}");
        assert_eq!(stage.order(user, None).expect("it answers").status, 201);
    }
    server.stop();
    stage.assert_audit_holds(false);
}

#[test]
fn a_second_server_on_the_same_data_exits_3_and_names_the_holder() {
    let stage = Stage::set(Sale::default());
    let server = Server::start(&stage);
    let second = stage.run(&["serve"]);
    assert_eq!(second.code, Some(3), "{second:?}");
    assert!(second.err.contains(&format!("pid {}", server.pid())), "{second:?}");
    assert_eq!(stage.order(1, None).expect("the first goes on").status, 201);
    server.stop();
}

#[test]
fn a_busy_port_is_named() {
    let stage = Stage::set(Sale::default());
    for address in [stage.shopper, stage.operator] {
        let taken = TcpListener::bind(address).expect("it was free");
        let ended = stage.run(&["serve"]);
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.err.contains(&format!("cannot listen on {address}")), "{ended:?}");
        drop(taken);
    }
    Server::start(&stage).stop();
}

#[test]
fn a_process_that_is_stopped_and_continued_answers_and_expires_as_if_it_had_waited() {
    let stage = Stage::set(Sale { stock: 1, payment_window_s: 1, ..Sale::default() });
    let server = Server::start(&stage);
    let first = stage.order(1, None).expect("it answers");
    assert_eq!(first.status, 201, "{first:?}");
    server.signal(Signal::STOP);
    until("every thread has stopped", || server.is_stopped());
    // With a key, which goes to the shard itself: at the door the unit is free only once its hold was released.
    let bearer = format!("Bearer {}", stage.token(2, None));
    let headers = [("Authorization", bearer.as_str()), ("Idempotency-Key", "waiting")];
    let mut waiting = connect(stage.shopper).expect("the kernel accepts for it");
    waiting.write_all(&bytes("POST", &order_path(), &headers, &order_body())).expect("it is kept");
    let expires_at_ms = first.json()["expires_at_ms"].as_u64().expect("a hold says when it expires");
    let clock = doorbuster::clock::Clock::start(doorbuster::ids::UnixMillis(0));
    until("the hold has lapsed", || clock.now_ms().0 > expires_at_ms + 20);
    server.signal(Signal::CONT);
    let second = Reply::read(&mut waiting).expect("it answers on");
    assert_eq!(second.status, 201, "the lapsed hold was released before: {second:?}");
    server.stop();
    stage.assert_audit_holds(false);
}

#[test]
fn a_server_killed_at_any_moment_of_its_first_start_starts_again() {
    let stage = Stage::set(Sale::default());
    for after_ms in (0..60).step_by(2) {
        if stage.path("data").exists() {
            std::fs::remove_dir_all(stage.path("data")).expect("nobody uses it");
        }
        let server = Server::spawn(&stage);
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(after_ms) {
            std::thread::yield_now();
        }
        server.kill();
        Server::start(&stage).kill();
    }
    Server::start(&stage).stop();
    stage.assert_audit_holds(false);
}
