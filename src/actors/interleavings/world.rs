//! The shards of one activity, the letters between them, a journal in memory, and the clients.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use tokio::sync::oneshot;

use super::judge::audit;
use super::payments::Paid;
use super::random::Random;
use super::stage::{HOME, SKUS, WINDOW_MS, definition, fold, open, redefine, sku_definition, sku_id};
use super::tally::Tally;
use crate::actors::ack::Ack;
use crate::actors::ask::{Answer, Operation, Question, Unavailable};
use crate::actors::door::Door;
use crate::actors::letter::Letter;
use crate::actors::roll_forward::behind;
use crate::actors::shard::Shard;
use crate::actors::turn::Turn;
use crate::domain::command::{AddStock, CancelOrder, PlaceOrder, Request, SwitchSale};
use crate::domain::event::{ActivityDefined, Author, Change, Switch};
use crate::domain::found::found;
use crate::domain::{Entry, Event, Part, Sale, Sales};
use crate::ids::{ActivityId, KeyDigest, OrderId, Seq, UnixMillis, UserId};
use crate::persist::Acknowledge;

/// A request that has no answer yet.
pub struct Asked {
    pub receiver: oneshot::Receiver<Answer>,
    pub what: What,
    /// The fewest units of its SKU that were free since it arrived.
    pub fewest_free: u32,
    /// Turns that were given since it was delivered.
    pub turns: usize,
}

pub enum What {
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
    Pay {
        payment: u64,
        order_id: OrderId,
        sku: usize,
        quantity: u32,
        /// Since it arrived there was an instant at which it was too late, whatever was free.
        may_be_late: bool,
    },
    Refund,
    Done {
        payment: u64,
    },
    Other,
}

/// What has not been delivered: to which part, what, and where the answer goes.
pub struct Undelivered {
    pub part: u16,
    pub question: Question,
    pub reply: oneshot::Sender<Answer>,
}

pub struct World {
    pub random: Random,
    pub shards: Vec<Shard>,
    pub door: Arc<Door>,
    pub parts: u16,
    pub at_ms: u64,
    pub letters: BTreeMap<(u16, u16), VecDeque<Letter>>,
    pub requests: Vec<Undelivered>,
    pub asked: Vec<Asked>,
    pub entries: Vec<Entry>,
    /// Entries that are on disk.
    pub durable: usize,
    pub acks: VecDeque<(usize, Ack)>,
    /// What was acknowledged: orders by id, and by user and key.
    pub kept: BTreeMap<OrderId, (u64, Vec<u32>)>,
    pub keys: BTreeMap<(u64, u8), OrderId>,
    pub cancelled: BTreeSet<OrderId>,
    pub paid: Paid,
    /// The payment ids that were ever used are below.
    pub payments: u64,
    pub change_id: u64,
    pub churn: bool,
    /// Why new orders must wait, where they must.
    pub unavailable: Option<Unavailable>,
    pub tally: Tally,
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
        (1..).zip(&entries).for_each(|(seq, entry)| sales.take(Seq(seq), entry).expect("it is founded"));
        let (door, shards) = open(sales);
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
            paid: Paid::new(),
            payments: 0,
            change_id: 1,
            churn: false,
            unavailable: None,
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
        match self.random.below(27) {
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
            12..=13 => self.pay_one(),
            14 => self.refund_one(),
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
        audit(&self.entries);
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

    pub fn ask(&mut self, part: u16, question: Question, what: What) {
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
    pub fn turn(&mut self, part: u16, act: impl FnOnce(&mut Shard, &mut Turn)) {
        let idle = self.acks.is_empty() && self.durable == self.entries.len();
        let mut turn = Turn::at(UnixMillis(self.at_ms), idle, self.unavailable);
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
        let in_line = |sale: &Sale| (sale.version(), sale.is_paused(), sale.is_closed());
        let home = in_line(sales.get(HOME).expect("the home is there"));
        assert!(sales.iter().all(|sale| in_line(sale) == home), "U4: a start brings all parts in line");
        assert_eq!(sales.iter().count(), usize::from(self.parts));
        self.durable = self.entries.len();
        self.compare_acknowledged(&sales);
        let (door, shards) = open(sales);
        (self.door, self.shards) = (door, shards);
        for part in 0..self.parts {
            self.turn(part, |shard, turn| while shard.expire(turn) {});
        }
    }
}
