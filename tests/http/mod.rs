//! What the tests of the wire share: the real server in this process, on a journal in memory and a clock that stands
//! still, and a client that speaks plain bytes, so that a malformed request can be sent as well as a sound one.
#![allow(dead_code, unused_imports, reason = "each test file is a crate of its own and uses its own part of this")]

pub mod client;
pub mod gate;
pub mod packets;
pub mod payments;
pub mod server;
pub mod shards;

pub use client::{Client, Reply, Request, connect, get, post, put};
use serde_json::{Value, json};
pub use server::{Server, Settings};

/// The instant at which every test's clock stands when it begins: 2026-11-11T00:00:00Z.
pub const NOW_MS: u64 = 1_794_355_200_000;
/// The one activity that most tests sell from.
pub const SALE: &str = "/admin/v1/activities/1001";
/// Where a shopper buys from it.
pub const ORDERS: &str = "/v1/flash-sales/1001/orders";
/// Seconds after which an unpaid hold of [`sale`] expires.
pub const PAYMENT_WINDOW_S: u64 = 300;

/// A sale that runs from a minute ago until in an hour, `stock` units of SKU 2001.
pub fn sale(stock: u32) -> Value {
    json!({
        "kind": "flash_sale",
        "title": "Doorbuster phones",
        "starts_at": "2026-11-10T23:59:00Z",
        "ends_at": "2026-11-11T01:00:00Z",
        "per_user_limit": 1,
        "payment_window_s": PAYMENT_WINDOW_S,
        "skus": [{ "sku_id": "2001", "title": "Phone", "price_cents": 199_900, "stock": stock }],
    })
}

/// A sale with some fields otherwise.
pub fn sale_with(stock: u32, fields: Value) -> Value {
    let mut sale = sale(stock);
    for (name, value) in fields.as_object().expect("an object") {
        sale[name] = value.clone();
    }
    sale
}

/// The same sale as a file of the catalogue.
pub fn toml_of(sale: &Value) -> String {
    toml::to_string(sale).expect("what JSON holds TOML holds too")
}

/// A wish for units of SKU 2001.
pub fn wish(quantity: impl Into<Value>) -> Value {
    json!({ "sku_id": "2001", "quantity": quantity.into() })
}
