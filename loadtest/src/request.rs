//! The bytes of every request the crowd sends. Building them is kept out of what is measured, and cheap all the same,
//! because crowd and server often share a machine.

use std::fmt::{Arguments, Write};
use std::net::SocketAddr;

/// The longest request of the crowd fits, so that building one allocates once.
const REQUEST_BYTES: usize = 768;

/// A shopper's own headers: one token, one host.
#[derive(Clone, Copy)]
pub(crate) struct From<'a> {
    pub(crate) target: SocketAddr,
    pub(crate) token: &'a str,
}

/// The body of a purchase.
#[derive(Clone, Copy)]
pub(crate) struct Purchase<'a> {
    pub(crate) activity_id: u64,
    pub(crate) sku_id: &'a str,
    pub(crate) quantity: u32,
    pub(crate) reference: Option<&'a str>,
}

/// `POST /v1/flash-sales/{activity_id}/orders`.
pub(crate) fn order(from: From<'_>, purchase: Purchase<'_>, key: Option<&str>) -> Vec<u8> {
    let Purchase { activity_id, sku_id, quantity, reference } = purchase;
    let mut text = head(from, "POST", format_args!("/v1/flash-sales/{activity_id}/orders"));
    if let Some(key) = key {
        put(&mut text, format_args!("Idempotency-Key: {key}\r\n"));
    }
    // Every text here is digits or of the contract's plain alphabets, so JSON needs no escapes.
    let mut body = String::with_capacity(192);
    put(&mut body, format_args!(r#"{{"sku_id":"{sku_id}","quantity":{quantity}"#));
    if let Some(reference) = reference {
        put(&mut body, format_args!(r#","ref":"{reference}""#));
    }
    body.push('}');
    put(&mut text, format_args!("Content-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len()));
    text.push_str(&body);
    text.into_bytes()
}

/// `POST /v1/red-packets/{activity_id}/grabs`.
pub(crate) fn grab(from: From<'_>, activity_id: u64, key: Option<&str>) -> Vec<u8> {
    let mut text = head(from, "POST", format_args!("/v1/red-packets/{activity_id}/grabs"));
    if let Some(key) = key {
        put(&mut text, format_args!("Idempotency-Key: {key}\r\n"));
    }
    text.push_str("Content-Length: 0\r\n\r\n");
    text.into_bytes()
}

/// `GET /v1/red-packets/{activity_id}/grabs`.
pub(crate) fn own_grabs(from: From<'_>, activity_id: u64) -> Vec<u8> {
    get(from, format_args!("/v1/red-packets/{activity_id}/grabs"))
}

/// `POST /v1/orders/{order_id}/cancel`.
pub(crate) fn cancel(from: From<'_>, order_id: u64) -> Vec<u8> {
    let mut text = head(from, "POST", format_args!("/v1/orders/{order_id}/cancel"));
    text.push_str("Content-Length: 0\r\n\r\n");
    text.into_bytes()
}

/// `GET /v1/flash-sales/{activity_id}/result?sku_id=…`.
pub(crate) fn poll(from: From<'_>, activity_id: u64, sku_id: &str) -> Vec<u8> {
    get(from, format_args!("/v1/flash-sales/{activity_id}/result?sku_id={sku_id}"))
}

/// `GET /v1/orders/{order_id}`.
pub(crate) fn look(from: From<'_>, order_id: u64) -> Vec<u8> {
    get(from, format_args!("/v1/orders/{order_id}"))
}

/// A GET of an operator's.
pub(crate) fn operator_get(from: From<'_>, path: &str) -> Vec<u8> {
    get(from, format_args!("/admin/v1/{path}"))
}

/// A POST of an operator's.
pub(crate) fn operator_post(from: From<'_>, path: &str, key: Option<&str>, body: &str) -> Vec<u8> {
    let mut text = head(from, "POST", format_args!("/admin/v1/{path}"));
    if let Some(key) = key {
        put(&mut text, format_args!("Idempotency-Key: {key}\r\n"));
    }
    if !body.is_empty() {
        text.push_str("Content-Type: application/json\r\n");
    }
    put(&mut text, format_args!("Content-Length: {}\r\n\r\n{body}", body.len()));
    text.into_bytes()
}

/// `GET /v1/activities/{activity_id}`.
pub(crate) fn activity(from: From<'_>, activity_id: u64) -> Vec<u8> {
    get(from, format_args!("/v1/activities/{activity_id}"))
}

fn get(from: From<'_>, path: Arguments<'_>) -> Vec<u8> {
    let mut text = head(from, "GET", path);
    text.push_str("\r\n");
    text.into_bytes()
}

fn head(From { target, token }: From<'_>, method: &str, path: Arguments<'_>) -> String {
    let mut text = String::with_capacity(REQUEST_BYTES);
    put(&mut text, format_args!("{method} {path} HTTP/1.1\r\nHost: {target}\r\nAuthorization: Bearer "));
    text.push_str(token);
    text.push_str("\r\n");
    text
}

fn put(text: &mut String, what: Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = text.write_fmt(what);
}
