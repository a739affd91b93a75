//! The activity that the interleavings are about, and how its shards are opened.

use std::sync::Arc;

use crate::actors::ask::Operation;
use crate::actors::door::Door;
use crate::actors::payment_index::PaymentIndex;
use crate::actors::shard::Shard;
use crate::domain::command::{Redefine, Request, Source};
use crate::domain::definition::{Definition, OnLatePayment, SkuDefinition};
use crate::domain::{Entry, Sale, Sales};
use crate::ids::{Cents, Qty, Seq, ShardId, SkuId, SkuIndex, UnixMillis};

pub const HOME: ShardId = ShardId(5);
pub const SKUS: [&str; 2] = ["a", "b"];
pub const WINDOW_MS: u64 = 40;

pub fn open(sales: Sales) -> (Arc<Door>, Vec<Shard>) {
    let payments = PaymentIndex::of(&sales);
    let sales = sales.into_activities().next().expect("one activity");
    let door = Arc::new(Door::new(&sales[0]));
    let shards: Vec<Shard> =
        sales.into_iter().map(|sale| Shard::new(sale, Arc::clone(&door), payments.clone())).collect();
    shards.iter().for_each(Shard::show_deadline);
    (door, shards)
}

pub fn fold(entries: &[Entry]) -> Sales {
    let mut sales = Sales::default();
    (1..).zip(entries).for_each(|(seq, entry)| sales.take(Seq(seq), entry).expect("the journal folds"));
    sales
}

pub fn sku_id(sku: usize) -> SkuId {
    SKUS[sku].parse().expect("a SKU id")
}

pub fn index_of(sale: &Sale, sku: usize) -> Option<SkuIndex> {
    sale.sku_ids().find(|(_, known, _)| known.as_str() == SKUS[sku]).map(|(index, _, _)| index)
}

pub fn sku_definition(sku: usize, stock: u32) -> SkuDefinition {
    SkuDefinition { sku_id: sku_id(sku), title: String::new(), price_cents: Cents(1), stock: Qty(stock) }
}

pub fn definition(shards: u16, stocks: [u32; 2]) -> Definition {
    Definition {
        title: String::new(),
        currency: "CNY".to_owned(),
        starts_at_ms: UnixMillis(1),
        ends_at_ms: UnixMillis(1 << 40),
        shards,
        per_user_limit: Qty(3),
        payment_window_ms: WINDOW_MS,
        on_late_payment: OnLatePayment::ReacquireOrRefund,
        shared_sku: false,
        skus: stocks.into_iter().enumerate().map(|(sku, stock)| sku_definition(sku, stock)).collect(),
        packets: None,
    }
}

pub fn redefine(definition: Definition, request: Request) -> Operation {
    let redefine = Redefine { definition, from: Source::Put, seeds: Vec::new(), if_version: None, request };
    Operation::Redefine { redefine: Box::new(redefine), dry_run: false }
}
