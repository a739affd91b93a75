//! Buying, and what shoppers may do with what they bought.

use actix_web::http::{StatusCode, header};
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};

use super::order_request::OrderRequest;
use crate::actors::ask::Kind;
use crate::actors::{Answer, Question};
use crate::domain::command::CancelOrder;
use crate::http::body::{check_length, parse_object};
use crate::http::key::idempotency_key;
use crate::http::query::{own_page, path_id};
use crate::http::route::{Reply, refusal, replayed};
use crate::http::state::State;
use crate::http::view::{Order, Orders, reply};
use crate::ids::{ActivityId, OrderId};

/// Buy: hold units until they are paid
///
/// Success is on disk before this is answered. With an `Idempotency-Key` the same request may be sent again: it is
/// answered 200 with `Idempotent-Replayed: true` and the order as it stands now, in every state of the activity; with
/// another body 422. Pay before `expires_at_ms`, or the order expires and its units are back on sale.
#[utoipa::path(post, path = "/v1/flash-sales/{activity_id}/orders", tag = "shopper", security(("jwt" = [])),
    params(("activity_id" = String, Path, example = "1001"),
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 64 visible ASCII characters", example = "7f3a")),
    request_body = OrderRequest<'static>,
    responses((status = 201, body = Order, description = "it is yours",
            headers(("Location" = String, description = "the order's path"))),
        (status = 200, body = Order, description = "the key's order, again, as it stands now",
            headers(("Idempotent-Replayed" = String, description = "`true`"))),
        (status = 400, description = "`malformed_request`"),
        (status = 404, description = "`activity_not_found`, `sku_not_found`"),
        (status = 408, description = "`request_timeout`"),
        (status = 409, description = "`not_started` (with `starts_at_ms`, `server_time_ms`), `ended`, `paused`, \
            `limit_reached` (with `order_ids`), `sold_out`"),
        (status = 413, description = "`payload_too_large`"),
        (status = 415, description = "`unsupported_media_type`"),
        (status = 422, description = "`invalid_quantity` (with `quantity_max`), `idempotency_key_reused`")))]
pub async fn place_order(request: HttpRequest, payload: Payload, state: Data<State>) -> Reply {
    let user = state.shopper(&request)?;
    let activity_id: ActivityId = path_id(&request, "activity_id")?;
    let key = idempotency_key(&request, "orders")?;
    let body = state.shopper_bytes(&request, payload).await?;
    let order: OrderRequest<'_> = parse_object(&body)?;
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
        other => Err(refusal(other)),
    }
}

/// The caller's orders in one activity, newest first
#[utoipa::path(get, path = "/v1/flash-sales/{activity_id}/orders", tag = "shopper", security(("jwt" = [])),
    params(("activity_id" = String, Path, example = "1001"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "entries of a page; 100 by default"),
        ("cursor" = Option<String>, Query, description = "the `next_cursor` of the page before")),
    responses((status = 200, body = Orders, description = "a page of them; nearly always all"),
        (status = 400, description = "`malformed_request`"),
        (status = 404, description = "`activity_not_found`")))]
pub async fn own_orders(request: HttpRequest, state: Data<State>) -> Reply {
    let user = state.shopper(&request)?;
    let activity_id: ActivityId = path_id(&request, "activity_id")?;
    let (before, limit) = own_page(&request)?;
    let question = Question::OrdersOf { user, before, limit };
    match state.router()?.ask(Kind::FlashSale, activity_id, user, question).answer().await {
        Answer::Orders(orders, next) => {
            let orders = orders.into_iter().map(Order::own).collect();
            Ok(reply(StatusCode::OK, &Orders { orders, next_cursor: next.map(|next| next.to_string()) }))
        }
        other => Err(refusal(other)),
    }
}

/// One of the caller's orders
#[utoipa::path(get, path = "/v1/orders/{order_id}", tag = "shopper", security(("jwt" = [])),
    params(("order_id" = String, Path, example = "68719476737")),
    responses((status = 200, body = Order, description = "the order"),
        (status = 400, description = "`malformed_request`"),
        (status = 404, description = "`order_not_found`: also another user's")))]
pub async fn order(request: HttpRequest, state: Data<State>) -> Reply {
    let user = state.shopper(&request)?;
    let order_id: OrderId = path_id(&request, "order_id")?;
    let question = |number| Question::Order { number, user: Some(user) };
    match state.router()?.ask_of_order(order_id, question).answer().await {
        Answer::Order { order, .. } => Ok(reply(StatusCode::OK, &Order::own(order))),
        other => Err(refusal(other)),
    }
}

/// Give a held order up
///
/// Its units are back on sale at once. Cancelling twice gives the same answer. No body is needed.
#[utoipa::path(post, path = "/v1/orders/{order_id}/cancel", tag = "shopper", security(("jwt" = [])),
    params(("order_id" = String, Path, example = "68719476737"),
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 64 visible ASCII characters")),
    responses((status = 200, body = Order, description = "the order, cancelled"),
        (status = 400, description = "`malformed_request`"),
        (status = 404, description = "`order_not_found`: also another user's"),
        (status = 409, description = "`order_not_cancellable` (with `state`)")))]
pub async fn cancel(request: HttpRequest, state: Data<State>) -> Reply {
    let user = state.shopper(&request)?;
    let order_id: OrderId = path_id(&request, "order_id")?;
    let key = idempotency_key(&request, "cancel")?;
    check_length(&request, state.shopper_body())?;
    let question = |order| Question::Cancel(CancelOrder { user, order, key });
    match state.router()?.ask_of_order(order_id, question).answer().await {
        Answer::Order { order, replayed: is_replay } => {
            let response: HttpResponse = reply(StatusCode::OK, &Order::own(order));
            Ok(if is_replay { replayed(response) } else { response })
        }
        other => Err(refusal(other)),
    }
}
