//! `doorbuster demo`: the main job with nothing else installed. A crowd buys out the sample sale over real HTTP and pays,
//! and an operator reconciles, or it grabs red packets; then the server is stopped, its journal audited against what the
//! crowd was told, and started again for you to try.

mod rain;
mod sale;

use std::path::Path;

use anyhow::Context;
use clap::ValueEnum;
use loadtest::{AcksFile, Plan};

use super::scene::Scene;
use super::signals::Signals;
use super::{audit, exit, token};
use crate::clock::Clock;
use crate::config::{self, Config, Keys};
use crate::ids::{UnixMillis, UserId};

/// Where the demo's files go: beside the build's.
const DIR: &str = "target/demo";
/// A user and an operator for the lines to paste: far from the crowd's users.
const YOU: UserId = UserId(42);
const OPERATOR: UserId = UserId(1);

/// What the demo shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Act {
    /// A flash sale, whose winners pay
    Sale,
    /// Red packets
    Rain,
}

/// What the printed lines carry.
struct Tokens {
    you: String,
    operator: String,
}

impl Act {
    fn activity(self) -> u64 {
        match self {
            Self::Sale => sale::ACTIVITY,
            Self::Rain => rain::ACTIVITY,
        }
    }

    fn catalog(self) -> String {
        match self {
            Self::Sale => sale::CATALOG.to_owned(),
            Self::Rain => rain::catalog(Clock::start(UnixMillis(0)).now_ms()),
        }
    }

    fn opening(self) -> &'static str {
        match self {
            Self::Sale => sale::OPENING,
            Self::Rain => rain::OPENING,
        }
    }

    fn tell_crowd(self, attempts: u64) {
        match self {
            Self::Sale => sale::tell_crowd(attempts),
            Self::Rain => rain::tell_crowd(attempts),
        }
    }

    fn plan(self, scene: &Scene, config: &Config, plan: Plan) -> anyhow::Result<Plan> {
        match self {
            Self::Sale => sale::plan(scene, config, plan),
            Self::Rain => Ok(rain::plan(scene, plan)),
        }
    }

    fn print_lines(self, scene: &Scene, config: &Config, tokens: &Tokens) -> anyhow::Result<()> {
        match self {
            Self::Sale => sale::print_lines(scene, config, tokens),
            Self::Rain => rain::print_lines(scene, tokens),
        }
    }
}

/// Runs the demo; gives the exit code: the audit's, or 2 where the demo could not be run.
#[must_use]
pub fn run(act: Act, exit_after_audit: bool, attempts: u64) -> u8 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let played =
        runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(play(act, exit_after_audit, attempts)));
    match played {
        Ok(code) => code,
        Err(error) => {
            eprintln!("doorbuster: demo: {error:#}");
            exit::CANNOT
        }
    }
}

/// Whichever way this ends, the server that it started ends before it.
async fn play(act: Act, exit_after_audit: bool, attempts: u64) -> anyhow::Result<u8> {
    let mut signals = Signals::listen()?;
    let scene = Scene::set(Path::new(DIR), act.activity(), &act.catalog())?;
    let config = config::load(&scene.config, std::iter::empty::<(String, String)>())
        .map_err(|faults| anyhow::anyhow!("the sample configuration is faulty: {faults:?}"))?;

    println!("1. A server on a fresh journal in {DIR}, {}.", act.opening());
    let server = scene.start()?;
    act.tell_crowd(attempts);
    let holds = tokio::select! {
        holds = crowd(act, &scene, &config, attempts) => holds?,
        _ = signals.next() => anyhow::bail!("stopped"),
    };

    println!("\n3. Stop, and audit the journal against what the crowd was told ({}).\n", scene.acks.display());
    server.stop()?;
    let report = audit::audit(&config, Some(&scene.acks))?;
    audit::print(&report, &mut std::io::stdout().lock())?;
    let code = if holds && report.holds() { exit::OK } else { exit::FAULTY };
    if exit_after_audit || code != exit::OK {
        return Ok(code);
    }

    let server = scene.start()?;
    println!("\n4. Started again from the journal. Try it; Ctrl-C ends it.\n");
    act.print_lines(&scene, &config, &tokens(&config)?)?;
    signals.next().await;
    server.stop()?;
    Ok(code)
}

async fn crowd(act: Act, scene: &Scene, config: &Config, attempts: u64) -> anyhow::Result<bool> {
    let Keys::Shared { secret, .. } = &config.auth.keys else { anyhow::bail!("the sample signs with a secret") };
    let secret = std::str::from_utf8(secret.expose())?;
    let plan = Plan {
        target: scene.shopper,
        attempts,
        acks: Some(AcksFile { path: scene.acks.clone(), append: false }),
        ..Plan::new(act.activity(), secret)
    };
    let plan = act.plan(scene, config, plan)?;
    let report = loadtest::run(&plan, loadtest::bar()).await?;
    println!("{}", report.table());
    Ok(report.holds())
}

/// What signs callbacks. The sample's is public, so it may be shown.
fn payments_secret(config: &Config) -> anyhow::Result<&str> {
    let payments = config.payments.as_ref().context("the sample takes payments")?;
    Ok(std::str::from_utf8(payments.secret.expose())?)
}

fn tokens(config: &Config) -> anyhow::Result<Tokens> {
    let now = Clock::start(UnixMillis(0)).now_ms();
    let ttl = std::time::Duration::from_secs(24 * 3600);
    let mint = |user, role| token::mint(&config.auth, token::Ask { user, role, ttl }, now);
    Ok(Tokens { you: mint(YOU, None)?, operator: mint(OPERATOR, Some("operator"))? })
}
