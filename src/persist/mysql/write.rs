//! Writing a batch's rows, in the transaction that moves the cursor.
//!
//! Rows go out many to a statement, prepared once a connection and sent as binary values: half again as fast as the same
//! rows as SQL text (docs/FIGURES.md). Nothing is ever inserted with `IGNORE`, which would cut what does not fit.

use std::time::Duration;

use sqlx::mysql::{MySql, MySqlArguments, MySqlConnection};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, query};

use super::changes;
use super::connect::in_time;
use super::error::Error;
use super::projection::{Batch, Known};
use super::rows::{ActionRow, ActivityRow, GrabRow, OrderRow, PaymentRow, RoundRow, ShardRow, SkuRow, actor_word};
use crate::domain::event::Author;
use crate::domain::payment::Why;
use crate::domain::split::Seed;
use crate::ids::{ActivityId, OrderId, UserId};

pub(super) type Bound = Query<'static, MySql, MySqlArguments>;

/// Rows in one statement. Larger ones are slower to execute; the rest of a batch goes in smaller sizes, so that few
/// statements are prepared. 512 rows of 20 columns are well below a statement's 65,535 values.
pub(super) const STATEMENT_ROWS: [usize; 4] = [512, 64, 8, 1];
/// The same for rows that may hold a definition, some 70 KB: a server takes 16 MiB in one packet, and may be told to take
/// less.
const STATEMENT_LONG_ROWS: [usize; 2] = [8, 1];
/// How long one statement may take. Of the largest, the end of 512 orders of 1,000 units each, a server makes some seconds.
const STATEMENT_WAIT: Duration = Duration::from_secs(30);

pub(super) const DOING: &str = "shipping";

/// Writes everything that the batch changes.
pub(super) async fn batch(connection: &mut MySqlConnection, known: &mut Known, batch: &mut Batch) -> Result<(), Error> {
    // Slots become free before they are sold again, all of them before the first: the unique key has one live owner a
    // slot, and within a batch a slot may go from hand to hand.
    let fresh = changes::orders(connection, known, batch).await?;
    changes::payments(connection, batch).await?;
    let activities = batch.activities.iter().map(|id| &known.activities[id]);
    insert(connection, &ACTIVITIES, &activities.collect::<Vec<_>>(), |query, row| bind_activity(query, row)).await?;
    let shards = batch.shards.iter().map(|shard| &known.shards[shard]);
    insert(connection, &SHARDS, &shards.collect::<Vec<_>>(), |query, row| bind_shard(query, row)).await?;
    insert(connection, &ACTIONS, &batch.actions, bind_action).await?;
    insert(connection, &ORDERS, &batch.orders, bind_order).await?;
    let slots = batch.orders.iter().flat_map(|order| order.slots.iter().map(move |slot| (order, *slot)));
    insert(connection, &SLOTS, &slots.collect::<Vec<_>>(), |query, (order, slot)| {
        bind_slot(query, order.order_id, *slot, order.activity_id, order.sku_id.as_str(), order.live)
    })
    .await?;
    let slots = fresh.iter().flat_map(|order| order.slots.iter().map(move |slot| (order, *slot)));
    insert(connection, &SLOTS, &slots.collect::<Vec<_>>(), |query, (order, slot)| {
        bind_slot(query, order.order_id, *slot, order.activity_id, &order.sku_id, order.live)
    })
    .await?;
    insert(connection, &PAYMENTS, &batch.payments, bind_payment).await?;
    let skus = batch.skus.iter().map(|(activity_id, index)| &known.skus[activity_id][usize::from(index.0)]);
    insert(connection, &SKUS, &skus.collect::<Vec<_>>(), |query, row| bind_sku(query, row)).await?;
    insert(connection, &GRABS, &batch.grabs, bind_grab).await?;
    let rounds = batch.rounds.iter().map(|(activity_id, round)| &known.rounds[activity_id][usize::from(round.0)]);
    insert(connection, &ROUNDS, &rounds.collect::<Vec<_>>(), |query, row| bind_round(query, row)).await
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

const PAYMENTS: Into = Into {
    before: "INSERT INTO payments (payment_id, owner_shard, number, order_id, order_named, activity_id, amount_cents, \
             currency, payment_state, reason, reacquired, received_at_ms, due_at_ms, done_at_ms, refunded_by, done_by, \
             received_seq, seq) VALUES ",
    row: "(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
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
    row: "(?,?,?,?,?,?,?,?,?,?,?,?)",
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

const GRABS: Into = Into {
    before: "INSERT INTO red_packet_grabs (grab_id, activity_id, round, packet, user_id, amount_cents, currency, \
             idempotency_digest, granted_at_ms, seq) VALUES ",
    row: "(?,?,?,?,?,?,?,?,?,?)",
    after: "",
    sizes: &STATEMENT_ROWS,
};

const ROUNDS: Into = Into {
    before: "INSERT INTO red_packet_rounds (activity_id, round, starts_at_ms, ends_at_ms, split, min_cents, max_cents, \
             listed, total_cents, packets, first_slot, granted, granted_cents, refunded, refunded_cents, is_over, \
             ended_at_ms, commitment, seed, merchant_id, funding_ref, seq) VALUES ",
    row: "(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
    after: " ON DUPLICATE KEY UPDATE starts_at_ms = VALUES(starts_at_ms), ends_at_ms = VALUES(ends_at_ms), \
            split = VALUES(split), min_cents = VALUES(min_cents), max_cents = VALUES(max_cents), \
            listed = VALUES(listed), total_cents = VALUES(total_cents), packets = VALUES(packets), \
            first_slot = VALUES(first_slot), granted = VALUES(granted), granted_cents = VALUES(granted_cents), \
            refunded = VALUES(refunded), refunded_cents = VALUES(refunded_cents), is_over = VALUES(is_over), \
            ended_at_ms = VALUES(ended_at_ms), commitment = VALUES(commitment), seed = VALUES(seed), \
            merchant_id = VALUES(merchant_id), funding_ref = VALUES(funding_ref), seq = VALUES(seq)",
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
pub(super) async fn execute(connection: &mut MySqlConnection, statement: Bound) -> Result<u64, Error> {
    let executed = async { statement.execute(connection).await.map_err(Error::sql(DOING)) };
    Ok(in_time(DOING, STATEMENT_WAIT, executed).await?.rows_affected())
}

/// Cuts rows into statements of the known sizes, which end with 1.
pub(super) fn chunks<'r, T>(mut rows: &'r [T], sizes: &'static [usize]) -> impl Iterator<Item = &'r [T]> {
    std::iter::from_fn(move || {
        let size = sizes.iter().copied().find(|size| *size <= rows.len())?;
        let (chunk, rest) = rows.split_at(size);
        rows = rest;
        Some(chunk)
    })
}

pub(super) fn marks(one: &str, count: usize) -> String {
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

fn bind_slot(query: Bound, order_id: OrderId, slot: u32, activity_id: ActivityId, sku_id: &str, live: bool) -> Bound {
    let query = query.bind(order_id.0).bind(slot).bind(activity_id.0);
    query.bind(sku_id.to_owned()).bind(live.then_some(1u8))
}

fn bind_payment(query: Bound, row: &PaymentRow) -> Bound {
    let user = |user: Option<UserId>| user.map(|user| user.to_string());
    let query = query.bind(row.payment_id.to_string()).bind(row.owner.0).bind(row.number);
    let query = query.bind(row.order_id.map(|order_id| order_id.0)).bind(row.named.to_string());
    let query = query.bind(row.activity_id.map(|activity_id| activity_id.0)).bind(row.amount_cents.0);
    let query = query.bind(row.currency.to_string()).bind(row.state.as_str()).bind(row.why.map(Why::as_str));
    let query = query.bind(u8::from(row.reacquired)).bind(row.received_at_ms.0);
    let query = query.bind(row.due_at_ms.map(|at_ms| at_ms.0)).bind(row.done_at_ms.map(|at_ms| at_ms.0));
    let query = query.bind(user(row.refunded_by)).bind(user(row.done_by));
    query.bind(row.received_seq.0).bind(row.seq.0)
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
    let query = query.bind(row.activity_id.0).bind(row.kind).bind(row.title.clone()).bind(row.currency.clone());
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

fn bind_grab(query: Bound, row: &GrabRow) -> Bound {
    let query = query.bind(row.grab_id.0).bind(row.activity_id.0).bind(row.round.0).bind(row.packet);
    let query = query.bind(row.user.to_string()).bind(row.amount_cents.0).bind(row.currency.clone());
    query.bind(row.key.map(|key| key.0.to_vec())).bind(row.granted_at_ms.0).bind(row.seq.0)
}

fn bind_round(query: Bound, row: &RoundRow) -> Bound {
    let query = query.bind(row.activity_id.0).bind(row.round.0).bind(row.starts_at_ms.0).bind(row.ends_at_ms.0);
    let terms = &row.terms;
    let query = query.bind(terms.split.as_str()).bind(terms.min_cents).bind(terms.max_cents);
    let query = query.bind(u8::from(row.listed)).bind(terms.total_cents).bind(terms.packets).bind(row.first_slot);
    let query = query.bind(row.granted).bind(row.granted_cents).bind(row.refunded).bind(row.refunded_cents);
    let query = query.bind(u8::from(row.ended_at_ms.is_some())).bind(row.ended_at_ms.map(|at_ms| at_ms.0));
    let query = query.bind(row.commitment.clone()).bind(row.seed.map(Seed::to_hex));
    query.bind(row.merchant.map(|id| id.to_string())).bind(row.funding_ref.clone()).bind(row.seq.0)
}
