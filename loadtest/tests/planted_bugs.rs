//! Every rule finds the bug that it is there for.

mod shop;

use std::time::Duration;

use loadtest::{Pay, Shares};
use shop::{Bug, PAYMENTS_SECRET, crowd_at, rain_at};

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

/// The rule that a crowd finds broken under a rain with this bug.
fn is_found_in_rain(bug: Bug, rule: &str) {
    let (report, _) = rain_at(bug, |plan| {
        // Some of the bugs show only where packets are left, or where whoever repeats comes before the next.
        plan.attempts = if matches!(bug, Bug::NeverRefunds | Bug::RefundForgotten) { 4 } else { 300 };
        (plan.connections, plan.timeout) = (1, Duration::from_secs(2));
        plan.shares = Shares { repeat: 0.5, repeat_without_key: 0.5, poll: 0.5, latecomers: 0.0, ..Shares::default() };
    });
    let found = report.violations.iter().any(|violation| violation.rule.starts_with(rule));
    assert!(found, "{bug:?} was not found:\n{}", report.table());
}

#[test]
fn a_grab_that_is_lost_is_found() {
    is_found_in_rain(Bug::GrabLost, "M1: what was granted");
    is_found_in_rain(Bug::GrabForgotten, "A2");
}

#[test]
fn a_packet_that_is_granted_twice_is_found() {
    is_found_in_rain(Bug::PacketTwice, "S2: no packet");
    is_found_in_rain(Bug::OrderIdTwice, "U2");
}

#[test]
fn a_packet_that_holds_a_cent_too_much_or_too_little_is_found() {
    is_found_in_rain(Bug::WrongAmount, "M4: a packet holds");
    is_found_in_rain(Bug::HugeAmount, "M2: a packet");
    is_found_in_rain(Bug::AnotherSeed, "M4: the seed");
}

#[test]
fn a_budget_that_does_not_add_up_or_is_not_given_back_is_found() {
    is_found_in_rain(Bug::RefundForgotten, "M1: granted + remaining");
    is_found_in_rain(Bug::NeverRefunds, "M1: what nobody grabbed");
    is_found_in_rain(Bug::SoldOutEarly, "S6");
}

#[test]
fn a_key_with_two_packets_and_a_repeat_that_is_refused_are_found() {
    is_found_in_rain(Bug::KeyForgotten, "U3: one key");
    is_found_in_rain(Bug::ReplayNamesAnother, "U3: one key");
    is_found_in_rain(Bug::ReplayRefused, "contract: refusals");
}

#[test]
fn a_limit_that_is_none_or_is_told_wrongly_is_found() {
    is_found_in_rain(Bug::LimitForgotten, "M2: grabs");
    is_found_in_rain(Bug::LimitForEveryone, "U1: the limit");
    is_found_in_rain(Bug::LimitNamesNothing, "contract: `limit_reached`");
}

#[test]
fn a_500_under_the_rain_is_found() {
    is_found_in_rain(Bug::InternalError, "contract: status");
}
