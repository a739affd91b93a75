//! From a state to pieces. Shards are given in the order of their numbers, all at once or a few at a time: where the
//! pieces are cut depends on the state alone.

use super::super::payment::Payments;
use super::super::sale::Sale;
use super::super::sales::Sales;
use super::super::suspense::Suspense;
use super::{
    BLOCK_SHARDS, MAGIC, PIECE_BYTES_CLOSE, PIECE_ORDERS, PIECE_PAYMENTS, Piece, VERSION, VERSION_OLDEST, kind, ledger,
    orders, payments, shard,
};
use crate::ids::ShardId;

/// Encodes a state, handing over a piece at a time.
///
/// # Errors
/// What `each` returns.
pub fn encode<E>(sales: &Sales, each: impl FnMut(Piece<'_>) -> Result<(), E>) -> Result<(), E> {
    let mut encoder = Encoder::new(each);
    encoder.shards(sales)?;
    encoder.finish(sales)
}

/// Encodes a state that is never in memory as a whole: the shards by and by, then the ledger.
#[derive(Debug)]
pub struct Encoder<F> {
    each: F,
    /// The piece in the making.
    shared: Open,
    /// For pieces of orders alone, while the other one is open.
    alone: Open,
    block: u32,
    shards: u64,
}

/// A piece in the making.
#[derive(Debug)]
pub(super) struct Open {
    pub bytes: Vec<u8>,
    span: Option<(ShardId, ShardId)>,
    orders: u32,
    /// The oldest version that has all that is in it. So a state without payments has the bytes that an older program
    /// gave it, and the checkpoints of that program keep their hashes (J6).
    version: u8,
}

impl<E, F: FnMut(Piece<'_>) -> Result<(), E>> Encoder<F> {
    /// An encoder that hands its pieces to `each`.
    pub fn new(each: F) -> Self {
        Self { each, shared: Open::new(), alone: Open::new(), block: 0, shards: 0 }
    }

    /// Takes the shards of `sales`, whose numbers are above all those taken before.
    ///
    /// # Errors
    /// What `each` returns; the encoder is of no use then.
    pub fn shards(&mut self, sales: &Sales) -> Result<(), E> {
        sales.iter().try_for_each(|sale| self.shard(sale))
    }

    /// Ends the image with the ledger of `sales`, whose shards are not looked at.
    ///
    /// # Errors
    /// What `each` returns.
    pub fn finish(mut self, sales: &Sales) -> Result<(), E> {
        self.shared.close(&mut self.each)?;
        ledger::put(sales, self.shards, &mut self.shared, &mut self.each)
    }

    fn shard(&mut self, sale: &Sale) -> Result<(), E> {
        let block = sale.shard().0 / BLOCK_SHARDS;
        if block != self.block {
            self.shared.close(&mut self.each)?;
            self.block = block;
        }
        self.shards += 1;
        let alone = sale.orders_placed() / PIECE_ORDERS * PIECE_ORDERS;
        let mut done = 0;
        while done < alone {
            // One row, but where orders are so long that a piece would be too.
            let upto = (done / PIECE_ORDERS + 1) * PIECE_ORDERS;
            done = self.alone.orders(sale, done, upto);
            self.alone.close(&mut self.each)?;
        }
        let paid = sale.payments.count();
        let mut paid_done = 0;
        while paid_done < paid / PIECE_PAYMENTS * PIECE_PAYMENTS {
            let upto = (paid_done / PIECE_PAYMENTS + 1) * PIECE_PAYMENTS;
            paid_done = self.alone.payments(sale.shard(), &sale.payments, None, paid_done, upto);
            self.alone.close(&mut self.each)?;
        }
        let Self { each, shared, .. } = self;
        shard::put(sale, |of, put| {
            shared.row(of, sale.shard(), put);
            // Its head says how many.
            if paid > 0 {
                shared.is_new();
            }
            shared.close_if_full(each)
        })?;
        while done < sale.orders_placed() {
            done = shared.orders(sale, done, sale.orders_placed());
            shared.close_if_full(each)?;
        }
        while paid_done < paid {
            paid_done = shared.payments(sale.shard(), &sale.payments, None, paid_done, paid);
            shared.close_if_full(each)?;
        }
        Ok(())
    }
}

impl Open {
    fn new() -> Self {
        Self { bytes: Vec::new(), span: None, orders: 0, version: VERSION_OLDEST }
    }

    /// Adds a row about one shard.
    fn row(&mut self, of: u8, about: ShardId, put: impl FnOnce(&mut Vec<u8>)) {
        self.span = Some((self.span.map_or(about, |(first, _)| first), about));
        self.any_row(of, |out| {
            super::bytes::put(out, u64::from(about.0));
            put(out);
        });
    }

    /// Adds a row.
    pub fn any_row(&mut self, of: u8, put: impl FnOnce(&mut Vec<u8>)) {
        if self.bytes.is_empty() {
            self.bytes.extend_from_slice(&MAGIC);
            self.bytes.push(self.version);
        }
        if matches!(of, kind::PAYMENTS | kind::LEFT_PAYMENTS | kind::ROUNDS) {
            self.is_new();
        }
        self.bytes.push(of);
        let place = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        put(&mut self.bytes);
        let length = u32::try_from(self.bytes.len() - place - 4).expect("a row is far below 4 GiB");
        self.bytes[place..place + 4].copy_from_slice(&length.to_le_bytes());
    }

    /// Adds a row of the orders after `done`, at most up to `upto`; gives the last one that is in it.
    fn orders(&mut self, sale: &Sale, done: u32, upto: u32) -> u32 {
        let mut last = done;
        self.row(kind::ORDERS, sale.shard(), |out| last = orders::put(sale, done, upto, out));
        // Some of them may be paid or refunded, which version 1 has no word for.
        if sale.payments.count() > 0 {
            self.is_new();
        }
        self.orders += last - done;
        last
    }

    /// Adds a row of the payments after `done`, at most up to `upto`; gives the last one that is in it.
    fn payments(&mut self, owner: ShardId, all: &Payments, named: Option<&[Box<str>]>, done: u32, upto: u32) -> u32 {
        let mut last = done;
        self.row(kind::PAYMENTS, owner, |out| last = payments::put(all, named, done, upto, out));
        last
    }

    /// Says that what is in it needs the newest version.
    pub fn is_new(&mut self) {
        self.version = VERSION;
    }

    /// Adds the suspense account in pieces of its own.
    pub fn suspense<E>(
        &mut self,
        suspense: &Suspense,
        each: &mut impl FnMut(Piece<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let (count, mut done) = (suspense.payments.count(), 0);
        while done < count {
            let upto = count.min((done / PIECE_PAYMENTS + 1) * PIECE_PAYMENTS);
            done = self.payments(Suspense::SHARD, &suspense.payments, Some(&suspense.named), done, upto);
            self.close(each)?;
        }
        Ok(())
    }

    /// Hands over what is there, if anything is.
    pub fn close<E>(&mut self, each: &mut impl FnMut(Piece<'_>) -> Result<(), E>) -> Result<(), E> {
        if self.bytes.is_empty() {
            return Ok(());
        }
        let (first, last) = self.span.take().unwrap_or((ShardId(0), ShardId(u32::MAX)));
        self.bytes[MAGIC.len()] = std::mem::replace(&mut self.version, VERSION_OLDEST);
        let handed = each(Piece { bytes: &self.bytes, first, last, orders: self.orders });
        self.bytes.clear();
        self.orders = 0;
        handed
    }

    pub fn close_if_full<E>(&mut self, each: &mut impl FnMut(Piece<'_>) -> Result<(), E>) -> Result<(), E> {
        if self.bytes.len() < PIECE_BYTES_CLOSE { Ok(()) } else { self.close(each) }
    }
}
