//! The auditor's books of payments: an owner's payments by number, the ids of all owners, and the sums of money. What a
//! payment may do follows from where the books have its order, not from the sale's rules.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;

use super::books::Books;
use super::report::{Id, Report};
use crate::domain::definition::OnLatePayment;
use crate::domain::event::{Event, OrderRefunded, Outcome, PaymentReceived};
use crate::domain::order::OrderState;
use crate::domain::payment::{PaymentState, PaymentView, Why, payment_key};
use crate::domain::sale::Sale;
use crate::domain::slots::Slots;
use crate::ids::{Cents, KeyDigest, Seq, ShardId, UnixMillis};

/// Every payment id of the journal, by its digest, with its owner: those of activities that have left stay.
#[derive(Default)]
pub(super) struct Received(FxHashMap<KeyDigest, ShardId>);

impl Received {
    /// Whether this is the first time that a payment of that id comes, whoever receives it.
    pub fn once(&mut self, seq: Seq, owner: ShardId, payment_id: &str, report: &mut Report) -> bool {
        let first = self.0.insert(payment_key(payment_id), owner);
        report.check(Id::M5, first.is_none(), || {
            format!("event {seq}: payment {payment_id} comes to shard {owner}, and came to shard {first:?} before")
        });
        first.is_none()
    }
}

/// What came in and what became of it, in one currency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sum {
    pub received: u128,
    pub done: u128,
    pub due: u128,
    /// What paid orders cost, as the sales show them.
    pub cost: u128,
}

impl Sum {
    /// What is neither paid back nor owed back; `None` where more is than ever came.
    pub fn kept(&self) -> Option<u128> {
        self.received.checked_sub(self.done)?.checked_sub(self.due)
    }
}

/// By currency.
pub(super) type Sums = BTreeMap<Box<str>, Sum>;

/// Adds an owner's sums to those of all.
pub(super) fn add(all: &mut Sums, of_owner: Sums) {
    for (currency, sum) in of_owner {
        let total = all.entry(currency).or_default();
        let Sum { received, done, due, cost } = sum;
        *total = Sum {
            received: total.received + received,
            done: total.done + done,
            due: total.due + due,
            cost: total.cost + cost,
        };
    }
}

/// Whether over everything what was kept is what paid orders cost, in each currency (M6).
pub(super) fn balance(all: &Sums, report: &mut Report) {
    for (currency, sum) in all {
        report.check(Id::M6, sum.kept() == Some(sum.cost), || format!("over everything, {currency}: {sum:?}"));
    }
}

struct PaymentEntry {
    order: u32,
    amount_cents: Cents,
    /// Where it is not the activity's.
    currency: Option<Box<str>>,
    state: PaymentState,
}

/// One owner's payments.
#[derive(Default)]
pub(super) struct PaymentBook {
    all: Vec<PaymentEntry>,
    /// In the activity's currency.
    own: Sum,
    others: Sums,
}

impl PaymentBook {
    /// Whether that is the owner's next payment.
    pub fn is_next(&self, seq: Seq, number: u32, report: &mut Report) -> bool {
        let next = usize::try_from(number).is_ok_and(|number| number == self.all.len() + 1);
        report.check(Id::M5, next, || format!("event {seq}: payment {number} is not its owner's next number"));
        next
    }

    pub fn enter(&mut self, order: u32, amount_cents: Cents, currency: Option<&str>, state: PaymentState) {
        let sum = self.sum(currency);
        sum.received += u128::from(amount_cents.0);
        if state == PaymentState::RefundDue {
            sum.due += u128::from(amount_cents.0);
        }
        self.all.push(PaymentEntry { order, amount_cents, currency: currency.map(Into::into), state });
    }

    fn sum(&mut self, currency: Option<&str>) -> &mut Sum {
        match currency {
            None => &mut self.own,
            Some(currency) => self.others.entry(currency.into()).or_default(),
        }
    }

    fn entry(&mut self, number: u32) -> Option<&mut PaymentEntry> {
        self.all.get_mut(usize::try_from(number).ok()?.checked_sub(1)?)
    }

    /// A payment that had paid its order is owed back.
    fn owe(&mut self, number: u32) {
        let Some(entry) = self.entry(number) else { return };
        entry.state = PaymentState::RefundDue;
        let cents = u128::from(entry.amount_cents.0);
        self.own.due += cents;
    }

    /// Somebody paid it back; `false` where it was not owed back.
    pub fn done(&mut self, seq: Seq, number: u32, report: &mut Report) -> bool {
        let entry = self.entry(number).filter(|entry| entry.state == PaymentState::RefundDue);
        report.check(Id::M6, entry.is_some(), || {
            format!("event {seq}: payment {number} was paid back and was not owed back")
        });
        let Some(entry) = entry else { return false };
        entry.state = PaymentState::Refunded;
        let (cents, currency) = (u128::from(entry.amount_cents.0), entry.currency.clone());
        let sum = self.sum(currency.as_deref());
        sum.due -= cents;
        sum.done += cents;
        true
    }

    pub fn count(&self) -> usize {
        self.all.len()
    }

    pub fn owes(&self) -> bool {
        self.all.iter().any(|entry| entry.state == PaymentState::RefundDue)
    }

    /// Holds what the state shows of a payment against the books.
    pub fn compare(&self, number: usize, shown: Option<&PaymentView>, report: &mut Report, at: impl Fn() -> String) {
        let known = number.checked_sub(1).and_then(|place| self.all.get(place));
        let same = known.zip(shown).is_some_and(|(known, shown)| {
            let currency = known.currency.as_deref().is_none_or(|currency| *shown.currency == *currency);
            let order = shown.order_id.and_then(|id| id.sequence()).filter(|_| known.order > 0);
            let named = known.order == 0 || order == Some(known.order);
            (known.state, known.amount_cents) == (shown.state, shown.amount_cents) && currency && named
        });
        report.check(Id::M5, same, || format!("{}: payment {number} is shown otherwise than the books have it", at()));
    }

    /// Each currency's sums, the activity's own by its name. What an owner keeps must be what its paid orders cost; where
    /// it has other currencies, nothing (M6).
    pub fn close(&self, own: &str, cost: u128, owner: ShardId, report: &mut Report) -> Sums {
        let mut sums = self.others.clone();
        if self.all.iter().any(|entry| entry.currency.is_none()) || cost > 0 {
            sums.insert(own.into(), Sum { cost, ..self.own });
        }
        for (currency, sum) in &sums {
            report.check(Id::M6, sum.kept() == Some(sum.cost), || {
                let Sum { received, done, due, cost } = sum;
                format!(
                    "shard {owner}: {currency} received {received} - refunds done {done} - refunds due {due} against \
                     {cost}, which its paid orders cost"
                )
            });
        }
        sums
    }
}

impl Books {
    /// Enters a payment of an order of this shard.
    pub(super) fn paid(&mut self, seq: Seq, at_ms: UnixMillis, event: &PaymentReceived, report: &mut Report) -> bool {
        let number = event.order;
        let next = self.payments.is_next(seq, event.payment, report);
        let Some(order) = self.order(number) else {
            report.broken(Id::M5, format!("event {seq}: a payment is for order {number}, which never was"));
            return false;
        };
        let own_named = event.currency.as_deref() == Some(&*self.definition.currency);
        report.check(Id::M5, !own_named, || format!("event {seq}: the activity's own currency stands as another"));
        let fits = event.currency.is_none() && event.amount_cents == order.amount_cents;
        let sound = match &event.outcome {
            Outcome::Applied => {
                let was_held = order.state == OrderState::Held;
                report.check(Id::M5, fits, || {
                    format!("event {seq}: order {number} is paid with another amount or currency")
                });
                report.check(Id::S3, was_held, || format!("event {seq}: order {number} is paid but was not held"));
                let in_time = at_ms < order.expires_at_ms;
                report.check(Id::S4, !was_held || in_time, || {
                    format!("event {seq}: order {number} is paid after its hold had run out")
                });
                fits && was_held && in_time && self.buy_held(seq, number, report)
            }
            Outcome::Reacquired(slots) => {
                report.check(Id::M5, fits, || {
                    format!("event {seq}: order {number} is paid with another amount or currency")
                });
                fits && self.buy_fresh(seq, at_ms, number, slots, report)
            }
            Outcome::Due(why) => self.is_due(seq, at_ms, event, *why, fits, report),
        };
        if !next || own_named || !sound {
            return false;
        }
        let state = match event.outcome {
            Outcome::Applied | Outcome::Reacquired(_) => PaymentState::Applied,
            Outcome::Due(_) => PaymentState::RefundDue,
        };
        if state == PaymentState::Applied
            && let Some(order) = self.order_mut(number)
        {
            (order.state, order.paid_by) = (OrderState::Paid, event.payment);
            self.paid_cents += u128::from(event.amount_cents.0);
        }
        self.payments.enter(number, event.amount_cents, event.currency.as_deref(), state);
        self.balances(seq, report)
    }

    fn buy_held(&mut self, seq: Seq, number: u32, report: &mut Report) -> bool {
        let Some(order) = self.order(number) else { return false };
        let (sku, slots) = (order.sku, order.slots.clone());
        let bought = self.skus.get_mut(sku).is_some_and(|share| share.buy(&slots, number));
        report.check(Id::S2, bought, || format!("event {seq}: order {number} buys slots that it has not"));
        bought
    }

    /// An order whose hold has run out gets other units (S4).
    fn buy_fresh(&mut self, seq: Seq, at_ms: UnixMillis, number: u32, slots: &Slots, report: &mut Report) -> bool {
        let Some(order) = self.order(number) else { return false };
        let (user, sku, expired) = (order.user, order.sku, order.state == OrderState::Expired);
        report.check(Id::S3, expired, || {
            format!("event {seq}: order {number} gets fresh units, and its hold had not run out")
        });
        // Whose hold has not run out counts against the limit already: one fault, one name.
        if !expired {
            return false;
        }
        let well_formed = slots.is_well_formed();
        let as_many = well_formed && slots.count() == order.slots.count();
        let may = self.may_reacquire(at_ms, sku);
        report.check(Id::S4, as_many, || format!("event {seq}: order {number} gets another number of units"));
        report.check(Id::S4, may, || {
            format!("event {seq}: order {number} gets fresh units, which its activity does not allow now")
        });
        let units = self.units_of_user.get(&user).copied().unwrap_or(0) + u64::from(slots.count());
        let limit = self.definition.per_user_limit;
        let within = units <= u64::from(limit.0);
        report.check(Id::U1, !as_many || within, || {
            format!("event {seq}: user {user} has {units} units by a late payment, the limit is {limit}")
        });
        if !as_many || !may || !within {
            return false;
        }
        let free = self.skus.get_mut(sku).is_some_and(|share| share.take(slots, number) && share.buy(slots, number));
        report.check(Id::S2, free, || format!("event {seq}: order {number} takes slots that are not free"));
        self.units_of_user.insert(user, units);
        if let Some(order) = self.order_mut(number) {
            order.slots = slots.clone();
        }
        free
    }

    /// Whether a late payment may have fresh units of a SKU at that instant: the activity has not ended, and says so.
    fn may_reacquire(&self, at_ms: UnixMillis, sku: usize) -> bool {
        let definition = &self.definition;
        let listed = self.names.get(sku).is_some_and(|name| definition.skus.iter().any(|sku| sku.sku_id == *name));
        let window = definition.starts_at_ms..definition.ends_at_ms;
        listed
            && window.contains(&at_ms)
            && !self.closed
            && definition.on_late_payment == OnLatePayment::ReacquireOrRefund
    }

    /// Whether a payment is owed back for a reason that is one.
    fn is_due(
        &self,
        seq: Seq,
        at_ms: UnixMillis,
        event: &PaymentReceived,
        why: Why,
        fits: bool,
        report: &mut Report,
    ) -> bool {
        let number = event.order;
        let Some(order) = self.order(number) else { return false };
        let state = order.state;
        let demanded = match state {
            _ if !fits => Some(Why::Mismatch),
            OrderState::Held => None,
            OrderState::Expired => Some(Why::Late),
            OrderState::Cancelled => Some(Why::Cancelled),
            OrderState::Paid => Some(Why::AlreadyPaid),
            OrderState::Refunded => Some(Why::AlreadyRefunded),
        };
        let late = why == Why::Late || demanded == Some(Why::Late);
        report.check(if late { Id::S4 } else { Id::M5 }, demanded == Some(why), || {
            format!("event {seq}: a payment for order {number}, which is {state:?}, is owed back as {why:?}")
        });
        if demanded != Some(Why::Late) || why != Why::Late {
            return demanded == Some(why);
        }
        let units = u64::from(order.slots.count());
        let has = self.units_of_user.get(&order.user).copied().unwrap_or(0);
        let free = self.skus.get(order.sku).map_or(0, |share| share.free);
        let within = has + units <= u64::from(self.definition.per_user_limit.0);
        // Of several parts nobody can tell: what the books have here may have been under way then.
        let there = self.is_whole() && free >= units;
        let could = self.may_reacquire(at_ms, order.sku) && within && there;
        report.check(Id::S4, !could, || {
            format!("event {seq}: a payment for order {number} is owed back as late, and fresh units were there")
        });
        !could
    }

    /// Enters that an operator took a paid order back.
    pub(super) fn refunded(&mut self, seq: Seq, event: &OrderRefunded, report: &mut Report) -> bool {
        let number = event.order;
        // A grab is paid by nobody.
        let known = self.order(number).filter(|order| order.state == OrderState::Paid && order.paid_by > 0);
        report.check(Id::S3, known.is_some(), || format!("event {seq}: order {number} is refunded but was not paid"));
        let Some(order) = known else { return false };
        let paid_by = order.paid_by;
        report.check(Id::M5, paid_by == event.payment, || {
            format!("event {seq}: order {number} was paid by payment {paid_by}, not by {}", event.payment)
        });
        let (user, sku, slots, amount_cents) = (order.user, order.sku, order.slots.clone(), order.amount_cents);
        if paid_by != event.payment {
            return false;
        }
        if let Some(units) = self.units_of_user.get_mut(&user) {
            *units = units.saturating_sub(u64::from(slots.count()));
        }
        let back = !event.restock || self.skus.get_mut(sku).is_some_and(|share| share.sell_back(&slots, number));
        report.check(Id::S2, back, || format!("event {seq}: order {number} gives back slots that it has not"));
        if let Some(order) = self.order_mut(number) {
            (order.state, order.keeps) = (OrderState::Refunded, !event.restock);
        }
        self.paid_cents -= u128::from(amount_cents.0);
        self.payments.owe(event.payment);
        back && self.balances(seq, report)
    }

    /// Whether what the shard keeps is what its paid orders cost: after each event (M6). Counted from both ends, the
    /// payments and the orders.
    pub(super) fn balances(&self, seq: Seq, report: &mut Report) -> bool {
        let (sum, cost) = (&self.payments.own, self.paid_cents);
        let holds = sum.kept() == Some(cost);
        report
            .check(Id::M6, holds, || format!("event {seq}: paid orders cost {cost}, and of payments are kept {sum:?}"));
        holds
    }

    /// Holds what the sale shows of the payment and the order of `event` against the books.
    pub(super) fn compare_payment(&self, sale: &Sale, event: &Event, seq: Seq, report: &mut Report) {
        let (payment, order) = match event {
            Event::PaymentReceived(event) => (event.payment, event.order),
            Event::OrderRefunded(event) => (event.payment, event.order),
            Event::RefundDone(event) => (event.payment, 0),
            _ => return,
        };
        let shown = sale.payment(payment);
        self.payments.compare(payment as usize, shown.as_ref(), report, || format!("event {seq}"));
        if let Some(book) = self.order(order) {
            let same =
                sale.orders.get(order).is_some_and(|shown| (shown.state, &shown.slots) == (book.state, &book.slots));
            report.check(Id::S3, same, || format!("event {seq}: order {order} differs from the books"));
        }
    }

    /// Every payment as the sale shows it.
    pub(super) fn close_payments(&self, sale: &Sale, report: &mut Report) {
        let shard = sale.shard();
        let (shown, known) = (sale.payments.count() as usize, self.payments.count());
        // Where nobody ever paid there is nothing to check.
        if shown > 0 || known > 0 {
            report
                .check(Id::M5, shown == known, || format!("shard {shard}: it shows {shown} payments, and has {known}"));
        }
        for number in 1..=self.payments.count() {
            let shown = u32::try_from(number).ok().and_then(|number| sale.payment(number));
            self.payments.compare(number, shown.as_ref(), report, || format!("shard {shard}"));
        }
    }

    /// The shard's sums of money, with what its paid orders cost as the sale shows them.
    pub(super) fn close_sums(&self, sale: &Sale, report: &mut Report) -> Sums {
        let is_sale = self.definition.packets.is_none();
        let paid = sale.orders.from(1).filter(|(_, order)| is_sale && order.state == OrderState::Paid);
        let cost = paid.map(|(_, order)| u128::from(order.amount_cents.0)).sum();
        self.payments.close(&self.definition.currency, cost, sale.shard(), report)
    }
}
