//! `doorbuster reship`: empties Doorbuster's tables in MySQL, so that the next start ships the whole journal again from
//! its beginning. For rows that somebody has changed, or that belong to a journal which is given up.

use std::io::{self, Write};
use std::path::Path;

use sqlx::mysql::MySqlConnection;
use tokio::runtime::Builder;

use super::exit;
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::ids::{Seq, UnixMillis};
use crate::persist::mysql::reship::{Contents, Whose, empty, look};
use crate::persist::mysql::{ShippedNote, Target};
use crate::persist::{self, DataDirLock, RecordHash, Tail};

/// Says something; whether anybody listens changes nothing of what is done.
macro_rules! tell {
    ($($words:tt)*) => { drop(writeln!(io::stdout(), $($words)*)) };
}

/// Shows what there is to delete, and deletes it where `yes`; gives the exit code: 0 there is nothing left, 1 it was not
/// told to or may not, 2 it could not, 3 a server runs on the data directory.
#[must_use]
pub fn run(config_file: &Path, yes: bool, rows_of: Option<&str>) -> u8 {
    let config = match config::load(config_file, std::env::vars_os()) {
        Ok(config) => config,
        Err(faults) => {
            faults.iter().for_each(|fault| eprintln!("{fault}"));
            return exit::CANNOT;
        }
    };
    match reship(&config, yes, rows_of) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("doorbuster: reship: {error:#}");
            match error.downcast_ref() {
                Some(persist::Error::Locked { .. }) => exit::LOCKED,
                _ => exit::CANNOT,
            }
        }
    }
}

fn reship(config: &Config, yes: bool, rows_of: Option<&str>) -> anyhow::Result<u8> {
    let mysql = config.mysql.as_ref().ok_or_else(|| anyhow::anyhow!("the configuration has no [mysql]"))?;
    let target: Target = mysql.url().parse().map_err(anyhow::Error::msg)?;
    anyhow::ensure!(config.data_dir.is_dir(), "there is no data directory {}", config.data_dir.display());
    let now = Clock::start(UnixMillis(0)).now_ms();
    // Held to the end: a server that starts in between would find the tables half empty.
    let _lock = DataDirLock::take(&config.data_dir, now)?;
    let journal = Journal::in_dir(&config.data_dir)?;
    if journal.base > Seq(0) {
        eprintln!(
            "doorbuster: reship: the journal begins after event {}: what came before is in MySQL and nowhere else, and \
             could not be shipped again",
            journal.base
        );
        return Ok(exit::FAULTY);
    }
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let at_target = |error| anyhow::Error::new(error).context(format!("MySQL at {target}"));
        let Some(mut connection) = target.visit().await.map_err(at_target)? else {
            tell!("there is no database {target}: nothing to delete");
            return Ok(exit::OK);
        };
        let contents = look(&mut connection).await.map_err(at_target)?;
        if contents.is_empty() {
            tell!("{target} has no rows of Doorbuster's: nothing to delete");
            return Ok(exit::OK);
        }
        show(&target, &contents, &journal);
        if !yes {
            tell!("nothing was changed; to delete these rows, run it again with --yes");
            return Ok(exit::FAULTY);
        }
        if let Whose::Of(cursor) = &contents.cursor
            && journal.id.is_none_or(|ours| ours.to_string() != cursor.journal_id)
            && !rows_of.is_some_and(|digits| digits.len() >= 16 && cursor.journal_id.starts_with(digits))
        {
            tell!(
                "nothing was changed: these rows are another journal's, whose server may run elsewhere, and this lock does \
                 not hold it; if it is gone for good, say so with --rows-of {:.16}",
                cursor.journal_id
            );
            return Ok(exit::FAULTY);
        }
        // What this directory's note says of MySQL will not be so any more.
        ShippedNote::of(&config.data_dir).write(Tail::START)?;
        delete(&mut connection, now).await.map_err(at_target)?;
        tell!("done: the next start ships the journal from its first event on");
        Ok(exit::OK)
    })
}

/// The journal that the tables are to be filled from again.
struct Journal {
    /// Its first record's hash; `None` where there is none yet.
    id: Option<RecordHash>,
    /// The last event that was dropped.
    base: Seq,
    last: Seq,
}

impl Journal {
    fn in_dir(data_dir: &Path) -> Result<Self, persist::Error> {
        match persist::open_copy_read_only(data_dir) {
            Ok(copy) => {
                let base = persist::Read::base(&copy)?.tail.seq;
                Ok(Self { id: persist::identity(&copy)?, base, last: copy.tail().seq })
            }
            Err(persist::Error::NoJournal { .. }) => Ok(Self { id: None, base: Seq(0), last: Seq(0) }),
            Err(error) => Err(error),
        }
    }
}

fn show(target: &Target, contents: &Contents, journal: &Journal) {
    match &contents.cursor {
        Whose::Nobody => tell!("{target} has rows, and no cursor that says whose they are:"),
        Whose::Of(cursor) => {
            let (id, seq) = (&cursor.journal_id, cursor.tail.seq);
            if journal.id.is_none_or(|ours| ours.to_string() != *id) {
                tell!(
                    "{target} has the rows of another journal than this one, {id:.16}…, up to event {seq}. They will be lost:"
                );
            } else if seq > journal.last {
                let more = seq.0 - journal.last.0;
                tell!(
                    "{target} has the rows of this journal, {id:.16}…, up to event {seq}. This data directory ends at event \
                     {}: the last {more} events are in MySQL only, and will be lost:",
                    journal.last
                );
            } else {
                tell!("{target} has the rows of this journal, {id:.16}…, up to event {seq}:");
            }
        }
        Whose::BeingEmptied => tell!("{target} was being emptied before; what is left:"),
        Whose::Unreadable(what) => tell!("{target} has rows, and a cursor that cannot be read ({what}):"),
    }
    for (table, rows) in &contents.rows {
        tell!("  {rows:>12} in {table}");
    }
}

async fn delete(connection: &mut MySqlConnection, now: UnixMillis) -> Result<(), persist::mysql::Error> {
    /// Deleted rows of a table between two lines about it.
    const TOLD_ROWS: u64 = 1_000_000;
    let mut last = ("", 0);
    empty(connection, now, |table, gone| {
        if last.0 != table {
            last = (table, 0);
        }
        if gone >= last.1 + TOLD_ROWS {
            tell!("  {gone} rows of {table} are deleted");
            last.1 = gone;
        }
    })
    .await
}
