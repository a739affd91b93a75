//! Writing a batch's rows, in the transaction that moves the cursor.
//!
//! Rows go out many to a statement, prepared once a connection and sent as binary values: half again as fast as the same
//! rows as SQL text (docs/FIGURES.md). Nothing is ever inserted with `IGNORE`, which would cut what does not fit.

use std::collections::HashMap;
use std::time::Duration;

use sqlx::mysql::{MySql, MySqlArguments, MySqlConnection};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Row, query};

use super::connect::in_time;
use super::error::Error;
use super::projection::{Batch, Ended, Known};
use super::rows::{ActionRow, ActivityRow, OrderRow, ShardRow, SkuRow, actor_word};
use super::session::unreadable;
use crate::domain::OrderState;
use crate::domain::event::Author;
use crate::ids::{ActivityId, OrderId, Seq};

type Bound = Query<'static, MySql, MySqlArguments>;

/// Rows in one statement. Larger ones are slower to execute; the rest of a batch goes in smaller sizes, so that few
/// statements are prepared. 512 rows of 15 columns are well below a statement's 65,535 values.
const STATEMENT_ROWS: [usize; 4] = [512, 64, 8, 1];
/// The same for rows that may hold a definition, some 70 KB: a server takes 16 MiB in one packet, and may be told to take
/// less.
const STATEMENT_LONG_ROWS: [usize; 2] = [8, 1];
/// How long one statement may take. Of the largest, the end of 512 orders of 1,000 units each, a server makes some seconds.
const STATEMENT_WAIT: Duration = Duration::from_secs(30);

const DOING: &str = "shipping";

/// Writes everything that the batch changes.
pub(super) async fn batch(connection: &mut MySqlConnection, known: &mut Known, batch: &mut Batch) -> Result<(), Error> {
    let ended = std::mem::take(&mut batch.ended);
    // Slots become free before they are sold again: the unique key has one live owner a slot.
    end(connection, known, batch, &ended).await?;
    let activities = batch.activities.iter().map(|id| &known.activities[id]);
    insert(connection, &ACTIVITIES, &activities.collect::<Vec<_>>(), |query, row| bind_activity(query, row)).await?;
    let shards = batch.shards.iter().map(|shard| &known.shards[shard]);
    insert(connection, &SHARDS, &shards.collect::<Vec<_>>(), |query, row| bind_shard(query, row)).await?;
    insert(connection, &ACTIONS, &batch.actions, bind_action).await?;
    insert(connection, &ORDERS, &batch.orders, bind_order).await?;
    let slots = batch.orders.iter().flat_map(|order| order.slots.iter().map(move |slot| (order, *slot)));
    insert(connection, &SLOTS, &slots.collect::<Vec<_>>(), |query, (order, slot)| bind_slot(query, order, *slot))
        .await?;
    let skus = batch.skus.iter().map(|(activity_id, index)| &known.skus[activity_id][usize::from(index.0)]);
    insert(connection, &SKUS, &skus.collect::<Vec<_>>(), |query, row| bind_sku(query, row)).await
}

/// Ends orders that were shipped before, and frees their slots.
async fn end(
    connection: &mut MySqlConnection,
    known: &mut Known,
    batch: &mut Batch,
    ended: &[Ended],
) -> Result<(), Error> {
    for chunk in chunks(ended, &STATEMENT_ROWS) {
        let first = chunk[0].seq;
        let gone = |table, expected: usize, found: u64| {
            let expected = u64::try_from(expected).expect("a chunk is small");
            if found == expected { Ok(()) } else { Err(Error::RowsGone { table, expected, found, seq: first }) }
        };
        let sql = format!(
            "SELECT order_id, activity_id, sku_id, quantity FROM orders WHERE state = 'held' AND order_id IN ({}) \
             FOR UPDATE",
            marks("?", chunk.len())
        );
        let held = chunk.iter().fold(query(AssertSqlSafe(sql)), |query, end| query.bind(end.order_id.0));
        let held = async { held.fetch_all(&mut *connection).await.map_err(Error::sql(DOING)) };
        let rows = in_time(DOING, STATEMENT_WAIT, held).await?;
        gone("orders", chunk.len(), u64::try_from(rows.len()).expect("a chunk is small"))?;
        let seqs: HashMap<OrderId, Seq> = chunk.iter().map(|end| (end.order_id, end.seq)).collect();
        let mut units = 0;
        for row in rows {
            let read = || {
                let sku_id: String = row.try_get("sku_id")?;
                let order_id = OrderId(row.try_get("order_id")?);
                Ok((order_id, ActivityId(row.try_get("activity_id")?), sku_id, row.try_get::<u32, _>("quantity")?))
            };
            let (order_id, activity_id, sku_id, quantity) = read().map_err(unreadable("orders"))?;
            known.released(batch, seqs[&order_id], activity_id, &sku_id, quantity)?;
            units += quantity as usize;
        }
        let one = "SELECT CAST(? AS UNSIGNED) AS order_id, CAST(? AS CHAR(16)) AS state, CAST(? AS UNSIGNED) AS at_ms, \
                   CAST(? AS UNSIGNED) AS seq";
        let all = vec![one; chunk.len()].join(" UNION ALL ");
        let sql = format!(
            "UPDATE orders o JOIN ({all}) e ON o.order_id = e.order_id \
             SET o.state = e.state, o.ended_at_ms = e.at_ms, o.seq = e.seq"
        );
        let update = chunk.iter().fold(query(AssertSqlSafe(sql)), |query, end| {
            query.bind(end.order_id.0).bind(end.state.as_str()).bind(end.at_ms.0).bind(end.seq.0)
        });
        gone("orders", chunk.len(), execute(connection, update).await?)?;
        let sql =
            format!("UPDATE order_slots SET live = NULL WHERE live = 1 AND order_id IN ({})", marks("?", chunk.len()));
        let free = chunk.iter().fold(query(AssertSqlSafe(sql)), |query, end| query.bind(end.order_id.0));
        gone("order_slots", units, execute(connection, free).await?)?;
    }
    Ok(())
}

/// How rows of a table are inserted.
struct Into {
    before: &'static str,
    /// Marks of one row's values.
    row: &'static str,
    after: &'static str,
    sizes: &'static [usize],
}

const ORDERS: Into = Into {
    before: "INSERT INTO orders (order_id, activity_id, sku_id, user_id, quantity, amount_cents, currency, state, ref, \
             idempotency_digest, held_at_ms, expires_at_ms, ended_at_ms, placed_seq, seq) VALUES ",
    row: "(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
    after: "",
    sizes: &STATEMENT_ROWS,
};

const SLOTS: Into = Into {
    before: "INSERT INTO order_slots (order_id, slot, activity_id, sku_id, live) VALUES ",
    row: "(?,?,?,?,?)",
    after: "",
    sizes: &STATEMENT_ROWS,
};

const ACTIONS: Into = Into {
    before: "INSERT INTO operator_actions (seq, change_id, at_ms, activity_id, actor, user_id, action, version, \
             definition, stock) VALUES ",
    row: "(?,?,?,?,?,?,?,?,?,?)",
    after: "",
    sizes: &STATEMENT_LONG_ROWS,
};

const ACTIVITIES: Into = Into {
    before: "INSERT INTO activities (activity_id, kind, title, currency, starts_at_ms, ends_at_ms, per_user_limit, \
             payment_window_ms, version, paused, closed, seq) VALUES ",
    row: "(?,'flash_sale',?,?,?,?,?,?,?,?,?,?)",
    after: " ON DUPLICATE KEY UPDATE title = VALUES(title), starts_at_ms = VALUES(starts_at_ms), \
            ends_at_ms = VALUES(ends_at_ms), per_user_limit = VALUES(per_user_limit), \
            payment_window_ms = VALUES(payment_window_ms), version = VALUES(version), paused = VALUES(paused), \
            closed = VALUES(closed), seq = VALUES(seq)",
    sizes: &STATEMENT_ROWS,
};

const SHARDS: Into = Into {
    before: "INSERT INTO activity_shards (shard_id, activity_id, part, orders_placed) VALUES ",
    row: "(?,?,?,?)",
    after: " ON DUPLICATE KEY UPDATE orders_placed = VALUES(orders_placed)",
    sizes: &STATEMENT_ROWS,
};

const SKUS: Into = Into {
    before: "INSERT INTO sku_stock (activity_id, sku_id, sku_index, title, price_cents, listed, stock, available, held, \
             sold, seq) VALUES ",
    row: "(?,?,?,?,?,?,?,?,?,?,?)",
    after: " ON DUPLICATE KEY UPDATE title = VALUES(title), price_cents = VALUES(price_cents), \
            listed = VALUES(listed), stock = VALUES(stock), available = VALUES(available), held = VALUES(held), \
            sold = VALUES(sold), seq = VALUES(seq)",
    sizes: &STATEMENT_ROWS,
};

async fn insert<T>(
    connection: &mut MySqlConnection,
    into: &Into,
    rows: &[T],
    bind: impl Fn(Bound, &T) -> Bound,
) -> Result<(), Error> {
    for chunk in chunks(rows, into.sizes) {
        let sql = format!("{}{}{}", into.before, marks(into.row, chunk.len()), into.after);
        let insert = chunk.iter().fold(query(AssertSqlSafe(sql)), &bind);
        execute(connection, insert).await?;
    }
    Ok(())
}

/// Runs a statement; returns the rows that it affected.
async fn execute(connection: &mut MySqlConnection, statement: Bound) -> Result<u64, Error> {
    let executed = async { statement.execute(connection).await.map_err(Error::sql(DOING)) };
    Ok(in_time(DOING, STATEMENT_WAIT, executed).await?.rows_affected())
}

/// Cuts rows into statements of the known sizes, which end with 1.
fn chunks<'r, T>(mut rows: &'r [T], sizes: &'static [usize]) -> impl Iterator<Item = &'r [T]> {
    std::iter::from_fn(move || {
        let size = sizes.iter().copied().find(|size| *size <= rows.len())?;
        let (chunk, rest) = rows.split_at(size);
        rows = rest;
        Some(chunk)
    })
}

fn marks(one: &str, count: usize) -> String {
    vec![one; count].join(",")
}

fn bind_order(query: Bound, row: &OrderRow) -> Bound {
    let query = query.bind(row.order_id.0).bind(row.activity_id.0).bind(row.sku_id.as_str().to_owned());
    let query = query.bind(row.user.to_string()).bind(row.quantity).bind(row.amount_cents.0);
    let query = query.bind(row.currency.clone()).bind(row.state.as_str());
    let query = query.bind(row.reference.as_deref().map(str::to_owned)).bind(row.key.map(|key| key.0.to_vec()));
    let query = query.bind(row.held_at_ms.0).bind(row.expires_at_ms.0).bind(row.ended_at_ms.map(|at_ms| at_ms.0));
    query.bind(row.placed_seq.0).bind(row.seq.0)
}

fn bind_slot(query: Bound, order: &OrderRow, slot: u32) -> Bound {
    let live = (order.state == OrderState::Held).then_some(1u8);
    let query = query.bind(order.order_id.0).bind(slot).bind(order.activity_id.0);
    query.bind(order.sku_id.as_str().to_owned()).bind(live)
}

fn bind_action(query: Bound, row: &ActionRow) -> Bound {
    let user = match row.by {
        Author::Operator(user) => Some(user.to_string()),
        Author::StartUp => None,
    };
    let query = query.bind(row.seq.0).bind(row.change_id).bind(row.at_ms.0).bind(row.activity_id.0);
    let query = query.bind(actor_word(row.by)).bind(user).bind(row.action).bind(row.version);
    query.bind(row.definition.clone()).bind(row.stock.clone())
}

fn bind_activity(query: Bound, row: &ActivityRow) -> Bound {
    let query = query.bind(row.activity_id.0).bind(row.title.clone()).bind(row.currency.clone());
    let query = query.bind(row.starts_at_ms.0).bind(row.ends_at_ms.0).bind(row.per_user_limit);
    let query = query.bind(row.payment_window_ms).bind(row.version);
    query.bind(u8::from(row.paused)).bind(u8::from(row.closed)).bind(row.seq.0)
}

fn bind_shard(query: Bound, row: &ShardRow) -> Bound {
    query.bind(row.shard.0).bind(row.activity_id.0).bind(row.part).bind(row.orders_placed)
}

fn bind_sku(query: Bound, row: &SkuRow) -> Bound {
    let query = query.bind(row.activity_id.0).bind(row.sku_id.as_str().to_owned()).bind(row.index.0);
    let query = query.bind(row.title.clone()).bind(row.price_cents.0).bind(u8::from(row.listed));
    query.bind(row.stock).bind(row.available).bind(row.held).bind(row.sold).bind(row.seq.0)
}
