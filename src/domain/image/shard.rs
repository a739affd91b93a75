//! A shard in an image, but for its orders: its head, its free slots, the keys of operators' changes. The latter two may
//! be many, so they come in rows of a bounded length.

use std::sync::Arc;

use rmp_serde::Deserializer;
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use super::super::definition::Definition;
use super::super::event::Author;
use super::super::order::OrderState;
use super::super::orders::Orders;
use super::super::part::Part;
use super::super::payment::{Payment, PaymentState, Payments};
use super::super::round::Round;
use super::super::sale::{Sale, Sku};
use super::super::slots::{FreeSlots, SlotRange};
use super::bytes::{Bytes, put as put_number, put_after};
use super::{Fault, kind, orders, payments};
use crate::ids::{ActivityId, Cents, KeyDigest, ShardId, SkuId, UnixMillis, UserId};

/// Free ranges, or keys, in one row.
const ROW_ITEMS: usize = 16_384;

/// What a shard is. By position, as events are: add fields at the end with a default.
#[derive(Serialize, Deserialize)]
struct Head<D, S> {
    activity_id: ActivityId,
    part: Part,
    version: u64,
    definition: D,
    /// Mostly the catalogue's entry is the definition itself, and is not written twice.
    catalog_is_definition: bool,
    catalog: Option<D>,
    paused: bool,
    closed: bool,
    closed_at_ms: Option<UnixMillis>,
    last_change_id: u64,
    orders: u32,
    skus: Vec<(S, Cents, bool, u32)>,
    /// From version 2 on.
    #[serde(default, skip_serializing_if = "is_zero")]
    payments: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// Hands over the rows of a shard: what kind, and what writes it.
pub(super) fn put<E>(
    sale: &Sale,
    mut row: impl FnMut(u8, &mut dyn FnMut(&mut Vec<u8>)) -> Result<(), E>,
) -> Result<(), E> {
    // Named one by one: a field that is new must be thought of here.
    let Sale {
        shard: _,
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
        unreturned: _,
        deadlines: _,
        cancel_keys: _,
        change_keys,
        last_change_id,
    } = sale;
    let catalog_is_definition = catalog.as_ref() == Some(definition);
    let head = Head {
        activity_id: *activity_id,
        part: *part,
        version: *version,
        definition: &**definition,
        catalog_is_definition,
        catalog: catalog.as_deref().filter(|_| !catalog_is_definition),
        paused: *paused,
        closed: *closed,
        closed_at_ms: *closed_at_ms,
        last_change_id: *last_change_id,
        orders: orders.count(),
        skus: skus.iter().map(head_of_sku).collect(),
        payments: payments.count(),
    };
    row(kind::HEAD, &mut |out| rmp_serde::encode::write(out, &head).expect("plain data has an encoding"))?;
    for (index, sku) in skus.iter().enumerate() {
        let ranges: Vec<SlotRange> = sku.free.ranges().collect();
        for ranges in ranges.chunks(ROW_ITEMS) {
            row(kind::FREE, &mut |out| put_free(index, ranges, out))?;
        }
    }
    if !rounds.is_empty() {
        row(kind::ROUNDS, &mut |out| put_rounds(rounds, out))?;
    }
    let mut keys: Vec<(Author, KeyDigest, KeyDigest)> =
        change_keys.iter().map(|((by, key), body)| (*by, *key, *body)).collect();
    keys.sort_unstable_by_key(|(by, key, _)| (user_of(*by), *key));
    for keys in keys.chunks(ROW_ITEMS) {
        row(kind::CHANGE_KEYS, &mut |out| put_keys(keys, out))?;
    }
    Ok(())
}

fn head_of_sku(sku: &Sku) -> (&SkuId, Cents, bool, u32) {
    let Sku { sku_id, price_cents, listed, free: _, last_slot, held: _, sold: _ } = sku;
    (sku_id, *price_cents, *listed, *last_slot)
}

/// What was granted follows from the orders, and what is handed out from the definition.
fn put_rounds(rounds: &[Round], out: &mut Vec<u8>) {
    for Round { plan: _, granted: _, granted_cents: _, refunded, refunded_cents, is_over } in rounds {
        out.push(u8::from(*is_over));
        put_number(out, u64::from(*refunded));
        put_number(out, *refunded_cents);
    }
}

fn put_free(index: usize, ranges: &[SlotRange], out: &mut Vec<u8>) {
    put_number(out, index as u64);
    put_number(out, ranges.len() as u64);
    let mut before = 0;
    for range in ranges {
        put_after(out, before, u64::from(range.first));
        put_number(out, u64::from(range.count));
        before = u64::from(range.last());
    }
}

fn user_of(by: Author) -> Option<UserId> {
    match by {
        Author::StartUp => None,
        Author::Operator(user) => Some(user),
    }
}

fn put_keys(keys: &[(Author, KeyDigest, KeyDigest)], out: &mut Vec<u8>) {
    put_number(out, keys.len() as u64);
    for (by, key, body) in keys {
        let user = user_of(*by);
        out.push(u8::from(user.is_some()));
        if let Some(UserId(user)) = user {
            out.extend_from_slice(&user.to_le_bytes());
        }
        out.extend_from_slice(&key.0);
        out.extend_from_slice(&body.0);
    }
}

/// A shard as it is read.
#[derive(Default)]
pub(super) struct Read {
    pub orders: orders::Read,
    payments: Payments,
    /// Whether each round is over, and what was refunded of it.
    rounds: Vec<(bool, u32, u64)>,
    head: Option<Head<Definition, SkuId>>,
    free: Vec<FreeSlots>,
    change_keys: FxHashMap<(Author, KeyDigest), KeyDigest>,
}

impl Read {
    pub fn head(&mut self, row: Bytes<'_>) -> Result<(), Fault> {
        let mut decoder = Deserializer::new(row.0);
        let head = Head::deserialize(&mut decoder).map_err(|_| Fault::Senseless("a shard's head does not decode"))?;
        Bytes(decoder.get_ref()).ends()?;
        match self.head.replace(head) {
            None => Ok(()),
            Some(_) => Err(Fault::Senseless("a shard has two heads")),
        }
    }

    pub fn free(&mut self, mut row: Bytes<'_>) -> Result<(), Fault> {
        let index = usize::from(row.small::<u16>()?);
        let count: usize = row.small()?;
        if index >= self.free.len() {
            self.free.resize_with(index + 1, FreeSlots::default);
        }
        let mut before = 0;
        for _ in 0..count {
            let first = row.number_after(before)?;
            let range = SlotRange { first: u32::try_from(first).unwrap_or(0), count: row.small()? };
            if !self.free[index].push_above(range) {
                return Err(Fault::Senseless("a SKU's free slots are no ascending ranges"));
            }
            before = u64::from(range.last());
        }
        row.ends()
    }

    pub fn change_keys(&mut self, mut row: Bytes<'_>) -> Result<(), Fault> {
        for _ in 0..row.small::<usize>()? {
            let by = match row.byte()? {
                0 => Author::StartUp,
                1 => Author::Operator(UserId(u64::from_le_bytes(row.array()?))),
                _ => return Err(Fault::Senseless("a change is of nobody")),
            };
            let (key, body) = (KeyDigest(row.array()?), KeyDigest(row.array()?));
            self.change_keys.insert((by, key), body);
        }
        row.ends()
    }

    pub fn payments(&mut self, row: Bytes<'_>) -> Result<(), Fault> {
        payments::read(&mut self.payments, None, row)
    }

    pub fn rounds(&mut self, mut row: Bytes<'_>) -> Result<(), Fault> {
        while !row.0.is_empty() {
            self.rounds.push((row.byte()? != 0, row.small()?, row.number()?));
        }
        Ok(())
    }

    /// The shard's state, where what was read of it goes together.
    pub fn finish(self, shard: ShardId) -> Result<Sale, Fault> {
        let Self { orders, payments, rounds, head, mut free, change_keys } = self;
        let orders::Read { orders, deadlines, cancel_keys, unreturned, mut units, paid } = orders;
        let head = head.ok_or(Fault::Senseless("a shard has no head"))?;
        if head.orders != orders.count() {
            return Err(Fault::Senseless("orders of a shard are missing"));
        }
        if head.payments != payments.count() {
            return Err(Fault::Senseless("payments of a shard are missing"));
        }
        let state = |order: u32| orders.get(order).map(|order| order.state);
        if payments.from(1).any(|(_, payment)| state(payment.order).is_none()) {
            return Err(Fault::Senseless("a payment is of no order"));
        }
        let applied = |(_, payment): &(u32, &Payment)| payment.state() == PaymentState::Applied;
        let pays_alone = |(_, payment): (u32, &Payment)| {
            state(payment.order) == Some(OrderState::Paid)
                && payments.of_order(payment.order).filter(applied).count() == 1
        };
        let each_pays = payments.from(1).filter(applied).all(pays_alone);
        let is_sale = head.definition.packets.is_none();
        if is_sale && (!each_pays || payments.from(1).filter(applied).count() != paid) {
            return Err(Fault::Senseless("a paid order has not the one payment that paid it"));
        }
        if units.len() > head.skus.len() || free.len() > head.skus.len() {
            return Err(Fault::Senseless("a shard names a SKU that it does not have"));
        }
        // Shard numbers are below 2^27, so no part's number beside them can overflow.
        let Part { home, number, .. } = head.part;
        if home > ShardId::MAX || number >= head.definition.shards.max(1) || head.part.shard(number) != shard {
            return Err(Fault::Senseless("a shard is not the part that it says it is"));
        }
        units.resize(head.skus.len(), (0, 0));
        free.resize_with(head.skus.len(), FreeSlots::default);
        let skus = head.skus.into_iter().zip(free.into_iter().zip(units));
        let skus: Vec<Sku> = skus.map(|(head, (free, units))| sku(head, free, units)).collect();
        if skus.iter().any(|sku| sku.units().is_none()) {
            return Err(Fault::Senseless("a SKU has more units than there can be"));
        }
        let definition = Arc::new(head.definition);
        if rounds.len() > skus.len() {
            return Err(Fault::Senseless("a round has nothing that counts its packets"));
        }
        let rounds = read_rounds(&definition, &rounds, &orders)?;
        let catalog = match head.catalog {
            None => head.catalog_is_definition.then(|| Arc::clone(&definition)),
            Some(catalog) => Some(Arc::new(catalog)),
        };
        Ok(Sale {
            shard,
            activity_id: head.activity_id,
            part: head.part,
            version: head.version,
            definition,
            catalog,
            paused: head.paused,
            closed: head.closed,
            closed_at_ms: head.closed_at_ms,
            skus,
            rounds,
            orders,
            payments,
            unreturned,
            deadlines,
            cancel_keys,
            change_keys,
            last_change_id: head.last_change_id,
        })
    }
}

/// The rounds of a definition, with what its grabs and what was kept of them say.
fn read_rounds(definition: &Definition, kept: &[(bool, u32, u64)], orders: &Orders) -> Result<Vec<Round>, Fault> {
    let wanted = definition.packets.as_deref().map_or(0, |packets| packets.rounds.len());
    if kept.len() != wanted {
        return Err(Fault::Senseless("rounds of red packets are missing"));
    }
    let mut rounds = Vec::with_capacity(wanted);
    for (number, (is_over, refunded, refunded_cents)) in kept.iter().copied().enumerate() {
        let plan = definition.plan(number).ok_or(Fault::Senseless("a round is not planned"))?;
        if definition.terms(number) != Some(plan.terms) || plan.terms.check().is_err() {
            return Err(Fault::Senseless("a round is planned otherwise than it is defined"));
        }
        let plan = Arc::clone(plan);
        rounds.push(Round { refunded, refunded_cents, is_over, ..Round::to_come(plan) });
    }
    if wanted > 0 {
        for (_, grab) in orders.from(1) {
            let round = rounds.get_mut(usize::from(grab.sku.0)).ok_or(Fault::Senseless("a grab is of no round"))?;
            round.granted += 1;
            let cents = round.granted_cents.checked_add(grab.amount_cents.0);
            round.granted_cents = cents.ok_or(Fault::Senseless("more was grabbed than there can be"))?;
        }
    }
    Ok(rounds)
}

fn sku(head: (SkuId, Cents, bool, u32), free: FreeSlots, (held, sold): (u32, u32)) -> Sku {
    let (sku_id, price_cents, listed, last_slot) = head;
    Sku { sku_id, price_cents, listed, free, last_slot, held, sold }
}
