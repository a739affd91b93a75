//! What is owed back: taking a paid order back, the list of what is owed, and that it was paid back.

use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use actix_web::web::{Data, Path, Payload};
use serde::Deserialize;

use super::change::by;
use crate::actors::Answer;
use crate::domain::PaymentState;
use crate::http::body::check_length;
use crate::http::key::{digest, is_visible_ascii};
use crate::http::problem::Problem;
use crate::http::query::{page_limit, params, path_id};
use crate::http::route::{Reply, no_query, refusal, replayed};
use crate::http::state::State;
use crate::http::view::{Order, Refund, Refunds, reply};
use crate::ids::{OrderId, ShardId};

/// Whether the units go back on sale.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RefundRequest {
    /// `true`: they are free again at once. `false`: nobody gets them, and they stay among the sold.
    #[schema(example = true)]
    restock: bool,
}

/// Take a paid order back
///
/// It becomes `refunded` and its payment `refund_due`: pay the money back by the provider, then mark the payment as done.
/// Twice gives the same answer; `Idempotent-Replayed` says that this key did it.
#[utoipa::path(post, path = "/admin/v1/orders/{order_id}/refund", tag = "operator", security(("jwt" = [])),
    params(("order_id" = String, Path, example = "68719476737"),
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 64 visible ASCII characters")),
    request_body = RefundRequest,
    responses((status = 200, body = Order, description = "the order, refunded"),
        (status = 400, description = "`malformed_request`"), (status = 404, description = "`order_not_found`"),
        (status = 409, description = "`order_not_refundable` (with `state`); `activity_closed`: its activity has left \
            memory"),
        (status = 413, description = "`payload_too_large`"), (status = 415, description = "`unsupported_media_type`"),
        (status = 422, description = "`idempotency_key_reused`")))]
pub async fn refund(request: HttpRequest, payload: Payload, state: Data<State>) -> Reply {
    let user = state.operator(&request)?;
    let order_id: OrderId = path_id(&request, "order_id")?;
    no_query(&request)?;
    let body: RefundRequest = state.operator_json(&request, payload).await?;
    let by = by(&request, user, "refund", digest(&[if body.restock { b"restock" } else { b"keep" }]))?;
    let desk = state.desk()?;
    super::change::log_about(&request, user, &format!("order {order_id}"), "refund");
    match desk.refund(order_id, body.restock, by).await {
        Answer::Order { order, replayed: is_replay } => {
            let response = reply(StatusCode::OK, &Order::for_operator(order));
            Ok(if is_replay { replayed(response) } else { response })
        }
        other => Err(refusal(other)),
    }
}

#[derive(Deserialize)]
struct Wanted {
    state: Option<WantedState>,
    limit: Option<usize>,
    cursor: Option<String>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum WantedState {
    RefundDue,
    Refunded,
}

/// What is owed back, and what was paid back
///
/// Of activities that have left memory nothing is owed; what was paid back there is in MySQL's `payments`.
#[utoipa::path(get, path = "/admin/v1/refunds", tag = "operator", security(("jwt" = [])),
    params(("state" = Option<String>, Query, description = "`refund_due` or `refunded`; both by default"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "entries of a page; 100 by default"),
        ("cursor" = Option<String>, Query, description = "the `next_cursor` of the page before")),
    responses((status = 200, body = Refunds, description = "a page of payments"),
        (status = 400, description = "`malformed_request`")))]
pub async fn refunds(request: HttpRequest, state: Data<State>) -> Reply {
    state.reader(&request)?;
    let wanted: Wanted = params(&request)?;
    let only = wanted.state.map(|state| match state {
        WantedState::RefundDue => PaymentState::RefundDue,
        WantedState::Refunded => PaymentState::Refunded,
    });
    let after = match wanted.cursor.as_deref() {
        None => (ShardId(0), 0),
        Some(cursor) => place(cursor).ok_or_else(|| Problem::malformed("cursor is what next_cursor gave"))?,
    };
    let page = state.router()?.refunds(after, only, page_limit(wanted.limit)?).await.map_err(refusal)?;
    let next_cursor = page.next.map(|(owner, number)| format!("{owner}-{number}"));
    let refunds = page.refunds.iter().map(|(_, payment)| Refund::new(payment)).collect();
    Ok(reply(StatusCode::OK, &Refunds { refunds, next_cursor }))
}

fn place(cursor: &str) -> Option<(ShardId, u32)> {
    let (owner, number) = cursor.split_once('-')?;
    Some((ShardId(owner.parse().ok()?), number.parse().ok()?))
}

/// A payment was paid back
///
/// Say so once the provider has sent the money. Twice gives the same answer. No body is needed.
#[utoipa::path(post, path = "/admin/v1/refunds/{payment_id}/done", tag = "operator", security(("jwt" = [])),
    params(("payment_id" = String, Path, example = "pay-7f3a"),
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 64 visible ASCII characters")),
    responses((status = 200, body = Refund, description = "the payment, `refunded`"),
        (status = 400, description = "`malformed_request`"), (status = 404, description = "`not_found`"),
        (status = 409, description = "`refund_not_due`: the payment paid its order, which stands"),
        (status = 422, description = "`idempotency_key_reused`")))]
pub async fn done(request: HttpRequest, path: Option<Path<String>>, state: Data<State>) -> Reply {
    let user = state.operator(&request)?;
    // The whole of it decoded, `%2F` and `%25` too: a provider's ids may have any visible character.
    let payment_id = path.map(Path::into_inner).unwrap_or_default();
    if payment_id.is_empty() || !is_visible_ascii(&payment_id) {
        return Err(Problem::malformed("payment_id is of visible ASCII characters"));
    }
    no_query(&request)?;
    check_length(&request, state.operator_body())?;
    let by = by(&request, user, "done", digest(&[]))?;
    let desk = state.desk()?;
    super::change::log_about(&request, user, &format!("payment {payment_id}"), "refund done");
    match desk.close_refund(payment_id.into_boxed_str(), by).await {
        Answer::Payment { payment, replayed: is_replay, .. } => {
            let response = reply(StatusCode::OK, &Refund::new(&payment));
            Ok(if is_replay { replayed(response) } else { response })
        }
        other => Err(refusal(other)),
    }
}
