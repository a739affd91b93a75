//! Payments and refunds: finds a payment's owner, or who is to own it, and asks there. See
//! [`payment_index`](crate::actors::payment_index).

use std::sync::Arc;

use actix::dev::SendError;
use tokio::sync::oneshot;

use super::{Behind, Entrance, Router};
use crate::actors::ask::{Answer, Ask, Asked, Question, Reason, Refused, Unavailable};
use crate::actors::desk::to_the_end;
use crate::domain::command::{CloseRefund, PayOrder, RefundOrder, Suspend};
use crate::domain::payment::Why;
use crate::domain::{OrderState, OrderView, PaymentState, PaymentView, Refusal, Suspense};
use crate::ids::{Cents, OrderId, ShardId};

/// How often a payment is taken to another owner: each time, a delivery of the same id was faster.
const OWNERS_MAX: usize = 4;

/// A payment, as its provider tells of it.
#[derive(Clone, Debug)]
pub struct Notice {
    /// The provider's id.
    pub payment_id: Box<str>,
    /// The order that it names, as it names it.
    pub named: Box<str>,
    /// How much was paid.
    pub amount_cents: Cents,
    /// In which currency.
    pub currency: Box<str>,
}

/// A page of payments that are, or were, owed back, each with its owner; and where the next page starts.
#[derive(Clone, Debug, Default)]
pub struct Refunds {
    /// In the order of their places.
    pub refunds: Vec<(ShardId, PaymentView)>,
    /// The place after which the next page starts.
    pub next: Option<(ShardId, u32)>,
}

/// Where an order is, if there is one.
struct Found {
    order_id: OrderId,
    shard: ShardId,
    number: u32,
    entrance: Arc<Entrance>,
}

impl Router {
    /// Brings a payment to the order that it names, and what no order in memory answers for to the suspense account.
    ///
    /// Runs to its end even where its client goes away: a payment that has come is recorded.
    pub async fn pay(&self, notice: Notice) -> Answer {
        let router = self.clone();
        to_the_end(async move { router.pay_patiently(&notice).await }).await
    }

    async fn pay_patiently(&self, notice: &Notice) -> Answer {
        for _ in 0..OWNERS_MAX {
            let answer = match self.not_yet() {
                Some(answer) => answer.answer().await,
                None => self.pay_once(notice).await,
            };
            if !matches!(answer, Answer::Elsewhere(_)) {
                return answer;
            }
        }
        self.refused(Reason::Unavailable(Unavailable::Overloaded)).await
    }

    async fn pay_once(&self, notice: &Notice) -> Answer {
        let owner = self.0.payments.owner(&notice.payment_id);
        match (owner, self.find_order(&notice.named)) {
            (Some(Suspense::SHARD), _) => self.suspend(notice, Why::UnknownOrder).await,
            (Some(owner), found) if found.as_ref().is_none_or(|found| found.shard != owner) => {
                // It was received for an order elsewhere; that is told once it is durable.
                match self.payment(owner, &notice.payment_id).await {
                    Answer::Payment { .. } => self.refused(Refusal::PaymentReused.into()).await,
                    refused => refused,
                }
            }
            (owner, Some(found)) => self.pay_order(&found, notice, owner.is_some()).await,
            (_, None) => self.suspend(notice, Why::UnknownOrder).await,
        }
    }

    async fn pay_order(&self, found: &Found, notice: &Notice, is_known: bool) -> Answer {
        let has_left = matches!(found.entrance.behind, Behind::Archive(_));
        let asked = match &found.entrance.behind {
            Behind::Hosts(..) => {
                let command = PayOrder {
                    payment_id: notice.payment_id.clone(),
                    order: found.number,
                    amount_cents: notice.amount_cents,
                    currency: notice.currency.clone(),
                    may_wait: true,
                };
                self.ask_part(found, Question::Pay(command)).answer().await
            }
            Behind::Archive(_) => self.order_of(found).await,
        };
        match asked {
            Answer::Refused(refused) if refused.reason == Reason::Rule(Refusal::OrderNotFound) => match is_known {
                // It was received for another order of that shard.
                true => self.refused(Refusal::PaymentReused.into()).await,
                false => self.suspend(notice, Why::UnknownOrder).await,
            },
            // What has left is slow to be read, or only MySQL has it: that must not keep a payment from being recorded.
            Answer::Refused(Refused { reason: Reason::Unavailable(_), .. }) if !is_known && has_left => {
                self.suspend(notice, Why::ActivityLeft).await
            }
            Answer::Order { order, .. } => {
                let currency = &found.entrance.door.card().definition.currency;
                match why_of_left(order, notice, currency, is_known) {
                    Ok(answer) => answer,
                    Err(Some(why)) => self.suspend(notice, why).await,
                    Err(None) => self.refused(Refusal::PaymentReused.into()).await,
                }
            }
            answer => answer,
        }
    }

    async fn suspend(&self, notice: &Notice, why: Why) -> Answer {
        let command = Suspend {
            payment_id: notice.payment_id.clone(),
            named: notice.named.clone(),
            amount_cents: notice.amount_cents,
            currency: notice.currency.clone(),
            why,
        };
        match self.ask_suspense(Question::Suspend(command)).answer().await {
            Answer::Payment { payment, replayed, .. } if payment.why != Some(Why::UnknownOrder) => {
                let order = match self.find_order(&payment.named) {
                    // Told where it can be read: the payment is recorded either way.
                    Some(found) => match self.order_of(&found).await {
                        Answer::Order { order, .. } => Some(order.state),
                        _ => None,
                    },
                    None => None,
                };
                Answer::Payment { payment, order, replayed }
            }
            answer => answer,
        }
    }

    /// Takes a paid order back.
    pub(in crate::actors) async fn refund(
        &self,
        order_id: OrderId,
        command: impl FnOnce(u32) -> RefundOrder,
    ) -> Answer {
        if let Some(answer) = self.not_yet() {
            return answer.answer().await;
        }
        let Some(found) = self.place_of(order_id) else {
            return self.refused(Refusal::OrderNotFound.into()).await;
        };
        if matches!(found.entrance.behind, Behind::Hosts(..)) {
            let part = found.entrance.home.number_of(found.shard);
            return self.wait(&found.entrance, part, Question::Refund(command(found.number))).await;
        }
        match self.order_of(&found).await {
            Answer::Order { order, .. } if order.state == OrderState::Paid => {
                self.refused(Refusal::ActivityLeft.into()).await
            }
            Answer::Order { order, .. } if order.state != OrderState::Refunded => {
                self.refused(Refusal::OrderNotRefundable { state: order.state }.into()).await
            }
            answer => answer,
        }
    }

    /// Notes that a payment was paid back.
    pub(in crate::actors) async fn close_refund(&self, command: CloseRefund) -> Answer {
        if let Some(answer) = self.not_yet() {
            return answer.answer().await;
        }
        let Some(owner) = self.0.payments.owner(&command.payment_id) else {
            return self.refused(Refusal::PaymentNotFound.into()).await;
        };
        if owner == Suspense::SHARD {
            return self.ask_suspense(Question::CloseRefund(command)).answer().await;
        }
        let Some(entrance) = self.entrance_of(owner) else {
            return self.refused(Refusal::PaymentNotFound.into()).await;
        };
        if matches!(entrance.behind, Behind::Hosts(..)) {
            return self.wait(&entrance, entrance.home.number_of(owner), Question::CloseRefund(command)).await;
        }
        // What has left owed nothing.
        match self.payment(owner, &command.payment_id).await {
            Answer::Payment { payment, .. } if payment.state == PaymentState::Applied => {
                self.refused(Refusal::RefundNotDue.into()).await
            }
            answer => answer,
        }
    }

    /// A page of what is, or was, owed back; of activities that have left memory nothing is owed, and what was is in MySQL
    /// and in the journal.
    pub async fn refunds(
        &self,
        after: (ShardId, u32),
        state: Option<PaymentState>,
        limit: usize,
    ) -> Result<Refunds, Answer> {
        if let Some(answer) = self.not_yet() {
            return Err(answer.answer().await);
        }
        let mut places = self.0.payments.refunds_after(after, state, limit + 1);
        let more = places.len() > limit;
        places.truncate(limit);
        let next = places.last().copied().filter(|_| more);
        let mut refunds = Vec::with_capacity(places.len());
        for owned in places.chunk_by(|one, other| one.0 == other.0) {
            let owner = owned[0].0;
            let numbers = owned.iter().map(|(_, number)| *number).collect();
            let asked = match (owner, self.entrance_of(owner)) {
                (Suspense::SHARD, _) => self.ask_suspense(Question::Payments { numbers }),
                (_, Some(entrance)) if matches!(entrance.behind, Behind::Hosts(..)) => {
                    self.send(&entrance, entrance.home.number_of(owner), Question::Payments { numbers })
                }
                // It has left since.
                _ => continue,
            };
            match asked.answer().await {
                Answer::Payments(found) => refunds.extend(found.into_iter().map(|payment| (owner, payment))),
                refused => return Err(refused),
            }
        }
        // Between the index and the answer one may have been paid back.
        refunds.retain(|(_, payment)| state.is_none_or(|state| payment.state == state));
        Ok(Refunds { refunds, next })
    }

    /// How many payments are owed back.
    #[must_use]
    pub fn refunds_due(&self) -> usize {
        self.0.payments.due()
    }

    /// A payment that was received, as its owner has it.
    async fn payment(&self, owner: ShardId, payment_id: &str) -> Answer {
        let question = Question::Payment { payment_id: payment_id.into() };
        match (owner, self.entrance_of(owner)) {
            (Suspense::SHARD, _) => self.ask_suspense(question).answer().await,
            (_, Some(entrance)) => self.send(&entrance, entrance.home.number_of(owner), question).answer().await,
            (_, None) => self.refused(Refusal::PaymentNotFound.into()).await,
        }
    }

    fn find_order(&self, named: &str) -> Option<Found> {
        self.place_of(named.parse().ok()?)
    }

    fn place_of(&self, order_id: OrderId) -> Option<Found> {
        let (shard, number) = (order_id.shard()?, order_id.sequence()?);
        Some(Found { order_id, shard, number, entrance: self.entrance_of(shard)? })
    }

    fn entrance_of(&self, shard: ShardId) -> Option<Arc<Entrance>> {
        self.0.shards.get(&shard).map(|entrance| Arc::clone(&entrance))
    }

    fn ask_part(&self, found: &Found, question: Question) -> Asked {
        self.send(&found.entrance, found.entrance.home.number_of(found.shard), question)
    }

    async fn order_of(&self, found: &Found) -> Answer {
        let question = |number| Question::Order { number, user: None };
        self.ask_of_order(found.order_id, question).answer().await
    }

    fn ask_suspense(&self, question: Question) -> Asked {
        let (reply, receiver) = oneshot::channel();
        match self.0.suspense.try_send(Ask { shard: Suspense::SHARD, question, reply }) {
            Ok(()) => Asked::Later(receiver),
            Err(SendError::Full(_)) => self.refuse(Reason::Unavailable(Unavailable::Overloaded)),
            // The actor is gone because the process is stopping; see `Asked::answer`.
            Err(SendError::Closed(_)) => Asked::Later(receiver),
        }
    }

    async fn refused(&self, reason: Reason) -> Answer {
        self.refuse(reason).answer().await
    }
}

/// What a payment is for an order whose activity has left memory: one that was received before, or why it is owed back;
/// or, where its id is known there and not with this content, neither.
fn why_of_left(order: OrderView, notice: &Notice, currency: &str, is_known: bool) -> Result<Answer, Option<Why>> {
    let state = order.state;
    let fits = (order.amount_cents, currency) == (notice.amount_cents, &*notice.currency);
    let known = order.payments.into_iter().find(|payment| payment.payment_id == notice.payment_id);
    if let Some(payment) = known {
        let same = (payment.amount_cents, &payment.currency) == (notice.amount_cents, &notice.currency);
        return if same {
            Ok(Answer::Payment { payment: Box::new(payment), order: Some(state), replayed: true })
        } else {
            Err(None)
        };
    }
    if is_known {
        return Err(None);
    }
    Err(Some(match state {
        _ if !fits => Why::Mismatch,
        OrderState::Held | OrderState::Expired => Why::Late,
        OrderState::Cancelled => Why::Cancelled,
        OrderState::Paid => Why::AlreadyPaid,
        OrderState::Refunded => Why::AlreadyRefunded,
    }))
}
