//! What came of the payments, counted, and the money.

use std::collections::BTreeMap;

use serde::Serialize;

use super::account::{Account, Aim, Told};
use crate::reply::PaymentState;

/// What one thread counts while it goes; the rest is worked out from the accounts at the end.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts([u64; Count::ALL.len()]);

/// Something counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Count {
    Forged,
    Stale,
    Reused,
    PaidBack,
    OrderRefunded,
    Repeated,
}

impl Count {
    const ALL: [Self; 6] =
        [Self::Forged, Self::Stale, Self::Reused, Self::PaidBack, Self::OrderRefunded, Self::Repeated];

    fn name(self) -> &'static str {
        match self {
            Self::Forged => "wrong signature sent",
            Self::Stale => "stale signature sent",
            Self::Reused => "payment id reused",
            Self::PaidBack => "operator: paid back",
            Self::OrderRefunded => "operator: orders refunded",
            Self::Repeated => "operator: asked again",
        }
    }
}

impl Counts {
    pub(crate) fn add(&mut self, what: Count) {
        self.0[what as usize] += 1;
    }

    pub(crate) fn merge(&mut self, other: Self) {
        self.0.iter_mut().zip(other.0).for_each(|(mine, theirs)| *mine += theirs);
    }
}

/// What came of the payments of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PayReport {
    /// Orders by where they stood when the shoppers were done.
    pub orders: BTreeMap<&'static str, u64>,
    /// Payments by what the provider was told.
    pub payments: BTreeMap<&'static str, u64>,
    /// What was tried, and what the operator did.
    pub acts: BTreeMap<&'static str, u64>,
    /// The money in the end, by currency.
    pub money: BTreeMap<String, Money>,
    /// Whether the operator's lists and counts were held against the crowd's own.
    pub reconciled: bool,
}

/// Sums in cents. What was received is applied, owed back, or was paid back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Money {
    /// All payments that were recorded.
    pub received_cents: u64,
    /// Payments that paid their orders.
    pub applied_cents: u64,
    /// Payments that are owed back.
    pub owed_back_cents: u64,
    /// Payments that were paid back.
    pub paid_back_cents: u64,
}

impl Money {
    pub(crate) fn add(&mut self, amount_cents: u64, state: PaymentState) {
        self.received_cents += amount_cents;
        *match state {
            PaymentState::Applied => &mut self.applied_cents,
            PaymentState::RefundDue => &mut self.owed_back_cents,
            PaymentState::Refunded => &mut self.paid_back_cents,
        } += amount_cents;
    }
}

impl PayReport {
    /// Of the accounts as the shoppers left them.
    pub(crate) fn of(accounts: &[Account]) -> Self {
        let mut report = Self::default();
        for account in accounts {
            let state = account.states.certain().map_or("in doubt", |state| state.name());
            *report.orders.entry(state).or_default() += 1;
            for slip in &account.slips {
                let outcome = match (slip.told, slip.aim) {
                    (Some(Told::Stands(state)), _) => state.name(),
                    (Some(Told::Mismatched), _) => "refused, owed back: wrong amount or currency",
                    (Some(Told::NoOrder), _) => "refused, owed back: no such order",
                    // Only tried with a signature that must not be believed, or never answered.
                    (None, Aim::Right | Aim::Wrong | Aim::Astray) => "no answer",
                };
                *report.payments.entry(outcome).or_default() += 1;
            }
        }
        report
    }

    pub(crate) fn count(&mut self, counts: Counts) {
        for what in Count::ALL {
            if counts.0[what as usize] > 0 {
                self.acts.insert(what.name(), counts.0[what as usize]);
            }
        }
    }
}
