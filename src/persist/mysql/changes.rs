//! Writing what becomes of orders and payments of earlier batches. Each is looked up in the batch's own transaction, which
//! proves that it is there and stands where the journal says.

use std::collections::HashMap;
use std::time::Duration;

use sqlx::mysql::MySqlConnection;
use sqlx::{AssertSqlSafe, Row, query};

use super::connect::in_time;
use super::error::Error;
use super::projection::{Batch, Changed, Known, Owned};
use super::rows::PaymentRow;
use super::session::{self, unreadable};
use super::write::{Bound, DOING, STATEMENT_ROWS, chunks, execute, marks};
use crate::domain::payment::Why;
use crate::ids::{ActivityId, OrderId, Seq, UserId};

/// How long one look-up may take.
const LOOK_WAIT: Duration = Duration::from_secs(30);
/// Payments that one statement looks up: each is a condition of its own. Operators change them, one by one.
const STATEMENT_PAYMENTS: [usize; 3] = [64, 8, 1];

/// Other units that an order has from now on: rows of `order_slots` to be inserted.
pub(super) struct Fresh {
    pub order_id: OrderId,
    pub activity_id: ActivityId,
    pub sku_id: String,
    pub slots: Vec<u32>,
    pub live: bool,
}

/// Changes orders that were shipped before. Of their slots it frees what is free at the end of the batch, and deletes what
/// is another's or nobody's for good; it returns what is to be inserted when all that has been done.
pub(super) async fn orders(
    connection: &mut MySqlConnection,
    known: &mut Known,
    batch: &mut Batch,
) -> Result<Vec<Fresh>, Error> {
    let mut all_fresh = Vec::new();
    let changed = std::mem::take(&mut batch.changed);
    for chunk in chunks(&changed, &STATEMENT_ROWS) {
        let first = chunk[0].seq;
        let sql = format!(
            "SELECT order_id, activity_id, sku_id, quantity, state FROM orders WHERE order_id IN ({}) FOR UPDATE",
            marks("?", chunk.len())
        );
        let there = chunk.iter().fold(query(AssertSqlSafe(sql)), |query, order| query.bind(order.order_id.0));
        let there = async { there.fetch_all(&mut *connection).await.map_err(Error::sql(DOING)) };
        let rows = in_time(DOING, LOOK_WAIT, there).await?;
        let changed_of: HashMap<OrderId, &Changed> = chunk.iter().map(|order| (order.order_id, order)).collect();
        let (mut released, mut released_units) = (Vec::new(), 0);
        let (mut replaced, mut replaced_units) = (Vec::new(), 0);
        let mut found = 0;
        for row in rows {
            let read = || {
                let sku_id: String = row.try_get("sku_id")?;
                let (order_id, state) = (OrderId(row.try_get("order_id")?), row.try_get::<String, _>("state")?);
                let activity_id = ActivityId(row.try_get("activity_id")?);
                Ok((order_id, activity_id, sku_id, row.try_get::<u32, _>("quantity")?, state))
            };
            let (order_id, activity_id, sku_id, quantity, state) = read().map_err(unreadable("orders"))?;
            let order = changed_of[&order_id];
            found += u64::from(state == order.from.as_str());
            if let Some(seq) = order.moved_seq {
                known.moved(batch, seq, activity_id, &sku_id, quantity, order.moves)?;
            }
            if let Some(fresh) = &order.fresh {
                replaced.push(order_id);
                replaced_units += quantity as usize;
                let slots = fresh.iter().collect();
                all_fresh.push(Fresh { order_id, activity_id, sku_id, slots, live: order.live });
            } else if !order.live {
                released.push(order_id);
                released_units += quantity as usize;
            }
        }
        gone("orders", first, chunk.len(), found)?;
        let one = "SELECT CAST(? AS UNSIGNED) AS order_id, CAST(? AS CHAR(16)) AS state, CAST(? AS UNSIGNED) AS at_ms, \
                   CAST(? AS UNSIGNED) AS seq";
        let all = vec![one; chunk.len()].join(" UNION ALL ");
        let sql = format!(
            "UPDATE orders o JOIN ({all}) e ON o.order_id = e.order_id \
             SET o.state = e.state, o.ended_at_ms = e.at_ms, o.seq = e.seq"
        );
        let update = chunk.iter().fold(query(AssertSqlSafe(sql)), |query, order| {
            query.bind(order.order_id.0).bind(order.state.as_str()).bind(order.at_ms.0).bind(order.seq.0)
        });
        gone("orders", first, chunk.len(), execute(connection, update).await?)?;
        let free = "UPDATE order_slots SET live = NULL WHERE live = 1 AND order_id IN";
        let freed = of_orders(connection, free, &released).await?;
        gone("order_slots", first, released_units, freed)?;
        let deleted = of_orders(connection, "DELETE FROM order_slots WHERE order_id IN", &replaced).await?;
        gone("order_slots", first, replaced_units, deleted)?;
    }
    Ok(all_fresh)
}

/// Runs a statement that ends with a list of orders; returns the rows that it affected.
async fn of_orders(connection: &mut MySqlConnection, before: &str, orders: &[OrderId]) -> Result<u64, Error> {
    let mut affected = 0;
    for chunk in chunks(orders, &STATEMENT_ROWS) {
        let sql = format!("{before} ({})", marks("?", chunk.len()));
        let statement = chunk.iter().fold(query(AssertSqlSafe(sql)), |query, order_id| query.bind(order_id.0));
        affected += execute(connection, statement).await?;
    }
    Ok(affected)
}

/// Changes payments that were shipped before, and tells the batch's actions their ids.
pub(super) async fn payments(connection: &mut MySqlConnection, batch: &mut Batch) -> Result<(), Error> {
    let turns = std::mem::take(&mut batch.turns);
    let Some(first) = turns.first().map(|turn| turn.seq) else { return Ok(()) };
    let mut owned: Vec<Owned> = turns.iter().map(|turn| turn.owned).collect();
    owned.sort_unstable();
    owned.dedup();
    let mut rows: HashMap<Owned, PaymentRow> = HashMap::new();
    for chunk in chunks(&owned, &STATEMENT_PAYMENTS) {
        let conditions = vec!["(owner_shard = ? AND number = ?)"; chunk.len()].join(" OR ");
        let sql = format!("SELECT {} FROM payments WHERE {conditions} FOR UPDATE", session::PAYMENT_COLUMNS);
        let there = chunk.iter().fold(query(AssertSqlSafe(sql)), |query, owned| query.bind(owned.0.0).bind(owned.1));
        let there = async { there.fetch_all(&mut *connection).await.map_err(Error::sql(DOING)) };
        for row in in_time(DOING, LOOK_WAIT, there).await? {
            let row = session::payment(&row).map_err(unreadable("payments"))?;
            rows.insert((row.owner, row.number), row);
        }
    }
    gone("payments", first, owned.len(), u64::try_from(rows.len()).expect("no more than were asked for"))?;
    for turn in &turns {
        let row = rows.get_mut(&turn.owned).expect("each was found");
        row.turn(turn)?;
        batch.actions[turn.action].definition = Some(turn.told(&row.payment_id));
    }
    for chunk in chunks(&owned, &STATEMENT_PAYMENTS) {
        // By the numbers: a text as a parameter is of another character set than the id, and would find no index.
        let one = "SELECT CAST(? AS UNSIGNED) AS owner_shard, CAST(? AS UNSIGNED) AS number, \
                   CAST(? AS CHAR(16)) AS payment_state, CAST(? AS CHAR(32)) AS reason, \
                   CAST(? AS UNSIGNED) AS due_at_ms, CAST(? AS UNSIGNED) AS done_at_ms, \
                   CAST(? AS CHAR(64)) AS refunded_by, CAST(? AS CHAR(64)) AS done_by, CAST(? AS UNSIGNED) AS seq";
        let all = vec![one; chunk.len()].join(" UNION ALL ");
        let sql = format!(
            "UPDATE payments p JOIN ({all}) e ON p.owner_shard = e.owner_shard AND p.number = e.number \
             SET p.payment_state = e.payment_state, p.reason = e.reason, p.due_at_ms = e.due_at_ms, \
             p.done_at_ms = e.done_at_ms, p.refunded_by = e.refunded_by, p.done_by = e.done_by, p.seq = e.seq"
        );
        let update = chunk.iter().fold(query(AssertSqlSafe(sql)), |query, owned| bind_turned(query, &rows[owned]));
        gone("payments", first, chunk.len(), execute(connection, update).await?)?;
    }
    Ok(())
}

fn bind_turned(query: Bound, row: &PaymentRow) -> Bound {
    let query = query.bind(row.owner.0).bind(row.number).bind(row.state.as_str()).bind(row.why.map(Why::as_str));
    let query = query.bind(row.due_at_ms.map(|at_ms| at_ms.0)).bind(row.done_at_ms.map(|at_ms| at_ms.0));
    let user = |user: Option<UserId>| user.map(|user| user.to_string());
    query.bind(user(row.refunded_by)).bind(user(row.done_by)).bind(row.seq.0)
}

/// Whether as many rows were there as event `seq` and those after it change.
fn gone(table: &'static str, seq: Seq, expected: usize, found: u64) -> Result<(), Error> {
    let expected = u64::try_from(expected).expect("a chunk is small");
    if found == expected { Ok(()) } else { Err(Error::RowsGone { table, expected, found, seq }) }
}
