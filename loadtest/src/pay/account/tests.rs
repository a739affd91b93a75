//! Every answer that a broken server could give is found, and no answer of a sound one.

use super::*;
use crate::code::Code;
use crate::reply::{Line, PaymentState as P};

const EXPIRES: u64 = 10_000;
const SKEW: u64 = 100;
const SOON: Window = Window { from_ms: 1_000, to_ms: 1_010 };
const EDGE: Window = Window { from_ms: EXPIRES - 5, to_ms: EXPIRES + 5 };
const LATE: Window = Window { from_ms: EXPIRES + 200, to_ms: EXPIRES + 210 };

fn order(state: State) -> Order {
    Order {
        order_id: 7,
        activity_id: 1,
        sku_id: "2001".into(),
        quantity: 1,
        amount_cents: 500,
        slots: vec![3],
        state,
        expires_at_ms: EXPIRES,
        reference: None,
        payments: Vec::new(),
    }
}

fn slip(id: &str, aim: Aim) -> Slip {
    let (payment_id, currency) = (id.to_owned(), "CNY".to_owned());
    Slip { payment_id, order_id: 7, amount_cents: 500, currency, aim, told: None }
}

/// An order in `state` with two payments that fit, one that does not, and one for an order that is none.
fn account(state: State) -> Account {
    let mut account = Account::open(&order(state), 0, SKEW);
    let astray = Slip { order_id: 9, ..slip("x", Aim::Astray) };
    account.slips = vec![slip("a", Aim::Right), slip("b", Aim::Right), slip("w", Aim::Wrong), astray];
    account
}

fn receipt(id: &str, payment_state: P, state: State) -> Answer {
    Answer::Paid(Box::new(Receipt { payment_id: id.into(), payment_state, order_id: 7, state }))
}

fn refused(code: &str) -> Answer {
    Answer::Refused(Code::named(code).expect("a code of the contract"))
}

fn rules(found: &[Violation]) -> Vec<&'static str> {
    found.iter().map(|violation| violation.rule).collect()
}

/// A new payment that fits, for an order in that state: the answers that may be given, of all there are.
#[test]
fn of_all_answers_to_a_new_payment_only_the_contracts_are_sound() {
    use State::{Cancelled, Expired, Held, Paid, Refunded};
    let late = vec![(P::Applied, Paid), (P::RefundDue, Expired)];
    let table = [
        (Held, SOON, vec![(P::Applied, Paid)]),
        (Held, EDGE, late.clone()),
        (Held, LATE, late.clone()),
        (Expired, LATE, late),
        (Paid, SOON, vec![(P::RefundDue, Paid)]),
        (Cancelled, SOON, vec![(P::RefundDue, Cancelled)]),
        (Refunded, SOON, vec![(P::RefundDue, Refunded)]),
    ];
    for (before, window, sound) in table {
        for payment in [P::Applied, P::RefundDue, P::Refunded] {
            for after in State::ALL {
                let mut account = account(before);
                let found = account.on_payment(0, window, Some(&receipt("a", payment, after)));
                let is_sound = sound.contains(&(payment, after));
                let case = format!("{before:?} {payment:?} {after:?}");
                assert_eq!(rules(&found), if is_sound { vec![] } else { vec![RULE_STATE] }, "{case}");
                assert_eq!(account.states, States::only(after), "{case}: what was said is what is known");
            }
        }
    }
}

#[test]
fn a_second_payment_that_is_applied_too_is_found() {
    let mut account = account(State::Held);
    assert!(account.on_payment(0, SOON, Some(&receipt("a", P::Applied, State::Paid))).is_empty());
    let found = account.on_payment(1, SOON, Some(&receipt("b", P::Applied, State::Paid)));
    assert_eq!(rules(&found), [RULE_ONCE]);
}

#[test]
fn a_repeat_that_is_answered_otherwise_is_found() {
    let told = |payment, state| {
        let mut account = account(State::Held);
        account.on_payment(0, SOON, Some(&receipt("a", P::Applied, State::Paid)));
        rules(&account.on_payment(0, LATE, Some(&receipt("a", payment, state))))
    };
    assert_eq!(told(P::Applied, State::Paid), [""; 0], "also long after the hold would have run out");
    assert_eq!(told(P::RefundDue, State::Paid), [RULE_SAME]);
    assert_eq!(told(P::Applied, State::Expired), [RULE_STAYS], "what is paid does not expire");
    let mut account = account(State::Held);
    account.on_payment(0, SOON, Some(&receipt("a", P::Applied, State::Paid)));
    assert_eq!(rules(&account.on_payment(0, SOON, Some(&refused("payment_mismatch")))), [RULE_REFUSED]);
}

#[test]
fn a_payment_that_does_not_fit_and_is_taken_is_found() {
    let mut account = account(State::Held);
    assert_eq!(rules(&account.on_payment(2, SOON, Some(&receipt("w", P::Applied, State::Paid)))), [RULE_REFUSED]);
    let mut account = self::account(State::Held);
    assert!(account.on_payment(2, SOON, Some(&refused("payment_mismatch"))).is_empty());
    assert_eq!(account.states, States::only(State::Held), "the order is as it was");
    assert!(account.on_payment(2, SOON, Some(&refused("payment_mismatch"))).is_empty());
    assert_eq!(rules(&account.on_payment(2, SOON, Some(&refused("order_not_found")))), [RULE_REFUSED]);
    assert_eq!(account.slips[2].told, Some(Told::Mismatched));
    assert!(account.on_payment(3, SOON, Some(&refused("order_not_found"))).is_empty());
    assert_eq!(rules(&account.on_payment(3, SOON, Some(&refused("payment_mismatch")))), [RULE_REFUSED]);
}

#[test]
fn a_payment_that_fits_and_is_refused_is_found() {
    for code in ["payment_mismatch", "order_not_found", "bad_signature", "sold_out"] {
        let mut account = account(State::Held);
        assert_eq!(rules(&account.on_payment(0, SOON, Some(&refused(code)))), [RULE_REFUSED], "{code}");
    }
}

#[test]
fn an_answer_for_another_payment_or_order_is_found() {
    let mut account = account(State::Held);
    assert_eq!(rules(&account.on_payment(0, SOON, Some(&receipt("b", P::Applied, State::Paid)))), [RULE_NAMED]);
    let mut account = self::account(State::Held);
    let of_another = Receipt { payment_id: "a".into(), payment_state: P::Applied, order_id: 8, state: State::Paid };
    let found = account.on_payment(0, SOON, Some(&Answer::Paid(Box::new(of_another))));
    assert_eq!(rules(&found), [RULE_NAMED]);
}

#[test]
fn a_cancel_of_what_is_not_held_is_found_and_so_is_one_that_is_refused() {
    let cancel = |before, answer: &Answer| rules(&account(before).on_cancel(SOON, Some(answer)));
    let cancelled = Answer::Cancelled(Box::new(order(State::Cancelled)));
    let held = Answer::Cancelled(Box::new(order(State::Held)));
    let refusal = refused("order_not_cancellable");
    assert_eq!(cancel(State::Held, &cancelled), [""; 0]);
    assert_eq!(cancel(State::Cancelled, &cancelled), [""; 0], "twice is the same answer");
    assert_eq!(cancel(State::Held, &refusal), [RULE_STAYS]);
    assert_eq!(cancel(State::Cancelled, &refusal), [RULE_STAYS]);
    assert_eq!(cancel(State::Held, &held), ["contract: cancel"]);
    for ended in [State::Paid, State::Expired, State::Refunded] {
        assert_eq!(cancel(ended, &cancelled), [RULE_STAYS], "{ended:?}");
        assert_eq!(cancel(ended, &refusal), [""; 0], "{ended:?}");
    }
    assert_eq!(cancel(State::Paid, &refused("order_not_found")), [RULE_STAYS]);
}

#[test]
fn a_payment_after_an_acknowledged_cancel_must_be_owed_back() {
    let mut account = account(State::Held);
    account.on_cancel(SOON, Some(&Answer::Cancelled(Box::new(order(State::Cancelled)))));
    assert_eq!(rules(&account.on_payment(0, SOON, Some(&receipt("a", P::Applied, State::Paid)))), [RULE_STATE]);
}

#[test]
fn of_a_payment_and_a_cancel_at_once_only_one_may_win() {
    let race = |payment: &Answer, cancel: &Answer| {
        let mut account = account(State::Held);
        account.before_race(SOON);
        let mut found = account.on_payment(0, SOON, Some(payment));
        found.extend(account.on_cancel(SOON, Some(cancel)));
        rules(&found)
    };
    let cancelled = Answer::Cancelled(Box::new(order(State::Cancelled)));
    let refusal = refused("order_not_cancellable");
    let (paid, due) = (receipt("a", P::Applied, State::Paid), receipt("a", P::RefundDue, State::Cancelled));
    assert_eq!(race(&paid, &refusal), [""; 0]);
    assert_eq!(race(&due, &cancelled), [""; 0]);
    assert_eq!(race(&paid, &cancelled), [RULE_STAYS]);
    assert_eq!(race(&due, &refusal), [RULE_STAYS]);
}

#[test]
fn a_lost_answer_leaves_a_doubt_that_the_next_answer_ends() {
    let mut account = account(State::Held);
    assert!(account.on_payment(0, SOON, None).is_empty());
    assert!(account.states.has(State::Paid) && account.states.has(State::Held));
    assert!(
        account.on_payment(1, SOON, Some(&receipt("b", P::RefundDue, State::Paid))).is_empty(),
        "the first paid it"
    );
    let mut account = self::account(State::Held);
    account.on_payment(0, SOON, None);
    assert!(account.on_payment(1, SOON, Some(&receipt("b", P::Applied, State::Paid))).is_empty(), "it was never there");
    assert_eq!(account.states.certain(), Some(State::Paid));
    let mut account = self::account(State::Held);
    account.on_cancel(SOON, None);
    assert!(account.on_payment(0, SOON, Some(&receipt("a", P::RefundDue, State::Cancelled))).is_empty());
}

#[test]
fn a_look_shows_what_was_told() {
    let look = |change: &dyn Fn(&mut Order)| {
        let mut account = account(State::Held);
        account.on_payment(0, SOON, Some(&receipt("a", P::Applied, State::Paid)));
        account.on_payment(1, SOON, Some(&receipt("b", P::RefundDue, State::Paid)));
        let line = |id: &str, payment_state| Line { payment_id: id.into(), payment_state };
        let mut order = Order { payments: vec![line("a", P::Applied), line("b", P::RefundDue)], ..order(State::Paid) };
        change(&mut order);
        rules(&account.on_look(LATE, &order))
    };
    assert_eq!(look(&|_| ()), [""; 0]);
    assert_eq!(look(&|order| order.state = State::Expired), [RULE_STAYS, RULE_ONCE]);
    assert_eq!(look(&|order| order.payments.truncate(1)), [RULE_LISTED]);
    assert_eq!(look(&|order| order.payments[1].payment_state = P::Applied), [RULE_ONCE, RULE_SAME]);
    assert_eq!(look(&|order| order.payments[1].payment_state = P::Refunded), [RULE_SAME]);
    assert_eq!(look(&|order| order.payments[1].payment_id = "y".into()), [RULE_REFUSED, RULE_LISTED]);
    assert_eq!(look(&|order| order.order_id = 8), [RULE_NAMED]);
}

#[test]
fn a_hold_is_shown_as_held_until_a_moment_after_its_end_and_not_for_ever() {
    let shown = |from_ms| rules(&account(State::Held).on_look(Window { from_ms, to_ms: from_ms }, &order(State::Held)));
    assert_eq!(shown(1_000), [""; 0]);
    assert_eq!(shown(EXPIRES + 1_000), [""; 0]);
    assert_eq!(shown(EXPIRES + 60_000), [RULE_STAYS]);
    let early = account(State::Held).on_look(SOON, &order(State::Expired));
    assert_eq!(rules(&early), [RULE_STAYS], "no hold ends early");
}
