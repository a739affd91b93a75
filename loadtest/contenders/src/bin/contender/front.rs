//! The HTTP front that all contenders share: as many threads, as long a keep-alive and as large a backlog as Doorbuster
//! has by default, and of its handler what a reply of the same content needs. None of its other duties is here.

use std::future::Future;
use std::net::TcpListener;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use actix_web::web::{self, Bytes, Data};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};

use crate::auth::Verifier;
use crate::reply::{OrderRequest, Placed, Refused, Wanted, created, now_ms, problem};

const BODY_BYTES_MAX: usize = 16_384;
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
const KEEP_ALIVE: Duration = Duration::from_secs(75);
const CONNECTIONS_MAX: usize = 25_000;

/// What decides; one for each HTTP thread.
pub(crate) trait Shop: 'static {
    /// Accepts an order or refuses it.
    fn place(&self, wanted: &Wanted<'_>) -> impl Future<Output = Result<Placed, Refused>>;
}

struct Front<S> {
    verifier: Verifier,
    instance: String,
    shop: S,
}

/// Serves until the process is ended. `open` makes a thread's shop.
pub(crate) async fn serve<S: Shop>(
    listener: TcpListener,
    open: impl Fn() -> S + Send + Clone + 'static,
) -> std::io::Result<()> {
    let instance = format!("{:x}{:04x}", now_ms(), std::process::id() & 0xffff);
    let app = move || {
        let front = Front { verifier: Verifier::new(), instance: instance.clone(), shop: open() };
        App::new()
            .app_data(Data::new(front))
            .app_data(web::PayloadConfig::new(BODY_BYTES_MAX))
            .route("/v1/flash-sales/{activity_id}/orders", web::post().to(order::<S>))
    };
    HttpServer::new(app)
        .workers(std::thread::available_parallelism().map_or(1, usize::from))
        .client_request_timeout(HEAD_TIMEOUT)
        .client_disconnect_timeout(HEAD_TIMEOUT)
        .keep_alive(KEEP_ALIVE)
        .max_connections(CONNECTIONS_MAX)
        .listen(listener)?
        .run()
        .await
}

async fn order<S: Shop>(request: HttpRequest, body: Bytes, front: Data<Front<S>>) -> HttpResponse {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let request_id = format!("{}-{:x}", front.instance, NEXT.fetch_add(1, Ordering::Relaxed));
    let Some(user) = front.verifier.user(&request) else { return HttpResponse::Unauthorized().finish() };
    let activity_id = request.match_info().get("activity_id").and_then(|id| id.parse().ok());
    let order = serde_json::from_slice::<OrderRequest<'_>>(&body);
    let (Some(activity_id), Ok(order)) = (activity_id, order) else { return HttpResponse::BadRequest().finish() };
    let wanted = Wanted { activity_id, user, order, held_at_ms: now_ms() };
    match front.shop.place(&wanted).await {
        Ok(placed) => created(&wanted, &placed, &request_id),
        Err(refused) => problem(&refused, &request_id),
    }
}
