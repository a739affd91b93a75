//! The mark of a clean stop: the tail, and a digest of every file of the generations in sled. Sealed ones have hashes of
//! their own.
//!
//! It says two things to the next start. That nothing is unfinished, so no copy need be made. And what each byte was, so
//! that damage done since is seen before sled opens the files: sled would take a damaged record for the end of the log
//! and write over what follows.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::layout::{Layout, children, partial, rename, sync_dir};
use super::note::{CHECK_BYTES, TAIL_BYTES, read_tail, seal, unseal, write_tail};
use crate::persist::{Error, Tail};

const KIND: [u8; 8] = *b"DBCLEAN1";
const DIGEST_BYTES: usize = 32;

/// See the file's head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CleanMark {
    /// Where the journal ended.
    pub tail: Tail,
    digest: [u8; DIGEST_BYTES],
}

impl CleanMark {
    /// The mark that was left, if one was. A mark that is not whole is none: the stop was cut short.
    pub(super) fn read(layout: &Layout) -> Result<Option<Self>, Error> {
        let bytes = match fs::read(&layout.clean) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io("reading", &layout.clean)(error)),
        };
        Ok(unseal(&bytes).and_then(|body| {
            let digest = body.get(TAIL_BYTES..)?.try_into().ok()?;
            Some(Self { tail: read_tail(KIND, body)?, digest })
        }))
    }

    /// Whether the files of these generations are still, byte for byte, those that the stop left.
    pub(super) fn holds(&self, generations: &[PathBuf]) -> Result<bool, Error> {
        Ok(generations.iter().all(|dir| dir.is_dir()) && digest_of_all(generations)? == self.digest)
    }

    /// Leaves the mark, durably. The journal must be synced, and closed, before.
    pub(super) fn leave(layout: &Layout, generations: &[PathBuf], tail: Tail) -> Result<(), Error> {
        let mut bytes = [0; TAIL_BYTES + DIGEST_BYTES + CHECK_BYTES];
        write_tail(KIND, &tail, &mut bytes);
        bytes[TAIL_BYTES..TAIL_BYTES + DIGEST_BYTES].copy_from_slice(&digest_of_all(generations)?);
        seal(&mut bytes);
        let unfinished = partial(&layout.clean);
        File::create(&unfinished)
            .and_then(|mut file| file.write_all(&bytes).and_then(|()| file.sync_all()))
            .map_err(Error::io("writing", &unfinished))?;
        rename(&unfinished, &layout.clean)?;
        sync_dir(&layout.journal)
    }
}

/// One generation's digest is the mark's as it stands, as it was when there was only ever one; of several it is one over
/// theirs.
fn digest_of_all(generations: &[PathBuf]) -> Result<[u8; DIGEST_BYTES], Error> {
    if let [generation] = generations {
        return digest(generation);
    }
    let mut hasher = blake3::Hasher::new();
    for generation in generations {
        hasher.update(&digest(generation)?);
    }
    Ok(*hasher.finalize().as_bytes())
}

/// A digest over the names and bytes of all files under `dir`.
fn digest(dir: &Path) -> Result<[u8; DIGEST_BYTES], Error> {
    let mut hasher = blake3::Hasher::new();
    for path in children(dir)? {
        let name = path.file_name().expect("an entry of a directory has a name").as_encoded_bytes();
        hasher.update(&(name.len() as u64).to_be_bytes()).update(name);
        if path.is_dir() {
            hasher.update(&digest(&path)?);
        } else {
            let file = File::open(&path).map_err(Error::io("opening", &path))?;
            hasher.update(&file.metadata().map_err(Error::io("reading", &path))?.len().to_be_bytes());
            hasher.update_reader(file).map_err(Error::io("reading", &path))?;
        }
    }
    Ok(*hasher.finalize().as_bytes())
}
