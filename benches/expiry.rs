//! A mass expiry: 200,000 holds on one SKU run out at one instant, and what others wait meanwhile, on the journal on sled
//! with a real fdatasync, in one process. An open loop asks 4,000 times a second, whoever is answered: orders of the SKU
//! that is released, orders of another SKU, orders by those whose holds run out, payments in time and look-ups; a wait
//! counts from the instant at which the question was due.
//!
//! `cargo bench --bench expiry`

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use doorbuster::actors::desk::{By, Put};
use doorbuster::actors::router::Notice;
use doorbuster::actors::{Ack, Answer, Asked, CatalogSource, House, Question, Readiness, Settings, Threads};
use doorbuster::catalog;
use doorbuster::clock::Clock;
use doorbuster::domain::Sales;
use doorbuster::domain::command::{PlaceOrder, Source};
use doorbuster::domain::event::Author;
use doorbuster::ids::{ActivityId, Cents, OrderId, ShardId, SkuId, UnixMillis, UserId};
use doorbuster::persist::{self, Journal, Options, Writer};
use hdrhistogram::Histogram;

// As in the server.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const HOLDS: u32 = 200_000;
const PAYABLE: u32 = 20_000;
const EVERY: Duration = Duration::from_micros(250);
const NOW_MS: u64 = 1_800_000_000_000;
const SALE: &str = r#"
kind = "flash_sale"
title = "bench"
starts_at = "2020-01-01T00:00:00Z"
ends_at = "2100-01-01T00:00:00Z"
payment_window_s = 300
[[skus]]
sku_id = "hot"
title = "unit"
price_cents = 100
stock = 200000
[[skus]]
sku_id = "other"
title = "unit"
price_cents = 100
stock = 200000
"#;

/// What is asked while the holds run out.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    BuyHot,
    BuyOther,
    /// By one whose hold is among those that run out: the limit must not refuse them.
    BuyAgain,
    Pay,
    LookUp,
}

const KINDS: [Kind; 5] = [Kind::BuyHot, Kind::BuyOther, Kind::BuyAgain, Kind::Pay, Kind::LookUp];
const ACTIVITY: ActivityId = ActivityId(1);

struct Asking {
    house: House,
    hot: SkuId,
    other: SkuId,
}

impl Asking {
    fn place(&self, user: u32, sku: &SkuId) -> Asked {
        let command =
            PlaceOrder { user: UserId(user.into()), sku: sku.clone(), quantity: 1, key: None, reference: None };
        self.house.router.place(ACTIVITY, command)
    }

    /// The `n`-th question of its kind.
    async fn ask(&self, kind: Kind, n: u32) {
        let answer = match kind {
            Kind::BuyHot => self.place(1_000_000 + n, &self.hot).answer().await,
            Kind::BuyOther => self.place(2_000_000 + n, &self.other).answer().await,
            // From the last whose hold is released on.
            Kind::BuyAgain => self.place(HOLDS - n, &self.hot).answer().await,
            Kind::Pay => {
                let order = OrderId::new(ShardId(1), HOLDS + 1 + n);
                let notice = Notice {
                    payment_id: format!("p{n}").into(),
                    named: order.to_string().into(),
                    amount_cents: Cents(100),
                    currency: "CNY".into(),
                };
                self.house.router.pay(notice).await
            }
            Kind::LookUp => {
                let question = |number| Question::Order { number, user: None };
                self.house.router.ask_of_order(OrderId::new(ShardId(1), 1 + n), question).answer().await
            }
        };
        assert!(matches!(answer, Answer::Order { .. } | Answer::Payment { .. }), "{answer:?}");
    }

    async fn released(&self) -> bool {
        match self.house.router.sale(ACTIVITY).await {
            Answer::Sale(sale) => sale.skus[0].held.0 < HOLDS / 2,
            other => panic!("the sale is told, not {other:?}"),
        }
    }
}

fn main() {
    let system = actix::System::new();
    system.block_on(run());
}

async fn run() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let journal = persist::open(dir.path(), &persist::Generations::default()).expect("a fresh journal");
    let options = Options {
        queue_submissions_max: 65_536,
        observe: Box::new(()),
        on_fault: Box::new(|error| panic!("the journal failed: {error}")),
    };
    let history = Arc::new(journal.reader());
    let writer: Writer<Ack> = Writer::spawn(journal, options).expect("a thread");
    let readiness = Readiness::default();
    readiness.ready();
    let clock = Clock::manual(UnixMillis(NOW_MS));
    let settings = Settings {
        journal: writer.handle(),
        clock: clock.clone(),
        readiness,
        history,
        mysql: None,
        catalog: CatalogSource::Dir("nowhere".into()),
        mailbox: 16_384,
        threads: Threads::Own(1),
    };
    let house = House::open(settings, Sales::default());
    let definition = catalog::read_toml(SALE, "bench".as_ref()).expect("a sound sale");
    let put = Put { activity_id: ACTIVITY, definition, from: Source::Put, if_match: None, dry_run: false };
    let by = By { author: Author::StartUp, key: None };
    assert!(matches!(house.desk.put(put, by).await, Answer::Changed(_)), "the sale is defined");
    let (hot, other) = ("hot".parse().expect("a SKU id"), "other".parse().expect("a SKU id"));
    let asking = Rc::new(Asking { house, hot, other });
    fill(&asking, &clock).await;

    let quiet = measure(&asking, 0, Duration::from_secs(2)).await;
    let advanced = Instant::now();
    clock.advance_ms(1);
    let watch = actix::spawn({
        let asking = Rc::clone(&asking);
        async move {
            while !asking.released().await {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            advanced.elapsed()
        }
    });
    let busy = measure(&asking, 1, Duration::from_millis(500)).await;
    let released = watch.await.expect("it ends");
    println!("half of {HOLDS} holds released after {} ms", released.as_millis());
    println!("{:<22}{:>10}{:>10}{:>10}{:>10}{:>10}", "", "asked", "p50 ms", "p99 ms", "p99.9 ms", "max ms");
    for (name, waits) in [("before", quiet), ("during (first 500 ms)", busy)] {
        let ms = |quantile: f64| waits.value_at_quantile(quantile) as f64 / 1_000.0;
        let max = waits.max() as f64 / 1_000.0;
        let (p50, p99, p999) = (ms(0.5), ms(0.99), ms(0.999));
        println!("{name:<22}{:>10}{p50:>10.2}{p99:>10.2}{p999:>10.2}{max:>10.2}", waits.len());
    }
    // The clones are gone with their tasks.
    let Ok(asking) = Rc::try_unwrap(asking) else { panic!("all has been answered") };
    asking.house.close();
    writer.stop().expect("a clean stop");
}

/// Places the holds that will run out in a moment, and later ones that will be paid.
async fn fill(asking: &Asking, clock: &Clock) {
    for chunk in (1..=HOLDS).collect::<Vec<_>>().chunks(4_096) {
        let placed: Vec<Asked> = chunk.iter().map(|user| asking.place(*user, &asking.hot)).collect();
        for asked in placed {
            assert!(matches!(asked.answer().await, Answer::Order { .. }), "there is one for each");
        }
    }
    clock.advance_ms(299_999);
    for user in HOLDS + 1..=HOLDS + PAYABLE {
        assert!(matches!(asking.place(user, &asking.other).answer().await, Answer::Order { .. }), "held");
    }
}

/// Asks by the clock for so long, whoever is answered, and gives the waits in microseconds.
async fn measure(asking: &Rc<Asking>, round: u32, long: Duration) -> Histogram<u64> {
    let waits = Rc::new(RefCell::new(Histogram::<u64>::new(3).expect("three digits")));
    let begun = Instant::now();
    let mut tasks = Vec::new();
    let mut n = 0;
    while begun.elapsed() < long {
        let due = begun + EVERY * n;
        tokio::time::sleep_until(due.into()).await;
        // In the first round nothing has run out, and the hot SKU is sold out.
        let kinds: &[Kind] = if round == 0 { &[Kind::BuyOther, Kind::Pay, Kind::LookUp] } else { &KINDS };
        let kind = kinds[n as usize % kinds.len()];
        let (asking, waits, number) = (Rc::clone(asking), Rc::clone(&waits), n + round * PAYABLE / 2);
        tasks.push(actix::spawn(async move {
            asking.ask(kind, number).await;
            let waited = u64::try_from(due.elapsed().as_micros()).unwrap_or(u64::MAX);
            waits.borrow_mut().record(waited).expect("it grows");
        }));
        n += 1;
    }
    for task in tasks {
        task.await.expect("no panic");
    }
    let recorded = Rc::try_unwrap(waits).map(RefCell::into_inner);
    recorded.unwrap_or_else(|_| panic!("all tasks are over"))
}
