//! Payments in an image: those of shards, those of the suspense account, and the ids of those whose activity has left.

use rmp_serde::Deserializer;
use serde::{Deserialize, Serialize};

use super::super::payment::{Payment, Payments};
use super::super::suspense::Suspense;
use super::bytes::{Bytes, put as put_number};
use super::{Fault, ROW_BYTES_CLOSE};
use crate::ids::KeyDigest;

/// Ids of payments in one row.
pub(super) const ROW_KEYS: usize = 32_768;

/// A payment, and in the suspense account the order that it names. By position: add fields at the end with a default.
#[derive(Serialize, Deserialize)]
struct Row<P, N> {
    payment: P,
    named: Option<N>,
}

/// Writes the payments after `done` up to `upto`, or fewer where they are long; gives the last one's number.
pub(super) fn put(payments: &Payments, named: Option<&[Box<str>]>, done: u32, upto: u32, out: &mut Vec<u8>) -> u32 {
    let begin = out.len();
    put_number(out, u64::from(done));
    let mut last = done;
    while last < upto && out.len() - begin < ROW_BYTES_CLOSE {
        last += 1;
        let payment = payments.get(last).expect("M5: an owner's payments are numbered without a gap");
        let row = Row { payment, named: named.map(|named| &named[last as usize - 1]) };
        rmp_serde::encode::write(out, &row).expect("plain data has an encoding");
    }
    last
}

/// Adds a row of payments; what a suspense account's name goes to `named`.
pub(super) fn read(
    payments: &mut Payments,
    named: Option<&mut Vec<Box<str>>>,
    mut row: Bytes<'_>,
) -> Result<(), Fault> {
    let mut names = Vec::new();
    if row.small::<u32>()? != payments.count() {
        return Err(Fault::Senseless("payments are not numbered without a gap"));
    }
    while !row.0.is_empty() {
        let mut decoder = Deserializer::new(row.0);
        let read = Row::<Payment, Box<str>>::deserialize(&mut decoder)
            .map_err(|_| Fault::Senseless("a payment does not decode"))?;
        row = Bytes(decoder.get_ref());
        if payments.count() == u32::MAX || !payments.push(read.payment) {
            return Err(Fault::Senseless("a payment id is there twice"));
        }
        names.extend(read.named);
    }
    match named {
        None if names.is_empty() => Ok(()),
        Some(all) => {
            all.extend(names);
            if all.len() == payments.count() as usize {
                Ok(())
            } else {
                Err(Fault::Senseless("a payment names nothing"))
            }
        }
        None => Err(Fault::Senseless("a payment of a shard names an order as text")),
    }
}

/// Whether every payment of the suspense account is one: of no shard's order, and owed back.
pub(super) fn is_sound(suspense: &Suspense) -> bool {
    suspense.payments.from(1).all(|(_, payment)| payment.order == 0 && payment.refund.is_some())
}

/// Writes ids of payments whose activity has left.
pub(super) fn put_keys(keys: &[(u16, KeyDigest)], out: &mut Vec<u8>) {
    for (part, key) in keys {
        put_number(out, u64::from(*part));
        out.extend_from_slice(&key.0);
    }
}

/// Adds a row of such ids.
pub(super) fn read_keys(keys: &mut Vec<(u16, KeyDigest)>, parts: u16, mut row: Bytes<'_>) -> Result<(), Fault> {
    while !row.0.is_empty() {
        let part: u16 = row.small()?;
        if part >= parts {
            return Err(Fault::Senseless("a payment is of a part that there is not"));
        }
        keys.push((part, KeyDigest(row.array()?)));
    }
    Ok(())
}
