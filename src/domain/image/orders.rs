//! Orders in an image. Most of an order is what the one before it was, or a step on: such fields are differences, and an
//! order with a key takes some thirty bytes.

use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::SmallVec;

use super::super::deadlines::Deadlines;
use super::super::order::{Order, OrderState};
use super::super::orders::Orders;
use super::super::sale::Sale;
use super::super::slots::{SlotRange, Slots};
use super::bytes::{Bytes, put as put_number, put_after};
use super::{Fault, ROW_BYTES_CLOSE};
use crate::ids::{Cents, KeyDigest, SkuIndex, UnixMillis, UserId};

/// These bits of an order's first byte are its state; the others say what follows.
const STATE: u8 = 0b0100_0011;
const HELD: u8 = 0;
const CANCELLED: u8 = 1;
const EXPIRED: u8 = 2;
const PAID: u8 = 3;
const REFUNDED: u8 = 0b0100_0000;
const HAS_KEY: u8 = 1 << 2;
const HAS_REFERENCE: u8 = 1 << 3;
const HAS_CANCEL_KEY: u8 = 1 << 4;
const IS_ONE_RANGE: u8 = 1 << 5;
/// It was refunded, and its units did not go back on sale.
const IS_UNRETURNED: u8 = 1 << 7;

/// The least that an order takes: its flags, its user and a byte for each number.
const ORDER_BYTES_MIN: usize = 14;

/// What the order before had; the first of a row comes after zeroes.
#[derive(Default)]
struct Before {
    held_at_ms: u64,
    window_ms: u64,
    amount_cents: u64,
    slot: u64,
}

/// Writes the orders after `done` up to `upto`, or fewer where they are long; gives the last one's number.
pub(super) fn put(sale: &Sale, done: u32, upto: u32, out: &mut Vec<u8>) -> u32 {
    let begin = out.len();
    put_number(out, u64::from(done));
    let place = out.len();
    out.extend_from_slice(&[0; 4]);
    let (mut before, mut last) = (Before::default(), done);
    while last < upto && out.len() - begin < ROW_BYTES_CLOSE {
        last += 1;
        let order = sale.orders.get(last).expect("U2: a shard's orders are numbered without a gap");
        let cancel_key = if order.state == OrderState::Cancelled { sale.cancel_keys.get(&last) } else { None };
        let unreturned = sale.unreturned.contains(&last);
        put_order(order, cancel_key, unreturned, &mut before, out);
    }
    out[place..place + 4].copy_from_slice(&(last - done).to_le_bytes());
    last
}

fn put_order(order: &Order, cancel_key: Option<&KeyDigest>, unreturned: bool, before: &mut Before, out: &mut Vec<u8>) {
    // Named one by one: a field that is new must be thought of here.
    let Order {
        user,
        held_at_ms: UnixMillis(held_at_ms),
        expires_at_ms: UnixMillis(expires_at_ms),
        amount_cents: Cents(amount_cents),
        slots,
        reference,
        key,
        previous_of_user: _,
        sku: SkuIndex(sku),
        state,
    } = order;
    let state = match state {
        OrderState::Held => HELD,
        OrderState::Cancelled => CANCELLED,
        OrderState::Expired => EXPIRED,
        OrderState::Paid => PAID,
        OrderState::Refunded => REFUNDED,
    };
    let flag = |is_so: bool, flag: u8| if is_so { flag } else { 0 };
    out.push(
        state
            | flag(key.is_some(), HAS_KEY)
            | flag(reference.is_some(), HAS_REFERENCE)
            | flag(cancel_key.is_some(), HAS_CANCEL_KEY)
            | flag(slots.ranges().len() == 1, IS_ONE_RANGE)
            | flag(unreturned, IS_UNRETURNED),
    );
    out.extend_from_slice(&user.0.to_le_bytes());
    let window_ms = expires_at_ms.wrapping_sub(*held_at_ms);
    put_after(out, before.held_at_ms, *held_at_ms);
    put_after(out, before.window_ms, window_ms);
    put_after(out, before.amount_cents, *amount_cents);
    put_number(out, u64::from(*sku));
    if slots.ranges().len() != 1 {
        put_number(out, slots.ranges().len() as u64);
    }
    for range in slots.ranges() {
        put_after(out, before.slot, u64::from(range.first));
        put_number(out, u64::from(range.count));
        before.slot = u64::from(range.first) + u64::from(range.count);
    }
    if let Some(key) = key {
        out.extend_from_slice(&key.0);
    }
    if let Some(reference) = reference {
        put_number(out, reference.len() as u64);
        out.extend_from_slice(reference.as_bytes());
    }
    if let Some(key) = cancel_key {
        out.extend_from_slice(&key.0);
    }
    (before.held_at_ms, before.window_ms, before.amount_cents) = (*held_at_ms, window_ms, *amount_cents);
}

/// A shard's orders as they are read, with what is worked out from them.
#[derive(Default)]
pub(super) struct Read {
    pub orders: Orders,
    pub deadlines: Deadlines,
    pub cancel_keys: FxHashMap<u32, KeyDigest>,
    pub unreturned: FxHashSet<u32>,
    /// Orders that are paid.
    pub paid: usize,
    /// Units held and sold, by SKU; as long as the highest index that any order names.
    pub units: Vec<(u32, u32)>,
}

impl Read {
    /// Adds a row of orders.
    pub fn row(&mut self, mut row: Bytes<'_>) -> Result<(), Fault> {
        let done: u32 = row.small()?;
        let count = u32::from_le_bytes(row.array()?);
        if done != self.orders.count() || done.checked_add(count).is_none() {
            return Err(Fault::Senseless("a shard's orders are not numbered without a gap"));
        }
        // A count that the bytes cannot bear out must not keep us busy.
        if row.0.len() / ORDER_BYTES_MIN < count as usize {
            return Err(Fault::Ragged);
        }
        let mut before = Before::default();
        let mut orders = Vec::with_capacity(count as usize);
        for number in done + 1..=done + count {
            orders.push(self.order(number, &mut row, &mut before)?);
        }
        self.orders.extend(orders);
        row.ends()
    }

    fn order(&mut self, number: u32, row: &mut Bytes<'_>, before: &mut Before) -> Result<Order, Fault> {
        let flags = row.byte()?;
        let state = match flags & STATE {
            HELD => OrderState::Held,
            CANCELLED => OrderState::Cancelled,
            EXPIRED => OrderState::Expired,
            PAID => OrderState::Paid,
            REFUNDED => OrderState::Refunded,
            _ => return Err(Fault::Senseless("an order is in no state that there is")),
        };
        let has = |flag: u8| flags & flag != 0;
        let user = UserId(u64::from_le_bytes(row.array()?));
        before.held_at_ms = row.number_after(before.held_at_ms)?;
        before.window_ms = row.number_after(before.window_ms)?;
        before.amount_cents = row.number_after(before.amount_cents)?;
        let sku = SkuIndex(row.small()?);
        let slots =
            if has(IS_ONE_RANGE) { read_slots(1, row, before)? } else { read_slots(row.small()?, row, before)? };
        let key = if has(HAS_KEY) { Some(KeyDigest(row.array()?)) } else { None };
        let reference = if has(HAS_REFERENCE) { Some(read_text(row)?) } else { None };
        if has(HAS_CANCEL_KEY) {
            if state != OrderState::Cancelled {
                return Err(Fault::Senseless("an order that stands has the key of a cancel"));
            }
            self.cancel_keys.insert(number, KeyDigest(row.array()?));
        }
        if has(IS_UNRETURNED) {
            if state != OrderState::Refunded {
                return Err(Fault::Senseless("an order that was not refunded keeps its units back"));
            }
            self.unreturned.insert(number);
        }
        self.paid += usize::from(state == OrderState::Paid);
        let (held, sold) = match state {
            OrderState::Held => (slots.count(), 0),
            OrderState::Paid => (0, slots.count()),
            OrderState::Refunded if has(IS_UNRETURNED) => (0, slots.count()),
            OrderState::Cancelled | OrderState::Expired | OrderState::Refunded => (0, 0),
        };
        self.count(sku, held, sold)?;
        let held_at_ms = UnixMillis(before.held_at_ms);
        let expires_at_ms = UnixMillis(before.held_at_ms.wrapping_add(before.window_ms));
        if state == OrderState::Held {
            self.deadlines.push(number, expires_at_ms);
        }
        Ok(Order {
            user,
            held_at_ms,
            expires_at_ms,
            amount_cents: Cents(before.amount_cents),
            slots,
            reference,
            key,
            previous_of_user: 0,
            sku,
            state,
        })
    }

    fn count(&mut self, sku: SkuIndex, held: u32, sold: u32) -> Result<(), Fault> {
        let place = usize::from(sku.0);
        if place >= self.units.len() {
            self.units.resize(place + 1, (0, 0));
        }
        let units = &mut self.units[place];
        let sums = (units.0.checked_add(held), units.1.checked_add(sold));
        let (Some(held), Some(sold)) = sums else {
            return Err(Fault::Senseless("more units are held or sold than can be"));
        };
        *units = (held, sold);
        Ok(())
    }
}

fn read_slots(ranges: usize, row: &mut Bytes<'_>, before: &mut Before) -> Result<Slots, Fault> {
    let mut read: SmallVec<[SlotRange; 1]> = SmallVec::new();
    for _ in 0..ranges {
        let first = row.number_after(before.slot)?;
        let count: u32 = row.small()?;
        before.slot = first.wrapping_add(u64::from(count));
        let first = u32::try_from(first).map_err(|_| Fault::Senseless("a slot's number is too large"))?;
        read.push(SlotRange { first, count });
    }
    Slots::of(read).ok_or(Fault::Senseless("an order's slots are no ascending ranges"))
}

fn read_text(row: &mut Bytes<'_>) -> Result<Box<str>, Fault> {
    let length = row.small()?;
    let text = std::str::from_utf8(row.take(length)?);
    text.map(Into::into).map_err(|_| Fault::Senseless("a reference is no text"))
}
