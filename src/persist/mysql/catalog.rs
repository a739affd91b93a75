//! Reads the table that a back office writes, `catalog_activity`, as it is: what its rows say is for others to judge, and
//! nothing of it is taken for granted, since the back office may have made the table itself.

use std::time::Duration;

use futures_util::TryStreamExt;
use sqlx::mysql::{MySqlConnection, MySqlRow};
use sqlx::{Connection, Row as _, query};

use super::connect::{Target, in_time};
use super::error::Error;
use crate::ids::ActivityId;

/// How long reading may take. The largest table that is read, over a slow network; a reload waits no longer.
const READ_WAIT: Duration = Duration::from_secs(10);
/// How long making the tables may take: there is nothing in them yet.
const MAKE_WAIT: Duration = Duration::from_secs(15);
/// How long the server is given to hear that nothing more is wanted.
const GOODBYE_WAIT: Duration = Duration::from_secs(1);

const READING: &str = "reading catalog_activity";

/// A row: the activity's number in decimal, and the definition.
pub type Row = (Option<String>, Option<Vec<u8>>);

/// How much is read.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// The most rows.
    pub rows_max: usize,
    /// The most of one definition. What has more bytes is cut, to no less than one byte more than this.
    pub row_bytes_max: u64,
    /// The most bytes of all definitions.
    pub bytes_max: usize,
}

/// What was read.
#[derive(Debug, Default)]
pub struct Rows {
    /// In the order of their numbers.
    pub rows: Vec<Row>,
    /// Whether there are more.
    pub is_cut: bool,
}

/// Reads the rows of one activity, or of all, as they are at one instant. Where the table is not there it is made.
///
/// # Errors
/// Where MySQL is away, silent or does not let us: nothing is known of the table.
pub async fn read(target: &Target, of: Option<ActivityId>, bounds: Bounds) -> Result<Rows, Error> {
    let (mut connection, _) = target.connect().await?;
    let rows = match select(&mut connection, of, bounds).await {
        // Only then: whoever may read the table need not have the right to make one.
        Err(error) if error.is_of_missing_table() => {
            in_time("making the tables", MAKE_WAIT, Box::pin(target.migrate())).await?;
            select(&mut connection, of, bounds).await?
        }
        rows => rows?,
    };
    part(connection, rows.is_cut).await;
    Ok(rows)
}

/// Reads all rows and changes nothing; `None` where there is no such table yet.
///
/// # Errors
/// As [`read`].
pub async fn look(target: &Target, bounds: Bounds) -> Result<Option<Rows>, Error> {
    let Some(mut connection) = target.visit().await? else { return Ok(None) };
    match select(&mut connection, None, bounds).await {
        Err(error) if error.is_of_missing_table() => Ok(None),
        rows => {
            let rows = rows?;
            part(connection, rows.is_cut).await;
            Ok(Some(rows))
        }
    }
}

/// One statement, so that it sees the table of one instant.
async fn select(connection: &mut MySqlConnection, of: Option<ActivityId>, bounds: Bounds) -> Result<Rows, Error> {
    let limit = u64::try_from(bounds.rows_max).unwrap_or(u64::MAX).saturating_add(1);
    let selected = match of {
        Some(activity_id) => query(
            "SELECT CAST(activity_id AS CHAR), LEFT(definition, ?) FROM catalog_activity WHERE activity_id = ? LIMIT ?",
        )
        .bind(bounds.row_bytes_max + 1)
        .bind(activity_id.0)
        .bind(limit),
        None => query(
            "SELECT CAST(activity_id AS CHAR), LEFT(definition, ?) FROM catalog_activity ORDER BY activity_id LIMIT ?",
        )
        .bind(bounds.row_bytes_max + 1)
        .bind(limit),
    };
    in_time(READING, READ_WAIT, async {
        let mut stream = selected.fetch(connection);
        let (mut rows, mut bytes) = (Vec::new(), 0_usize);
        while let Some(row) = stream.try_next().await.map_err(Error::sql(READING))? {
            let row = decode(&row).map_err(Error::sql(READING))?;
            bytes += row.1.as_ref().map_or(0, Vec::len);
            if rows.len() == bounds.rows_max || bytes > bounds.bytes_max {
                return Ok(Rows { rows, is_cut: true });
            }
            rows.push(row);
        }
        Ok(Rows { rows, is_cut: false })
    })
    .await
}

/// As bytes, whatever the columns' types: whether they are text is not for the driver to judge.
fn decode(row: &MySqlRow) -> Result<Row, sqlx::Error> {
    let number: Option<Vec<u8>> = row.try_get_unchecked(0)?;
    Ok((number.map(|number| String::from_utf8_lossy(&number).into_owned()), row.try_get_unchecked(1)?))
}

/// Says goodbye, unless that would mean to hear the rest out.
async fn part(connection: MySqlConnection, is_cut: bool) {
    if !is_cut {
        // A server that does not hear it loses a connection.
        let goodbye = async { connection.close().await.map_err(Error::sql("saying goodbye")) };
        drop(in_time("saying goodbye", GOODBYE_WAIT, goodbye).await);
    }
}
