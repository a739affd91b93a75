//! What each packet of a round holds, worked out from its seed once that is public: `docs/split.md` written again, sharing
//! nothing with the server, its chance included.

use sha2::{Digest, Sha256};

use super::books::Round;

/// The text over which a round's commitment is taken, less its seed.
fn commitment(round: &Round, seed_hex: &str) -> String {
    let Round { split, packets, total_cents, min_cents, max_cents, .. } = round;
    let lines =
        format!("doorbuster-split-1\n{seed_hex}\n{split}\n{packets}\n{total_cents}\n{min_cents}\n{max_cents}\n");
    Sha256::digest(lines.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The amounts by packet; or what is wrong with the seed, or with what was promised before the round.
pub(super) fn amounts(round: &Round, seed_hex: &str, promised: &str) -> Result<Vec<u64>, String> {
    let seed = bytes(seed_hex).ok_or_else(|| format!("`{seed_hex}` is not 32 bytes in hexadecimal digits"))?;
    let given = commitment(round, seed_hex);
    if given != promised {
        return Err(format!("the seed gives {given}, promised was {promised}"));
    }
    let mut draws = Draws { key: seed, counter: 0, left: Vec::new() };
    let mut amounts = match round.split.as_str() {
        "random" => random(round, &mut draws),
        "equal" => equal(round),
        other => return Err(format!("`{other}` is no way to split")),
    };
    for last in (1..amounts.len()).rev() {
        let place = draws.below(last as u64 + 1);
        amounts.swap(last, usize::try_from(place).map_err(|error| error.to_string())?);
    }
    let sum: u64 = amounts.iter().sum();
    if sum != round.total_cents || amounts.iter().any(|amount| !(round.min_cents..=round.max_cents).contains(amount)) {
        return Err(format!("the packets hold {sum} cents of {} within their bounds", round.total_cents));
    }
    Ok(amounts)
}

fn random(round: &Round, draws: &mut Draws) -> Vec<u64> {
    let mut rest = round.total_cents;
    let mut filled = Vec::new();
    for left in (1..=u64::from(round.packets)).rev() {
        let more = draws.below(left) < rest % left;
        let mean = rest / left + u64::from(more);
        let low = rest.saturating_sub((left - 1) * round.max_cents).max(round.min_cents);
        let high = rest.saturating_sub((left - 1) * round.min_cents).min(round.max_cents);
        let reach = mean.saturating_sub(low).min(high.saturating_sub(mean));
        let amount = mean - reach + draws.below(2 * reach + 1);
        rest = rest.saturating_sub(amount);
        filled.push(amount);
    }
    filled
}

fn equal(round: &Round) -> Vec<u64> {
    let packets = u64::from(round.packets).max(1);
    let (each, more) = (round.total_cents / packets, round.total_cents % packets);
    (0..packets).map(|place| each + u64::from(place < more)).collect()
}

fn bytes(hex: &str) -> Option<[u32; 8]> {
    let plain = hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let word = |place: usize| u32::from_str_radix(&hex[8 * place..8 * place + 8], 16).ok().map(u32::swap_bytes);
    let mut words = [0; 8];
    for (place, into) in words.iter_mut().enumerate() {
        *into = plain.then(|| word(place)).flatten()?;
    }
    Some(words)
}

/// The keystream of ChaCha20 (RFC 8439) with a nonce of zeroes, in numbers of 64 bits.
struct Draws {
    key: [u32; 8],
    counter: u32,
    /// Of the block at hand, the last one first.
    left: Vec<u64>,
}

impl Draws {
    fn next(&mut self) -> u64 {
        if self.left.is_empty() {
            let words = self.block();
            self.left = words.chunks(2).map(|two| u64::from(two[0]) | u64::from(two[1]) << 32).rev().collect();
        }
        self.left.pop().unwrap_or_default()
    }

    fn below(&mut self, bound: u64) -> u64 {
        loop {
            let wide = u128::from(self.next()) * u128::from(bound);
            let low = wide & u128::from(u64::MAX);
            if low >= (1_u128 << 64) % u128::from(bound) {
                return u64::try_from(wide >> 64).unwrap_or_default();
            }
        }
    }

    fn block(&mut self) -> [u32; 16] {
        let [a, b, c, d, e, f, g, h] = self.key;
        let text = [0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574];
        let [i, j, k, l] = text;
        let start = [i, j, k, l, a, b, c, d, e, f, g, h, self.counter, 0, 0, 0];
        let mut state = start;
        for _ in 0..10 {
            for column in 0..4 {
                quarter(&mut state, [column, column + 4, column + 8, column + 12]);
            }
            for column in 0..4 {
                quarter(&mut state, [column, (column + 1) % 4 + 4, (column + 2) % 4 + 8, (column + 3) % 4 + 12]);
            }
        }
        self.counter = self.counter.wrapping_add(1);
        std::array::from_fn(|place| state[place].wrapping_add(start[place]))
    }
}

fn quarter(state: &mut [u32; 16], [a, b, c, d]: [usize; 4]) {
    for (to, from, mixed, by) in [(a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)] {
        state[to] = state[to].wrapping_add(state[from]);
        state[mixed] = (state[mixed] ^ state[to]).rotate_left(by);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: &str = "0100000000000000000000000000000000000000000000000000000000000000";
    const PROMISED: &str = "6543bec1c1a54d04737955ba52b389db7ceadbb56331d381cd024b6746ec0853";

    /// The example of `docs/split.md`.
    fn example() -> Round {
        let split = "random".to_owned();
        Round { packets: 10, total_cents: 1000, split, min_cents: 1, max_cents: 500, ..Round::default() }
    }

    #[test]
    fn the_documented_example_is_split_as_documented() {
        let amounts = amounts(&example(), SEED, PROMISED);
        assert_eq!(amounts, Ok(vec![42, 123, 45, 170, 104, 97, 148, 88, 77, 106]));
    }

    #[test]
    fn another_seed_than_was_promised_is_found() {
        assert!(amounts(&example(), &SEED.replace("01", "02"), PROMISED).is_err());
        assert!(amounts(&Round { total_cents: 1001, ..example() }, SEED, PROMISED).is_err());
        assert!(amounts(&example(), "0100", PROMISED).is_err());
    }
}
