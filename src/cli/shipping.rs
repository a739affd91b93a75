//! Where orders are shipped to, as the configuration says; and whether what is there already fits the journal here.

use std::path::Path;
use std::time::Duration;

use crate::actors::Shipped;
use crate::config;
use crate::ids::Seq;
use crate::persist::mysql::{Error, ShippedNote, Target, cursor, of_journal};
use crate::persist::{Read, Tail, identity, portion};

/// How long a start waits for MySQL to say what it has. Whatever does not answer by then does not keep a sale from opening.
const ANSWER_WAIT: Duration = Duration::from_secs(5);

/// What `[mysql]` gives.
pub struct Mysql {
    /// Where MySQL is.
    pub target: Target,
    /// Where its cursor is noted.
    pub note: ShippedNote,
    backlog_events_max: u64,
}

impl Mysql {
    /// From the configuration, which has been found sound.
    #[must_use]
    pub fn new(mysql: &config::Mysql, data_dir: &Path) -> Self {
        let target = mysql.url().parse().expect("the configuration holds the URL of a database");
        Self { target, note: ShippedNote::of(data_dir), backlog_events_max: mysql.backlog_events_max }
    }

    /// What is known of MySQL before it was asked.
    #[must_use]
    pub fn shipped<R: Read>(&self, journal: &R) -> Shipped {
        let noted = self.note.last().filter(|noted| has(journal, *noted).is_ok());
        // What was dropped MySQL had.
        let base = journal.base().map_or(Seq(0), |base| base.tail.seq);
        Shipped::new(self.backlog_events_max, noted.map_or(base, |noted| noted.seq))
    }

    /// Holds the journal to MySQL's cursor (J3): a journal that does not have what MySQL has would sell it again.
    ///
    /// # Errors
    /// [`Error::OtherJournal`], [`Error::Behind`], [`Error::Journal`]. Where MySQL does not tell, all is well for now: the
    /// shipper holds the cursor to the journal again, before it ships.
    pub async fn must_agree<R: Read>(&self, journal: &R) -> Result<(), Error> {
        let asked = async {
            let (mut connection, _) = self.target.connect().await?;
            cursor::read(&mut connection, false).await
        };
        match tokio::time::timeout(ANSWER_WAIT, asked).await {
            Ok(Ok(cursor)) => match of_journal(cursor, identity(journal)?)? {
                Some(cursor) => match has(journal, cursor) {
                    // Of MySQL it is that something is gone: nothing is sold again, and the shipper tells what helps.
                    Err(crate::persist::Error::Dropped { .. }) => Ok(()),
                    had => had.map_err(|error| Error::behind(cursor, error)),
                },
                None => Ok(()),
            },
            // Nothing has been shipped there yet, or it is away: the shipper tells more.
            Ok(Err(Error::Sql { .. } | Error::Silent { .. })) | Err(_) => Ok(()),
            Ok(Err(error)) => Err(error),
        }
    }
}

/// Whether the journal had that tail once.
fn has<R: Read>(journal: &R, tail: Tail) -> Result<(), crate::persist::Error> {
    portion(journal, tail, tail.seq, 0).map(|_| ())
}
