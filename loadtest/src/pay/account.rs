//! What one shopper knows of one order and of the payments for it, and what the server may therefore answer.
//!
//! Nobody but this shopper pays or cancels the order, so between two requests only the clock changes it. Where an answer
//! never came, the order may stand in several states, and each later answer says which.

use crate::ledger::Violation;
use crate::reply::{Answer, Order, PaymentState, Receipt, State};

pub(crate) const RULE_ONCE: &str = "M5: a payment is applied once";
pub(crate) const RULE_SAME: &str = "M5: a payment that is sent again gets the same answer";
pub(crate) const RULE_STATE: &str = "M5: what a payment does follows from where its order stands";
pub(crate) const RULE_REFUSED: &str = "contract: which payments are refused";
pub(crate) const RULE_STAYS: &str = "S3: where an order has ended it stays";
pub(crate) const RULE_NAMED: &str = "contract: an answer names the payment and the order that it is for";
pub(crate) const RULE_LISTED: &str = "A1: a payment that was acknowledged is found again";

/// How long after its hold ran out an order may still be shown as held.
const RELEASE_LAG_MS_MAX: u64 = 5_000;

/// A set of states in which an order may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct States(u8);

impl States {
    pub(crate) fn only(state: State) -> Self {
        Self(1 << state as u8)
    }

    pub(crate) fn with(self, state: State) -> Self {
        Self(self.0 | Self::only(state).0)
    }

    fn without(self, state: State) -> Self {
        Self(self.0 & !Self::only(state).0)
    }

    pub(crate) fn has(self, state: State) -> bool {
        self.0 & Self::only(state).0 != 0
    }

    /// The state, where there is no doubt.
    pub(crate) fn certain(self) -> Option<State> {
        State::ALL.into_iter().find(|state| self == Self::only(*state))
    }

    fn names(self) -> String {
        let names: Vec<_> = State::ALL.into_iter().filter(|state| self.has(*state)).map(State::name).collect();
        names.join(" or ")
    }
}

/// When the server decided: not before the request was first sent, not after its answer was read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) from_ms: u64,
    pub(crate) to_ms: u64,
}

/// What the server said to a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Stands(PaymentState),
    /// Recorded, and refused for its amount or its currency.
    Mismatched,
    /// Recorded, and refused because there is no such order.
    NoOrder,
}

impl Told {
    /// Where the payment must stand.
    pub(crate) fn state(self) -> PaymentState {
        match self {
            Self::Stands(state) => state,
            Self::Mismatched | Self::NoOrder => PaymentState::RefundDue,
        }
    }
}

/// What a payment says of its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Aim {
    /// Its amount and its currency.
    Right,
    /// Another amount or currency.
    Wrong,
    /// An order that nobody ever placed.
    Astray,
}

/// A payment of this shopper's.
#[derive(Clone, Debug)]
pub(crate) struct Slip {
    pub(crate) payment_id: String,
    pub(crate) order_id: u64,
    pub(crate) amount_cents: u64,
    pub(crate) currency: String,
    pub(crate) aim: Aim,
    /// `None` where no answer came: the payment may have been recorded or not.
    pub(crate) told: Option<Told>,
}

/// An order and its payments.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) order_id: u64,
    pub(crate) amount_cents: u64,
    pub(crate) quantity: u32,
    /// The SKU's place in the sale's list.
    pub(crate) sku: usize,
    pub(crate) expires_at_ms: u64,
    /// By how much the server's clock may differ from ours.
    pub(crate) skew_ms: u64,
    pub(crate) states: States,
    pub(crate) slips: Vec<Slip>,
}

impl Account {
    /// The account of an order that its owner was just told of.
    pub(crate) fn open(order: &Order, sku: usize, skew_ms: u64) -> Self {
        Self {
            order_id: order.order_id,
            amount_cents: order.amount_cents,
            quantity: order.quantity,
            sku,
            expires_at_ms: order.expires_at_ms,
            skew_ms,
            states: States::only(order.state),
            slips: Vec::new(),
        }
    }

    /// Where the order may stand at the instant of a decision.
    pub(crate) fn states_in(&self, window: Window) -> States {
        let mut states = self.states;
        if states.has(State::Held) && window.to_ms.saturating_add(self.skew_ms) >= self.expires_at_ms {
            states = states.with(State::Expired);
        }
        if states.has(State::Held) && window.from_ms > self.expires_at_ms.saturating_add(self.skew_ms) {
            states = states.without(State::Held);
        }
        states
    }

    /// Takes in the answer to a payment. Busy refusals are no answer and do not come here.
    pub(crate) fn on_payment(&mut self, slip: usize, window: Window, answer: Option<&Answer>) -> Vec<Violation> {
        let before = self.states_in(window);
        let known = self.slips[slip].told;
        match answer {
            None => {
                self.may_have_paid(slip, before);
                Vec::new()
            }
            Some(Answer::Paid(receipt)) => self.on_receipt(slip, before, receipt),
            Some(Answer::Refused(code)) => {
                let told = match self.slips[slip].aim {
                    Aim::Wrong if code.is("payment_mismatch") => Some(Told::Mismatched),
                    Aim::Astray if code.is("order_not_found") => Some(Told::NoOrder),
                    _ => None,
                };
                let of = &self.slips[slip];
                let wrong = |rule, what: &str| {
                    let Slip { payment_id, order_id, .. } = of;
                    let example = format!("payment {payment_id} of order {order_id} {what} `{}`", code.name());
                    vec![Violation::new(rule, example)]
                };
                let found = match (known, told) {
                    (_, None) => wrong(RULE_REFUSED, "was refused with"),
                    (Some(known), Some(told)) if known != told => wrong(RULE_SAME, "had another answer, now"),
                    _ => Vec::new(),
                };
                self.slips[slip].told = told.or(known);
                found
            }
            // Of another shape: that is counted where it is read.
            Some(_) => Vec::new(),
        }
    }

    fn may_have_paid(&mut self, slip: usize, before: States) {
        self.states = before;
        let Slip { aim, told, .. } = &self.slips[slip];
        if *aim == Aim::Right && told.is_none() && (before.has(State::Held) || before.has(State::Expired)) {
            self.states = self.states.with(State::Paid);
        }
    }

    fn on_receipt(&mut self, slip: usize, before: States, receipt: &Receipt) -> Vec<Violation> {
        let Slip { payment_id, order_id, aim, told, .. } = &self.slips[slip];
        let Receipt { payment_state, state, .. } = *receipt;
        let answer =
            format!("payment {payment_id} of order {order_id} is {}, order {}", payment_state.name(), state.name());
        let (is_applied, is_repeat) = (payment_state == PaymentState::Applied, told.is_some());
        let mut found = Vec::new();
        let mut wrong = |rule, why: String| found.push(Violation::new(rule, format!("{answer}; {why}")));
        if receipt.payment_id != *payment_id || receipt.order_id != *order_id {
            wrong(RULE_NAMED, format!("the answer is of payment {}, order {}", receipt.payment_id, receipt.order_id));
        }
        let other = self.slips.iter().enumerate().find(|(at, other)| *at != slip && other.is_applied());
        match told {
            _ if *aim != Aim::Right => wrong(RULE_REFUSED, "it does not fit its order and must be refused".to_owned()),
            Some(told) => {
                if *told != Told::Stands(payment_state) {
                    wrong(RULE_SAME, format!("it was {} before", told.state().name()));
                } else if !before.has(state) {
                    wrong(RULE_STAYS, format!("the order was {} before", before.names()));
                }
            }
            None => {
                if let (true, Some((_, other))) = (is_applied, other) {
                    wrong(RULE_ONCE, format!("payment {} was applied before", other.payment_id));
                } else if !is_possible(before, payment_state, state) {
                    wrong(RULE_STATE, format!("the order was {} before", before.names()));
                }
            }
        }
        if *aim == Aim::Right || !is_repeat {
            self.slips[slip].told = Some(Told::Stands(payment_state));
        }
        // An astray payment is of no order of ours.
        if self.slips[slip].order_id == self.order_id {
            self.states = States::only(state);
        }
        found
    }

    /// Takes in the answer to a cancel.
    pub(crate) fn on_cancel(&mut self, window: Window, answer: Option<&Answer>) -> Vec<Violation> {
        let before = self.states_in(window);
        let wrong = |rule, got: &str| {
            let example = format!("order {} was {}; its cancel was answered {got}", self.order_id, before.names());
            vec![Violation::new(rule, example)]
        };
        match answer {
            None => {
                self.states = if before.has(State::Held) { before.with(State::Cancelled) } else { before };
                Vec::new()
            }
            Some(Answer::Cancelled(order)) => {
                let found = if order.order_id != self.order_id {
                    wrong(RULE_NAMED, &format!("for order {}", order.order_id))
                } else if order.state != State::Cancelled {
                    wrong("contract: cancel", order.state.name())
                } else if !before.has(State::Held) && !before.has(State::Cancelled) {
                    wrong(RULE_STAYS, "cancelled")
                } else {
                    Vec::new()
                };
                self.states = States::only(order.state);
                found
            }
            Some(Answer::Refused(code)) => {
                let others = before.without(State::Held).without(State::Cancelled);
                if code.is("order_not_cancellable") && others.0 != 0 {
                    self.states = others;
                    Vec::new()
                } else {
                    wrong(RULE_STAYS, code.name())
                }
            }
            Some(_) => Vec::new(),
        }
    }

    /// A payment and a cancel are on their way at once: either may come first.
    pub(crate) fn before_race(&mut self, window: Window) {
        let before = self.states_in(window);
        if before.has(State::Held) {
            self.states = before.with(State::Cancelled);
        }
    }

    /// Takes in a look at the order.
    pub(crate) fn on_look(&mut self, window: Window, order: &Order) -> Vec<Violation> {
        let mut may = self.states_in(window);
        let lag = window.from_ms <= self.expires_at_ms.saturating_add(self.skew_ms + RELEASE_LAG_MS_MAX);
        if self.states.has(State::Held) && lag {
            may = may.with(State::Held);
        }
        let mut found = Vec::new();
        let mut wrong =
            |rule, what: String| found.push(Violation::new(rule, format!("order {}: {what}", self.order_id)));
        if order.order_id != self.order_id {
            wrong(RULE_NAMED, format!("a look at it showed order {}", order.order_id));
            return found;
        }
        if !may.has(order.state) {
            wrong(RULE_STAYS, format!("it is {} after it was {}", order.state.name(), may.names()));
        }
        let applied = order.payments.iter().filter(|line| line.payment_state == PaymentState::Applied).count();
        if applied != usize::from(order.state == State::Paid) {
            wrong(RULE_ONCE, format!("it is {} and shows {applied} applied payments", order.state.name()));
        }
        for line in &order.payments {
            let mine =
                self.slips.iter().find(|slip| slip.payment_id == line.payment_id && slip.order_id == self.order_id);
            match mine.map(|slip| slip.told) {
                None => wrong(RULE_REFUSED, format!("it shows payment {}, which nobody made", line.payment_id)),
                Some(Some(told)) if told.state() != line.payment_state => {
                    let (now, before) = (line.payment_state.name(), told.state().name());
                    wrong(RULE_SAME, format!("payment {} is {now} after it was {before}", line.payment_id));
                }
                Some(_) => {}
            }
        }
        let told = self.slips.iter().filter(|slip| slip.told.is_some() && slip.order_id == self.order_id);
        for slip in told {
            if order.payments.iter().all(|line| line.payment_id != slip.payment_id) {
                wrong(RULE_LISTED, format!("payment {} is not shown", slip.payment_id));
            }
        }
        self.states = States::only(order.state);
        found
    }
}

impl Slip {
    pub(crate) fn is_applied(&self) -> bool {
        self.told == Some(Told::Stands(PaymentState::Applied))
    }
}

/// Whether a new payment that fits its order can have had this effect.
fn is_possible(before: States, payment: PaymentState, state: State) -> bool {
    let from: &[State] = match (payment, state) {
        // Late, it has fresh units.
        (PaymentState::Applied, State::Paid) => &[State::Held, State::Expired],
        (PaymentState::RefundDue, State::Paid) => &[State::Paid],
        (PaymentState::RefundDue, State::Expired) => &[State::Expired],
        (PaymentState::RefundDue, State::Cancelled) => &[State::Cancelled],
        (PaymentState::RefundDue, State::Refunded) => &[State::Refunded],
        _ => &[],
    };
    from.iter().any(|state| before.has(*state))
}

#[cfg(test)]
mod tests;
