//! A sale: the state of one shard of a flash sale, and the two doors to it, `decide` and `apply`.

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use super::command::{Command, Decision, Request, RequestKey, Stamped};
use super::deadlines::Deadlines;
use super::definition::{Definition, RoundDefinition};
use super::event::{ActivityDefined, Author, Change, Event, Events};
use super::order::{Order, OrderState, OrderView};
use super::orders::Orders;
use super::part::Part;
use super::payment::{PaymentView, Payments};
pub use super::phase::Phase;
use super::refusal::Refusal;
use super::round::Round;
use super::slots::{FreeSlots, SlotRange, Slots};
use crate::ids::{ActivityId, Cents, KeyDigest, OrderId, Qty, ShardId, SkuId, SkuIndex, UnixMillis, UserId};

/// Operators' changes of one activity that carried an idempotency key. Bounds the memory of a script gone wild.
const CHANGE_KEYS_MAX: usize = 100_000;

/// The state of one shard of a flash sale.
///
/// Two are equal where all that they remember is, and the same holds run out in the same order. How the deadlines are
/// queued may differ: orders that are no longer held stay queued for a while, and a state read back never had them.
#[derive(Clone, Debug)]
pub struct Sale {
    pub(super) shard: ShardId,
    pub(super) activity_id: ActivityId,
    pub(super) part: Part,
    pub(super) version: u64,
    pub(super) definition: Arc<Definition>,
    pub(super) catalog: Option<Arc<Definition>>,
    pub(super) paused: bool,
    pub(super) closed: bool,
    /// When it was closed, where it was.
    pub(super) closed_at_ms: Option<UnixMillis>,
    pub(super) skus: Vec<Sku>,
    /// Of red packets, by the index of what counts each round's packets.
    pub(super) rounds: Vec<Round>,
    pub(super) orders: Orders,
    pub(super) payments: Payments,
    /// Refunded orders whose units did not go back on sale. Few.
    pub(super) unreturned: FxHashSet<u32>,
    pub(super) deadlines: Deadlines,
    /// The keys that cancelled an order. Few: most orders are not cancelled, and of those few with a key.
    pub(super) cancel_keys: FxHashMap<u32, KeyDigest>,
    /// The keys of operators' changes, with the digest of each one's body.
    pub(super) change_keys: FxHashMap<(Author, KeyDigest), KeyDigest>,
    pub(super) last_change_id: u64,
}

impl PartialEq for Sale {
    fn eq(&self, other: &Self) -> bool {
        // Named one by one: a field that is new must be thought of here.
        let Self {
            shard,
            activity_id,
            part,
            version,
            definition,
            catalog,
            paused,
            closed,
            closed_at_ms,
            skus,
            rounds,
            orders,
            payments,
            unreturned,
            deadlines,
            cancel_keys,
            change_keys,
            last_change_id,
        } = self;
        let all_due = |deadlines: &Deadlines, orders| deadlines.due(orders, UnixMillis(u64::MAX), usize::MAX);
        (*shard, *activity_id, *part, *version) == (other.shard, other.activity_id, other.part, other.version)
            && (definition, catalog) == (&other.definition, &other.catalog)
            && (*paused, *closed, *closed_at_ms) == (other.paused, other.closed, other.closed_at_ms)
            && (skus, rounds) == (&other.skus, &other.rounds)
            && (cancel_keys, change_keys) == (&other.cancel_keys, &other.change_keys)
            && *last_change_id == other.last_change_id
            && (payments, unreturned) == (&other.payments, &other.unreturned)
            && *orders == other.orders
            && deadlines.next(orders) == other.deadlines.next(&other.orders)
            && all_due(deadlines, orders) == all_due(&other.deadlines, &other.orders)
    }
}

impl Eq for Sale {}

/// One SKU's units in this shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sku {
    pub sku_id: SkuId,
    /// For new orders.
    pub price_cents: Cents,
    /// Whether the definition still has it. One that was taken off keeps its index and its slots' numbers.
    pub listed: bool,
    pub free: FreeSlots,
    /// The highest slot ever given out, so that a new unit gets a number of its own.
    pub last_slot: u32,
    pub held: u32,
    pub sold: u32,
}

impl Sku {
    /// All units; `None` where there are more than can be.
    pub fn units(&self) -> Option<u32> {
        self.free.count().checked_add(self.held)?.checked_add(self.sold)
    }

    /// A SKU without units that is not on sale.
    pub fn unlisted(sku_id: SkuId) -> Self {
        Self {
            sku_id,
            price_cents: Cents(0),
            listed: false,
            free: FreeSlots::default(),
            last_slot: 0,
            held: 0,
            sold: 0,
        }
    }
}

/// One SKU's units, counted. `stock = available + held + sold` (S1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkuCount {
    /// Its name.
    pub sku_id: SkuId,
    /// All units.
    pub stock: Qty,
    /// Free ones.
    pub available: Qty,
    /// Bound to unpaid orders.
    pub held: Qty,
    /// Paid for.
    pub sold: Qty,
}

impl Sale {
    /// The state after a shard's first event.
    #[must_use]
    pub fn define(shard: ShardId, event: &ActivityDefined) -> Self {
        let definition = Arc::new(event.definition.clone());
        let part = event.part.unwrap_or_else(|| Part::sole(shard));
        // A part other than the home has what was moved to it.
        let units = |stock: Qty| if part.is_home() { stock.0 } else { 0 };
        let skus = definition
            .skus
            .iter()
            .map(|sku| {
                let mut free = FreeSlots::default();
                free.add(&Slots::range(1, units(sku.stock)));
                Sku {
                    sku_id: sku.sku_id.clone(),
                    price_cents: sku.price_cents,
                    listed: true,
                    free,
                    last_slot: units(sku.stock),
                    held: 0,
                    sold: 0,
                }
            })
            .collect();
        let rounds = rounds_of(&definition);
        let mut sale = Self {
            shard,
            activity_id: event.activity_id,
            part,
            version: 1,
            catalog: event.from_catalog.then(|| Arc::clone(&definition)),
            definition,
            paused: false,
            closed: false,
            closed_at_ms: None,
            skus,
            rounds,
            orders: Orders::default(),
            payments: Payments::default(),
            unreturned: FxHashSet::default(),
            deadlines: Deadlines::default(),
            cancel_keys: FxHashMap::default(),
            change_keys: FxHashMap::default(),
            last_change_id: 0,
        };
        sale.remember(&event.change);
        sale
    }

    /// What becomes of a command. Reads only; the caller makes the events durable and applies them.
    ///
    /// # Errors
    /// The [`Refusal`] that comes first where several would do.
    pub fn decide(&self, stamped: &Stamped<Command>) -> Result<Decision, Refusal> {
        let now_ms = stamped.at_ms;
        match &stamped.command {
            Command::PlaceOrder(command) => self.place(command, now_ms),
            Command::CancelOrder(command) => self.cancel(command, now_ms),
            Command::Grab(command) => self.grab(command, now_ms),
            Command::EndRound(round) => Ok(self.end_round(*round, now_ms)),
            Command::PayOrder(command) => self.pay(command, now_ms),
            Command::RefundOrder(command) => self.refund(command),
            Command::CloseRefund(command) => self.close_refund(command),
            Command::ExpireHolds => Ok(self.expire(now_ms)),
            Command::Redefine(command) => self.redefine(command, now_ms),
            Command::AddStock(command) => self.add_stock(command),
            Command::SwitchSale(command) => self.switch(command),
            Command::MoveSlots(command) => Ok(self.give(command)),
            Command::FollowHome(home) => Ok(self.follow(home)),
            Command::Retire { orders } => Ok(self.retire(*orders)),
        }
    }

    /// Takes an event of this shard in; of a move, the giver's end. The end of the whole activity changes nothing here.
    ///
    /// # Panics
    /// Where the event cannot follow on this state: a journal that this binary did not write, or our bug.
    pub fn apply(&mut self, at_ms: UnixMillis, event: &Event) {
        match event {
            Event::OrderPlaced(event) => self.apply_placed(at_ms, event),
            Event::SlotsMoved(event) => self.apply_given(event),
            Event::HomeFollowed(control) => self.apply_followed(at_ms, control),
            Event::ActivityRetired(_) => {}
            Event::OrderCancelled(event) => self.apply_cancelled(event),
            Event::HoldsExpired(event) => self.apply_expired(event),
            Event::ActivityDefined(_) => panic!("U4: activity {} is defined a second time", self.activity_id),
            Event::ActivityRedefined(event) => self.apply_redefined(event),
            Event::SaleSwitched(event) => self.apply_switched(at_ms, event),
            Event::ChangeNoted(change) => self.remember(change),
            Event::PacketGrabbed(event) => self.apply_grabbed(at_ms, event),
            Event::RoundEnded(event) => self.apply_round_ended(event),
            Event::PaymentReceived(event) => self.apply_payment(at_ms, event),
            Event::OrderRefunded(event) => self.apply_refunded(at_ms, event),
            Event::RefundDone(event) => self.apply_refund_done(at_ms, event),
            Event::PaymentSuspended(_) => panic!("M5: a payment is suspended by the suspense account alone"),
        }
    }

    /// What the sale is doing at that instant.
    #[must_use]
    pub fn phase(&self, now_ms: UnixMillis) -> Phase {
        Phase::at(now_ms, &self.definition, self.paused, self.closed)
    }

    /// How many units of a SKU are free, by its index; 0 where there is no such SKU or it was taken off.
    #[must_use]
    pub fn free_units(&self, index: SkuIndex) -> u32 {
        self.skus.get(usize::from(index.0)).map_or(0, |sku| sku.free.count())
    }

    /// The free slots of a SKU, ascending; none where there is no such SKU.
    pub fn free_slots(&self, index: SkuIndex) -> impl Iterator<Item = SlotRange> + '_ {
        self.skus.get(usize::from(index.0)).into_iter().flat_map(|sku| sku.free.ranges())
    }

    /// The SKUs that the activity has or had, by index; those taken off are marked `false`.
    pub fn sku_ids(&self) -> impl Iterator<Item = (SkuIndex, &SkuId, bool)> {
        (0..).zip(&self.skus).map(|(index, sku)| (SkuIndex(index), &sku.sku_id, sku.listed))
    }

    /// When the next hold runs out, if any is held. Then [`Command::ExpireHolds`] has work.
    #[must_use]
    pub fn next_deadline(&self) -> Option<UnixMillis> {
        self.deadlines.next(&self.orders)
    }

    /// The shard's number.
    #[must_use]
    pub fn shard(&self) -> ShardId {
        self.shard
    }

    /// The activity that the shard belongs to.
    #[must_use]
    pub fn activity_id(&self) -> ActivityId {
        self.activity_id
    }

    /// The definition's version, from 1.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Which part of its activity the shard is.
    #[must_use]
    pub fn part(&self) -> Part {
        self.part
    }

    /// What the sale is.
    #[must_use]
    pub fn definition(&self) -> &Definition {
        &self.definition
    }

    /// The same, to keep.
    #[must_use]
    pub fn shared_definition(&self) -> Arc<Definition> {
        Arc::clone(&self.definition)
    }

    /// Whether an operator paused it, window or not.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// Whether an operator closed it for good.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// The highest change id that this shard has seen.
    #[must_use]
    pub fn last_change_id(&self) -> u64 {
        self.last_change_id
    }

    /// How many orders were ever placed.
    #[must_use]
    pub fn orders_placed(&self) -> u32 {
        self.orders.count()
    }

    /// The shard's units of each SKU that the definition has, in its order. Where the activity has one shard these are
    /// all units.
    #[must_use]
    pub fn counts(&self) -> Vec<SkuCount> {
        // Of red packets, those that nobody grabbed are packets still.
        let place = |of: &Sku| self.skus.iter().position(|sku| sku.sku_id == of.sku_id);
        let refunded = |sku: &Sku| match self.rounds.is_empty() {
            true => 0,
            false => place(sku).and_then(|place| self.rounds.get(place)).map_or(0, |round| round.refunded),
        };
        let count = |sku: &Sku| SkuCount {
            sku_id: sku.sku_id.clone(),
            stock: Qty(sku.free.count() + sku.held + sku.sold + refunded(sku)),
            available: Qty(sku.free.count()),
            held: Qty(sku.held),
            sold: Qty(sku.sold),
        };
        let listed = |sku_id: &SkuId| self.skus.iter().find(|sku| sku.listed && sku.sku_id == *sku_id);
        self.definition.skus.iter().filter_map(|sku| listed(&sku.sku_id)).map(count).collect()
    }

    /// The order of that number.
    #[must_use]
    pub fn order(&self, number: u32) -> Option<OrderView> {
        self.orders.get(number).map(|order| self.view(number, order))
    }

    /// A user's orders, newest first.
    pub fn orders_of(&self, user: UserId) -> impl Iterator<Item = OrderView> + '_ {
        self.orders.of_user(user).map(|(number, order)| self.view(number, order))
    }

    /// All orders from number `first` on, oldest first.
    pub fn orders_from(&self, first: u32) -> impl Iterator<Item = OrderView> + '_ {
        self.orders.from(first).map(|(number, order)| self.view(number, order))
    }

    /// Where all orders from number `first` on stand, oldest first.
    pub fn states_from(&self, first: u32) -> impl Iterator<Item = (u32, OrderState)> + '_ {
        self.orders.from(first).map(|(number, order)| (number, order.state))
    }

    /// The id of this shard's order of that number.
    #[must_use]
    pub fn order_id(&self, number: u32) -> OrderId {
        OrderId::new(self.shard, number)
    }

    fn view(&self, number: u32, order: &Order) -> OrderView {
        OrderView {
            order_id: self.order_id(number),
            activity_id: self.activity_id,
            user: order.user,
            sku_id: self.sku(order.sku).sku_id.clone(),
            quantity: order.quantity(),
            amount_cents: order.amount_cents,
            slots: order.slots.clone(),
            state: order.state,
            held_at_ms: order.held_at_ms,
            expires_at_ms: order.expires_at_ms,
            reference: order.reference.clone(),
            payments: self.payments_of(number),
        }
    }

    /// The payments that name an order, oldest first.
    fn payments_of(&self, number: u32) -> Vec<PaymentView> {
        let mut payments: Vec<_> =
            self.payments.of_order(number).map(|(number, payment)| self.payment_view(number, payment)).collect();
        payments.reverse();
        payments
    }

    pub(super) fn sku(&self, index: SkuIndex) -> &Sku {
        &self.skus[usize::from(index.0)]
    }

    pub(super) fn sku_mut(&mut self, index: SkuIndex) -> &mut Sku {
        &mut self.skus[usize::from(index.0)]
    }

    /// The SKU of that name, whether it is still listed or not. Activities have few: a scan beats a map.
    pub(super) fn find_sku(&self, sku_id: &SkuId) -> Option<(SkuIndex, &Sku)> {
        let place = self.skus.iter().position(|sku| sku.sku_id == *sku_id)?;
        let index = u16::try_from(place).expect("the number of SKUs is bounded when they are added");
        Some((SkuIndex(index), &self.skus[place]))
    }

    /// Whether a change with this key was made already; its reuse for something else is refused.
    pub(super) fn replay_of_change(&self, by: Author, key: Option<RequestKey>) -> Result<bool, Refusal> {
        let Some(key) = key else { return Ok(false) };
        match self.change_keys.get(&(by, key.key)) {
            None if self.change_keys.len() >= CHANGE_KEYS_MAX => {
                Err(Refusal::TooLarge { what: "an activity's changes with a key: at most 100,000" })
            }
            None => Ok(false),
            Some(body) if *body == key.body => Ok(true),
            Some(_) => Err(Refusal::KeyReused),
        }
    }

    pub(super) fn remember(&mut self, change: &Change) {
        self.last_change_id = self.last_change_id.max(change.change_id);
        if let Some(key) = change.key {
            self.change_keys.insert((change.by, key.key), key.body);
        }
    }
}

/// The rounds of a definition that stands, as they begin.
fn rounds_of(definition: &Definition) -> Vec<Round> {
    let rounds = definition.packets.as_deref().map(|packets| packets.rounds.as_slice()).unwrap_or_default();
    let plan = |round: &RoundDefinition| round.plan.clone().expect("M4: a round that stands is planned");
    rounds.iter().map(|round| Round::to_come(plan(round))).collect()
}

impl Decision {
    /// Something happens.
    pub(super) fn events(events: Events) -> Self {
        Self { events, ..Self::default() }
    }

    /// What happens to a payment, if anything does.
    pub(super) fn payment(events: Events, payment: u32, replayed: bool) -> Self {
        Self { events, order: None, payment: Some(payment), replayed }
    }

    /// An earlier request with the same key was carried out.
    pub(super) fn replayed() -> Self {
        Self { replayed: true, ..Self::default() }
    }

    /// What an operator asks for stands already; only the request's key, if it has one, is new.
    pub(super) fn stands(request: &Request) -> Self {
        let noted = request.key.map(|_| Event::ChangeNoted(Box::new(request.change())));
        Self::events(noted.into_iter().collect())
    }

    /// Nothing is left to do; the answer is this order.
    pub(super) fn existing(order: u32, replayed: bool) -> Self {
        Self { order: Some(order), replayed, ..Self::default() }
    }
}
