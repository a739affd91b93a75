//! The log of acknowledgements: every outcome that a shopper was told, one JSON line each, for `doorbuster audit --acks`,
//! which looks for every line in the journal (A1).
//!
//! ```text
//!   shoppers ──lines──▶ bounded channel ──▶ writer thread: write a batch, fdatasync it
//! ```
//!
//! Promises: a line is written only after the reply was read whole; lines of one shopper stand in the order in which they
//! happened; when the log is closed or dropped everything handed in is on disk. Killed in the middle, the file holds a
//! prefix whose last line may be torn, as a client's memory would be. A full channel makes shoppers wait for the disk.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use anyhow::{Context, Result, anyhow, ensure};
use serde::Serialize;

use crate::plan::AcksFile;

/// Lines on the way to the writer.
const WAITING_LINES_MAX: usize = 8192;
/// Lines for one sync; above it a sync would be kept waiting for no gain.
const BATCH_LINES_MAX: usize = 4096;

/// One acknowledgement, with exactly the fields that the audit reads.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(crate) enum Ack<'a> {
    Order {
        user_id: String,
        activity_id: String,
        order_id: String,
        sku_id: &'a str,
        quantity: u32,
        amount_cents: u64,
        slots: &'a [u64],
        state: &'static str,
        key: Option<&'a str>,
        replayed: bool,
        at_ms: u64,
    },
    Grab {
        user_id: String,
        activity_id: String,
        grab_id: String,
        round: usize,
        packet: u32,
        amount_cents: u64,
        state: &'static str,
        key: Option<&'a str>,
        /// Nothing new: the key's packet again, or one that its owner looked up.
        replayed: bool,
        at_ms: u64,
    },
    Cancel {
        user_id: String,
        order_id: String,
        state: &'static str,
    },
    /// What the provider was told of a payment; one that was recorded and refused is owed back.
    Payment {
        payment_id: &'a str,
        order_id: String,
        amount_cents: u64,
        currency: &'a str,
        payment_state: &'static str,
        /// The order's, where the answer says it.
        state: Option<&'static str>,
    },
    /// An operator took a paid order back.
    Refund {
        order_id: String,
        payment_id: &'a str,
        restock: bool,
    },
    /// An operator said that a payment was paid back.
    Repaid {
        payment_id: &'a str,
        order_id: String,
    },
}

/// The open log. Dropping it writes and syncs what it was given.
pub(crate) struct AckLog {
    path: PathBuf,
    lines: Option<SyncSender<String>>,
    writer: Option<JoinHandle<Result<u64>>>,
}

/// A shopper's end of the log.
#[derive(Clone)]
pub(crate) struct AckSender(SyncSender<String>);

impl AckSender {
    /// Hands an acknowledgement to the writer; waits where the disk is behind.
    pub(crate) fn send(&self, ack: &Ack<'_>) -> Result<()> {
        let mut line = serde_json::to_string(ack).context("could not write an acknowledgement as JSON")?;
        line.push('\n');
        self.0.send(line).map_err(|_| anyhow!("the log of acknowledgements stopped"))
    }
}

impl AckLog {
    /// Opens the file and starts the writer.
    pub(crate) fn open(of: &AcksFile) -> Result<Self> {
        let path = of.path.clone();
        let naming = || format!("the log of acknowledgements {}", path.display());
        let file = OpenOptions::new().create(true).append(true).open(&path).with_context(naming)?;
        let len = file.metadata().with_context(naming)?.len();
        ensure!(
            of.append || len == 0,
            "{} holds the lines of another run: name another file, remove it, or say --append-acks",
            naming()
        );
        let (lines, queue) = sync_channel(WAITING_LINES_MAX);
        let writer = std::thread::Builder::new()
            .name("acks".into())
            .spawn(move || write_all(file, &queue))
            .context("could not start the writer of the acknowledgements")?;
        Ok(Self { path, lines: Some(lines), writer: Some(writer) })
    }

    /// An end for a shopper. Every end must be dropped before the log can close.
    pub(crate) fn sender(&self) -> Result<AckSender> {
        self.lines.clone().map(AckSender).context("the log of acknowledgements is closed")
    }

    /// Waits until everything is on disk; how many lines that were.
    pub(crate) fn close(mut self) -> Result<u64> {
        self.finish().with_context(|| format!("the log of acknowledgements {}", self.path.display()))
    }

    fn finish(&mut self) -> Result<u64> {
        self.lines = None;
        match self.writer.take() {
            Some(writer) => writer.join().map_err(|_| anyhow!("the writer panicked"))?,
            None => Ok(0),
        }
    }
}

impl Drop for AckLog {
    fn drop(&mut self) {
        // Nobody is left to tell of a fault here; `close` is for those who want to know.
        let _ = self.finish();
    }
}

/// The writer: returns the number of lines on disk when the last sender is gone.
fn write_all(mut file: File, queue: &Receiver<String>) -> Result<u64> {
    let mut batch = String::new();
    let mut written = 0;
    while let Ok(first) = queue.recv() {
        batch.clear();
        batch.push_str(&first);
        let more = queue.try_iter().take(BATCH_LINES_MAX - 1).map(|line| batch.push_str(&line)).count();
        file.write_all(batch.as_bytes())?;
        file.sync_data()?;
        written += 1 + u64::try_from(more)?;
    }
    Ok(written)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cancelled(user: u64) -> Ack<'static> {
        Ack::Cancel { user_id: user.to_string(), order_id: "7".into(), state: "cancelled" }
    }

    #[test]
    fn what_was_handed_in_is_on_disk_after_an_abrupt_drop() {
        let dir = tempfile::tempdir().expect("a place for the file");
        let path = dir.path().join("acks.jsonl");
        let log = AckLog::open(&AcksFile { path: path.clone(), append: false }).expect("a new file");
        let sender = log.sender().expect("open");
        for user in 0..10_000 {
            sender.send(&cancelled(user)).expect("the writer lives");
        }
        drop(sender);
        drop(log);
        let text = std::fs::read_to_string(&path).expect("the log");
        assert_eq!(text.lines().count(), 10_000);
        assert_eq!(
            text.lines().next_back(),
            Some(r#"{"kind":"cancel","user_id":"9999","order_id":"7","state":"cancelled"}"#)
        );
    }

    #[test]
    fn the_lines_of_another_run_are_not_mixed_with_this_one_unless_told() {
        let dir = tempfile::tempdir().expect("a place for the file");
        let path = dir.path().join("acks.jsonl");
        std::fs::write(&path, "{}\n").expect("an old log");
        assert!(AckLog::open(&AcksFile { path: path.clone(), append: false }).is_err());
        let log = AckLog::open(&AcksFile { path: path.clone(), append: true }).expect("told to append");
        log.sender().expect("open").send(&cancelled(1)).expect("the writer lives");
        assert_eq!(log.close().expect("closed"), 1);
        assert_eq!(std::fs::read_to_string(&path).expect("the log").lines().count(), 2);
    }
}
