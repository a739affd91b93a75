//! Every rule of red packets that the auditor checks, with a planted bug: it names that one, no other, and does not panic.

mod domain;

use domain::damage::damage_each;
use domain::packets::*;
use domain::parts::{self, Parts, give, user_of};
use domain::*;
use doorbuster::domain::audit::Id;
use doorbuster::domain::definition::Packets;
use doorbuster::domain::event::{ActivityDefined, ActivityRedefined, PacketGrabbed, RoundEnded, StockChange, Switch};
use doorbuster::domain::round::Plan;
use doorbuster::domain::slots::Slots;
use doorbuster::domain::{Command, Entry, Event};
use doorbuster::ids::{ActivityId, Cents, Qty, SkuIndex, UserId};

/// Everything that can happen: grabs with keys in two rounds and at two parts, a round that is planned anew before it
/// starts, moves, a pause, the end of a round, a close, the ends of the others, and the activity leaves.
fn good() -> Vec<Entry> {
    let mut definition = rain();
    definition.shards = 2;
    let (here, there) = (user_of(0, 2, 1), user_of(1, 2, 1));
    let mut rain = Parts::open(&planned(definition)); // entries 0, 1
    rain.must(0, 100, give(1, 0, 4)); // 2: slots 7 to 10
    let mut later = rain_with(|packets| packets.rounds[1].total_cents = 200);
    later.shards = 2;
    rain.must(0, 200, put_rain(later)); // 3: round 1 has slots 5 to 8
    rain.follow(1, 300); // 4
    rain.must(0, START, keyed_grab(here, 1)); // 5: slot 1
    rain.must(1, START, grab(there)); // 6: slot 7
    rain.must(0, 1_100, grab(user_of(0, 2, 2))); // 7: slot 2
    rain.must(1, 2_000, give(0, 0, u32::MAX)); // 8
    rain.must(0, 2_000, end(0)); // 9
    rain.must(0, 3_000, keyed_grab(here, 2)); // 10
    rain.must(0, 3_100, switch(Switch::Paused)); // 11
    rain.must(0, 3_200, switch(Switch::Resumed)); // 12
    rain.must(0, 3_300, grab(user_of(0, 2, 2))); // 13
    rain.must(0, 3_400, switch(Switch::Closed)); // 14
    rain.must(0, 3_400, end(1)); // 15
    rain.must(0, 3_400, end(2)); // 16
    rain.must(0, END, Command::Retire { orders: 5 }); // 17
    rain.entries
}

fn grab_of(entry: &mut Entry) -> &mut PacketGrabbed {
    match &mut entry.event {
        Event::PacketGrabbed(event) => event,
        other => panic!("a grab was expected: {other:?}"),
    }
}

fn end_of(entry: &mut Entry) -> &mut RoundEnded {
    match &mut entry.event {
        Event::RoundEnded(event) => event,
        other => panic!("a round's end was expected: {other:?}"),
    }
}

fn defined_by(entry: &mut Entry) -> &mut ActivityDefined {
    match &mut entry.event {
        Event::ActivityDefined(event) => event,
        other => panic!("a definition was expected: {other:?}"),
    }
}

fn redefined(entry: &mut Entry) -> &mut ActivityRedefined {
    match &mut entry.event {
        Event::ActivityRedefined(event) => event,
        other => panic!("a redefinition was expected: {other:?}"),
    }
}

fn rounds_of(definition: &mut doorbuster::domain::Definition) -> &mut Packets {
    definition.packets.as_mut().expect("red packets")
}

/// Another plan for a round, by another chance.
fn reseed(definition: &mut doorbuster::domain::Definition, round: usize) {
    let plan = definition.plan(round).expect("it is planned").clone();
    let other = Plan::new(plan.terms, seeds(200)[0], plan.first_slot);
    rounds_of(definition).rounds[round].plan = Some(other.into());
}

/// A redefinition while round 0 runs, which changes nothing yet; the journal ends with it.
fn late(good: &mut Vec<Entry>) -> &mut ActivityRedefined {
    let mut again = good[3].clone();
    again.at_ms = ms(1_500);
    good.truncate(8);
    good.push(again);
    let event = redefined(&mut good[8]);
    (event.version, event.change.change_id) = (3, 3);
    event.stock.clear();
    event
}

#[test]
fn a_good_journal_breaks_nothing_and_everything_is_checked() {
    let report = audit(&good());
    assert!(report.holds(), "{report:?}");
    let checked: Vec<Id> = report.findings().map(|(id, _)| id).collect();
    use Id::{J1, J5, M1, M2, M4, S1, S2, S3, S5, U1, U2, U3, U4};
    assert_eq!(checked, [J1, J5, S1, S2, S3, S5, U1, U2, U3, U4, M1, M2, M4]);
    let mut longer = good();
    late(&mut longer);
    assert!(audit(&longer).holds());
    for cut in 2..good().len() {
        assert!(audit(&good()[..cut]).holds(), "the first {cut} events");
    }
}

#[test]
fn each_planted_bug_is_named_by_its_own_id() {
    type Plant = fn(&mut Vec<Entry>);
    let plants: &[(Id, &str, Plant)] = &[
        (Id::M1, "a cent too little is refunded", |good| end_of(&mut good[9]).refunded_cents.0 -= 1),
        (Id::M1, "a cent too much is refunded at the close", |good| end_of(&mut good[15]).refunded_cents.0 += 1),
        (Id::M1, "a packet is not refunded, and what it holds is", |good| {
            end_of(&mut good[9]).slots = [3, 4, 5, 6, 8, 9].into_iter().collect();
        }),
        (Id::M1, "what lies in another part is forgotten", |good| {
            end_of(&mut good[9]).slots = Slots::range(3, 4);
            good.remove(8);
        }),
        (Id::M1, "a round is refunded twice", |good| {
            let again = good[9].clone();
            good.insert(10, again);
        }),
        (Id::M1, "an activity leaves with a round that is not refunded", |good| drop(good.remove(16))),
        (Id::M1, "a budget that cannot be split", |good| {
            for entry in &mut good[..2] {
                let definition = &mut defined_by(entry).definition;
                rounds_of(definition).rounds[0].total_cents = 5_001;
                let terms = definition.terms(0).expect("a round");
                rounds_of(definition).rounds[0].plan = Some(Plan::new(terms, seeds(1)[0], 1).into());
            }
        }),
        (Id::M2, "a packet holds less than the least", |good| grab_of(&mut good[5]).amount_cents = Cents(0)),
        (Id::M2, "a packet holds more than the most", |good| grab_of(&mut good[6]).amount_cents = Cents(501)),
        (Id::M2, "a user has two packets of one round", |good| {
            grab_of(&mut good[7]).user = UserId(user_of(0, 2, 1));
        }),
        (Id::M4, "a packet holds a cent more than its seed gives", |good| grab_of(&mut good[7]).amount_cents.0 += 1),
        (Id::M4, "a round has another chance than its grabs", |good| {
            (0..2).for_each(|place| reseed(&mut defined_by(&mut good[place]).definition, 0));
            let Event::HomeFollowed(control) = &mut good[4].event else { panic!("the part follows") };
            reseed(control.definition.as_mut().expect("it is new"), 0);
            reseed(&mut redefined(&mut good[3]).definition, 0);
        }),
        (Id::M4, "a round is not planned", |good| {
            (0..2).for_each(|place| {
                rounds_of(&mut defined_by(&mut good[place]).definition).rounds[1].plan = None;
            });
        }),
        (Id::M4, "a round is planned otherwise than it is defined", |good| {
            (0..2).for_each(|place| {
                rounds_of(&mut defined_by(&mut good[place]).definition).rounds[1].total_cents = 99;
            });
        }),
        (Id::M4, "a round is planned anew after its start", |good| {
            reseed(&mut late(good).definition, 0);
        }),
        (Id::U4, "a part goes by another chance than its home", |good| {
            reseed(&mut defined_by(&mut good[1]).definition, 0);
        }),
        (Id::U4, "a part follows by another chance than its home's", |good| {
            let Event::HomeFollowed(control) = &mut good[4].event else { panic!("the part follows") };
            reseed(control.definition.as_mut().expect("it is new"), 1);
        }),
        (Id::U4, "a grab before its round", |good| good[5].at_ms = ms(START - 1)),
        (Id::U4, "a grab of a round that is to come", |good| grab_of(&mut good[7]).round = SkuIndex(1)),
        (Id::U4, "a grab between rounds", |good| grab_of(&mut good[10]).round = SkuIndex(0)),
        (Id::U4, "a grab of no round", |good| grab_of(&mut good[10]).round = SkuIndex(9)),
        (Id::U4, "a grab in a pause", |good| drop(good.remove(12))),
        (Id::U4, "a grab after the close", |good| {
            let closed = good[14].event.clone();
            good[14].event = std::mem::replace(&mut good[13].event, closed);
        }),
        (Id::U4, "a round is refunded before its end", |good| good[9].at_ms = ms(1_999)),
        (Id::U4, "a round is refunded before the close", |good| drop(good.remove(14))),
        (Id::U4, "a round ends at another part", |good| good[9].shard = parts::shard(1)),
        (Id::U4, "a started round gets another start", |good| {
            rounds_of(&mut late(good).definition).rounds[0].starts_at_ms = ms(START - 5);
        }),
        (Id::U4, "an order is placed for red packets", |good| {
            let mut shop = Shop::open(definition(), false);
            good[5].event = shop.must(START, place(user_of(0, 2, 1), "a", 1));
        }),
        (Id::U1, "a user grabs at another part", |good| {
            grab_of(&mut good[7]).user = UserId(user_of(1, 2, 2));
        }),
        (Id::U2, "a grab's number is missing", |good| grab_of(&mut good[7]).grab = 3),
        (Id::U3, "a key grabs twice", |good| grab_of(&mut good[10]).key = Some(key(1))),
        (Id::S2, "a packet is grabbed twice", |good| {
            let first = grab_of(&mut good[5]).slot;
            grab_of(&mut good[7]).slot = first;
        }),
        (Id::S2, "a packet is grabbed that lies elsewhere", |good| grab_of(&mut good[7]).slot = 10),
        (Id::S2, "a packet of what the round was is grabbed", |good| grab_of(&mut good[10]).slot = 1),
        (Id::S2, "slot 0 is grabbed", |good| grab_of(&mut good[10]).slot = 0),
        (Id::S2, "a granted packet is refunded", |good| end_of(&mut good[9]).slots = Slots::range(2, 7)),
        (Id::S2, "a round that is planned anew keeps its slots", |good| redefined(&mut good[3]).stock.clear()),
        (Id::S2, "a round that is planned anew gets used slots", |good| {
            let event = redefined(&mut good[3]);
            let plan = event.definition.plan(1).expect("it is planned").clone();
            let again = Plan::new(plan.terms, plan.seed, 4);
            rounds_of(&mut event.definition).rounds[1].plan = Some(again.into());
            event.stock.retain(|change| matches!(change, StockChange::Removed { .. }));
            event.stock.push(StockChange::Added { sku: SkuIndex(1), slots: Slots::range(4, 4) });
        }),
        (Id::S1, "a round counts other packets than it has", |good| {
            (0..2).for_each(|place| defined_by(&mut good[place]).definition.skus[0].stock = Qty(11));
        }),
        (Id::S3, "a grab is cancelled", |good| {
            let cancelled = doorbuster::domain::event::OrderCancelled { order: 1, key: None };
            good[7].event = Event::OrderCancelled(cancelled);
        }),
    ];
    for (id, what, plant) in plants {
        let mut entries = good();
        plant(&mut entries);
        let report = audit(&entries);
        assert_eq!(broken(&report), [*id], "{what}: {report:?}");
    }
}

#[test]
fn no_damage_to_one_event_makes_the_auditor_panic() {
    damage_each(&good(), |entries| drop(audit(entries)));
}

/// The ids of activities and shards are nobody's but the journal's: the same history under another id holds.
#[test]
fn another_activity_of_the_same_history_holds() {
    let mut other = good();
    (0..2).for_each(|place| defined_by(&mut other[place]).activity_id = ActivityId(18));
    assert!(audit(&other).holds());
}
