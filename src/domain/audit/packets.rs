//! The auditor's books of red packets: each round of an activity over all its parts (M1), and what a grab or a round's end
//! may be (M2, M4). The amounts are drawn here from the seed, once a round, and never taken from the sale.

use std::sync::Arc;

use super::books::{Books, OrderBook};
use super::report::{Id, Report};
use crate::domain::definition::Definition;
use crate::domain::event::{ActivityRedefined, Event, PacketGrabbed, RoundEnded, StockChange};
use crate::domain::order::OrderState;
use crate::domain::round::Plan;
use crate::domain::sale::Sale;
use crate::domain::slots::Slots;
use crate::ids::{Seq, UnixMillis};

/// One round over all parts.
pub(super) struct RoundBook {
    plan: Arc<Plan>,
    /// What the seed gives, from the first grab to the round's end.
    amounts: Box<[u32]>,
    granted: u32,
    granted_cents: u64,
    /// What the packets hold, by the seed, that nobody has.
    remaining_cents: u64,
    refunded_cents: u64,
    is_over: bool,
}

impl RoundBook {
    fn to_come(plan: &Arc<Plan>) -> Self {
        Self {
            plan: Arc::clone(plan),
            amounts: Box::default(),
            granted: 0,
            granted_cents: 0,
            remaining_cents: plan.terms.total_cents,
            refunded_cents: 0,
            is_over: false,
        }
    }

    /// What is in the packet that a slot is; `None` where it is none of the round's.
    fn cents(&mut self, slot: u32) -> Option<u64> {
        if !self.plan.has(slot) {
            return None;
        }
        if self.amounts.is_empty() {
            self.amounts = self.plan.terms.split(self.plan.seed).ok()?.into();
        }
        self.amounts.get(self.plan.packet(slot) as usize).copied().map(u64::from)
    }

    fn sum(&mut self, slots: impl Iterator<Item = u32>) -> Option<u64> {
        let mut sum = 0;
        for slot in slots {
            sum += self.cents(slot)?;
        }
        Some(sum)
    }

    /// Total = granted + remaining + refunded: at every event (M1).
    fn balances(&self, round: usize, seq: Seq, report: &mut Report) -> bool {
        let Self { granted_cents, remaining_cents, refunded_cents, .. } = self;
        let total = self.plan.terms.total_cents;
        let holds = granted_cents + remaining_cents + refunded_cents == total;
        report.check(Id::M1, holds, || {
            format!(
                "event {seq}: round {round}: total {total} against granted {granted_cents} + remaining \
                 {remaining_cents} + refunded {refunded_cents}"
            )
        });
        holds
    }
}

/// The rounds of a definition that stands; none of a flash sale.
pub(super) fn rounds_of(definition: &Definition) -> Vec<RoundBook> {
    let plans = (0..definition.skus.len()).map_while(|round| definition.plan(round));
    plans.map(RoundBook::to_come).collect()
}

/// Takes over what a redefinition says: a round that stands goes on.
pub(super) fn replan(rounds: &mut Vec<RoundBook>, definition: &Definition) {
    let fresh = rounds_of(definition);
    rounds.truncate(fresh.len());
    for (number, book) in fresh.into_iter().enumerate() {
        match rounds.get_mut(number) {
            Some(known) if known.plan == book.plan => {}
            Some(known) => *known = book,
            None => rounds.push(book),
        }
    }
}

/// Whether two definitions plan the same: what they say may be the same without.
pub(super) fn plan_alike(one: &Definition, other: &Definition) -> bool {
    let plans = |of: &Definition| (0..of.skus.len()).map(|round| of.plan(round).cloned()).collect::<Vec<_>>();
    plans(one) == plans(other)
}

/// What is wrong with the rounds of a definition by themselves, and under which id.
fn fault_of(definition: &Definition) -> Option<(Id, String)> {
    let packets = definition.packets.as_deref()?;
    let said: Vec<_> = definition.skus.iter().map(|sku| (sku.sku_id.clone(), sku.stock.0)).collect();
    let due: Vec<_> =
        (0..).zip(&packets.rounds).map(|(n, round)| (Definition::sku_of_round(n), round.packets)).collect();
    if said != due || due.is_empty() {
        return Some((Id::S1, "its rounds and what counts their packets differ".to_owned()));
    }
    for number in 0..packets.rounds.len() {
        let plan = definition.plan(number);
        if plan.map(|plan| plan.terms) != definition.terms(number) {
            return Some((Id::M4, format!("round {number} is planned otherwise than it is defined")));
        }
        if let Some(Err(why)) = plan.map(|plan| plan.terms.check()) {
            return Some((Id::M1, format!("round {number} cannot be split: {why}")));
        }
        if plan.is_none_or(|plan| plan.first_slot < 1 || plan.first_slot.checked_add(plan.terms.packets).is_none()) {
            return Some((Id::S2, format!("round {number} has no slots")));
        }
    }
    None
}

impl Books {
    /// Whether the rounds can stand that the shard begins with.
    pub(super) fn open_rounds(&self, seq: Seq, report: &mut Report) -> bool {
        if self.definition.packets.is_none() {
            return true;
        }
        let late = || {
            let mut plans = (0..self.definition.skus.len()).filter_map(|round| self.definition.plan(round));
            plans.any(|plan| plan.first_slot != 1)
        };
        let fault = fault_of(&self.definition);
        let fault = fault.or_else(|| late().then(|| (Id::S2, "a round begins with other slots than 1".to_owned())));
        self.judge_rounds(seq, fault, report)
    }

    fn judge_rounds(&self, seq: Seq, fault: Option<(Id, String)>, report: &mut Report) -> bool {
        let sound = fault.is_none();
        match fault {
            Some((id, why)) => report.broken(id, format!("event {seq}: {why}")),
            None => report.held(Id::M4, self.definition.skus.len() as u64),
        }
        sound
    }

    /// Whether the rounds may become those of a redefinition: one that has started stays, and one that is planned anew has
    /// exactly its packets' slots, which nobody ever had.
    pub(super) fn replanned(
        &self,
        seq: Seq,
        at_ms: UnixMillis,
        event: &ActivityRedefined,
        rounds: &[RoundBook],
        report: &mut Report,
    ) -> bool {
        let (old, new) = (&*self.definition, &event.definition);
        if old.packets.is_none() && new.packets.is_none() {
            return true;
        }
        let fault = match (old.packets.is_some(), new.packets.is_some()) {
            (true, true) => fault_of(new),
            _ => Some((Id::U4, "an activity becomes one of another kind".to_owned())),
        };
        let fault = fault.or_else(|| fault_of_started(old, new, at_ms, rounds));
        let fault = fault.or_else(|| fault_of_slots(old, new, &event.stock));
        self.judge_rounds(seq, fault, report)
    }

    /// Enters a grab; `false` where it cannot be true. A grab that breaks several rules is named by the first.
    pub(super) fn grabbed(
        &mut self,
        seq: Seq,
        at_ms: UnixMillis,
        event: &PacketGrabbed,
        rounds: &mut [RoundBook],
        report: &mut Report,
    ) -> bool {
        let (grab, user, number) = (event.grab, event.user, usize::from(event.round.0));
        let said = self.definition.packets.as_deref().and_then(|packets| packets.rounds.get(number));
        let window = said.map(|round| round.starts_at_ms..round.ends_at_ms);
        let open = window.is_some_and(|window| window.contains(&at_ms)) && !self.is_paused() && !self.is_closed();
        report.check(Id::U4, open, || format!("event {seq}: grab {grab} is accepted while its round is not running"));
        let numbered = usize::try_from(grab).is_ok_and(|grab| grab == self.orders.len() + 1);
        report.check(Id::U2, numbered, || format!("event {seq}: grab {grab} is not the shard's next number"));
        let own = self.serves(user);
        if !self.is_whole() {
            report.check(Id::U1, own, || format!("event {seq}: user {user} grabs at another part than its own"));
        }
        let once = self.is_first(seq, user, event.key, grab, report);
        if !open || !numbered || !own || !once {
            return false;
        }
        let free = self.skus.get_mut(number).is_some_and(|share| {
            let slots = Slots::range(event.slot, 1);
            event.slot > 0 && share.take(&slots, grab) && share.buy(&slots, grab)
        });
        report.check(Id::S2, free, || format!("event {seq}: grab {grab} takes a slot that is not free"));
        if !free || !self.grab_fits(seq, event, rounds, report) {
            return false;
        }
        self.orders.push(OrderBook {
            user,
            sku: number,
            slots: Slots::range(event.slot, 1),
            amount_cents: event.amount_cents,
            expires_at_ms: at_ms,
            state: OrderState::Paid,
            paid_by: 0,
            keeps: false,
        });
        let (count, cents) = self.granted.entry(number).or_default();
        (*count, *cents) = (*count + 1, *cents + event.amount_cents.0);
        true
    }

    /// Whether the amount is what the round promises, and the user may have it (M1, M2, M4).
    fn grab_fits(&mut self, seq: Seq, event: &PacketGrabbed, rounds: &mut [RoundBook], report: &mut Report) -> bool {
        let (grab, user, number) = (event.grab, event.user, usize::from(event.round.0));
        let plan = self.definition.plan(number);
        let Some(book) = rounds.get_mut(number).filter(|book| plan == Some(&book.plan)) else {
            report.broken(Id::M4, format!("event {seq}: grab {grab} is of a round that its home plans otherwise"));
            return false;
        };
        let (terms, cents) = (book.plan.terms, event.amount_cents.0);
        let within = (terms.min_cents..=terms.max_cents).contains(&cents) && book.granted < terms.packets;
        report
            .check(Id::M2, within, || format!("event {seq}: grab {grab} has {cents} cents, which no packet may hold"));
        let grabs = self.grabs_of_user.entry((user, number)).or_default();
        *grabs += 1;
        let (grabs, limit) = (*grabs, self.definition.per_user_limit.0);
        report.check(Id::M2, grabs <= limit, || {
            format!("event {seq}: user {user} has {grabs} packets of round {number}, the limit is {limit}")
        });
        if !within || grabs > limit {
            return false;
        }
        let due = book.cents(event.slot);
        report.check(Id::M4, due == Some(cents), || {
            format!("event {seq}: grab {grab} has {cents} cents, and its packet in round {number} holds {due:?}")
        });
        let Some(due) = due.filter(|due| *due == cents) else { return false };
        book.granted += 1;
        book.granted_cents += cents;
        book.remaining_cents = book.remaining_cents.saturating_sub(due);
        book.balances(number, seq, report)
    }

    /// Enters the end of a round; `false` where it cannot be true.
    pub(super) fn round_ended(
        &mut self,
        seq: Seq,
        at_ms: UnixMillis,
        event: &RoundEnded,
        rounds: &mut [RoundBook],
        report: &mut Report,
    ) -> bool {
        let number = usize::from(event.round.0);
        let at_home = self.part().is_home();
        report.check(Id::U4, at_home, || format!("event {seq}: round {number} ends elsewhere than at its home"));
        let said = self.definition.packets.as_deref().and_then(|packets| packets.rounds.get(number));
        let due = said.is_some_and(|round| at_ms >= round.ends_at_ms || self.is_closed());
        report.check(Id::U4, due, || format!("event {seq}: round {number} is refunded before its end"));
        if !at_home || !due {
            return false;
        }
        let open = rounds.get_mut(number).filter(|book| !book.is_over);
        report.check(Id::M1, open.is_some(), || format!("event {seq}: round {number} is refunded a second time"));
        let Some(book) = open else { return false };
        let well_formed = event.slots.is_well_formed();
        let free = well_formed && self.skus.get_mut(number).is_some_and(|share| share.end(&event.slots));
        report.check(Id::S2, free, || format!("event {seq}: of round {number} slots are refunded that are not free"));
        if !free {
            return false;
        }
        // What another part still has is missing here.
        let packets = book.plan.terms.packets;
        let all = u64::from(event.slots.count()) + u64::from(book.granted) == u64::from(packets);
        let due = if event.slots.count() == packets {
            Some(book.plan.terms.total_cents)
        } else {
            book.sum(event.slots.iter())
        };
        let exact = all && due == Some(event.refunded_cents.0);
        report.check(Id::M1, exact, || {
            format!(
                "event {seq}: of the {packets} packets of round {number} {} are granted and {} refunded with {} cents; \
                 they hold {due:?}",
                book.granted,
                event.slots.count(),
                event.refunded_cents
            )
        });
        if !exact {
            return false;
        }
        (book.refunded_cents, book.is_over) = (event.refunded_cents.0, true);
        book.remaining_cents = book.remaining_cents.saturating_sub(event.refunded_cents.0);
        book.amounts = Box::default();
        book.balances(number, seq, report)
    }

    /// Holds what the sale shows of the round of `event` against the books.
    pub(super) fn compare_rounds(
        &self,
        sale: &Sale,
        event: &Event,
        rounds: &[RoundBook],
        seq: Seq,
        report: &mut Report,
    ) {
        let number = match event {
            Event::PacketGrabbed(event) => usize::from(event.round.0),
            Event::RoundEnded(event) => usize::from(event.round.0),
            _ => return,
        };
        let Some(book) = rounds.get(number) else { return };
        let (granted, granted_cents) = self.granted.get(&number).copied().unwrap_or_default();
        let refunded_cents = if self.part().is_home() { book.refunded_cents } else { 0 };
        let ours = (granted, granted_cents, refunded_cents, book.is_over && self.part().is_home());
        let shown = sale.rounds().get(number);
        let shown = shown.map(|round| (round.granted, round.granted_cents, round.refunded_cents, round.is_over));
        report.check(Id::M1, shown == Some(ours), || {
            format!("event {seq}: round {number} is shown as {shown:?}, and by the books it is {ours:?}")
        });
    }

    /// Whether the sale plans its rounds as it is defined.
    pub(super) fn compare_plans(&self, sale: &Sale, seq: Seq, report: &mut Report) {
        let planned = (0..self.definition.skus.len()).filter_map(|round| self.definition.plan(round));
        if self.definition.packets.is_some() || !sale.rounds().is_empty() {
            let same = planned.eq(sale.rounds().iter().map(|round| &round.plan));
            report.check(Id::M4, same, || format!("event {seq}: the sale has other rounds than it is defined with"));
        }
    }
}

/// The checks that walk everything once: of each round, what the grabs have, the free packets hold and was refunded (M1).
pub(super) fn close(rounds: &mut [RoundBook], parts: &[&(Sale, Books)], report: &mut Report) {
    let mut granted = vec![(0u64, 0u64); rounds.len()];
    for (sale, _) in parts {
        for (_, grab) in sale.orders.from(1) {
            let of_round = granted.get_mut(usize::from(grab.sku.0));
            of_round
                .into_iter()
                .for_each(|(count, cents)| (*count, *cents) = (*count + 1, *cents + grab.amount_cents.0));
        }
    }
    for (number, book) in rounds.iter_mut().enumerate() {
        let terms = book.plan.terms;
        let free = || parts.iter().filter_map(|(sale, _)| sale.skus.get(number)).map(|sku| u64::from(sku.free.count()));
        let refunded = || parts.iter().filter_map(|(sale, _)| sale.rounds().get(number));
        let (count, cents) = granted[number];
        let packets = count + free().sum::<u64>() + refunded().map(|round| u64::from(round.refunded)).sum::<u64>();
        let slots = parts.iter().filter_map(|(sale, _)| sale.skus.get(number)).flat_map(|sku| sku.free.ranges());
        let remaining = match free().sum() {
            0 => Some(0),
            untouched if untouched == u64::from(terms.packets) => Some(terms.total_cents),
            _ => book.sum(slots.flat_map(|range| range.first..=range.last())),
        };
        let refunded_cents: u64 = refunded().map(|round| round.refunded_cents).sum();
        let total = remaining.map(|remaining| cents + remaining + refunded_cents);
        let holds = packets == u64::from(terms.packets) && total == Some(terms.total_cents);
        report.check(Id::M1, holds, || {
            format!(
                "round {number}: {} packets with {} cents against {packets}: granted {cents} + remaining {remaining:?} \
                 + refunded {refunded_cents}",
                terms.packets, terms.total_cents
            )
        });
    }
}

/// How many rounds are not refunded.
pub(super) fn open(rounds: &[RoundBook]) -> usize {
    rounds.iter().filter(|book| !book.is_over).count()
}

/// What started, or was refunded, stays as it is: its plan, without which its commitment means nothing, and its window.
fn fault_of_started(
    old: &Definition,
    new: &Definition,
    at_ms: UnixMillis,
    rounds: &[RoundBook],
) -> Option<(Id, String)> {
    let (was, is) = (old.packets.as_deref()?, new.packets.as_deref()?);
    for (number, (round, book)) in was.rounds.iter().zip(rounds).enumerate() {
        if at_ms < round.starts_at_ms && !book.is_over && book.granted == 0 {
            continue;
        }
        if new.plan(number) != Some(&book.plan) {
            return Some((Id::M4, format!("round {number} has started and is planned anew")));
        }
        let after = is.rounds.get(number)?;
        let is_past = at_ms >= round.ends_at_ms || book.is_over;
        if after.starts_at_ms != round.starts_at_ms || (is_past && after.ends_at_ms != round.ends_at_ms) {
            return Some((Id::U4, format!("round {number} has a window that is past, and gets another")));
        }
    }
    None
}

/// A round that is planned anew gets its packets' slots and loses all others; one that stands keeps what it has.
fn fault_of_slots(old: &Definition, new: &Definition, changes: &[StockChange]) -> Option<(Id, String)> {
    let of = |definition: &Definition, round| {
        definition.plan(round).map(|plan| Slots::range(plan.first_slot, plan.terms.packets))
    };
    for number in 0..old.skus.len().max(new.skus.len()) {
        let stands = old.plan(number) == new.plan(number);
        let (gone, come) = if stands { (None, None) } else { (of(old, number), of(new, number)) };
        let (mut removed, mut added) = (None, None);
        for change in changes {
            match change {
                StockChange::Added { sku, slots } if usize::from(sku.0) == number => added = Some(slots.clone()),
                StockChange::Removed { sku, slots } if usize::from(sku.0) == number => removed = Some(slots.clone()),
                _ => {}
            }
        }
        if (removed, added) != (gone, come) {
            return Some((Id::S2, format!("round {number} gets other slots than its packets are, or keeps old ones")));
        }
    }
    None
}
