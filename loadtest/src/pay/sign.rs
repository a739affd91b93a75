//! Signs callbacks, as the payment provider would.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The value of `Doorbuster-Signature` for a body sent at this second.
pub(crate) fn signature(secret: &[u8], unix_s: u64, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes a key of any length");
    mac.update(unix_s.to_string().as_bytes());
    mac.update(b".");
    mac.update(body);
    let digest = mac.finalize().into_bytes();
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("t={unix_s},v1={hex}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `printf '%s' '1700000000.{"payment_id":"p-1"}' | openssl dgst -sha256 -hmac 'a secret of the tests'`
    #[test]
    fn a_signature_is_what_openssl_computes() {
        assert_eq!(
            signature(b"a secret of the tests", 1_700_000_000, br#"{"payment_id":"p-1"}"#),
            "t=1700000000,v1=ed46f417aac544603112f62e37ba8f3588ce8ed876090165b7a89b82e2d0b975"
        );
    }
}
