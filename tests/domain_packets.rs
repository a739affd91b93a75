//! Red packets: a grab, a round and its end, as tables of (state, command) to event or refusal.

mod domain;

use std::convert::Infallible;

use domain::packets::*;
use domain::parts::{Parts, fold, give, shard, user_of};
use domain::*;
use doorbuster::domain::command::{Redefine, RequestKey, Source};
use doorbuster::domain::definition::{Packets, RoundDefinition, SKUS_MAX, Shop as Merchant};
use doorbuster::domain::event::{ActivityRedefined, EVENT_BYTES_MAX, PacketGrabbed, RoundEnded, StockChange, Switch};
use doorbuster::domain::image::{Decoder, encode as encode_image};
use doorbuster::domain::slots::Slots;
use doorbuster::domain::split::{PACKETS_MAX, Seed, Split};
use doorbuster::domain::{Command, Definition, Entry, Event, Phase, Refusal, Sales};
use doorbuster::ids::{Cents, Qty, ShardId, SkuIndex, UserId};

/// What can be wrong with a grab, in the contract's order of precedence.
const FAULTS: [&str; 5] = ["NotStarted", "Ended", "Paused", "LimitReached", "SoldOut"];

/// A rain in which user 1 has a packet of round 0 by key 1, with those faults, and the time to ask.
fn faulty_rain(has: impl Fn(&str) -> bool) -> (Shop, u64) {
    let mut shop = Shop::open(planned(rain()), false);
    shop.must(START, keyed_grab(1, 1));
    let at = match (has("NotStarted"), has("Ended")) {
        (true, _) => 4_000,
        (_, true) => END,
        _ => 8_000,
    };
    if has("SoldOut") {
        (100..104).for_each(|user| drop(shop.must(if at == 4_000 { 3_000 } else { 8_000 }, grab(user))));
    }
    if has("LimitReached") && at == 8_000 {
        shop.must(at, grab(1));
    }
    if has("SoldOut") && at == 8_000 && !has("LimitReached") {
        shop.must(at, grab(104));
    }
    if has("Paused") {
        shop.must(at, switch(Switch::Paused));
    }
    (shop, at)
}

fn name_of(refusal: &Refusal) -> String {
    format!("{refusal:?}").chars().take_while(char::is_ascii_alphanumeric).collect()
}

#[test]
fn of_several_refusals_of_a_grab_the_first_in_the_contract_wins_and_a_replay_before_all() {
    for bits in 0..1u32 << FAULTS.len() {
        let has = |fault: &str| FAULTS.iter().zip(0..).any(|(name, bit)| *name == fault && bits >> bit & 1 == 1);
        if has("NotStarted") && has("Ended") {
            continue; // what is over has begun
        }
        let (mut shop, at) = faulty_rain(has);
        match FAULTS.iter().find(|fault| has(fault)) {
            Some(first) => assert_eq!(name_of(&shop.refused(at, keyed_grab(1, 2))), *first, "faults {bits:05b}"),
            None => assert!(shop.ask(at, keyed_grab(1, 2)).is_ok(), "without a fault it is granted"),
        }
        for closed in [false, true] {
            if closed {
                shop.must(at, switch(Switch::Closed));
            }
            let replay = shop.ask(at, keyed_grab(1, 1)).expect("a replay is never refused");
            assert_eq!((replay.order, replay.replayed, replay.events.len()), (Some(1), true, 0));
        }
        assert_eq!(shop.refused(at, grab(9)), Refusal::Ended, "closed for good");
        assert!(audit(&shop.entries).holds());
    }
}

#[test]
fn refusals_say_when_the_next_round_starts_and_windows_are_half_open() {
    let mut shop = Shop::open(planned(rain()), false);
    let next = |starts| Refusal::NotStarted { starts_at_ms: ms(starts) };
    for (at, refusal, phase) in [
        (0, next(START), Phase::Scheduled),
        (START - 1, next(START), Phase::Scheduled),
        (2_000, next(3_000), Phase::Scheduled),
        (2_999, next(3_000), Phase::Scheduled),
        (4_000, next(8_000), Phase::Scheduled),
        (END, Refusal::Ended, Phase::Ended),
        (u64::MAX, Refusal::Ended, Phase::Ended),
    ] {
        assert_eq!((shop.refused(at, grab(1)), shop.sale.phase(ms(at))), (refusal, phase), "at {at}");
    }
    for at in [START, 1_999, 3_000, 3_999, 8_000, END - 1] {
        assert_eq!(shop.sale.phase(ms(at)), Phase::Running);
        assert!(shop.ask(at, grab(1)).is_ok(), "at {at}");
    }
    shop.must(START, switch(Switch::Paused));
    assert_eq!((shop.refused(1_500, grab(1)), shop.refused(2_500, grab(1))), (Refusal::Paused, next(3_000)));
    shop.must(1_600, switch(Switch::Resumed));
    shop.must(1_700, grab(1));
    assert_eq!(shop.refused(1_700, grab(1)), Refusal::LimitReached { orders: vec![1] });
    shop.must(3_000, grab(1));
    assert_eq!(shop.refused(3_001, grab(1)), Refusal::LimitReached { orders: vec![2] }, "the limit is each round's");
    assert_eq!(shop.refused(START, place(1, "0", 1)), Refusal::SkuNotFound, "nothing is for sale");
    assert_eq!(shop.refused(START, restock("0", 1)), Refusal::SkuNotFound);
    assert_eq!(shop.refused(START, pay("p", 1, 5)), Refusal::OrderNotFound);
    assert_eq!(shop.refused(START, refund(1, true)), Refusal::OrderNotFound);
    assert_eq!(shop.refused(START, cancel(1, 1)), Refusal::OrderNotFound);
    assert!(audit(&shop.entries).holds());
}

/// "A negative last packet, a cent off": everything is granted, and that is the budget; whatever is asked again gives the
/// same.
#[test]
fn a_crowd_gets_exactly_the_budget_in_the_order_of_the_packets() {
    for split in [Split::Random, Split::Equal] {
        let definition = planned(rain_with(|packets| packets.split = split));
        let amounts = definition.terms(0).expect("a round").split(seeds(1)[0]).expect("it fits");
        let mut shop = Shop::open(definition, false);
        for (packet, amount) in (0..).zip(amounts) {
            let event = grabbed(&shop.must(START + u64::from(packet), grab(u64::from(packet))));
            let plan = &shop.sale.rounds()[0].plan;
            assert_eq!((plan.packet(event.slot), event.amount_cents), (packet, Cents(amount.into())));
        }
        assert_eq!(shop.refused(1_900, grab(77)), Refusal::SoldOut);
        let round = &shop.sale.rounds()[0];
        assert_eq!((round.granted, round.granted_cents), (10, 1_000));
        assert_eq!(shop.restart().sale, shop.sale, "a replay gives the same amounts");
        let over = ended(&shop.must(2_000, end(0)));
        assert_eq!((over.slots.count(), over.refunded_cents), (0, Cents(0)), "nothing is left, and that is said once");
        assert!(shop.ask(2_001, end(0)).expect("nothing").events.is_empty());
        let report = audit(&shop.entries);
        assert!(report.holds(), "{report:?}");
    }
}

#[test]
fn each_round_ends_once_by_its_own_end_and_the_rest_is_refunded() {
    let mut shop = Shop::open(planned(rain()), false);
    let granted: u64 = (1..=3).map(|user| grabbed(&shop.must(START, grab(user))).amount_cents.0).sum();
    let nothing = |shop: &Shop, at, round| shop.ask(at, end(round)).expect("never refused").events.is_empty();
    assert_eq!(shop.sale.round_to_end(), Some((SkuIndex(0), ms(2_000))));
    assert!(nothing(&shop, 1_999, 0) && nothing(&shop, 2_000, 1) && nothing(&shop, 2_000, 7));
    assert!(nothing(&shop, 3_999, 1), "although round 0 is due, round 1 goes on");
    let over = ended(&shop.must(2_000, end(0)));
    assert_eq!((over.slots.count(), over.refunded_cents), (7, Cents(1_000 - granted)));
    assert!(nothing(&shop, 2_500, 0), "once");
    // Closing ends every round, whenever it would have been.
    let one = grabbed(&shop.must(3_000, grab(1))).amount_cents.0;
    shop.must(3_500, switch(Switch::Closed));
    assert!(!shop.sale.is_settled(ms(END * 2), 0), "two rounds are to be refunded");
    assert_eq!(ended(&shop.must(3_500, end(2))).refunded_cents, Cents(50));
    assert_eq!(ended(&shop.must(3_501, end(1))).refunded_cents, Cents(100 - one));
    assert_eq!(shop.sale.round_to_end(), None);
    assert!(shop.sale.is_settled(ms(END * 2), 0));
    shop.must(END, Command::Retire { orders: 4 });
    let report = audit(&shop.entries);
    assert!(report.holds(), "{report:?}");
    let sales = fold(&shop.entries).expect("it is a journal");
    assert_eq!(sales.retired().len(), 1);
    let early: Vec<_> =
        shop.entries.iter().filter(|entry| !matches!(entry.event, Event::RoundEnded(_))).cloned().collect();
    assert!(fold(&early).is_err(), "no activity leaves with a round that is not refunded");
}

#[test]
fn a_redefinition_changes_what_has_not_started_and_nothing_else() {
    type Write = fn(&mut Packets);
    const PAST: u64 = 2_500; // round 0 is over, 1 and 2 are to come
    const RUNS: u64 = 1_500; // round 0 runs
    const BEFORE: u64 = 500;
    let table: [(u64, &str, Write, Option<&str>); 19] = [
        (BEFORE, "a budget", |p| p.rounds[0].total_cents = 900, None),
        (BEFORE, "a count", |p| p.rounds[0].packets = 11, None),
        (BEFORE, "bounds", |p| p.max_cents = 400, None),
        (BEFORE, "the split", |p| p.split = Split::Equal, None),
        (BEFORE, "a window", |p| p.rounds[0].starts_at_ms = ms(700), None),
        (BEFORE, "a round goes", |p| drop(p.rounds.pop()), None),
        (BEFORE, "all but one go", |p| p.rounds.truncate(1), None),
        (RUNS, "a later budget", |p| p.rounds[1].total_cents = 900, None),
        (RUNS, "an end not past", |p| p.rounds[0].ends_at_ms = ms(2_200), None),
        (RUNS, "a start", |p| p.rounds[0].starts_at_ms = ms(1_100), Some("rounds[0].starts_at")),
        (RUNS, "a started budget", |p| p.rounds[0].total_cents = 900, Some("rounds[0].total_cents")),
        (RUNS, "a started count", |p| p.rounds[0].packets = 11, Some("rounds[0].packets")),
        (RUNS, "the split", |p| p.split = Split::Equal, Some("split, min_cents, max_cents")),
        (RUNS, "bounds", |p| p.min_cents = 2, Some("split, min_cents, max_cents")),
        (PAST, "an end that is past", |p| p.rounds[0].ends_at_ms = ms(2_600), Some("rounds[0].ends_at")),
        (PAST, "a later count", |p| p.rounds[2].packets = 50, None),
        (PAST, "later rounds go", |p| p.rounds.truncate(1), None),
        (END, "a round after the end", |p| p.rounds[2].ends_at_ms = ms(END + 5), Some("ends_at")),
        (END, "the last budget", |p| p.rounds[2].total_cents = 51, Some("rounds[2].total_cents")),
    ];
    for (at, what, write, refused) in table {
        let mut shop = Shop::open(planned(rain()), false);
        if at > START {
            shop.must(START, grab(1));
        }
        let before = shop.sale.rounds().to_vec();
        let definition = rain_with(write);
        let Some(field) = refused else {
            shop.must(at, put_rain(definition.clone()));
            assert_eq!(shop.sale.definition(), &definition, "{what}");
            for (number, round) in shop.sale.rounds().iter().enumerate() {
                let same = before[number].plan.terms == round.plan.terms;
                assert_eq!(before[number].plan == round.plan, same, "{what}: chance and slots stay where terms do");
                let (old, new) = (before[number].plan.first_slot, round.plan.first_slot);
                assert!(same || new == old + before[number].plan.terms.packets, "{what}: fresh slots");
            }
            assert_eq!(shop.restart().sale, shop.sale);
            let report = audit(&shop.entries);
            assert!(report.holds(), "{what}: {report:?}");
            continue;
        };
        assert_eq!(
            shop.refused(at, put_rain(definition)),
            Refusal::ImmutableField { field: field.to_owned() },
            "{what}"
        );
    }
    let shop = Shop::open(planned(rain()), false);
    let immutable = |field: &str| Refusal::ImmutableField { field: field.to_owned() };
    assert_eq!(shop.refused(BEFORE, put(definition())), immutable("kind"));
    assert_eq!(Shop::open(definition(), false).refused(BEFORE, put_rain(rain())), immutable("kind"));
    let overlapping = rain_with(|packets| packets.rounds[0].ends_at_ms = ms(3_001));
    let unsplittable = rain_with(|packets| packets.rounds[2].total_cents = 4);
    for unsound in [overlapping, unsplittable] {
        assert_eq!(shop.refused(BEFORE, put_rain(unsound)).code(), "invalid_definition");
    }
    let same = shop.ask(BEFORE, put_rain(rain())).expect("what stands is no change, whatever chance it brings");
    assert!(same.events.is_empty());
}

#[test]
fn what_a_person_changed_survives_a_reload_and_whose_it_is_never_changes() {
    let merchant = Merchant { merchant: UserId(5), funding_ref: Some("f".into()), key: None };
    let shop_of = |shop: &Shop| shop.sale.definition().packets.as_ref().and_then(|packets| packets.shop.clone());
    let mut shop = Shop::open(planned(rain_with(|packets| packets.shop = Some(merchant.clone()))), true);
    shop.must(100, put_rain(rain_with(|packets| packets.rounds[1].total_cents = 200)));
    assert_eq!(shop_of(&shop), Some(merchant.clone()));
    // The catalogue changes another round and the largest packet, and adds nothing to what the person changed.
    let theirs = rain_with(|packets| {
        packets.rounds[2].packets = 6;
        packets.max_cents = 400;
    });
    let reload = |definition| Redefine { from: Source::Catalog, ..put_rain(definition) };
    shop.must(200, reload(theirs.clone()));
    let stands = shop.sale.definition().packets.clone().expect("red packets");
    let rounds: Vec<_> = stands.rounds.iter().map(|round| (round.total_cents, round.packets)).collect();
    assert_eq!((rounds, stands.max_cents, stands.shop), (vec![(1_000, 10), (200, 4), (50, 6)], 400, Some(merchant)));
    assert!(shop.ask(300, reload(theirs)).expect("nothing is new").events.is_empty());
    // Together they ask for more than can be.
    let theirs = rain_with(|packets| (packets.rounds[2].packets, packets.max_cents) = (6, 40));
    assert_eq!(shop.refused(300, reload(theirs)).code(), "invalid_definition");
    assert!(audit(&shop.entries).holds());
}

fn image(sales: &Sales) -> Vec<Vec<u8>> {
    let mut pieces = Vec::new();
    let encoded: Result<(), Infallible> = encode_image(sales, |piece| {
        pieces.push(piece.bytes.to_vec());
        Ok(())
    });
    let Ok(()) = encoded;
    pieces
}

/// A crowd over three parts, with moves, redefinitions, pauses, gathers and ends by chance: every event keeps M1, the
/// state comes back from the journal and from the image, and each budget goes out to the cent.
#[test]
fn several_parts_hand_out_each_budget_to_the_cent() {
    let mut refunds = 0;
    for dice in 0..40u64 {
        let mut state = dice.wrapping_mul(0x9e37_79b9_7f4a_7c15) + 1;
        let mut roll = |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % below
        };
        let mut definition = rain_with(|packets| packets.rounds[0].packets = 60);
        (definition.shards, definition.per_user_limit) = (3, Qty(3));
        let mut rain = Parts::open(&planned(definition.clone()));
        let end_all = |rain: &mut Parts, at: u64| {
            while let Some((index, _)) = rain.sales[0].round_to_end().filter(|(_, ends)| *ends <= ms(at)) {
                for part in 1..3 {
                    let _ = rain.run(part, at, give(0, index.0, u32::MAX)).expect("a move is never refused");
                    (0..rain.under_way.len()).for_each(|_| rain.deliver(0));
                }
                rain.must(0, at, Command::EndRound(index));
            }
        };
        for at in (500..END + 50).step_by(10) {
            let part = usize::try_from(roll(3)).expect("few");
            match roll(12) {
                0 if at < START => {
                    definition.packets.as_mut().expect("red packets").rounds[1].total_cents = 100 + roll(50);
                    rain.run(0, at, put_rain(definition.clone())).expect("it has not started");
                }
                0..4 => {
                    let (from, to) = if roll(2) == 0 && part > 0 { (part, 0) } else { (0, part.max(1)) };
                    let round = u16::try_from(roll(3)).expect("few");
                    // The rounds that have not started lie at home, for what may still be changed.
                    let started = rain.sales[0].definition().packets.as_ref().expect("packets").rounds
                        [usize::from(round)]
                    .starts_at_ms;
                    if started <= ms(at) {
                        let units = u32::try_from(roll(9)).expect("few");
                        let _ = rain.run(from, at, give(to, round, units)).expect("a move is never refused");
                        (0..rain.under_way.len()).for_each(|_| rain.deliver(0));
                    }
                }
                4 => {
                    let to = [Switch::Paused, Switch::Resumed, Switch::Resumed][usize::try_from(roll(3)).expect("few")];
                    rain.run(0, at, switch(to)).expect("it is not closed");
                }
                _ => {
                    let user = user_of(part, 3, 1 + usize::try_from(roll(30)).expect("few"));
                    let _ = rain.run(part, at, grab(user));
                }
            }
            for other in 1..3 {
                let control = Command::FollowHome(Box::new(rain.sales[0].control()));
                rain.run(other, at, control).expect("a part follows");
            }
            if dice % 4 == 0 && at == 3_500 {
                rain.must(0, at, switch(Switch::Closed));
                break;
            }
            end_all(&mut rain, at);
        }
        end_all(&mut rain, END + 100);
        for (number, round) in rain.sales[0].rounds().iter().enumerate() {
            let granted: u64 = rain.sales.iter().map(|sale| sale.rounds()[number].granted_cents).sum();
            assert_eq!(granted + round.refunded_cents, round.plan.terms.total_cents, "round {number}, dice {dice}");
            refunds += round.refunded;
        }
        let report = audit(&rain.entries);
        assert!(report.holds(), "{report:?}");
        for cut in [rain.entries.len() / 2, rain.entries.len()] {
            let sales = fold(&rain.entries[..cut]).expect("it is a journal");
            let pieces = image(&sales);
            let mut decoder = Decoder::whole();
            pieces.iter().try_for_each(|piece| decoder.take(piece)).expect("it is an image");
            let read = decoder.finish().expect("it is whole");
            assert!(read == sales, "dice {dice}: the image gives the state back");
            assert_eq!(image(&read), pieces, "byte for byte");
        }
        let last = fold(&rain.entries).expect("it is a journal");
        (0..3).for_each(|part| assert_eq!(last.get(shard(part)), Some(&rain.sales[part])));
    }
    assert!(refunds > 100, "the crowd was small enough: {refunds}");
}

#[test]
fn a_part_that_has_not_heard_of_a_new_plan_hands_out_nothing_of_it() {
    let mut definition = rain();
    definition.shards = 2;
    let mut rain = Parts::open(&planned(definition.clone()));
    let user = user_of(1, 2, 1);
    definition.packets.as_mut().expect("red packets").rounds[0].packets = 20;
    definition = Definition { shards: 2, ..rain_of(definition) };
    rain.must(0, 500, put_rain(definition));
    rain.must(0, 501, give(1, 0, 5));
    assert_eq!(rain.ask(1, START, grab(user)), Err(Refusal::SoldOut));
    rain.follow(1, START);
    let event = grabbed(&rain.must(1, START, grab(user)));
    let plan = &rain.sales[0].rounds()[0].plan;
    assert_eq!(event.amount_cents, Cents(plan.cents(event.slot)), "M4");
    assert!(audit(&rain.entries).holds());
}

/// The definition that its rounds make.
fn rain_of(definition: Definition) -> Definition {
    let Definition { title, currency, shards, per_user_limit, packets, .. } = definition;
    Definition::of_packets(title, currency, shards, per_user_limit, *packets.expect("red packets"))
}

/// The format of their events, which never changes: by position, with names that are never given again.
#[test]
fn the_events_of_packets_have_the_bytes_that_they_always_had() {
    let entry = |event| Entry { shard: SHARD, at_ms: ms(START), event };
    let hex = |event| encode(&entry(event)).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let grab = PacketGrabbed {
        grab: 1,
        user: UserId(42),
        round: SkuIndex(2),
        slot: 300,
        amount_cents: Cents(200),
        key: Some(key(9)),
    };
    assert_eq!(
        hex(Event::PacketGrabbed(grab)),
        "9307cd03e881a16796012a02cd012cccc8c41009090909090909090909090909090909"
    );
    let (round, slots, seed) = (SkuIndex(1), Slots::range(3, 2), Seed([9; 32]));
    let over = RoundEnded { round, slots, refunded_cents: Cents(200), seed };
    assert_eq!(hex(Event::RoundEnded(over)), format!("9307cd03e881a17a940191920302ccc8dc0020{}", "09".repeat(32)));
    let one = planned(rain_with(|packets| packets.rounds.truncate(1)));
    let defined = hex(Event::ActivityDefined(Box::new(defined(one, false))));
    assert_eq!(
        defined,
        "9307cd03e881a16494119ba45261696ea3434e59cd03e8cd07d0010100a6726566756e64c39194a130a0000a95a67261\
         6e646f6d01cd01f49195cd03e8cd07d0cd03e80a9395a672616e646f6d0acd03e801cd01f4dc00200101010101010101\
         01010101010101010101010101010101010101010101010101c0c29301a173c0"
    );
}

#[test]
fn no_event_of_packets_is_longer_than_the_journal_allows() {
    let max = u64::from(u32::MAX);
    let long = |first: u64| {
        let mut packets = packets();
        packets.rounds = (0..SKUS_MAX as u64)
            .map(|n| RoundDefinition {
                starts_at_ms: ms(u64::MAX / 2 + first + 2 * n),
                ends_at_ms: ms(u64::MAX / 2 + first + 2 * n + 1),
                total_cents: u64::from(PACKETS_MAX) * max,
                packets: PACKETS_MAX,
                plan: None,
            })
            .collect();
        (packets.min_cents, packets.max_cents) = (max, max);
        let funding_ref = Some("f".repeat(64).into());
        let key = Some(RequestKey { key: key(255), body: key(255) });
        packets.shop = Some(Merchant { merchant: UserId(u64::MAX), funding_ref, key });
        Definition::of_packets("t".repeat(200), "CNY".to_owned(), 256, Qty(u32::MAX), packets)
    };
    let chance: Vec<Seed> = (0..SKUS_MAX).map(|_| Seed([255; 32])).collect();
    let late = u32::MAX - 20_000_000;
    let changes = |n: u16| {
        let (first, sku) = (late, SkuIndex(300 + n));
        [
            StockChange::Removed { sku, slots: Slots::range(first, 9_000_000) },
            StockChange::Added { sku, slots: Slots::range(first, 9_000_000) },
        ]
    };
    let event = ActivityRedefined {
        version: u64::MAX,
        definition: long(0).planned(None, &chance, |_| late),
        catalog: Some(long(7)),
        stock: (0..200).flat_map(changes).collect(),
        change: request(u64::MAX, Some((255, 255))).change(),
    };
    let entry = Entry { shard: ShardId::MAX, at_ms: ms(u64::MAX), event: Event::ActivityRedefined(Box::new(event)) };
    let bytes = encode(&entry).len();
    println!("a redefinition of 200 rounds: {bytes} bytes");
    assert!(bytes <= EVENT_BYTES_MAX);
}
