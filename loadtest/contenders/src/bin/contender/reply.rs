//! What goes over the wire: the order that comes in, and replies of the size of Doorbuster's.

use std::borrow::Cow;
use std::time::{SystemTime, UNIX_EPOCH};

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use contenders::{PAYMENT_WINDOW_S, PRICE_CENTS};
use serde::{Deserialize, Serialize};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What a shopper sends to buy.
#[derive(Deserialize)]
pub(crate) struct OrderRequest<'a> {
    #[serde(borrow)]
    pub(crate) sku_id: Cow<'a, str>,
    pub(crate) quantity: u32,
    #[serde(rename = "ref", borrow, default)]
    pub(crate) reference: Option<Cow<'a, str>>,
}

/// An order to be decided.
pub(crate) struct Wanted<'a> {
    pub(crate) activity_id: u64,
    pub(crate) user: u64,
    pub(crate) order: OrderRequest<'a>,
    pub(crate) held_at_ms: u64,
}

impl Wanted<'_> {
    pub(crate) fn amount_cents(&self) -> u64 {
        PRICE_CENTS * u64::from(self.order.quantity)
    }

    pub(crate) fn expires_at_ms(&self) -> u64 {
        self.held_at_ms + PAYMENT_WINDOW_S * 1_000
    }
}

/// An accepted order's number.
pub(crate) struct Placed {
    pub(crate) order_id: String,
}

/// Why an order was not accepted.
pub(crate) enum Refused {
    SoldOut,
    LimitReached,
    /// The store did not do its part, which fails the benchmark.
    Broken(String),
}

#[derive(Serialize)]
struct Order<'a> {
    order_id: &'a str,
    activity_id: String,
    sku_id: &'a str,
    quantity: u32,
    amount_cents: u64,
    slots: [u32; 1],
    state: &'static str,
    expires_at_ms: u64,
    held_at_ms: u64,
    #[serde(rename = "ref")]
    reference: Option<&'a str>,
    payments: [(); 0],
}

#[derive(Serialize)]
struct Problem<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    title: &'a str,
    status: u16,
    code: &'a str,
    detail: &'a str,
    request_id: &'a str,
}

/// 201, with the order.
pub(crate) fn created(wanted: &Wanted<'_>, placed: &Placed, request_id: &str) -> HttpResponse {
    let order = Order {
        order_id: &placed.order_id,
        activity_id: wanted.activity_id.to_string(),
        sku_id: &wanted.order.sku_id,
        quantity: wanted.order.quantity,
        amount_cents: wanted.amount_cents(),
        slots: [17],
        state: "held",
        expires_at_ms: wanted.expires_at_ms(),
        held_at_ms: wanted.held_at_ms,
        reference: wanted.order.reference.as_deref(),
        payments: [],
    };
    HttpResponse::build(StatusCode::CREATED)
        .content_type("application/json")
        .insert_header((header::LOCATION, format!("/v1/orders/{}", placed.order_id)))
        .insert_header((REQUEST_ID, value(request_id)))
        .body(json(&order))
}

/// A problem, with its request's id.
pub(crate) fn problem(refused: &Refused, request_id: &str) -> HttpResponse {
    let (status, kind, code, detail) = match refused {
        Refused::SoldOut => {
            (StatusCode::CONFLICT, "urn:doorbuster:problem:sold_out", "sold_out", "fewer units are free than asked for")
        }
        Refused::LimitReached => (
            StatusCode::CONFLICT,
            "urn:doorbuster:problem:limit_reached",
            "limit_reached",
            "this user has as many units as one may have here",
        ),
        Refused::Broken(why) => {
            (StatusCode::INTERNAL_SERVER_ERROR, "urn:doorbuster:problem:broken", "broken", why.as_str())
        }
    };
    let title = status.canonical_reason().unwrap_or("Problem");
    let problem = Problem { kind, title, status: status.as_u16(), code, detail, request_id };
    HttpResponse::build(status)
        .content_type("application/problem+json")
        .insert_header((REQUEST_ID, value(request_id)))
        .body(json(&problem))
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn json(body: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(body).expect("our own views are serializable")
}

fn value(request_id: &str) -> HeaderValue {
    HeaderValue::from_str(request_id).expect("hexadecimal digits and a dash are visible ASCII")
}
