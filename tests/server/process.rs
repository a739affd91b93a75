//! The server as a child process: started, watched, killed. What it says goes to `server.log` on its stage.

use std::fs::{self, OpenOptions};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::stage::{Stage, wait};
use super::{PATIENCE, until};

/// A server, killed when dropped.
pub struct Server {
    child: Option<Child>,
    log: PathBuf,
}

impl Server {
    /// Starts the server and returns at once.
    pub fn spawn(stage: &Stage) -> Self {
        Self::spawn_as(stage, &mut stage.command(&["serve"]))
    }

    /// Starts the server by a command of the caller's.
    pub fn spawn_as(stage: &Stage, command: &mut Command) -> Self {
        let log = stage.path("server.log");
        let file = OpenOptions::new().create(true).append(true).open(&log).expect("a log file");
        let (out, err) = (file.try_clone().expect("a descriptor"), file);
        let child = command.stdout(out).stderr(err).spawn().expect("the server can be started");
        Self { child: Some(child), log }
    }

    /// Takes over a server that the caller started.
    pub fn of(child: Child, stage: &Stage) -> Self {
        Self { child: Some(child), log: stage.path("server.log") }
    }

    /// Starts the server and waits until it is ready.
    pub fn start(stage: &Stage) -> Self {
        let mut server = Self::spawn(stage);
        server.wait_until_ready(stage);
        server
    }

    pub fn wait_until_ready(&mut self, stage: &Stage) {
        until("the server is ready", || {
            assert_eq!(self.ended(), None, "the server ended before it was ready: {}", self.log());
            stage.readyz().is_ok_and(|reply| reply.status == 200)
        });
    }

    /// All that this stage's servers have said.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Whether it was neither killed nor waited for.
    pub fn runs(&self) -> bool {
        self.child.is_some()
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("it was started").id()
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.as_mut().and_then(|child| child.try_wait().expect("a child can be asked"))
    }

    /// Whether each of its threads has been stopped by a signal.
    pub fn is_stopped(&self) -> bool {
        let threads = fs::read_dir(format!("/proc/{}/task", self.pid())).expect("it runs");
        threads.map(|thread| fs::read_to_string(thread.expect("an entry").path().join("stat"))).all(|stat| {
            // Its state is the first word after its name, which stands in parentheses.
            stat.is_ok_and(|stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T')))
        })
    }

    pub fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("it was started");
        kill_process(Pid::from_child(child), signal).expect("it runs");
    }

    /// `kill -9`, at this moment.
    pub fn kill(mut self) {
        let mut child = self.child.take().expect("it was started");
        child.kill().expect("it runs until it is killed");
        let ended = child.wait().expect("it was killed");
        assert_eq!(ended.code(), None, "it did not end by itself: {}", self.log());
    }

    /// Waits for its end.
    pub fn wait(mut self) -> ExitStatus {
        self.wait_within(PATIENCE)
    }

    pub fn wait_within(&mut self, within: Duration) -> ExitStatus {
        let mut child = self.child.take().expect("it was started");
        wait(&mut child, within).unwrap_or_else(|| panic!("the server does not end: {}", self.log()))
    }

    /// Stops it as an operator does, which is clean.
    pub fn stop(self) {
        self.signal(Signal::TERM);
        let log = self.log.clone();
        let ended = self.wait();
        assert_eq!(ended.code(), Some(0), "a stop is clean: {}", fs::read_to_string(log).unwrap_or_default());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It may have ended already, which is all that is wanted.
            let _killed = child.kill();
            let _ended = child.wait();
        }
    }
}
