//! What the tables must hold: a fold of a journal's events into rows, for the audit. It shares no code with the shipper's
//! projection and reckons otherwise where it can: what is held is counted over the orders at the end, and the stock is
//! what the definition says.

mod packets;
mod payments;
mod rows;

use std::collections::BTreeMap;

use super::tables::Cell;
use crate::domain::event::{
    ActivityDefined, ActivityRedefined, Author, Change, Entry, Event, OrderPlaced, StockChange, Switch,
};
use crate::domain::slots::Slots;
use crate::domain::{Definition, OrderState, Part, Suspense};
use crate::ids::{ActivityId, Seq, ShardId, SkuId, UnixMillis, UserId};
use packets::{Grab, Round};
use payments::Payment;

/// The fold; some 130 bytes an order.
#[derive(Debug, Default)]
pub struct Expected {
    seq: Seq,
    shards: BTreeMap<ShardId, Shard>,
    activities: BTreeMap<ActivityId, Activity>,
    /// The suspense account's, by number.
    suspended: Vec<Payment>,
    actions: Vec<Action>,
}

/// An event that no rows can be made of.
#[derive(Debug, thiserror::Error)]
#[error("event {seq} of shard {shard} cannot be folded into rows: {why}")]
pub struct Unfoldable {
    seq: Seq,
    shard: ShardId,
    why: &'static str,
}

#[derive(Debug)]
struct Shard {
    activity_id: ActivityId,
    part: u16,
    /// By number: numbers are dense, from 1.
    orders: Vec<Order>,
    /// By number, too; of red packets, in the place of orders.
    grabs: Vec<Grab>,
    /// By number, too.
    payments: Vec<Payment>,
}

#[derive(Debug)]
struct Order {
    user: UserId,
    /// As it was placed.
    placed_seq: Seq,
    held_at_ms: UnixMillis,
    expires_at_ms: UnixMillis,
    amount_cents: u64,
    /// Those that it has, or had last.
    slots: Slots,
    reference: Option<Box<str>>,
    key: Option<[u8; 16]>,
    sku: u16,
    /// What became of it last; it is held where nothing has.
    last: Option<Last>,
}

const _: () = assert!(size_of::<Order>() <= 136, "there may be many millions of them");

#[derive(Debug)]
struct Last {
    state: OrderState,
    /// Whether nobody else may have its units.
    live: bool,
    at_ms: UnixMillis,
    seq: Seq,
}

#[derive(Debug)]
struct Activity {
    definition: Definition,
    version: u64,
    paused: bool,
    closed: bool,
    seq: Seq,
    /// By index: every SKU that it ever named.
    skus: Vec<Sku>,
    /// By number: every round that it ever had at a time.
    rounds: Vec<Round>,
}

#[derive(Debug)]
struct Sku {
    sku_id: SkuId,
    /// As the last definition that named it says.
    title: String,
    price_cents: u64,
    /// All units; `None` where the definition does not name it any more.
    stock: Option<u32>,
    seq: Seq,
}

#[derive(Debug)]
struct Action {
    seq: Seq,
    change_id: u64,
    at_ms: UnixMillis,
    activity_id: ActivityId,
    user_id: Option<String>,
    action: &'static str,
    version: u64,
    definition: Cell<'static>,
    stock: Cell<'static>,
}

impl Expected {
    /// Takes the next event in.
    ///
    /// # Errors
    /// [`Unfoldable`] where it does not follow on those before it; the fold is of no use then.
    pub fn take(&mut self, seq: Seq, entry: &Entry) -> Result<(), Unfoldable> {
        self.seq = seq;
        self.fold(seq, entry).map_err(|why| Unfoldable { seq, shard: entry.shard, why })
    }

    /// The last event that was taken in.
    #[must_use]
    pub fn seq(&self) -> Seq {
        self.seq
    }

    fn fold(&mut self, seq: Seq, entry: &Entry) -> Result<(), &'static str> {
        match &entry.event {
            Event::ActivityDefined(event) => self.define(seq, entry, event),
            Event::ActivityRedefined(event) => self.redefine(seq, entry, event),
            Event::PacketGrabbed(event) => self.grab(seq, entry, event),
            Event::RoundEnded(event) => self.end_round(seq, entry, event),
            Event::SaleSwitched(event) => {
                let activity = self.activity_of(entry.shard)?;
                activity.seq = seq;
                let action = match event.to {
                    Switch::Paused => "pause",
                    Switch::Resumed => "resume",
                    Switch::Closed => "close",
                };
                match event.to {
                    Switch::Paused | Switch::Resumed => activity.paused = event.to == Switch::Paused,
                    Switch::Closed => activity.closed = true,
                }
                self.act(seq, entry, &event.change, action, [Cell::Null, Cell::Null])
            }
            Event::ChangeNoted(change) => self.act(seq, entry, change, "note", [Cell::Null, Cell::Null]),
            Event::PaymentReceived(event) => self.receive(seq, entry, event),
            Event::PaymentSuspended(event) => self.suspend(seq, entry, event),
            Event::OrderRefunded(event) => self.refund(seq, entry, event),
            Event::RefundDone(event) => self.pay_back(seq, entry, event),
            Event::OrderPlaced(event) => self.place(seq, entry, event),
            Event::OrderCancelled(event) => self.free(seq, entry, event.order, OrderState::Cancelled),
            Event::HoldsExpired(event) => {
                event.orders.iter().try_for_each(|order| self.free(seq, entry, *order, OrderState::Expired))
            }
            Event::SlotsMoved(_) | Event::HomeFollowed(_) | Event::ActivityRetired(_) => {
                self.shards.contains_key(&entry.shard).then_some(()).ok_or("its shard is not defined")
            }
        }
    }

    fn define(&mut self, seq: Seq, entry: &Entry, event: &ActivityDefined) -> Result<(), &'static str> {
        let part = event.part.unwrap_or_else(|| Part::sole(entry.shard)).number;
        let (orders, grabs, payments) = (Vec::new(), Vec::new(), Vec::new());
        let shard = Shard { activity_id: event.activity_id, part, orders, grabs, payments };
        if self.shards.insert(entry.shard, shard).is_some() {
            return Err("its shard is defined already");
        }
        if part > 0 {
            return Ok(());
        }
        let (skus, rounds) = (Vec::new(), Vec::new());
        let definition = event.definition.clone();
        let mut activity = Activity { definition, version: 1, paused: false, closed: false, seq, skus, rounds };
        activity.list(seq)?;
        if self.activities.insert(event.activity_id, activity).is_some() {
            return Err("its activity is defined already");
        }
        self.act(seq, entry, &event.change, "define", [text_of(&event.definition), Cell::Null])
    }

    fn redefine(&mut self, seq: Seq, entry: &Entry, event: &ActivityRedefined) -> Result<(), &'static str> {
        let activity = self.activity_of(entry.shard)?;
        activity.definition = event.definition.clone();
        (activity.version, activity.seq) = (event.version, seq);
        activity.list(seq)?;
        let mut told = Vec::new();
        for change in &event.stock {
            let (index, word, units) = match change {
                StockChange::Added { sku, slots } => (sku, "added", slots.count()),
                StockChange::Removed { sku, slots } => (sku, "removed", slots.count()),
            };
            if event.definition.packets.is_some() {
                told.push(format!("{{\"{word}\":{units},\"round\":{}}}", index.0));
                continue;
            }
            let sku = activity.skus.get(usize::from(index.0)).ok_or("it changes the stock of an unknown SKU")?;
            // A SKU's id needs no escaping.
            told.push(format!("{{\"{word}\":{units},\"sku_id\":\"{}\"}}", sku.sku_id));
        }
        let stock = if told.is_empty() { Cell::Null } else { Cell::digest(&format!("[{}]", told.join(","))) };
        self.act(seq, entry, &event.change, "redefine", [text_of(&event.definition), stock])
    }

    fn act(
        &mut self,
        seq: Seq,
        entry: &Entry,
        change: &Change,
        action: &'static str,
        [definition, stock]: [Cell<'static>; 2],
    ) -> Result<(), &'static str> {
        let (activity_id, version) = if entry.shard == Suspense::SHARD {
            (ActivityId(0), 0)
        } else {
            let version = self.activity_of(entry.shard)?.version;
            (self.shards[&entry.shard].activity_id, version)
        };
        let user_id = user_of(change);
        let (change_id, at_ms) = (change.change_id, entry.at_ms);
        self.actions.push(Action { seq, change_id, at_ms, activity_id, user_id, action, version, definition, stock });
        Ok(())
    }

    fn place(&mut self, seq: Seq, entry: &Entry, event: &OrderPlaced) -> Result<(), &'static str> {
        let shard = self.shards.get_mut(&entry.shard).ok_or("its shard is not defined")?;
        if shard.orders.len() + 1 != event.order as usize {
            return Err("an order's number does not follow on the one before");
        }
        shard.orders.push(Order {
            user: event.user,
            placed_seq: seq,
            held_at_ms: entry.at_ms,
            expires_at_ms: event.expires_at_ms,
            amount_cents: event.amount_cents.0,
            slots: event.slots.clone(),
            reference: event.reference.clone(),
            key: event.key.map(|key| key.0),
            sku: event.sku.0,
            last: None,
        });
        let sku = event.sku.0;
        self.sku_changed(seq, entry.shard, sku)
    }

    /// A hold ends, and its units go back on sale.
    fn free(&mut self, seq: Seq, entry: &Entry, number: u32, state: OrderState) -> Result<(), &'static str> {
        let order = self.order_in(entry.shard, number, OrderState::Held)?;
        order.last = Some(Last { state, live: false, at_ms: entry.at_ms, seq });
        let sku = order.sku;
        self.sku_changed(seq, entry.shard, sku)
    }

    /// An order, which must be in that state.
    fn order_in(&mut self, shard: ShardId, number: u32, state: OrderState) -> Result<&mut Order, &'static str> {
        let shard = self.shards.get_mut(&shard).ok_or("its shard is not defined")?;
        let place = (number as usize).checked_sub(1).ok_or("orders count from 1")?;
        let order = shard.orders.get_mut(place).ok_or("an order changes that was never placed")?;
        if order.state() == state { Ok(order) } else { Err("an order changes that is in another state") }
    }

    fn sku_changed(&mut self, seq: Seq, shard: ShardId, index: u16) -> Result<(), &'static str> {
        let activity = self.activity_of(shard)?;
        activity.skus.get_mut(usize::from(index)).ok_or("an order of an unknown SKU")?.seq = seq;
        Ok(())
    }

    fn activity_of(&mut self, shard: ShardId) -> Result<&mut Activity, &'static str> {
        let shard = self.shards.get(&shard).ok_or("its shard is not defined")?;
        self.activities.get_mut(&shard.activity_id).ok_or("its activity has no home")
    }
}

impl Order {
    fn state(&self) -> OrderState {
        self.last.as_ref().map_or(OrderState::Held, |last| last.state)
    }

    fn is_live(&self) -> bool {
        self.last.as_ref().is_none_or(|last| last.live)
    }
}

impl Activity {
    /// Takes over what the definition says of the SKUs, or of the rounds.
    fn list(&mut self, seq: Seq) -> Result<(), &'static str> {
        if self.definition.packets.is_some() {
            return self.list_rounds(seq);
        }
        for sku in &mut self.skus {
            if sku.stock.is_some() && self.definition.sku(&sku.sku_id).is_none() {
                (sku.stock, sku.seq) = (None, seq);
            }
        }
        for said in &self.definition.skus {
            let known = self.skus.iter_mut().find(|sku| sku.sku_id == said.sku_id);
            let (title, price_cents, stock) = (said.title.clone(), said.price_cents.0, Some(said.stock.0));
            match known {
                Some(sku) if (&sku.title, sku.price_cents, sku.stock) == (&title, price_cents, stock) => {}
                Some(sku) => (sku.title, sku.price_cents, sku.stock, sku.seq) = (title, price_cents, stock, seq),
                None => self.skus.push(Sku { sku_id: said.sku_id.clone(), title, price_cents, stock, seq }),
            }
        }
        Ok(())
    }
}

/// A definition as the table has it: of rounds what people wrote, and never their plans. Kept as a digest: a change of a
/// large one is a large text, and there may be many.
fn text_of(definition: &Definition) -> Cell<'static> {
    let mut definition = definition.clone();
    if let Some(packets) = &mut definition.packets {
        for round in &mut packets.rounds {
            round.plan.take();
        }
    }
    Cell::digest(&serde_json::to_string(&definition).expect("a definition has only text, numbers and flags"))
}

fn user_of(change: &Change) -> Option<String> {
    match change.by {
        Author::Operator(user) => Some(user.to_string()),
        Author::StartUp => None,
    }
}
