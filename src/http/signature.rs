//! The signature of a payment callback: `Doorbuster-Signature: t=<unix seconds>,v1=<hex>`, where `v1` is HMAC-SHA256 over
//! `<t>.<raw body>`. Several `v1` may stand there, so that a provider can sign with two secrets while it changes over.

use actix_web::HttpRequest;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::problem::Problem;
use crate::config::Payments;

/// Signatures in one header: two secrets while a provider changes over, and some to spare.
const SIGNATURES_MAX: usize = 8;
/// The header's name.
pub const SIGNATURE: &str = "doorbuster-signature";

/// Checks that a body is the payment provider's, and of this time.
///
/// # Errors
/// `bad_signature`, which says whether the header, the time or the signature is wrong.
pub fn check(request: &HttpRequest, body: &[u8], payments: &Payments, now_s: u64) -> Result<(), Problem> {
    let mut headers = request.headers().get_all(SIGNATURE);
    let header = match (headers.next(), headers.next()) {
        (Some(header), None) => header.to_str().unwrap_or_default(),
        _ => return Err(Problem::bad_signature("send one header Doorbuster-Signature: t=<unix seconds>,v1=<hex>")),
    };
    let signed = Signed::read(header)
        .ok_or_else(|| Problem::bad_signature("the header reads t=<unix seconds>,v1=<64 hexadecimal digits>"))?;
    // The signature comes first: what is not authentic learns nothing of our clock.
    let secrets = || std::iter::once(&payments.secret).chain(&payments.previous);
    let is_ours = secrets().any(|secret| {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose()).expect("HMAC takes a key of any length");
        mac.update(signed.time.as_bytes());
        mac.update(b".");
        mac.update(body);
        // Once over the body, however many signatures there are; compared in constant time.
        signed.signatures.iter().any(|signature| mac.clone().verify_slice(signature).is_ok())
    });
    if !is_ours {
        return Err(Problem::bad_signature("no v1 is HMAC-SHA256 of \"<t>.<raw body>\" with the configured secret"));
    }
    if signed.time_s.abs_diff(now_s) > payments.tolerance_s {
        let tolerance_s = payments.tolerance_s;
        return Err(Problem::bad_signature(format!("t differs from our time by more than {tolerance_s} seconds")));
    }
    Ok(())
}

/// What the header says.
struct Signed<'h> {
    /// As it was signed.
    time: &'h str,
    time_s: u64,
    signatures: Vec<[u8; 32]>,
}

impl<'h> Signed<'h> {
    /// `None` where it says no time, two times, no signature that could be one, or too many. Other versions are passed over.
    fn read(header: &'h str) -> Option<Self> {
        let (mut time, mut signatures) = (None, Vec::new());
        for item in header.split(',') {
            match item.trim().split_once('=') {
                Some(("t", digits)) if time.is_none() => time = Some(digits),
                Some(("t", _)) | None => return None,
                Some(("v1", hex)) => signatures.extend(from_hex(hex)),
                Some(_) => {}
            }
        }
        let time = time.filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
        let time_s = time.parse().ok()?;
        (1..=SIGNATURES_MAX).contains(&signatures.len()).then_some(Self { time, time_s, signatures })
    }
}

fn from_hex(hex: &str) -> Option<[u8; 32]> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut bytes = [0; 32];
    if hex.len() != 2 * bytes.len() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;
    use crate::config::Secret;

    const BODY: &[u8] = br#"{"payment_id":"p1"}"#;
    const NOW_S: u64 = 1_794_355_500;
    /// `printf '1794355500.{"payment_id":"p1"}' | openssl dgst -sha256 -hmac 0123456789abcdef0123456789abcdef`
    const SIGNATURE_OF_OPENSSL: &str = "2ebe1a734034ec4b336c3468dd7db029f95050a0a9f8f1b3d3a6126f80e13fba";

    fn payments() -> Payments {
        let secret = |text: &str| Secret::new(text.as_bytes());
        let previous = Some(secret("fedcba9876543210fedcba9876543210"));
        Payments { secret: secret("0123456789abcdef0123456789abcdef"), previous, tolerance_s: 300 }
    }

    fn checked(header: &str, now_s: u64) -> bool {
        let request = TestRequest::default().insert_header((SIGNATURE, header)).to_http_request();
        check(&request, BODY, &payments(), now_s).is_ok()
    }

    #[test]
    fn what_openssl_signs_is_good_within_the_tolerance() {
        let header = format!("t={NOW_S},v1={SIGNATURE_OF_OPENSSL}");
        for (now_s, good) in [(NOW_S, true), (NOW_S + 300, true), (NOW_S - 300, true), (NOW_S + 301, false)] {
            assert_eq!(checked(&header, now_s), good, "{now_s}");
        }
        assert!(!checked(&header, NOW_S - 301));
        assert!(checked(&format!("v0=x, t={NOW_S},v1={},v1={SIGNATURE_OF_OPENSSL}", "0".repeat(64)), NOW_S));
        assert!(checked(&header.to_uppercase().replace("T=", "t=").replace("V1=", "v1="), NOW_S), "hex of either case");
    }

    #[test]
    fn the_previous_secret_is_still_good() {
        let signature = "1ce4311bc3a64ec5643548caa1dc6cd96cb6afb2e66e966ca14555996a9a06ce";
        assert!(checked(&format!("t={NOW_S},v1={signature}"), NOW_S));
    }

    #[test]
    fn everything_else_is_refused() {
        let good = SIGNATURE_OF_OPENSSL;
        let last = if good.ends_with('0') { '1' } else { '0' };
        let other = format!("{}{last}", &good[..63]);
        for header in [
            String::new(),
            format!("v1={good}"),
            format!("t={NOW_S}"),
            format!("t={NOW_S},v1="),
            format!("t={NOW_S},v1={other}"),
            format!("t={NOW_S},v1={}", &good[..62]),
            format!("t={NOW_S},t={NOW_S},v1={good}"),
            format!("t=+{NOW_S},v1={good}"),
            format!("t=0{NOW_S},v1={good}"),
            format!("t={},v1={good}", NOW_S + 1),
            format!("t={NOW_S}.0,v1={good}"),
            format!("t=99999999999999999999,v1={good}"),
            format!("t={NOW_S};v1={good}"),
            format!("t={NOW_S}{}", format!(",v1={good}").repeat(9)),
        ] {
            assert!(!checked(&header, NOW_S), "{header}");
        }
    }
}
