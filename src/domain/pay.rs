//! Paying: a payment comes for an order, in time, too late, twice, or of another amount. Whatever it is, it is recorded;
//! what it does follows from where the order stands.

use smallvec::smallvec;

use super::command::{Decision, PayOrder};
use super::definition::OnLatePayment;
use super::event::{Event, Events, HoldsExpired, Outcome, PaymentReceived};
use super::expire::EXPIRE_STEP_ORDERS;
use super::order::{Order, OrderState, Step};
use super::payment::{Payment, PaymentView, Refund, Why};
use super::refusal::Refusal;
use super::sale::{Phase, Sale};
use super::slots::Slots;
use crate::ids::UnixMillis;

impl Sale {
    /// Where the units that a late payment needs are not here, and it may wait for them: [`Refusal::SoldOut`].
    pub(super) fn pay(&self, command: &PayOrder, now_ms: UnixMillis) -> Result<Decision, Refusal> {
        let currency = (*command.currency != *self.definition.currency).then(|| command.currency.clone());
        if let Some((number, known)) = self.payments.find(&command.payment_id) {
            let same =
                (known.order, known.amount_cents, &known.currency) == (command.order, command.amount_cents, &currency);
            return if same { Ok(Decision::payment(Events::new(), number, true)) } else { Err(Refusal::PaymentReused) };
        }
        // A grab is nobody's to pay.
        let order = self.orders.get(command.order).filter(|_| self.rounds.is_empty()).ok_or(Refusal::OrderNotFound)?;
        let fits = currency.is_none() && command.amount_cents == order.amount_cents;
        let (outcome, ended) = match order.state {
            _ if !fits => (Outcome::Due(Why::Mismatch), Vec::new()),
            OrderState::Held if now_ms < order.expires_at_ms => (Outcome::Applied, Vec::new()),
            OrderState::Held | OrderState::Expired => {
                let ended = self.ended_of(command.order, order, now_ms);
                match self.reacquire(order, &ended, now_ms) {
                    Ok(Some(slots)) => (Outcome::Reacquired(slots), ended),
                    Ok(None) if command.may_wait => return Err(Refusal::SoldOut),
                    Ok(None) | Err(TooLate) => (Outcome::Due(Why::Late), ended),
                }
            }
            OrderState::Paid => (Outcome::Due(Why::AlreadyPaid), Vec::new()),
            OrderState::Cancelled => (Outcome::Due(Why::Cancelled), Vec::new()),
            OrderState::Refunded => (Outcome::Due(Why::AlreadyRefunded), Vec::new()),
        };
        let number =
            self.payments.count().checked_add(1).ok_or(Refusal::TooLarge { what: "a shard's 2^32 payments" })?;
        let mut events: Events = smallvec![];
        if !ended.is_empty() {
            events.push(Event::HoldsExpired(HoldsExpired { orders: ended }));
        }
        events.push(Event::PaymentReceived(Box::new(PaymentReceived {
            payment: number,
            payment_id: command.payment_id.clone(),
            order: command.order,
            amount_cents: command.amount_cents,
            currency,
            outcome,
        })));
        Ok(Decision::payment(events, number, false))
    }

    /// The holds of a late order's user whose deadline has passed and whose release is a moment away: they end with the
    /// payment, a step of them, for until then they count against the limit. The order's own comes first.
    fn ended_of(&self, number: u32, order: &Order, now_ms: UnixMillis) -> Vec<u32> {
        let has_lapsed = |order: &Order| order.state == OrderState::Held && now_ms >= order.expires_at_ms;
        let others = self.orders.of_user(order.user).filter(|(other, _)| *other != number);
        let others = others.filter(|(_, other)| has_lapsed(other)).map(|(other, _)| other);
        has_lapsed(order).then_some(number).into_iter().chain(others).take(EXPIRE_STEP_ORDERS).collect()
    }

    /// The fresh slots that an order whose hold has run out may have (S4); `None` where too few are free here.
    fn reacquire(&self, order: &Order, ended: &[u32], now_ms: UnixMillis) -> Result<Option<Slots>, TooLate> {
        let open = matches!(self.phase(now_ms), Phase::Running | Phase::Paused);
        let policy = self.definition.on_late_payment == OnLatePayment::ReacquireOrRefund;
        let others = self.orders.of_user(order.user).map(|(_, other)| other);
        let live: u32 = others.filter(|other| other.state.is_live()).map(|other| other.quantity().0).sum();
        let released = |number: &u32| self.orders.get(*number).map_or(0, |other| other.quantity().0);
        let units = live - ended.iter().map(released).sum::<u32>() + order.quantity().0;
        let sku = self.sku(order.sku);
        if !open || !policy || !sku.listed || units > self.definition.per_user_limit.0 {
            return Err(TooLate);
        }
        // What it gives back at this instant is free, and nobody was before it.
        if order.state == OrderState::Held {
            return Ok(Some(order.slots.clone()));
        }
        let quantity = order.quantity().0;
        Ok(sku.free.lowest(quantity).or_else(|| {
            // So is what its user's other holds give back with it. Few are free: a copy is small.
            let mut free = sku.free.clone();
            let others = ended.iter().filter_map(|number| self.orders.get(*number));
            others.filter(|other| other.sku == order.sku).for_each(|other| free.add(&other.slots));
            free.lowest(quantity)
        }))
    }

    pub(super) fn apply_payment(&mut self, at_ms: UnixMillis, event: &PaymentReceived) {
        assert_eq!(event.payment, self.payments.count() + 1, "M5: a shard's payments are numbered without a gap");
        let order = self.orders.get(event.order).expect("M5: an order that is paid was placed");
        let fits = (event.amount_cents, &event.currency) == (order.amount_cents, &None);
        let refund = match &event.outcome {
            Outcome::Applied => {
                assert!(fits && at_ms < order.expires_at_ms, "S4, M5: it is this order's and in time");
                self.take_step(event.order, Step::Pay);
                None
            }
            Outcome::Reacquired(slots) => {
                assert!(fits, "M5: it is this order's");
                assert_eq!(slots.count(), order.quantity().0, "S4: as many units as before");
                self.take_fresh(event.order, slots);
                None
            }
            Outcome::Due(why) => Some(Box::new(Refund { why: *why, due_at_ms: at_ms, ordered: None, done: None })),
        };
        let is_new = self.payments.push(Payment {
            payment_id: event.payment_id.clone(),
            order: event.order,
            amount_cents: event.amount_cents,
            currency: event.currency.clone(),
            received_at_ms: at_ms,
            reacquired: matches!(event.outcome, Outcome::Reacquired(_)),
            refund,
            previous_of_order: 0,
        });
        assert!(is_new, "M5: a payment id is received once");
    }

    /// Gives an order that has expired other units, for good.
    fn take_fresh(&mut self, number: u32, slots: &Slots) {
        self.take_step(number, Step::Reacquire);
        let order = self.orders.get_mut(number).expect("it was just looked at");
        order.slots = slots.clone();
        let index = order.sku;
        self.sku_mut(index).free.remove(slots);
    }

    /// The payment of that number.
    #[must_use]
    pub fn payment(&self, number: u32) -> Option<PaymentView> {
        self.payments.get(number).map(|payment| self.payment_view(number, payment))
    }

    /// The payment of that id.
    #[must_use]
    pub fn find_payment(&self, payment_id: &str) -> Option<PaymentView> {
        self.payments.find(payment_id).map(|(number, payment)| self.payment_view(number, payment))
    }

    /// All payments from number `first` on, oldest first.
    pub fn payments_from(&self, first: u32) -> impl Iterator<Item = PaymentView> + '_ {
        self.payments.from(first).map(|(number, payment)| self.payment_view(number, payment))
    }

    /// Whether money of this shard's is owed back.
    #[must_use]
    pub fn owes(&self) -> bool {
        self.payments.any_due()
    }

    pub(super) fn payment_view(&self, number: u32, payment: &Payment) -> PaymentView {
        let order_id = self.order_id(payment.order);
        PaymentView::of(number, payment, &order_id.to_string(), Some(order_id), &self.definition.currency)
    }
}

/// A late payment that nothing can be done for.
struct TooLate;
