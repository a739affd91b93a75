//! Up to where checkpoints stand for the journal, so that what lies before may be dropped (X3).

use super::error::Error;
use super::recover::check_place;
use super::store::{Listed, Store};
use crate::ids::Seq;
use crate::persist::Read;

/// So many must hold: one to start from, and one to fall back to.
const HOLDING_MIN: usize = 2;

impl Store {
    /// Up to where the checkpoints would stand for the journal if all of them held: by their manifests alone, which costs
    /// next to nothing. `None` where there are too few.
    ///
    /// # Errors
    /// Where they cannot be listed.
    pub fn claims_to_cover(&self) -> Result<Option<Seq>, Error> {
        let listed = self.list()?;
        Ok(oldest(listed.iter().filter(|listed| listed.manifest.is_ok()).map(|listed| listed.seq).collect()))
    }

    /// Up to where the checkpoints stand for the journal: the event of the oldest one that holds, where at least two do.
    /// Every byte of them is read and held against its hash; what these bytes stand for was compared when they were
    /// made. `go_on` is asked between two pieces.
    ///
    /// # Errors
    /// Where they cannot be listed, or the journal cannot be read; [`Error::Stopped`] where `go_on` says so.
    pub fn covers<R: Read + ?Sized>(
        &self,
        journal: &R,
        go_on: impl Fn() -> Result<(), Error>,
    ) -> Result<Option<Seq>, Error> {
        let mut holding = Vec::new();
        for Listed { seq, manifest } in self.list()? {
            let Ok(manifest) = manifest else { continue };
            if check_place(&manifest, journal)?.is_ok() && self.holds(&manifest, &go_on)? {
                holding.push(seq);
            }
        }
        Ok(oldest(holding))
    }
}

fn oldest(holding: Vec<Seq>) -> Option<Seq> {
    if holding.len() < HOLDING_MIN { None } else { holding.into_iter().min() }
}
