//! One shard's books: who has which slot, what each user has, what each hold became. Written from the events alone,
//! without the sale's own rules, so that a fault in those shows as a difference.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use smallvec::{SmallVec, smallvec};

use super::packets::RoundBook;
use super::payments::{PaymentBook, Received};
use super::report::{Id, Report};
use super::share::Share;
use crate::domain::definition::Definition;
use crate::domain::event::{ActivityDefined, Control, Entry, Event, OrderPlaced, Outcome, SlotsMoved, Switch};
use crate::domain::order::OrderState;
use crate::domain::part::Part;
use crate::domain::sale::{Sale, Sku};
use crate::domain::slots::Slots;
use crate::ids::{ActivityId, Cents, KeyDigest, Seq, SkuId, UnixMillis, UserId};

/// The SKUs that an event touches, by their places; nearly always one.
pub(super) type Touched = SmallVec<[usize; 2]>;

pub(super) struct OrderBook {
    pub user: UserId,
    pub sku: usize,
    pub slots: Slots,
    pub amount_cents: Cents,
    pub expires_at_ms: UnixMillis,
    pub state: OrderState,
    /// The payment that paid it; 0 where none has.
    pub paid_by: u32,
    /// Whether it was refunded and keeps its units.
    pub keeps: bool,
}

pub(super) struct Books {
    activity_id: ActivityId,
    part: Part,
    pub(super) parts: u16,
    pub(super) version: u64,
    pub(super) definition: Arc<Definition>,
    pub(super) names: Vec<SkuId>,
    pub(super) skus: Vec<Share>,
    /// What the sale showed of each SKU when it was last looked at. Where the activity has several parts.
    shown: Vec<u64>,
    /// Which of its home's turns the part has taken over.
    turn: usize,
    pub(super) orders: Vec<OrderBook>,
    pub(super) payments: PaymentBook,
    /// What the orders cost that are paid, by the orders.
    pub(super) paid_cents: u128,
    pub(super) units_of_user: FxHashMap<UserId, u64>,
    /// What was granted here of each round, and what that held.
    pub(super) granted: FxHashMap<usize, (u32, u64)>,
    pub(super) grabs_of_user: FxHashMap<(UserId, usize), u32>,
    keys: FxHashMap<(UserId, KeyDigest), u32>,
    paused: bool,
    pub(super) closed: bool,
    last_at_ms: UnixMillis,
    faulty: bool,
}

impl Books {
    pub fn open(seq: Seq, event: &ActivityDefined, part: Part, at_ms: UnixMillis, report: &mut Report) -> Self {
        let mut books = Self {
            activity_id: event.activity_id,
            part,
            parts: event.definition.shards,
            version: 1,
            definition: Arc::new(event.definition.clone()),
            names: Vec::new(),
            skus: Vec::new(),
            shown: Vec::new(),
            turn: 0,
            orders: Vec::new(),
            payments: PaymentBook::default(),
            paid_cents: 0,
            units_of_user: FxHashMap::default(),
            granted: FxHashMap::default(),
            grabs_of_user: FxHashMap::default(),
            keys: FxHashMap::default(),
            paused: false,
            closed: false,
            last_at_ms: at_ms,
            faulty: false,
        };
        for sku in &event.definition.skus {
            let once = !books.names.contains(&sku.sku_id);
            report.check(Id::S1, once, || format!("event {seq}: SKU {} is defined twice", sku.sku_id));
            books.faulty |= !once;
            books.names.push(sku.sku_id.clone());
            books.skus.push(Share::initial(if part.is_home() { sku.stock.0 } else { 0 }));
        }
        books.faulty |= !books.open_rounds(seq, report);
        books
    }

    /// Whether an event of this shard could not be true, so that its later ones cannot be judged.
    pub fn is_faulty(&self) -> bool {
        self.faulty
    }

    /// Does not judge the shard's events any more.
    pub fn spoil(&mut self) {
        self.faulty = true;
    }

    /// Enters an event's time.
    pub fn tick(&mut self, seq: Seq, entry: &Entry, report: &mut Report) {
        let at_ms = entry.at_ms;
        report.check(Id::J5, at_ms >= self.last_at_ms, || {
            format!("event {seq} of shard {} is at {at_ms}, after one at {}", entry.shard, self.last_at_ms)
        });
        self.last_at_ms = self.last_at_ms.max(at_ms);
    }

    /// Enters one event that concerns this shard alone; `false` where it cannot be true.
    pub fn post(
        &mut self,
        seq: Seq,
        entry: &Entry,
        rounds: &mut Vec<RoundBook>,
        received: &mut Received,
        report: &mut Report,
    ) -> bool {
        let at_ms = entry.at_ms;
        self.tick(seq, entry, report);
        let sound = match &entry.event {
            Event::OrderPlaced(_) if self.definition.packets.is_some() => {
                report.broken(Id::U4, format!("event {seq}: an order is placed for red packets"));
                false
            }
            Event::OrderPlaced(event) => self.placed(seq, at_ms, event, report),
            Event::OrderCancelled(event) => self.released(seq, event.order, OrderState::Cancelled, at_ms, report),
            Event::HoldsExpired(event) => {
                // Every order is entered even after a fault, so that all faults of the event are named.
                let ends =
                    event.orders.iter().map(|order| self.released(seq, *order, OrderState::Expired, at_ms, report));
                ends.fold(true, |sound, one| sound & one)
            }
            Event::ActivityRedefined(event) => {
                self.is_home(seq, report)
                    && self.replanned(seq, at_ms, event, rounds, report)
                    && self.redefined(seq, event, rounds, report)
            }
            Event::PacketGrabbed(event) => self.grabbed(seq, at_ms, event, rounds, report),
            Event::RoundEnded(event) => self.round_ended(seq, at_ms, event, rounds, report),
            Event::SaleSwitched(event) => {
                self.check_not_closed(seq, report);
                match event.to {
                    Switch::Paused => self.paused = true,
                    Switch::Resumed => self.paused = false,
                    Switch::Closed => self.closed = true,
                }
                self.is_home(seq, report)
            }
            Event::ChangeNoted(_) => self.is_home(seq, report),
            Event::PaymentReceived(event) => {
                received.once(seq, entry.shard, &event.payment_id, report) && self.paid(seq, at_ms, event, report)
            }
            Event::OrderRefunded(event) => self.refunded(seq, event, report),
            Event::RefundDone(event) => self.payments.done(seq, event.payment, report) && self.balances(seq, report),
            Event::PaymentSuspended(_) => {
                report.broken(Id::U4, format!("event {seq} suspends a payment outside the suspense account"));
                false
            }
            Event::ActivityDefined(_) | Event::SlotsMoved(_) | Event::HomeFollowed(_) | Event::ActivityRetired(_) => {
                false
            }
        };
        self.faulty = !sound;
        sound
    }

    fn placed(&mut self, seq: Seq, at_ms: UnixMillis, event: &OrderPlaced, report: &mut Report) -> bool {
        let order = event.order;
        let window = self.definition.starts_at_ms..self.definition.ends_at_ms;
        let open = window.contains(&at_ms) && !self.paused && !self.closed;
        report.check(Id::U4, open, || format!("event {seq}: order {order} is accepted while the sale is not running"));

        let numbered = usize::try_from(order).is_ok_and(|order| order == self.orders.len() + 1);
        report.check(Id::U2, numbered, || format!("event {seq}: order {order} is not the shard's next number"));

        let well_formed = event.slots.is_well_formed();
        let units = self.units_of_user.entry(event.user).or_default();
        *units += if well_formed { u64::from(event.slots.count()) } else { 0 };
        let (units, limit) = (*units, self.definition.per_user_limit);
        report.check(Id::U1, units <= u64::from(limit.0), || {
            format!("event {seq}: user {} has {units} units, the limit is {limit}", event.user)
        });
        if self.parts > 1 {
            // Who is served by two parts has the limit twice.
            report.check(Id::U1, self.serves(event.user), || {
                format!("event {seq}: user {} orders at part {}, not at its own", event.user, self.part.number)
            });
        }
        self.is_first(seq, event.user, event.key, order, report);

        let sku = usize::from(event.sku.0);
        let some = well_formed && event.slots.count() > 0;
        let free = some && self.skus.get_mut(sku).is_some_and(|book| book.take(&event.slots, order));
        report.check(Id::S2, free, || format!("event {seq}: order {order} takes slots that are not free"));
        self.orders.push(OrderBook {
            user: event.user,
            sku,
            slots: event.slots.clone(),
            amount_cents: event.amount_cents,
            expires_at_ms: event.expires_at_ms,
            state: OrderState::Held,
            paid_by: 0,
            keeps: false,
        });
        numbered && free
    }

    /// Whether the part is the one that serves a user.
    pub(super) fn serves(&self, user: UserId) -> bool {
        self.part.spread.part_of(user, self.parts) == self.part.number
    }

    /// Whether it is the first time that a user comes with that key (U3).
    pub(super) fn is_first(
        &mut self,
        seq: Seq,
        user: UserId,
        key: Option<KeyDigest>,
        order: u32,
        report: &mut Report,
    ) -> bool {
        let Some(key) = key else { return true };
        let first = self.keys.insert((user, key), order);
        report.check(Id::U3, first.is_none(), || {
            format!("event {seq}: orders {first:?} and {order} of user {user} have one key")
        });
        first.is_none()
    }

    fn released(&mut self, seq: Seq, number: u32, to: OrderState, at_ms: UnixMillis, report: &mut Report) -> bool {
        let place = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
        let order = place.and_then(|place| self.orders.get_mut(place));
        let was_held = order.as_ref().is_some_and(|order| order.state == OrderState::Held);
        report.check(Id::S3, was_held, || format!("event {seq}: order {number} becomes {to:?} but was not held"));
        let Some(order) = order.filter(|_| was_held) else { return false };
        let due = to != OrderState::Expired || at_ms >= order.expires_at_ms;
        report.check(Id::S4, due, || format!("event {seq}: order {number} expires before its time"));
        order.state = to;
        let units = u64::from(order.slots.count());
        if let Some(of_user) = self.units_of_user.get_mut(&order.user) {
            *of_user = of_user.saturating_sub(units);
        }
        let back = self.skus.get_mut(order.sku).is_some_and(|book| book.give_back(&order.slots, number));
        report.check(Id::S2, back, || format!("event {seq}: order {number} gives back slots that it has not"));
        back
    }

    fn is_home(&self, seq: Seq, report: &mut Report) -> bool {
        if self.parts > 1 {
            report.check(Id::U4, self.part.is_home(), || {
                format!("event {seq} changes the activity at part {}, not at its home", self.part.number)
            });
        }
        self.part.is_home()
    }

    /// Enters the giver's end of a move; `false` where the slots were not here and free.
    pub fn give_away(&mut self, event: &SlotsMoved) -> bool {
        self.skus.get_mut(usize::from(event.sku.0)).is_some_and(|share| share.go(&event.slots))
    }

    /// Enters the taker's end of a move; `false` where the slots were here already, or nobody here knows the SKU.
    pub fn take_in(&mut self, event: &SlotsMoved) -> bool {
        self.skus.get_mut(usize::from(event.sku.0)).is_some_and(|share| share.come(&event.slots))
    }

    /// Enters what the part takes over of its home, whose `turn` it is.
    pub fn follow(&mut self, turn: usize, control: &Control) {
        self.turn = turn;
        self.version = control.version;
        (self.paused, self.closed) = (control.paused, control.closed);
        self.names.extend(control.skus.iter().cloned());
        self.skus.resize_with(self.names.len(), Share::default);
        if let Some(definition) = &control.definition {
            self.definition = Arc::new(definition.clone());
        }
    }

    /// The SKUs whose units `event`, which was entered, has touched here.
    pub fn touched(&self, event: &Event) -> Touched {
        let of_order = |number: &u32| self.order(*number).map(|order| order.sku);
        match event {
            Event::OrderPlaced(event) => smallvec![usize::from(event.sku.0)],
            Event::OrderCancelled(event) => of_order(&event.order).into_iter().collect(),
            Event::HoldsExpired(event) => {
                let mut touched: Touched = event.orders.iter().filter_map(of_order).collect();
                touched.sort_unstable();
                touched.dedup();
                touched
            }
            Event::SlotsMoved(event) => smallvec![usize::from(event.sku.0)],
            Event::ActivityDefined(_) | Event::ActivityRedefined(_) | Event::HomeFollowed(_) => {
                (0..self.skus.len()).collect()
            }
            // A payment that is owed back touches no unit.
            Event::PaymentReceived(event) if matches!(event.outcome, Outcome::Due(_)) => Touched::new(),
            Event::PaymentReceived(event) => of_order(&event.order).into_iter().collect(),
            Event::OrderRefunded(event) => of_order(&event.order).into_iter().collect(),
            Event::PacketGrabbed(event) => smallvec![usize::from(event.round.0)],
            Event::RoundEnded(event) => smallvec![usize::from(event.round.0)],
            Event::SaleSwitched(_)
            | Event::ChangeNoted(_)
            | Event::ActivityRetired(_)
            | Event::RefundDone(_)
            | Event::PaymentSuspended(_) => Touched::new(),
        }
    }

    /// Holds what the sale shows of what `event` touched against the books: at every prefix of the journal.
    pub fn compare(&self, sale: &Sale, event: &Event, seq: Seq, report: &mut Report) {
        let defines = matches!(event, Event::ActivityDefined(_) | Event::ActivityRedefined(_) | Event::HomeFollowed(_));
        if defines {
            let same = sale.counts().len() == self.definition.skus.len() && sale.skus.len() == self.skus.len();
            report.check(Id::S1, same, || format!("event {seq}: the sale has other SKUs than the books"));
            self.compare_plans(sale, seq, report);
        }
        if defines || matches!(event, Event::SaleSwitched(_)) {
            let ours = (self.version, self.paused, self.closed, &*self.definition);
            let shown = (sale.version, sale.paused, sale.closed, sale.definition());
            report.check(Id::U4, ours == shown, || format!("event {seq}: the sale stands otherwise than the books"));
        }
        self.touched(event).into_iter().for_each(|place| self.compare_sku(sale, place, seq, report));
        self.compare_payment(sale, event, seq, report);
    }

    fn compare_sku(&self, sale: &Sale, place: usize, seq: Seq, report: &mut Report) {
        let (name, book) = (&self.names[place], &self.skus[place]);
        let Some(sku) = sale.skus.get(place) else { return };
        let (available, held, sold) = (u64::from(sku.free.count()), u64::from(sku.held), u64::from(sku.sold));
        let sums = book.stock() == available + held + sold;
        let same = (book.free, book.held, book.sold) == (available, held, sold);
        report.check(Id::S1, sums && same && sku.sku_id == *name, || {
            let Share { initial, added, removed, .. } = book;
            format!(
                "event {seq}: SKU {name}: initial {initial} + added {added} - removed {removed} against \
                 available {available} + held {held} + sold {sold}"
            )
        });
    }

    pub(super) fn order(&self, number: u32) -> Option<&OrderBook> {
        self.orders.get(usize::try_from(number).ok()?.checked_sub(1)?)
    }

    pub(super) fn order_mut(&mut self, number: u32) -> Option<&mut OrderBook> {
        self.orders.get_mut(usize::try_from(number).ok()?.checked_sub(1)?)
    }

    /// The checks that walk everything once: every slot in one place, every order as the sale shows it.
    pub fn close(&self, sale: &Sale, report: &mut Report) {
        let shard = sale.shard();
        let (mut held, mut sold) = (vec![0; self.skus.len()], vec![0; self.skus.len()]);
        for (number, book) in (1..).zip(&self.orders) {
            let shown = sale.order(number);
            let same = shown.as_ref().is_some_and(|shown| shown.state == book.state && shown.slots == book.slots);
            report.check(Id::S3, same, || format!("shard {shard}: order {number} differs from the books"));
            // An id that gives back its shard and its number is no other order's.
            let id = sale.order_id(number);
            let own = id.shard() == Some(shard) && id.sequence() == Some(number);
            report.check(Id::U2, own, || format!("shard {shard}: order {number} has id {id}, which is not its own"));
            let units = match book.state {
                OrderState::Held => Some(&mut held),
                OrderState::Paid => Some(&mut sold),
                OrderState::Refunded if book.keeps => Some(&mut sold),
                OrderState::Cancelled | OrderState::Expired | OrderState::Refunded => None,
            };
            if let Some(units) = units {
                units[book.sku] += u64::from(book.slots.count());
                let has = self.skus[book.sku].has(&book.slots, number);
                report.check(Id::S2, has, || format!("shard {shard}: order {number} has not its slots"));
            }
        }
        for (place, (name, book)) in self.names.iter().zip(&self.skus).enumerate() {
            let counted = (book.held, book.sold) == (held[place], sold[place]);
            let whole = counted && book.is_complement_of(&sale.skus[place].free);
            report.check(Id::S2, whole, || format!("shard {shard}: SKU {name}: a slot is lost or in two places"));
        }
        self.close_payments(sale, report);
    }

    /// What the sale showed of a SKU when this was last asked, and what it shows now.
    pub fn show(&mut self, sale: &Sale, place: usize) -> (u64, u64) {
        if self.shown.len() <= place {
            self.shown.resize(place + 1, 0);
        }
        let units = |sku: &Sku| [sku.free.count(), sku.held, sku.sold].map(u64::from).iter().sum();
        let now = sale.skus.get(place).map_or(0, units);
        (std::mem::replace(&mut self.shown[place], now), now)
    }

    pub fn activity_id(&self) -> ActivityId {
        self.activity_id
    }

    pub fn part(&self) -> Part {
        self.part
    }

    pub fn is_whole(&self) -> bool {
        self.parts <= 1
    }

    pub fn version(&self) -> u64 {
        self.version
    }

    pub fn definition(&self) -> Arc<Definition> {
        Arc::clone(&self.definition)
    }

    pub fn is_paused(&self) -> bool {
        self.paused
    }

    pub fn is_closed(&self) -> bool {
        self.closed
    }

    pub fn names(&self) -> &[SkuId] {
        &self.names
    }

    pub fn turn(&self) -> usize {
        self.turn
    }

    pub fn orders_placed(&self) -> u64 {
        self.orders.len() as u64
    }

    pub fn has_payments(&self) -> bool {
        self.payments.count() > 0
    }

    /// Whether money of its payments is owed back.
    pub fn owes(&self) -> bool {
        self.payments.owes()
    }

    /// Units that orders hold.
    pub fn units_held(&self) -> u64 {
        self.skus.iter().map(|share| share.held).sum()
    }

    pub fn share(&self, place: usize) -> &Share {
        &self.skus[place]
    }

    pub fn find_share(&self, place: usize) -> Option<&Share> {
        self.skus.get(place)
    }
}
