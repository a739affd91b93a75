//! The directory of checkpoints: what is there, reading it, adding to it, and clearing away what nobody needs.

use std::collections::HashSet;
use std::fs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use super::error::Error;
use super::files::{PARTIAL, files, make_dir, remove, sync_dir, write_whole};
use super::manifest::{Manifest, ManifestFault, PieceEntry};
use crate::domain::Sales;
use crate::domain::image::{Decoder, PIECE_BYTES_MAX, PieceHash};
use crate::ids::{Seq, ShardId};
use crate::persist;

const MANIFEST: &str = "manifest";

/// The checkpoints of a data directory. Nothing is made on disk until one is.
#[derive(Clone, Debug)]
pub struct Store {
    data_dir: PathBuf,
    dir: PathBuf,
    pieces: PathBuf,
}

/// A manifest that is there, whether it holds or not.
#[derive(Debug)]
pub struct Listed {
    /// The event that its name says.
    pub seq: Seq,
    /// What it says itself.
    pub manifest: Result<Manifest, Error>,
}

impl Store {
    /// The checkpoints in a data directory, of which there may be none.
    #[must_use]
    pub fn of(data_dir: &Path) -> Self {
        let dir = data_dir.join("checkpoints");
        Self { data_dir: data_dir.to_owned(), pieces: dir.join("pieces"), dir }
    }

    pub(super) fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// What checkpoints there are, the newest first.
    ///
    /// # Errors
    /// [`persist::Error::Io`] where the directory cannot be listed.
    pub fn list(&self) -> Result<Vec<Listed>, Error> {
        let mut listed: Vec<Listed> = Vec::new();
        for path in files(&self.dir)? {
            let Some(seq) = seq_of(&path) else { continue };
            listed.push(Listed { seq, manifest: read_manifest(&path, seq) });
        }
        listed.sort_by_key(|listed| std::cmp::Reverse(listed.seq));
        Ok(listed)
    }

    /// The state that a checkpoint holds, or the part of it that concerns some shards: see [`Decoder::within`]. Every
    /// byte is held against its hash.
    ///
    /// # Errors
    /// Where a piece cannot be read or is not what was written; [`Error::Stopped`] where `go_on` says so between two.
    pub fn load(
        &self,
        manifest: &Manifest,
        within: Option<&RangeInclusive<ShardId>>,
        go_on: impl Fn() -> Result<(), Error>,
    ) -> Result<Sales, Error> {
        let mut decoder = within.map_or_else(Decoder::whole, |shards| Decoder::within(shards.clone()));
        for piece in &manifest.pieces {
            if within.is_none_or(|shards| piece.concerns(shards)) {
                go_on()?;
                let bytes = self.read_piece(piece)?;
                decoder.take(&bytes).map_err(|fault| Error::Image { piece: piece.hash, fault })?;
            }
        }
        let last = manifest.pieces.last().map_or_else(|| PieceHash::of(&[]), |piece| piece.hash);
        decoder.finish().map_err(|fault| Error::Image { piece: last, fault })
    }

    /// What a checkpoint says beside its shards.
    pub(super) fn load_ledger(&self, manifest: &Manifest) -> Result<Sales, Error> {
        let pieces = manifest.pieces.iter().copied().filter(PieceEntry::is_ledger).collect();
        self.load(&Manifest { pieces, ..*manifest }, Some(&(ShardId(0)..=ShardId::MAX)), || Ok(()))
    }

    /// Whether every piece of a checkpoint is there and what was written.
    pub(super) fn holds(&self, manifest: &Manifest, go_on: impl Fn() -> Result<(), Error>) -> Result<bool, Error> {
        for piece in &manifest.pieces {
            go_on()?;
            if self.read_piece(piece).is_err() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn read_piece(&self, piece: &PieceEntry) -> Result<Vec<u8>, Error> {
        let path = self.piece_path(&piece.hash);
        let length = fs::metadata(&path).map_err(persist::Error::io("opening", &path))?.len();
        // Looked at first: what somebody put in its place may be of any size.
        if length != u64::from(piece.bytes) || piece.bytes as usize > PIECE_BYTES_MAX {
            return Err(Error::Piece { piece: piece.hash });
        }
        let bytes = fs::read(&path).map_err(persist::Error::io("reading", &path))?;
        if PieceHash::of(&bytes) == piece.hash { Ok(bytes) } else { Err(Error::Piece { piece: piece.hash }) }
    }

    /// Makes the directories, durably.
    pub(super) fn make_dirs(&self) -> Result<(), Error> {
        make_dir(&self.dir, &self.data_dir)?;
        Ok(make_dir(&self.pieces, &self.dir)?)
    }

    /// Puts a piece there, unless it is there already, byte for byte; whether it was not. Durable once
    /// [`Store::sync_pieces`] returns.
    pub(super) fn put_piece(
        &self,
        piece: &PieceEntry,
        bytes: &[u8],
        go_on: impl Fn() -> Result<(), Error>,
    ) -> Result<bool, Error> {
        let is_new = self.read_piece(piece).is_err();
        if is_new {
            write_whole(&self.piece_path(&piece.hash), bytes, go_on)?;
        }
        Ok(is_new)
    }

    pub(super) fn sync_pieces(&self) -> Result<(), Error> {
        Ok(sync_dir(&self.pieces)?)
    }

    /// Makes a checkpoint of pieces that are durable. On `Ok` it survives a power cut.
    pub(super) fn put_manifest(&self, manifest: &Manifest) -> Result<(), Error> {
        let path = self.dir.join(format!("{:020}.{MANIFEST}", manifest.tail.seq.0));
        write_whole(&path, &manifest.encode(), || Ok::<(), Error>(()))?;
        Ok(sync_dir(&self.dir)?)
    }

    /// Removes every checkpoint that `keep` does not name, and every piece that no checkpoint of `keep` does. Manifests
    /// go first, for good: so one that is there has its pieces, wherever this is cut short.
    pub(super) fn collect(&self, keep: &[&Manifest]) -> Result<(), Error> {
        for path in files(&self.dir)? {
            let is_kept = seq_of(&path).is_some_and(|seq| keep.iter().any(|manifest| manifest.tail.seq == seq));
            if !is_kept && path.extension().is_some_and(|ending| ending == MANIFEST || ending == PARTIAL) {
                remove(&path)?;
            }
        }
        if self.dir.is_dir() {
            sync_dir(&self.dir)?;
        }
        let named: HashSet<PathBuf> =
            keep.iter().flat_map(|manifest| &manifest.pieces).map(|piece| self.piece_path(&piece.hash)).collect();
        for path in files(&self.pieces)? {
            if !named.contains(&path) {
                remove(&path)?;
            }
        }
        Ok(())
    }

    fn piece_path(&self, piece: &PieceHash) -> PathBuf {
        self.pieces.join(piece.to_string())
    }
}

fn seq_of(path: &Path) -> Option<Seq> {
    let name = path.file_name()?.to_str()?.strip_suffix(MANIFEST)?.strip_suffix('.')?;
    name.parse().ok().filter(|_| name.len() == 20).map(Seq)
}

fn read_manifest(path: &Path, seq: Seq) -> Result<Manifest, Error> {
    let bytes = fs::read(path).map_err(persist::Error::io("reading", path))?;
    let decoded = Manifest::decode(&bytes)
        .and_then(|manifest| if manifest.tail.seq == seq { Ok(manifest) } else { Err(ManifestFault::Senseless) });
    decoded.map_err(|fault| Error::Manifest { path: path.to_owned(), fault })
}
