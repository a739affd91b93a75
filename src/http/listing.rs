//! Lists of activities, a page at a time: the same for both listeners.

use actix_web::HttpRequest;
use serde::Deserialize;

use super::problem::Problem;
use super::query::{id, page_limit, params};
use super::state::State;
use crate::actors::router::{Listing, Whose};
use crate::domain::Phase;
use crate::ids::ActivityId;

/// The lists' parameters.
#[derive(Deserialize)]
struct Wanted {
    kind: Option<Kind>,
    state: Option<ListState>,
    limit: Option<usize>,
    cursor: Option<String>,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum Kind {
    FlashSale,
    RedPacket,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ListState {
    Scheduled,
    Running,
    Paused,
    Ended,
}

impl ListState {
    fn phase(self) -> Phase {
        match self {
            Self::Scheduled => Phase::Scheduled,
            Self::Running => Phase::Running,
            Self::Paused => Phase::Paused,
            Self::Ended => Phase::Ended,
        }
    }
}

/// A page of activities of `whose`: those that the request wants, and where the next page starts.
///
/// # Errors
/// `malformed_request`; `recovering`.
pub fn page(request: &HttpRequest, state: &State, whose: Whose) -> Result<(Vec<Listing>, Option<String>), Problem> {
    let wanted: Wanted = params(request)?;
    let limit = page_limit(wanted.limit)?;
    let after = match &wanted.cursor {
        Some(cursor) => id("cursor", cursor)?,
        None => ActivityId(0),
    };
    let router = state.router()?;
    let fits = |listing: &Listing| {
        let packets = listing.definition.packets.as_deref();
        wanted.kind.is_none_or(|kind| (kind == Kind::RedPacket) == packets.is_some())
            && wanted.state.is_none_or(|state| state.phase() == listing.phase)
    };
    // One more than the page holds tells whether another page follows.
    let mut found = router.list(whose, after, fits, limit + 1);
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| more).map(|listing| listing.activity_id.to_string());
    Ok((found, next))
}
