//! Orders, looked up for support.

use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use actix_web::web::Data;
use serde::Deserialize;

use crate::actors::ask::Page;
use crate::actors::{Answer, Question};
use crate::domain::OrderState;
use crate::http::problem::Problem;
use crate::http::query::{id, page_cursor, page_limit, params, path_id};
use crate::http::route::{Reply, refusal};
use crate::http::state::State;
use crate::http::view::{Order, Orders, reply};
use crate::ids::{ActivityId, OrderId, UserId};

/// Anybody's order
#[utoipa::path(get, path = "/admin/v1/orders/{order_id}", operation_id = "look_up_order", tag = "operator", security(("jwt" = [])),
    params(("order_id" = String, Path, example = "68719476737")),
    responses((status = 200, body = Order, description = "the order, with its `user_id`"),
        (status = 400, description = "`malformed_request`"), (status = 404, description = "`order_not_found`")))]
pub async fn order(request: HttpRequest, state: Data<State>) -> Reply {
    state.reader(&request)?;
    let order_id: OrderId = path_id(&request, "order_id")?;
    let question = |number| Question::Order { number, user: None };
    match state.router()?.ask_of_order(order_id, question).answer().await {
        Answer::Order { order, .. } => Ok(reply(StatusCode::OK, &Order::for_operator(order))),
        other => Err(refusal(other)),
    }
}

#[derive(Deserialize)]
struct Wanted {
    user_id: Option<String>,
    state: Option<WantedState>,
    limit: Option<usize>,
    cursor: Option<String>,
}

/// The contract's states.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum WantedState {
    Held,
    Cancelled,
    Expired,
    Paid,
    Refunded,
}

/// An activity's orders, oldest first
///
/// A page may be short and still have a next one: `next_cursor` is `null` at the end and only there.
#[utoipa::path(get, path = "/admin/v1/activities/{activity_id}/orders", operation_id = "look_up_orders", tag = "operator", security(("jwt" = [])),
    params(("activity_id" = String, Path, example = "1001"),
        ("user_id" = Option<String>, Query, description = "only this user's"),
        ("state" = Option<String>, Query, description = "`held`, `paid`, `cancelled`, `expired` or `refunded`"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "entries of a page; 100 by default"),
        ("cursor" = Option<String>, Query, description = "the `next_cursor` of the page before")),
    responses((status = 200, body = Orders, description = "a page of orders, each with its `user_id`"),
        (status = 400, description = "`malformed_request`"), (status = 404, description = "`activity_not_found`")))]
pub async fn orders(request: HttpRequest, state: Data<State>) -> Reply {
    state.reader(&request)?;
    let activity_id: ActivityId = path_id(&request, "activity_id")?;
    let wanted: Wanted = params(&request)?;
    let user = wanted.user_id.as_deref().map(|user| id::<UserId>("user_id", user)).transpose()?;
    let after = page_cursor(wanted.cursor.as_deref())?;
    let only = wanted.state.map(|state| match state {
        WantedState::Held => OrderState::Held,
        WantedState::Cancelled => OrderState::Cancelled,
        WantedState::Expired => OrderState::Expired,
        WantedState::Paid => OrderState::Paid,
        WantedState::Refunded => OrderState::Refunded,
    });
    let page = Page { user, state: only, after, limit: page_limit(wanted.limit)? };
    let router = state.router()?;
    if page.after.is_some_and(|after| !router.may_have(activity_id, after)) {
        return Err(Problem::malformed("cursor is what next_cursor gave"));
    }
    match router.orders(activity_id, page).await {
        Answer::Page(orders, next) => {
            let orders = orders.into_iter().map(Order::for_operator).collect();
            Ok(reply(StatusCode::OK, &Orders { orders, next_cursor: next.map(|next| next.to_string()) }))
        }
        other => Err(refusal(other)),
    }
}
