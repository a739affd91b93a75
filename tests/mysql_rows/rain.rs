//! A made-up history of red packets beside a flash sale: rains of one part and of three, whose packets move between the
//! parts, whose later rounds are redefined and taken off; rounds' ends; a rain that is closed; and a shop's packet, which
//! leaves.

use doorbuster::domain::command::{Grab, MoveSlots};
use doorbuster::domain::definition::{Packets, RoundDefinition, Shop};
use doorbuster::domain::event::Switch;
use doorbuster::domain::part::Spread;
use doorbuster::domain::split::{Seed, Split};
use doorbuster::domain::{Command, Definition, Sale};
use doorbuster::ids::{ActivityId, KeyDigest, Qty, ShardId, SkuIndex, UserId};

use super::History;
use crate::domain::{definition, ms, put, switch};

/// Places among the activities.
const RAIN: usize = 0;
const WIDE: usize = 1;
const SHOP: usize = 2;
const SALE: usize = 3;
/// Rounds of which each rain has some at a time.
const ROUNDS_MAX: usize = 6;

pub fn round(starts_at: u64, ends_at: u64, total_cents: u64, packets: u32) -> RoundDefinition {
    RoundDefinition { starts_at_ms: ms(starts_at), ends_at_ms: ms(ends_at), total_cents, packets, plan: None }
}

pub fn packets(split: Split, [min_cents, max_cents]: [u64; 2], rounds: Vec<RoundDefinition>) -> Packets {
    Packets { split, min_cents, max_cents, rounds, shop: None }
}

pub fn red_packets(title: &str, currency: &str, shards: u16, limit: u32, packets: Packets) -> Definition {
    Definition::of_packets(title.to_owned(), currency.to_owned(), shards, Qty(limit), packets)
}

impl History {
    /// Some `steps` commands long, as the seed decides.
    pub fn of_packets(seed: u64, steps: u32) -> Self {
        let mut history = Self::empty(seed);
        let rounds = vec![
            round(1_000, 1_400, 5_000, 40),
            round(1_400, 1_800, 700, 7),
            round(2_200, 90_000, 9_000, 60),
            round(90_000, 90_001, 300, 3),
        ];
        let rain = red_packets("Regen 🧧 \"1\"", "CNY", 1, 2, packets(Split::Random, [1, 400], rounds));
        history.rain(ActivityId(31), ShardId(40), rain);
        let rounds = vec![round(995, 1_500, 3_001, 30), round(1_700, 9_000, 1 << 40, 80), round(9_500, 9_600, 50, 5)];
        let wide = red_packets("Wide", "EUR", 3, 3, packets(Split::Equal, [1, u64::from(u32::MAX)], rounds));
        let mut wide = wide;
        wide.packets.as_deref_mut().expect("it has packets").rounds[1].total_cents = 80 * 4_000_000_000 + 79;
        history.rain(ActivityId(1 << 52), ShardId(41), wide);
        for (number, funding_ref) in [(0, Some("F-1\"\\")), (1, Some("F-2")), (2, None)] {
            let shop =
                Some(Shop { merchant: UserId(500 + number), funding_ref: funding_ref.map(Into::into), key: None });
            let shop = Packets { shop, ..packets(Split::Random, [10, 10_000], vec![round(1_000, 1_300, 2_000, 20)]) };
            let (activity_id, shard) = (ActivityId(33 + number), ShardId(u32::try_from(44 + number).expect("few")));
            history.rain(activity_id, shard, red_packets("Shop's", "CNY", 1, 1, shop));
        }
        history.define(ActivityId(17), ShardId(50), &definition(), true);
        (0..steps).for_each(|_| history.rain_step());
        history.rain_ends();
        history
    }

    /// The sale of each shard.
    pub fn sales(&self) -> impl Iterator<Item = (ShardId, &Sale)> {
        self.sales.iter().map(|(shard, sale)| (*shard, sale))
    }

    fn seeds(&mut self) -> Vec<Seed> {
        (0..2 * ROUNDS_MAX)
            .map(|_| Seed([0; 32].map(|_| u8::try_from(self.dice.below(256)).expect("a byte"))))
            .collect()
    }

    pub fn rain(&mut self, activity_id: ActivityId, home: ShardId, definition: Definition) {
        let planned = definition.planned(None, &self.seeds(), |_| 0);
        self.define(activity_id, home, &planned, false);
    }

    fn rain_step(&mut self) {
        self.now += self.dice.below(9);
        self.end_rounds();
        let activity = usize::try_from(self.dice.below(3)).expect("one of three");
        let shards = self.activities[activity].clone();
        let keyed = self.dice.one_in(3);
        match self.dice.below(40) {
            0..22 => self.grab(&shards),
            22..30 => self.spread(&shards),
            30..34 if activity != SHOP => self.redefine_rounds(&shards, keyed),
            34 => self.place(&self.activities[SALE].clone(), "a", 1, keyed),
            35 if keyed => self.turn(&shards, Switch::Paused),
            _ => self.turn(&shards, Switch::Resumed),
        }
    }

    fn turn(&mut self, shards: &[ShardId], to: Switch) {
        let mut switch = switch(to);
        switch.request = self.asked(false);
        self.change(shards, Command::SwitchSale(switch));
    }

    fn grab(&mut self, shards: &[ShardId]) {
        let user = if self.dice.one_in(9) { UserId(u64::MAX) } else { UserId(self.dice.below(60)) };
        let parts = u16::try_from(shards.len()).expect("few parts");
        let shard = shards[usize::from(Spread::Splitmix.part_of(user, parts))];
        let key = self.dice.one_in(2).then(|| {
            let key = self.now.wrapping_mul(0x1_0001).to_le_bytes().repeat(2);
            KeyDigest(key.try_into().expect("16"))
        });
        self.run(shard, Command::Grab(Grab { user, key }));
    }

    /// Some packets go from the home to another part, or back.
    fn spread(&mut self, shards: &[ShardId]) {
        let other = shards[usize::try_from(self.dice.below(shards.len() as u64)).expect("one of few")];
        if other == shards[0] {
            return;
        }
        let sku = SkuIndex(u16::try_from(self.dice.below(3)).expect("one of few"));
        let units = u32::try_from(self.dice.below(12)).expect("few") + 1;
        let (from, to) = if self.dice.one_in(5) { (other, shards[0]) } else { (shards[0], other) };
        self.run(from, Command::MoveSlots(MoveSlots { to, sku, units }));
    }

    fn gather(&mut self, shards: &[ShardId], sku: SkuIndex) {
        for from in &shards[1..] {
            while self.run(*from, Command::MoveSlots(MoveSlots { to: shards[0], sku, units: u32::MAX })) {}
        }
    }

    fn end_rounds(&mut self) {
        for shards in self.activities.clone() {
            while let Some((round, ends_at_ms)) = self.sales[&shards[0]].round_to_end()
                && ends_at_ms <= ms(self.now)
            {
                self.gather(&shards, round);
                assert!(self.run(shards[0], Command::EndRound(round)), "M1: it is due");
            }
        }
    }

    fn redefine_rounds(&mut self, shards: &[ShardId], keyed: bool) {
        let mut wanted = self.sales[&shards[0]].definition().clone();
        let (mut title, mut limit) = (wanted.title.clone(), wanted.per_user_limit.0);
        let mut packets = *wanted.packets.take().expect("it has rounds");
        let last = packets.rounds.len() - 1;
        let number = usize::try_from(self.dice.below(packets.rounds.len() as u64)).expect("one of few");
        let round = &mut packets.rounds[number];
        let before = round.clone();
        match self.dice.below(8) {
            0 => round.total_cents = u64::from(round.packets) * (5 + self.dice.below(20)),
            1 => {
                round.packets += 1;
                round.total_cents += 5;
            }
            2 => round.starts_at_ms.0 += 1,
            3 => packets.rounds[last].ends_at_ms.0 += 10,
            4 if last > 0 => drop(packets.rounds.pop()),
            5 | 6 if last + 1 < ROUNDS_MAX => {
                let from = packets.rounds[last].ends_at_ms.0.max(self.now) + 1;
                packets.rounds.push(self::round(from, from + 200 + self.dice.below(200), 200, 20));
            }
            _ => (title, limit) = (format!("Regen {}", self.dice.below(9)), limit + 1),
        }
        if packets.rounds.get(number).is_some_and(|round| *round != before) {
            // What splits otherwise must be at home.
            self.gather(shards, SkuIndex(u16::try_from(number).expect("few")));
        }
        if packets.rounds.len() <= last {
            self.gather(shards, SkuIndex(u16::try_from(last).expect("few")));
        }
        let wanted = red_packets(&title, &wanted.currency, wanted.shards, limit, packets);
        let mut redefine = put(wanted);
        (redefine.seeds, redefine.request) = (self.seeds(), self.asked(keyed));
        self.change(shards, Command::Redefine(redefine));
    }

    /// The shop's packet leaves; the wide rain is closed while a round runs; of the first one a round is taken off and
    /// another split afresh, one runs and one is to come.
    fn rain_ends(&mut self) {
        let [rain, wide, shop] = [RAIN, WIDE, SHOP].map(|place| self.activities[place].clone());
        self.now = self.now.max(2_300);
        self.end_rounds();
        for shards in [&rain, &wide] {
            self.turn(shards, Switch::Resumed);
        }
        for _ in 0..12 {
            self.grab(&rain);
            self.spread(&wide);
            self.grab(&wide);
        }
        self.turn(&wide, Switch::Closed);
        self.end_rounds();
        assert!(self.sales[&wide[0]].round_to_end().is_none(), "all rounds of what is closed end");
        for cut in [0, 1] {
            let standing = self.sales[&rain[0]].definition().clone();
            let mut packets = *standing.packets.clone().expect("it has rounds");
            let from = packets.rounds.last().expect("one runs").ends_at_ms.0.max(90_000);
            packets.rounds.extend([1, 2].map(|after| round(from + after, from + after + 1, 30, 3)));
            packets.rounds.truncate(packets.rounds.len() - cut * 3);
            let wanted = red_packets(&standing.title, &standing.currency, 1, standing.per_user_limit.0, packets);
            let mut redefine = put(wanted);
            (redefine.seeds, redefine.request) = (self.seeds(), self.asked(true));
            self.change(&rain, Command::Redefine(redefine));
        }
        self.turn(&rain, Switch::Paused);
        let orders = u64::from(self.sales[&shop[0]].orders_placed());
        assert!(self.run(shop[0], Command::Retire { orders }), "it is over");
    }
}
