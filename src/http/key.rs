//! `Idempotency-Key`: read from its header and kept as a digest over the route and the key, so that one key on two
//! routes is two keys, and no key's length costs memory.

use actix_web::HttpRequest;
use sha2::{Digest, Sha256};

use super::problem::Problem;
use crate::ids::KeyDigest;

/// The key's longest length in bytes.
const KEY_BYTES_MAX: usize = 64;

/// Whether text is of visible ASCII characters only.
pub fn is_visible_ascii(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The request's key for a route, which `scope` names together with the path's ids.
///
/// # Errors
/// `malformed_request` where it is empty, too long, sent twice or has other characters.
pub fn idempotency_key(request: &HttpRequest, scope: &str) -> Result<Option<KeyDigest>, Problem> {
    let mut headers = request.headers().get_all("idempotency-key");
    let Some(value) = headers.next() else { return Ok(None) };
    let key = value.to_str().unwrap_or_default();
    if headers.next().is_some() || !(1..=KEY_BYTES_MAX).contains(&key.len()) || !is_visible_ascii(key) {
        return Err(Problem::malformed("Idempotency-Key is one header of 1 to 64 visible ASCII characters"));
    }
    // A key has no line feed, so scope and key cannot run into each other.
    Ok(Some(digest(&[scope.as_bytes(), b"\n", key.as_bytes()])))
}

/// The first 128 bits of SHA-256 over the parts.
pub fn digest(parts: &[&[u8]]) -> KeyDigest {
    let mut hash = Sha256::new();
    parts.iter().for_each(|part| hash.update(part));
    let hash: [u8; 32] = hash.finalize().into();
    KeyDigest(hash[..16].try_into().expect("a SHA-256 has 32 bytes"))
}
