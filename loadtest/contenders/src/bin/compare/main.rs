//! `make compare`: Doorbuster against what a shop would pick instead, on one machine, in interleaved rounds. See
//! loadtest/contenders/README.md for what is compared and how to read it.

mod chart;
mod client;
mod crowd;
mod flame;
mod machine;
mod maria;
mod measure;
mod open_loop;
mod ours;
mod process;
mod profile;
mod rain;
mod results;
mod stacks;
mod standing;
mod table;
mod tools;
mod wrk;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use contenders::Work;

use crate::crowd::Crowd;
use crate::machine::Machine;
use crate::maria::Maria;
use crate::results::{Opens, Results, Samples, Spread};
use crate::standing::{Contender, Standing};
use crate::tools::Tool;
use crate::wrk::Wrk;

/// Users for each second of a run: more than a machine answers.
const USERS_PER_S: f64 = 150_000.0;
/// Runs of the open loop of each contender that takes part in it.
const OPEN_LOOPS: usize = 5;

/// Sets contenders side by side.
#[derive(Parser)]
struct Arguments {
    /// How often everything is done
    #[arg(long, default_value_t = 10)]
    rounds: usize,
    /// Seconds of each run
    #[arg(long, default_value_t = 1.5)]
    seconds: f64,
    /// Keep-alive connections of wrk's one thread
    #[arg(long, default_value_t = 256)]
    connections: usize,
    /// Seconds of each run of the open loop; 0 for none
    #[arg(long, default_value_t = 3.0)]
    open_loop_seconds: f64,
    /// Connections to MySQL of one HTTP thread, for the contender that decides there
    #[arg(long, default_value_t = 8)]
    pool: u32,
    /// Who takes part; everybody unless told
    #[arg(long, value_delimiter = ',', value_parser = Contender::named)]
    only: Vec<Contender>,
    /// Only grabs of red packets beside orders, on our own server
    #[arg(long)]
    rain: bool,
    /// Only a flame graph of our own server under orders that are all accepted; where it goes
    #[arg(long, value_name = "DIR", conflicts_with = "rain")]
    profile: Option<PathBuf>,
    /// Where compare.json, compare.md and compare.svg go
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../results"))]
    results: PathBuf,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    ensure!(arguments.rounds > 0 && arguments.seconds > 0.0, "there is nothing to do");
    let ours_alone = arguments.rain || arguments.profile.is_some();
    let contenders = if ours_alone { vec![Contender::OursFsync] } else { taking_part(&arguments.only) };
    // On the build's disk: elsewhere it may be memory, where no sync means anything.
    let build = std::env::current_exe()?.parent().context("the program stands in a directory")?.to_owned();
    let dir = tempfile::Builder::new().prefix("compare-").tempdir_in(build)?;
    let machine = Machine::look(dir.path(), &contenders)?;
    println!("{}", machine.in_words());
    let compared = Compared::new(&arguments, contenders, dir.path())?;
    if arguments.rain {
        return rain::run(arguments.rounds, &compared.wrk, &compared.crowd, dir.path());
    }
    if let Some(to) = &arguments.profile {
        return profile::run(to, &compared.wrk, &compared.crowd, dir.path());
    }

    let mut samples = Samples::new();
    for round in 0..arguments.rounds {
        compared.round(round, &mut samples)?;
    }
    let opens = compared.open_loops(&samples)?;
    drop(compared);

    let open_loop = results::open_figures(&opens);
    let results = Results {
        commit: machine::commit(),
        machine,
        rounds: arguments.rounds,
        seconds: arguments.seconds,
        connections: arguments.connections,
        contenders: results::figures(&samples),
        aims: results::aims(&samples, &open_loop),
        open_loop,
    };
    let text = table::text(&results);
    println!("\n{text}");
    fs::create_dir_all(&arguments.results)?;
    fs::write(arguments.results.join("compare.json"), serde_json::to_string_pretty(&results)? + "\n")?;
    fs::write(arguments.results.join("compare.md"), text)?;
    fs::write(arguments.results.join("compare.svg"), chart::svg(&results))?;
    let place = arguments.results.canonicalize()?;
    println!("saved as compare.json, compare.md and compare.svg in {}", place.display());
    Ok(())
}

/// Who takes part: those named, else everybody but those whose programs are to be done without, as scripts/need.sh is
/// told.
fn taking_part(named: &[Contender]) -> Vec<Contender> {
    if !named.is_empty() {
        return named.to_vec();
    }
    let skip = std::env::var("SKIP").unwrap_or_default();
    let skipped = |word: Option<&str>| word.is_some_and(|word| skip.split([',', ' ']).any(|skipped| skipped == word));
    let (without, with): (Vec<_>, Vec<_>) = Contender::ALL.into_iter().partition(|one| skipped(one.needs()));
    without.iter().for_each(|one| println!("{} is left out, as SKIP says", one.name()));
    with
}

/// Everything that a comparison has while it runs.
struct Compared<'a> {
    arguments: &'a Arguments,
    contenders: Vec<Contender>,
    wrk: Wrk,
    crowd: Crowd,
    maria: Option<Maria>,
    dir: &'a Path,
}

impl<'a> Compared<'a> {
    fn new(arguments: &'a Arguments, contenders: Vec<Contender>, dir: &'a Path) -> Result<Self> {
        let Arguments { seconds, open_loop_seconds, connections, .. } = *arguments;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of users")]
        let users = (seconds.max(open_loop_seconds / 2.0) * USERS_PER_S) as usize;
        println!("signing the tokens of {users} users");
        let crowd = Crowd::gather(users, dir)?;
        let maria = if contenders.iter().any(|one| one.needs() == Some("mysql")) {
            println!("starting a MariaDB");
            let maria = Maria::start(dir)?;
            maria.process.freeze()?;
            Some(maria)
        } else {
            None
        };
        let wrk = Wrk { tool: Tool::find("wrk")?, connections, seconds };
        Ok(Self { arguments, contenders, wrk, crowd, maria, dir })
    }

    /// Everybody once at everything, in an order that is another in each round, so that none is always after the same
    /// one.
    fn round(&self, round: usize, samples: &mut Samples) -> Result<()> {
        let mut order = self.contenders.clone();
        order.rotate_left(round % self.contenders.len());
        for contender in order {
            let what = || format!("{} in round {round}", contender.name());
            let told = self.standing(contender, &format!("r{round}"), |standing, dir| {
                measure::warm(standing, &self.wrk, &self.crowd, dir)?;
                let mut told = String::new();
                for work in Work::ALL {
                    let sample = measure::measure(contender, standing, work, &self.wrk, &self.crowd, dir)?;
                    told += &format!("  {} {:.0}/s {:.1} us", work.name(), sample.rps, sample.server_cpu_us);
                    samples.entry((contender, work)).or_default().push(sample);
                }
                Ok(told)
            });
            println!("round {:>2}  {:<20}{}", round + 1, contender.name(), told.with_context(what)?);
        }
        Ok(())
    }

    /// The ceiling and ours in turn, at half of what ours did at its peak.
    fn open_loops(&self, samples: &Samples) -> Result<Opens> {
        let mut opens = Opens::new();
        let peak = samples.get(&(Contender::OursFsync, Work::Accepted));
        let peak = peak.and_then(|peak| Spread::of(peak.iter().map(|sample| sample.rps)));
        let (Some(peak), true) = (peak, self.arguments.open_loop_seconds > 0.0) else { return Ok(opens) };
        for time in 0..OPEN_LOOPS {
            for contender in [Contender::Ceiling, Contender::OursFsync] {
                let open = self.standing(contender, &format!("o{time}"), |standing, dir| {
                    measure::warm(standing, &self.wrk, &self.crowd, dir)?;
                    let Arguments { open_loop_seconds, connections, .. } = *self.arguments;
                    open_loop::run(standing, &self.crowd, peak.median / 2.0, open_loop_seconds, connections)
                })?;
                println!("open loop  {:<20}  p50 {:.2} ms  p99 {:.2} ms", contender.name(), open.p50_ms, open.p99_ms);
                opens.entry(contender).or_default().push(open);
            }
        }
        Ok(opens)
    }

    /// Lets a contender stand on a fresh directory while something is done; MariaDB runs only where it is needed.
    fn standing<T>(
        &self,
        contender: Contender,
        name: &str,
        act: impl FnOnce(&Standing<'_>, &Path) -> Result<T>,
    ) -> Result<T> {
        let dir = self.dir.join(format!("{name}-{}", contender.name()));
        fs::create_dir(&dir)?;
        let maria = self.maria.as_ref().filter(|_| contender.needs() == Some("mysql"));
        if let Some(maria) = maria {
            maria.process.thaw()?;
        }
        let standing = Standing::start(contender, &dir, maria, self.arguments.pool)?;
        let done = act(&standing, &dir)?;
        drop(standing);
        if let Some(maria) = maria {
            maria.process.freeze()?;
        }
        fs::remove_dir_all(&dir)?;
        Ok(done)
    }
}
