//! The operator listener's routes. Every change is an event in the journal, with who and when.

use actix_web::http::{StatusCode, header};
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde_json::{Value, json};

use super::body::{check_length, json_bytes};
use super::key::{digest, idempotency_key};
use super::problem::Problem;
use super::query::{id, page_limit, params, path_id};
use super::shopper::{list, replayed, unexpected};
use super::state::State;
use super::view::{self, ChangeReport, Order, Orders, Stats, reply};
use crate::actors::ask::Page;
use crate::actors::desk::{By, IfMatch, Put, Reloaded};
use crate::actors::{Answer, Question};
use crate::catalog;
use crate::domain::OrderState;
use crate::domain::command::{RequestKey, Source};
use crate::domain::event::{Author, Switch};
use crate::ids::{ActivityId, KeyDigest, OrderId, SkuId, UserId};

type Reply = Result<HttpResponse, Problem>;

/// The listener's routes.
pub fn routes(config: &mut web::ServiceConfig) {
    use super::server::{get, post};
    config
        .service(get("/admin/v1/activities", activities))
        .service(
            web::resource("/admin/v1/activities/{activity_id}")
                .get(activity)
                .put(put_activity)
                .default_service(web::to(|| super::server::method_not_allowed("GET, PUT"))),
        )
        .service(post("/admin/v1/activities/{activity_id}/reload", reload))
        .service(post("/admin/v1/reload", reload_all))
        .service(post("/admin/v1/activities/{activity_id}/pause", pause))
        .service(post("/admin/v1/activities/{activity_id}/resume", resume))
        .service(post("/admin/v1/activities/{activity_id}/close", close))
        .service(post("/admin/v1/activities/{activity_id}/stock", add_stock))
        .service(get("/admin/v1/activities/{activity_id}/stats", stats))
        .service(get("/admin/v1/activities/{activity_id}/orders", orders))
        .service(get("/admin/v1/orders/{order_id}", order));
}

#[derive(Deserialize)]
struct DryRun {
    #[serde(default)]
    dry_run: bool,
}

fn by(request: &HttpRequest, user: UserId, scope: &str, body: KeyDigest) -> Result<By, Problem> {
    let key = idempotency_key(request, scope)?.map(|key| RequestKey { key, body });
    Ok(By { author: Author::Operator(user), key })
}

/// The version that the caller insists on: one strong tag as our replies give it, or `*`.
fn if_match(request: &HttpRequest) -> Option<IfMatch> {
    let value = request.headers().get(header::IF_MATCH)?.to_str().unwrap_or_default().trim();
    if value == "*" {
        return Some(IfMatch::Any);
    }
    let version = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value);
    Some(version.parse().map_or(IfMatch::Never, IfMatch::Version))
}

fn tagged(mut response: HttpResponse, version: u64) -> HttpResponse {
    let tag = header::HeaderValue::from_str(&format!("\"{version}\"")).expect("digits in quotes are a header value");
    response.headers_mut().insert(header::ETAG, tag);
    response
}

fn changed(activity_id: ActivityId, answer: Answer) -> Reply {
    match answer {
        Answer::Changed(changed) => {
            let status = if changed.before.is_none() { StatusCode::CREATED } else { StatusCode::OK };
            let response = tagged(reply(status, &ChangeReport::new(activity_id, &changed)), changed.version);
            Ok(if changed.replayed { replayed(response) } else { response })
        }
        other => Err(unexpected(other)),
    }
}

fn log_change(request: &HttpRequest, user: UserId, activity_id: Option<ActivityId>, what: &str) {
    let activity = activity_id.map_or_else(|| "all".to_owned(), |id| id.to_string());
    tracing::info!(operator = %user, activity, what, path = request.path(), "operator's request");
}

/// Activities with definition, version and state, by their ids
#[utoipa::path(get, path = "/admin/v1/activities", tag = "operator", security(("jwt" = [])),
    params(("kind" = Option<String>, Query), ("state" = Option<String>, Query), ("limit" = Option<u32>, Query),
        ("cursor" = Option<String>, Query)),
    responses((status = 200, body = Object), (status = 403, description = "forbidden")))]
pub async fn activities(request: HttpRequest, state: Data<State>) -> Reply {
    state.reader(&request)?;
    let (found, next_cursor) = list(&request, &state)?;
    let activities: Vec<Value> = found
        .iter()
        .map(|one| view::definition(one.activity_id, &one.definition, one.version, one.phase.as_str(), one.paused))
        .collect();
    Ok(reply(StatusCode::OK, &json!({ "activities": activities, "next_cursor": next_cursor })))
}

/// One activity's definition, version and state
#[utoipa::path(get, path = "/admin/v1/activities/{activity_id}", tag = "operator", security(("jwt" = [])),
    params(("activity_id" = String, Path)),
    responses((status = 200, body = Object), (status = 404, description = "activity_not_found")))]
pub async fn activity(request: HttpRequest, state: Data<State>) -> Reply {
    state.reader(&request)?;
    let activity_id: ActivityId = path_id(&request, "activity_id")?;
    match state.router()?.ask(activity_id, Question::Sale).answer().await {
        Answer::Sale(sale) => {
            let value = view::definition(activity_id, &sale.definition, sale.version, sale.phase.as_str(), sale.paused);
            Ok(tagged(reply(StatusCode::OK, &value), sale.version))
        }
        other => Err(unexpected(other)),
    }
}

/// Define or redefine an activity, live
///
/// What is held or sold is never touched. `stock` is the total. `If-Match: "<version>"` insists on the version that was
/// read. `?dry_run=true` says what would change and changes nothing.
#[utoipa::path(put, path = "/admin/v1/activities/{activity_id}", tag = "operator", security(("jwt" = [])),
    params(("activity_id" = String, Path), ("dry_run" = Option<bool>, Query), ("If-Match" = Option<String>, Header),
        ("Idempotency-Key" = Option<String>, Header)),
    request_body(content = Object, description = "an activity; see the contract's example in docs/"),
    responses((status = 201, body = ChangeReport, description = "defined"),
        (status = 200, body = ChangeReport, description = "redefined"),
        (status = 409, description = "activity_closed"), (status = 412, description = "version_conflict"),
        (status = 422, description = "invalid_definition, immutable_field, sku_in_use, idempotency_key_reused")))]
pub async fn put_activity(request: HttpRequest, payload: Payload, state: Data<State>) -> Reply {
    let user = state.operator(&request)?;
    let activity_id: ActivityId = path_id(&request, "activity_id")?;
    let DryRun { dry_run } = params(&request)?;
    let body = json_bytes(&request, payload, state.operator_body()).await?;
    let tree = catalog::parse_json(&body).map_err(|faults| match faults.first() {
        Some(fault) => Problem::malformed(format!("the body is no JSON: {}", fault.what)),
        None => Problem::malformed("the body is no JSON"),
    })?;
    let definition = catalog::read(&tree).map_err(|faults| Problem::invalid_definition(&faults))?;
    let canonical = catalog::to_json(&definition).to_string();
    let by = by(&request, user, "put", digest(&[canonical.as_bytes()]))?;
    let put = Put { activity_id, definition, from: Source::Put, if_match: if_match(&request), dry_run };
    let desk = state.desk()?;
    log_change(&request, user, Some(activity_id), if dry_run { "put (dry run)" } else { "put" });
    changed(activity_id, desk.put(put, by).await)
}

/// Apply what changed in the catalogue, live: one activity
///
/// Only what changed there since it was last applied: what a PUT or a restock did in between stays.
#[utoipa::path(post, path = "/admin/v1/activities/{activity_id}/reload", tag = "operator", security(("jwt" = [])),
    params(("activity_id" = String, Path), ("dry_run" = Option<bool>, Query)),
    responses((status = 200, body = ChangeReport), (status = 201, body = ChangeReport, description = "it is new"),
        (status = 404, description = "activity_not_found: the catalogue has no such entry"),
        (status = 422, description = "invalid_definition: the entry is faulty, nothing changed")))]
pub async fn reload(request: HttpRequest, state: Data<State>) -> Reply {
    let user = state.operator(&request)?;
    let activity_id: ActivityId = path_id(&request, "activity_id")?;
    let DryRun { dry_run } = params(&request)?;
    check_length(&request, state.operator_body())?;
    let by = by(&request, user, "reload", digest(&[]))?;
    let desk = state.desk()?;
    log_change(&request, user, Some(activity_id), if dry_run { "reload (dry run)" } else { "reload" });
    changed(activity_id, settled(desk.reload(activity_id, by, dry_run).await)?)
}

/// Apply what changed in the catalogue, live: every activity
///
/// A faulty entry is skipped and told under `faults`; the others are applied. An absent one is left alone.
#[utoipa::path(post, path = "/admin/v1/reload", tag = "operator", security(("jwt" = [])),
    params(("dry_run" = Option<bool>, Query)), responses((status = 200, body = Object)))]
pub async fn reload_all(request: HttpRequest, state: Data<State>) -> Reply {
    let user = state.operator(&request)?;
    let DryRun { dry_run } = params(&request)?;
    check_length(&request, state.operator_body())?;
    let by = by(&request, user, "reload", digest(&[]))?;
    let desk = state.desk()?;
    log_change(&request, user, None, if dry_run { "reload (dry run)" } else { "reload" });
    let (reloaded, strays) = desk.reload_all(by, dry_run).await;
    let (mut activities, mut faults) = (Vec::new(), Vec::new());
    for (activity_id, outcome) in reloaded {
        match settled(outcome) {
            Ok(Answer::Changed(changed)) => activities.push(ChangeReport::new(activity_id, &changed)),
            Ok(other) => faults.push(fault(activity_id, &unexpected(other))),
            Err(problem) => faults.push(fault(activity_id, &problem)),
        }
    }
    faults.extend(strays.iter().map(|stray| json!({ "code": "invalid_definition", "detail": stray.to_string() })));
    Ok(reply(StatusCode::OK, &json!({ "activities": activities, "faults": faults })))
}

fn fault(activity_id: ActivityId, problem: &Problem) -> Value {
    let mut value = problem.summary();
    value["activity_id"] = json!(activity_id.to_string());
    value
}

fn settled(reloaded: Reloaded) -> Result<Answer, Problem> {
    match reloaded {
        Reloaded::Read(answer) => Ok(answer),
        Reloaded::Faulty(faults) => Err(Problem::invalid_definition(&faults)),
        Reloaded::Absent => Err(Problem::activity_not_found()),
    }
}

/// Take no orders until resumed; holds go on
#[utoipa::path(post, path = "/admin/v1/activities/{activity_id}/pause", tag = "operator", security(("jwt" = [])),
    params(("activity_id" = String, Path)), responses((status = 200, body = ChangeReport)))]
pub async fn pause(request: HttpRequest, state: Data<State>) -> Reply {
    switch(request, state, Switch::Paused, "pause").await
}

/// Take orders again
#[utoipa::path(post, path = "/admin/v1/activities/{activity_id}/resume", tag = "operator", security(("jwt" = [])),
    params(("activity_id" = String, Path)), responses((status = 200, body = ChangeReport)))]
pub async fn resume(request: HttpRequest, state: Data<State>) -> Reply {
    switch(request, state, Switch::Resumed, "resume").await
}

/// Take no orders ever again; final
#[utoipa::path(post, path = "/admin/v1/activities/{activity_id}/close", tag = "operator", security(("jwt" = [])),
    params(("activity_id" = String, Path)), responses((status = 200, body = ChangeReport)))]
pub async fn close(request: HttpRequest, state: Data<State>) -> Reply {
    switch(request, state, Switch::Closed, "close").await
}

async fn switch(request: HttpRequest, state: Data<State>, to: Switch, what: &str) -> Reply {
    let user = state.operator(&request)?;
    let activity_id: ActivityId = path_id(&request, "activity_id")?;
    check_length(&request, state.operator_body())?;
    let by = by(&request, user, what, digest(&[]))?;
    let desk = state.desk()?;
    log_change(&request, user, Some(activity_id), what);
    changed(activity_id, desk.switch(activity_id, to, by).await)
}

/// More units of one SKU.
#[derive(Deserialize, utoipa::ToSchema)]
pub struct StockRequest {
    #[schema(example = "2001")]
    sku_id: String,
    /// At least 1; to lower the stock, PUT a smaller total.
    #[schema(minimum = 1, example = 100)]
    add: i64,
}

/// Add units to a SKU, live
#[utoipa::path(post, path = "/admin/v1/activities/{activity_id}/stock", tag = "operator", security(("jwt" = [])),
    params(("activity_id" = String, Path), ("Idempotency-Key" = Option<String>, Header)), request_body = StockRequest,
    responses((status = 200, body = ChangeReport), (status = 404, description = "activity_not_found, sku_not_found"),
        (status = 409, description = "activity_closed"),
        (status = 422, description = "invalid_quantity, idempotency_key_reused")))]
pub async fn add_stock(request: HttpRequest, payload: Payload, state: Data<State>) -> Reply {
    let user = state.operator(&request)?;
    let activity_id: ActivityId = path_id(&request, "activity_id")?;
    let body: StockRequest = state.operator_json(&request, payload).await?;
    let sku: SkuId = id("sku_id", &body.sku_id)?;
    let content = format!("{sku}\n{}", body.add);
    let by = by(&request, user, "stock", digest(&[content.as_bytes()]))?;
    let desk = state.desk()?;
    log_change(&request, user, Some(activity_id), "stock");
    changed(activity_id, desk.add_stock(activity_id, sku, body.add, by).await)
}

/// A sale's numbers
#[utoipa::path(get, path = "/admin/v1/activities/{activity_id}/stats", tag = "operator", security(("jwt" = [])),
    params(("activity_id" = String, Path)), responses((status = 200, body = Stats)))]
pub async fn stats(request: HttpRequest, state: Data<State>) -> Reply {
    state.reader(&request)?;
    let activity_id: ActivityId = path_id(&request, "activity_id")?;
    match state.router()?.ask(activity_id, Question::Sale).answer().await {
        Answer::Sale(sale) => Ok(reply(StatusCode::OK, &Stats::new(activity_id, &sale))),
        other => Err(unexpected(other)),
    }
}

/// Anybody's order
#[utoipa::path(get, path = "/admin/v1/orders/{order_id}", tag = "operator", security(("jwt" = [])),
    params(("order_id" = String, Path)),
    responses((status = 200, body = Order), (status = 404, description = "order_not_found")))]
pub async fn order(request: HttpRequest, state: Data<State>) -> Reply {
    state.reader(&request)?;
    let order_id: OrderId = path_id(&request, "order_id")?;
    let question = |number| Question::Order { number, user: None };
    match state.router()?.ask_of_order(order_id, question).answer().await {
        Answer::Order { order, .. } => Ok(reply(StatusCode::OK, &Order::for_operator(order))),
        other => Err(unexpected(other)),
    }
}

/// An activity's orders, oldest first
#[utoipa::path(get, path = "/admin/v1/activities/{activity_id}/orders", tag = "operator", security(("jwt" = [])),
    params(("activity_id" = String, Path), ("user_id" = Option<String>, Query), ("state" = Option<String>, Query),
        ("limit" = Option<u32>, Query), ("cursor" = Option<String>, Query)),
    responses((status = 200, body = Orders)))]
pub async fn orders(request: HttpRequest, state: Data<State>) -> Reply {
    #[derive(Deserialize)]
    struct Wanted {
        user_id: Option<String>,
        state: Option<OrderState>,
        limit: Option<usize>,
        cursor: Option<String>,
    }
    state.reader(&request)?;
    let activity_id: ActivityId = path_id(&request, "activity_id")?;
    let wanted: Wanted = params(&request)?;
    let user = wanted.user_id.as_deref().map(|user| id::<UserId>("user_id", user)).transpose()?;
    let after = match &wanted.cursor {
        Some(cursor) => cursor.parse().map_err(|_| Problem::malformed("cursor is what next_cursor gave"))?,
        None => 0,
    };
    let page = Page { user, state: wanted.state, after, limit: page_limit(wanted.limit)? };
    match state.router()?.ask(activity_id, Question::Orders(page)).answer().await {
        Answer::Orders(orders, next) => {
            let orders = orders.into_iter().map(Order::for_operator).collect();
            Ok(reply(StatusCode::OK, &Orders { orders, next_cursor: next.map(|next| next.to_string()) }))
        }
        other => Err(unexpected(other)),
    }
}
