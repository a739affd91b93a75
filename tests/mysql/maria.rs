//! A MariaDB server of a test's own: a fresh data directory on the build's disk, a port that nobody else has, and every
//! way in which it may fail its clients. Commits are durable, as in production.

use std::collections::hash_map::DefaultHasher;
use std::fs::{self, OpenOptions};
use std::hash::{Hash, Hasher};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use sqlx::mysql::{MySqlConnection, MySqlRow};
use sqlx::{AssertSqlSafe, Connection, Executor, Row};
use tempfile::TempDir;

use super::programs::{Programs, option};
use crate::server::until;

/// How every server here runs. The installer has the options about files too, so that the first start changes none.
const FILES: [&str; 2] = ["--innodb-log-file-size=16M", "--skip-name-resolve"];
const OPTIONS: [&str; 8] = [
    "--bind-address=127.0.0.1",
    // No socket file, and no TLS, for tests that read what is sent.
    "--socket=",
    "--skip-ssl",
    "--skip-log-bin",
    "--innodb-flush-log-at-trx-commit=1",
    "--innodb-buffer-pool-size=32M",
    "--performance-schema=off",
    "--character-set-server=utf8mb4",
];

/// A full tablespace: one file of the size that the installer made, which never grows, for all tables.
const SMALL: [&str; 2] = ["--innodb-file-per-table=0", "--innodb-data-file-path=ibdata1:12M"];
const GROWING: &str = "--innodb-data-file-path=ibdata1:12M:autoextend";

/// The user with rights on one database and none on the server.
const SHOP: &str = "shop";
const SHOP_PASSWORD: &str = "open-at-nine";

/// A server, killed when dropped, and its directory with it.
#[derive(Debug)]
pub struct Maria {
    programs: Programs,
    dir: TempDir,
    port: u16,
    arguments: Vec<String>,
    running: Option<Running>,
}

impl Maria {
    /// Starts a server and waits until it answers. `None` where there is none to be had and SKIP says to do without.
    pub fn start() -> Option<Self> {
        Self::start_with(&[])
    }

    /// Starts a server with options beside ours, which they override.
    pub fn start_with(arguments: &[&str]) -> Option<Self> {
        let programs = Programs::find()?;
        let dir = tempfile::Builder::new().prefix("maria-").tempdir_in(env!("CARGO_TARGET_TMPDIR"));
        let dir = dir.expect("a directory below the build's");
        copy(&template(&programs), &dir.path().join("data"));
        fs::create_dir(dir.path().join("tmp")).expect("a fresh directory");
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let mut maria = Self { programs, dir, port: 0, arguments, running: None };
        // A port that was free may be taken when the server comes to it.
        until("a server gets its port", || {
            maria.port = free_port();
            maria.try_start()
        });
        Some(maria)
    }

    /// Starts a server that has a few MiB of room for all tables together, and then refuses rows with error 1114.
    pub fn start_small() -> Option<Self> {
        Self::start_with(&SMALL)
    }

    /// Ends the want of room, by a restart as an operator would.
    pub fn give_room(&mut self) {
        self.stop();
        self.arguments.push(GROWING.to_owned());
        self.start_again();
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    /// Where root reaches a database, which need not exist yet.
    pub fn url(&self, database: &str) -> String {
        format!("mysql://root@127.0.0.1:{}/{database}", self.port)
    }

    /// Makes a database where it is missing, and a user with all rights on it and none beside; says where he reaches it.
    pub fn shop_url(&self, database: &str) -> String {
        self.execute(&format!(
            "CREATE DATABASE IF NOT EXISTS `{database}`;
             CREATE USER IF NOT EXISTS {SHOP}@'127.0.0.1' IDENTIFIED BY '{SHOP_PASSWORD}';
             GRANT ALL ON `{database}`.* TO {SHOP}@'127.0.0.1'"
        ));
        format!("mysql://{SHOP}:{SHOP_PASSWORD}@127.0.0.1:{}/{database}", self.port)
    }

    /// What a statement of root's answers, each value as MariaDB writes it.
    pub fn query(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        ask(&self.url(""), sql).unwrap_or_else(|error| panic!("{sql}: {error}\n{}", self.log()))
    }

    /// Runs statements of root's, parted by semicolons.
    pub fn execute(&self, sql: &str) {
        self.query(sql);
    }

    /// While it is read-only, it refuses what users without rights on the server would change; root still may.
    pub fn set_read_only(&self, read_only: bool) {
        self.execute(&format!("SET GLOBAL read_only = {}", u8::from(read_only)));
    }

    /// Whether it was neither killed nor stopped.
    pub fn runs(&self) -> bool {
        self.running.is_some()
    }

    /// All that it has said since its first start.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// `kill -9`, at this moment.
    pub fn kill(&mut self) {
        let mut running = self.running.take().expect("it runs");
        running.server.kill().expect("it runs until it is killed");
        let ended = running.server.wait().expect("it was killed");
        assert_eq!(ended.code(), None, "it did not end by itself: {}", self.log());
    }

    /// Stops it as an operator does, which is clean.
    pub fn stop(&mut self) {
        let mut running = self.running.take().expect("it runs");
        running.signal(Signal::TERM);
        let mut ended = None;
        until("mariadbd ends", || {
            ended = running.server.try_wait().expect("a child can be asked");
            ended.is_some()
        });
        let ended = ended.expect("it has ended");
        assert!(ended.success(), "a stop is clean: {}", self.log());
    }

    /// Starts it upon the same directory and port, and waits until it answers.
    pub fn start_again(&mut self) {
        assert!(!self.runs(), "it was killed or stopped before");
        // A connection of its former life may still have the port for a moment.
        until("it gets its port again", || self.try_start());
    }

    /// Keeps a copy of all it has, as of a moment at which it was stopped for it.
    pub fn back_up(&mut self) {
        self.stop();
        copy(&self.dir.path().join("data"), &self.dir.path().join("backup"));
        self.start_again();
    }

    /// Puts what was backed up in the place of what there is, while it does not run.
    pub fn restore(&mut self) {
        assert!(!self.runs(), "it was killed or stopped before");
        let data = self.dir.path().join("data");
        fs::remove_dir_all(&data).expect("it is there");
        fs::rename(self.dir.path().join("backup"), data).expect("it was backed up");
    }

    /// Stops it dead, with connections open and nothing answered, until it is thawed.
    pub fn freeze(&self) {
        let running = self.running.as_ref().expect("it runs");
        running.signal(Signal::STOP);
        until("each of its threads is stopped", || running.is_stopped());
    }

    pub fn thaw(&self) {
        self.running.as_ref().expect("it runs").signal(Signal::CONT);
    }

    /// Starts it and waits until it answers; false where somebody else has its port.
    fn try_start(&mut self) -> bool {
        let data = self.dir.path().join("data");
        let log = OpenOptions::new().create(true).append(true).open(self.dir.path().join("log")).expect("a log file");
        let heard = self.log().len();
        let mut command = self.programs.server();
        command.args(FILES).args(OPTIONS).arg(option("--datadir=", &data)).arg(format!("--port={}", self.port));
        // A server that starts removes other servers' tables from the directory for such that is temporary.
        command.arg(option("--tmpdir=", &self.dir.path().join("tmp")));
        command.args(&self.arguments).stdin(Stdio::null());
        command.stdout(log.try_clone().expect("a descriptor")).stderr(log);
        let mut running = Running::of(command.spawn().expect("mariadbd can be started"));
        let mut has_port = true;
        until("mariadbd answers", || {
            if let Some(ended) = running.server.try_wait().expect("a child can be asked") {
                let said = self.log().split_off(heard);
                assert!(said.contains("Bind on TCP/IP port"), "mariadbd ended with {ended}: {said}");
                has_port = false;
            }
            !has_port || self.is_ours()
        });
        self.running = has_port.then_some(running);
        has_port
    }

    /// Whether our server answers at our port, and not somebody else's.
    fn is_ours(&self) -> bool {
        let mut data = self.dir.path().join("data").to_string_lossy().into_owned();
        data.push('/');
        ask(&self.url(""), "SELECT @@datadir").is_ok_and(|rows| rows == [[Some(data)]])
    }
}

impl Drop for Maria {
    fn drop(&mut self) {
        if thread::panicking() {
            let log = self.log();
            let last: Vec<&str> = log.lines().rev().take(20).collect();
            eprintln!("the last of what mariadbd said, backwards:\n{}", last.join("\n"));
        }
    }
}

/// A server process, killed when dropped.
#[derive(Debug)]
struct Running {
    server: Child,
    /// Kills the server when its input ends, which the kernel sees to however this process ends: a killed test must
    /// leave no server behind.
    guard: Child,
}

impl Running {
    fn of(server: Child) -> Self {
        let mut guard = Command::new("sh");
        guard.args(["-c", "read -r _; kill -9 \"$1\"", "guard"]).arg(server.id().to_string());
        // In a group of its own: the terminal's Ctrl-C is not for it.
        guard.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        Self { server, guard: guard.spawn().expect("a shell can be started") }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.server), signal).expect("it runs");
    }

    fn is_stopped(&self) -> bool {
        let threads = fs::read_dir(format!("/proc/{}/task", self.server.id())).expect("it runs");
        threads.map(|thread| fs::read_to_string(thread.expect("an entry").path().join("stat"))).all(|stat| {
            // Its state is the first word after its name, which stands in parentheses.
            stat.is_ok_and(|stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T')))
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The guard goes first: it would kill by a number that, once the server is waited for, may be another's.
        for child in [&mut self.guard, &mut self.server] {
            // It may have ended already, which is all that is wanted.
            let _killed = child.kill();
            let _ended = child.wait();
        }
    }
}

/// Runs statements at a connection of its own; the rows of all of them. On a thread of its own, so that tests which run
/// in a runtime may ask too.
pub fn ask(url: &str, sql: &str) -> sqlx::Result<Vec<Vec<Option<String>>>> {
    let asked = async {
        let mut connection = MySqlConnection::connect(url).await?;
        let rows = connection.fetch_all(sqlx::raw_sql(AssertSqlSafe(sql))).await?;
        connection.close().await?;
        // Statements sent as text are answered in text, whatever the columns' types.
        let texts = |row: &MySqlRow| (0..row.len()).map(|column| row.try_get_unchecked(column)).collect();
        rows.iter().map(texts).collect()
    };
    thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(asked)
        });
        asking.join().expect("asking does not panic")
    })
}

/// A port below those that systems give to clients (see `server::Stage`), and above those that stages take.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let of_process = u16::try_from(std::process::id() % 50).expect("a small number") * 32;
    let mut found = None;
    until("a port is free", || {
        let port = 31_000 + (of_process + NEXT.fetch_add(1, Ordering::Relaxed)) % 1_700;
        found = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok().then_some(port);
        found.is_some()
    });
    found.expect("it was found")
}

/// A data directory of this version as its installer makes it, which takes longer than a copy: made once for each build
/// directory.
fn template(programs: &Programs) -> PathBuf {
    let mut hasher = DefaultHasher::new();
    (&programs.version, FILES).hash(&mut hasher);
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("maria-template-{:016x}", hasher.finish()));
    if !place.exists() {
        let dir = tempfile::Builder::new().prefix("maria-new-").tempdir_in(env!("CARGO_TARGET_TMPDIR"));
        let dir = dir.expect("a directory below the build's");
        let data = dir.path().join("data");
        let mut command = programs.installer();
        command.args(FILES).args(["--auth-root-authentication-method=normal", "--skip-test-db"]);
        command.arg(option("--datadir=", &data)).stdin(Stdio::null());
        // Servers that start meanwhile must not find what it keeps for a moment: see `try_start`.
        command.arg(option("--tmpdir=", dir.path()));
        let ended = command.output().expect("mariadb-install-db can be started");
        assert!(ended.status.success(), "no data directory: {ended:?}");
        // Whole or not at all; where another process was faster, its is as good.
        if let Err(error) = fs::rename(&data, &place) {
            assert!(place.exists(), "{}: {error}", place.display());
        }
    }
    place
}

/// Copies a directory with all in it.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).expect("a fresh directory");
    for entry in fs::read_dir(from).expect("the template is there") {
        let entry = entry.expect("an entry");
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            fs::copy(from, to).expect("a file can be copied");
        }
    }
}
