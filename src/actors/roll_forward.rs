//! Carrying on what a crash left half spread: an activity of which only some parts were defined, a change that only some
//! parts had followed. The home's events stand before those of the other parts, so the home says what should be.

use crate::domain::command::{Command, Stamped};
use crate::domain::event::{ActivityDefined, Author, Change};
use crate::domain::{Entry, Event, Part, Sale, Sales};
use crate::ids::{Seq, UnixMillis};
use crate::persist::{Handle, Submission};

use super::ack::Ack;

/// Brings every part in line with its home, in memory and in the journal. Nothing is asked of them before.
pub(super) fn roll_forward(sales: &mut Sales, journal: &Handle<Ack>, now_ms: UnixMillis) {
    for entry in behind(sales, now_ms.max(sales.last_at_ms())) {
        tracing::info!(shard = %entry.shard, "a part of an activity is brought in line with its home");
        sales.take(Seq(0), &entry).expect("what follows from the home follows on the events before it");
        let submission = Submission { entries: [entry].into_iter().collect(), ack: Ack::Nobody };
        // Where the writer is gone the journal has failed, and the process stops.
        let _stopped = journal.submit(submission);
    }
}

/// What the parts lack.
pub(super) fn behind(sales: &Sales, at_ms: UnixMillis) -> Vec<Entry> {
    let mut entries = Vec::new();
    for standing in sales.standing().values().filter(|standing| standing.shards > 1) {
        let home = sales.get(standing.home).expect("a home is defined before the other parts");
        for number in 1..standing.shards {
            let part = Part { number, ..home.part() };
            match sales.get(part.shard(number)) {
                None => entries.push(defined(home, part, at_ms)),
                Some(sale) => entries.extend(followed(home, sale, at_ms)),
            }
        }
    }
    entries
}

fn defined(home: &Sale, part: Part, at_ms: UnixMillis) -> Entry {
    let first = ActivityDefined {
        activity_id: home.activity_id(),
        definition: home.definition().clone(),
        from_catalog: false,
        change: Change { change_id: home.last_change_id(), by: Author::StartUp, key: None },
        part: Some(part),
    };
    Entry { shard: part.shard(part.number), at_ms, event: Event::ActivityDefined(Box::new(first)) }
}

fn followed(home: &Sale, sale: &Sale, at_ms: UnixMillis) -> Option<Entry> {
    let command = Command::FollowHome(Box::new(home.control()));
    let decision = sale.decide(&Stamped { at_ms, command }).expect("following is never refused");
    decision.events.into_iter().next().map(|event| Entry { shard: sale.shard(), at_ms, event })
}
