//! The two listeners: their sockets, limits and life, and the routes that both have.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::Ordering;
use std::time::Duration;

use actix_cors::Cors;
use actix_web::dev::{Server, ServerHandle};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::{Condition, from_fn};
use actix_web::web::{self, Data};
use actix_web::{App, Handler, HttpResponse, HttpServer, Resource, Responder};
use serde_json::json;
use utoipa_swagger_ui::SwaggerUi;

use super::envelope::{self, Listener};
use super::openapi;
use super::problem::Problem;
use super::state::State;
use super::{operator, shopper};
use crate::actors::{Stage, Unavailable};
use crate::config::Config;
use crate::telemetry::SkuLabel;

/// A gap between the process clock and wall time that `/readyz` tells of.
const CLOCK_GAP_TOLD_MS: u64 = 3_000;

/// Both listeners, bound and not yet served.
pub struct Bound {
    /// Where shoppers reach it.
    pub shopper: SocketAddr,
    /// Where operators reach it.
    pub operator: SocketAddr,
    shopper_server: Server,
    operator_server: Server,
}

/// Stops both listeners.
#[derive(Clone)]
pub struct Drain {
    shopper: ServerHandle,
    operator: ServerHandle,
}

/// Binds both listeners; requests are answered as soon as [`Bound::serve`] runs.
///
/// # Errors
/// Where an address cannot be had; the message names it.
pub fn bind(config: &Config, state: Data<State>) -> io::Result<Bound> {
    let (shopper_socket, shopper) = listen(config.shopper.listen, config)?;
    let (operator_socket, operator) = listen(config.operator.listen, config)?;
    let workers = match config.limits.workers {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        workers => workers,
    };

    let (shopper_state, origins) = (state.clone(), config.shopper.cors_origins.clone());
    let shopper_app = move || {
        App::new()
            .app_data(shopper_state.clone())
            .app_data(Listener("shopper"))
            .wrap(Condition::new(!origins.is_empty(), cors(&origins)))
            .wrap(from_fn(envelope::wrap))
            .configure(shopper::routes)
            .configure(health)
            .default_service(web::to(no_such_route))
    };
    let operator_app = move || {
        App::new()
            .app_data(state.clone())
            .app_data(Listener("operator"))
            .wrap(from_fn(envelope::wrap))
            .configure(operator::routes)
            .configure(health)
            .service(get("/metrics", metrics))
            .service(web::redirect("/docs", "/docs/"))
            .service(SwaggerUi::new("/docs/{_:.*}").url("/openapi.json", openapi::description()))
            .default_service(web::to(no_such_route))
    };

    // The framework's settings are spelt out for each listener because its builder's type differs with the app.
    let limits = &config.limits;
    let head_timeout = Duration::from_millis(limits.request_head_timeout_ms);
    let keep_alive = Duration::from_secs(limits.keep_alive_s);
    let shopper_server = HttpServer::new(shopper_app)
        .workers(workers)
        .client_request_timeout(head_timeout)
        .client_disconnect_timeout(head_timeout)
        .keep_alive(keep_alive)
        .max_connections(limits.connections_max)
        .shutdown_timeout(limits.drain_timeout_s)
        .disable_signals()
        .listen(shopper_socket)?
        .run();
    let operator_server = HttpServer::new(operator_app)
        .workers(1)
        .client_request_timeout(head_timeout)
        .client_disconnect_timeout(head_timeout)
        .keep_alive(keep_alive)
        .max_connections(limits.connections_max)
        .shutdown_timeout(limits.drain_timeout_s)
        .disable_signals()
        .listen(operator_socket)?
        .run();
    Ok(Bound { shopper, operator, shopper_server, operator_server })
}

impl Bound {
    /// Serves until [`Drain::stop`].
    ///
    /// # Errors
    /// Where accepting fails for good.
    pub async fn serve(self) -> io::Result<()> {
        tokio::try_join!(self.shopper_server, self.operator_server).map(|_| ())
    }

    /// What stops both listeners.
    #[must_use]
    pub fn drain(&self) -> Drain {
        Drain { shopper: self.shopper_server.handle(), operator: self.operator_server.handle() }
    }
}

impl Drain {
    /// Stops accepting, answers what is in flight (at most `drain_timeout_s`), closes the connections.
    pub async fn stop(&self) {
        tokio::join!(self.shopper.stop(true), self.operator.stop(true));
    }
}

fn listen(address: SocketAddr, config: &Config) -> io::Result<(TcpListener, SocketAddr)> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("cannot listen on {address}: {error}"));
    let socket = match address {
        SocketAddr::V4(_) => tokio::net::TcpSocket::new_v4(),
        SocketAddr::V6(_) => tokio::net::TcpSocket::new_v6(),
    }
    .map_err(named)?;
    socket.set_reuseaddr(true).map_err(named)?;
    socket.bind(address).map_err(named)?;
    let listener = socket.listen(config.limits.backlog).map_err(named)?.into_std()?;
    let bound = listener.local_addr()?;
    Ok((listener, bound))
}

fn cors(origins: &[String]) -> Cors {
    let allowed = origins.iter().fold(Cors::default(), |cors, origin| cors.allowed_origin(origin));
    allowed
        .allowed_methods([Method::GET, Method::POST])
        .allow_any_header()
        .expose_headers(["Idempotent-Replayed", "Location", "Retry-After", "X-Request-Id"])
        .max_age(3_600)
}

/// A resource that answers GET and says so to every other method.
pub fn get<F, Args>(path: &str, handler: F) -> Resource
where
    F: Handler<Args>,
    Args: actix_web::FromRequest + 'static,
    F::Output: Responder + 'static,
{
    web::resource(path).get(handler).default_service(web::to(|| method_not_allowed("GET")))
}

/// A resource that answers POST and says so to every other method.
pub fn post<F, Args>(path: &str, handler: F) -> Resource
where
    F: Handler<Args>,
    Args: actix_web::FromRequest + 'static,
    F::Output: Responder + 'static,
{
    web::resource(path).post(handler).default_service(web::to(|| method_not_allowed("POST")))
}

/// # Errors
/// Always: the refusal that names the route's methods.
pub async fn method_not_allowed(allow: &'static str) -> Result<HttpResponse, Problem> {
    Err(Problem::method_not_allowed(allow))
}

async fn no_such_route() -> Result<HttpResponse, Problem> {
    Err(Problem::not_found("there is no such route on this listener"))
}

fn health(config: &mut web::ServiceConfig) {
    config.service(get("/healthz", healthz)).service(get("/readyz", readyz));
}

/// Whether the process lives
#[utoipa::path(get, path = "/healthz", tag = "both", responses((status = 200, description = "it lives")))]
pub async fn healthz() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "status": "ok" }))
}

/// Whether the process should be sent traffic
///
/// 200 `ready` or `degraded` with reasons; 503 `recovering` or `draining`.
#[utoipa::path(get, path = "/readyz", tag = "both",
    responses((status = 200, body = Object), (status = 503, description = "recovering, draining")))]
pub async fn readyz(state: Data<State>) -> Result<HttpResponse, Problem> {
    let router = match state.readiness.stage() {
        Stage::Recovering => return Err(Problem::unavailable(Unavailable::Recovering)),
        Stage::Draining => return Err(Problem::unavailable(Unavailable::Draining)),
        Stage::Ready => state.router()?,
    };
    let mut reasons = state.readiness.catalog_faults();
    let gap_ms = router.clock_gap_ms();
    if gap_ms.unsigned_abs() > CLOCK_GAP_TOLD_MS {
        reasons.push(format!("clock: wall time is {gap_ms} ms ahead of the process; it is followed slowly"));
    }
    if state.readiness.is_storage_low() {
        reasons.push("storage_low: new orders are refused until disk space is freed".to_owned());
    }
    let status = if reasons.is_empty() { "ready" } else { "degraded" };
    let body = json!({ "status": status, "reasons": reasons, "durability": "fsync", "clock_gap_ms": gap_ms });
    Ok(super::view::reply(StatusCode::OK, &body))
}

/// Metrics in the Prometheus text format
#[utoipa::path(get, path = "/metrics", tag = "operator", responses((status = 200, body = String)))]
pub async fn metrics(state: Data<State>) -> HttpResponse {
    state.refresh();
    if let Ok(router) = state.router() {
        router.each_free_count(|activity_id, sku_id, free| {
            let label = SkuLabel { activity_id: activity_id.0, sku_id: sku_id.to_string() };
            state.metrics.sku_available.get_or_create(&label).set(i64::from(free.load(Ordering::Relaxed)));
        });
    }
    HttpResponse::Ok()
        .content_type("application/openmetrics-text; version=1.0.0; charset=utf-8")
        .body(state.metrics.text())
}
