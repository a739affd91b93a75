//! The model: a definition, a list of orders, and the numbers that were given and taken away. Everything else is
//! counted afresh each time it is asked for.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::*;
use doorbuster::domain::command::{CancelOrder, Command, PlaceOrder, Redefine, Request, Source, SwitchSale};
use doorbuster::domain::event::{Author, StockChange, Switch};
use doorbuster::domain::{Definition, Event, OrderState, Phase, Refusal};
use doorbuster::ids::{Cents, KeyDigest, Qty, SkuId, UserId};

use crate::payments::{ModelPayment, Paid};

use crate::EXPIRE_STEP;

#[derive(Clone, Debug)]
pub struct ModelOrder {
    pub user: UserId,
    pub sku: SkuId,
    pub slots: BTreeSet<u32>,
    pub amount: u64,
    pub held_at: u64,
    pub expires_at: u64,
    pub state: OrderState,
    pub key: Option<KeyDigest>,
    pub reference: Option<Box<str>>,
    pub cancel_key: Option<KeyDigest>,
    /// Whether it was refunded, and its units did not go back on sale.
    pub keeps: bool,
}

#[derive(Clone, Debug)]
pub struct Model {
    pub definition: Definition,
    /// The catalogue's entry as last applied.
    pub base: Option<Definition>,
    pub version: u64,
    pub paused: bool,
    pub closed: bool,
    pub orders: Vec<ModelOrder>,
    pub payments: Vec<ModelPayment>,
    /// Whether the payment that comes next had its order's hold end.
    pub lapsed: bool,
    /// Every SKU there ever was, by its index.
    pub names: Vec<SkuId>,
    /// Slots that are on the books of a SKU, whoever has them.
    pub slots: BTreeMap<SkuId, BTreeSet<u32>>,
    /// Every slot there ever was.
    pub ever: BTreeMap<SkuId, BTreeSet<u32>>,
    pub keys: Vec<(Author, KeyDigest, KeyDigest)>,
}

/// What the model says must come of a command.
#[derive(Clone, Debug)]
pub enum Expected {
    /// One event; which one is checked against the model as it is taken in.
    Event,
    Nothing {
        order: Option<u32>,
        replayed: bool,
    },
    /// A payment that is new, and what it does.
    Payment(Paid),
    /// A payment that is known, and that stays as it is.
    Known {
        payment: u32,
        replayed: bool,
    },
    /// One of these: the contract leaves open which fault of a definition is named first.
    Refused(Vec<Refusal>),
}

/// What is asked for stands already: only a key is worth an event, so that its repeat does nothing later either.
fn stands(request: &Request) -> Expected {
    if request.key.is_some() { Expected::Event } else { Expected::Nothing { order: None, replayed: false } }
}

pub fn refused(refusal: Refusal) -> Expected {
    Expected::Refused(vec![refusal])
}

impl Model {
    pub fn new(definition: Definition, from_catalog: bool) -> Self {
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
            payments: Vec::new(),
            lapsed: false,
            names: definition_names,
            ever: slots.clone(),
            slots,
            keys: Vec::new(),
        }
    }

    pub fn phase(&self, now: u64) -> Phase {
        let (start, end) = (self.definition.starts_at_ms.0, self.definition.ends_at_ms.0);
        match () {
            () if self.closed || now >= end => Phase::Ended,
            () if now < start => Phase::Scheduled,
            () if self.paused => Phase::Paused,
            () => Phase::Running,
        }
    }

    pub fn held_slots(&self, sku: &SkuId) -> BTreeSet<u32> {
        let held = self.orders.iter().filter(|order| order.state == OrderState::Held && order.sku == *sku);
        held.flat_map(|order| order.slots.iter().copied()).collect()
    }

    /// Paid for, or paid for once and never put back.
    pub fn sold_slots(&self, sku: &SkuId) -> BTreeSet<u32> {
        let is_sold = |order: &&ModelOrder| order.sku == *sku && (order.state == OrderState::Paid || order.keeps);
        self.orders.iter().filter(is_sold).flat_map(|order| order.slots.iter().copied()).collect()
    }

    pub fn free_slots(&self, sku: &SkuId) -> BTreeSet<u32> {
        let mut all = self.slots.get(sku).cloned().unwrap_or_default();
        all.retain(|slot| !self.held_slots(sku).contains(slot) && !self.sold_slots(sku).contains(slot));
        all
    }

    pub fn free(&self, sku: &SkuId) -> u32 {
        u32::try_from(self.free_slots(sku).len()).expect("the model's stocks are small")
    }

    pub fn numbered(&self) -> impl Iterator<Item = (u32, &ModelOrder)> {
        (1..).zip(&self.orders)
    }

    pub fn due(&self, now: u64) -> Vec<u32> {
        let held = self.numbered().filter(|(_, order)| order.state == OrderState::Held && order.expires_at <= now);
        let mut due: Vec<(u64, u32)> = held.map(|(number, order)| (order.expires_at, number)).collect();
        due.sort_unstable();
        due.into_iter().map(|(_, number)| number).take(EXPIRE_STEP).collect()
    }

    pub fn expect(&self, now: u64, command: &Command) -> Expected {
        match command {
            Command::PlaceOrder(place) => self.expect_place(now, place),
            Command::CancelOrder(cancel) => self.expect_cancel(now, cancel),
            Command::PayOrder(pay) => self.expect_pay(now, pay),
            Command::RefundOrder(refund) => self.expect_refund(refund),
            Command::CloseRefund(close) => self.expect_close(close),
            Command::ExpireHolds if self.due(now).is_empty() => Expected::Nothing { order: None, replayed: false },
            Command::ExpireHolds => Expected::Event,
            Command::Grab(_) | Command::EndRound(_) => unreachable!("this model sells"),
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
                Switch::Closed if self.closed => stands(&switch.request),
                Switch::Closed => Expected::Event,
                _ if self.closed => refused(Refusal::ActivityClosed),
                to if (to == Switch::Paused) == self.paused => stands(&switch.request),
                _ => Expected::Event,
            }),
            Command::MoveSlots(_) | Command::FollowHome(_) | Command::Retire { .. } => {
                unreachable!("this model has one shard, which never leaves")
            }
        }
    }

    pub fn replay(&self, request: &Request) -> Option<Expected> {
        let key = request.key?;
        let (_, _, body) = self.keys.iter().find(|(by, name, _)| *by == request.by && *name == key.key)?;
        Some(if *body == key.body {
            Expected::Nothing { order: None, replayed: true }
        } else {
            refused(Refusal::KeyReused)
        })
    }

    pub fn expect_place(&self, now: u64, place: &PlaceOrder) -> Expected {
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
        let live = || own().filter(|(_, order)| matches!(order.state, OrderState::Held | OrderState::Paid));
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

    pub fn expect_cancel(&self, now: u64, cancel: &CancelOrder) -> Expected {
        let order = self.numbered().find(|(number, order)| *number == cancel.order && order.user == cancel.user);
        let Some((number, order)) = order else { return refused(Refusal::OrderNotFound) };
        let expired = refused(Refusal::OrderNotCancellable { state: OrderState::Expired });
        match order.state {
            OrderState::Cancelled => {
                let replayed = cancel.key.is_some() && order.cancel_key == cancel.key;
                Expected::Nothing { order: Some(number), replayed }
            }
            OrderState::Expired => expired,
            state @ (OrderState::Paid | OrderState::Refunded) => refused(Refusal::OrderNotCancellable { state }),
            OrderState::Held if now >= order.expires_at => expired,
            OrderState::Held => Expected::Event,
        }
    }

    /// What the definition would be after `redefine`, or the SKU whose stock would fall below nothing.
    pub fn wanted(&self, redefine: &Redefine) -> Result<Definition, SkuId> {
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

    pub fn expect_redefine(&self, now: u64, redefine: &Redefine) -> Expected {
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
        if new == self.definition && (!news || self.closed) {
            return stands(&redefine.request);
        }
        if self.closed {
            return refused(Refusal::ActivityClosed);
        }
        let old = &self.definition;
        let huge = new.skus.iter().any(|sku| sku.stock.0 > 100_000_000);
        let bounds = [
            (new.starts_at_ms >= new.ends_at_ms, "starts_at: before ends_at"),
            (huge, "a SKU's stock: at most 100,000,000"),
            (new.skus.is_empty(), "an activity's SKUs: at least 1"),
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
            let held = self.held_slots(&sku.sku_id).len() + self.sold_slots(&sku.sku_id).len();
            match new.sku(&sku.sku_id) {
                None if held > 0 => faults.push(immutable(&format!("skus.{}", sku.sku_id))),
                Some(wanted) if (wanted.stock.0 as usize) < held => faults.push(too_low(&sku.sku_id)),
                _ => {}
            }
        }
        if faults.is_empty() { Expected::Event } else { Expected::Refused(faults) }
    }

    /// Takes in what the sale says has happened, where it is what the command allows.
    pub fn follow(&mut self, now: u64, command: &Command, event: &Event) {
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
                    keeps: false,
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
            (
                Command::Redefine(Redefine { request, .. }) | Command::SwitchSale(SwitchSale { request, .. }),
                Event::ChangeNoted(change),
            ) => {
                assert_eq!(**change, request.change());
                self.remember(change);
            }
            (Command::PayOrder(pay), event) => self.paid(now, pay, event),
            (Command::RefundOrder(refund), Event::OrderRefunded(event)) => self.refunded(now, refund, event),
            (Command::CloseRefund(close), Event::RefundDone(event)) => self.paid_back(now, close, event),
            (command, event) => panic!("{command:?} cannot lead to {event:?}"),
        }
    }

    pub fn redefined(&mut self, event: &doorbuster::domain::event::ActivityRedefined) {
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

    pub fn remember(&mut self, change: &doorbuster::domain::event::Change) {
        if let Some(key) = change.key {
            self.keys.push((change.by, key.key, key.body));
        }
    }
}
