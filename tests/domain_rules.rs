//! The sale's rules as tables of (state, command) to event or refusal, and the format of its events.

mod domain;

use domain::*;
use doorbuster::domain::command::RequestKey;
use doorbuster::domain::definition::{OnLatePayment, QUANTITY_MAX, SKUS_MAX, STOCK_MAX};
use doorbuster::domain::event::{
    ActivityRedefined, Author, Change, EVENT_BYTES_MAX, HoldsExpired, OrderCancelled, OrderPlaced, STOCK_RANGES_MAX,
    SaleSwitched, StockChange, Switch,
};
use doorbuster::domain::expire::EXPIRE_STEP_ORDERS;
use doorbuster::domain::slots::Slots;
use doorbuster::domain::{Command, Definition, Entry, Event, OrderState, Phase, Refusal};
use doorbuster::ids::{Cents, Qty, SkuIndex, UserId};

// ---------------------------------------------------------------------------------------------------------------
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

// ---------------------------------------------------------------------------------------------------------------
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

// ---------------------------------------------------------------------------------------------------------------
// Redefinitions

type Edit = fn(&mut Definition);

/// Every field that may change, with two ways to change it.
const FIELDS: [(&str, Edit, Edit); 10] = [
    ("title", |d| d.title = "ours".to_owned(), |d| d.title = "theirs".to_owned()),
    ("starts_at", |d| d.starts_at_ms.0 = START + 1, |d| d.starts_at_ms.0 = START + 2),
    ("ends_at", |d| d.ends_at_ms.0 = END + 1, |d| d.ends_at_ms.0 = END + 2),
    ("per_user_limit", |d| d.per_user_limit = Qty(7), |d| d.per_user_limit = Qty(8)),
    ("payment_window", |d| d.payment_window_ms = WINDOW + 1, |d| d.payment_window_ms = WINDOW + 2),
    ("on_late_payment", |d| d.on_late_payment = OnLatePayment::Refund, |d| d.on_late_payment = OnLatePayment::Refund),
    ("shared_sku", |d| d.shared_sku = true, |d| d.shared_sku = true),
    ("skus.a.title", |d| d.skus[0].title = "ours".to_owned(), |d| d.skus[0].title = "theirs".to_owned()),
    ("skus.a.price", |d| d.skus[0].price_cents = Cents(7), |d| d.skus[0].price_cents = Cents(8)),
    ("skus.b.price", |d| d.skus[1].price_cents = Cents(7), |d| d.skus[1].price_cents = Cents(8)),
];

#[test]
fn what_may_change_changes_and_what_may_not_is_named() {
    for (field, edit, _) in FIELDS {
        let mut shop = Shop::open(definition(), false);
        shop.order(START, place(1, "a", 1));
        shop.must(START + 1, put(with(edit)));
        assert_eq!((shop.sale.definition(), shop.sale.version()), (&with(edit), 2), "{field}");
        assert_eq!(
            shop.sale.order(1).map(|order| (order.amount_cents, order.expires_at_ms)),
            Some((Cents(100), ms(START + WINDOW))),
            "{field}: what is held is not touched"
        );
    }
    let never: [(&str, u64, Edit); 6] = [
        ("shards", START, |d| d.shards = 2),
        ("currency", START, |d| d.currency = "EUR".to_owned()),
        ("starts_at", END, |d| d.starts_at_ms.0 += 1),
        ("ends_at", END, |d| d.ends_at_ms.0 += 1),
        ("skus.a", START, |d| drop(d.skus.remove(0))),
        ("skus.a", END + END, |d| drop(d.skus.remove(0))),
    ];
    for (field, at, edit) in never {
        let mut shop = Shop::open(definition(), false);
        shop.order(START, place(1, "a", 1));
        assert_eq!(shop.refused(at, put(with(edit))), Refusal::ImmutableField { field: field.to_owned() });
    }
    let mut conflicting = put(with(|d| d.shards = 2));
    conflicting.if_version = Some(2);
    assert_eq!(Shop::open(definition(), false).refused(START, conflicting), Refusal::VersionConflict { version: 1 });
}

#[test]
fn stock_is_lowered_by_what_is_free_and_no_more() {
    let mut shop = Shop::open(definition(), false);
    shop.order(START, place(1, "a", 2));
    let to = |stock| put(with(|d| d.skus[0].stock = Qty(stock)));
    let too_low = Refusal::StockTooLow { sku: sku_id("a"), largest_reduction: 3 };
    assert_eq!(shop.refused(START, to(1)), too_low);
    shop.must(START, to(2));
    assert_eq!(shop.units("a"), Some((2, 0, 2)));
    shop.must(START, to(4));
    assert_eq!(shop.units("a"), Some((4, 2, 2)), "raising adds the difference");
    shop.must(START, cancel(1, 1));
    shop.must(START, put(with(|d| drop(d.skus.remove(0)))));
    assert_eq!((shop.units("a"), shop.refused(START, place(2, "a", 1))), (None, Refusal::SkuNotFound));
    shop.must(START, to(1));
    assert_eq!(shop.units("a"), Some((1, 1, 0)), "a SKU that comes back has fresh units");
    let view = shop.order(START, place(2, "a", 1));
    let slots: Vec<u32> = shop.sale.order(view).expect("it was placed").slots.iter().collect();
    assert_eq!(slots, [8], "1 to 5 were the first stock and 6 to 7 the raise: no number is given twice");
    assert_eq!(shop.refused(START, restock("z", 1)), Refusal::SkuNotFound);
    for add in [0, -1, i64::from(STOCK_MAX), i64::MAX] {
        assert_eq!(shop.refused(START, restock("a", add)), Refusal::InvalidQuantity { max: STOCK_MAX - 1 });
    }
}

/// What may change is what a reload carries over, field by field.
#[test]
fn a_reload_applies_what_changed_in_the_catalogue_and_keeps_what_a_person_changed() {
    for (field, ours, theirs) in FIELDS {
        for (has_ours, has_theirs) in [(true, false), (false, true), (true, true)] {
            let mut shop = Shop::open(definition(), true);
            if has_ours {
                shop.must(START, put(with(ours)));
            }
            let file = if has_theirs { with(theirs) } else { with(|d| d.title = "another title".to_owned()) };
            shop.must(START, reload(file.clone()));
            let mut wanted = definition();
            if has_ours {
                ours(&mut wanted)
            }
            if has_theirs {
                theirs(&mut wanted)
            } else {
                wanted.title = file.title.clone()
            }
            assert_eq!(*shop.sale.definition(), wanted, "{field}: ours {has_ours}, theirs {has_theirs}");
            let again = shop.ask(START, reload(file)).expect("an unchanged file is no change");
            assert!(again.events.is_empty(), "{field}");
        }
    }
}

#[test]
fn a_reload_moves_stock_by_the_difference_and_settles_skus_on_both_sides() {
    // base, what a person did, the file, what stands then; every list is (SKU, stock)
    type Skus = &'static [(&'static str, u32)];
    let table: [(&str, Skus, Skus, Skus, Skus); 9] = [
        ("a restock survives", &[("a", 5)], &[("a", 9)], &[("a", 6)], &[("a", 10)]),
        ("a lowering survives", &[("a", 5)], &[("a", 2)], &[("a", 6)], &[("a", 3)]),
        ("less in the file takes away", &[("a", 5)], &[("a", 9)], &[("a", 3)], &[("a", 7)]),
        ("a person's SKU stays", &[("a", 5)], &[("a", 5), ("c", 1)], &[("a", 6)], &[("a", 6), ("c", 1)]),
        (
            "the file's new SKU comes",
            &[("a", 5)],
            &[("a", 5), ("c", 1)],
            &[("a", 5), ("d", 2)],
            &[("a", 5), ("c", 1), ("d", 2)],
        ),
        ("the file takes a SKU off", &[("a", 5), ("b", 3)], &[("a", 9), ("b", 4)], &[("a", 5)], &[("a", 9)]),
        ("what a person took off stays off", &[("a", 5), ("b", 3)], &[("a", 5)], &[("a", 6), ("b", 3)], &[("a", 6)]),
        ("even where the file changes it", &[("a", 5), ("b", 3)], &[("a", 5)], &[("a", 6), ("b", 8)], &[("a", 6)]),
        ("both add the same", &[("a", 5)], &[("a", 5), ("c", 1)], &[("a", 5), ("c", 4)], &[("a", 5), ("c", 4)]),
    ];
    let list = |skus: Skus| with(|d| d.skus = skus.iter().map(|(name, stock)| sku(name, *stock)).collect());
    for (what, base, ours, theirs, wanted) in table {
        let mut shop = Shop::open(list(base), true);
        if ours != base {
            shop.must(START, put(list(ours)));
        }
        shop.must(START, reload(list(theirs)));
        assert_eq!(*shop.sale.definition(), list(wanted), "{what}");
        for (name, stock) in wanted {
            assert_eq!(shop.units(name), Some((*stock, *stock, 0)), "{what}");
        }
    }
    // A SKU that was off comes back once the catalogue has dropped it and lists it anew.
    let mut shop = Shop::open(list(&[("a", 5), ("b", 3)]), true);
    shop.must(START, put(list(&[("a", 5)])));
    shop.must(START, reload(list(&[("a", 5)])));
    shop.must(START, reload(list(&[("a", 5), ("b", 2)])));
    assert_eq!(shop.units("b"), Some((2, 2, 0)));
}

#[test]
fn two_sound_definitions_that_merge_into_an_unsound_one_are_refused() {
    let mut shop = Shop::open(definition(), true);
    shop.must(START, put(with(|d| d.ends_at_ms = ms(5_000))));
    let late = reload(with(|d| d.starts_at_ms = ms(5_000)));
    assert_eq!(shop.refused(START, late), Refusal::TooLarge { what: "starts_at: before ends_at" });

    let mut shop = Shop::open(definition(), true);
    shop.must(START, restock("a", i64::from(STOCK_MAX) - 10));
    let more = reload(with(|d| d.skus[0].stock = Qty(11)));
    assert_eq!(shop.refused(START, more), Refusal::TooLarge { what: "a SKU's stock: at most 100,000,000" });

    let many = |letter: char| with(|d| d.skus = (0..SKUS_MAX - 2).map(|n| sku(&format!("{letter}{n}"), 1)).collect());
    let joined = |letter| with(|d| d.skus.extend(many(letter).skus));
    let mut shop = Shop::open(definition(), true);
    shop.must(START, put(joined('x')));
    assert_eq!(shop.refused(START, reload(joined('y'))), Refusal::TooLarge { what: "an activity's SKUs: at most 200" });
}

#[test]
fn a_reload_that_would_take_too_much_says_how_much_it_may() {
    let mut shop = Shop::open(with(|d| d.skus[0].stock = Qty(20)), true);
    shop.must(START, put(with(|d| d.skus[0].stock = Qty(5))));
    shop.order(START, place(1, "a", 2));
    let empty = reload(with(|d| d.skus[0].stock = Qty(1)));
    let too_low = Refusal::StockTooLow { sku: sku_id("a"), largest_reduction: 3 };
    assert_eq!(shop.refused(START, empty), too_low, "three of the five are free");
}

#[test]
fn an_operators_key_is_replayed_and_its_reuse_refused() {
    let mut shop = Shop::open(definition(), false);
    let ask = |body, change_id| {
        let mut add = restock("a", 2);
        add.request = request(change_id, Some((1, body)));
        add
    };
    shop.must(START, ask(1, 5));
    let again = shop.ask(END, ask(1, 6)).expect("a replay is never refused");
    assert!(again.replayed && again.events.is_empty());
    assert_eq!(shop.refused(END, ask(2, 6)), Refusal::KeyReused);
    let mut other = ask(2, 6);
    other.request.by = Author::Operator(UserId(901));
    assert!(shop.ask(START, other).is_ok(), "another operator's key is another key");
    assert_eq!((shop.units("a"), shop.sale.last_change_id()), (Some((7, 7, 0)), 5));
}

// ---------------------------------------------------------------------------------------------------------------
// The format

/// A definition that is as long as any may be.
fn longest(letter: char) -> Definition {
    with(|d| {
        d.title = "t".repeat(200);
        (d.starts_at_ms.0, d.ends_at_ms.0, d.payment_window_ms) = (u64::MAX, u64::MAX, u64::MAX);
        (d.shards, d.per_user_limit) = (u16::MAX, Qty(u32::MAX));
        d.skus = (0..SKUS_MAX)
            .map(|n| {
                let mut sku = sku(&format!("{letter}{n:063}"), u32::MAX);
                (sku.title, sku.price_cents) = ("s".repeat(200), Cents(u64::MAX));
                sku
            })
            .collect();
    })
}

/// As many ranges with numbers as long as any may be.
fn scattered(ranges: usize) -> Slots {
    let long = |n: usize| (u32::MAX - 200_000_000 + u32::try_from(n).expect("few"), u32::MAX);
    decode(&encode(&(0..ranges).map(long).collect::<Vec<_>>()))
}

#[test]
fn no_event_is_longer_than_the_journal_allows() {
    let change =
        Change { change_id: u64::MAX, by: Author::Operator(UserId(u64::MAX)), key: request(1, Some((255, 255))).key };
    let index = |n: usize| SkuIndex(1_000 + u16::try_from(n).expect("few"));
    // Every SKU is replaced, and all that goes lies scattered.
    let share = STOCK_RANGES_MAX / SKUS_MAX;
    let rest = STOCK_RANGES_MAX - share * (SKUS_MAX - 1);
    let mut stock: Vec<StockChange> = (0..SKUS_MAX)
        .map(|n| StockChange::Removed { sku: index(n), slots: scattered(if n == 0 { rest } else { share }) })
        .collect();
    stock.extend((0..SKUS_MAX).map(|n| StockChange::Added { sku: index(n), slots: scattered(1) }));
    let mut first = defined(longest('a'), true);
    first.change = change.clone();
    let redefined = ActivityRedefined {
        version: u64::MAX,
        definition: longest('a'),
        catalog: Some(longest('b')),
        stock,
        change: change.clone(),
    };
    let order = OrderPlaced {
        order: u32::MAX,
        user: UserId(u64::MAX),
        sku: index(0),
        slots: scattered(QUANTITY_MAX as usize),
        amount_cents: Cents(u64::MAX),
        expires_at_ms: ms(u64::MAX),
        key: Some(key(255)),
        reference: Some("r".repeat(64).into()),
    };
    let events = [
        Event::ActivityDefined(Box::new(first)),
        Event::ActivityRedefined(Box::new(redefined)),
        Event::OrderPlaced(order),
        Event::OrderCancelled(OrderCancelled { order: u32::MAX, key: Some(key(255)) }),
        Event::HoldsExpired(HoldsExpired { orders: vec![u32::MAX; EXPIRE_STEP_ORDERS] }),
        Event::SaleSwitched(Box::new(SaleSwitched { to: Switch::Closed, change })),
    ];
    for event in events {
        let bytes = encode(&Entry { shard: doorbuster::ids::ShardId::MAX, at_ms: ms(u64::MAX), event }).len();
        assert!(bytes <= EVENT_BYTES_MAX, "{bytes} bytes");
    }
}

#[test]
fn a_change_that_names_too_many_ranges_is_refused_and_can_be_made_in_steps() {
    let ranges = u32::try_from(STOCK_RANGES_MAX).expect("the bound is small") + 10;
    let mut shop = Shop::open(with(|d| d.skus[0].stock = Qty(2 * ranges)), false);
    (1..=2 * ranges).for_each(|n| {
        shop.order(START, place(n.into(), "a", 1));
    });
    (1..=ranges).for_each(|n| drop(shop.must(START, cancel((2 * n - 1).into(), 2 * n - 1))));
    let to = |stock| put(with(|d| d.skus[0].stock = Qty(stock)));
    let too_low = Refusal::StockTooLow { sku: sku_id("a"), largest_reduction: ranges - 10 };
    assert_eq!(shop.refused(START, to(ranges)), too_low);
    shop.must(START, to(ranges + 10));
    shop.must(START, to(ranges));
    assert_eq!(shop.units("a"), Some((ranges, 0, ranges)));
}

/// Journals are kept for good: these bytes must decode to these events for ever. A failure here means that the format
/// changed. Fields are added at the end with a default, and variants are added; nothing else is.
#[test]
fn each_event_has_the_bytes_that_it_always_had() {
    let keys = Some(RequestKey { key: key(1), body: key(2) });
    let change = Change { change_id: 3, by: OPERATOR, key: keys };
    let mut first = defined(with(|d| d.skus.truncate(1)), true);
    first.change.key = None;
    let redefined = ActivityRedefined {
        version: 2,
        definition: with(|d| d.skus.clear()),
        catalog: Some(with(|d| (d.on_late_payment, d.skus) = (OnLatePayment::Refund, Vec::new()))),
        stock: vec![
            StockChange::Removed { sku: SkuIndex(0), slots: decode(&encode(&[(1, 2), (4, 2)])) },
            StockChange::Added { sku: SkuIndex(2), slots: Slots::range(1, 300) },
        ],
        change: change.clone(),
    };
    let order = OrderPlaced {
        order: 1,
        user: UserId(42),
        sku: SkuIndex(0),
        slots: Slots::range(3, 2),
        amount_cents: Cents(200),
        expires_at_ms: ms(1_500),
        key: Some(key(9)),
        reference: Some("cart".into()),
    };
    let switched = |to| Event::SaleSwitched(Box::new(SaleSwitched { to, change: change.clone() }));
    let golden = [
        (
            Event::ActivityDefined(Box::new(first)),
            "9307cd03e881a16494119aaa446f6f72627573746572a3434e59cd03e8cd23280102cd01f4b372656163717569\
             72655f6f725f726566756e64c29194a161a5534b5520616405c39301a173c0",
        ),
        (
            Event::OrderPlaced(order.clone()),
            "9307cd03e881a16f98012a0091920302ccc8cd05dcc41009090909090909090909090909090909a463617274",
        ),
        (
            Event::OrderPlaced(OrderPlaced { key: None, reference: None, ..order }),
            "9307cd03e881a16f98012a0091920302ccc8cd05dcc0c0",
        ),
        (
            Event::OrderCancelled(OrderCancelled { order: 1, key: Some(key(8)) }),
            "9307cd03e881a1639201c41008080808080808080808080808080808",
        ),
        (Event::HoldsExpired(HoldsExpired { orders: vec![2, 300] }), "9307cd03e881a178919202cd012c"),
        (
            Event::ActivityRedefined(Box::new(redefined)),
            "9307cd03e881a17295029aaa446f6f72627573746572a3434e59cd03e8cd23280102cd01f4b372656163717569\
             72655f6f725f726566756e64c2909aaa446f6f72627573746572a3434e59cd03e8cd23280102cd01f4a6726566\
             756e64c2909281a17292009292010292040281a1619202919201cd012c930381a175cd038492c4100101010101\
             0101010101010101010101c41002020202020202020202020202020202",
        ),
        (
            switched(Switch::Paused),
            "9307cd03e881a17392a170930381a175cd038492c41001010101010101010101010101010101c4100202020202\
             0202020202020202020202",
        ),
        (
            switched(Switch::Resumed),
            "9307cd03e881a17392a172930381a175cd038492c41001010101010101010101010101010101c4100202020202\
             0202020202020202020202",
        ),
        (
            switched(Switch::Closed),
            "9307cd03e881a17392a163930381a175cd038492c41001010101010101010101010101010101c4100202020202\
             0202020202020202020202",
        ),
    ];
    for (event, hex) in golden {
        let entry = Entry { shard: SHARD, at_ms: ms(1_000), event };
        let bytes = encode(&entry);
        let written: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(written, hex, "{entry:?}");
        assert_eq!(decode::<Entry>(&bytes), entry);
    }
}
