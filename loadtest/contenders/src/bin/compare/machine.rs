//! What the comparison ran on, so that somebody else can tell whether theirs is like it.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::Result;
use serde::Serialize;

use crate::standing::Contender;
use crate::tools::Tool;

/// Appends that are timed.
const SYNCS: usize = 200;
const PAGE: [u8; 4096] = [0x5a; 4096];

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    cpu: String,
    cores: usize,
    memory_gib: f64,
    kernel: String,
    /// Of a page appended and synced, where the contenders' stores are.
    fdatasync_ms_median: f64,
    fdatasync_ms_p99: f64,
    programs: Vec<String>,
    /// Of the minute before the comparison: more than a little means that others were at work.
    load_before: String,
}

impl Machine {
    pub(crate) fn look(dir: &Path, contenders: &[Contender]) -> Result<Self> {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo")?;
        let cpu = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let meminfo = fs::read_to_string("/proc/meminfo")?;
        let kib = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:")?.split_whitespace().next());
        let kib: f64 = kib.and_then(|kib| kib.parse().ok()).unwrap_or_default();
        let uname = rustix::system::uname();
        let load = fs::read_to_string("/proc/loadavg")?;
        let (fdatasync_ms_median, fdatasync_ms_p99) = syncs(dir)?;
        let mut programs = vec![first_line(Command::new("rustc").arg("--version"))];
        programs.push(Tool::find("wrk")?.version("-v")?);
        if contenders.iter().any(|one| one.needs() == Some("redis")) {
            programs.push(Tool::find("redis-server")?.version("--version")?);
        }
        if contenders.iter().any(|one| one.needs() == Some("mysql")) {
            let version = Tool::find("mariadbd")?.version("--version")?;
            programs.push(version.rsplit('/').next().unwrap_or_default().trim_start().to_owned());
        }
        Ok(Self {
            cpu: cpu.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, model)| model.to_owned()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_gib: (kib / 1_048_576.0 * 10.0).round() / 10.0,
            kernel: format!("{} {}", uname.sysname().to_string_lossy(), uname.release().to_string_lossy()),
            fdatasync_ms_median,
            fdatasync_ms_p99,
            programs,
            load_before: load.split(' ').next().unwrap_or_default().to_owned(),
        })
    }

    /// In a line or two.
    pub(crate) fn in_words(&self) -> String {
        format!(
            "{}, {} cores, {} GiB, {}; a page appended and synced takes {:.2} ms (p99 {:.2} ms); load before: {}\n{}",
            self.cpu,
            self.cores,
            self.memory_gib,
            self.kernel,
            self.fdatasync_ms_median,
            self.fdatasync_ms_p99,
            self.load_before,
            self.programs.join("; ")
        )
    }
}

/// What is measured: the commit, and whether there is more than the commit.
pub(crate) fn commit() -> String {
    let git = |arguments: &[&str]| first_line(Command::new("git").args(arguments));
    let hash = git(&["rev-parse", "--short=12", "HEAD"]);
    let changed = git(&["status", "--porcelain", "--untracked-files=no", "--", ":!loadtest/results"]);
    if changed.is_empty() { hash } else { format!("{hash}+changes") }
}

fn first_line(command: &mut Command) -> String {
    let told = command.output().map(|told| told.stdout).unwrap_or_default();
    String::from_utf8_lossy(&told).lines().next().unwrap_or_default().to_owned()
}

fn syncs(dir: &Path) -> Result<(f64, f64)> {
    let mut file = File::create(dir.join("synced"))?;
    let mut took = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        let begun = Instant::now();
        file.write_all(&PAGE)?;
        file.sync_data()?;
        took.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    took.sort_by(f64::total_cmp);
    let rounded = |ms: f64| (ms * 1e3).round() / 1e3;
    Ok((rounded(took[SYNCS / 2]), rounded(took[SYNCS * 99 / 100])))
}
