//! `doorbuster verify-split`: works out again, from what is public alone, what each packet of a round held: the activity
//! as `GET /v1/activities/ID` told it after the round, and the commitment that somebody noted before it.

use std::io::{self, Read, Write};
use std::path::Path;

use serde::Deserialize;

use super::exit;
use crate::domain::split::{Seed, Split, Terms};

/// An activity of red packets, as shoppers are told of it; other fields are passed over.
#[derive(Deserialize)]
struct Told {
    rounds: Vec<Round>,
}

#[derive(Deserialize)]
struct Round {
    round: u32,
    total_cents: u64,
    packets: u32,
    split: Split,
    min_cents: u64,
    max_cents: u64,
    commitment: String,
    seed: Option<String>,
}

/// What is to be verified.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// The file with what was told; `-` for the standard input.
    pub activity: &'a Path,
    /// Only this round.
    pub round: Option<u32>,
    /// The commitment that was noted before the round started.
    pub commitment: Option<&'a str>,
}

/// Prints each packet's amount as a JSON line, and to `told` how each round went. Gives the exit code: 0 where every round
/// that is over is as it was committed to, 1 where one is not, 2 where nothing could be verified.
///
/// # Errors
/// Where nothing can be read or written.
pub fn run(ask: Ask<'_>, out: &mut impl Write, told: &mut impl Write) -> io::Result<u8> {
    let mut text = String::new();
    if ask.activity == Path::new("-") {
        io::stdin().read_to_string(&mut text)?;
    } else {
        text = std::fs::read_to_string(ask.activity)?;
    }
    let activity: Told = match serde_json::from_str(&text) {
        Ok(activity) => activity,
        Err(error) => {
            writeln!(told, "doorbuster: verify-split: this is no activity of red packets: {error}")?;
            return Ok(exit::CANNOT);
        }
    };
    let (mut verified, mut differ) = (0, 0);
    let wanted = |round: &&Round| ask.round.is_none_or(|number| number == round.round);
    for round in activity.rounds.iter().filter(wanted) {
        let number = round.round;
        let Some(seed) = round.seed.as_deref() else {
            writeln!(told, "round {number}: is not over, its seed is not public yet")?;
            continue;
        };
        let committed = ask.commitment.unwrap_or(&round.commitment);
        match verify(round, seed, committed) {
            Ok(amounts) => {
                verified += 1;
                for (packet, cents) in amounts.iter().enumerate() {
                    writeln!(out, "{{\"round\":{number},\"packet\":{packet},\"amount_cents\":{cents}}}")?;
                }
                let (packets, total) = (round.packets, round.total_cents);
                writeln!(told, "round {number}: as committed: {packets} packets, {total} cents together")?;
            }
            Err(why) => {
                differ += 1;
                writeln!(told, "round {number}: NOT as committed: {why}")?;
            }
        }
    }
    out.flush()?;
    Ok(match (verified, differ) {
        (_, 1..) => exit::FAULTY,
        (0, 0) => exit::CANNOT,
        _ => exit::OK,
    })
}

fn verify(round: &Round, seed: &str, committed: &str) -> Result<Vec<u32>, String> {
    let seed = Seed::from_hex(seed).ok_or("the seed is not 64 hexadecimal digits")?;
    let Round { split, packets, total_cents, min_cents, max_cents, .. } = *round;
    let terms = Terms { split, packets, total_cents, min_cents, max_cents };
    let amounts = terms.split(seed).map_err(|why| why.to_string())?;
    let commitment = terms.commitment(seed);
    if commitment.eq_ignore_ascii_case(committed) {
        Ok(amounts)
    } else {
        Err(format!("the seed and the terms give {commitment}, committed was {committed}"))
    }
}
