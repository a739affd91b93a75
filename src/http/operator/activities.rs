//! Definitions: read, defined, redefined.

use actix_web::HttpRequest;
use actix_web::http::{StatusCode, header};
use actix_web::web::{Data, Payload};

use super::access;
use super::change::{by, is_dry_run, log, report, tagged};
use crate::actors::Answer;
use crate::actors::desk::{IfMatch, Put};
use crate::catalog;
use crate::domain::command::Source;
use crate::http::body::json_bytes;
use crate::http::key::{digest, idempotency_key};
use crate::http::listing;
use crate::http::problem::Problem;
use crate::http::query::path_id;
use crate::http::route::{Reply, refusal};
use crate::http::state::State;
use crate::http::view::{ChangeReport, Standing, StandingPage, reply};
use crate::ids::ActivityId;

/// Definitions with version and state, by their ids
#[utoipa::path(get, path = "/admin/v1/activities", operation_id = "list_definitions", tag = "operator", security(("jwt" = [])),
    params(("kind" = Option<String>, Query, description = "`flash_sale` or `red_packet`"),
        ("state" = Option<String>, Query, description = "`scheduled`, `running`, `paused` or `ended`"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "entries of a page; 100 by default"),
        ("cursor" = Option<String>, Query, description = "the `next_cursor` of the page before")),
    responses((status = 200, body = StandingPage, description = "a page of definitions"),
        (status = 400, description = "`malformed_request`")))]
pub async fn activities(request: HttpRequest, state: Data<State>) -> Reply {
    let caller = access::reader(&request, &state)?;
    let (found, next_cursor) = listing::page(&request, &state, caller.with)?;
    let activities = found.iter().map(Standing::from).collect();
    Ok(reply(StatusCode::OK, &StandingPage { activities, next_cursor }))
}

/// One definition with version and state
#[utoipa::path(get, path = "/admin/v1/activities/{activity_id}", operation_id = "definition", tag = "operator", security(("jwt" = [])),
    params(("activity_id" = String, Path, example = "1001")),
    responses((status = 200, body = Standing, description = "the definition",
            headers(("ETag" = String, description = "the version, for `If-Match`"))),
        (status = 400, description = "`malformed_request`"),
        (status = 404, description = "`activity_not_found`")))]
pub async fn activity(request: HttpRequest, state: Data<State>) -> Reply {
    let caller = access::reader(&request, &state)?;
    let activity_id: ActivityId = path_id(&request, "activity_id")?;
    caller.may(&state, activity_id)?;
    match state.router()?.sale(activity_id).await {
        Answer::Sale(sale) => Ok(tagged(reply(StatusCode::OK, &Standing::of(activity_id, &sale)), sale.version)),
        other => Err(refusal(other)),
    }
}

/// Define or redefine an activity, live
///
/// What is held or sold is never touched. `stock` is the total: raising adds the difference, lowering takes from what is
/// available. `If-Match: "<version>"` insists on the version that was read. `?dry_run=true` says what would change,
/// changes nothing, and answers 200.
#[utoipa::path(put, path = "/admin/v1/activities/{activity_id}", tag = "operator", security(("jwt" = [])),
    params(("activity_id" = String, Path, example = "1001"),
        ("dry_run" = Option<bool>, Query, description = "change nothing"),
        ("If-Match" = Option<String>, Header, description = "the version in quotes, or `*` for any that stands"),
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 64 visible ASCII characters")),
    request_body = catalog::Written,
    responses((status = 201, body = ChangeReport, description = "defined",
            headers(("ETag" = String, description = "the version, for `If-Match`"))),
        (status = 200, body = ChangeReport, description = "redefined; or a dry run; or the key's change, again",
            headers(("ETag" = String, description = "the version, for `If-Match`"))),
        (status = 400, description = "`malformed_request`"),
        (status = 409, description = "`activity_closed`"), (status = 412, description = "`version_conflict`"),
        (status = 413, description = "`payload_too_large`"), (status = 415, description = "`unsupported_media_type`"),
        (status = 422, description = "`invalid_definition` (with `errors`, or `largest_reduction`), `immutable_field` \
            (with `field`), `sku_in_use` (with `sku_id`, `activity_id`), `idempotency_key_reused`")))]
pub async fn put_activity(request: HttpRequest, payload: Payload, state: Data<State>) -> Reply {
    let user = state.operator(&request)?;
    let activity_id: ActivityId = path_id(&request, "activity_id")?;
    let dry_run = is_dry_run(&request)?;
    // A bad key is malformed, which comes before what is invalid in the body.
    idempotency_key(&request, "put")?;
    let body = json_bytes(&request, payload, state.operator_body()).await?;
    let tree = catalog::parse_json(&body).map_err(|faults| Problem::no_json(&faults))?;
    let definition = catalog::read(&tree).map_err(|faults| Problem::invalid_definition(&faults))?;
    let canonical = catalog::to_json(&definition).to_string();
    let by = by(&request, user, "put", digest(&[canonical.as_bytes()]))?;
    let put = Put { activity_id, definition, from: Source::Put, if_match: if_match(&request), dry_run };
    let desk = state.desk()?;
    log(&request, user, Some(activity_id), "put", dry_run);
    report(activity_id, desk.put(put, by).await, dry_run)
}

/// The version that the caller insists on: one strong tag as our replies give it, or `*`. Whatever else the header may
/// say names no version of ours.
fn if_match(request: &HttpRequest) -> Option<IfMatch> {
    let mut values = request.headers().get_all(header::IF_MATCH);
    let value = values.next()?.to_str().unwrap_or_default().trim();
    if values.next().is_some() {
        return Some(IfMatch::Never);
    }
    if value == "*" {
        return Some(IfMatch::Any);
    }
    // A version without its quotes is what people type.
    let version = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value);
    Some(version.parse().map_or(IfMatch::Never, IfMatch::Version))
}
