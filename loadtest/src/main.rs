//! `crowd`: the command line of the crowd.
//!
//! Exits 0 when every answer was right, 1 when a rule was broken, 2 when the run could not be made.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use clap::{Args, Parser};
use loadtest::{AcksFile, Auth, Mode, Pay, PayShares, Plan, Rain, Report, Shares};

const SECRET_VARIABLE: &str = "DOORBUSTER_AUTH__SECRET";
const PAYMENTS_SECRET_VARIABLE: &str = "DOORBUSTER_PAYMENTS__SECRET";

/// Sends a crowd of shoppers to a flash sale on a Doorbuster server and checks every answer.
///
/// Each shopper is a user of their own with a token of their own and wants to buy. Some click twice, some repeat
/// themselves with or without their Idempotency-Key, some come when everything is gone. Every answer is held against the
/// HTTP contract: a slot or an order id given to two users, a repeat answered by another order, a user above the limit, an
/// unexpected status or a reply of the wrong shape is a violation.
///
/// Against a server started by `doorbuster serve`:
///
///   crowd --activity 1001 --secret-file secret.txt
///
/// with a fixed arrival rate, where latency counts from the instant at which a request was due:
///
///   crowd --activity 1001 --secret-file secret.txt --rate 20000
///
/// through crashes of the server, logging what was acknowledged for `doorbuster audit --acks acks.jsonl`:
///
///   crowd --activity 1001 --secret-file secret.txt --ride-out 30 --acks acks.jsonl
///
/// with winners who pay in time, late, twice or never, callbacks that must be refused, and an operator who reconciles:
///
///   crowd --activity 1001 --secret-file secret.txt --pay --payments-secret-file payments.txt
///
/// on red packets instead, of which each user wants one, until the round is over and everything adds up to the cent:
///
///   crowd --rain --activity 1002 --secret-file secret.txt --acks acks.jsonl
///
/// Exit status: 0 all answers were right, 1 a rule was broken, 2 the run could not be made.
#[derive(Parser)]
#[command(name = "crowd", version, verbatim_doc_comment, max_term_width = 110)]
struct Cli {
    /// The shopper listener
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8080")]
    target: String,
    /// Allow a target that is not this machine: you say that the host is yours to load
    #[arg(long)]
    i_own_this_host: bool,
    /// The activity's id: a flash sale's, or with --rain red packets'
    #[arg(long, value_name = "ID", default_value_t = 1001)]
    activity: u64,
    /// A SKU to ask for; may be given several times [default: all of the activity]
    #[arg(long)]
    sku: Vec<String>,
    /// The activity's per_user_limit; a user above it is a violation
    #[arg(long, default_value_t = 1)]
    limit: u32,
    #[command(flatten)]
    signing: Signing,
    #[command(flatten)]
    load: Load,
    #[command(flatten)]
    habits: Habits,
    #[command(flatten)]
    paying: Paying,
    #[command(flatten)]
    raining: Raining,
    /// The operator listener, of payments and red packets
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8081")]
    operator: String,
    /// Log every acknowledgement to this file, synced, for `doorbuster audit --acks FILE`
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    acks: Option<PathBuf>,
    /// Append to the log of acknowledgements of an earlier run against the same server
    #[arg(long, requires = "acks", help_heading = "Output")]
    append_acks: bool,
    /// Also write the report as JSON to this file
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    json: Option<PathBuf>,
    /// No progress bar
    #[arg(long, help_heading = "Output")]
    quiet: bool,
}

/// How tokens are signed.
#[derive(Args)]
#[command(next_help_heading = "Tokens (as in the server's [auth])")]
struct Signing {
    /// The secret; in the environment it is DOORBUSTER_AUTH__SECRET
    #[arg(long, conflicts_with = "secret_file")]
    secret: Option<String>,
    /// A file with the secret
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// The `iss` claim
    #[arg(long, default_value = "doorbuster")]
    issuer: String,
    /// The `aud` claim
    #[arg(long, default_value = "doorbuster")]
    audience: String,
}

/// How much.
#[derive(Args)]
#[command(next_help_heading = "Load")]
struct Load {
    /// Shoppers, each a distinct user who places one order; repeats, polls and latecomers come on top
    #[arg(long, default_value_t = 50_000)]
    attempts: u64,
    /// Keep-alive connections
    #[arg(long, default_value_t = 256)]
    connections: usize,
    /// Threads; one sends some 100,000 requests a second
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Open loop: requests a second on a fixed schedule [default: closed loop, each connection asks again at once]
    #[arg(long, value_name = "PER_S")]
    rate: Option<f64>,
    /// Seconds after which an unanswered request is given up
    #[arg(long, value_name = "SECS", default_value_t = 10.0)]
    timeout: f64,
    /// Seconds to keep asking again, same request and same key, while the server is away
    #[arg(long, value_name = "SECS", default_value_t = 0.0)]
    ride_out: f64,
    /// Decides every random choice and the user ids [default: from the clock; the report names it]
    #[arg(long)]
    seed: Option<u64>,
    /// The first shopper's user id [default: from the seed]
    #[arg(long, value_name = "ID")]
    first_user: Option<u64>,
    /// These users were here before: their first ask may be a repeat
    #[arg(long)]
    returning: bool,
}

/// Who does what.
#[derive(Args)]
#[command(next_help_heading = "Habits (shares of the shoppers, 0 to 1)")]
struct Habits {
    /// Quantities with weights, such as 1:90,2:10
    #[arg(long, value_name = "N:WEIGHT,…", default_value = "1:1")]
    quantity: String,
    /// Send an Idempotency-Key
    #[arg(long, value_name = "SHARE", default_value_t = Shares::default().key)]
    key: f64,
    /// Click twice: one keyed request at once on two connections
    #[arg(long, value_name = "SHARE", default_value_t = Shares::default().double_click)]
    double_click: f64,
    /// Ask again with the same key and body
    #[arg(long, value_name = "SHARE", default_value_t = Shares::default().repeat)]
    repeat: f64,
    /// Winners who ask again without the key
    #[arg(long, value_name = "SHARE", default_value_t = Shares::default().repeat_without_key)]
    repeat_without_key: f64,
    /// Winners who use their key for another body
    #[arg(long, value_name = "SHARE", default_value_t = Shares::default().other_body)]
    other_body: f64,
    /// Poll for the result
    #[arg(long, value_name = "SHARE", default_value_t = Shares::default().poll)]
    poll: f64,
    /// Winners who cancel, so that others can win
    #[arg(long, value_name = "SHARE", default_value_t = Shares::default().cancel)]
    cancel: f64,
    /// Shoppers who come when the rush is over, on top
    #[arg(long, value_name = "SHARE", default_value_t = Shares::default().latecomers)]
    latecomers: f64,
    /// Winners who come back when the rush is over and look for their order
    #[arg(long, value_name = "SHARE", default_value_t = Shares::default().revisit)]
    revisit: f64,
}

/// Who pays.
#[derive(Args)]
#[command(next_help_heading = "Payments (shares of the accepted orders, together at most 1; the rest pays in time)")]
struct Paying {
    /// The winners pay, and an operator reconciles; the sale must be this crowd's alone
    #[arg(long)]
    pay: bool,
    /// A file with the server's payments.secret; in the environment it is DOORBUSTER_PAYMENTS__SECRET
    #[arg(long, value_name = "FILE", requires = "pay")]
    payments_secret_file: Option<PathBuf>,
    /// The activity's currency
    #[arg(long, default_value = "CNY", requires = "pay")]
    currency: String,
    /// Pay when the hold has run out, where it lasts at most 30 s
    #[arg(long, value_name = "SHARE", default_value_t = PayShares::default().late, requires = "pay")]
    pay_late: f64,
    /// Pay twice, with two payments
    #[arg(long, value_name = "SHARE", default_value_t = PayShares::default().twice, requires = "pay")]
    pay_twice: f64,
    /// Cancel; half of them pay all the same, before, after or at once
    #[arg(long, value_name = "SHARE", default_value_t = PayShares::default().cancel, requires = "pay")]
    pay_cancel: f64,
    /// Never pay
    #[arg(long, value_name = "SHARE", default_value_t = PayShares::default().never, requires = "pay")]
    pay_never: f64,
}

/// Red packets.
#[derive(Args)]
#[command(next_help_heading = "Red packets")]
struct Raining {
    /// The activity is a rain of red packets, this crowd's alone; it waits for the next round, and for its end where that
    /// is near. Its habits mean the same, but nobody cancels, and who polls looks at their own packets
    #[arg(long, conflicts_with_all = ["pay", "sku", "cancel", "quantity"])]
    rain: bool,
    /// End the rounds by closing the activity when everybody has asked
    #[arg(long, requires = "rain")]
    close: bool,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match go(&cli) {
        Ok(report) => {
            print!("{}", report.table());
            if report.holds() { ExitCode::SUCCESS } else { ExitCode::from(1) }
        }
        Err(error) => {
            eprintln!("crowd: {error:#}");
            ExitCode::from(2)
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn go(cli: &Cli) -> Result<Report> {
    let plan = plan(cli)?;
    let progress = if cli.quiet { loadtest::silent() } else { loadtest::bar() };
    let report = tokio::select! {
        report = loadtest::run(&plan, progress) => report?,
        // Dropping the run stops it and leaves every acknowledgement so far on disk.
        _ = tokio::signal::ctrl_c() => anyhow::bail!("interrupted"),
    };
    if let Some(path) = &cli.json {
        let text = serde_json::to_string_pretty(&report).context("could not write the report as JSON")?;
        std::fs::write(path, text + "\n").with_context(|| format!("could not write {}", path.display()))?;
    }
    Ok(report)
}

fn plan(cli: &Cli) -> Result<Plan> {
    let (load, habits) = (&cli.load, &cli.habits);
    let seconds = |name: &str, value: f64| {
        Duration::try_from_secs_f64(value).with_context(|| format!("--{name} must be a number of seconds, not {value}"))
    };
    Ok(Plan {
        target: resolve("--target", &cli.target)?,
        owns_target: cli.i_own_this_host,
        sku_ids: cli.sku.clone(),
        auth: Auth {
            secret: secret(&cli.signing)?,
            issuer: cli.signing.issuer.clone(),
            audience: cli.signing.audience.clone(),
        },
        attempts: load.attempts,
        connections: load.connections,
        threads: load.threads,
        mode: load.rate.map_or(Mode::Closed, |rate| Mode::Open { rate }),
        seed: load.seed.unwrap_or_else(seed_of_the_clock),
        first_user: load.first_user,
        returning: load.returning,
        per_user_limit: cli.limit,
        quantities: quantities(&habits.quantity)?,
        shares: Shares {
            key: habits.key,
            double_click: habits.double_click,
            repeat: habits.repeat,
            repeat_without_key: habits.repeat_without_key,
            other_body: habits.other_body,
            poll: habits.poll,
            cancel: habits.cancel,
            latecomers: habits.latecomers,
            revisit: habits.revisit,
        },
        timeout: seconds("timeout", load.timeout)?,
        ride_out: seconds("ride-out", load.ride_out)?,
        pay: pay(&cli.paying, &cli.operator)?,
        rain: rain(&cli.raining, &cli.operator)?,
        acks: cli.acks.clone().map(|path| AcksFile { path, append: cli.append_acks }),
        ..Plan::new(cli.activity, "")
    })
}

fn rain(raining: &Raining, operator: &str) -> Result<Option<Rain>> {
    let Raining { rain, close } = *raining;
    rain.then(|| Ok(Rain { operator: resolve("--operator", operator)?, close })).transpose()
}

fn pay(paying: &Paying, operator: &str) -> Result<Option<Pay>> {
    if !paying.pay {
        return Ok(None);
    }
    let secret = match &paying.payments_secret_file {
        Some(path) => secret_in(path)?,
        None => secret_of(PAYMENTS_SECRET_VARIABLE).with_context(|| {
            format!("callbacks need the server's [payments] secret: give --payments-secret-file FILE or {PAYMENTS_SECRET_VARIABLE}")
        })?,
    };
    let shares = PayShares {
        late: paying.pay_late,
        twice: paying.pay_twice,
        cancel: paying.pay_cancel,
        never: paying.pay_never,
        ..PayShares::default()
    };
    let operator = resolve("--operator", operator)?;
    Ok(Some(Pay { operator, currency: paying.currency.clone(), shares, ..Pay::new(secret) }))
}

fn resolve(option: &str, target: &str) -> Result<SocketAddr> {
    let text = target.strip_prefix("http://").unwrap_or(target).trim_end_matches('/');
    let found = text.to_socket_addrs().with_context(|| format!("{option} must be HOST:PORT, not {target}"))?.next();
    found.with_context(|| format!("{target} has no address"))
}

fn secret(signing: &Signing) -> Result<String> {
    if let Some(secret) = &signing.secret {
        return Ok(secret.clone());
    }
    if let Some(path) = &signing.secret_file {
        return secret_in(path);
    }
    secret_of(SECRET_VARIABLE).with_context(|| {
        format!("tokens need the server's [auth] secret: give --secret-file FILE, --secret TEXT or {SECRET_VARIABLE}")
    })
}

fn secret_in(path: &Path) -> Result<String> {
    let text = std::fs::read_to_string(path).with_context(|| format!("could not read {}", path.display()))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

fn secret_of(variable: &str) -> Option<String> {
    std::env::var(variable).ok().filter(|secret| !secret.is_empty())
}

fn quantities(text: &str) -> Result<Vec<(u32, u32)>> {
    let one = |part: &str| -> Result<(u32, u32)> {
        let (quantity, weight) = part.split_once(':').unwrap_or((part, "1"));
        Ok((quantity.trim().parse()?, weight.trim().parse()?))
    };
    let list: Result<Vec<_>> = text.split(',').map(one).collect();
    let list = list.with_context(|| format!("--quantity must be like 1:90,2:10, not {text}"))?;
    ensure!(!list.is_empty(), "--quantity is empty");
    Ok(list)
}

fn seed_of_the_clock() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or_default()
}
