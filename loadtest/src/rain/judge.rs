//! What the contract allows as an answer to a grab. Every rule here has a planted bug in `tests/` that it must find.

use super::books::Books;
use crate::code::Code;
use crate::ledger::Violation;
use crate::plan::Plan;
use crate::reply::Grab;

/// Refusals that anyone who grabs may meet; `limit_reached` is judged by what its user has.
const GRABBING: &[&str] = &[
    "not_started",
    "ended",
    "paused",
    "activity_closed",
    "blocked",
    "not_eligible",
    "sold_out",
    "rate_limited",
    "overloaded",
    "backlog_full",
    "storage_low",
    "recovering",
    "draining",
];

/// A packet against its round.
pub(super) fn packet(plan: &Plan, books: &Books, grab: &Grab) -> Option<Violation> {
    let Grab { grab_id, activity_id, round, packet, amount_cents, .. } = *grab;
    let wrong = |what: String| Some(Violation::new("contract: a packet is one of its round's", what));
    let Some(of) = books.round(round) else { return wrong(format!("grab {grab_id} is of round {round}")) };
    if activity_id != plan.activity_id {
        wrong(format!("grab {grab_id} is of activity {activity_id}"))
    } else if packet >= of.packets {
        wrong(format!("grab {grab_id} is packet {packet} of {}", of.packets))
    } else if !(of.min_cents..=of.max_cents).contains(&amount_cents) {
        let example = format!("grab {grab_id} holds {amount_cents} cents, of {} to {}", of.min_cents, of.max_cents);
        Some(Violation::new("M2: a packet is within its bounds", example))
    } else {
        None
    }
}

/// When a new grab may be granted.
pub(super) fn fresh(books: &Books, grab: &Grab, ended_before: bool, from_ms: u64, to_ms: u64) -> Option<Violation> {
    let Grab { grab_id, round, .. } = *grab;
    let wrong = |what: &str| {
        Some(Violation::new("U4: nothing is granted outside the window", format!("grab {grab_id} {what}")))
    };
    if ended_before {
        wrong("was granted after someone had been told `ended`")
    } else if books.round(round).is_some_and(|of| !books.may_run(of, from_ms, to_ms)) {
        wrong("was granted while its round did not run")
    } else {
        None
    }
}

/// A refusal to grant a packet.
pub(super) fn refusal(code: Code) -> Option<Violation> {
    (!code.is_any(GRABBING)).then(|| {
        let example = format!("a grab was refused with `{}`", code.name());
        Violation::new("contract: refusals and their precedence", example)
    })
}
