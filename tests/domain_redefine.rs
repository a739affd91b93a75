//! What a definition may become while its sale runs, and the three-way reload, as tables.

mod domain;

use domain::*;
use doorbuster::domain::definition::{OnLatePayment, SKUS_MAX, STOCK_MAX};
use doorbuster::domain::event::Author;
use doorbuster::domain::{Definition, Refusal};
use doorbuster::ids::{Cents, Qty, UserId};

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
