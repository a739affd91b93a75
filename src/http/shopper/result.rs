//! The polling contract: what became of a request to buy.

use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use actix_web::web::Data;
use serde::Deserialize;

use crate::actors::ask::Kind;
use crate::actors::{Answer, Question};
use crate::http::query::{id, params, path_id};
use crate::http::route::{Reply, refusal};
use crate::http::state::State;
use crate::http::view::{Outcome, reply};
use crate::ids::{ActivityId, SkuId};

#[derive(Deserialize)]
struct Wanted {
    sku_id: String,
}

/// What became of a request to buy
///
/// `result` is `-1` where the caller has no live order of the SKU; `0` where the newest live one is accepted, and not yet
/// known to be in MySQL; else that order's id. Without MySQL an order counts as settled once it is durable, and `0` does not
/// occur. With `0` or an id come `order_id`, `state` and `expires_at_ms`. It goes back to `-1` only if the order is
/// cancelled or expires: where the newest that was bought was refunded, and no other is live, it is told as `refunded`.
#[utoipa::path(get, path = "/v1/flash-sales/{activity_id}/result", tag = "shopper", security(("jwt" = [])),
    params(("activity_id" = String, Path, example = "1001"), ("sku_id" = String, Query, example = "2001")),
    responses((status = 200, body = Outcome, description = "what became of it"),
        (status = 400, description = "`malformed_request`"),
        (status = 404, description = "`activity_not_found`, `sku_not_found`")))]
pub async fn result(request: HttpRequest, state: Data<State>) -> Reply {
    let user = state.shopper(&request)?;
    let activity_id: ActivityId = path_id(&request, "activity_id")?;
    let wanted: Wanted = params(&request)?;
    let sku: SkuId = id("sku_id", &wanted.sku_id)?;
    let router = state.router()?;
    match router.ask(Kind::FlashSale, activity_id, user, Question::Live { user, sku }).answer().await {
        Answer::Live(order) => {
            let settled = order.as_ref().is_some_and(|order| router.is_settled(order.order_id));
            Ok(reply(StatusCode::OK, &Outcome::new(order.as_ref(), settled)))
        }
        other => Err(refusal(other)),
    }
}
