//! Red packets, from MySQL: who grabbed what, and what became of each round.

use std::collections::HashMap;

use super::super::Lies;
use super::shard_view;
use crate::actors::ask::{Answer, GrabView, RoundCount, ShardView};
use crate::domain::command::Grab;
use crate::domain::sale::SkuCount;
use crate::domain::{Definition, Refusal};
use crate::ids::{Qty, ShardId, SkuIndex};
use crate::persist::mysql::read_back::{Left, Wanted};
use crate::persist::mysql::rows::{GrabRow, RoundRow};
use crate::persist::mysql::{Error, ReadBack};

/// Grabs that MySQL counts shard by shard, which takes it about a second for so many. Of more it is told how many each
/// shard had, and nothing of its rounds.
const COUNTED_MAX: u64 = 1_000_000;

/// The packet that an earlier request with the same key grabbed; it is over for every other.
pub(super) async fn replay(rows: &mut ReadBack, all: Wanted, command: &Grab) -> Result<Result<Answer, Refusal>, Error> {
    let Some(key) = command.key else { return Ok(Err(Refusal::Ended)) };
    let found = rows.grabs(Wanted { user: Some(command.user), key: Some(key), limit: 1, ..all }).await?;
    let grab = found.into_iter().next().map(|row| Answer::Grab { grab: view(&row), replayed: true });
    Ok(grab.ok_or(Refusal::Ended))
}

/// A user's own, of which one more than `limit` is wanted.
pub(super) async fn of_user(rows: &mut ReadBack, wanted: Wanted, limit: usize) -> Result<Answer, Error> {
    let (grabs, more) = cut(&rows.grabs(wanted).await?, limit);
    let next = grabs.last().filter(|_| more).and_then(|grab| grab.grab_id.sequence());
    Ok(Answer::Grabs(grabs, next))
}

/// A page of all, of which one more than `limit` is wanted.
pub(super) async fn one_page(rows: &mut ReadBack, wanted: Wanted, limit: usize) -> Result<Answer, Error> {
    let (grabs, more) = cut(&rows.grabs(wanted).await?, limit);
    let next = grabs.last().filter(|_| more).map(|grab| grab.grab_id);
    Ok(Answer::GrabPage(grabs, next))
}

/// The shards with what was grabbed in each. Nothing lies in them any more: what nobody grabbed is refunded.
pub(super) async fn shards(rows: &mut ReadBack, lies: Lies, left: &Left) -> Result<Vec<ShardView>, Error> {
    if lies.orders > COUNTED_MAX {
        return Ok(left.shards.iter().map(shard_view).collect());
    }
    let (first, last) = (lies.home.shard(0), lies.home.shard(lies.parts - 1));
    let granted = rows.granted(first, last).await?.into_iter();
    let granted: HashMap<(ShardId, SkuIndex), RoundCount> = granted
        .map(|there| {
            let (granted, granted_cents) = (there.granted, there.granted_cents.0);
            ((there.shard, there.round), RoundCount { granted, granted_cents, ..RoundCount::default() })
        })
        .collect();
    let listed = || left.rounds.iter().filter(|row| row.listed);
    let view = |shard: ShardView| {
        let count = |round: &RoundRow| granted.get(&(shard.shard, round.round)).copied().unwrap_or_default();
        let rounds: Vec<RoundCount> = listed().map(count).collect();
        let there = |(round, count): (&RoundRow, &RoundCount)| {
            let (sku_id, sold) = (Definition::sku_of_round(round.round.0.into()), Qty(count.granted));
            SkuCount { sku_id, stock: sold, available: Qty(0), held: Qty(0), sold }
        };
        let skus = listed().zip(&rounds).map(there).collect();
        ShardView { skus, rounds, ..shard }
    };
    Ok(left.shards.iter().map(shard_view).map(view).collect())
}

/// What became of a round.
pub(super) fn count(row: &RoundRow) -> RoundCount {
    RoundCount {
        granted: row.granted,
        granted_cents: row.granted_cents,
        refunded: row.refunded,
        refunded_cents: row.refunded_cents,
    }
}

/// A round's packets, counted like units.
pub(super) fn count_packets(row: &RoundRow) -> SkuCount {
    SkuCount {
        sku_id: Definition::sku_of_round(row.round.0.into()),
        stock: Qty(row.terms.packets),
        available: Qty(row.terms.packets.saturating_sub(row.granted + row.refunded)),
        held: Qty(0),
        sold: Qty(row.granted),
    }
}

/// At most `limit` of them, and whether there were more.
fn cut(rows: &[GrabRow], limit: usize) -> (Vec<GrabView>, bool) {
    (rows.iter().take(limit).map(view).collect(), rows.len() > limit)
}

fn view(row: &GrabRow) -> GrabView {
    GrabView {
        grab_id: row.grab_id,
        activity_id: row.activity_id,
        user: row.user,
        round: row.round.0.into(),
        packet: row.packet,
        amount_cents: row.amount_cents,
        granted_at_ms: row.granted_at_ms,
    }
}
