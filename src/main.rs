//! The command line: reads the words, calls the command, turns its outcome into the exit code.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use doorbuster::cli::{audit, check, demo, exit, journal, reship, serve, token, verify_split};
use doorbuster::clock::Clock;
use doorbuster::ids::{ActivityId, Seq, UnixMillis, UserId};

// Many small allocations from many threads: measurably faster here than the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Decides who gets the last one: flash sales in memory, on disk before anyone is told yes.
#[derive(Parser)]
#[command(name = "doorbuster", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Watch a crowd buy out a sale or grab red packets, see the audit, then try the server yourself
    Demo {
        /// What it shows
        #[arg(long, value_enum, default_value_t = demo::Act::Sale)]
        scene: demo::Act,
        /// End after the audit, with its status
        #[arg(long)]
        exit: bool,
        /// How many times the crowd asks
        #[arg(long, default_value_t = 60_000)]
        attempts: u64,
    },
    /// Run the server
    Serve {
        /// The configuration file
        #[arg(long)]
        config: PathBuf,
    },
    /// Name every fault of a configuration and its catalogue, with file, line and mend
    Check {
        /// The configuration file
        #[arg(long)]
        config: PathBuf,
    },
    /// Print a token for development
    Token {
        /// The configuration file
        #[arg(long)]
        config: PathBuf,
        /// For whom: a decimal user id
        #[arg(long)]
        user: UserId,
        /// shopper, operator, merchant or auditor
        #[arg(long, value_parser = token::parse_role)]
        role: Option<&'static str>,
        /// How long it is good, such as 15m, 1h or 7d
        #[arg(long, default_value = "1h", value_parser = token::parse_ttl)]
        ttl: Duration,
    },
    /// Check every invariant of a stopped server's journal, and of MySQL's rows where it is configured
    Audit {
        /// The configuration file
        #[arg(long)]
        config: PathBuf,
        /// A client's log of acknowledgements, each to be found in the journal
        #[arg(long)]
        acks: Option<PathBuf>,
        /// Leave MySQL out, as where it is away
        #[arg(long)]
        without_mysql: bool,
    },
    /// Empty a stopped server's tables in MySQL, so that the next start ships the whole journal again
    Reship {
        /// The configuration file
        #[arg(long)]
        config: PathBuf,
        /// Do it; without, only what would go is shown
        #[arg(long)]
        yes: bool,
        /// Whose rows go, where they are another journal's: the digits of its id that are shown
        #[arg(long)]
        rows_of: Option<String>,
    },
    /// Work out what each packet of a round held, from what is public alone
    VerifySplit {
        /// What `GET /v1/activities/ID` answered after the round; - for the standard input
        #[arg(long)]
        activity: PathBuf,
        /// Only this round
        #[arg(long)]
        round: Option<u32>,
        /// The commitment as it was noted before the round; without, the one that stands there
        #[arg(long)]
        commitment: Option<String>,
        /// What `GET /v1/red-packets/ID/grabs` answered: each of these grabs must be what its packet held
        #[arg(long)]
        grabs: Option<PathBuf>,
    },
    /// Print a stopped server's journal as JSON lines
    Journal {
        /// The configuration file
        #[arg(long)]
        config: PathBuf,
        /// The first event
        #[arg(long, default_value_t = 1)]
        from: u64,
        /// The last event
        #[arg(long, default_value_t = u64::MAX)]
        to: u64,
        /// Only this activity's
        #[arg(long)]
        activity: Option<ActivityId>,
    },
}

fn main() -> ExitCode {
    let written = match Arguments::parse().command {
        Command::Demo { scene, exit, attempts } => Ok(demo::run(scene, exit, attempts)),
        Command::Serve { config } => Ok(serve::run(&config)),
        Command::Check { config } => check::run(&config, std::env::vars_os(), &mut io::stdout().lock()),
        Command::Token { config, user, role, ttl } => {
            let now = Clock::start(UnixMillis(0)).now_ms();
            let ask = token::Ask { user, role, ttl };
            token::run(&config, std::env::vars_os(), ask, now, &mut io::stdout().lock(), &mut io::stderr().lock())
        }
        Command::Audit { config, acks, without_mysql } => Ok(audit::run(&config, acks.as_deref(), without_mysql)),
        Command::Reship { config, yes, rows_of } => Ok(reship::run(&config, yes, rows_of.as_deref())),
        Command::VerifySplit { activity, round, commitment, grabs } => {
            let commitment = commitment.as_deref();
            let ask = verify_split::Ask { activity: &activity, round, commitment, grabs: grabs.as_deref() };
            verify_split::run(ask, &mut io::stdout().lock(), &mut io::stderr().lock())
        }
        Command::Journal { config, from, to, activity } => {
            Ok(journal::run(&config, journal::Range { from: Seq(from), to: Seq(to), activity }))
        }
    };
    match written {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            let _told = writeln!(io::stderr(), "doorbuster: {error}");
            ExitCode::from(exit::CANNOT)
        }
    }
}
