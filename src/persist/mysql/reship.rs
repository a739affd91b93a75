//! Emptying the tables, so that the next start ships the journal again from its beginning.
//!
//! A server may start at any moment of it, after a crash or beside us on another machine, and must never ship on rows of
//! which some are gone. Were the cursor removed first, a server would ship from event 1 on upon rows that are still there;
//! were it left as it is, the server would go on behind rows that are not. So the first statement gives the cursor an id
//! that no journal has, which stops every server and moves the cursor from under one that runs; then the rows go, in
//! bounded steps; the cursor goes last. Wherever this is cut, running it again goes on.

use std::time::Duration;

use sqlx::mysql::MySqlConnection;
use sqlx::{AssertSqlSafe, query, query_scalar};

use super::connect::in_time;
use super::cursor::{self, BEING_EMPTIED, Cursor};
use super::error::Error;
use super::tables::{
    ACTIVITIES, ACTIVITY_SHARDS, OPERATOR_ACTIONS, ORDER_SLOTS, ORDERS, PAYMENTS, RED_PACKET_GRABS, RED_PACKET_ROUNDS,
    SKU_STOCK, Table,
};
use crate::ids::UnixMillis;
use crate::persist::Tail;

/// What is emptied. The back office's `catalog_activity` is not ours to empty.
const TABLES: [&Table; 9] = [
    &ORDER_SLOTS,
    &ORDERS,
    &PAYMENTS,
    &RED_PACKET_GRABS,
    &RED_PACKET_ROUNDS,
    &OPERATOR_ACTIONS,
    &SKU_STOCK,
    &ACTIVITY_SHARDS,
    &ACTIVITIES,
];

/// Rows that one statement deletes: some tenths of a second, and no more to undo than that.
const STEP_ROWS: u64 = 20_000;
/// How long a statement may take; counting the rows of a large table is the longest.
const STATEMENT_WAIT: Duration = Duration::from_secs(600);

const LOOKING: &str = "counting the rows";
const EMPTYING: &str = "emptying the tables";

/// What there is to delete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// Whose the rows are, and up to where.
    pub cursor: Whose,
    /// Each table that is there, with its rows.
    pub rows: Vec<(&'static str, u64)>,
}

/// What the cursor says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    /// There is none.
    Nobody,
    /// Of a journal, up to an event.
    Of(Cursor),
    /// Emptying was cut before.
    BeingEmptied,
    /// It cannot be read.
    Unreadable(String),
}

impl Contents {
    /// Whether there is nothing to delete.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.cursor == Whose::Nobody && self.rows.iter().all(|(_, rows)| *rows == 0)
    }
}

/// Looks at what there is.
///
/// # Errors
/// [`Error::Sql`], [`Error::Silent`].
pub async fn look(connection: &mut MySqlConnection) -> Result<Contents, Error> {
    let cursor = match in_time(LOOKING, STATEMENT_WAIT, journal_id(connection)).await {
        Err(error) if error.is_of_missing_table() => Whose::Nobody,
        found => match found?.as_deref() {
            None => Whose::Nobody,
            Some(BEING_EMPTIED) => Whose::BeingEmptied,
            Some(_) => match in_time(LOOKING, STATEMENT_WAIT, cursor::read(connection, false)).await {
                Ok(cursor) => cursor.map_or(Whose::Nobody, Whose::Of),
                Err(Error::Unreadable { what, .. }) => Whose::Unreadable(what),
                Err(error) => return Err(error),
            },
        },
    };
    let mut rows = Vec::new();
    for table in TABLES {
        let sql = AssertSqlSafe(format!("SELECT COUNT(*) FROM {}", table.name));
        let count = async { query_scalar(sql).fetch_one(&mut *connection).await.map_err(Error::sql(LOOKING)) };
        match in_time(LOOKING, STATEMENT_WAIT, count).await {
            Ok::<i64, _>(count) => rows.push((table.name, u64::try_from(count).expect("counts are not negative"))),
            Err(error) if error.is_of_missing_table() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Contents { cursor, rows })
}

/// Deletes the rows of all tables, the cursor's last; see the module. `told` hears of each step: the table, and how many
/// of its rows are gone.
///
/// # Errors
/// [`Error::Sql`], [`Error::Silent`]: a part is gone, and no server ships until this has run to its end;
/// [`Error::Unreadable`] where somebody else wrote the cursor in between.
pub async fn empty(
    connection: &mut MySqlConnection,
    at_ms: UnixMillis,
    mut told: impl FnMut(&'static str, u64),
) -> Result<(), Error> {
    mark(connection, at_ms).await?;
    for table in TABLES {
        let key: Vec<&str> = table.columns[..table.key].iter().map(|(name, _)| *name).collect();
        let sql = format!("DELETE FROM {} ORDER BY {} LIMIT {STEP_ROWS}", table.name, key.join(", "));
        let mut gone = 0;
        loop {
            let step = query(AssertSqlSafe(sql.clone())).execute(&mut *connection);
            let step = async { step.await.map_err(Error::sql(EMPTYING)) };
            let deleted = match in_time(EMPTYING, STATEMENT_WAIT, step).await {
                Err(error) if error.is_of_missing_table() => break,
                done => done?.rows_affected(),
            };
            gone += deleted;
            told(table.name, gone);
            if deleted < STEP_ROWS {
                break;
            }
        }
    }
    let last = query("DELETE FROM ship_cursor WHERE one = 1 AND journal_id = ?").bind(BEING_EMPTIED);
    let last = async { last.execute(connection).await.map_err(Error::sql(EMPTYING)) };
    if in_time(EMPTYING, STATEMENT_WAIT, last).await?.rows_affected() == 1 {
        return Ok(());
    }
    let what = "another process wrote it while the tables were emptied".to_owned();
    Err(Error::Unreadable { table: "ship_cursor", what })
}

async fn journal_id(connection: &mut MySqlConnection) -> Result<Option<String>, Error> {
    let id = query_scalar("SELECT journal_id FROM ship_cursor WHERE one = 1");
    id.fetch_optional(connection).await.map_err(Error::sql(LOOKING))
}

/// Stops every server: waits for a transaction that holds the cursor, and takes it from under the next.
async fn mark(connection: &mut MySqlConnection, at_ms: UnixMillis) -> Result<(), Error> {
    let mark = query(
        "INSERT INTO ship_cursor (one, journal_id, seq, hash, shipped_at_ms) VALUES (1, ?, ?, ?, ?) \
         ON DUPLICATE KEY UPDATE journal_id = VALUES(journal_id)",
    );
    let (seq, hash) = (Tail::START.seq.0, Tail::START.hash.to_string());
    let mark = mark.bind(BEING_EMPTIED).bind(seq).bind(hash).bind(at_ms.0);
    let mark = async { mark.execute(connection).await.map_err(Error::sql(EMPTYING)) };
    in_time(EMPTYING, STATEMENT_WAIT, mark).await.map(drop)
}
