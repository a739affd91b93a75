//! `compare --profile`, which `make profile` says: where the release server's time goes while it accepts orders, as a flame
//! graph. Samples are of all its threads; a thread that waits takes none.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use contenders::Work;

use crate::crowd::Crowd;
use crate::flame;
use crate::ours::Ours;
use crate::process::Process;
use crate::stacks::{folded, stacks};
use crate::tools::Tool;
use crate::wrk::Wrk;

/// Samples a second and thread: a prime, so that nothing periodic is always or never met.
const FREQUENCY: &str = "997";
/// How a stack is walked, and how much of it is kept for that: a release build has no frame pointers.
const WALK: &str = "dwarf,16384";

/// Records a server under load, and writes `flame.svg` and `stacks.folded` to a directory.
pub(crate) fn run(to: &Path, wrk: &Wrk, crowd: &Crowd, dir: &Path) -> Result<()> {
    let perf = Tool::find("perf")?;
    let ours = Ours::start(dir, 1, None, None)?;
    // Connections are opened and code is found before it counts.
    let short = Wrk { tool: wrk.tool.clone(), seconds: 0.2, ..*wrk };
    short.run(crowd, Work::SoldOut, ours.shopper, dir)?;

    let samples = dir.join("perf.data");
    let mut command = perf.command();
    command.args(["record", "-F", FREQUENCY, "--call-graph", WALK, "-p", &ours.process.id().to_string(), "-o"]);
    let mut recorder = Process::start("perf", command.arg(&samples), dir)?;
    // It writes once it was let.
    let writes = || fs::metadata(&samples).is_ok_and(|file| file.len() > 0).then_some(());
    if recorder.until("it records", |_| writes()).is_err() {
        let said = recorder.said();
        let why = said.lines().find(|line| !line.trim().is_empty() && !line.starts_with("Error")).unwrap_or_default();
        bail!("NOT RUN: perf may not record here ({why}); become root, or set kernel.perf_event_paranoid to 1");
    }
    let (measured, _) = wrk.run(crowd, Work::Accepted, ours.shopper, dir)?;
    ensure!(measured.refused == 0, "{} were refused: {measured:?}", measured.refused);
    recorder.interrupt()?;
    drop(ours);

    println!("{} orders were accepted; reading the samples, which takes a while", measured.requests);
    let mut command = perf.command();
    command.args(["script", "--no-inline", "-F", "comm,ip,sym,dso", "-i"]).arg(&samples);
    let told = command.output().context("perf cannot be started")?;
    let stacks = stacks(&String::from_utf8_lossy(&told.stdout));
    ensure!(!stacks.is_empty(), "no sample was taken: {}", String::from_utf8_lossy(&told.stderr));
    fs::create_dir_all(to)?;
    let title = format!("doorbuster accepting {:.0} orders a second", measured.per_second(measured.requests));
    fs::write(to.join("flame.svg"), flame::svg(&stacks, &title))?;
    fs::write(to.join("stacks.folded"), folded(&stacks))?;
    println!("{} samples in flame.svg and stacks.folded in {}", stacks.values().sum::<u64>(), to.display());
    Ok(())
}
