//! Paying: what becomes of the orders that the crowd won. Owners pay in time, late, twice or never, give orders up, and
//! send callbacks that must be refused; at the end an operator reconciles.
//!
//! ```text
//!   visit ──wins an order──▶ bill, due at some instant ──▶ the desk ──▶ a booth that is free takes the next step
//!                              ▲                                          │ callback, cancel, look; judged by the account
//!                              └──────────────── next step ───────────────┘
//!                                                     └ no step left ──▶ till ──when all are gone──▶ reconcile
//! ```
//!
//! A payment whose answer was lost is sent again with the same id until it is answered or the crowd's patience ends.
//! Steps of one order follow each other; only copies of one callback, or a payment and a cancel, are on their way at once.

mod account;
mod callback;
mod habits;
mod listing;
mod outcome;
mod reconcile;
mod sign;
mod till;

use std::time::Duration;

use anyhow::{Result, bail};

use self::account::{Account, Aim, Slip, Told, Window};
use self::callback::{Callback, Signing};
use self::habits::{Script, Step, script};
use crate::acks::Ack;
use crate::connection::Connection;
use crate::desk::{Booth, Desk, Sent};
use crate::ledger::{CLOCK_SKEW_MS_MAX, Violation};
use crate::plan::{Pay, Plan};
use crate::reply::{Answer, Order, Route};
use crate::request::{self, From};
use crate::schedule::Schedule;
use crate::token::unix_ms;

pub use self::habits::PayShares;
pub(crate) use self::listing::UnitCounts;
pub(crate) use self::outcome::{Count, Counts};
pub use self::outcome::{Money, PayReport};
pub(crate) use self::reconcile::{counts, reconcile};
pub(crate) use self::till::Till;

const RULE_SIGNATURE: &str = "contract: a callback is believed for its signature";
const RULE_REUSED: &str = "M5: a payment's id stands for one payment";
/// On one machine there is one clock.
const LOCAL_SKEW_MS_MAX: u64 = 250;
/// How long anybody waits for a hold to run out, to pay late.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// How often a callback is sent to a server that has no time for it.
const BUSY_TRIES_MAX: u32 = 200;
const BUSY_PAUSE: Duration = Duration::from_millis(50);
/// Above every number that an order will have, and still exact in JSON.
const ASTRAY_ORDERS_END: u64 = 1 << 53;

/// An order that somebody is to pay, or not.
pub(crate) struct Bill {
    account: Account,
    /// As it was won.
    order: Box<Order>,
    user_id: u64,
    token: String,
    script: Script,
    due_ms: u64,
}

/// How far the server's clock may be from ours.
pub(crate) fn skew_ms(plan: &Plan) -> u64 {
    if plan.target.ip().is_loopback() { LOCAL_SKEW_MS_MAX } else { CLOCK_SKEW_MS_MAX }
}

/// An order was won: its bill waits at the desk.
pub(crate) fn bill(desk: &Desk, pay: &Pay, order: &Order, sku: usize, user_id: u64, token: &str) {
    let seed = desk.sale.plan.seed ^ order.order_id.wrapping_mul(0xd6e8_feb8_6659_fd93);
    let mut dice = fastrand::Rng::with_seed(seed);
    let now_ms = unix_ms();
    let left = Duration::from_millis(order.expires_at_ms.saturating_sub(now_ms));
    let script = script(&mut dice, &pay.shares, left, PATIENCE);
    let account = Account::open(order, sku, skew_ms(&desk.sale.plan));
    put(
        desk,
        Bill { account, order: Box::new(order.clone()), user_id, token: token.to_owned(), script, due_ms: now_ms },
    );
}

/// Puts a bill back to the desk until its next step, or into the till when there is none.
fn put(desk: &Desk, mut bill: Bill) {
    match bill.script.front() {
        Some((when, _)) => {
            bill.due_ms = when.due_ms(unix_ms(), bill.account.expires_at_ms);
            desk.bills().insert((bill.due_ms, bill.account.order_id), bill);
        }
        None => desk.sale.till.close(bill.account),
    }
}

/// The first bill, if its step is due; else how long to wait for it, or `None` where there is no bill.
pub(crate) fn due(desk: &Desk) -> Result<Bill, Option<Duration>> {
    let mut bills = desk.bills();
    let first = bills.first_entry().ok_or(None)?;
    let wait = first.key().0.saturating_sub(unix_ms());
    if wait == 0 { Ok(first.remove()) } else { Err(Some(Duration::from_millis(wait))) }
}

/// Takes the next step of a bill.
///
/// # Errors
/// Only the crowd's own: a log that cannot be written.
pub(crate) async fn step(booth: &mut Booth, schedule: &Schedule, mut bill: Bill) -> Result<()> {
    let desk = booth.desk.clone();
    let Some(pay) = desk.sale.plan.pay.as_ref() else { bail!("a bill in a crowd that does not pay") };
    if let Some((_, step)) = bill.script.pop_front() {
        let mut cashier = Cashier { desk: &desk, pay, schedule, bill: &mut bill };
        cashier.take(booth, step).await?;
    }
    put(&desk, bill);
    Ok(())
}

/// Whoever takes a step: the order's owner, or the payment provider on the owner's behalf.
struct Cashier<'a> {
    desk: &'a Desk,
    pay: &'a Pay,
    schedule: &'a Schedule,
    bill: &'a mut Bill,
}

impl Cashier<'_> {
    async fn take(&mut self, booth: &mut Booth, step: Step) -> Result<()> {
        match step {
            Step::Pay(slip) => self.pay_once(booth, self.right(slip)).await,
            Step::WrongAmount(slip) => {
                let amount_cents = self.bill.account.amount_cents + 1;
                self.pay_once(booth, Slip { amount_cents, aim: Aim::Wrong, ..self.right(slip) }).await
            }
            Step::WrongCurrency(slip) => {
                let currency = if self.pay.currency == "XTS" { "XXX" } else { "XTS" }.to_owned();
                self.pay_once(booth, Slip { currency, aim: Aim::Wrong, ..self.right(slip) }).await
            }
            Step::Astray(slip) => {
                let order_id = ASTRAY_ORDERS_END - 1 - self.bill.account.order_id % (1 << 20);
                self.pay_once(booth, Slip { order_id, aim: Aim::Astray, ..self.right(slip) }).await
            }
            Step::PayAtOnce(slip, copies) => self.pay_at_once(booth, self.right(slip), copies).await,
            Step::Forged(slip) => self.must_not_count(booth, self.right(slip), Signing::Forged).await,
            Step::Stale(slip) => self.must_not_count(booth, self.right(slip), Signing::Stale).await,
            Step::OtherOrder(slip) => {
                let Some((order_id, amount_cents)) = self.desk.sale.till.another(self.bill.account.order_id) else {
                    return Ok(());
                };
                self.must_be_reused(booth, Slip { order_id, amount_cents, ..self.right(slip) }).await
            }
            Step::OtherAmount(slip) => {
                let amount_cents = self.bill.account.amount_cents + 1;
                self.must_be_reused(booth, Slip { amount_cents, ..self.right(slip) }).await
            }
            Step::Cancel => {
                let sent = self.cancel(booth).await;
                self.on_cancel(&sent)
            }
            Step::Race(slip) => self.race(booth, self.right(slip)).await,
            Step::Look => {
                self.look(booth).await;
                Ok(())
            }
        }
    }

    /// A payment of what is due; its place among the order's makes its id.
    fn right(&self, place: usize) -> Slip {
        let Account { order_id, amount_cents, .. } = self.bill.account;
        let payment_id = format!("{}{order_id}-{place}", prefix(&self.desk.sale.plan));
        Slip { payment_id, order_id, amount_cents, currency: self.pay.currency.clone(), aim: Aim::Right, told: None }
    }

    /// The payment's place in the account, where it is entered when it is sent first.
    fn entered(&mut self, slip: Slip) -> usize {
        let slips = &mut self.bill.account.slips;
        slips.iter().position(|known| known.payment_id == slip.payment_id).unwrap_or_else(|| {
            slips.push(slip);
            slips.len() - 1
        })
    }

    async fn pay_once(&mut self, booth: &mut Booth, slip: Slip) -> Result<()> {
        let place = self.entered(slip);
        let sent = self.send(&mut booth.connection, &self.bill.account.slips[place], Signing::Sound).await;
        self.on_payment(place, &sent)
    }

    async fn pay_at_once(&mut self, booth: &mut Booth, slip: Slip, copies: usize) -> Result<()> {
        let place = self.entered(slip);
        let plan = &self.desk.sale.plan;
        let slip = &self.bill.account.slips[place];
        let mut others: Vec<_> = (2..copies).map(|_| Connection::new(plan.target, plan.timeout)).collect();
        let connections = [&mut booth.connection, &mut booth.twin].into_iter().chain(&mut others);
        let sending = connections.map(|connection| self.send(connection, slip, Signing::Sound));
        let mut sent = together(sending.collect()).await;
        // All of them were on their way from the first to the last.
        let from_ms = sent.iter().map(|sent| sent.from_ms).min().unwrap_or_else(unix_ms);
        // What was answered says what happened; only then is a lost answer no doubt any more.
        sent.sort_by_key(|sent| sent.answer.is_none());
        for sent in sent {
            self.on_payment(place, &Sent { from_ms, ..sent })?;
        }
        Ok(())
    }

    /// A callback that must be refused for its signature, and leave nothing behind.
    async fn must_not_count(&mut self, booth: &mut Booth, slip: Slip, signing: Signing) -> Result<()> {
        let sent = self.send(&mut booth.connection, &slip, signing).await;
        self.refused(&slip, &sent, RULE_SIGNATURE, "bad_signature");
        self.desk.tally().pay.add(if signing == Signing::Stale { Count::Stale } else { Count::Forged });
        Ok(())
    }

    /// A payment's id with another content.
    async fn must_be_reused(&mut self, booth: &mut Booth, slip: Slip) -> Result<()> {
        let known =
            self.bill.account.slips.iter().any(|known| known.payment_id == slip.payment_id && known.told.is_some());
        if !known {
            // Where nobody knows whether the first was recorded, nobody knows what this one would be.
            return Ok(());
        }
        let sent = self.send(&mut booth.connection, &slip, Signing::Sound).await;
        self.refused(&slip, &sent, RULE_REUSED, "payment_mismatch");
        self.desk.tally().pay.add(Count::Reused);
        Ok(())
    }

    fn refused(&self, slip: &Slip, sent: &Sent, rule: &'static str, code: &str) {
        let Slip { payment_id, order_id, .. } = slip;
        let got = match &sent.answer {
            Some(Answer::Refused(got)) if got.is(code) => return,
            Some(Answer::Refused(got)) => got.name().to_owned(),
            Some(Answer::Paid(receipt)) => receipt.payment_state.name().to_owned(),
            _ => return,
        };
        let example = format!("payment {payment_id} for order {order_id} was answered `{got}`, not `{code}`");
        self.desk.report([Violation::new(rule, example)]);
    }

    async fn race(&mut self, booth: &mut Booth, slip: Slip) -> Result<()> {
        let place = self.entered(slip);
        let slip = &self.bill.account.slips[place];
        self.let_go();
        let request = request::cancel(self.from(), self.bill.account.order_id);
        let (payment, cancel) = tokio::join!(
            self.send(&mut booth.connection, slip, Signing::Sound),
            self.patiently(&mut booth.twin, Route::Cancel, || request.clone())
        );
        let window = window(&cancel);
        self.bill.account.before_race(window);
        self.on_payment(place, &payment)?;
        self.on_cancel(&cancel)
    }

    /// From here on the server may sell the order's units to another, before its owner hears back.
    fn let_go(&self) {
        self.desk.sale.ledger.release(self.bill.account.sku, &self.bill.order);
    }

    async fn cancel(&self, booth: &mut Booth) -> Sent {
        self.let_go();
        let request = request::cancel(self.from(), self.bill.account.order_id);
        self.patiently(&mut booth.connection, Route::Cancel, || request.clone()).await
    }

    /// Whoever has paid finds the order as it was told, with the payments.
    async fn look(&mut self, booth: &mut Booth) {
        let request = request::look(self.from(), self.bill.account.order_id);
        let sent = self.patiently(&mut booth.connection, Route::Look, || request.clone()).await;
        match &sent.answer {
            Some(Answer::Found(order)) => {
                self.desk.report(self.bill.account.on_look(window(&sent), order));
                let Bill { user_id, account, .. } = &*self.bill;
                // A late payment has bought fresh units.
                self.desk.report(self.desk.sale.ledger.book(*user_id, account.sku, order, unix_ms()));
            }
            Some(Answer::Refused(code)) => {
                let example =
                    format!("a look at order {} was refused with `{}`", self.bill.account.order_id, code.name());
                self.desk.report([Violation::new(account::RULE_LISTED, example)]);
            }
            _ => {}
        }
    }

    fn on_payment(&mut self, place: usize, sent: &Sent) -> Result<()> {
        self.desk.report(self.bill.account.on_payment(place, window(sent), sent.answer.as_ref()));
        let account = &self.bill.account;
        let Slip { payment_id, order_id, amount_cents, currency, told, .. } = &account.slips[place];
        let (Some(told), Some(Answer::Paid(_) | Answer::Refused(_))) = (told, &sent.answer) else { return Ok(()) };
        let state = matches!(told, Told::Stands(_)).then(|| account.states.certain()).flatten();
        self.log(&Ack::Payment {
            payment_id,
            order_id: order_id.to_string(),
            amount_cents: *amount_cents,
            currency,
            payment_state: told.state().name(),
            state: state.map(crate::reply::State::name),
        })
    }

    fn on_cancel(&mut self, sent: &Sent) -> Result<()> {
        self.desk.report(self.bill.account.on_cancel(window(sent), sent.answer.as_ref()));
        let Some(Answer::Cancelled(order)) = &sent.answer else { return Ok(()) };
        self.log(&Ack::Cancel {
            user_id: self.bill.user_id.to_string(),
            order_id: order.order_id.to_string(),
            state: order.state.name(),
        })
    }

    async fn send(&self, connection: &mut Connection, slip: &Slip, signing: Signing) -> Sent {
        let Slip { payment_id, order_id, amount_cents, currency, .. } = slip;
        let of = Callback { payment_id, order_id: *order_id, amount_cents: *amount_cents, currency };
        let (target, secret) = (self.desk.sale.plan.target, self.pay.secret.as_bytes());
        let request = || callback::request(target, secret, unix_ms() / 1000, of, signing);
        self.patiently(connection, Route::Pay, request).await
    }

    /// Sends until the server has time for it: what is refused as busy was not decided.
    async fn patiently(&self, connection: &mut Connection, route: Route, request: impl Fn() -> Vec<u8>) -> Sent {
        let mut from_ms = None;
        for _ in 1..BUSY_TRIES_MAX {
            let sent = self.desk.send(self.schedule, connection, route, &request()).await;
            let from_ms = *from_ms.get_or_insert(sent.from_ms);
            if !matches!(sent.answer, Some(Answer::Refused(code)) if code.is_busy()) {
                return Sent { from_ms, ..sent };
            }
            tokio::time::sleep(BUSY_PAUSE).await;
        }
        Sent { answer: None, retried: true, from_ms: from_ms.unwrap_or_else(unix_ms) }
    }

    fn from(&self) -> From<'_> {
        From { target: self.desk.sale.plan.target, token: &self.bill.token }
    }

    fn log(&self, ack: &Ack<'_>) -> Result<()> {
        self.desk.acks.as_ref().map_or(Ok(()), |acks| acks.send(ack))
    }
}

/// How the ids of this run's payments begin.
fn prefix(plan: &Plan) -> String {
    format!("p{:x}-", plan.seed)
}

fn window(sent: &Sent) -> Window {
    Window { from_ms: sent.from_ms, to_ms: unix_ms() }
}

/// Waits for all of a few futures at once, on this task.
async fn together<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    let mut running: Vec<_> = futures.into_iter().map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|context| {
        let mut pending = false;
        for (future, done) in &mut running {
            if done.is_none() {
                match future.as_mut().poll(context) {
                    std::task::Poll::Ready(output) => *done = Some(output),
                    std::task::Poll::Pending => pending = true,
                }
            }
        }
        if pending { std::task::Poll::Pending } else { std::task::Poll::Ready(()) }
    })
    .await;
    running.into_iter().filter_map(|(_, done)| done).collect()
}
