//! A rain with the journal on sled and a real fdatasync, in one process, without HTTP: 200,000 packets grabbed by as many
//! users with 4,096 in flight. Beside it the same rain in a house where 100,000 packets of shops, of 20 each, wait to be
//! grabbed, and a flash sale of as many units. Rounds are interleaved; the ratios are of the medians, since a round
//! of a quarter second on a busy machine swings by half.
//!
//! `cargo bench --bench rain`

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use doorbuster::actors::desk::{By, Put};
use doorbuster::actors::{Ack, Answer, Asked, CatalogSource, House, Readiness, Settings, Threads};
use doorbuster::catalog::{self, ShopPacket};
use doorbuster::clock::Clock;
use doorbuster::domain::Sales;
use doorbuster::domain::command::{Grab, PlaceOrder, Source};
use doorbuster::domain::event::Author;
use doorbuster::ids::{ActivityId, KeyDigest, SkuId, UnixMillis, UserId};
use doorbuster::persist::{self, Journal, Options, Writer};

// As in the server.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const IN_FLIGHT: usize = 4_096;
const PACKETS: u64 = 200_000;
const SHOP_PACKETS: u64 = 100_000;
const ROUNDS: usize = 40;
const WINDOW: &str = "starts_at = \"2020-01-01T00:00:00Z\"\nends_at = \"2100-01-01T00:00:00Z\"\n";

/// A house and what is in its directory.
struct Bench {
    house: House,
    writer: Writer<Ack>,
    last: ActivityId,
    _dir: tempfile::TempDir,
}

/// What a round hands out.
#[derive(Clone, Copy)]
enum What {
    Rain,
    Sale,
}

impl Bench {
    async fn open() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let journal = persist::open(dir.path(), &persist::Generations::default()).expect("a fresh journal");
        let options = Options {
            queue_submissions_max: 65_536,
            observe: Box::new(()),
            on_fault: Box::new(|error| panic!("the journal failed: {error}")),
        };
        let history = Arc::new(journal.reader());
        let writer = Writer::spawn(journal, options).expect("a thread");
        let readiness = Readiness::default();
        readiness.ready();
        let settings = Settings {
            journal: writer.handle(),
            clock: Clock::start(UnixMillis(0)),
            readiness,
            history,
            mysql: None,
            catalog: CatalogSource::Dir("nowhere".into()),
            mailbox: IN_FLIGHT,
            threads: Threads::Own(std::thread::available_parallelism().map_or(1, usize::from)),
        };
        let house = House::open(settings, Sales::default());
        Self { house, writer, last: ActivityId(0), _dir: dir }
    }

    /// Defines what the next round hands out.
    async fn next(&mut self, what: What) {
        let text = match what {
            What::Rain => format!(
                "kind = \"red_packet\"\ntitle = \"rain\"\nsplit = \"random\"\nmin_cents = 1\nmax_cents = 20000\n\
                 [[rounds]]\n{WINDOW}total_cents = {}\npackets = {PACKETS}\n",
                200 * PACKETS
            ),
            What::Sale => format!(
                "kind = \"flash_sale\"\ntitle = \"sale\"\n{WINDOW}shared_sku = true\n[[skus]]\nsku_id = \"2001\"\n\
                 title = \"unit\"\nprice_cents = 100\nstock = {PACKETS}\n"
            ),
        };
        let definition = catalog::read_toml(&text, "bench".as_ref()).expect("it is sound");
        self.last.0 += 1;
        let put = Put { activity_id: self.last, definition, from: Source::Put, if_match: None, dry_run: false };
        let by = By { author: Author::StartUp, key: None };
        assert!(matches!(self.house.desk.put(put, by).await, Answer::Changed(_)), "it is defined");
    }

    /// Hands everything out and waits for the last one's durable answer.
    async fn hand_out(&mut self, what: What) -> Duration {
        self.next(what).await;
        let sku: SkuId = "2001".parse().expect("a SKU id");
        let mut waiting: VecDeque<Asked> = VecDeque::with_capacity(IN_FLIGHT);
        let started = Instant::now();
        for user in 1..=PACKETS {
            if waiting.len() == IN_FLIGHT {
                accepted(waiting.pop_front().expect("it is full")).await;
            }
            let mut key = [0; 16];
            key[..8].copy_from_slice(&user.to_le_bytes());
            let (user, key) = (UserId(user), Some(KeyDigest(key)));
            waiting.push_back(match what {
                What::Rain => self.house.router.grab(self.last, Grab { user, key }),
                What::Sale => {
                    let order = PlaceOrder { user, sku: sku.clone(), quantity: 1, key, reference: None };
                    self.house.router.place(self.last, order)
                }
            });
        }
        for asked in waiting {
            accepted(asked).await;
        }
        started.elapsed()
    }

    /// Makes shops' packets, 256 requests at a time.
    async fn make_shop_packets(&self) -> Duration {
        let text = "{\"title\":\"Thank you\",\"total_cents\":8800,\"packets\":20,\"split\":\"random\",\"min_cents\":1,\
                    \"max_cents\":2000,\"expires_in_s\":86400,\"funding_ref\":\"wallet-7\"}";
        let tree = catalog::parse_json(text.as_bytes()).expect("JSON");
        let packet = ShopPacket::read(&tree).expect("it is sound");
        let started = Instant::now();
        let mut waiting = VecDeque::new();
        for number in 0..SHOP_PACKETS {
            let (desk, packet, merchant) = (self.house.desk.clone(), packet.clone(), UserId(number));
            let by = By { author: Author::Operator(merchant), key: None };
            waiting.push_back(actix::spawn(async move { desk.make_packet(packet, merchant, by).await.is_ok() }));
            if waiting.len() == 256 {
                let made = waiting.pop_front().expect("it is full").await;
                assert!(made.expect("no panic"), "it is made");
            }
        }
        for made in waiting {
            assert!(made.await.expect("no panic"), "it is made");
        }
        started.elapsed()
    }

    fn close(self) {
        self.house.close();
        self.writer.stop().expect("a clean stop");
    }
}

async fn accepted(asked: Asked) {
    let answer = asked.answer().await;
    assert!(matches!(answer, Answer::Order { .. } | Answer::Grab { .. }), "everybody gets one, not {answer:?}");
}

/// The slow quarter's edge, the median and the fast quarter's edge, in seconds.
fn quartiles(mut seconds: Vec<f64>) -> [f64; 3] {
    seconds.sort_by(f64::total_cmp);
    [3, 2, 1].map(|quarter| seconds[seconds.len() * quarter / 4])
}

fn main() {
    // `cargo test --benches` and the like only ask whether it runs.
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
    actix::System::new().block_on(async {
        let (mut alone, mut beside) = (Bench::open().await, Bench::open().await);
        let made = beside.make_shop_packets().await;
        println!("{SHOP_PACKETS} shop packets of 20 made, {:.0} a second", SHOP_PACKETS as f64 / made.as_secs_f64());
        let (mut alone_s, mut beside_s, mut sale_s) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..=ROUNDS {
            let (with_shops, without, sale) = if round % 2 == 0 {
                let with_shops = beside.hand_out(What::Rain).await;
                (with_shops, alone.hand_out(What::Rain).await, alone.hand_out(What::Sale).await)
            } else {
                let (sale, without) = (alone.hand_out(What::Sale).await, alone.hand_out(What::Rain).await);
                (beside.hand_out(What::Rain).await, without, sale)
            };
            // The first warms up.
            if round > 0 {
                alone_s.push(without.as_secs_f64());
                beside_s.push(with_shops.as_secs_f64());
                sale_s.push(sale.as_secs_f64());
            }
        }
        let [alone_s, beside_s, sale_s] = [alone_s, beside_s, sale_s].map(quartiles);
        for (what, seconds) in [("a rain", alone_s), ("a rain beside them", beside_s), ("a flash sale", sale_s)] {
            let [slow, median, fast] = seconds.map(|seconds| PACKETS as f64 / seconds / 1e6);
            println!("{what}: {median:.2} million a second (quartiles {fast:.2} and {slow:.2})");
        }
        println!("a rain beside {SHOP_PACKETS} shop packets, of one alone: {:.2}", alone_s[1] / beside_s[1]);
        println!("a rain, of a flash sale: {:.2}", sale_s[1] / alone_s[1]);
        alone.close();
        beside.close();
    });
}
