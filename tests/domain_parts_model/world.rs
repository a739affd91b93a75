//! The parts, their model, their auditor and their journal's fold side by side.

use std::collections::{BTreeSet, VecDeque};

use crate::domain::parts::*;
use crate::domain::*;
use crate::model::*;
use crate::money::Money;
use doorbuster::domain::audit::{Auditor, Keep};
use doorbuster::domain::command::MoveSlots;
use doorbuster::domain::event::{Control, Switch};
use doorbuster::domain::part::Spread;
use doorbuster::domain::{Command, Decision, Definition, Event, OrderState, Phase, Refusal, Sales};
use doorbuster::ids::{Qty, Seq, UserId};

pub const SKUS: [&str; 5] = ["a", "b", "c", "d", "e"];

/// What can happen. Parts are counted round: an activity may have fewer than a number says.
#[derive(Clone, Debug)]
pub enum Op {
    Place {
        user: u64,
        sku: usize,
        quantity: i64,
    },
    Cancel {
        part: usize,
        order: u32,
    },
    Expire {
        part: usize,
    },
    /// A payment that is new for any order of the part.
    Pay {
        part: usize,
        order: u32,
        wrong: bool,
        may_wait: bool,
    },
    Refund {
        part: usize,
        nth: usize,
        restock: bool,
    },
    /// The `nth` of all that is owed back, in all parts and the suspense account.
    PayBack {
        nth: usize,
    },
    Suspend {
        cents: u64,
    },
    FromHome {
        part: usize,
        sku: usize,
        units: u32,
    },
    ToHome {
        part: usize,
        sku: usize,
        units: u32,
    },
    Move {
        from: usize,
        to: usize,
        sku: usize,
        units: u32,
    },
    Deliver {
        nth: usize,
    },
    Redefine {
        edits: Vec<Edit>,
    },
    Switch {
        to: Switch,
    },
    /// A part hears of the next change that it has not heard of; or only of how things are now.
    Follow {
        part: usize,
        skips: bool,
    },
    Restart,
    Wait(u64),
}

#[derive(Clone, Debug)]
pub enum Edit {
    StockBy(usize, i64),
    Add(usize, u32),
    Drop(usize),
    Limit(u32),
    Title(u8),
    Swap,
}

pub struct World {
    pub parts: Parts,
    pub model: Model,
    pub money: Money,
    /// What each part has still to hear, with what the home was then.
    letters: Vec<VecDeque<(Control, Known)>>,
    auditor: Auditor,
    sales: Sales,
    observed: usize,
    pub now: u64,
    pub change_id: u64,
}

impl World {
    pub fn new(parts: u16) -> Self {
        let definition = with(|d| {
            (d.shards, d.payment_window_ms, d.per_user_limit) = (parts, 100, Qty(3));
            d.skus = vec![sku("a", 12), sku("b", 6)];
        });
        let mut world = Self {
            parts: Parts::open(&definition),
            model: Model::new(&definition),
            money: Money::default(),
            letters: vec![VecDeque::new(); usize::from(parts)],
            auditor: Auditor::new(Keep::Standing),
            sales: Sales::default(),
            observed: 0,
            now: START - 5,
            change_id: 1,
        };
        world.check();
        world
    }

    pub fn step(&mut self, op: &Op) {
        let count = self.parts.sales.len();
        match *op {
            Op::Place { user, sku, quantity } => self.place(UserId(user), SKUS[sku], quantity),
            Op::Cancel { part, order } => self.cancel(part % count, order),
            Op::Pay { part, order, wrong, may_wait } => self.pay(part % count, order, wrong, may_wait),
            Op::Refund { part, nth, restock } => self.refund(part % count, nth, restock),
            Op::PayBack { nth } => self.pay_back(nth),
            Op::Suspend { cents } => self.suspend(cents),
            Op::Expire { part } => self.expire(part % count),
            Op::FromHome { part, sku, units } => self.give(0, part % count, sku, units),
            Op::ToHome { part, sku, units } => self.give(part % count, 0, sku, units),
            Op::Move { from, to, sku, units } => self.give(from % count, to % count, sku, units),
            Op::Deliver { .. } if self.parts.under_way.is_empty() => {}
            Op::Deliver { nth } => self.deliver(nth % self.parts.under_way.len()),
            Op::Redefine { ref edits } => self.redefine(edits),
            Op::Switch { to } => self.switch(to),
            Op::Follow { part, skips } => self.follow(part % count, skips),
            Op::Restart => self.restart(),
            Op::Wait(ms) => self.now += ms,
        }
        self.check();
    }

    pub fn run(&mut self, part: usize, command: Command) -> Result<Decision, Refusal> {
        self.parts.run(part, self.now, command)
    }

    fn place(&mut self, user: UserId, name: &str, quantity: i64) {
        let parts = u16::try_from(self.parts.sales.len()).expect("few parts");
        let part = usize::from(Spread::Splitmix.part_of(user, parts));
        let units = usize::try_from(quantity).expect("it is positive");
        let expected = self.model.refusal(part, self.now, user, &sku_id(name), units);
        let got = self.run(part, place(user.0, name, quantity).command());
        match (expected, got) {
            (Some(expected), Err(refusal)) => assert_eq!(refusal, expected),
            (None, Ok(decision)) => match decision.events.as_slice() {
                [Event::OrderPlaced(event)] => {
                    assert_eq!((event.user, event.slots.count() as usize), (user, units));
                    self.model.placed(part, self.now, event);
                }
                other => panic!("an order was expected: {other:?}"),
            },
            (expected, got) => panic!("part {part}: expected {expected:?}, got {got:?}"),
        }
    }

    fn cancel(&mut self, part: usize, order: u32) {
        let known = order.checked_sub(1).and_then(|place| self.model.orders[part].get(place as usize));
        let user = known.map_or(0, |order| order.user.0);
        let may = known.is_some_and(|order| order.state == OrderState::Held && self.now < order.expires_at);
        let got = self.run(part, cancel(user, order).command());
        assert_eq!(got.is_ok_and(|decision| !decision.events.is_empty()), may);
        if may {
            self.model.released(part, order, OrderState::Cancelled);
        }
    }

    fn expire(&mut self, part: usize) {
        let due = self.model.due(part, self.now);
        let decision = self.run(part, Command::ExpireHolds).expect("time is never refused");
        let expired = decision.events.first().map(|event| match event {
            Event::HoldsExpired(event) => event.orders.clone(),
            other => panic!("an expiry was expected: {other:?}"),
        });
        assert_eq!(expired.unwrap_or_default(), due);
        due.into_iter().for_each(|order| self.model.released(part, order, OrderState::Expired));
    }

    /// As in the server, nobody is given what they have not heard of.
    fn give(&mut self, from: usize, to: usize, sku: usize, units: u32) {
        let known = self.model.known[from].names.len().min(self.model.known[to].names.len());
        if from == to || sku >= known {
            return;
        }
        let index = u16::try_from(sku).expect("few SKUs");
        let free = self.model.free(from, index);
        let got = self.run(from, give(to, index, units)).expect("nobody refuses to give");
        match got.events.as_slice() {
            [] => assert!(free.is_empty()),
            [Event::SlotsMoved(event)] => {
                let highest: BTreeSet<u32> = free.iter().rev().take(units as usize).copied().collect();
                assert_eq!((event.to, event.sku.0), (shard(to), index));
                assert_eq!(event.slots.iter().collect::<BTreeSet<_>>(), highest, "the highest go");
                self.model.given(from, to, event);
            }
            other => panic!("a move was expected: {other:?}"),
        }
    }

    fn deliver(&mut self, nth: usize) {
        let moved = self.parts.under_way[nth].clone();
        self.parts.deliver(nth);
        self.model.arrived((moved.to.0 - SHARD.0) as usize, &moved);
    }

    fn redefine(&mut self, edits: &[Edit]) {
        let mut wanted = self.model.known[0].definition.clone();
        edits.iter().for_each(|edit| apply_edit(&mut wanted, edit));
        self.change_id += 1;
        let mut redefine = put(wanted.clone());
        redefine.request.change_id = self.change_id;
        let home = self.model.known[0].clone();
        match self.run(0, redefine.command()) {
            Ok(decision) => match decision.events.as_slice() {
                [] => assert_eq!(wanted, home.definition),
                [Event::ActivityRedefined(event)] => {
                    assert_eq!(event.definition, wanted);
                    self.model.redefined(event);
                    self.send();
                }
                other => panic!("a redefinition was expected: {other:?}"),
            },
            Err(refusal) => self.check_refusal(&refusal, &home, &wanted),
        }
    }

    /// A change is refused only where it must be: what is free elsewhere, or under way, is as good as held.
    fn check_refusal(&self, refusal: &Refusal, home: &Known, wanted: &Definition) {
        let free = |name| self.model.free(0, index_of(home, name)).len();
        let stock = |name| self.model.stock(index_of(home, name));
        let too_low = |name| wanted.sku(name).is_some_and(|sku| stock(name) > free(name) + sku.stock.0 as usize);
        let must = match refusal {
            Refusal::ActivityClosed => home.closed,
            Refusal::TooLarge { .. } => wanted.skus.is_empty(),
            Refusal::StockTooLow { sku, largest_reduction } => too_low(sku) && *largest_reduction as usize == free(sku),
            Refusal::ImmutableField { field } => {
                let gone = home.definition.skus.iter().map(|sku| &sku.sku_id).filter(|name| wanted.sku(name).is_none());
                gone.into_iter().any(|name| *field == format!("skus.{name}") && free(name) < stock(name))
            }
            _ => false,
        };
        assert!(must, "{refusal:?}: {home:?} to {wanted:?}");
    }

    fn switch(&mut self, to: Switch) {
        self.change_id += 1;
        let mut switch = switch(to);
        switch.request.change_id = self.change_id;
        let closed = self.model.known[0].closed;
        match self.run(0, switch.command()) {
            Ok(decision) if decision.events.is_empty() => {}
            Ok(_) => {
                let home = &mut self.model.known[0];
                match to {
                    Switch::Paused => home.paused = true,
                    Switch::Resumed => home.paused = false,
                    Switch::Closed => home.closed = true,
                }
                self.send();
            }
            Err(refusal) => assert!(closed && refusal == Refusal::ActivityClosed, "{refusal:?}"),
        }
    }

    /// The home tells every other part what it is now.
    fn send(&mut self) {
        let letter = (self.parts.sales[0].control(), self.model.known[0].clone());
        self.letters.iter_mut().skip(1).for_each(|letters| letters.push_back(letter.clone()));
    }

    fn follow(&mut self, part: usize, skips: bool) {
        let letters = &mut self.letters[part];
        let last = if skips { letters.drain(..).next_back() } else { None };
        let Some((control, home)) = last.or_else(|| letters.pop_front()) else { return };
        let known = &mut self.model.known[part];
        let state = |known: &Known| (known.version, known.paused, known.closed);
        let news = state(known) != state(&home);
        if news {
            *known = home;
        }
        let decision = self.run(part, Command::FollowHome(Box::new(control))).expect("a part never refuses to follow");
        assert_eq!(!decision.events.is_empty(), news);
    }

    /// The process stops. What was under way is in the journal; start-up tells every part what its home is.
    fn restart(&mut self) {
        let folded = fold(&self.parts.entries).expect("the journal can be read again");
        assert!(folded == self.sales, "a journal's fold is the same whenever it is made");
        (0..self.parts.under_way.len()).for_each(|_| self.deliver(0));
        self.parts.sales = folded.iter().cloned().collect();
        self.money.suspense = folded.suspense().clone();
        self.letters.iter_mut().for_each(VecDeque::clear);
        self.send();
    }

    /// Everything is where the model has it, and everybody who looks at the journal agrees.
    fn check(&mut self) {
        for entry in &self.parts.entries[self.observed..] {
            self.observed += 1;
            let seq = Seq(self.observed as u64);
            self.auditor.observe(seq, entry);
            self.sales.take(seq, &decode(&encode(entry))).expect("what happened can be read again");
        }
        assert!(self.auditor.report().holds(), "{:?}", self.auditor.report());

        let mut arrived = self.parts.clone();
        (0..arrived.under_way.len()).for_each(|_| arrived.deliver(0));
        assert!(self.sales.iter().eq(&arrived.sales), "the fold is what was lived, once all has arrived");
        self.check_money(&self.sales, &self.auditor);

        let home = &self.model.known[0];
        for (sku, name) in (0..).zip(&home.names) {
            let said = home.definition.sku(name).map_or(0, |sku| sku.stock.0 as usize);
            assert_eq!(self.model.stock(sku), said, "S1, S5: all units of {name}, wherever they are");
        }
        for part in 0..self.parts.sales.len() {
            self.check_part(part);
        }
    }

    fn check_part(&self, part: usize) {
        let (sale, known) = (&self.parts.sales[part], &self.model.known[part]);
        assert_eq!(sale.phase(ms(self.now)), Phase::at(ms(self.now), &known.definition, known.paused, known.closed));
        assert_eq!((sale.version(), sale.definition()), (known.version, &known.definition), "U4: part {part}");
        let names: Vec<_> = sale.sku_ids().map(|(_, name, _)| name.clone()).collect();
        assert_eq!(names, known.names, "an index is the same SKU in every part");
        for (sku, name, listed) in sale.sku_ids() {
            assert_eq!(listed, known.definition.sku(name).is_some());
            let all = MoveSlots { to: shard(99), sku, units: u32::MAX };
            let all = self.parts.ask(part, self.now, Command::MoveSlots(all)).expect("nobody refuses to give");
            let free: BTreeSet<u32> = match all.events.as_slice() {
                [Event::SlotsMoved(event)] => event.slots.iter().collect(),
                _ => BTreeSet::new(),
            };
            assert_eq!(free, self.model.free(part, sku.0), "S2: part {part}, SKU {name}");
        }
        for count in sale.counts() {
            let held = self.model.held(part, index_of(known, &count.sku_id));
            assert_eq!(count.held.0 as usize, held, "S1: part {part}, SKU {}", count.sku_id);
            let sold = self.model.sold(part, index_of(known, &count.sku_id));
            assert_eq!(count.sold.0 as usize, sold, "S1: part {part}, SKU {}", count.sku_id);
        }
        let shown: Vec<OrderState> = sale.orders_from(1).map(|order| order.state).collect();
        assert_eq!(shown, self.model.orders[part].iter().map(|order| order.state).collect::<Vec<_>>());
        let held = self.model.orders[part].iter().filter(|order| order.state == OrderState::Held);
        assert_eq!(sale.next_deadline().map(|at| at.0), held.map(|order| order.expires_at).min());
    }

    /// The window ends, every hold runs out, and the activity leaves.
    pub fn leave(mut self) {
        self.restart();
        self.now = self.now.max(END) + 1_000;
        (0..self.parts.sales.len()).for_each(|part| self.expire(part));
        self.check();
        while self.money.owed().count() > 0 {
            let settled = self.parts.sales.iter().all(|sale| sale.is_settled(ms(self.now), 100));
            assert_eq!(settled, !self.money.owed().any(|payment| payment.part.is_some()), "who owes does not leave");
            self.pay_back(0);
        }
        self.check();
        let orders = self.model.orders.iter().map(|orders| orders.len() as u64).sum();
        assert!(self.parts.sales.iter().all(|sale| sale.is_settled(ms(self.now), 100)));
        self.run(0, Command::Retire { orders }).expect("it is over");
        let last = self.parts.entries.last().expect("it has just left");
        let seq = Seq(self.parts.entries.len() as u64);
        self.auditor.observe(seq, last);
        self.sales.take(seq, &decode(&encode(last))).expect("it is over");
        assert_eq!((self.sales.iter().count(), self.sales.retired()[&ACTIVITY].orders), (0, orders));
        assert_eq!(self.auditor.sales().count(), 0);
        let of_parts = self.money.payments.iter().filter(|payment| payment.part.is_some()).count();
        assert_eq!(self.sales.retired()[&ACTIVITY].payments.len(), of_parts, "M5: their ids stay");
        assert_eq!(self.sales.payment_owners().count(), self.money.payments.len(), "M5: each has one owner for good");
        let report = self.auditor.finish();
        assert!(report.holds(), "{report:?}");
    }
}

fn apply_edit(definition: &mut Definition, edit: &Edit) {
    match *edit {
        Edit::StockBy(place, by) => {
            for sku in definition.skus.iter_mut().filter(|sku| sku.sku_id.as_str() == SKUS[place]) {
                let stock = (i64::from(sku.stock.0) + by).max(0);
                sku.stock = Qty(u32::try_from(stock).expect("the model's stocks are small"));
            }
        }
        Edit::Add(place, stock) if definition.sku(&sku_id(SKUS[place])).is_none() => {
            definition.skus.push(sku(SKUS[place], stock));
        }
        Edit::Add(..) => {}
        Edit::Drop(place) => definition.skus.retain(|sku| sku.sku_id.as_str() != SKUS[place]),
        Edit::Limit(limit) => definition.per_user_limit = Qty(limit),
        Edit::Title(title) => definition.title = title.to_string(),
        Edit::Swap => definition.skus.reverse(),
    }
}
