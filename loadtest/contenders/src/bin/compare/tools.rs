//! Where the programs are that the comparison runs: on PATH, or where scripts/need.sh unpacked them.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// What scripts/need.sh unpacks into.
const UNPACKED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/tools");

/// A program that was found.
#[derive(Clone, Debug)]
pub(crate) struct Tool {
    path: PathBuf,
    unpacked: bool,
}

impl Tool {
    /// The program of that name.
    pub(crate) fn find(name: &str) -> Result<Self> {
        let path = env::var_os("PATH").unwrap_or_default();
        // Servers are where not everybody's PATH looks.
        let dirs = env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
        let of_system = dirs.map(|dir| dir.join(name)).find(|place| place.is_file());
        let unpacked = || ["usr/bin", "usr/sbin"].map(|dir| Path::new(UNPACKED).join(dir).join(name));
        match of_system {
            Some(path) => Ok(Self { path, unpacked: false }),
            None => match unpacked().into_iter().find(|place| place.exists()) {
                Some(path) => Ok(Self { path, unpacked: true }),
                None => bail!("{name} is missing; scripts/need.sh {name} fetches it"),
            },
        }
    }

    /// One of our own programs, which stand beside this one.
    pub(crate) fn ours(name: &str) -> Result<Self> {
        let path = env::current_exe()?.with_file_name(name);
        if !path.is_file() {
            bail!("{} is not built; make compare builds it", path.display());
        }
        Ok(Self { path, unpacked: false })
    }

    /// A command that runs it.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        if self.unpacked {
            command.env("LD_LIBRARY_PATH", libraries());
        }
        command
    }

    /// The root of what was unpacked, for programs that look for files of theirs.
    pub(crate) fn unpacked_root(&self) -> Option<PathBuf> {
        self.unpacked.then(|| Path::new(UNPACKED).join("usr"))
    }

    /// The first line of what it says of its version.
    pub(crate) fn version(&self, option: &str) -> Result<String> {
        let told = self.command().arg(option).output().with_context(|| format!("{}", self.path.display()))?;
        let text = String::from_utf8_lossy(&told.stdout).into_owned();
        Ok(text.lines().next().unwrap_or_default().trim().to_owned())
    }
}

/// Debian has libraries in a directory named after the machine.
fn libraries() -> OsString {
    let dirs = ["usr/lib", "lib"].map(|dir| Path::new(UNPACKED).join(dir));
    let below = dirs.iter().filter_map(|dir| fs::read_dir(dir).ok()).flatten().flatten().map(|entry| entry.path());
    let named = below.filter(|path| path.to_string_lossy().contains("-linux-"));
    env::join_paths(named.chain(dirs.clone())).expect("no path here has a colon")
}
