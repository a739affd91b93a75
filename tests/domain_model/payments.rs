//! What the model knows of payments: a list of all that ever came, and what the contract says of each.

use doorbuster::domain::command::{CloseRefund, PayOrder, RefundOrder, RequestKey};
use doorbuster::domain::definition::OnLatePayment;
use doorbuster::domain::event::{Author, Event, OrderRefunded, Outcome, RefundDone};
use doorbuster::domain::payment::Why;
use doorbuster::domain::{OrderState, PaymentState, PaymentView, Phase, Refusal};

use crate::model::{Expected, Model, ModelOrder, refused};

/// What a payment does: whether the hold's end is written down with it, and what follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paid {
    pub lapsed: bool,
    pub does: Does,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Does {
    Applied,
    Reacquired,
    Due(Why),
}

#[derive(Clone, Debug)]
pub struct ModelPayment {
    pub id: Box<str>,
    pub order: u32,
    pub amount: u64,
    pub currency: Box<str>,
    pub paid: Paid,
    pub state: PaymentState,
    pub received_at: u64,
    pub due_at: Option<u64>,
    pub done_at: Option<u64>,
    /// Who ordered the refund, and who said that it was done, by what keys.
    pub ordered: Option<(Author, Option<RequestKey>)>,
    pub done: Option<(Author, Option<RequestKey>)>,
}

impl ModelPayment {
    pub fn does(&self) -> Paid {
        self.paid
    }
}

impl Model {
    fn live_units(&self, order: &ModelOrder) -> usize {
        let live = |other: &&ModelOrder| {
            other.user == order.user && matches!(other.state, OrderState::Held | OrderState::Paid)
        };
        self.orders.iter().filter(live).map(|other| other.slots.len()).sum()
    }

    /// The holds of an order's user that have run out and are not released: its own first, then the newest first.
    fn lapsed_of(&self, now: u64, order: u32) -> Vec<u32> {
        let user = self.orders[order as usize - 1].user;
        let has_lapsed =
            |other: &ModelOrder| other.user == user && other.state == OrderState::Held && other.expires_at <= now;
        let mut numbers: Vec<u32> =
            (1..).zip(&self.orders).filter(|(_, other)| has_lapsed(other)).map(|(n, _)| n).collect();
        numbers.sort_by_key(|number| (*number != order, std::cmp::Reverse(*number)));
        numbers
    }

    pub fn expect_pay(&self, now: u64, pay: &PayOrder) -> Expected {
        if let Some((number, known)) = (1..).zip(&self.payments).find(|(_, known)| known.id == pay.payment_id) {
            let same = (known.order, known.amount) == (pay.order, pay.amount_cents.0) && known.currency == pay.currency;
            return if same {
                Expected::Known { payment: number, replayed: true }
            } else {
                refused(Refusal::PaymentReused)
            };
        }
        let order = pay.order.checked_sub(1).and_then(|place| self.orders.get(place as usize));
        let Some(order) = order else { return refused(Refusal::OrderNotFound) };
        let does = |lapsed, does| Expected::Payment(Paid { lapsed, does });
        if *pay.currency != *self.definition.currency || pay.amount_cents.0 != order.amount {
            return does(false, Does::Due(Why::Mismatch));
        }
        match order.state {
            OrderState::Held if now < order.expires_at => return does(false, Does::Applied),
            OrderState::Paid => return does(false, Does::Due(Why::AlreadyPaid)),
            OrderState::Cancelled => return does(false, Does::Due(Why::Cancelled)),
            OrderState::Refunded => return does(false, Does::Due(Why::AlreadyRefunded)),
            OrderState::Held | OrderState::Expired => {}
        }
        // As if all of the user's holds that have run out had ended a moment before, and their units were free.
        let quantity = order.slots.len();
        let ended = self.lapsed_of(now, pay.order);
        let of_ended = || ended.iter().map(|number| &self.orders[*number as usize - 1]);
        let theirs: usize = of_ended().map(|other| other.slots.len()).sum();
        let given: usize = of_ended().filter(|other| other.sku == order.sku).map(|other| other.slots.len()).sum();
        let units = self.live_units(order) - theirs + quantity;
        let lapsed = !ended.is_empty();
        let may = matches!(self.phase(now), Phase::Running | Phase::Paused)
            && self.definition.on_late_payment == OnLatePayment::ReacquireOrRefund
            && self.definition.sku(&order.sku).is_some()
            && units <= self.definition.per_user_limit.0 as usize;
        let there = self.free_slots(&order.sku).len() + given >= quantity;
        match (may, there) {
            (true, true) => does(lapsed, Does::Reacquired),
            (true, false) if pay.may_wait => refused(Refusal::SoldOut),
            _ => does(lapsed, Does::Due(Why::Late)),
        }
    }

    pub fn expect_refund(&self, refund: &RefundOrder) -> Expected {
        let order = refund.order.checked_sub(1).and_then(|place| self.orders.get(place as usize));
        match order.map(|order| order.state) {
            None => refused(Refusal::OrderNotFound),
            Some(OrderState::Paid) => Expected::Event,
            Some(OrderState::Refunded) => {
                let ordered = self.payments.iter().filter(|payment| payment.order == refund.order);
                let ordered = ordered.filter_map(|payment| payment.ordered).next_back();
                match repeats(ordered, refund.request.by, refund.request.key) {
                    Ok(replayed) => Expected::Nothing { order: Some(refund.order), replayed },
                    Err(refusal) => refused(refusal),
                }
            }
            Some(state) => refused(Refusal::OrderNotRefundable { state }),
        }
    }

    pub fn expect_close(&self, close: &CloseRefund) -> Expected {
        let known = (1..).zip(&self.payments).find(|(_, known)| known.id == close.payment_id);
        let Some((number, known)) = known else { return refused(Refusal::PaymentNotFound) };
        match known.state {
            PaymentState::Applied => refused(Refusal::RefundNotDue),
            PaymentState::RefundDue => Expected::Event,
            PaymentState::Refunded => match repeats(known.done, close.request.by, close.request.key) {
                Ok(replayed) => Expected::Known { payment: number, replayed },
                Err(refusal) => refused(refusal),
            },
        }
    }

    /// Takes one event of a payment in.
    pub fn paid(&mut self, now: u64, pay: &PayOrder, event: &Event) {
        let place = pay.order as usize - 1;
        let event = match event {
            Event::HoldsExpired(expired) => {
                assert_eq!(expired.orders, self.lapsed_of(now, pay.order));
                expired.orders.iter().for_each(|number| self.orders[*number as usize - 1].state = OrderState::Expired);
                self.lapsed = true;
                return;
            }
            Event::PaymentReceived(event) => event,
            other => panic!("{pay:?} cannot lead to {other:?}"),
        };
        assert_eq!((event.payment as usize, event.order), (self.payments.len() + 1, pay.order), "M5");
        assert_eq!((&event.payment_id, event.amount_cents), (&pay.payment_id, pay.amount_cents));
        let foreign = *pay.currency != *self.definition.currency;
        assert_eq!(event.currency.as_deref(), foreign.then_some(&*pay.currency));
        let (does, state) = match &event.outcome {
            Outcome::Applied => (Does::Applied, PaymentState::Applied),
            Outcome::Reacquired(slots) => {
                let slots: std::collections::BTreeSet<u32> = slots.iter().collect();
                let order = &self.orders[place];
                assert!(slots.is_subset(&self.free_slots(&order.sku)), "S2: fresh units were free");
                assert_eq!(slots.len(), order.slots.len(), "S4: as many as before");
                self.orders[place].slots = slots;
                (Does::Reacquired, PaymentState::Applied)
            }
            Outcome::Due(why) => (Does::Due(*why), PaymentState::RefundDue),
        };
        if state == PaymentState::Applied {
            self.orders[place].state = OrderState::Paid;
        }
        self.payments.push(ModelPayment {
            id: pay.payment_id.clone(),
            order: pay.order,
            amount: pay.amount_cents.0,
            currency: pay.currency.clone(),
            paid: Paid { lapsed: std::mem::take(&mut self.lapsed), does },
            state,
            received_at: now,
            due_at: (state == PaymentState::RefundDue).then_some(now),
            done_at: None,
            ordered: None,
            done: None,
        });
    }

    pub fn refunded(&mut self, now: u64, refund: &RefundOrder, event: &OrderRefunded) {
        assert_eq!((event.order, event.restock), (refund.order, refund.restock));
        assert_eq!(event.change, refund.request.change());
        let order = &mut self.orders[refund.order as usize - 1];
        assert_eq!(std::mem::replace(&mut order.state, OrderState::Refunded), OrderState::Paid);
        order.keeps = !refund.restock;
        let payment = &mut self.payments[event.payment as usize - 1];
        assert_eq!((payment.order, payment.state), (refund.order, PaymentState::Applied), "M5: it paid this order");
        (payment.state, payment.due_at) = (PaymentState::RefundDue, Some(now));
        payment.ordered = Some((refund.request.by, refund.request.key));
    }

    pub fn paid_back(&mut self, now: u64, close: &CloseRefund, event: &RefundDone) {
        assert_eq!(event.change, close.request.change());
        let payment = &mut self.payments[event.payment as usize - 1];
        assert_eq!((&payment.id, payment.state), (&close.payment_id, PaymentState::RefundDue), "M6");
        (payment.state, payment.done_at) = (PaymentState::Refunded, Some(now));
        payment.done = Some((close.request.by, close.request.key));
    }

    /// The payments of an order as the sale shows them.
    pub fn assert_shows(&self, order: u32, shown: &[PaymentView]) {
        let own: Vec<(u32, &ModelPayment)> = (1..).zip(&self.payments).filter(|(_, own)| own.order == order).collect();
        assert_eq!(own.len(), shown.len(), "order {order}");
        for ((number, own), shown) in own.into_iter().zip(shown) {
            assert_eq!((number, &own.id), (shown.number, &shown.payment_id), "oldest first");
            assert_eq!((own.amount, &own.currency), (shown.amount_cents.0, &shown.currency));
            assert_eq!(shown.order_id.and_then(|id| id.sequence()), Some(order));
            let why = match (own.paid.does, own.ordered) {
                (Does::Due(why), None) => Some(why),
                (_, Some(_)) => Some(Why::OrderRefunded),
                (_, None) => None,
            };
            assert_eq!((own.state, why), (shown.state, shown.why), "payment {number}");
            assert_eq!(own.paid.does == Does::Reacquired, shown.reacquired);
            let at = |at: Option<doorbuster::ids::UnixMillis>| at.map(|at| at.0);
            let times = (shown.received_at_ms.0, at(shown.due_at_ms), at(shown.done_at_ms));
            assert_eq!((own.received_at, own.due_at, own.done_at), times, "payment {number}");
        }
    }
}

/// Whether a request is the one that did it, by its author and key.
fn repeats(did: Option<(Author, Option<RequestKey>)>, by: Author, key: Option<RequestKey>) -> Result<bool, Refusal> {
    match (did, key) {
        (Some((author, Some(known))), Some(key)) if author == by && known.key == key.key => {
            if known.body == key.body {
                Ok(true)
            } else {
                Err(Refusal::KeyReused)
            }
        }
        _ => Ok(false),
    }
}
