//! Drops the oldest sealed generations, for good. Whether they may go is for the caller; here it is seen to that a kill at
//! any step leaves a journal that starts, and that readers are told.
//!
//! ```text
//!  note of the new beginning, durable ──▶ readers go by it ──▶ files removed, the oldest first ──▶ directory synced
//! ```

use super::base::Beginning;
use super::chain::JournalReader;
use super::layout::remove;
use crate::ids::Seq;
use crate::persist::journal::Base;
use crate::persist::replay::identity;
use crate::persist::{Error, Tail};

/// What was dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// How many generations.
    pub generations: u32,
    /// The bytes of their files.
    pub bytes: u64,
    /// Where the journal begins now.
    pub base: Tail,
}

impl JournalReader {
    /// The ends of the sealed generations that are kept, the oldest first.
    ///
    /// # Errors
    /// [`Error::Closed`] after the journal's close.
    pub fn sealed_ends(&self) -> Result<Vec<Tail>, Error> {
        Ok(self.chain()?.sealed_ends().into_iter().map(|(_, end)| end).collect())
    }

    /// Drops the sealed generations that end at or before event `until`, the oldest first; what is in sled never. From
    /// when the note is durable, readers of what goes are told [`Error::Dropped`]; one that is in the middle of a file
    /// reads it to its end. For any thread, while the journal is written and read; one at a time.
    ///
    /// # Errors
    /// [`Error::Closed`] after the journal's close; [`Error::Io`]. A file that could not be removed goes at the next start.
    pub fn drop_until(&self, until: Seq) -> Result<Dropped, Error> {
        let chain = self.chain()?;
        let _one_at_a_time = chain.lock_drops();
        let layout = chain.layout();
        // What sled had of it goes first: else a kill would leave a directory that nothing explains.
        let may_go = |(number, end): &(u32, Tail)| end.seq <= until && !layout.generation(*number).exists();
        let going: Vec<(u32, Tail)> = chain.sealed_ends().into_iter().take_while(may_go).collect();
        let Some((last, end)) = going.last().copied() else {
            return Ok(Dropped { base: chain.beginning().base.tail, ..Dropped::default() });
        };
        let mut dropped = Dropped { base: end, ..Dropped::default() };
        let base = Base { tail: end, identity: identity(self)? };
        let beginning = Beginning { first: last + 1, base };
        beginning.write(layout)?;
        chain.begin_at(beginning);
        for (number, _) in going {
            let path = layout.sealed(number);
            dropped.bytes += path.metadata().map_err(Error::io("reading", &path))?.len();
            remove(&path)?;
            dropped.generations += 1;
        }
        Ok(dropped)
    }
}
