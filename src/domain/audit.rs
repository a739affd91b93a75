//! The auditor: folds a journal beside the sale's own `apply` with books of its own, kept as naively as can be, and says
//! which invariant does not hold. `doorbuster audit` runs it over a journal, the simulator after every step.
//!
//! It checks an event before the sale takes it in, so that a broken journal is reported rather than asserted on.
//! Besides what docs/INVARIANTS.md says in so many words, it counts under S1 a SKU that is defined twice or taken off
//! with units left; under S3 an activity that leaves with holds; under S4 a hold that expires before its time, and a late
//! payment that is owed back although its order could have had fresh units; under M5 a payment that is owed back for
//! another reason than its order gives; under M6 what is paid back and was not owed, and an activity that leaves owing;
//! under U2 a shard number that two activities have, and an activity that leaves with another number of orders than it
//! had; and under U4 a change of a closed sale, a missing version of its definition, a part that is or does otherwise
//! than its home said, and whatever happens after an activity has left. Of red packets it counts under U4 the end of a
//! round before its time or away from its home, and a new window of a round that has started; under M1 a budget that
//! cannot be split, and an activity that leaves with a round that is not refunded; under M4 a round that is planned anew
//! after it has started, or otherwise than it is defined; and under S2 a round that has other slots than its packets.

mod account;
mod books;
mod packets;
mod payments;
mod redefined;
mod report;
mod share;
#[cfg(test)]
mod tests;
mod whole;

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;

use self::account::Account;
use self::books::Books;
use self::payments::{Received, Sums};
pub use self::report::{Finding, Id, Report};
use self::whole::Whole;
use super::event::{ActivityDefined, ActivityRetired, Control, Entry, Event, STOCK_RANGES_MAX, SlotsMoved};
use super::part::Part;
use super::sale::Sale;
use super::suspense::Suspense;
use crate::ids::{ActivityId, Seq, ShardId};

/// What an auditor keeps of an activity that has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Only that it was there: memory follows what stands.
    Standing,
    /// Its sales too, for who asks for an order after the fold.
    All,
}

/// Folds events and checks each; see the module.
pub struct Auditor {
    keep: Keep,
    shards: FxHashMap<ShardId, (Sale, Books)>,
    activities: FxHashMap<ActivityId, Whole>,
    /// Whose the shards' numbers are: each activity by the last of its own, whether it has left or not.
    numbers: BTreeMap<ShardId, ActivityId>,
    left: FxHashMap<ShardId, Sale>,
    account: Account,
    received: Received,
    /// The money of activities that have left.
    left_sums: Sums,
    last_seq: Option<Seq>,
    report: Report,
}

impl Auditor {
    /// An auditor that has seen nothing.
    #[must_use]
    pub fn new(keep: Keep) -> Self {
        Self {
            keep,
            shards: FxHashMap::default(),
            activities: FxHashMap::default(),
            numbers: BTreeMap::new(),
            left: FxHashMap::default(),
            account: Account::default(),
            received: Received::default(),
            left_sums: Sums::new(),
            last_seq: None,
            report: Report::default(),
        }
    }

    /// Checks one event and takes it in. After a fault in a shard, later events of its activity are not judged.
    pub fn observe(&mut self, seq: Seq, entry: &Entry) {
        let follows = self.last_seq.is_none_or(|last| last.0.checked_add(1) == Some(seq.0));
        self.report.check(Id::J1, follows, || format!("event {seq} follows on event {:?}", self.last_seq));
        self.last_seq = Some(seq);

        let report = &mut self.report;
        if entry.shard == Suspense::SHARD {
            return self.account.observe(seq, entry, &mut self.received, report);
        }
        match (&entry.event, self.shards.get_mut(&entry.shard)) {
            (Event::ActivityDefined(event), None) => self.define(seq, entry, event),
            (Event::ActivityDefined(_), Some(_)) => {
                report.broken(Id::U4, format!("event {seq} defines shard {} a second time", entry.shard));
            }
            (_, None) => {
                report.broken(Id::U4, format!("event {seq} is of shard {}, which is not defined", entry.shard));
            }
            (_, Some((_, books))) if books.is_faulty() => {}
            (Event::SlotsMoved(event), Some(_)) => self.move_slots(seq, entry, event),
            (Event::HomeFollowed(control), Some((_, books))) => {
                books.tick(seq, entry, report);
                self.follow(seq, entry, control);
            }
            (Event::ActivityRetired(event), Some((_, books))) => {
                books.tick(seq, entry, report);
                self.retire(seq, entry, event);
            }
            (event, Some((sale, books))) => {
                let Some(whole) = self.activities.get_mut(&books.activity_id()) else { return };
                if books.post(seq, entry, &mut whole.rounds, &mut self.received, report) {
                    sale.apply(entry.at_ms, event);
                    books.compare(sale, event, seq, report);
                    books.compare_rounds(sale, event, &whole.rounds, seq, report);
                }
                if !books.is_whole() {
                    self.concern_all(seq, entry);
                }
            }
        }
    }

    fn define(&mut self, seq: Seq, entry: &Entry, event: &ActivityDefined) {
        let part = event.part.unwrap_or_else(|| Part::sole(entry.shard));
        let place = Whole::of(entry.shard, part, event);
        let known = self.activities.get(&event.activity_id);
        let is_judged = known.is_none_or(|known| !known.faulty || !known.has(entry.shard));
        let is_first = known.is_none();
        let fault = self.fault_of_place(place.as_ref(), event.activity_id).filter(|_| is_judged);

        let report = &mut self.report;
        let mut books = Books::open(seq, event, part, entry.at_ms, report);
        let sale = match books.is_faulty() {
            // Rounds that cannot be are no state at all.
            true => Sale::define(entry.shard, &without_rounds(event)),
            false => Sale::define(entry.shard, event),
        };
        match (fault, place) {
            (Some((id, why)), _) => {
                report.broken(id, format!("event {seq} defines shard {}: {why}", entry.shard));
                books.spoil();
            }
            (None, Ok(place)) if is_first => {
                self.numbers.insert(place.last(), event.activity_id);
                self.activities.insert(event.activity_id, place);
            }
            (None, _) => report.held(Id::U4, 1),
        }
        if !is_judged {
            books.spoil();
        }
        if !books.is_faulty() {
            books.compare(&sale, &entry.event, seq, report);
        }
        self.shards.insert(entry.shard, (sale, books));
        self.concern_all(seq, entry);
    }

    /// What is wrong with the place that a definition gives its shard.
    fn fault_of_place(&self, place: Result<&Whole, &String>, activity_id: ActivityId) -> Option<(Id, String)> {
        let place = match (place, self.activities.get(&activity_id)) {
            (Err(why), _) => return Some((Id::U4, why.clone())),
            (Ok(_), Some(known)) if known.retired => {
                return Some((Id::U4, format!("activity {activity_id} has left already")));
            }
            (Ok(place), Some(known)) if known.is_same(place) => return None,
            (Ok(_), Some(_)) => return Some((Id::U4, format!("activity {activity_id} is defined otherwise"))),
            (Ok(place), None) => place,
        };
        // The first whose numbers end at or after this one's first: does it begin at or before this one's last?
        let (_, other) = self.numbers.range(place.home()..).next()?;
        let overlaps = self.activities.get(other).is_some_and(|other| other.home() <= place.last());
        overlaps.then(|| (Id::U2, format!("its number is one of activity {other}")))
    }

    /// What an event of one part means for the activity: its sums, what its other parts will follow, and where the event
    /// could not be true, that nobody knows what to make of the other parts either.
    fn concern_all(&mut self, seq: Seq, entry: &Entry) {
        let Some((sale, books)) = self.shards.get_mut(&entry.shard) else { return };
        let Some(whole) = self.activities.get_mut(&books.activity_id()).filter(|whole| whole.has(entry.shard)) else {
            return;
        };
        if books.is_faulty() {
            whole.faulty = true;
            for shard in whole.shards() {
                self.shards.get_mut(&shard).into_iter().for_each(|(_, books)| books.spoil());
            }
            return;
        }
        match &entry.event {
            Event::ActivityRedefined(event) => whole.turn(books, &event.change),
            Event::SaleSwitched(event) => whole.turn(books, &event.change),
            Event::ChangeNoted(change) => whole.turn(books, change),
            _ => {}
        }
        let touched = books.touched(&entry.event);
        whole.weigh(books, sale, &touched);
        whole.balance(&touched, seq, &mut self.report);
    }

    /// Both ends of a move (S5).
    fn move_slots(&mut self, seq: Seq, entry: &Entry, event: &SlotsMoved) {
        let report = &mut self.report;
        let well_formed = event.slots.is_well_formed() && (1..=STOCK_RANGES_MAX).contains(&event.slots.ranges().len());
        let [giver, taker] = match event.to == entry.shard {
            true => [self.shards.get_mut(&entry.shard), None],
            false => self.shards.get_disjoint_mut([&entry.shard, &event.to]),
        };
        let Some((from, giver)) = giver else { return };
        giver.tick(seq, entry, report);
        let mut taker = taker.filter(|(_, taker)| taker.activity_id() == giver.activity_id());
        let taken = |taker: &mut &mut (Sale, Books)| taker.1.take_in(event);
        let moved = well_formed && giver.give_away(event) && taker.as_mut().is_some_and(taken);
        if let (true, Some((to, taker))) = (moved, taker) {
            from.apply(entry.at_ms, &entry.event);
            to.receive(event.sku, &event.slots);
            giver.compare(from, &entry.event, seq, report);
            taker.compare(to, &entry.event, seq, report);
            if let Some(whole) = self.activities.get_mut(&giver.activity_id()) {
                let touched = taker.touched(&entry.event);
                whole.weigh(taker, to, &touched);
            }
        } else {
            giver.spoil();
        }
        report.check(Id::S5, moved, || {
            let (from, to, sku) = (entry.shard, event.to, event.sku);
            format!("event {seq}: slots of SKU number {sku} move from shard {from} to {to}, which cannot be")
        });
        self.concern_all(seq, entry);
    }

    fn follow(&mut self, seq: Seq, entry: &Entry, control: &Control) {
        let Some((sale, books)) = self.shards.get_mut(&entry.shard) else { return };
        let whole = self.activities.get(&books.activity_id());
        let turn = whole.filter(|_| !books.part().is_home()).and_then(|whole| whole.turn_of(books, control));
        self.report.check(Id::U4, turn.is_some(), || {
            format!("event {seq}: shard {} does as its home does not since it last followed: {control:?}", entry.shard)
        });
        match turn {
            Some(turn) => {
                books.follow(turn, control);
                sale.apply(entry.at_ms, &entry.event);
                books.compare(sale, &entry.event, seq, &mut self.report);
            }
            None => books.spoil(),
        }
        self.concern_all(seq, entry);
    }

    fn retire(&mut self, seq: Seq, entry: &Entry, event: &ActivityRetired) {
        let Some((_, home)) = self.shards.get(&entry.shard) else { return };
        let activity_id = home.activity_id();
        let Some(whole) = self.activities.get(&activity_id) else { return };
        let shards = whole.shards();
        let parts = || whole.shards().filter_map(|shard| self.shards.get(&shard)).map(|(_, books)| books);
        let is_over = home.part().is_home() && (home.is_closed() || entry.at_ms >= home.definition().ends_at_ms);
        let held: u64 = parts().map(Books::units_held).sum();
        let orders: u64 = parts().map(Books::orders_placed).sum();
        let owes = parts().any(Books::owes);
        let open = packets::open(&whole.rounds);
        let has_rounds = !whole.rounds.is_empty();

        let report = &mut self.report;
        report.check(Id::U4, is_over, || format!("event {seq}: activity {activity_id} leaves before it is over"));
        report
            .check(Id::S3, held == 0, || format!("event {seq}: activity {activity_id} leaves, {held} units are held"));
        report.check(Id::U2, orders == event.orders, || {
            format!("event {seq}: activity {activity_id} leaves with {} orders, and had {orders}", event.orders)
        });
        if has_rounds {
            report.check(Id::M1, open == 0, || {
                format!("event {seq}: activity {activity_id} leaves, {open} of its rounds are not refunded")
            });
        }
        if parts().any(Books::has_payments) {
            report.check(Id::M6, !owes, || format!("event {seq}: activity {activity_id} leaves and owes money back"));
        }
        if !is_over || held > 0 || open > 0 || owes || orders != event.orders {
            self.shards.get_mut(&entry.shard).into_iter().for_each(|(_, books)| books.spoil());
            return self.concern_all(seq, entry);
        }
        let sums = self.close(activity_id);
        payments::add(&mut self.left_sums, sums);
        for shard in shards {
            let gone = self.shards.remove(&shard).filter(|_| self.keep == Keep::All);
            gone.into_iter().for_each(|(sale, _)| drop(self.left.insert(shard, sale)));
        }
        self.activities.get_mut(&activity_id).into_iter().for_each(Whole::leave);
    }

    /// The checks of an activity that only its end allows, or the journal's; gives its sums of money.
    fn close(&mut self, activity_id: ActivityId) -> Sums {
        let mut sums = Sums::new();
        let Some(whole) = self.activities.get_mut(&activity_id).filter(|whole| !whole.faulty && !whole.retired) else {
            return sums;
        };
        let parts: Vec<&(Sale, Books)> = whole.shards().filter_map(|shard| self.shards.get(&shard)).collect();
        if parts.iter().any(|(_, books)| books.is_faulty()) {
            return sums;
        }
        for (sale, books) in &parts {
            books.close(sale, &mut self.report);
            payments::add(&mut sums, books.close_sums(sale, &mut self.report));
        }
        whole.close(parts.iter().map(|(_, books)| books), &mut self.report);
        packets::close(&mut whole.rounds, &parts, &mut self.report);
        sums
    }

    /// A shard's state as of the last event; of one that has left, as it left, where such are kept.
    #[must_use]
    pub fn sale(&self, shard: ShardId) -> Option<&Sale> {
        self.shards.get(&shard).map(|(sale, _)| sale).or_else(|| self.left.get(&shard))
    }

    /// The state as of the last event of every shard that has not left.
    pub fn sales(&self) -> impl Iterator<Item = &Sale> {
        self.shards.values().map(|(sale, _)| sale)
    }

    /// The suspense account as of the last event.
    #[must_use]
    pub fn suspense(&self) -> &Suspense {
        &self.account.state
    }

    /// The number of the last event seen.
    #[must_use]
    pub fn last_seq(&self) -> Option<Seq> {
        self.last_seq
    }

    /// What was counted and what does not hold, after the checks that only the end allows.
    #[must_use]
    pub fn finish(mut self) -> Report {
        let activities: Vec<ActivityId> = self.activities.keys().copied().collect();
        let mut sums = std::mem::take(&mut self.left_sums);
        for activity_id in activities {
            payments::add(&mut sums, self.close(activity_id));
        }
        payments::add(&mut sums, self.account.close(&mut self.report).unwrap_or_default());
        payments::balance(&sums, &mut self.report);
        self.report
    }

    /// What was counted so far and what does not hold.
    #[must_use]
    pub fn report(&self) -> &Report {
        &self.report
    }
}

/// The definition without its rounds, for a shard of which nothing will be judged.
fn without_rounds(event: &ActivityDefined) -> ActivityDefined {
    let mut event = event.clone();
    event.definition.packets = None;
    event
}
