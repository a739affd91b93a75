//! The shopper listener's routes.

use std::borrow::Cow;

use actix_web::http::{StatusCode, header};
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Deserializer, de};

use super::body::check_length;
use super::key::{idempotency_key, is_visible_ascii};
use super::problem::Problem;
use super::query::{id, page_limit, params, path_id};
use super::state::State;
use super::view::{Activities, ActivityDetail, ActivityLine, Order, Orders, Outcome, reply};
use crate::actors::{Answer, Question};
use crate::domain::command::{CancelOrder, PlaceOrder};
use crate::ids::{ActivityId, KeyDigest, OrderId, SkuId, UserId};

/// The longest `ref` of an order.
const REFERENCE_BYTES_MAX: usize = 64;

type Reply = Result<HttpResponse, Problem>;

/// The listener's routes.
pub fn routes(config: &mut web::ServiceConfig) {
    config
        .service(super::server::get("/v1/activities", activities))
        .service(super::server::get("/v1/activities/{activity_id}", activity))
        .service(
            web::resource("/v1/flash-sales/{activity_id}/orders")
                .post(place_order)
                .get(own_orders)
                .default_service(web::to(|| super::server::method_not_allowed("GET, POST"))),
        )
        .service(super::server::get("/v1/flash-sales/{activity_id}/result", result))
        .service(super::server::get("/v1/orders/{order_id}", order))
        .service(super::server::post("/v1/orders/{order_id}/cancel", cancel));
}

/// What a shopper sends to buy.
#[derive(Deserialize, utoipa::ToSchema)]
pub struct OrderRequest<'a> {
    /// Of which SKU.
    #[serde(borrow)]
    #[schema(value_type = String, example = "2001")]
    sku_id: Cow<'a, str>,
    /// How many units.
    #[serde(deserialize_with = "whole")]
    #[schema(minimum = 1, example = 1)]
    quantity: i64,
    /// The caller's own reference: at most 64 visible ASCII characters, kept and returned.
    #[serde(rename = "ref", borrow, default)]
    #[schema(value_type = Option<String>, example = "cart-7")]
    reference: Option<Cow<'a, str>>,
}

/// An integer of whatever size: one that is too large is a wrong quantity, not a malformed request.
fn whole<'de, D: Deserializer<'de>>(from: D) -> Result<i64, D::Error> {
    struct Whole;
    impl de::Visitor<'_> for Whole {
        type Value = i64;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an integer")
        }
        fn visit_i64<E: de::Error>(self, value: i64) -> Result<i64, E> {
            Ok(value)
        }
        fn visit_u64<E: de::Error>(self, value: u64) -> Result<i64, E> {
            Ok(i64::try_from(value).unwrap_or(i64::MAX))
        }
        fn visit_f64<E: de::Error>(self, value: f64) -> Result<i64, E> {
            // The parser hands integers beyond 64 bits over as floats.
            match value {
                huge if huge >= 1.8e19 => Ok(i64::MAX),
                huge if huge <= -9.2e18 => Ok(i64::MIN),
                _ => Err(E::invalid_type(de::Unexpected::Float(value), &self)),
            }
        }
    }
    from.deserialize_any(Whole)
}

impl OrderRequest<'_> {
    fn into_command(self, user: UserId, key: Option<KeyDigest>) -> Result<PlaceOrder, Problem> {
        let fits = |text: &str| text.len() <= REFERENCE_BYTES_MAX && is_visible_ascii(text);
        if !self.reference.as_deref().is_none_or(fits) {
            return Err(Problem::malformed("ref is at most 64 visible ASCII characters"));
        }
        Ok(PlaceOrder {
            user,
            sku: id("sku_id", &self.sku_id)?,
            quantity: self.quantity,
            key,
            reference: self.reference.map(|text| text.into_owned().into_boxed_str()),
        })
    }
}

/// The lists' parameters.
#[derive(Deserialize)]
struct ListQuery {
    kind: Option<Kind>,
    state: Option<ListState>,
    limit: Option<usize>,
    cursor: Option<String>,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum Kind {
    FlashSale,
    RedPacket,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ListState {
    Scheduled,
    Running,
    Paused,
    Ended,
}

impl ListState {
    fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Ended => "ended",
        }
    }
}

/// A page of activities for either listener: the matches, and where the next page starts.
pub fn list(
    request: &HttpRequest,
    state: &State,
) -> Result<(Vec<crate::actors::router::Listing>, Option<String>), Problem> {
    let query: ListQuery = params(request)?;
    let limit = page_limit(query.limit)?;
    let after = match &query.cursor {
        Some(cursor) => id("cursor", cursor)?,
        None => ActivityId(0),
    };
    if query.kind == Some(Kind::RedPacket) {
        return Ok((Vec::new(), None));
    }
    let wanted = |listing: &crate::actors::router::Listing| {
        query.state.is_none_or(|state| state.as_str() == listing.phase.as_str())
    };
    // One more than the page holds tells whether another page follows.
    let mut found = state.router()?.list(after, wanted, limit + 1);
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| more).map(|listing| listing.activity_id.to_string());
    Ok((found, next))
}

/// Activities, by their ids
///
/// `state` is `scheduled`, `running`, `paused` or `ended`. `limit` is from 1 to 1000, 100 by default.
#[utoipa::path(get, path = "/v1/activities", tag = "shopper", security(("jwt" = [])),
    params(("kind" = Option<String>, Query), ("state" = Option<String>, Query), ("limit" = Option<u32>, Query),
        ("cursor" = Option<String>, Query)),
    responses((status = 200, body = Activities), (status = 400, description = "malformed_request"),
        (status = 401, description = "unauthenticated")))]
pub async fn activities(request: HttpRequest, state: Data<State>) -> Reply {
    state.shopper(&request)?;
    let (found, next_cursor) = list(&request, &state)?;
    let server_time_ms = state.router()?.now_ms().0;
    let activities = found.iter().map(ActivityLine::from).collect();
    Ok(reply(StatusCode::OK, &Activities { server_time_ms, activities, next_cursor }))
}

/// One activity with what it sells and what is left
#[utoipa::path(get, path = "/v1/activities/{activity_id}", tag = "shopper", security(("jwt" = [])),
    params(("activity_id" = String, Path)),
    responses((status = 200, body = ActivityDetail), (status = 404, description = "activity_not_found")))]
pub async fn activity(request: HttpRequest, state: Data<State>) -> Reply {
    state.shopper(&request)?;
    let activity_id: ActivityId = path_id(&request, "activity_id")?;
    match state.router()?.ask(activity_id, Question::Sale).answer().await {
        Answer::Sale(sale) => Ok(reply(StatusCode::OK, &ActivityDetail::new(activity_id, &sale))),
        other => Err(unexpected(other)),
    }
}

/// Buy
///
/// Success is on disk before this is answered. With an `Idempotency-Key` (1–64 visible ASCII characters) the same
/// request may be sent again: it is answered 200 with `Idempotent-Replayed: true` and the order as it stands now, in
/// every state of the activity; with another body 422. An order that is not paid before `expires_at_ms` expires.
#[utoipa::path(post, path = "/v1/flash-sales/{activity_id}/orders", tag = "shopper", security(("jwt" = [])),
    params(("activity_id" = String, Path), ("Idempotency-Key" = Option<String>, Header)),
    request_body = OrderRequest<'static>,
    responses((status = 201, body = Order), (status = 200, body = Order, description = "the key's order, again"),
        (status = 400, description = "malformed_request"), (status = 401, description = "unauthenticated"),
        (status = 404, description = "activity_not_found, sku_not_found"),
        (status = 409, description = "not_started, ended, paused, limit_reached, sold_out"),
        (status = 422, description = "invalid_quantity, idempotency_key_reused"),
        (status = 429, description = "rate_limited"),
        (status = 503, description = "overloaded, storage_low, recovering")))]
pub async fn place_order(request: HttpRequest, payload: Payload, state: Data<State>) -> Reply {
    let user = state.shopper(&request)?;
    let activity_id: ActivityId = path_id(&request, "activity_id")?;
    let key = idempotency_key(&request, "orders")?;
    let body = state.shopper_bytes(&request, payload).await?;
    let order: OrderRequest<'_> =
        serde_json::from_slice(&body).map_err(|error| Problem::malformed(format!("the body does not fit: {error}")))?;
    let command = order.into_command(user, key)?;
    match state.router()?.place(activity_id, command).answer().await {
        Answer::Order { order, replayed: false } => {
            state.metrics.orders_accepted.inc();
            let location = format!("/v1/orders/{}", order.order_id);
            let mut response = reply(StatusCode::CREATED, &Order::own(order));
            let location = location.parse().expect("a path of ASCII digits is a header value");
            response.headers_mut().insert(header::LOCATION, location);
            Ok(response)
        }
        Answer::Order { order, replayed: true } => {
            state.metrics.orders_replayed.inc();
            Ok(replayed(reply(StatusCode::OK, &Order::own(order))))
        }
        other => Err(unexpected(other)),
    }
}

/// The caller's orders in one activity, newest first
#[utoipa::path(get, path = "/v1/flash-sales/{activity_id}/orders", tag = "shopper", security(("jwt" = [])),
    params(("activity_id" = String, Path)), responses((status = 200, body = Orders)))]
pub async fn own_orders(request: HttpRequest, state: Data<State>) -> Reply {
    let user = state.shopper(&request)?;
    let activity_id: ActivityId = path_id(&request, "activity_id")?;
    match state.router()?.ask(activity_id, Question::OrdersOf(user)).answer().await {
        Answer::Orders(orders, _) => {
            let orders = Orders { orders: orders.into_iter().map(Order::own).collect(), next_cursor: None };
            Ok(reply(StatusCode::OK, &orders))
        }
        other => Err(unexpected(other)),
    }
}

/// What became of a request to buy
///
/// `result` is `-1` where the caller has no live order of the SKU, else the newest live order's id: in this version an
/// order counts as settled once it is durable in the journal. With an id come `order_id`, `state` and `expires_at_ms`.
#[utoipa::path(get, path = "/v1/flash-sales/{activity_id}/result", tag = "shopper", security(("jwt" = [])),
    params(("activity_id" = String, Path), ("sku_id" = String, Query)), responses((status = 200, body = Outcome)))]
pub async fn result(request: HttpRequest, state: Data<State>) -> Reply {
    #[derive(Deserialize)]
    struct Wanted {
        sku_id: String,
    }
    let user = state.shopper(&request)?;
    let activity_id: ActivityId = path_id(&request, "activity_id")?;
    let wanted: Wanted = params(&request)?;
    let sku: SkuId = id("sku_id", &wanted.sku_id)?;
    match state.router()?.ask(activity_id, Question::Live { user, sku }).answer().await {
        Answer::Live(Some(order)) => {
            let order_id = order.order_id.to_string();
            let outcome = Outcome {
                result: order_id.clone(),
                order_id: Some(order_id),
                state: Some(order.state),
                expires_at_ms: Some(order.expires_at_ms.0),
            };
            Ok(reply(StatusCode::OK, &outcome))
        }
        Answer::Live(None) => {
            let outcome = Outcome { result: "-1".to_owned(), order_id: None, state: None, expires_at_ms: None };
            Ok(reply(StatusCode::OK, &outcome))
        }
        other => Err(unexpected(other)),
    }
}

/// One of the caller's orders
#[utoipa::path(get, path = "/v1/orders/{order_id}", tag = "shopper", security(("jwt" = [])),
    params(("order_id" = String, Path)),
    responses((status = 200, body = Order), (status = 404, description = "order_not_found: also another user's")))]
pub async fn order(request: HttpRequest, state: Data<State>) -> Reply {
    let user = state.shopper(&request)?;
    let order_id: OrderId = path_id(&request, "order_id")?;
    let question = |number| Question::Order { number, user: Some(user) };
    match state.router()?.ask_of_order(order_id, question).answer().await {
        Answer::Order { order, .. } => Ok(reply(StatusCode::OK, &Order::own(order))),
        other => Err(unexpected(other)),
    }
}

/// Give a held order up
///
/// Its units are back on sale at once. Cancelling twice gives the same answer.
#[utoipa::path(post, path = "/v1/orders/{order_id}/cancel", tag = "shopper", security(("jwt" = [])),
    params(("order_id" = String, Path), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = Order), (status = 404, description = "order_not_found"),
        (status = 409, description = "order_not_cancellable")))]
pub async fn cancel(request: HttpRequest, state: Data<State>) -> Reply {
    let user = state.shopper(&request)?;
    let order_id: OrderId = path_id(&request, "order_id")?;
    let key = idempotency_key(&request, "cancel")?;
    check_length(&request, state.shopper_body())?;
    let question = |order| Question::Cancel(CancelOrder { user, order, key });
    match state.router()?.ask_of_order(order_id, question).answer().await {
        Answer::Order { order, replayed: is_replay } => {
            let response = reply(StatusCode::OK, &Order::own(order));
            Ok(if is_replay { replayed(response) } else { response })
        }
        other => Err(unexpected(other)),
    }
}

/// Marks a response as the repeat of an earlier one.
pub fn replayed(mut response: HttpResponse) -> HttpResponse {
    let name = header::HeaderName::from_static("idempotent-replayed");
    response.headers_mut().insert(name, header::HeaderValue::from_static("true"));
    response
}

/// A refusal as its problem.
///
/// # Panics
/// Where the answer belongs to another question: our bug.
pub fn unexpected(answer: Answer) -> Problem {
    match answer {
        Answer::Refused(refused) => Problem::refused(&refused),
        other => unreachable!("a shard answers what it was asked, not {other:?}"),
    }
}
