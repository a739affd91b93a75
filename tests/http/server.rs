//! The real server in a thread of this process, on port 0, with everything that a test may want to turn.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Once, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use doorbuster::actors::Readiness;
use doorbuster::cli::process::{self, Front, Process};
use doorbuster::cli::token;
use doorbuster::clock::Clock;
use doorbuster::config::{self, Config};
use doorbuster::domain::audit::{Auditor, Id, Keep};
use doorbuster::ids::{Seq, UnixMillis, UserId};
use doorbuster::persist::memory::MemoryDisk;
use doorbuster::persist::{Tail, replay};
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::oneshot;

use super::client::{Client, Reply, Request, connect, put};
use super::gate::{Gate, Gated};
use super::{NOW_MS, SALE, sale};

const SECRET: &str = "a secret of the tests, 32 bytes or more";
/// The operator that [`Server::operator`] asks as.
pub const OPERATOR: u64 = 900;

/// What a test turns before the server starts.
#[derive(Default)]
pub struct Settings {
    /// The journal's disk; a server that is started again on it recovers.
    pub disk: MemoryDisk,
    /// Holds appends up.
    pub gate: Gate,
    /// Files of the catalogue, by name.
    pub catalog: Vec<(&'static str, String)>,
    /// More of the configuration file: whole sections, such as `[shopper]`.
    pub toml: &'static str,
    /// The same, made by the test. A `[catalog]` here stands in place of the directory.
    pub more: String,
    /// Changes what the file's bounds would not allow.
    pub tweak: Option<fn(&mut Config)>,
    /// Binds the listeners and opens nothing.
    pub stays_recovering: bool,
}

/// A server that runs until it is dropped.
pub struct Server {
    pub config: Config,
    pub shopper: std::net::SocketAddr,
    pub operator: std::net::SocketAddr,
    pub clock: Clock,
    pub disk: MemoryDisk,
    pub gate: Gate,
    pub readiness: Readiness,
    pub dir: TempDir,
    faults: Mutex<mpsc::Receiver<String>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What the server's thread tells when it is up.
struct Up {
    shopper: std::net::SocketAddr,
    operator: std::net::SocketAddr,
    readiness: Readiness,
}

impl Server {
    /// A server without any activity.
    pub fn empty() -> Self {
        Self::start(Settings::default())
    }

    /// A server that sells [`sale`] as activity 1001.
    pub fn selling(stock: u32) -> Self {
        Self::selling_with(stock, Settings::default())
    }

    pub fn selling_with(stock: u32, settings: Settings) -> Self {
        let server = Self::start(settings);
        server.operator(put(SALE, &sale(stock))).ok(201);
        server
    }

    pub fn start(settings: Settings) -> Self {
        count_panics();
        let dir = tempfile::tempdir().expect("a directory can be made");
        let catalog = dir.path().join("catalog");
        std::fs::create_dir(&catalog).expect("a directory can be made");
        for (name, text) in &settings.catalog {
            std::fs::write(catalog.join(name), text).expect("a file can be written");
        }
        let config = config_in(&dir, &format!("{}{}", settings.toml, settings.more), settings.tweak);
        let clock = Clock::manual(UnixMillis(NOW_MS));
        let (up, is_up) = mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let (fault, faults) = mpsc::channel();
        let run = Run {
            config: config.clone(),
            clock: clock.clone(),
            disk: settings.disk.clone(),
            gate: settings.gate.clone(),
            stays_recovering: settings.stays_recovering,
            fault,
        };
        let thread = std::thread::Builder::new().name("actix server".to_owned());
        let thread = thread.spawn(move || actix_web::rt::System::new().block_on(run.run(up, stopped)));
        let up: Up = is_up.recv().expect("the server comes up");
        Self {
            config,
            shopper: up.shopper,
            operator: up.operator,
            clock,
            disk: settings.disk,
            gate: settings.gate,
            readiness: up.readiness,
            dir,
            faults: Mutex::new(faults),
            stop: Some(stop),
            thread: Some(thread.expect("a thread can be started")),
        }
    }

    /// Asks once as a shopper, over a connection of its own.
    pub fn shopper(&self, user: u64, request: Request) -> Reply {
        connect(self.shopper).ask(&request.token(&self.token(user, None)))
    }

    /// Asks once as an operator, over a connection of its own.
    pub fn operator(&self, request: Request) -> Reply {
        connect(self.operator).ask(&request.token(&self.token(OPERATOR, Some("operator"))))
    }

    /// Asks once with neither token nor role.
    pub fn stranger(&self, request: Request) -> Reply {
        connect(self.shopper).ask(&request)
    }

    pub fn shopper_client(&self) -> Client {
        connect(self.shopper)
    }

    pub fn operator_client(&self) -> Client {
        connect(self.operator)
    }

    pub fn token(&self, user: u64, role: Option<&'static str>) -> String {
        let ask = token::Ask { user: UserId(user), role, ttl: Duration::from_secs(3_600) };
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
        let now = UnixMillis(u64::try_from(since_epoch.as_millis()).expect("it is before the year 500,000,000"));
        token::mint(&self.config.auth, ask, now).expect("HS256 signs")
    }

    /// Writes a file of the catalogue.
    pub fn write_catalog(&self, name: &str, text: &str) {
        std::fs::write(self.catalog().join(name), text).expect("a file can be written");
    }

    pub fn catalog(&self) -> PathBuf {
        self.dir.path().join("catalog")
    }

    /// The sale's numbers, as the operator sees them.
    pub fn stats(&self) -> Value {
        self.operator(super::get(&format!("{SALE}/stats"))).ok(200)
    }

    /// What `/metrics` says of one series.
    pub fn metric(&self, series: &str) -> Option<f64> {
        let text = connect(self.operator).ask(&super::get("/metrics"));
        let line = text.text().lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ').map(str::to_owned));
        line.map(|value| value.parse().expect("a number"))
    }

    /// Waits until the journal has failed, and gives what `on_fault` was told.
    pub fn expect_a_fault(&self) -> String {
        self.faults.lock().expect("not poisoned").recv_timeout(Duration::from_secs(20)).expect("on_fault is told")
    }

    /// Stops the server and audits its journal: every invariant holds, and something was checked.
    pub fn stop_and_audit(mut self) -> Auditor {
        self.stop();
        let auditor = audit(&self.disk);
        let report = auditor.report();
        let broken: Vec<_> = report.findings().filter(|(_, finding)| finding.broken > 0).collect();
        assert!(broken.is_empty(), "{broken:?}");
        assert!(report.finding(Id::S1).is_some_and(|finding| finding.checked > 0), "S1 was looked at");
        auditor
    }

    fn stop(&mut self) {
        let Some(stop) = self.stop.take() else { return };
        self.gate.open();
        // Where the thread has failed already the join says so.
        let _ = stop.send(());
        let ended = self.thread.take().expect("it is stopped once").join();
        if !std::thread::panicking() {
            ended.expect("the server ends well");
            assert_eq!(PANICS.load(Ordering::SeqCst), 0, "no thread of the server panics");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Folds a disk's journal as `doorbuster audit` does.
pub fn audit(disk: &MemoryDisk) -> Auditor {
    let mut auditor = Auditor::new(Keep::Standing);
    let journal = disk.open().expect("what was written holds");
    replay(&journal, Tail::START, Seq(u64::MAX), |seq, entry| auditor.observe(seq, &entry)).expect("it is whole");
    auditor
}

fn config_in(dir: &TempDir, more: &str, tweak: Option<fn(&mut Config)>) -> Config {
    let shopper = if more.contains("[shopper]") { "" } else { "[shopper]\nlisten = '127.0.0.1:0'\n" };
    let auth = if more.contains("[auth]") { String::new() } else { format!("[auth]\nsecret = '{SECRET}'\n") };
    let limits = if more.contains("[limits]") { "" } else { "[limits]\nworkers = 2\n" };
    let catalog = if more.contains("[catalog]") { "" } else { "[catalog]\ndir = 'catalog'\n" };
    let text = format!(
        "{shopper}[operator]\nlisten = '127.0.0.1:0'\n{auth}{limits}[journal]\nmin_free_bytes = 0\n{catalog}{more}"
    );
    let file = dir.path().join("doorbuster.toml");
    let none: [(String, String); 0] = [];
    let mut config = config::parse(&text, &file, none).unwrap_or_else(|faults| panic!("{faults:?}\n{text}"));
    config.data_dir = dir.path().to_owned();
    if let Some(tweak) = tweak {
        tweak(&mut config);
    }
    config
}

struct Run {
    config: Config,
    clock: Clock,
    disk: MemoryDisk,
    gate: Gate,
    stays_recovering: bool,
    fault: mpsc::Sender<String>,
}

impl Run {
    async fn run(self, up: mpsc::Sender<Up>, stopped: oneshot::Receiver<()>) {
        let front = Front::bind(&self.config, "test".to_owned()).expect("port 0 is always free");
        let (shopper, operator, drain) = (front.bound.shopper, front.bound.operator, front.bound.drain());
        let listeners = actix_web::rt::spawn(front.bound.serve());
        let mut opened = None;
        if !self.stays_recovering {
            let journal = Gated { journal: self.disk.open().expect("what was written holds"), gate: self.gate };
            let recovered = process::recover(&journal).expect("what was written can be replayed");
            let fault = self.fault;
            let on_fault = move |error: doorbuster::persist::Error| drop(fault.send(error.to_string()));
            let process = Process::open(&self.config, &front.state, journal, recovered, self.clock, on_fault).await;
            opened = Some(process.expect("a thread can be started"));
        }
        let readiness = front.state.readiness.clone();
        up.send(Up { shopper, operator, readiness }).expect("the test waits");
        // A server that is dropped without a word stops as well.
        let _ = stopped.await;
        drain.stop().await;
        listeners.await.expect("the listeners run").expect("and end well");
        if let Some(process) = opened {
            // After a fault this fails, which the test that made the fault knows.
            let _closed = process.close();
        }
    }
}

/// Panics of the server's own threads, over all tests of a file.
static PANICS: AtomicUsize = AtomicUsize::new(0);

fn count_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before: Arc<dyn Fn(&std::panic::PanicHookInfo<'_>) + Send + Sync> = Arc::from(std::panic::take_hook());
        std::panic::set_hook(Box::new(move |info| {
            if std::thread::current().name().is_some_and(|name| name.contains("actix")) {
                PANICS.fetch_add(1, Ordering::SeqCst);
            }
            before(info);
        }));
    });
}
