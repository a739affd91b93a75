//! Pausing, resuming and closing.

use actix_web::HttpRequest;
use actix_web::web::Data;

use super::access;
use super::change::{by, log, report};
use crate::domain::event::Switch;
use crate::http::body::check_length;
use crate::http::key::digest;
use crate::http::query::path_id;
use crate::http::route::{Reply, no_query};
use crate::http::state::State;
use crate::http::view::ChangeReport;
use crate::ids::ActivityId;

/// Take no orders until resumed
///
/// Holds go on: they can be cancelled and expire. Pausing what is paused changes nothing. No body is needed.
#[utoipa::path(post, path = "/admin/v1/activities/{activity_id}/pause", tag = "operator", security(("jwt" = [])),
    params(("activity_id" = String, Path, example = "1001"),
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 64 visible ASCII characters")),
    responses((status = 200, body = ChangeReport, description = "it is paused"),
        (status = 400, description = "`malformed_request`"), (status = 404, description = "`activity_not_found`"),
        (status = 409, description = "`activity_closed`")))]
pub async fn pause(request: HttpRequest, state: Data<State>) -> Reply {
    switch(request, state, Switch::Paused, "pause").await
}

/// Take orders again
///
/// Resuming what is not paused changes nothing. No body is needed.
#[utoipa::path(post, path = "/admin/v1/activities/{activity_id}/resume", tag = "operator", security(("jwt" = [])),
    params(("activity_id" = String, Path, example = "1001"),
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 64 visible ASCII characters")),
    responses((status = 200, body = ChangeReport, description = "it is not paused"),
        (status = 400, description = "`malformed_request`"), (status = 404, description = "`activity_not_found`"),
        (status = 409, description = "`activity_closed`")))]
pub async fn resume(request: HttpRequest, state: Data<State>) -> Reply {
    switch(request, state, Switch::Resumed, "resume").await
}

/// Take no orders ever again
///
/// Final: nothing opens it again. Holds go on. Closing what is closed changes nothing. No body is needed.
#[utoipa::path(post, path = "/admin/v1/activities/{activity_id}/close", tag = "operator", security(("jwt" = [])),
    params(("activity_id" = String, Path, example = "1001"),
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 64 visible ASCII characters")),
    responses((status = 200, body = ChangeReport, description = "it is closed"),
        (status = 400, description = "`malformed_request`"), (status = 404, description = "`activity_not_found`")))]
pub async fn close(request: HttpRequest, state: Data<State>) -> Reply {
    switch(request, state, Switch::Closed, "close").await
}

async fn switch(request: HttpRequest, state: Data<State>, to: Switch, what: &str) -> Reply {
    let caller = access::owner(&request, &state)?;
    let (user, activity_id) = (caller.user, path_id::<ActivityId>(&request, "activity_id")?);
    caller.may(&state, activity_id)?;
    no_query(&request)?;
    check_length(&request, state.operator_body())?;
    let by = by(&request, user, what, digest(&[]))?;
    let desk = state.desk()?;
    log(&request, user, Some(activity_id), what, false);
    report(activity_id, desk.switch(activity_id, to, by).await, false)
}
