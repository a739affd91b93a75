//! What the tests of the domain share: a small sale to start from, commands in one line, and the way into a journal's
//! bytes and back.
#![allow(dead_code, reason = "each test file is a crate of its own and uses its own part of this")]

pub mod damage;
pub mod packets;
pub mod parts;

use doorbuster::domain::audit::{Auditor, Id, Keep, Report};
use doorbuster::domain::command::{
    AddStock, CancelOrder, CloseRefund, Grab, PayOrder, PlaceOrder, Redefine, RefundOrder, Request, RequestKey, Source,
    Stamped, SwitchSale,
};
use doorbuster::domain::definition::{OnLatePayment, SkuDefinition};
use doorbuster::domain::event::{ActivityDefined, Author, Change, Switch};
use doorbuster::domain::{Command, Decision, Definition, Entry, Event, Refusal, Sale};
use doorbuster::ids::{ActivityId, Cents, KeyDigest, Qty, Seq, ShardId, SkuId, UnixMillis, UserId};

pub const SHARD: ShardId = ShardId(7);
pub const ACTIVITY: ActivityId = ActivityId(17);
pub const START: u64 = 1_000;
pub const END: u64 = 9_000;
pub const WINDOW: u64 = 500;
pub const OPERATOR: Author = Author::Operator(UserId(900));

/// A refusal that no contract names, but the domain bounds: orders that one user may place beyond the limit.
pub const ORDERS_BEYOND_LIMIT: u32 = 32;

pub fn ms(at: u64) -> UnixMillis {
    UnixMillis(at)
}

pub fn sku_id(name: &str) -> SkuId {
    name.parse().expect("the tests' SKU ids are sound")
}

pub fn key(n: u8) -> KeyDigest {
    KeyDigest([n; 16])
}

pub fn sku(name: &str, stock: u32) -> SkuDefinition {
    SkuDefinition { sku_id: sku_id(name), title: format!("SKU {name}"), price_cents: Cents(100), stock: Qty(stock) }
}

/// Two SKUs, `a` with 5 units and `b` with 3; two units a user.
pub fn definition() -> Definition {
    Definition {
        title: "Doorbuster".to_owned(),
        currency: "CNY".to_owned(),
        starts_at_ms: ms(START),
        ends_at_ms: ms(END),
        shards: 1,
        per_user_limit: Qty(2),
        payment_window_ms: WINDOW,
        on_late_payment: OnLatePayment::ReacquireOrRefund,
        shared_sku: false,
        skus: vec![sku("a", 5), sku("b", 3)],
        packets: None,
    }
}

pub fn with(change: impl FnOnce(&mut Definition)) -> Definition {
    let mut definition = definition();
    change(&mut definition);
    definition
}

pub fn defined(definition: Definition, from_catalog: bool) -> ActivityDefined {
    let change = Change { change_id: 1, by: Author::StartUp, key: None };
    ActivityDefined { activity_id: ACTIVITY, definition, from_catalog, change, part: None }
}

pub fn place(user: u64, sku: &str, quantity: i64) -> PlaceOrder {
    PlaceOrder { user: UserId(user), sku: sku_id(sku), quantity, key: None, reference: None }
}

pub fn keyed(user: u64, sku: &str, quantity: i64, n: u8) -> PlaceOrder {
    PlaceOrder { key: Some(key(n)), ..place(user, sku, quantity) }
}

pub fn cancel(user: u64, order: u32) -> CancelOrder {
    CancelOrder { user: UserId(user), order, key: None }
}

/// A payment in the activity's currency that would wait for units, were there none.
pub fn pay(payment_id: &str, order: u32, cents: u64) -> PayOrder {
    let (payment_id, currency) = (payment_id.into(), "CNY".into());
    PayOrder { payment_id, order, amount_cents: Cents(cents), currency, may_wait: true }
}

pub fn refund(order: u32, restock: bool) -> RefundOrder {
    RefundOrder { order, restock, request: request(2, None) }
}

pub fn paid_back(payment_id: &str) -> CloseRefund {
    CloseRefund { payment_id: payment_id.into(), request: request(2, None) }
}

pub fn request(change_id: u64, keys: Option<(u8, u8)>) -> Request {
    let key = keys.map(|(name, body)| RequestKey { key: key(name), body: key(body) });
    Request { change_id, by: OPERATOR, key }
}

pub fn put(definition: Definition) -> Redefine {
    Redefine { definition, from: Source::Put, seeds: Vec::new(), if_version: None, request: request(2, None) }
}

pub fn reload(definition: Definition) -> Redefine {
    Redefine { from: Source::Catalog, ..put(definition) }
}

pub fn restock(sku: &str, add: i64) -> AddStock {
    AddStock { sku: sku_id(sku), add, request: request(2, None) }
}

pub fn switch(to: Switch) -> SwitchSale {
    SwitchSale { to, request: request(2, None) }
}

macro_rules! into_command {
    ($($name:ident => $variant:ident),*) => {
        pub trait IntoCommand { fn command(self) -> Command; }
        $(impl IntoCommand for $name { fn command(self) -> Command { Command::$variant(self) } })*
        impl IntoCommand for Command { fn command(self) -> Command { self } }
    };
}
into_command!(PlaceOrder => PlaceOrder, CancelOrder => CancelOrder, Redefine => Redefine, AddStock => AddStock,
    SwitchSale => SwitchSale, Grab => Grab, RefundOrder => RefundOrder, CloseRefund => CloseRefund);

impl IntoCommand for PayOrder {
    fn command(self) -> Command {
        Command::PayOrder(Box::new(self))
    }
}

/// A sale with the journal that made it.
#[derive(Clone)]
pub struct Shop {
    pub sale: Sale,
    pub entries: Vec<Entry>,
}

impl Shop {
    /// A sale defined long before it opens.
    pub fn open(definition: Definition, from_catalog: bool) -> Self {
        let first = defined(definition, from_catalog);
        let sale = Sale::define(SHARD, &first);
        let event = Event::ActivityDefined(Box::new(first));
        Self { sale, entries: vec![Entry { shard: SHARD, at_ms: ms(1), event }] }
    }

    /// What the sale would do, without doing it.
    pub fn ask(&self, at: u64, command: impl IntoCommand) -> Result<Decision, Refusal> {
        self.sale.decide(&Stamped { at_ms: ms(at), command: command.command() })
    }

    /// Decides and takes in what comes of it.
    pub fn run(&mut self, at: u64, command: impl IntoCommand) -> Result<Decision, Refusal> {
        let decision = self.ask(at, command)?;
        for event in &decision.events {
            self.sale.apply(ms(at), event);
            self.entries.push(Entry { shard: SHARD, at_ms: ms(at), event: event.clone() });
        }
        Ok(decision)
    }

    /// Like [`Shop::run`], for what must be accepted and must change something.
    #[track_caller]
    pub fn must(&mut self, at: u64, command: impl IntoCommand) -> Event {
        let decision = self.run(at, command).expect("this command is accepted");
        let [event] = decision.events.as_slice() else { panic!("one event was expected: {decision:?}") };
        event.clone()
    }

    /// Like [`Shop::must`], for orders: the order's number.
    #[track_caller]
    pub fn order(&mut self, at: u64, order: PlaceOrder) -> u32 {
        match self.must(at, order) {
            Event::OrderPlaced(event) => event.order,
            other => panic!("an order was expected: {other:?}"),
        }
    }

    #[track_caller]
    pub fn refused(&self, at: u64, command: impl IntoCommand) -> Refusal {
        self.ask(at, command).expect_err("this command is refused")
    }

    /// `(stock, available, held)` of a SKU that is on sale.
    pub fn units(&self, sku: &str) -> Option<(u32, u32, u32)> {
        let count = self.sale.counts().into_iter().find(|count| count.sku_id == sku_id(sku))?;
        assert_eq!(count.sold, Qty(0), "nobody pays here");
        Some((count.stock.0, count.available.0, count.held.0))
    }

    /// `(available, held, sold)` of a SKU that is on sale.
    #[track_caller]
    pub fn split(&self, sku: &str) -> (u32, u32, u32) {
        let count = self.sale.counts().into_iter().find(|count| count.sku_id == sku_id(sku));
        count.map(|count| (count.available.0, count.held.0, count.sold.0)).expect("the SKU is on sale")
    }

    /// Stops and starts again: from the journal's bytes to the same state.
    pub fn restart(&self) -> Self {
        let entries: Vec<Entry> = self.entries.iter().map(|entry| decode(&encode(entry))).collect();
        assert_eq!(entries, self.entries, "the journal gives back what was written");
        let Event::ActivityDefined(first) = &entries[0].event else { panic!("a journal starts with its definition") };
        let mut sale = Sale::define(SHARD, first);
        entries[1..].iter().for_each(|entry| sale.apply(entry.at_ms, &entry.event));
        Self { sale, entries }
    }
}

pub fn encode<T: serde::Serialize>(value: &T) -> Vec<u8> {
    rmp_serde::to_vec(value).expect("events encode")
}

pub fn decode<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> T {
    rmp_serde::from_slice(bytes).expect("events decode")
}

/// The report over a journal whose events are numbered as they stand.
pub fn audit(entries: &[Entry]) -> Report {
    let mut auditor = Auditor::new(Keep::Standing);
    (1..).zip(entries).for_each(|(seq, entry)| auditor.observe(Seq(seq), entry));
    auditor.finish()
}

/// The invariants that a report finds broken.
pub fn broken(report: &Report) -> Vec<Id> {
    report.findings().filter(|(_, finding)| finding.broken > 0).map(|(id, _)| id).collect()
}
