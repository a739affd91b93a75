//! The reload: what changed in the catalogue is applied to what stands, live.

use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use actix_web::web::Data;

use super::change::{by, is_dry_run, log, report};
use crate::actors::Answer;
use crate::actors::desk::Reloaded;
use crate::http::body::check_length;
use crate::http::key::digest;
use crate::http::problem::Problem;
use crate::http::query::path_id;
use crate::http::route::{Reply, refusal, replayed};
use crate::http::state::State;
use crate::http::view::{ChangeReport, EntryFault, ReloadReport, reply};
use crate::ids::ActivityId;

/// Apply what changed in the catalogue, live: one activity
///
/// Reads it afresh from its file, or from its row in MySQL's `catalog_activity`, whose `definition` is the activity as JSON,
/// as in a PUT. Applies only what changed there since it was last applied: what a PUT or a restock did in between stays, and `stock` counts
/// as a difference. `?dry_run=true` says what would change, changes nothing, and answers 200.
#[utoipa::path(post, path = "/admin/v1/activities/{activity_id}/reload", tag = "operator", security(("jwt" = [])),
    params(("activity_id" = String, Path, example = "1001"),
        ("dry_run" = Option<bool>, Query, description = "change nothing"),
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 64 visible ASCII characters")),
    responses((status = 200, body = ChangeReport, description = "applied, or nothing to apply; or a dry run"),
        (status = 201, body = ChangeReport, description = "it is new"),
        (status = 400, description = "`malformed_request`"),
        (status = 404, description = "`activity_not_found`: the catalogue has no such entry"),
        (status = 409, description = "`activity_closed`"),
        (status = 422, description = "`invalid_definition` (with `errors`, by file and line), `immutable_field`, \
            `sku_in_use`, `idempotency_key_reused`: nothing changed"),
        (status = 503, description = "`recovering`: the start is not over, or the catalogue is in MySQL and cannot be read, \
            for the reason in `detail`: nothing changed; `overloaded`")))]
pub async fn reload(request: HttpRequest, state: Data<State>) -> Reply {
    let user = state.operator(&request)?;
    let activity_id: ActivityId = path_id(&request, "activity_id")?;
    let dry_run = is_dry_run(&request)?;
    check_length(&request, state.operator_body())?;
    let by = by(&request, user, "reload", digest(&[]))?;
    let desk = state.desk()?;
    log(&request, user, Some(activity_id), "reload", dry_run);
    report(activity_id, settled(desk.reload(activity_id, by, dry_run).await)?, dry_run)
}

/// Apply what changed in the catalogue, live: every activity
///
/// What cannot be applied is left out and told under `faults`; the others are applied. An activity that the catalogue
/// does not have any more is left alone.
#[utoipa::path(post, path = "/admin/v1/reload", tag = "operator", security(("jwt" = [])),
    params(("dry_run" = Option<bool>, Query, description = "change nothing"),
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 64 visible ASCII characters")),
    responses((status = 200, body = ReloadReport, description = "what was applied and what was not"),
        (status = 400, description = "`malformed_request`"),
        (status = 503, description = "`recovering`: the start is not over, or the catalogue is in MySQL and cannot be read, \
            for the reason in `detail`: nothing changed; `overloaded`")))]
pub async fn reload_all(request: HttpRequest, state: Data<State>) -> Reply {
    let user = state.operator(&request)?;
    let dry_run = is_dry_run(&request)?;
    check_length(&request, state.operator_body())?;
    let by = by(&request, user, "reload-all", digest(&[]))?;
    let desk = state.desk()?;
    log(&request, user, None, "reload", dry_run);
    let (reloaded, strays) = desk.reload_all(by, dry_run).await.map_err(|why| Problem::catalog_unread(&why))?;
    let mut told = ReloadReport::default();
    let mut is_replay = !reloaded.is_empty();
    for (activity_id, outcome) in reloaded {
        match settled(outcome) {
            Ok(Answer::Changed(changed)) => {
                is_replay &= changed.replayed;
                told.activities.push(ChangeReport::new(activity_id, &changed));
                continue;
            }
            Ok(other) => told.faults.push(EntryFault::of(activity_id, &refusal(other))),
            Err(problem) => told.faults.push(EntryFault::of(activity_id, &problem)),
        }
        is_replay = false;
    }
    told.faults.extend(strays.iter().map(EntryFault::of_stray));
    let response = reply(StatusCode::OK, &told);
    Ok(if is_replay { replayed(response) } else { response })
}

fn settled(reloaded: Reloaded) -> Result<Answer, Problem> {
    match reloaded {
        Reloaded::Read(answer) => Ok(answer),
        Reloaded::Faulty(faults) => Err(Problem::invalid_definition(&faults)),
        Reloaded::Absent => Err(Problem::not_in_catalog()),
        Reloaded::Unread(why) => Err(Problem::catalog_unread(&why)),
    }
}
