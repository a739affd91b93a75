//! Shoppers buy, cancel and pay, holds run out, operators refund, and everything between the server and MySQL fails again and again, as does the
//! server itself: at the end MySQL has each event's effect exactly once. `make mysql-faults SEED=1 ROUNDS=50` runs a
//! campaign; round n has the seed SEED + n, so one round replays by itself.

mod campaign;
mod mysql;
mod server;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use campaign::{Crowd, paying};
use loadtest::Money;
use mysql::{Maria, Proxy, When, provider};
use server::{Dice, Sale, Server, Stage, until};

const DATABASE: &str = "doorbuster";
const SHOPPERS: u64 = 4;
const FAULTS: u64 = 10;

/// What a round's network, servers and shoppers did.
#[derive(Debug, Default)]
struct Tally(BTreeMap<&'static str, u64>);

impl Tally {
    fn count(&mut self, what: &'static str) {
        *self.0.entry(what).or_default() += 1;
    }
}

/// Those who make the events that are shipped, as the faults see them.
trait Shopping {
    /// Requests so far.
    fn asked(&self) -> u64;
    /// They have gone home.
    fn is_over(&self) -> bool;
}

/// The shoppers of this file, who shop until all faults have struck.
impl Shopping for AtomicU64 {
    fn asked(&self) -> u64 {
        self.load(Ordering::SeqCst)
    }

    fn is_over(&self) -> bool {
        false
    }
}

impl Shopping for Crowd {
    fn asked(&self) -> u64 {
        self.answered()
    }

    fn is_over(&self) -> bool {
        Self::is_over(self)
    }
}

/// A fault and how it is mended.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// The connection breaks when COMMIT is sent: before the server has it, or after it has done it and before it says so.
    AtCommit(When),
    /// It breaks in the middle of a batch.
    InBatch(When),
    /// `kill -9` of MariaDB.
    MariaKilled,
    /// It stands still for a moment.
    MariaFrozen,
    /// It refuses to write.
    ReadOnly,
    /// Somebody else holds the rows that a batch needs, and takes longer than it waits.
    Locked,
    /// Each packet takes its time.
    Slow,
    /// No bytes flow.
    Held,
    /// No connection.
    Cut,
    /// `kill -9` of Doorbuster.
    ServerKilled,
}

const ALL: [Fault; 12] = [
    Fault::AtCommit(When::AfterSent),
    Fault::AtCommit(When::BeforeSent),
    Fault::InBatch(When::AfterSent),
    Fault::InBatch(When::BeforeSent),
    Fault::MariaKilled,
    Fault::MariaFrozen,
    Fault::ReadOnly,
    Fault::Locked,
    Fault::Slow,
    Fault::Held,
    Fault::Cut,
    Fault::ServerKilled,
];

struct Round {
    maria: Maria,
    proxy: Proxy,
    stage: Stage,
    server: Option<Server>,
    tally: Tally,
    bought: Mutex<Vec<String>>,
    asked: AtomicU64,
    over: AtomicBool,
}

#[test]
fn whatever_fails_mysql_has_each_event_exactly_once() {
    let from_env = |name: &str, default: u64| {
        std::env::var(name).ok().map_or(default, |text| text.parse().expect("the variable is a number"))
    };
    let (first, rounds) = (from_env("MYSQL_SEED", 1), from_env("MYSQL_ROUNDS", 2));
    let mut all = Tally::default();
    for seed in first..first + rounds {
        let Some(maria) = Maria::start() else { return };
        let replay = Replay(seed);
        let tally = play(maria, &mut Dice::new(seed));
        println!("seed {seed}: {:?}", tally.0);
        tally.0.into_iter().for_each(|(what, count)| *all.0.entry(what).or_default() += count);
        drop(replay);
    }
    println!("{rounds} rounds, {rounds} audits, all hold: {:?}", all.0);
}

#[test]
fn whatever_fails_mysql_has_each_payment_exactly_once() {
    let from_env = |name: &str, default: u64| {
        std::env::var(name).ok().map_or(default, |text| text.parse().expect("the variable is a number"))
    };
    let (first, rounds) = (from_env("MYSQL_SEED", 1), from_env("MYSQL_ROUNDS", 1));
    for seed in first..first + rounds {
        let Some(maria) = Maria::start() else { return };
        let _replay = Replay(seed);
        println!("seed {seed}: {:?}", play_paying(maria, seed).0);
    }
    println!("{rounds} rounds, {rounds} audits, all hold");
}

/// Says how to see a failure again.
struct Replay(u64);

impl Drop for Replay {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("failed with seed {0}; to replay: make mysql-faults SEED={0} ROUNDS=1", self.0);
        }
    }
}

fn play(maria: Maria, dice: &mut Dice) -> Tally {
    let proxy = Proxy::to(maria.address());
    let url = proxy.through(&maria.shop_url(DATABASE));
    let shards = u16::try_from(1 + dice.below(3)).expect("a small number");
    let sale = Sale { stock: 50, per_user_limit: 5, payment_window_s: 2, shards, ..Sale::default() };
    let stage = Stage::shipping_to(&url, sale, provider::PAYMENTS);
    let server = Some(Server::start(&stage));
    let mut round = Round {
        maria,
        proxy,
        stage,
        server,
        tally: Tally::default(),
        bought: Mutex::default(),
        asked: AtomicU64::new(0),
        over: AtomicBool::new(false),
    };
    let seeds: Vec<u64> = (0..SHOPPERS).map(|_| dice.below(u64::MAX)).collect();
    // Everything that the shoppers touch, apart from what the faults do to the servers.
    let (stage, asked, over, bought) = (&round.stage, &round.asked, &round.over, &round.bought);
    let (maria, proxy, server, tally) = (&mut round.maria, &round.proxy, &mut round.server, &mut round.tally);
    thread::scope(|scope| {
        for seed in seeds {
            scope.spawn(move || shop(stage, &mut Dice::new(seed), asked, over, bought));
        }
        let over = Over(over);
        for _ in 0..FAULTS {
            let fault = ALL[usize::try_from(dice.below(ALL.len() as u64)).expect("a small number")];
            strike(fault, dice, maria, proxy, stage, server, asked);
            tally.count(fault.name());
        }
        drop(over);
    });
    until("MySQL has everything", || {
        let mysql = &round.stage.state()["mysql"];
        mysql["connected"] == true && mysql["lag_events"] == 0
    });
    round.server.take().expect("it runs").stop();
    round.stage.assert_audit_holds(false);
    let there: Vec<Vec<Option<String>>> = round.maria.query(&format!("SELECT order_id FROM {DATABASE}.orders"));
    let there: std::collections::HashSet<String> = there.into_iter().flatten().flatten().collect();
    let bought = round.bought.into_inner().expect("no shopper panicked");
    assert!(bought.iter().all(|order| there.contains(order)), "every order that a shopper has is in MySQL");
    let payments = round.maria.query(&format!("SELECT payment_state FROM {DATABASE}.payments"));
    *round.tally.0.entry("payments shipped").or_default() += payments.len() as u64;
    *round.tally.0.entry("orders acknowledged").or_default() += bought.len() as u64;
    *round.tally.0.entry("orders shipped").or_default() += there.len() as u64;
    round.tally
}

/// The paying crowd of the kill campaign, while everything between the server and MySQL fails, and the server too.
fn play_paying(mut maria: Maria, seed: u64) -> Tally {
    let mut dice = Dice::new(seed);
    let proxy = Proxy::to(maria.address());
    let url = proxy.through(&maria.shop_url(DATABASE));
    let shards = u16::try_from(1 + dice.below(3)).expect("a small number");
    let sale = Sale { stock: 80, payment_window_s: 2, shards, ..Sale::default() };
    let stage = Stage::shipping_to(&url, sale, paying::SECTION);
    let mut server = Some(Server::start(&stage));
    let script = paying::Script { seed, sale, shoppers: 450, rate: 150.0, kills: 0 };
    let crowd = Crowd::send(paying::plan(&script, &stage));
    let mut tally = Tally::default();
    while !crowd.is_over() {
        let fault = ALL[usize::try_from(dice.below(ALL.len() as u64)).expect("a small number")];
        strike(fault, &mut dice, &mut maria, &proxy, &stage, &mut server, &crowd);
        tally.count(fault.name());
    }
    let report = crowd.join();
    let pay = report.pay.expect("they paid");
    assert!(pay.reconciled, "the operator was answered: {pay:?}");
    until("MySQL has everything", || {
        let mysql = &stage.state()["mysql"];
        mysql["connected"] == true && mysql["lag_events"] == 0
    });
    server.take().expect("it runs").stop();
    stage.assert_audit_holds(true);
    // The rows by themselves, without the program that is tested: the money of each state, as the crowd knows it.
    let sums = maria.query(&format!(
        "SELECT payment_state, CAST(SUM(amount_cents) AS UNSIGNED) FROM {DATABASE}.payments GROUP BY payment_state"
    ));
    let mut rows: BTreeMap<String, u64> = BTreeMap::new();
    for row in sums {
        let [Some(state), Some(cents)] = row.as_slice() else { panic!("a sum has a state and a number: {row:?}") };
        rows.insert(state.clone(), cents.parse().expect("a number"));
    }
    let told = |of: fn(&Money) -> u64| pay.money.values().map(of).sum::<u64>();
    let told = [
        ("applied", told(|money| money.applied_cents)),
        ("refund_due", told(|money| money.owed_back_cents)),
        ("refunded", told(|money| money.paid_back_cents)),
    ];
    for (state, cents) in told {
        assert_eq!(rows.get(state).copied().unwrap_or(0), cents, "{state}: {rows:?} of {pay:?}");
    }
    for (outcome, count) in pay.payments {
        tally.0.insert(outcome, count);
    }
    tally
}

/// Ends the shopping, also where a fault's test fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Fault {
    fn name(self) -> &'static str {
        match self {
            Self::AtCommit(When::AfterSent) => "commits whose OK was lost",
            Self::AtCommit(When::BeforeSent) => "commits that were not sent",
            Self::InBatch(_) => "connections cut in a batch",
            Self::MariaKilled => "kill -9 of MariaDB",
            Self::MariaFrozen => "MariaDB frozen",
            Self::ReadOnly => "MariaDB read-only",
            Self::Locked => "rows locked",
            Self::Slow => "network slow",
            Self::Held => "network held",
            Self::Cut => "network cut",
            Self::ServerKilled => "kill -9 of Doorbuster",
        }
    }
}

fn strike(
    fault: Fault,
    dice: &mut Dice,
    maria: &mut Maria,
    proxy: &Proxy,
    stage: &Stage,
    server: &mut Option<Server>,
    shopping: &dyn Shopping,
) {
    // So long the shoppers go on before, and while it lasts.
    let mut requests = || {
        let enough = shopping.asked() + 5 + dice.below(60);
        until("the shoppers go on", || shopping.asked() >= enough || shopping.is_over());
    };
    requests();
    match fault {
        Fault::AtCommit(when) => {
            let before = proxy.faults_hit();
            proxy.cut_at_commit(1, when);
            wait_until_cut(proxy, before, shopping);
        }
        Fault::InBatch(when) => {
            let before = proxy.faults_hit();
            proxy.cut_at_statement(1, when, |sql| {
                ["orders", "order_slots", "payments"].iter().any(|table| {
                    sql.starts_with(&format!("INSERT INTO {table} ")) || sql.starts_with(&format!("UPDATE {table} "))
                })
            });
            wait_until_cut(proxy, before, shopping);
        }
        Fault::MariaKilled => maria.kill(),
        Fault::MariaFrozen => maria.freeze(),
        Fault::ReadOnly => maria.set_read_only(true),
        Fault::Locked => {
            // Longer than a batch waits for a lock.
            maria.execute(&format!(
                "USE {DATABASE}; START TRANSACTION; SELECT * FROM ship_cursor FOR UPDATE; DO SLEEP(6); COMMIT"
            ));
        }
        Fault::Slow => proxy.slow(Duration::from_millis(20)),
        Fault::Held => proxy.hold(),
        Fault::Cut => proxy.cut(),
        Fault::ServerKilled => {
            server.take().expect("it runs").kill();
            *server = Some(Server::start(stage));
        }
    }
    if !matches!(fault, Fault::Locked | Fault::ServerKilled) {
        requests();
    }
    match fault {
        Fault::AtCommit(_) | Fault::InBatch(_) | Fault::Slow | Fault::Held | Fault::Cut => proxy.mend(),
        Fault::MariaKilled => maria.start_again(),
        Fault::MariaFrozen => maria.thaw(),
        Fault::ReadOnly => maria.set_read_only(false),
        Fault::Locked | Fault::ServerKilled => {}
    }
}

/// Waits until the network was cut once more. When nobody is left who makes events, nothing may be left to be cut.
fn wait_until_cut(proxy: &Proxy, before: u64, shopping: &dyn Shopping) {
    until("the network is cut", || proxy.faults_hit() > before || shopping.is_over());
    if proxy.faults_hit() > before {
        proxy.wait_until_cut();
    }
}

/// Buys, and sometimes gives up or pays for what was bought, or pays late; the rest runs out by itself.
fn shop(stage: &Stage, dice: &mut Dice, asked: &AtomicU64, over: &AtomicBool, bought: &Mutex<Vec<String>>) {
    while !over.load(Ordering::SeqCst) {
        // Whoever has given up or let run out so much that he may not go on is followed by another.
        let user = dice.below(1_000_000) + 1;
        let reply = stage.order(user, Some("k"));
        asked.fetch_add(1, Ordering::SeqCst);
        // A server that is down says nothing; one that is up sells, or has nothing left.
        let Ok(reply) = reply else { continue };
        if !matches!(reply.status, 200 | 201) {
            assert!(reply.status == 409 || reply.is_passing(), "{reply:?}");
            continue;
        }
        let order_id = reply.json()["order_id"].as_str().expect("an id").to_owned();
        let earlier = {
            let mut bought = bought.lock().expect("no shopper panicked");
            bought.push(order_id.clone());
            bought[usize::try_from(dice.below(bought.len() as u64)).expect("one of few")].clone()
        };
        match dice.below(8) {
            0..3 => _ = stage.cancel(user, &order_id),
            3..5 => pay(stage, dice, &order_id),
            5 => pay(stage, dice, &earlier),
            _ => {}
        }
    }
}

/// Pays for an order, in whatever state it is. Most of what is paid for goes back on sale, so that there is something to
/// sell to the end.
fn pay(stage: &Stage, dice: &mut Dice, order_id: &str) {
    let payment_id = format!("{order_id}-{}", dice.below(4));
    let amount = if dice.one_in(9) { 99 } else { 100 };
    // The same id with another amount, or a wrong one at first, is a mismatch.
    if let Ok(reply) = provider::pay(stage, &payment_id, order_id, amount) {
        assert!(matches!(reply.status, 200 | 422) || reply.is_passing(), "{reply:?}");
    }
    if !dice.one_in(6) {
        let restock = !dice.one_in(9);
        let _taken_back = provider::refund(stage, order_id, restock);
    }
    if dice.one_in(2) {
        let _paid_back = provider::paid_back(stage, &payment_id);
    }
}
