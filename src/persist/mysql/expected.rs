//! What the tables must hold: a fold of a journal's events into rows, for the audit. It shares no code with the shipper's
//! projection and reckons otherwise where it can: what is held is counted over the orders at the end, and the stock is
//! what the definition says.

use std::collections::BTreeMap;

use super::tables::Cell;
use crate::domain::event::{
    ActivityDefined, ActivityRedefined, Author, Change, Entry, Event, OrderPlaced, StockChange, Switch,
};
use crate::domain::slots::Slots;
use crate::domain::{Definition, OrderState, Part};
use crate::ids::{ActivityId, OrderId, Seq, ShardId, SkuId, UnixMillis, UserId};

/// The fold; some 130 bytes an order.
#[derive(Debug, Default)]
pub struct Expected {
    seq: Seq,
    shards: BTreeMap<ShardId, Shard>,
    activities: BTreeMap<ActivityId, Activity>,
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
}

#[derive(Debug)]
struct Order {
    user: UserId,
    /// As it was placed.
    placed_seq: Seq,
    held_at_ms: UnixMillis,
    expires_at_ms: UnixMillis,
    amount_cents: u64,
    slots: Slots,
    reference: Option<Box<str>>,
    key: Option<[u8; 16]>,
    sku: u16,
    /// As it ended, if it has.
    end: Option<End>,
}

const _: () = assert!(size_of::<Order>() <= 136, "there may be many millions of them");

#[derive(Debug)]
struct End {
    state: OrderState,
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
            Event::PaymentReceived(_) | Event::OrderRefunded(_) | Event::RefundDone(_) | Event::PaymentSuspended(_) => {
                todo!("payments")
            }
            Event::OrderPlaced(event) => self.place(seq, entry, event),
            Event::OrderCancelled(event) => self.end(seq, entry, event.order, OrderState::Cancelled),
            Event::HoldsExpired(event) => {
                event.orders.iter().try_for_each(|order| self.end(seq, entry, *order, OrderState::Expired))
            }
            Event::SlotsMoved(_) | Event::HomeFollowed(_) | Event::ActivityRetired(_) => {
                self.shards.contains_key(&entry.shard).then_some(()).ok_or("its shard is not defined")
            }
        }
    }

    fn define(&mut self, seq: Seq, entry: &Entry, event: &ActivityDefined) -> Result<(), &'static str> {
        let part = event.part.unwrap_or_else(|| Part::sole(entry.shard)).number;
        let shard = Shard { activity_id: event.activity_id, part, orders: Vec::new() };
        if self.shards.insert(entry.shard, shard).is_some() {
            return Err("its shard is defined already");
        }
        if part > 0 {
            return Ok(());
        }
        let skus = Vec::new();
        let definition = event.definition.clone();
        let mut activity = Activity { definition, version: 1, paused: false, closed: false, seq, skus };
        activity.list(seq);
        if self.activities.insert(event.activity_id, activity).is_some() {
            return Err("its activity is defined already");
        }
        self.act(seq, entry, &event.change, "define", [text_of(&event.definition), Cell::Null])
    }

    fn redefine(&mut self, seq: Seq, entry: &Entry, event: &ActivityRedefined) -> Result<(), &'static str> {
        let activity = self.activity_of(entry.shard)?;
        activity.definition = event.definition.clone();
        (activity.version, activity.seq) = (event.version, seq);
        activity.list(seq);
        let mut told = Vec::new();
        for change in &event.stock {
            let (index, word, units) = match change {
                StockChange::Added { sku, slots } => (sku, "added", slots.count()),
                StockChange::Removed { sku, slots } => (sku, "removed", slots.count()),
            };
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
        let version = self.activity_of(entry.shard)?.version;
        let user_id = match change.by {
            Author::Operator(user) => Some(user.to_string()),
            Author::StartUp => None,
        };
        let (change_id, at_ms, activity_id) = (change.change_id, entry.at_ms, self.shards[&entry.shard].activity_id);
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
            end: None,
        });
        let sku = event.sku.0;
        self.sku_changed(seq, entry.shard, sku)
    }

    fn end(&mut self, seq: Seq, entry: &Entry, number: u32, state: OrderState) -> Result<(), &'static str> {
        let shard = self.shards.get_mut(&entry.shard).ok_or("its shard is not defined")?;
        let place = (number as usize).checked_sub(1).ok_or("orders count from 1")?;
        let order = shard.orders.get_mut(place).ok_or("an order ends that was never placed")?;
        if order.end.is_some() {
            return Err("an order ends twice");
        }
        order.end = Some(End { state, at_ms: entry.at_ms, seq });
        let sku = order.sku;
        self.sku_changed(seq, entry.shard, sku)
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

impl Activity {
    /// Takes over what the definition says of the SKUs.
    fn list(&mut self, seq: Seq) {
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
    }
}

/// The rows, each with a value for each column of its table and in the order of its key.
impl Expected {
    pub(super) fn orders(&self) -> impl Iterator<Item = Vec<Cell<'_>>> {
        self.each_order().map(|(order_id, shard, order)| {
            let activity = &self.activities[&shard.activity_id];
            vec![
                Cell::number(order_id.0),
                Cell::number(shard.activity_id.0),
                Cell::text(activity.skus[usize::from(order.sku)].sku_id.as_str()),
                Cell::text(order.user.to_string()),
                Cell::number(order.slots.count()),
                Cell::number(order.amount_cents),
                Cell::text(&activity.definition.currency),
                Cell::text(order.end.as_ref().map_or("held", |end| end.state.as_str())),
                Cell::text_or_null(order.reference.as_deref()),
                order.key.as_ref().map_or(Cell::Null, |key| Cell::Bytes(key)),
                Cell::number(order.held_at_ms.0),
                Cell::number(order.expires_at_ms.0),
                Cell::number_or_null(order.end.as_ref().map(|end| end.at_ms.0)),
                Cell::number(order.placed_seq.0),
                Cell::number(order.end.as_ref().map_or(order.placed_seq, |end| end.seq).0),
            ]
        })
    }

    pub(super) fn order_slots(&self) -> impl Iterator<Item = Vec<Cell<'_>>> {
        self.each_order().flat_map(|(order_id, shard, order)| {
            let activity = &self.activities[&shard.activity_id];
            order.slots.iter().map(move |slot| {
                vec![
                    Cell::number(order_id.0),
                    Cell::number(slot),
                    Cell::number(shard.activity_id.0),
                    Cell::text(activity.skus[usize::from(order.sku)].sku_id.as_str()),
                    if order.end.is_none() { Cell::Number(1) } else { Cell::Null },
                ]
            })
        })
    }

    /// Every order in the order of its id: the shard's number stands above its own.
    fn each_order(&self) -> impl Iterator<Item = (OrderId, &Shard, &Order)> {
        self.shards.iter().flat_map(|(shard_id, shard)| {
            let numbered = (1..).zip(&shard.orders);
            numbered.map(move |(number, order)| (OrderId::new(*shard_id, number), shard, order))
        })
    }

    pub(super) fn activities(&self) -> impl Iterator<Item = Vec<Cell<'_>>> {
        self.activities.iter().map(|(activity_id, activity)| {
            let definition = &activity.definition;
            vec![
                Cell::number(activity_id.0),
                Cell::text("flash_sale"),
                Cell::text(&definition.title),
                Cell::text(&definition.currency),
                Cell::number(definition.starts_at_ms.0),
                Cell::number(definition.ends_at_ms.0),
                Cell::number(definition.per_user_limit.0),
                Cell::number(definition.payment_window_ms),
                Cell::number(activity.version),
                Cell::number(u8::from(activity.paused)),
                Cell::number(u8::from(activity.closed)),
                Cell::number(activity.seq.0),
            ]
        })
    }

    pub(super) fn activity_shards(&self) -> impl Iterator<Item = Vec<Cell<'_>>> {
        self.shards.iter().map(|(shard_id, shard)| {
            vec![
                Cell::number(shard_id.0),
                Cell::number(shard.activity_id.0),
                Cell::number(shard.part),
                Cell::number(u32::try_from(shard.orders.len()).expect("numbers of orders are u32")),
            ]
        })
    }

    pub(super) fn sku_stock(&self) -> impl Iterator<Item = Vec<Cell<'_>>> {
        let mut held: BTreeMap<(ActivityId, u16), u64> = BTreeMap::new();
        for (_, shard, order) in self.each_order().filter(|(_, _, order)| order.end.is_none()) {
            *held.entry((shard.activity_id, order.sku)).or_default() += u64::from(order.slots.count());
        }
        let mut rows: Vec<_> = self
            .activities
            .iter()
            .flat_map(|(activity_id, activity)| {
                (0..).zip(&activity.skus).map(move |(index, sku)| (activity_id, index, sku))
            })
            .collect();
        rows.sort_by_key(|(activity_id, _, sku)| (**activity_id, sku.sku_id.as_str()));
        rows.into_iter().map(move |(activity_id, index, sku)| {
            let held = i128::from(held.get(&(*activity_id, index)).copied().unwrap_or_default());
            let stock = i128::from(sku.stock.unwrap_or_default());
            vec![
                Cell::number(activity_id.0),
                Cell::text(sku.sku_id.as_str()),
                Cell::number(index),
                Cell::text(&sku.title),
                Cell::number(sku.price_cents),
                Cell::number(u8::from(sku.stock.is_some())),
                Cell::Number(stock),
                Cell::Number(stock - held),
                Cell::Number(held),
                // Nothing is paid for yet.
                Cell::Number(0),
                Cell::number(sku.seq.0),
            ]
        })
    }

    pub(super) fn operator_actions(&self) -> impl Iterator<Item = Vec<Cell<'_>>> {
        self.actions.iter().map(|action| {
            vec![
                Cell::number(action.seq.0),
                Cell::number(action.change_id),
                Cell::number(action.at_ms.0),
                Cell::number(action.activity_id.0),
                Cell::text(if action.user_id.is_some() { "operator" } else { "start_up" }),
                Cell::text_or_null(action.user_id.as_deref()),
                Cell::text(action.action),
                Cell::number(action.version),
                action.definition.clone(),
                action.stock.clone(),
            ]
        })
    }
}

/// A definition as the table has it. Kept as a digest: a change of a large one is a large text, and there may be many.
fn text_of(definition: &Definition) -> Cell<'static> {
    Cell::digest(&serde_json::to_string(definition).expect("a definition has only text, numbers and flags"))
}
