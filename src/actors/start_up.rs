//! What a start does with the catalogue: applies it, once. A table that is out of reach keeps no sale from opening: the
//! activities of the journal go on, and the table is applied as soon as it can be read.

use std::time::Duration;

use actix_web::rt::time::sleep;

use super::catalog_source::Unread;
use super::desk::{By, Desk};
use super::readiness::Readiness;
use crate::domain::event::Author;

/// How long it is waited before the table is tried again. Doubled each time, up to the longest: MySQL that restarts is soon
/// found, and one that is away for hours is not bothered.
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Applies the whole catalogue, or sees to it that this is done in the background; `/readyz` tells how far it is.
pub async fn apply_catalog(desk: &Desk, readiness: &Readiness) {
    let Err(unread) = apply(desk).await else { return };
    tracing::warn!(%unread, "the catalogue is not applied yet; it is tried again until it is");
    tell(readiness, &unread);
    let (desk, readiness) = (desk.clone(), readiness.clone());
    actix::spawn(async move {
        let mut wait = FIRST_WAIT;
        loop {
            sleep(wait).await;
            wait = LONGEST_WAIT.min(wait * 2);
            match apply(&desk).await {
                Ok(()) => break tracing::info!("the catalogue is applied"),
                Err(unread) => tell(&readiness, &unread),
            }
        }
    });
}

/// What is wrong with an entry is logged, shown by `/readyz`, and keeps nothing else from opening.
async fn apply(desk: &Desk) -> Result<(), Unread> {
    let by = By { author: Author::StartUp, key: None };
    desk.reload_all(by, false).await.map(|_| ())
}

fn tell(readiness: &Readiness, unread: &Unread) {
    readiness.set_catalog_strays(vec![format!("catalog: not applied since the start: {unread}; it is tried again")]);
}
