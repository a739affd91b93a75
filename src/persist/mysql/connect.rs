//! The way to the server: a URL, connections that say what they want of the server, and tables that are up to date.

use std::fmt;
use std::future::Future;
use std::str::FromStr;
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection, MySqlDatabaseError};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, SqlSafeStr, query_scalar, raw_sql};

use super::error::{CONNECTING, Error};

/// How long a connection may take to stand.
const CONNECT_WAIT: Duration = Duration::from_secs(5);
/// How long tables may take to be brought up to date: an index over many rows takes its time.
const MIGRATE_WAIT: Duration = Duration::from_secs(600);
/// The server's number for a database that is not there.
const UNKNOWN_DATABASE: u16 = 1049;

const MIGRATING: &str = "bringing the tables up to date";

/// The migrations, in order. What has been released is never changed: add to it.
const MIGRATIONS: [(i64, &str, &str); 3] = [
    (1, "orders", include_str!("schema.sql")),
    (2, "payments", include_str!("payments.sql")),
    (3, "red packets", include_str!("packets.sql")),
];

/// What every connection asks for. Rows that do not fit are errors and never cut; a lock is waited for less long than an
/// answer; what others commit between two statements may be seen, as nothing here reads twice. A connection that the
/// network lost in a transaction is given up by the server after a minute, and with it the lock on the cursor.
const SESSION: &str = "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', SESSION autocommit = 1, \
                       SESSION innodb_lock_wait_timeout = 5, SESSION wait_timeout = 60, \
                       SESSION transaction_isolation = 'READ-COMMITTED'";
const SESSION_MARIADB: &str = "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', SESSION autocommit = 1, \
                               SESSION innodb_lock_wait_timeout = 5, SESSION wait_timeout = 60, \
                               SESSION tx_isolation = 'READ-COMMITTED'";

/// Where MySQL is, and who we are there. Shown without the password.
#[derive(Clone)]
pub struct Target {
    options: MySqlConnectOptions,
    database: String,
}

impl FromStr for Target {
    type Err = String;

    /// Reads `mysql://user:password@host:3306/database`.
    fn from_str(url: &str) -> Result<Self, String> {
        if !url.starts_with("mysql://") && !url.starts_with("mariadb://") {
            return Err("does not begin with mysql://".to_owned());
        }
        let options: MySqlConnectOptions = url.parse().map_err(|error: sqlx::Error| error.to_string())?;
        let database = options.get_database().unwrap_or_default().to_owned();
        if database.is_empty() || database.contains('`') {
            return Err("names no database".to_owned());
        }
        Ok(Self { options: options.disable_statement_logging(), database })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}/{}", self.options.get_host(), self.options.get_port(), self.database)
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a server says that it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerVersion(pub String);

impl ServerVersion {
    fn is_mariadb(&self) -> bool {
        self.0.contains("MariaDB")
    }

    /// What is doubtful about the server; `None` where it is one that Doorbuster is tested with. CHECKs are held from
    /// MySQL 8.0.16 on, and MariaDB is tested from 10.11 on.
    #[must_use]
    pub fn doubt(&self) -> Option<String> {
        let mut numbers = self.0.split(|c: char| !c.is_ascii_digit()).map(|digits| digits.parse().unwrap_or(0));
        let version: (u32, u32, u32) =
            (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        let known = if self.is_mariadb() { version >= (10, 11, 0) } else { (8, 0, 16) <= version && version.0 < 10 };
        (!known).then(|| {
            format!("the server is {}; Doorbuster is made for MariaDB 10.11 and MySQL 8.0.16 and later", self.0)
        })
    }
}

impl Target {
    /// Opens a connection. A database that is not there yet is made.
    ///
    /// # Errors
    /// [`Error::Sql`], [`Error::Silent`].
    pub async fn connect(&self) -> Result<(MySqlConnection, ServerVersion), Error> {
        in_time(CONNECTING, CONNECT_WAIT, async {
            let mut connection = match self.options.connect().await {
                Err(sqlx::Error::Database(error)) if is_unknown_database(&*error) => {
                    self.make_database().await?;
                    self.options.connect().await
                }
                connected => connected,
            }
            .map_err(Error::sql(CONNECTING))?;
            let version = set_up(&mut connection).await?;
            Ok((connection, version))
        })
        .await
    }

    /// Opens a connection, to read over; `None` where the database is not there.
    ///
    /// # Errors
    /// [`Error::Sql`], [`Error::Silent`].
    pub async fn visit(&self) -> Result<Option<MySqlConnection>, Error> {
        in_time(CONNECTING, CONNECT_WAIT, async {
            match self.options.connect().await {
                Err(sqlx::Error::Database(error)) if is_unknown_database(&*error) => Ok(None),
                connected => {
                    let mut connection = connected.map_err(Error::sql(CONNECTING))?;
                    set_up(&mut connection).await?;
                    Ok(Some(connection))
                }
            }
        })
        .await
    }

    async fn make_database(&self) -> Result<(), Error> {
        let options = self.options.clone().database("");
        let mut connection = options.connect().await.map_err(Error::sql(CONNECTING))?;
        let sql = format!(
            "CREATE DATABASE IF NOT EXISTS `{}` DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
            self.database
        );
        let made = raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await;
        made.map_err(Error::sql("making the database"))?;
        connection.close().await.map_err(Error::sql("making the database"))
    }
}

impl Target {
    /// Brings the tables up to date, over a connection of its own: what locks it takes go with it. A table that somebody
    /// dropped is made again, empty.
    ///
    /// # Errors
    /// [`Error::Migration`], [`Error::Newer`], [`Error::Silent`], [`Error::Sql`]; [`Error::Migrating`] while another process
    /// does it.
    pub async fn migrate(&self) -> Result<(), Error> {
        let migrations = MIGRATIONS.map(|(version, name, sql)| {
            Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), true)
        });
        let mut migrator = Migrator::with_migrations(migrations.into());
        // sqlx's own lock asks to wait for ever, which MariaDB does not know and does not lock for.
        migrator.set_locking(false);
        let (mut connection, _) = self.connect().await?;
        in_time(MIGRATING, MIGRATE_WAIT, async {
            let locked: Option<i64> = query_scalar("SELECT GET_LOCK(CONCAT('doorbuster.', DATABASE()), 10)")
                .fetch_one(&mut connection)
                .await
                .map_err(Error::sql(MIGRATING))?;
            if locked != Some(1) {
                return Err(Error::Migrating);
            }
            let ours = MIGRATIONS.map(|(version, ..)| version.to_string()).join(", ");
            if misses_tables(&mut connection).await? {
                let forget = format!("DELETE FROM _sqlx_migrations WHERE version IN ({ours})");
                let forget = sqlx::query(AssertSqlSafe(forget)).execute(&mut connection).await;
                // A database without any table has not this one either.
                drop(forget);
            }
            let migrated = match migrator.run(&mut connection).await {
                // Statements that define tables commit by themselves, so a crash may have cut a migration in the middle.
                // Each of ours may be run again.
                Err(MigrateError::Dirty(_)) => {
                    let forget = format!("DELETE FROM _sqlx_migrations WHERE version IN ({ours}) AND success = FALSE");
                    let forget = sqlx::query(AssertSqlSafe(forget)).execute(&mut connection).await;
                    forget.map_err(Error::sql(MIGRATING))?;
                    migrator.run(&mut connection).await
                }
                migrated => migrated,
            };
            match migrated {
                // What is still cut is not ours to run again.
                Err(MigrateError::VersionMissing(_) | MigrateError::Dirty(_)) => Err(Error::Newer),
                migrated => migrated.map_err(Error::Migration),
            }
        })
        .await?;
        connection.close().await.map_err(Error::sql(MIGRATING))
    }
}

/// Says what the session wants of the server; returns what that is.
async fn set_up(connection: &mut MySqlConnection) -> Result<ServerVersion, Error> {
    let version = query_scalar("SELECT VERSION()").fetch_one(&mut *connection).await;
    let version = ServerVersion(version.map_err(Error::sql(CONNECTING))?);
    let session = if version.is_mariadb() { SESSION_MARIADB } else { SESSION };
    raw_sql(session).execute(connection).await.map_err(Error::sql(CONNECTING))?;
    Ok(version)
}

/// Whether one of our tables is not there.
async fn misses_tables(connection: &mut MySqlConnection) -> Result<bool, Error> {
    let there: i64 = query_scalar(
        "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name IN \
         ('ship_cursor', 'activities', 'activity_shards', 'sku_stock', 'orders', 'order_slots', 'operator_actions', \
         'payments', 'red_packet_rounds', 'red_packet_grabs', 'catalog_activity')",
    )
    .fetch_one(connection)
    .await
    .map_err(Error::sql(MIGRATING))?;
    Ok(there < 11)
}

/// Waits for the server, and not for ever: a connection that neither answers nor breaks is given up.
pub(super) async fn in_time<T>(
    doing: &'static str,
    after: Duration,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    tokio::time::timeout(after, work).await.unwrap_or(Err(Error::Silent { doing, after }))
}

fn is_unknown_database(error: &dyn sqlx::error::DatabaseError) -> bool {
    error.try_downcast_ref::<MySqlDatabaseError>().is_some_and(|error| error.number() == UNKNOWN_DATABASE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_nothing_was_tried_on_is_doubted() {
        for known in ["10.11.14-MariaDB-0+deb12u2", "11.4.2-MariaDB", "8.0.16", "8.4.3", "9.7.4-2"] {
            assert_eq!(ServerVersion(known.to_owned()).doubt(), None, "{known}");
        }
        for other in ["10.6.18-MariaDB", "5.7.44", "8.0.15", "10.0", "TiDB", ""] {
            assert!(ServerVersion(other.to_owned()).doubt().is_some(), "{other}");
        }
        // TiDB and its like say a MySQL's version first.
        assert!(ServerVersion("8.0.11-TiDB-v8.1.0".to_owned()).doubt().is_some());
    }
}
