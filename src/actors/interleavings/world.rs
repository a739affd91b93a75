//! The shards of one activity, the letters between them, a journal in memory, and the clients.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use tokio::sync::oneshot;

use super::random::Random;
use crate::actors::ack::Ack;
use crate::actors::ask::{Answer, Operation, Question, Reason, Unavailable};
use crate::actors::door::Door;
use crate::actors::letter::Letter;
use crate::actors::roll_forward::behind;
use crate::actors::shard::Shard;
use crate::actors::turn::Turn;
use crate::domain::audit::{Auditor, Keep};
use crate::domain::command::{AddStock, CancelOrder, PlaceOrder, Redefine, Request, Source, SwitchSale};
use crate::domain::definition::{Definition, OnLatePayment, SkuDefinition};
use crate::domain::event::{ActivityDefined, Author, Change, Switch};
use crate::domain::found::found;
use crate::domain::{Entry, Event, OrderState, Part, Refusal, Sale, Sales};
use crate::ids::{ActivityId, Cents, KeyDigest, OrderId, Qty, Seq, ShardId, SkuId, SkuIndex, UnixMillis, UserId};
use crate::persist::Acknowledge;

const HOME: ShardId = ShardId(5);
const SKUS: [&str; 2] = ["a", "b"];
const WINDOW_MS: u64 = 40;

/// What happened in a run.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub accepted: u64,
    pub replays: u64,
    pub sold_out: u64,
    pub overloaded: u64,
    pub refused: u64,
    pub served_later: u64,
    pub moves: u64,
    pub changes: u64,
    pub reductions: u64,
    pub too_low: u64,
    pub crashes: u64,
    pub crashes_in_move: u64,
    pub crashes_in_change: u64,
}

impl Tally {
    pub fn add(&mut self, run: &Self) {
        self.accepted += run.accepted;
        self.replays += run.replays;
        self.sold_out += run.sold_out;
        self.overloaded += run.overloaded;
        self.refused += run.refused;
        self.served_later += run.served_later;
        self.moves += run.moves;
        self.changes += run.changes;
        self.reductions += run.reductions;
        self.too_low += run.too_low;
        self.crashes += run.crashes;
        self.crashes_in_move += run.crashes_in_move;
        self.crashes_in_change += run.crashes_in_change;
    }
}

/// A request that has no answer yet.
struct Asked {
    receiver: oneshot::Receiver<Answer>,
    what: What,
    /// The fewest units of its SKU that were free since it arrived.
    fewest_free: u32,
    /// Turns that were given since it was delivered.
    turns: usize,
}

enum What {
    Place {
        user: u64,
        sku: usize,
        quantity: u32,
        key: Option<u8>,
    },
    /// The highest stock that stood since it arrived tells how much it was to take.
    Lower {
        sku: usize,
        to: u32,
        from: u32,
    },
    Other,
}

/// What has not been delivered: to which part, what, and where the answer goes.
struct Undelivered {
    part: u16,
    question: Question,
    reply: oneshot::Sender<Answer>,
}

pub struct World {
    random: Random,
    shards: Vec<Shard>,
    door: Arc<Door>,
    parts: u16,
    at_ms: u64,
    letters: BTreeMap<(u16, u16), VecDeque<Letter>>,
    requests: Vec<Undelivered>,
    asked: Vec<Asked>,
    entries: Vec<Entry>,
    /// Entries that are on disk.
    durable: usize,
    acks: VecDeque<(usize, Ack)>,
    /// What was acknowledged: orders by id, and by user and key.
    kept: BTreeMap<OrderId, (u64, Vec<u32>)>,
    keys: BTreeMap<(u64, u8), OrderId>,
    cancelled: BTreeSet<OrderId>,
    change_id: u64,
    churn: bool,
    tally: Tally,
}

impl World {
    pub fn new(mut random: Random) -> Self {
        let parts = u16::try_from(1 + random.below(6)).expect("few");
        let stock = u32::try_from(random.below(14)).expect("few");
        let mut world = Self::fixed(random, parts, stock.max(1));
        world.churn = true;
        world
    }

    /// A world in which nothing happens that is not asked for.
    pub fn fixed(random: Random, parts: u16, stock: u32) -> Self {
        let first = ActivityDefined {
            activity_id: ActivityId(1),
            definition: definition(parts, [stock, 2]),
            from_catalog: false,
            change: Change { change_id: 1, by: Author::StartUp, key: None },
            part: None,
        };
        let entries = found(HOME, first, UnixMillis(1));
        let mut sales = Sales::default();
        let shards = {
            (1..).zip(&entries).for_each(|(seq, entry)| sales.take(Seq(seq), entry).expect("it is founded"));
            sales.into_activities().next().expect("one activity")
        };
        let (door, shards) = open(shards);
        let durable = entries.len();
        Self {
            random,
            shards,
            door,
            parts,
            at_ms: 1_000,
            letters: BTreeMap::new(),
            requests: Vec::new(),
            asked: Vec::new(),
            entries,
            durable,
            acks: VecDeque::new(),
            kept: BTreeMap::new(),
            keys: BTreeMap::new(),
            cancelled: BTreeSet::new(),
            change_id: 1,
            churn: false,
            tally: Tally::default(),
        }
    }

    pub fn tally(&self) -> Tally {
        self.tally.clone()
    }

    pub fn part_of(&self, user: u64) -> u16 {
        Part::sole(HOME).spread.part_of(UserId(user), self.parts)
    }

    /// One step, chosen by chance.
    pub fn step(&mut self) {
        match self.random.below(24) {
            0..=4 => {
                let (user, quantity) = (self.random.below(12), 1 + self.random.below(3));
                let sku = self.random.place(SKUS.len());
                let key = self.random.once_in(2).then(|| u8::try_from(self.random.below(3)).expect("small"));
                self.place_of(user, sku, u32::try_from(quantity).expect("small"), key);
            }
            5 => self.cancel_one(),
            6 => self.change(),
            7 => {
                self.at_ms += self.random.below(WINDOW_MS);
                self.see();
            }
            8..=9 => self.sync(),
            10 => {
                let part = u16::try_from(self.random.below(u64::from(self.parts))).expect("few");
                self.turn(part, |shard, turn| _ = shard.expire(turn));
            }
            11 if self.random.once_in(6) => self.crash(),
            _ => _ = self.deliver(),
        }
        self.check();
    }

    /// Lets everything come to rest, then looks closely.
    pub fn settle(&mut self) {
        while self.deliver() {
            self.check();
        }
        self.sync();
        self.check();
        assert!(self.asked.is_empty(), "{} requests were never answered", self.asked.len());
        self.compare(&fold(&self.entries));
        self.audit();
    }

    fn audit(&self) {
        let mut auditor = Auditor::new(Keep::Standing);
        (1..).zip(&self.entries).for_each(|(seq, entry)| auditor.observe(Seq(seq), entry));
        let report = auditor.finish();
        assert!(report.holds(), "{report:?}");
    }

    pub fn place(&mut self, user: u64, quantity: u32) {
        self.place_of(user, 0, quantity, None);
    }

    fn place_of(&mut self, user: u64, sku: usize, quantity: u32, key: Option<u8>) {
        let command = PlaceOrder {
            user: UserId(user),
            sku: sku_id(sku),
            quantity: i64::from(quantity),
            key: key.map(|key| KeyDigest([key; 16])),
            reference: None,
        };
        self.ask(self.part_of(user), Question::Place(command), What::Place { user, sku, quantity, key });
    }

    fn cancel_one(&mut self) {
        let live: Vec<(OrderId, u64)> = self
            .kept
            .iter()
            .filter(|(id, _)| !self.cancelled.contains(id))
            .map(|(id, (user, _))| (*id, *user))
            .collect();
        if live.is_empty() {
            return;
        }
        let (id, user) = live[self.random.place(live.len())];
        let part = Part::sole(HOME).number_of(id.shard().expect("ours"));
        let order = id.sequence().expect("ours");
        self.ask(part, Question::Cancel(CancelOrder { user: UserId(user), order, key: None }), What::Other);
    }

    fn change(&mut self) {
        self.change_id += 1;
        let request = Request { change_id: self.change_id, by: Author::Operator(UserId(9)), key: None };
        let sku = self.random.place(SKUS.len());
        let mut wanted = self.shards[0].sale().definition().clone();
        let (operation, what) = match self.random.below(8) {
            0 => (Operation::AddStock(AddStock { sku: sku_id(sku), add: 2, request }), What::Other),
            1 => (Operation::Switch(SwitchSale { to: Switch::Paused, request }), What::Other),
            2..=3 => (Operation::Switch(SwitchSale { to: Switch::Resumed, request }), What::Other),
            4 => {
                // Takes a SKU off, or brings it back.
                match wanted.skus.iter().position(|known| known.sku_id == sku_id(1)) {
                    Some(place) => drop(wanted.skus.remove(place)),
                    None => wanted.skus.push(sku_definition(1, 3)),
                }
                (redefine(wanted, request), What::Other)
            }
            _ => {
                let by = 1 + u32::try_from(self.random.below(4)).expect("small");
                let Some(known) = wanted.skus.iter_mut().find(|known| known.sku_id == sku_id(sku)) else { return };
                if known.stock.0 < by {
                    return;
                }
                let from = known.stock.0;
                known.stock.0 -= by;
                (redefine(wanted, request), What::Lower { sku, to: from - by, from })
            }
        };
        self.ask(0, Question::Change(operation), what);
    }

    fn ask(&mut self, part: u16, question: Question, what: What) {
        let (reply, receiver) = oneshot::channel();
        self.requests.push(Undelivered { part, question, reply });
        let fewest_free = self.free_now(&what);
        self.asked.push(Asked { receiver, what, fewest_free, turns: 0 });
    }

    /// Delivers one request or letter, if there is any; `false` where there is none.
    fn deliver(&mut self) -> bool {
        let ways: Vec<(u16, u16)> =
            self.letters.iter().filter(|(_, box_)| !box_.is_empty()).map(|(way, _)| *way).collect();
        let choices = ways.len() + self.requests.len();
        if choices == 0 {
            return false;
        }
        let choice = self.random.place(choices);
        if let Some(way) = ways.get(choice) {
            let letter = self.letters.get_mut(way).and_then(VecDeque::pop_front).expect("it was just looked at");
            self.turn(way.1, |shard, turn| shard.read(letter, turn));
        } else {
            let Undelivered { part, question, reply } = self.requests.swap_remove(choice - ways.len());
            self.turn(part, |shard, turn| shard.ask(question, reply, turn));
        }
        true
    }

    /// Gives a part a turn, as its host does.
    fn turn(&mut self, part: u16, act: impl FnOnce(&mut Shard, &mut Turn)) {
        let idle = self.acks.is_empty() && self.durable == self.entries.len();
        let mut turn = Turn::at(UnixMillis(self.at_ms), idle, None);
        let shard = &mut self.shards[usize::from(part)];
        act(shard, &mut turn);
        shard.show_deadline();
        for submission in turn.submissions {
            for entry in submission.entries {
                self.tally.moves += u64::from(matches!(entry.event, Event::SlotsMoved(_)));
                self.entries.push(entry);
            }
            self.acks.push_back((self.entries.len(), submission.ack));
        }
        for (to, letter) in turn.letters {
            self.letters.entry((part, to)).or_default().push_back(letter);
        }
        self.asked.iter_mut().for_each(|asked| asked.turns += 1);
        self.see();
    }

    /// Everything that was submitted becomes durable, and is told.
    fn sync(&mut self) {
        self.durable = self.entries.len();
        self.acks.drain(..).for_each(|(_, ack)| ack.durable());
        self.see();
    }

    /// The process dies; some of what was not acknowledged may be on the disk, in order.
    fn crash(&mut self) {
        if !self.churn {
            return;
        }
        let lost = self.entries.len() - self.durable;
        let kept = self.durable + self.random.place(lost + 1);
        let in_move = |letter: &Letter| matches!(letter, Letter::Collected { .. } | Letter::Grant { .. });
        let in_change = |letter: &Letter| matches!(letter, Letter::Follow { .. });
        let unread: Vec<&Letter> = self.letters.values().flatten().collect();
        self.tally.crashes += 1;
        self.tally.crashes_in_move += u64::from(unread.iter().any(|letter| in_move(letter)));
        self.tally.crashes_in_change += u64::from(unread.iter().any(|letter| in_change(letter)));
        self.entries.truncate(kept);
        self.letters.clear();
        self.requests.clear();
        self.asked.clear();
        self.acks.clear();

        let mut sales = fold(&self.entries);
        let more = behind(&sales, UnixMillis(self.at_ms).max(sales.last_at_ms()));
        for entry in more {
            sales.take(Seq(1), &entry).expect("what rolls forward follows");
            self.entries.push(entry);
        }
        self.durable = self.entries.len();
        self.compare_acknowledged(&sales);
        let (door, shards) = open(sales.into_activities().next().expect("one activity"));
        (self.door, self.shards) = (door, shards);
        for part in 0..self.parts {
            self.turn(part, |shard, turn| while shard.expire(turn) {});
        }
    }

    /// Notes how few units were free, for every request that waits, then takes in the answers that have come.
    fn see(&mut self) {
        let free: Vec<u32> = (0..SKUS.len()).map(|sku| self.free(sku)).collect();
        let stocks: Vec<u32> = (0..SKUS.len()).map(|sku| self.stock(sku)).collect();
        for asked in &mut self.asked {
            if let What::Lower { sku, from, .. } = &mut asked.what {
                *from = stocks[*sku].max(*from);
            }
            if let What::Place { sku, .. } | What::Lower { sku, .. } = asked.what {
                asked.fewest_free = asked.fewest_free.min(free[sku]);
            }
        }
        let mut asked = std::mem::take(&mut self.asked);
        asked.retain_mut(|asked| match asked.receiver.try_recv() {
            Ok(answer) => {
                self.judge(asked, answer);
                false
            }
            Err(oneshot::error::TryRecvError::Empty) => true,
            Err(oneshot::error::TryRecvError::Closed) => panic!("a request was dropped without an answer"),
        });
        self.asked = asked;
    }

    fn judge(&mut self, asked: &Asked, answer: Answer) {
        match (&asked.what, answer) {
            (What::Place { user, key, .. }, Answer::Order { order, replayed }) => {
                let slots: Vec<u32> = order.slots.iter().collect();
                self.tally.accepted += u64::from(!replayed);
                self.tally.replays += u64::from(replayed);
                self.tally.served_later += u64::from(!replayed && asked.turns > 1);
                assert_eq!(order.user, UserId(*user));
                if let Some(key) = key {
                    let first = *self.keys.entry((*user, *key)).or_insert(order.order_id);
                    assert_eq!(first, order.order_id, "U3: one key, one order");
                }
                let known = self.kept.entry(order.order_id).or_insert_with(|| (*user, slots.clone()));
                assert_eq!(*known, (*user, slots), "an order stays what it was");
            }
            (What::Place { sku, quantity, .. }, Answer::Refused(refused)) => match refused.reason {
                Reason::Rule(Refusal::SoldOut) => {
                    self.tally.sold_out += 1;
                    assert!(
                        asked.fewest_free < *quantity,
                        "S6: {quantity} of {} were refused, and never fewer than {} were free",
                        SKUS[*sku],
                        asked.fewest_free
                    );
                }
                Reason::Unavailable(Unavailable::Overloaded) => self.tally.overloaded += 1,
                Reason::Rule(_) => self.tally.refused += 1,
                other => panic!("{other:?}"),
            },
            (What::Lower { sku, to, from }, Answer::Refused(refused)) => match refused.reason {
                Reason::Rule(Refusal::StockTooLow { sku: low, largest_reduction }) if low == sku_id(*sku) => {
                    self.tally.too_low += 1;
                    let by = &(*from - *to);
                    assert!(largest_reduction < *by);
                    assert!(
                        asked.fewest_free < *by,
                        "{by} of {} could have been taken: never fewer than {} were free",
                        SKUS[*sku],
                        asked.fewest_free
                    );
                }
                Reason::Rule(_) => {}
                other => panic!("{other:?}"),
            },
            (What::Lower { .. }, Answer::Changed(_)) => self.tally.reductions += 1,
            (_, Answer::Changed(_)) => self.tally.changes += 1,
            (_, Answer::Order { order, .. }) => {
                assert_eq!(order.state, OrderState::Cancelled);
                self.cancelled.insert(order.order_id);
            }
            (_, Answer::Refused(_)) => {}
            (_, other) => panic!("{other:?}"),
        }
    }

    fn stock(&self, sku: usize) -> u32 {
        self.shards[0].sale().definition().sku(&sku_id(sku)).map_or(0, |known| known.stock.0)
    }

    fn free_now(&self, what: &What) -> u32 {
        match what {
            What::Place { sku, .. } | What::Lower { sku, .. } => self.free(*sku),
            What::Other => 0,
        }
    }

    /// The units of a SKU that are free at this instant: at the parts, on their way, and lapsed but not released.
    fn free(&self, sku: usize) -> u32 {
        let here = |sale: &Sale| {
            let index = index_of(sale, sku);
            let lapsed = sale.orders_from(1).filter(|order| {
                order.state == OrderState::Held && order.expires_at_ms.0 <= self.at_ms && order.sku_id == sku_id(sku)
            });
            index.map_or(0, |index| sale.free_units(index)) + lapsed.map(|order| order.quantity.0).sum::<u32>()
        };
        let parts: u32 = self.shards.iter().map(|shard| here(shard.sale())).sum();
        parts + self.on_their_way(sku).len() as u32
    }

    /// The slots of a SKU that are in letters.
    fn on_their_way(&self, sku: usize) -> Vec<u32> {
        let index = index_of(self.shards[0].sale(), sku);
        let slots = self.letters.values().flatten().filter_map(|letter| match letter {
            Letter::Collected { sku, slots, .. } | Letter::Grant { sku, slots } => Some((*sku, slots)),
            _ => None,
        });
        slots.filter(|(sku, _)| Some(*sku) == index).flat_map(|(_, slots)| slots.iter().collect::<Vec<_>>()).collect()
    }

    /// Every slot is in one place, there are as many as the definition says, the door counts right, and no user has more
    /// than the limit.
    fn check(&self) {
        let home = self.shards[0].sale();
        for (sku, name) in SKUS.iter().enumerate() {
            let Some(index) = index_of(home, sku) else { continue };
            let mut seen = BTreeSet::new();
            let mut free = self.on_their_way(sku);
            for shard in &self.shards {
                let Some(index) = index_of(shard.sale(), sku) else { continue };
                free.extend(shard.sale().free_slots(index).flat_map(|range| range.first..=range.last()));
            }
            let counted = u32::try_from(free.len()).expect("few");
            let held = self.shards.iter().flat_map(|shard| {
                let held = shard.sale().orders_from(1);
                let held = held.filter(|order| order.state == OrderState::Held && order.sku_id.as_str() == *name);
                held.flat_map(|order| order.slots.iter().collect::<Vec<_>>()).collect::<Vec<_>>()
            });
            let all = free.into_iter().chain(held).inspect(|slot| assert!(seen.insert(*slot), "S2: slot {slot} twice"));
            assert_eq!(all.count(), self.stock(sku) as usize, "S1: SKU {name}");
            assert_eq!(self.shards[0].counted(index), counted, "the door's count of {name} is what is free");
        }
        let limit = home.definition().per_user_limit.0;
        for shard in &self.shards {
            for order in shard.sale().orders_from(1) {
                let units: u32 =
                    shard.sale().orders_of(order.user).filter(|o| o.state.is_live()).map(|o| o.quantity.0).sum();
                assert!(units <= limit, "U1");
            }
        }
    }

    /// The journal gives what lives.
    fn compare(&self, sales: &Sales) {
        for shard in &self.shards {
            assert!(sales.get(shard.id()) == Some(shard.sale()), "shard {} replays otherwise", shard.id());
        }
        self.compare_acknowledged(sales);
    }

    /// What was acknowledged is there.
    fn compare_acknowledged(&self, sales: &Sales) {
        for (id, (user, slots)) in &self.kept {
            let sale = id.shard().and_then(|shard| sales.get(shard)).expect("its shard is there");
            let order = id.sequence().and_then(|number| sale.order(number)).expect("an acknowledged order is there");
            assert_eq!((order.user.0, order.slots.iter().collect::<Vec<_>>()), (*user, slots.clone()));
            if self.cancelled.contains(id) {
                assert_eq!(order.state, OrderState::Cancelled);
            }
        }
    }
}

fn open(sales: Vec<Sale>) -> (Arc<Door>, Vec<Shard>) {
    let door = Arc::new(Door::new(&sales[0]));
    let shards: Vec<Shard> = sales.into_iter().map(|sale| Shard::new(sale, Arc::clone(&door))).collect();
    shards.iter().for_each(Shard::show_deadline);
    (door, shards)
}

fn fold(entries: &[Entry]) -> Sales {
    let mut sales = Sales::default();
    (1..).zip(entries).for_each(|(seq, entry)| sales.take(Seq(seq), entry).expect("the journal folds"));
    sales
}

fn sku_id(sku: usize) -> SkuId {
    SKUS[sku].parse().expect("a SKU id")
}

fn index_of(sale: &Sale, sku: usize) -> Option<SkuIndex> {
    sale.sku_ids().find(|(_, known, _)| known.as_str() == SKUS[sku]).map(|(index, _, _)| index)
}

fn sku_definition(sku: usize, stock: u32) -> SkuDefinition {
    SkuDefinition { sku_id: sku_id(sku), title: String::new(), price_cents: Cents(1), stock: Qty(stock) }
}

fn definition(shards: u16, stocks: [u32; 2]) -> Definition {
    Definition {
        title: String::new(),
        currency: "CNY".to_owned(),
        starts_at_ms: UnixMillis(1),
        ends_at_ms: UnixMillis(1 << 40),
        shards,
        per_user_limit: Qty(3),
        payment_window_ms: WINDOW_MS,
        on_late_payment: OnLatePayment::Refund,
        shared_sku: false,
        skus: stocks.into_iter().enumerate().map(|(sku, stock)| sku_definition(sku, stock)).collect(),
    }
}

fn redefine(definition: Definition, request: Request) -> Operation {
    let redefine = Redefine { definition, from: Source::Put, if_version: None, request };
    Operation::Redefine { redefine: Box::new(redefine), dry_run: false }
}
