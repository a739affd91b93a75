//! Who may see and do what on this listener: operators everything, auditors every GET, and merchants what is about their
//! own packets. Another shop's packets are not there for them.

use actix_web::HttpRequest;

use crate::actors::router::Whose;
use crate::http::auth::{Bearer, Role};
use crate::http::problem::Problem;
use crate::http::state::State;
use crate::ids::{ActivityId, UserId};

/// Somebody who may do what a route does, at least with activities of their own.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    /// Who.
    pub user: UserId,
    /// Whose activities they may do it with.
    pub with: Whose,
}

/// Somebody who only reads.
///
/// # Errors
/// `unauthenticated`, `forbidden`.
pub fn reader(request: &HttpRequest, state: &State) -> Result<Caller, Problem> {
    let Bearer { user, role } = state.verifier.bearer(request)?;
    match role {
        Role::Operator | Role::Auditor => Ok(Caller { user, with: Whose::All }),
        Role::Merchant => Ok(Caller { user, with: Whose::Shop(user) }),
        Role::Shopper => Err(Problem::forbidden("this needs the role operator, auditor or merchant")),
    }
}

/// Somebody who changes what operators, and merchants of their own packets, may change.
///
/// # Errors
/// `unauthenticated`, `forbidden`.
pub fn owner(request: &HttpRequest, state: &State) -> Result<Caller, Problem> {
    let Bearer { user, role } = state.verifier.bearer(request)?;
    match role {
        Role::Operator => Ok(Caller { user, with: Whose::All }),
        Role::Merchant => Ok(Caller { user, with: Whose::Shop(user) }),
        Role::Shopper | Role::Auditor => Err(Problem::forbidden("this needs the role operator or merchant")),
    }
}

impl Caller {
    /// Holds the caller to activities that are theirs.
    ///
    /// # Errors
    /// `forbidden` for what is no shop's; `activity_not_found` for another shop's, and for what is not there; `recovering`.
    pub fn may(&self, state: &State, activity_id: ActivityId) -> Result<(), Problem> {
        let Whose::Shop(merchant) = self.with else { return Ok(()) };
        match state.router()?.shop_of(activity_id) {
            Some(Some(shop)) if shop.merchant == merchant => Ok(()),
            Some(None) => Err(Problem::forbidden("a merchant is shown its own red packets only")),
            Some(Some(_)) | None => Err(Problem::activity_not_found()),
        }
    }
}
