//! Placing and cancelling orders. Who wants what this part has not, but another has, waits until it is here: a shopper
//! with an order or after a packet, or a payment that came late.

use tokio::sync::oneshot;

use super::Shard;
use super::gather::Job;
use super::parked::{FETCHES_MAX, Waiting};
use crate::actors::ack::Ack;
use crate::actors::ask::{Answer, Reason, Unavailable};
use crate::actors::letter::Letter;
use crate::actors::turn::Turn;
use crate::domain::command::{CancelOrder, Command, Decision, PlaceOrder, Stamped};
use crate::domain::definition::QUANTITY_MAX;
use crate::domain::event::Outcome;
use crate::domain::{Event, Refusal};
use crate::ids::SkuIndex;

/// Units that one fetch asks for at most. No less than any one order wants; a larger crowd is served by the share that
/// the home gives beyond what is asked for.
const FETCH_UNITS_MAX: u32 = 4 * QUANTITY_MAX;

impl Shard {
    pub(super) fn place(&mut self, command: PlaceOrder, reply: oneshot::Sender<Answer>, turn: &mut Turn) {
        let asked = Stamped { at_ms: turn.at_ms, command: Command::PlaceOrder(command) };
        self.serve(Waiting { asked, reply, units: 0, fetches: 0 }, turn);
    }

    /// Decides what wants units, an order, a grab or a late payment, or lets it wait for units of other parts.
    pub(super) fn serve(&mut self, mut waiting: Waiting, turn: &mut Turn) {
        match self.decide_patiently(&mut waiting, turn) {
            Err(Refusal::SoldOut) => match self.wanted(&waiting.asked) {
                Some(wanted) if self.has_siblings() && !self.is_sold_out_everywhere(wanted, turn) => {
                    self.park(waiting, wanted, turn);
                }
                _ => self.go_without(waiting, turn),
            },
            // Who came first and waits is served first.
            Ok(decision) if takes_free_units(&decision) && self.is_waited_for(&waiting.asked) => {
                let wanted = self.wanted(&waiting.asked).expect("what is waited for is a SKU that there is");
                self.park(waiting, wanted, turn);
            }
            decided => self.conclude(waiting, decided, turn),
        }
    }

    pub(super) fn cancel(&mut self, command: CancelOrder, reply: oneshot::Sender<Answer>, turn: &mut Turn) {
        let decided = self.decide(turn.at_ms, Command::CancelOrder(command));
        match decided {
            Ok(decision) => self.answer_order(decision, reply, turn),
            Err(refusal) => self.refuse(reply, refusal.into(), turn),
        }
    }

    /// Decides what wants units. In a mass expiry, what has lapsed and is not released yet must refuse nobody.
    fn decide_patiently(&mut self, waiting: &mut Waiting, turn: &mut Turn) -> Result<Decision, Refusal> {
        waiting.asked.at_ms = turn.at_ms;
        loop {
            match self.state.decide(&waiting.asked) {
                Err(Refusal::SoldOut | Refusal::LimitReached { .. }) if self.is_due(turn.at_ms) => {
                    self.expire(turn);
                }
                decided => return decided,
            }
        }
    }

    /// There are no units for it: an order is refused, a payment is owed back.
    fn go_without(&mut self, mut waiting: Waiting, turn: &mut Turn) {
        match &mut waiting.asked.command {
            Command::PayOrder(command) => {
                command.may_wait = false;
                let decided = self.decide_patiently(&mut waiting, turn);
                self.conclude(waiting, decided, turn);
            }
            _ => self.refuse(waiting.reply, Refusal::SoldOut.into(), turn),
        }
    }

    /// Carries a decision out and answers.
    fn conclude(&mut self, waiting: Waiting, decided: Result<Decision, Refusal>, turn: &mut Turn) {
        let Waiting { asked, reply, .. } = waiting;
        if let Command::PayOrder(command) = &asked.command {
            return self.conclude_payment(command, decided, reply, turn);
        }
        match decided {
            Err(refusal) => self.refuse(reply, refusal.into(), turn),
            Ok(decision) => match turn.unavailable.filter(|_| !decision.events.is_empty()) {
                Some(why) => self.refuse(reply, Reason::Unavailable(why), turn),
                None => self.answer_order(decision, reply, turn),
            },
        }
    }

    pub(super) fn answer_order(&mut self, decision: Decision, reply: oneshot::Sender<Answer>, turn: &mut Turn) {
        let (number, replayed) = (decision.order.expect("an order's decision names it"), decision.replayed);
        let entries = self.take_in(turn.at_ms, decision);
        let order = self.state.order(number).expect("the order that was decided on is there");
        let answer = match self.is_of_packets() {
            true => Answer::Grab { grab: self.grab_view(&order), replayed },
            false => Answer::Order { order, replayed },
        };
        if entries.is_empty() {
            turn.reveal(reply, answer);
        } else {
            turn.submit(entries, Ack::Answer(reply, answer));
        }
    }

    fn is_waited_for(&self, asked: &Stamped<Command>) -> bool {
        !self.parked.is_empty() && self.wanted(asked).is_some_and(|wanted| self.parked.has(wanted.sku))
    }

    /// What it wants; `None` where there is no such SKU or order, or no round runs.
    fn wanted(&self, asked: &Stamped<Command>) -> Option<Wanted> {
        let (sku_id, units) = match &asked.command {
            Command::Grab(_) => return self.running_round(asked.at_ms).map(|sku| Wanted { sku, units: 1 }),
            Command::PlaceOrder(order) => (order.sku.clone(), order.quantity),
            Command::PayOrder(payment) => {
                let order = self.state.order(payment.order)?;
                (order.sku_id, i64::from(order.quantity.0))
            }
            other => unreachable!("only orders, grabs and payments want units, not {other:?}"),
        };
        let (sku, _, _) = self.state.sku_ids().find(|(_, known, _)| **known == sku_id)?;
        Some(Wanted { sku, units: u32::try_from(units).ok()? })
    }

    /// Too few units are here. They are sold out only if they are so everywhere: at this instant, by the count that
    /// includes those on their way, and with no hold run out that is not released (S6).
    fn is_sold_out_everywhere(&self, wanted: Wanted, turn: &Turn) -> bool {
        // This part's own holds are released already: see `decide_patiently`.
        let is_current = |part| part == self.part() || self.door.is_part_current(part, turn.at_ms);
        (0..self.door.parts()).all(is_current) && self.units[usize::from(wanted.sku.0)].all() < wanted.units
    }

    fn park(&mut self, mut waiting: Waiting, wanted: Wanted, turn: &mut Turn) {
        if self.parked.is_full() {
            return self.refuse(waiting.reply, Reason::Unavailable(Unavailable::Overloaded), turn);
        }
        waiting.units = wanted.units;
        if self.parked.push(wanted.sku, waiting) {
            self.fetch(wanted.sku, turn);
        }
    }

    /// Asks the home that this part may have what those who wait want.
    fn fetch(&mut self, sku: SkuIndex, turn: &mut Turn) {
        let (part, units) = (self.part(), self.parked.units(sku).min(FETCH_UNITS_MAX));
        if self.state.part().is_home() {
            self.queue(Job::fetch(part, sku, units), turn);
        } else {
            turn.write(0, Letter::Need { part, sku, units });
        }
    }

    /// Serves those who wait, in their order, as far as what is here goes; then fetches more, if more is to be had.
    pub(super) fn serve_parked(&mut self, sku: SkuIndex, turn: &mut Turn) {
        while let Some(mut waiting) = self.parked.pop(sku) {
            if waiting.reply.is_closed() {
                continue;
            }
            let wanted = Wanted { sku, units: waiting.units };
            let decided = self.decide_patiently(&mut waiting, turn);
            let is_grab = matches!(waiting.asked.command, Command::Grab(_));
            if is_grab && self.wanted(&waiting.asked).is_some_and(|wanted| wanted.sku != sku) {
                // The round was over before its packets came, and the next one runs.
                self.serve(waiting, turn);
            } else if !matches!(decided, Err(Refusal::SoldOut)) {
                self.conclude(waiting, decided, turn);
            } else if self.is_sold_out_everywhere(wanted, turn) {
                self.go_without(waiting, turn);
            } else if waiting.fetches >= FETCHES_MAX {
                self.refuse(waiting.reply, Reason::Unavailable(Unavailable::Overloaded), turn);
            } else {
                waiting.fetches += 1;
                self.parked.put_back(sku, waiting);
                return self.fetch(sku, turn);
            }
        }
    }
}

/// Units that somebody wants.
#[derive(Clone, Copy)]
struct Wanted {
    sku: SkuIndex,
    units: u32,
}

/// Whether a decision takes units that are free, of which those who wait come first.
pub(super) fn takes_free_units(decision: &Decision) -> bool {
    match decision.events.as_slice() {
        [Event::OrderPlaced(_) | Event::PacketGrabbed(_)] => true,
        [before @ .., Event::PaymentReceived(event)] => {
            // A hold that runs out in the same decision takes its own units back.
            let own = before.iter().any(|it| matches!(it, Event::HoldsExpired(it) if it.orders.contains(&event.order)));
            matches!(event.outcome, Outcome::Reacquired(_)) && !own
        }
        _ => false,
    }
}
