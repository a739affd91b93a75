//! Pausing, resuming and closing a sale. Holds go on in all of them.

use smallvec::smallvec;

use super::command::{Decision, SwitchSale};
use super::event::{Event, SaleSwitched, Switch};
use super::refusal::Refusal;
use super::sale::Sale;
use crate::ids::UnixMillis;

impl Sale {
    pub(super) fn switch(&self, command: &SwitchSale) -> Result<Decision, Refusal> {
        if self.replay_of_change(command.request.by, command.request.key)? {
            return Ok(Decision::replayed());
        }
        let stands = match command.to {
            Switch::Closed => self.closed,
            _ if self.closed => return Err(Refusal::ActivityClosed),
            Switch::Paused => self.paused,
            Switch::Resumed => !self.paused,
        };
        if stands {
            return Ok(Decision::stands(&command.request));
        }
        let event = SaleSwitched { to: command.to, change: command.request.change() };
        Ok(Decision::events(smallvec![Event::SaleSwitched(Box::new(event))]))
    }

    pub(super) fn apply_switched(&mut self, at_ms: UnixMillis, event: &SaleSwitched) {
        match event.to {
            Switch::Paused => self.paused = true,
            Switch::Resumed => self.paused = false,
            Switch::Closed => self.close(at_ms),
        }
        self.remember(&event.change);
    }

    pub(super) fn close(&mut self, at_ms: UnixMillis) {
        self.closed = true;
        self.closed_at_ms.get_or_insert(at_ms);
    }
}
