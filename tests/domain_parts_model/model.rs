//! The model: for every slot there ever was, where it is; for every part, what it knows of its home.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::*;
use doorbuster::domain::event::{ActivityRedefined, OrderPlaced, SlotsMoved, StockChange};
use doorbuster::domain::payment::Why;
use doorbuster::domain::{Definition, OrderState, Phase, Refusal};
use doorbuster::ids::{SkuId, UserId};

/// Where a slot is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Free { part: usize },
    UnderWay { to: usize },
    Held { part: usize, order: u32 },
    Sold { part: usize, order: u32 },
    Gone,
}

/// What a part takes over of its home.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    pub version: u64,
    pub definition: Definition,
    pub paused: bool,
    pub closed: bool,
    /// The SKUs that it has heard of, by index.
    pub names: Vec<SkuId>,
}

#[derive(Clone, Debug)]
pub struct ModelOrder {
    pub user: UserId,
    pub sku: u16,
    pub slots: BTreeSet<u32>,
    pub amount: u64,
    pub expires_at: u64,
    pub state: OrderState,
}

/// What a payment does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Does {
    Applied,
    Reacquired,
    Due(Why),
}

#[derive(Clone, Debug)]
pub struct Model {
    pub places: BTreeMap<(u16, u32), Place>,
    /// By part; the first is the home.
    pub known: Vec<Known>,
    pub orders: Vec<Vec<ModelOrder>>,
}

impl Model {
    pub fn new(definition: &Definition) -> Self {
        let names: Vec<SkuId> = definition.skus.iter().map(|sku| sku.sku_id.clone()).collect();
        let known = Known { version: 1, definition: definition.clone(), paused: false, closed: false, names };
        let parts = usize::from(definition.shards);
        let mut model = Self { places: BTreeMap::new(), known: vec![known; parts], orders: vec![Vec::new(); parts] };
        for (sku, defined) in (0..).zip(&definition.skus) {
            (1..=defined.stock.0).for_each(|slot| model.fresh(sku, slot));
        }
        model
    }

    fn fresh(&mut self, sku: u16, slot: u32) {
        let before = self.places.insert((sku, slot), Place::Free { part: 0 });
        assert_eq!(before, None, "S2: slot {slot} of SKU {sku} is given once");
    }

    fn relocate(&mut self, sku: u16, slots: &BTreeSet<u32>, from: Place, to: Place) {
        for slot in slots {
            let place = self.places.get_mut(&(sku, *slot)).unwrap_or_else(|| panic!("S2: there is no slot {slot}"));
            assert_eq!(*place, from, "S2: slot {slot} of SKU {sku}");
            *place = to;
        }
    }

    pub fn at(&self, sku: u16, place: Place) -> BTreeSet<u32> {
        let of_sku = self.places.range((sku, 0)..=(sku, u32::MAX));
        of_sku.filter(|(_, at)| **at == place).map(|((_, slot), _)| *slot).collect()
    }

    pub fn free(&self, part: usize, sku: u16) -> BTreeSet<u32> {
        self.at(sku, Place::Free { part })
    }

    pub fn held(&self, part: usize, sku: u16) -> usize {
        let is_held = |at: &Place| matches!(at, Place::Held { part: of, .. } if *of == part);
        self.places.range((sku, 0)..=(sku, u32::MAX)).filter(|(_, at)| is_held(at)).count()
    }

    pub fn sold(&self, part: usize, sku: u16) -> usize {
        let is_sold = |at: &Place| matches!(at, Place::Sold { part: of, .. } if *of == part);
        self.places.range((sku, 0)..=(sku, u32::MAX)).filter(|(_, at)| is_sold(at)).count()
    }

    /// All units of a SKU, wherever they are.
    pub fn stock(&self, sku: u16) -> usize {
        self.places.range((sku, 0)..=(sku, u32::MAX)).filter(|(_, at)| **at != Place::Gone).count()
    }

    /// The units that a user has in all parts.
    pub fn units_of(&self, user: UserId) -> usize {
        let live = |order: &&ModelOrder| order.user == user && is_live(order);
        self.orders.iter().flatten().filter(live).map(|order| order.slots.len()).sum()
    }

    /// What a purchase is refused with; by what the part knows, and by the user's orders wherever they are.
    pub fn refusal(&self, part: usize, now: u64, user: UserId, name: &SkuId, quantity: usize) -> Option<Refusal> {
        let known = &self.known[part];
        match Phase::at(ms(now), &known.definition, known.paused, known.closed) {
            Phase::Scheduled => return Some(Refusal::NotStarted { starts_at_ms: known.definition.starts_at_ms }),
            Phase::Ended => return Some(Refusal::Ended),
            Phase::Paused => return Some(Refusal::Paused),
            Phase::Running => {}
        }
        if known.definition.sku(name).is_none() {
            return Some(Refusal::SkuNotFound);
        }
        let max = known.definition.per_user_limit.0;
        if quantity > max as usize {
            return Some(Refusal::InvalidQuantity { max });
        }
        let own = || (1..).zip(&self.orders[part]).filter(|(_, order)| order.user == user);
        if self.units_of(user) + quantity > max as usize || own().count() >= (max + ORDERS_BEYOND_LIMIT) as usize {
            let live = own().filter(|(_, order)| is_live(order));
            let mut orders: Vec<u32> = live.map(|(number, _)| number).collect();
            orders.reverse();
            return Some(Refusal::LimitReached { orders });
        }
        let sku = index_of(known, name);
        (self.free(part, sku).len() < quantity).then_some(Refusal::SoldOut)
    }

    pub fn placed(&mut self, part: usize, now: u64, event: &OrderPlaced) {
        let slots: BTreeSet<u32> = event.slots.iter().collect();
        let order = u32::try_from(self.orders[part].len()).expect("few orders") + 1;
        assert_eq!((event.order, event.slots.count() as usize), (order, slots.len()), "U2");
        self.relocate(event.sku.0, &slots, Place::Free { part }, Place::Held { part, order });
        let expires_at = now + self.known[part].definition.payment_window_ms;
        assert_eq!(event.expires_at_ms, ms(expires_at));
        let (user, sku) = (event.user, event.sku.0);
        let amount = event.amount_cents.0;
        self.orders[part].push(ModelOrder { user, sku, slots, amount, expires_at, state: OrderState::Held });
        let limit = self.known[part].definition.per_user_limit.0 as usize;
        assert!(self.units_of(user) <= limit, "U1: user {user} over all parts");
    }

    pub fn released(&mut self, part: usize, number: u32, to: OrderState) {
        let order = &mut self.orders[part][number as usize - 1];
        assert_eq!(std::mem::replace(&mut order.state, to), OrderState::Held, "S3");
        let (sku, slots) = (order.sku, order.slots.clone());
        self.relocate(sku, &slots, Place::Held { part, order: number }, Place::Free { part });
    }

    /// The holds of an order's user that have run out and are not released: its own first, then the newest first.
    pub fn lapsed_of(&self, part: usize, now: u64, order: u32) -> Vec<u32> {
        let user = self.orders[part][order as usize - 1].user;
        let orders = (1..).zip(&self.orders[part]);
        let lapsed = orders
            .filter(|(_, other)| other.user == user && other.state == OrderState::Held && other.expires_at <= now);
        let mut numbers: Vec<u32> = lapsed.map(|(number, _)| number).collect();
        numbers.sort_by_key(|number| (*number != order, std::cmp::Reverse(*number)));
        numbers
    }

    /// What a payment of the right amount does to an order, or that it may wait for units.
    pub fn outcome(&self, part: usize, now: u64, order: &ModelOrder, may_wait: bool) -> Result<Does, Refusal> {
        match order.state {
            OrderState::Held if now < order.expires_at => return Ok(Does::Applied),
            OrderState::Paid => return Ok(Does::Due(Why::AlreadyPaid)),
            OrderState::Cancelled => return Ok(Does::Due(Why::Cancelled)),
            OrderState::Refunded => return Ok(Does::Due(Why::AlreadyRefunded)),
            OrderState::Held | OrderState::Expired => {}
        }
        let known = &self.known[part];
        let listed = known.definition.sku(&known.names[usize::from(order.sku)]).is_some();
        let open =
            matches!(Phase::at(ms(now), &known.definition, known.paused, known.closed), Phase::Running | Phase::Paused);
        // What of the user has run out does not count, and its units are free.
        let has_lapsed = |other: &&ModelOrder| {
            other.user == order.user && other.state == OrderState::Held && other.expires_at <= now
        };
        let ended = || self.orders[part].iter().filter(has_lapsed);
        let theirs: usize = ended().map(|other| other.slots.len()).sum();
        let given: usize = ended().filter(|other| other.sku == order.sku).map(|other| other.slots.len()).sum();
        let within =
            self.units_of(order.user) - theirs + order.slots.len() <= known.definition.per_user_limit.0 as usize;
        let there = self.free(part, order.sku).len() + given >= order.slots.len();
        match open && listed && within {
            true if there => Ok(Does::Reacquired),
            true if may_wait => Err(Refusal::SoldOut),
            _ => Ok(Does::Due(Why::Late)),
        }
    }

    /// The order is paid, by its own units or by fresh ones.
    pub fn paid(&mut self, part: usize, number: u32, fresh: Option<BTreeSet<u32>>) {
        let order = &mut self.orders[part][number as usize - 1];
        let from = match fresh {
            None => Place::Held { part, order: number },
            Some(fresh) => {
                assert_eq!(fresh.len(), order.slots.len(), "S4: as many as before");
                order.slots = fresh;
                Place::Free { part }
            }
        };
        order.state = OrderState::Paid;
        let (sku, slots) = (order.sku, order.slots.clone());
        self.relocate(sku, &slots, from, Place::Sold { part, order: number });
    }

    pub fn refunded(&mut self, part: usize, number: u32, restock: bool) {
        let order = &mut self.orders[part][number as usize - 1];
        assert_eq!(std::mem::replace(&mut order.state, OrderState::Refunded), OrderState::Paid);
        let (sku, slots) = (order.sku, order.slots.clone());
        if restock {
            self.relocate(sku, &slots, Place::Sold { part, order: number }, Place::Free { part });
        }
    }

    /// What all paid orders cost.
    pub fn cost(&self) -> u64 {
        let paid = self.orders.iter().flatten().filter(|order| order.state == OrderState::Paid);
        paid.map(|order| order.amount).sum()
    }

    pub fn due(&self, part: usize, now: u64) -> Vec<u32> {
        let held = (1..).zip(&self.orders[part]).filter(|(_, order)| order.state == OrderState::Held);
        let mut due: Vec<(u64, u32)> = held.map(|(number, order)| (order.expires_at, number)).collect();
        due.retain(|(at, _)| *at <= now);
        due.sort_unstable();
        due.into_iter().map(|(_, number)| number).collect()
    }

    pub fn given(&mut self, from: usize, to: usize, event: &SlotsMoved) {
        let slots: BTreeSet<u32> = event.slots.iter().collect();
        assert!(!slots.is_empty(), "a move moves something");
        self.relocate(event.sku.0, &slots, Place::Free { part: from }, Place::UnderWay { to });
    }

    pub fn arrived(&mut self, to: usize, event: &SlotsMoved) {
        self.relocate(event.sku.0, &event.slots.iter().collect(), Place::UnderWay { to }, Place::Free { part: to });
    }

    pub fn redefined(&mut self, event: &ActivityRedefined) {
        for sku in &event.definition.skus {
            if !self.known[0].names.contains(&sku.sku_id) {
                self.known[0].names.push(sku.sku_id.clone());
            }
        }
        for change in &event.stock {
            match change {
                StockChange::Added { sku, slots } => slots.iter().for_each(|slot| self.fresh(sku.0, slot)),
                StockChange::Removed { sku, slots } => {
                    self.relocate(sku.0, &slots.iter().collect(), Place::Free { part: 0 }, Place::Gone);
                }
            }
        }
        self.known[0].version += 1;
        self.known[0].definition = event.definition.clone();
    }
}

fn is_live(order: &ModelOrder) -> bool {
    matches!(order.state, OrderState::Held | OrderState::Paid)
}

/// A SKU's index by what a part knows.
pub fn index_of(known: &Known, name: &SkuId) -> u16 {
    let place = known.names.iter().position(|known| known == name).expect("who lists a SKU knows it");
    u16::try_from(place).expect("few SKUs")
}
