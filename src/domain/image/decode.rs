//! From pieces to a state, or to the part of it that concerns some shards.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use super::super::sales::{Sales, Standing};
use super::super::suspense::Suspense;
use super::bytes::Bytes;
use super::ledger::{End, read_end, read_retired, read_standing};
use super::{Fault, MAGIC, VERSION, VERSION_OLDEST, kind, payments, shard};
use crate::ids::{ActivityId, KeyDigest, ShardId};

/// Reads pieces, in the order in which they were encoded.
pub struct Decoder {
    within: RangeInclusive<ShardId>,
    /// Whether nothing may be missing.
    whole: bool,
    shards: BTreeMap<ShardId, shard::Read>,
    /// Everything but the shards.
    ledger: Sales,
    /// The ids of payments whose activity has left.
    left_payments: BTreeMap<ActivityId, Vec<(u16, KeyDigest)>>,
    end: Option<End>,
}

impl Decoder {
    /// For all of a state.
    #[must_use]
    pub fn whole() -> Self {
        Self { whole: true, ..Self::within(ShardId(0)..=ShardId(u32::MAX)) }
    }

    /// For the shards of a range that cuts no activity in two, and for what the ledger says of them. Pieces that concern
    /// no such shard may be left out. The state's last numbers are the whole's.
    #[must_use]
    pub fn within(shards: RangeInclusive<ShardId>) -> Self {
        let (ledger, left_payments) = (Sales::default(), BTreeMap::new());
        Self { within: shards, whole: false, shards: BTreeMap::new(), ledger, left_payments, end: None }
    }

    /// Takes the next piece in.
    ///
    /// # Errors
    /// A [`Fault`], for any bytes that are no piece or cannot follow on those before; the decoder is of no use then.
    pub fn take(&mut self, piece: &[u8]) -> Result<(), Fault> {
        let mut rows = Bytes(piece);
        if rows.take(MAGIC.len()).ok() != Some(&MAGIC) {
            return Err(Fault::NotAPiece);
        }
        match rows.byte()? {
            VERSION_OLDEST..=VERSION => {}
            version => return Err(Fault::UnknownVersion { version }),
        }
        while !rows.0.is_empty() {
            let of = rows.byte()?;
            let length = u32::from_le_bytes(rows.array()?);
            self.row(of, Bytes(rows.take(length as usize)?))?;
        }
        Ok(())
    }

    fn row(&mut self, of: u8, mut row: Bytes<'_>) -> Result<(), Fault> {
        if self.end.is_some() {
            return Err(Fault::Senseless("something follows on the end"));
        }
        match of {
            kind::ORDERS | kind::HEAD | kind::FREE | kind::CHANGE_KEYS | kind::PAYMENTS | kind::ROUNDS => {
                let about = ShardId(row.small()?);
                if !self.within.contains(&about) {
                    return Ok(());
                }
                if about == Suspense::SHARD {
                    if of != kind::PAYMENTS {
                        return Err(Fault::Senseless("no activity has shard 0"));
                    }
                    let Suspense { payments, named } = &mut self.ledger.suspense;
                    return payments::read(payments, Some(named), row);
                }
                let read = self.shards.entry(about).or_default();
                match of {
                    kind::ORDERS => read.orders.row(row),
                    kind::HEAD => read.head(row),
                    kind::FREE => read.free(row),
                    kind::PAYMENTS => read.payments(row),
                    kind::ROUNDS => read.rounds(row),
                    _ => read.change_keys(row),
                }
            }
            kind::STANDING => read_standing(row, |activity_id, standing| {
                if !self.within.contains(&standing.home) {
                    return Ok(());
                }
                match self.ledger.standing.insert(activity_id, standing) {
                    None => Ok(()),
                    Some(_) => Err(Fault::Senseless("an activity stands twice")),
                }
            }),
            kind::RETIRED => {
                let (activity_id, retired) = read_retired(row)?;
                if self.within.contains(&retired.home.home) {
                    self.ledger.retired.insert(activity_id, retired);
                }
                Ok(())
            }
            kind::LEFT_PAYMENTS => {
                let activity_id = ActivityId(row.number()?);
                // Of an activity that is not wanted, or that is not there at all.
                let Some(retired) = self.ledger.retired.get(&activity_id) else { return Ok(()) };
                let parts = retired.definition.shards.max(1);
                payments::read_keys(self.left_payments.entry(activity_id).or_default(), parts, row)
            }
            kind::END => {
                self.end = Some(read_end(row)?);
                Ok(())
            }
            _ => Err(Fault::Senseless("a row is of no kind that there is")),
        }
    }

    /// The state.
    ///
    /// # Errors
    /// [`Fault::Senseless`] where something is missing or does not go together.
    pub fn finish(self) -> Result<Sales, Fault> {
        let Self { within: _, whole, shards, ledger: mut sales, left_payments, end } = self;
        let end = end.ok_or(Fault::Senseless("it has no end"))?;
        let counts = [shards.len() as u64, sales.standing.len() as u64, sales.retired.len() as u64];
        if whole && counts != [end.shards, end.standing, end.retired] {
            return Err(Fault::Senseless("something is missing"));
        }
        let suspended = sales.suspense.payments.count();
        if (whole || suspended > 0) && suspended != end.suspended {
            return Err(Fault::Senseless("payments of the suspense account are missing"));
        }
        if !payments::is_sound(&sales.suspense) {
            return Err(Fault::Senseless("the suspense account has what is not owed back"));
        }
        for (activity_id, keys) in left_payments {
            let retired = sales.retired.get_mut(&activity_id).expect("its keys were kept because it is there");
            retired.payments = keys.into();
        }
        for (number, read) in shards {
            let sale = read.finish(number)?;
            let is_of = |at: &Standing| (at.home, at.shards) == (sale.part().home, sale.definition().shards.max(1));
            if !sales.standing.get(&sale.activity_id()).is_some_and(is_of) {
                return Err(Fault::Senseless("a shard belongs to no activity that stands"));
            }
            sales.shards.insert(number, sale);
        }
        sales.last_shard = end.last_shard;
        sales.last_change_id = end.last_change_id;
        sales.last_at_ms = end.last_at_ms;
        Ok(sales)
    }
}
