//! wrk, told to send the crowd's orders, and what it measured.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use contenders::Work;
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;

use crate::crowd::Crowd;
use crate::tools::Tool;

/// What wrk is to do in each run.
pub(crate) struct Wrk {
    pub(crate) tool: Tool,
    pub(crate) connections: usize,
    pub(crate) seconds: f64,
}

/// What wrk measured.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Measured {
    pub(crate) requests: u64,
    duration_us: u64,
    /// Replies of a status from 400 on.
    pub(crate) refused: u64,
    broken: u64,
    missing: u64,
    pub(crate) p50_us: u64,
    pub(crate) p99_us: u64,
    pub(crate) max_us: u64,
}

impl Measured {
    pub(crate) fn accepted(&self) -> u64 {
        self.requests - self.refused
    }

    #[expect(clippy::cast_precision_loss, reason = "microseconds and requests of some seconds")]
    pub(crate) fn per_second(&self, count: u64) -> f64 {
        count as f64 * 1e6 / self.duration_us as f64
    }
}

impl Wrk {
    /// Sends orders for as long as it is told; tells when it began, too.
    pub(crate) fn run(&self, crowd: &Crowd, work: Work, target: SocketAddr, dir: &Path) -> Result<(Measured, Instant)> {
        self.send(crowd, Crowd::template(work), work.one_accepted_in(), target, dir)
    }

    /// Sends requests: what stands before each one's token, and after it in every so many and in the others.
    pub(crate) fn send(
        &self,
        crowd: &Crowd,
        template: [String; 3],
        one_in: u64,
        target: SocketAddr,
        dir: &Path,
    ) -> Result<(Measured, Instant)> {
        let mut command = self.tool.command();
        // It is told when to end; its own end is for the case that nobody is left to tell it.
        let at_most = format!("{:.0}", self.seconds + 10.0);
        command.args(["-t", "1", "-d", &at_most, "-c", &self.connections.to_string(), "-s"]);
        command.arg(crowd.file.with_file_name("orders.lua")).arg(format!("http://{target}")).arg("--").arg(&crowd.file);
        for (name, text) in ["head", "tail", "gone"].into_iter().zip(template) {
            fs::write(dir.join(name), text)?;
            command.arg(dir.join(name));
        }
        command.arg(one_in.to_string());
        let mut wrk = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("wrk cannot be started")?;
        let mut says = BufReader::new(wrk.stdout.take().expect("it is piped"));
        let mut text = String::new();
        // It has read its tokens, and begins.
        while !text.ends_with("ready\n") && says.read_line(&mut text)? > 0 {}
        let begun = Instant::now();
        thread::sleep(Duration::from_secs_f64(self.seconds));
        // It ends as at the end of its time, and tells all that it would: its own times are whole seconds.
        kill_process(Pid::from_child(&wrk), Signal::INT)?;
        says.read_to_string(&mut text)?;
        wrk.wait()?;
        let result = text.lines().find_map(|line| line.strip_prefix("result "));
        let result = result.with_context(|| format!("wrk gave no result: {text}"))?;
        let measured: Measured = serde_json::from_str(result).with_context(|| result.to_owned())?;
        ensure!(measured.requests > 0, "nothing was answered: {text}");
        ensure!(measured.broken == 0, "{} requests got no answer: {text}", measured.broken);
        ensure!(
            measured.missing == 0,
            "{} tokens too few: USERS_PER_S is below what this machine answers",
            measured.missing
        );
        Ok((measured, begun))
    }
}
