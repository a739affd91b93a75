//! Placing and cancelling orders. Who wants what this part has not, but another has, waits until it is here.

use tokio::sync::oneshot;

use super::Shard;
use super::gather::Job;
use super::parked::{FETCHES_MAX, Waiting};
use crate::actors::ack::Ack;
use crate::actors::ask::{Answer, Reason, Unavailable};
use crate::actors::letter::Letter;
use crate::actors::turn::Turn;
use crate::domain::Refusal;
use crate::domain::command::{CancelOrder, Command, Decision, PlaceOrder, Stamped};
use crate::domain::definition::QUANTITY_MAX;
use crate::ids::SkuIndex;

/// Units that one fetch asks for at most. No less than any one order wants; a larger crowd is served by the share that
/// the home gives beyond what is asked for.
const FETCH_UNITS_MAX: u32 = 4 * QUANTITY_MAX;

impl Shard {
    pub(super) fn place(&mut self, command: PlaceOrder, reply: oneshot::Sender<Answer>, turn: &mut Turn) {
        let asked = Stamped { at_ms: turn.at_ms, command: Command::PlaceOrder(command) };
        let mut waiting = Waiting { asked, reply, fetches: 0 };
        let decided = self.decide_patiently(&mut waiting, turn);
        match decided {
            Err(Refusal::SoldOut) if self.has_siblings() => {
                if self.is_sold_out_everywhere(waiting.order(), turn) {
                    self.refuse(waiting.reply, Refusal::SoldOut.into(), turn);
                } else {
                    self.park(waiting, turn);
                }
            }
            // Who came first and waits is served first.
            Ok(decision) if !decision.events.is_empty() && self.is_waited_for(waiting.order()) => {
                self.park(waiting, turn);
            }
            decided => self.conclude(decided, waiting.reply, turn),
        }
    }

    pub(super) fn cancel(&mut self, command: CancelOrder, reply: oneshot::Sender<Answer>, turn: &mut Turn) {
        let decided = self.decide(turn.at_ms, Command::CancelOrder(command));
        match decided {
            Ok(decision) => self.answer_order(decision, reply, turn),
            Err(refusal) => self.refuse(reply, refusal.into(), turn),
        }
    }

    /// Decides an order. In a mass expiry, what has lapsed and is not released yet must refuse nobody.
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

    /// Carries a decision on an order out and answers.
    fn conclude(&mut self, decided: Result<Decision, Refusal>, reply: oneshot::Sender<Answer>, turn: &mut Turn) {
        match decided {
            Err(refusal) => self.refuse(reply, refusal.into(), turn),
            Ok(decision) => match turn.unavailable.filter(|_| !decision.events.is_empty()) {
                Some(why) => self.refuse(reply, Reason::Unavailable(why), turn),
                None => self.answer_order(decision, reply, turn),
            },
        }
    }

    fn answer_order(&mut self, decision: Decision, reply: oneshot::Sender<Answer>, turn: &mut Turn) {
        let (number, replayed) = (decision.order.expect("an order's decision names it"), decision.replayed);
        let entries = self.take_in(turn.at_ms, decision);
        let order = self.state.order(number).expect("the order that was decided on is there");
        let answer = Answer::Order { order, replayed };
        if entries.is_empty() {
            turn.reveal(reply, answer);
        } else {
            turn.submit(entries, Ack::Answer(reply, answer));
        }
    }

    fn is_waited_for(&self, command: &PlaceOrder) -> bool {
        !self.parked.is_empty() && self.sku_of(command).is_some_and(|sku| self.parked.has(sku))
    }

    fn sku_of(&self, command: &PlaceOrder) -> Option<SkuIndex> {
        self.state.sku_ids().find(|(_, sku_id, _)| **sku_id == command.sku).map(|(index, _, _)| index)
    }

    /// Too few units are here. They are sold out only if they are so everywhere: at this instant, by the count that
    /// includes those on their way, and with no hold run out that is not released (S6).
    fn is_sold_out_everywhere(&self, command: &PlaceOrder, turn: &Turn) -> bool {
        let Some(sku) = self.sku_of(command) else { return true };
        // This part's own holds are released already: see `decide_patiently`.
        let is_current = |part| part == self.part() || self.door.is_part_current(part, turn.at_ms);
        (0..self.door.parts()).all(is_current) && i64::from(self.units[usize::from(sku.0)].all()) < command.quantity
    }

    fn park(&mut self, waiting: Waiting, turn: &mut Turn) {
        let sku = self.sku_of(waiting.order()).expect("an order is for a SKU that there is");
        if self.parked.is_full() {
            return self.refuse(waiting.reply, Reason::Unavailable(Unavailable::Overloaded), turn);
        }
        if self.parked.push(sku, waiting) {
            self.fetch(sku, turn);
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
            let decided = self.decide_patiently(&mut waiting, turn);
            if !matches!(decided, Err(Refusal::SoldOut)) {
                self.conclude(decided, waiting.reply, turn);
            } else if self.is_sold_out_everywhere(waiting.order(), turn) {
                self.refuse(waiting.reply, Refusal::SoldOut.into(), turn);
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
