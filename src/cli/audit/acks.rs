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

/// What is known of an order.
pub enum Told {
    /// It is there.
    Order(OrderView),
    /// It is not, and should be.
    Absent,
    /// Nobody can tell any more: it is of events that were dropped.
    Unknown,
}

/// What knows of orders.
pub trait Sought {
    /// What is known of one.
    fn order(&self, id: OrderId) -> Told;
}

impl Sought for Auditor {
    fn order(&self, id: OrderId) -> Told {
        let sale = id.shard().and_then(|shard| self.sale(shard));
        sale.and_then(|sale| sale.order(id.sequence()?)).map_or(Told::Absent, Told::Order)
    }
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

    /// Looks for every line in the journal: how many were looked at, of how many nobody can tell, and what is wrong.
    pub fn look_for(&self, sought: &impl Sought) -> (u64, u64, Vec<String>) {
        let (mut faults, mut unknown) = (Vec::new(), 0);
        let mut placed: HashMap<&str, usize> = HashMap::new();
        let mut by_key: HashMap<(&str, &str, &str), &str> = HashMap::new();
        for (line, ack) in &self.0 {
            match self.matches(ack, sought) {
                Ok(true) => {}
                Ok(false) => unknown += 1,
                Err(fault) => faults.push(format!("line {line}: {fault}")),
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
        (self.0.len() as u64 - unknown, unknown, faults)
    }

    /// Whether anybody can tell; an error where it is otherwise.
    fn matches(&self, ack: &Ack, sought: &impl Sought) -> Result<bool, String> {
        match ack {
            Ack::Cancel { user_id, order_id } => {
                let Some(order) = find(order_id, sought)? else { return Ok(false) };
                let holds = order.user.to_string() == *user_id && order.state == OrderState::Cancelled;
                holds.then_some(true).ok_or_else(|| format!("order {order_id} was cancelled by its user, but is not"))
            }
            Ack::Order { user_id, activity_id, order_id, sku_id, quantity, amount_cents, slots, .. } => {
                let Some(order) = find(order_id, sought)? else { return Ok(false) };
                let same = order.user.to_string() == *user_id
                    && order.activity_id.to_string() == *activity_id
                    && order.sku_id.as_str() == sku_id
                    && order.quantity.0 == *quantity
                    && order.amount_cents.0 == *amount_cents
                    && order.slots.iter().eq(slots.iter().copied());
                same.then_some(true)
                    .ok_or_else(|| format!("order {order_id} stands otherwise in the journal: {order:?}"))
            }
        }
    }
}

fn find(order_id: &str, sought: &impl Sought) -> Result<Option<OrderView>, String> {
    let id: OrderId = order_id.parse().map_err(|error| format!("order id {order_id:?}: {error}"))?;
    match sought.order(id) {
        Told::Order(order) => Ok(Some(order)),
        Told::Unknown => Ok(None),
        Told::Absent => Err(format!("order {order_id} was acknowledged and is not in the journal")),
    }
}
