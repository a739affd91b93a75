//! A MariaDB of the benchmark's own, for the contender that decides in it and for the one that ships to it. Its commits
//! are durable. It is made once and stands still while others are measured.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use sqlx::mysql::{MySqlConnection, MySqlRow};
use sqlx::{AssertSqlSafe, Connection, Executor, Row};

use crate::process::Process;
use crate::tools::Tool;

/// What somebody sets who gives it a machine of this size: durable commits, memory for all there is, a log that is not
/// full in mid-sale, no binary log, direct writes.
const OPTIONS: [&str; 13] = [
    "--bind-address=127.0.0.1",
    "--skip-ssl",
    "--skip-log-bin",
    "--skip-name-resolve",
    "--innodb-flush-log-at-trx-commit=1",
    "--innodb-buffer-pool-size=1G",
    "--innodb-log-file-size=512M",
    "--innodb-flush-method=O_DIRECT",
    "--innodb-autoinc-lock-mode=2",
    "--innodb-stats-auto-recalc=OFF",
    "--performance-schema=off",
    "--max-connections=500",
    "--character-set-server=utf8mb4",
];

pub(crate) struct Maria {
    pub(crate) process: Process,
    address: SocketAddr,
    socket: PathBuf,
    runtime: tokio::runtime::Runtime,
}

impl Maria {
    /// Makes a data directory in `dir` and starts a server upon it.
    pub(crate) fn start(dir: &Path) -> Result<Self> {
        let (server, installer) = (Tool::find("mariadbd")?, Tool::find("mariadb-install-db")?);
        let (data, temporary, socket) = (dir.join("mariadb"), dir.join("mariadb-tmp"), dir.join("m.sock"));
        fs::create_dir(&temporary)?;
        let with_paths = |tool: &Tool| {
            let mut command = tool.command();
            command.arg("--no-defaults");
            if let Some(root) = tool.unpacked_root() {
                command.arg(format!("--basedir={}", root.display()));
            }
            // A server refuses to run as root unless it is told to.
            if rustix::process::geteuid().is_root() {
                command.arg("--user=root");
            }
            command.arg(format!("--datadir={}", data.display())).arg(format!("--tmpdir={}", temporary.display()));
            command
        };
        let mut install = with_paths(&installer);
        install.args(["--auth-root-authentication-method=normal", "--skip-test-db", "--innodb-log-file-size=512M"]);
        let ended = install.output().context("mariadb-install-db cannot be started")?;
        ensure!(ended.status.success(), "no data directory: {ended:?}");
        let address = crate::ours::free_address()?;
        let mut command = with_paths(&server);
        command.args(OPTIONS).arg(format!("--socket={}", socket.display())).arg(format!("--port={}", address.port()));
        let process = Process::start("mariadbd", &mut command, dir)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mut maria = Self { process, address, socket, runtime };
        let url = maria.url("");
        let Self { process, runtime, .. } = &mut maria;
        process.until("it answers", |_| runtime.block_on(ask(&url, "SELECT 1")).ok())?;
        Ok(maria)
    }

    /// Where a database is for a program of this machine: by the socket file, the shortest way.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("mysql://root@localhost/{database}?socket={}", self.socket.display())
    }

    /// The same by TCP, as a shop's settings have it.
    pub(crate) fn tcp_url(&self, database: &str) -> String {
        format!("mysql://root@{}/{database}", self.address)
    }

    /// The first number that statements of root's answer.
    pub(crate) fn query(&self, database: &str, sql: &str) -> Result<Option<u64>> {
        let rows = self.runtime.block_on(ask(&self.url(database), sql)).with_context(|| sql.to_owned())?;
        // Statements sent as text are answered in text, whatever the columns' types.
        let text: Option<String> = rows.first().map(|row| row.try_get_unchecked(0)).transpose()?;
        Ok(text.and_then(|text| text.parse().ok()))
    }
}

async fn ask(url: &str, sql: &str) -> sqlx::Result<Vec<MySqlRow>> {
    let mut connection = MySqlConnection::connect(url).await?;
    let rows = connection.fetch_all(sqlx::raw_sql(AssertSqlSafe(sql))).await?;
    connection.close().await?;
    Ok(rows)
}
