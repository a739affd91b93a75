//! Where the catalogue is read from: a directory of files, or a table in MySQL. Both give the same entries and faults; only
//! a table can be out of reach, and then nothing is known of what it says.

use std::path::PathBuf;

use actix_web::web::block;

use crate::catalog::{self, ENTRIES_MAX, FILE_BYTES_MAX, Reading, TABLE_BYTES_MAX};
use crate::config::{self, Catalog, Config};
use crate::domain::Definition;
use crate::faults::Fault;
use crate::ids::ActivityId;
use crate::persist::mysql::catalog::{Bounds, look, read};
use crate::persist::mysql::{Error, Target};

const BOUNDS: Bounds = Bounds { rows_max: ENTRIES_MAX, row_bytes_max: FILE_BYTES_MAX, bytes_max: TABLE_BYTES_MAX };

/// Why the blocking reads below cannot fail to run.
const POOL: &str = "the pool of blocking threads outlives what is spawned on the runtime";

/// See the module.
#[derive(Clone, Debug)]
pub enum CatalogSource {
    /// The directory with one file an activity.
    Dir(PathBuf),
    /// The table in the database there.
    Mysql(Box<Target>),
}

/// The table could not be read, for this reason.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unread(String);

impl Unread {
    fn new(target: &Target, error: &Error) -> Self {
        Self(format!("the catalogue in MySQL at {target} cannot be read: {error}"))
    }
}

impl CatalogSource {
    /// As a sound configuration says.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        match (&config.catalog, &config.mysql) {
            (Catalog::Dir(dir), _) => Self::Dir(dir.clone()),
            (Catalog::Mysql, Some(mysql)) => Self::Mysql(Box::new(target(mysql))),
            (Catalog::Mysql, None) => unreachable!("the configuration's reader refuses this"),
        }
    }

    /// Reads one activity afresh; `None` where the catalogue does not have it.
    ///
    /// # Errors
    /// [`Unread`].
    pub(super) async fn read_one(
        &self,
        activity_id: ActivityId,
    ) -> Result<Option<Result<Definition, Vec<Fault>>>, Unread> {
        let read = match self.clone() {
            Self::Dir(dir) => block(move || catalog::read_one(&dir, activity_id)).await,
            Self::Mysql(target) => {
                let rows = Box::pin(read(&target, Some(activity_id), BOUNDS))
                    .await
                    .map_err(|error| Unread::new(&target, &error))?;
                block(move || catalog::read_row(activity_id, rows.rows)).await
            }
        };
        Ok(read.expect(POOL).transpose())
    }

    /// Reads every activity afresh.
    ///
    /// # Errors
    /// [`Unread`].
    pub(super) async fn read_all(&self) -> Result<Reading, Unread> {
        let reading = match self.clone() {
            Self::Dir(dir) => block(move || catalog::read_all(&dir)).await,
            Self::Mysql(target) => {
                let rows = Box::pin(read(&target, None, BOUNDS)).await.map_err(|error| Unread::new(&target, &error))?;
                block(move || catalog::read_rows(rows.rows, rows.is_cut)).await
            }
        };
        Ok(reading.expect(POOL))
    }
}

/// Reads the table where `mysql` says, and makes nothing; `None` where there is none yet. For a look from outside a server.
///
/// # Errors
/// [`Unread`].
pub async fn look_at_table(mysql: &config::Mysql) -> Result<Option<Reading>, Unread> {
    let target = target(mysql);
    let rows = Box::pin(look(&target, BOUNDS)).await.map_err(|error| Unread::new(&target, &error))?;
    Ok(rows.map(|rows| catalog::read_rows(rows.rows, rows.is_cut)))
}

fn target(mysql: &config::Mysql) -> Target {
    let url = mysql.url();
    url.parse().expect("the configuration holds the URL of a database")
}
