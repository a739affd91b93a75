//! Answers from MySQL, for activities whose events the journal no longer has.
//!
//! They are the same answers as from the journal, but for three things that no row tells: which units lay in which shard,
//! whether a cancel repeats an earlier one by its key, and an operator's repeat by key, which is `activity_closed` here.
//! Red packets have no units and no cancels; see [`grabs`].

mod grabs;

use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};

use super::Lies;
use crate::actors::ask::{Answer, Page, Question, Reason, Refused, SaleView, ShardView};
use crate::actors::shard::newest_live;
use crate::domain::command::PlaceOrder;
use crate::domain::sale::SkuCount;
use crate::domain::{OrderState, OrderView, PaymentView, Phase, Refusal};
use crate::ids::{ActivityId, OrderId, Qty, ShardId, UnixMillis};
use crate::persist::RecordHash;
use crate::persist::mysql::read_back::{Found, Wanted};
use crate::persist::mysql::rows::{PaymentRow, ShardRow, SkuRow};
use crate::persist::mysql::{Error, ReadBack, Target};

/// How long MySQL is not asked again that could not be reached.
const AWAY_FOR: Duration = Duration::from_secs(2);

/// Asks MySQL, from the archive's own thread.
pub(super) struct Rows {
    runtime: Runtime,
    read_back: ReadBack,
    /// Until then nothing is asked: MySQL was not there a moment ago, and everybody waits in one line.
    away_until: Option<Instant>,
    /// The sale that was asked for last: a crowd asks for one, and none of them changes any more.
    last: Option<(ActivityId, Box<SaleView>)>,
}

impl Rows {
    pub fn new(target: Target) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("the system gives what a runtime needs when the process starts");
        Self { runtime, read_back: ReadBack::new(target), away_until: None, last: None }
    }

    /// Whether MySQL was there a moment ago, or has not been asked for as long.
    pub fn is_worth_asking(&self) -> bool {
        self.away_until.is_none_or(|until| Instant::now() >= until)
    }

    /// Holds MySQL to having all of an activity: it may be behind, or have been set back.
    pub fn must_have(&mut self, journal: Option<RecordHash>, lies: Lies) -> Result<(), Error> {
        let Self { runtime, read_back, .. } = self;
        let has = runtime.block_on(read_back.must_have(journal, lies.last));
        self.seen(has)
    }

    /// Answers for one shard.
    pub fn answer(
        &mut self,
        lies: Lies,
        shard: ShardId,
        question: Question,
        at_ms: UnixMillis,
    ) -> Result<Answer, Error> {
        let Self { runtime, read_back, .. } = self;
        let answered = runtime.block_on(answer(read_back, lies, shard, question, at_ms));
        Ok(self.seen(answered)?.unwrap_or_else(|refusal| {
            let reason = Reason::Rule(refusal);
            Answer::Refused(Refused { reason, at_ms, shard })
        }))
    }

    /// The sale over all its shards.
    pub fn sale(&mut self, lies: Lies, at_ms: UnixMillis) -> Result<Answer, Error> {
        let Self { runtime, read_back, last, .. } = self;
        let whole = match last.take_if(|(activity_id, _)| *activity_id == lies.activity_id) {
            Some((_, known)) => known,
            None => {
                let read = runtime.block_on(sale(read_back, lies));
                self.seen(read)?
            }
        };
        self.last = Some((lies.activity_id, whole.clone()));
        Ok(Answer::Sale(Box::new(SaleView { at_ms, ..*whole })))
    }

    fn seen<T>(&mut self, answered: Result<T, Error>) -> Result<T, Error> {
        let away = matches!(&answered, Err(error) if error.has_answered() == Some(false));
        self.away_until = away.then(|| Instant::now() + AWAY_FOR);
        answered
    }
}

async fn answer(
    rows: &mut ReadBack,
    lies: Lies,
    shard: ShardId,
    question: Question,
    at_ms: UnixMillis,
) -> Result<Result<Answer, Refusal>, Error> {
    let (state, key, beyond) = (None, None, None);
    let all = Wanted { shard, user: None, state, key, beyond, newest_first: true, limit: usize::MAX };
    Ok(match question {
        Question::Order { number, user } => {
            let order = rows.order(OrderId::new(shard, number)).await?;
            let order = order.filter(|order| user.is_none_or(|user| order.row.user == user));
            order.map(|order| found(order, false)).ok_or(Refusal::OrderNotFound)
        }
        Question::Cancel(cancel) => {
            let order = rows.order(OrderId::new(shard, cancel.order)).await?;
            match order.filter(|order| order.row.user == cancel.user) {
                None => Err(Refusal::OrderNotFound),
                Some(order) if order.row.state == OrderState::Cancelled => Ok(found(order, false)),
                Some(order) => Err(Refusal::OrderNotCancellable { state: order.row.state }),
            }
        }
        Question::Place(command) => {
            let Some(key) = command.key else { return Ok(Err(Refusal::Ended)) };
            let orders = rows.orders(Wanted { user: Some(command.user), key: Some(key), limit: 1, ..all }).await?;
            replay(orders, &command)
        }
        Question::OrdersOf { user, before, limit } => {
            let wanted = Wanted { user: Some(user), beyond: before, limit: limit.saturating_add(1), ..all };
            let (orders, more) = cut(rows.orders(wanted).await?, limit);
            let next = orders.last().filter(|_| more).and_then(|order| order.order_id.sequence());
            Ok(Answer::Orders(orders, next))
        }
        Question::Live { user, sku } => {
            // Nothing is held any more, and what was paid stays.
            let left = rows.activity(lies.activity_id).await?;
            let listed = left.is_some_and(|left| left.definition.sku(&sku).is_some());
            let own = rows.orders(Wanted { user: Some(user), ..all }).await?.into_iter();
            let live = newest_live(&mut own.filter(|order| order.row.sku_id == sku).map(view));
            if listed { Ok(Answer::Live(live)) } else { Err(Refusal::SkuNotFound) }
        }
        Question::Orders(page) => Ok(one_page(rows, shard, &page).await?),
        Question::Sale => Ok(Answer::Sale(Box::new(SaleView { at_ms, ..*sale(rows, lies).await? }))),
        Question::Payment { payment_id } => {
            let order = rows.order_of_payment(shard, &payment_id).await?.map(view);
            let state = order.as_ref().map(|order| order.state);
            let payment = order.and_then(|order| order.payments.into_iter().find(|it| it.payment_id == payment_id));
            let answer = |payment| Answer::Payment { payment: Box::new(payment), order: state, replayed: false };
            payment.map(answer).ok_or(Refusal::PaymentNotFound)
        }
        Question::Change(_) => Err(Refusal::ActivityClosed),
        Question::Grab(command) => grabs::replay(rows, all, &command).await?,
        Question::GrabsOf { user, before, limit } => {
            let wanted = Wanted { user: Some(user), beyond: before, limit: limit.saturating_add(1), ..all };
            Ok(grabs::of_user(rows, wanted, limit).await?)
        }
        Question::Grabs(page) => Ok(grabs::one_page(rows, wanted_of(shard, &page), page.limit).await?),
        Question::Pay(_)
        | Question::Suspend(_)
        | Question::Refund(_)
        | Question::CloseRefund(_)
        | Question::Payments { .. } => unreachable!("the router asks nothing of what has left that could change it"),
        Question::Settled { .. } | Question::Stay | Question::Retire { .. } => {
            unreachable!("what has left is not asked to leave")
        }
    })
}

/// The order that an earlier request with the same key placed; the sale is over for every other.
fn replay(orders: Vec<Found>, command: &PlaceOrder) -> Result<Answer, Refusal> {
    let order = orders.into_iter().next().ok_or(Refusal::Ended)?;
    let row = &order.row;
    let same =
        row.sku_id == command.sku && i64::from(row.quantity) == command.quantity && row.reference == command.reference;
    if same { Ok(found(order, true)) } else { Err(Refusal::KeyReused) }
}

async fn one_page(rows: &mut ReadBack, shard: ShardId, page: &Page) -> Result<Answer, Error> {
    let (orders, more) = cut(rows.orders(wanted_of(shard, page)).await?, page.limit);
    let next = orders.last().filter(|_| more).map(|order| order.order_id);
    Ok(Answer::Page(orders, next))
}

/// What a page is to hold, and one more, which tells whether there is a next page.
fn wanted_of(shard: ShardId, page: &Page) -> Wanted {
    let beyond = page.after.filter(|after| after.shard() == Some(shard)).and_then(OrderId::sequence);
    let limit = page.limit.saturating_add(1);
    Wanted { shard, user: page.user, state: page.state, key: None, beyond, newest_first: false, limit }
}

async fn sale(rows: &mut ReadBack, lies: Lies) -> Result<Box<SaleView>, Error> {
    let left = rows.activity(lies.activity_id).await?;
    let left = left.ok_or_else(|| Error::Unreadable {
        table: "activities",
        what: format!("activity {} is not there", lies.activity_id),
    })?;
    let shards: Vec<ShardView> = match left.rounds.is_empty() {
        true => left.shards.iter().map(shard_view).collect(),
        false => grabs::shards(rows, lies, &left).await?,
    };
    let skus = left.skus.iter().filter(|row| row.listed).map(count);
    let listed = || left.rounds.iter().filter(|row| row.listed);
    Ok(Box::new(SaleView {
        definition: left.definition.into(),
        version: left.version,
        phase: Phase::Ended,
        paused: left.paused,
        skus: skus.chain(listed().map(grabs::count_packets)).collect(),
        rounds: listed().map(grabs::count).collect(),
        accepted: shards.iter().map(|shard| shard.accepted).sum(),
        refused: std::collections::BTreeMap::new(),
        shards,
        at_ms: UnixMillis(0),
    }))
}

fn shard_view(row: &ShardRow) -> ShardView {
    ShardView { shard: row.shard, accepted: u64::from(row.orders_placed), skus: Vec::new(), rounds: Vec::new() }
}

fn count(row: &SkuRow) -> SkuCount {
    // The tables hold no negative count, and no SKU has more units than a u32.
    let units = |units: i64| Qty(u32::try_from(units).unwrap_or(0));
    SkuCount {
        sku_id: row.sku_id.clone(),
        stock: units(row.stock),
        available: units(row.available),
        held: units(row.held),
        sold: units(row.sold),
    }
}

/// At most `limit` of them, and whether there were more.
fn cut(mut orders: Vec<Found>, limit: usize) -> (Vec<OrderView>, bool) {
    let more = orders.len() > limit;
    orders.truncate(limit);
    (orders.into_iter().map(view).collect(), more)
}

fn found(order: Found, replayed: bool) -> Answer {
    Answer::Order { order: view(order), replayed }
}

fn view(found: Found) -> OrderView {
    let Found { row: order, payments } = found;
    OrderView {
        order_id: order.order_id,
        activity_id: order.activity_id,
        user: order.user,
        sku_id: order.sku_id,
        quantity: Qty(order.quantity),
        amount_cents: order.amount_cents,
        slots: order.slots.into_iter().collect(),
        state: order.state,
        held_at_ms: order.held_at_ms,
        expires_at_ms: order.expires_at_ms,
        reference: order.reference,
        payments: payments.into_iter().map(payment_view).collect(),
    }
}

fn payment_view(row: PaymentRow) -> PaymentView {
    PaymentView {
        number: row.number,
        payment_id: row.payment_id,
        named: row.named,
        order_id: row.order_id,
        amount_cents: row.amount_cents,
        currency: row.currency,
        state: row.state,
        why: row.why,
        reacquired: row.reacquired,
        received_at_ms: row.received_at_ms,
        due_at_ms: row.due_at_ms,
        done_at_ms: row.done_at_ms,
    }
}
