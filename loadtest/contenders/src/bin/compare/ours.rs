//! Doorbuster as a shop would run it: the release build, a configuration with the defaults, a catalogue of files.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use contenders::{ISSUER, PAYMENT_WINDOW_S, PER_USER_LIMIT, PRICE_CENTS, SECRET, SKU, SKU_GONE, STOCK, Work};
use serde_json::Value;

use crate::client::get;
use crate::process::Process;
use crate::tools::Tool;

pub(crate) struct Ours {
    pub(crate) process: Process,
    pub(crate) shopper: SocketAddr,
    operator: SocketAddr,
}

impl Ours {
    /// Starts it in a fresh directory, shipping to MySQL where a URL is given, with one more activity where that is given.
    pub(crate) fn start(dir: &Path, shards: u16, mysql: Option<&str>, more: Option<(u64, &str)>) -> Result<Self> {
        let (shopper, operator) = (free_address()?, free_address()?);
        let shipping = mysql.map(|url| format!("[mysql]\nurl = \"{url}\"\n")).unwrap_or_default();
        let config = format!(
            "data_dir = \"data\"\n[shopper]\nlisten = \"{shopper}\"\n[operator]\nlisten = \"{operator}\"\n\
             [auth]\nsecret = \"{SECRET}\"\nissuer = \"{ISSUER}\"\naudience = \"{ISSUER}\"\n\
             [catalog]\ndir = \"catalog\"\n{shipping}"
        );
        fs::write(dir.join("doorbuster.toml"), config)?;
        fs::create_dir(dir.join("catalog"))?;
        for work in Work::ALL {
            fs::write(dir.join(format!("catalog/{}.toml", work.activity())), definition(shards))?;
        }
        if let Some((id, definition)) = more {
            fs::write(dir.join(format!("catalog/{id}.toml")), definition)?;
        }
        let mut command = Tool::ours("doorbuster")?.command();
        command.arg("serve").arg("--config").arg(dir.join("doorbuster.toml"));
        let mut process = Process::start("doorbuster", &mut command, dir)?;
        process.until("it is ready", |_| {
            let ready = get(shopper, "/readyz", None).ok()?;
            // Degraded, such as by a faulty catalogue, would not be what is to be measured.
            (ready.status == 200 && ready.body.contains(r#""status":"ready""#)).then_some(())
        })?;
        Ok(Self { process, shopper, operator })
    }

    /// The orders that an activity has accepted.
    pub(crate) fn accepted(&self, work: Work, operator: &str) -> Result<u64> {
        let path = format!("/admin/v1/activities/{}/stats", work.activity());
        let reply = get(self.operator, &path, Some(operator))?;
        ensure!(reply.status == 200, "{path}: {}", reply.body);
        let stats: Value = serde_json::from_str(&reply.body)?;
        stats["accepted"].as_u64().context("stats tell what was accepted")
    }

    /// Events that MySQL does not have yet.
    pub(crate) fn lag_events(&self) -> Result<u64> {
        let ready: Value = serde_json::from_str(&get(self.shopper, "/readyz", None)?.body)?;
        ready["mysql"]["lag_events"].as_u64().context("/readyz tells how far MySQL is behind")
    }

    /// How often a group of the journal took how long, from its first byte to the end of its fdatasync: the upper bound
    /// in seconds of each class, and the groups up to it.
    pub(crate) fn journal_groups(&self) -> Result<Vec<(f64, f64)>> {
        let text = get(self.operator, "/metrics", None)?.body;
        let classes = text.lines().filter_map(|line| {
            let rest = line.strip_prefix("doorbuster_journal_append_seconds_bucket{le=\"")?;
            let (bound, count) = rest.split_once("\"} ")?;
            let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().ok()? };
            Some((bound, count.split(' ').next()?.parse().ok()?))
        });
        let classes: Vec<_> = classes.collect();
        ensure!(!classes.is_empty(), "the metrics tell nothing of the journal");
        Ok(classes)
    }
}

fn definition(shards: u16) -> String {
    let mut text = format!(
        "kind = \"flash_sale\"\ntitle = \"Doorbuster phones\"\nstarts_at = \"2025-01-01T00:00:00+08:00\"\n\
         ends_at = \"2095-01-01T00:00:00+08:00\"\nshards = {shards}\nper_user_limit = {PER_USER_LIMIT}\n\
         payment_window_s = {PAYMENT_WINDOW_S}\nshared_sku = true\n"
    );
    for (sku, stock) in [(SKU, STOCK), (SKU_GONE, 0)] {
        text +=
            &format!("[[skus]]\nsku_id = \"{sku}\"\ntitle = \"Phone\"\nprice_cents = {PRICE_CENTS}\nstock = {stock}\n");
    }
    text
}

/// An address that was free a moment ago.
pub(crate) fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}
