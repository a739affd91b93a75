//! The cursor: how far MySQL has this journal's events. It moves in the transaction that writes their rows, and only from
//! where that transaction's writer believed it to be (X2).

use sqlx::mysql::{MySqlConnection, MySqlRow};
use sqlx::{Row, query};

use super::error::Error;
use crate::ids::{Seq, UnixMillis};
use crate::persist::{RecordHash, Tail};

/// Where MySQL's rows stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Of which journal: its first record's hash, in hexadecimal.
    pub journal_id: String,
    /// Up to where.
    pub tail: Tail,
}

const TABLE: &str = "ship_cursor";

/// What stands for a journal's id while the tables are being emptied: no journal has it, so no server ships.
pub(super) const BEING_EMPTIED: &str = "being emptied by doorbuster reship";

/// Reads the cursor; `None` where nothing was ever shipped. With `locked`, waits for a transaction that is about to move
/// it: one that was sent to commit before its connection broke may still do so.
///
/// # Errors
/// [`Error::Sql`], [`Error::Unreadable`].
pub async fn read(connection: &mut MySqlConnection, locked: bool) -> Result<Option<Cursor>, Error> {
    let sql = if locked {
        "SELECT journal_id, seq, hash FROM ship_cursor WHERE one = 1 FOR UPDATE"
    } else {
        "SELECT journal_id, seq, hash FROM ship_cursor WHERE one = 1"
    };
    let row = query(sql).fetch_optional(connection).await.map_err(Error::sql("reading the cursor"))?;
    row.as_ref().map(decode).transpose()
}

fn decode(row: &MySqlRow) -> Result<Cursor, Error> {
    let unreadable = |what: String| Error::Unreadable { table: TABLE, what };
    let text = |column| row.try_get::<String, _>(column).map_err(|error| unreadable(error.to_string()));
    let seq = row.try_get("seq").map_err(|error| unreadable(error.to_string()))?;
    let hash =
        from_hex(&text("hash")?).ok_or_else(|| unreadable("its hash has not 64 hexadecimal digits".to_owned()))?;
    Ok(Cursor { journal_id: text("journal_id")?, tail: Tail { seq: Seq(seq), hash: RecordHash(hash) } })
}

/// Moves the cursor from one tail to another, if it is there.
///
/// # Errors
/// [`Error::Moved`] where it is elsewhere; [`Error::Sql`].
pub(super) async fn advance(
    connection: &mut MySqlConnection,
    journal: RecordHash,
    from: Tail,
    to: Tail,
    at_ms: UnixMillis,
) -> Result<(), Error> {
    let moved = if from == Tail::START {
        // The one row that there can be: a second writer's fails.
        let first = query("INSERT INTO ship_cursor (one, journal_id, seq, hash, shipped_at_ms) VALUES (1, ?, ?, ?, ?)");
        first.bind(journal.to_string()).bind(to.seq.0).bind(to.hash.to_string()).bind(at_ms.0)
    } else {
        let next = query(
            "UPDATE ship_cursor SET seq = ?, hash = ?, shipped_at_ms = ? \
             WHERE one = 1 AND journal_id = ? AND seq = ? AND hash = ?",
        );
        let next = next.bind(to.seq.0).bind(to.hash.to_string()).bind(at_ms.0);
        next.bind(journal.to_string()).bind(from.seq.0).bind(from.hash.to_string())
    };
    let moved = moved.execute(connection).await.map_err(Error::sql("moving the cursor"))?;
    if moved.rows_affected() == 1 { Ok(()) } else { Err(Error::Moved(from.seq)) }
}

pub(super) fn from_hex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (place, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * place..2 * place + 2], 16).ok()?;
    }
    Some(bytes)
}
