//! A shop's own packets: made here; seen, paused and ended by the routes of all activities.

use actix_web::http::StatusCode;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};

use super::access;
use super::change::{by, log};
use crate::catalog::{self, ShopPacket};
use crate::http::body::json_bytes;
use crate::http::key::{digest, idempotency_key};
use crate::http::problem::Problem;
use crate::http::route::{Reply, no_query, refusal, replayed};
use crate::http::state::State;
use crate::http::view::{self, reply};

/// What a shop asks for.
#[derive(utoipa::ToSchema)]
#[allow(dead_code, reason = "the API's description alone; it is read with all its faults by the catalogue's reader")]
pub struct ShopPacketRequest {
    /// What shoppers see.
    #[schema(example = "Thank you")]
    title: String,
    /// ISO 4217, three capital letters.
    #[schema(example = "CNY", default = "CNY", required = false)]
    currency: String,
    /// The budget.
    #[schema(example = 8_800)]
    total_cents: u64,
    /// Into how many packets it is split; each user may grab one.
    #[schema(example = 20, minimum = 1, maximum = 10_000)]
    packets: u32,
    /// `random` or `equal`.
    #[schema(example = "random")]
    split: String,
    /// The least that a packet holds.
    #[schema(example = 1)]
    min_cents: u64,
    /// The most.
    #[schema(example = 2_000)]
    max_cents: u64,
    /// After so many seconds what nobody grabbed is refunded.
    #[schema(example = 86_400, minimum = 1, maximum = 2_592_000)]
    expires_in_s: u64,
    /// The shop's own reference for the money: at most 64 visible ASCII characters.
    #[schema(example = "wallet-7/2026-11-11", required = false)]
    funding_ref: String,
}

/// Make red packets of a shop's own
///
/// They can be grabbed at once, at `POST /v1/red-packets/{activity_id}/grabs`, by whoever knows the `activity_id`: no list of
/// shoppers shows them. With an `Idempotency-Key` the same request may be sent again: it makes no other packets, and is
/// answered 200 with `Idempotent-Replayed: true` and the packets as they stand now. `POST
/// /admin/v1/activities/{activity_id}/close` ends them, and what nobody grabbed is refunded.
#[utoipa::path(post, path = "/admin/v1/red-packets", tag = "operator", security(("jwt" = [])),
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 64 visible ASCII characters", example = "7f3a")),
    request_body = ShopPacketRequest,
    responses((status = 201, body = view::ShopPacket, description = "they can be grabbed"),
        (status = 200, body = view::ShopPacket, description = "the key's packets, again, as they stand now",
            headers(("Idempotent-Replayed" = String, description = "`true`"))),
        (status = 400, description = "`malformed_request`"),
        (status = 413, description = "`payload_too_large`"), (status = 415, description = "`unsupported_media_type`"),
        (status = 422, description = "`invalid_definition` (with `errors`), `idempotency_key_reused`")))]
pub async fn make(request: HttpRequest, payload: Payload, state: Data<State>) -> Reply {
    let caller = access::owner(&request, &state)?;
    no_query(&request)?;
    // A bad key is malformed, which comes before what is invalid in the body.
    idempotency_key(&request, "red-packets")?;
    let body = json_bytes(&request, payload, state.operator_body()).await?;
    let tree = catalog::parse_json(&body).map_err(|faults| Problem::no_json(&faults))?;
    let packet = ShopPacket::read(&tree).map_err(|faults| Problem::invalid_definition(&faults))?;
    let by = by(&request, caller.user, "red-packets", digest(&[packet.canonical().as_bytes()]))?;
    let desk = state.desk()?;
    log(&request, caller.user, None, "red packets", false);
    let made = desk.make_packet(packet, caller.user, by).await.map_err(refusal)?;
    let shown = view::ShopPacket::new(made.activity_id, &made.sale);
    let status = if made.replayed { StatusCode::OK } else { StatusCode::CREATED };
    let response: HttpResponse = reply(status, &shown);
    Ok(if made.replayed { replayed(response) } else { response })
}
