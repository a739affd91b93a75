//! Grabbing red packets.

use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use actix_web::web::Data;

use crate::actors::ask::Kind;
use crate::actors::{Answer, Question};
use crate::domain::command;
use crate::http::body::check_length;
use crate::http::key::idempotency_key;
use crate::http::query::{own_page, path_id};
use crate::http::route::{Reply, refusal, replayed};
use crate::http::state::State;
use crate::http::view::{Grab, Grabs, reply};
use crate::ids::ActivityId;

/// Grab a packet of the round that runs
///
/// Success is on disk before this is answered, and the packet is yours for good. What it holds stood before the round
/// started. With an `Idempotency-Key` the same request may be sent again: it is answered 200 with `Idempotent-Replayed:
/// true` and the same packet, in every state of the activity. No body is needed.
#[utoipa::path(post, path = "/v1/red-packets/{activity_id}/grabs", tag = "shopper", security(("jwt" = [])),
    params(("activity_id" = String, Path, example = "1002"),
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 64 visible ASCII characters", example = "7f3a")),
    responses((status = 201, body = Grab, description = "it is yours"),
        (status = 200, body = Grab, description = "the key's packet, again",
            headers(("Idempotent-Replayed" = String, description = "`true`"))),
        (status = 400, description = "`malformed_request`"),
        (status = 404, description = "`activity_not_found`"),
        (status = 409, description = "`not_started` (with `starts_at_ms` of the next round, `server_time_ms`; also \
            between rounds), `ended`, `paused`, `limit_reached` (with `order_ids`: the caller's grabs of the round), \
            `sold_out`"),
        (status = 413, description = "`payload_too_large`")))]
pub async fn grab(request: HttpRequest, state: Data<State>) -> Reply {
    let user = state.shopper(&request)?;
    let activity_id: ActivityId = path_id(&request, "activity_id")?;
    let key = idempotency_key(&request, "grabs")?;
    check_length(&request, state.shopper_body())?;
    match state.router()?.grab(activity_id, command::Grab { user, key }).answer().await {
        Answer::Grab { grab, replayed: false } => {
            state.metrics.grabs_granted.inc();
            Ok(reply(StatusCode::CREATED, &Grab::own(&grab)))
        }
        Answer::Grab { grab, replayed: true } => {
            state.metrics.grabs_replayed.inc();
            Ok(replayed(reply(StatusCode::OK, &Grab::own(&grab))))
        }
        other => Err(refusal(other)),
    }
}

/// The caller's packets of one activity, newest first
#[utoipa::path(get, path = "/v1/red-packets/{activity_id}/grabs", tag = "shopper", security(("jwt" = [])),
    params(("activity_id" = String, Path, example = "1002"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "entries of a page; 100 by default"),
        ("cursor" = Option<String>, Query, description = "the `next_cursor` of the page before")),
    responses((status = 200, body = Grabs, description = "a page of them; nearly always all"),
        (status = 400, description = "`malformed_request`"),
        (status = 404, description = "`activity_not_found`")))]
pub async fn own_grabs(request: HttpRequest, state: Data<State>) -> Reply {
    let user = state.shopper(&request)?;
    let activity_id: ActivityId = path_id(&request, "activity_id")?;
    let (before, limit) = own_page(&request)?;
    let question = Question::GrabsOf { user, before, limit };
    match state.router()?.ask(Kind::RedPacket, activity_id, user, question).answer().await {
        Answer::Grabs(grabs, next) => {
            let grabs = grabs.iter().map(Grab::own).collect();
            Ok(reply(StatusCode::OK, &Grabs { grabs, next_cursor: next.map(|next| next.to_string()) }))
        }
        other => Err(refusal(other)),
    }
}
