//! A secret that cannot slip into a log: it is handed out by one method only.

use std::fmt;

/// Below this length a shared secret can be guessed offline from a single token; HS256 asks for as much (RFC 7518).
pub const SECRET_BYTES_MIN: usize = 32;

/// A secret's bytes.
#[derive(Clone)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Takes the bytes as they are.
    #[must_use]
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// The bytes, for whoever signs or checks with them.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}
