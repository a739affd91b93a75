//! The rows that the fold gives.

use std::collections::BTreeMap;

use super::{Expected, Order, Shard};
use crate::domain::OrderState;
use crate::ids::{ActivityId, OrderId};
use crate::persist::mysql::tables::Cell;

/// Units by activity and SKU.
type Units = BTreeMap<(ActivityId, u16), i128>;

/// The rows, each with a value for each column of its table and in the order of its key.
impl Expected {
    pub(in crate::persist::mysql) fn orders(&self) -> impl Iterator<Item = Vec<Cell<'_>>> {
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
                Cell::text(order.state().as_str()),
                Cell::text_or_null(order.reference.as_deref()),
                order.key.as_ref().map_or(Cell::Null, |key| Cell::Bytes(key)),
                Cell::number(order.held_at_ms.0),
                Cell::number(order.expires_at_ms.0),
                Cell::number_or_null(order.last.as_ref().map(|last| last.at_ms.0)),
                Cell::number(order.placed_seq.0),
                Cell::number(order.last.as_ref().map_or(order.placed_seq, |last| last.seq).0),
            ]
        })
    }

    pub(in crate::persist::mysql) fn order_slots(&self) -> impl Iterator<Item = Vec<Cell<'_>>> {
        self.each_order().flat_map(|(order_id, shard, order)| {
            let activity = &self.activities[&shard.activity_id];
            order.slots.iter().map(move |slot| {
                vec![
                    Cell::number(order_id.0),
                    Cell::number(slot),
                    Cell::number(shard.activity_id.0),
                    Cell::text(activity.skus[usize::from(order.sku)].sku_id.as_str()),
                    if order.is_live() { Cell::Number(1) } else { Cell::Null },
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

    pub(in crate::persist::mysql) fn activities(&self) -> impl Iterator<Item = Vec<Cell<'_>>> {
        self.activities.iter().map(|(activity_id, activity)| {
            let definition = &activity.definition;
            vec![
                Cell::number(activity_id.0),
                Cell::text(if definition.packets.is_some() { "red_packet" } else { "flash_sale" }),
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

    pub(in crate::persist::mysql) fn activity_shards(&self) -> impl Iterator<Item = Vec<Cell<'_>>> {
        self.shards.iter().map(|(shard_id, shard)| {
            vec![
                Cell::number(shard_id.0),
                Cell::number(shard.activity_id.0),
                Cell::number(shard.part),
                Cell::number(u32::try_from(shard.orders.len() + shard.grabs.len()).expect("their numbers are u32")),
            ]
        })
    }

    pub(in crate::persist::mysql) fn sku_stock(&self) -> impl Iterator<Item = Vec<Cell<'_>>> {
        let (mut held, mut sold) = (Units::new(), Units::new());
        for (_, shard, order) in self.each_order().filter(|(_, _, order)| order.is_live()) {
            let units = if order.state() == OrderState::Held { &mut held } else { &mut sold };
            *units.entry((shard.activity_id, order.sku)).or_default() += i128::from(order.slots.count());
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
            let held = held.get(&(*activity_id, index)).copied().unwrap_or_default();
            let sold = sold.get(&(*activity_id, index)).copied().unwrap_or_default();
            let stock = i128::from(sku.stock.unwrap_or_default());
            vec![
                Cell::number(activity_id.0),
                Cell::text(sku.sku_id.as_str()),
                Cell::number(index),
                Cell::text(&sku.title),
                Cell::number(sku.price_cents),
                Cell::number(u8::from(sku.stock.is_some())),
                Cell::Number(stock),
                Cell::Number(stock - held - sold),
                Cell::Number(held),
                Cell::Number(sold),
                Cell::number(sku.seq.0),
            ]
        })
    }

    pub(in crate::persist::mysql) fn operator_actions(&self) -> impl Iterator<Item = Vec<Cell<'_>>> {
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
