//! What the clients know: the log of acknowledgements, read by itself and not by the program that is tested.

use std::collections::HashMap;
use std::fs;

use serde_json::Value;

use crate::server::Stage;

/// The orders that somebody was told are theirs, less those that were cancelled.
pub struct Books {
    pub lines: u64,
    live: HashMap<String, Vec<u64>>,
}

impl Books {
    pub fn read(stage: &Stage) -> Self {
        let text = fs::read_to_string(stage.path("acks.jsonl")).expect("the crowd wrote it");
        let mut books = Self { lines: 0, live: HashMap::new() };
        let mut cancelled = Vec::new();
        for line in text.lines() {
            let ack: Value = serde_json::from_str(line).expect("a line is JSON");
            let order_id = ack["order_id"].as_str().expect("an acknowledgement names its order").to_owned();
            books.lines += 1;
            match ack["kind"].as_str() {
                Some("order") => {}
                Some("cancel") => {
                    cancelled.push(order_id);
                    continue;
                }
                kind => panic!("nobody pays in this round: {kind:?}"),
            }
            let slots = ack["slots"].as_array().expect("an order has slots");
            let slots: Vec<u64> = slots.iter().map(|slot| slot.as_u64().expect("a slot is a number")).collect();
            assert_eq!(Some(slots.len() as u64), ack["quantity"].as_u64(), "a slot for each unit: {line}");
            if let Some(before) = books.live.insert(order_id, slots.clone()) {
                assert_eq!(before, slots, "an order is told twice with the same slots: {line}");
            }
        }
        cancelled.iter().for_each(|order_id| _ = books.live.remove(order_id));
        books
    }

    /// Units that clients hold.
    pub fn live_units(&self) -> u64 {
        self.live.values().map(|slots| slots.len() as u64).sum()
    }

    /// No unit was promised to two (S2), by the clients' account alone.
    pub fn assert_no_slot_twice(&self) {
        let mut owner: HashMap<u64, &str> = HashMap::new();
        for (order_id, slots) in &self.live {
            for slot in slots {
                let other = owner.insert(*slot, order_id);
                assert_eq!(other, None, "slot {slot} was promised by orders {order_id} and {other:?}");
            }
        }
    }
}
