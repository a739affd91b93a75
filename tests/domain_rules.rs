//! A purchase, a hold and its end, as tables of (state, command) to event or refusal.

mod domain;

use domain::*;
use doorbuster::domain::definition::QUANTITY_MAX;
use doorbuster::domain::event::{HoldsExpired, Switch};
use doorbuster::domain::expire::EXPIRE_STEP_ORDERS;
use doorbuster::domain::{Command, Event, OrderState, Phase, Refusal};
use doorbuster::ids::Qty;

// A purchase

/// What can be wrong with a purchase, in the contract's order of precedence.
const FAULTS: [&str; 8] =
    ["KeyReused", "NotStarted", "Ended", "Paused", "SkuNotFound", "InvalidQuantity", "LimitReached", "SoldOut"];

/// A shop in which user 1 has order 1 by key 1, with those of [`FAULTS`] that lie in the sale, and the time to ask.
fn faulty_shop(has: impl Fn(&str) -> bool) -> (Shop, u64) {
    let mut shop = Shop::open(with(|definition| definition.payment_window_ms = END), false);
    shop.order(START, keyed(1, "a", 1, 1));
    if has("LimitReached") {
        shop.order(START, place(1, "a", 1));
    }
    if has("SoldOut") {
        let free = shop.units("a").expect("a is on sale").1;
        (0..free).for_each(|n| {
            shop.order(START, place(100 + u64::from(n), "a", 1));
        });
    }
    if has("NotStarted") {
        let mut later = shop.sale.definition().clone();
        later.starts_at_ms = ms(END - 1);
        shop.must(START, put(later));
    }
    if has("Paused") {
        shop.must(START, switch(Switch::Paused));
    }
    (shop, if has("Ended") { END } else { START + 1 })
}

fn name_of(refusal: &Refusal) -> String {
    format!("{refusal:?}").chars().take_while(char::is_ascii_alphanumeric).collect()
}

/// Not in pairs only: in every combination that can be.
#[test]
fn of_several_refusals_of_a_purchase_the_first_in_the_contract_wins() {
    let mut tried = 0;
    for bits in 1..1u32 << FAULTS.len() {
        let has = |fault: &str| FAULTS.iter().zip(0..).any(|(name, bit)| *name == fault && bits >> bit & 1 == 1);
        if has("NotStarted") && has("Ended") {
            continue; // a window that is over has begun
        }
        tried += 1;
        let (shop, at) = faulty_shop(has);
        let (sku, quantity) = (if has("SkuNotFound") { "z" } else { "a" }, if has("InvalidQuantity") { 3 } else { 1 });
        let mut order = keyed(1, sku, quantity, if has("KeyReused") { 1 } else { 2 });
        order.reference = Some("another body".into());
        let first = FAULTS.iter().find(|fault| has(fault)).expect("one fault at least");
        assert_eq!(name_of(&shop.refused(at, order)), *first, "faults {bits:08b}");
    }
    assert_eq!(tried, 255 - 64);
    let (shop, at) = faulty_shop(|_| false);
    assert!(shop.ask(at, keyed(1, "a", 1, 2)).is_ok(), "without a fault it is accepted");
}

#[test]
fn a_key_is_replayed_before_every_refusal_and_in_every_state_of_the_order() {
    for bits in 0..1u32 << FAULTS.len() {
        let has = |fault: &str| FAULTS.iter().zip(0..).any(|(name, bit)| *name == fault && bits >> bit & 1 == 1);
        let (mut shop, at) = faulty_shop(has);
        for closed in [false, true] {
            if closed {
                shop.must(at, switch(Switch::Closed));
            }
            for (ends, state) in
                [(None, OrderState::Held), (Some(true), OrderState::Cancelled), (Some(false), OrderState::Expired)]
            {
                let (mut shop, mut at) = (shop.clone(), at);
                match ends {
                    Some(true) => drop(shop.must(at, cancel(1, 1))),
                    Some(false) => {
                        at = START + END;
                        shop.must(at, Command::ExpireHolds);
                    }
                    None => {}
                }
                let replay = shop.ask(at, keyed(1, "a", 1, 1)).expect("a replay is never refused");
                assert_eq!((replay.order, replay.replayed, replay.events.len()), (Some(1), true, 0));
                assert_eq!(shop.sale.order(1).map(|order| order.state), Some(state));
                for other in [keyed(1, "b", 1, 1), keyed(1, "a", 2, 1), keyed(1, "a", -1, 1), keyed(1, "z", 1, 1)] {
                    assert_eq!(shop.refused(at, other), Refusal::KeyReused);
                }
            }
        }
    }
    let (mut shop, at) = faulty_shop(|_| false);
    assert_eq!(shop.order(at, keyed(2, "b", 1, 1)), 2, "another user's key is another key");
}

#[test]
fn refusals_say_what_a_shopper_needs() {
    let mut shop = Shop::open(definition(), false);
    assert_eq!(shop.refused(START - 1, place(1, "a", 1)), Refusal::NotStarted { starts_at_ms: ms(START) });
    for quantity in [0, -1, 3, i64::MAX, i64::MIN, (1 << 32) + 1] {
        assert_eq!(shop.refused(START, place(1, "a", quantity)), Refusal::InvalidQuantity { max: 2 });
    }
    shop.order(START, place(1, "b", 1));
    shop.order(START, place(1, "a", 1));
    assert_eq!(shop.refused(START, place(1, "a", 1)), Refusal::LimitReached { orders: vec![2, 1] });
    shop.order(START, place(2, "b", 1));
    assert_eq!(shop.refused(START, place(3, "b", 2)), Refusal::SoldOut, "one unit is free, two were asked for");
    shop.order(END - 1, place(3, "b", 1));
    assert_eq!(shop.refused(END, place(4, "a", 1)), Refusal::Ended, "the window is half-open");

    let wide = with(|definition| (definition.per_user_limit, definition.skus[0].stock) = (Qty(5_000), Qty(5_000)));
    let shop = Shop::open(wide, false);
    assert_eq!(shop.refused(START, place(1, "a", 1_001)), Refusal::InvalidQuantity { max: QUANTITY_MAX });
    assert!(shop.ask(START, place(1, "a", 1_000)).is_ok());
}

#[test]
fn a_closed_sale_has_ended_whatever_its_window_says() {
    let mut shop = Shop::open(definition(), false);
    shop.must(START - 10, switch(Switch::Paused));
    shop.must(START - 5, switch(Switch::Closed));
    for at in [START - 1, START, END] {
        assert_eq!(shop.sale.phase(ms(at)), Phase::Ended);
        assert_eq!(shop.refused(at, place(1, "a", 1)), Refusal::Ended);
    }
    for command in [
        switch(Switch::Resumed).command(),
        switch(Switch::Paused).command(),
        restock("a", 1).command(),
        put(with(|definition| definition.title.clear())).command(),
    ] {
        assert_eq!(shop.refused(START, command), Refusal::ActivityClosed);
    }
    for idempotent in [switch(Switch::Closed).command(), put(definition()).command()] {
        let again = shop.ask(START, idempotent).expect("what stands already is no change");
        assert!(again.events.is_empty() && !again.replayed);
    }
}

#[test]
fn a_user_who_orders_and_cancels_for_ever_comes_to_an_end() {
    let mut shop = Shop::open(definition(), false);
    let bound = 2 + ORDERS_BEYOND_LIMIT;
    for n in 1..=bound {
        assert_eq!(shop.order(START, place(1, "a", 1)), n);
        shop.must(START, cancel(1, n));
    }
    assert_eq!(shop.refused(START, place(1, "a", 1)), Refusal::LimitReached { orders: vec![] });
    assert_eq!(shop.order(START, place(2, "a", 1)), bound + 1, "others are not touched");
}

// Holds and their ends

#[test]
fn a_hold_is_held_until_its_deadline_and_expires_exactly_then() {
    let mut shop = Shop::open(definition(), false);
    shop.order(START, place(1, "a", 2));
    let deadline = START + WINDOW;
    assert_eq!(shop.sale.next_deadline(), Some(ms(deadline)));
    assert!(shop.ask(deadline - 1, Command::ExpireHolds).expect("time is never refused").events.is_empty());
    assert!(shop.ask(deadline - 1, cancel(1, 1)).is_ok());
    // At the same instant the deadline wins over a cancel, whichever of the two is asked first.
    let expired = Refusal::OrderNotCancellable { state: OrderState::Expired };
    assert_eq!(shop.refused(deadline, cancel(1, 1)), expired);
    assert_eq!(shop.must(deadline, Command::ExpireHolds), Event::HoldsExpired(HoldsExpired { orders: vec![1] }));
    assert_eq!(shop.refused(deadline, cancel(1, 1)), expired);
    assert_eq!((shop.units("a"), shop.sale.next_deadline()), (Some((5, 5, 0)), None));
}

#[test]
fn a_cancel_answers_the_same_twice_and_only_its_owner() {
    let mut shop = Shop::open(definition(), false);
    shop.order(START, place(1, "a", 2));
    for (user, order) in [(2, 1), (1, 0), (1, 2)] {
        assert_eq!(shop.refused(START, cancel(user, order)), Refusal::OrderNotFound);
    }
    let mut with_key = cancel(1, 1);
    with_key.key = Some(key(4));
    shop.must(START, with_key.clone());
    assert_eq!(shop.units("a"), Some((5, 5, 0)));
    for (again, replayed) in [(with_key, true), (cancel(1, 1), false)] {
        let same = shop.ask(END, again).expect("cancelling twice is the same answer");
        assert_eq!((same.order, same.replayed, same.events.len()), (Some(1), replayed, 0));
    }
}

#[test]
fn expiry_goes_in_bounded_steps_in_the_order_of_the_deadlines() {
    let orders = u32::try_from(EXPIRE_STEP_ORDERS).expect("a step is small") + 44;
    let mut shop = Shop::open(with(|definition| definition.skus[0].stock = Qty(2 * orders)), false);
    (0..orders).for_each(|n| {
        shop.order(START + u64::from(n), place(u64::from(n), "a", 1));
    });
    let mut shorter = shop.sale.definition().clone();
    shorter.payment_window_ms = WINDOW / 2;
    let at = START + u64::from(orders);
    shop.must(at, put(shorter));
    (0..orders).for_each(|n| {
        shop.order(at, place(u64::from(orders + n), "a", 1));
    });
    assert_eq!(shop.sale.next_deadline(), Some(ms(START + WINDOW)));

    let (mut expired, mut steps) = (Vec::new(), Vec::new());
    while let Event::HoldsExpired(event) = &shop
        .ask(END, Command::ExpireHolds)
        .map(|decision| decision.events)
        .expect("time is never refused")
        .first()
        .cloned()
        .unwrap_or(Event::HoldsExpired(HoldsExpired { orders: vec![] }))
    {
        if event.orders.is_empty() {
            break;
        }
        steps.push(event.orders.len());
        expired.extend(event.orders.iter().map(|n| shop.sale.order(*n).expect("it was placed").expires_at_ms));
        shop.must(END, Command::ExpireHolds);
    }
    assert_eq!(steps, [EXPIRE_STEP_ORDERS, EXPIRE_STEP_ORDERS, 88]);
    assert!(expired.is_sorted(), "stragglers with a shorter window take their turn");
    assert_eq!((shop.units("a"), shop.sale.next_deadline()), (Some((2 * orders, 2 * orders, 0)), None));
}
