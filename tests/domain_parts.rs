//! An activity of several parts: what a part gives, what it follows, when the activity leaves, and what the fold of a
//! journal refuses, as tables.

mod domain;

use domain::parts::*;
use domain::*;
use doorbuster::domain::command::MoveSlots;
use doorbuster::domain::event::{
    ActivityRetired, Control, HoldsExpired, OrderCancelled, STOCK_RANGES_MAX, SlotsMoved, Switch,
};
use doorbuster::domain::slots::Slots;
use doorbuster::domain::{Command, Definition, Entry, Event, Part, Refusal};
use doorbuster::ids::{ActivityId, Cents, Qty, Seq, ShardId, SkuIndex, UserId};

const PARTS: u16 = 3;

fn spread() -> Definition {
    with(|d| d.shards = PARTS)
}

fn open() -> Parts {
    Parts::open(&spread())
}

/// A redefinition or a switch with a change id of its own.
fn as_change(mut command: Command, change_id: u64) -> Command {
    match &mut command {
        Command::Redefine(redefine) => redefine.request.change_id = change_id,
        Command::SwitchSale(switch) => switch.request.change_id = change_id,
        other => panic!("no change: {other:?}"),
    }
    command
}

fn to(definition: Definition, change_id: u64) -> Command {
    as_change(put(definition).command(), change_id)
}

fn switched(to: Switch, change_id: u64) -> Command {
    as_change(switch(to).command(), change_id)
}

#[test]
fn the_home_begins_with_all_units_and_the_others_with_none() {
    let parts = open();
    for (part, units) in [(0, [(5, 0), (3, 0)]), (1, [(0, 0), (0, 0)]), (2, [(0, 0), (0, 0)])] {
        assert_eq!([parts.units(part, "a"), parts.units(part, "b")], units);
        assert_eq!(parts.sales[part].part().number, u16::try_from(part).expect("few parts"));
        assert_eq!(parts.sales[part].part().is_home(), part == 0);
    }
    assert_eq!(parts.ask(1, START, place(user_of(1, PARTS, 1), "a", 1)), Err(Refusal::SoldOut));
    let sole = Shop::open(definition(), false);
    assert_eq!(sole.sale.part(), Part::sole(SHARD));
    assert_eq!(sole.units("a"), Some((5, 5, 0)));
}

#[test]
fn a_part_gives_the_highest_that_are_free_and_no_more_than_there_are() {
    // Units of a at home by order: 1 is held, 2 to 5 are free.
    let table: [(u32, &[(u32, u32)]); 4] = [(0, &[]), (1, &[(5, 1)]), (4, &[(2, 4)]), (u32::MAX, &[(2, 4)])];
    for (units, ranges) in table {
        let mut parts = open();
        parts.must(0, START, place(user_of(0, PARTS, 1), "a", 1));
        let decision = parts.run(0, START, give(1, 0, units)).expect("a part never refuses to give");
        let moved = |ranges: &[(u32, u32)]| {
            Event::SlotsMoved(SlotsMoved { to: shard(1), sku: SkuIndex(0), slots: decode(&encode(&ranges)) })
        };
        let wanted: Vec<Event> = (!ranges.is_empty()).then(|| moved(ranges)).into_iter().collect();
        assert_eq!((decision.events.to_vec(), decision.order), (wanted, None), "{units} units");
        assert_eq!(parts.units(1, "a"), (0, 0), "what is under way is nowhere");
        (0..parts.under_way.len()).for_each(|_| parts.deliver(0));
        let gone: u32 = ranges.iter().map(|(_, count)| count).sum();
        assert_eq!((parts.units(0, "a"), parts.units(1, "a")), ((4 - gone, 1), (gone, 0)));
    }
    let nothing = [
        Command::MoveSlots(MoveSlots { to: shard(1), sku: SkuIndex(9), units: 1 }),
        Command::MoveSlots(MoveSlots { to: shard(1), sku: SkuIndex(0), units: 0 }),
    ];
    for command in nothing {
        assert_eq!(open().ask(0, START, command.clone()).map(|decision| decision.events.len()), Ok(0), "{command:?}");
    }
    assert_eq!(open().ask(1, START, give(0, 0, 1)).map(|decision| decision.events.len()), Ok(0), "a dry part");
}

/// A part gives whatever the sale is doing: what is gathered may be gathered after the end.
#[test]
fn slots_move_in_every_phase() {
    let mut parts = open();
    parts.must(0, 2, give(1, 0, 2));
    parts.must(0, START, switched(Switch::Paused, 2));
    parts.must(0, START, give(1, 1, 2));
    parts.must(0, START, switched(Switch::Closed, 3));
    parts.must(1, END, give(0, 0, 9));
    parts.must(1, END + 1, give(2, 1, 9));
    assert_eq!([0, 1, 2].map(|part| parts.units(part, "a").0), [5, 0, 0]);
    assert_eq!([0, 1, 2].map(|part| parts.units(part, "b").0), [1, 0, 2]);
}

#[test]
fn a_move_names_no_more_ranges_than_an_event_may() {
    let ranges = u32::try_from(STOCK_RANGES_MAX).expect("the bound is small") + 10;
    let mut parts = Parts::open(&with(|d| {
        (d.shards, d.per_user_limit, d.skus[0].stock) = (2, Qty(10_000), Qty(2 * ranges));
    }));
    let users = (1..).filter(|user| parts.sales[0].part().spread.part_of(UserId(*user), 2) == 0);
    let users: Vec<u64> = users.take(2 * ranges as usize).collect();
    users.iter().for_each(|user| drop(parts.must(0, START, place(*user, "a", 1))));
    for (user, number) in users.iter().zip(1..).step_by(2) {
        parts.must(0, START, cancel(*user, number));
    }
    parts.must(0, START, give(1, 0, u32::MAX));
    assert_eq!((parts.units(0, "a").0, parts.units(1, "a").0), (10, ranges - 10), "the rest takes another move");
    parts.must(0, START, give(1, 0, u32::MAX));
    assert_eq!((parts.units(0, "a").0, parts.units(1, "a").0), (0, ranges));
}

#[test]
fn a_part_sells_what_it_was_given_and_takes_it_back() {
    let mut parts = open();
    parts.must(0, START, give(1, 0, 2));
    let user = user_of(1, PARTS, 1);
    parts.must(1, START, place(user, "a", 2));
    assert_eq!(parts.sales[1].order(1).map(|order| order.slots.iter().collect::<Vec<_>>()), Some(vec![4, 5]));
    assert_eq!(parts.sales[1].order(1).map(|order| order.order_id.shard()), Some(Some(shard(1))));
    assert_eq!(parts.ask(1, START, give(0, 0, 9)).map(|decision| decision.events.len()), Ok(0), "what is held stays");
    parts.must(1, START, cancel(user, 1));
    assert_eq!(parts.units(1, "a"), (2, 0));
    parts.must(1, START, place(user, "a", 1));
    parts.must(1, START + WINDOW, Command::ExpireHolds);
    assert_eq!(parts.units(1, "a"), (2, 0));
}

#[test]
#[should_panic(expected = "S2")]
fn slots_that_are_here_already_are_not_received() {
    let mut parts = open();
    parts.sales[0].receive(SkuIndex(0), &Slots::range(5, 1));
}

#[test]
#[should_panic(expected = "S5")]
fn a_shard_gives_nothing_to_itself() {
    let mut parts = open();
    drop(parts.run(0, START, give(0, 0, 1)));
}

type Step = fn(&mut Parts);

#[test]
fn a_part_becomes_what_its_home_has_become() {
    let pause: Step = |parts| drop(parts.must(0, START, switched(Switch::Paused, 2)));
    let close: Step = |parts| drop(parts.must(0, START, switched(Switch::Closed, 3)));
    let grow: Step = |parts| {
        let grown = with(|d| {
            d.shards = PARTS;
            (d.per_user_limit, d.skus[0].price_cents) = (Qty(4), Cents(7));
            d.skus.push(sku("c", 4));
        });
        drop(parts.must(0, START, to(grown, 4)));
    };
    /// Paused, closed, the version, and how many SKUs are news.
    type Wanted = (bool, bool, u64, usize);
    let table: [(&[Step], Wanted); 5] = [
        (&[pause], (true, false, 1, 0)),
        (&[close], (false, true, 1, 0)),
        (&[pause, close], (true, true, 1, 0)),
        (&[grow], (false, false, 2, 1)),
        (&[pause, grow], (true, false, 2, 1)),
    ];
    for (place, (steps, wanted)) in table.into_iter().enumerate() {
        let mut parts = open();
        steps.iter().for_each(|step| step(&mut parts));
        let control = parts.follow(1, START + 5);
        assert_eq!((control.paused, control.closed, control.version, control.skus.len()), wanted, "{place}");
        assert_eq!(control.definition.is_some(), control.version == 2, "{place}");
        let [home, part] = [&parts.sales[0], &parts.sales[1]];
        assert_eq!(control.change_id, home.last_change_id(), "{place}");
        assert_eq!((part.is_paused(), part.is_closed()), (home.is_paused(), home.is_closed()), "{place}");
        assert_eq!((part.version(), part.definition()), (home.version(), home.definition()), "{place}");
        assert_eq!(part.sku_ids().collect::<Vec<_>>(), home.sku_ids().collect::<Vec<_>>(), "{place}");
        assert_eq!(part.ended_at_ms(), if part.is_closed() { ms(START + 5) } else { ms(END) }, "{place}");
        let again = parts.ask(1, START, Command::FollowHome(Box::new(home.control())));
        assert_eq!(again.map(|decision| decision.events.len()), Ok(0), "{place}: nothing is left to follow");
    }
}

/// An index is the same SKU everywhere, also for a part that missed a version in which a SKU came and went.
#[test]
fn a_part_that_missed_a_version_has_the_same_indexes() {
    let mut parts = open();
    let listed =
        |names: &[&str]| with(|d| (d.shards, d.skus) = (PARTS, names.iter().map(|name| sku(name, 2)).collect()));
    parts.must(0, START, to(listed(&["a", "b", "c"]), 2));
    parts.follow(1, START);
    parts.must(0, START, to(listed(&["b", "a"]), 3));
    parts.must(0, START, to(listed(&["e", "d", "b"]), 4));
    for part in [1, 2] {
        parts.follow(part, START + 1);
        let names: Vec<_> = parts.sales[part].sku_ids().map(|(_, name, listed)| (name.to_string(), listed)).collect();
        let wanted = [("a", false), ("b", true), ("c", false), ("e", true), ("d", true)];
        assert_eq!(names, wanted.map(|(name, listed)| (name.to_owned(), listed)), "part {part}");
        parts.must(0, START + 1, give(part, 4, 1));
        assert_eq!(parts.units(part, "d"), (1, 0));
        let refused = parts.ask(part, START + 1, place(user_of(part, PARTS, 1), "c", 1));
        assert_eq!(refused, Err(Refusal::SkuNotFound));
    }
    parts.must(0, START + 2, to(listed(&["c", "d", "e", "b"]), 5));
    parts.follow(1, START + 2);
    parts.must(0, START + 2, give(1, 2, 2));
    assert_eq!(parts.units(1, "c"), (2, 0), "what comes back has its old index");
    assert!(audit(&parts.entries).holds());
}

/// A word that is late says what was.
#[test]
fn what_the_home_has_moved_on_from_is_not_followed() {
    let mut parts = open();
    parts.must(0, START, switched(Switch::Paused, 2));
    let late = parts.sales[0].control();
    parts.follow(1, START);
    parts.must(0, START, switched(Switch::Resumed, 3));
    parts.follow(1, START);
    let decision = parts.ask(1, START, Command::FollowHome(Box::new(late)));
    assert_eq!(decision.map(|decision| decision.events.len()), Ok(0));
}

#[test]
fn a_part_that_has_not_followed_goes_by_what_it_knows() {
    let mut parts = open();
    parts.must(0, START, give(1, 0, 4));
    parts.must(0, START, switched(Switch::Paused, 2));
    let user = user_of(1, PARTS, 1);
    parts.must(1, START, place(user, "a", 1));
    parts.follow(1, START);
    assert_eq!(parts.ask(1, START, place(user, "a", 1)), Err(Refusal::Paused));
}

/// What is free elsewhere counts as held, until it was gathered.
#[test]
fn a_home_lowers_and_takes_off_only_what_is_free_here() {
    let lower = |stock| to(with(|d| (d.shards, d.skus[0].stock) = (PARTS, Qty(stock))), 2);
    let take_off = to(with(|d| (d.shards, _) = (PARTS, d.skus.remove(0))), 2);
    let mut parts = open();
    parts.must(0, START, give(1, 0, 2));
    parts.must(0, START, give(2, 0, 1));
    let too_low = Refusal::StockTooLow { sku: sku_id("a"), largest_reduction: 2 };
    assert_eq!(parts.ask(0, START, lower(2)), Err(too_low));
    assert_eq!(parts.ask(0, START, take_off.clone()), Err(Refusal::ImmutableField { field: "skus.a".to_owned() }));
    parts.clone().must(0, START, lower(3));
    parts.must(1, START, give(0, 0, 9));
    parts.must(2, START, give(0, 0, 9));
    parts.clone().must(0, START, lower(0));
    parts.must(0, START, take_off);
    assert_eq!(parts.sales[0].free_units(SkuIndex(0)), 0);

    let mut parts = open();
    parts.must(0, START, give(1, 0, 5));
    parts.must(0, START, restock("a", 2));
    assert_eq!(
        (parts.units(0, "a"), parts.sales[0].definition().skus[0].stock),
        ((2, 0), Qty(7)),
        "fresh units are home's"
    );
    assert!(audit(&parts.entries).holds());
    let other = Refusal::ImmutableField { field: "shards".to_owned() };
    assert_eq!(parts.ask(0, START, to(definition(), 3)), Err(other));
}

/// A journal of three parts in which everything is over, and the order in it.
fn over() -> Parts {
    let mut parts = open();
    parts.must(0, START, give(1, 0, 2));
    parts.must(1, START, place(user_of(1, PARTS, 1), "a", 1));
    parts.must(0, START, place(user_of(0, PARTS, 1), "a", 1));
    parts.must(0, START + 1, cancel(user_of(0, PARTS, 1), 1));
    parts.must(1, START + WINDOW, Command::ExpireHolds);
    parts
}

#[test]
fn an_activity_is_settled_once_it_is_over_and_holds_nothing() {
    let mut parts = open();
    let retain_ms = 10;
    for (at, settled) in [(START, false), (END + 9, false), (END + 10, true)] {
        assert_eq!(parts.sales[0].is_settled(ms(at), retain_ms), settled, "{at}");
    }
    parts.must(0, END - 1, place(user_of(0, PARTS, 1), "a", 1));
    assert!(!parts.sales[0].is_settled(ms(END + END), retain_ms), "a unit is held");
    parts.must(0, END + WINDOW, Command::ExpireHolds);
    assert!(parts.sales[0].is_settled(ms(END + END), retain_ms));
    let mut parts = open();
    parts.must(0, START, switched(Switch::Closed, 2));
    for (at, settled) in [(START + 9, false), (START + 10, true)] {
        assert_eq!(parts.sales[0].is_settled(ms(at), retain_ms), settled, "closed, {at}");
    }
}

#[test]
fn an_activity_leaves_with_all_its_parts_and_is_remembered() {
    let mut parts = over();
    parts.must(0, START + 2, to(with(|d| (d.shards, d.title) = (PARTS, "last".to_owned())), 2));
    parts.must(0, START + 3, switched(Switch::Closed, 3));
    let before = fold(&parts.entries).expect("it is sound");
    assert_eq!(before.standing().keys().collect::<Vec<_>>(), [&ACTIVITY]);
    assert_eq!(before.parts(ACTIVITY).map(|sale| sale.shard()).collect::<Vec<_>>(), [0, 1, 2].map(shard));

    let retired = parts.must(0, END, Command::Retire { orders: 2 });
    assert_eq!(retired, Event::ActivityRetired(ActivityRetired { orders: 2 }));
    let mut other = parts.entries[0].clone();
    let Event::ActivityDefined(first) = &mut other.event else { panic!("a definition comes first") };
    (first.activity_id, first.part, first.definition.shards) = (ActivityId(18), None, 1);
    (other.shard, first.change.change_id) = (ShardId(10), 4);
    parts.entries.push(other);
    let after = fold(&parts.entries).expect("it is sound");
    assert_eq!(after.iter().map(|sale| sale.activity_id()).collect::<Vec<_>>(), [ActivityId(18)]);
    assert_eq!((after.last_shard(), after.last_change_id(), after.last_at_ms()), (ShardId(10), 4, ms(END)));
    let left = &after.retired()[&ACTIVITY];
    assert_eq!((left.home, left.orders, left.version, left.closed), (parts.sales[0].part(), 2, 2, true));
    assert_eq!((left.definition.title.as_str(), left.first), ("last", Seq(1)));
    assert_eq!(left.last, Seq(u64::try_from(parts.entries.len() - 1).expect("few events")));
}

#[test]
fn the_numbers_of_all_parts_are_taken_from_the_first_one_on() {
    let parts = open();
    for place in 0..3 {
        let sales = fold(&parts.entries[place..=place]).expect("parts may be missing");
        assert_eq!((sales.last_shard(), sales.iter().count()), (shard(2), 1));
        assert_eq!(sales.parts(ACTIVITY).count(), 1, "part {place}");
    }
    let sales = fold(&parts.entries).expect("it is sound");
    let folded: Vec<_> = sales.iter().cloned().collect();
    assert!(folded == parts.sales);
}

#[test]
fn the_fold_refuses_what_cannot_follow() {
    type Plant = fn(&mut Vec<Entry>);
    fn moved(entry: &mut Entry) -> &mut SlotsMoved {
        match &mut entry.event {
            Event::SlotsMoved(moved) => moved,
            other => panic!("a move was expected: {other:?}"),
        }
    }
    fn defined_by(entry: &mut Entry) -> &mut doorbuster::domain::event::ActivityDefined {
        match &mut entry.event {
            Event::ActivityDefined(event) => event,
            other => panic!("a definition was expected: {other:?}"),
        }
    }
    fn follows(shard: ShardId, control: Control) -> Entry {
        Entry { shard, at_ms: ms(END), event: Event::HomeFollowed(Box::new(control)) }
    }
    fn control(version: u64) -> Control {
        Control { change_id: 9, version, definition: None, paused: false, closed: true, skus: Vec::new() }
    }
    // 0 to 2 define, 3 moves a 4 and 5 to shard 8, 4 sells a 4 there, 5 sells a 1 at home, 6 and 7 give back, 8 ends.
    let plants: &[(&str, &str, Plant)] = &[
        ("never defined", "an event of a shard that nobody defined", |all| all[4].shard = ShardId(99)),
        ("has left", "an event of a shard that has left", |all| all.push(all[4].clone())),
        ("has left already", "an activity comes back", |all| all.push(all[0].clone())),
        ("defined a second time", "a shard is defined twice", |all| all.insert(1, all[0].clone())),
        ("part 3 of 3", "a part beyond the last", |all| {
            all[2].shard = shard(3);
            defined_by(&mut all[2]).part.as_mut().expect("a part").number = 3;
        }),
        ("part 1 of 3", "a part at another's shard", |all| {
            defined_by(&mut all[2]).part.as_mut().expect("a part").number = 1;
        }),
        ("part 0 of 3", "all of an activity of three parts", |all| defined_by(&mut all[0]).part = None),
        ("from shard 4294967295 on", "a home beyond every shard", |all| {
            defined_by(&mut all[2]).part.as_mut().expect("a part").home = ShardId(u32::MAX);
        }),
        ("at home in shard 7", "an activity with two homes", |all| {
            let part = defined_by(&mut all[2]).part.as_mut().expect("a part");
            (part.home, part.number) = (ShardId(9), 0);
        }),
        ("at home in shard 7", "an activity with parts of two sizes", |all| {
            defined_by(&mut all[2]).definition.shards = 4;
        }),
        ("no other part", "a shard gives to itself", |all| moved(&mut all[3]).to = SHARD),
        ("no other part", "a shard gives to nobody", |all| moved(&mut all[3]).to = ShardId(99)),
        ("no other part", "a shard gives to another activity", |all| {
            let mut other = Entry { shard: ShardId(20), ..all[0].clone() };
            let first = defined_by(&mut other);
            (first.activity_id, first.part, first.definition.shards) = (ActivityId(18), None, 1);
            all.insert(3, other);
            moved(&mut all[4]).to = ShardId(20);
        }),
        ("S2", "slots move that are not there", |all| moved(&mut all[3]).slots = Slots::range(5, 2)),
        ("index out of bounds", "slots move of a SKU that is not there", |all| moved(&mut all[3]).sku = SkuIndex(9)),
        ("U4: a home follows nobody", "the home follows", |all| all[8] = follows(SHARD, control(1))),
        ("U4: a definition's versions", "a part goes back", |all| all[8] = follows(shard(1), control(0))),
        ("U4: a new version", "a version without a definition", |all| all[8] = follows(shard(1), control(2))),
        ("U4: a sale that was closed", "a closed part opens", |all| {
            all[8] = follows(shard(1), control(1));
            all.push(follows(shard(1), Control { closed: false, ..control(1) }));
        }),
        ("is not over", "a part says that the activity leaves", |all| all[8].shard = shard(1)),
        ("is not over", "an activity leaves while a part holds units", |all| drop(all.remove(7))),
        ("2 orders leaves with 3", "an activity leaves with another number of orders", |all| {
            all[8].event = Event::ActivityRetired(ActivityRetired { orders: 3 });
        }),
        ("S3", "a hold ends twice", |all| {
            all[8].event = Event::OrderCancelled(OrderCancelled { order: 1, key: None });
        }),
        ("U2", "an order ends that never was", |all| {
            all[8].event = Event::HoldsExpired(HoldsExpired { orders: vec![7] });
        }),
    ];
    let mut parts = over();
    parts.must(0, END, Command::Retire { orders: 2 });
    fold(&parts.entries).expect("the journal is sound before it is planted with a fault");
    for (why, what, plant) in plants {
        let mut entries = parts.entries.clone();
        plant(&mut entries);
        let unfit = fold(&entries).expect_err(what);
        assert!(unfit.why.contains(why), "{what}: {unfit}");
        assert!(!audit(&entries).holds(), "{what}: the auditor lets it pass");
    }
}
