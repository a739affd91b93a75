//! An activity of several parts with the journal that made it. What one part gives another is under way until it is
//! delivered, as between actors; the journal has both ends at once.

use super::*;
use doorbuster::domain::command::MoveSlots;
use doorbuster::domain::event::{Control, SlotsMoved};
use doorbuster::domain::part::Spread;
use doorbuster::domain::{Part, Sales, Unfit};
use doorbuster::ids::SkuIndex;

#[derive(Clone)]
pub struct Parts {
    pub sales: Vec<Sale>,
    pub entries: Vec<Entry>,
    pub under_way: Vec<SlotsMoved>,
}

/// What part `number` of an activity at home in [`SHARD`] is defined by.
pub fn part_defined(definition: Definition, number: u16) -> ActivityDefined {
    let part = Part { home: SHARD, number, spread: Spread::Splitmix };
    ActivityDefined { part: Some(part), ..defined(definition, false) }
}

pub fn shard(number: usize) -> ShardId {
    ShardId(SHARD.0 + u32::try_from(number).expect("few parts"))
}

/// The `nth` of the users, from 1, whom part `number` of `parts` serves.
pub fn user_of(number: usize, parts: u16, nth: usize) -> u64 {
    let own = |user: &u64| usize::from(Spread::Splitmix.part_of(UserId(*user), parts)) == number;
    (0..).filter(own).nth(nth - 1).expect("users are spread over all parts")
}

pub fn give(to: usize, sku: u16, units: u32) -> Command {
    Command::MoveSlots(MoveSlots { to: shard(to), sku: SkuIndex(sku), units })
}

impl Parts {
    /// All parts of an activity, defined long before it opens.
    pub fn open(definition: &Definition) -> Self {
        let mut parts = Self { sales: Vec::new(), entries: Vec::new(), under_way: Vec::new() };
        (0..definition.shards).for_each(|number| {
            let first = part_defined(definition.clone(), number);
            let part = first.part.expect("it is a part");
            parts.sales.push(Sale::define(part.shard(number), &first));
            let event = Event::ActivityDefined(Box::new(first));
            parts.entries.push(Entry { shard: part.shard(number), at_ms: ms(1), event });
        });
        parts
    }

    pub fn ask(&self, part: usize, at: u64, command: impl IntoCommand) -> Result<Decision, Refusal> {
        self.sales[part].decide(&Stamped { at_ms: ms(at), command: command.command() })
    }

    /// Decides and takes in what comes of it, but for the far end of a move.
    pub fn run(&mut self, part: usize, at: u64, command: impl IntoCommand) -> Result<Decision, Refusal> {
        let decision = self.ask(part, at, command)?;
        for event in &decision.events {
            self.sales[part].apply(ms(at), event);
            self.entries.push(Entry { shard: shard(part), at_ms: ms(at), event: event.clone() });
            if let Event::SlotsMoved(moved) = event {
                self.under_way.push(moved.clone());
            }
        }
        Ok(decision)
    }

    /// The `nth` move that is under way arrives.
    pub fn deliver(&mut self, nth: usize) {
        let moved = self.under_way.remove(nth);
        self.sales[(moved.to.0 - SHARD.0) as usize].receive(moved.sku, &moved.slots);
    }

    /// Like [`Parts::run`], for what must be accepted and must change something. A move arrives at once.
    #[track_caller]
    pub fn must(&mut self, part: usize, at: u64, command: impl IntoCommand) -> Event {
        let decision = self.run(part, at, command).expect("this command is accepted");
        (0..self.under_way.len()).for_each(|_| self.deliver(0));
        let [event] = decision.events.as_slice() else { panic!("one event was expected: {decision:?}") };
        event.clone()
    }

    /// The part does as the home does now.
    #[track_caller]
    pub fn follow(&mut self, part: usize, at: u64) -> Control {
        match self.must(part, at, Command::FollowHome(Box::new(self.sales[0].control()))) {
            Event::HomeFollowed(control) => *control,
            other => panic!("a part was to follow: {other:?}"),
        }
    }

    /// `(available, held)` of a SKU at a part.
    pub fn units(&self, part: usize, sku: &str) -> (u32, u32) {
        let count = self.sales[part].counts().into_iter().find(|count| count.sku_id == sku_id(sku));
        count.map(|count| (count.available.0, count.held.0)).expect("the SKU is on sale")
    }
}

/// The state that a journal's bytes give.
pub fn fold(entries: &[Entry]) -> Result<Sales, Unfit> {
    let mut sales = Sales::default();
    for (seq, entry) in (1..).zip(entries) {
        sales.take(Seq(seq), &decode(&encode(entry)))?;
    }
    Ok(sales)
}
