//! What every handler may use. The actors come later than the listeners: until the journal has been read the server
//! answers `recovering`, so that a load balancer sees it alive and not ready.

use std::num::NonZeroU32;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::web::{Bytes, Payload};
use governor::clock::Clock as _;
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use serde::de::DeserializeOwned;

use super::auth::{Bearer, Role, Verifier};
use super::body::{self, BodyLimits};
use super::problem::Problem;
use super::workers::Workers;
use crate::actors::{Desk, Readiness, Router, Unavailable};
use crate::config::{Limits, Payments};
use crate::ids::UserId;
use crate::telemetry::Metrics;

/// What every handler may use.
pub struct State {
    /// Checks tokens.
    pub verifier: Verifier,
    /// What `/readyz` tells.
    pub readiness: Readiness,
    /// What `/metrics` shows.
    pub metrics: Arc<Metrics>,
    /// The threads that serve shoppers.
    pub workers: Workers,
    pub(super) limits: Limits,
    payments: Option<Payments>,
    /// Tells this process's request ids from another's.
    pub(super) instance: String,
    actors: OnceLock<(Router, Desk)>,
    refresh: OnceLock<Refresh>,
    quota: Option<DefaultKeyedRateLimiter<UserId>>,
}

/// Brings gauges up to date before a scrape.
type Refresh = Box<dyn Fn(&Metrics) + Send + Sync>;

impl State {
    /// A state without actors: the server answers `recovering`. `instance` tells this process's request ids from
    /// another's.
    #[must_use]
    pub fn new(
        verifier: Verifier,
        readiness: Readiness,
        metrics: Arc<Metrics>,
        limits: Limits,
        payments: Option<Payments>,
        instance: String,
    ) -> Self {
        let quota = NonZeroU32::new(limits.requests_per_user_per_s).map(|rate| {
            let burst = NonZeroU32::new(limits.requests_burst).unwrap_or(NonZeroU32::MIN);
            RateLimiter::keyed(Quota::per_second(rate).allow_burst(burst))
        });
        let (actors, refresh) = (OnceLock::new(), OnceLock::new());
        let workers = Workers::default();
        Self { verifier, readiness, metrics, workers, limits, payments, instance, actors, refresh, quota }
    }

    /// Gives the handlers their actors. `refresh` runs before each scrape of the metrics.
    ///
    /// # Panics
    /// The second time.
    pub fn open(&self, router: Router, desk: Desk, refresh: impl Fn(&Metrics) + Send + Sync + 'static) {
        let first = self.actors.set((router, desk)).is_ok() && self.refresh.set(Box::new(refresh)).is_ok();
        assert!(first, "a process recovers once");
    }

    /// Forgets the users that have not asked for a while: without this a crowd of losers would stay in memory.
    pub fn forget_quiet_users(&self) {
        if let Some(quota) = &self.quota {
            quota.retain_recent();
        }
    }

    /// How payment callbacks are known, where they are taken.
    pub(super) fn payments(&self) -> Option<&Payments> {
        self.payments.as_ref()
    }

    pub(super) fn router(&self) -> Result<&Router, Problem> {
        self.actors.get().map(|(router, _)| router).ok_or_else(|| Problem::unavailable(Unavailable::Recovering))
    }

    pub(super) fn desk(&self) -> Result<&Desk, Problem> {
        self.actors.get().map(|(_, desk)| desk).ok_or_else(|| Problem::unavailable(Unavailable::Recovering))
    }

    pub(super) fn refresh(&self) {
        if let Some(refresh) = self.refresh.get() {
            refresh(&self.metrics);
        }
    }

    /// The shopper who asks, within the quota.
    pub(super) fn shopper(&self, request: &HttpRequest) -> Result<UserId, Problem> {
        let Bearer { user, .. } = self.verifier.bearer(request)?;
        if let Some(quota) = &self.quota
            && let Err(not_until) = quota.check_key(&user)
        {
            let wait = not_until.wait_time_from(governor::clock::DefaultClock::default().now());
            return Err(Problem::rate_limited(wait.as_secs() + 1));
        }
        Ok(user)
    }

    /// An operator or an auditor who only reads.
    pub(super) fn reader(&self, request: &HttpRequest) -> Result<UserId, Problem> {
        let bearer = self.verifier.bearer(request)?;
        match bearer.role {
            Role::Operator | Role::Auditor => Ok(bearer.user),
            Role::Shopper | Role::Merchant => Err(Problem::forbidden("this needs the role operator or auditor")),
        }
    }

    /// An operator who changes something.
    pub(super) fn operator(&self, request: &HttpRequest) -> Result<UserId, Problem> {
        let bearer = self.verifier.bearer(request)?;
        match bearer.role {
            Role::Operator => Ok(bearer.user),
            _ => Err(Problem::forbidden("this needs the role operator")),
        }
    }

    pub(super) fn shopper_body(&self) -> BodyLimits {
        self.body_limits(self.limits.shopper_body_bytes_max)
    }

    pub(super) fn operator_body(&self) -> BodyLimits {
        self.body_limits(self.limits.operator_body_bytes_max)
    }

    pub(super) async fn shopper_bytes(&self, request: &HttpRequest, payload: Payload) -> Result<Bytes, Problem> {
        body::json_bytes(request, payload, self.shopper_body()).await
    }

    pub(super) async fn operator_json<T: DeserializeOwned>(
        &self,
        request: &HttpRequest,
        payload: Payload,
    ) -> Result<T, Problem> {
        body::json(request, payload, self.operator_body()).await
    }

    fn body_limits(&self, bytes_max: usize) -> BodyLimits {
        BodyLimits { bytes_max, timeout: Duration::from_millis(self.limits.body_timeout_ms) }
    }
}
