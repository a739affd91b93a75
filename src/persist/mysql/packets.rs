//! Red packets as rows: reading them, and what a definition tells in MySQL.

use std::borrow::Cow;

use sqlx::mysql::{MySqlConnection, MySqlRow};
use sqlx::{Row, query};

use super::error::Error;
use super::rows::{GrabRow, RoundRow};
use super::session::unreadable;
use crate::domain::Definition;
use crate::domain::split::{Seed, Split, Terms};
use crate::ids::{ActivityId, Cents, KeyDigest, OrderId, Seq, SkuIndex, UnixMillis};

/// What [`grab`] reads.
pub(super) const GRAB_COLUMNS: &str = "grab_id, activity_id, round, packet, user_id, amount_cents, currency, \
    idempotency_digest, granted_at_ms, seq";

/// A definition as `operator_actions` has it. The rounds' plans are left out, with the seeds in them: who reads MySQL
/// would know every amount before the round starts.
pub(super) fn as_json(definition: &Definition) -> String {
    let mut told = Cow::Borrowed(definition);
    if definition.packets.is_some() {
        let packets = told.to_mut().packets.as_deref_mut();
        packets.into_iter().flat_map(|packets| &mut packets.rounds).for_each(|round| round.plan = None);
    }
    serde_json::to_string(&*told).expect("a definition has only text, numbers and flags")
}

/// The rows of `red_packet_rounds`, all or one activity's, by activity and number.
pub(super) async fn rounds(connection: &mut MySqlConnection, of: Option<ActivityId>) -> Result<Vec<RoundRow>, Error> {
    let rows = query(
        "SELECT activity_id, round, starts_at_ms, ends_at_ms, split, min_cents, max_cents, listed, total_cents, packets, \
         first_slot, granted, granted_cents, refunded, refunded_cents, ended_at_ms, commitment, seed, merchant_id, funding_ref, seq \
         FROM red_packet_rounds WHERE ? IS NULL OR activity_id = ? ORDER BY activity_id, round",
    );
    let rows = rows.bind(of.map(|id| id.0)).bind(of.map(|id| id.0)).fetch_all(connection).await;
    let rows = rows.map_err(Error::sql("reading rounds"))?;
    rows.iter().map(round).collect::<Result<_, _>>().map_err(unreadable("red_packet_rounds"))
}

fn round(row: &MySqlRow) -> Result<RoundRow, sqlx::Error> {
    let split: String = row.try_get("split")?;
    let split = [Split::Random, Split::Equal].into_iter().find(|known| known.as_str() == split);
    let seed: Option<String> = row.try_get("seed")?;
    let seed = seed.map(|seed| Seed::from_hex(&seed).ok_or_else(|| odd("a seed is 64 hexadecimal digits")));
    let merchant: Option<String> = row.try_get("merchant_id")?;
    Ok(RoundRow {
        activity_id: ActivityId(row.try_get("activity_id")?),
        round: SkuIndex(row.try_get("round")?),
        starts_at_ms: UnixMillis(row.try_get("starts_at_ms")?),
        ends_at_ms: UnixMillis(row.try_get("ends_at_ms")?),
        terms: Terms {
            split: split.ok_or_else(|| odd("the split is unknown"))?,
            packets: row.try_get("packets")?,
            total_cents: row.try_get("total_cents")?,
            min_cents: row.try_get("min_cents")?,
            max_cents: row.try_get("max_cents")?,
        },
        listed: row.try_get::<u8, _>("listed")? != 0,
        first_slot: row.try_get("first_slot")?,
        granted: row.try_get("granted")?,
        granted_cents: row.try_get("granted_cents")?,
        refunded: row.try_get("refunded")?,
        refunded_cents: row.try_get("refunded_cents")?,
        ended_at_ms: row.try_get::<Option<u64>, _>("ended_at_ms")?.map(UnixMillis),
        commitment: row.try_get("commitment")?,
        seed: seed.transpose()?,
        merchant: merchant.map(|id| id.parse()).transpose().map_err(|error| sqlx::Error::Decode(Box::new(error)))?,
        funding_ref: row.try_get("funding_ref")?,
        seq: Seq(row.try_get("seq")?),
    })
}

/// Reads a row of `red_packet_grabs`.
pub(super) fn grab(row: &MySqlRow) -> Result<GrabRow, sqlx::Error> {
    let key: Option<Vec<u8>> = row.try_get("idempotency_digest")?;
    let key = key.map(|bytes| bytes.try_into().map(KeyDigest).map_err(|_| odd("a digest has 16 bytes")));
    Ok(GrabRow {
        grab_id: OrderId(row.try_get("grab_id")?),
        activity_id: ActivityId(row.try_get("activity_id")?),
        round: SkuIndex(row.try_get("round")?),
        packet: row.try_get("packet")?,
        user: row.try_get::<String, _>("user_id")?.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))?,
        amount_cents: Cents(row.try_get("amount_cents")?),
        currency: row.try_get("currency")?,
        key: key.transpose()?,
        granted_at_ms: UnixMillis(row.try_get("granted_at_ms")?),
        seq: Seq(row.try_get("seq")?),
    })
}

fn odd(what: &'static str) -> sqlx::Error {
    sqlx::Error::Decode(what.into())
}
