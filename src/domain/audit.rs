//! The auditor: folds a journal beside the sale's own `apply` with books of its own, kept as naively as can be, and says
//! which invariant does not hold. `doorbuster audit` runs it over a journal, the simulator after every step.
//!
//! It checks an event before the sale takes it in, so that a broken journal is reported rather than asserted on.
//! Besides what docs/INVARIANTS.md says in so many words, it counts under S1 a SKU that is defined twice or taken off
//! with units left; under S3 an activity that leaves with holds; under S4 a hold that expires before its time; under U2
//! a shard number that two activities have, and an activity that leaves with another number of orders than it had; and
//! under U4 a change of a closed sale, a missing version of its definition, a part that is or does otherwise than its
//! home said, and whatever happens after an activity has left.

mod books;
mod report;
mod share;
mod whole;

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;

use self::books::Books;
pub use self::report::{Finding, Id, Report};
use self::whole::Whole;
use super::event::{ActivityDefined, ActivityRetired, Control, Entry, Event, STOCK_RANGES_MAX, SlotsMoved};
use super::part::Part;
use super::sale::Sale;
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
                if books.post(seq, entry, report) {
                    sale.apply(entry.at_ms, event);
                    books.compare(sale, event, seq, report);
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
        let sale = Sale::define(entry.shard, event);
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

        let report = &mut self.report;
        report.check(Id::U4, is_over, || format!("event {seq}: activity {activity_id} leaves before it is over"));
        report
            .check(Id::S3, held == 0, || format!("event {seq}: activity {activity_id} leaves, {held} units are held"));
        report.check(Id::U2, orders == event.orders, || {
            format!("event {seq}: activity {activity_id} leaves with {} orders, and had {orders}", event.orders)
        });
        if !is_over || held > 0 || orders != event.orders {
            self.shards.get_mut(&entry.shard).into_iter().for_each(|(_, books)| books.spoil());
            return self.concern_all(seq, entry);
        }
        self.close(activity_id);
        for shard in shards {
            let gone = self.shards.remove(&shard).filter(|_| self.keep == Keep::All);
            gone.into_iter().for_each(|(sale, _)| drop(self.left.insert(shard, sale)));
        }
        self.activities.get_mut(&activity_id).into_iter().for_each(Whole::leave);
    }

    /// The checks of an activity that only its end allows, or the journal's.
    fn close(&mut self, activity_id: ActivityId) {
        let Some(whole) = self.activities.get(&activity_id).filter(|whole| !whole.faulty && !whole.retired) else {
            return;
        };
        let parts: Vec<&(Sale, Books)> = whole.shards().filter_map(|shard| self.shards.get(&shard)).collect();
        if parts.iter().any(|(_, books)| books.is_faulty()) {
            return;
        }
        parts.iter().for_each(|(sale, books)| books.close(sale, &mut self.report));
        whole.close(parts.iter().map(|(_, books)| books), &mut self.report);
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

    /// The number of the last event seen.
    #[must_use]
    pub fn last_seq(&self) -> Option<Seq> {
        self.last_seq
    }

    /// What was counted and what does not hold, after the checks that only the end allows.
    #[must_use]
    pub fn finish(mut self) -> Report {
        let activities: Vec<ActivityId> = self.activities.keys().copied().collect();
        activities.into_iter().for_each(|activity_id| self.close(activity_id));
        self.report
    }

    /// What was counted so far and what does not hold.
    #[must_use]
    pub fn report(&self) -> &Report {
        &self.report
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::definition::{Definition, OnLatePayment, SkuDefinition};
    use crate::domain::event::{ActivityDefined, Author, Change, OrderPlaced, Switch};
    use crate::domain::part::Spread;
    use crate::domain::slots::Slots;
    use crate::ids::{ActivityId, Cents, Qty, SkuIndex, UnixMillis, UserId};

    fn entry(at_ms: u64, event: Event) -> Entry {
        Entry { shard: ShardId(1), at_ms: UnixMillis(at_ms), event }
    }

    fn order(order: u32) -> Entry {
        let event = OrderPlaced {
            order,
            user: UserId(order.into()),
            sku: SkuIndex(0),
            slots: Slots::range(order, 1),
            amount_cents: Cents(1),
            expires_at_ms: UnixMillis(500),
            key: None,
            reference: None,
        };
        entry(10, Event::OrderPlaced(event))
    }

    /// An auditor after one order of ten units.
    fn auditor() -> Auditor {
        let sku = SkuDefinition {
            sku_id: "a".parse().expect("a SKU id"),
            title: String::new(),
            price_cents: Cents(1),
            stock: Qty(10),
        };
        let definition = Definition {
            title: String::new(),
            currency: "CNY".to_owned(),
            starts_at_ms: UnixMillis(1),
            ends_at_ms: UnixMillis(1_000),
            shards: 1,
            per_user_limit: Qty(1),
            payment_window_ms: 490,
            on_late_payment: OnLatePayment::Refund,
            shared_sku: false,
            skus: vec![sku],
        };
        let change = Change { change_id: 1, by: Author::StartUp, key: None };
        let event = ActivityDefined { activity_id: ActivityId(1), definition, from_catalog: false, change, part: None };
        let mut auditor = Auditor::new(Keep::Standing);
        auditor.observe(Seq(1), &entry(0, Event::ActivityDefined(Box::new(event))));
        auditor.observe(Seq(2), &order(1));
        auditor
    }

    fn broken(auditor: Auditor) -> Vec<Id> {
        let report = auditor.finish();
        report.findings().filter(|(_, finding)| finding.broken > 0).map(|(id, _)| id).collect()
    }

    /// Bugs in `apply`, which no journal shows: the sale's state is changed behind the auditor's back.
    #[test]
    fn a_sale_that_differs_from_the_books_is_named() {
        type Plant = fn(&mut Sale);
        let plants: [(&[Id], &str, Plant); 5] = [
            (&[Id::S1], "a unit is held that is not", |sale| sale.skus[0].held += 1),
            (&[Id::S1, Id::S2], "a free unit is lost", |sale| sale.skus[0].free.remove(&Slots::range(10, 1))),
            (&[Id::S2], "a held slot is free as well, and another is lost", |sale| {
                sale.skus[0].free.remove(&Slots::range(10, 1));
                sale.skus[0].free.add(&Slots::range(1, 1));
            }),
            (&[Id::S2], "a slot is free that never was", |sale| {
                sale.skus[0].free.remove(&Slots::range(10, 1));
                sale.skus[0].free.add(&Slots::range(11, 1));
            }),
            (&[Id::S3], "an order is shown in another state", |sale| {
                let order = sale.orders.get_mut(1).expect("it was placed");
                order.state = crate::domain::order::OrderState::Cancelled;
            }),
        ];
        for (ids, what, plant) in plants {
            let mut auditor = auditor();
            plant(&mut auditor.shards.get_mut(&ShardId(1)).expect("it is defined").0);
            auditor.observe(Seq(3), &order(2));
            assert_eq!(broken(auditor), ids, "{what}");
        }
        assert_eq!(broken(auditor()), []);
    }

    #[test]
    fn an_event_that_touches_no_unit_compares_none() {
        let mut auditor = auditor();
        let before = auditor.report().finding(Id::S1).map(|finding| finding.checked);
        let change = Change { change_id: 2, by: Author::StartUp, key: None };
        let switched = crate::domain::event::SaleSwitched { to: Switch::Paused, change };
        auditor.observe(Seq(3), &entry(11, Event::SaleSwitched(Box::new(switched))));
        assert_eq!(auditor.report().finding(Id::S1).map(|finding| finding.checked), before);
    }

    /// An auditor after a home with ten units has given four of them to its other part.
    fn auditor_of_parts() -> Auditor {
        let sole = auditor().shards.remove(&ShardId(1)).expect("it is defined").0;
        let definition = Definition { shards: 2, ..sole.definition().clone() };
        let change = Change { change_id: 1, by: Author::StartUp, key: None };
        let mut auditor = Auditor::new(Keep::Standing);
        for number in 0..2 {
            let part = Some(Part { home: ShardId(1), number, spread: Spread::default() });
            let (definition, change) = (definition.clone(), change.clone());
            let first = ActivityDefined { activity_id: ActivityId(1), definition, from_catalog: false, change, part };
            let shard = ShardId(1 + u32::from(number));
            let event = Event::ActivityDefined(Box::new(first));
            auditor.observe(Seq(1 + u64::from(number)), &Entry { shard, ..entry(0, event) });
        }
        auditor.observe(Seq(3), &entry(1, Event::SlotsMoved(moved(7, 4))));
        auditor
    }

    fn moved(first: u32, count: u32) -> SlotsMoved {
        SlotsMoved { to: ShardId(2), sku: SkuIndex(0), slots: Slots::range(first, count) }
    }

    #[test]
    fn a_part_that_differs_from_the_books_is_named() {
        type Plant = fn(&mut (Sale, Books));
        let plants: [(&[Id], &str, ShardId, Plant); 7] = [
            (&[Id::S1, Id::S2], "the giver keeps a slot", ShardId(1), |(sale, _)| {
                sale.skus[0].free.add(&Slots::range(7, 1));
            }),
            (&[Id::S1, Id::S2], "the taker does not take a slot in", ShardId(2), |(sale, _)| {
                sale.skus[0].free.remove(&Slots::range(7, 1));
            }),
            (&[Id::S1, Id::S5], "a part has what its home never gave", ShardId(2), |(sale, books)| {
                sale.receive(SkuIndex(0), &Slots::range(11, 1));
                books.take_in(&moved(11, 1));
            }),
            (&[Id::S1, Id::S5], "a slot is in no part", ShardId(2), |(sale, books)| {
                sale.skus[0].free.remove(&Slots::range(8, 1));
                books.give_away(&moved(8, 1));
            }),
            (
                &[Id::S5],
                "a part has what its home never gave, and another slot is in no part",
                ShardId(2),
                |(sale, books)| {
                    sale.receive(SkuIndex(0), &Slots::range(11, 1));
                    books.take_in(&moved(11, 1));
                    sale.skus[0].free.remove(&Slots::range(8, 1));
                    books.give_away(&moved(8, 1));
                },
            ),
            (&[Id::S5], "a slot is in two parts, and another in none", ShardId(2), |(sale, books)| {
                sale.receive(SkuIndex(0), &Slots::range(1, 1));
                books.take_in(&moved(1, 1));
                sale.skus[0].free.remove(&Slots::range(8, 1));
                books.give_away(&moved(8, 1));
            }),
            (&[Id::U4], "a part is paused that is not", ShardId(1), |(sale, _)| sale.paused = true),
        ];
        for (ids, what, shard, plant) in plants {
            let mut auditor = auditor_of_parts();
            plant(auditor.shards.get_mut(&shard).expect("it is defined"));
            auditor.observe(Seq(4), &entry(2, Event::SlotsMoved(moved(5, 1))));
            let change = Change { change_id: 2, by: Author::StartUp, key: None };
            let switched = crate::domain::event::SaleSwitched { to: Switch::Closed, change };
            auditor.observe(Seq(5), &entry(3, Event::SaleSwitched(Box::new(switched))));
            assert_eq!(broken(auditor), ids, "{what}");
        }
        assert_eq!(broken(auditor_of_parts()), []);
    }
}
