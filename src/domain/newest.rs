//! The newest order of each user. A hash map that doubles copies all it has while its shard stands still: with a
//! hundred thousand users 10 ms, with a million 90, where the memory is fresh. So a large crowd's users are spread over many small maps, which double at instants of their own.

use std::hash::BuildHasher;

use rustc_hash::{FxBuildHasher, FxHashMap};

use crate::ids::UserId;

/// Users up to which one map does: most activities are small, and their memory counts.
const ONE_MAP_USERS: usize = 4_096;
/// Maps of a large crowd, a power of two; of a million users each has 4,000.
const MAPS: usize = 256;
/// Where the bits of a user's hash begin that say which map it is in. A map goes by the lowest ones, and by the topmost seven.
const HASH_BITS_OF_MAPS: u32 = 40;

const _: () = assert!(MAPS.is_power_of_two());

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NewestOfUser {
    /// One, or [`MAPS`].
    maps: Vec<FxHashMap<UserId, u32>>,
}

impl Default for NewestOfUser {
    fn default() -> Self {
        Self { maps: vec![FxHashMap::default()] }
    }
}

impl NewestOfUser {
    /// The number of a user's newest order.
    pub fn get(&self, user: UserId) -> Option<u32> {
        self.maps[self.place(user)].get(&user).copied()
    }

    /// Notes a user's newest order; the one that was it before.
    pub fn insert(&mut self, user: UserId, order: u32) -> Option<u32> {
        if self.maps.len() == 1 && self.maps[0].len() == ONE_MAP_USERS {
            let all = std::mem::replace(&mut self.maps, vec![FxHashMap::default(); MAPS]);
            for (user, order) in all.into_iter().flatten() {
                let place = self.place(user);
                self.maps[place].insert(user, order);
            }
        }
        let place = self.place(user);
        self.maps[place].insert(user, order)
    }

    /// Which map a user is in.
    fn place(&self, user: UserId) -> usize {
        // One less than a power of two: a mask.
        (FxBuildHasher.hash_one(user) >> HASH_BITS_OF_MAPS) as usize & (self.maps.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crowd_that_outgrows_one_map_is_found_as_before() {
        let (mut newest, mut plain) = (NewestOfUser::default(), FxHashMap::default());
        let users = u32::try_from(4 * ONE_MAP_USERS).expect("few");
        // Each comes again after the others, so that both sizes see new users and known ones.
        for order in 1..=3 * users {
            let user = UserId(u64::from(order % users).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 1);
            assert_eq!(newest.insert(user, order), plain.insert(user, order), "order {order}");
        }
        assert_eq!(newest.maps.len(), MAPS);
        assert!(plain.iter().all(|(user, order)| newest.get(*user) == Some(*order)));
        assert_eq!(newest.get(UserId(u64::MAX)), None);
        let fullest = newest.maps.iter().map(FxHashMap::len).max();
        assert!(fullest.is_some_and(|fullest| fullest < 2 * 4 * ONE_MAP_USERS / MAPS), "they are spread: {fullest:?}");
    }
}
