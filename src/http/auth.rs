//! Who asks: a JSON Web Token of the one pinned algorithm. `alg=none`, another algorithm, a missing or wrong claim and a
//! `sub` that is no user id are all 401, before anything else of the request is looked at.

use actix_web::HttpRequest;
use actix_web::http::header;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde::Deserialize;

use super::problem::Problem;
use crate::config::{Auth, Keys, PublicKeyAlgorithm};
use crate::ids::UserId;

/// What a token lets its bearer do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Buys.
    #[default]
    Shopper,
    /// Runs the sales.
    Operator,
    /// Hands out red packets of its own.
    Merchant,
    /// Reads everything.
    Auditor,
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bearer {
    /// The token's `sub`.
    pub user: UserId,
    /// The token's `role`.
    pub role: Role,
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
    #[serde(default)]
    role: Role,
}

/// Checks tokens.
pub struct Verifier {
    keys: Vec<DecodingKey>,
    validation: Validation,
}

impl Verifier {
    /// A verifier for the configured algorithm, issuer and audience.
    ///
    /// # Errors
    /// Where the public key is not one of the algorithm's kind.
    pub fn new(auth: &Auth) -> Result<Self, jsonwebtoken::errors::Error> {
        let (algorithm, keys) = match &auth.keys {
            Keys::Shared { secret, previous } => {
                let secrets = std::iter::once(secret).chain(previous);
                (Algorithm::HS256, secrets.map(|secret| DecodingKey::from_secret(secret.expose())).collect())
            }
            Keys::Public { algorithm: PublicKeyAlgorithm::EdDsa, pem } => {
                (Algorithm::EdDSA, vec![DecodingKey::from_ed_pem(pem)?])
            }
            Keys::Public { algorithm: PublicKeyAlgorithm::Rs256, pem } => {
                (Algorithm::RS256, vec![DecodingKey::from_rsa_pem(pem)?])
            }
            Keys::Public { algorithm: PublicKeyAlgorithm::Es256, pem } => {
                (Algorithm::ES256, vec![DecodingKey::from_ec_pem(pem)?])
            }
        };
        let mut validation = Validation::new(algorithm);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.set_issuer(&[&auth.issuer]);
        validation.set_audience(&[&auth.audience]);
        validation.leeway = auth.leeway_s;
        validation.validate_nbf = true;
        Ok(Self { keys, validation })
    }

    /// Who sent the request.
    ///
    /// # Errors
    /// `unauthenticated`, saying what is wrong with the token but nothing of the key.
    pub fn bearer(&self, request: &HttpRequest) -> Result<Bearer, Problem> {
        let mut headers = request.headers().get_all(header::AUTHORIZATION);
        let (Some(value), None) = (headers.next(), headers.next()) else {
            return Err(Problem::unauthenticated("send one header Authorization: Bearer <JWT>"));
        };
        let value = value.to_str().unwrap_or_default();
        let token = match value.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
            _ => return Err(Problem::unauthenticated("send the header as Authorization: Bearer <JWT>")),
        };
        self.check(token)
    }

    fn check(&self, token: &str) -> Result<Bearer, Problem> {
        let mut refusal = None;
        for key in &self.keys {
            match decode::<Claims>(token, key, &self.validation) {
                Ok(data) => {
                    let user = data.claims.sub.parse();
                    let user = user.map_err(|_| Problem::unauthenticated("the token's sub is no user id"))?;
                    return Ok(Bearer { user, role: data.claims.role });
                }
                // Another key may fit; whatever else is wrong is wrong with every key.
                Err(error) if *error.kind() == ErrorKind::InvalidSignature => refusal = Some(error),
                Err(error) => {
                    refusal = Some(error);
                    break;
                }
            }
        }
        let why = match refusal.as_ref().map(jsonwebtoken::errors::Error::kind) {
            Some(ErrorKind::ExpiredSignature) => "the token has expired",
            Some(ErrorKind::InvalidIssuer) => "the token is of another issuer",
            Some(ErrorKind::InvalidAudience) => "the token is for another audience",
            Some(ErrorKind::ImmatureSignature) => "the token is not valid yet",
            Some(ErrorKind::MissingRequiredClaim(_)) => "the token lacks one of exp, iss, aud, sub",
            Some(ErrorKind::InvalidAlgorithm) => "the token is of another algorithm",
            _ => "the token is not valid here",
        };
        Err(Problem::unauthenticated(why))
    }
}
