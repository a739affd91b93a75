//! Every rule finds the bug that it is there for.

mod shop;

use shop::{Bug, crowd_at};

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
