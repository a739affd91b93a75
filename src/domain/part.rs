//! Parts: an activity that is spread over several shards, and who is served by which.
//!
//! Part 0 is the activity's home. Fresh stock arrives there, operators' changes are decided there, and slots move
//! between the other parts only through it. A user is served by one part for good, so every rule that concerns one user
//! (limit, keys, own orders) stays within a shard.

use serde::{Deserialize, Serialize};

use crate::ids::{ShardId, UserId};

/// Over how many shards one activity may be spread.
pub const SHARDS_MAX: u16 = 256;

/// A shard's place among those of its activity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Part {
    /// The shard that is part 0. The parts' shard numbers follow on it without a gap.
    pub home: ShardId,
    /// Which part this is; below the definition's `shards`.
    pub number: u16,
    /// How users are spread over the parts.
    pub spread: Spread,
}

/// How users are spread over an activity's parts. Journaled with the activity, because a user whose part changed would
/// have a second limit: a better function becomes another variant, and activities keep theirs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Spread {
    /// The finalizer of splitmix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014) over
    /// the user's number, the upper half of which is scaled to the number of parts.
    #[default]
    #[serde(rename = "1")]
    Splitmix,
}

impl Spread {
    /// The part that serves `user` where there are `parts`, at least one.
    #[must_use]
    pub fn part_of(self, user: UserId, parts: u16) -> u16 {
        let Self::Splitmix = self;
        let mut mixed = user.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        let scaled = ((mixed >> 32) * u64::from(parts)) >> 32;
        u16::try_from(scaled).expect("a number below 2^32 scaled to the parts is below their number")
    }
}

impl Part {
    /// The sole part of an activity of one shard.
    #[must_use]
    pub fn sole(shard: ShardId) -> Self {
        Self { home: shard, number: 0, spread: Spread::default() }
    }

    /// The shard of the part with that number.
    #[must_use]
    pub fn shard(self, number: u16) -> ShardId {
        ShardId(self.home.0 + u32::from(number))
    }

    /// The number of the part that a shard of the activity is.
    #[must_use]
    pub fn number_of(self, shard: ShardId) -> u16 {
        u16::try_from(shard.0 - self.home.0).expect("the parts' shard numbers follow on the home's")
    }

    /// Whether this is part 0.
    #[must_use]
    pub fn is_home(self) -> bool {
        self.number == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A user whose part changes gets a second limit: these stand for good.
    #[test]
    fn users_stay_where_they_are() {
        let parts = |users: [u64; 8], of| users.map(|user| Spread::Splitmix.part_of(UserId(user), of));
        assert_eq!(parts([0, 1, 2, 3, 42, 1_000_000, u64::MAX - 1, u64::MAX], 8), [7, 4, 4, 0, 5, 3, 7, 7]);
        assert_eq!(
            parts([0, 1, 2, 3, 42, 1_000_000, u64::MAX - 1, u64::MAX], 256),
            [226, 145, 151, 29, 189, 104, 243, 228]
        );
        assert_eq!(parts([0, 1, 2, 3, 4, 5, 6, u64::MAX], 1), [0; 8]);
    }

    #[test]
    fn users_spread_evenly() {
        let mut served = [0u32; 64];
        (0..64_000).for_each(|user| served[usize::from(Spread::Splitmix.part_of(UserId(user), 64))] += 1);
        assert!(served.iter().all(|users| (850..1_150).contains(users)), "{served:?}");
    }
}
