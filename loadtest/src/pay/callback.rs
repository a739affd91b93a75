//! The bytes of a callback, as the payment provider sends them.

use std::net::SocketAddr;

use crate::pay::sign::signature;

/// Long past any tolerance.
const STALE_S: u64 = 3_600;

/// What a callback says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Callback<'a> {
    pub(crate) payment_id: &'a str,
    pub(crate) order_id: u64,
    pub(crate) amount_cents: u64,
    pub(crate) currency: &'a str,
}

/// How its signature is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signing {
    Sound,
    /// By another secret, or of another body.
    Forged,
    /// Sound, but of long ago.
    Stale,
}

/// `POST /v1/payments/callback`, signed now. Built at the last moment, for a signature grows old.
pub(crate) fn request(target: SocketAddr, secret: &[u8], unix_s: u64, of: Callback<'_>, signing: Signing) -> Vec<u8> {
    let Callback { payment_id, order_id, amount_cents, currency } = of;
    // Every text here is of letters, digits and dashes, so JSON needs no escapes.
    let body = format!(
        r#"{{"payment_id":"{payment_id}","order_id":"{order_id}","amount_cents":{amount_cents},"currency":"{currency}","status":"paid"}}"#
    );
    let signed = match signing {
        Signing::Sound => signature(secret, unix_s, body.as_bytes()),
        Signing::Stale => signature(secret, unix_s.saturating_sub(STALE_S), body.as_bytes()),
        Signing::Forged if order_id % 2 == 0 => signature(b"somebody else's secret", unix_s, body.as_bytes()),
        Signing::Forged => signature(secret, unix_s, body.replace("paid", "PAID").as_bytes()),
    };
    format!(
        "POST /v1/payments/callback HTTP/1.1\r\nHost: {target}\r\nDoorbuster-Signature: {signed}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}
