//! The bytes of every request the crowd sends. Building them is kept out of what is measured.

use std::net::SocketAddr;

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
    // Every text here is digits or of the contract's plain alphabets, so JSON needs no escapes.
    let body = match reference {
        Some(text) => format!(r#"{{"sku_id":"{sku_id}","quantity":{quantity},"ref":"{text}"}}"#),
        None => format!(r#"{{"sku_id":"{sku_id}","quantity":{quantity}}}"#),
    };
    post(from, &format!("/v1/flash-sales/{activity_id}/orders"), key, &body)
}

/// `POST /v1/orders/{order_id}/cancel`.
pub(crate) fn cancel(from: From<'_>, order_id: u64) -> Vec<u8> {
    post(from, &format!("/v1/orders/{order_id}/cancel"), None, "")
}

/// `GET /v1/flash-sales/{activity_id}/result?sku_id=…`.
pub(crate) fn poll(from: From<'_>, activity_id: u64, sku_id: &str) -> Vec<u8> {
    get(from, &format!("/v1/flash-sales/{activity_id}/result?sku_id={sku_id}"))
}

/// `GET /v1/activities/{activity_id}`.
pub(crate) fn activity(from: From<'_>, activity_id: u64) -> Vec<u8> {
    get(from, &format!("/v1/activities/{activity_id}"))
}

fn post(From { target, token }: From<'_>, path: &str, key: Option<&str>, body: &str) -> Vec<u8> {
    let len = body.len();
    let head = format!("POST {path} HTTP/1.1\r\nHost: {target}\r\nAuthorization: Bearer {token}\r\n");
    let key = key.map(|key| format!("Idempotency-Key: {key}\r\n")).unwrap_or_default();
    let kind = if body.is_empty() { "" } else { "Content-Type: application/json\r\n" };
    format!("{head}{key}{kind}Content-Length: {len}\r\n\r\n{body}").into_bytes()
}

fn get(From { target, token }: From<'_>, path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: {target}\r\nAuthorization: Bearer {token}\r\n\r\n").into_bytes()
}
