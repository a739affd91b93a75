//! Reading every row back and holding it against what the journal gives (X1). Both sides come in the order of the table's
//! key, so one pass finds what is missing, what is too much and what differs, whatever the size of the table.

use std::cmp::Ordering;
use std::time::Duration;

use futures_util::TryStreamExt;
use sqlx::mysql::MySqlConnection;
use sqlx::{AssertSqlSafe, Connection, query, raw_sql};

use super::connect::{Target, in_time};
use super::cursor::{self, Cursor};
use super::error::Error;
use super::expected::Expected;
use super::tables::{
    ACTIVITIES, ACTIVITY_SHARDS, Cell, OPERATOR_ACTIONS, ORDER_SLOTS, ORDERS, PAYMENTS, RED_PACKET_GRABS,
    RED_PACKET_ROUNDS, SKU_STOCK, Table,
};

/// How long the next row may take.
const ROW_WAIT: Duration = Duration::from_secs(60);

const DOING: &str = "comparing the rows";

/// What MySQL has at one instant. Reading it takes no lock and no right but SELECT.
pub struct Snapshot(MySqlConnection);

/// What was found of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compared {
    /// Which.
    pub table: &'static str,
    /// How many rows it has.
    pub rows: u64,
    /// How many fields differ and rows are missing or too many.
    pub differences: u64,
    /// The first of them, in words.
    pub first: Option<String>,
}

impl Snapshot {
    /// Takes a snapshot; `None` where the database is not there.
    ///
    /// # Errors
    /// [`Error::Sql`], [`Error::Silent`].
    pub async fn take(target: &Target) -> Result<Option<Self>, Error> {
        let Some(mut connection) = target.visit().await? else { return Ok(None) };
        in_time(DOING, ROW_WAIT, async {
            for sql in [
                "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
                "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
            ] {
                raw_sql(sql).execute(&mut connection).await.map_err(Error::sql(DOING))?;
            }
            Ok(())
        })
        .await?;
        Ok(Some(Self(connection)))
    }

    /// The cursor; `None` where nothing was ever shipped, or the table is not there.
    ///
    /// # Errors
    /// [`Error::Sql`], [`Error::Silent`], [`Error::Unreadable`].
    pub async fn cursor(&mut self) -> Result<Option<Cursor>, Error> {
        match in_time(DOING, ROW_WAIT, cursor::read(&mut self.0, false)).await {
            Err(error) if error.is_of_missing_table() => Ok(None),
            read => read,
        }
    }

    /// Compares every table with what a journal gives. A table that is not there has no rows.
    ///
    /// # Errors
    /// [`Error::Sql`], [`Error::Silent`].
    pub async fn compare(&mut self, expected: &Expected) -> Result<Vec<Compared>, Error> {
        let connection = &mut self.0;
        Ok(vec![
            table(connection, &ACTIVITIES, expected.activities()).await?,
            table(connection, &ACTIVITY_SHARDS, expected.activity_shards()).await?,
            table(connection, &SKU_STOCK, expected.sku_stock()).await?,
            table(connection, &ORDERS, expected.orders()).await?,
            table(connection, &ORDER_SLOTS, expected.order_slots()).await?,
            table(connection, &PAYMENTS, expected.payments()).await?,
            table(connection, &RED_PACKET_ROUNDS, expected.red_packet_rounds()).await?,
            table(connection, &RED_PACKET_GRABS, expected.red_packet_grabs()).await?,
            table(connection, &OPERATOR_ACTIONS, expected.operator_actions()).await?,
        ])
    }
}

impl Snapshot {
    /// Says goodbye to the server, which else notes in its log that we did not.
    pub async fn leave(self) {
        let goodbye = async { self.0.close().await.map_err(Error::sql(DOING)) };
        // All was read; a server that does not hear it loses a connection.
        drop(in_time(DOING, Duration::from_secs(1), goodbye).await);
    }
}

async fn table<'a>(
    connection: &mut MySqlConnection,
    table: &'static Table,
    mut expected: impl Iterator<Item = Vec<Cell<'a>>>,
) -> Result<Compared, Error> {
    let mut found = Compared { table: table.name, rows: 0, differences: 0, first: None };
    let mut rows = query(AssertSqlSafe(table.select())).fetch(connection);
    let mut next = expected.next();
    loop {
        let row = in_time(DOING, ROW_WAIT, async { rows.try_next().await.map_err(Error::sql(DOING)) }).await;
        let row = match row {
            Err(error) if error.is_of_missing_table() => None,
            row => row?,
        };
        let Some(row) = row else { break };
        found.rows += 1;
        let cells = table.cells(&row);
        while let Some(missing) = next.take_if(|next| compare_keys(table, next, &cells) == Ordering::Less) {
            found.missing(table, &missing);
            next = expected.next();
        }
        match next.take_if(|next| compare_keys(table, next, &cells) == Ordering::Equal) {
            Some(wanted) => {
                found.compare(table, &cells, &wanted);
                next = expected.next();
            }
            None => found.differs(|| format!("{} is there, the journal gives no such row", table.named(&cells))),
        }
    }
    while let Some(missing) = next {
        found.missing(table, &missing);
        next = expected.next();
    }
    Ok(found)
}

fn compare_keys(table: &Table, one: &[Cell<'_>], other: &[Cell<'_>]) -> Ordering {
    one[..table.key].cmp(&other[..table.key])
}

impl Compared {
    fn compare(&mut self, table: &Table, cells: &[Cell<'_>], wanted: &[Cell<'_>]) {
        debug_assert_eq!(wanted.len(), table.columns.len(), "a value for each column");
        for (((column, _), cell), wanted) in table.columns.iter().zip(cells).zip(wanted) {
            if cell != wanted {
                self.differs(|| format!("{}: {column} is {cell}, the journal gives {wanted}", table.named(cells)));
            }
        }
    }

    fn missing(&mut self, table: &Table, wanted: &[Cell<'_>]) {
        self.differs(|| format!("{} is missing", table.named(wanted)));
    }

    fn differs(&mut self, words: impl FnOnce() -> String) {
        self.differences += 1;
        self.first.get_or_insert_with(words);
    }
}
