//! The payment provider: tells a real server of payments, signed as of now.

use std::io;

use doorbuster::clock::Clock;
use doorbuster::ids::UnixMillis;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::json;
use sha2::Sha256;

use crate::server::{Reply, Stage, request};

const SECRET: &str = "the payment provider's secret, 32 bytes";
/// The section that a server needs to take payments.
pub const PAYMENTS: &str = "[payments]\nsecret = \"the payment provider's secret, 32 bytes\"\n";

/// Tells of a payment of so much for an order.
pub fn pay(stage: &Stage, payment_id: &str, order_id: &str, amount_cents: u64) -> io::Result<Reply> {
    let body = json!({ "payment_id": payment_id, "order_id": order_id, "amount_cents": amount_cents,
        "currency": "CNY", "status": "paid" });
    let (body, time_s) = (body.to_string(), Clock::start(UnixMillis(0)).now_ms().0 / 1_000);
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).expect("a key of any length");
    mac.update(format!("{time_s}.{body}").as_bytes());
    let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    let signature = format!("t={time_s},v1={hex}");
    let headers = [("Content-Type", "application/json"), ("Doorbuster-Signature", signature.as_str())];
    request(stage.shopper, "POST", "/v1/payments/callback", &headers, &body)
}

/// Takes a paid order back, as an operator.
pub fn refund(stage: &Stage, order_id: &str, restock: bool) -> io::Result<Reply> {
    operate(stage, &format!("/admin/v1/orders/{order_id}/refund"), &json!({ "restock": restock }).to_string())
}

/// Says, as an operator, that a payment was paid back.
pub fn paid_back(stage: &Stage, payment_id: &str) -> io::Result<Reply> {
    operate(stage, &format!("/admin/v1/refunds/{payment_id}/done"), "")
}

fn operate(stage: &Stage, path: &str, body: &str) -> io::Result<Reply> {
    let bearer = format!("Bearer {}", stage.token(900, Some("operator")));
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    request(stage.operator, "POST", path, &headers, body)
}
