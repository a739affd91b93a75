//! Mints the shoppers' tokens, as the shop's login would.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde::Serialize;

use crate::plan::Auth;

/// Longer than any run, so that no shopper has to log in twice.
const VALID_FOR_S: u64 = 24 * 3600;

/// Shoppers are numbered from above 2^20 on, unless told otherwise.
const OPERATOR: u64 = 2;

/// A source of tokens for one issuer and audience.
pub(crate) struct Mint {
    header: Header,
    key: EncodingKey,
    issuer: String,
    audience: String,
    expires_at_s: u64,
}

#[derive(Serialize)]
struct Claims<'a> {
    sub: &'a str,
    exp: u64,
    iss: &'a str,
    aud: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
}

impl Mint {
    /// Tokens are valid from now for a day.
    pub(crate) fn new(auth: &Auth) -> Self {
        Self {
            header: Header::new(Algorithm::HS256),
            key: EncodingKey::from_secret(auth.secret.as_bytes()),
            issuer: auth.issuer.clone(),
            audience: auth.audience.clone(),
            expires_at_s: unix_ms() / 1000 + VALID_FOR_S,
        }
    }

    /// A shopper's token.
    pub(crate) fn token(&self, user_id: u64) -> Result<String> {
        self.signed(user_id, None)
    }

    /// The token of an operator, who works under a number that no shopper has.
    pub(crate) fn operator(&self) -> Result<String> {
        self.signed(OPERATOR, Some("operator"))
    }

    fn signed(&self, user_id: u64, role: Option<&'static str>) -> Result<String> {
        let sub = user_id.to_string();
        let claims = Claims { sub: &sub, exp: self.expires_at_s, iss: &self.issuer, aud: &self.audience, role };
        encode(&self.header, &claims, &self.key).context("could not sign a token with this secret")
    }
}

/// Milliseconds since 1970; 0 on a machine whose clock stands before that.
pub(crate) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
