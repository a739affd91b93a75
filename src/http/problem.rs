//! Problems: RFC 9457 bodies with a stable `code`, and the one table from a refusal to its status.

use std::fmt;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpResponse, ResponseError};
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::view::PaymentAnswer;
use crate::actors::ask::Reason;
use crate::actors::{Refused, Unavailable, Unread};
use crate::domain::Refusal;
use crate::faults::{At, Fault};

/// Seconds after which a client may ask again where a queue was full: long enough to let it drain.
const RETRY_AFTER_S: u64 = 1;
/// The same where something slower must change: a disk must be freed, a database come back.
const RETRY_AFTER_SLOW_S: u64 = 5;

/// An answer other than success.
#[derive(Clone, Debug)]
pub struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    members: Map<String, Value>,
    retry_after_s: Option<u64>,
    allow: Option<&'static str>,
}

/// An answer other than success: RFC 9457, with a stable `code`.
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct Body<'a> {
    /// Names the code, too.
    #[serde(rename = "type")]
    #[schema(example = "urn:doorbuster:problem:sold_out")]
    kind: String,
    /// The status in words.
    #[schema(example = "Conflict")]
    title: &'a str,
    #[schema(example = 409)]
    status: u16,
    /// What to switch on; stable.
    #[schema(example = "sold_out")]
    code: &'a str,
    /// For people; may change.
    #[schema(example = "fewer units are free than asked for")]
    detail: &'a str,
    /// As in the header `X-Request-Id`.
    #[schema(example = "19a7b-2f")]
    request_id: &'a str,
    /// What the code has beside, such as `starts_at_ms` with `not_started` and `order_ids` with `limit_reached`.
    #[serde(flatten)]
    #[schema(ignore)]
    members: &'a Map<String, Value>,
}

impl Problem {
    fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), members: Map::new(), retry_after_s: None, allow: None }
    }

    fn with(mut self, name: &str, value: Value) -> Self {
        self.members.insert(name.to_owned(), value);
        self
    }

    fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    /// The request cannot be understood.
    pub fn malformed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed_request", detail)
    }

    /// No valid token.
    pub fn unauthenticated(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthenticated", detail)
    }

    /// A payment callback that is not the provider's, or too old.
    pub fn bad_signature(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "bad_signature", detail)
    }

    /// A payment that names no order there is. It is recorded.
    pub fn payment_of_no_order(answer: &PaymentAnswer<'_>) -> Self {
        let detail = "there is no such order; the payment is recorded and owed back";
        Self::new(StatusCode::NOT_FOUND, "order_not_found", detail).about(answer)
    }

    /// A payment of another amount or currency than its order's. It is recorded.
    pub fn payment_mismatch(answer: &PaymentAnswer<'_>) -> Self {
        let detail = "the amount or the currency is not the order's; the payment is recorded and owed back";
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "payment_mismatch", detail).about(answer)
    }

    fn about(self, answer: &PaymentAnswer<'_>) -> Self {
        let with = self.with("payment_id", json!(answer.payment_id));
        let with = with.with("payment_state", json!(answer.payment_state)).with("order_id", json!(answer.order_id));
        if let Some(state) = answer.state { with.with("state", json!(state)) } else { with }
    }

    /// The token's role may not do this.
    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", detail)
    }

    /// No such route.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", detail)
    }

    /// No such activity, or none of this kind.
    pub fn activity_not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "activity_not_found", "there is no such activity here")
    }

    /// The catalogue says nothing of the activity, whatever else stands.
    pub fn not_in_catalog() -> Self {
        Self { detail: "the catalogue has no such activity".to_owned(), ..Self::activity_not_found() }
    }

    /// The route exists, the method does not.
    pub fn method_not_allowed(allow: &'static str) -> Self {
        let detail = format!("this route answers {allow}");
        Self { allow: Some(allow), ..Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail) }
    }

    /// The body did not arrive in time.
    pub fn request_timeout() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", "the request's body did not arrive in time")
    }

    /// The body is too long.
    pub fn payload_too_large(bytes_max: usize) -> Self {
        let detail = format!("a body here has at most {bytes_max} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large", detail)
    }

    /// The body is not JSON by its header.
    pub fn unsupported_media_type() -> Self {
        let detail = "send the body with Content-Type: application/json";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail)
    }

    /// The head is too long.
    pub fn headers_too_large(bytes_max: usize) -> Self {
        let detail = format!("a request's headers have at most {bytes_max} bytes together");
        Self::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "headers_too_large", detail)
    }

    /// One user asks too often.
    pub fn rate_limited(retry_after_s: u64) -> Self {
        let detail = "this user sends more requests than are allowed; wait and ask again";
        Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", detail).retry_after(retry_after_s)
    }

    /// A definition with all its faults.
    pub fn invalid_definition(faults: &[Fault]) -> Self {
        let detail = match faults {
            [one] => one.in_one_line(),
            many => format!("the definition has {} faults; see errors", many.len()),
        };
        let problem = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_definition", detail);
        problem.with("errors", faults.iter().map(error).collect())
    }

    /// A body that is no JSON, by the one fault of its syntax.
    pub fn no_json(faults: &[Fault]) -> Self {
        match faults.first() {
            Some(fault) => Self::malformed(format!("the body is no JSON: {}", fault.what)),
            None => Self::malformed("the body is no JSON"),
        }
    }

    /// The server cannot take it now.
    pub fn unavailable(why: Unavailable) -> Self {
        let (code, detail, after_s) = match why {
            Unavailable::Overloaded => ("overloaded", "a queue is full; ask again", RETRY_AFTER_S),
            Unavailable::StorageLow => {
                ("storage_low", "the disk is nearly full; no new orders until space is freed", RETRY_AFTER_SLOW_S)
            }
            Unavailable::BacklogFull => (
                "backlog_full",
                "too many orders wait to reach MySQL; no new ones until it catches up",
                RETRY_AFTER_SLOW_S,
            ),
            Unavailable::NotOurs => (
                "backlog_full",
                "MySQL has orders that this server does not have; no new ones until an operator has looked",
                RETRY_AFTER_SLOW_S,
            ),
            Unavailable::RowsAway => (
                "recovering",
                "this is so old that only MySQL still has it, and MySQL cannot be reached; ask again",
                RETRY_AFTER_SLOW_S,
            ),
            Unavailable::Recovering => ("recovering", "the journal is being read; ask again", RETRY_AFTER_S),
            Unavailable::Draining => ("draining", "this process is stopping; ask another", RETRY_AFTER_S),
        };
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, detail).retry_after(after_s)
    }

    /// The catalogue is out of reach, and `why`. One that is read from files never is.
    pub fn catalog_unread(why: &Unread) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "recovering", why.to_string()).retry_after(RETRY_AFTER_SLOW_S)
    }

    /// The table: every refusal's status and members. Its code and words are its own.
    pub fn refused(refused: &Refused) -> Self {
        let refusal = match &refused.reason {
            Reason::ActivityNotFound => return Self::activity_not_found(),
            Reason::Unavailable(why) => return Self::unavailable(*why),
            Reason::Rule(refusal) => refusal,
        };
        let status = match refusal {
            Refusal::NotStarted { .. }
            | Refusal::Ended
            | Refusal::Paused
            | Refusal::LimitReached { .. }
            | Refusal::SoldOut
            | Refusal::OrderNotCancellable { .. }
            | Refusal::OrderNotRefundable { .. }
            | Refusal::RefundNotDue
            | Refusal::ActivityClosed
            | Refusal::ActivityLeft => StatusCode::CONFLICT,
            Refusal::SkuNotFound | Refusal::OrderNotFound | Refusal::PaymentNotFound => StatusCode::NOT_FOUND,
            Refusal::VersionConflict { .. } => StatusCode::PRECONDITION_FAILED,
            Refusal::KeyReused
            | Refusal::PaymentReused
            | Refusal::InvalidQuantity { .. }
            | Refusal::ImmutableField { .. }
            | Refusal::StockTooLow { .. }
            | Refusal::TooLarge { .. }
            | Refusal::SkuInUse { .. } => StatusCode::UNPROCESSABLE_ENTITY,
        };
        let problem = Self::new(status, refusal.code(), refusal.to_string());
        match refusal {
            Refusal::NotStarted { starts_at_ms } => {
                problem.with("starts_at_ms", json!(starts_at_ms)).with("server_time_ms", json!(refused.at_ms))
            }
            Refusal::InvalidQuantity { max } => problem.with("quantity_max", json!(max)),
            Refusal::LimitReached { orders } => {
                let ids: Vec<String> = orders.iter().map(|number| refused.order_id(*number).to_string()).collect();
                problem.with("order_ids", json!(ids))
            }
            Refusal::OrderNotCancellable { state } | Refusal::OrderNotRefundable { state } => {
                problem.with("state", json!(state))
            }
            Refusal::VersionConflict { version } => problem.with("version", json!(version)),
            Refusal::ImmutableField { field } => problem.with("field", json!(field)),
            Refusal::StockTooLow { sku, largest_reduction } => {
                problem.with("sku_id", json!(sku)).with("largest_reduction", json!(largest_reduction))
            }
            Refusal::SkuInUse { sku, activity_id } => {
                problem.with("sku_id", json!(sku)).with("activity_id", json!(activity_id.to_string()))
            }
            _ => problem,
        }
    }

    /// The stable code.
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// What the code has beside, by name.
    pub fn member(&self, name: &str) -> Option<&Value> {
        self.members.get(name)
    }

    /// What is wrong, for people.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// The response, with the request's id in its body.
    pub fn response(&self, request_id: &str) -> HttpResponse {
        let body = Body {
            kind: format!("urn:doorbuster:problem:{}", self.code),
            title: self.status.canonical_reason().unwrap_or("Problem"),
            status: self.status.as_u16(),
            code: self.code,
            detail: &self.detail,
            request_id,
            members: &self.members,
        };
        let mut response = HttpResponse::build(self.status);
        response.content_type("application/problem+json");
        if let Some(seconds) = self.retry_after_s {
            response.insert_header((header::RETRY_AFTER, seconds));
        }
        if let Some(allow) = self.allow {
            response.insert_header((header::ALLOW, allow));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            response.insert_header((header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")));
        }
        response.body(serde_json::to_vec(&body).expect("our own views are serializable"))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.detail)
    }
}

/// One fault of a definition: `path`, `what` and `mend`, and in a file of the catalogue `file` and `line`.
fn error(fault: &Fault) -> Value {
    let mut error = json!(fault);
    if let Some(file) = fault.file_name() {
        error["file"] = json!(file);
    }
    if let At::Line(line) = fault.at {
        error["line"] = json!(line);
    }
    error
}

/// What a handler returns as an error; the [`envelope`](super::envelope) makes the response, since it knows the
/// request's id.
impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        HttpResponse::new(self.status)
    }
}
