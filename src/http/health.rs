//! What load balancers and scrapers ask: whether the process lives, whether it should be sent traffic, its numbers.

use actix_web::http::StatusCode;
use actix_web::web::{self, Data};
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;
use utoipa::ToSchema;

use super::envelope::Listener;
use super::problem::Problem;
use super::route::{Reply, get};
use super::state::State;
use super::view::reply;
use crate::actors::{Lag, Stage, Unavailable};
use crate::telemetry::SkuLabel;

/// A gap between the process clock and wall time that `/readyz` tells of.
const CLOCK_GAP_TOLD_MS: u64 = 3_000;

/// The routes of both listeners.
pub fn routes(config: &mut web::ServiceConfig) {
    config.service(get("/healthz", healthz)).service(get("/readyz", readyz));
}

/// That the process lives.
#[derive(Serialize, ToSchema)]
pub struct Health {
    #[schema(example = "ok")]
    status: &'static str,
}

/// That the process takes traffic, and what is not as it should be.
#[derive(Serialize, ToSchema)]
pub struct Ready {
    /// `ready` or `degraded`: both take traffic.
    #[schema(example = "ready")]
    status: &'static str,
    /// Why it is degraded.
    reasons: Vec<String>,
    /// What "accepted" means: the disk has it.
    #[schema(example = "fsync")]
    durability: &'static str,
    /// Wall time less the process clock, which follows it slowly.
    clock_gap_ms: i64,
    /// How far MySQL is behind the journal; absent where the journal is the only store.
    #[serde(skip_serializing_if = "Option::is_none")]
    mysql: Option<Mysql>,
}

/// How far MySQL is behind the journal.
#[derive(Serialize, ToSchema)]
pub struct Mysql {
    /// Whether it answered when it was last asked.
    connected: bool,
    /// Events that are durable and not there yet.
    lag_events: u64,
    /// How long the oldest of them has waited.
    lag_ms: u64,
    /// Events shipped a second, over the last seconds in which something was.
    rate_events_per_s: u64,
}

impl From<Lag> for Mysql {
    fn from(lag: Lag) -> Self {
        Self { connected: lag.connected, lag_events: lag.events, lag_ms: lag.ms, rate_events_per_s: lag.rate }
    }
}

/// Whether the process lives
#[utoipa::path(get, path = "/healthz", tag = "health",
    responses((status = 200, body = Health, description = "it lives")))]
pub async fn healthz() -> HttpResponse {
    reply(StatusCode::OK, &Health { status: "ok" })
}

/// Whether the process should be sent traffic
///
/// `degraded` still takes traffic, and `reasons` say what to look after: a catalogue entry that could not be applied, a
/// checkpoint that could not be used, a generation that cannot be sealed, MySQL away or refused, little disk space, a wall
/// clock that was set.
#[utoipa::path(get, path = "/readyz", tag = "health",
    responses((status = 200, body = Ready, description = "yes"),
        (status = 503, description = "no: `recovering` or `draining`")))]
pub async fn readyz(request: HttpRequest, state: Data<State>) -> Reply {
    let router = match state.readiness.stage() {
        Stage::Recovering => return Err(Problem::unavailable(Unavailable::Recovering)),
        Stage::Draining => return Err(Problem::unavailable(Unavailable::Draining)),
        Stage::Ready => state.router()?,
    };
    let (mut reasons, mut notes) = (state.readiness.catalog_faults(), state.readiness.notes());
    let told = notes.iter().any(|note| note.starts_with("mysql:"));
    let public = request.app_data::<Listener>().is_some_and(|listener| listener.name == "shopper");
    if public {
        // What files say and where they lie is nobody's business out there.
        for (what, told) in [("catalog", &mut reasons), ("operation", &mut notes)] {
            if !told.is_empty() {
                *told = vec![format!("{what}: {} faults; the operator listener's /readyz tells them", told.len())];
            }
        }
    }
    reasons.append(&mut notes);
    let clock_gap_ms = router.clock_gap_ms();
    if clock_gap_ms.unsigned_abs() > CLOCK_GAP_TOLD_MS {
        reasons.push(format!("clock: wall time is {clock_gap_ms} ms ahead of the process; it is followed slowly"));
    }
    if state.readiness.is_storage_low() {
        reasons.push("storage_low: new orders are refused until disk space is freed".to_owned());
    }
    let mysql = router.lag().map(Mysql::from);
    if mysql.as_ref().is_some_and(|mysql| !mysql.connected) && (public || !told) {
        reasons.push("mysql: not connected; selling goes on, and orders are shipped when it is back".to_owned());
    }
    if router.is_backlog_full() {
        reasons.push("backlog_full: new orders are refused until MySQL has caught up".to_owned());
    }
    let status = if reasons.is_empty() { "ready" } else { "degraded" };
    Ok(reply(StatusCode::OK, &Ready { status, reasons, durability: "fsync", clock_gap_ms, mysql }))
}

/// Metrics in Prometheus' text format (OpenMetrics)
#[utoipa::path(get, path = "/metrics", tag = "health",
    responses((status = 200, body = String, content_type = "application/openmetrics-text", description = "the numbers")))]
pub async fn metrics(state: Data<State>) -> HttpResponse {
    state.refresh();
    // What was taken off since the last scrape is gone from this one.
    state.metrics.sku_available.clear();
    if let Ok(router) = state.router() {
        let count = |activities: usize| i64::try_from(activities).unwrap_or(i64::MAX);
        state.metrics.activities.set(count(router.count()));
        state.metrics.activities_left.set(count(router.count_left()));
        state.metrics.refunds_due.set(count(router.refunds_due()));
        router.each_free_count(|activity_id, sku_id, free| {
            let label = SkuLabel { activity_id: activity_id.0, sku_id: sku_id.to_string() };
            state.metrics.sku_available.get_or_create(&label).set(i64::from(free));
        });
    }
    HttpResponse::Ok()
        .content_type("application/openmetrics-text; version=1.0.0; charset=utf-8")
        .body(state.metrics.text())
}
