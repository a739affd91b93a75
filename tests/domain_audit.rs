//! Every invariant that the auditor checks, with a planted bug: it names that one, no other, and does not panic.

mod domain;

use domain::damage::damage_each;
use domain::*;
use doorbuster::domain::audit::{Auditor, Id, Keep};
use doorbuster::domain::event::{HoldsExpired, OrderCancelled, OrderPlaced, StockChange, Switch};
use doorbuster::domain::slots::Slots;
use doorbuster::domain::{Command, Entry, Event};
use doorbuster::ids::{ActivityId, Qty, Seq, ShardId, UserId};

/// A journal of everything that can happen: two orders with keys, a cancel, an expiry, a restock, a pause, a resume, a
/// redefinition that adds and takes away, an order after it, a close.
fn good() -> Vec<Entry> {
    let mut shop = Shop::open(definition(), true);
    shop.order(START, keyed(1, "a", 1, 1)); // 1: entry 1
    shop.order(START + 1, keyed(2, "b", 2, 2)); // 2: entry 2
    shop.must(START + 2, cancel(1, 1)); // entry 3
    shop.must(START + 3, restock("a", 4)); // entry 4
    shop.must(START + 4, switch(Switch::Paused)); // entry 5
    shop.must(START + 5, switch(Switch::Resumed)); // entry 6
    let changed = with(|definition| {
        definition.skus = vec![sku("a", 6), sku("b", 3), sku("c", 4)];
    });
    shop.must(START + 6, put(changed)); // entry 7
    shop.order(START + 7, place(3, "a", 2)); // 3: entry 8
    shop.must(START + 1 + WINDOW, Command::ExpireHolds); // entry 9: order 2
    shop.order(START + 2 + WINDOW, place(2, "c", 1)); // 4: entry 10
    shop.must(START + 3 + WINDOW, switch(Switch::Closed)); // entry 11
    shop.entries
}

fn placed(entry: &mut Entry) -> &mut OrderPlaced {
    match &mut entry.event {
        Event::OrderPlaced(event) => event,
        other => panic!("an order was expected: {other:?}"),
    }
}

fn redefined(entry: &mut Entry) -> &mut doorbuster::domain::event::ActivityRedefined {
    match &mut entry.event {
        Event::ActivityRedefined(event) => event,
        other => panic!("a redefinition was expected: {other:?}"),
    }
}

fn entry(at: u64, event: Event) -> Entry {
    Entry { shard: SHARD, at_ms: ms(at), event }
}

/// Slots as no code of ours makes them, but as a disk may give them.
fn slots(ranges: &[(u32, u32)]) -> Slots {
    decode(&encode(&ranges))
}

#[test]
fn a_good_journal_breaks_nothing_and_everything_is_checked() {
    let report = audit(&good());
    assert!(report.holds(), "{report:?}");
    let checked: Vec<Id> = report.findings().map(|(id, _)| id).collect();
    use Id::{J1, J5, S1, S2, S3, S4, S5, U1, U2, U3, U4};
    assert_eq!(checked, [J1, J5, S1, S2, S3, S4, S5, U1, U2, U3, U4]);
}

#[test]
fn each_planted_bug_is_named_by_its_own_id() {
    type Plant = fn(&mut Vec<Entry>);
    let plants: &[(Id, &str, Plant)] = &[
        (Id::J5, "time goes back", |good| good[8].at_ms = ms(START + 5)),
        (Id::S1, "a definition says one unit more than there is", |good| {
            redefined(&mut good[7]).definition.skus[1].stock = Qty(4);
        }),
        (Id::S1, "a restock adds one unit less than it says", |good| {
            redefined(&mut good[4]).stock = vec![StockChange::Added { sku: placed_sku(0), slots: Slots::range(6, 3) }];
        }),
        (Id::S1, "a redefinition forgets its stock changes", |good| redefined(&mut good[7]).stock.clear()),
        (Id::S1, "a SKU is taken off while its units are there", |good| {
            redefined(&mut good[7]).definition.skus.remove(1);
        }),
        (Id::S1, "a SKU is listed twice", |good| {
            let event = redefined(&mut good[7]);
            let again = event.definition.skus[0].clone();
            event.definition.skus.push(again);
        }),
        (Id::S1, "a SKU is defined twice from the start", |good| {
            let Event::ActivityDefined(event) = &mut good[0].event else { panic!("the definition comes first") };
            let again = event.definition.skus[0].clone();
            event.definition.skus.push(again);
        }),
        (Id::S2, "a slot is sold twice", |good| {
            let slots = placed(&mut good[1]).slots.clone();
            good.remove(3);
            placed(&mut good[7]).slots = slots;
        }),
        (Id::S2, "a slot is sold that never was", |good| placed(&mut good[1]).slots = Slots::range(6, 1)),
        (Id::S2, "slot 0 is sold", |good| placed(&mut good[1]).slots = Slots::range(0, 1)),
        (Id::S2, "an order takes nothing", |good| placed(&mut good[1]).slots = Slots::default()),
        (Id::S2, "a slot is sold twice in one order", |good| {
            placed(&mut good[1]).slots = slots(&[(1, 1), (1, 1)]);
        }),
        (Id::S2, "a range has no slot", |good| placed(&mut good[1]).slots = slots(&[(1, 0)])),
        (Id::S2, "a range ends past every number", |good| {
            placed(&mut good[1]).slots = slots(&[(2, u32::MAX), (u32::MAX, u32::MAX)]);
        }),
        (Id::S2, "an order is of a SKU that is not there", |good| placed(&mut good[1]).sku.0 = 9),
        (Id::S2, "an order takes a slot that was taken away", |good| {
            placed(&mut good[8]).slots = slots(&[(1, 1), (9, 1)]);
        }),
        (Id::S2, "a held slot is taken away", |good| {
            good.remove(3);
            redefined(&mut good[6]).stock[0] =
                StockChange::Removed { sku: placed_sku(0), slots: slots(&[(1, 1), (8, 2)]) };
        }),
        (Id::S2, "a slot that is gone is taken away again", |good| {
            let mut again = good[7].clone();
            redefined(&mut again).version += 1;
            good.insert(8, again);
        }),
        (Id::S2, "a slot's number is given twice", |good| {
            redefined(&mut good[4]).stock = vec![StockChange::Added { sku: placed_sku(0), slots: Slots::range(5, 4) }];
        }),
        (Id::S2, "the number of a slot that is gone is given again", |good| {
            let mut again = good[7].clone();
            let event = redefined(&mut again);
            event.version += 1;
            event.definition.skus[0].stock = Qty(7);
            event.stock = vec![StockChange::Added { sku: placed_sku(0), slots: Slots::range(9, 1) }];
            good.insert(8, again);
        }),
        (Id::S2, "stock of a SKU changes that is not there", |good| {
            redefined(&mut good[4]).stock = vec![StockChange::Added { sku: placed_sku(99), slots: Slots::range(6, 4) }];
        }),
        (Id::S3, "a hold is cancelled twice", |good| good.insert(4, good[3].clone())),
        (Id::S3, "a hold expires twice", |good| good.insert(10, good[9].clone())),
        (Id::S3, "a cancelled hold expires", |good| {
            good[9].event = Event::HoldsExpired(HoldsExpired { orders: vec![1, 2] });
        }),
        (Id::S3, "an order expires that never was", |good| {
            good[9].event = Event::HoldsExpired(HoldsExpired { orders: vec![2, 77] });
        }),
        (Id::S3, "order 0 is cancelled", |good| {
            good[3].event = Event::OrderCancelled(OrderCancelled { order: 0, key: None });
        }),
        (Id::S4, "a hold expires before its time", |good| good[9].at_ms = ms(START + WINDOW)),
        (Id::U1, "a user has more than the limit", |good| placed(&mut good[8]).user = UserId(2)),
        (Id::U2, "an order's number is given twice", |good| placed(&mut good[2]).order = 1),
        (Id::U2, "an order's number is left out", |good| placed(&mut good[2]).order = 3),
        (Id::U3, "one key has two orders", |good| {
            let event = placed(&mut good[8]);
            (event.user, event.key) = (UserId(1), Some(key(1)));
        }),
        (Id::U4, "an order is taken before the window", |good| {
            good.truncate(2);
            good[1].at_ms = ms(START - 1);
        }),
        (Id::U4, "an order is taken as the window ends", |good| {
            good.truncate(2);
            good[1].at_ms = ms(END);
        }),
        (Id::U4, "an order is taken while the sale is paused", |good| drop(good.remove(6))),
        (Id::U4, "an order is taken after the close", |good| good.swap_at(10, 11)),
        (Id::U4, "a closed sale is resumed", |good| {
            let mut resumed = good[6].clone();
            resumed.at_ms = ms(END);
            good.push(resumed);
        }),
        (Id::U4, "a closed sale is redefined", |good| {
            let mut change = good[7].clone();
            change.at_ms = ms(END);
            let event = redefined(&mut change);
            (event.version, event.stock) = (4, Vec::new());
            good.push(change);
        }),
        (Id::U4, "a version of the definition is missing", |good| redefined(&mut good[7]).version = 4),
        (Id::U4, "a shard is defined twice", |good| good.insert(1, good[0].clone())),
        (Id::U4, "an order is taken by a shard that is not defined", |good| {
            let mut stray = good[1].clone();
            stray.shard = ShardId(8);
            good.push(stray);
        }),
    ];
    for (id, what, plant) in plants {
        let mut entries = good();
        plant(&mut entries);
        let report = audit(&entries);
        assert_eq!(broken(&report), [*id], "{what}: {report:?}");
    }
}

fn placed_sku(place: u16) -> doorbuster::ids::SkuIndex {
    doorbuster::ids::SkuIndex(place)
}

/// Lets a plant be one expression that says what it does.
trait SwapAt {
    fn swap_at(&mut self, one: usize, other: usize);
}

impl SwapAt for Vec<Entry> {
    fn swap_at(&mut self, one: usize, other: usize) {
        // The events change places, not their times: only what happened first is planted.
        let (left, right) = (self[one].event.clone(), self[other].event.clone());
        (self[one].event, self[other].event) = (right, left);
    }
}

#[test]
fn a_gap_or_a_repeat_in_the_numbers_is_named() {
    for numbers in [[1, 2, 4], [1, 2, 2], [1, 3, 2], [1, u64::MAX, u64::MAX]] {
        let mut auditor = Auditor::new(Keep::Standing);
        for (seq, entry) in numbers.into_iter().zip(&good()) {
            auditor.observe(Seq(seq), entry);
        }
        assert_eq!(broken(&auditor.finish()), [Id::J1], "{numbers:?}");
    }
    let mut auditor = Auditor::new(Keep::Standing);
    (500..).zip(&good()).for_each(|(seq, entry)| auditor.observe(Seq(seq), entry));
    assert!(auditor.finish().holds(), "a journal may start anywhere: its beginning may have been dropped");
}

#[test]
fn faults_of_two_shards_are_both_named() {
    let mut entries = good();
    let mut other = good();
    other.iter_mut().for_each(|entry| entry.shard = ShardId(8));
    let Event::ActivityDefined(event) = &mut other[0].event else { panic!("the definition comes first") };
    event.activity_id = ActivityId(18);
    placed(&mut entries[1]).slots = Slots::default();
    other[9].at_ms = ms(START + WINDOW);
    entries.extend(other);
    assert_eq!(broken(&audit(&entries)), [Id::S2, Id::S4]);
}

/// Whatever one event is replaced by, left out or said twice, the auditor comes to an end with a report.
#[test]
fn no_damage_to_one_event_makes_the_auditor_panic() {
    let good = good();
    damage_each(&good, |entries| drop(audit(entries)));
    let _ = audit(&[entry(1, good[3].event.clone())]);
}
