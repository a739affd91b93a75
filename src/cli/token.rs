//! `doorbuster token`: mints a JWT for development, with the very secret that the server checks by. In production an
//! identity provider does this; with a public-key algorithm nobody but it can, for the server has no private key.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;

use crate::config::{self, Auth, Keys};
use crate::ids::{UnixMillis, UserId};

/// What a token may say of its bearer.
pub const ROLES: [&str; 4] = ["shopper", "operator", "merchant", "auditor"];
/// The longest life of a token from here. A leaked one should not outlive the secret.
pub const TTL_MAX: Duration = Duration::from_secs(366 * DAY_S);

const DAY_S: u64 = 24 * 3600;
const MINTED: u8 = 0;
const FAULTY: u8 = 1;
const CANNOT_SIGN: u8 = 2;

/// For whom a token is, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    /// `sub`.
    pub user: UserId,
    /// `role`, one of [`ROLES`]; left out, it means a shopper.
    pub role: Option<&'static str>,
    /// How long it is good.
    pub ttl: Duration,
}

/// Why no token came out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configured algorithm signs with a key that the server does not have.
    #[error("auth.algorithm is {0}: only its public key is configured, which checks tokens and cannot sign them")]
    CheckerOnly(&'static str),
    /// The signature failed.
    #[error("the token could not be signed: {0}")]
    Sign(#[from] jsonwebtoken::errors::Error),
}

#[derive(Serialize)]
struct Claims<'a> {
    sub: String,
    iss: &'a str,
    aud: &'a str,
    iat: u64,
    exp: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
}

/// Signs a token that the server with this `auth` accepts from `now` on until its life ends.
///
/// # Errors
/// [`Error::CheckerOnly`] for a public-key algorithm.
pub fn mint(auth: &Auth, ask: Ask, now: UnixMillis) -> Result<String, Error> {
    let secret = match &auth.keys {
        Keys::Shared { secret, .. } => secret,
        Keys::Public { algorithm, .. } => return Err(Error::CheckerOnly(algorithm.name())),
    };
    let iat = now.0 / 1000;
    let claims = Claims {
        sub: ask.user.to_string(),
        iss: &auth.issuer,
        aud: &auth.audience,
        iat,
        exp: iat.saturating_add(ask.ttl.as_secs()),
        role: ask.role,
    };
    let key = EncodingKey::from_secret(secret.expose());
    Ok(jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key)?)
}

/// Prints a token to `out`, or what hinders it to `err`; gives the exit code: 1 for a faulty configuration, 2 where
/// the configured algorithm cannot sign.
///
/// # Errors
/// Where `out` or `err` cannot be written.
pub fn run<N, V>(
    config_file: &Path,
    environment: impl IntoIterator<Item = (N, V)>,
    ask: Ask,
    now: UnixMillis,
    out: &mut impl Write,
    err: &mut impl Write,
) -> io::Result<u8>
where
    N: Into<OsString>,
    V: Into<OsString>,
{
    let config = match config::load(config_file, environment) {
        Ok(config) => config,
        Err(faults) => {
            faults.iter().try_for_each(|fault| writeln!(err, "{fault}"))?;
            return Ok(FAULTY);
        }
    };
    match mint(&config.auth, ask, now) {
        Ok(token) => {
            writeln!(out, "{token}")?;
            Ok(MINTED)
        }
        Err(error) => {
            writeln!(err, "{error}\n    mend: ask the issuer for a token, or use HS256 for development")?;
            Ok(CANNOT_SIGN)
        }
    }
}

/// Reads a life such as `30s`, `15m`, `1h` or `7d`; fit for clap's `value_parser`.
///
/// # Errors
/// What a life looks like.
pub fn parse_ttl(text: &str) -> Result<Duration, String> {
    let unit_s = match text.chars().last() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3600,
        Some('d') => DAY_S,
        _ => 0,
    };
    let digits = text.get(..text.len().saturating_sub(1)).unwrap_or_default();
    let number = digits.parse::<u64>().ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()));
    match number.and_then(|number| number.checked_mul(unit_s)).map(Duration::from_secs) {
        Some(ttl) if ttl > Duration::ZERO && ttl <= TTL_MAX => Ok(ttl),
        Some(ttl) if ttl > TTL_MAX => Err("must be at most 366d".to_owned()),
        _ => Err("must be a number with a unit: 30s, 15m, 1h or 7d".to_owned()),
    }
}

/// Reads one of [`ROLES`]; fit for clap's `value_parser`.
///
/// # Errors
/// The roles that there are.
pub fn parse_role(text: &str) -> Result<&'static str, String> {
    let role = ROLES.iter().find(|role| **role == text).copied();
    role.ok_or_else(|| format!("must be one of {}", ROLES.join(", ")))
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{DecodingKey, Validation};

    use super::*;
    use crate::config::{PublicKeyAlgorithm, Secret};

    fn auth(keys: Keys) -> Auth {
        Auth { keys, issuer: "iss".into(), audience: "aud".into(), leeway_s: 30 }
    }

    #[test]
    fn a_token_carries_every_claim_that_the_server_asks_for() {
        let secret = "0123456789abcdef0123456789abcdef";
        let keys = Keys::Shared { secret: Secret::new(secret), previous: None };
        let ask = Ask { user: UserId(42), role: Some("operator"), ttl: Duration::from_secs(60) };
        let token = mint(&auth(keys), ask, UnixMillis(1_000_999)).expect("HS256 signs");

        let mut validation = Validation::new(Algorithm::HS256);
        validation.validate_exp = false;
        validation.set_issuer(&["iss"]);
        validation.set_audience(&["aud"]);
        let key = DecodingKey::from_secret(secret.as_bytes());
        let claims =
            jsonwebtoken::decode::<serde_json::Value>(&token, &key, &validation).expect("a sound token").claims;
        let expected = serde_json::json!({
            "sub": "42", "iss": "iss", "aud": "aud", "iat": 1000, "exp": 1060, "role": "operator"
        });
        assert_eq!(claims, expected);
    }

    #[test]
    fn a_public_key_cannot_sign() {
        let keys = Keys::Public { algorithm: PublicKeyAlgorithm::EdDsa, pem: Vec::new() };
        let ask = Ask { user: UserId(1), role: None, ttl: Duration::from_secs(1) };
        let error = mint(&auth(keys), ask, UnixMillis(0)).expect_err("no private key");
        assert!(error.to_string().starts_with("auth.algorithm is EdDSA"), "{error}");
    }

    #[test]
    fn a_life_is_a_number_with_a_unit() {
        for (text, seconds) in [("30s", 30), ("15m", 900), ("1h", 3600), ("7d", 604_800), ("366d", 31_622_400)] {
            assert_eq!(parse_ttl(text), Ok(Duration::from_secs(seconds)));
        }
        for bad in ["", "1", "h", "0s", "-1h", "+1h", "1.5h", "1 h", "367d", "99999999999999999999d", "1é", "1w"] {
            assert!(parse_ttl(bad).is_err(), "{bad:?} is no life");
        }
    }
}
