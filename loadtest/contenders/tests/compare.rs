//! That the comparison runs, and writes what its readers expect: one short round of the ceiling alone.

use std::env;
use std::fs;
use std::process::Command;

use serde_json::Value;

#[test]
fn a_short_round_of_the_ceiling_gives_figures_for_all_work() {
    let compare = env!("CARGO_BIN_EXE_compare");
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory below the build's");
    let mut command = Command::new(compare);
    command.args(["--rounds", "1", "--seconds", "0.2", "--open-loop-seconds", "0", "--only", "ceiling", "--results"]);
    let ended = command.arg(dir.path()).output().expect("it can be started");
    let told = String::from_utf8_lossy(&ended.stderr).into_owned();
    if told.contains("wrk is missing") {
        let skip = env::var("SKIP").unwrap_or_default();
        println!("NOT RUN: wrk is missing; apt-get install wrk");
        assert!(skip.split([',', ' ']).any(|word| word == "wrk"), "{told}, or say SKIP=wrk");
        return;
    }
    assert!(ended.status.success(), "{told}");
    let text = fs::read_to_string(dir.path().join("compare.json")).expect("it was saved");
    let results: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(results["rounds"], 1);
    for work in ["accepted", "sold_out", "one_percent"] {
        let figures = &results["contenders"]["ceiling"][work];
        for name in ["rps_median", "rps_min", "rps_max", "p50_ms", "p99_ms", "server_cpu_us"] {
            assert!(figures[name].as_f64().is_some_and(|figure| figure > 0.0), "{work}: {name} in {text}");
        }
        assert_eq!(figures["of_ceiling"]["median"], 1.0, "{work}");
    }
    let chart = fs::read_to_string(dir.path().join("compare.svg")).expect("it was saved");
    assert!(chart.starts_with("<svg") && chart.contains(">one_percent<"), "{chart}");
}
