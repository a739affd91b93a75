//! `doorbuster journal`: a journal's events as JSON lines, with names and ids as people know them.

use std::collections::HashMap;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use serde_json::{Value, json};

use super::exit;
use crate::catalog;
use crate::clock::Clock;
use crate::config;
use crate::domain::definition::Shop;
use crate::domain::event::{Author, Change, Outcome, StockChange, Switch};
use crate::domain::slots::Slots;
use crate::domain::{Definition, Entry, Event};
use crate::ids::{ActivityId, OrderId, Seq, ShardId, SkuId, SkuIndex, UnixMillis};
use crate::persist::{self, DataDirLock, Read, Tail};

/// Which events to print.
#[derive(Clone, Copy, Debug)]
pub struct Range {
    /// From this one on.
    pub from: Seq,
    /// Up to and with this one.
    pub to: Seq,
    /// Only of this activity.
    pub activity: Option<ActivityId>,
}

/// Prints the events; gives the exit code: 0, or 2 where the journal could not be read.
#[must_use]
pub fn run(config_file: &Path, range: Range) -> u8 {
    let config = match config::load(config_file, std::env::vars_os()) {
        Ok(config) => config,
        Err(faults) => {
            faults.iter().for_each(|fault| eprintln!("{fault}"));
            return exit::CANNOT;
        }
    };
    match print(&config.data_dir, range, &mut BufWriter::new(io::stdout().lock())) {
        Ok(()) => exit::OK,
        Err(error) => match error.downcast_ref::<io::Error>() {
            // The reader has seen enough, as in `doorbuster journal | head`.
            Some(error) if error.kind() == io::ErrorKind::BrokenPipe => exit::OK,
            _ => {
                eprintln!("doorbuster: journal: {error:#}");
                exit::CANNOT
            }
        },
    }
}

/// Writes the events of a journal that no server is using to `out`.
///
/// # Errors
/// Where the journal does not add up (then nothing is written), or `out` cannot be written.
pub fn print(data_dir: &Path, range: Range, out: &mut impl Write) -> anyhow::Result<()> {
    anyhow::ensure!(data_dir.is_dir(), "there is no data directory {}", data_dir.display());
    let _lock = DataDirLock::take(data_dir, Clock::start(UnixMillis(0)).now_ms())?;
    let copy = persist::open_copy_read_only(data_dir)?;
    let mut names = Names::default();
    let mut written = Ok(());
    let base = copy.base()?.tail;
    if range.from <= base.seq && base != Tail::START {
        // Who gave no `--from` asks from the first event on, and is told as well.
        eprintln!("doorbuster: journal: it begins after event {}; what came before was dropped", base.seq);
    }
    persist::replay(&copy, base, Seq(u64::MAX), |seq, entry| {
        names.learn(&entry);
        let wanted = (range.from..=range.to).contains(&seq)
            && range.activity.is_none_or(|activity| names.activity(entry.shard) == Some(activity));
        if wanted && written.is_ok() {
            written = writeln!(out, "{}", names.line(seq, &entry));
        }
    })?;
    written?;
    out.flush()?;
    Ok(())
}

/// What the shards' numbers, SKUs' indexes and payments' numbers stand for, as of the event last seen.
#[derive(Default)]
struct Names {
    shards: HashMap<ShardId, (ActivityId, Vec<SkuId>)>,
    /// By owner and number. Those whose first event was dropped are not known.
    payments: HashMap<(ShardId, u32), Box<str>>,
}

impl Names {
    fn learn(&mut self, entry: &Entry) {
        let definition: &Definition = match &entry.event {
            Event::ActivityDefined(event) => {
                self.shards.insert(entry.shard, (event.activity_id, Vec::new()));
                &event.definition
            }
            Event::ActivityRedefined(event) => &event.definition,
            Event::HomeFollowed(control) => {
                if let Some((_, skus)) = self.shards.get_mut(&entry.shard) {
                    skus.extend(control.skus.iter().cloned());
                }
                return;
            }
            Event::PaymentReceived(event) => {
                self.payments.insert((entry.shard, event.payment), event.payment_id.clone());
                return;
            }
            Event::PaymentSuspended(event) => {
                self.payments.insert((entry.shard, event.payment), event.payment_id.clone());
                return;
            }
            _ => return,
        };
        if let Some((_, skus)) = self.shards.get_mut(&entry.shard) {
            for sku in &definition.skus {
                if !skus.contains(&sku.sku_id) {
                    skus.push(sku.sku_id.clone());
                }
            }
        }
    }

    fn activity(&self, shard: ShardId) -> Option<ActivityId> {
        self.shards.get(&shard).map(|(activity, _)| *activity)
    }

    fn sku(&self, shard: ShardId, index: SkuIndex) -> Value {
        let skus = self.shards.get(&shard).map(|(_, skus)| skus);
        json!(skus.and_then(|skus| skus.get(usize::from(index.0))))
    }

    fn line(&self, seq: Seq, entry: &Entry) -> Value {
        let mut line = json!({
            "seq": seq,
            "at_ms": entry.at_ms,
            "shard": entry.shard,
            "activity_id": self.activity(entry.shard).map(|id| id.to_string()),
        });
        let order_id = |number: u32| OrderId::new(entry.shard, number).to_string();
        let (event, fields) = match &entry.event {
            Event::OrderPlaced(event) => (
                "order_placed",
                json!({
                    "order_id": order_id(event.order),
                    "user_id": event.user.to_string(),
                    "sku_id": self.sku(entry.shard, event.sku),
                    "slots": event.slots.iter().collect::<Vec<_>>(),
                    "amount_cents": event.amount_cents,
                    "expires_at_ms": event.expires_at_ms,
                    "key_digest": event.key.map(|key| key.to_string()),
                    "ref": event.reference,
                }),
            ),
            Event::OrderCancelled(event) => ("order_cancelled", json!({ "order_id": order_id(event.order) })),
            Event::HoldsExpired(event) => {
                let ids: Vec<String> = event.orders.iter().map(|number| order_id(*number)).collect();
                ("holds_expired", json!({ "order_ids": ids }))
            }
            Event::ActivityDefined(event) => (
                "activity_defined",
                json!({
                    "definition": catalog::to_json(&event.definition),
                    "shop": shop(&event.definition),
                    "from_catalog": event.from_catalog,
                    "change": change(&event.change),
                }),
            ),
            Event::ActivityRedefined(event) => (
                "activity_redefined",
                json!({
                    "version": event.version,
                    "definition": catalog::to_json(&event.definition),
                    "from_catalog": event.catalog.is_some(),
                    "stock": event.stock.iter().map(|change| self.stock(entry.shard, change)).collect::<Vec<_>>(),
                    "change": change(&event.change),
                }),
            ),
            Event::SlotsMoved(event) => (
                "slots_moved",
                json!({
                    "to_shard": event.to,
                    "sku_id": self.sku(entry.shard, event.sku),
                    "moved": ranges(&event.slots),
                }),
            ),
            Event::HomeFollowed(control) => (
                "home_followed",
                json!({
                    "change_id": control.change_id,
                    "version": control.version,
                    "definition": control.definition.as_ref().map(catalog::to_json),
                    "paused": control.paused,
                    "closed": control.closed,
                }),
            ),
            Event::ActivityRetired(event) => ("activity_retired", json!({ "orders": event.orders })),
            Event::PaymentReceived(event) => (
                "payment_received",
                json!({
                    "payment_id": event.payment_id,
                    "order_id": order_id(event.order),
                    "amount_cents": event.amount_cents,
                    "other_currency": event.currency,
                    "outcome": outcome(&event.outcome),
                }),
            ),
            Event::PacketGrabbed(event) => (
                "packet_grabbed",
                json!({
                    "grab_id": order_id(event.grab),
                    "user_id": event.user.to_string(),
                    "round": event.round,
                    "slot": event.slot,
                    "amount_cents": event.amount_cents,
                    "key_digest": event.key.map(|key| key.to_string()),
                }),
            ),
            Event::RoundEnded(event) => (
                "round_ended",
                json!({
                    "round": event.round,
                    "refunded": event.slots.count(),
                    "refunded_cents": event.refunded_cents,
                    "seed": event.seed.to_hex(),
                }),
            ),
            Event::OrderRefunded(event) => (
                "order_refunded",
                json!({
                    "order_id": order_id(event.order),
                    "payment_id": self.payments.get(&(entry.shard, event.payment)),
                    "restock": event.restock,
                    "change": change(&event.change),
                }),
            ),
            Event::RefundDone(event) => (
                "refund_done",
                json!({
                    "payment_id": self.payments.get(&(entry.shard, event.payment)),
                    "change": change(&event.change),
                }),
            ),
            Event::PaymentSuspended(event) => (
                "payment_suspended",
                json!({
                    "payment_id": event.payment_id,
                    "named": event.named,
                    "amount_cents": event.amount_cents,
                    "currency": event.currency,
                    "why": event.why.as_str(),
                }),
            ),
            Event::ChangeNoted(noted) => ("change_noted", json!({ "change": change(noted) })),
            Event::SaleSwitched(event) => {
                let to = match event.to {
                    Switch::Paused => "paused",
                    Switch::Resumed => "resumed",
                    Switch::Closed => "closed",
                };
                ("sale_switched", json!({ "to": to, "change": change(&event.change) }))
            }
        };
        line["event"] = json!(event);
        if let (Value::Object(line), Value::Object(fields)) = (&mut line, fields) {
            line.extend(fields);
        }
        line
    }

    fn stock(&self, shard: ShardId, change: &StockChange) -> Value {
        match change {
            StockChange::Added { sku, slots } => json!({ "sku_id": self.sku(shard, *sku), "added": ranges(slots) }),
            StockChange::Removed { sku, slots } => json!({ "sku_id": self.sku(shard, *sku), "removed": ranges(slots) }),
        }
    }
}

/// Whose packets an activity hands out, where it is a shop's own.
fn shop(definition: &Definition) -> Option<Value> {
    let of = |shop: &Shop| json!({ "merchant_id": shop.merchant.to_string(), "funding_ref": shop.funding_ref });
    definition.shop().map(of)
}

fn outcome(outcome: &Outcome) -> Value {
    match outcome {
        Outcome::Applied => json!("applied"),
        Outcome::Reacquired(slots) => json!({ "reacquired": ranges(slots) }),
        Outcome::Due(why) => json!({ "refund_due": why.as_str() }),
    }
}

fn ranges(slots: &Slots) -> Vec<[u32; 2]> {
    slots.ranges().iter().map(|range| [range.first, range.last()]).collect()
}

fn change(change: &Change) -> Value {
    let by = match change.by {
        Author::Operator(user) => json!({ "operator": user.to_string() }),
        Author::StartUp => json!("start-up"),
    };
    json!({ "change_id": change.change_id, "by": by })
}
