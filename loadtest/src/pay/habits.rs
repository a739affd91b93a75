//! Who pays how: shares of the accepted orders, and for each order the steps that follow, with their hours. Everything
//! follows from the seed and the order's owner.

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::{Result, ensure};

/// An owner pays within this time, where the hold lasts longer.
const IN_TIME_MS_MAX: u64 = 300;
/// Late payments come within this time after the hold ran out.
const LATE_MS_MAX: u64 = 1_500;
/// Some come at the very end of it, this much before or after.
const EDGE_MS: u64 = 60;
/// Owners look at their order so long after the last thing that they did.
const LOOK_MS_MAX: u64 = 500;

/// Shares of the accepted orders, each from 0 to 1, together at most 1. The rest pays in time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PayShares {
    /// Pay when the hold has run out. Where it lasts too long to be waited for, they never pay.
    pub late: f64,
    /// Pay, and pay again with another payment.
    pub twice: f64,
    /// Cancel; half of them pay all the same, before, after or at once.
    pub cancel: f64,
    /// The same callback comes several times at once, and once more later.
    pub at_once: f64,
    /// A callback with a wrong signature comes first.
    pub forged: f64,
    /// A callback that was signed too long ago comes first.
    pub stale: f64,
    /// A wrong amount or currency comes first, then the right payment.
    pub mismatched: f64,
    /// A payment for an order that never was comes as well.
    pub astray: f64,
    /// The payment's id comes again, for another order or with another amount.
    pub reused: f64,
    /// Never pay.
    pub never: f64,
}

impl Default for PayShares {
    fn default() -> Self {
        Self {
            late: 0.3,
            twice: 0.1,
            cancel: 0.2,
            at_once: 0.06,
            forged: 0.04,
            stale: 0.03,
            mismatched: 0.06,
            astray: 0.03,
            reused: 0.04,
            never: 0.04,
        }
    }
}

impl PayShares {
    fn all(&self) -> [(&'static str, f64); 10] {
        [
            ("late", self.late),
            ("twice", self.twice),
            ("cancel", self.cancel),
            ("at-once", self.at_once),
            ("forged", self.forged),
            ("stale", self.stale),
            ("mismatched", self.mismatched),
            ("astray", self.astray),
            ("reused", self.reused),
            ("never", self.never),
        ]
    }

    pub(crate) fn check(&self) -> Result<()> {
        for (name, share) in self.all() {
            ensure!(
                (0.0..=1.0).contains(&share),
                "the share `{name}` of those who pay must be from 0 to 1, not {share}"
            );
        }
        let sum: f64 = self.all().iter().map(|(_, share)| share).sum();
        ensure!(sum <= 1.0 + 1e-9, "the shares of those who pay in some way add up to {sum}, which is more than 1");
        Ok(())
    }

    /// The habit in whose share `at` falls.
    fn habit(&self, at: f64) -> &'static str {
        let mut end = 0.0;
        for (name, share) in self.all() {
            end += share;
            if at < end {
                return name;
            }
        }
        "in-time"
    }
}

/// One thing that an order's owner, or the payment provider, does. A payment is named by its place among the order's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Pay(usize),
    /// The same callback, so many times at once.
    PayAtOnce(usize, usize),
    Forged(usize),
    Stale(usize),
    WrongAmount(usize),
    WrongCurrency(usize),
    Astray(usize),
    /// The payment's id again, for another order.
    OtherOrder(usize),
    /// The payment's id again, with another amount.
    OtherAmount(usize),
    Cancel,
    /// A payment and a cancel at once.
    Race(usize),
    Look,
}

/// When a step is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// So many milliseconds after the one before.
    Then(u64),
    /// So many milliseconds after an instant a little before the hold runs out.
    Expiry(u64),
}

impl When {
    /// The instant in Unix milliseconds.
    pub(crate) fn due_ms(self, now_ms: u64, expires_at_ms: u64) -> u64 {
        match self {
            Self::Then(ms) => now_ms + ms,
            Self::Expiry(ms) => (expires_at_ms + ms).saturating_sub(EDGE_MS).max(now_ms),
        }
    }
}

pub(crate) type Script = VecDeque<(When, Step)>;

/// What becomes of an order whose hold runs out in `left`.
pub(crate) fn script(dice: &mut fastrand::Rng, shares: &PayShares, left: Duration, patience: Duration) -> Script {
    use Step::{Astray, Cancel, Forged, Look, OtherAmount, OtherOrder, Pay, PayAtOnce, Race, Stale};
    let habit = shares.habit(dice.f64());
    let left_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
    let soon = When::Then(dice.u64(0..=IN_TIME_MS_MAX.min(left_ms / 4)));
    let later = When::Then(dice.u64(0..200));
    let edge = if dice.u32(0..4) == 0 { dice.u64(0..2 * EDGE_MS) } else { dice.u64(2 * EDGE_MS..LATE_MS_MAX) };
    let (late, other) = (When::Expiry(edge), dice.u32(0..4));
    let steps = match habit {
        "late" if left > patience => vec![],
        // Those who were told that the order has expired may try again; the units may have come back.
        "late" if other == 0 => vec![(late, Pay(0)), (later, Pay(1))],
        "late" if other == 1 => vec![(late, PayAtOnce(0, 3))],
        "late" => vec![(late, Pay(0))],
        "twice" => vec![(soon, Pay(0)), (later, Pay(1)), (later, Pay(0))],
        "cancel" if other == 0 => vec![(soon, Race(0))],
        "cancel" if other == 1 => vec![(soon, Cancel), (later, Pay(0)), (later, Cancel)],
        "cancel" if other == 2 => vec![(soon, Cancel), (later, Cancel)],
        "cancel" => vec![(soon, Cancel)],
        "at-once" => vec![(soon, PayAtOnce(0, 4)), (later, Pay(0)), (later, Cancel)],
        "forged" => vec![(soon, Forged(0)), (When::Then(0), Pay(0))],
        "stale" => vec![(soon, Stale(0)), (When::Then(0), Pay(0))],
        "mismatched" => {
            let wrong = if dice.bool() { Step::WrongAmount(0) } else { Step::WrongCurrency(0) };
            vec![(soon, wrong), (When::Then(0), Pay(1)), (later, wrong)]
        }
        "astray" => vec![(soon, Astray(0)), (When::Then(0), Pay(1)), (later, Astray(0))],
        "reused" => {
            let again = if dice.bool() { OtherOrder(0) } else { OtherAmount(0) };
            vec![(soon, Pay(0)), (later, again), (later, Pay(0))]
        }
        "never" => vec![],
        _ => vec![(soon, Pay(0))],
    };
    let look = When::Then(dice.u64(0..LOOK_MS_MAX));
    steps.into_iter().chain([(look, Look)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scripts(seed: u64, left_s: u64, count: usize) -> Vec<Script> {
        let mut dice = fastrand::Rng::with_seed(seed);
        let (left, patience) = (Duration::from_secs(left_s), Duration::from_secs(30));
        (0..count).map(|_| script(&mut dice, &PayShares::default(), left, patience)).collect()
    }

    #[test]
    fn the_seed_decides_and_each_habit_comes_in_its_share() {
        let all = scripts(7, 2, 10_000);
        assert_eq!(all, scripts(7, 2, 10_000));
        assert_ne!(all, scripts(8, 2, 10_000));
        let share = |what: &dyn Fn(&Script) -> bool| all.iter().filter(|script| what(script)).count();
        let late = share(&|script| matches!(script[0].0, When::Expiry(_)));
        assert!((2_800..3_200).contains(&late), "{late} late of 3000");
        let cancelled = share(&|script| matches!(script[0].1, Step::Cancel | Step::Race(_)));
        assert!((1_850..2_150).contains(&cancelled), "{cancelled} cancel of 2000");
        let never = share(&|script| script.len() == 1);
        assert!((300..500).contains(&never), "{never} never pay of 400");
        for wanted in [Step::Forged(0), Step::Stale(0), Step::WrongAmount(0), Step::WrongCurrency(0)] {
            assert!(share(&|script| script[0].1 == wanted) > 50, "{wanted:?}");
        }
    }

    #[test]
    fn whoever_pays_in_time_does_so_early_in_the_hold_and_the_late_come_around_its_end_and_after() {
        for script in scripts(1, 2, 10_000) {
            match script[0].0 {
                When::Then(ms) => assert!(ms <= 1_000),
                When::Expiry(ms) => {
                    let due = script[0].0.due_ms(0, 2_000);
                    assert!((2_000 - EDGE_MS..2_000 + LATE_MS_MAX).contains(&due), "{ms}");
                }
            }
        }
    }

    #[test]
    fn nobody_waits_for_a_hold_that_lasts_too_long() {
        assert!(scripts(1, 300, 1_000).iter().flatten().all(|(when, _)| matches!(when, When::Then(_))));
    }

    #[test]
    fn shares_beyond_the_whole_are_refused() {
        assert!(PayShares::default().check().is_ok());
        assert!(PayShares { late: 0.9, ..PayShares::default() }.check().is_err());
        assert!(PayShares { late: -0.1, ..PayShares::default() }.check().is_err());
    }
}
