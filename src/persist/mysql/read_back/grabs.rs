//! Reading grabs of red packets back.

use sqlx::{Row, query};

use super::{DOING, ReadBack, Wanted};
use crate::ids::{Cents, OrderId, ShardId, SkuIndex};
use crate::persist::mysql::error::Error;
use crate::persist::mysql::packets::{self, GRAB_COLUMNS};
use crate::persist::mysql::rows::GrabRow;
use crate::persist::mysql::session::unreadable;

/// What was grabbed of a round in one shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardRound {
    /// Which shard.
    pub shard: ShardId,
    /// Which round.
    pub round: SkuIndex,
    /// Packets.
    pub granted: u32,
    /// What they held.
    pub granted_cents: Cents,
}

impl ReadBack {
    /// Grabs of a shard.
    ///
    /// # Errors
    /// Where MySQL cannot tell.
    pub async fn grabs(&mut self, wanted: Wanted) -> Result<Vec<GrabRow>, Error> {
        let wanted = Wanted { state: None, ..wanted };
        let sql = wanted.sql(GRAB_COLUMNS, "red_packet_grabs", "grab_id");
        self.ask(async |connection| {
            let rows = wanted.bind(sql.clone()).fetch_all(connection).await.map_err(Error::sql(DOING))?;
            rows.iter().map(packets::grab).collect::<Result<_, _>>().map_err(unreadable("red_packet_grabs"))
        })
        .await
    }

    /// What was grabbed in each of several shards, from `first` to `last`, of each round of which anything was.
    ///
    /// # Errors
    /// Where MySQL cannot tell.
    pub async fn granted(&mut self, first: ShardId, last: ShardId) -> Result<Vec<ShardRound>, Error> {
        let (first, last) = (OrderId::new(first, 0).0, OrderId::new(last, u32::MAX).0);
        self.ask(async |connection| {
            let sql = "SELECT CAST(grab_id DIV 68719476736 AS UNSIGNED) AS shard, round, \
                       CAST(COUNT(*) AS UNSIGNED) AS granted, CAST(SUM(amount_cents) AS UNSIGNED) AS granted_cents \
                       FROM red_packet_grabs WHERE grab_id BETWEEN ? AND ? GROUP BY 1, 2";
            let rows = query(sql).bind(first).bind(last).fetch_all(connection).await.map_err(Error::sql(DOING))?;
            let read = |row: &sqlx::mysql::MySqlRow| {
                let number = |column| {
                    let number: u64 = row.try_get(column)?;
                    u32::try_from(number).map_err(|error| sqlx::Error::Decode(error.into()))
                };
                Ok(ShardRound {
                    shard: ShardId(number("shard")?),
                    round: SkuIndex(row.try_get("round")?),
                    granted: number("granted")?,
                    granted_cents: Cents(row.try_get("granted_cents")?),
                })
            };
            rows.iter().map(read).collect::<Result<_, _>>().map_err(unreadable("red_packet_grabs"))
        })
        .await
    }
}
