//! The audit of a journal whose beginning was dropped: its fold starts from the oldest checkpoint that can be used.
//!
//! The auditor's own books cannot begin there: they would have to believe the very state that they are to judge. What is
//! left is what needs no books: numbers, links and decoding of the events; that every one of them applies; later
//! checkpoints against the fold from that one; and of the last state, that its units add up. The rest is told as not
//! checked, and never as holding.

use std::collections::HashMap;

use crate::domain::audit::{Id, Report};
use crate::domain::image::state_hash;
use crate::domain::suspense::Suspense;
use crate::domain::{Entry, Event, OrderView, Sale, Sales};
use crate::ids::{ActivityId, OrderId, Seq, ShardId, UnixMillis};
use crate::persist::checkpoint::{Store, check};
use crate::persist::{self, Read, Tail};

use super::acks::{Acks, Packet, Sought, Told};

/// How the words on what was not checked at all begin.
pub(super) const NOT_CHECKED: &str = "not check";

/// What the later checkpoints say, by event.
type Expected = HashMap<Seq, crate::domain::image::StateHash>;

/// Audits a journal that begins after `base`.
///
/// # Errors
/// Where it cannot be read at all; damage is a finding.
pub(super) fn audit<R: Read>(store: &Store, journal: &R, base: Seq, acks: Option<&Acks>) -> anyhow::Result<Report> {
    let mut report = Report::default();
    report.held(Id::J4, 1);
    let Some((from, sales, expected)) = oldest(store, journal, &mut report) else {
        let why = "the journal begins after event";
        report.broken(Id::J6, format!("{why} {base}, and no checkpoint stands for what came before"));
        Id::ALL.into_iter().for_each(|id| leave_out(&mut report, id, base, None));
        return Ok(report);
    };
    let mut fold =
        Fold { from: from.seq, sales, expected, times: HashMap::new(), left: HashMap::new(), is_fit: true, report };
    let mut events = 0;
    // What lies before the checkpoint is read as well: a record of it that does not hold is one all the same.
    let read = persist::replay(journal, journal.base()?.tail, Seq(u64::MAX), |seq, entry| {
        events += 1;
        fold.take(seq, &entry, acks.is_some());
    });
    let Fold { sales, left, mut report, .. } = fold;
    match read {
        Ok(_) => {
            report.held(Id::J1, events);
            report.held(Id::J2, events);
            report.held(Id::J3, 1);
            report.held(Id::J7, events);
        }
        Err(error) => match super::invariant_of(&error) {
            Some(id) => report.broken(id, error.to_string()),
            None => return Err(error.into()),
        },
    }
    sales.standing().keys().for_each(|activity_id| weigh(&sales, *activity_id, &mut report));
    if let Some(acks) = acks {
        let (checked, unknown, faults) = acks.look_for(&Kept { sales: &sales, left: &left });
        report.held(Id::A1, checked.saturating_sub(faults.len() as u64));
        faults.into_iter().for_each(|fault| report.broken(Id::A1, fault));
        if unknown > 0 {
            report.leave_out(
                Id::A1,
                format!("not checkable: {unknown}, of activities that left before event {}", from.seq),
            );
        }
    }
    Id::ALL.into_iter().for_each(|id| leave_out(&mut report, id, base, Some(from.seq)));
    Ok(report)
}

/// The oldest checkpoint that can be used, with its state, and what the later ones say. Those that cannot are faults.
fn oldest<R: Read>(store: &Store, journal: &R, report: &mut Report) -> Option<(Tail, Sales, Expected)> {
    let listed = match store.list() {
        Ok(listed) => listed,
        Err(error) => {
            report.broken(Id::J6, error.to_string());
            return None;
        }
    };
    let (mut first, mut expected) = (None, Expected::new());
    for listed in listed {
        match check(store, journal, listed) {
            Ok(manifest) => {
                expected.insert(manifest.tail.seq, manifest.state);
                // The newest comes first.
                first = Some(manifest);
            }
            Err(passed_over) => report.broken(Id::J6, passed_over.to_string()),
        }
    }
    let first = first?;
    expected.remove(&first.tail.seq);
    let sales = store.load(&first, None, || Ok(())).ok()?;
    Some((first.tail, sales, expected))
}

/// What is not checked of a journal that begins after `base`, the fold of which began after `from`.
fn leave_out(report: &mut Report, id: Id, base: Seq, from: Option<Seq>) {
    let Some(from) = from else {
        return report.leave_out(id, format!("not checked: the journal begins after event {base}"));
    };
    match id {
        Id::J1 | Id::J2 | Id::J5 | Id::J7 => report.leave_out(id, format!("from event {} on", base.0 + 1)),
        Id::J6 => report.leave_out(id, format!("by the fold from the checkpoint at event {from}, which is believed")),
        Id::S1 => report.leave_out(id, "of the last state only".to_owned()),
        Id::J3 | Id::J4 | Id::A1 | Id::X2 | Id::X3 => {}
        _ => report.leave_out(id, format!("not checked: the journal begins after event {base}")),
    }
}

struct Fold {
    /// Up to where the checkpoint has the events already.
    from: Seq,
    sales: Sales,
    expected: Expected,
    times: HashMap<ShardId, UnixMillis>,
    /// The orders of activities that left on the way, by shard: for who asks for one after the fold.
    left: HashMap<ShardId, Vec<(OrderView, Option<Packet>)>>,
    is_fit: bool,
    report: Report,
}

impl Fold {
    fn take(&mut self, seq: Seq, entry: &Entry, keep: bool) {
        let last = self.times.insert(entry.shard, entry.at_ms);
        let shard = entry.shard;
        self.report.check(Id::J5, last.is_none_or(|last| last <= entry.at_ms), || {
            format!("event {seq} of shard {shard} is of a time before the one before it")
        });
        if !self.is_fit || seq <= self.from {
            return;
        }
        if let (true, Event::ActivityRetired(_), Some(home)) = (keep, &entry.event, self.sales.get(shard)) {
            for sale in self.sales.parts(home.activity_id()) {
                let with_packet = |order: OrderView| {
                    let packet = sale.packet_of(&order);
                    (order, packet)
                };
                self.left.insert(sale.shard(), sale.orders_from(1).map(with_packet).collect());
            }
        }
        if let Err(unfit) = self.sales.take(seq, entry) {
            self.is_fit = false;
            return self.report.broken(Id::U4, unfit.to_string());
        }
        if let Some(state) = self.expected.remove(&seq) {
            let folded = state_hash(&self.sales);
            self.report.check(Id::J6, folded == state, || {
                format!("the checkpoint at event {seq} has state {state}, the fold from the oldest one {folded}")
            });
        }
    }
}

/// Whether the units of an activity's parts add up to what its definition says.
fn weigh(sales: &Sales, activity_id: ActivityId, report: &mut Report) {
    let Some(home) = sales.parts(activity_id).find(|sale| sale.part().is_home()) else { return };
    for sku in &home.definition().skus {
        let counts = sales.parts(activity_id).flat_map(Sale::counts).filter(|count| count.sku_id == sku.sku_id);
        let units: u64 =
            counts.flat_map(|count| [count.available, count.held, count.sold].map(|units| u64::from(units.0))).sum();
        report.check(Id::S1, units == u64::from(sku.stock.0), || {
            format!("SKU {} of activity {activity_id}: {units} units of {}", sku.sku_id, sku.stock)
        });
    }
}

/// Where acknowledged orders are looked for.
struct Kept<'a> {
    sales: &'a Sales,
    left: &'a HashMap<ShardId, Vec<(OrderView, Option<Packet>)>>,
}

impl Sought for Kept<'_> {
    fn suspense(&self) -> Option<&Suspense> {
        Some(self.sales.suspense())
    }

    fn order(&self, id: OrderId) -> Told {
        let Some((shard, number)) = id.shard().zip(id.sequence()) else { return Told::Absent };
        if let Some(sale) = self.sales.get(shard) {
            return Told::in_sale(sale, number).unwrap_or(Told::Absent);
        }
        if let Some(orders) = self.left.get(&shard) {
            let order = orders.iter().find(|(order, _)| order.order_id == id).cloned();
            return order.map_or(Told::Absent, |(order, packet)| Told::Order(order, packet));
        }
        let has_left = self.sales.retired().values().any(|retired| {
            let home = retired.home.home;
            (home.0..home.0 + u32::from(retired.definition.shards.max(1))).contains(&shard.0)
        });
        if has_left { Told::Unknown } else { Told::Absent }
    }
}
