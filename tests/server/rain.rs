//! Red packets on stage: one round that lasts for years, or one that ends soon and another right after it.

use doorbuster::catalog::rfc3339;
use doorbuster::clock::Clock;
use doorbuster::ids::UnixMillis;
use serde_json::{Value, json};

/// So long after the stage is set the first of two rounds starts.
const STARTS_IN_MS: u64 = 1_000;
const LONG_AGO: &str = "2025-01-01T00:00:00+08:00";
const IN_YEARS: &str = "2035-01-01T00:00:00+08:00";

/// The rain on stage.
#[derive(Clone, Copy, Debug)]
pub struct Rain {
    /// Packets in each round.
    pub packets: u64,
    /// What a round's packets hold together.
    pub total_cents: u64,
    pub per_user_limit: u32,
    pub shards: u16,
    /// How long the first of two rounds lasts; `None`: there is one, which runs already and ends with the activity.
    pub first_lasts_ms: Option<u64>,
}

impl Rain {
    pub fn definition(self) -> Value {
        let round = |starts_at: &str, ends_at: &str| json!({ "starts_at": starts_at, "ends_at": ends_at, "total_cents": self.total_cents, "packets": self.packets });
        let rounds = match self.first_lasts_ms {
            None => vec![round(LONG_AGO, IN_YEARS)],
            Some(lasts_ms) => {
                let starts_ms = Clock::start(UnixMillis(0)).now_ms().0 + STARTS_IN_MS;
                let (starts, ends) = (rfc3339(UnixMillis(starts_ms)), rfc3339(UnixMillis(starts_ms + lasts_ms)));
                vec![round(&starts, &ends), round(&ends, IN_YEARS)]
            }
        };
        json!({
            "kind": "red_packet", "title": "Rain", "split": "random", "min_cents": 1, "max_cents": 20_000,
            "per_user_limit": self.per_user_limit, "shards": self.shards, "rounds": rounds,
        })
    }
}
