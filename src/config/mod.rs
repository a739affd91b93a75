//! Configuration: one TOML file, every key of which a variable of the environment may replace.
//!
//! Reading tells all faults at once, each with its line or variable and its mend. Every key but the secrets has a
//! default. What the shape has and this version has not built is refused by its name. Paths are relative to the file's
//! directory. Plain data comes out: nothing here opens a socket or a journal.

mod auth;
mod environment;
mod files;
mod limits;
mod secret;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::faults::{At, Fault, Faults, Fields, Node, clipped, tree};
use crate::ids::JSON_INTEGER_MAX;

pub use auth::{Auth, Keys, PublicKeyAlgorithm};
pub use limits::Limits;
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

/// `[catalog]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Catalog {
    /// The directory with one file an activity.
    pub dir: PathBuf,
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
    /// Where the catalogue lies, if that much could be read; so that `check` can look there even in a faulty file.
    pub catalog_dir: Option<PathBuf>,
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
            Survey { config: None, catalog_dir: None, faults: faults.into_sorted() }
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
        config(&root, base, &faults)
    });
    let (config, catalog_dir) = read.unzip();
    let config = config.flatten().filter(|_| faults.is_empty());
    Survey { config, catalog_dir, faults: faults.into_sorted() }
}

/// Reads the tree, and the catalogue's directory by itself; where faults were noted, the former is not sound.
fn config(root: &Node, base: &Path, faults: &Faults) -> Option<(Option<Config>, PathBuf)> {
    let mut top = Fields::of(root, "", faults)?;
    let data_dir = directory(&mut top, "data_dir", "data", base);
    let (shopper, operator) = listeners(&mut top);
    let mut section = top.section("auth");
    let auth = auth::read(&mut section, base);
    section.finish();
    let mut section = top.section("limits");
    let limits = limits::read(&mut section);
    section.finish();
    let (journal, catalog, log) = (journal(&mut top), catalog(&mut top, base), log(&mut top));
    unavailable_sections(&mut top);
    top.finish();
    let catalog_dir = catalog.dir.clone();
    let config = auth.map(|auth| Config { data_dir, shopper, operator, auth, journal, catalog, limits, log });
    Some((config, catalog_dir))
}

fn directory(fields: &mut Fields<'_>, name: &'static str, default: &str, base: &Path) -> PathBuf {
    let text = fields.text(name).unwrap_or(default);
    if text.is_empty() {
        fields.fault(name, "is empty", format!("name a directory, such as \"{default}\""));
    }
    base.join(text)
}

fn listeners(top: &mut Fields<'_>) -> (Shopper, Operator) {
    let mut section = top.section("shopper");
    let listen = address(&mut section, SocketAddr::from(([127, 0, 0, 1], 8080)));
    let shopper = Shopper { listen, cors_origins: cors_origins(&mut section) };
    section.finish();

    let mut section = top.section("operator");
    let operator = Operator { listen: address(&mut section, SocketAddr::from(([127, 0, 0, 1], 8081))) };
    let (a, b) = (shopper.listen, operator.listen);
    let same_host = a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified();
    // Port 0 asks for any free one, so two of these never meet.
    if same_host && a.port() == b.port() && a.port() != 0 {
        section.fault("listen", "is the shopper's address too", "give each listener a port of its own");
    }
    section.finish();
    (shopper, operator)
}

fn address(section: &mut Fields<'_>, default: SocketAddr) -> SocketAddr {
    let Some(text) = section.text("listen") else { return default };
    text.parse().unwrap_or_else(|_| {
        let what = format!("\"{}\" is not an address with a port", clipped(text));
        section.fault("listen", what, format!("write numbers, such as \"{default}\"; 0.0.0.0 listens everywhere"));
        default
    })
}

fn cors_origins(section: &mut Fields<'_>) -> Vec<String> {
    const ORIGINS_MAX: usize = 100;
    let origins = section.texts("cors_origins").unwrap_or_default();
    if origins.len() > ORIGINS_MAX {
        section.fault("cors_origins", format!("must be at most {ORIGINS_MAX}"), "name fewer origins");
    }
    for origin in &origins {
        let host = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://")).unwrap_or_default();
        // A browser sends an origin in lower case and without a path; anything else would never match.
        let plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b':' | b'[' | b']');
        if host.is_empty() || !host.bytes().all(plain) {
            let what = format!("\"{}\" is not an origin as a browser sends it", clipped(origin));
            section.fault("cors_origins", what, "write scheme, host and port only, such as \"https://shop.example\"");
        }
    }
    origins.into_iter().map(str::to_owned).collect()
}

fn journal(top: &mut Fields<'_>) -> Journal {
    const MIB: u64 = 1 << 20;
    const DAYS_MAX: u32 = 36_500;
    const RETAIN_S_MAX: u64 = 3_650 * 24 * 3600;
    let mut section = top.section("journal");
    if let Some(level) = section.text("durability").filter(|level| *level != "fsync") {
        let level = format!("durability \"{}\"", clipped(level));
        section.unavailable("durability", &level, "write \"fsync\", or leave it out");
    }
    let journal = Journal {
        durability: Durability::Fsync,
        min_free_bytes: section.integer("min_free_bytes", 0..=JSON_INTEGER_MAX).unwrap_or(1024 * MIB),
        generation_max_bytes: section.integer("generation_max_bytes", MIB..=1024 * 1024 * MIB).unwrap_or(256 * MIB),
        keep_generations_days: section.integer("keep_generations_days", 0..=DAYS_MAX).unwrap_or(7),
        retain_ended_s: section.integer("retain_ended_s", 0..=RETAIN_S_MAX).unwrap_or(86_400),
    };
    section.finish();
    journal
}

fn catalog(top: &mut Fields<'_>, base: &Path) -> Catalog {
    let mut section = top.section("catalog");
    let catalog = Catalog { dir: directory(&mut section, "dir", "catalog", base) };
    if let Some(source) = section.text("source") {
        let source = format!("source \"{}\"", clipped(source));
        section.unavailable("source", &source, "write dir = \"catalog\" instead, with one file an activity");
    }
    section.finish();
    catalog
}

fn log(top: &mut Fields<'_>) -> Log {
    let mut section = top.section("log");
    let format = match section.choice("format", &["text", "json"]) {
        Some("json") => LogFormat::Json,
        _ => LogFormat::Text,
    };
    let level = section.choice("level", &["error", "warn", "info", "debug", "trace"]).unwrap_or("info");
    section.finish();
    Log { format, level }
}

/// Sections of the shape that later versions read. Passing over them would pretend that they do something.
fn unavailable_sections(top: &mut Fields<'_>) {
    for name in ["mysql", "payments"] {
        if top.has(name) {
            top.unavailable(name, &format!("[{name}]"), "remove this section");
        }
    }
}
