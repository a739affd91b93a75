//! Payments as their provider tells of them: signed, at an instant.

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use super::{ORDERS, Reply, Request, SALE, Server, Settings, post, put, sale_with, wish};

pub const SECRET: &str = "the payment provider's secret, 32 bytes";
pub const CALLBACK: &str = "/v1/payments/callback";
/// The section that a server needs to take payments.
pub const SECTION: &str = "[payments]\nsecret = \"the payment provider's secret, 32 bytes\"\n\
    previous_secret = \"the provider's secret of last year, 32 bytes\"\n";

/// Settings of a server that takes payments.
pub fn paying() -> Settings {
    Settings { toml: SECTION, ..Settings::default() }
}

/// The header's value for a body that was signed then.
pub fn signature(body: &str, time_s: u64, secret: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("a key of any length");
    mac.update(format!("{time_s}.{body}").as_bytes());
    let bytes = mac.finalize().into_bytes();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("t={time_s},v1={hex}")
}

/// A payment of so much for an order.
pub fn payment(id: &str, order_id: &str, amount_cents: u64) -> Value {
    json!({ "payment_id": id, "order_id": order_id, "amount_cents": amount_cents, "currency": "CNY", "status": "paid" })
}

/// A callback with that body, signed at the server's instant.
pub fn signed(server: &Server, body: &str) -> Request {
    let time_s = server.clock.now_ms().0 / 1_000;
    let request = post(CALLBACK).header("Content-Type", "application/json");
    request.header("Doorbuster-Signature", &signature(body, time_s, SECRET)).text(body)
}

/// Tells the server of a payment.
pub fn pay(server: &Server, payment: &Value) -> Reply {
    server.stranger(signed(server, &payment.to_string()))
}

/// Pays a whole order as it is due.
pub fn pay_for(server: &Server, id: &str, order: &Value) -> Reply {
    let (order_id, amount) = (order["order_id"].as_str(), order["amount_cents"].as_u64());
    pay(server, &payment(id, order_id.expect("an id"), amount.expect("an amount")))
}

/// A server that takes payments and sells [`super::sale`], some fields of it otherwise.
pub fn selling(stock: u32, fields: Value) -> Server {
    let server = Server::start(paying());
    server.operator(put(SALE, &sale_with(stock, fields))).ok(201);
    server
}

/// One unit for a user.
pub fn buy(server: &Server, user: u64) -> Value {
    server.shopper(user, post(ORDERS).json(&wish(1))).ok(201)
}

/// An order's id.
pub fn id(order: &Value) -> &str {
    order["order_id"].as_str().expect("an id")
}
