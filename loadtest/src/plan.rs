//! What a crowd is told to do: whom to ask, how many, how often, and who misbehaves in which way.
//!
//! A plan is plain data with defaults that suit a local server; [`Plan::check`] names what is wrong with it. Nothing here
//! talks to anyone.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::pay::PayShares;

/// The largest number of connections, so that a slip of the finger does not use up every file descriptor.
pub const CONNECTIONS_MAX: usize = 20_000;

/// Everything one run needs. Start from [`Plan::new`] and change what differs.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The shopper listener.
    pub target: SocketAddr,
    /// Allows a target that is not on this machine: the caller says that it is theirs to load.
    pub owns_target: bool,
    /// The flash sale to buy out, or the rain to stand under.
    pub activity_id: u64,
    /// The SKUs to ask for, spread evenly; empty means every SKU of the activity.
    pub sku_ids: Vec<String>,
    /// How tokens are signed.
    pub auth: Auth,
    /// Distinct shoppers, each of whom places one order, or wants one packet. Repeats, polls, cancels and latecomers come on top.
    pub attempts: u64,
    /// Keep-alive connections, over all threads.
    pub connections: usize,
    /// Threads, each with its share of the connections. One suffices for some 100,000 requests a second.
    pub threads: usize,
    /// Open or closed loop.
    pub mode: Mode,
    /// Decides every random choice, and who the shoppers are.
    pub seed: u64,
    /// The first shopper's user id; `None` derives a range from the seed that other seeds do not share.
    pub first_user: Option<u64>,
    /// These shoppers may have been here before, so a first ask may be replayed or refused with `limit_reached`.
    pub returning: bool,
    /// The activity's `per_user_limit`, which the contract does not publish: a user above it is a violation.
    pub per_user_limit: u32,
    /// Quantities asked for, each with its weight.
    pub quantities: Vec<(u32, u32)>,
    /// Who does what.
    pub shares: Shares,
    /// How long one request may take before its connection is given up.
    pub timeout: Duration,
    /// How long one request is asked again, with the same key, while the server is away; zero means not at all.
    pub ride_out: Duration,
    /// The winners pay, and an operator reconciles; the sale is this crowd's alone. `None`: nobody pays.
    pub pay: Option<Pay>,
    /// The activity is a rain of red packets, of which each shopper wants one. `None`: it is a sale.
    pub rain: Option<Rain>,
    /// Where acknowledgements are logged.
    pub acks: Option<AcksFile>,
}

/// How the shoppers' tokens are signed (HS256), matching the server's `[auth]`.
#[derive(Clone)]
pub struct Auth {
    /// The shared secret.
    pub secret: String,
    /// The `iss` claim.
    pub issuer: String,
    /// The `aud` claim.
    pub audience: String,
}

/// How the winners pay.
#[derive(Clone)]
pub struct Pay {
    /// The secret that signs callbacks, as in the server's `[payments]`.
    pub secret: String,
    /// The operator listener.
    pub operator: SocketAddr,
    /// The activity's currency, which the contract does not publish.
    pub currency: String,
    /// Who pays how.
    pub shares: PayShares,
}

impl Pay {
    /// Winners who pay in every way, at a server with its operator listener on 127.0.0.1:8081, in CNY.
    #[must_use]
    pub fn new(secret: impl Into<String>) -> Self {
        let operator = SocketAddr::from((Ipv4Addr::LOCALHOST, 8081));
        Self { secret: secret.into(), operator, currency: "CNY".into(), shares: PayShares::default() }
    }
}

/// A rain of red packets, which is this crowd's alone, and whoever looks after it.
#[derive(Clone, Copy, Debug)]
pub struct Rain {
    /// The operator listener, which tells what was granted and refunded.
    pub operator: SocketAddr,
    /// When everybody has asked, the operator closes the activity, which ends its rounds. Otherwise the crowd waits for
    /// the end of each round that has begun and ends soon.
    pub close: bool,
}

impl std::fmt::Debug for Pay {
    /// Leaves the secret out.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { operator, currency, shares, .. } = self;
        let mut all = f.debug_struct("Pay");
        all.field("operator", operator).field("currency", currency).field("shares", shares).finish_non_exhaustive()
    }
}

/// When requests are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mode {
    /// Every connection asks again as soon as it has its answer; latency is from sending.
    Closed,
    /// Requests are due on a fixed schedule whether or not the server keeps up; latency is from the instant a request
    /// was due, so that a stall is charged to everyone who had to wait for it (no coordinated omission).
    Open {
        /// Requests a second, repeats and polls included.
        rate: f64,
    },
}

/// Shares of the shoppers, each from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shares {
    /// Send an `Idempotency-Key`.
    pub key: f64,
    /// Click twice: the same keyed request at once on two connections.
    pub double_click: f64,
    /// Ask again with the same key and body (without a key: simply again).
    pub repeat: f64,
    /// Ask again without the key.
    pub repeat_without_key: f64,
    /// Ask again with the same key and another body.
    pub other_body: f64,
    /// Poll for the result; under a rain, look at their own packets.
    pub poll: f64,
    /// Cancel what they got.
    pub cancel: f64,
    /// Shoppers who come when the rush is over, as a share of the attempts, on top of them.
    pub latecomers: f64,
    /// Winners who come back when the rush is over, repeat their key and poll.
    pub revisit: f64,
}

/// A log of acknowledgements for `doorbuster audit --acks`.
#[derive(Clone, Debug)]
pub struct AcksFile {
    /// The file.
    pub path: PathBuf,
    /// Append to it; otherwise a file with lines in it is refused, because they are of another run.
    pub append: bool,
}

impl Plan {
    /// A plan with defaults: 50,000 shoppers on 256 connections to 127.0.0.1:8080, closed loop.
    #[must_use]
    pub fn new(activity_id: u64, secret: impl Into<String>) -> Self {
        Self {
            target: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            owns_target: false,
            activity_id,
            sku_ids: Vec::new(),
            auth: Auth { secret: secret.into(), issuer: "doorbuster".into(), audience: "doorbuster".into() },
            attempts: 50_000,
            connections: 256,
            threads: 1,
            mode: Mode::Closed,
            seed: 1,
            first_user: None,
            returning: false,
            per_user_limit: 1,
            quantities: vec![(1, 1)],
            shares: Shares::default(),
            timeout: Duration::from_secs(10),
            ride_out: Duration::ZERO,
            pay: None,
            rain: None,
            acks: None,
        }
    }

    /// Refuses a plan that cannot be carried out or must not be.
    ///
    /// # Errors
    /// Says which setting is wrong and what to do.
    pub fn check(&self) -> Result<()> {
        let operators = [self.pay.as_ref().map(|pay| pay.operator), self.rain.map(|rain| rain.operator)];
        for host in [self.target].into_iter().chain(operators.into_iter().flatten()) {
            ensure!(
                self.owns_target || host.ip().is_loopback(),
                "{host} is not on this machine; a crowd may only be sent to a host of your own: say --i-own-this-host"
            );
        }
        if self.rain.is_some() {
            ensure!(self.pay.is_none(), "red packets cost nothing: nobody pays for them");
            ensure!(self.sku_ids.is_empty(), "red packets have no SKUs");
            ensure!(self.shares.cancel <= 0.0, "what was grabbed is final: nobody cancels it");
        }
        ensure!(self.activity_id > 0, "the activity id must be above 0");
        ensure!(!self.auth.secret.is_empty(), "the secret is empty: give the server's [auth] secret");
        ensure!(self.attempts > 0, "attempts must be above 0");
        ensure!(
            (1..=CONNECTIONS_MAX).contains(&self.connections),
            "connections must be from 1 to {CONNECTIONS_MAX}, not {}",
            self.connections
        );
        ensure!(
            (1..=self.connections).contains(&self.threads),
            "threads must be from 1 to the number of connections, not {}",
            self.threads
        );
        if let Mode::Open { rate } = self.mode {
            ensure!(rate.is_finite() && rate > 0.0, "the rate must be above 0 requests a second");
        }
        ensure!(!self.timeout.is_zero(), "the time-out must be above 0");
        ensure!(
            self.quantities.iter().any(|(quantity, weight)| *quantity > 0 && *weight > 0),
            "quantities need at least one quantity above 0 with a weight above 0"
        );
        ensure!(self.quantities.iter().all(|(quantity, _)| *quantity > 0), "a quantity must be above 0");
        if let Some(pay) = &self.pay {
            ensure!(
                !pay.secret.is_empty(),
                "the secret of the callbacks is empty: give the server's [payments] secret"
            );
            let plain =
                (3..=8).contains(&pay.currency.len()) && pay.currency.bytes().all(|b| b.is_ascii_alphanumeric());
            ensure!(plain, "the currency must be a code such as CNY, not {}", pay.currency);
            ensure!(!self.returning, "users who were here before may have paid: a crowd that pays must be a new one");
            pay.shares.check()?;
        }
        self.shares.check()
    }

    /// The first shopper's user id; see [`Plan::first_user`].
    #[must_use]
    pub fn first_user_id(&self) -> u64 {
        // 31 bits of the seed's hash above 20 bits of shoppers: distinct seeds rarely meet, and every id stays below
        // 2^53, which every JSON reader keeps exactly.
        self.first_user.unwrap_or_else(|| ((fastrand::Rng::with_seed(self.seed).u64(..) >> 33) << 20) + 1)
    }

    /// How many shoppers come when the rush is over.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a share")]
    pub fn latecomers(&self) -> u64 {
        (self.attempts as f64 * self.shares.latecomers) as u64
    }
}

impl Shares {
    /// Everyone asks once, with a key, and that is all: for measuring.
    pub const PLAIN: Self = Self {
        key: 1.0,
        double_click: 0.0,
        repeat: 0.0,
        repeat_without_key: 0.0,
        other_body: 0.0,
        poll: 0.0,
        cancel: 0.0,
        latecomers: 0.0,
        revisit: 0.0,
    };

    fn check(&self) -> Result<()> {
        let all = [
            ("key", self.key),
            ("double-click", self.double_click),
            ("repeat", self.repeat),
            ("repeat-without-key", self.repeat_without_key),
            ("other-body", self.other_body),
            ("poll", self.poll),
            ("cancel", self.cancel),
            ("latecomers", self.latecomers),
            ("revisit", self.revisit),
        ];
        for (name, share) in all {
            ensure!((0.0..=1.0).contains(&share), "the share `{name}` must be from 0 to 1, not {share}");
        }
        Ok(())
    }
}

impl Default for Shares {
    /// A crowd as a shop knows it: most clients send a key, some people click twice, a few try it on.
    fn default() -> Self {
        Self {
            key: 0.8,
            double_click: 0.02,
            repeat: 0.1,
            repeat_without_key: 0.1,
            other_body: 0.05,
            poll: 0.1,
            cancel: 0.0,
            latecomers: 0.05,
            revisit: 0.25,
        }
    }
}

impl std::fmt::Debug for Auth {
    /// Leaves the secret out.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Auth").field("issuer", &self.issuer).field("audience", &self.audience).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_is_not_ours_is_refused() {
        let mut plan = Plan::new(1001, "secret");
        assert!(plan.check().is_ok());
        plan.target = SocketAddr::from(([192, 0, 2, 1], 8080));
        let refusal = plan.check().expect_err("not loopback").to_string();
        assert!(refusal.contains("--i-own-this-host"), "{refusal}");
        plan.owns_target = true;
        assert!(plan.check().is_ok());
    }

    #[test]
    fn user_ids_of_two_seeds_do_not_overlap_and_stay_exact_in_json() {
        let of = |seed| Plan { seed, ..Plan::new(1, "s") }.first_user_id();
        assert!(of(1).abs_diff(of(2)) >= 1 << 20);
        assert!((0..1000).all(|seed| of(seed) < 1 << 52));
    }
}
