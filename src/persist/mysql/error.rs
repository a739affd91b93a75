//! What can go wrong with MySQL, in words an operator can act on.

use std::time::Duration;

use crate::ids::Seq;
use crate::persist::{self, Tail};

/// An operation on MySQL that did not happen, or of which nobody knows whether it did: the cursor there tells.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server cannot be reached, or did not take it.
    #[error("{doing}: {source}")]
    Sql {
        /// At what.
        doing: &'static str,
        /// What the server or the network said.
        source: sqlx::Error,
    },
    /// The server did not answer in time.
    #[error("{doing}: no answer for {} s", after.as_secs())]
    Silent {
        /// At what.
        doing: &'static str,
        /// For how long.
        after: Duration,
    },
    /// A migration failed.
    #[error("bringing the tables up to date: {0}")]
    Migration(#[source] sqlx::migrate::MigrateError),
    /// Another process brings the tables up to date.
    #[error("another process is bringing the tables up to date; it is waited for")]
    Migrating,
    /// The tables were made by a newer version.
    #[error("the tables are those of a newer version of Doorbuster; start that one")]
    Newer,
    /// The rows are those of another journal.
    #[error(
        "MySQL has the orders of another journal ({theirs:.16}…, up to event {seq}; this one is {ours}). What that journal \
         sold, this one would sell again. Bring the data directory back that belongs to them, or name an empty database; \
         or, if no server owns that journal any more, stop this one and run `doorbuster reship`"
    )]
    OtherJournal {
        /// Its id.
        theirs: String,
        /// Where its cursor stands.
        seq: Seq,
        /// The id of the journal here.
        ours: String,
    },
    /// The rows were to be given up, and some of them are.
    #[error(
        "a `doorbuster reship` was cut in the middle, and MySQL has a part of its rows only. Stop the server and run \
         `doorbuster reship` again; it goes on where it was"
    )]
    BeingEmptied,
    /// The journal does not have what MySQL has.
    #[error(
        "MySQL has this journal's events up to {cursor}, and the journal does not lead there: {source}. The data directory \
         is older than MySQL is, and would sell again what was sold. Bring the newer data directory back; or, to give up \
         what only MySQL has, stop the server and run `doorbuster reship`"
    )]
    Behind {
        /// Where MySQL's cursor stands.
        cursor: Seq,
        /// What the journal says of it.
        source: persist::Error,
    },
    /// MySQL lacks events that the journal no longer has.
    #[error(
        "MySQL has this journal's events up to {cursor} only, and the journal begins after event {base}: what lies between \
         was dropped when MySQL had it, so MySQL was set back since. Nothing can be shipped. Restore a newer backup of \
         MySQL, one that has event {base}; or, of the data directory, the dropped generations with the file `base` of that \
         time. `doorbuster reship` cannot help: the journal no longer begins at event 1"
    )]
    BeforeBase {
        /// Where MySQL's cursor stands.
        cursor: Seq,
        /// The last event that was dropped.
        base: Seq,
    },
    /// What is asked for has not come to MySQL, or is not there any more.
    #[error("MySQL has this journal's events up to {cursor}, and what is asked for ends at event {wanted}")]
    Lacks {
        /// Where MySQL's cursor stands.
        cursor: Seq,
        /// The last event that is asked for.
        wanted: Seq,
    },
    /// Somebody else moved the cursor.
    #[error("MySQL's cursor was moved by another process since event {0}; its place is read again")]
    Moved(Seq),
    /// Rows that were shipped are gone or changed.
    #[error(
        "{found} of {expected} rows of `{table}` are there that event {seq} changes: somebody else has changed the table. \
         `doorbuster audit` names the rows; mend them, or stop the server and run `doorbuster reship`"
    )]
    RowsGone {
        /// In which table.
        table: &'static str,
        /// Rows that must be there.
        expected: u64,
        /// Rows that are.
        found: u64,
        /// The first event that wants them.
        seq: Seq,
    },
    /// A row cannot be what the tables say.
    #[error("a row of `{table}` cannot be: {what}; `doorbuster audit` tells more")]
    Unreadable {
        /// In which table.
        table: &'static str,
        /// What of it.
        what: String,
    },
    /// An event does not follow on what MySQL has.
    #[error(
        "event {seq} does not follow on MySQL's rows: {why}. `doorbuster audit` names the rows; mend them, or stop the \
         server and run `doorbuster reship`"
    )]
    Unfit {
        /// Which.
        seq: Seq,
        /// Why not.
        why: &'static str,
    },
    /// The journal cannot be read.
    #[error("{0}")]
    Journal(#[from] persist::Error),
}

/// What is done while there is no connection yet.
pub(super) const CONNECTING: &str = "connecting";

/// Errors of the server that no waiting mends, by number: a duplicate key, a CHECK that does not hold (MySQL, MariaDB), a
/// value or a row that does not fit its table, a table or column that is not there.
const STANDING: [u16; 9] = [1062, 3819, 4025, 1048, 1054, NO_SUCH_TABLE, 1264, 1406, 1136];
const NO_SUCH_TABLE: u16 = 1146;

impl Error {
    pub(super) fn sql(doing: &'static str) -> impl FnOnce(sqlx::Error) -> Self {
        move |source| Self::Sql { doing, source }
    }

    pub(super) fn unfit(seq: Seq, why: &'static str) -> Self {
        Self::Unfit { seq, why }
    }

    /// What an error of reading the journal from MySQL's cursor on means.
    #[must_use]
    pub fn behind(cursor: Tail, source: persist::Error) -> Self {
        match source {
            persist::Error::TailLost { .. } | persist::Error::Forked { .. } => {
                Self::Behind { cursor: cursor.seq, source }
            }
            persist::Error::Dropped { base, .. } => Self::BeforeBase { cursor: cursor.seq, base },
            source => Self::Journal(source),
        }
    }

    /// Whether the server is there and lets us in, whatever it said then; `None` where this says nothing of it.
    #[must_use]
    pub fn has_answered(&self) -> Option<bool> {
        match self {
            Self::Sql { doing, source } => Some(*doing != CONNECTING && source.as_database_error().is_some()),
            Self::Migration(
                sqlx::migrate::MigrateError::Execute(source) | sqlx::migrate::MigrateError::ExecuteMigration(source, _),
            ) => Some(source.as_database_error().is_some()),
            Self::Silent { .. } => Some(false),
            Self::Journal(_) => None,
            _ => Some(true),
        }
    }

    /// Whether MySQL has answered, and what it has says that this journal must not sell (J3).
    #[must_use]
    pub fn forbids_selling(&self) -> bool {
        matches!(self, Self::OtherJournal { .. } | Self::Behind { .. })
    }

    /// Whether it may be over by itself; else somebody has to do what the text says.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Sql { source, .. } | Self::Migration(sqlx::migrate::MigrateError::Execute(source)) => {
                !number(source).is_some_and(|number| STANDING.contains(&number))
            }
            Self::Silent { .. } | Self::Moved(_) | Self::Migrating | Self::Lacks { .. } => true,
            _ => false,
        }
    }

    /// Whether a table is not there.
    #[must_use]
    pub fn is_of_missing_table(&self) -> bool {
        matches!(self, Self::Sql { source, .. } if number(source) == Some(NO_SUCH_TABLE))
    }

    /// Whether MySQL chose this transaction to give way to another (1213), or it waited too long for one (1205): it was
    /// rolled back, and is to be done again as a whole.
    #[must_use]
    pub fn gave_way(&self) -> bool {
        matches!(self, Self::Sql { source, .. } if matches!(number(source), Some(1205 | 1213)))
    }
}

/// The server's number of an error.
fn number(error: &sqlx::Error) -> Option<u16> {
    let database = error.as_database_error()?;
    database.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>().map(sqlx::mysql::MySqlDatabaseError::number)
}
