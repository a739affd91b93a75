//! The image of a state: it comes back as it was, whatever it is; equal states have equal bytes; any other bytes are
//! refused or give a state that goes on without reaching beyond what is there.

mod checkpoint;

use std::collections::HashSet;
use std::convert::Infallible;

use checkpoint::*;
use doorbuster::domain::command::{CloseRefund, PayOrder, RefundOrder, Request};
use doorbuster::domain::event::{ActivityRetired, Author, Event, OrderPlaced, Outcome, PaymentReceived};
use doorbuster::domain::image::{
    Decoder, Encoder, Fault, PIECE_BYTES_MAX, PIECE_ORDERS, PIECE_PAYMENTS, PieceHash, StateHash, VERSION,
    VERSION_OLDEST, encode, state_hash,
};
use doorbuster::domain::payment::{Why, payment_key};
use doorbuster::domain::slots::Slots;
use doorbuster::domain::{Command, Decision, Refusal, Sale, Sales, Stamped, Suspense};
use doorbuster::ids::{Cents, Seq, ShardId, SkuIndex, UnixMillis, UserId};

fn pieces(sales: &Sales) -> Vec<Vec<u8>> {
    let mut pieces = Vec::new();
    let encoded: Result<(), Infallible> = encode(sales, |piece| {
        pieces.push(piece.bytes.to_vec());
        Ok(())
    });
    let Ok(()) = encoded;
    pieces
}

fn decode(pieces: &[Vec<u8>]) -> Result<Sales, Fault> {
    let mut decoder = Decoder::whole();
    pieces.iter().try_for_each(|piece| decoder.take(piece))?;
    decoder.finish()
}

/// What both say to the same questions: the holds that are due, a step at a time, and when the next is.
fn assert_same_deadlines(one: &Sales, other: &Sales) {
    for (one, other) in one.iter().zip(other.iter()) {
        assert_eq!(one.next_deadline(), other.next_deadline());
        for at in (0..60).map(|n| n * 700).chain([u64::MAX]) {
            let expire = Stamped { at_ms: UnixMillis(at), command: Command::ExpireHolds };
            assert_eq!(one.decide(&expire), other.decide(&expire), "at {at} in shard {}", one.shard());
        }
    }
}

#[test]
fn a_random_state_comes_back_and_goes_on_as_it_would_have() {
    let (mut retired, mut spread, mut late) = (0, 0, 0);
    let (mut paid, mut fresh, mut unreturned, mut left, mut suspended) = (0, 0, 0, 0, 0);
    for seed in 0..60 {
        let market = Market::after(seed, 1_500);
        let cut = Dice(seed).below(market.entries.len() as u64);
        let cut = usize::try_from(cut).expect("below a usize");
        let mut lived = fold(&market.entries, cut);
        let image = pieces(&lived);
        let mut read = decode(&image).unwrap_or_else(|fault| panic!("seed {seed}: {fault}"));
        assert!(read == lived, "seed {seed}: it comes back");
        assert_eq!(pieces(&read), image, "seed {seed}: whatever its maps' order, it has the same bytes");
        let hash = StateHash::over(&image.iter().map(|piece| PieceHash::of(piece)).collect::<Vec<_>>());
        assert_eq!((state_hash(&lived), state_hash(&read)), (hash, hash));
        assert_same_deadlines(&lived, &read);
        for (seq, entry) in (1..).zip(&market.entries).skip(cut) {
            lived.take(Seq(seq), entry).expect("what was decided applies");
            read.take(Seq(seq), entry).unwrap_or_else(|unfit| panic!("seed {seed}: {unfit}"));
        }
        assert!(read == lived, "seed {seed}: it goes on as it would have");
        assert!(lived == market.sales);
        assert_eq!(state_hash(&lived), state_hash(&read), "seed {seed}");
        assert_same_deadlines(&lived, &read);
        retired += market.sales.retired().len();
        spread += market.sales.standing().values().filter(|standing| standing.shards > 1).count();
        left += market.sales.retired().values().map(|retired| retired.payments.len()).sum::<usize>();
        suspended += lived.suspense().payments_from(1).count();
        let count = |is: fn(&Event) -> bool| market.entries.iter().filter(|entry| is(&entry.event)).count();
        paid += count(|event| matches!(event, Event::PaymentReceived(event) if event.outcome == Outcome::Applied));
        fresh += count(
            |event| matches!(event, Event::PaymentReceived(event) if matches!(event.outcome, Outcome::Reacquired(_))),
        );
        unreturned += count(|event| matches!(event, Event::OrderRefunded(event) if !event.restock));
        late += market.entries.iter().filter(|entry| matches!(entry.event, Event::HoldsExpired(_))).count();
    }
    let money = (paid, fresh, unreturned, left, suspended);
    assert!(paid > 900 && fresh > 200 && unreturned > 100 && left > 100 && suspended > 500, "{money:?}");
    assert!(retired > 20 && spread > 20 && late > 200, "the markets were worth it: {retired}, {spread}, {late}");
}

#[test]
fn any_difference_is_one_of_hashes() {
    let market = Market::after(3, 600);
    let mut sales = Sales::default();
    let mut seen = HashSet::from([state_hash(&sales)]);
    for (seq, entry) in (1..).zip(&market.entries) {
        let before = sales.clone();
        sales.take(Seq(seq), entry).expect("what was decided applies");
        assert!(sales != before, "event {seq} changes something: {entry:?}");
        assert!(seen.insert(state_hash(&sales)), "event {seq} changes the hash: {entry:?}");
    }
}

#[test]
fn folded_and_encoded_in_parts_it_is_the_same_image() {
    for seed in 100..120 {
        let market = Market::after(seed, 1_200);
        let half = market.entries.len() / 2;
        let base = pieces(&fold(&market.entries, half));
        let whole = pieces(&market.sales);
        // Each activity in a pass of its own.
        let mut homes: Vec<ShardId> = market.sales.standing().values().map(|standing| standing.home).collect();
        homes.extend(market.sales.retired().values().map(|retired| retired.home.home));
        homes.sort();
        let mut together = Vec::new();
        let mut ledger = Sales::default();
        let mut encoder = Encoder::new(|piece| {
            together.push(piece.bytes.to_vec());
            Ok::<(), Infallible>(())
        });
        for (place, home) in homes.iter().enumerate() {
            let last = homes.get(place + 1).map_or(u32::MAX, |next| next.0 - 1);
            // The first pass has the suspense account as well.
            let first = if place == 0 { Suspense::SHARD } else { *home };
            let within = first..=ShardId(last);
            let mut decoder = Decoder::within(within.clone());
            base.iter().try_for_each(|piece| decoder.take(piece)).expect("it was just written");
            let mut part = decoder.finish().expect("it was just written");
            for (seq, entry) in (1..).zip(&market.entries).skip(half).filter(|(_, e)| within.contains(&e.shard)) {
                part.take(Seq(seq), entry).expect("an activity needs nothing of another");
            }
            let Ok(()) = encoder.shards(&part);
            ledger.absorb_ledger(part);
        }
        let Ok(()) = encoder.finish(&ledger);
        assert_eq!(together, whole, "seed {seed}");
    }
}

#[test]
fn what_is_damaged_is_refused_or_at_least_whole() {
    let mut dice = Dice(11);
    let (mut refused, mut taken) = (0, 0);
    for seed in 200..206 {
        let market = Market::after(seed, 500);
        let cut = market.entries.len() / 2;
        let sound = pieces(&fold(&market.entries, cut));
        for _ in 0..1_500 {
            let mut image = sound.clone();
            let at = usize::try_from(dice.below(image.len() as u64)).expect("few");
            for _ in 0..=dice.below(3) {
                mutate(&mut image[at], &mut dice);
            }
            let Ok(mut sales) = decode(&image) else {
                refused += 1;
                continue;
            };
            taken += 1;
            let rest = (1..).zip(&market.entries).skip(cut);
            let unfit = rest.map(|(seq, entry)| sales.take(Seq(seq), entry)).find_map(Result::err);
            let why = unfit.map_or(String::new(), |unfit| unfit.why);
            assert!(!why.contains("out of bounds") && !why.contains("overflow"), "{why}");
            assert_goes_together(&sales);
        }
    }
    assert!(refused > 1_000 && taken > 200, "both came: {refused} refused, {taken} taken");
}

fn request() -> Request {
    Request { change_id: u64::MAX, by: Author::StartUp, key: None }
}

fn ask(sale: &Sale, command: Command) -> Result<Decision, Refusal> {
    sale.decide(&Stamped { at_ms: UnixMillis(2_000), command })
}

/// It can be written down and asked, and what it says is of itself.
fn assert_goes_together(sales: &Sales) {
    assert_eq!(state_hash(sales), state_hash(&sales.clone()));
    assert_same_deadlines(sales, sales);
    for sale in sales.iter() {
        drop(sale.counts());
        assert!(sale.orders_from(1).all(|order| order.slots.is_well_formed()), "what is read is a set of slots");
        assert!(sales.parts(sale.activity_id()).any(|part| part.shard() == sale.shard()), "a shard is a part");
        for order in sale.orders_from(1) {
            let order = order.order_id.sequence().expect("a shard's order has a number");
            drop(ask(sale, Command::RefundOrder(RefundOrder { order, restock: true, request: request() })));
            let (payment_id, currency) = ("new".into(), "CNY".into());
            let pay = PayOrder { payment_id, order, amount_cents: Cents(100), currency, may_wait: false };
            drop(ask(sale, Command::PayOrder(Box::new(pay))));
        }
        for payment in sale.payments_from(1) {
            let close = CloseRefund { payment_id: payment.payment_id, request: request() };
            drop(ask(sale, Command::CloseRefund(close)));
        }
    }
    for payment in sales.suspense().payments_from(1) {
        let close = CloseRefund { payment_id: payment.payment_id, request: request() };
        sales.suspense().close_refund(&close).expect("whatever is there is, or was, owed back");
    }
    assert!(sales.payment_owners().count() >= sales.suspense().payments_from(1).count());
}

#[test]
fn any_single_byte_that_is_another_is_refused_or_at_least_whole() {
    let image = pieces(&Market::after(207, 60).sales);
    for at in 0..image.len() {
        for place in 0..image[at].len() {
            for byte in [0, 1, 0x7f, 0xff, image[at][place] ^ 1] {
                let mut damaged = image.clone();
                damaged[at][place] = byte;
                if let Ok(sales) = decode(&damaged) {
                    assert_goes_together(&sales);
                }
            }
        }
    }
}

fn mutate(bytes: &mut Vec<u8>, dice: &mut Dice) {
    if bytes.is_empty() {
        return;
    }
    let at = usize::try_from(dice.below(bytes.len() as u64)).expect("below a usize");
    let byte = u8::try_from(dice.below(256)).expect("a byte");
    match dice.below(6) {
        0 => bytes.truncate(at),
        1 => bytes.insert(at, byte),
        2 => drop(bytes.remove(at)),
        3 => bytes[at] = 0xff,
        4 => bytes[at] ^= 1 << (byte % 8),
        _ => bytes[at] = byte,
    }
}

#[test]
fn each_fault_has_its_name() {
    let sound = pieces(&Market::after(5, 300).sales);
    let with = |change: &dyn Fn(&mut Vec<Vec<u8>>)| {
        let mut image = sound.clone();
        change(&mut image);
        decode(&image).expect_err("it is no image")
    };
    assert_eq!(with(&|image| image[0][0] = b'X'), Fault::NotAPiece);
    assert_eq!(with(&|image| image[0].truncate(2)), Fault::NotAPiece);
    assert_eq!(with(&|image| image[0][3] = VERSION + 1), Fault::UnknownVersion { version: VERSION + 1 });
    assert_eq!(with(&|image| image[0][3] = VERSION_OLDEST - 1), Fault::UnknownVersion { version: VERSION_OLDEST - 1 });
    assert_eq!(with(&|image| image[0].push(0)), Fault::Ragged);
    for change in [
        &|image: &mut Vec<Vec<u8>>| drop(image.pop()) as (),
        &|image: &mut Vec<Vec<u8>>| drop(image.remove(0)),
        &|image: &mut Vec<Vec<u8>>| drop(image.remove(image.len() - 2)),
        &|image: &mut Vec<Vec<u8>>| image.insert(0, image[0].clone()),
        &|image: &mut Vec<Vec<u8>>| image.push(image[image.len() - 1].clone()),
        &|image: &mut Vec<Vec<u8>>| image[0][4] = 99,
    ] as [&dyn Fn(&mut Vec<Vec<u8>>); 6]
    {
        assert!(matches!(with(change), Fault::Senseless(_)), "{:?}", with(change));
    }
}

/// So many orders there, one unit each, the `n`-th with the slot and the reference that `more` gives it.
fn place_orders(market: &mut Market, shard: ShardId, numbers: std::ops::RangeInclusive<u32>, reference: &str) {
    for order in numbers {
        let placed = OrderPlaced {
            order,
            user: UserId(u64::from(order).wrapping_mul(0x9e37_79b9_7f4a_7c15)),
            sku: SkuIndex(0),
            slots: Slots::range(order, 1),
            amount_cents: Cents(100),
            expires_at_ms: UnixMillis(5_000 + u64::from(order) / 100),
            key: Some(doorbuster::ids::KeyDigest(
                u128::from(order).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c).to_be_bytes(),
            )),
            reference: (!reference.is_empty()).then(|| reference.into()),
        };
        market.take(shard, Event::OrderPlaced(placed));
    }
}

#[test]
fn full_pieces_of_orders_keep_their_bytes_and_an_order_takes_few() {
    let mut market = Market::new(1);
    let shard = market.define_with(1, 1, 1_000_000);
    place_orders(&mut market, shard, 1..=3 * PIECE_ORDERS + 77, "");
    let before = pieces(&market.sales);
    let bytes: usize = before.iter().map(Vec::len).sum();
    let an_order = bytes / market.entries.len();
    assert!(an_order <= 40, "{an_order} bytes an order");
    let mut swapped = before.clone();
    swapped.swap(0, 1);
    assert!(matches!(decode(&swapped), Err(Fault::Senseless(_))), "orders come in their order");
    place_orders(&mut market, shard, 3 * PIECE_ORDERS + 78..=4 * PIECE_ORDERS + 1, "");
    let after: HashSet<Vec<u8>> = pieces(&market.sales).into_iter().collect();
    let kept = before.iter().filter(|piece| after.contains(*piece)).count();
    assert_eq!((before.len(), kept), (3 + 3, 3 + 2), "all but the one with the last few orders");
}

#[test]
fn what_left_long_ago_keeps_its_pieces() {
    let mut market = Market::new(3);
    let leave = |market: &mut Market, activities: u32| {
        for _ in 0..activities {
            let home = market.define_with(1, 1, 1);
            market.take(home, Event::ActivityRetired(ActivityRetired { orders: 0 }));
        }
    };
    leave(&mut market, 256);
    let before = pieces(&market.sales);
    leave(&mut market, 40);
    let after = pieces(&market.sales);
    assert_eq!((before.len(), after.len()), (2, 3));
    assert!(after[0] == before[0], "256 that left share a piece for good, whatever their ids");
    assert!(decode(&after).expect("it was just written") == market.sales);
}

#[test]
fn no_piece_is_too_large_and_small_activities_share_them() {
    let mut market = Market::new(2);
    let shard = market.define_with(1, 1, 1_000);
    // Longer than any reference may be: 600 orders that fit no single piece.
    place_orders(&mut market, shard, 1..=600, &"long".repeat(4_000));
    let long = pieces(&market.sales);
    assert!(long.len() > 6 && long.iter().all(|piece| piece.len() <= PIECE_BYTES_MAX));
    assert!(decode(&long).expect("it was just written") == market.sales);

    let mut market = Market::new(2);
    for user in 0..10_000 {
        let shard = market.define_with(1, 1, 10);
        market.place_at(shard, user);
    }
    let small = pieces(&market.sales);
    assert_eq!(small.len(), 10_001_usize.div_ceil(256) + 2, "256 shards a piece, those that stand, the end");
    assert!(decode(&small).expect("it was just written") == market.sales);
}

#[test]
fn an_image_has_the_bytes_that_it_always_had() {
    let mut market = Market::new(9);
    let home = market.define_with(2, 2, 30);
    (0..40).for_each(|user| market.place_at(home, user % 7));
    let hash = state_hash(&market.sales).to_string();
    assert_eq!(
        hash, "d3c58f19c27c2a644dd50b34bca8ec74e2e8df28cae993fc2cfb4543c7624633",
        "a change of the format is a new version, and this one stays readable"
    );
    // That is what the program before payments gave this state: its checkpoints keep their hashes.
    let image = pieces(&market.sales);
    assert!(image.iter().all(|piece| piece[3] == VERSION_OLDEST));
    assert!(decode(&image).expect("version 1 is read") == market.sales);
    let as_version_2: Vec<Vec<u8>> = image
        .iter()
        .map(|piece| {
            let mut piece = piece.clone();
            piece[3] = VERSION;
            piece
        })
        .collect();
    assert!(decode(&as_version_2).expect("so is version 2") == market.sales);

    (1..=10).for_each(|order| market.pay_for(home, order));
    market.suspend();
    let hash = state_hash(&market.sales).to_string();
    assert_eq!(
        hash, "74995847b73db9230bbde7a0b0f36edfdbf0163a865ea185163dd1e561f3c1a8",
        "with payments it is of version 2, which stays as well"
    );
    let versions: Vec<u8> = pieces(&market.sales).iter().map(|piece| piece[3]).collect();
    assert_eq!(versions, [VERSION, VERSION, VERSION_OLDEST, VERSION_OLDEST], "two with payments, what stands, the end");
}

/// So many orders, each with its payment; of the latter one in seven does not fit.
fn pay_orders(market: &mut Market, shard: ShardId, numbers: std::ops::RangeInclusive<u32>) {
    for order in numbers {
        let fits = !order.is_multiple_of(7);
        let paid = PaymentReceived {
            payment: order,
            payment_id: format!("{shard}-{order}").into(),
            order,
            amount_cents: Cents(if fits { 100 } else { 99 }),
            currency: None,
            outcome: if fits { Outcome::Applied } else { Outcome::Due(Why::Mismatch) },
        };
        market.take(shard, Event::PaymentReceived(Box::new(paid)));
    }
}

/// Long lists of payments are cut into pieces which no longer change, at an activity and in the suspense account, and
/// the ids of what has left come back in their rows.
#[test]
fn full_pieces_of_payments_keep_their_bytes() {
    let mut market = Market::new(1);
    let shard = market.define_with(1, 1, 1_000_000);
    let many = 2 * PIECE_PAYMENTS + 9;
    place_orders(&mut market, shard, 1..=many + 1, "");
    pay_orders(&mut market, shard, 1..=many);
    (0..many).for_each(|_| market.suspend());
    let before = pieces(&market.sales);
    assert!(decode(&before).expect("it was just written") == market.sales);
    assert!(before.iter().all(|piece| piece.len() <= PIECE_BYTES_MAX));
    let mut swapped = before.clone();
    let of_payments = |piece: &&Vec<u8>| piece[4] == ROW_OF_PAYMENTS;
    assert_eq!(before.iter().filter(of_payments).count(), 2 + 3, "two of the shard, three of the suspense account");
    let place = before.iter().position(|piece| of_payments(&piece)).expect("there are some");
    swapped.swap(place, place + 1);
    assert!(matches!(decode(&swapped), Err(Fault::Senseless(_))), "payments come in their order");
    pay_orders(&mut market, shard, many + 1..=many + 1);
    market.suspend();
    let after: HashSet<Vec<u8>> = pieces(&market.sales).into_iter().collect();
    let changed = before.iter().filter(|piece| !after.contains(*piece)).count();
    // The shard's last piece, and the last one of the suspense account.
    assert_eq!(changed, 2);
}

const ROW_OF_PAYMENTS: u8 = 8;

#[test]
fn the_ids_of_many_payments_come_back_after_their_activity_has_left() {
    let mut market = Market::new(1);
    let shard = market.define_with(1, 1, 1_000_000);
    let many = 33_000;
    place_orders(&mut market, shard, 1..=many, "");
    for order in 1..=many {
        let payment_id = format!("{order}").into();
        let (amount_cents, outcome) = (Cents(100), Outcome::Applied);
        let paid = PaymentReceived { payment: order, payment_id, order, amount_cents, currency: None, outcome };
        market.take(shard, Event::PaymentReceived(Box::new(paid)));
    }
    market.take(shard, Event::ActivityRetired(ActivityRetired { orders: u64::from(many) }));
    let image = pieces(&market.sales);
    let read = decode(&image).expect("it was just written");
    assert!(read == market.sales && image.iter().all(|piece| piece.len() <= PIECE_BYTES_MAX));
    let owners: Vec<_> = read.payment_owners().collect();
    assert_eq!(owners.len(), many as usize);
    assert!(owners.contains(&(payment_key("33000"), shard)));
}
