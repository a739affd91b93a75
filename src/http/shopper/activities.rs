//! What is on sale, for shoppers.

use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use actix_web::web::Data;

use crate::actors::Answer;
use crate::actors::router::Whose;
use crate::http::listing;
use crate::http::query::path_id;
use crate::http::route::{Reply, refusal};
use crate::http::state::State;
use crate::http::view::{Activities, ActivityDetail, ActivityLine, reply};
use crate::ids::ActivityId;

/// Activities, by their ids
///
/// `server_time_ms` is for countdowns: the server's time decides. Ask for the next page with `cursor`.
#[utoipa::path(get, path = "/v1/activities", tag = "shopper", security(("jwt" = [])),
    params(("kind" = Option<String>, Query, description = "`flash_sale` or `red_packet`"),
        ("state" = Option<String>, Query, description = "`scheduled`, `running`, `paused` or `ended`"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "entries of a page; 100 by default"),
        ("cursor" = Option<String>, Query, description = "the `next_cursor` of the page before")),
    responses((status = 200, body = Activities, description = "a page of activities"),
        (status = 400, description = "`malformed_request`")))]
pub async fn activities(request: HttpRequest, state: Data<State>) -> Reply {
    state.shopper(&request)?;
    let (found, next_cursor) = listing::page(&request, &state, Whose::Everybodys)?;
    let server_time_ms = state.router()?.now_ms().0;
    let activities = found.iter().map(ActivityLine::from).collect();
    Ok(reply(StatusCode::OK, &Activities { server_time_ms, activities, next_cursor }))
}

/// One activity, what it sells and what is left
#[utoipa::path(get, path = "/v1/activities/{activity_id}", tag = "shopper", security(("jwt" = [])),
    params(("activity_id" = String, Path, example = "1001")),
    responses((status = 200, body = ActivityDetail, description = "the activity"),
        (status = 400, description = "`malformed_request`"),
        (status = 404, description = "`activity_not_found`")))]
pub async fn activity(request: HttpRequest, state: Data<State>) -> Reply {
    state.shopper(&request)?;
    let activity_id: ActivityId = path_id(&request, "activity_id")?;
    match state.router()?.sale(activity_id).await {
        Answer::Sale(sale) => Ok(reply(StatusCode::OK, &ActivityDetail::new(activity_id, &sale))),
        other => Err(refusal(other)),
    }
}
