//! `doorbuster verify-split`: works out again, from what is public alone, what each packet of a round held: the activity
//! as `GET /v1/activities/ID` told it after the round, and the commitment that somebody noted before it.

use std::io::{self, Write};
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

/// A user's grabs, as the user is told of them.
#[derive(Deserialize)]
struct Grabs {
    grabs: Vec<Grab>,
}

#[derive(Deserialize)]
struct Grab {
    grab_id: String,
    round: u32,
    packet: usize,
    amount_cents: u64,
}

/// What is to be verified.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// The file with what was told; `-` for the standard input.
    pub activity: &'a Path,
    /// Only this round.
    pub round: Option<u32>,
    /// The commitment that was noted before the round started; of one round only.
    pub commitment: Option<&'a str>,
    /// The file with a user's grabs, as the server told them.
    pub grabs: Option<&'a Path>,
}

/// Prints each packet's amount as a JSON line, and to `told` how each round went. Gives the exit code: 0 where every round
/// that is over is as it was committed to, and every grab is what its packet held; 1 where one is not; 2 where nothing could
/// be verified.
///
/// # Errors
/// Where nothing can be read or written.
pub fn run(ask: Ask<'_>, out: &mut impl Write, told: &mut impl Write) -> io::Result<u8> {
    let read = |path: &Path| match path == Path::new("-") {
        true => io::read_to_string(io::stdin()),
        false => std::fs::read_to_string(path)
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display()))),
    };
    let activity: Told = match serde_json::from_str(&read(ask.activity)?) {
        Ok(activity) => activity,
        Err(error) => {
            writeln!(told, "doorbuster: verify-split: this is no activity of red packets: {error}")?;
            return Ok(exit::CANNOT);
        }
    };
    let mut grabs = match ask.grabs.map(read).transpose()?.map(|text| serde_json::from_str(&text)).transpose() {
        Ok(grabs) => grabs.map_or_else(Vec::new, |Grabs { grabs }| grabs),
        Err(error) => {
            writeln!(told, "doorbuster: verify-split: these are no grabs: {error}")?;
            return Ok(exit::CANNOT);
        }
    };
    let (mut verified, mut differ) = (0, 0);
    let wanted = |round: &&Round| ask.round.is_none_or(|number| number == round.round);
    let rounds: Vec<&Round> = activity.rounds.iter().filter(wanted).collect();
    if ask.commitment.is_some() && rounds.len() > 1 {
        writeln!(told, "doorbuster: verify-split: a commitment is of one round; say which with --round")?;
        return Ok(exit::CANNOT);
    }
    for round in rounds {
        let number = round.round;
        let Some(seed) = round.seed.as_deref() else {
            writeln!(told, "round {number}: is not over, its seed is not public yet")?;
            continue;
        };
        let amounts = match verify(round, seed, ask.commitment.unwrap_or(&round.commitment)) {
            Ok(amounts) => amounts,
            Err(why) => {
                differ += 1;
                writeln!(told, "round {number}: NOT as committed: {why}")?;
                continue;
            }
        };
        verified += 1;
        for (packet, cents) in amounts.iter().enumerate() {
            writeln!(out, "{{\"round\":{number},\"packet\":{packet},\"amount_cents\":{cents}}}")?;
        }
        let (packets, total) = (round.packets, round.total_cents);
        writeln!(told, "round {number}: as committed: {packets} packets, {total} cents together")?;
        for grab in grabs.extract_if(.., |grab| grab.round == number) {
            let Grab { grab_id, packet, amount_cents, .. } = grab;
            match amounts.get(packet).map(|cents| u64::from(*cents)) {
                Some(held) if held == amount_cents => {
                    writeln!(told, "grab {grab_id}: packet {packet} held {held} cents, as it was given")?;
                }
                held => {
                    differ += 1;
                    let held = held.map_or_else(|| "is none".to_owned(), |held| format!("held {held} cents"));
                    writeln!(told, "grab {grab_id}: packet {packet} {held}, and {amount_cents} were given")?;
                }
            }
        }
    }
    for Grab { grab_id, round, .. } in grabs {
        writeln!(told, "grab {grab_id}: of round {round}, which was not verified")?;
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
