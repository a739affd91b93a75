//! `[auth]`: the one algorithm that tokens are signed by, and the key that checks them.

use std::path::Path;

use jsonwebtoken::{Algorithm, DecodingKey, crypto};

use crate::faults::Fields;

use super::files;
use super::secret::{SECRET_BYTES_MIN, Secret};

/// How a token is checked. One algorithm is pinned: a token that names another is refused, whatever its signature.
#[derive(Clone, Debug)]
pub struct Auth {
    /// The algorithm and its keys.
    pub keys: Keys,
    /// What `iss` must be.
    pub issuer: String,
    /// What `aud` must be.
    pub audience: String,
    /// Seconds by which the issuer's clock may differ from ours.
    pub leeway_s: u64,
}

/// What signatures are checked with.
#[derive(Clone, Debug)]
pub enum Keys {
    /// HS256: whoever can check can also sign.
    Shared {
        /// Signs and checks.
        secret: Secret,
        /// Still checks, while tokens that it signed are about.
        previous: Option<Secret>,
    },
    /// An algorithm whose private key the issuer keeps to itself.
    Public {
        /// Which one.
        algorithm: PublicKeyAlgorithm,
        /// The public key in PEM; found to be one of the algorithm's kind.
        pem: Vec<u8>,
    },
}

/// Algorithms with a public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublicKeyAlgorithm {
    /// Ed25519.
    EdDsa,
    /// RSA with SHA-256.
    Rs256,
    /// P-256 with SHA-256.
    Es256,
}

impl PublicKeyAlgorithm {
    /// The name that tokens and configuration write.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
        }
    }
}

impl From<PublicKeyAlgorithm> for Algorithm {
    fn from(algorithm: PublicKeyAlgorithm) -> Self {
        match algorithm {
            PublicKeyAlgorithm::EdDsa => Self::EdDSA,
            PublicKeyAlgorithm::Rs256 => Self::RS256,
            PublicKeyAlgorithm::Es256 => Self::ES256,
        }
    }
}

/// Reads the section; `None` only where a fault was noted.
pub fn read(section: &mut Fields<'_>, base: &Path) -> Option<Auth> {
    const LEEWAY_S_MAX: u64 = 600;
    let issuer = word(section, "issuer");
    let audience = word(section, "audience");
    let leeway_s = section.integer("leeway_s", 0..=LEEWAY_S_MAX).unwrap_or(30);
    let named = section.has("algorithm");
    let algorithm = match section.choice("algorithm", &["HS256", "EdDSA", "RS256", "ES256"]) {
        Some("EdDSA") => Some(PublicKeyAlgorithm::EdDsa),
        Some("RS256") => Some(PublicKeyAlgorithm::Rs256),
        Some("ES256") => Some(PublicKeyAlgorithm::Es256),
        Some(_) => None,
        // A faulty name: which keys it needs cannot be known, and only one fault is to be told.
        None if named => return ignore_keys(section),
        None => None,
    };
    let keys = match algorithm {
        None => shared(section, base),
        Some(algorithm) => public(section, base, algorithm),
    };
    Some(Auth { keys: keys?, issuer, audience, leeway_s })
}

fn word(section: &mut Fields<'_>, name: &'static str) -> String {
    let text = section.text(name).unwrap_or("doorbuster");
    if text.is_empty() {
        section.fault(name, "is empty", "write what tokens carry, or leave it out for \"doorbuster\"");
    }
    text.to_owned()
}

const KEYS: [&str; 5] = ["secret", "secret_file", "previous_secret", "previous_secret_file", "public_key_file"];

fn ignore_keys(section: &mut Fields<'_>) -> Option<Auth> {
    KEYS.iter().for_each(|name| _ = section.has(name));
    None
}

fn refuse(section: &mut Fields<'_>, names: &[&'static str], algorithm: &str) {
    for name in names {
        if section.has(name) {
            section.fault(name, format!("is not used with {algorithm}"), "remove it, or choose another algorithm");
        }
    }
}

fn shared(section: &mut Fields<'_>, base: &Path) -> Option<Keys> {
    refuse(section, &KEYS[4..], "HS256");
    let secret = secret(section, "secret", "secret_file", base);
    if secret.is_none() && !section.has("secret") && !section.has("secret_file") {
        let mend =
            format!("set it, secret_file or DOORBUSTER_AUTH__SECRET to at least {SECRET_BYTES_MIN} random bytes");
        section.fault("secret", "is missing", mend);
    }
    let previous = self::secret(section, "previous_secret", "previous_secret_file", base);
    Some(Keys::Shared { secret: secret?, previous })
}

/// Reads a shared secret that stands here or in a file; `None` where it stands nowhere or is faulty.
pub(super) fn secret(
    section: &mut Fields<'_>,
    here: &'static str,
    in_file: &'static str,
    base: &Path,
) -> Option<Secret> {
    let (name, bytes) = here_or_in_file(section, here, in_file, base)?;
    if bytes.len() < SECRET_BYTES_MIN {
        let what = format!("must be at least {SECRET_BYTES_MIN} bytes, is {}", bytes.len());
        section.fault(name, what, "take a random one, such as `openssl rand -hex 32` prints");
        return None;
    }
    Some(Secret::new(bytes))
}

/// Reads what stands here or in a file, with the name of the key; `None` where it stands nowhere or is faulty.
pub fn here_or_in_file(
    section: &mut Fields<'_>,
    here: &'static str,
    in_file: &'static str,
    base: &Path,
) -> Option<(&'static str, Vec<u8>)> {
    if section.has(here) && section.has(in_file) {
        section.fault(in_file, format!("and {here} are both given"), "keep one of them");
        return None;
    }
    match section.text(here) {
        Some(text) => Some((here, text.as_bytes().to_vec())),
        None => Some((in_file, without_newline(file(section, in_file, base)?))),
    }
}

/// Editors and `echo` end a file with a line break that is no part of the secret.
fn without_newline(mut bytes: Vec<u8>) -> Vec<u8> {
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    }
    bytes
}

/// Reads the file that a key names; `None` where there is no such key or the file cannot be read.
fn file(section: &mut Fields<'_>, name: &'static str, base: &Path) -> Option<Vec<u8>> {
    let path = base.join(section.text(name)?);
    files::read_bytes(&path)
        .map_err(|error| {
            let what = format!("{} cannot be read: {error}", path.display());
            section.fault(name, what, "name a file that the server may read");
        })
        .ok()
}

fn public(section: &mut Fields<'_>, base: &Path, algorithm: PublicKeyAlgorithm) -> Option<Keys> {
    refuse(section, &KEYS[..4], algorithm.name());
    section.required("public_key_file", &format!("name a PEM file with the issuer's {} public key", algorithm.name()));
    let pem = file(section, "public_key_file", base)?;
    if pem.windows(11).any(|bytes| bytes == b"PRIVATE KEY") {
        let mend = "extract the public one with `openssl pkey -pubout`, and keep the private one with the issuer";
        section.fault("public_key_file", "holds a private key", mend);
        return None;
    }
    let key = match algorithm {
        PublicKeyAlgorithm::EdDsa => DecodingKey::from_ed_pem(&pem),
        PublicKeyAlgorithm::Rs256 => DecodingKey::from_rsa_pem(&pem),
        PublicKeyAlgorithm::Es256 => DecodingKey::from_ec_pem(&pem),
    };
    // A key of another curve, or a certificate, passes for a key until it is used; so it is used once.
    let usable = |key: &DecodingKey| crypto::verify("", b"", key, algorithm.into()).is_ok();
    if !key.is_ok_and(|key| usable(&key)) {
        let what = format!("holds no public key for {}", algorithm.name());
        section.fault("public_key_file", what, "name a PEM file that begins with -----BEGIN PUBLIC KEY-----");
        return None;
    }
    Some(Keys::Public { algorithm, pem })
}
