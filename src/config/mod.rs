//! Configuration: one TOML file, every key of which a variable of the environment may replace.
//!
//! Reading tells all faults at once, each with its line or variable and its mend. Every key but the secrets has a
//! default. Paths are relative to the file's
//! directory. Plain data comes out: nothing here opens a socket or a journal.

mod auth;
mod environment;
mod files;
mod limits;
mod mysql;
mod payments;
mod read;
mod secret;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::faults::{At, Fault, Faults, tree};

pub use auth::{Auth, Keys, PublicKeyAlgorithm};
pub use limits::Limits;
pub use mysql::Mysql;
pub use payments::Payments;
pub use secret::{SECRET_BYTES_MIN, Secret};

/// The whole configuration, read and found sound.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the journal lives; locked by the one server that uses it.
    pub data_dir: PathBuf,
    /// The public listener.
    pub shopper: Shopper,
    /// The listener for administration and metrics.
    pub operator: Operator,
    /// How a token is checked.
    pub auth: Auth,
    /// What the journal keeps, and how surely.
    pub journal: Journal,
    /// Where activities are defined.
    pub catalog: Catalog,
    /// Where orders are shipped to; `None` where the journal is the only store.
    pub mysql: Option<Mysql>,
    /// How payment callbacks are known; `None` where none are taken.
    pub payments: Option<Payments>,
    /// Every bound on what the outside may ask of the process.
    pub limits: Limits,
    /// What is logged, and how.
    pub log: Log,
}

/// `[shopper]`: the public listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shopper {
    /// Address and port.
    pub listen: SocketAddr,
    /// Origins whose pages may call from a browser, such as `https://shop.example`; none by default.
    pub cors_origins: Vec<String>,
}

/// `[operator]`: a listener of its own, so that it can stay off the public network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operator {
    /// Address and port.
    pub listen: SocketAddr,
}

/// `[journal]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Journal {
    /// When an event counts as kept.
    pub durability: Durability,
    /// Free bytes on the disk below which new orders are refused.
    pub min_free_bytes: u64,
    /// Bytes after which a fresh generation begins.
    pub generation_max_bytes: u64,
    /// Days that a generation is kept after it could be dropped.
    pub keep_generations_days: u32,
    /// Seconds after its end at which an activity leaves memory.
    pub retain_ended_s: u64,
}

/// When an event counts as kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Once fdatasync returned. The only level: a weaker one would break the promise that a yes is kept.
    Fsync,
}

impl Durability {
    /// The word of the configuration and of `/readyz`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fsync => "fsync",
        }
    }
}

/// `[catalog]`: where activities are defined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Catalog {
    /// The directory with one file an activity.
    Dir(PathBuf),
    /// The table `catalog_activity`, where `[mysql]` says. Only in a configuration that has that section.
    Mysql,
}

/// `[log]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log {
    /// For people or for machines.
    pub format: LogFormat,
    /// The least level that is logged: `error`, `warn`, `info`, `debug` or `trace`.
    pub level: &'static str,
}

/// How a log line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What a configuration file gives, sound or not.
#[derive(Clone, Debug)]
pub struct Survey {
    /// The configuration, if nothing was wrong.
    pub config: Option<Config>,
    /// Where the catalogue's files lie, if that much could be read; so that `check` can look there even in a faulty file.
    pub catalog_dir: Option<PathBuf>,
    /// Where the catalogue's table lies, likewise.
    pub catalog_table: Option<Mysql>,
    /// All that is wrong.
    pub faults: Vec<Fault>,
}

/// Reads `file` and the environment, such as `std::env::vars_os()`. Of the environment only names that begin with
/// `DOORBUSTER_` matter.
///
/// # Errors
/// All faults, in the order of their places.
pub fn load<N, V>(file: &Path, environment: impl IntoIterator<Item = (N, V)>) -> Result<Config, Vec<Fault>>
where
    N: Into<OsString>,
    V: Into<OsString>,
{
    let survey = survey(file, environment);
    survey.config.ok_or(survey.faults)
}

/// Like [`load`], and tells what it could read of a faulty file too.
#[must_use]
pub fn survey<N, V>(file: &Path, environment: impl IntoIterator<Item = (N, V)>) -> Survey
where
    N: Into<OsString>,
    V: Into<OsString>,
{
    let faults = Faults::new(Some(file));
    match files::read_text(file) {
        Ok(text) => examine(&text, file, environment, faults),
        Err(error) => {
            let mend = "name the configuration's file with --config";
            faults.push(&At::Nowhere, "", format!("cannot be read: {error}"), mend);
            Survey { config: None, catalog_dir: None, catalog_table: None, faults: faults.into_sorted() }
        }
    }
}

/// Like [`load`], of a text that is already in memory; `file` says where it came from and is not opened.
///
/// # Errors
/// All faults, in the order of their places.
pub fn parse<N, V>(text: &str, file: &Path, environment: impl IntoIterator<Item = (N, V)>) -> Result<Config, Vec<Fault>>
where
    N: Into<OsString>,
    V: Into<OsString>,
{
    let survey = examine(text, file, environment, Faults::new(Some(file)));
    survey.config.ok_or(survey.faults)
}

fn examine<N, V>(text: &str, file: &Path, environment: impl IntoIterator<Item = (N, V)>, faults: Faults) -> Survey
where
    N: Into<OsString>,
    V: Into<OsString>,
{
    let base = file.parent().unwrap_or(Path::new(""));
    let read = tree::from_toml(text, &faults).and_then(|mut root| {
        environment::overlay(&mut root, environment, &faults);
        read::config(&root, base, &faults)
    });
    let read = read.unwrap_or_default();
    let config = read.config.filter(|_| faults.is_empty());
    Survey { config, catalog_dir: read.catalog_dir, catalog_table: read.catalog_table, faults: faults.into_sorted() }
}
