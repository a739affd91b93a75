//! How many instructions the hot functions take, counted by Valgrind: the same on a busy machine and on an idle one, so a
//! slip of a few per cent shows that no clock could tell. `make bench-check` runs this and compares with
//! benches/instructions.json; `cargo bench --bench instructions` needs valgrind and gungraun-runner.
//!
//! What a function needs is made before it is counted, and what it leaves is given back after. Valgrind's
//! processor lacks instructions that real ones have, such as those for SHA-256: a count is there to be compared with itself.

#![expect(missing_docs, unused_qualifications, reason = "it is what the attributes of gungraun write")]

use std::hint::black_box;
use std::sync::Arc;

use actix::{Arbiter, System, SystemRunner};
use actix_web::HttpRequest;
use actix_web::test::TestRequest;
use doorbuster::actors::{Ack, Answer, CatalogSource, House, Readiness, Settings, Threads};
use doorbuster::clock::Clock;
use doorbuster::config::{Auth, Keys, Secret};
use doorbuster::domain::command::{Grab, PlaceOrder};
use doorbuster::domain::definition::{OnLatePayment, Packets, RoundDefinition, SkuDefinition};
use doorbuster::domain::event::{ActivityDefined, Author, Change};
use doorbuster::domain::split::{Seed, Split, Terms};
use doorbuster::domain::{Command, Decision, Definition, Entry, Event, Refusal, Sale, Sales, Stamped};
use doorbuster::http::{OrderRequest, Verifier, parse_object};
use doorbuster::ids::{ActivityId, Cents, KeyDigest, Qty, Seq, ShardId, UnixMillis, UserId};
use doorbuster::persist::memory::MemoryDisk;
use doorbuster::persist::{Journal, Options, Pushed, Record, RecordBuilder, Tail, Writer};
use gungraun::prelude::*;
use jsonwebtoken::{Algorithm, EncodingKey, Header};

/// The server's own allocator: growth is part of what is counted.
#[global_allocator]
static MEMORY: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SHARD: ShardId = ShardId(1);
const OPEN: UnixMillis = UnixMillis(1_790_000_000_000);
/// What is asked in one go: enough for the growth of a collection to be spread.
const CROWD: u32 = 1_000;
/// Users who have bought already, so that no collection is empty.
const BEFORE: u32 = 10_000;
/// Events of a group: what a busy server syncs at once.
const GROUP: usize = 50;
const SECRET: &str = "a secret of the benches, 32 bytes or more";
const BODY: &[u8] = br#"{"sku_id":"2001","quantity":1,"ref":"cart-7"}"#;

fn sale_of(stock: u32) -> ActivityDefined {
    let sku = SkuDefinition {
        sku_id: "2001".parse().expect("a SKU id"),
        title: "Phone".to_owned(),
        price_cents: Cents(199_900),
        stock: Qty(stock),
    };
    defined(Definition {
        title: "Doorbuster phones".to_owned(),
        currency: "CNY".to_owned(),
        starts_at_ms: OPEN,
        ends_at_ms: UnixMillis(u64::MAX),
        shards: 1,
        per_user_limit: Qty(1),
        payment_window_ms: 86_400_000,
        on_late_payment: OnLatePayment::Refund,
        shared_sku: false,
        skus: vec![sku],
        packets: None,
    })
}

fn terms(packets: u32) -> Terms {
    Terms { split: Split::Random, packets, total_cents: u64::from(packets) * 200, min_cents: 1, max_cents: 20_000 }
}

fn rain() -> ActivityDefined {
    let Terms { split, packets, total_cents, min_cents, max_cents } = terms(BEFORE + CROWD);
    let round =
        RoundDefinition { starts_at_ms: OPEN, ends_at_ms: UnixMillis(u64::MAX), total_cents, packets, plan: None };
    let packets = Packets { split, min_cents, max_cents, rounds: vec![round], shop: None };
    let definition = Definition::of_packets("Rain".to_owned(), "CNY".to_owned(), 1, Qty(1), packets);
    defined(definition.planned(None, &[Seed([7; 32])], |_| 0))
}

fn defined(definition: Definition) -> ActivityDefined {
    let change = Change { change_id: 1, by: Author::StartUp, key: None };
    ActivityDefined { activity_id: ActivityId(1), definition, from_catalog: false, change, part: None }
}

/// The `n`-th user and the key of their request. Users come in no order, as tokens have them; an odd factor keeps them
/// distinct.
fn user(n: u32) -> (UserId, Option<KeyDigest>) {
    let user = u64::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 1;
    (UserId(user), Some(KeyDigest((u128::from(user) | u128::from(n) << 64).to_le_bytes())))
}

fn place(n: u32) -> PlaceOrder {
    let (user, key) = user(n);
    PlaceOrder { user, sku: "2001".parse().expect("a SKU id"), quantity: 1, key, reference: Some("cart-7".into()) }
}

fn order(n: u32) -> Stamped<Command> {
    Stamped { at_ms: OPEN, command: Command::PlaceOrder(place(n)) }
}

fn grab(n: u32) -> Stamped<Command> {
    let (user, key) = user(n);
    Stamped { at_ms: OPEN, command: Command::Grab(Grab { user, key }) }
}

/// A sale, or a rain, of which the first users have had theirs; and what a crowd asks next.
fn asked(first: &ActivityDefined, from: u32, ask: fn(u32) -> Stamped<Command>) -> (Sale, Vec<Stamped<Command>>) {
    let mut sale = Sale::define(SHARD, first);
    if let Some(round) = sale.rounds().first() {
        black_box(round.plan.amounts());
    }
    let before: Vec<_> = (0..BEFORE).map(ask).collect();
    take(&mut sale, &before);
    (sale, (from..from + CROWD).map(ask).collect())
}

/// Decides and applies; all are accepted.
fn take(sale: &mut Sale, crowd: &[Stamped<Command>]) {
    for stamped in crowd {
        let decision = sale.decide(stamped).expect("there is enough");
        decision.events.iter().for_each(|event| sale.apply(stamped.at_ms, event));
    }
}

#[library_benchmark]
#[bench::accepted_1000(asked(&sale_of(BEFORE + CROWD), BEFORE, order))]
fn placed((mut sale, crowd): (Sale, Vec<Stamped<Command>>)) -> (Sale, Vec<Stamped<Command>>) {
    take(&mut sale, black_box(&crowd));
    (sale, crowd)
}

#[library_benchmark]
#[bench::granted_1000(asked(&rain(), BEFORE, grab))]
fn grabbed((mut rain, crowd): (Sale, Vec<Stamped<Command>>)) -> (Sale, Vec<Stamped<Command>>) {
    take(&mut rain, black_box(&crowd));
    (rain, crowd)
}

/// Room for what was decided, and what is decided upon.
type Asked<T> = (Sale, Vec<Stamped<Command>>, Vec<T>);

fn with_room<T>((sale, crowd): (Sale, Vec<Stamped<Command>>)) -> Asked<T> {
    let room = Vec::with_capacity(crowd.len());
    (sale, crowd, room)
}

#[library_benchmark]
#[bench::sold_out_1000(with_room(asked(&sale_of(BEFORE), BEFORE, order)))]
fn refused((sale, crowd, mut refusals): Asked<Refusal>) -> Asked<Refusal> {
    for stamped in black_box(&crowd) {
        refusals.push(sale.decide(stamped).expect_err("everything is sold"));
    }
    (sale, crowd, refusals)
}

#[library_benchmark]
#[bench::keys_1000(with_room(asked(&sale_of(BEFORE), BEFORE - CROWD, order)))]
fn replayed((sale, crowd, mut decisions): Asked<Decision>) -> Asked<Decision> {
    for stamped in black_box(&crowd) {
        decisions.push(sale.decide(stamped).expect("the order of the key"));
    }
    (sale, crowd, decisions)
}

/// What a group of orders left, and a record with room for it.
fn group() -> (Vec<Entry>, RecordBuilder) {
    let (sale, crowd) = asked(&sale_of(BEFORE + CROWD), BEFORE, order);
    let entry = |stamped: &Stamped<Command>| {
        let event = sale.decide(stamped).expect("there is enough").events.remove(0);
        assert!(matches!(event, Event::OrderPlaced(_)), "an order is one event");
        Entry { shard: SHARD, at_ms: stamped.at_ms, event }
    };
    let entries = crowd[..GROUP].iter().map(entry).collect();
    let mut record = RecordBuilder::default();
    fill(&mut record, &entries);
    // A server's record has been written to before.
    record.seal(&Tail::START);
    record.clear();
    (entries, record)
}

fn fill(record: &mut RecordBuilder, entries: &Vec<Entry>) {
    for entry in entries {
        assert_eq!(record.push(std::slice::from_ref(entry)).expect("it fits"), Pushed::Taken);
    }
}

#[library_benchmark]
#[bench::orders_50(group())]
fn encoded((entries, mut record): (Vec<Entry>, RecordBuilder)) -> (Vec<Entry>, RecordBuilder) {
    fill(&mut record, black_box(&entries));
    black_box(record.seal(&Tail::START).bytes());
    (entries, record)
}

fn written() -> (Vec<u8>, Vec<Entry>) {
    let (entries, mut record) = group();
    fill(&mut record, &entries);
    (record.seal(&Tail::START).bytes().to_vec(), Vec::with_capacity(GROUP))
}

#[library_benchmark]
#[bench::orders_50(written())]
fn decoded((bytes, mut entries): (Vec<u8>, Vec<Entry>)) -> (Vec<u8>, Vec<Entry>) {
    let record = Record::decode(black_box(&bytes)).expect("it was just sealed");
    record.entries(|_, entry| entries.push(entry)).expect("it was just sealed");
    (bytes, entries)
}

fn request() -> (Verifier, HttpRequest) {
    let secret = Secret::new(SECRET);
    let claims = serde_json::json!({
        "sub": "3000000001", "exp": 9_999_999_999_u64, "iss": "doorbuster", "aud": "doorbuster",
    });
    let key = EncodingKey::from_secret(secret.expose());
    let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key).expect("claims are JSON");
    let request = TestRequest::post().insert_header(("authorization", format!("Bearer {token}"))).to_http_request();
    let (issuer, audience) = ("doorbuster".to_owned(), "doorbuster".to_owned());
    let auth = Auth { keys: Keys::Shared { secret, previous: None }, issuer, audience, leeway_s: 0 };
    let verifier = Verifier::new(&auth).expect("a secret is any bytes");
    // The first time finds the processor's way to hash.
    assert!(verifier.bearer(&request).is_ok(), "the token is sound");
    (verifier, request)
}

#[library_benchmark]
#[bench::hs256(request())]
fn token((verifier, request): (Verifier, HttpRequest)) -> (Verifier, HttpRequest) {
    assert!(black_box(verifier.bearer(black_box(&request))).is_ok(), "the token is sound");
    (verifier, request)
}

#[library_benchmark]
#[bench::order(BODY)]
fn body(bytes: &[u8]) -> PlaceOrder {
    let Ok(order) = parse_object::<OrderRequest<'_>>(black_box(bytes)) else { panic!("it is an order") };
    let Ok(command) = order.into_command(UserId(3_000_000_001), None) else { panic!("it is an order") };
    command
}

#[library_benchmark]
#[bench::random_1000(terms(CROWD))]
fn split(terms: Terms) -> Vec<u32> {
    terms.split(black_box(Seed([9; 32]))).expect("the budget fits")
}

/// A sale on a journal in memory, all of whose actors run on the thread that asks: what the journal's own thread does
/// is not counted.
struct Shop {
    system: SystemRunner,
    house: House,
    writer: Writer<Ack>,
    crowd: Vec<PlaceOrder>,
}

fn shop() -> Shop {
    let journal = MemoryDisk::new().open().expect("a fresh disk");
    let options = Options {
        queue_submissions_max: 65_536,
        observe: Box::new(()),
        on_fault: Box::new(|error| panic!("the journal failed: {error}")),
    };
    let history = Arc::new(journal.reader());
    let writer = Writer::spawn(journal, options).expect("a thread");
    let readiness = Readiness::default();
    readiness.ready();
    let mut sales = Sales::default();
    let event = Event::ActivityDefined(Box::new(sale_of(BEFORE)));
    sales.take(Seq(1), &Entry { shard: SHARD, at_ms: OPEN, event }).expect("it is the first");
    let system = System::new();
    let house = system.block_on(async {
        let settings = Settings {
            journal: writer.handle(),
            clock: Clock::start(OPEN),
            readiness,
            history,
            mysql: None,
            catalog: CatalogSource::Dir("nowhere".into()),
            mailbox: BEFORE as usize,
            threads: Threads::Shared(vec![Arbiter::current()]),
        };
        let house = House::open(settings, sales);
        house.settle().await;
        house
    });
    let mut shop = Shop { system, house, writer, crowd: (0..BEFORE / 2).map(place).collect() };
    shop = sell(shop);
    shop.crowd = (BEFORE / 2..).map(place).take(GROUP).collect();
    shop
}

/// All ask at once, and all wait for their answers, which come when the orders are durable.
fn sell(mut shop: Shop) -> Shop {
    let Shop { system, house, crowd, .. } = &mut shop;
    system.block_on(async {
        let asked: Vec<_> = crowd.drain(..).map(|command| house.router.place(ActivityId(1), command)).collect();
        for asked in asked {
            assert!(matches!(asked.answer().await, Answer::Order { .. }), "every order is accepted");
        }
    });
    shop
}

#[library_benchmark]
#[bench::orders_50(args = (shop()), teardown = close)]
fn turns(shop: Shop) -> Shop {
    sell(black_box(shop))
}

fn close(shop: Shop) {
    shop.house.close();
    shop.writer.stop().expect("a clean stop");
}

library_benchmark_group!(name = domain, benchmarks = [placed, refused, replayed, grabbed, split]);
library_benchmark_group!(name = journal, benchmarks = [encoded, decoded]);
library_benchmark_group!(name = http, benchmarks = [token, body]);
library_benchmark_group!(name = shard, benchmarks = [turns]);
main!(library_benchmark_groups = domain, journal, http, shard);
