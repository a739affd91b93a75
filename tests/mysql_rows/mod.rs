//! A made-up history of several activities, rich enough that every column of every table in MySQL has more than one
//! value: what the tests of shipped rows ship.
#![allow(dead_code, reason = "each test binary uses its part")]

mod payments;
mod rain;

use std::collections::BTreeMap;
use std::ops::Range;

use doorbuster::domain::command::{CancelOrder, MoveSlots, PlaceOrder, Request, Stamped};
use doorbuster::domain::definition::SkuDefinition;
use doorbuster::domain::event::{ActivityDefined, Author, Change, Event, OrderPlaced, Switch};
use doorbuster::domain::part::Spread;
use doorbuster::domain::slots::Slots;
use doorbuster::domain::{Command, Definition, Entry, OrderState, Part, Sale, Suspense};
use doorbuster::ids::{ActivityId, Cents, KeyDigest, Qty, ShardId, SkuIndex, UserId};

use crate::domain::{
    END, OPERATOR, SHARD, START, WINDOW, defined, ms, put, reload, request, restock, sku, sku_id, switch, with,
};
use crate::server::Dice;

const SKUS: [&str; 5] = ["a", "b", "Z.9_-", "a-1", "d"];

/// The sales of several activities, and the journal that made them.
pub struct History {
    pub entries: Vec<Entry>,
    sales: BTreeMap<ShardId, Sale>,
    /// Each activity's shards, its home first.
    activities: Vec<Vec<ShardId>>,
    suspense: Suspense,
    /// Payments that were ever made.
    payments: u64,
    change_id: u64,
    now: u64,
    dice: Dice,
}

impl History {
    /// Some `steps` commands long, as the seed decides.
    pub fn of(seed: u64, steps: u32) -> Self {
        let mut history = Self::empty(seed);
        let narrow = |d: &mut Definition| {
            d.title = "Tür \"1\" \\ 📱 ' –".to_owned();
            d.skus.push(sku("gone", 2));
        };
        history.define(ActivityId(17), ShardId(7), &with(narrow), false);
        let wide = |d: &mut Definition| {
            (d.shards, d.currency, d.per_user_limit) = (3, "EUR".to_owned(), Qty(7));
            d.starts_at_ms = ms(995);
            d.skus =
                vec![sku("a-1", 40), sku("Z.9_-", 0), SkuDefinition { price_cents: Cents(1 << 39), ..sku("a", 9) }];
        };
        history.define(ActivityId(1), ShardId(8), &with(wide), true);
        let short = with(|d| {
            (d.ends_at_ms, d.shards, d.payment_window_ms, d.per_user_limit) = (ms(3_000), 2, 20, Qty(5));
        });
        history.define(ActivityId(1 << 52), ShardId(20), &short, false);
        (0..steps).for_each(|_| history.step());
        history.leave();
        history
    }

    fn empty(seed: u64) -> Self {
        let (entries, sales, activities) = (Vec::new(), BTreeMap::new(), Vec::new());
        let (suspense, dice) = (Suspense::default(), Dice::new(seed));
        Self { entries, sales, activities, suspense, payments: 0, change_id: 0, now: 990, dice }
    }

    fn define(&mut self, activity_id: ActivityId, home: ShardId, definition: &Definition, from_catalog: bool) {
        self.change_id += 1;
        let by = if from_catalog { Author::StartUp } else { OPERATOR };
        let shards = definition.shards;
        let part = |number| (shards > 1).then_some(Part { home, number, spread: Spread::Splitmix });
        self.activities.push((0..u32::from(shards)).map(|number| ShardId(home.0 + number)).collect());
        for number in 0..shards {
            let change = Change { change_id: self.change_id, by, key: None };
            let part = part(number);
            let event = ActivityDefined { activity_id, definition: definition.clone(), from_catalog, change, part };
            let shard = ShardId(home.0 + u32::from(number));
            self.sales.insert(shard, Sale::define(shard, &event));
            let event = Event::ActivityDefined(Box::new(event));
            self.entries.push(Entry { shard, at_ms: ms(self.now), event });
        }
    }

    /// Decides, and takes in what comes of it; what is refused does not happen. A move arrives at once.
    fn run(&mut self, shard: ShardId, command: Command) -> bool {
        let at_ms = ms(self.now);
        let Ok(decision) = self.sales[&shard].decide(&Stamped { at_ms, command }) else { return false };
        for event in &decision.events {
            self.sales.get_mut(&shard).expect("it stands").apply(at_ms, event);
            if let Event::SlotsMoved(moved) = event {
                self.sales.get_mut(&moved.to).expect("it stands").receive(moved.sku, &moved.slots);
            }
            self.entries.push(Entry { shard, at_ms, event: event.clone() });
        }
        !decision.events.is_empty()
    }

    /// A change at home, and the other parts after it.
    fn change(&mut self, shards: &[ShardId], command: Command) {
        if self.run(shards[0], command) {
            let control = self.sales[&shards[0]].control();
            for shard in &shards[1..] {
                self.run(*shard, Command::FollowHome(Box::new(control.clone())));
            }
        }
    }

    fn asked(&mut self, keyed: bool) -> Request {
        self.change_id += 1;
        let key = u8::try_from(self.change_id % 250).expect("it is small");
        request(self.change_id, keyed.then_some((key, key)))
    }

    fn step(&mut self) {
        self.now += self.dice.below(12);
        let activity = usize::try_from(self.dice.below(3)).expect("one of three");
        let shards = self.activities[activity].clone();
        let part = usize::try_from(self.dice.below(shards.len() as u64)).expect("one of few");
        let sku = usize::try_from(self.dice.below(5)).expect("one of five");
        let units = i64::try_from(self.dice.below(3)).expect("few") + 1;
        let keyed = self.dice.one_in(3);
        match self.dice.below(34) {
            22.. => self.pay_or_refund(shards[part]),
            0..8 => self.place(&shards, SKUS[sku], units, keyed),
            8..10 => self.cancel(shards[part]),
            10 | 20..22 => {
                self.run(shards[part], Command::ExpireHolds);
            }
            11..13 => {
                let to = shards[if part == 0 { shards.len() - 1 } else { part }];
                if to != shards[0] {
                    let give = MoveSlots { to, sku: SkuIndex(u16::from(sku > 2)), units: 4 };
                    self.run(shards[0], Command::MoveSlots(give));
                }
            }
            13 => {
                let mut restock = restock(SKUS[sku], units);
                restock.request = self.asked(keyed);
                self.change(&shards, Command::AddStock(restock));
            }
            14..17 => self.redefine(&shards, SKUS[sku], units, keyed),
            17 => {
                let paused = self.dice.one_in(2);
                let mut switch = switch(if paused { Switch::Paused } else { Switch::Resumed });
                switch.request = self.asked(keyed);
                self.change(&shards, Command::SwitchSale(switch));
            }
            // What stands already, asked for with a key, is noted.
            18 => {
                let mut same = put(self.sales[&shards[0]].definition().clone());
                same.request = self.asked(true);
                self.change(&shards, Command::Redefine(same));
            }
            _ => {
                let mut switch = switch(Switch::Resumed);
                switch.request = self.asked(false);
                self.change(&shards, Command::SwitchSale(switch));
            }
        }
    }

    fn place(&mut self, shards: &[ShardId], sku: &str, quantity: i64, keyed: bool) {
        let user = if self.dice.one_in(9) { UserId(u64::MAX) } else { UserId(self.dice.below(30)) };
        let parts = u16::try_from(shards.len()).expect("few parts");
        let shard = shards[usize::from(Spread::Splitmix.part_of(user, parts))];
        let key =
            keyed.then(|| KeyDigest(self.now.wrapping_mul(0x1_0001).to_le_bytes().repeat(2).try_into().expect("16")));
        let reference = self.dice.one_in(3).then(|| format!("cart-{}~", self.dice.below(99)).into());
        self.run(shard, Command::PlaceOrder(PlaceOrder { user, sku: sku_id(sku), quantity, key, reference }));
    }

    fn cancel(&mut self, shard: ShardId) {
        let held: Vec<_> = self.sales[&shard].orders_from(1).filter(|order| order.state == OrderState::Held).collect();
        if held.is_empty() {
            return;
        }
        let order = &held[usize::try_from(self.dice.below(held.len() as u64)).expect("one of few")];
        let number = order.order_id.sequence().expect("it is an order's");
        self.run(shard, Command::CancelOrder(CancelOrder { user: order.user, order: number, key: None }));
    }

    fn redefine(&mut self, shards: &[ShardId], name: &str, units: i64, keyed: bool) {
        let mut wanted = self.sales[&shards[0]].definition().clone();
        let named = wanted.skus.iter().position(|sku| sku.sku_id.as_str() == name);
        match (self.dice.below(7), named) {
            (0, Some(place)) => wanted.skus[place].price_cents = Cents(self.dice.below(1_000_000)),
            (1, Some(place)) => wanted.skus[place].title = format!("№ {}", self.dice.below(99)),
            (2, Some(place)) => wanted.skus[place].stock.0 += u32::try_from(units).expect("few"),
            (3, Some(place)) => wanted.skus[place].stock.0 = wanted.skus[place].stock.0.saturating_sub(1),
            (4, Some(place)) if wanted.skus.len() > 1 => drop(wanted.skus.remove(place)),
            (_, None) => wanted.skus.insert(0, sku(name, u32::try_from(units).expect("few") - 1)),
            (5, _) => wanted.payment_window_ms = 100 + self.dice.below(600),
            _ => {
                wanted.title = format!("Titel {}", self.dice.below(9));
                wanted.per_user_limit.0 += 1;
                wanted.ends_at_ms.0 += 1;
            }
        }
        let mut redefine = if self.dice.one_in(4) { reload(wanted) } else { put(wanted) };
        redefine.request = self.asked(keyed);
        if self.dice.one_in(5) {
            redefine.request.by = Author::StartUp;
        }
        self.change(shards, Command::Redefine(redefine));
    }

    /// The short activity leaves; the wide one is paused; the first loses a SKU that nobody bought, and is closed.
    fn leave(&mut self) {
        // Some holds are there at the end.
        let wide = self.activities[1].clone();
        let mut resume = switch(Switch::Resumed);
        resume.request = self.asked(false);
        self.change(&wide, Command::SwitchSale(resume));
        (0..20).for_each(|place| self.place(&wide, SKUS[place % 5], 1, false));
        self.now = self.now.max(END) + 1_000;
        let short = self.activities[2].clone();
        while short.iter().any(|shard| self.sales[shard].next_deadline().is_some()) {
            for shard in &short {
                self.run(*shard, Command::ExpireHolds);
            }
        }
        short.iter().for_each(|shard| self.pay_all_back(*shard));
        let orders = short.iter().map(|shard| u64::from(self.sales[shard].orders_placed())).sum();
        assert!(self.run(short[0], Command::Retire { orders }), "it is over");
        // Money that comes for an order that has left is in suspense.
        let left = short.iter().find_map(|shard| self.sales[shard].orders_from(1).next());
        if let Some(left) = left {
            self.suspend(&left.order_id.to_string());
        }
        let mut pause = switch(Switch::Paused);
        pause.request = self.asked(false);
        let wide = self.activities[1].clone();
        self.change(&wide, Command::SwitchSale(pause));
        let first = self.activities[0].clone();
        let mut resume = switch(Switch::Resumed);
        resume.request = self.asked(false);
        self.change(&first, Command::SwitchSale(resume));
        let mut less = put(self.sales[&first[0]].definition().clone());
        less.request = self.asked(false);
        less.definition.skus.retain(|sku| sku.sku_id.as_str() != "gone");
        self.change(&first, Command::Redefine(less));
        let mut close = switch(Switch::Closed);
        close.request = self.asked(false);
        self.change(&first, Command::SwitchSale(close));
    }
}

/// A sale of `stock` units, and the orders of that range, one unit each.
pub fn crowd(orders: Range<u32>, stock: u32) -> impl Iterator<Item = Entry> {
    let definition = with(|d| d.skus = vec![sku("a", stock)]);
    let event = Event::ActivityDefined(Box::new(defined(definition, false)));
    let first = Entry { shard: SHARD, at_ms: ms(1), event };
    let order = |order| Entry {
        shard: SHARD,
        at_ms: ms(START),
        event: Event::OrderPlaced(OrderPlaced {
            order,
            user: UserId(u64::from(order) * 7_919),
            sku: SkuIndex(0),
            slots: Slots::range(order, 1),
            amount_cents: Cents(100),
            expires_at_ms: ms(START + WINDOW),
            key: Some(KeyDigest(u128::from(order).to_be_bytes())),
            reference: Some(format!("cart-{order}").into()),
        }),
    };
    std::iter::once(first).chain(orders.map(order))
}
