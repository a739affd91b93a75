//! The contenders, and one that stands: its processes, where it is reached, and what its store says that it accepted.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use contenders::{SKU, SKU_GONE, STOCK, Work};

use crate::maria::Maria;
use crate::ours::Ours;
use crate::process::Process;
use crate::tools::Tool;

/// Who takes part, by the names that results have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Contender {
    Ceiling,
    OursFsync,
    OursFsync4Shards,
    OursFsyncMysql,
    RedisEverysec,
    RedisAlways,
    Mysql,
}

impl Contender {
    pub(crate) const ALL: [Self; 7] = [
        Self::Ceiling,
        Self::OursFsync,
        Self::OursFsync4Shards,
        Self::OursFsyncMysql,
        Self::RedisEverysec,
        Self::RedisAlways,
        Self::Mysql,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ceiling => "ceiling",
            Self::OursFsync => "ours_fsync",
            Self::OursFsync4Shards => "ours_fsync_4_shards",
            Self::OursFsyncMysql => "ours_fsync_mysql",
            Self::RedisEverysec => "redis_everysec",
            Self::RedisAlways => "redis_always",
            Self::Mysql => "mysql",
        }
    }

    pub(crate) fn named(name: &str) -> Result<Self, String> {
        let known = || Self::ALL.map(Self::name).join(", ");
        Self::ALL.into_iter().find(|one| one.name() == name).ok_or_else(|| format!("there are {}", known()))
    }

    /// Whether what it says yes to is on disk.
    pub(crate) fn is_durable(self) -> bool {
        !matches!(self, Self::Ceiling | Self::RedisEverysec)
    }

    /// What else it needs, by the word in SKIP.
    pub(crate) fn needs(self) -> Option<&'static str> {
        match self {
            Self::Ceiling | Self::OursFsync | Self::OursFsync4Shards => None,
            Self::OursFsyncMysql | Self::Mysql => Some("mysql"),
            Self::RedisEverysec | Self::RedisAlways => Some("redis"),
        }
    }
}

/// A contender that stands, with a fresh store.
pub(crate) struct Standing<'m> {
    pub(crate) shopper: SocketAddr,
    kind: Kind<'m>,
}

enum Kind<'m> {
    Ceiling { front: Process },
    Ours { ours: Ours, mysql: Option<(&'m Maria, String)> },
    Redis { front: Process, server: Process, client: redis::Client },
    Mysql { front: Process, maria: &'m Maria, database: String },
}

/// Processor time that was taken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cpu {
    /// By the process that shoppers talk to.
    pub(crate) front: Duration,
    /// By Redis or MariaDB.
    pub(crate) store: Option<Duration>,
}

impl<'m> Standing<'m> {
    /// Starts a contender in a fresh directory.
    pub(crate) fn start(contender: Contender, dir: &Path, maria: Option<&'m Maria>, pool: u32) -> Result<Self> {
        let maria = || maria.context("MariaDB was not started");
        // Fresh for each start, since the directory is.
        let database = || format!("shop_{}", dir.file_name().unwrap_or_default().to_string_lossy().replace('-', "_"));
        let kind = match contender {
            Contender::Ceiling => Kind::Ceiling { front: front(&["ceiling"], dir)? },
            Contender::OursFsync => Kind::Ours { ours: Ours::start(dir, 1, None, None)?, mysql: None },
            Contender::OursFsync4Shards => Kind::Ours { ours: Ours::start(dir, 4, None, None)?, mysql: None },
            Contender::OursFsyncMysql => {
                let (maria, database) = (maria()?, database());
                let url = maria.tcp_url(&database);
                Kind::Ours { ours: Ours::start(dir, 1, Some(&url), None)?, mysql: Some((maria, database)) }
            }
            Contender::RedisEverysec => redis(dir, "everysec")?,
            Contender::RedisAlways => redis(dir, "always")?,
            Contender::Mysql => {
                let (maria, database) = (maria()?, database());
                maria.query("", &format!("CREATE DATABASE {database}"))?;
                maria.query(&database, include_str!("../contender/schema.sql"))?;
                for (work, sku, stock) in stocks() {
                    let values = format!("({}, '{sku}', {stock})", work.activity());
                    maria.query(&database, &format!("INSERT INTO stocks VALUES {values}"))?;
                }
                let front = front(&["mysql", "--url", &maria.url(&database), "--pool", &pool.to_string()], dir)?;
                Kind::Mysql { front, maria, database }
            }
        };
        let mut standing = Self { shopper: SocketAddr::from(([0, 0, 0, 0], 0)), kind };
        standing.shopper = match &mut standing.kind {
            Kind::Ours { ours, .. } => ours.shopper,
            Kind::Ceiling { front } | Kind::Redis { front, .. } | Kind::Mysql { front, .. } => {
                front.until("it listens", |said| said.lines().next().and_then(|line| line.parse().ok()))?
            }
        };
        Ok(standing)
    }

    /// What its processes have taken since their starts.
    pub(crate) fn cpu(&self) -> Result<Cpu> {
        let (front, store) = match &self.kind {
            Kind::Ceiling { front } => (front, None),
            Kind::Ours { ours, mysql } => (&ours.process, mysql.as_ref().map(|(maria, _)| &maria.process)),
            Kind::Redis { front, server, .. } => (front, Some(server)),
            Kind::Mysql { front, maria, .. } => (front, Some(&maria.process)),
        };
        Ok(Cpu { front: front.cpu()?, store: store.map(Process::cpu).transpose()? })
    }

    /// The orders that its store has; `None` where there is no store.
    pub(crate) fn accepted(&self, work: Work, operator: &str) -> Result<Option<u64>> {
        match &self.kind {
            Kind::Ceiling { .. } => Ok(None),
            Kind::Ours { ours, .. } => ours.accepted(work, operator).map(Some),
            Kind::Redis { client, .. } => {
                let key = format!("{{{}}}:orders", work.activity());
                Ok(Some(redis::cmd("XLEN").arg(key).query(&mut client.get_connection()?)?))
            }
            Kind::Mysql { maria, database, .. } => {
                let count = format!("SELECT COUNT(*) FROM orders WHERE activity_id = {}", work.activity());
                maria.query(database, &count)
            }
        }
    }

    /// The orders of ours that MySQL has, once all of them are there; `None` where none are shipped.
    pub(crate) fn shipped(&self, work: Work) -> Result<Option<u64>> {
        let Kind::Ours { ours, mysql: Some((maria, database)) } = &self.kind else { return Ok(None) };
        while ours.lag_events()? > 0 {
            std::thread::sleep(Duration::from_millis(2));
        }
        maria.query(database, &format!("SELECT COUNT(*) FROM orders WHERE activity_id = {}", work.activity()))
    }

    pub(crate) fn ours(&self) -> Option<&Ours> {
        if let Kind::Ours { ours, .. } = &self.kind { Some(ours) } else { None }
    }
}

fn front(arguments: &[&str], dir: &Path) -> Result<Process> {
    Process::start("contender", Tool::ours("contender")?.command().args(arguments), dir)
}

/// A Redis as somebody sets it who wants every order in its log: no snapshots beside, no rewriting in mid-sale, reached
/// by a socket file, with one thread for requests, since a second one would take its processor from the shop.
fn redis(dir: &Path, appendfsync: &str) -> Result<Kind<'static>> {
    let socket = dir.join("r.sock");
    let mut command = Tool::find("redis-server")?.command();
    command.arg("--dir").arg(dir).arg("--unixsocket").arg(&socket);
    command.args(["--port", "0", "--save", "", "--appendonly", "yes", "--appendfsync", appendfsync]);
    command.args(["--auto-aof-rewrite-percentage", "0", "--loglevel", "warning", "--daemonize", "no"]);
    let mut server = Process::start("redis-server", &mut command, dir)?;
    let client = redis::Client::open(format!("redis+unix://{}", socket.display()))?;
    let mut connection = server.until("it answers", |_| {
        let mut connection = client.get_connection().ok()?;
        redis::cmd("PING").query::<String>(&mut connection).ok().map(|_| connection)
    })?;
    for (work, sku, stock) in stocks() {
        let key = format!("{{{}}}:stock:{sku}", work.activity());
        redis::cmd("SET").arg(key).arg(stock).exec(&mut connection)?;
    }
    let front = front(&["redis", "--socket", &socket.to_string_lossy()], dir)?;
    Ok(Kind::Redis { front, server, client })
}

/// What is on sale for each work, and how many units of it.
fn stocks() -> impl Iterator<Item = (Work, &'static str, u32)> {
    Work::ALL.into_iter().flat_map(|work| [(work, SKU, STOCK), (work, SKU_GONE, 0)])
}
