//! A session of shipping: one connection, what MySQL has at the cursor, and batches of events that move both, each in one
//! transaction. After any error the session is of no use: a new one reads from MySQL what became of the last batch.

use std::time::Duration;

use sqlx::mysql::{MySqlConnection, MySqlRow};
use sqlx::{Connection, Row, query, raw_sql};

use super::connect::{ServerVersion, Target, in_time};
use super::cursor::{self, Cursor};
use super::error::Error;
use super::packets;
use super::projection::{Batch, Known};
use super::rows::{ActivityRow, PaymentRow, ShardRow, SkuRow};
use super::write;
use crate::domain::payment::Why;
use crate::domain::{Entry, PaymentState};
use crate::ids::{ActivityId, Cents, OrderId, Seq, ShardId, SkuIndex, UnixMillis, UserId};
use crate::persist::{RecordHash, Tail};

/// How long the statements around a batch's rows may take, of which COMMIT is the slowest.
const FRAME_WAIT: Duration = Duration::from_secs(30);
/// How long reading what MySQL has may take.
const LOAD_WAIT: Duration = Duration::from_secs(60);

/// What [`payment`] reads.
pub(super) const PAYMENT_COLUMNS: &str = "payment_id, owner_shard, number, order_id, order_named, activity_id, \
    amount_cents, currency, payment_state, reason, reacquired, received_at_ms, due_at_ms, done_at_ms, refunded_by, \
    done_by, received_seq, seq";

/// See the module.
pub struct Session {
    connection: MySqlConnection,
    version: ServerVersion,
    cursor: Tail,
    known: Known,
}

impl Session {
    /// Connects, and reads what MySQL has of the journal whose first record has the hash `journal`; `None` while the
    /// journal is empty.
    ///
    /// # Errors
    /// [`Error::OtherJournal`] where the rows there are another's; [`Error::Sql`], [`Error::Silent`],
    /// [`Error::Unreadable`].
    pub async fn open(target: &Target, journal: Option<RecordHash>) -> Result<Self, Error> {
        let (mut connection, version) = target.connect().await?;
        in_time("reading what MySQL has", LOAD_WAIT, async move {
            const DOING: &str = "reading what MySQL has";
            // The lock on the cursor holds back whoever would move it, until all is read.
            raw_sql("START TRANSACTION").execute(&mut connection).await.map_err(Error::sql(DOING))?;
            let cursor = cursor::read(&mut connection, true).await?;
            let cursor = of_journal(cursor, journal)?.unwrap_or(Tail::START);
            let known = load(&mut connection).await?;
            raw_sql("COMMIT").execute(&mut connection).await.map_err(Error::sql(DOING))?;
            Ok(Self { connection, version, cursor, known })
        })
        .await
    }

    /// Up to where MySQL has the journal.
    #[must_use]
    pub fn cursor(&self) -> Tail {
        self.cursor
    }

    /// What the server says that it is.
    #[must_use]
    pub fn version(&self) -> &ServerVersion {
        &self.version
    }

    /// Each shard with the orders of it that MySQL has: all up to that number.
    pub fn orders_shipped(&self) -> impl Iterator<Item = (ShardId, u32)> {
        self.known.shards.values().map(|row| (row.shard, row.orders_placed))
    }

    /// Writes what `entries` do to the rows, and moves the cursor to `to`, in one transaction. Returns the shards whose
    /// orders came to MySQL, with the newest one's number.
    ///
    /// # Errors
    /// Where nothing was written, or where nobody knows whether it was: the next session finds out.
    pub async fn ship(
        &mut self,
        journal: RecordHash,
        entries: &[(Seq, Entry)],
        to: Tail,
        at_ms: UnixMillis,
    ) -> Result<Vec<(ShardId, u32)>, Error> {
        let mut batch = Batch::default();
        for (seq, entry) in entries {
            self.known.take(&mut batch, *seq, entry)?;
        }
        const DOING: &str = "shipping";
        let connection = &mut self.connection;
        in_time(DOING, FRAME_WAIT, async {
            raw_sql("START TRANSACTION").execute(&mut *connection).await.map_err(Error::sql(DOING))?;
            cursor::advance(connection, journal, self.cursor, to, at_ms).await
        })
        .await?;
        write::batch(connection, &mut self.known, &mut batch).await?;
        in_time(DOING, FRAME_WAIT, async { raw_sql("COMMIT").execute(connection).await.map_err(Error::sql(DOING)) })
            .await?;
        self.cursor = to;
        let shards = batch.shards.iter();
        Ok(shards.filter_map(|shard| Some((*shard, self.known.shards.get(shard)?.orders_placed))).collect())
    }

    /// Asks the server whether it is still there.
    ///
    /// # Errors
    /// [`Error::Sql`], [`Error::Silent`].
    pub async fn ping(&mut self) -> Result<(), Error> {
        let ping = self.connection.ping();
        in_time("asking for a sign of life", Duration::from_secs(5), async {
            ping.await.map_err(Error::sql("asking for a sign of life"))
        })
        .await
    }

    /// Says goodbye. Without it the server finds out by itself.
    pub async fn close(self) {
        let goodbye = async { self.connection.close().await.map_err(Error::sql("saying goodbye")) };
        // Nothing is left to write; a server that does not hear it loses a connection.
        drop(in_time("saying goodbye", Duration::from_secs(1), goodbye).await);
    }
}

/// Where a cursor stands, if it is of this journal; `ours` is `None` while the journal is empty.
///
/// # Errors
/// [`Error::OtherJournal`], [`Error::BeingEmptied`].
pub fn of_journal(cursor: Option<Cursor>, ours: Option<RecordHash>) -> Result<Option<Tail>, Error> {
    let Some(cursor) = cursor else { return Ok(None) };
    if cursor.journal_id == cursor::BEING_EMPTIED {
        return Err(Error::BeingEmptied);
    }
    match ours.map(|ours| ours.to_string()) {
        Some(ours) if ours == cursor.journal_id => Ok(Some(cursor.tail)),
        ours => Err(Error::OtherJournal {
            theirs: cursor.journal_id,
            seq: cursor.tail.seq,
            ours: ours.map_or_else(|| "empty".to_owned(), |ours| format!("{ours:.16}…")),
        }),
    }
}

async fn load(connection: &mut MySqlConnection) -> Result<Known, Error> {
    const DOING: &str = "reading what MySQL has";
    let mut known = Known::default();
    let rows = query(
        "SELECT activity_id, kind, title, currency, starts_at_ms, ends_at_ms, per_user_limit, payment_window_ms, version, \
         paused, closed, seq FROM activities",
    );
    for row in rows.fetch_all(&mut *connection).await.map_err(Error::sql(DOING))? {
        let row = activity(&row).map_err(unreadable("activities"))?;
        known.activities.insert(row.activity_id, row);
    }
    for row in skus(connection, None).await? {
        let rows = known.skus.entry(row.activity_id).or_default();
        if usize::from(row.index.0) != rows.len() {
            let what = format!("activity {} has no SKU of index {}", row.activity_id, rows.len());
            return Err(Error::Unreadable { table: "sku_stock", what });
        }
        rows.push(row);
    }
    for row in shards(connection, None).await? {
        known.shards.insert(row.shard, row);
    }
    for row in packets::rounds(connection, None).await? {
        let rows = known.rounds.entry(row.activity_id).or_default();
        if usize::from(row.round.0) != rows.len() {
            let what = format!("activity {} has no round {}", row.activity_id, rows.len());
            return Err(Error::Unreadable { table: "red_packet_rounds", what });
        }
        rows.push(row);
    }
    Ok(known)
}

/// The rows of `sku_stock`, all or one activity's, by activity and index.
pub(super) async fn skus(connection: &mut MySqlConnection, of: Option<ActivityId>) -> Result<Vec<SkuRow>, Error> {
    let rows = query(
        "SELECT activity_id, sku_id, sku_index, title, price_cents, listed, stock, available, held, sold, seq \
         FROM sku_stock WHERE ? IS NULL OR activity_id = ? ORDER BY activity_id, sku_index",
    );
    let rows = rows.bind(of.map(|id| id.0)).bind(of.map(|id| id.0)).fetch_all(connection).await;
    let rows = rows.map_err(Error::sql("reading stock"))?;
    rows.iter().map(sku).collect::<Result<_, _>>().map_err(unreadable("sku_stock"))
}

/// The rows of `activity_shards`, all or one activity's.
pub(super) async fn shards(connection: &mut MySqlConnection, of: Option<ActivityId>) -> Result<Vec<ShardRow>, Error> {
    let rows = query(
        "SELECT shard_id, activity_id, part, orders_placed FROM activity_shards WHERE ? IS NULL OR activity_id = ?",
    );
    let rows = rows.bind(of.map(|id| id.0)).bind(of.map(|id| id.0)).fetch_all(connection).await;
    let rows = rows.map_err(Error::sql("reading shards"))?;
    rows.iter().map(shard).collect::<Result<_, _>>().map_err(unreadable("activity_shards"))
}

pub(super) fn unreadable(table: &'static str) -> impl FnOnce(sqlx::Error) -> Error {
    move |error| Error::Unreadable { table, what: error.to_string() }
}

fn activity(row: &MySqlRow) -> Result<ActivityRow, sqlx::Error> {
    let kind: String = row.try_get("kind")?;
    let kind = ["flash_sale", "red_packet"].into_iter().find(|known| *known == kind);
    let unknown = || sqlx::Error::Decode("its kind is unknown".into());
    Ok(ActivityRow {
        activity_id: ActivityId(row.try_get("activity_id")?),
        kind: kind.ok_or_else(unknown)?,
        title: row.try_get("title")?,
        currency: row.try_get("currency")?,
        starts_at_ms: UnixMillis(row.try_get("starts_at_ms")?),
        ends_at_ms: UnixMillis(row.try_get("ends_at_ms")?),
        per_user_limit: row.try_get("per_user_limit")?,
        payment_window_ms: row.try_get("payment_window_ms")?,
        version: row.try_get("version")?,
        paused: row.try_get::<u8, _>("paused")? != 0,
        closed: row.try_get::<u8, _>("closed")? != 0,
        seq: Seq(row.try_get("seq")?),
    })
}

fn sku(row: &MySqlRow) -> Result<SkuRow, sqlx::Error> {
    Ok(SkuRow {
        activity_id: ActivityId(row.try_get("activity_id")?),
        sku_id: row.try_get::<String, _>("sku_id")?.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))?,
        index: SkuIndex(row.try_get("sku_index")?),
        title: row.try_get("title")?,
        price_cents: Cents(row.try_get("price_cents")?),
        listed: row.try_get::<u8, _>("listed")? != 0,
        stock: row.try_get("stock")?,
        available: row.try_get("available")?,
        held: row.try_get("held")?,
        sold: row.try_get("sold")?,
        seq: Seq(row.try_get("seq")?),
    })
}

fn shard(row: &MySqlRow) -> Result<ShardRow, sqlx::Error> {
    Ok(ShardRow {
        shard: ShardId(row.try_get("shard_id")?),
        activity_id: ActivityId(row.try_get("activity_id")?),
        part: row.try_get("part")?,
        orders_placed: row.try_get("orders_placed")?,
    })
}

/// Reads a row of `payments`.
pub(super) fn payment(row: &MySqlRow) -> Result<PaymentRow, sqlx::Error> {
    let text = |column| row.try_get::<String, _>(column).map(String::into_boxed_str);
    let at_ms = |column| Ok::<_, sqlx::Error>(row.try_get::<Option<u64>, _>(column)?.map(UnixMillis));
    let user = |column| {
        let user: Option<String> = row.try_get(column)?;
        let user = user.map(|user| user.parse::<UserId>().map_err(|error| sqlx::Error::Decode(Box::new(error))));
        user.transpose()
    };
    let unknown = |word: &str| sqlx::Error::Decode(format!("the word '{word}' is unknown").into());
    let state = text("payment_state")?;
    let why: Option<String> = row.try_get("reason")?;
    let known = |word: &String| Why::ALL.into_iter().find(|why| why.as_str() == word).ok_or_else(|| unknown(word));
    Ok(PaymentRow {
        payment_id: text("payment_id")?,
        owner: ShardId(row.try_get("owner_shard")?),
        number: row.try_get("number")?,
        order_id: row.try_get::<Option<u64>, _>("order_id")?.map(OrderId),
        named: text("order_named")?,
        activity_id: row.try_get::<Option<u64>, _>("activity_id")?.map(ActivityId),
        amount_cents: Cents(row.try_get("amount_cents")?),
        currency: text("currency")?,
        state: PaymentState::from_word(&state).ok_or_else(|| unknown(&state))?,
        why: why.as_ref().map(known).transpose()?,
        reacquired: row.try_get::<u8, _>("reacquired")? != 0,
        received_at_ms: UnixMillis(row.try_get("received_at_ms")?),
        due_at_ms: at_ms("due_at_ms")?,
        done_at_ms: at_ms("done_at_ms")?,
        refunded_by: user("refunded_by")?,
        done_by: user("done_by")?,
        received_seq: Seq(row.try_get("received_seq")?),
        seq: Seq(row.try_get("seq")?),
    })
}
