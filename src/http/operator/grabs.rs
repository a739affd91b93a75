//! Packets that were grabbed, looked up for support.

use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use actix_web::web::Data;
use serde::Deserialize;

use super::access;
use crate::actors::Answer;
use crate::actors::ask::Page;
use crate::http::problem::Problem;
use crate::http::query::{id, page_cursor, page_limit, params, path_id};
use crate::http::route::{Reply, refusal};
use crate::http::state::State;
use crate::http::view::{Grab, Grabs, reply};
use crate::ids::{ActivityId, UserId};

#[derive(Deserialize)]
struct Wanted {
    user_id: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
}

/// The packets that were grabbed of an activity, oldest first
///
/// Shard after shard. A page may be short and still have a next one: `next_cursor` is `null` at the end and only there.
#[utoipa::path(get, path = "/admin/v1/activities/{activity_id}/grabs", operation_id = "look_up_grabs", tag = "operator", security(("jwt" = [])),
    params(("activity_id" = String, Path, example = "1002"),
        ("user_id" = Option<String>, Query, description = "only this user's"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "entries of a page; 100 by default"),
        ("cursor" = Option<String>, Query, description = "the `next_cursor` of the page before")),
    responses((status = 200, body = Grabs, description = "a page of grabs, each with its `user_id`"),
        (status = 400, description = "`malformed_request`"), (status = 404, description = "`activity_not_found`")))]
pub async fn grabs(request: HttpRequest, state: Data<State>) -> Reply {
    let caller = access::reader(&request, &state)?;
    let activity_id: ActivityId = path_id(&request, "activity_id")?;
    caller.may(&state, activity_id)?;
    let wanted: Wanted = params(&request)?;
    let user = wanted.user_id.as_deref().map(|user| id::<UserId>("user_id", user)).transpose()?;
    let after = page_cursor(wanted.cursor.as_deref())?;
    let page = Page { user, state: None, after, limit: page_limit(wanted.limit)? };
    let router = state.router()?;
    if page.after.is_some_and(|after| !router.may_have(activity_id, after)) {
        return Err(Problem::malformed("cursor is what next_cursor gave"));
    }
    match router.grabs(activity_id, page).await {
        Answer::GrabPage(grabs, next) => {
            let grabs = grabs.iter().map(Grab::for_operator).collect();
            Ok(reply(StatusCode::OK, &Grabs { grabs, next_cursor: next.map(|next| next.to_string()) }))
        }
        other => Err(refusal(other)),
    }
}
