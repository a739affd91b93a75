//! Orders, and what becomes of them: the rows of `orders` and `order_slots`, and the units in `sku_stock`.

use super::{Batch, Known};
use crate::domain::OrderState;
use crate::domain::event::{Entry, OrderPlaced};
use crate::domain::order::Step;
use crate::domain::slots::Slots;
use crate::ids::{ActivityId, OrderId, Seq, UnixMillis};
use crate::persist::mysql::error::Error;
use crate::persist::mysql::rows::OrderRow;

/// What becomes of an order that an earlier batch brought to MySQL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::persist::mysql) struct Changed {
    pub order_id: OrderId,
    /// In which state MySQL must have it.
    pub from: OrderState,
    /// In which it is from now on, since when, by which event.
    pub state: OrderState,
    pub at_ms: UnixMillis,
    pub seq: Seq,
    /// Whether its units are its own from now on.
    pub live: bool,
    /// The units that it has in the place of those in MySQL.
    pub fresh: Option<Slots>,
    /// What goes from one count of its SKU to another, for each of its units.
    pub moves: Moves,
    /// The last event that moves any. What it moves may be what another moved back.
    pub moved_seq: Option<Seq>,
}

/// What a change adds to the counts of a SKU for each unit of an order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::persist::mysql) struct Moves {
    available: i64,
    held: i64,
    sold: i64,
}

impl Moves {
    fn of(step: Step) -> Self {
        let (available, held, sold) = match step {
            Step::Cancel | Step::Expire => (1, -1, 0),
            Step::Pay => (0, -1, 1),
            Step::Reacquire => (-1, 0, 1),
            Step::Refund { restock: true } => (1, 0, -1),
            // They stay sold: nobody else may have them.
            Step::Refund { restock: false } => (0, 0, 0),
        };
        Self { available, held, sold }
    }

    fn is_none(self) -> bool {
        self == Self::default()
    }

    fn and(self, other: Self) -> Self {
        Self { available: self.available + other.available, held: self.held + other.held, sold: self.sold + other.sold }
    }
}

impl Changed {
    fn by(order_id: OrderId, from: OrderState) -> Self {
        let (at_ms, seq, moves) = (UnixMillis(0), Seq(0), Moves::default());
        Self { order_id, from, state: from, at_ms, seq, live: true, fresh: None, moves, moved_seq: None }
    }
}

impl Known {
    pub(super) fn placed(
        &mut self,
        batch: &mut Batch,
        seq: Seq,
        entry: &Entry,
        event: &OrderPlaced,
    ) -> Result<(), Error> {
        let shard =
            self.shards.get_mut(&entry.shard).ok_or_else(|| Error::unfit(seq, "its shard was never defined"))?;
        shard.orders_placed = event.order;
        batch.shards.insert(entry.shard);
        let activity_id = shard.activity_id;
        let quantity = event.slots.count();
        let sku = self.sku(batch, seq, activity_id, event.sku)?;
        sku.available -= i64::from(quantity);
        sku.held += i64::from(quantity);
        let sku_id = sku.sku_id.clone();
        let activity = self.activities.get(&activity_id).ok_or_else(|| Error::unfit(seq, "its home is unknown"))?;
        let order_id = OrderId::new(entry.shard, event.order);
        batch.places.insert(order_id, batch.orders.len());
        batch.orders.push(OrderRow {
            order_id,
            activity_id,
            sku_id,
            user: event.user,
            quantity,
            amount_cents: event.amount_cents,
            currency: activity.currency.clone(),
            state: OrderState::Held,
            reference: event.reference.clone(),
            key: event.key,
            held_at_ms: entry.at_ms,
            expires_at_ms: event.expires_at_ms,
            ended_at_ms: None,
            placed_seq: seq,
            seq,
            live: true,
            slots: event.slots.iter().collect(),
        });
        Ok(())
    }

    /// Takes an order a step on.
    pub(super) fn stepped(
        &mut self,
        batch: &mut Batch,
        seq: Seq,
        entry: &Entry,
        number: u32,
        step: Step,
    ) -> Result<(), Error> {
        self.stepped_with(batch, seq, entry, number, step, None)
    }

    /// The same, where the step gives it other units.
    pub(super) fn stepped_with(
        &mut self,
        batch: &mut Batch,
        seq: Seq,
        entry: &Entry,
        number: u32,
        step: Step,
        fresh: Option<&Slots>,
    ) -> Result<(), Error> {
        let order_id = OrderId::new(entry.shard, number);
        let unfit = || Error::unfit(seq, "an order changes as it cannot from where it stands");
        // A refund without restock leaves the units where they are.
        let live = !matches!(step, Step::Cancel | Step::Expire | Step::Refund { restock: true });
        let moves = Moves::of(step);
        if let Some(place) = batch.places.get(&order_id) {
            let order = &mut batch.orders[*place];
            order.state = order.state.after(step).ok_or_else(unfit)?;
            (order.seq, order.ended_at_ms, order.live) = (seq, Some(entry.at_ms), live);
            if let Some(fresh) = fresh {
                order.slots = fresh.iter().collect();
            }
            if moves.is_none() {
                return Ok(());
            }
            let (activity_id, quantity, sku_id) = (order.activity_id, order.quantity, order.sku_id.clone());
            return self.moved(batch, seq, activity_id, sku_id.as_str(), quantity, moves);
        }
        let place = match batch.changes.get(&order_id) {
            Some(place) => *place,
            None => {
                let from = OrderState::ALL.into_iter().find(|state| state.after(step).is_some()).ok_or_else(unfit)?;
                batch.changes.insert(order_id, batch.changed.len());
                batch.changed.push(Changed::by(order_id, from));
                batch.changed.len() - 1
            }
        };
        let changed = &mut batch.changed[place];
        changed.state = changed.state.after(step).ok_or_else(unfit)?;
        (changed.at_ms, changed.seq, changed.live) = (entry.at_ms, seq, live);
        if let Some(fresh) = fresh {
            changed.fresh = Some(fresh.clone());
        }
        changed.moves = changed.moves.and(moves);
        if !moves.is_none() {
            changed.moved_seq = Some(seq);
        }
        Ok(())
    }

    /// Units of an order go from one count to another.
    pub fn moved(
        &mut self,
        batch: &mut Batch,
        seq: Seq,
        activity_id: ActivityId,
        sku_id: &str,
        quantity: u32,
        moves: Moves,
    ) -> Result<(), Error> {
        let rows = self.skus.get(&activity_id).map(Vec::as_slice).unwrap_or_default();
        let known = rows.iter().find(|row| row.sku_id.as_str() == sku_id).map(|row| row.index);
        let index = known.ok_or_else(|| Error::unfit(seq, "an order of an unknown SKU changes"))?;
        let sku = self.sku(batch, seq, activity_id, index)?;
        let quantity = i64::from(quantity);
        sku.available += quantity * moves.available;
        sku.held += quantity * moves.held;
        sku.sold += quantity * moves.sold;
        Ok(())
    }
}
