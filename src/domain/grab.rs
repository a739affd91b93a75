//! Grabbing: a crowd asks a round for packets, and who is in time gets the next one, whose amount stands since the round
//! was defined. And a round's end: what nobody grabbed is refunded, once.

use std::sync::Arc;

use smallvec::smallvec;

use super::command::{Decision, Grab};
use super::event::{Event, PacketGrabbed, RoundEnded};
use super::order::{Order, OrderState, OrderView};
use super::refusal::Refusal;
use super::round::Round;
use super::sale::{Phase, Sale};
use super::slots::Slots;
use crate::ids::{Cents, SkuIndex, UnixMillis};

impl Sale {
    /// The checks stand in the contract's order of precedence.
    pub(super) fn grab(&self, command: &Grab, now_ms: UnixMillis) -> Result<Decision, Refusal> {
        let own = || self.orders.of_user(command.user);
        if let Some(key) = command.key
            && let Some((number, _)) = own().find(|(_, grab)| grab.key == Some(key))
        {
            // A grab has no body, so one key asks for one thing.
            return Ok(Decision::existing(number, true));
        }
        match self.phase(now_ms) {
            Phase::Scheduled => {
                return Err(Refusal::NotStarted { starts_at_ms: self.definition.next_start_ms(now_ms) });
            }
            Phase::Ended => return Err(Refusal::Ended),
            Phase::Paused => return Err(Refusal::Paused),
            Phase::Running => {}
        }
        let index = index_of(self.definition.round_at(now_ms).expect("in a running phase a round runs"));
        let mine: Vec<u32> = own().filter(|(_, grab)| grab.sku == index).map(|(number, _)| number).collect();
        if mine.len() >= self.definition.per_user_limit.0 as usize {
            return Err(Refusal::LimitReached { orders: mine });
        }
        let slots = self.sku(index).free.lowest(1).ok_or(Refusal::SoldOut)?;
        let slot = slots.ranges()[0].first;
        if !self.round(index).plan.has(slot) {
            // A round that was split anew has come here before the word of it.
            return Err(Refusal::SoldOut);
        }
        let grab = self.orders.count().checked_add(1).ok_or(Refusal::TooLarge { what: "a shard's 2^32 grabs" })?;
        let event = PacketGrabbed {
            grab,
            user: command.user,
            round: index,
            slot,
            amount_cents: Cents(self.round(index).plan.cents(slot)),
            key: command.key,
        };
        Ok(Decision { events: smallvec![Event::PacketGrabbed(event)], order: Some(grab), ..Decision::default() })
    }

    pub(super) fn apply_grabbed(&mut self, at_ms: UnixMillis, event: &PacketGrabbed) {
        assert_eq!(event.grab, self.orders.count() + 1, "U2: a shard's grabs are numbered without a gap");
        let slots = Slots::range(event.slot, 1);
        let sku = self.sku_mut(event.round);
        sku.free.remove(&slots);
        sku.sold += 1;
        let round = self.round_mut(event.round);
        assert!(!round.is_over, "M1: what was refunded is grabbed by nobody");
        round.granted += 1;
        round.granted_cents += event.amount_cents.0;
        self.orders.push(Order {
            user: event.user,
            held_at_ms: at_ms,
            expires_at_ms: at_ms,
            amount_cents: event.amount_cents,
            slots,
            reference: None,
            key: event.key,
            previous_of_user: 0,
            sku: event.round,
            // A grab is final: it is what a paid order is, bought for nothing.
            state: OrderState::Paid,
        });
    }

    /// The first round that is over and not refunded yet, at home, with the instant of its end: all rounds end where the
    /// activity is closed.
    #[must_use]
    pub fn round_to_end(&self) -> Option<(SkuIndex, UnixMillis)> {
        let left = self.rounds.iter().enumerate().filter(|(_, round)| self.part.is_home() && !round.is_over);
        let ends = left.filter_map(|(number, _)| Some((index_of(number), self.round_ends_at_ms(number)?)));
        ends.min_by_key(|(_, ends_at_ms)| *ends_at_ms)
    }

    /// When a round ends: as defined, or by the closing before that.
    fn round_ends_at_ms(&self, number: usize) -> Option<UnixMillis> {
        let ends_at_ms = self.definition.packets.as_deref()?.rounds.get(number)?.ends_at_ms;
        Some(self.closed_at_ms.map_or(ends_at_ms, |closed| closed.min(ends_at_ms)))
    }

    /// Refunds what nobody grabbed, once all of it is here: the caller has gathered it. Nothing where the round is refunded
    /// already, or goes on, or this is not its activity's home.
    pub(super) fn end_round(&self, index: SkuIndex, now_ms: UnixMillis) -> Decision {
        let number = usize::from(index.0);
        let open = self.rounds.get(number).filter(|round| self.part.is_home() && !round.is_over);
        let Some(round) = open.filter(|_| self.round_ends_at_ms(number).is_some_and(|at| at <= now_ms)) else {
            return Decision::default();
        };
        let free = &self.sku(index).free;
        let slots = free.highest(free.count()).unwrap_or_default();
        let refunded_cents = Cents(slots.iter().map(|slot| round.plan.cents(slot)).sum());
        let ended = RoundEnded { round: index, slots, refunded_cents, seed: round.plan.seed };
        Decision::events(smallvec![Event::RoundEnded(ended)])
    }

    pub(super) fn apply_round_ended(&mut self, event: &RoundEnded) {
        assert!(self.part.is_home(), "M1: a round ends at its activity's home");
        self.sku_mut(event.round).free.remove(&event.slots);
        let round = self.round_mut(event.round);
        assert!(!round.is_over, "M1: a round is refunded once");
        round.is_over = true;
        round.refunded = event.slots.count();
        round.refunded_cents = event.refunded_cents.0;
    }

    /// The rounds of red packets as this part knows them; none of a flash sale.
    #[must_use]
    pub fn rounds(&self) -> &[Round] {
        &self.rounds
    }

    /// Which packet of which round a grab is; `None` of an order.
    #[must_use]
    pub fn packet_of(&self, grab: &OrderView) -> Option<(usize, u32)> {
        let number = self.sku_ids().position(|(_, known, _)| *known == grab.sku_id)?;
        let plan = &self.rounds.get(number)?.plan;
        let slot = grab.slots.ranges().first()?.first;
        plan.has(slot).then(|| (number, plan.packet(slot)))
    }

    /// Splits every round that is not over, which its first grab would do else.
    pub fn split_rounds(&self) {
        self.rounds.iter().filter(|round| !round.is_over).for_each(|round| _ = round.plan.amounts());
    }

    /// Takes over the home's plans, where this part has the same: what they split is then in memory once.
    pub fn share_plans(&mut self, home: &Self) {
        for (own, home) in self.rounds.iter_mut().zip(&home.rounds) {
            if own.plan == home.plan {
                own.plan = Arc::clone(&home.plan);
            }
        }
        if self.version == home.version {
            self.definition = Arc::clone(&home.definition);
        }
    }

    fn round(&self, index: SkuIndex) -> &Round {
        &self.rounds[usize::from(index.0)]
    }

    fn round_mut(&mut self, index: SkuIndex) -> &mut Round {
        &mut self.rounds[usize::from(index.0)]
    }
}

/// A round's number is the index of what counts its packets.
fn index_of(round: usize) -> SkuIndex {
    SkuIndex(u16::try_from(round).expect("an activity's rounds are bounded"))
}
