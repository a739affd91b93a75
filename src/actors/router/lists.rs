//! Lists of activities, and what is counted over all of them. None of it is on the hot path.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, PoisonError};

use super::Router;
use crate::actors::door::Door;
use crate::domain::definition::Shop;
use crate::domain::{Definition, Phase};
use crate::ids::{ActivityId, SkuId, UnixMillis, UserId};

/// All doors, in the order of their activities' ids. Shops' are apart: very many, and in few lists.
#[derive(Default)]
pub(super) struct Doors {
    public: BTreeMap<ActivityId, Arc<Door>>,
    shops: BTreeMap<ActivityId, Arc<Door>>,
}

impl Doors {
    pub fn add(&mut self, door: &Arc<Door>) {
        let doors = if door.card().definition.shop().is_some() { &mut self.shops } else { &mut self.public };
        doors.insert(door.activity_id, Arc::clone(door));
    }

    fn all(&self) -> impl Iterator<Item = &Arc<Door>> {
        self.public.values().chain(self.shops.values())
    }
}

/// Whose activities a list has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// Those that everybody may find: all but shops' packets.
    Everybodys,
    /// All.
    All,
    /// One shop's packets.
    Shop(UserId),
}

impl Whose {
    fn has(self, listing: &Listing) -> bool {
        match self {
            // The doors that it looks at are those.
            Self::Everybodys | Self::All => true,
            Self::Shop(merchant) => listing.definition.shop().is_some_and(|shop| shop.merchant == merchant),
        }
    }
}

/// What a list says of an activity.
#[derive(Clone, Debug)]
pub struct Listing {
    /// Which.
    pub activity_id: ActivityId,
    /// What it is.
    pub definition: Arc<Definition>,
    /// The definition's version.
    pub version: u64,
    /// What it is doing.
    pub phase: Phase,
    /// Whether an operator paused it.
    pub paused: bool,
}

impl Router {
    /// Activities in the order of their ids, from the first one after `after`.
    #[must_use]
    pub fn list(
        &self,
        whose: Whose,
        after: ActivityId,
        wanted: impl Fn(&Listing) -> bool,
        limit: usize,
    ) -> Vec<Listing> {
        let now_ms = self.now_ms();
        let doors = self.0.doors.read().unwrap_or_else(PoisonError::into_inner);
        let page = |doors: &BTreeMap<ActivityId, Arc<Door>>| -> Vec<Listing> {
            let later = doors.range((Bound::Excluded(after), Bound::Unbounded)).map(|(_, door)| listing(door, now_ms));
            later.filter(|listing| whose.has(listing) && wanted(listing)).take(limit).collect()
        };
        let mut found = if matches!(whose, Whose::Shop(_)) { Vec::new() } else { page(&doors.public) };
        if whose != Whose::Everybodys {
            found.extend(page(&doors.shops));
            found.sort_unstable_by_key(|listing| listing.activity_id);
            found.truncate(limit);
        }
        found
    }

    /// The shop that made an activity, where one did; `None` where there is no such activity.
    #[must_use]
    pub fn shop_of(&self, activity_id: ActivityId) -> Option<Option<Shop>> {
        self.door(activity_id).map(|door| door.card().definition.shop().cloned())
    }

    /// How many activities there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.entrances.len()
    }

    /// How many of them have left memory.
    #[must_use]
    pub fn count_left(&self) -> usize {
        let doors = self.0.doors.read().unwrap_or_else(PoisonError::into_inner);
        doors.all().filter(|door| door.has_left()).count()
    }

    /// Shows every listed SKU with the live count of its free units.
    pub fn each_free_count(&self, mut each: impl FnMut(ActivityId, &SkuId, u32)) {
        let doors = self.0.doors.read().unwrap_or_else(PoisonError::into_inner);
        // Very many shops' packets would be very many series.
        for (activity_id, door) in &doors.public {
            door.card().skus.iter().for_each(|(sku_id, units)| each(*activity_id, sku_id, units.all()));
        }
    }

    /// Activities that ended so long ago and hold nothing, at most `limit`.
    pub(in crate::actors) fn settled(&self, retain_ms: u64, limit: usize) -> Vec<ActivityId> {
        let now_ms = self.now_ms();
        let doors = self.0.doors.read().unwrap_or_else(PoisonError::into_inner);
        let settled = doors.all().filter(|door| door.seems_settled(now_ms, retain_ms));
        settled.map(|door| door.activity_id).take(limit).collect()
    }
}

fn listing(door: &Door, now_ms: UnixMillis) -> Listing {
    let card = door.card();
    Listing {
        activity_id: door.activity_id,
        definition: Arc::clone(&card.definition),
        version: card.version,
        phase: card.phase(now_ms),
        paused: card.paused,
    }
}
