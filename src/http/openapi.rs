//! The API's description, made from the handlers themselves. What every route has in common, such as the problem that
//! each refusal is, is added here.

use actix_web::http::StatusCode;
use serde_json::{Value, json};
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ContentBuilder, Header, Ref, RefOr, Response, schema};
use utoipa::{Modify, OpenApi};

use super::{health, operator, problem, shopper};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Doorbuster",
        description = "Who gets the last one.\n\n\
            - Two listeners: the routes under **shopper** answer on the shopper listener, all others on the operator \
              listener, where this page is; `/healthz` and `/readyz` answer on both.\n\
            - Every route under `/v1` and `/admin`, but for the payment callback, wants `Authorization: Bearer <JWT>`.\n\
            - Errors are RFC 9457 problems with a stable `code`; each response below names the codes that it may have.\n\
            - Ids are strings; instants are milliseconds since 1970 in fields named `…_ms`, and RFC 3339 with an offset \
              in definitions; money is integer cents.\n\
            - `X-Request-Id` is echoed, or made, and stands in every answer."
    ),
    tags(
        (name = "shopper", description = "Buying. On the shopper listener."),
        (name = "operator", description = "Running the sales. On the operator listener; `operator` may do everything, \
            `auditor` every GET, `merchant` makes red packets, and sees, pauses and closes its own."),
        (name = "payments", description = "For the payment provider. On the shopper listener; signed, without a token."),
        (name = "health", description = "For load balancers and scrapers; without a token."),
    ),
    paths(
        shopper::activities::activities,
        shopper::activities::activity,
        shopper::orders::place_order,
        shopper::orders::own_orders,
        shopper::result::result,
        shopper::orders::order,
        shopper::orders::cancel,
        shopper::grabs::grab,
        shopper::grabs::own_grabs,
        shopper::payments::callback,
        operator::activities::activities,
        operator::activities::activity,
        operator::activities::put_activity,
        operator::reload::reload,
        operator::reload::reload_all,
        operator::red_packets::make,
        operator::switch::pause,
        operator::switch::resume,
        operator::switch::close,
        operator::stock::add_stock,
        operator::stock::stats,
        operator::orders::orders,
        operator::orders::order,
        operator::grabs::grabs,
        operator::refunds::refund,
        operator::refunds::refunds,
        operator::refunds::done,
        health::healthz,
        health::readyz,
        health::metrics,
    ),
    components(schemas(problem::Body)),
    modifiers(&BearerTokens, &Problems)
)]
struct Api;

struct BearerTokens;

impl Modify for BearerTokens {
    fn modify(&self, api: &mut utoipa::openapi::OpenApi) {
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build();
        let components = api.components.get_or_insert_with(Default::default);
        components.add_security_scheme("jwt", SecurityScheme::Http(bearer));
    }
}

/// Gives every refusal its body, and every route the refusals that all have.
struct Problems;

impl Modify for Problems {
    fn modify(&self, api: &mut utoipa::openapi::OpenApi) {
        for item in api.paths.paths.values_mut() {
            let operations = [&mut item.get, &mut item.put, &mut item.post];
            operations.into_iter().flatten().for_each(complete);
        }
    }
}

fn complete(operation: &mut Operation) {
    let has = |tag: &str| operation.tags.iter().flatten().any(|known| known == tag);
    let mut common = Vec::new();
    if has("shopper") || has("operator") || has("payments") {
        common.push(("401", "`unauthenticated`"));
        common.push(("431", "`headers_too_large`"));
        common.push(("503", "`overloaded`, `recovering`, and for new orders `storage_low`, `backlog_full`"));
    }
    if has("shopper") {
        common.push(("429", "`rate_limited`"));
    }
    if has("operator") {
        common.push(("403", "`forbidden`: the token's role may not do this"));
    }
    let responses = &mut operation.responses.responses;
    for (status, codes) in common {
        responses.entry(status.to_owned()).or_insert_with(|| RefOr::T(Response::new(codes)));
    }
    for (status, response) in responses.iter_mut() {
        let RefOr::T(response) = response else { continue };
        if status.starts_with(['4', '5']) {
            let schema = Some(Ref::from_schema_name("Problem"));
            let body = ContentBuilder::new().schema(schema).example(example(status, &response.description)).build();
            response.content.insert("application/problem+json".to_owned(), body.into());
        }
        if matches!(status.as_str(), "429" | "503") {
            let seconds = Header::new(schema::Object::with_type(schema::Type::Integer));
            response.headers.insert("Retry-After".to_owned(), RefOr::T(seconds));
        }
    }
}

/// A problem as a response of that status has it, with the first of the codes that its description names.
fn example(status: &str, description: &str) -> Option<Value> {
    let code = description.split('`').nth(1)?;
    let status: StatusCode = status.parse().ok()?;
    Some(json!({
        "type": format!("urn:doorbuster:problem:{code}"),
        "title": status.canonical_reason(),
        "status": status.as_u16(),
        "code": code,
        "detail": "what is wrong, for people",
        "request_id": "19a7b-2f",
    }))
}

/// The API's description.
#[must_use]
pub fn description() -> utoipa::openapi::OpenApi {
    Api::openapi()
}
