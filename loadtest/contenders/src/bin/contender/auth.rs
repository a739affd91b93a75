//! Who asks, checked as Doorbuster checks it: the same crate, the same claims, the same pinned algorithm.

use actix_web::HttpRequest;
use actix_web::http::header;
use contenders::{ISSUER, SECRET};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde::Deserialize;

#[derive(Deserialize)]
struct Claims {
    sub: String,
    #[serde(default)]
    #[expect(dead_code, reason = "Doorbuster reads it, so everybody does")]
    role: Role,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Role {
    #[default]
    Shopper,
    Operator,
    Merchant,
    Auditor,
}

/// Checks tokens.
pub(crate) struct Verifier {
    key: DecodingKey,
    validation: Validation,
}

impl Verifier {
    pub(crate) fn new() -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[ISSUER]);
        validation.leeway = 30;
        validation.validate_nbf = true;
        Self { key: DecodingKey::from_secret(SECRET.as_bytes()), validation }
    }

    /// The user of a request, where its token is good.
    pub(crate) fn user(&self, request: &HttpRequest) -> Option<u64> {
        let mut headers = request.headers().get_all(header::AUTHORIZATION);
        let (Some(value), None) = (headers.next(), headers.next()) else { return None };
        let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        decode::<Claims>(token.trim(), &self.key, &self.validation).ok()?.claims.sub.parse().ok()
    }
}
