//! What the whole crowd knows of a rain: its rounds, as they stood before anybody came, and which packet was told to whom,
//! so that a packet promised to two users is noticed the moment the second hears of it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::outcome::{Counts, Sums};
use super::split;
use crate::ledger::Violation;
use crate::pay::skew_ms;
use crate::plan::Plan;
use crate::reply::Grab;
use crate::token::unix_ms;

/// How long anybody waits for a round to start.
const START_WAIT_MAX: Duration = Duration::from_secs(60);

/// A round, as the activity tells of it.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Round {
    pub(super) round: usize,
    pub(super) starts_at_ms: u64,
    pub(super) ends_at_ms: u64,
    pub(super) total_cents: u64,
    pub(super) packets: u32,
    pub(super) split: String,
    pub(super) min_cents: u64,
    pub(super) max_cents: u64,
    pub(super) commitment: Option<String>,
    pub(super) seed: Option<String>,
}

/// Shared by all threads; locked only when somebody was told of a packet.
pub(crate) struct Books {
    pub(super) rounds: Vec<Round>,
    /// What had been granted before the crowd came.
    pub(super) before: Vec<Counts>,
    skew_ms: u64,
    told: Mutex<Told>,
    /// How often somebody heard `sold_out`, by round.
    sold_out: Vec<AtomicU64>,
    /// Users of whom nobody knows what they have, because no answer came.
    unknown: AtomicU64,
}

#[derive(Default)]
struct Told {
    packets: HashMap<(usize, u32), Packet>,
    grabs: HashMap<u64, (usize, u32)>,
}

#[derive(Clone, Copy)]
struct Packet {
    grab_id: u64,
    user_id: u64,
    amount_cents: u64,
}

impl Books {
    /// The books of a rain that nobody has come to, of the activity as a shopper's page shows it.
    ///
    /// # Errors
    /// Where it is no rain, or none that starts soon.
    pub(crate) fn of(plan: &Plan, activity: &[u8]) -> Result<Self> {
        let rounds = rounds(plan, activity)?;
        let now_ms = unix_ms();
        let next = rounds.iter().find(|round| round.ends_at_ms > now_ms);
        let next = next.with_context(|| format!("all rounds of activity {} are over", plan.activity_id))?;
        let wait = Duration::from_millis(next.starts_at_ms.saturating_sub(now_ms));
        ensure!(wait <= START_WAIT_MAX, "round {} starts in {} s: come back then", next.round, wait.as_secs());
        let sold_out = rounds.iter().map(|_| AtomicU64::new(0)).collect();
        let (skew_ms, unknown) = (skew_ms(plan), AtomicU64::new(0));
        Ok(Self { rounds, before: Vec::new(), skew_ms, told: Mutex::default(), sold_out, unknown })
    }

    /// Notes what had been granted before.
    pub(crate) fn before(&mut self, counts: Vec<Counts>) {
        self.before = counts;
    }

    /// Waits until the next round starts.
    pub(crate) async fn wait_for_start(&self) {
        let now_ms = unix_ms();
        let starts_at_ms = self.next_round(now_ms).map_or(0, |round| round.starts_at_ms);
        tokio::time::sleep(Duration::from_millis(starts_at_ms.saturating_sub(now_ms))).await;
    }

    /// Whether a round is about to start: clocks are not quite the same.
    pub(super) fn is_about_to_start(&self) -> bool {
        let now_ms = unix_ms();
        self.next_round(now_ms).is_some_and(|round| round.starts_at_ms < now_ms + self.skew_ms)
    }

    fn next_round(&self, now_ms: u64) -> Option<&Round> {
        self.rounds.iter().find(|round| round.ends_at_ms > now_ms)
    }

    pub(super) fn round(&self, round: usize) -> Option<&Round> {
        self.rounds.iter().find(|known| known.round == round)
    }

    /// Whether a round may have run at some instant between the two.
    pub(super) fn may_run(&self, round: &Round, from_ms: u64, to_ms: u64) -> bool {
        round.starts_at_ms <= to_ms + self.skew_ms && round.ends_at_ms + self.skew_ms > from_ms
    }

    /// The round that ran between the two instants, where there is no doubt.
    pub(super) fn round_in(&self, from_ms: u64, to_ms: u64) -> Option<usize> {
        let mut may = self.rounds.iter().filter(|round| self.may_run(round, from_ms, to_ms));
        may.next().filter(|_| may.next().is_none()).map(|round| round.round)
    }

    /// Somebody heard `sold_out`.
    pub(super) fn note_sold_out(&self, from_ms: u64, to_ms: u64) {
        if let Some(count) = self.round_in(from_ms, to_ms).and_then(|round| self.sold_out.get(round)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn heard_sold_out(&self, round: usize) -> u64 {
        self.sold_out.get(round).map_or(0, |count| count.load(Ordering::Relaxed))
    }

    /// Of one more user nobody knows what they have.
    pub(super) fn note_unknown(&self) {
        self.unknown.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn unknown(&self) -> u64 {
        self.unknown.load(Ordering::Relaxed)
    }

    /// Books a packet that a user was told is theirs.
    pub(super) fn book(&self, user_id: u64, grab: &Grab) -> Vec<Violation> {
        let Grab { grab_id, round, packet, amount_cents, .. } = *grab;
        let mut found = Vec::new();
        let mut told = self.told();
        match told.grabs.entry(grab_id) {
            Entry::Vacant(place) => _ = place.insert((round, packet)),
            Entry::Occupied(known) if *known.get() != (round, packet) => found.push(Violation::new(
                "U2: grab ids are unique",
                format!("grab {grab_id} is of {:?} and of {:?} (round, packet)", known.get(), (round, packet)),
            )),
            Entry::Occupied(_) => {}
        }
        match told.packets.entry((round, packet)) {
            Entry::Vacant(place) => _ = place.insert(Packet { grab_id, user_id, amount_cents }),
            Entry::Occupied(known) => {
                let known = known.get();
                if (known.grab_id, known.user_id) != (grab_id, user_id) {
                    let example = format!(
                        "packet {packet} of round {round} was granted to user {} (grab {}) and to user {user_id} (grab {grab_id})",
                        known.user_id, known.grab_id
                    );
                    found.push(Violation::new("S2: no packet is granted twice", example));
                } else if known.amount_cents != amount_cents {
                    let example = format!("grab {grab_id} held {} cents, now {amount_cents}", known.amount_cents);
                    found.push(Violation::new(super::RULE_AMOUNT, example));
                }
            }
        }
        found
    }

    /// What the crowd was told of a round, in all.
    pub(super) fn sums(&self, round: usize) -> Sums {
        let told = self.told();
        let mine = told.packets.iter().filter(|((of, _), _)| *of == round);
        mine.fold(Sums::default(), |sum, (_, packet)| sum.and(Sums { packets: 1, cents: packet.amount_cents }))
    }

    /// Holds every packet of a round against its seed, which is public now, and the seed against what was promised before.
    pub(super) fn verify(&self, before: &Round, now: &Round) -> Vec<Violation> {
        let of = |rule, example: String| vec![Violation::new(rule, format!("round {}: {example}", before.round))];
        let (Some(promised), Some(seed)) = (&before.commitment, &now.seed) else {
            return of(super::RULE_PROMISE, "there is no commitment before it, or no seed after it".to_owned());
        };
        let amounts = match split::amounts(before, seed, promised) {
            Ok(amounts) => amounts,
            Err(why) => return of(super::RULE_PROMISE, why),
        };
        let told = self.told();
        let mine = told.packets.iter().filter(|((round, _), _)| *round == before.round);
        let mut found = Vec::new();
        for ((_, packet), told) in mine {
            let holds = usize::try_from(*packet).ok().and_then(|packet| amounts.get(packet));
            if holds != Some(&told.amount_cents) {
                let example = format!("grab {}, packet {packet}, told {} cents", told.grab_id, told.amount_cents);
                found.extend(of(super::RULE_AMOUNT, format!("{example}, the seed gives {holds:?}")));
            }
        }
        found
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads an activity's rounds.
pub(super) fn rounds(plan: &Plan, activity: &[u8]) -> Result<Vec<Round>> {
    #[derive(Deserialize)]
    struct Activity {
        kind: String,
        #[serde(default)]
        rounds: Vec<Round>,
    }
    let id = plan.activity_id;
    let Activity { kind, rounds } =
        serde_json::from_slice(activity).with_context(|| format!("activity {id} is not what the contract says"))?;
    ensure!(kind == "red_packet", "activity {id} is a {kind}, not a red_packet");
    ensure!(rounds.iter().enumerate().all(|(place, round)| place == round.round), "its rounds have other numbers");
    Ok(rounds)
}
