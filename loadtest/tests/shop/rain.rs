//! The shop's red packets: one round, the example of `docs/split.md`, so that nothing here has to split. Bugs are planted
//! where they say.

use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::{Ask, Books, Bug, Reply, Shop, problem};

pub const RAIN: u64 = 1002;
const SEED: &str = "0100000000000000000000000000000000000000000000000000000000000000";
const COMMITMENT: &str = "6543bec1c1a54d04737955ba52b389db7ceadbb56331d381cd024b6746ec0853";
pub const AMOUNTS: [u64; 10] = [42, 123, 45, 170, 104, 97, 148, 88, 77, 106];

/// What was grabbed.
#[derive(Default)]
pub struct Sky {
    /// Grabs in their order, each with its user.
    pub grabs: Vec<(u64, Value)>,
    keys: HashMap<(u64, String), usize>,
    asked: u64,
    over: bool,
}

impl Shop {
    /// What the shop answers under the rain; `None` where it is not asked about it.
    pub(super) fn answer_in_rain(&self, books: &mut Books, ask: &Ask) -> Option<Reply> {
        let path = ask.path.trim_start_matches('/');
        let sky = &mut books.sky;
        Some(match (ask.method.as_str(), path) {
            ("GET", "v1/activities/1002") => self.detail(sky),
            ("POST", "v1/red-packets/1002/grabs") => {
                sky.asked += 1;
                let reply = self.grab(sky, ask);
                if self.bug == Bug::LosesReplies && sky.asked.is_multiple_of(7) { Reply::Close } else { reply }
            }
            ("GET", "v1/red-packets/1002/grabs") => {
                let mine = sky.grabs.iter().filter(|(user, _)| *user == ask.user).map(|(_, grab)| grab.clone());
                let shown = mine.filter(|_| self.bug != Bug::GrabForgotten).rev();
                Reply::Json(200, json!({"grabs": shown.collect::<Value>(), "next_cursor": null}), false)
            }
            ("POST", "admin/v1/activities/1002/close") => {
                sky.over = true;
                Reply::Json(200, json!({"activity_id": "1002", "version": 2, "changes": []}), false)
            }
            ("GET", "admin/v1/activities/1002/stats") => self.round_stats(sky),
            _ => return None,
        })
    }

    fn detail(&self, sky: &Sky) -> Reply {
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis();
        let seed = if self.bug == Bug::AnotherSeed { SEED.replace("01", "02") } else { SEED.to_owned() };
        let round = json!({"round": 0, "starts_at_ms": 1, "ends_at_ms": 9_000_000_000_000_u64, "total_cents": 1000,
            "packets": 10, "split": "random", "min_cents": 1, "max_cents": 500, "remaining": 10,
            "commitment": COMMITMENT, "seed": sky.over.then_some(seed)});
        let detail = json!({"activity_id": "1002", "kind": "red_packet", "server_time_ms": now_ms, "rounds": [round]});
        Reply::Json(200, detail, false)
    }

    fn grab(&self, sky: &mut Sky, ask: &Ask) -> Reply {
        let known = ask.key.as_ref().and_then(|key| sky.keys.get(&(ask.user, key.clone())));
        if let Some(place) = known.filter(|_| self.bug != Bug::KeyForgotten) {
            if self.bug == Bug::ReplayRefused {
                return problem(409, "sold_out");
            }
            let mut grab = sky.grabs[*place].1.clone();
            if self.bug == Bug::ReplayNamesAnother {
                grab["packet"] = json!((grab["packet"].as_u64().expect("a number") + 1) % 10);
            }
            return Reply::Json(200, grab, true);
        }
        let mine: Vec<&Value> =
            sky.grabs.iter().filter(|(user, _)| *user == ask.user).map(|(_, grab)| &grab["grab_id"]).collect();
        let newcomer_refused = self.bug == Bug::LimitForEveryone && ask.user.is_multiple_of(2);
        let limited = !mine.is_empty() && !matches!(self.bug, Bug::LimitForgotten | Bug::KeyForgotten);
        if limited || newcomer_refused {
            let ids = if self.bug == Bug::LimitNamesNothing { json!([]) } else { json!(mine) };
            let body = json!({"type": "about:blank", "status": 409, "code": "limit_reached", "order_ids": ids});
            return Reply::Json(409, body, false);
        }
        let next = if self.bug == Bug::PacketTwice { sky.grabs.len() / 2 } else { sky.grabs.len() };
        let held_back = usize::from(self.bug == Bug::SoldOutEarly);
        if next >= AMOUNTS.len() - held_back {
            return problem(409, "sold_out");
        }
        let amount_cents = match self.bug {
            // Also in its own sums, so that they still add up.
            Bug::WrongAmount if next % 2 == 0 => AMOUNTS[next] + 1,
            Bug::WrongAmount => AMOUNTS[next] - 1,
            Bug::HugeAmount => 501,
            _ => AMOUNTS[next],
        };
        let id = if self.bug == Bug::OrderIdTwice { 7 } else { 1 + sky.grabs.len() };
        let grab = json!({"grab_id": id.to_string(), "activity_id": "1002", "round": 0, "packet": next,
            "amount_cents": amount_cents, "state": "granted"});
        sky.grabs.push((ask.user, grab.clone()));
        if let Some(key) = &ask.key {
            sky.keys.insert((ask.user, key.clone()), sky.grabs.len() - 1);
        }
        if self.bug == Bug::InternalError && sky.asked.is_multiple_of(2) {
            return Reply::Json(500, json!("oops"), false);
        }
        Reply::Json(201, grab, false)
    }

    fn round_stats(&self, sky: &Sky) -> Reply {
        // A lost grab is nowhere: what it held is refunded.
        let kept = sky.grabs.len() - usize::from(self.bug == Bug::GrabLost && !sky.grabs.is_empty());
        let cents = |grabs: &[(u64, Value)]| -> u64 {
            grabs.iter().map(|(_, grab)| grab["amount_cents"].as_u64().expect("cents")).sum()
        };
        let (granted, granted_cents) = (kept as u64, cents(&sky.grabs[..kept]));
        let (mut left, mut left_cents) = (10_u64.saturating_sub(granted), 1000_u64.saturating_sub(granted_cents));
        if self.bug == Bug::RefundForgotten {
            (left, left_cents) = (0, 0);
        }
        let (remaining, refunded) = if sky.over && self.bug != Bug::NeverRefunds { (0, left) } else { (left, 0) };
        let of = |packets: u64| if packets == 0 { 0 } else { left_cents };
        let round = json!({"round": 0, "total_cents": 1000, "packets": 10, "granted_cents": granted_cents,
            "granted": granted, "remaining_cents": of(remaining), "remaining": remaining,
            "refunded_cents": of(refunded), "refunded": refunded});
        Reply::Json(200, json!({"activity_id": "1002", "rounds": [round]}), false)
    }
}
