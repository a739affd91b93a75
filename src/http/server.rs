//! The two listeners: their sockets, limits and life.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use actix_cors::Cors;
use actix_web::dev::{Server, ServerHandle};
use actix_web::http::Method;
use actix_web::middleware::{Condition, from_fn};
use actix_web::web::{self, Data};
use actix_web::{App, HttpServer};

use super::envelope::{self, Listener};
use super::problem::Problem;
use super::route::{Reply, get};
use super::state::State;
use super::{docs, health, operator, shopper};
use crate::config::Config;

/// Both listeners, bound and not yet served.
pub struct Bound {
    /// Where shoppers reach it.
    pub shopper: SocketAddr,
    /// Where operators reach it.
    pub operator: SocketAddr,
    shopper_server: Server,
    operator_server: Server,
    sockets: Arc<[TcpListener; 2]>,
    state: Data<State>,
    drain_timeout: Duration,
}

/// Stops both listeners.
#[derive(Clone)]
pub struct Drain {
    sockets: Arc<[TcpListener; 2]>,
    state: Data<State>,
    timeout: Duration,
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
    let sockets = Arc::new([shopper_socket.try_clone()?, operator_socket.try_clone()?]);
    let (shopper_state, origins) = (state.clone(), config.shopper.cors_origins.clone());
    let closing = Data::clone(&state);
    let shopper_app = move || {
        // Made once on each of its threads.
        shopper_state.workers.note();
        App::new()
            .app_data(shopper_state.clone())
            .app_data(Listener { name: "shopper", logs_ids: false })
            .wrap(Condition::new(!origins.is_empty(), cors(&origins)))
            .wrap(from_fn(envelope::wrap))
            .configure(shopper::routes)
            .configure(health::routes)
            .default_service(web::to(no_such_route))
    };
    let operator_app = move || {
        App::new()
            .app_data(state.clone())
            .app_data(Listener { name: "operator", logs_ids: true })
            .wrap(from_fn(envelope::wrap))
            .configure(operator::routes)
            .configure(health::routes)
            .configure(docs::routes)
            .service(get("/metrics", health::metrics))
            .default_service(web::to(no_such_route))
    };

    // The framework's settings are spelt out for each listener because its builder's type differs with the app.
    let limits = &config.limits;
    let head_timeout = Duration::from_millis(limits.request_head_timeout_ms);
    let keep_alive = Duration::from_secs(limits.keep_alive_s);
    let shopper_server = HttpServer::new(shopper_app)
        .workers(limits.worker_threads())
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
    let drain_timeout = Duration::from_secs(limits.drain_timeout_s);
    Ok(Bound { shopper, operator, shopper_server, operator_server, sockets, state: closing, drain_timeout })
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
        let (shopper, operator) = (self.shopper_server.handle(), self.operator_server.handle());
        let (sockets, state) = (Arc::clone(&self.sockets), self.state.clone());
        Drain { sockets, state, timeout: self.drain_timeout, shopper, operator }
    }
}

impl Drain {
    /// Stops accepting, answers what is in flight (at most `drain_timeout_s`), closes the connections. What comes by a
    /// connection that stands is refused with `draining`.
    pub async fn stop(&self) {
        tokio::join!(self.shopper.pause(), self.operator.pause());
        self.sockets.iter().for_each(refuse_connections);
        // A thread that has no connections left ends by itself, and the actors on it with it: first all answers are given.
        let in_time = tokio::time::timeout(self.timeout, self.state.workers.close()).await.is_ok();
        // What was answered may still be on its way out; who has not ended a request by now does not get more time.
        tokio::join!(self.shopper.stop(in_time), self.operator.stop(in_time));
    }
}

/// Lets the system refuse connections to a listening socket, as if it were closed. The server that owns it stays.
fn refuse_connections(socket: &TcpListener) {
    // What listens is shut down like what talks; the type that can say so is the latter's.
    let shut = socket.try_clone().map(OwnedFd::from).map(TcpStream::from);
    if let Err(error) = shut.and_then(|socket| socket.shutdown(Shutdown::Read)) {
        tracing::warn!(%error, "connections are still taken while the server stops");
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

async fn no_such_route() -> Reply {
    Err(Problem::not_found("there is no such route on this listener"))
}
