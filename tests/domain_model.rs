//! Random commands, time jumps and restarts against a naive model written from the contract. After every step the
//! model must have predicted the answer and everything that can be seen of the sale, and the auditor must agree.
//!
//! A failure prints the run's seed; `DOORBUSTER_SEED=<seed> DOORBUSTER_CASES=1 cargo test --test domain_model` replays
//! it. `DOORBUSTER_CASES` raises the number of runs.

mod domain;

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, RandomState};

use domain::*;
use doorbuster::domain::audit::Auditor;
use doorbuster::domain::command::{CancelOrder, Command, PlaceOrder, Redefine, Source};
use doorbuster::domain::definition::{OnLatePayment, SkuDefinition};
use doorbuster::domain::event::{Author, StockChange, Switch};
use doorbuster::domain::{Definition, Event, OrderState, Phase, Refusal};
use doorbuster::ids::{Cents, KeyDigest, Qty, Seq, SkuId, UserId};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

const CASES: u64 = 256;
const STEPS: usize = 200;
const SKUS: [&str; 5] = ["a", "b", "c", "d", "none"];
const EXPIRE_STEP: usize = 256;

// ---------------------------------------------------------------------------------------------------------------
// What can happen. Small numbers, resolved against the state, so that collisions are frequent and shrinking works.

#[derive(Clone, Debug)]
struct Step {
    jump: Jump,
    op: Op,
}

#[derive(Clone, Copy, Debug)]
enum Jump {
    Stay,
    By(u64),
    /// To just before, at or just after the next deadline.
    Deadline(i64),
    Start(i64),
    End(i64),
}

#[derive(Clone, Debug)]
enum Op {
    Place {
        user: u64,
        sku: usize,
        quantity: i64,
        key: Option<u8>,
        reference: Option<u8>,
    },
    Cancel {
        user: u64,
        order: u32,
        key: Option<u8>,
    },
    /// The newest order of all, by its owner: what a random number seldom hits.
    CancelNewest {
        key: Option<u8>,
    },
    Expire,
    Redefine {
        edits: Vec<Edit>,
        from: Source,
        version: Option<i64>,
        keys: Option<(u8, u8)>,
    },
    AddStock {
        sku: usize,
        add: i64,
        keys: Option<(u8, u8)>,
    },
    Switch {
        to: Switch,
        keys: Option<(u8, u8)>,
    },
    Restart,
}

#[derive(Clone, Debug)]
enum Edit {
    Title(u8),
    Currency,
    Shards,
    Start(i64),
    End(i64),
    Limit(u32),
    Window(u64),
    Late(bool),
    Shared(bool),
    Price(usize, u64),
    SkuTitle(usize, u8),
    Stock(usize, u32),
    StockBy(usize, i64),
    StockHuge(usize),
    AddSku(usize, u32),
    DropSku(usize),
    Swap,
}

fn edit() -> impl Strategy<Value = Edit> {
    let sku = || 0..4usize;
    prop_oneof![
        2 => (0..3u8).prop_map(Edit::Title),
        1 => Just(Edit::Currency),
        1 => Just(Edit::Shards),
        2 => (-300..300i64).prop_map(Edit::Start),
        2 => (-300..3000i64).prop_map(Edit::End),
        3 => (1..6u32).prop_map(Edit::Limit),
        4 => prop::sample::select(vec![1, 20, 100, 500]).prop_map(Edit::Window),
        1 => any::<bool>().prop_map(Edit::Late),
        1 => any::<bool>().prop_map(Edit::Shared),
        3 => (sku(), 1..4u64).prop_map(|(sku, price)| Edit::Price(sku, price)),
        1 => (sku(), 0..3u8).prop_map(|(sku, title)| Edit::SkuTitle(sku, title)),
        4 => (sku(), 0..8u32).prop_map(|(sku, stock)| Edit::Stock(sku, stock)),
        6 => (sku(), -4..5i64).prop_map(|(sku, by)| Edit::StockBy(sku, by)),
        1 => sku().prop_map(Edit::StockHuge),
        5 => (sku(), 0..6u32).prop_map(|(sku, stock)| Edit::AddSku(sku, stock)),
        3 => sku().prop_map(Edit::DropSku),
        1 => Just(Edit::Swap),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let key = || prop::option::weighted(0.4, 0..6u8);
    let keys = || prop::option::weighted(0.2, (0..4u8, 0..2u8));
    let quantity = prop::sample::select(vec![1, 1, 1, 1, 2, 2, 3, 0, -1, 1_001, i64::MAX, i64::MIN, 1 << 32]);
    let reference = prop::option::weighted(0.2, 0..2u8);
    let source = prop_oneof![2 => Just(Source::Put), 3 => Just(Source::Catalog)];
    let to = prop_oneof![10 => Just(Switch::Paused), 20 => Just(Switch::Resumed), 1 => Just(Switch::Closed)];
    prop_oneof![
        40 => (0..5u64, 0..SKUS.len(), quantity, key(), reference)
            .prop_map(|(user, sku, quantity, key, reference)| Op::Place { user, sku, quantity, key, reference }),
        8 => (0..5u64, 0..40u32, key()).prop_map(|(user, order, key)| Op::Cancel { user, order, key }),
        8 => key().prop_map(|key| Op::CancelNewest { key }),
        8 => Just(Op::Expire),
        16 => (prop::collection::vec(edit(), 0..4), source, prop::option::weighted(0.2, -1..=1i64), keys())
            .prop_map(|(edits, from, version, keys)| Op::Redefine { edits, from, version, keys }),
        4 => (0..SKUS.len(), prop::sample::select(vec![1, 2, 3, 0, -1, i64::MAX, 100_000_001]), keys())
            .prop_map(|(sku, add, keys)| Op::AddStock { sku, add, keys }),
        4 => (to, keys()).prop_map(|(to, keys)| Op::Switch { to, keys }),
        2 => Just(Op::Restart),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let jump = prop_oneof![
        120 => Just(Jump::Stay),
        60 => (1..40u64).prop_map(Jump::By),
        12 => (-1..=1i64).prop_map(Jump::Deadline),
        4 => (-1..=1i64).prop_map(Jump::Start),
        1 => (-1..=1i64).prop_map(Jump::End),
    ];
    (jump, op()).prop_map(|(jump, op)| Step { jump, op })
}

// ---------------------------------------------------------------------------------------------------------------
// The model: a definition, a list of orders, and the numbers that were given and taken away. Everything else is
// counted afresh each time it is asked for.

#[derive(Clone, Debug)]
struct ModelOrder {
    user: UserId,
    sku: SkuId,
    slots: BTreeSet<u32>,
    amount: u64,
    held_at: u64,
    expires_at: u64,
    state: OrderState,
    key: Option<KeyDigest>,
    reference: Option<Box<str>>,
    cancel_key: Option<KeyDigest>,
}

#[derive(Clone, Debug)]
struct Model {
    definition: Definition,
    /// The catalogue's entry as last applied.
    base: Option<Definition>,
    version: u64,
    paused: bool,
    closed: bool,
    orders: Vec<ModelOrder>,
    /// Every SKU there ever was, by its index.
    names: Vec<SkuId>,
    /// Slots that are on the books of a SKU, whoever has them.
    slots: BTreeMap<SkuId, BTreeSet<u32>>,
    /// Every slot there ever was.
    ever: BTreeMap<SkuId, BTreeSet<u32>>,
    keys: Vec<(Author, KeyDigest, KeyDigest)>,
}

/// What the model says must come of a command.
#[derive(Clone, Debug)]
enum Expected {
    /// One event; which one is checked against the model as it is taken in.
    Event,
    Nothing {
        order: Option<u32>,
        replayed: bool,
    },
    /// One of these: the contract leaves open which fault of a definition is named first.
    Refused(Vec<Refusal>),
}

fn refused(refusal: Refusal) -> Expected {
    Expected::Refused(vec![refusal])
}

impl Model {
    fn new(definition: Definition, from_catalog: bool) -> Self {
        let slots: BTreeMap<SkuId, BTreeSet<u32>> =
            definition.skus.iter().map(|sku| (sku.sku_id.clone(), (1..=sku.stock.0).collect())).collect();
        let definition_names = definition.skus.iter().map(|sku| sku.sku_id.clone()).collect();
        Self {
            base: from_catalog.then(|| definition.clone()),
            definition,
            version: 1,
            paused: false,
            closed: false,
            orders: Vec::new(),
            names: definition_names,
            ever: slots.clone(),
            slots,
            keys: Vec::new(),
        }
    }

    fn phase(&self, now: u64) -> Phase {
        let (start, end) = (self.definition.starts_at_ms.0, self.definition.ends_at_ms.0);
        match () {
            () if self.closed || now >= end => Phase::Ended,
            () if now < start => Phase::Scheduled,
            () if self.paused => Phase::Paused,
            () => Phase::Running,
        }
    }

    fn held_slots(&self, sku: &SkuId) -> BTreeSet<u32> {
        let held = self.orders.iter().filter(|order| order.state == OrderState::Held && order.sku == *sku);
        held.flat_map(|order| order.slots.iter().copied()).collect()
    }

    fn free_slots(&self, sku: &SkuId) -> BTreeSet<u32> {
        let all = self.slots.get(sku).cloned().unwrap_or_default();
        all.difference(&self.held_slots(sku)).copied().collect()
    }

    fn free(&self, sku: &SkuId) -> u32 {
        u32::try_from(self.free_slots(sku).len()).expect("the model's stocks are small")
    }

    fn numbered(&self) -> impl Iterator<Item = (u32, &ModelOrder)> {
        (1..).zip(&self.orders)
    }

    fn due(&self, now: u64) -> Vec<u32> {
        let held = self.numbered().filter(|(_, order)| order.state == OrderState::Held && order.expires_at <= now);
        let mut due: Vec<(u64, u32)> = held.map(|(number, order)| (order.expires_at, number)).collect();
        due.sort_unstable();
        due.into_iter().map(|(_, number)| number).take(EXPIRE_STEP).collect()
    }

    fn expect(&self, now: u64, command: &Command) -> Expected {
        match command {
            Command::PlaceOrder(place) => self.expect_place(now, place),
            Command::CancelOrder(cancel) => self.expect_cancel(now, cancel),
            Command::ExpireHolds if self.due(now).is_empty() => Expected::Nothing { order: None, replayed: false },
            Command::ExpireHolds => Expected::Event,
            Command::Redefine(redefine) => {
                self.replay(&redefine.request).unwrap_or_else(|| self.expect_redefine(now, redefine))
            }
            Command::AddStock(add) => self.replay(&add.request).unwrap_or_else(|| {
                let Some(sku) = self.definition.sku(&add.sku) else { return refused(Refusal::SkuNotFound) };
                let max = 100_000_000 - sku.stock.0;
                match () {
                    () if add.add < 1 || add.add > i64::from(max) => refused(Refusal::InvalidQuantity { max }),
                    () if self.closed => refused(Refusal::ActivityClosed),
                    () => Expected::Event,
                }
            }),
            Command::SwitchSale(switch) => self.replay(&switch.request).unwrap_or_else(|| match switch.to {
                Switch::Closed if self.closed => Expected::Nothing { order: None, replayed: false },
                Switch::Closed => Expected::Event,
                _ if self.closed => refused(Refusal::ActivityClosed),
                to if (to == Switch::Paused) == self.paused => Expected::Nothing { order: None, replayed: false },
                _ => Expected::Event,
            }),
        }
    }

    fn replay(&self, request: &doorbuster::domain::command::Request) -> Option<Expected> {
        let key = request.key?;
        let (_, _, body) = self.keys.iter().find(|(by, name, _)| *by == request.by && *name == key.key)?;
        Some(if *body == key.body {
            Expected::Nothing { order: None, replayed: true }
        } else {
            refused(Refusal::KeyReused)
        })
    }

    fn expect_place(&self, now: u64, place: &PlaceOrder) -> Expected {
        let of_key = |order: &ModelOrder| order.user == place.user && place.key.is_some() && order.key == place.key;
        if let Some((number, order)) = self.numbered().find(|(_, order)| of_key(order)) {
            let quantity = i64::try_from(order.slots.len()).expect("a quantity is small");
            let same = order.sku == place.sku && quantity == place.quantity && order.reference == place.reference;
            return if same {
                Expected::Nothing { order: Some(number), replayed: true }
            } else {
                refused(Refusal::KeyReused)
            };
        }
        match self.phase(now) {
            Phase::Scheduled => return refused(Refusal::NotStarted { starts_at_ms: self.definition.starts_at_ms }),
            Phase::Ended => return refused(Refusal::Ended),
            Phase::Paused => return refused(Refusal::Paused),
            Phase::Running => {}
        }
        if self.definition.sku(&place.sku).is_none() {
            return refused(Refusal::SkuNotFound);
        }
        let limit = self.definition.per_user_limit.0;
        let max = limit.min(1_000);
        if place.quantity < 1 || place.quantity > i64::from(max) {
            return refused(Refusal::InvalidQuantity { max });
        }
        let quantity = usize::try_from(place.quantity).expect("between 1 and the limit");
        let own = || self.numbered().filter(|(_, order)| order.user == place.user);
        let live = || own().filter(|(_, order)| order.state == OrderState::Held);
        let units: usize = live().map(|(_, order)| order.slots.len()).sum();
        if units + quantity > limit as usize || own().count() >= (limit + ORDERS_BEYOND_LIMIT) as usize {
            let mut orders: Vec<u32> = live().map(|(number, _)| number).collect();
            orders.reverse();
            return refused(Refusal::LimitReached { orders });
        }
        if self.free_slots(&place.sku).len() < quantity {
            return refused(Refusal::SoldOut);
        }
        Expected::Event
    }

    fn expect_cancel(&self, now: u64, cancel: &CancelOrder) -> Expected {
        let order = self.numbered().find(|(number, order)| *number == cancel.order && order.user == cancel.user);
        let Some((number, order)) = order else { return refused(Refusal::OrderNotFound) };
        let expired = refused(Refusal::OrderNotCancellable { state: OrderState::Expired });
        match order.state {
            OrderState::Cancelled => {
                let replayed = cancel.key.is_some() && order.cancel_key == cancel.key;
                Expected::Nothing { order: Some(number), replayed }
            }
            OrderState::Expired => expired,
            OrderState::Held if now >= order.expires_at => expired,
            OrderState::Held => Expected::Event,
        }
    }

    /// What the definition would be after `redefine`, or the SKU whose stock would fall below nothing.
    fn wanted(&self, redefine: &Redefine) -> Result<Definition, SkuId> {
        let theirs = &redefine.definition;
        let base = match (redefine.from, &self.base) {
            (Source::Put, _) | (_, None) => return Ok(theirs.clone()),
            (Source::Catalog, Some(base)) => base,
        };
        let mut merged = self.definition.clone();
        // Field by field: what the catalogue changed is applied, what it did not change stays as it is.
        macro_rules! take {
            ($($field:ident),*) => {
                $(if theirs.$field != base.$field { merged.$field = theirs.$field.clone(); })*
            };
        }
        take!(title, currency, starts_at_ms, ends_at_ms, shards, per_user_limit, payment_window_ms);
        take!(on_late_payment, shared_sku);
        merged.skus.retain(|sku| base.sku(&sku.sku_id).is_none() || theirs.sku(&sku.sku_id).is_some());
        for their in &theirs.skus {
            let our = merged.skus.iter_mut().find(|sku| sku.sku_id == their.sku_id);
            match (our, base.sku(&their.sku_id)) {
                (Some(our), Some(was)) => {
                    if their.title != was.title {
                        our.title = their.title.clone();
                    }
                    if their.price_cents != was.price_cents {
                        our.price_cents = their.price_cents;
                    }
                    let stock = i64::from(our.stock.0) + i64::from(their.stock.0) - i64::from(was.stock.0);
                    our.stock = Qty(u32::try_from(stock).map_err(|_| our.sku_id.clone())?);
                }
                (Some(our), None) => *our = their.clone(),
                (None, None) => merged.skus.push(their.clone()),
                (None, Some(_)) => {} // a PUT took it off, and that stays
            }
        }
        Ok(merged)
    }

    fn expect_redefine(&self, now: u64, redefine: &Redefine) -> Expected {
        if redefine.if_version.is_some_and(|version| version != self.version) {
            return refused(Refusal::VersionConflict { version: self.version });
        }
        let too_low = |sku: &SkuId| Refusal::StockTooLow { sku: sku.clone(), largest_reduction: self.free(sku) };
        let new = match self.wanted(redefine) {
            Ok(new) => new,
            Err(sku) => {
                // Another SKU may be the first that is named: any whose own change asks for too much.
                let all = self.definition.skus.iter().map(|sku| too_low(&sku.sku_id));
                return Expected::Refused(all.chain([too_low(&sku)]).collect());
            }
        };
        let news = redefine.from == Source::Catalog && self.base.as_ref() != Some(&redefine.definition);
        if new == self.definition && !news {
            return Expected::Nothing { order: None, replayed: false };
        }
        if self.closed {
            return refused(Refusal::ActivityClosed);
        }
        let old = &self.definition;
        let huge = new.skus.iter().any(|sku| sku.stock.0 > 100_000_000);
        let bounds = [
            (new.starts_at_ms >= new.ends_at_ms, "starts_at: before ends_at"),
            (huge, "a SKU's stock: at most 100,000,000"),
        ];
        let too_large: Vec<Refusal> =
            bounds.into_iter().filter(|(is_so, _)| *is_so).map(|(_, what)| Refusal::TooLarge { what }).collect();
        if !too_large.is_empty() {
            return Expected::Refused(too_large);
        }
        let immutable = |field: &str| Refusal::ImmutableField { field: field.to_owned() };
        let past = now >= old.ends_at_ms.0;
        let mut faults = Vec::new();
        faults.extend((new.shards != old.shards).then(|| immutable("shards")));
        faults.extend((new.currency != old.currency).then(|| immutable("currency")));
        faults.extend((past && new.starts_at_ms != old.starts_at_ms).then(|| immutable("starts_at")));
        faults.extend((past && new.ends_at_ms != old.ends_at_ms).then(|| immutable("ends_at")));
        for sku in &old.skus {
            let held = self.held_slots(&sku.sku_id).len();
            match new.sku(&sku.sku_id) {
                None if held > 0 => faults.push(immutable(&format!("skus.{}", sku.sku_id))),
                Some(wanted) if (wanted.stock.0 as usize) < held => faults.push(too_low(&sku.sku_id)),
                _ => {}
            }
        }
        if faults.is_empty() { Expected::Event } else { Expected::Refused(faults) }
    }

    /// Takes in what the sale says has happened, where it is what the command allows.
    fn follow(&mut self, now: u64, command: &Command, event: &Event) {
        match (command, event) {
            (Command::PlaceOrder(place), Event::OrderPlaced(placed)) => {
                let slots: BTreeSet<u32> = placed.slots.iter().collect();
                let price = self.definition.sku(&place.sku).expect("the SKU is on sale").price_cents.0;
                let quantity = u64::try_from(place.quantity).expect("an accepted quantity is positive");
                assert_eq!(placed.slots.count() as usize, slots.len(), "no slot is named twice");
                assert_eq!(slots.len() as u64, quantity, "as many slots as were asked for");
                assert!(slots.is_subset(&self.free_slots(&place.sku)), "the slots were free");
                assert_eq!((placed.user, placed.key), (place.user, place.key));
                assert_eq!(placed.reference, place.reference);
                assert_eq!(placed.order as usize, self.orders.len() + 1, "orders are numbered without a gap");
                assert_eq!(placed.amount_cents, Cents(price * quantity), "at the price of this instant");
                assert_eq!(placed.expires_at_ms.0, now + self.definition.payment_window_ms);
                self.orders.push(ModelOrder {
                    user: place.user,
                    sku: place.sku.clone(),
                    slots,
                    amount: placed.amount_cents.0,
                    held_at: now,
                    expires_at: placed.expires_at_ms.0,
                    state: OrderState::Held,
                    key: place.key,
                    reference: place.reference.clone(),
                    cancel_key: None,
                });
            }
            (Command::CancelOrder(cancel), Event::OrderCancelled(cancelled)) => {
                assert_eq!((cancelled.order, cancelled.key), (cancel.order, cancel.key));
                let order = &mut self.orders[cancel.order as usize - 1];
                (order.state, order.cancel_key) = (OrderState::Cancelled, cancel.key);
            }
            (Command::ExpireHolds, Event::HoldsExpired(expired)) => {
                assert_eq!(expired.orders, self.due(now), "what is due expires, in the order of the deadlines");
                for number in &expired.orders {
                    self.orders[*number as usize - 1].state = OrderState::Expired;
                }
            }
            (Command::Redefine(redefine), Event::ActivityRedefined(event)) => {
                let wanted = self.wanted(redefine).expect("an accepted definition can be merged");
                let is_new = redefine.from == Source::Catalog && self.base.as_ref() != Some(&redefine.definition);
                let news = is_new.then(|| redefine.definition.clone());
                assert_eq!((&event.definition, &event.catalog), (&wanted, &news));
                assert_eq!(event.change, redefine.request.change());
                self.redefined(event);
            }
            (Command::AddStock(add), Event::ActivityRedefined(event)) => {
                let mut wanted = self.definition.clone();
                let sku = wanted.skus.iter_mut().find(|sku| sku.sku_id == add.sku).expect("the SKU is on sale");
                sku.stock.0 += u32::try_from(add.add).expect("an accepted restock is positive");
                assert_eq!((&event.definition, &event.catalog), (&wanted, &None));
                assert_eq!(event.change, add.request.change());
                self.redefined(event);
            }
            (Command::SwitchSale(switch), Event::SaleSwitched(event)) => {
                assert_eq!((event.to, &event.change), (switch.to, &switch.request.change()));
                match switch.to {
                    Switch::Paused => self.paused = true,
                    Switch::Resumed => self.paused = false,
                    Switch::Closed => self.closed = true,
                }
                self.remember(&event.change);
            }
            (command, event) => panic!("{command:?} cannot lead to {event:?}"),
        }
    }

    fn redefined(&mut self, event: &doorbuster::domain::event::ActivityRedefined) {
        self.version += 1;
        assert_eq!(event.version, self.version);
        // A SKU's index is its place among all that there ever were, in the order of their first listing.
        for sku in &event.definition.skus {
            if !self.names.contains(&sku.sku_id) {
                self.names.push(sku.sku_id.clone());
            }
        }
        for change in &event.stock {
            let (StockChange::Added { sku, slots } | StockChange::Removed { sku, slots }) = change;
            let name = &self.names[usize::from(sku.0)];
            let slots: BTreeSet<u32> = slots.iter().collect();
            assert!(!slots.is_empty(), "a change that changes nothing is not written down");
            if matches!(change, StockChange::Added { .. }) {
                let ever = self.ever.entry(name.clone()).or_default();
                assert!(ever.is_disjoint(&slots), "a slot's number is given once");
                ever.extend(&slots);
                self.slots.entry(name.clone()).or_default().extend(&slots);
            } else {
                assert!(slots.is_subset(&self.free_slots(name)), "only free units are taken away");
                self.slots.entry(name.clone()).or_default().retain(|slot| !slots.contains(slot));
            }
        }
        self.definition = event.definition.clone();
        self.base = event.catalog.clone().or(self.base.take());
        for (name, slots) in &self.slots {
            let said = self.definition.sku(name).map_or(0, |sku| sku.stock.0);
            assert_eq!(slots.len(), said as usize, "SKU {name} has the stock that its definition says");
        }
        self.remember(&event.change);
    }

    fn remember(&mut self, change: &doorbuster::domain::event::Change) {
        if let Some(key) = change.key {
            self.keys.push((change.by, key.key, key.body));
        }
    }
}

// ---------------------------------------------------------------------------------------------------------------
// The run.

struct World {
    shop: Shop,
    model: Model,
    auditor: Auditor,
    observed: u64,
    /// The catalogue's file: edited whether or not its last reload was accepted.
    file: Definition,
    now: u64,
    change_id: u64,
}

impl World {
    fn new(from_catalog: bool) -> Self {
        let first = with(|definition| definition.payment_window_ms = 100);
        let shop = Shop::open(first.clone(), from_catalog);
        let model = Model::new(first.clone(), from_catalog);
        let mut world =
            Self { shop, model, auditor: Auditor::default(), observed: 0, file: first, now: 990, change_id: 1 };
        world.check();
        world
    }

    fn step(&mut self, step: &Step) {
        self.jump(step.jump);
        if let Op::Restart = step.op {
            self.restart();
        } else {
            let command = self.command(&step.op);
            self.run(&command);
        }
        self.check();
    }

    fn jump(&mut self, jump: Jump) {
        let definition = &self.model.definition;
        let next_deadline = self.shop.sale.next_deadline().map_or(self.now, |at| at.0);
        let to = match jump {
            Jump::Stay => self.now,
            Jump::By(ms) => self.now + ms,
            Jump::Deadline(by) => next_deadline.saturating_add_signed(by),
            Jump::Start(by) => definition.starts_at_ms.0.saturating_add_signed(by),
            Jump::End(by) => definition.ends_at_ms.0.saturating_add_signed(by),
        };
        self.now = self.now.max(to);
    }

    fn command(&mut self, op: &Op) -> Command {
        self.change_id += 1;
        match op.clone() {
            Op::Place { user, sku, quantity, key: name, reference } => Command::PlaceOrder(PlaceOrder {
                key: name.map(key),
                reference: reference.map(|n| n.to_string().into()),
                ..place(user, SKUS[sku], quantity)
            }),
            Op::Cancel { user, order, key: name } => {
                Command::CancelOrder(CancelOrder { key: name.map(key), ..cancel(user, order) })
            }
            Op::CancelNewest { key: name } => {
                let (number, user) = self.model.numbered().last().map_or((1, 0), |(n, order)| (n, order.user.0));
                Command::CancelOrder(CancelOrder { key: name.map(key), ..cancel(user, number) })
            }
            Op::Expire => Command::ExpireHolds,
            Op::Redefine { edits, from, version, keys } => {
                let mut definition = match from {
                    Source::Put => self.model.definition.clone(),
                    Source::Catalog => self.file.clone(),
                };
                edits.iter().for_each(|edit| apply_edit(&mut definition, edit, self.now));
                if from == Source::Catalog {
                    self.file = definition.clone();
                    // The naive model lists every slot: a stock just below the bound is none for it.
                    self.file.skus.iter_mut().filter(|sku| sku.stock.0 > 1_000).for_each(|sku| sku.stock = Qty(5));
                }
                let if_version = version.map(|by| self.model.version.saturating_add_signed(by));
                Command::Redefine(Redefine { definition, from, if_version, request: request(self.change_id, keys) })
            }
            Op::AddStock { sku, add, keys } => {
                let mut add = restock(SKUS[sku], add);
                add.request = request(self.change_id, keys);
                Command::AddStock(add)
            }
            Op::Switch { to, keys } => {
                let mut switch = switch(to);
                switch.request = request(self.change_id, keys);
                Command::SwitchSale(switch)
            }
            Op::Restart => unreachable!("a restart is no command"),
        }
    }

    fn run(&mut self, command: &Command) {
        let expected = self.model.expect(self.now, command);
        let before = self.shop.entries.len();
        let got = self.shop.run(self.now, command.clone());
        let explain = || format!("at {} {command:?}: expected {expected:?}, got {got:?}", self.now);
        match (&expected, &got) {
            (Expected::Refused(any), Err(refusal)) => {
                assert!(any.contains(refusal), "{}", explain());
                // A file that can never be applied again would keep every later reload from being tried.
                if matches!(refusal, Refusal::TooLarge { .. } | Refusal::ImmutableField { .. }) {
                    self.file = self.model.base.clone().unwrap_or_else(|| self.model.definition.clone());
                }
            }
            (Expected::Nothing { order, replayed }, Ok(decision)) => {
                assert!(decision.events.is_empty(), "{}", explain());
                assert_eq!((decision.order, decision.replayed), (*order, *replayed), "{}", explain());
            }
            (Expected::Event, Ok(decision)) => {
                assert_eq!((decision.events.len(), decision.replayed), (1, false), "{}", explain());
                let event = self.shop.entries[before].event.clone();
                self.model.follow(self.now, command, &event);
                let number = matches!(command, Command::PlaceOrder(_)).then_some(self.shop.sale.orders_placed());
                if number.is_some() {
                    assert_eq!(decision.order, number);
                }
            }
            _ => panic!("{}", explain()),
        }
    }

    fn restart(&mut self) {
        let again = self.shop.restart();
        assert!(again.sale == self.shop.sale, "the journal gives the same state");
        self.shop = again;
        self.auditor = Auditor::default();
        self.observed = 0;
    }

    /// Everything that can be seen of the sale is as the model has it, and the auditor finds nothing.
    fn check(&mut self) {
        let (sale, model) = (&self.shop.sale, &self.model);
        assert_eq!(sale.phase(ms(self.now)), model.phase(self.now));
        assert_eq!((sale.is_paused(), sale.is_closed()), (model.paused, model.closed));
        assert_eq!((sale.version(), sale.definition()), (model.version, &model.definition));

        let counts = sale.counts();
        assert_eq!(counts.len(), model.definition.skus.len());
        for (count, sku) in counts.iter().zip(&model.definition.skus) {
            let held = u32::try_from(model.held_slots(&sku.sku_id).len()).expect("the model's stocks are small");
            assert_eq!((&count.sku_id, count.stock, count.held.0), (&sku.sku_id, sku.stock, held));
            assert_eq!((count.available.0, count.sold.0), (model.free(&sku.sku_id), 0));
        }

        assert_eq!(sale.orders_placed() as usize, model.orders.len());
        for (view, (number, order)) in sale.orders_from(1).zip(model.numbered()) {
            assert_eq!((view.order_id, view.user), (sale.order_id(number), order.user));
            assert_eq!((&view.sku_id, view.state), (&order.sku, order.state), "order {number}");
            assert_eq!(view.slots.iter().collect::<BTreeSet<_>>(), order.slots);
            assert_eq!((view.quantity.0 as usize, view.amount_cents.0), (order.slots.len(), order.amount));
            assert_eq!((view.held_at_ms.0, view.expires_at_ms.0), (order.held_at, order.expires_at));
            assert_eq!(view.reference, order.reference);
        }
        for user in (0..5).map(UserId) {
            let own = model.numbered().filter(|(_, order)| order.user == user);
            let mut own: Vec<_> = own.map(|(number, _)| sale.order_id(number)).collect();
            own.reverse();
            assert_eq!(sale.orders_of(user).map(|view| view.order_id).collect::<Vec<_>>(), own, "newest first");
        }
        let held = model.orders.iter().filter(|order| order.state == OrderState::Held);
        assert_eq!(sale.next_deadline().map(|at| at.0), held.map(|order| order.expires_at).min());

        for entry in &self.shop.entries[usize::try_from(self.observed).expect("few events")..] {
            self.observed += 1;
            self.auditor.observe(Seq(self.observed), entry);
        }
        assert!(self.auditor.report().holds(), "{:?}", self.auditor.report());
    }
}

fn apply_edit(definition: &mut Definition, edit: &Edit, now: u64) {
    let mut sku = |place: usize, change: &dyn Fn(&mut SkuDefinition)| {
        definition.skus.iter_mut().filter(|sku| sku.sku_id.as_str() == SKUS[place]).for_each(change);
    };
    match *edit {
        Edit::Price(place, price) => sku(place, &|sku| sku.price_cents = Cents(price)),
        Edit::SkuTitle(place, title) => sku(place, &|sku| sku.title = title.to_string()),
        Edit::Stock(place, stock) => sku(place, &|sku| sku.stock = Qty(stock)),
        Edit::StockBy(place, by) => sku(place, &|sku| {
            let stock = (i64::from(sku.stock.0) + by).max(0);
            sku.stock = Qty(u32::try_from(stock).expect("the model's stocks are small"));
        }),
        Edit::StockHuge(place) => sku(place, &|sku| sku.stock = Qty(200_000_000)),
        Edit::Title(n) => definition.title = n.to_string(),
        Edit::Currency => definition.currency = "EUR".to_owned(),
        Edit::Shards => definition.shards += 1,
        Edit::Start(by) => definition.starts_at_ms = ms(now.saturating_add_signed(by)),
        Edit::End(by) => definition.ends_at_ms = ms(now.saturating_add_signed(by)),
        Edit::Limit(n) => definition.per_user_limit = Qty(n),
        Edit::Window(n) => definition.payment_window_ms = n,
        Edit::Late(refund) => {
            definition.on_late_payment = if refund { OnLatePayment::Refund } else { OnLatePayment::ReacquireOrRefund };
        }
        Edit::Shared(shared) => definition.shared_sku = shared,
        Edit::AddSku(place, stock) => {
            if definition.sku(&sku_id(SKUS[place])).is_none() {
                definition.skus.push(domain::sku(SKUS[place], stock));
            }
        }
        Edit::DropSku(place) => definition.skus.retain(|sku| sku.sku_id.as_str() != SKUS[place]),
        Edit::Swap => definition.skus.reverse(),
    }
}

fn number_from_env(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

#[test]
fn random_commands_do_what_the_naive_model_says() {
    let seed = number_from_env("DOORBUSTER_SEED").unwrap_or_else(|| RandomState::new().hash_one(0u8));
    let steps = (any::<bool>(), prop::collection::vec(step(), STEPS..=STEPS));
    for seed in (0..number_from_env("DOORBUSTER_CASES").unwrap_or(CASES)).map(|case| seed.wrapping_add(case)) {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let config = Config {
            cases: 1,
            failure_persistence: None,
            max_shrink_iters: 20_000,
            max_shrink_time: 20_000,
            ..Config::default()
        };
        let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
        let outcome = runner.run(&steps, |(from_catalog, steps)| {
            let mut world = World::new(from_catalog);
            steps.iter().for_each(|step| world.step(step));
            world.restart();
            world.check();
            let report = std::mem::take(&mut world.auditor).finish();
            prop_assert!(report.holds(), "{report:?}");
            Ok(())
        });
        if let Err(failure) = outcome {
            panic!("replay: DOORBUSTER_SEED={seed} DOORBUSTER_CASES=1 cargo test --test domain_model\n{failure}");
        }
    }
}
