//! Reading orders and grabs back: what the journal no longer has, MySQL still answers.
//!
//! Rows are read as they stand at the cursor. What is asked for here has left memory, and nothing happens to it any more.

mod grabs;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use sqlx::mysql::{MySql, MySqlArguments, MySqlConnection, MySqlRow};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Row, query};

use super::connect::{Target, in_time};
use super::cursor;
use super::error::Error;
use super::packets;
use super::rows::{OrderRow, PaymentRow, RoundRow, ShardRow, SkuRow};
use super::session::{self, unreadable};
use crate::domain::round::Plan;
use crate::domain::{Definition, OrderState, Suspense};
use crate::ids::{ActivityId, Cents, KeyDigest, OrderId, Seq, ShardId, UnixMillis, UserId};
use crate::persist::{RecordHash, Tail};

/// How long one question may take.
const ANSWER_WAIT: Duration = Duration::from_secs(5);
const DOING: &str = "reading orders back";
/// Orders whose slots, and whose payments, one statement reads.
const STATEMENT_ORDERS: usize = 500;
const COLUMNS: &str = "order_id, activity_id, sku_id, user_id, quantity, amount_cents, currency, state, ref, \
                       idempotency_digest, held_at_ms, expires_at_ms, ended_at_ms, placed_seq, seq";

pub use grabs::ShardRound;

/// Which orders are wanted, or which grabs, of one shard.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// The shard.
    pub shard: ShardId,
    /// Only this user's.
    pub user: Option<UserId>,
    /// Only in this state. A grab has none: it is final.
    pub state: Option<OrderState>,
    /// Only those that were placed by a request with this key.
    pub key: Option<KeyDigest>,
    /// Only those after this number, or with `newest_first` those before it.
    pub beyond: Option<u32>,
    /// Newest first, instead of oldest first.
    pub newest_first: bool,
    /// At most so many.
    pub limit: usize,
}

impl Wanted {
    /// The statement that selects `columns` of a table whose ids are those of `id`. What it asks for is bound by
    /// [`Wanted::bind`].
    fn sql(&self, columns: &str, table: &str, id: &str) -> String {
        let mut sql = format!("SELECT {columns} FROM {table} WHERE {id} BETWEEN ? AND ?");
        if self.user.is_some() {
            sql.push_str(" AND user_id = ?");
        }
        if self.key.is_some() {
            sql.push_str(" AND idempotency_digest = ?");
        }
        if self.state.is_some() {
            sql.push_str(" AND state = ?");
        }
        let direction = if self.newest_first { " DESC" } else { "" };
        sql + &format!(" ORDER BY {id}{direction} LIMIT ?")
    }

    fn bind(&self, sql: String) -> Query<'_, MySql, MySqlArguments> {
        // A shard's orders are a range of the ids; a user's are few and have an index of their own.
        let (first, last) = (OrderId::new(self.shard, 0).0, OrderId::new(self.shard, u32::MAX).0);
        let beyond = self.beyond.map(|number| OrderId::new(self.shard, number).0);
        let (first, last) = match (beyond, self.newest_first) {
            (None, _) => (first, last),
            (Some(beyond), false) => (beyond + 1, last),
            (Some(beyond), true) => (first, beyond.saturating_sub(1)),
        };
        let mut asked = query(AssertSqlSafe(sql)).bind(first).bind(last);
        if let Some(user) = self.user {
            asked = asked.bind(user.to_string());
        }
        if let Some(key) = self.key {
            asked = asked.bind(key.0.to_vec());
        }
        if let Some(state) = self.state {
            asked = asked.bind(state.as_str());
        }
        asked.bind(u64::try_from(self.limit).unwrap_or(u64::MAX))
    }
}

/// An order that was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its row, with its slots.
    pub row: OrderRow,
    /// The payments that name it, oldest first. Not those that came when it had left memory: they are the suspense
    /// account's.
    pub payments: Vec<PaymentRow>,
}

/// An activity as it was at its end.
#[derive(Clone, Debug)]
pub struct Left {
    /// What it was; its rounds are planned where their seeds are known.
    pub definition: Definition,
    /// The definition's version.
    pub version: u64,
    /// Whether an operator paused it.
    pub paused: bool,
    /// Its units, by SKU.
    pub skus: Vec<SkuRow>,
    /// Of red packets in their place, the rounds, by number; with those that were taken off.
    pub rounds: Vec<RoundRow>,
    /// Its shards, by part.
    pub shards: Vec<ShardRow>,
}

/// A connection that reads back. It is opened when it is first needed, and again after an error.
pub struct ReadBack {
    target: Target,
    connection: Option<MySqlConnection>,
}

impl ReadBack {
    /// Nothing is opened yet.
    #[must_use]
    pub fn new(target: Target) -> Self {
        Self { target, connection: None }
    }

    /// Holds MySQL to having the journal `journal` up to event `wanted`: else what it says may be true no longer.
    ///
    /// # Errors
    /// [`Error::Lacks`], [`Error::OtherJournal`]; where MySQL cannot tell.
    pub async fn must_have(&mut self, journal: Option<RecordHash>, wanted: Seq) -> Result<(), Error> {
        let cursor = self.ask(async |connection| cursor::read(connection, false).await).await?;
        let cursor = session::of_journal(cursor, journal)?.unwrap_or(Tail::START).seq;
        if cursor >= wanted { Ok(()) } else { Err(Error::Lacks { cursor, wanted }) }
    }

    /// One order.
    ///
    /// # Errors
    /// Where MySQL cannot tell.
    pub async fn order(&mut self, order_id: OrderId) -> Result<Option<Found>, Error> {
        self.ask(async |connection| {
            let sql = format!("SELECT {COLUMNS} FROM orders WHERE order_id = ?");
            let asked = query(AssertSqlSafe(sql)).bind(order_id.0);
            Ok(read(connection, asked).await?.into_iter().next())
        })
        .await
    }

    /// The order of a shard that a payment named, with all its payments.
    ///
    /// # Errors
    /// Where MySQL cannot tell.
    pub async fn order_of_payment(&mut self, shard: ShardId, payment_id: &str) -> Result<Option<Found>, Error> {
        self.ask(async |connection| {
            let sql = format!(
                "SELECT {COLUMNS} FROM orders WHERE order_id = (SELECT order_id FROM payments WHERE payment_id = ? AND \
                 owner_shard = ?)"
            );
            let asked = query(AssertSqlSafe(sql)).bind(payment_id.to_owned()).bind(shard.0);
            Ok(read(connection, asked).await?.into_iter().next())
        })
        .await
    }

    /// Orders of a shard.
    ///
    /// # Errors
    /// Where MySQL cannot tell.
    pub async fn orders(&mut self, wanted: Wanted) -> Result<Vec<Found>, Error> {
        let sql = wanted.sql(COLUMNS, "orders", "order_id");
        self.ask(async |connection| read(connection, wanted.bind(sql.clone())).await).await
    }

    /// An activity as it was at its end; `None` where MySQL does not have it.
    ///
    /// # Errors
    /// Where MySQL cannot tell.
    pub async fn activity(&mut self, activity_id: ActivityId) -> Result<Option<Left>, Error> {
        self.ask(async |connection| {
            let activity = query("SELECT version, paused FROM activities WHERE activity_id = ?").bind(activity_id.0);
            let Some(row) = activity.fetch_optional(&mut *connection).await.map_err(Error::sql(DOING))? else {
                return Ok(None);
            };
            let version = row.try_get("version").map_err(unreadable("activities"))?;
            let paused = row.try_get::<u8, _>("paused").map_err(unreadable("activities"))? != 0;
            let defined = query(
                "SELECT definition FROM operator_actions WHERE activity_id = ? AND action IN ('define', 'redefine') \
                 ORDER BY seq DESC LIMIT 1",
            );
            let row = defined.bind(activity_id.0).fetch_one(&mut *connection).await.map_err(Error::sql(DOING))?;
            let text: String = row.try_get("definition").map_err(unreadable("operator_actions"))?;
            let mut definition: Definition = serde_json::from_str(&text)
                .map_err(|error| Error::Unreadable { table: "operator_actions", what: error.to_string() })?;
            let skus = session::skus(connection, Some(activity_id)).await?;
            let mut shards = session::shards(connection, Some(activity_id)).await?;
            shards.sort_by_key(|row| row.part);
            let rounds = packets::rounds(connection, Some(activity_id)).await?;
            let said = definition.packets.as_deref_mut().map(|packets| packets.rounds.iter_mut());
            for (said, round) in said.into_iter().flatten().zip(&rounds) {
                let plan = |seed| Arc::new(Plan::new(round.terms, seed, round.first_slot));
                said.plan = round.seed.map(plan);
            }
            Ok(Some(Left { definition, version, paused, skus, rounds, shards }))
        })
        .await
    }

    /// Asks over the connection that stands, and once more over a fresh one where that has broken meanwhile.
    async fn ask<T>(&mut self, question: impl AsyncFn(&mut MySqlConnection) -> Result<T, Error>) -> Result<T, Error> {
        let target = &self.target;
        let standing = self.connection.take();
        let asked = Box::pin(async {
            if let Some(mut connection) = standing
                && let Ok(answer) = question(&mut connection).await
            {
                return Ok((connection, answer));
            }
            let (mut connection, _) = target.connect().await?;
            let answer = question(&mut connection).await?;
            Ok((connection, answer))
        });
        let (connection, answer) = in_time(DOING, ANSWER_WAIT, asked).await?;
        self.connection = Some(connection);
        Ok(answer)
    }
}

/// Reads orders with their slots and payments.
async fn read(connection: &mut MySqlConnection, asked: Query<'_, MySql, MySqlArguments>) -> Result<Vec<Found>, Error> {
    let rows = asked.fetch_all(&mut *connection).await.map_err(Error::sql(DOING))?;
    let orders = rows.iter().map(|row| Ok(Found { row: decode(row)?, payments: Vec::new() }));
    let mut orders: Vec<Found> = orders.collect::<Result<_, _>>().map_err(unreadable("orders"))?;
    for chunk in orders.chunks_mut(STATEMENT_ORDERS) {
        let mut places: HashMap<OrderId, usize> = HashMap::new();
        for (place, order) in chunk.iter().enumerate() {
            places.insert(order.row.order_id, place);
        }
        let marks = vec!["?"; chunk.len()].join(",");
        let of_chunk =
            |sql: String| chunk.iter().fold(query(AssertSqlSafe(sql)), |query, order| query.bind(order.row.order_id.0));
        let slots = of_chunk(format!(
            "SELECT order_id, slot, live FROM order_slots WHERE order_id IN ({marks}) ORDER BY order_id, slot"
        ));
        let payments = of_chunk(format!(
            "SELECT {} FROM payments WHERE order_id IN ({marks}) ORDER BY owner_shard, number",
            session::PAYMENT_COLUMNS
        ));
        for row in slots.fetch_all(&mut *connection).await.map_err(Error::sql(DOING))? {
            let slot: (u64, u32, Option<u8>) =
                (|| Ok((row.try_get("order_id")?, row.try_get("slot")?, row.try_get("live")?)))()
                    .map_err(unreadable("order_slots"))?;
            let order = &mut chunk[places[&OrderId(slot.0)]].row;
            order.slots.push(slot.1);
            order.live = slot.2.is_some();
        }
        for row in payments.fetch_all(&mut *connection).await.map_err(Error::sql(DOING))? {
            let payment = session::payment(&row).map_err(unreadable("payments"))?;
            let place = payment.order_id.and_then(|order_id| places.get(&order_id));
            if let Some(place) = place.filter(|_| payment.owner != Suspense::SHARD) {
                chunk[*place].payments.push(payment);
            }
        }
    }
    Ok(orders)
}

/// Reads a row of `orders`, without its slots.
fn decode(row: &MySqlRow) -> Result<OrderRow, sqlx::Error> {
    let state: String = row.try_get("state")?;
    let key: Option<Vec<u8>> = row.try_get("idempotency_digest")?;
    let key = key.map(|bytes| bytes.try_into().map(KeyDigest).map_err(|_| odd("a digest has 16 bytes".to_owned())));
    Ok(OrderRow {
        order_id: OrderId(row.try_get("order_id")?),
        activity_id: ActivityId(row.try_get("activity_id")?),
        sku_id: row.try_get::<String, _>("sku_id")?.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))?,
        user: row.try_get::<String, _>("user_id")?.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))?,
        quantity: row.try_get("quantity")?,
        amount_cents: Cents(row.try_get("amount_cents")?),
        currency: row.try_get("currency")?,
        state: OrderState::from_word(&state).ok_or_else(|| odd(format!("the state '{state}' is unknown")))?,
        reference: row.try_get::<Option<String>, _>("ref")?.map(String::into_boxed_str),
        key: key.transpose()?,
        held_at_ms: UnixMillis(row.try_get("held_at_ms")?),
        expires_at_ms: UnixMillis(row.try_get("expires_at_ms")?),
        ended_at_ms: row.try_get::<Option<u64>, _>("ended_at_ms")?.map(UnixMillis),
        placed_seq: Seq(row.try_get("placed_seq")?),
        seq: Seq(row.try_get("seq")?),
        live: false,
        slots: Vec::new(),
    })
}

fn odd(what: String) -> sqlx::Error {
    sqlx::Error::Decode(what.into())
}
