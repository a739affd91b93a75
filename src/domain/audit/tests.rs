//! Bugs that no journal shows: the state is changed behind the auditor's back.

use super::*;
use crate::domain::definition::{Definition, OnLatePayment, SkuDefinition};
use crate::domain::event::{
    ActivityDefined, Author, Change, OrderPlaced, Outcome, PaymentReceived, PaymentSuspended, Switch,
};
use crate::domain::order::OrderState;
use crate::domain::part::Spread;
use crate::domain::payment::{PaymentStep, Why};
use crate::domain::slots::Slots;
use crate::ids::{ActivityId, Cents, Qty, SkuIndex, UnixMillis, UserId};

fn entry(at_ms: u64, event: Event) -> Entry {
    Entry { shard: ShardId(1), at_ms: UnixMillis(at_ms), event }
}

fn order(order: u32) -> Entry {
    let event = OrderPlaced {
        order,
        user: UserId(order.into()),
        sku: SkuIndex(0),
        slots: Slots::range(order, 1),
        amount_cents: Cents(1),
        expires_at_ms: UnixMillis(500),
        key: None,
        reference: None,
    };
    entry(10, Event::OrderPlaced(event))
}

/// An auditor after one order of ten units.
fn auditor() -> Auditor {
    let sku = SkuDefinition {
        sku_id: "a".parse().expect("a SKU id"),
        title: String::new(),
        price_cents: Cents(1),
        stock: Qty(10),
    };
    let definition = Definition {
        title: String::new(),
        currency: "CNY".to_owned(),
        starts_at_ms: UnixMillis(1),
        ends_at_ms: UnixMillis(1_000),
        shards: 1,
        per_user_limit: Qty(1),
        payment_window_ms: 490,
        on_late_payment: OnLatePayment::Refund,
        shared_sku: false,
        skus: vec![sku],
        packets: None,
    };
    let change = Change { change_id: 1, by: Author::StartUp, key: None };
    let event = ActivityDefined { activity_id: ActivityId(1), definition, from_catalog: false, change, part: None };
    let mut auditor = Auditor::new(Keep::Standing);
    auditor.observe(Seq(1), &entry(0, Event::ActivityDefined(Box::new(event))));
    auditor.observe(Seq(2), &order(1));
    auditor
}

fn broken(auditor: Auditor) -> Vec<Id> {
    let report = auditor.finish();
    report.findings().filter(|(_, finding)| finding.broken > 0).map(|(id, _)| id).collect()
}

/// Bugs in `apply`, which no journal shows: the sale's state is changed behind the auditor's back.
#[test]
fn a_sale_that_differs_from_the_books_is_named() {
    type Plant = fn(&mut Sale);
    let plants: [(&[Id], &str, Plant); 5] = [
        (&[Id::S1], "a unit is held that is not", |sale| sale.skus[0].held += 1),
        (&[Id::S1, Id::S2], "a free unit is lost", |sale| sale.skus[0].free.remove(&Slots::range(10, 1))),
        (&[Id::S2], "a held slot is free as well, and another is lost", |sale| {
            sale.skus[0].free.remove(&Slots::range(10, 1));
            sale.skus[0].free.add(&Slots::range(1, 1));
        }),
        (&[Id::S2], "a slot is free that never was", |sale| {
            sale.skus[0].free.remove(&Slots::range(10, 1));
            sale.skus[0].free.add(&Slots::range(11, 1));
        }),
        (&[Id::S3], "an order is shown in another state", |sale| {
            let order = sale.orders.get_mut(1).expect("it was placed");
            order.state = OrderState::Cancelled;
        }),
    ];
    for (ids, what, plant) in plants {
        let mut auditor = auditor();
        plant(&mut auditor.shards.get_mut(&ShardId(1)).expect("it is defined").0);
        auditor.observe(Seq(3), &order(2));
        assert_eq!(broken(auditor), ids, "{what}");
    }
    assert_eq!(broken(auditor()), []);
}

/// An auditor after order 1 was paid and order 2 placed, and one payment that nobody has an order for.
fn auditor_of_payments() -> Auditor {
    let mut auditor = auditor();
    auditor.observe(Seq(3), &paid(1, 1, "one", Outcome::Applied));
    auditor.observe(Seq(4), &order(2));
    let event = PaymentSuspended {
        payment: 1,
        payment_id: "nobody's".into(),
        named: "x".into(),
        amount_cents: Cents(5),
        currency: "CNY".into(),
        why: Why::UnknownOrder,
    };
    let shard = Suspense::SHARD;
    auditor.observe(Seq(5), &Entry { shard, ..entry(13, Event::PaymentSuspended(Box::new(event))) });
    auditor
}

fn paid(payment: u32, order: u32, id: &str, outcome: Outcome) -> Entry {
    let (payment_id, amount_cents) = (id.into(), Cents(1));
    let event = PaymentReceived { payment, payment_id, order, amount_cents, currency: None, outcome };
    entry(10, Event::PaymentReceived(Box::new(event)))
}

/// Bugs in what is kept of payments, which no journal shows either.
#[test]
fn money_that_differs_from_the_books_is_named() {
    type Plant = fn(&mut Auditor);
    let plants: [(&[Id], &str, Plant); 7] = [
        (&[Id::S1], "a unit is sold that is not", |auditor| the_sale(auditor).skus[0].sold += 1),
        (&[Id::S1], "a sold unit is held", |auditor| {
            let sku = &mut the_sale(auditor).skus[0];
            (sku.held, sku.sold) = (sku.held + 1, sku.sold - 1);
        }),
        (&[Id::S2], "a sold slot is free as well, and another is lost", |auditor| {
            let free = &mut the_sale(auditor).skus[0].free;
            free.remove(&Slots::range(10, 1));
            free.add(&Slots::range(1, 1));
        }),
        (&[Id::M5], "a payment is owed back that is applied, and its order is paid", |auditor| {
            let change = Change { change_id: 9, by: Author::StartUp, key: None };
            the_sale(auditor).payments.step(1, PaymentStep::Return, UnixMillis(13), &change);
        }),
        (&[Id::M6], "a paid order is dearer than its payment", |auditor| {
            the_sale(auditor).orders.get_mut(1).expect("it was placed").amount_cents = Cents(2);
        }),
        (&[Id::S3, Id::M6], "a paid order is shown as refunded", |auditor| {
            the_sale(auditor).orders.get_mut(1).expect("it was placed").state = OrderState::Refunded;
        }),
        (&[Id::M5], "a suspended payment is shown as paid back", |auditor| {
            let change = Change { change_id: 9, by: Author::StartUp, key: None };
            auditor.account.state.payments.step(1, PaymentStep::PayBack, UnixMillis(13), &change);
        }),
    ];
    for (ids, what, plant) in plants {
        let mut auditor = auditor_of_payments();
        plant(&mut auditor);
        auditor.observe(Seq(6), &paid(2, 2, "two", Outcome::Applied));
        assert_eq!(broken(auditor), ids, "{what}");
    }
    assert_eq!(broken(auditor_of_payments()), []);
}

fn the_sale(auditor: &mut Auditor) -> &mut Sale {
    &mut auditor.shards.get_mut(&ShardId(1)).expect("it is defined").0
}

/// A fault in the books of money themselves: sums that no longer say what the sales do.
#[test]
fn sums_that_lose_money_are_named() {
    for lose in [
        (|auditor| drop(std::mem::take(&mut auditor.account.payments))) as fn(&mut Auditor),
        |auditor| auditor.left_sums.entry("CNY".into()).or_default().received += 1,
        |auditor| auditor.left_sums.entry("CNY".into()).or_default().cost += 1,
        |auditor| auditor.left_sums.entry("CNY".into()).or_default().done += 1,
        // What one owner has too much and another too little is a fault of both.
        |auditor| {
            auditor.left_sums.entry("CNY".into()).or_default().received += 1;
            the_sale(auditor).orders.get_mut(1).expect("it was placed").amount_cents = Cents(2);
        },
    ] {
        let mut auditor = auditor_of_payments();
        lose(&mut auditor);
        let broken = broken(auditor);
        assert!(broken == [Id::M6] || broken == [Id::M5], "{broken:?}");
    }
}

#[test]
fn an_event_that_touches_no_unit_compares_none() {
    let mut auditor = auditor();
    let before = auditor.report().finding(Id::S1).map(|finding| finding.checked);
    let change = Change { change_id: 2, by: Author::StartUp, key: None };
    let switched = crate::domain::event::SaleSwitched { to: Switch::Paused, change };
    auditor.observe(Seq(3), &entry(11, Event::SaleSwitched(Box::new(switched))));
    assert_eq!(auditor.report().finding(Id::S1).map(|finding| finding.checked), before);
}

/// An auditor after a home with ten units has given four of them to its other part.
fn auditor_of_parts() -> Auditor {
    let sole = auditor().shards.remove(&ShardId(1)).expect("it is defined").0;
    let definition = Definition { shards: 2, ..sole.definition().clone() };
    let change = Change { change_id: 1, by: Author::StartUp, key: None };
    let mut auditor = Auditor::new(Keep::Standing);
    for number in 0..2 {
        let part = Some(Part { home: ShardId(1), number, spread: Spread::default() });
        let (definition, change) = (definition.clone(), change.clone());
        let first = ActivityDefined { activity_id: ActivityId(1), definition, from_catalog: false, change, part };
        let shard = ShardId(1 + u32::from(number));
        let event = Event::ActivityDefined(Box::new(first));
        auditor.observe(Seq(1 + u64::from(number)), &Entry { shard, ..entry(0, event) });
    }
    auditor.observe(Seq(3), &entry(1, Event::SlotsMoved(moved(7, 4))));
    auditor
}

fn moved(first: u32, count: u32) -> SlotsMoved {
    SlotsMoved { to: ShardId(2), sku: SkuIndex(0), slots: Slots::range(first, count) }
}

#[test]
fn a_part_that_differs_from_the_books_is_named() {
    type Plant = fn(&mut (Sale, Books));
    let plants: [(&[Id], &str, ShardId, Plant); 7] = [
        (&[Id::S1, Id::S2], "the giver keeps a slot", ShardId(1), |(sale, _)| {
            sale.skus[0].free.add(&Slots::range(7, 1));
        }),
        (&[Id::S1, Id::S2], "the taker does not take a slot in", ShardId(2), |(sale, _)| {
            sale.skus[0].free.remove(&Slots::range(7, 1));
        }),
        (&[Id::S1, Id::S5], "a part has what its home never gave", ShardId(2), |(sale, books)| {
            sale.receive(SkuIndex(0), &Slots::range(11, 1));
            books.take_in(&moved(11, 1));
        }),
        (&[Id::S1, Id::S5], "a slot is in no part", ShardId(2), |(sale, books)| {
            sale.skus[0].free.remove(&Slots::range(8, 1));
            books.give_away(&moved(8, 1));
        }),
        (
            &[Id::S5],
            "a part has what its home never gave, and another slot is in no part",
            ShardId(2),
            |(sale, books)| {
                sale.receive(SkuIndex(0), &Slots::range(11, 1));
                books.take_in(&moved(11, 1));
                sale.skus[0].free.remove(&Slots::range(8, 1));
                books.give_away(&moved(8, 1));
            },
        ),
        (&[Id::S5], "a slot is in two parts, and another in none", ShardId(2), |(sale, books)| {
            sale.receive(SkuIndex(0), &Slots::range(1, 1));
            books.take_in(&moved(1, 1));
            sale.skus[0].free.remove(&Slots::range(8, 1));
            books.give_away(&moved(8, 1));
        }),
        (&[Id::U4], "a part is paused that is not", ShardId(1), |(sale, _)| sale.paused = true),
    ];
    for (ids, what, shard, plant) in plants {
        let mut auditor = auditor_of_parts();
        plant(auditor.shards.get_mut(&shard).expect("it is defined"));
        auditor.observe(Seq(4), &entry(2, Event::SlotsMoved(moved(5, 1))));
        let change = Change { change_id: 2, by: Author::StartUp, key: None };
        let switched = crate::domain::event::SaleSwitched { to: Switch::Closed, change };
        auditor.observe(Seq(5), &entry(3, Event::SaleSwitched(Box::new(switched))));
        assert_eq!(broken(auditor), ids, "{what}");
    }
    assert_eq!(broken(auditor_of_parts()), []);
}
