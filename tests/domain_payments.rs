//! Payments and refunds by their tables: each (state, step) pair against a literal expectation, and each command in
//! every state of an order. `cargo test --test domain_payments -- --nocapture` prints the tables of transitions.

mod domain;

use domain::*;
use doorbuster::domain::command::{PayOrder, RequestKey};
use doorbuster::domain::definition::OnLatePayment;
use doorbuster::domain::event::{
    ActivityRetired, HoldsExpired, OrderRefunded, Outcome, PaymentReceived, RefundDone, Switch,
};
use doorbuster::domain::order::Step;
use doorbuster::domain::payment::{PaymentStep, Why, payment_key};
use doorbuster::domain::slots::Slots;
use doorbuster::domain::{Command, Decision, Entry, Event, OrderState, PaymentState, Refusal};
use doorbuster::ids::{Cents, Qty, UserId};

use OrderState::{Cancelled, Expired, Held, Paid, Refunded};

/// Prints a table of transitions as the files' heads show it.
fn print<S: Copy, T: Copy>(
    of: &str,
    states: &[S],
    steps: &[T],
    word: impl Fn(S) -> &'static str,
    name: impl Fn(T) -> String,
    after: impl Fn(S, T) -> Option<S>,
) {
    let names: Vec<String> = steps.iter().map(|step| name(*step)).collect();
    println!("\n| {of} | {} |\n|---|{}", names.join(" | "), "---|".repeat(names.len()));
    for state in states {
        let cells =
            steps.iter().map(|step| after(*state, *step).map_or("–".to_owned(), |to| format!("`{}`", word(to))));
        println!("| `{}` | {} |", word(*state), cells.collect::<Vec<_>>().join(" | "));
    }
}

#[test]
fn an_order_takes_these_steps_and_no_other() {
    print("order", &OrderState::ALL, &Step::ALL, OrderState::as_str, |step| format!("{step:?}"), OrderState::after);
    #[rustfmt::skip]
    let table = [
        // from       pay         cancel           expire         reacquire   refund with and without restock
        (Held,      [Some(Paid), Some(Cancelled), Some(Expired), None,       None,           None]),
        (Cancelled, [None,       None,            None,          None,       None,           None]),
        (Expired,   [None,       None,            None,          Some(Paid), None,           None]),
        (Paid,      [None,       None,            None,          None,       Some(Refunded), Some(Refunded)]),
        (Refunded,  [None,       None,            None,          None,       None,           None]),
    ];
    assert_eq!(table.map(|(from, _)| from), OrderState::ALL);
    for (from, expected) in table {
        assert_eq!(Step::ALL.map(|step| from.after(step)), expected, "{from:?}");
        assert_eq!(OrderState::from_word(from.as_str()), Some(from));
    }
    assert_eq!(OrderState::ALL.map(OrderState::is_live), [true, false, false, true, false]);
}

#[test]
fn a_payment_takes_these_steps_and_no_other() {
    use PaymentState::{Applied, RefundDue};
    let word = PaymentState::as_str;
    print("payment", &PaymentState::ALL, &PaymentStep::ALL, word, |step| format!("{step:?}"), PaymentState::after);
    #[rustfmt::skip]
    let table = [
        // from                   its order is refunded   paid back
        (Applied,                [Some(RefundDue),       None]),
        (RefundDue,              [None,                  Some(PaymentState::Refunded)]),
        (PaymentState::Refunded, [None,                  None]),
    ];
    assert_eq!(table.map(|(from, _)| from), PaymentState::ALL);
    for (from, expected) in table {
        assert_eq!(PaymentStep::ALL.map(|step| from.after(step)), expected, "{from:?}");
        assert_eq!(PaymentState::from_word(from.as_str()), Some(from));
    }
    assert_eq!(OrderState::from_word("applied"), None);
    assert_eq!(PaymentState::from_word("paid"), None);
}

const LAPSED: u64 = START + WINDOW;

/// Order 1, of user 1: two units of `a`, which are slots 1 and 2, for 200 cents. Where a payment brought it so far, that
/// is payment 1, `first`.
fn shop_in(state: OrderState) -> Shop {
    let mut shop = Shop::open(definition(), false);
    shop.order(START, place(1, "a", 2));
    match state {
        Held => {}
        Cancelled => drop(shop.must(START + 1, cancel(1, 1))),
        Expired => drop(shop.must(LAPSED, Command::ExpireHolds)),
        Paid => drop(shop.must(START + 1, pay("first", 1, 200))),
        Refunded => {
            shop.must(START + 1, pay("first", 1, 200));
            shop.must(START + 2, refund(1, true));
        }
    }
    shop
}

/// What comes of a command: its events, or what it is refused with.
fn comes(shop: &Shop, at: u64, command: impl IntoCommand) -> Result<Vec<Event>, Refusal> {
    shop.ask(at, command).map(|decision| decision.events.into_vec())
}

fn received(shop: &Shop, pay: &PayOrder, outcome: Outcome) -> Event {
    let payment = u32::try_from(shop.sale.payments_from(1).count()).expect("few") + 1;
    let PayOrder { payment_id, order, amount_cents, currency, may_wait: _ } = pay.clone();
    let currency = Some(currency).filter(|currency| **currency != *"CNY");
    Event::PaymentReceived(Box::new(PaymentReceived { payment, payment_id, order, amount_cents, currency, outcome }))
}

fn expired() -> Event {
    Event::HoldsExpired(HoldsExpired { orders: vec![1] })
}

/// A payment that fits comes at `at`; the outcome, and whether the hold's end is written down first.
#[track_caller]
fn assert_paid(shop: &Shop, at: u64, pay: PayOrder, lapsed: bool, outcome: Outcome) {
    let mut events = if lapsed { vec![expired()] } else { Vec::new() };
    events.push(received(shop, &pay, outcome));
    let decision = shop.ask(at, pay.clone()).unwrap_or_else(|refusal| panic!("{pay:?}: {refusal:?}"));
    let number = u32::try_from(shop.sale.payments_from(1).count()).expect("few") + 1;
    let expected = Decision { events: events.into(), order: None, payment: Some(number), replayed: false };
    assert_eq!(decision, expected, "{pay:?}");
    // What is decided applies, is restarted from and holds.
    let mut after = shop.clone();
    after.run(at, pay).expect("it was just decided");
    assert!(after.restart().sale == after.sale);
    let report = audit(&after.entries);
    assert!(report.holds(), "{report:?}");
}

#[test]
fn a_payment_in_every_state_of_its_order_does_what_the_contract_says() {
    let due = Outcome::Due;
    for (state, outcome) in [
        (Held, Outcome::Applied),
        (Cancelled, due(Why::Cancelled)),
        (Expired, Outcome::Reacquired(Slots::range(1, 2))),
        (Paid, due(Why::AlreadyPaid)),
        (Refunded, due(Why::AlreadyRefunded)),
    ] {
        let shop = shop_in(state);
        let at = if state == Expired { LAPSED + 1 } else { LAPSED - 1 };
        assert_paid(&shop, at, pay("new", 1, 200), false, outcome);
        // The amount and the currency come first, whatever the state; and where the hold has lapsed, it stays as it is.
        for at in [at, LAPSED + 1] {
            assert_paid(&shop, at, pay("new", 1, 199), false, due(Why::Mismatch));
            assert_paid(&shop, at, pay("new", 1, 201), false, due(Why::Mismatch));
            let foreign = PayOrder { currency: "EUR".into(), ..pay("new", 1, 200) };
            assert_paid(&shop, at, foreign, false, due(Why::Mismatch));
        }
        assert_eq!(shop.refused(at, pay("new", 2, 200)), Refusal::OrderNotFound);
        assert_eq!(shop.refused(at, pay("new", 0, 200)), Refusal::OrderNotFound);
    }
}

/// What a late payment finds: a sale in which order 1 has expired, or has only lapsed, at an instant.
struct Late {
    what: &'static str,
    /// Changes the sale after the hold was placed.
    change: fn(&mut Shop),
    at: u64,
    /// What comes of it where the hold's end is written down already, and where it is not.
    expired: Result<Outcome, Refusal>,
    lapsed: Result<Outcome, Refusal>,
}

#[test]
fn a_late_payment_has_fresh_units_only_where_policy_window_limit_and_stock_allow() {
    let due = || Ok(Outcome::Due(Why::Late));
    let fresh = |first| Ok(Outcome::Reacquired(Slots::range(first, 2)));
    let cases = [
        Late { what: "all allow it", change: |_| {}, at: LAPSED, expired: fresh(1), lapsed: fresh(1) },
        Late {
            what: "the policy is to refund",
            change: |shop| drop(shop.must(START + 1, put(with(|d| d.on_late_payment = OnLatePayment::Refund)))),
            at: LAPSED,
            expired: due(),
            lapsed: due(),
        },
        Late {
            what: "a moment before the window ends",
            change: |_| {},
            at: END - 1,
            expired: fresh(1),
            lapsed: fresh(1),
        },
        Late { what: "the window has ended", change: |_| {}, at: END, expired: due(), lapsed: due() },
        Late {
            what: "it was closed",
            change: |shop| drop(shop.must(START + 1, switch(Switch::Closed))),
            at: LAPSED,
            expired: due(),
            lapsed: due(),
        },
        Late {
            what: "it is paused, and not over",
            change: |shop| drop(shop.must(START + 1, switch(Switch::Paused))),
            at: LAPSED,
            expired: fresh(1),
            lapsed: fresh(1),
        },
        Late {
            what: "the limit is lower now than the order is large",
            change: |shop| drop(shop.must(START + 1, put(with(|d| d.per_user_limit = Qty(1))))),
            at: LAPSED,
            expired: due(),
            lapsed: due(),
        },
        Late {
            what: "another unit of theirs is within the limit, which was raised",
            change: |shop| {
                shop.must(START + 1, put(with(|d| d.per_user_limit = Qty(3))));
                shop.order(START + 2, place(1, "b", 1));
                shop.must(START + 3, pay("other", 2, 100));
            },
            at: LAPSED,
            expired: fresh(1),
            lapsed: fresh(1),
        },
        Late {
            what: "another unit of theirs, which is held, takes the limit up",
            change: |shop| {
                shop.must(START + 1, put(with(|d| d.per_user_limit = Qty(3))));
                shop.order(LAPSED - 1, place(1, "b", 1));
                shop.must(LAPSED - 1, put(definition()));
            },
            at: LAPSED,
            expired: due(),
            lapsed: due(),
        },
        Late {
            what: "others have the rest: only its own units, in the instant in which it gives them back",
            change: |shop| {
                shop.order(START + 2, place(2, "a", 2));
                shop.order(START + 2, place(3, "a", 1));
            },
            at: LAPSED,
            expired: fresh(1),
            lapsed: fresh(1),
        },
    ];
    for Late { what, change, at, expired: by_expired, lapsed: by_lapsed } in cases {
        let mut shop = shop_in(Held);
        change(&mut shop);
        let mut after = shop.clone();
        after.must(LAPSED, Command::ExpireHolds);
        for (shop, lapsed, expected) in [(shop, true, by_lapsed), (after, false, by_expired)] {
            println!("{what}, {}", if lapsed { "lapsed" } else { "expired" });
            assert_paid(&shop, at, pay("late", 1, 200), lapsed, expected.expect("none of these waits"));
        }
    }
}

#[test]
fn a_late_payment_that_finds_too_few_units_waits_or_is_owed_back() {
    let mut shop = shop_in(Expired);
    shop.order(LAPSED, place(2, "a", 2));
    shop.order(LAPSED, place(3, "a", 2));
    assert_eq!(shop.split("a"), (1, 4, 0));
    assert_eq!(shop.refused(LAPSED + 1, pay("late", 1, 200)), Refusal::SoldOut);
    let now = PayOrder { may_wait: false, ..pay("late", 1, 200) };
    assert_paid(&shop, LAPSED + 1, now.clone(), false, Outcome::Due(Why::Late));
    // Units that nobody may wait for are not waited for.
    assert_paid(&shop, END, pay("late", 1, 200), false, Outcome::Due(Why::Late));
    shop.must(LAPSED + 2, cancel(2, 2));
    assert_paid(&shop, LAPSED + 3, now, false, Outcome::Reacquired(Slots::range(1, 2)));
    assert_eq!(shop.split("a"), (3, 2, 0));

    // What its user's other hold gives back with the payment is there for it.
    let mut shop = shop_in(Expired);
    for (user, units) in [(1, 2), (2, 2), (3, 1)] {
        shop.order(LAPSED, place(user, "a", units));
    }
    assert_eq!(shop.split("a"), (0, 5, 0));
    let again = shop.sale.next_deadline().expect("three holds stand").0;
    let slots = shop.sale.order(2).expect("it was placed").slots;
    let events = shop.ask(again, pay("late", 1, 200)).expect("its own hold ends with it").events;
    let [Event::HoldsExpired(ended), Event::PaymentReceived(paid)] = &events[..] else { panic!("{events:?}") };
    assert_eq!((&ended.orders[..], &paid.outcome), (&[2][..], &Outcome::Reacquired(slots)));

    // A SKU that was taken off has no units.
    let mut shop = shop_in(Expired);
    shop.must(LAPSED + 1, put(with(|d| drop(d.skus.remove(0)))));
    assert_paid(&shop, LAPSED + 2, pay("late", 1, 200), false, Outcome::Due(Why::Late));
}

#[test]
fn the_limit_counts_what_was_bought_and_what_a_late_payment_gave() {
    let mut shop = shop_in(Paid);
    assert_eq!(shop.refused(START + 5, place(1, "b", 1)), Refusal::LimitReached { orders: vec![1] });
    shop.must(START + 6, refund(1, false));
    shop.order(START + 7, place(1, "b", 2));
    let mut shop = shop_in(Expired);
    shop.must(LAPSED, pay("late", 1, 200));
    assert_eq!(shop.refused(LAPSED + 1, place(1, "b", 1)), Refusal::LimitReached { orders: vec![1] });
    assert_eq!(shop.sale.next_deadline(), None, "what is bought has no deadline");
    assert!(shop.ask(END, Command::ExpireHolds).expect("time is never refused").events.is_empty());
}

#[test]
fn a_payment_that_came_is_answered_as_before_and_its_id_is_used_for_nothing_else() {
    for state in OrderState::ALL {
        let mut shop = shop_in(state);
        let at = LAPSED - 1 + u64::from(state == Expired);
        shop.order(START + 3, place(2, "b", 1));
        shop.must(at, pay("one", 1, 200));
        let number = shop.sale.find_payment("one").expect("it came").number;
        let known = Decision { payment: Some(number), replayed: true, ..Decision::default() };
        for at in [at, LAPSED + 1, END + 1] {
            assert_eq!(shop.ask(at, pay("one", 1, 200)), Ok(known.clone()));
            assert_eq!(shop.ask(at, PayOrder { may_wait: false, ..pay("one", 1, 200) }), Ok(known.clone()));
            let others = [
                pay("one", 2, 200),
                pay("one", 1, 199),
                pay("one", 99, 200),
                PayOrder { currency: "EUR".into(), ..pay("one", 1, 200) },
            ];
            others.into_iter().for_each(|other| assert_eq!(shop.refused(at, other), Refusal::PaymentReused));
        }
        assert!(shop.sale.find_payment("One").is_none(), "ids are taken as they are");
    }
}

#[test]
fn a_cancel_in_every_state_of_its_order() {
    for state in OrderState::ALL {
        let shop = shop_in(state);
        let refused = Err(Refusal::OrderNotCancellable { state });
        let expected = match state {
            Held => Ok(1),
            Cancelled => Ok(0),
            Expired | Paid | Refunded => refused,
        };
        assert_eq!(comes(&shop, LAPSED - 1, cancel(1, 1)).map(|events| events.len()), expected, "{state:?}");
        assert_eq!(shop.refused(LAPSED - 1, cancel(2, 1)), Refusal::OrderNotFound, "another's");
    }
}

#[test]
fn a_refund_in_every_state_of_its_order() {
    for state in OrderState::ALL {
        for restock in [true, false] {
            let mut shop = shop_in(state);
            let asked = refund(1, restock);
            let change = asked.request.change();
            let expected = match state {
                Paid => {
                    let event = OrderRefunded { order: 1, payment: 1, restock, change };
                    Ok(vec![Event::OrderRefunded(Box::new(event))])
                }
                Refunded => Ok(Vec::new()),
                Held | Cancelled | Expired => Err(Refusal::OrderNotRefundable { state }),
            };
            assert_eq!(comes(&shop, END + 1, asked), expected, "{state:?}");
            assert_eq!(shop.refused(START + 9, refund(2, restock)), Refusal::OrderNotFound);
            if state == Paid {
                assert_eq!(shop.split("a"), (3, 0, 2));
                shop.must(START + 9, refund(1, restock));
                assert_eq!(shop.split("a"), if restock { (5, 0, 0) } else { (3, 0, 2) });
                let view = shop.sale.order(1).expect("it was placed");
                assert_eq!((view.state, view.payments[0].state), (Refunded, PaymentState::RefundDue));
                assert_eq!(
                    (view.payments[0].why, view.payments[0].due_at_ms),
                    (Some(Why::OrderRefunded), Some(ms(START + 9)))
                );
                assert!(audit(&shop.entries).holds());
            }
        }
    }
}

#[test]
fn what_was_refunded_without_restock_is_sold_to_nobody_and_stays_in_the_stock() {
    let mut shop = shop_in(Paid);
    shop.must(START + 2, refund(1, false));
    assert_eq!(shop.order(START + 3, place(2, "a", 2)), 2);
    assert_eq!(shop.sale.order(2).expect("it was placed").slots, Slots::range(3, 2));
    assert_eq!(shop.refused(START + 4, place(3, "a", 2)), Refusal::SoldOut);
    let low = put(with(|d| d.skus[0].stock = Qty(3)));
    let too_low = Refusal::StockTooLow { sku: sku_id("a"), largest_reduction: 1 };
    assert_eq!(shop.refused(START + 5, low), too_low);
    let off = put(with(|d| drop(d.skus.remove(0))));
    assert_eq!(shop.refused(START + 5, off), Refusal::ImmutableField { field: "skus.a".to_owned() });
    shop.must(START + 6, put(with(|d| d.skus[0].stock = Qty(4))));
    assert_eq!(shop.split("a"), (0, 2, 2));
    assert!(audit(&shop.entries).holds());
}

fn keyed_request(name: u8, body: u8) -> doorbuster::domain::command::Request {
    request(9, Some((name, body)))
}

#[test]
fn an_operators_key_of_a_refund_is_replayed_and_its_reuse_refused() {
    let ask = |name, body| {
        let mut refund = refund(1, true);
        refund.request = keyed_request(name, body);
        refund
    };
    let mut shop = shop_in(Paid);
    shop.must(START + 2, ask(1, 1));
    let existing = |replayed| Ok(Decision { order: Some(1), replayed, ..Decision::default() });
    assert_eq!(shop.ask(START + 3, ask(1, 1)), existing(true));
    assert_eq!(shop.ask(START + 3, ask(1, 2)), Err(Refusal::KeyReused));
    assert_eq!(shop.ask(START + 3, ask(2, 1)), existing(false), "another request finds it done");
    assert_eq!(shop.ask(START + 3, refund(1, true)), existing(false), "as does one without a key");
    let mut other = ask(1, 1);
    other.request.by = doorbuster::domain::event::Author::Operator(UserId(901));
    assert_eq!(shop.ask(START + 3, other), existing(false), "a key is its author's");
    // After it was paid back, too.
    shop.must(START + 4, paid_back("first"));
    assert_eq!(shop.ask(START + 5, ask(1, 1)), existing(true));
}

#[test]
fn a_payment_is_paid_back_once_and_only_where_it_is_owed() {
    let ask = |keys: Option<(u8, u8)>| {
        let mut close = paid_back("first");
        close.request.key = keys.map(|(name, body)| RequestKey { key: key(name), body: key(body) });
        close
    };
    let mut shop = shop_in(Paid);
    assert_eq!(shop.refused(START + 2, paid_back("first")), Refusal::RefundNotDue);
    assert_eq!(shop.refused(START + 2, paid_back("no such")), Refusal::PaymentNotFound);
    shop.must(START + 3, refund(1, true));
    let change = ask(Some((1, 1))).request.change();
    let event = Event::RefundDone(Box::new(RefundDone { payment: 1, change }));
    let events = vec![event].into();
    let decision = Decision { events, order: None, payment: Some(1), replayed: false };
    assert_eq!(shop.run(START + 4, ask(Some((1, 1)))), Ok(decision));
    let done = |replayed| Ok(Decision { payment: Some(1), replayed, ..Decision::default() });
    assert_eq!(shop.ask(START + 5, ask(Some((1, 1)))), done(true));
    assert_eq!(shop.ask(START + 5, ask(Some((1, 2)))), Err(Refusal::KeyReused));
    assert_eq!(shop.ask(START + 5, ask(Some((2, 2)))), done(false));
    assert_eq!(shop.ask(START + 5, ask(None)), done(false));
    let shown = shop.sale.payment(1).expect("it came");
    assert_eq!((shown.state, shown.done_at_ms), (PaymentState::Refunded, Some(ms(START + 4))));
    assert_eq!((shown.amount_cents, &*shown.currency), (Cents(200), "CNY"));
}

#[test]
fn an_activity_that_owes_is_not_settled() {
    let mut shop = shop_in(Paid);
    assert!(shop.sale.is_settled(ms(END + 100), 100) && !shop.sale.is_settled(ms(END + 99), 100));
    shop.must(START + 3, refund(1, true));
    assert!(shop.sale.owes() && !shop.sale.is_settled(ms(END + 100), 100));
    shop.must(START + 4, paid_back("first"));
    assert!(!shop.sale.owes() && shop.sale.is_settled(ms(END + 100), 100));
    shop.must(START + 5, pay("second", 1, 200));
    assert!(shop.sale.owes() && !shop.sale.is_settled(ms(END + 100), 100));
}

#[test]
fn a_refund_is_no_change_of_the_sale() {
    let mut shop = shop_in(Paid);
    let before = shop.sale.last_change_id();
    let mut refund = refund(1, true);
    refund.request.change_id = 77;
    shop.must(START + 3, refund);
    assert_eq!(shop.sale.last_change_id(), before, "a part that follows would miss what its home became");
    assert_eq!(parts::fold(&shop.entries).expect("it is sound").last_change_id(), 77, "and no number is given twice");
}

/// The fold believes no journal that says so; see [`parts::fold`].
#[test]
fn what_owes_does_not_leave_the_fold() {
    let mut shop = shop_in(Refunded);
    let leaves = |shop: &Shop| {
        let event = Event::ActivityRetired(ActivityRetired { orders: 1 });
        let mut entries = shop.entries.clone();
        entries.push(Entry { shard: SHARD, at_ms: ms(END + 1), event });
        parts::fold(&entries).map(|sales| sales.payment_owners().collect::<Vec<_>>())
    };
    leaves(&shop).expect_err("it owes a payment back");
    shop.must(START + 3, paid_back("first"));
    let owners = leaves(&shop).expect("it owes nothing");
    assert_eq!(owners, [(payment_key("first"), SHARD)], "the id stays with its owner for good");
}

#[test]
#[should_panic(expected = "M6")]
fn an_activity_that_owes_is_not_asked_to_leave() {
    _ = shop_in(Refunded).ask(END + 1, Command::Retire { orders: 1 });
}
