//! Every invariant that the auditor checks of an activity of several parts, of moves between them and of its leaving,
//! with a planted bug: it names that one, no other, and does not panic.

mod domain;

use domain::damage::damage_each;
use domain::parts::*;
use domain::*;
use doorbuster::domain::audit::{Auditor, Id, Keep};
use doorbuster::domain::event::{
    ActivityDefined, ActivityRedefined, ActivityRetired, Control, OrderPlaced, STOCK_RANGES_MAX, SlotsMoved,
    StockChange, Switch,
};
use doorbuster::domain::slots::Slots;
use doorbuster::domain::{Command, Entry, Event};
use doorbuster::ids::{ActivityId, Qty, Seq, ShardId, SkuIndex, UserId};

const PARTS: u16 = 3;

fn changed(to: Switch, change_id: u64) -> Command {
    let mut switch = switch(to);
    switch.request.change_id = change_id;
    switch.command()
}

/// A journal of everything that can happen to an activity of three parts, shards 7, 8 and 9, until it leaves.
fn good() -> Vec<Entry> {
    let mut parts = Parts::open(&with(|d| d.shards = PARTS)); // entries 0 to 2
    parts.must(0, START, give(1, 0, 2)); // entry 3: a 4 and 5 to shard 8
    parts.must(0, START, give(2, 1, 1)); // entry 4: b 3 to shard 9
    parts.must(1, START + 1, place(user_of(1, PARTS, 1), "a", 1)); // entry 5: a 4
    parts.must(0, START + 2, place(user_of(0, PARTS, 1), "a", 1)); // entry 6: a 1
    parts.must(0, START + 3, changed(Switch::Paused, 2)); // entry 7
    parts.follow(1, START + 4); // entry 8
    parts.must(2, START + 5, place(user_of(2, PARTS, 1), "b", 1)); // entry 9: before the shard has heard of the pause
    parts.follow(2, START + 6); // entry 10
    parts.must(0, START + 7, changed(Switch::Resumed, 3)); // entry 11
    parts.follow(1, START + 8); // entry 12
    parts.follow(2, START + 8); // entry 13
    let mut redefine = put(with(|d| {
        d.shards = PARTS;
        d.skus[1].stock = Qty(2);
        d.skus.push(sku("c", 4));
    }));
    redefine.request.change_id = 4;
    parts.must(0, START + 9, redefine); // entry 14: takes b 2 away
    parts.follow(1, START + 10); // entry 15
    parts.must(0, START + 20, give(1, 2, 2)); // entry 16: c 3 and 4 to shard 8
    parts.must(1, START + 11, give(0, 0, 1)); // entry 17: a 5 back home, at an instant that is past there
    parts.must(1, START + 12, cancel(user_of(1, PARTS, 1), 1)); // entry 18
    parts.follow(2, START + 13); // entry 19
    parts.must(0, START + 2 + WINDOW, Command::ExpireHolds); // entry 20
    parts.must(2, START + 5 + WINDOW, Command::ExpireHolds); // entry 21
    parts.must(0, END, Command::Retire { orders: 3 }); // entry 22
    parts.entries
}

macro_rules! inside {
    ($($name:ident: $variant:ident => $inner:ty),*) => {
        $(fn $name(entry: &mut Entry) -> &mut $inner {
            match &mut entry.event {
                Event::$variant(event) => event,
                other => panic!("another event was expected: {other:?}"),
            }
        })*
    };
}
inside!(defined_by: ActivityDefined => ActivityDefined, placed: OrderPlaced => OrderPlaced, moved: SlotsMoved => SlotsMoved,
    followed: HomeFollowed => Control, redefined: ActivityRedefined => ActivityRedefined,
    retired: ActivityRetired => ActivityRetired);

/// Another activity, of one shard.
fn another(shard: ShardId) -> Entry {
    let first = ActivityDefined { activity_id: ActivityId(18), ..defined(definition(), false) };
    Entry { shard, at_ms: ms(1), event: Event::ActivityDefined(Box::new(first)) }
}

/// The events change places, not their times.
fn swap(entries: &mut [Entry], one: usize, other: usize) {
    entries.swap(one, other);
    let at_ms = entries[one].at_ms;
    entries[one].at_ms = std::mem::replace(&mut entries[other].at_ms, at_ms);
}

/// The good journal without `from..`, with one more event at its end.
fn and_then(good: &mut Vec<Entry>, from: usize, entry: Entry) {
    good.truncate(from);
    good.push(entry);
}

#[test]
fn a_good_journal_of_parts_breaks_nothing_at_any_prefix() {
    let good = good();
    for prefix in 0..=good.len() {
        let report = audit(&good[..prefix]);
        assert!(report.holds(), "{prefix}: {report:?}");
    }
    use Id::{J1, J5, S1, S2, S3, S4, S5, U1, U2, U3, U4};
    let checked: Vec<Id> = audit(&good).findings().map(|(id, _)| id).collect();
    assert_eq!(checked, [J1, J5, S1, S2, S3, S4, S5, U1, U2, U4], "all but {U3}: no order has a key");
    fold(&good).expect("the fold agrees");
}

type Plant = fn(&mut Vec<Entry>);

fn assert_named(plants: &[(Id, &str, Plant)]) {
    for (id, what, plant) in plants {
        let mut entries = good();
        plant(&mut entries);
        let report = audit(&entries);
        assert_eq!(broken(&report), [*id], "{what}: {report:?}");
    }
}

#[test]
fn a_wrong_move_is_named() {
    assert_named(&[
        (Id::S5, "a shard gives to itself", |good| moved(&mut good[3]).to = SHARD),
        (Id::S5, "the taker is nobody", |good| moved(&mut good[3]).to = ShardId(99)),
        (Id::S5, "the taker is of another activity", |good| {
            good.insert(3, another(ShardId(20)));
            moved(&mut good[4]).to = ShardId(20);
        }),
        (Id::S5, "slots move that never were", |good| moved(&mut good[3]).slots = Slots::range(5, 2)),
        (Id::S5, "slots move twice", |good| good.insert(4, good[3].clone())),
        (Id::S5, "a held slot moves", |good| moved(&mut good[17]).slots = Slots::range(4, 1)),
        (Id::S5, "a slot moves that was taken away", |good| {
            let again = moved(&mut good[16]);
            (again.sku, again.slots) = (SkuIndex(1), Slots::range(2, 1));
        }),
        (Id::S5, "nothing moves", |good| moved(&mut good[3]).slots = Slots::default()),
        (Id::S5, "a slot moves twice at once", |good| moved(&mut good[3]).slots = decode(&encode(&[(5, 1), (5, 1)]))),
        (Id::S5, "a range ends past every number", |good| {
            moved(&mut good[3]).slots = decode(&encode(&[(2, u32::MAX), (u32::MAX, u32::MAX)]));
        }),
        (Id::S5, "slots of no SKU move", |good| moved(&mut good[3]).sku = SkuIndex(9)),
        (Id::S5, "the taker does not know the SKU yet", |good| moved(&mut good[16]).to = shard(2)),
        (Id::S5, "an activity of one shard gives away", |good| {
            *good = vec![another(SHARD), Entry { at_ms: ms(2), ..good[3].clone() }];
        }),
        (Id::J5, "the giver's time goes back", |good| good[17].at_ms = ms(START + 9)),
        (Id::S2, "a part sells what stayed at home", |good| placed(&mut good[5]).slots = Slots::range(3, 1)),
        (Id::S2, "the home sells what it gave away", |good| placed(&mut good[6]).slots = Slots::range(5, 1)),
        (Id::S2, "the home takes away what is elsewhere", |good| {
            redefined(&mut good[14]).stock[0] = StockChange::Removed { sku: SkuIndex(1), slots: Slots::range(3, 1) };
        }),
        (Id::S1, "a definition counts what is here, not all there is", |good| {
            redefined(&mut good[14]).definition.skus[0].stock = Qty(3);
        }),
        (Id::U1, "a user orders at another part", |good| {
            placed(&mut good[9]).user = UserId(user_of(1, PARTS, 2));
        }),
    ]);
    let ranges = u32::try_from(STOCK_RANGES_MAX).expect("the bound is small");
    for (count, ids) in [(ranges, &[][..]), (ranges + 1, &[Id::S5])] {
        let mut parts = Parts::open(&with(|d| (d.shards, d.skus[0].stock) = (2, Qty(10_000)))).entries;
        let slots = decode(&encode(&(0..count).map(|n| (2 * n + 1, 1)).collect::<Vec<_>>()));
        let event = Event::SlotsMoved(SlotsMoved { to: shard(1), sku: SkuIndex(0), slots });
        parts.push(Entry { shard: SHARD, at_ms: ms(2), event });
        assert_eq!(broken(&audit(&parts)), ids, "{count} ranges");
    }
}

#[test]
fn a_part_that_does_not_do_as_its_home_is_named() {
    assert_named(&[
        (Id::U4, "a part goes on although its home paused", |good| followed(&mut good[8]).paused = false),
        (Id::U4, "a part closes on its own", |good| followed(&mut good[8]).closed = true),
        (Id::U4, "a part follows what has not happened", |good| good.swap(7, 8)),
        (Id::U4, "a part follows another change", |good| followed(&mut good[8]).change_id = 3),
        (Id::U4, "a part follows to another version", |good| followed(&mut good[15]).version = 3),
        (Id::U4, "a part follows to another definition", |good| {
            followed(&mut good[15]).definition.as_mut().expect("it has one").title.clear();
        }),
        (Id::U4, "a part follows to a version without a definition", |good| {
            followed(&mut good[15]).definition = None;
        }),
        (Id::U4, "a part follows to a definition of the same version", |good| {
            followed(&mut good[8]).definition = Some(with(|d| d.shards = PARTS));
        }),
        (Id::U4, "a part does not learn of a SKU", |good| followed(&mut good[15]).skus.clear()),
        (Id::U4, "a part learns of another SKU", |good| followed(&mut good[15]).skus = vec![sku_id("d")]),
        (Id::U4, "a part goes back", |good| {
            let again = Entry { at_ms: good[12].at_ms, ..good[8].clone() };
            good.insert(13, again);
        }),
        (Id::U4, "a part follows twice", |good| good.insert(9, good[8].clone())),
        (Id::U4, "the home follows", |good| good[8].shard = SHARD),
        (Id::U4, "an activity of one shard follows", |good| {
            let follows = Entry { shard: ShardId(20), ..good[8].clone() };
            *good = vec![another(ShardId(20)), follows];
        }),
        (Id::U4, "an operator pauses a part", |good| good[7].shard = shard(1)),
        (Id::U4, "an operator redefines a part", |good| good[14].shard = shard(1)),
        (Id::U4, "an activity is to have other parts", |good| redefined(&mut good[14]).definition.shards = 1),
        (Id::U4, "an operator's change is noted at a part", |good| {
            let change = redefined(&mut good[14].clone()).change.clone();
            let noted = Entry { event: Event::ChangeNoted(Box::new(change)), ..good[8].clone() };
            and_then(good, 9, noted);
        }),
        (Id::U4, "an order is taken by a part that has heard of the pause", |good| swap(good, 9, 10)),
    ]);
}

#[test]
fn a_part_that_is_defined_wrongly_is_named() {
    assert_named(&[
        (Id::U4, "a part beyond the last", |good| {
            let mut beyond = good[2].clone();
            (beyond.shard, defined_by(&mut beyond).part.as_mut().expect("a part").number) = (shard(3), 3);
            good.insert(3, beyond);
        }),
        (Id::U4, "a part at another's shard", |good| {
            defined_by(&mut good[1]).part.as_mut().expect("a part").number = 2;
        }),
        (Id::U4, "a part of another home", |good| {
            let part = defined_by(&mut good[1]).part.as_mut().expect("a part");
            (part.home, part.number) = (ShardId(8), 0);
        }),
        (Id::U4, "a home whose parts have no numbers", |good| {
            let mut first = defined_by(&mut good[0]).clone();
            first.part.as_mut().expect("a part").home = ShardId::MAX;
            let event = Event::ActivityDefined(Box::new(first));
            *good = vec![Entry { shard: ShardId::MAX, event, at_ms: ms(1) }];
        }),
        (Id::U4, "all of an activity of three parts", |good| {
            good.truncate(1);
            defined_by(&mut good[0]).part = None;
        }),
        (Id::U4, "more parts than an activity may have", |good| {
            good.truncate(1);
            defined_by(&mut good[0]).definition.shards = 257;
        }),
        (Id::U4, "no part", |good| {
            good.truncate(1);
            defined_by(&mut good[0]).definition.shards = 0;
        }),
        (Id::U4, "a part with another definition", |good| defined_by(&mut good[1]).definition.title.clear()),
        (Id::U4, "a part by another change", |good| defined_by(&mut good[1]).change.change_id = 2),
        (Id::U4, "a part twice", |good| good.insert(2, good[1].clone())),
        (Id::U4, "an activity with two homes", |good| {
            let mut again = good[0].clone();
            (again.shard, defined_by(&mut again).part.as_mut().expect("a part").home) = (ShardId(20), ShardId(20));
            good.insert(3, again);
        }),
        (Id::U4, "an order at a part that is not defined", |good| {
            let order = good[9].clone();
            and_then(good, 2, order);
        }),
        (Id::U2, "a shard's number is another activity's", |good| and_then(good, 2, another(ShardId(9)))),
        (Id::U2, "an activity has another's shard among its own", |good| {
            *good = vec![another(ShardId(8)), good[0].clone()];
        }),
    ]);
}

#[test]
fn a_wrong_end_is_named() {
    assert_named(&[
        (Id::U4, "an activity leaves before its end", |good| good[22].at_ms = ms(END - 1)),
        (Id::U4, "a part says that the activity leaves", |good| good[22].shard = shard(1)),
        (Id::S3, "an activity leaves while its home holds units", |good| drop(good.remove(20))),
        (Id::S3, "an activity leaves while a part holds units", |good| drop(good.remove(21))),
        (Id::U2, "an activity leaves with another number of orders", |good| retired(&mut good[22]).orders = 1),
        (Id::U4, "an activity leaves twice", |good| good.push(good[22].clone())),
        (Id::U4, "an order after the activity left", |good| good.push(good[5].clone())),
        (Id::U4, "slots move after the activity left", |good| good.push(good[17].clone())),
        (Id::U4, "an activity that left is defined again", |good| good.push(good[0].clone())),
        (Id::U4, "an activity that left is defined elsewhere", |good| {
            let mut again = good[0].clone();
            (again.shard, defined_by(&mut again).part.as_mut().expect("a part").home) = (ShardId(20), ShardId(20));
            good.push(again);
        }),
        (Id::U4, "an activity of one shard that left is defined again", |good| {
            let event = Event::ActivityRetired(ActivityRetired { orders: 0 });
            let left = Entry { shard: ShardId(20), at_ms: ms(END), event };
            *good = vec![another(ShardId(20)), left, another(ShardId(20))];
        }),
        (Id::U2, "the number of a shard that left is given again", |good| good.push(another(ShardId(8)))),
    ]);
    let mut closed = good();
    closed[11] = Entry { at_ms: closed[11].at_ms, ..closed[7].clone() };
    closed.truncate(12);
    let Event::SaleSwitched(switched) = &mut closed[11].event else { panic!("a switch was expected") };
    (switched.to, switched.change.change_id) = (Switch::Closed, 3);
    let ends = [20, 21, 22].map(|place| good()[place].clone());
    closed.extend(ends);
    closed.insert(12, Entry { at_ms: ms(START + 12), ..good()[18].clone() });
    closed[15].at_ms = ms(START + 6 + WINDOW);
    assert_eq!(broken(&audit(&closed)), [], "what was closed is over");
}

/// What one part of an activity does after a fault in another is no news, and other activities are judged as ever.
#[test]
fn one_fault_of_an_activity_has_one_name_and_hides_no_other_activity() {
    let mut entries = good();
    moved(&mut entries[3]).slots = Slots::range(9, 1);
    let mut other = another(ShardId(20));
    defined_by(&mut other).definition.skus.push(sku("a", 1));
    entries.push(other);
    let report = audit(&entries);
    assert_eq!(broken(&report), [Id::S1, Id::S5]);
    assert_eq!(report.finding(Id::S5).map(|finding| finding.broken), Some(1));
}

/// A crash may leave an activity without some of its parts; start-up defines the rest.
#[test]
fn parts_that_are_not_defined_yet_are_no_fault_and_may_come_in_any_order() {
    let good = good();
    for order in [[0, 1, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        for defined in 0..=3 {
            let entries: Vec<Entry> = order[..defined].iter().map(|place| good[*place].clone()).collect();
            assert_eq!(broken(&audit(&entries)), [], "{order:?}");
        }
        let mut entries: Vec<Entry> = order.iter().map(|place| good[*place].clone()).collect();
        entries.extend_from_slice(&good[3..]);
        assert_eq!(broken(&audit(&entries)), [], "{order:?}");
    }
}

#[test]
fn what_has_left_is_let_go_unless_it_is_asked_for() {
    let good = good();
    for (keep, is_kept) in [(Keep::Standing, false), (Keep::All, true)] {
        let mut auditor = Auditor::new(keep);
        (1..).zip(&good).for_each(|(seq, entry)| auditor.observe(Seq(seq), entry));
        assert_eq!(auditor.sales().count(), 0);
        let order = auditor.sale(shard(2)).and_then(|sale| sale.order(1));
        assert_eq!(order.map(|order| order.user), is_kept.then(|| UserId(user_of(2, PARTS, 1))));
        assert!(auditor.finish().holds());
    }
}

/// Whatever one event is replaced by, left out or said twice, auditor and fold come to an end.
#[test]
fn no_damage_to_one_event_makes_the_auditor_panic() {
    damage_each(&good(), |entries| drop(audit(entries)));
}
