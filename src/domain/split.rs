//! Splitting a round's budget into packets, all at once and before the round starts, so that a grab only takes the next
//! amount. Every amount is within its bounds and the sum is exact, to the cent.
//!
//! # The algorithm, version 1
//!
//! Chance is the keystream of ChaCha20 (RFC 8439) with the seed as key, a nonce of zeroes and the counter from 0, read as
//! 64-bit little-endian numbers. A number below `n` is drawn by Lemire's multiplication with rejection ("Fast Random
//! Integer Generation in an Interval", 2019): the upper half of `draw * n`, drawn again while the lower half is below
//! `2^64 mod n`.
//!
//! *random*: packets are filled one after the other. With `rest` cents for `left` packets, the mean is `rest / left`, or
//! one more with the chance that makes its expectation exact: one more where a number below `left` is below `rest mod
//! left`. The amount lies between `low = max(min, rest - (left - 1) * max)` and `high = min(max, rest - (left - 1) * min)`,
//! which leave a rest that the others can have; it is drawn evenly from as far below the mean as above it, as far as both
//! bounds allow. *equal*: each packet has `total / packets`, and `total mod packets` of them one cent more.
//!
//! Then the amounts are shuffled (Fisher and Yates, from the last place down). So what a packet holds does not depend on
//! its place, in expectation or otherwise: who comes first gets no more, and the last one no less.

use chacha20::ChaCha20;
use chacha20::cipher::{KeyIvInit, StreamCipher};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Packets in one round: their amounts take 4 bytes each while the round is to come.
pub const PACKETS_MAX: u32 = 10_000_000;
/// The largest amount that one packet may hold.
pub const PACKET_CENTS_MAX: u64 = u32::MAX as u64;

/// How a budget is split.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// By chance, between the bounds.
    Random,
    /// As evenly as cents allow.
    Equal,
}

impl Split {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::Equal => "equal",
        }
    }
}

/// What is split, and how: all of it public.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// How.
    pub split: Split,
    /// Into how many packets.
    pub packets: u32,
    /// The budget.
    pub total_cents: u64,
    /// The least that a packet holds.
    pub min_cents: u64,
    /// The most.
    pub max_cents: u64,
}

/// 256 bits of chance, secret until the round is over.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Seed(pub [u8; 32]);

impl std::fmt::Debug for Seed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seed(…)")
    }
}

impl Seed {
    /// From 64 hexadecimal digits.
    #[must_use]
    pub fn from_hex(hex: &str) -> Option<Self> {
        let mut seed = [0; 32];
        if hex.len() != 64 || !hex.is_ascii() {
            return None;
        }
        for (place, byte) in seed.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&hex[2 * place..2 * place + 2], 16).ok()?;
        }
        // A sign would pass for a digit.
        (Self(seed).to_hex().eq_ignore_ascii_case(hex)).then_some(Self(seed))
    }

    /// As 64 hexadecimal digits.
    #[must_use]
    pub fn to_hex(self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Why a budget cannot be split, with the nearest budgets that could.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsplittable {
    /// No packets, or too many.
    #[error("packets is from 1 to {PACKETS_MAX}")]
    Packets,
    /// The bounds are none.
    #[error("min_cents is at least 1, and max_cents from there to {PACKET_CENTS_MAX}")]
    Bounds,
    /// Less than all packets need.
    #[error("total_cents is below packets times min_cents: at least {least} would do")]
    TooLittle {
        /// The nearest that would do.
        least: u64,
    },
    /// More than all packets may hold.
    #[error("total_cents is above packets times max_cents: at most {most} would do")]
    TooMuch {
        /// The nearest that would do.
        most: u64,
    },
}

impl Terms {
    /// Whether the budget can be split so.
    ///
    /// # Errors
    /// [`Unsplittable`].
    pub fn check(&self) -> Result<(), Unsplittable> {
        if !(1..=PACKETS_MAX).contains(&self.packets) {
            return Err(Unsplittable::Packets);
        }
        if self.min_cents < 1 || !(self.min_cents..=PACKET_CENTS_MAX).contains(&self.max_cents) {
            return Err(Unsplittable::Bounds);
        }
        let packets = u64::from(self.packets);
        // Below 2^24 times 2^32.
        let (least, most) = (packets * self.min_cents, packets * self.max_cents);
        if self.total_cents < least {
            return Err(Unsplittable::TooLittle { least });
        }
        if self.total_cents > most {
            return Err(Unsplittable::TooMuch { most });
        }
        Ok(())
    }

    /// What is public before the round starts: SHA-256, as hexadecimal digits, over these lines of ASCII, each with its
    /// line feed: `doorbuster-split-1`, the seed as hexadecimal digits, `random` or `equal`, packets, total, least and most
    /// cents.
    #[must_use]
    pub fn commitment(&self, seed: Seed) -> String {
        let Self { split, packets, total_cents, min_cents, max_cents } = self;
        let text = format!(
            "doorbuster-split-1\n{}\n{}\n{packets}\n{total_cents}\n{min_cents}\n{max_cents}\n",
            seed.to_hex(),
            split.as_str()
        );
        Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The amounts, by the packets' places. Always the same for the same seed.
    ///
    /// # Errors
    /// [`Unsplittable`].
    pub fn split(&self, seed: Seed) -> Result<Vec<u32>, Unsplittable> {
        self.check()?;
        let mut draws = Draws::of(seed);
        let mut amounts = match self.split {
            Split::Random => self.random(&mut draws),
            Split::Equal => self.equal(),
        };
        for last in (1..amounts.len()).rev() {
            let place = draws.below(last as u64 + 1);
            amounts.swap(last, usize::try_from(place).expect("a place of a vector"));
        }
        Ok(amounts)
    }

    fn random(&self, draws: &mut Draws) -> Vec<u32> {
        let (min, max) = (self.min_cents, self.max_cents);
        let mut rest = self.total_cents;
        let fill = |left: u64| {
            let mean = rest / left + u64::from(draws.below(left) < rest % left);
            let low = rest.saturating_sub((left - 1) * max).max(min);
            let high = (rest - (left - 1) * min).min(max);
            let reach = (mean - low).min(high - mean);
            let amount = mean - reach + draws.below(2 * reach + 1);
            rest -= amount;
            cents(amount)
        };
        (1..=u64::from(self.packets)).rev().map(fill).collect()
    }

    fn equal(&self) -> Vec<u32> {
        let packets = u64::from(self.packets);
        let (each, more) = (self.total_cents / packets, self.total_cents % packets);
        (0..packets).map(|place| cents(each + u64::from(place < more))).collect()
    }
}

fn cents(amount: u64) -> u32 {
    u32::try_from(amount).expect("no packet holds more than its bound, which is checked first")
}

/// Numbers from a seed.
struct Draws {
    cipher: ChaCha20,
    block: [u8; 1024],
    used: usize,
}

impl Draws {
    fn of(seed: Seed) -> Self {
        let cipher = ChaCha20::new(&seed.0.into(), &[0; 12].into());
        Self { cipher, block: [0; 1024], used: 1024 }
    }

    fn next(&mut self) -> u64 {
        if self.used == self.block.len() {
            self.block.fill(0);
            // 2^32 blocks of 64 bytes are far more than the largest round draws.
            self.cipher.apply_keystream(&mut self.block);
            self.used = 0;
        }
        let bytes = self.block[self.used..].first_chunk().expect("the block is whole numbers long");
        self.used += bytes.len();
        u64::from_le_bytes(*bytes)
    }

    fn below(&mut self, bound: u64) -> u64 {
        let mut wide = u128::from(self.next()) * u128::from(bound);
        // The lower half is the wide number's 64 lowest bits.
        let low = |wide: u128| u64::try_from(wide & u128::from(u64::MAX)).expect("64 bits");
        if low(wide) < bound {
            let again_below = bound.wrapping_neg() % bound;
            while low(wide) < again_below {
                wide = u128::from(self.next()) * u128::from(bound);
            }
        }
        u64::try_from(wide >> 64).expect("the upper half has 64 bits")
    }
}
