//! What the tests of checkpoints share: a market of random sales with the journal that made it, ways to put that on a
//! disk, and a directory of checkpoints to look at and to damage.
#![allow(dead_code, reason = "each test file is a crate of its own and uses its own part of this")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use doorbuster::domain::command::{
    AddStock, CancelOrder, CloseRefund, MoveSlots, PayOrder, PlaceOrder, Redefine, RefundOrder, Request, RequestKey,
    Source, Suspend, SwitchSale,
};
use doorbuster::domain::definition::{OnLatePayment, SkuDefinition};
use doorbuster::domain::event::{ActivityDefined, Author, Change, Entry, Event, Switch};
use doorbuster::domain::image::state_hash;
use doorbuster::domain::part::{Part, Spread};
use doorbuster::domain::payment::Why;
use doorbuster::domain::{Command, Definition, PaymentState, Sale, Sales, Stamped, Suspense};
use doorbuster::ids::{ActivityId, Cents, KeyDigest, Qty, Seq, ShardId, SkuId, SkuIndex, UnixMillis, UserId};
use doorbuster::persist::checkpoint::{Error, Limits, Listed, Made, Making, Recovered, Store, recover};
use doorbuster::persist::memory::{MemoryDisk, MemoryJournal};
use doorbuster::persist::{Journal, Pushed, Read, RecordBuilder, Tail};

/// Chance that can be repeated: splitmix64.
#[derive(Clone)]
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    pub fn one_in(&mut self, chances: u64) -> bool {
        self.below(chances) == 0
    }

    fn small(&mut self, bound: u64) -> u32 {
        u32::try_from(self.below(bound)).expect("a small bound")
    }

    fn index(&mut self, bound: usize) -> usize {
        usize::try_from(self.below(bound as u64)).expect("below a usize")
    }

    fn digest(&mut self) -> KeyDigest {
        KeyDigest((u128::from(self.below(u64::MAX)) << 64 | u128::from(self.below(u64::MAX))).to_be_bytes())
    }

    fn key(&mut self) -> Option<KeyDigest> {
        self.one_in(2).then(|| self.digest())
    }
}

pub fn sku_id(n: u64) -> SkuId {
    format!("sku-{n}").parse().expect("the tests' SKU ids are sound")
}

/// Sales at random, and the events that made them.
pub struct Market {
    pub dice: Dice,
    pub sales: Sales,
    pub entries: Vec<Entry>,
    now: u64,
    next_activity: u64,
    change_id: u64,
    next_payment: u64,
}

impl Market {
    pub fn new(seed: u64) -> Self {
        let (sales, entries) = (Sales::default(), Vec::new());
        Self { dice: Dice(seed), sales, entries, now: 1_000, next_activity: 0, change_id: 0, next_payment: 0 }
    }

    /// A market after so many steps.
    pub fn after(seed: u64, steps: usize) -> Self {
        let mut market = Self::new(seed);
        (0..steps).for_each(|_| market.step());
        market
    }

    pub fn step(&mut self) {
        self.now += self.dice.below(30);
        if self.sales.standing().is_empty() || self.dice.one_in(120) {
            return self.define();
        }
        match self.dice.below(50) {
            0..24 => self.place(),
            24..29 => self.cancel(),
            29..32 => self.on_random_shard(Command::ExpireHolds),
            32..35 => self.redefine(),
            35 => self.switch(),
            36..39 => self.move_slots(),
            39 => self.retire(),
            40..46 => self.pay(),
            46 => self.refund(),
            47 | 48 => self.pay_back(),
            _ => self.suspend(),
        }
    }

    pub fn take(&mut self, shard: ShardId, event: Event) {
        let entry = Entry { shard, at_ms: UnixMillis(self.now), event };
        let seq = Seq(self.entries.len() as u64 + 1);
        self.sales.take(seq, &entry).expect("what was decided applies");
        self.entries.push(entry);
    }

    fn run(&mut self, shard: ShardId, command: Command) {
        let stamped = Stamped { at_ms: UnixMillis(self.now), command };
        let sale = self.sales.get(shard).expect("a shard in memory");
        let Ok(decision) = sale.decide(&stamped) else { return };
        decision.events.into_iter().for_each(|event| self.take(shard, event));
    }

    fn on_random_shard(&mut self, command: Command) {
        let shard = self.any_shard();
        self.run(shard, command);
    }

    fn any_shard(&mut self) -> ShardId {
        let place = self.dice.index(self.sales.iter().count());
        self.sales.iter().nth(place).expect("an activity stands").shard()
    }

    fn any_home(&mut self) -> (ActivityId, ShardId, u16) {
        let place = self.dice.index(self.sales.standing().len());
        let (activity_id, standing) = self.sales.standing().iter().nth(place).expect("an activity stands");
        (*activity_id, standing.home, standing.shards)
    }

    fn request(&mut self) -> Request {
        self.change_id += 1;
        let by = if self.dice.one_in(3) { Author::StartUp } else { Author::Operator(UserId(self.dice.below(3))) };
        let key = self.dice.one_in(2).then(|| RequestKey { key: self.dice.digest(), body: self.dice.digest() });
        Request { change_id: self.change_id, by, key }
    }

    /// Defines an activity with `shards` parts.
    pub fn define_with(&mut self, shards: u16, skus: u64, stock: u32) -> ShardId {
        self.next_activity += 1;
        let home = ShardId(self.sales.last_shard().0 + 1);
        let sku = |n| SkuDefinition {
            sku_id: sku_id(n),
            title: format!("SKU {n}"),
            price_cents: Cents(100 + n),
            stock: Qty(stock),
        };
        let definition = Definition {
            title: format!("Sale {}", self.next_activity),
            currency: "CNY".to_owned(),
            starts_at_ms: UnixMillis(0),
            ends_at_ms: UnixMillis(self.now + 20_000_000),
            shards,
            per_user_limit: Qty(50),
            payment_window_ms: 500 + self.dice.below(2_000),
            on_late_payment: if self.next_activity % 3 == 1 {
                OnLatePayment::Refund
            } else {
                OnLatePayment::ReacquireOrRefund
            },
            shared_sku: true,
            skus: (0..skus).map(sku).collect(),
            packets: None,
        };
        let Request { change_id, by, key } = self.request();
        for number in 0..shards.max(1) {
            let part = Part { home, number, spread: Spread::Splitmix };
            let defined = ActivityDefined {
                activity_id: ActivityId(self.next_activity.wrapping_mul(0x9e37_79b9) % 1_000_003),
                definition: definition.clone(),
                from_catalog: self.next_activity.is_multiple_of(2),
                change: Change { change_id, by, key: if number == 0 { key } else { None } },
                part: (shards > 1).then_some(part),
            };
            self.take(part.shard(number), Event::ActivityDefined(Box::new(defined)));
        }
        home
    }

    fn define(&mut self) {
        let shards = if self.dice.one_in(3) { 2 + u16::try_from(self.dice.below(4)).expect("few") } else { 1 };
        let (skus, stock) = (1 + self.dice.below(3), self.dice.small(60));
        self.define_with(shards, skus, stock);
    }

    fn place(&mut self) {
        let shard = self.any_shard();
        let user = self.dice.below(40);
        self.place_at(shard, user);
    }

    /// An order of `user` there, at random otherwise.
    pub fn place_at(&mut self, shard: ShardId, user: u64) {
        let reference = self.dice.one_in(4).then(|| format!("ref-{}", self.dice.below(1_000)).into());
        let (sku, quantity) = (sku_id(self.dice.below(3)), 1 + i64::from(self.dice.small(3)));
        let command = PlaceOrder { user: UserId(user), sku, quantity, key: self.dice.key(), reference };
        self.run(shard, Command::PlaceOrder(command));
    }

    fn cancel(&mut self) {
        let shard = self.any_shard();
        let orders = self.sales.get(shard).expect("a shard in memory").orders_placed();
        if orders > 0 {
            let order = 1 + self.dice.small(u64::from(orders));
            let user = self.sales.get(shard).and_then(|sale| sale.order(order)).expect("it was placed").user;
            let key = self.dice.key();
            self.run(shard, Command::CancelOrder(CancelOrder { user, order, key }));
        }
    }

    fn any_order(&mut self) -> Option<(ShardId, u32)> {
        let shard = self.any_shard();
        let orders = self.sales.get(shard).expect("a shard in memory").orders_placed();
        (orders > 0).then(|| (shard, 1 + self.dice.small(u64::from(orders))))
    }

    /// Ids of all lengths.
    fn payment_id(&mut self) -> Box<str> {
        self.next_payment += 1;
        let length = self.dice.index(40);
        format!("{}-{}", self.next_payment, "p".repeat(length)).into()
    }

    fn pay(&mut self) {
        if let Some((shard, order)) = self.any_order() {
            self.pay_for(shard, order);
        }
    }

    /// A payment for that order, nearly always of the right amount and currency.
    pub fn pay_for(&mut self, shard: ShardId, order: u32) {
        let amount = self.sales.get(shard).and_then(|sale| sale.order(order)).expect("it was placed").amount_cents;
        let amount_cents = if self.dice.one_in(10) { Cents(amount.0 + 1) } else { amount };
        let currency = if self.dice.one_in(20) { "EUR".into() } else { "CNY".into() };
        let (payment_id, may_wait) = (self.payment_id(), self.dice.one_in(2));
        let pay = PayOrder { payment_id, order, amount_cents, currency, may_wait };
        self.run(shard, Command::PayOrder(Box::new(pay)));
    }

    fn refund(&mut self) {
        if let Some((shard, order)) = self.any_order() {
            let (restock, request) = (self.dice.one_in(2), self.request());
            self.run(shard, Command::RefundOrder(RefundOrder { order, restock, request }));
        }
    }

    /// Pays one payment of a shard back, or one of the suspense account.
    fn pay_back(&mut self) {
        let shard = if self.dice.one_in(4) { Suspense::SHARD } else { self.any_shard() };
        let due = self.due(shard);
        if !due.is_empty() {
            let payment_id = due[self.dice.index(due.len())].clone();
            self.close_refund(shard, payment_id);
        }
    }

    /// The payments that a shard, or the suspense account, owes back.
    fn due(&self, shard: ShardId) -> Vec<Box<str>> {
        let all: Vec<_> = match self.sales.get(shard) {
            Some(sale) => sale.payments_from(1).collect(),
            None => self.sales.suspense().payments_from(1).collect(),
        };
        let due = all.into_iter().filter(|payment| payment.state == PaymentState::RefundDue);
        due.map(|payment| payment.payment_id).collect()
    }

    fn close_refund(&mut self, shard: ShardId, payment_id: Box<str>) {
        let close = CloseRefund { payment_id, request: self.request() };
        if shard != Suspense::SHARD {
            return self.run(shard, Command::CloseRefund(close));
        }
        let decision = self.sales.suspense().close_refund(&close).expect("it is owed back");
        decision.events.into_iter().for_each(|event| self.take(shard, event));
    }

    pub fn suspend(&mut self) {
        let suspend = Suspend {
            payment_id: self.payment_id(),
            named: format!("D{}", self.dice.below(1_000)).into(),
            amount_cents: Cents(self.dice.below(1_000)),
            currency: if self.dice.one_in(2) { "EUR".into() } else { "CNY".into() },
            why: if self.dice.one_in(2) { Why::UnknownOrder } else { Why::Late },
        };
        let decision = self.sales.suspense().suspend(&suspend).expect("it is new");
        decision.events.into_iter().for_each(|event| self.take(Suspense::SHARD, event));
    }

    /// Stock, payment window (so that deadlines come out of order), SKUs that come and go; the other parts follow.
    fn redefine(&mut self) {
        let (_, home, shards) = self.any_home();
        let mut definition = self.sales.get(home).expect("it is in memory").definition().clone();
        let request = self.request();
        if self.dice.one_in(3) {
            let (sku, add) = (sku_id(self.dice.below(3)), 1 + i64::from(self.dice.small(20)));
            return self.run(home, Command::AddStock(AddStock { sku, add, request }));
        }
        definition.payment_window_ms = 10 + self.dice.below(3_000);
        let more = sku_id(3 + self.dice.below(3));
        if self.dice.one_in(3) && definition.sku(&more).is_none() {
            let price_cents = Cents(self.dice.below(500));
            definition.skus.push(SkuDefinition { sku_id: more, title: String::new(), price_cents, stock: Qty(4) });
        }
        if shards == 1 {
            let place = self.dice.index(definition.skus.len());
            definition.skus[place].stock = Qty(self.dice.small(60));
        }
        let from = if self.dice.one_in(2) { Source::Put } else { Source::Catalog };
        self.run(home, Command::Redefine(Redefine { definition, from, seeds: Vec::new(), if_version: None, request }));
        self.follow(home, shards);
    }

    fn switch(&mut self) {
        let (_, home, shards) = self.any_home();
        let to = [Switch::Paused, Switch::Resumed, Switch::Resumed, Switch::Closed][self.dice.index(4)];
        let request = self.request();
        self.run(home, Command::SwitchSale(SwitchSale { to, request }));
        self.follow(home, shards);
    }

    fn follow(&mut self, home: ShardId, shards: u16) {
        let control = self.sales.get(home).expect("it is in memory").control();
        for part in 1..u32::from(shards) {
            self.run(ShardId(home.0 + part), Command::FollowHome(Box::new(control.clone())));
        }
    }

    fn move_slots(&mut self) {
        let (_, home, shards) = self.any_home();
        let (from, to) = (self.dice.small(u64::from(shards)), self.dice.small(u64::from(shards)));
        if from != to {
            let sku = SkuIndex(u16::try_from(self.dice.below(3)).expect("few"));
            let units = 1 + self.dice.small(9);
            let moved = MoveSlots { to: ShardId(home.0 + to), sku, units };
            self.run(ShardId(home.0 + from), Command::MoveSlots(moved));
        }
    }

    /// Closes an activity, lets its holds run out, and has it leave.
    fn retire(&mut self) {
        let (activity_id, home, shards) = self.any_home();
        if self.sales.standing().len() < 3 {
            return;
        }
        let request = self.request();
        self.run(home, Command::SwitchSale(SwitchSale { to: Switch::Closed, request }));
        self.follow(home, shards);
        self.now += 5_000;
        for part in 0..u32::from(shards) {
            self.run(ShardId(home.0 + part), Command::ExpireHolds);
        }
        for part in 0..u32::from(shards) {
            let shard = ShardId(home.0 + part);
            self.due(shard).into_iter().for_each(|payment_id| self.close_refund(shard, payment_id));
        }
        let is_open = |sale: &Sale| sale.next_deadline().is_some() || sale.owes();
        if !self.sales.parts(activity_id).any(is_open) {
            let orders = self.sales.parts(activity_id).map(|sale| u64::from(sale.orders_placed())).sum();
            self.run(home, Command::Retire { orders });
        }
    }
}

/// The fold of the first `count` entries.
pub fn fold(entries: &[Entry], count: usize) -> Sales {
    let mut sales = Sales::default();
    for (seq, entry) in (1..).zip(&entries[..count]) {
        sales.take(Seq(seq), entry).expect("what was decided applies");
    }
    sales
}

/// A journal of the entries, in records of a few, and the tails at which its records end.
pub fn journal_of(entries: &[Entry], dice: &mut Dice) -> (MemoryJournal, Vec<Tail>) {
    let mut journal = MemoryDisk::new().open().expect("a new journal");
    let tails = append_to(&mut journal, entries, dice);
    (journal, tails)
}

/// Appends the entries in records of a few; gives the tails at which these end.
pub fn append_to<J: Journal>(journal: &mut J, mut entries: &[Entry], dice: &mut Dice) -> Vec<Tail> {
    let mut tails = Vec::new();
    while !entries.is_empty() {
        let count = (1 + dice.index(12)).min(entries.len());
        let (first, rest) = entries.split_at(count);
        let mut record = RecordBuilder::default();
        assert_eq!(record.push(first).expect("test entries fit a record"), Pushed::Taken);
        let before = journal.tail();
        tails.push(journal.append(&before, &record.seal(&before)).expect("a sound disk"));
        entries = rest;
    }
    tails
}

/// How many events lie before a tail.
pub fn events(tail: Tail) -> usize {
    usize::try_from(tail.seq.0).expect("below a usize")
}

pub const PLENTY: Limits = Limits { memory_bytes: u64::MAX, share_percent: 100, min_free_bytes: 0 };
/// Not enough for anything: each activity has a pass of its own.
pub const LITTLE: Limits = Limits { memory_bytes: 0, share_percent: 100, min_free_bytes: 0 };

/// Makes the checkpoint at `to`.
pub fn make<R: Read>(store: &Store, journal: &R, to: Tail, limits: Limits) -> Result<Made, Error> {
    Making::new(store, journal, limits, &AtomicBool::new(false)).run(to)
}

/// The manifests in a data directory, the oldest first.
pub fn manifests(data_dir: &Path) -> Vec<PathBuf> {
    let is_manifest = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "manifest");
    sorted(&data_dir.join("checkpoints")).into_iter().filter(is_manifest).collect()
}

/// The pieces in a data directory.
pub fn piece_files(data_dir: &Path) -> Vec<PathBuf> {
    sorted(&data_dir.join("checkpoints/pieces"))
}

fn sorted(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(dir).expect("it is there").map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths
}

/// The pieces that a checkpoint names, as files.
pub fn named(data_dir: &Path, listed: &Listed) -> BTreeSet<PathBuf> {
    let manifest = listed.manifest.as_ref().expect("a sound manifest");
    let pieces = data_dir.join("checkpoints/pieces");
    manifest.pieces.iter().map(|piece| pieces.join(piece.hash.to_string())).collect()
}

/// Asserts that a start gives the fold of all the entries, by equality and by hash; gives how it came by it.
pub fn assert_recovers<R: Read>(store: &Store, journal: &R, entries: &[Entry]) -> Recovered {
    let whole = fold(entries, entries.len());
    let recovered = recover(store, journal).expect("a sound journal");
    assert!(recovered.sales == whole, "J6");
    assert_eq!(state_hash(&recovered.sales), state_hash(&whole), "J6");
    assert_eq!(events(recovered.tail), entries.len());
    recovered
}

/// A data directory as a server has it.
pub fn data_dir() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a temporary directory");
    fs::create_dir(dir.path().join("journal")).expect("a fresh directory");
    dir
}
