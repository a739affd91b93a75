//! The shared words: identifiers, amounts and instants as types of their own, so that a user cannot be passed for an
//! order nor cents for units. Plain values; nothing here reads a clock or touches a disk.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The largest integer that every JSON reader keeps exactly: 2^53 − 1.
pub const JSON_INTEGER_MAX: u64 = (1 << 53) - 1;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// An activity, as its operator numbered it; above 0.
    ActivityId(u64)
}
number! {
    /// A shopper or an operator, as the token's `sub` names them.
    UserId(u64)
}
number! {
    /// A shard's dense number in this journal, from 1, never reused; 27 bits.
    ShardId(u32)
}
number! {
    /// An order or a grab: the shard's number (27 bits) above the shard's own sequence (36 bits).
    /// Holds no clock, is unique over restarts, and is the same in every replay.
    OrderId(u64)
}
number! {
    /// The journal's number of an event, from 1; 0 stands before the first.
    Seq(u64)
}
number! {
    /// A count of units.
    Qty(u32)
}
number! {
    /// Money in hundredths of the activity's currency.
    Cents(u64)
}
number! {
    /// Milliseconds since 1970-01-01T00:00:00Z.
    UnixMillis(u64)
}
number! {
    /// A SKU's place in its activity's list. Given once and kept for good, so that events need not carry names.
    SkuIndex(u16)
}

impl ShardId {
    /// The largest shard number that an [`OrderId`] can hold.
    pub const MAX: Self = Self((1 << 27) - 1);
}

impl OrderId {
    const SEQUENCE_BITS: u32 = 36;

    /// The id of a shard's `sequence`-th order, counted from 1.
    #[must_use]
    pub fn new(shard: ShardId, sequence: u32) -> Self {
        Self((u64::from(shard.0) << Self::SEQUENCE_BITS) | u64::from(sequence))
    }

    /// The shard that gave the id; `None` where no shard has such a number.
    #[must_use]
    pub fn shard(self) -> Option<ShardId> {
        let shard = u32::try_from(self.0 >> Self::SEQUENCE_BITS).ok()?;
        (shard > 0 && shard <= ShardId::MAX.0).then_some(ShardId(shard))
    }

    /// The order's number in its shard, counted from 1; `None` where it is beyond what a shard holds.
    #[must_use]
    pub fn sequence(self) -> Option<u32> {
        u32::try_from(self.0 & ((1 << Self::SEQUENCE_BITS) - 1)).ok().filter(|n| *n > 0)
    }
}

impl UnixMillis {
    /// This instant moved `ms` later; the end of time rather than an overflow.
    #[must_use]
    pub fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }
}

impl Cents {
    /// The price of `quantity` units at `self` each; `None` past what a number can hold.
    #[must_use]
    pub fn times(self, quantity: Qty) -> Option<Self> {
        self.0.checked_mul(u64::from(quantity.0)).map(Self)
    }
}

/// What is wrong with the text of an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadId(pub &'static str);

/// Reads a decimal id: digits only, no sign, no leading zero unless it is `0` itself.
fn decimal(text: &str) -> Result<u64, BadId> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if !plain {
        return Err(BadId("must be a decimal number"));
    }
    text.parse().map_err(|_| BadId("must be a decimal number below 2^64"))
}

impl FromStr for ActivityId {
    type Err = BadId;
    fn from_str(text: &str) -> Result<Self, BadId> {
        match decimal(text)? {
            0 => Err(BadId("must be above 0")),
            id => Ok(Self(id)),
        }
    }
}

impl FromStr for UserId {
    type Err = BadId;
    fn from_str(text: &str) -> Result<Self, BadId> {
        decimal(text).map(Self)
    }
}

impl FromStr for OrderId {
    type Err = BadId;
    fn from_str(text: &str) -> Result<Self, BadId> {
        decimal(text).map(Self)
    }
}

/// A stock-keeping unit's name: 1–64 of `[A-Za-z0-9._-]`. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SkuId(Arc<str>);

impl SkuId {
    /// The name's longest length in bytes.
    pub const LEN_MAX: usize = 64;

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SkuId {
    type Err = BadId;
    fn from_str(text: &str) -> Result<Self, BadId> {
        let fits = (1..=Self::LEN_MAX).contains(&text.len());
        if fits && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-')) {
            Ok(Self(text.into()))
        } else {
            Err(BadId("must be 1 to 64 of A-Z a-z 0-9 . _ -"))
        }
    }
}

impl fmt::Display for SkuId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for SkuId {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for SkuId {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// An idempotency key as it is kept: 128 bits of a digest over the key's text, so that every winner costs the same
/// memory whatever the key's length. Only compared within one user's own orders.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyDigest(pub [u8; 16]);

impl fmt::Debug for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Serialize for KeyDigest {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for KeyDigest {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Sixteen;
        impl<'de> serde::de::Visitor<'de> for Sixteen {
            type Value = KeyDigest;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("16 bytes")
            }
            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<KeyDigest, E> {
                bytes.try_into().map(KeyDigest).map_err(|_| E::invalid_length(bytes.len(), &self))
            }
        }
        from.deserialize_bytes(Sixteen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_id_names_its_shard_and_its_place() {
        let id = OrderId::new(ShardId(7), 42);
        assert_eq!((id.shard(), id.sequence()), (Some(ShardId(7)), Some(42)));
        assert_eq!(OrderId::new(ShardId::MAX, u32::MAX).shard(), Some(ShardId::MAX));
        assert!(OrderId::new(ShardId::MAX, u32::MAX).0 < 1 << 63, "ids are 63-bit");
        assert_eq!(OrderId(5).shard(), None, "no shard has number 0");
        assert_eq!(OrderId(1 << 36).sequence(), None, "sequences count from 1");
    }

    #[test]
    fn ids_are_read_strictly() {
        assert_eq!("17".parse::<ActivityId>(), Ok(ActivityId(17)));
        for bad in ["", "0", "-1", "+1", " 1", "01", "1e3", "18446744073709551616", "１"] {
            assert!(bad.parse::<ActivityId>().is_err(), "{bad:?} is no activity id");
        }
        assert_eq!("0".parse::<UserId>(), Ok(UserId(0)));
        for bad in ["", "a b", "é", "a/b", &"x".repeat(65)] {
            assert!(bad.parse::<SkuId>().is_err(), "{bad:?} is no SKU id");
        }
        assert!("A-z0.9_".parse::<SkuId>().is_ok());
    }
}
