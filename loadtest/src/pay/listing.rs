//! What an operator reads, held against what the crowd was told: the refunds, and the counts of units.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::account::Account;
use crate::ledger::Violation;
use crate::reply::{PaymentState, State, decimal};

pub(super) const RULE_REFUNDS: &str = "M6: the refunds are what the payers were told";
pub(super) const RULE_UNITS: &str = "S1: the sale's counts are what its shoppers were told";

/// A payment of this run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) order_id: u64,
    pub(super) amount_cents: u64,
    pub(super) currency: String,
    /// `None` where no answer came: it may be there, in any state, or not.
    pub(super) state: Option<PaymentState>,
}

/// The payments of this run by their ids.
pub(super) type Book = BTreeMap<String, Entry>;

pub(super) fn book(accounts: &[Account]) -> Book {
    let slips = accounts.iter().flat_map(|account| &account.slips);
    slips
        .map(|slip| {
            let state = slip.told.map(super::account::Told::state);
            let (order_id, amount_cents, currency) = (slip.order_id, slip.amount_cents, slip.currency.clone());
            (slip.payment_id.clone(), Entry { order_id, amount_cents, currency, state })
        })
        .collect()
}

/// A line of the operator's list.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) payment_id: String,
    pub(super) payment_state: PaymentState,
    #[serde(deserialize_with = "decimal")]
    pub(super) order_id: u64,
    pub(super) amount_cents: u64,
    pub(super) currency: String,
}

/// The list of refunds in one state: each payment of ours that stands there is in it once, with its money, and no other
/// of ours. Payments of others, whose ids begin otherwise, are not ours to judge.
pub(super) fn compare(book: &Book, prefix: &str, state: PaymentState, listed: &[Listed]) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut wrong = |example: String| found.push(Violation::new(RULE_REFUNDS, example));
    let mut seen: BTreeMap<&str, u32> = BTreeMap::new();
    for line in listed.iter().filter(|line| line.payment_id.starts_with(prefix)) {
        *seen.entry(&line.payment_id).or_default() += 1;
        let Some(entry) = book.get(&line.payment_id) else {
            wrong(format!("payment {} is listed, and nobody made it", line.payment_id));
            continue;
        };
        let stands = entry.state.unwrap_or(state);
        if (line.payment_state, stands) != (state, state) {
            let (listed, told) = (line.payment_state.name(), stands.name());
            wrong(format!("payment {} is listed as {listed} among {}, it is {told}", line.payment_id, state.name()));
        }
        let (listed, told) =
            ((line.order_id, line.amount_cents, &line.currency), (entry.order_id, entry.amount_cents, &entry.currency));
        if listed != told {
            wrong(format!("payment {} is listed with {listed:?}, it was made with {told:?}", line.payment_id));
        }
    }
    for (payment_id, entry) in book.iter().filter(|(_, entry)| entry.state == Some(state)) {
        match seen.get(payment_id.as_str()) {
            Some(1) => {}
            Some(times) => wrong(format!("payment {payment_id} is listed {times} times")),
            None => wrong(format!(
                "payment {payment_id} of {} cents is {} and not listed",
                entry.amount_cents,
                state.name()
            )),
        }
    }
    found
}

/// The counts of one SKU.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub(crate) struct UnitCounts {
    pub(super) sku_id: String,
    pub(super) stock: u64,
    pub(super) available: u64,
    pub(super) held: u64,
    pub(super) sold: u64,
}

/// Units of one SKU that the crowd knows of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Units {
    /// Surely sold, what was sold before included.
    pub(super) sold: u64,
    /// Perhaps sold, beyond that.
    pub(super) doubtful: u64,
    /// Surely held.
    pub(super) held: u64,
    /// Nobody else can hold any.
    pub(super) all_known: bool,
}

/// What the counts of SKU number `sku` must be.
pub(super) fn units(accounts: &[Account], sku: usize, unreturned: u64, before: u64, now_ms: u64) -> Units {
    let mut units = Units { sold: before + unreturned, ..Units::default() };
    for account in accounts.iter().filter(|account| account.sku == sku) {
        let quantity = u64::from(account.quantity);
        match account.states.certain() {
            Some(State::Paid) => units.sold += quantity,
            Some(State::Held) if account.expires_at_ms > now_ms + account.skew_ms => units.held += quantity,
            Some(_) => {}
            None if account.states.has(State::Paid) => units.doubtful += quantity,
            None => {}
        }
    }
    units
}

pub(super) fn weigh(counts: &UnitCounts, units: Units) -> Vec<Violation> {
    let mut found = Vec::new();
    let UnitCounts { sku_id, stock, available, held, sold } = counts;
    let mut wrong = |example: String| found.push(Violation::new(RULE_UNITS, format!("sku {sku_id}: {example}")));
    if available + held + sold != *stock {
        wrong(format!("{available} available, {held} held and {sold} sold are not {stock}"));
    }
    if *sold < units.sold || *sold > units.sold + units.doubtful {
        let (from, to) = (units.sold, units.sold + units.doubtful);
        wrong(format!("{sold} units are sold, shoppers were told of {from} to {to}"));
    }
    if *held < units.held || (units.all_known && *held > units.held) {
        wrong(format!("{held} units are held, shoppers were told of {}", units.held));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(state: Option<PaymentState>) -> Entry {
        Entry { order_id: 7, amount_cents: 500, currency: "CNY".into(), state }
    }

    fn line(id: &str) -> Listed {
        let (payment_state, currency) = (PaymentState::RefundDue, "CNY".to_owned());
        Listed { payment_id: id.into(), payment_state, order_id: 7, amount_cents: 500, currency }
    }

    /// How many faults the list has, against two payments that are due, one that is applied, and one in doubt.
    fn faults(listed: &[Listed]) -> usize {
        let due = entry(Some(PaymentState::RefundDue));
        let all =
            [("p1-a", due.clone()), ("p1-b", due), ("p1-c", entry(Some(PaymentState::Applied))), ("p1-d", entry(None))];
        let book = all.into_iter().map(|(id, entry)| (id.to_owned(), entry)).collect();
        compare(&book, "p1-", PaymentState::RefundDue, listed).len()
    }

    #[test]
    fn a_list_of_refunds_that_is_not_what_payers_were_told_is_found() {
        assert_eq!(faults(&[line("p1-a"), line("p1-b")]), 0);
        assert_eq!(faults(&[line("p1-b"), line("p1-d"), line("p1-a"), line("somebody else's")]), 0);
        assert_eq!(faults(&[line("p1-a")]), 1, "one is missing");
        assert_eq!(faults(&[line("p1-a"), line("p1-b"), line("p1-b")]), 1, "one is there twice");
        assert_eq!(faults(&[line("p1-a"), line("p1-b"), line("p1-c")]), 1, "one is applied");
        assert_eq!(faults(&[line("p1-a"), line("p1-b"), line("p1-e")]), 1, "one that nobody made");
        let other = |change: fn(&mut Listed)| {
            let mut lines = [line("p1-a"), line("p1-b")];
            change(&mut lines[0]);
            faults(&lines)
        };
        assert_eq!(other(|line| line.amount_cents += 1), 1);
        assert_eq!(other(|line| line.currency = "EUR".into()), 1);
        assert_eq!(other(|line| line.order_id = 8), 1);
        assert_eq!(other(|line| line.payment_state = PaymentState::Refunded), 1);
    }

    #[test]
    fn counts_that_are_not_what_shoppers_were_told_are_found() {
        let counts = |available, held, sold| UnitCounts { sku_id: "2001".into(), stock: 10, available, held, sold };
        let faults = |counts: &UnitCounts, units: Units| weigh(counts, units).len();
        let known = Units { sold: 4, doubtful: 0, held: 2, all_known: true };
        assert_eq!(faults(&counts(4, 2, 4), known), 0);
        assert_eq!(faults(&counts(5, 2, 4), known), 1, "they do not add up");
        assert_eq!(faults(&counts(5, 2, 3), known), 1, "one sold unit is forgotten");
        assert_eq!(faults(&counts(3, 2, 5), known), 1, "one unit is sold to nobody");
        assert_eq!(faults(&counts(5, 1, 4), known), 1, "a hold is forgotten");
        assert_eq!(faults(&counts(3, 3, 4), known), 1, "a hold is left");
        assert_eq!(faults(&counts(3, 3, 4), Units { all_known: false, ..known }), 0, "others may hold");
        assert_eq!(faults(&counts(3, 2, 5), Units { doubtful: 1, ..known }), 0);
    }
}
