//! Leaving memory: what is long over and has nothing open makes room. Its orders stay in the journal.

use smallvec::smallvec;

use super::command::Decision;
use super::event::{ActivityRetired, Event};
use super::sale::Sale;
use crate::ids::UnixMillis;

impl Sale {
    /// The first instant at which no order is taken any more: the window's end, or the closing before it.
    #[must_use]
    pub fn ended_at_ms(&self) -> UnixMillis {
        let ends_at_ms = self.definition.ends_at_ms;
        self.closed_at_ms.map_or(ends_at_ms, |closed_at_ms| closed_at_ms.min(ends_at_ms))
    }

    /// Whether nothing is left to do here: it ended `retain_ms` ago at least, holds nothing and owes nothing back.
    #[must_use]
    pub fn is_settled(&self, now_ms: UnixMillis, retain_ms: u64) -> bool {
        now_ms >= self.ended_at_ms().plus_ms(retain_ms)
            && self.next_deadline().is_none()
            && !self.owes()
            && self.round_to_end().is_none()
    }

    pub(super) fn retire(&self, orders: u64) -> Decision {
        assert!(self.part.is_home() && self.next_deadline().is_none(), "S3: a hold ends before its activity leaves");
        assert!(self.round_to_end().is_none(), "M1: a round is refunded before its activity leaves");
        assert!(!self.owes(), "M6: what is owed back is paid back before its activity leaves");
        Decision::events(smallvec![Event::ActivityRetired(ActivityRetired { orders })])
    }
}
