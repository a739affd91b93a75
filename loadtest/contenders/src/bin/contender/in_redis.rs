//! A shop that decides in Redis: one Lua script an order, by its digest, over one multiplexed connection a thread,
//! which sends in one packet what came in together.

use std::path::Path;

use contenders::PER_USER_LIMIT;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisError, Script, Value, cmd};
use tokio::sync::OnceCell;

use crate::front::Shop;
use crate::reply::{Placed, Refused, Wanted};

/// Requests of one thread that may wait for the connection: more than there are clients.
const PIPELINE: usize = 4_096;

/// Where Redis is.
#[derive(Clone)]
pub(crate) struct Settings {
    client: Client,
    script: Script,
}

impl Settings {
    pub(crate) fn new(socket: &Path) -> anyhow::Result<Self> {
        let client = Client::open(format!("redis+unix://{}", socket.display()))?;
        Ok(Self { client, script: Script::new(include_str!("place.lua")) })
    }
}

pub(crate) struct InRedis {
    settings: Settings,
    /// Opened by the thread's first request, on the thread's own runtime.
    connection: OnceCell<MultiplexedConnection>,
}

impl InRedis {
    pub(crate) fn new(settings: Settings) -> Self {
        Self { settings, connection: OnceCell::new() }
    }

    async fn connect(&self) -> Result<MultiplexedConnection, RedisError> {
        // No timer a request: nobody else here has one.
        let config = AsyncConnectionConfig::new().set_response_timeout(None).set_pipeline_buffer_size(PIPELINE);
        let mut connection = self.settings.client.get_multiplexed_async_connection_with_config(&config).await?;
        self.settings.script.load_async(&mut connection).await?;
        Ok(connection)
    }

    async fn ask(&self, wanted: &Wanted<'_>) -> Result<Value, RedisError> {
        let mut connection = self.connection.get_or_try_init(|| self.connect()).await?.clone();
        let Wanted { activity_id, user, order, held_at_ms } = wanted;
        let mut command = cmd("EVALSHA");
        command
            .arg(self.settings.script.get_hash())
            .arg(3)
            .arg(format!("{{{activity_id}}}:stock:{}", order.sku_id))
            .arg(format!("{{{activity_id}}}:users"))
            .arg(format!("{{{activity_id}}}:orders"))
            .arg(*user)
            .arg(order.quantity)
            .arg(PER_USER_LIMIT)
            .arg(&*order.sku_id)
            .arg(wanted.amount_cents())
            .arg(*held_at_ms)
            .arg(wanted.expires_at_ms())
            .arg(order.reference.as_deref().unwrap_or_default());
        connection.send_packed_command(&command).await
    }
}

impl Shop for InRedis {
    async fn place(&self, wanted: &Wanted<'_>) -> Result<Placed, Refused> {
        match self.ask(wanted).await {
            Ok(Value::BulkString(id)) => match String::from_utf8(id) {
                Ok(order_id) => Ok(Placed { order_id }),
                Err(error) => Err(Refused::Broken(error.to_string())),
            },
            Ok(Value::Int(-1)) => Err(Refused::SoldOut),
            Ok(Value::Int(-2)) => Err(Refused::LimitReached),
            Ok(other) => Err(Refused::Broken(format!("the script answered {other:?}"))),
            Err(error) => Err(Refused::Broken(error.to_string())),
        }
    }
}
