//! What all operators' changes have in common: who asks and by what key, the line in the log, the report.

use actix_web::http::{StatusCode, header};
use actix_web::{HttpMessage, HttpRequest, HttpResponse};
use serde::Deserialize;

use crate::actors::Answer;
use crate::actors::desk::By;
use crate::domain::command::RequestKey;
use crate::domain::event::Author;
use crate::http::envelope::RequestId;
use crate::http::key::idempotency_key;
use crate::http::problem::Problem;
use crate::http::query::params;
use crate::http::route::{Reply, refusal, replayed};
use crate::http::view::{ChangeReport, reply};
use crate::ids::{ActivityId, KeyDigest, UserId};

/// Whether the request only asks what would happen. A slip in the parameter is refused, since it would make a change.
///
/// # Errors
/// `malformed_request`.
pub fn is_dry_run(request: &HttpRequest) -> Result<bool, Problem> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct DryRun {
        #[serde(default)]
        dry_run: bool,
    }
    params::<DryRun>(request).map(|wanted| wanted.dry_run)
}

/// Who asks, and by what key of the route that `scope` names.
///
/// # Errors
/// `malformed_request` where the key is none.
pub fn by(request: &HttpRequest, user: UserId, scope: &str, body: KeyDigest) -> Result<By, Problem> {
    let key = idempotency_key(request, scope)?.map(|key| RequestKey { key, body });
    Ok(By { author: Author::Operator(user), key })
}

/// Logs what an operator asks for.
pub fn log(request: &HttpRequest, user: UserId, activity_id: Option<ActivityId>, what: &str, dry_run: bool) {
    let activity = activity_id.map_or_else(|| "all".to_owned(), |id| id.to_string());
    let extensions = request.extensions();
    let id = extensions.get::<RequestId>().and_then(|id| id.0.to_str().ok()).unwrap_or_default();
    tracing::info!(operator = %user, activity, what, dry_run, request_id = id, "operator's request");
}

/// Logs what an operator asks for an order or a payment.
pub fn log_about(request: &HttpRequest, user: UserId, subject: &str, what: &str) {
    let extensions = request.extensions();
    let id = extensions.get::<RequestId>().and_then(|id| id.0.to_str().ok()).unwrap_or_default();
    tracing::info!(operator = %user, subject, what, request_id = id, "operator's request");
}

/// The report on a change, made or (in a dry run) thought through.
pub fn report(activity_id: ActivityId, answer: Answer, dry_run: bool) -> Reply {
    let changed = match answer {
        Answer::Changed(changed) => changed,
        other => return Err(refusal(other)),
    };
    let report = ChangeReport::new(activity_id, &changed);
    if dry_run {
        // Nothing was created, and no such version stands.
        return Ok(reply(StatusCode::OK, &report));
    }
    let status = if changed.before.is_none() { StatusCode::CREATED } else { StatusCode::OK };
    let response = tagged(reply(status, &report), changed.version);
    Ok(if changed.replayed { replayed(response) } else { response })
}

/// Names the version that stands, for a later `If-Match`.
pub fn tagged(mut response: HttpResponse, version: u64) -> HttpResponse {
    let tag = header::HeaderValue::from_str(&format!("\"{version}\"")).expect("digits in quotes are a header value");
    response.headers_mut().insert(header::ETAG, tag);
    response
}
