//! A contender's process: started, its processor time read, killed when it is dropped or when the benchmark is.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

/// How long anything may take that is expected to happen.
const PATIENCE: Duration = Duration::from_secs(60);
/// Of what /proc counts: the kernel promises this number to programs, whatever its own clock does.
const TICKS_PER_S: u64 = 100;

pub(crate) struct Process {
    name: &'static str,
    child: Child,
    /// Kills the process when its input ends, which the kernel sees to however this program ends.
    guard: Child,
    /// Where it says what it says.
    log: std::path::PathBuf,
}

impl Process {
    /// Starts a program whose output goes to a file of its name in `dir`.
    pub(crate) fn start(name: &'static str, command: &mut Command, dir: &Path) -> Result<Self> {
        let log = dir.join(format!("{name}.log"));
        let file = File::create(&log)?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let child = command.spawn().with_context(|| format!("{name} cannot be started"))?;
        let mut guard = Command::new("sh");
        guard.args(["-c", "read -r _; kill -9 \"$1\"", "guard"]).arg(child.id().to_string());
        // In a group of its own: the terminal's Ctrl-C is not for it.
        guard.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Self { name, child, guard: guard.spawn()?, log })
    }

    /// Its number.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends it as Ctrl-C does, and waits until it has ended.
    pub(crate) fn interrupt(mut self) -> Result<()> {
        kill_process(Pid::from_child(&self.child), Signal::INT)?;
        // Its status tells of the signal alone.
        let _ended = self.child.wait()?;
        Ok(())
    }

    /// All that it has said.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Polls until `holds`; fails when the process ends before, or when it never does.
    pub(crate) fn until<T>(&mut self, what: &str, mut holds: impl FnMut(&str) -> Option<T>) -> Result<T> {
        let begun = Instant::now();
        loop {
            if let Some(found) = holds(&self.said()) {
                return Ok(found);
            }
            if let Some(ended) = self.child.try_wait()? {
                bail!("{} ended with {ended} before {what}: {}", self.name, self.said());
            }
            if begun.elapsed() > PATIENCE {
                bail!("never came true: {what} of {}: {}", self.name, self.said());
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Processor time of all its threads, ended ones too, in the kernel and outside.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // The name stands in parentheses and may have blanks; utime and stime are the 12th and 13th words after it.
        let words: Vec<&str> = stat.rsplit_once(") ").map_or("", |(_, rest)| rest).split(' ').collect();
        let word = |at: usize| words.get(at).and_then(|word| word.parse::<u64>().ok()).context("/proc/PID/stat");
        let ticks = word(11)? + word(12)?;
        Ok(Duration::from_micros(ticks * 1_000_000 / TICKS_PER_S))
    }

    /// Stops it dead, so that it takes nothing from others, until it is thawed.
    pub(crate) fn freeze(&self) -> Result<()> {
        Ok(kill_process(Pid::from_child(&self.child), Signal::STOP)?)
    }

    pub(crate) fn thaw(&self) -> Result<()> {
        Ok(kill_process(Pid::from_child(&self.child), Signal::CONT)?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The guard goes first: it would kill by a number that, once the process is waited for, may be another's.
        for child in [&mut self.guard, &mut self.child] {
            // It may have ended already, which is all that is wanted.
            let _killed = child.kill();
            let _ended = child.wait();
        }
    }
}
