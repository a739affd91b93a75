//! What every request and response goes through: the request's id, the bound on headers, problems' bodies, counts.

use std::sync::atomic::{AtomicU64, Ordering};

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::http::{ConnectionType, StatusCode};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, web};

use super::key::is_visible_ascii;
use super::problem::Problem;
use super::state::State;
use super::unread;
use crate::actors::Unavailable;
use crate::telemetry::{Code, Served};

/// Which listener a request came in by.
#[derive(Clone, Copy, Debug)]
pub struct Listener {
    /// For the counts.
    pub name: &'static str,
    /// Whether its handlers log the requests' ids, for which each costs an entry in its extensions.
    pub logs_ids: bool,
}

/// The request's id, for handlers that log it.
#[derive(Clone, Debug)]
pub struct RequestId(pub HeaderValue);

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// A caller's request id that is longer is replaced: it stands in every problem and log line.
const REQUEST_ID_BYTES_MAX: usize = 128;

/// The middleware.
///
/// # Errors
/// None of its own: an inner error becomes its response here.
pub async fn wrap(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let state = request.app_data::<web::Data<State>>().expect("every app has its state").clone();
    let listener = *request.app_data::<Listener>().expect("every app names its listener");
    let id = request_id(&request, &state);
    let payload = unread::share(&mut request);

    let begun = state.workers.begin();
    let mut response = if begun.is_none() {
        let mut response = render(&Problem::unavailable(Unavailable::Draining), &id, &state);
        response.head_mut().set_connection_type(ConnectionType::Close);
        request.into_response(response)
    } else if head_bytes(&request) > state.limits.header_bytes_max {
        let problem = Problem::headers_too_large(state.limits.header_bytes_max);
        request.into_response(render(&problem, &id, &state))
    } else {
        if listener.logs_ids {
            request.extensions_mut().insert(RequestId(id.clone()));
        }
        // A handler's problem comes back as a response; what is an error here is the framework's own.
        with_problem_body(next.call(request).await?.map_into_boxed_body(), &id, &state)
    };
    if response.status() == StatusCode::UNAUTHORIZED {
        // Whoever has no token has no business on a connection that stays open.
        response.response_mut().head_mut().set_connection_type(ConnectionType::Close);
    }
    let status = response.status().as_u16();
    state.metrics.http_requests.get_or_create(&Served { listener: listener.name, status }).inc();
    response.headers_mut().insert(REQUEST_ID, id);
    Ok(unread::keep(response, payload))
}

/// The bytes of a request's target and headers, as they came over the wire.
fn head_bytes(request: &ServiceRequest) -> usize {
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    let header = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len() + ": \r\n".len();
    target + request.headers().iter().map(header).sum::<usize>()
}

/// Gives a problem its body. What stands in the head already, such as what lets another origin's page read it, stays.
fn with_problem_body(response: ServiceResponse<BoxBody>, id: &HeaderValue, state: &State) -> ServiceResponse<BoxBody> {
    let problem = match response.response().error() {
        Some(error) => match error.as_error::<Problem>() {
            Some(problem) => problem.clone(),
            // The framework's own refusal, such as a preflight for a method that no route has.
            None if response.status().is_client_error() => Problem::malformed(error.to_string()),
            None => return response,
        },
        None => return response,
    };
    let (request, bare) = response.into_parts();
    let mut whole = render(&problem, id, state);
    for (name, value) in bare.headers() {
        if !whole.headers().contains_key(name) {
            whole.headers_mut().append(name.clone(), value.clone());
        }
    }
    ServiceResponse::new(request, whole)
}

fn render(problem: &Problem, id: &HeaderValue, state: &State) -> actix_web::HttpResponse {
    state.metrics.refusals.get_or_create(&Code { code: problem.code() }).inc();
    let id = id.to_str().unwrap_or_default();
    tracing::debug!(request_id = id, code = problem.code(), status = problem.status().as_u16(), "refused");
    problem.response(id)
}

/// The caller's id where it is a sound one, else one of ours: unique in this process, and very likely beyond.
fn request_id(request: &ServiceRequest, state: &State) -> HeaderValue {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    if let Some(value) = request.headers().get(REQUEST_ID)
        && let Ok(text) = value.to_str()
        && (1..=REQUEST_ID_BYTES_MAX).contains(&text.len())
        && is_visible_ascii(text)
    {
        return value.clone();
    }
    let id = format!("{}-{:x}", state.instance, NEXT.fetch_add(1, Ordering::Relaxed));
    HeaderValue::from_str(&id).expect("hexadecimal digits and a dash are visible ASCII")
}
