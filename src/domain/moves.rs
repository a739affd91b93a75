//! Moving free slots between the parts of an activity. A move is one event with two ends (S5): the giver's, which it
//! decides and applies like any other, and the taker's, which takes it in when it hears of it. Free slots are a set, so
//! it does not matter what else the taker did in between.

use smallvec::smallvec;

use super::command::{Decision, MoveSlots};
use super::event::{Control, Event, STOCK_RANGES_MAX, SlotsMoved};
use super::sale::{Sale, Sku};
use super::slots::Slots;
use crate::ids::{SkuIndex, UnixMillis};

impl Sale {
    /// Gives the highest free slots away, so that here too the lowest go on being sold first.
    pub(super) fn give(&self, command: &MoveSlots) -> Decision {
        let Some(sku) = self.skus.get(usize::from(command.sku.0)) else { return Decision::default() };
        let slots = sku.free.highest_within(command.units, STOCK_RANGES_MAX);
        if slots.count() == 0 {
            return Decision::default();
        }
        let moved = SlotsMoved { to: command.to, sku: command.sku, slots };
        Decision::events(smallvec![Event::SlotsMoved(moved)])
    }

    pub(super) fn apply_given(&mut self, event: &SlotsMoved) {
        assert!(event.to != self.shard, "S5: a move has two ends");
        self.sku_mut(event.sku).free.remove(&event.slots);
    }

    /// Takes the other end of a move in.
    ///
    /// # Panics
    /// Where one of the slots is here already (S2).
    pub fn receive(&mut self, sku: SkuIndex, slots: &Slots) {
        self.sku_mut(sku).free.add(slots);
    }

    /// What the other parts take over from this one, the home; all its SKUs are named, whatever a part knows already.
    #[must_use]
    pub fn control(&self) -> Control {
        Control {
            change_id: self.last_change_id,
            version: self.version,
            definition: Some(self.definition().clone()),
            paused: self.paused,
            closed: self.closed,
            skus: self.skus.iter().map(|sku| sku.sku_id.clone()).collect(),
        }
    }

    /// Does as the home does; nothing where that is so already, or where this part has heard of a later change before.
    pub(super) fn follow(&self, home: &Control) -> Decision {
        let same = (home.version, home.paused, home.closed) == (self.version, self.paused, self.closed);
        if same || home.change_id < self.last_change_id {
            return Decision::default();
        }
        let mut control = home.clone();
        if home.version == self.version {
            control.definition = None;
        }
        control.skus.drain(..self.skus.len().min(home.skus.len()));
        Decision::events(smallvec![Event::HomeFollowed(Box::new(control))])
    }

    pub(super) fn apply_followed(&mut self, at_ms: UnixMillis, control: &Control) {
        assert!(!self.part.is_home(), "U4: a home follows nobody");
        assert!(control.version >= self.version, "U4: a definition's versions only rise");
        assert!(control.closed || !self.closed, "U4: a sale that was closed stays closed");
        assert_eq!(
            control.definition.is_some(),
            control.version > self.version,
            "U4: a new version is a new definition"
        );
        // Named before they are listed: an index means the same SKU in every part.
        self.skus.extend(control.skus.iter().cloned().map(Sku::unlisted));
        if let Some(definition) = &control.definition {
            self.list_skus(definition);
            self.take_rounds(definition);
        }
        self.version = control.version;
        self.paused = control.paused;
        if control.closed {
            self.close(at_ms);
        }
        self.last_change_id = self.last_change_id.max(control.change_id);
    }
}
