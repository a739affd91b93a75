//! A shop that decides in MySQL: `UPDATE … WHERE stock >= …` and the order in one transaction, in one call over a pool
//! of connections of the thread's own, so that no thread waits for another's.

use std::time::Duration;

use sqlx::mysql::{MySqlConnectOptions, MySqlPool, MySqlPoolOptions};

use crate::front::Shop;
use crate::reply::{Placed, Refused, Wanted};

/// Where MySQL is.
#[derive(Clone)]
pub(crate) struct Settings {
    options: MySqlConnectOptions,
    connections: u32,
}

impl Settings {
    pub(crate) fn new(url: &str, connections: u32) -> anyhow::Result<Self> {
        Ok(Self { options: url.parse()?, connections })
    }
}

pub(crate) struct InMysql {
    pool: MySqlPool,
}

impl InMysql {
    pub(crate) fn new(settings: &Settings) -> Self {
        let pool = MySqlPoolOptions::new()
            .max_connections(settings.connections)
            // A ping before each call would be a second round trip.
            .test_before_acquire(false)
            .idle_timeout(None)
            .max_lifetime(None)
            .acquire_timeout(Duration::from_secs(30))
            .connect_lazy_with(settings.options.clone());
        Self { pool }
    }
}

impl Shop for InMysql {
    async fn place(&self, wanted: &Wanted<'_>) -> Result<Placed, Refused> {
        let id = sqlx::query_scalar::<_, i64>("CALL place(?, ?, ?, ?, ?, ?, ?, ?)")
            .bind(wanted.activity_id)
            .bind(wanted.user)
            .bind(&*wanted.order.sku_id)
            .bind(wanted.order.quantity)
            .bind(wanted.amount_cents())
            .bind(wanted.held_at_ms)
            .bind(wanted.expires_at_ms())
            .bind(wanted.order.reference.as_deref())
            .fetch_one(&self.pool)
            .await;
        match id {
            Ok(-1) => Err(Refused::SoldOut),
            Ok(-2) => Err(Refused::LimitReached),
            Ok(id) => Ok(Placed { order_id: id.to_string() }),
            Err(error) => Err(Refused::Broken(error.to_string())),
        }
    }
}
