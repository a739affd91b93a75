//! Every rule finds the bug that it is there for.

mod shop;

use loadtest::{Pay, Shares};
use shop::{Bug, PAYMENTS_SECRET, crowd_at};

/// The rule that a crowd finds broken in a shop with this bug.
fn is_found(bug: Bug, rule: &str) {
    let (report, _) = crowd_at(bug, 200, |plan| {
        plan.attempts = 1000;
        plan.shares.cancel = if bug == Bug::CancelForgotten { 1.0 } else { 0.0 };
    });
    let found = report.violations.iter().find(|violation| violation.rule.starts_with(rule));
    let found = found.unwrap_or_else(|| panic!("{bug:?} was not found:\n{}", report.table()));
    assert!(found.count > 0 && !found.examples.is_empty() && found.examples.len() <= 3);
    assert!(!report.holds());
}

#[test]
fn a_slot_sold_to_two_users_is_found() {
    is_found(Bug::SlotTwice, "S2: no slot");
}

#[test]
fn more_sold_than_there_is_is_found() {
    is_found(Bug::Oversells, "S2: no more");
}

#[test]
fn an_order_id_given_to_two_users_is_found() {
    is_found(Bug::OrderIdTwice, "U2");
}

#[test]
fn a_repeated_key_that_makes_a_second_order_is_found() {
    is_found(Bug::KeyForgotten, "U3");
}

#[test]
fn a_replay_that_names_another_order_is_found() {
    is_found(Bug::ReplayNamesAnother, "U3");
}

#[test]
fn a_repeated_key_that_is_refused_is_found() {
    is_found(Bug::ReplayRefused, "contract: refusals");
}

#[test]
fn an_order_for_another_sku_is_found() {
    is_found(Bug::WrongSku, "contract: an order is");
}

#[test]
fn a_new_order_that_is_not_held_is_found() {
    is_found(Bug::NewOrderPaid, "contract: a new order");
}

#[test]
fn a_used_key_accepted_with_another_body_is_found() {
    is_found(Bug::ReuseAccepted, "U3");
}

#[test]
fn a_user_above_the_limit_is_found() {
    is_found(Bug::LimitForgotten, "U1: units");
}

#[test]
fn a_newcomer_refused_for_the_limit_is_found() {
    is_found(Bug::LimitForEveryone, "U1: the limit");
}

#[test]
fn an_order_that_the_poll_does_not_know_is_found() {
    is_found(Bug::PollForgets, "A2");
}

#[test]
fn a_500_is_found() {
    is_found(Bug::InternalError, "contract: status");
}

#[test]
fn an_id_that_is_a_number_is_found() {
    is_found(Bug::NumericId, "contract: shape");
}

#[test]
fn a_refusal_that_is_not_a_problem_document_is_found() {
    is_found(Bug::NotAProblem, "contract: shape");
}

#[test]
fn an_amount_that_is_a_cent_off_is_found() {
    is_found(Bug::WrongAmount, "contract: the amount");
}

#[test]
fn a_cancel_that_does_nothing_is_found() {
    is_found(Bug::CancelForgotten, "contract: cancel");
}

#[test]
fn a_sale_that_goes_on_after_its_end_is_found() {
    is_found(Bug::SellsAfterTheEnd, "U4");
}

/// The rule that a crowd that pays finds broken in a shop with this bug.
fn is_found_by_payers(bug: Bug, rule: &str) {
    let (report, _) = crowd_at(bug, 300, |plan| {
        plan.attempts = 400;
        plan.shares = Shares::PLAIN;
        plan.pay = Some(Pay { operator: plan.target, ..Pay::new(PAYMENTS_SECRET) });
    });
    let found = report.violations.iter().any(|violation| violation.rule.starts_with(rule));
    assert!(found, "{bug:?} was not found:\n{}", report.table());
}

#[test]
fn a_callback_that_is_believed_for_no_signature_or_an_old_one_is_found() {
    is_found_by_payers(Bug::BelievesEverybody, "contract: a callback is believed");
    is_found_by_payers(Bug::ForgetsTheTime, "contract: a callback is believed");
}

#[test]
fn an_order_that_is_paid_twice_is_found() {
    is_found_by_payers(Bug::PaidTwice, "M5: a payment is applied once");
}

#[test]
fn a_payment_that_is_answered_otherwise_when_it_comes_again_is_found() {
    is_found_by_payers(Bug::RepeatIsDueBack, "M5: a payment that is sent again");
}

#[test]
fn a_payments_id_that_is_taken_with_another_content_is_found() {
    is_found_by_payers(Bug::PaymentIdReused, "M5: a payment's id");
}

#[test]
fn a_payment_of_nothing_or_of_any_amount_is_found() {
    is_found_by_payers(Bug::PaysForNothing, "contract: which payments");
    is_found_by_payers(Bug::AnyAmountWillDo, "contract: which payments");
}

#[test]
fn a_cancelled_order_that_is_paid_and_a_paid_one_that_is_cancelled_are_found() {
    is_found_by_payers(Bug::CancelledIsPaid, "M5: what a payment does");
    is_found_by_payers(Bug::CancelsWhatIsPaid, "S3");
}

#[test]
fn a_payment_that_its_order_does_not_show_is_found() {
    is_found_by_payers(Bug::HidesPayments, "A1");
}

#[test]
fn money_that_is_forgotten_or_owed_for_ever_is_found() {
    is_found_by_payers(Bug::MismatchForgotten, "M6");
    is_found_by_payers(Bug::DoneForgotten, "M6");
    is_found_by_payers(Bug::RefundOwesNothing, "M6");
}

#[test]
fn a_sold_unit_that_is_not_counted_is_found() {
    is_found_by_payers(Bug::SoldForgotten, "S1");
}

#[test]
fn an_operators_repeat_that_is_none_is_found() {
    is_found_by_payers(Bug::DoneAgain, "U3: an operator");
}
