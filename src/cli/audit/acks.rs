//! A client's log of acknowledgements, held against the journal (A1): what a shopper, a payment provider or an operator
//! was told must be there, with the same outcome or a later one, and nobody may have been told the same thing twice.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::Context;
use serde::Deserialize;

use crate::domain::audit::Auditor;
use crate::domain::order::Step;
use crate::domain::payment::{PaymentState, PaymentStep, Why};
use crate::domain::suspense::Suspense;
use crate::domain::{OrderState, OrderView, PaymentView, Sale};
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
    /// A packet of a rain.
    Grab {
        user_id: String,
        activity_id: String,
        grab_id: String,
        round: usize,
        packet: u32,
        amount_cents: u64,
        key: Option<String>,
        replayed: bool,
    },
    Cancel {
        user_id: String,
        order_id: String,
    },
    Payment {
        payment_id: String,
        order_id: String,
        amount_cents: u64,
        currency: String,
        payment_state: String,
        /// The order's, where the answer said it.
        state: Option<String>,
    },
    /// An operator took a paid order back.
    Refund {
        order_id: String,
        payment_id: String,
    },
    /// An operator said that a payment was paid back.
    Repaid {
        payment_id: String,
        order_id: String,
    },
}

/// A round's number, and a packet's in it.
pub type Packet = (usize, u32);

/// What is known of an order.
pub enum Told {
    /// It is there; of a grab, with its round and packet.
    Order(OrderView, Option<Packet>),
    /// It is not, and should be.
    Absent,
    /// Nobody can tell any more: it is of events that were dropped.
    Unknown,
}

impl Told {
    /// The order of that number, where the sale has it.
    pub fn in_sale(sale: &Sale, number: u32) -> Option<Self> {
        sale.order(number).map(|order| {
            let packet = sale.packet_of(&order);
            Self::Order(order, packet)
        })
    }
}

/// What knows of orders.
pub trait Sought {
    /// What is known of one.
    fn order(&self, id: OrderId) -> Told;

    /// The payments that no order answered for; `None` where nobody can tell.
    fn suspense(&self) -> Option<&Suspense> {
        None
    }
}

impl Sought for Auditor {
    fn order(&self, id: OrderId) -> Told {
        let sale = id.shard().and_then(|shard| self.sale(shard));
        sale.and_then(|sale| Told::in_sale(sale, id.sequence()?)).unwrap_or(Told::Absent)
    }

    fn suspense(&self) -> Option<&Suspense> {
        Some(Self::suspense(self))
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
        let mut packets: HashMap<(&str, usize, u32), &str> = HashMap::new();
        let mut paid_by: HashMap<&str, &str> = HashMap::new();
        for (line, ack) in &self.0 {
            match self.matches(ack, sought) {
                Ok(true) => {}
                Ok(false) => unknown += 1,
                Err(fault) => faults.push(format!("line {line}: {fault}")),
            }
            if let Ack::Payment { payment_id, order_id, payment_state, .. } = ack
                && payment_state == PaymentState::Applied.as_str()
                && let Some(other) = paid_by.insert(order_id, payment_id)
                && other != payment_id
            {
                faults.push(format!("line {line}: order {order_id} is paid by {payment_id}, it was paid by {other}"));
            }
            if let Ack::Grab { activity_id, grab_id, round, packet, .. } = ack
                && let Some(other) = packets.insert((activity_id, *round, *packet), grab_id)
                && other != grab_id
            {
                faults.push(format!(
                    "line {line}: packet {packet} of round {round} was grab {other}, now it is {grab_id}"
                ));
            }
            let (Ack::Order { user_id, activity_id, order_id: id, key, replayed, .. }
            | Ack::Grab { user_id, activity_id, grab_id: id, key, replayed, .. }) = ack
            else {
                continue;
            };
            let what = if matches!(ack, Ack::Grab { .. }) { "grab" } else { "order" };
            if let (false, Some(first)) = (replayed, placed.insert(id, *line).filter(|_| !replayed)) {
                faults.push(format!("line {line}: {what} {id} was acknowledged as new in line {first} already"));
            }
            if let Some(key) = key
                && let Some(other) = by_key.insert((user_id, activity_id, key), id)
                && other != id
            {
                faults.push(format!("line {line}: the key of {what} {id} stands for {what} {other} too"));
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
                    && (order.slots.iter().eq(slots.iter().copied()) || has_fresh_units(&order));
                same.then_some(true)
                    .ok_or_else(|| format!("order {order_id} stands otherwise in the journal: {order:?}"))
            }
            Ack::Grab { user_id, activity_id, grab_id, round, packet, amount_cents, .. } => {
                let Some((grab, of)) = find_with_packet("grab", grab_id, sought)? else { return Ok(false) };
                let same = grab.user.to_string() == *user_id
                    && grab.activity_id.to_string() == *activity_id
                    && grab.amount_cents.0 == *amount_cents
                    && of == Some((*round, *packet));
                same.then_some(true).ok_or_else(|| {
                    format!("grab {grab_id} stands otherwise in the journal: {grab:?}, round and packet {of:?}")
                })
            }
            Ack::Payment { payment_id, order_id, amount_cents, currency, payment_state, state } => {
                let Some((payment, order)) = find_payment(payment_id, order_id, sought)? else { return Ok(false) };
                let same = (payment.amount_cents.0, &*payment.currency) == (*amount_cents, currency.as_str())
                    && stands(&payment, payment_state)?
                    && match (state, order) {
                        (Some(state), Some(order)) => follows(order_state(state)?, order.state),
                        (Some(_), None) => false,
                        (None, _) => true,
                    };
                same.then_some(true).ok_or_else(|| {
                    format!("payment {payment_id} was acknowledged as {payment_state}, order {state:?}; the journal has {payment:?}")
                })
            }
            Ack::Refund { order_id, payment_id } => {
                let Some((payment, order)) = find_payment(payment_id, order_id, sought)? else { return Ok(false) };
                let holds = order.is_some_and(|order| order.state == OrderState::Refunded)
                    && stands(&payment, PaymentState::RefundDue.as_str())?;
                holds.then_some(true).ok_or_else(|| format!("order {order_id} was refunded, but is not: {payment:?}"))
            }
            Ack::Repaid { payment_id, order_id } => {
                let Some((payment, _)) = find_payment(payment_id, order_id, sought)? else { return Ok(false) };
                let holds = payment.state == PaymentState::Refunded;
                holds.then_some(true).ok_or_else(|| format!("payment {payment_id} was paid back, but is not"))
            }
        }
    }
}

/// Whether a late payment gave the order other units than it was placed with.
fn has_fresh_units(order: &OrderView) -> bool {
    order.payments.iter().any(|payment| payment.reacquired)
}

/// Whether a payment stands where it was said to stand, or later by its table of transitions. What was applied can only
/// be owed back because its order was refunded.
fn stands(payment: &PaymentView, told: &str) -> Result<bool, String> {
    fn leads(from: PaymentState, to: PaymentState) -> bool {
        from == to || PaymentStep::ALL.into_iter().any(|step| from.after(step).is_some_and(|next| leads(next, to)))
    }
    let told = PaymentState::from_word(told).ok_or_else(|| format!("{told:?} is no state of a payment"))?;
    let undone = told == PaymentState::Applied && payment.state != told;
    Ok(leads(told, payment.state) && (!undone || payment.why == Some(Why::OrderRefunded)))
}

fn order_state(word: &str) -> Result<OrderState, String> {
    OrderState::from_word(word).ok_or_else(|| format!("{word:?} is no state of an order"))
}

/// Whether an order that was in one state can be in the other later.
fn follows(from: OrderState, to: OrderState) -> bool {
    from == to || Step::ALL.into_iter().any(|step| from.after(step).is_some_and(|next| follows(next, to)))
}

type Found = Option<(PaymentView, Option<OrderView>)>;

/// The payment, at its order or in the suspense account; `None` where nobody can tell.
fn find_payment(payment_id: &str, order_id: &str, sought: &impl Sought) -> Result<Found, String> {
    let order = order_id.parse().map_or(Told::Absent, |id| sought.order(id));
    if let Told::Order(order, _) = &order
        && let Some(payment) = order.payments.iter().find(|payment| *payment.payment_id == *payment_id)
    {
        return Ok(Some((payment.clone(), Some(order.clone()))));
    }
    let suspended = sought.suspense().map(|suspense| suspense.find_payment(payment_id));
    match (suspended, order) {
        (Some(Some(payment)), _) if *payment.named == *order_id => Ok(Some((payment, None))),
        (None, _) | (_, Told::Unknown) => Ok(None),
        _ => Err(format!("payment {payment_id} of order {order_id} was acknowledged and is not in the journal")),
    }
}

fn find(order_id: &str, sought: &impl Sought) -> Result<Option<OrderView>, String> {
    find_with_packet("order", order_id, sought).map(|found| found.map(|(order, _)| order))
}

type FoundWithPacket = Option<(OrderView, Option<Packet>)>;

fn find_with_packet(what: &str, id: &str, sought: &impl Sought) -> Result<FoundWithPacket, String> {
    let order_id: OrderId = id.parse().map_err(|error| format!("{what} id {id:?}: {error}"))?;
    match sought.order(order_id) {
        Told::Order(order, packet) => Ok(Some((order, packet))),
        Told::Unknown => Ok(None),
        Told::Absent => Err(format!("{what} {id} was acknowledged and is not in the journal")),
    }
}
