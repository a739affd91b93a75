//! What the parts of one activity write to each other. Letters between two parts arrive in the order in which they were
//! sent, and each is sent after what it tells of was handed to the journal: whatever its receiver does about it stands
//! after that in the journal.
//!
//! ```text
//!  dry part ──Need──▶ home ──Collect──▶ richest part
//!                     home ◀──Collected(slots)──
//!  dry part ◀──Grant(slots)── home                      one Need at a time
//!  parts    ◀──Follow(control)── home                   after each change that they share
//! ```

use std::sync::Arc;

use super::ack::Unanimous;
use crate::domain::event::Control;
use crate::domain::slots::Slots;
use crate::ids::SkuIndex;

/// See the file's head.
#[derive(Clone, Debug)]
pub(super) enum Letter {
    /// To the home: `part` has shoppers waiting for so many units, more than it has.
    Need {
        /// Who needs them.
        part: u16,
        /// Of which SKU.
        sku: SkuIndex,
        /// How many.
        units: u32,
    },
    /// To a part: give what you have free, at least `units` of them and at least half.
    Collect {
        /// Of which SKU.
        sku: SkuIndex,
        /// At least so many, or all there are.
        units: u32,
    },
    /// To the home: these are yours from now on; perhaps none.
    Collected {
        /// From which part.
        part: u16,
        /// Of which SKU.
        sku: SkuIndex,
        /// Which.
        slots: Slots,
        /// Whether there were more than one event may name.
        more: bool,
    },
    /// To the part that needed them: these are yours from now on; fewer than needed where fewer were found.
    Grant {
        /// Of which SKU.
        sku: SkuIndex,
        /// Which.
        slots: Slots,
    },
    /// To a part: the home has changed.
    Follow {
        /// What it is now.
        home: Arc<Control>,
        /// Who is told when every part has followed, durably.
        all: Arc<Unanimous>,
    },
}
