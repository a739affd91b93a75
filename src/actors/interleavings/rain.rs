//! The same for red packets: grabs, rounds' ends, changes of later rounds, letters, syncs and crashes interleave, and after
//! each step every packet is in one place and every cent is accounted for (M1).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use tokio::sync::oneshot;

use super::from_env;
use super::judge::audit;
use super::random::Random;
use super::stage::{HOME, fold, open};
use super::world::Undelivered;
use crate::actors::ack::Ack;
use crate::actors::ask::{Answer, GrabView, Operation, Question, Reason};
use crate::actors::door::Door;
use crate::actors::letter::Letter;
use crate::actors::roll_forward::behind;
use crate::actors::shard::Shard;
use crate::actors::turn::Turn;
use crate::domain::command::{Grab, Redefine, Request, Source, SwitchSale};
use crate::domain::definition::{Packets, RoundDefinition};
use crate::domain::event::{ActivityDefined, Author, Change, Switch};
use crate::domain::found::found;
use crate::domain::split::{Seed, Split};
use crate::domain::{Definition, Entry, Event, Part, Refusal, Sales};
use crate::ids::{ActivityId, KeyDigest, OrderId, Qty, Seq, SkuIndex, UnixMillis, UserId};
use crate::persist::Acknowledge;

const COUNT: u64 = 600;
const STEPS: usize = 200;
/// The rounds' windows; between the first two nobody grabs. The last ones come and go.
const WINDOWS_MS: [(u64, u64); 4] = [(10, 60), (80, 140), (140, 200), (200, 220)];
const MAX_CENTS: u64 = 9;

/// Who waits for a packet of a round that ends meanwhile gets one of the next, which lies elsewhere.
#[test]
fn a_grab_that_waits_is_taken_to_the_next_round() {
    let mut random = Random::from(7);
    let rounds = [(10, 50), (50, 90)].map(|(starts_at_ms, ends_at_ms)| RoundDefinition {
        packets: 1,
        total_cents: 5,
        ..round(&mut random, starts_at_ms, ends_at_ms)
    });
    let mut world = World::of(random, rain_of(rounds.to_vec(), 2));
    let user = (0..).find(|user| Part::sole(HOME).spread.part_of(UserId(*user), 2) == 1).expect("one of part 1");
    world.at_ms = 20;
    world.grab(user, None);
    assert!(world.deliver(), "part 1 has none and asks the home");
    world.at_ms = 60;
    while world.deliver() {
        world.check();
    }
    world.sync();
    let grabs: Vec<_> = world.kept.values().map(|grab| grab.round).collect();
    assert_eq!((grabs, world.tally.sold_out, world.tally.refunded), (vec![1], 0, 1));
}

/// What happened: what did not was not tested.
#[derive(Debug, Default)]
struct Tally {
    granted: u64,
    served_later: u64,
    replays: u64,
    sold_out: u64,
    moves: u64,
    crashes: u64,
    crashes_in_move: u64,
    crashes_with_a_round_to_end: u64,
    refunded: u64,
    rounds_changed: u64,
    closed: u64,
}

struct Asked {
    receiver: oneshot::Receiver<Answer>,
    user: u64,
    key: Option<u8>,
    /// The fewest packets of the round that ran that were free since it was asked.
    fewest_free: u32,
    turns: usize,
}

struct World {
    random: Random,
    shards: Vec<Shard>,
    door: Arc<Door>,
    parts: u16,
    at_ms: u64,
    letters: BTreeMap<(u16, u16), VecDeque<Letter>>,
    requests: Vec<Undelivered>,
    asked: Vec<Asked>,
    entries: Vec<Entry>,
    durable: usize,
    acks: VecDeque<(usize, Ack)>,
    kept: BTreeMap<OrderId, GrabView>,
    keys: BTreeMap<(u64, u8), OrderId>,
    changes: u64,
    tally: Tally,
}

#[test]
fn no_interleaving_of_a_rain_loses_a_packet_or_a_cent() {
    let (first, count) = (from_env("SEED", 1), from_env("COUNT", COUNT));
    let mut all = Tally::default();
    for seed in first..first + count {
        let told = std::panic::catch_unwind(|| {
            let mut world = World::new(Random::from(seed));
            (0..STEPS).for_each(|_| world.step());
            world.settle();
            world.tally
        });
        match told {
            Ok(run) => all.add(&run),
            Err(panic) => {
                eprintln!("replay: SEED={seed} COUNT=1 cargo test --lib rain");
                std::panic::resume_unwind(panic);
            }
        }
    }
    println!("{count} rains from seed {first}: {all:?}");
    for (what, happened) in all.parts() {
        assert!(happened >= count / 20, "only {happened} {what} in {count} interleavings");
    }
}

impl Tally {
    fn parts(&self) -> [(&'static str, u64); 11] {
        [
            ("grabs", self.granted),
            ("parked grabs that were served", self.served_later),
            ("replays", self.replays),
            ("sold out", self.sold_out),
            ("moves", self.moves),
            ("crashes", self.crashes),
            ("crashes between the two ends of a move", self.crashes_in_move),
            ("crashes with a round to end", self.crashes_with_a_round_to_end),
            ("packets refunded", self.refunded),
            ("changes of a later round", self.rounds_changed),
            ("rains that were closed", self.closed),
        ]
    }

    fn add(&mut self, run: &Self) {
        self.granted += run.granted;
        self.served_later += run.served_later;
        self.replays += run.replays;
        self.sold_out += run.sold_out;
        self.moves += run.moves;
        self.crashes += run.crashes;
        self.crashes_in_move += run.crashes_in_move;
        self.crashes_with_a_round_to_end += run.crashes_with_a_round_to_end;
        self.refunded += run.refunded;
        self.rounds_changed += run.rounds_changed;
        self.closed += run.closed;
    }
}

fn rain(random: &mut Random, shards: u16) -> Definition {
    let windows = WINDOWS_MS.into_iter().take(3);
    rain_of(windows.map(|(starts_at_ms, ends_at_ms)| round(random, starts_at_ms, ends_at_ms)).collect(), shards)
}

fn rain_of(rounds: Vec<RoundDefinition>, shards: u16) -> Definition {
    let packets = Packets { split: Split::Random, min_cents: 1, max_cents: MAX_CENTS, rounds, shop: None };
    Definition::of_packets(String::new(), "CNY".to_owned(), shards, Qty(2), packets)
}

fn round(random: &mut Random, starts_at_ms: u64, ends_at_ms: u64) -> RoundDefinition {
    let packets = 1 + random.below(14);
    let total_cents = packets + random.below(packets * (MAX_CENTS - 1) + 1);
    let (starts_at_ms, ends_at_ms) = (UnixMillis(starts_at_ms), UnixMillis(ends_at_ms));
    let packets = u32::try_from(packets).expect("few");
    RoundDefinition { starts_at_ms, ends_at_ms, total_cents, packets, plan: None }
}

fn seeds(random: &mut Random) -> Vec<Seed> {
    let byte = |random: &mut Random| u8::try_from(random.below(256)).expect("a byte");
    WINDOWS_MS.map(|_| Seed([byte(random); 32])).to_vec()
}

impl World {
    fn new(mut random: Random) -> Self {
        let parts = u16::try_from(1 + random.below(5)).expect("few");
        let definition = rain(&mut random, parts);
        Self::of(random, definition)
    }

    fn of(mut random: Random, definition: Definition) -> Self {
        let parts = definition.shards;
        let definition = definition.planned(None, &seeds(&mut random), |_| 0);
        let change = Change { change_id: 1, by: Author::StartUp, key: None };
        let first = ActivityDefined { activity_id: ActivityId(1), definition, from_catalog: false, change, part: None };
        let entries = found(HOME, first, UnixMillis(1));
        let (door, shards) = open(fold(&entries));
        let durable = entries.len();
        Self {
            random,
            shards,
            door,
            parts,
            at_ms: 5,
            letters: BTreeMap::new(),
            requests: Vec::new(),
            asked: Vec::new(),
            entries,
            durable,
            acks: VecDeque::new(),
            kept: BTreeMap::new(),
            keys: BTreeMap::new(),
            changes: 1,
            tally: Tally::default(),
        }
    }

    fn step(&mut self) {
        match self.random.below(24) {
            0..=4 => self.grab_one(),
            5 => {
                self.at_ms += self.random.below(16);
                self.see();
            }
            6..=7 => self.sync(),
            8 => {
                let part = u16::try_from(self.random.below(u64::from(self.parts))).expect("few");
                self.turn(part, Shard::wake);
            }
            9 if self.random.once_in(5) => self.crash(),
            10 if self.random.once_in(3) => self.change(),
            _ => _ = self.deliver(),
        }
        self.check();
    }

    fn grab_one(&mut self) {
        let user = self.random.below(14);
        let key = self.random.once_in(2).then(|| u8::try_from(self.random.below(3)).expect("small"));
        self.grab(user, key);
    }

    fn grab(&mut self, user: u64, key: Option<u8>) {
        let command = Grab { user: UserId(user), key: key.map(|key| KeyDigest([key; 16])) };
        let (reply, receiver) = oneshot::channel();
        let part = Part::sole(HOME).spread.part_of(UserId(user), self.parts);
        self.requests.push(Undelivered { part, question: Question::Grab(command), reply });
        self.asked.push(Asked { receiver, user, key, fewest_free: self.free_now(), turns: 0 });
    }

    fn change(&mut self) {
        self.changes += 1;
        let request = Request { change_id: self.changes, by: Author::Operator(UserId(9)), key: None };
        let switch = |to| Operation::Switch(SwitchSale { to, request: request.clone() });
        let operation = match self.random.below(12) {
            0 => switch(Switch::Closed),
            1 => switch(Switch::Paused),
            2..=4 => switch(Switch::Resumed),
            _ => {
                let mut definition = self.shards[0].sale().definition().clone();
                let mut packets = definition.packets.take().expect("it is a rain");
                let count = packets.rounds.len();
                // A round is another, the last one goes, or one more comes.
                let number = 1 + self.random.place(count);
                if number < count && count > 2 && self.random.once_in(4) {
                    packets.rounds.truncate(count - 1);
                } else if let Some((starts_at_ms, ends_at_ms)) = WINDOWS_MS.get(number).copied() {
                    let round = round(&mut self.random, starts_at_ms, ends_at_ms);
                    match packets.rounds.get_mut(number) {
                        Some(known) => *known = round,
                        None => packets.rounds.push(round),
                    }
                }
                let Definition { title, currency, shards, per_user_limit, .. } = definition;
                let definition = Definition::of_packets(title, currency, shards, per_user_limit, *packets);
                let seeds = seeds(&mut self.random);
                let redefine = Redefine { definition, from: Source::Put, seeds, if_version: None, request };
                Operation::Redefine { redefine: Box::new(redefine), dry_run: false }
            }
        };
        // Nobody listens to the answer; what it did is seen.
        let (reply, _) = oneshot::channel();
        self.requests.push(Undelivered { part: 0, question: Question::Change(operation), reply });
    }

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

    fn turn(&mut self, part: u16, act: impl FnOnce(&mut Shard, &mut Turn)) {
        let idle = self.acks.is_empty() && self.durable == self.entries.len();
        let mut turn = Turn::at(UnixMillis(self.at_ms), idle, None);
        let shard = &mut self.shards[usize::from(part)];
        act(shard, &mut turn);
        shard.show_deadline();
        for submission in turn.submissions {
            for entry in submission.entries {
                match &entry.event {
                    Event::SlotsMoved(_) => self.tally.moves += 1,
                    Event::RoundEnded(event) => self.tally.refunded += u64::from(event.slots.count()),
                    Event::ActivityRedefined(_) => self.tally.rounds_changed += 1,
                    Event::SaleSwitched(event) if event.to == Switch::Closed => self.tally.closed += 1,
                    _ => {}
                }
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

    fn sync(&mut self) {
        self.durable = self.entries.len();
        self.acks.drain(..).for_each(|(_, ack)| ack.durable());
        self.see();
    }

    fn crash(&mut self) {
        let kept = self.durable + self.random.place(self.entries.len() - self.durable + 1);
        let in_move = |letter: &Letter| matches!(letter, Letter::Collected { .. } | Letter::Grant { .. });
        self.tally.crashes += 1;
        self.tally.crashes_in_move += u64::from(self.letters.values().flatten().any(in_move));
        let due = |(_, ends_at_ms): (SkuIndex, UnixMillis)| ends_at_ms.0 <= self.at_ms;
        self.tally.crashes_with_a_round_to_end += u64::from(self.shards[0].sale().round_to_end().is_some_and(due));
        self.entries.truncate(kept);
        self.letters.clear();
        self.requests.clear();
        self.asked.clear();
        self.acks.clear();
        let mut sales = fold(&self.entries);
        for entry in behind(&sales, UnixMillis(self.at_ms).max(sales.last_at_ms())) {
            sales.take(Seq(1), &entry).expect("what rolls forward follows");
            self.entries.push(entry);
        }
        self.durable = self.entries.len();
        self.compare_acknowledged(&sales);
        (self.door, self.shards) = open(sales);
        // As the house does: the home comes last.
        for part in (0..self.parts).rev() {
            self.turn(part, |shard, turn| shard.end_due_round(turn));
        }
    }

    /// Lets the rain come to its end, and everything to rest.
    fn settle(&mut self) {
        while self.deliver() {
            self.check();
        }
        self.at_ms = self.at_ms.max(WINDOWS_MS[3].1);
        (0..self.parts).for_each(|part| self.turn(part, Shard::wake));
        while self.deliver() {
            self.check();
        }
        self.sync();
        self.check();
        assert!(self.asked.is_empty(), "{} grabs were never answered", self.asked.len());
        let home = self.shards[0].sale();
        assert!(home.round_to_end().is_none() && home.rounds().iter().all(|round| round.is_over), "all have ended");
        for shard in &self.shards {
            assert!(shard.sale().is_settled(UnixMillis(self.at_ms), 0));
            assert!(shard.next_wake().is_none(), "nothing is left to wake for");
        }
        for round in 0..WINDOWS_MS.len() {
            assert_eq!(self.free(round).len(), 0, "M1: what nobody grabbed is refunded");
        }
        let sales = fold(&self.entries);
        for shard in &self.shards {
            assert!(sales.get(shard.id()) == Some(shard.sale()), "shard {} replays otherwise", shard.id());
        }
        self.compare_acknowledged(&sales);
        audit(&self.entries);
    }

    /// The slots of a round that nobody has grabbed: at the parts, and on their way.
    fn free(&self, round: usize) -> Vec<u32> {
        let index = SkuIndex(u16::try_from(round).expect("few"));
        let here = self.shards.iter().flat_map(|shard| shard.sale().free_slots(index));
        let mut free: Vec<u32> = here.flat_map(|range| range.first..=range.last()).collect();
        for letter in self.letters.values().flatten() {
            if let Letter::Collected { sku, slots, .. } | Letter::Grant { sku, slots } = letter
                && *sku == index
            {
                free.extend(slots.iter());
            }
        }
        free
    }

    /// The free packets of the round that runs; none where none does.
    fn free_now(&self) -> u32 {
        let round = self.shards[0].sale().definition().round_at(UnixMillis(self.at_ms));
        round.map_or(0, |round| u32::try_from(self.free(round).len()).expect("few"))
    }

    fn see(&mut self) {
        let free = self.free_now();
        let mut asked = std::mem::take(&mut self.asked);
        asked.retain_mut(|asked| {
            asked.fewest_free = asked.fewest_free.min(free);
            match asked.receiver.try_recv() {
                Ok(answer) => self.judge(asked, answer),
                Err(oneshot::error::TryRecvError::Empty) => return true,
                Err(oneshot::error::TryRecvError::Closed) => panic!("a grab was dropped without an answer"),
            }
            false
        });
        self.asked = asked;
    }

    fn judge(&mut self, asked: &Asked, answer: Answer) {
        match answer {
            Answer::Grab { grab, replayed } => {
                self.tally.granted += u64::from(!replayed);
                self.tally.replays += u64::from(replayed);
                self.tally.served_later += u64::from(!replayed && asked.turns > 1);
                if let Some(key) = asked.key {
                    let first = *self.keys.entry((asked.user, key)).or_insert(grab.grab_id);
                    assert_eq!(first, grab.grab_id, "U3: one key, one packet");
                }
                let known = self.kept.entry(grab.grab_id).or_insert_with(|| grab.clone());
                assert_eq!(*known, grab, "a grab stays what it was");
            }
            Answer::Refused(refused) => match refused.reason {
                Reason::Rule(Refusal::SoldOut) => {
                    self.tally.sold_out += 1;
                    assert_eq!(asked.fewest_free, 0, "S6: refused, and a packet was free all the time");
                }
                Reason::Rule(_) => {}
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    /// Every packet is in one place, every cent is granted, free or refunded, and nobody has more than the limit.
    fn check(&self) {
        let home = self.shards[0].sale();
        for (number, round) in home.rounds().iter().enumerate() {
            let plan = &round.plan;
            let free = self.free(number);
            let index = SkuIndex(u16::try_from(number).expect("few"));
            assert_eq!(self.shards[0].counted(index) as usize, free.len(), "the door's count is what is free");
            let name = Definition::sku_of_round(number);
            let mut users: BTreeMap<u64, u32> = BTreeMap::new();
            let (mut seen, mut cents) = (BTreeSet::new(), round.refunded_cents);
            for slot in &free {
                assert!(seen.insert(*slot), "S2: slot {slot} twice");
                cents += plan.cents(*slot);
            }
            for grab in self.shards.iter().flat_map(|shard| shard.sale().orders_from(1).collect::<Vec<_>>()) {
                if grab.sku_id != name {
                    continue;
                }
                let slot = grab.slots.iter().next().expect("a grab has a slot");
                assert!(seen.insert(slot), "S2: slot {slot} twice");
                assert_eq!(plan.cents(slot), grab.amount_cents.0, "M4");
                cents += grab.amount_cents.0;
                *users.entry(grab.user.0).or_default() += 1;
                let running = home.definition().round_at(grab.held_at_ms);
                assert_eq!(running, Some(number), "nobody grabs outside the round");
            }
            assert!(users.values().all(|grabs| *grabs <= 2), "U1: {users:?}");
            assert!(!round.is_over || free.is_empty(), "M1: a round that is over has nothing left");
            assert_eq!(seen.len() as u64 + u64::from(round.refunded), u64::from(plan.terms.packets), "M1: packets");
            assert_eq!(cents, plan.terms.total_cents, "M1: cents");
        }
        let ends = self.entries.iter().filter_map(|entry| match &entry.event {
            Event::RoundEnded(event) => Some(event.round),
            _ => None,
        });
        let mut once = BTreeSet::new();
        assert!(ends.into_iter().all(|round| once.insert(round)), "M1: a round is refunded once");
    }

    fn compare_acknowledged(&self, sales: &Sales) {
        for (id, known) in &self.kept {
            let sale = id.shard().and_then(|shard| sales.get(shard)).expect("its shard is there");
            let grab = id.sequence().and_then(|number| sale.order(number)).expect("an acknowledged grab is there");
            assert_eq!((grab.amount_cents, grab.held_at_ms), (known.amount_cents, known.granted_at_ms));
        }
    }
}
