//! Losers leave no memory behind, over HTTP and in a process of their server's own: with and without keys, who ask twice, poll,
//! and come late. `make losers` sends five million.

mod server;

use std::env;
use std::fs;

use loadtest::{Plan, Report};
use server::{ACTIVITY, SECRET, Sale, Server, Stage};

/// Shoppers of one crowd; the crowd's own memory is bounded by it.
const CROWD: u64 = 250_000;
const STOCK: u64 = 10;
/// What the process may have more in the end than after the first crowd, however many came: its allocator gives pages back
/// and takes others.
const GROWTH_KIB_MAX: u64 = 16 << 10;

#[test]
fn losers_leave_no_memory_behind() {
    let losers = env::var("LOSERS").map_or(40_000, |count| count.parse().expect("LOSERS is a count"));
    let stage = Stage::set(Sale { stock: STOCK, ..Sale::default() });
    let server = Server::start(&stage);
    // The winners, the connections, and what the allocator keeps for them.
    assert_eq!(send(&stage, 1, 20_000).accepted, STOCK);
    let before = resident_kib(server.pid());
    let (mut sent, mut seed) = (0, 1);
    while sent < losers {
        seed += 1;
        let crowd = CROWD.min(losers - sent);
        assert_eq!(send(&stage, seed, crowd).accepted, 0, "everything is gone");
        sent += crowd;
    }
    let after = resident_kib(server.pid());
    println!("{losers} losers: {before} KiB before, {after} KiB after");
    assert!(after <= before + GROWTH_KIB_MAX, "{losers} losers left {} KiB", after - before);
    server.stop();
    stage.assert_audit_holds(false);
}

/// One crowd, each with users of its own by its seed.
fn send(stage: &Stage, seed: u64, attempts: u64) -> Report {
    let plan = Plan { target: stage.shopper, attempts, connections: 64, seed, ..Plan::new(ACTIVITY, SECRET) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let report = runtime.block_on(loadtest::run(&plan, loadtest::silent())).expect("the crowd can do its work");
    assert!(report.holds(), "the crowd saw a rule broken: {}", report.table());
    report
}

/// What of the process is in memory.
fn resident_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the server runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux tells it");
    line.trim().trim_end_matches(" kB").parse().expect("a number of KiB")
}
