//! Integers of requests, of whatever size: one that is too large is a wrong quantity, not a malformed request.

use serde::{Deserializer, de};

/// For `#[serde(deserialize_with)]`: an integer, clamped to 64 bits. `1.5`, `"1"` and `null` are none.
///
/// # Errors
/// Where it is no integer.
pub fn whole<'de, D: Deserializer<'de>>(from: D) -> Result<i64, D::Error> {
    from.deserialize_any(Whole)
}

struct Whole;

impl de::Visitor<'_> for Whole {
    type Value = i64;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an integer")
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<i64, E> {
        Ok(value)
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<i64, E> {
        Ok(i64::try_from(value).unwrap_or(i64::MAX))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<i64, E> {
        // The parser hands integers beyond 64 bits over as floats, and -0 as well.
        match value {
            huge if huge >= 1.8e19 => Ok(i64::MAX),
            huge if huge <= -9.2e18 => Ok(i64::MIN),
            zero if zero == 0.0 && zero.is_sign_negative() => Ok(0),
            _ => Err(E::invalid_type(de::Unexpected::Float(value), &self)),
        }
    }
}
