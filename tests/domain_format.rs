//! The format of events: their bytes, which never change, and their longest lengths.

mod domain;

use domain::*;
use doorbuster::domain::command::RequestKey;
use doorbuster::domain::definition::{OnLatePayment, QUANTITY_MAX, SKUS_MAX};
use doorbuster::domain::event::{
    ActivityRedefined, ActivityRetired, Author, Change, Control, EVENT_BYTES_MAX, HoldsExpired, OrderCancelled,
    OrderPlaced, OrderRefunded, Outcome, PaymentReceived, PaymentSuspended, RefundDone, STOCK_RANGES_MAX, SaleSwitched,
    SlotsMoved, StockChange, Switch,
};
use doorbuster::domain::expire::EXPIRE_STEP_ORDERS;
use doorbuster::domain::part::Spread;
use doorbuster::domain::payment::{PAYMENT_TEXT_BYTES_MAX, Why};
use doorbuster::domain::slots::Slots;
use doorbuster::domain::{Definition, Entry, Event, Part, Refusal};
use doorbuster::ids::{Cents, Qty, ShardId, SkuIndex, UserId};

/// SKUs that an activity may have in its life, those taken off included.
const SKUS_EVER_MAX: usize = 2_000;

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
    first.part = Some(Part { home: ShardId::MAX, number: u16::MAX, spread: Spread::Splitmix });
    // Every SKU that an activity may ever have came in between.
    let control = Control {
        change_id: u64::MAX,
        version: u64::MAX,
        definition: Some(longest('a')),
        paused: true,
        closed: true,
        skus: (0..SKUS_EVER_MAX).map(|n| sku_id(&format!("{n:064}"))).collect(),
    };
    let moved = SlotsMoved { to: ShardId::MAX, sku: index(0), slots: scattered(STOCK_RANGES_MAX) };
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
    let longest_text: Box<str> = "p".repeat(PAYMENT_TEXT_BYTES_MAX).into();
    let events = [
        Event::ActivityDefined(Box::new(first)),
        Event::ActivityRedefined(Box::new(redefined)),
        Event::OrderPlaced(order),
        Event::OrderCancelled(OrderCancelled { order: u32::MAX, key: Some(key(255)) }),
        Event::HoldsExpired(HoldsExpired { orders: vec![u32::MAX; EXPIRE_STEP_ORDERS] }),
        Event::SaleSwitched(Box::new(SaleSwitched { to: Switch::Closed, change: change.clone() })),
        Event::SlotsMoved(moved),
        Event::HomeFollowed(Box::new(control)),
        Event::ActivityRetired(ActivityRetired { orders: u64::MAX }),
        Event::PaymentReceived(Box::new(PaymentReceived {
            payment: u32::MAX,
            payment_id: longest_text.clone(),
            order: u32::MAX,
            amount_cents: Cents(u64::MAX),
            currency: Some(longest_text.clone()),
            outcome: Outcome::Reacquired(scattered(QUANTITY_MAX as usize)),
        })),
        Event::OrderRefunded(Box::new(OrderRefunded {
            order: u32::MAX,
            payment: u32::MAX,
            restock: true,
            change: change.clone(),
        })),
        Event::RefundDone(Box::new(RefundDone { payment: u32::MAX, change })),
        Event::PaymentSuspended(Box::new(PaymentSuspended {
            payment: u32::MAX,
            payment_id: longest_text.clone(),
            named: longest_text.clone(),
            amount_cents: Cents(u64::MAX),
            currency: longest_text,
            why: Why::OrderRefunded,
        })),
    ];
    for event in events {
        let bytes = encode(&Entry { shard: ShardId::MAX, at_ms: ms(u64::MAX), event }).len();
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
    let mut part = first.clone();
    part.part = Some(Part { home: SHARD, number: 1, spread: Spread::Splitmix });
    let control = Control {
        change_id: 3,
        version: 2,
        definition: Some(with(|d| d.skus.clear())),
        paused: true,
        closed: false,
        skus: vec![sku_id("c")],
    };
    let moved = SlotsMoved { to: ShardId(8), sku: SkuIndex(1), slots: decode(&encode(&[(1, 2), (300, 1)])) };
    let switched = |to| Event::SaleSwitched(Box::new(SaleSwitched { to, change: change.clone() }));
    let golden = [
        (
            Event::ActivityDefined(Box::new(first)),
            "9307cd03e881a16494119aaa446f6f72627573746572a3434e59cd03e8cd23280102cd01f4b372656163717569\
             72655f6f725f726566756e64c29194a161a5534b5520616405c39301a173c0",
        ),
        (
            Event::ActivityDefined(Box::new(part)),
            "9307cd03e881a16495119aaa446f6f72627573746572a3434e59cd03e8cd23280102cd01f4b372656163717569\
             72655f6f725f726566756e64c29194a161a5534b5520616405c39301a173c0930701a131",
        ),
        (Event::SlotsMoved(moved), "9307cd03e881a16d9308019292010292cd012c01"),
        (
            Event::HomeFollowed(Box::new(control.clone())),
            "9307cd03e881a1669603029aaa446f6f72627573746572a3434e59cd03e8cd23280102cd01f4b372656163717569\
             72655f6f725f726566756e64c290c3c291a163",
        ),
        (
            Event::HomeFollowed(Box::new(Control { definition: None, skus: Vec::new(), ..control })),
            "9307cd03e881a166950302c0c3c2",
        ),
        (Event::ActivityRetired(ActivityRetired { orders: 300 }), "9307cd03e881a16591cd012c"),
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
            Event::ChangeNoted(Box::new(change.clone())),
            "9307cd03e881a16e930381a175cd038492c41001010101010101010101010101010101c4100202020202020202\
             0202020202020202",
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
    golden.into_iter().for_each(|(event, hex)| assert_bytes(event, hex));
}

#[test]
fn each_event_of_payments_has_the_bytes_that_it_always_had() {
    let change = Change { change_id: 3, by: OPERATOR, key: Some(RequestKey { key: key(1), body: key(2) }) };
    let received = |currency: Option<&str>, outcome| {
        let (currency, payment_id) = (currency.map(Into::into), "pay-1".into());
        let event = PaymentReceived { payment: 2, payment_id, order: 1, amount_cents: Cents(200), currency, outcome };
        Event::PaymentReceived(Box::new(event))
    };
    let suspended = PaymentSuspended {
        payment: 2,
        payment_id: "pay-1".into(),
        named: "D99".into(),
        amount_cents: Cents(200),
        currency: "CNY".into(),
        why: Why::UnknownOrder,
    };
    let refunded = OrderRefunded { order: 1, payment: 2, restock: true, change: change.clone() };
    let golden = [
        (received(None, Outcome::Applied), "9307cd03e881a1709602a57061792d3101ccc8c0a161"),
        (
            received(None, Outcome::Reacquired(Slots::range(3, 2))),
            "9307cd03e881a1709602a57061792d3101ccc8c081a17191920302",
        ),
        (
            received(Some("EUR"), Outcome::Due(Why::Mismatch)),
            "9307cd03e881a1709602a57061792d3101ccc8a345555281a164a16d",
        ),
        (
            Event::OrderRefunded(Box::new(refunded)),
            "9307cd03e881a162940102c3930381a175cd038492c41001010101010101010101010101010101c41002020202\
             020202020202020202020202",
        ),
        (
            Event::RefundDone(Box::new(RefundDone { payment: 2, change })),
            "9307cd03e881a1719202930381a175cd038492c41001010101010101010101010101010101c410020202020202\
             02020202020202020202",
        ),
        (Event::PaymentSuspended(Box::new(suspended)), "9307cd03e881a1759602a57061792d31a3443939ccc8a3434e59a175"),
    ];
    golden.into_iter().for_each(|(event, hex)| assert_bytes(event, hex));
    // A reason is one letter, for good.
    let letters: Vec<String> = Why::ALL.iter().map(|why| decode(&encode(why))).collect();
    assert_eq!(letters, ["l", "c", "p", "r", "m", "u", "e", "o"]);
}

#[track_caller]
fn assert_bytes(event: Event, hex: &str) {
    let entry = Entry { shard: SHARD, at_ms: ms(1_000), event };
    let bytes = encode(&entry);
    let written: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(written, hex, "{entry:?}");
    assert_eq!(decode::<Entry>(&bytes), entry);
}
