//! A stage: a directory of its own with configuration, catalogue and data, two ports, and the commands run upon it.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use doorbuster::cli::token::{Ask, mint};
use doorbuster::clock::Clock;
use doorbuster::config::{self, Config};
use doorbuster::ids::{UnixMillis, UserId};
use serde_json::Value;
use tempfile::TempDir;

use super::http::{Reply, request};
use super::rain::Rain;
use super::{PATIENCE, until};

pub const ACTIVITY: u64 = 1001;
pub const SKU: &str = "2001";
pub const SECRET: &str = "a-secret-of-the-tests-of-at-least-32-bytes";
const OPERATOR: u64 = 1;

/// The sale on stage.
#[derive(Clone, Copy, Debug)]
pub struct Sale {
    pub stock: u64,
    pub per_user_limit: u32,
    pub payment_window_s: u64,
    pub shards: u16,
    /// SKUs that nobody buys, with long names: they make each change of the definition large.
    pub skus_beside: u16,
}

impl Default for Sale {
    fn default() -> Self {
        Self { stock: 100, per_user_limit: 1, payment_window_s: 3_600, shards: 1, skus_beside: 0 }
    }
}

/// The counts that an operator sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats {
    pub stock: u64,
    pub available: u64,
    pub held: u64,
    pub accepted: u64,
}

/// A command that has ended.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

/// Kept when its test fails, else removed.
pub struct Stage {
    dir: TempDir,
    sale: Sale,
    config: Config,
    pub shopper: SocketAddr,
    pub operator: SocketAddr,
}

impl Stage {
    pub fn set(sale: Sale) -> Self {
        Self::selling(sale, "", "")
    }

    /// A stage with red packets in the sale's place; its server ships grabs to MySQL where it is told one.
    pub fn raining(rain: Rain, url: Option<&str>) -> Self {
        let mysql = url.map(|url| format!("[mysql]\nurl = \"{url}\"\n")).unwrap_or_default();
        Self::set_with(Sale::default(), &rain.definition(), "", &mysql)
    }

    /// A stage whose server ships orders to MySQL; `more` are further lines of `[mysql]`.
    pub fn shipping_to(url: &str, sale: Sale, more: &str) -> Self {
        Self::selling(sale, "generation_max_bytes = 1048576\n", &format!("[mysql]\nurl = \"{url}\"\n{more}\n"))
    }

    /// A stage whose server writes generations of 1 MiB, the smallest that the configuration allows.
    pub fn in_small_generations(sale: Sale) -> Self {
        Self::selling(sale, "generation_max_bytes = 1048576\n", "")
    }

    fn selling(sale: Sale, journal: &str, sections: &str) -> Self {
        Self::set_with(sale, &definition(sale, sale.stock), journal, sections)
    }

    fn set_with(sale: Sale, definition: &Value, journal: &str, sections: &str) -> Self {
        // On the build's disk: elsewhere it may be memory, where no sync means anything.
        let dir = tempfile::Builder::new().prefix("stage-").tempdir_in(env!("CARGO_TARGET_TMPDIR"));
        let dir = dir.expect("a directory below the build's");
        let (shopper, operator) = (free_address(), free_address());
        let text = format!(
            "data_dir = \"data\"\n[shopper]\nlisten = \"{shopper}\"\n[operator]\nlisten = \"{operator}\"\n\
             [auth]\nsecret = \"{SECRET}\"\n[journal]\nmin_free_bytes = 0\n{journal}[catalog]\ndir = \"catalog\"\n\
             [limits]\ndrain_delay_s = 0\ndrain_timeout_s = 5\nworkers = 2\n\
             {sections}"
        );
        fs::write(dir.path().join("doorbuster.toml"), text).expect("the configuration can be written");
        fs::create_dir(dir.path().join("catalog")).expect("a fresh directory");
        let definition = toml::to_string(definition).expect("plain values");
        fs::write(dir.path().join(format!("catalog/{ACTIVITY}.toml")), definition).expect("it can be written");
        let config = config::load(&dir.path().join("doorbuster.toml"), std::iter::empty::<(String, String)>());
        let config = config.expect("the tests' configuration is sound");
        Self { dir, sale, config, shopper, operator }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn root(&self) -> &Path {
        self.dir.path()
    }

    pub fn journal(&self) -> PathBuf {
        self.path("data/journal")
    }

    /// The program with `arguments` and this stage's configuration.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_doorbuster"));
        let (name, rest) = arguments.split_first().expect("a command has a name");
        command.arg(name).arg("--config").arg(self.path("doorbuster.toml")).args(rest);
        command.stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    pub fn run(&self, arguments: &[&str]) -> Ended {
        self.finish(&mut self.command(arguments), arguments[0])
    }

    /// Runs a command to its end; killed and failed where it has none.
    pub fn finish(&self, command: &mut Command, name: &str) -> Ended {
        let (out, err) = (self.path(&format!("{name}.out")), self.path(&format!("{name}.err")));
        command.stdout(File::create(&out).expect("a file")).stderr(File::create(&err).expect("a file"));
        let mut child = command.spawn().expect("the program can be started");
        let code = wait(&mut child, PATIENCE).unwrap_or_else(|| panic!("`{name}` does not end"));
        let read = |path: &Path| String::from_utf8_lossy(&fs::read(path).expect("it was written")).into_owned();
        Ended { code: code.code(), out: read(&out), err: read(&err) }
    }

    pub fn token(&self, user: u64, role: Option<&'static str>) -> String {
        let ask = Ask { user: UserId(user), role, ttl: Duration::from_secs(24 * 3600) };
        mint(&self.config.auth, ask, Clock::start(UnixMillis(0)).now_ms()).expect("a secret signs")
    }

    /// Asks the operator's listener.
    pub fn operate(&self, method: &str, path: &str, key: Option<&str>, body: &str) -> io::Result<Reply> {
        let bearer = format!("Bearer {}", self.token(OPERATOR, Some("operator")));
        let mut headers = vec![("Authorization", bearer.as_str())];
        headers.extend(key.map(|key| ("Idempotency-Key", key)));
        request(self.operator, method, &format!("/admin/v1/activities/{ACTIVITY}{path}"), &headers, body)
    }

    /// Asks for one unit.
    pub fn order(&self, user: u64, key: Option<&str>) -> io::Result<Reply> {
        let bearer = format!("Bearer {}", self.token(user, None));
        let mut headers = vec![("Authorization", bearer.as_str())];
        headers.extend(key.map(|key| ("Idempotency-Key", key)));
        let (path, body) = (order_path(), order_body());
        request(self.shopper, "POST", &path, &headers, &body)
    }

    /// Asks for the latest order of the one SKU, as its buyer does again and again.
    pub fn poll(&self, user: u64) -> Value {
        let bearer = format!("Bearer {}", self.token(user, None));
        let path = format!("/v1/flash-sales/{ACTIVITY}/result?sku_id={SKU}");
        let reply = request(self.shopper, "GET", &path, &[("Authorization", &bearer)], "").expect("the server answers");
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.json()
    }

    /// Gives an order up.
    pub fn cancel(&self, user: u64, order_id: &str) -> io::Result<Reply> {
        let bearer = format!("Bearer {}", self.token(user, None));
        let path = format!("/v1/orders/{order_id}/cancel");
        request(self.shopper, "POST", &path, &[("Authorization", &bearer)], "")
    }

    /// `/metrics`, as a scraper reads it.
    pub fn metrics(&self) -> String {
        request(self.operator, "GET", "/metrics", &[], "").expect("the server answers").text
    }

    /// `/readyz` of the operator's listener, which tells all.
    pub fn state(&self) -> Value {
        request(self.operator, "GET", "/readyz", &[], "").expect("the server answers").json()
    }

    /// `/readyz` of the shopper's listener.
    pub fn readyz(&self) -> io::Result<Reply> {
        request(self.shopper, "GET", "/readyz", &[], "")
    }

    pub fn stats(&self) -> Stats {
        let reply = self.operate("GET", "/stats", None, "").expect("the server answers");
        let (all, number) = (reply.json(), |value: &Value| value.as_u64().unwrap_or_else(|| panic!("{reply:?}")));
        let sku = &all["skus"][0];
        let stats = Stats {
            stock: number(&sku["stock"]),
            available: number(&sku["available"]),
            held: number(&sku["held"]),
            accepted: number(&all["accepted"]),
        };
        assert_eq!(stats.available + stats.held + number(&sku["sold"]), stats.stock, "S1: {reply:?}");
        stats
    }

    /// The activity, as shoppers are told of it.
    pub fn activity(&self) -> Reply {
        let bearer = format!("Bearer {}", self.token(OPERATOR, None));
        let path = format!("/v1/activities/{ACTIVITY}");
        let reply = request(self.shopper, "GET", &path, &[("Authorization", &bearer)], "").expect("the server answers");
        assert_eq!(reply.status, 200, "{reply:?}");
        reply
    }

    /// The definition with another stock, as a PUT takes it.
    pub fn definition(&self, stock: u64) -> String {
        definition(self.sale, stock).to_string()
    }

    /// Audits, and fails where anything does not hold.
    pub fn assert_audit_holds(&self, acks: bool) {
        let acks_file = self.path("acks.jsonl");
        let acks_file = acks_file.to_str().expect("a path of text");
        let arguments = ["audit", "--acks", acks_file];
        let ended = self.run(&arguments[..if acks { 3 } else { 1 }]);
        assert_eq!(ended.code, Some(0), "the audit holds: {ended:?}");
        assert!(ended.out.contains("every invariant that was checked holds"), "{ended:?}");
    }

    /// The journal's events, one JSON value each.
    pub fn events(&self) -> Vec<Value> {
        let ended = self.run(&["journal"]);
        assert_eq!(ended.code, Some(0), "the journal can be read: {ended:?}");
        ended.out.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.dir.disable_cleanup(true);
            eprintln!("kept for a look: {}", self.dir.path().display());
        }
    }
}

pub fn order_path() -> String {
    format!("/v1/flash-sales/{ACTIVITY}/orders")
}

pub fn order_body() -> String {
    format!("{{\"sku_id\":\"{SKU}\",\"quantity\":1}}")
}

fn definition(sale: Sale, stock: u64) -> Value {
    let beside = |n: u16| serde_json::json!({ "sku_id": format!("beside-{n:0>57}"), "title": "x".repeat(200), "price_cents": 100, "stock": 1 });
    let sold = serde_json::json!({ "sku_id": SKU, "title": "Unit", "price_cents": 100, "stock": stock });
    serde_json::json!({
        "kind": "flash_sale", "title": "Tested", "currency": "CNY",
        "starts_at": "2025-01-01T00:00:00+08:00", "ends_at": "2035-01-01T00:00:00+08:00",
        "shards": sale.shards, "per_user_limit": sale.per_user_limit, "payment_window_s": sale.payment_window_s,
        "skus": std::iter::once(sold).chain((0..sale.skus_beside).map(beside)).collect::<Value>(),
    })
}

/// Waits for the end of a child, which is killed where it has none.
pub fn wait(child: &mut Child, within: Duration) -> Option<std::process::ExitStatus> {
    let begun = Instant::now();
    let mut ended = None;
    while ended.is_none() && begun.elapsed() < within {
        ended = child.try_wait().expect("a child can be waited for");
        std::thread::sleep(Duration::from_millis(2));
    }
    if ended.is_none() {
        child.kill().expect("it runs");
        child.wait().expect("it was killed");
    }
    ended
}

/// An address that nobody has, below the ports that systems give to clients: a client that tries to reach a server
/// which is down could otherwise be given the server's own port, and keep it.
fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let of_process = u16::try_from(std::process::id() % 600).expect("a small number") * 32;
    let mut found = None;
    until("a port is free", || {
        let port = 11_000 + (of_process + NEXT.fetch_add(1, Ordering::Relaxed)) % 20_000;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        found = TcpListener::bind(address).is_ok().then_some(address);
        found.is_some()
    });
    found.expect("it was found")
}
