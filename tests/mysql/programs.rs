//! Where mariadbd is: what the system has, or what scripts/need.sh unpacked.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A MariaDB that can be run.
#[derive(Debug)]
pub struct Programs {
    server: PathBuf,
    installer: PathBuf,
    /// The root of unpacked packages, whose programs do not find their libraries and messages by themselves.
    unpacked: Option<PathBuf>,
    /// As the server tells it.
    pub version: String,
}

impl Programs {
    /// `None` where MariaDB is missing and is to be done without.
    pub fn find() -> Option<Self> {
        let path = env::var_os("PATH").unwrap_or_default();
        // Servers are where not everybody's PATH looks.
        let dirs: Vec<PathBuf> =
            env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]).collect();
        let of_system = || {
            // The installer asks it, and it is in another package.
            first(&dirs, "my_print_defaults")?;
            Self::at(&first(&dirs, "mariadbd")?, &first(&dirs, "mariadb-install-db")?, None)
        };
        let tools = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/target/tools"));
        let unpacked =
            || Self::at(&tools.join("usr/sbin/mariadbd"), &tools.join("usr/bin/mariadb-install-db"), Some(tools));
        let found = of_system().or_else(unpacked);
        if found.is_none() {
            let missing = "NOT RUN: mariadbd is missing; apt-get install mariadb-server-core mariadb-client-core";
            println!("{missing}");
            let skip = env::var("SKIP").unwrap_or_default();
            let skipped = skip.split([',', ' ']).any(|word| word == "mysql");
            assert!(skipped, "{missing}, or say SKIP=mysql");
        }
        found
    }

    fn at(server: &Path, installer: &Path, unpacked: Option<&Path>) -> Option<Self> {
        let mut programs = Self {
            server: server.into(),
            installer: installer.into(),
            unpacked: unpacked.map(Into::into),
            version: String::new(),
        };
        let told =
            programs.with_libraries(server).arg("--version").output().ok().filter(|told| told.status.success())?;
        programs.version = String::from_utf8_lossy(&told.stdout).trim().to_owned();
        Some(programs)
    }

    /// The server, which reads nobody's option files.
    pub fn server(&self) -> Command {
        self.program(&self.server)
    }

    /// What makes a data directory.
    pub fn installer(&self) -> Command {
        self.program(&self.installer)
    }

    fn program(&self, program: &Path) -> Command {
        let mut command = self.with_libraries(program);
        command.arg("--no-defaults");
        if let Some(root) = &self.unpacked {
            // Messages, character sets and plugins are looked for below it, by the server and the installer alike.
            command.arg(option("--basedir=", &root.join("usr")));
        }
        // A server refuses to run as root unless it is told to.
        if rustix::process::geteuid().is_root() {
            command.arg("--user=root");
        }
        command
    }

    fn with_libraries(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        if let Some(root) = &self.unpacked {
            let libraries = ["usr/lib", "lib"].map(|dir| root.join(dir));
            // Debian has them one below, in a directory named after the machine.
            let below = libraries.iter().filter_map(|dir| fs::read_dir(dir).ok()).flatten().flatten();
            let named = below.map(|entry| entry.path()).filter(|path| path.to_string_lossy().contains("-linux-"));
            let all = env::join_paths(named.chain(libraries.clone())).expect("no path here has a colon");
            command.env("LD_LIBRARY_PATH", all);
        }
        command
    }
}

/// An option that names a path.
pub fn option(name: &str, path: &Path) -> OsString {
    let mut option = OsString::from(name);
    option.push(path);
    option
}

fn first(dirs: &[PathBuf], name: &str) -> Option<PathBuf> {
    dirs.iter().map(|dir| dir.join(name)).find(|place| place.is_file())
}
