//! Reading a request's body: bounded in bytes and in time, so that neither an endless nor a stalled one holds anything.

use std::pin::pin;
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::http::header;
use actix_web::rt::time::timeout;
use actix_web::web::{Bytes, BytesMut, Payload};
use futures_util::{FutureExt, StreamExt};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::problem::Problem;

/// How long and how large a body may be.
#[derive(Clone, Copy, Debug)]
pub struct BodyLimits {
    /// The most bytes.
    pub bytes_max: usize,
    /// The longest wait for all of it.
    pub timeout: Duration,
}

/// The whole body of a request that says it is JSON.
///
/// # Errors
/// `unsupported_media_type`, `payload_too_large`, `request_timeout`, or `malformed_request` where it broke off.
pub async fn json_bytes(request: &HttpRequest, payload: Payload, limits: BodyLimits) -> Result<Bytes, Problem> {
    check_type(request)?;
    check_length(request, limits)?;
    let mut body = pin!(read(payload, limits.bytes_max));
    // Nearly every body is here with its head: a timer is for those that are not.
    if let Some(body) = body.as_mut().now_or_never() {
        return body;
    }
    match timeout(limits.timeout, body).await {
        Ok(body) => body,
        Err(_) => Err(Problem::request_timeout()),
    }
}

/// The body as `T`.
///
/// # Errors
/// As [`json_bytes`], or `malformed_request` where it does not parse.
pub async fn json<T: DeserializeOwned>(
    request: &HttpRequest,
    payload: Payload,
    limits: BodyLimits,
) -> Result<T, Problem> {
    let body = json_bytes(request, payload, limits).await?;
    parse_object(&body)
}

/// A body as `T`, which is a JSON object: the parser would take an array for one, its fields in the order of ours.
///
/// # Errors
/// `malformed_request` where it does not parse.
pub fn parse_object<'b, T: Deserialize<'b>>(body: &'b [u8]) -> Result<T, Problem> {
    if body.trim_ascii_start().first().is_some_and(|first| *first != b'{') {
        return Err(Problem::malformed("the body does not fit: it is no JSON object"));
    }
    serde_json::from_slice(body).map_err(|error| Problem::malformed(format!("the body does not fit: {error}")))
}

/// Refuses a body that says of itself that it is too long, on routes that read none.
///
/// # Errors
/// `payload_too_large`.
pub fn check_length(request: &HttpRequest, limits: BodyLimits) -> Result<(), Problem> {
    let length = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let too_long = length.is_some_and(|length| !matches!(length.parse::<usize>(), Ok(n) if n <= limits.bytes_max));
    if too_long { Err(Problem::payload_too_large(limits.bytes_max)) } else { Ok(()) }
}

fn check_type(request: &HttpRequest) -> Result<(), Problem> {
    let Some(value) = request.headers().get(header::CONTENT_TYPE) else { return Ok(()) };
    let essence = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") { Ok(()) } else { Err(Problem::unsupported_media_type()) }
}

async fn read(mut payload: Payload, bytes_max: usize) -> Result<Bytes, Problem> {
    let broken = |_| Problem::malformed("the body broke off");
    let Some(first) = payload.next().await.transpose().map_err(broken)? else { return Ok(Bytes::new()) };
    let Some(second) = payload.next().await.transpose().map_err(broken)? else {
        // Nearly every body comes in one piece and is not copied.
        return if first.len() <= bytes_max { Ok(first) } else { Err(Problem::payload_too_large(bytes_max)) };
    };
    let mut body = BytesMut::from(&first[..]);
    let mut next = Some(second);
    while let Some(chunk) = next {
        if body.len() + chunk.len() > bytes_max {
            return Err(Problem::payload_too_large(bytes_max));
        }
        body.extend_from_slice(&chunk);
        next = payload.next().await.transpose().map_err(broken)?;
    }
    Ok(body.freeze())
}
