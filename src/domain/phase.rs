//! Phases: what an activity is doing at some instant, by its window or its rounds, and by what operators made of it.

use super::definition::Definition;
use crate::ids::UnixMillis;

/// What a sale is doing at some instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// It opens later.
    Scheduled,
    /// Orders are taken.
    Running,
    /// An operator paused it.
    Paused,
    /// Its window is over, or an operator closed it.
    Ended,
}

impl Phase {
    /// What a sale is doing at that instant. Closing outlasts everything; a pause shows only inside the window.
    #[must_use]
    pub fn at(now_ms: UnixMillis, definition: &Definition, paused: bool, closed: bool) -> Self {
        if closed {
            Self::Ended
        } else if definition.packets.is_some() {
            match definition.round_at(now_ms) {
                Some(_) if paused => Self::Paused,
                Some(_) => Self::Running,
                None if definition.next_start_ms(now_ms) < definition.ends_at_ms => Self::Scheduled,
                None => Self::Ended,
            }
        } else if now_ms < definition.starts_at_ms {
            Self::Scheduled
        } else if now_ms >= definition.ends_at_ms {
            Self::Ended
        } else if paused {
            Self::Paused
        } else {
            Self::Running
        }
    }

    /// The phase's name in the contract.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Ended => "ended",
        }
    }
}
