//! A client's log of acknowledgements, held against the journal (A1): what a shopper was told must be there, with the
//! same outcome, and nobody may have been told the same thing twice.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::Context;
use serde::Deserialize;

use crate::domain::audit::Auditor;
use crate::domain::{OrderState, OrderView};
use crate::ids::OrderId;

/// One line of the log.
#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Ack {
    Order {
        user_id: String,
        activity_id: String,
        order_id: String,
        sku_id: String,
        quantity: u32,
        amount_cents: u64,
        slots: Vec<u32>,
        key: Option<String>,
        replayed: bool,
    },
    Cancel {
        user_id: String,
        order_id: String,
    },
}

/// The log's lines, with their numbers.
pub struct Acks(Vec<(usize, Ack)>);

impl Acks {
    /// Reads the log. A last line without its end is left out: its writer was killed in the middle of it.
    pub fn read(file: &Path) -> anyhow::Result<Self> {
        let context = || format!("the log of acknowledgements {}", file.display());
        let mut reader = BufReader::new(File::open(file).with_context(context)?);
        let (mut acks, mut line) = (Vec::new(), String::new());
        for number in 1.. {
            line.clear();
            if reader.read_line(&mut line).with_context(context)? == 0 || !line.ends_with('\n') {
                break;
            }
            let ack = serde_json::from_str(&line).with_context(|| format!("{}:{number}", file.display()))?;
            acks.push((number, ack));
        }
        Ok(Self(acks))
    }

    /// Looks for every line in the journal: how many were looked at, and what is wrong.
    pub fn look_for(&self, auditor: &Auditor) -> (u64, Vec<String>) {
        let mut faults = Vec::new();
        let mut placed: HashMap<&str, usize> = HashMap::new();
        let mut by_key: HashMap<(&str, &str, &str), &str> = HashMap::new();
        for (line, ack) in &self.0 {
            if let Err(fault) = self.matches(ack, auditor) {
                faults.push(format!("line {line}: {fault}"));
            }
            let Ack::Order { user_id, activity_id, order_id, key, replayed, .. } = ack else { continue };
            if let (false, Some(first)) = (replayed, placed.insert(order_id, *line).filter(|_| !replayed)) {
                faults.push(format!("line {line}: order {order_id} was acknowledged as new in line {first} already"));
            }
            if let Some(key) = key
                && let Some(other) = by_key.insert((user_id, activity_id, key), order_id)
                && other != order_id
            {
                faults.push(format!("line {line}: the key of order {order_id} stands for order {other} too"));
            }
        }
        (self.0.len() as u64, faults)
    }

    fn matches(&self, ack: &Ack, auditor: &Auditor) -> Result<(), String> {
        match ack {
            Ack::Cancel { user_id, order_id } => {
                let order = find(order_id, auditor)?;
                let holds = order.user.to_string() == *user_id && order.state == OrderState::Cancelled;
                holds.then_some(()).ok_or_else(|| format!("order {order_id} was cancelled by its user, but is not"))
            }
            Ack::Order { user_id, activity_id, order_id, sku_id, quantity, amount_cents, slots, .. } => {
                let order = find(order_id, auditor)?;
                let same = order.user.to_string() == *user_id
                    && order.activity_id.to_string() == *activity_id
                    && order.sku_id.as_str() == sku_id
                    && order.quantity.0 == *quantity
                    && order.amount_cents.0 == *amount_cents
                    && order.slots.iter().eq(slots.iter().copied());
                same.then_some(()).ok_or_else(|| format!("order {order_id} stands otherwise in the journal: {order:?}"))
            }
        }
    }
}

fn find(order_id: &str, auditor: &Auditor) -> Result<OrderView, String> {
    let id: OrderId = order_id.parse().map_err(|error| format!("order id {order_id:?}: {error}"))?;
    let sale = id.shard().and_then(|shard| auditor.sale(shard));
    let order = sale.and_then(|sale| sale.order(id.sequence()?));
    order.ok_or_else(|| format!("order {order_id} was acknowledged and is not in the journal"))
}
