//! Units: adding some, and where they are.

use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use actix_web::web::{Data, Payload};
use serde::Deserialize;

use super::access;
use super::change::{by, log, report};
use crate::actors::Answer;
use crate::http::key::digest;
use crate::http::query::{id, path_id};
use crate::http::route::{Reply, no_query, refusal};
use crate::http::state::State;
use crate::http::view::{ChangeReport, Stats, reply};
use crate::http::whole::whole;
use crate::ids::{ActivityId, SkuId};

/// More units of one SKU.
#[derive(Deserialize, utoipa::ToSchema)]
pub struct StockRequest {
    #[schema(example = "2001")]
    sku_id: String,
    /// At least 1; to lower the stock, PUT a smaller total.
    #[serde(deserialize_with = "whole")]
    #[schema(minimum = 1, example = 100)]
    add: i64,
}

/// Add units to a SKU, live
#[utoipa::path(post, path = "/admin/v1/activities/{activity_id}/stock", tag = "operator", security(("jwt" = [])),
    params(("activity_id" = String, Path, example = "1001"),
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 64 visible ASCII characters; with it a repeat \
            adds nothing")),
    request_body = StockRequest,
    responses((status = 200, body = ChangeReport, description = "they are on sale"),
        (status = 400, description = "`malformed_request`"),
        (status = 404, description = "`activity_not_found`, `sku_not_found`"),
        (status = 409, description = "`activity_closed`"),
        (status = 413, description = "`payload_too_large`"), (status = 415, description = "`unsupported_media_type`"),
        (status = 422, description = "`invalid_quantity`, `idempotency_key_reused`")))]
pub async fn add_stock(request: HttpRequest, payload: Payload, state: Data<State>) -> Reply {
    let user = state.operator(&request)?;
    let activity_id: ActivityId = path_id(&request, "activity_id")?;
    no_query(&request)?;
    let body: StockRequest = state.operator_json(&request, payload).await?;
    let sku: SkuId = id("sku_id", &body.sku_id)?;
    let content = format!("{sku}\n{}", body.add);
    let by = by(&request, user, "stock", digest(&[content.as_bytes()]))?;
    let desk = state.desk()?;
    log(&request, user, Some(activity_id), "stock", false);
    report(activity_id, desk.add_stock(activity_id, sku, body.add, by).await, false)
}

/// A sale's numbers
///
/// For each SKU `stock = available + held + sold`. Refusals are counted since the process started.
#[utoipa::path(get, path = "/admin/v1/activities/{activity_id}/stats", tag = "operator", security(("jwt" = [])),
    params(("activity_id" = String, Path, example = "1001")),
    responses((status = 200, body = Stats, description = "the numbers"),
        (status = 400, description = "`malformed_request`"), (status = 404, description = "`activity_not_found`")))]
pub async fn stats(request: HttpRequest, state: Data<State>) -> Reply {
    let caller = access::reader(&request, &state)?;
    let activity_id: ActivityId = path_id(&request, "activity_id")?;
    caller.may(&state, activity_id)?;
    match state.router()?.sale(activity_id).await {
        Answer::Sale(sale) => Ok(reply(StatusCode::OK, &Stats::new(activity_id, &sale))),
        other => Err(refusal(other)),
    }
}
