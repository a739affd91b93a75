//! Every invariant that the auditor checks of payments and refunds, with a planted bug: it names that one, no other, and
//! does not panic.

mod domain;

use domain::damage::damage_each;
use domain::parts::*;
use domain::*;
use doorbuster::domain::audit::{Auditor, Id, Keep};
use doorbuster::domain::command::Suspend;
use doorbuster::domain::definition::OnLatePayment;
use doorbuster::domain::event::{
    HoldsExpired, OrderRefunded, Outcome, PaymentReceived, PaymentSuspended, RefundDone, Switch,
};
use doorbuster::domain::payment::Why;
use doorbuster::domain::slots::Slots;
use doorbuster::domain::{Command, Entry, Event, Suspense};
use doorbuster::ids::{ActivityId, Cents, Qty, Seq, ShardId, UserId};

/// After every hold of the first orders has run out.
const LATER: u64 = START + 2 * WINDOW;

/// Entries of the suspense account: a payment comes in and is paid back.
fn suspended(payment: u32, id: &str, at: u64) -> Vec<Entry> {
    let mut account = Suspense::default();
    let mut entries = Vec::new();
    (1..payment).for_each(|n| drop(suspend(&mut account, &format!("before-{n}"), at)));
    entries.push(suspend(&mut account, id, at));
    let done = account.close_refund(&paid_back(id)).expect("it is owed back");
    entries.push(Entry { shard: Suspense::SHARD, at_ms: ms(at + 1), event: done.events[0].clone() });
    entries
}

fn suspend(account: &mut Suspense, id: &str, at: u64) -> Entry {
    let command = Suspend {
        payment_id: id.into(),
        named: "D99".into(),
        amount_cents: Cents(70),
        currency: "EUR".into(),
        why: Why::UnknownOrder,
    };
    let event = account.suspend(&command).expect("it is new").events[0].clone();
    let entry = Entry { shard: Suspense::SHARD, at_ms: ms(at), event };
    account.apply(&entry);
    entry
}

/// A journal of everything that can happen to payments, until the activity leaves; `a` has slots 1 to 5.
fn good() -> Vec<Entry> {
    let mut shop = Shop::open(definition(), true);
    shop.order(START, place(1, "a", 1)); // order 1: slot 1
    shop.must(START + 1, pay("in-time", 1, 100)); // payment 1
    shop.order(START + 2, place(2, "a", 2)); // order 2: slots 2 and 3
    shop.must(START + 3, pay("too-much", 2, 201)); // payment 2
    shop.must(START + 2 + WINDOW, Command::ExpireHolds);
    shop.order(LATER, place(3, "a", 2)); // order 3: slots 2 and 3
    shop.must(LATER + 1, pay("late", 2, 200)); // payment 3: slots 4 and 5
    shop.must(LATER + 2, pay("twice", 1, 100)); // payment 4
    shop.must(LATER + 3, refund(1, true));
    shop.must(LATER + 4, pay("after-refund", 1, 100)); // payment 5
    shop.must(LATER + 5, paid_back("in-time"));
    shop.must(LATER + 6, refund(2, false));
    shop.entries.extend(suspended(1, "nobody's", LATER + 7));
    let lapsed = shop.run(LATER + WINDOW, pay("a-moment-late", 3, 200)).expect("its own units are still there"); // 6
    assert_eq!(lapsed.events.len(), 2);
    shop.order(LATER + WINDOW + 1, place(4, "b", 1)); // order 4
    shop.must(LATER + WINDOW + 2, cancel(4, 4));
    shop.must(LATER + WINDOW + 3, pay("cancelled", 4, 100)); // payment 7
    shop.order(END - 9, place(5, "b", 1)); // order 5
    shop.must(END + WINDOW, Command::ExpireHolds);
    shop.must(END + WINDOW, pay("window-over", 5, 100)); // payment 8
    for id in ["too-much", "late", "twice", "after-refund", "cancelled", "window-over"] {
        shop.must(END + WINDOW + 1, paid_back(id));
    }
    shop.must(END + 9_000, Command::Retire { orders: 5 });
    shop.entries
}

fn place_of(entries: &[Entry], is: impl Fn(&Event) -> bool) -> usize {
    entries.iter().position(|entry| is(&entry.event)).expect("the good journal has it")
}

fn is_payment(id: &'static str) -> impl Fn(&Event) -> bool {
    move |event| matches!(event, Event::PaymentReceived(event) if *event.payment_id == *id)
}

fn payment<'a>(good: &'a mut [Entry], id: &'static str) -> &'a mut PaymentReceived {
    let place = place_of(good, is_payment(id));
    let Event::PaymentReceived(event) = &mut good[place].event else { unreachable!("it was just found") };
    event
}

fn refunded(good: &mut [Entry], order: u32) -> &mut OrderRefunded {
    let place = place_of(good, |event| matches!(event, Event::OrderRefunded(event) if event.order == order));
    let Event::OrderRefunded(event) = &mut good[place].event else { unreachable!("it was just found") };
    event
}

fn done(good: &mut [Entry], payment: u32) -> &mut RefundDone {
    let is = |entry: &&mut Entry| {
        entry.shard == SHARD && matches!(&entry.event, Event::RefundDone(event) if event.payment == payment)
    };
    let entry = good.iter_mut().find(is).expect("the good journal has it");
    let Event::RefundDone(event) = &mut entry.event else { unreachable!("it was just found") };
    event
}

fn suspension(good: &mut [Entry]) -> &mut PaymentSuspended {
    let place = place_of(good, |event| matches!(event, Event::PaymentSuspended(_)));
    let Event::PaymentSuspended(event) = &mut good[place].event else { unreachable!("it was just found") };
    event
}

fn definition_of(good: &mut [Entry]) -> &mut doorbuster::domain::Definition {
    let Event::ActivityDefined(event) = &mut good[0].event else { panic!("the definition comes first") };
    &mut event.definition
}

/// Ends the journal with that payment.
fn upto(good: &mut Vec<Entry>, id: &'static str) {
    let place = place_of(good, is_payment(id));
    good.truncate(place + 1);
}

fn take_out(good: &mut Vec<Entry>, is: impl Fn(&Event) -> bool) {
    let place = place_of(good, is);
    good.remove(place);
}

#[test]
fn a_good_journal_of_payments_breaks_nothing_at_any_prefix() {
    let good = good();
    for prefix in 0..=good.len() {
        let report = audit(&good[..prefix]);
        assert!(report.holds(), "{prefix}: {report:?}");
    }
    let checked: Vec<Id> = audit(&good).findings().map(|(id, _)| id).collect();
    assert!(checked.contains(&Id::M5) && checked.contains(&Id::M6), "{checked:?}");
    fold(&good).expect("the fold agrees");
}

#[test]
fn each_planted_bug_of_payments_is_named_by_its_own_id() {
    type Plant = fn(&mut Vec<Entry>);
    let plants: &[(Id, &str, Plant)] = &[
        (Id::M5, "a payment's number is left out", |good| payment(good, "too-much").payment = 3),
        (Id::M5, "a payment's number is given twice", |good| payment(good, "too-much").payment = 1),
        (Id::M5, "a payment id comes twice to one shard", |good| payment(good, "twice").payment_id = "in-time".into()),
        (Id::M5, "a payment id comes to a shard and to the suspense account", |good| {
            suspension(good).payment_id = "in-time".into();
        }),
        (Id::M5, "a payment id of an activity that has left comes again", |good| {
            let mut again = suspended(2, "in-time", END + 9_001);
            again.truncate(1);
            good.append(&mut again);
        }),
        (Id::M5, "a payment is for an order that never was", |good| payment(good, "in-time").order = 9),
        (Id::M5, "order 0 is paid", |good| payment(good, "in-time").order = 0),
        (Id::M5, "an order is paid with a cent less", |good| payment(good, "in-time").amount_cents = Cents(99)),
        (Id::M5, "an order is paid in another currency", |good| {
            payment(good, "in-time").currency = Some("EUR".into());
        }),
        (Id::M5, "an order is reacquired with a cent less", |good| payment(good, "late").amount_cents = Cents(199)),
        (Id::M5, "the activity's own currency stands as another", |good| {
            payment(good, "too-much").currency = Some("CNY".into());
        }),
        (Id::M5, "a payment that fits is a mismatch", |good| payment(good, "too-much").amount_cents = Cents(200)),
        (Id::M5, "a payment that is no mismatch is one", |good| {
            payment(good, "twice").outcome = Outcome::Due(Why::Mismatch);
        }),
        (Id::M5, "a payment in time is owed back", |good| {
            payment(good, "in-time").outcome = Outcome::Due(Why::AlreadyPaid);
        }),
        (Id::M5, "an order that is paid was cancelled, says the payment", |good| {
            payment(good, "twice").outcome = Outcome::Due(Why::Cancelled);
        }),
        (Id::M5, "an order that is refunded is paid, says the payment", |good| {
            payment(good, "after-refund").outcome = Outcome::Due(Why::AlreadyPaid);
        }),
        (Id::M5, "an order that is cancelled is refunded, says the payment", |good| {
            payment(good, "cancelled").outcome = Outcome::Due(Why::AlreadyRefunded);
        }),
        (Id::M5, "a shard does not know its own order", |good| {
            payment(good, "cancelled").outcome = Outcome::Due(Why::UnknownOrder);
        }),
        (Id::M5, "a payment comes as one of an order that is refunded later", |good| {
            payment(good, "cancelled").outcome = Outcome::Due(Why::OrderRefunded);
        }),
        (Id::M5, "a refund names a payment that did not pay the order", |good| refunded(good, 1).payment = 4),
        (Id::M5, "a refund names another order's payment", |good| refunded(good, 1).payment = 3),
        (Id::M5, "a refund names no payment", |good| refunded(good, 1).payment = 0),
        (Id::M5, "the suspense account leaves a number out", |good| suspension(good).payment = 2),
        (Id::M5, "a suspended payment had paid an order", |good| suspension(good).why = Why::OrderRefunded),
        (Id::M6, "what is applied was paid back", |good| done(good, 1).payment = 3),
        (Id::M6, "a payment is paid back twice", |good| {
            let is_done = |event: &Event| matches!(event, Event::RefundDone(event) if event.payment == 1);
            let again = good[place_of(good, is_done)].clone();
            good.insert(place_of(good, is_done) + 1, again);
        }),
        (Id::M6, "a payment is paid back that never came", |good| done(good, 1).payment = 99),
        (Id::M6, "payment 0 is paid back", |good| done(good, 1).payment = 0),
        (Id::M6, "the suspense account pays back twice", |good| {
            let is = |entry: &Entry| entry.shard == Suspense::SHARD && matches!(entry.event, Event::RefundDone(_));
            let place = good.iter().position(is).expect("it is paid back");
            good.insert(place, good[place].clone());
        }),
        (Id::M6, "an activity leaves and owes money back", |good| {
            let place = good.len() - 2;
            good.remove(place);
        }),
        (Id::S1, "what was sold is forgotten in the definition", |good| {
            let mut shop = Shop::open(definition(), true);
            shop.order(START, place(1, "a", 1));
            shop.must(START + 1, pay("in-time", 1, 100));
            shop.must(START + 2, put(with(|d| d.skus[0].stock = Qty(4))));
            *good = shop.entries;
            let Event::ActivityRedefined(event) = &mut good[3].event else { panic!("it was changed last") };
            event.definition.skus[0].stock = Qty(3);
        }),
        (Id::S2, "fresh units are another's", |good| {
            payment(good, "late").outcome = Outcome::Reacquired(Slots::range(3, 2));
        }),
        (Id::S2, "fresh units never were", |good| {
            payment(good, "late").outcome = Outcome::Reacquired(Slots::range(5, 2));
        }),
        (Id::S2, "what was bought is sold again", |good| {
            upto(good, "late");
            let mut order = good[3].clone();
            order.at_ms = ms(LATER + 2);
            let Event::OrderPlaced(event) = &mut order.event else { panic!("it is an order") };
            (event.order, event.user, event.slots) = (4, UserId(4), Slots::range(1, 1));
            event.expires_at_ms = ms(LATER + 2 + WINDOW);
            good.push(order);
        }),
        (Id::S2, "what was refunded and did not go back is sold again", |good| {
            let place = place_of(good, |event| matches!(event, Event::PaymentSuspended(_)));
            good.truncate(place);
            let mut order = good[3].clone();
            order.at_ms = ms(LATER + 7);
            let Event::OrderPlaced(event) = &mut order.event else { panic!("it is an order") };
            (event.order, event.user, event.slots) = (4, UserId(4), Slots::range(4, 1));
            good.push(order);
        }),
        (Id::S3, "a cancelled order is paid", |good| payment(good, "cancelled").outcome = Outcome::Applied),
        (Id::S3, "a paid order is paid again", |good| payment(good, "twice").outcome = Outcome::Applied),
        (Id::S3, "a refunded order is paid again", |good| payment(good, "after-refund").outcome = Outcome::Applied),
        (Id::S3, "an expired order is paid as if it were held", |good| {
            payment(good, "late").outcome = Outcome::Applied
        }),
        (Id::S3, "a paid order gets fresh units", |good| {
            payment(good, "twice").outcome = Outcome::Reacquired(Slots::range(4, 1));
        }),
        (Id::S3, "a cancelled order gets fresh units", |good| {
            payment(good, "cancelled").outcome = Outcome::Reacquired(Slots::range(2, 1));
        }),
        (Id::S3, "a held order gets fresh units, and its hold is forgotten", |good| {
            take_out(good, |event| *event == Event::HoldsExpired(HoldsExpired { orders: vec![3] }));
        }),
        (Id::S3, "a paid order expires", |good| {
            let place = place_of(good, |event| matches!(event, Event::HoldsExpired(_)));
            good[place].event = Event::HoldsExpired(HoldsExpired { orders: vec![1, 2] });
        }),
        (Id::S3, "an order is refunded that was not paid", |good| refunded(good, 1).order = 3),
        (Id::S3, "an order is refunded twice", |good| {
            let place = place_of(good, |event| matches!(event, Event::OrderRefunded(_)));
            good.insert(place, good[place].clone());
        }),
        (Id::S3, "an order is refunded that never was", |good| refunded(good, 1).order = 99),
        (Id::S4, "an order is paid in the instant in which its hold runs out", |good| {
            good.truncate(3);
            good[2].at_ms = ms(START + WINDOW);
        }),
        (Id::S4, "a late payment gets one unit more", |good| {
            payment(good, "a-moment-late").outcome = Outcome::Reacquired(Slots::range(1, 3));
        }),
        (Id::S4, "a late payment gets one unit less", |good| {
            payment(good, "late").outcome = Outcome::Reacquired(Slots::range(4, 1));
        }),
        (Id::S4, "a late payment gets units against the policy", |good| {
            definition_of(good).on_late_payment = OnLatePayment::Refund;
        }),
        (Id::S4, "a late payment gets units after the window", |good| {
            payment(good, "window-over").outcome = Outcome::Reacquired(Slots::range(1, 1));
        }),
        (Id::S4, "a late payment gets units after the close", |good| {
            let place = place_of(good, is_payment("late"));
            good.truncate(place + 1);
            let closed = switch(Switch::Closed);
            let event = doorbuster::domain::event::SaleSwitched { to: closed.to, change: closed.request.change() };
            good.insert(place, Entry { at_ms: ms(LATER), shard: SHARD, event: Event::SaleSwitched(Box::new(event)) });
        }),
        (Id::S4, "a late payment is owed back though units were there", |good| {
            payment(good, "late").outcome = Outcome::Due(Why::Late);
        }),
        (Id::S4, "a payment in time is owed back as late", |good| {
            payment(good, "in-time").outcome = Outcome::Due(Why::Late);
        }),
        (Id::S4, "a payment for a paid order is owed back as late", |good| {
            payment(good, "twice").outcome = Outcome::Due(Why::Late);
        }),
        (Id::S4, "a late payment is owed back as if the order were cancelled", |good| {
            payment(good, "window-over").outcome = Outcome::Due(Why::Cancelled);
        }),
        (Id::U1, "a late payment gives more than the limit", |good| {
            upto(good, "late");
            let Event::OrderPlaced(event) = &mut good[6].event else { panic!("it is an order") };
            event.user = UserId(2);
        }),
        (Id::U1, "who has bought as much as anyone may orders more", |good| {
            upto(good, "late");
            let Event::OrderPlaced(event) = &mut good[6].event else { panic!("it is an order") };
            event.user = UserId(1);
        }),
        (Id::U4, "an activity's event is of the suspense account", |good| {
            let place = place_of(good, |event| matches!(event, Event::PaymentSuspended(_)));
            let mut stray = good[2].clone();
            stray.shard = Suspense::SHARD;
            good[place] = stray;
            good.remove(place + 1);
        }),
        (Id::U4, "a shard suspends a payment", |good| {
            let place = place_of(good, |event| matches!(event, Event::PaymentSuspended(_)));
            good[place].shard = SHARD;
            good.remove(place + 1);
        }),
        (Id::U4, "a payment comes after its activity has left", |good| {
            let mut late = good[2].clone();
            late.at_ms = ms(END + 9_001);
            good.push(late);
        }),
        (Id::J5, "the suspense account's time goes back", |good| {
            let place = place_of(good, |event| matches!(event, Event::PaymentSuspended(_)));
            good[place + 1].at_ms = ms(1);
        }),
    ];
    for (id, what, plant) in plants {
        let mut entries = good();
        plant(&mut entries);
        let report = audit(&entries);
        assert_eq!(broken(&report), [*id], "{what}: {report:?}");
    }
}

/// The money of what has left stays in the sums, and each owner's is counted: the numbers of checks say so.
#[test]
fn money_is_counted_over_all_owners() {
    let checks = |entries: &[Entry]| audit(entries).finding(Id::M6).map_or(0, |finding| finding.checked);
    let good = good();
    let with_left = checks(&good);
    let without: Vec<Entry> = good.iter().filter(|entry| entry.shard != Suspense::SHARD).cloned().collect();
    // Its one refund, its own sum, and the sum of its currency over everything.
    assert_eq!(with_left - checks(&without), 3);
    let mut two = good;
    two.truncate(3);
    let mut other = two.clone();
    other.iter_mut().for_each(|entry| entry.shard = ShardId(8));
    let Event::ActivityDefined(event) = &mut other[0].event else { panic!("the definition comes first") };
    event.activity_id = ActivityId(18);
    payment(&mut other, "in-time").payment_id = "other".into();
    let mut again = two.clone();
    again.extend(other.clone());
    assert!(audit(&again).holds());
    payment(&mut other, "other").payment_id = "in-time".into();
    two.extend(other);
    assert_eq!(broken(&audit(&two)), [Id::M5], "an id is received once over all shards");
}

/// The giver's units are in the journal at both ends; the taker, who has not heard of them yet, owes a payment back.
#[test]
fn units_under_way_are_not_held_against_a_late_payment() {
    const PARTS: u16 = 2;
    let mut parts = Parts::open(&with(|d| d.shards = PARTS));
    let user = |nth| user_of(1, PARTS, nth);
    parts.must(0, START, give(1, 0, 1));
    parts.must(1, START, place(user(1), "a", 1));
    parts.must(1, START + WINDOW, Command::ExpireHolds);
    parts.must(1, START + WINDOW, place(user(2), "a", 1));
    let moved = parts.run(0, START + WINDOW, give(1, 0, 1)).expect("nobody refuses to give");
    assert_eq!((moved.events.len(), parts.under_way.len()), (1, 1));
    let mut late = pay("late", 1, 100);
    late.may_wait = false;
    let event = parts.run(1, START + WINDOW, late).expect("it is new").events[0].clone();
    assert!(matches!(event, Event::PaymentReceived(event) if event.outcome == Outcome::Due(Why::Late)));
    parts.deliver(0);
    assert!(audit(&parts.entries).holds());
}

/// Whatever one event is replaced by, left out or said twice, the auditor comes to an end with a report.
#[test]
fn no_damage_to_one_event_makes_the_auditor_panic() {
    damage_each(&good(), |entries| drop(audit(entries)));
}

#[test]
fn the_auditor_shows_the_suspense_account() {
    let mut auditor = Auditor::new(Keep::Standing);
    (1..).zip(&suspended(1, "nobody's", 5)).for_each(|(seq, entry)| auditor.observe(Seq(seq), entry));
    assert_eq!(auditor.suspense().payments_from(1).count(), 1);
    assert!(auditor.finish().holds());
}
