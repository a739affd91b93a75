//! From events to rows. What MySQL has so far is known; each event changes some of it, and a batch gathers what a
//! transaction must write so that MySQL has the events of the batch too.
//!
//! Changes of one row are gathered into its last state: an order that is placed and cancelled within one batch is
//! inserted as cancelled. Orders and payments of earlier batches that change are looked up in MySQL, in the batch's own
//! transaction.

mod orders;
mod packets;
mod payments;

use std::collections::{BTreeSet, HashMap};

use serde_json::json;

use super::error::Error;
use super::packets::as_json;
use super::rows::{ActionRow, ActivityRow, GrabRow, OrderRow, PaymentRow, RoundRow, ShardRow, SkuRow};
use crate::domain::event::{ActivityDefined, ActivityRedefined, Change, Entry, Event, StockChange, Switch};
use crate::domain::order::Step;
use crate::domain::{Definition, Part, Suspense};
use crate::ids::{ActivityId, OrderId, Seq, ShardId, SkuIndex};

pub(super) use orders::Changed;
pub(super) use payments::{Owned, Turn};

/// What MySQL has at the cursor, but for the orders.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub activities: HashMap<ActivityId, ActivityRow>,
    /// By activity and then by index.
    pub skus: HashMap<ActivityId, Vec<SkuRow>>,
    /// Of red packets, in the place of SKUs; by number.
    pub rounds: HashMap<ActivityId, Vec<RoundRow>>,
    pub shards: HashMap<ShardId, ShardRow>,
}

/// What a transaction must write.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub orders: Vec<OrderRow>,
    /// Where each is among `orders`.
    places: HashMap<OrderId, usize>,
    /// Orders of earlier batches that change.
    pub changed: Vec<Changed>,
    /// Where each is among `changed`.
    changes: HashMap<OrderId, usize>,
    pub payments: Vec<PaymentRow>,
    /// Where each is among `payments`.
    paid: HashMap<Owned, usize>,
    /// What becomes of payments of earlier batches, in the order of the events.
    pub turns: Vec<Turn>,
    /// Credits; they never change.
    pub grabs: Vec<GrabRow>,
    pub actions: Vec<ActionRow>,
    /// Rows that are other than in MySQL; what they are from now on is in [`Known`].
    pub activities: BTreeSet<ActivityId>,
    pub skus: BTreeSet<(ActivityId, SkuIndex)>,
    pub rounds: BTreeSet<(ActivityId, SkuIndex)>,
    pub shards: BTreeSet<ShardId>,
}

impl Known {
    /// Takes an event in. Where this fails, both are of no use any more.
    pub fn take(&mut self, batch: &mut Batch, seq: Seq, entry: &Entry) -> Result<(), Error> {
        let shard = entry.shard;
        match &entry.event {
            Event::OrderPlaced(event) => self.placed(batch, seq, entry, event),
            Event::OrderCancelled(event) => self.stepped(batch, seq, entry, event.order, Step::Cancel),
            Event::HoldsExpired(event) => {
                event.orders.iter().try_for_each(|order| self.stepped(batch, seq, entry, *order, Step::Expire))
            }
            Event::ActivityDefined(event) => self.defined(batch, seq, entry, event),
            Event::ActivityRedefined(event) => self.redefined(batch, seq, entry, event),
            Event::PacketGrabbed(event) => self.grabbed(batch, seq, entry, event),
            Event::RoundEnded(event) => self.round_ended(batch, seq, entry, event),
            Event::SaleSwitched(event) => {
                let activity = self.activity(batch, seq, shard)?;
                let action = match event.to {
                    Switch::Paused => {
                        activity.paused = true;
                        "pause"
                    }
                    Switch::Resumed => {
                        activity.paused = false;
                        "resume"
                    }
                    Switch::Closed => {
                        activity.closed = true;
                        "close"
                    }
                };
                activity.seq = seq;
                self.acted(batch, seq, entry, &event.change, action)
            }
            Event::ChangeNoted(change) => self.acted(batch, seq, entry, change, "note"),
            Event::PaymentReceived(event) => self.payment_received(batch, seq, entry, event),
            Event::PaymentSuspended(event) => {
                self.payment_suspended(batch, seq, entry, event);
                Ok(())
            }
            Event::OrderRefunded(event) => self.refunded(batch, seq, entry, event),
            Event::RefundDone(event) => self.paid_back(batch, seq, entry, event),
            // Where a free unit lies, and what parts make of their home's change, is no row's business.
            Event::SlotsMoved(_) | Event::HomeFollowed(_) | Event::ActivityRetired(_) => Ok(()),
        }
    }

    fn defined(&mut self, batch: &mut Batch, seq: Seq, entry: &Entry, event: &ActivityDefined) -> Result<(), Error> {
        let part = event.part.unwrap_or_else(|| Part::sole(entry.shard));
        let activity_id = event.activity_id;
        let row = ShardRow { shard: entry.shard, activity_id, part: part.number, orders_placed: 0 };
        self.shards.insert(entry.shard, row);
        batch.shards.insert(entry.shard);
        if !part.is_home() {
            return Ok(());
        }
        self.activities.insert(activity_id, ActivityRow::of(activity_id, &event.definition, 1, seq));
        batch.activities.insert(activity_id);
        self.lists(batch, seq, activity_id, &event.definition)?;
        if event.definition.packets.is_none() {
            for (index, sku) in (0..).zip(&event.definition.skus) {
                let units = i64::from(sku.stock.0);
                let sku = self.sku(batch, seq, activity_id, SkuIndex(index))?;
                (sku.stock, sku.available) = (units, units);
            }
        }
        self.acted(batch, seq, entry, &event.change, "define")?;
        let action = batch.actions.last_mut().expect("it was just pushed");
        action.definition = Some(as_json(&event.definition));
        Ok(())
    }

    fn redefined(
        &mut self,
        batch: &mut Batch,
        seq: Seq,
        entry: &Entry,
        event: &ActivityRedefined,
    ) -> Result<(), Error> {
        let activity = self.activity(batch, seq, entry.shard)?;
        let activity_id = activity.activity_id;
        let (paused, closed) = (activity.paused, activity.closed);
        let row = ActivityRow::of(activity_id, &event.definition, event.version, seq);
        *activity = ActivityRow { paused, closed, ..row };
        self.lists(batch, seq, activity_id, &event.definition)?;
        let mut told = Vec::new();
        for change in &event.stock {
            let (index, units, word) = match change {
                StockChange::Added { sku, slots } => (*sku, i64::from(slots.count()), "added"),
                StockChange::Removed { sku, slots } => (*sku, -i64::from(slots.count()), "removed"),
            };
            if event.definition.packets.is_some() {
                // What a round hands out is in its row, with what the definition says of it.
                told.push(json!({ "round": index.0, word: units.abs() }));
                continue;
            }
            let sku = self.sku(batch, seq, activity_id, index)?;
            sku.stock += units;
            sku.available += units;
            told.push(json!({ "sku_id": sku.sku_id.as_str(), word: units.abs() }));
        }
        self.acted(batch, seq, entry, &event.change, "redefine")?;
        let action = batch.actions.last_mut().expect("it was just pushed");
        action.definition = Some(as_json(&event.definition));
        action.stock = (!told.is_empty()).then(|| json!(told).to_string());
        Ok(())
    }

    /// Takes over what a definition says of its SKUs, but for the units; or of its rounds.
    fn lists(
        &mut self,
        batch: &mut Batch,
        seq: Seq,
        activity_id: ActivityId,
        definition: &Definition,
    ) -> Result<(), Error> {
        if let Some(packets) = definition.packets.as_deref() {
            return self.lists_rounds(batch, seq, activity_id, definition, packets);
        }
        let rows = self.skus.entry(activity_id).or_default();
        for sku in &definition.skus {
            let index = match rows.iter().position(|row| row.sku_id == sku.sku_id) {
                Some(index) => index,
                None => {
                    rows.push(SkuRow {
                        activity_id,
                        sku_id: sku.sku_id.clone(),
                        index: SkuIndex(u16::try_from(rows.len()).map_err(|_| Error::unfit(seq, "a SKU too many"))?),
                        title: String::new(),
                        price_cents: sku.price_cents,
                        listed: false,
                        stock: 0,
                        available: 0,
                        held: 0,
                        sold: 0,
                        seq,
                    });
                    rows.len() - 1
                }
            };
            let row = &mut rows[index];
            if (row.title.as_str(), row.price_cents, row.listed) != (sku.title.as_str(), sku.price_cents, true) {
                row.title.clone_from(&sku.title);
                (row.price_cents, row.listed, row.seq) = (sku.price_cents, true, seq);
                batch.skus.insert((activity_id, row.index));
            }
        }
        for row in rows.iter_mut().filter(|row| row.listed && definition.sku(&row.sku_id).is_none()) {
            (row.listed, row.seq) = (false, seq);
            batch.skus.insert((activity_id, row.index));
        }
        Ok(())
    }

    fn acted(
        &mut self,
        batch: &mut Batch,
        seq: Seq,
        entry: &Entry,
        change: &Change,
        action: &'static str,
    ) -> Result<(), Error> {
        let (activity_id, version) = if entry.shard == Suspense::SHARD {
            (ActivityId(0), 0)
        } else {
            let of = self.shards.get(&entry.shard).and_then(|shard| self.activities.get(&shard.activity_id));
            let activity = of.ok_or_else(|| Error::unfit(seq, "its shard was never defined"))?;
            (activity.activity_id, activity.version)
        };
        batch.actions.push(ActionRow {
            seq,
            change_id: change.change_id,
            at_ms: entry.at_ms,
            activity_id,
            by: change.by,
            action,
            version,
            definition: None,
            stock: None,
        });
        Ok(())
    }

    /// The row of a shard's activity, which is about to change.
    fn activity(&mut self, batch: &mut Batch, seq: Seq, shard: ShardId) -> Result<&mut ActivityRow, Error> {
        let activity_id = self.shards.get(&shard).map(|shard| shard.activity_id);
        let activity_id = activity_id.ok_or_else(|| Error::unfit(seq, "its shard was never defined"))?;
        batch.activities.insert(activity_id);
        self.activities.get_mut(&activity_id).ok_or_else(|| Error::unfit(seq, "its home is unknown"))
    }

    /// The row of a SKU, whose numbers are about to change.
    fn sku(
        &mut self,
        batch: &mut Batch,
        seq: Seq,
        activity_id: ActivityId,
        index: SkuIndex,
    ) -> Result<&mut SkuRow, Error> {
        let rows = self.skus.get_mut(&activity_id);
        let row = rows.and_then(|rows| rows.get_mut(usize::from(index.0)));
        let row = row.ok_or_else(|| Error::unfit(seq, "its SKU is unknown"))?;
        batch.skus.insert((activity_id, index));
        // Orders that change are looked up after the rest of the batch was taken in.
        row.seq = row.seq.max(seq);
        Ok(row)
    }
}
