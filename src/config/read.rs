//! From a tree to a configuration, section by section; `[auth]` and `[limits]` have files of their own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::faults::{Faults, Fields, Node, clipped};
use crate::ids::JSON_INTEGER_MAX;

use super::{
    Catalog, Config, Durability, Journal, Log, LogFormat, Mysql, Operator, Shopper, auth, limits, mysql, payments,
};

/// What a tree gives; where faults were noted, `config` is not sound.
#[derive(Default)]
pub struct Read {
    pub config: Option<Config>,
    pub catalog_dir: Option<PathBuf>,
    pub catalog_table: Option<Mysql>,
}

/// Reads the tree, and where the catalogue lies by itself.
pub fn config(root: &Node, base: &Path, faults: &Faults) -> Option<Read> {
    let mut top = Fields::of(root, "", faults)?;
    let data_dir = directory(&mut top, "data_dir", "data", base);
    let (shopper, operator) = listeners(&mut top);
    let mut section = top.section("auth");
    let auth = auth::read(&mut section, base);
    section.finish();
    let mut section = top.section("limits");
    let limits = limits::read(&mut section);
    section.finish();
    let (journal, log) = (journal(&mut top), log(&mut top));
    let mysql = top.has("mysql").then(|| {
        let mut section = top.section("mysql");
        let mysql = mysql::read(&mut section, base);
        section.finish();
        mysql
    });
    let catalog = catalog(&mut top, base, mysql.is_some());
    let payments = top.has("payments").then(|| {
        let mut section = top.section("payments");
        let payments = payments::read(&mut section, base);
        section.finish();
        payments
    });
    top.finish();
    let (mysql, payments) = (mysql.flatten(), payments.flatten());
    let (catalog_dir, catalog_table) = match &catalog {
        Catalog::Dir(dir) => (Some(dir.clone()), None),
        Catalog::Mysql => (None, mysql.clone()),
    };
    let config =
        auth.map(|auth| Config { data_dir, shopper, operator, auth, journal, catalog, mysql, payments, limits, log });
    Some(Read { config, catalog_dir, catalog_table })
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

fn catalog(top: &mut Fields<'_>, base: &Path, has_mysql: bool) -> Catalog {
    let mut section = top.section("catalog");
    let catalog = match section.choice("source", &["dir", "mysql"]) {
        Some("mysql") => {
            if section.has("dir") {
                section.fault("dir", "is not used with source = \"mysql\"", "remove it, or remove source");
            }
            if !has_mysql {
                section.fault("source", "\"mysql\" needs [mysql]", "add [mysql] with its url, or write \"dir\"");
            }
            Catalog::Mysql
        }
        _ => Catalog::Dir(directory(&mut section, "dir", "catalog", base)),
    };
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
