//! Resources: which methods a path answers, and the refusal of all others, which names those that there are.

use actix_web::http::header;
use actix_web::web::{self, Query};
use actix_web::{FromRequest, Handler, HttpRequest, HttpResponse, Resource, Responder};
use serde::Deserialize;

use super::problem::Problem;
use crate::actors::Answer;

/// What a handler returns.
pub type Reply = Result<HttpResponse, Problem>;

/// A resource that is read.
pub fn get<F, Args>(path: &str, handler: F) -> Resource
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    refuse_others(read(web::resource(path), handler), "GET, HEAD")
}

/// A resource that is told to do something.
pub fn post<F, Args>(path: &str, handler: F) -> Resource
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    refuse_others(web::resource(path).post(handler), "POST")
}

/// Lets a resource answer GET, and HEAD, which is the same without the body.
pub fn read<F, Args>(resource: Resource, handler: F) -> Resource
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    resource.route(web::get().to(handler.clone())).route(web::head().to(handler))
}

/// Lets a resource refuse every method but those of `allow`.
pub fn refuse_others(resource: Resource, allow: &'static str) -> Resource {
    resource.default_service(web::to(move || async move { Reply::Err(Problem::method_not_allowed(allow)) }))
}

/// Holds an operator's request to the query that its route knows: a slip in `dry_run` must not make a change, and
/// `close?dry_run=true` must not close.
///
/// # Errors
/// `malformed_request`.
pub fn no_query(request: &HttpRequest) -> Result<(), Problem> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Nothing {}
    let query = Query::<Nothing>::from_query(request.query_string());
    query.map(|_| ()).map_err(|error| Problem::malformed(format!("this route has no parameters: {error}")))
}

/// A refusal as its problem.
///
/// # Panics
/// Where the answer belongs to another question: our bug.
pub fn refusal(answer: Answer) -> Problem {
    match answer {
        Answer::Refused(refused) => Problem::refused(&refused),
        other => unreachable!("a shard answers what it was asked, not {other:?}"),
    }
}

/// Marks a response as the repeat of an earlier one.
pub fn replayed(mut response: HttpResponse) -> HttpResponse {
    let name = header::HeaderName::from_static("idempotent-replayed");
    response.headers_mut().insert(name, header::HeaderValue::from_static("true"));
    response
}
