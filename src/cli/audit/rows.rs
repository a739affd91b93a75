//! X1, X2, X3 and M3: MySQL's rows against the journal. The cursor is read first; then the fold of the audit's one pass over
//! the journal gives what the rows must be at the cursor; then every row is read and compared.

use tokio::runtime::{Builder, Runtime};

use crate::config::Mysql;
use crate::domain::Entry;
use crate::domain::audit::{Id, Report};
use crate::ids::Seq;
use crate::persist::mysql::{Cursor, Error, Expected, Snapshot, Target, of_journal};
use crate::persist::{self, JournalCopy, Tail};

/// What is known of MySQL, and what its rows must be.
pub(super) struct Rows {
    runtime: Runtime,
    target: Target,
    cursor: Option<Cursor>,
    /// Where the cursor stands in this journal, or why it stands nowhere there.
    at: Result<Tail, (Id, String)>,
    /// The event before the journal's first.
    base: Seq,
    expected: Expected,
    unfoldable: Option<String>,
}

impl Rows {
    /// Reads the cursor, and looks for it in the journal.
    pub(super) fn of(mysql: &Mysql, journal: &JournalCopy) -> anyhow::Result<Self> {
        let url = mysql.url();
        let target: Target = url.parse().map_err(anyhow::Error::msg)?;
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let read = runtime.block_on(async {
            let Some(mut snapshot) = Snapshot::take(&target).await? else { return Ok(None) };
            let cursor = snapshot.cursor().await;
            snapshot.leave().await;
            cursor
        });
        let (cursor, at) = match read {
            Ok(cursor) => (cursor.clone(), place(cursor, journal)),
            Err(error @ Error::Unreadable { .. }) => (None, Err((Id::X2, error.to_string()))),
            Err(error) => return Err(away(error, &target)),
        };
        let base = persist::Read::base(journal)?.tail.seq;
        Ok(Self { runtime, target, cursor, at, base, expected: Expected::default(), unfoldable: None })
    }

    /// Takes an event in.
    pub(super) fn observe(&mut self, seq: Seq, entry: &Entry) {
        if self.unfoldable.is_none() && self.at.as_ref().is_ok_and(|cursor| seq <= cursor.seq) {
            self.unfoldable = self.expected.take(seq, entry).err().map(|error| error.to_string());
        }
    }

    /// Compares the rows, and says what was found. `events` is how many the journal has.
    pub(super) fn report(self, events: Seq, checkpoint: Option<Seq>, report: &mut Report) -> anyhow::Result<()> {
        let cursor = match &self.at {
            Ok(tail) => tail.seq,
            Err((id, fault)) => {
                report.broken(*id, fault.clone());
                report.note(Id::X1, "the rows are not compared: nobody knows which events they should be".to_owned());
                return Ok(());
            }
        };
        report.held(Id::X2, 1);
        report.held(Id::J3, 1);
        report.check(Id::X3, dropped_too_much(self.base, cursor, checkpoint).is_none(), || {
            dropped_too_much(self.base, cursor, checkpoint).unwrap_or_default()
        });
        let behind = events.0.saturating_sub(cursor.0);
        let target = &self.target;
        report.note(
            Id::X2,
            match &self.cursor {
                None => format!("{target} has nothing of this journal yet; {behind} events are to be shipped"),
                Some(_) => format!("{target} has the events up to {cursor}; {behind} later ones are not shipped yet"),
            },
        );
        if self.base > Seq(0) {
            report.note(Id::X1, format!("the rows are not compared: the journal begins after event {}", self.base));
            return Ok(());
        }
        if let Some(why) = self.unfoldable {
            report.broken(Id::X1, why);
            return Ok(());
        }
        if self.expected.seq() != cursor {
            report.note(Id::X1, "the rows are not compared: the journal cannot be read up to the cursor".to_owned());
            return Ok(());
        }
        let compared = self.runtime.block_on(async {
            let Some(mut snapshot) = Snapshot::take(target).await? else { return Ok((None, Vec::new())) };
            let compared = (snapshot.cursor().await?, snapshot.compare(&self.expected).await?);
            snapshot.leave().await;
            Ok(compared)
        });
        let (cursor_now, tables) = compared.map_err(|error| away(error, target))?;
        anyhow::ensure!(
            cursor_now == self.cursor,
            "MySQL at {target}: somebody moved the cursor while the audit read; is another server shipping there?"
        );
        for table in tables {
            // Its rows are the credits, one for each grab of the journal.
            if table.table == "red_packet_grabs" {
                report.held(Id::M3, table.rows.saturating_sub(table.differences));
                if let Some(first) = &table.first {
                    report.broken_times(Id::M3, table.differences, first.clone());
                }
            }
            report.held(Id::X1, table.rows.saturating_sub(table.differences));
            if let Some(first) = table.first {
                let more = match table.differences - 1 {
                    0 => String::new(),
                    1 => " (and 1 more difference)".to_owned(),
                    more => format!(" (and {more} more differences)"),
                };
                report.broken_times(Id::X1, table.differences, first + &more);
            }
        }
        Ok(())
    }
}

/// Where the cursor stands in the journal: at its start where there is none; or which invariant says otherwise, and why.
fn place(cursor: Option<Cursor>, journal: &JournalCopy) -> Result<Tail, (Id, String)> {
    if cursor.is_none() {
        return Ok(Tail::START);
    }
    let ours = persist::identity(journal).map_err(|error| (Id::X2, error.to_string()))?;
    let tail = of_journal(cursor, ours).map_err(|error| (Id::X2, error.to_string()))?.unwrap_or(Tail::START);
    match persist::replay(journal, tail, tail.seq, |_, _| ()) {
        Ok(_) => Ok(tail),
        Err(source @ persist::Error::TailLost { .. }) => {
            Err((Id::J3, Error::Behind { cursor: tail.seq, source }.to_string()))
        }
        Err(source @ persist::Error::Forked { .. }) => {
            Err((Id::X2, Error::Behind { cursor: tail.seq, source }.to_string()))
        }
        Err(source @ persist::Error::Dropped { .. }) => Err((Id::X3, Error::behind(tail, source).to_string())),
        Err(error) => Err((Id::X2, format!("the cursor's event {} cannot be looked at: {error}", tail.seq))),
    }
}

/// What was dropped from the journal that MySQL or the newest checkpoint does not have (X3). `base` is the last event
/// that was dropped.
fn dropped_too_much(base: Seq, cursor: Seq, checkpoint: Option<Seq>) -> Option<String> {
    let may_go = cursor.min(checkpoint.unwrap_or(Seq(0)));
    (base > may_go).then(|| {
        let checkpoint = checkpoint.map_or("none".to_owned(), |at| format!("at event {at}"));
        format!(
            "the journal begins after event {base}, but MySQL's cursor is at event {cursor} and the newest checkpoint {checkpoint}"
        )
    })
}

fn away(error: Error, target: &Target) -> anyhow::Error {
    anyhow::Error::new(error)
        .context(format!("MySQL at {target} could not be read (`--without-mysql` checks the rest)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_neither_mysql_nor_a_checkpoint_lacks_may_be_dropped() {
        for (base, cursor, checkpoint, holds) in [
            (0, 0, None, true),
            (0, 9, Some(5), true),
            (5, 9, Some(5), true),
            (6, 9, Some(5), false),
            (6, 5, Some(9), false),
            (1, 9, None, false),
        ] {
            let found = dropped_too_much(Seq(base), Seq(cursor), checkpoint.map(Seq));
            assert_eq!(found.is_none(), holds, "{base} {cursor} {checkpoint:?}: {found:?}");
        }
    }
}
