//! `doorbuster demo`: the main job with nothing else installed. A crowd buys out the sample sale over real HTTP and pays,
//! and an operator reconciles; then the server is stopped, its journal audited against what the crowd was told, and
//! started again for you to try.

use std::path::Path;

use anyhow::Context;
use loadtest::{AcksFile, Pay, Plan};

use super::scene::Scene;
use super::signals::Signals;
use super::{audit, exit, token};
use crate::clock::Clock;
use crate::config::{self, Config, Keys};
use crate::ids::{UnixMillis, UserId};

/// Where the demo's files go: beside the build's.
const DIR: &str = "target/demo";
const ACTIVITY: u64 = 1001;
const SKU: &str = "2001";
/// A user and an operator for the lines to paste: far from the crowd's users.
const YOU: UserId = UserId(42);
const OPERATOR: UserId = UserId(1);

/// Runs the demo; gives the exit code: the audit's, or 2 where the demo could not be run.
#[must_use]
pub fn run(exit_after_audit: bool, attempts: u64) -> u8 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let played = runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(play(exit_after_audit, attempts)));
    match played {
        Ok(code) => code,
        Err(error) => {
            eprintln!("doorbuster: demo: {error:#}");
            exit::CANNOT
        }
    }
}

/// Whichever way this ends, the server that it started ends before it.
async fn play(exit_after_audit: bool, attempts: u64) -> anyhow::Result<u8> {
    let mut signals = Signals::listen()?;
    let scene = Scene::set(Path::new(DIR))?;
    let config = config::load(&scene.config, std::iter::empty::<(String, String)>())
        .map_err(|faults| anyhow::anyhow!("the sample configuration is faulty: {faults:?}"))?;

    println!("1. A server on a fresh journal in {DIR}, with a sale of 1,000 phones.");
    let server = scene.start()?;
    println!(
        "2. A crowd: {attempts} shoppers, some of whom click twice, repeat themselves or come late. Winners pay, some"
    );
    println!("   twice, wrongly or not at all; an operator pays back what is owed.\n");
    let holds = tokio::select! {
        holds = crowd(&scene, &config, attempts) => holds?,
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
    print_lines(&scene, &config)?;
    signals.next().await;
    server.stop()?;
    Ok(code)
}

async fn crowd(scene: &Scene, config: &Config, attempts: u64) -> anyhow::Result<bool> {
    let Keys::Shared { secret, .. } = &config.auth.keys else { anyhow::bail!("the sample signs with a secret") };
    let secret = std::str::from_utf8(secret.expose())?;
    let plan = Plan {
        target: scene.shopper,
        attempts,
        pay: Some(Pay { operator: scene.operator, ..Pay::new(payments_secret(config)?) }),
        acks: Some(AcksFile { path: scene.acks.clone(), append: false }),
        ..Plan::new(ACTIVITY, secret)
    };
    let report = loadtest::run(&plan, loadtest::bar()).await?;
    println!("{}", report.table());
    Ok(report.holds())
}

/// What signs callbacks. The sample's is public, so it may be shown.
fn payments_secret(config: &Config) -> anyhow::Result<&str> {
    let payments = config.payments.as_ref().context("the sample takes payments")?;
    Ok(std::str::from_utf8(payments.secret.expose())?)
}

fn print_lines(scene: &Scene, config: &Config) -> anyhow::Result<()> {
    let now = Clock::start(UnixMillis(0)).now_ms();
    let ttl = std::time::Duration::from_secs(24 * 3600);
    let mint = |user, role| token::mint(&config.auth, token::Ask { user, role, ttl }, now);
    let (you, operator) = (mint(YOU, None)?, mint(OPERATOR, Some("operator"))?);
    let Scene { shopper, operator: desk, .. } = scene;
    let secret = payments_secret(config)?;
    println!(
        "\
API pages   http://{desk}/docs/
Metrics     http://{desk}/metrics
Ready?      http://{shopper}/readyz

SHOPPER={you}
OPERATOR={operator}
PROVIDER={secret}

# what is on sale, and what is left
curl -sw '\\n' -H \"Authorization: Bearer $SHOPPER\" http://{shopper}/v1/activities/{ACTIVITY}
# one unit more, live
curl -sw '\\n' -H \"Authorization: Bearer $OPERATOR\" -H 'Content-Type: application/json' \\
  -d '{{\"sku_id\":\"{SKU}\",\"add\":1}}' http://{desk}/admin/v1/activities/{ACTIVITY}/stock
# buy it; send the same line again, and the same order comes back
curl -sw '\\n' -H \"Authorization: Bearer $SHOPPER\" -H 'Content-Type: application/json' -H 'Idempotency-Key: mine-1' \\
  -d '{{\"sku_id\":\"{SKU}\",\"quantity\":1,\"ref\":\"demo\"}}' http://{shopper}/v1/flash-sales/{ACTIVITY}/orders
# pay it, as the payment provider says so: a signed callback; send the lines again, and nothing more happens
ORDER=$(curl -s -H \"Authorization: Bearer $SHOPPER\" 'http://{shopper}/v1/flash-sales/{ACTIVITY}/result?sku_id={SKU}' | sed 's/.*\"order_id\":\"//;s/\".*//')
BODY='{{\"payment_id\":\"mine-1\",\"order_id\":\"'$ORDER'\",\"amount_cents\":199900,\"currency\":\"CNY\",\"status\":\"paid\"}}'; T=$(date +%s)
V1=$(printf %s \"$T.$BODY\" | openssl dgst -sha256 -hmac \"$PROVIDER\" | sed 's/.* //')
curl -sw '\\n' -H \"Doorbuster-Signature: t=$T,v1=$V1\" -H 'Content-Type: application/json' -d \"$BODY\" http://{shopper}/v1/payments/callback
# take it back, with the unit; then it is among what is owed back
curl -sw '\\n' -H \"Authorization: Bearer $OPERATOR\" -H 'Content-Type: application/json' -d '{{\"restock\":true}}' http://{desk}/admin/v1/orders/$ORDER/refund
curl -sw '\\n' -H \"Authorization: Bearer $OPERATOR\" 'http://{desk}/admin/v1/refunds?state=refund_due&limit=5'
# the sale's numbers
curl -sw '\\n' -H \"Authorization: Bearer $OPERATOR\" http://{desk}/admin/v1/activities/{ACTIVITY}/stats
"
    );
    Ok(())
}
