//! The books of the suspense account: payments that are owed back from the beginning, and nothing else.

use super::payments::{PaymentBook, Received, Sums};
use super::report::{Id, Report};
use crate::domain::event::{Entry, Event, PaymentSuspended};
use crate::domain::payment::{PaymentState, Why};
use crate::domain::suspense::Suspense;
use crate::ids::{Seq, UnixMillis};

#[derive(Default)]
pub(super) struct Account {
    pub state: Suspense,
    pub payments: PaymentBook,
    last_at_ms: UnixMillis,
    /// Whether an event could not be true, so that later ones cannot be judged.
    faulty: bool,
}

impl Account {
    /// Checks an event of shard 0 and takes it in.
    pub fn observe(&mut self, seq: Seq, entry: &Entry, received: &mut Received, report: &mut Report) {
        if self.faulty {
            return;
        }
        let at_ms = entry.at_ms;
        report.check(Id::J5, at_ms >= self.last_at_ms, || {
            format!("event {seq} of the suspense account is at {at_ms}, after one at {}", self.last_at_ms)
        });
        self.last_at_ms = self.last_at_ms.max(at_ms);
        let number = match &entry.event {
            Event::PaymentSuspended(event) => {
                self.suspended(seq, event, received, report).then_some(event.payment as usize)
            }
            Event::RefundDone(event) => {
                self.payments.done(seq, event.payment, report).then_some(event.payment as usize)
            }
            _ => {
                report.broken(Id::U4, format!("event {seq} is an activity's, of shard 0, which no activity has"));
                None
            }
        };
        let Some(number) = number else {
            self.faulty = true;
            return;
        };
        self.state.apply(entry);
        self.compare(number, report);
    }

    fn suspended(&mut self, seq: Seq, event: &PaymentSuspended, received: &mut Received, report: &mut Report) -> bool {
        let once = received.once(seq, Suspense::SHARD, &event.payment_id, report);
        let next = self.payments.is_next(seq, event.payment, report);
        // Nothing here ever paid an order that could have been refunded.
        let sound = event.why != Why::OrderRefunded;
        report.check(Id::M5, sound, || format!("event {seq}: a suspended payment is owed back as {:?}", event.why));
        if once && next && sound {
            self.payments.enter(0, event.amount_cents, Some(&event.currency), PaymentState::RefundDue);
        }
        once && next && sound
    }

    fn compare(&self, number: usize, report: &mut Report) {
        let shown = u32::try_from(number).ok().and_then(|number| self.state.payment(number));
        self.payments.compare(number, shown.as_ref(), report, || "the suspense account".to_owned());
    }

    /// Every payment as the account shows it, and its sums of money; `None` where it could not be judged.
    pub fn close(&self, report: &mut Report) -> Option<Sums> {
        if self.faulty {
            return None;
        }
        let (shown, known) = (self.state.payments_from(1).count(), self.payments.count());
        if shown > 0 || known > 0 {
            report.check(Id::M5, shown == known, || {
                format!("the suspense account shows {shown} payments, and has {known}")
            });
        }
        (1..=self.payments.count()).for_each(|number| self.compare(number, report));
        Some(self.payments.close("", 0, Suspense::SHARD, report))
    }
}
