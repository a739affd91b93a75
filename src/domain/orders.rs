//! A shard's orders: found by number, and by user through a chain from the newest to the oldest.
//!
//! Stored in chunks that never move, so that growth costs neither a copy of everything nor twice the memory. Only
//! winners are here; a loser leaves nothing behind.

use super::newest::NewestOfUser;
use super::order::Order;
use crate::ids::UserId;

/// Orders in one chunk; a chunk is about 400 KB.
const CHUNK_ORDERS: usize = 4096;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Orders {
    chunks: Vec<Vec<Order>>,
    newest_of_user: NewestOfUser,
}

impl Orders {
    /// How many orders there are, which is also the newest one's number.
    pub fn count(&self) -> u32 {
        match self.chunks.last() {
            Some(last) => u32::try_from((self.chunks.len() - 1) * CHUNK_ORDERS + last.len())
                .expect("an order's number is a u32, checked when it is given"),
            None => 0,
        }
    }

    pub fn get(&self, order: u32) -> Option<&Order> {
        let place = (order as usize).checked_sub(1)?;
        self.chunks.get(place / CHUNK_ORDERS)?.get(place % CHUNK_ORDERS)
    }

    pub fn get_mut(&mut self, order: u32) -> Option<&mut Order> {
        let place = (order as usize).checked_sub(1)?;
        self.chunks.get_mut(place / CHUNK_ORDERS)?.get_mut(place % CHUNK_ORDERS)
    }

    /// The newest order of `user`; 0 where there is none.
    pub fn newest_of(&self, user: UserId) -> u32 {
        self.newest_of_user.get(user).unwrap_or(0)
    }

    /// The orders of `user`, newest first.
    pub fn of_user(&self, user: UserId) -> impl Iterator<Item = (u32, &Order)> + '_ {
        let mut next = self.newest_of(user);
        std::iter::from_fn(move || {
            let order = self.get(next)?;
            let number = next;
            next = order.previous_of_user;
            Some((number, order))
        })
    }

    /// Every order with its number, oldest first, from number `first` on.
    pub fn from(&self, first: u32) -> impl Iterator<Item = (u32, &Order)> + '_ {
        (first.max(1)..=self.count()).filter_map(|number| Some((number, self.get(number)?)))
    }

    /// Adds the next orders. A loop that does nothing else has several look-ups of users on their way from memory at once,
    /// which is most of what reading orders back takes.
    pub fn extend(&mut self, orders: impl IntoIterator<Item = Order>) {
        orders.into_iter().for_each(|order| self.push(order));
    }

    /// Adds the next order and chains it to its user's others.
    pub fn push(&mut self, mut order: Order) {
        let number = self.count() + 1;
        order.previous_of_user = self.newest_of_user.insert(order.user, number).unwrap_or(0);
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK_ORDERS) {
            // The first chunk grows as it fills: most activities are small.
            let room = if self.chunks.is_empty() { 0 } else { CHUNK_ORDERS };
            self.chunks.push(Vec::with_capacity(room));
        }
        self.chunks.last_mut().expect("a chunk was just made sure of").push(order);
    }
}
