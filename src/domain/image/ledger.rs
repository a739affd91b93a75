//! What an image says beside the shards: which activities are in memory, which have left it, and the last numbers given.
//! It ends the image.

use std::sync::Arc;

use rmp_serde::Deserializer;
use serde::{Deserialize, Serialize};

use super::super::definition::Definition;
use super::super::part::Part;
use super::super::sales::{Retired, Sales, Standing};
use super::super::suspense::Suspense;
use super::bytes::{Bytes, put as put_number, put_after};
use super::encode::Open;
use super::payments::{self, ROW_KEYS};
use super::{Fault, Piece, kind};
use crate::ids::{ActivityId, Seq, ShardId, UnixMillis};

/// Activities in one row.
const ROW_STANDING: usize = 4096;
/// Activities that have left, in one piece.
const PIECE_RETIRED: usize = 256;

/// By position, as events are: add fields at the end with a default.
#[derive(Serialize, Deserialize)]
struct Left<D> {
    activity_id: ActivityId,
    home: Part,
    definition: D,
    version: u64,
    closed: bool,
    orders: u64,
    first: Seq,
    last: Seq,
}

/// The last row: numbers, and how much there is of everything.
pub(super) struct End {
    pub last_shard: ShardId,
    pub last_change_id: u64,
    pub last_at_ms: UnixMillis,
    pub shards: u64,
    pub standing: u64,
    pub retired: u64,
    /// Payments of the suspense account; from version 2 on.
    pub suspended: u32,
}

/// Writes the ledger of `sales` in pieces of its own.
pub(super) fn put<E>(
    sales: &Sales,
    shards: u64,
    open: &mut Open,
    each: &mut impl FnMut(Piece<'_>) -> Result<(), E>,
) -> Result<(), E> {
    // Named one by one: a field that is new must be thought of here.
    let Sales { shards: _, standing, retired, suspense, last_shard, last_change_id, last_at_ms } = sales;
    open.suspense(suspense, each)?;
    let listed: Vec<(&ActivityId, &Standing)> = standing.iter().collect();
    for listed in listed.chunks(ROW_STANDING) {
        open.any_row(kind::STANDING, |out| put_standing(listed, out));
        open.close_if_full(each)?;
    }
    open.close(each)?;
    // In the order in which they left, so that all but the last piece keep their bytes.
    let mut left: Vec<(&ActivityId, &Retired)> = retired.iter().collect();
    left.sort_unstable_by_key(|(activity_id, retired)| (retired.last, **activity_id));
    for left in left.chunks(PIECE_RETIRED) {
        for (activity_id, retired) in left {
            open.any_row(kind::RETIRED, |out| put_retired(**activity_id, retired, out));
            open.close_if_full(each)?;
            for keys in retired.payments.chunks(ROW_KEYS) {
                open.any_row(kind::LEFT_PAYMENTS, |out| {
                    put_number(out, activity_id.0);
                    payments::put_keys(keys, out);
                });
                open.close_if_full(each)?;
            }
        }
        open.close(each)?;
    }
    open.any_row(kind::END, |out| {
        let numbers = [u64::from(last_shard.0), *last_change_id, last_at_ms.0];
        let counts = [shards, standing.len() as u64, retired.len() as u64];
        numbers.into_iter().chain(counts).for_each(|number| put_number(out, number));
        if suspense.payments.count() > 0 {
            put_number(out, u64::from(suspense.payments.count()));
        }
    });
    if suspense.payments.count() > 0 {
        open.is_new();
    }
    open.close(each)
}

fn put_standing(listed: &[(&ActivityId, &Standing)], out: &mut Vec<u8>) {
    put_number(out, listed.len() as u64);
    let (mut before, mut first_before, mut home_before) = (0, 0, 0);
    for (activity_id, standing) in listed {
        let Standing { first, home, shards } = standing;
        put_after(out, before, activity_id.0);
        put_after(out, first_before, first.0);
        put_after(out, home_before, u64::from(home.0));
        put_number(out, u64::from(*shards));
        (before, first_before, home_before) = (activity_id.0, first.0, u64::from(home.0));
    }
}

fn put_retired(activity_id: ActivityId, retired: &Retired, out: &mut Vec<u8>) {
    let Retired { home, definition, version, closed, orders, first, last, payments: _ } = retired;
    let left = Left {
        activity_id,
        home: *home,
        definition: &**definition,
        version: *version,
        closed: *closed,
        orders: *orders,
        first: *first,
        last: *last,
    };
    rmp_serde::encode::write(out, &left).expect("plain data has an encoding");
}

/// Hands over each activity of a row of those in memory.
pub(super) fn read_standing(
    mut row: Bytes<'_>,
    mut each: impl FnMut(ActivityId, Standing) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let (mut before, mut first_before, mut home_before) = (0, 0, 0);
    for _ in 0..row.small::<usize>()? {
        before = row.number_after(before)?;
        first_before = row.number_after(first_before)?;
        home_before = row.number_after(home_before)?;
        let home = u32::try_from(home_before).unwrap_or(u32::MAX);
        let standing = Standing { first: Seq(first_before), home: ShardId(home), shards: row.small()? };
        if standing.home > ShardId::MAX || standing.shards == 0 {
            return Err(Fault::Senseless("an activity is at home in no shard"));
        }
        each(ActivityId(before), standing)?;
    }
    row.ends()
}

/// Reads an activity that has left.
pub(super) fn read_retired(row: Bytes<'_>) -> Result<(ActivityId, Retired), Fault> {
    let mut decoder = Deserializer::new(row.0);
    let left = Left::<Definition>::deserialize(&mut decoder)
        .map_err(|_| Fault::Senseless("an activity that has left does not decode"))?;
    Bytes(decoder.get_ref()).ends()?;
    let Left { activity_id, home, definition, version, closed, orders, first, last } = left;
    let definition = Arc::new(definition);
    let retired = Retired { home, definition, version, closed, orders, first, last, payments: Arc::default() };
    Ok((activity_id, retired))
}

/// Reads the last row.
pub(super) fn read_end(mut row: Bytes<'_>) -> Result<End, Fault> {
    let end = End {
        last_shard: ShardId(row.small()?),
        last_change_id: row.number()?,
        last_at_ms: UnixMillis(row.number()?),
        shards: row.number()?,
        standing: row.number()?,
        retired: row.number()?,
        suspended: if row.0.is_empty() { 0 } else { row.small()? },
    };
    row.ends()?;
    Ok(end)
}

impl Sales {
    /// Takes the ledger of `part` over, which was folded of the events of other shards than this one, and leaves its
    /// shards aside. Of all parts together it is the whole's.
    pub fn absorb_ledger(&mut self, part: Self) {
        self.standing.extend(part.standing);
        self.retired.extend(part.retired);
        if part.suspense != Suspense::default() {
            self.suspense = part.suspense;
        }
        self.last_shard = self.last_shard.max(part.last_shard);
        self.last_change_id = self.last_change_id.max(part.last_change_id);
        self.last_at_ms = self.last_at_ms.max(part.last_at_ms);
    }
}
