//! `[mysql]`: where orders are shipped to.

use std::path::Path;

use sqlx::mysql::MySqlConnectOptions;

use crate::faults::Fields;
use crate::ids::JSON_INTEGER_MAX;

use super::auth;
use super::secret::Secret;

/// How orders reach MySQL. Without the section the journal is the only store.
#[derive(Clone, Debug)]
pub struct Mysql {
    url: Secret,
    /// Events that may wait to be shipped; beyond, new orders are refused.
    pub backlog_events_max: u64,
}

impl Mysql {
    /// `mysql://user:password@host:3306/database`; found to be one. Holds a password, so it is kept like one.
    ///
    /// # Panics
    /// Never: what is read is text.
    #[must_use]
    pub fn url(&self) -> &str {
        std::str::from_utf8(self.url.expose()).expect("a URL that was read is text")
    }
}

/// Reads the section; `None` only where a fault was noted.
pub fn read(section: &mut Fields<'_>, base: &Path) -> Option<Mysql> {
    const MEND: &str = "write mysql://user:password@host:3306/database; %40 and the like stand for @ and its like";
    let url = auth::here_or_in_file(section, "url", "url_file", base);
    if url.is_none() && !section.has("url") && !section.has("url_file") {
        section.fault("url", "is missing", "set it, url_file or DOORBUSTER_MYSQL__URL, or remove [mysql]");
    }
    let backlog_events_max = section.integer("backlog_events_max", 1..=JSON_INTEGER_MAX).unwrap_or(50_000_000);
    let (name, url) = url?;
    match why_not(&url) {
        Some(why) => {
            section.fault(name, why, MEND);
            None
        }
        None => Some(Mysql { url: Secret::new(url), backlog_events_max }),
    }
}

/// What is wrong with a URL; never the URL itself, which may hold a password.
fn why_not(url: &[u8]) -> Option<String> {
    let Ok(text) = std::str::from_utf8(url) else { return Some("is not UTF-8".to_owned()) };
    if !text.starts_with("mysql://") && !text.starts_with("mariadb://") {
        return Some("does not begin with mysql://".to_owned());
    }
    match text.parse::<MySqlConnectOptions>() {
        Err(error) => Some(format!("is not a URL of a database: {error}")),
        Ok(options) if options.get_database().is_none_or(|name| name.is_empty() || name.contains('`')) => {
            Some("names no database".to_owned())
        }
        Ok(_) => None,
    }
}
