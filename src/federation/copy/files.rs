//! Writing a log's files into a directory, each whole or not at all.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write as _};
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::federation::bundles::Bundle;
use crate::federation::client::{CHECKPOINT, LOG_KEY};
use crate::federation::dir_source::DirSource;
use crate::federation::error::FollowError;
use crate::federation::source::LogSource as _;
use crate::federation::tree::{VerifiedTree, path};
use crate::log::tile_path::{TileKind, write_bundle_entry};
use crate::log::{TilePath, VerifierKey};
use crate::merkle::TILE_LEN;

/// Where what is being written lies until it is whole.
const PART: &str = ".part";

/// A directory with a log's files, as C2SP logs serve them. Nothing is checked
/// here, and one at a time writes.
#[derive(Clone, Debug)]
pub struct CopyFiles {
    dir: PathBuf,
}

impl CopyFiles {
    /// The files in `dir`, which is made with the first of them.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// The directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Writes a tile, or a bundle of entries or stubs; durable with
    /// [`sync`](Self::sync).
    ///
    /// # Errors
    /// [`FollowError::Copy`].
    pub fn put_tile(&self, path: &TilePath, bytes: &[u8]) -> Result<(), FollowError> {
        let target = self.dir.join(path.to_string());
        // What a reader may be reading is not written again.
        let there = match fs::read(&target) {
            Ok(there) if there == bytes => return Ok(()),
            there => there.is_ok(),
        };
        // What was durable has to stay so, whichever of the two is found after a
        // power cut.
        self.write(&target, bytes, there)
            .map_err(|error| copy_error(&target, &error))
    }

    /// As [`put_tile`](Self::put_tile), of the tile `number` in the width `width`, 1 to 256.
    ///
    /// # Errors
    /// [`FollowError::Copy`].
    fn put(&self, kind: TileKind, number: u64, width: usize, bytes: &[u8]) -> Result<(), FollowError> {
        let width = u16::try_from(width).expect("at most 256");
        self.put_tile(&path(kind, number, width), bytes)
    }

    /// Writes a bundle's entries and their hashes.
    ///
    /// # Errors
    /// [`FollowError::Copy`].
    pub fn put_bundle(&self, bundle: &Bundle) -> Result<(), FollowError> {
        let (number, width) = (bundle.number(), bundle.hashes().len());
        self.put(TileKind::Entries, number, width, bundle.bytes())?;
        self.put_hashes_of(bundle)
    }

    /// Writes the hashes of a bundle's entries alone.
    ///
    /// # Errors
    /// [`FollowError::Copy`].
    pub fn put_hashes_of(&self, bundle: &Bundle) -> Result<(), FollowError> {
        let hashes = bundle.hashes();
        let (kind, number) = (TileKind::Hashes(0), bundle.number());
        self.put(kind, number, hashes.len(), hashes.as_flattened())
    }

    /// Writes the stubs beside a bundle's entries.
    ///
    /// # Errors
    /// [`FollowError::Copy`].
    pub fn put_stubs(&self, bundle: &Bundle, stubs: &[Vec<u8>]) -> Result<(), FollowError> {
        let mut bytes = Vec::new();
        for stub in stubs {
            write_bundle_entry(&mut bytes, stub)
                .map_err(|error| FollowError::Tree(format!("a bundle of stubs: {error}")))?;
        }
        self.put(TileKind::Stubs, bundle.number(), bundle.hashes().len(), &bytes)
    }

    /// Writes a tile of the tree's hashes, as wide as the tree has it.
    ///
    /// # Errors
    /// What reading it gives, and [`FollowError::Copy`].
    pub fn put_hashes(&self, tree: &VerifiedTree, level: u8, number: u64) -> Result<(), FollowError> {
        let nodes = tree.size() >> (u32::from(level) * 8);
        let width = (nodes - number * TILE_LEN as u64).min(TILE_LEN as u64);
        let width = usize::try_from(width).expect("at most 256");
        let hashes = tree.tile(level, number, width)?;
        self.put(TileKind::Hashes(level), number, width, hashes.as_flattened())
    }

    /// Makes all that was written durable: for many small files one call, where a
    /// sync of each would be a commit of the file system's own.
    ///
    /// # Errors
    /// [`FollowError::Copy`].
    pub fn sync(&self) -> Result<(), FollowError> {
        File::open(&self.dir)
            .and_then(|dir| Ok(rustix::fs::syncfs(dir)?))
            .map_err(|error| copy_error(&self.dir, &error))
    }

    /// Writes the log's key, durably.
    ///
    /// # Errors
    /// [`FollowError::Copy`].
    pub fn put_key(&self, key: &VerifierKey) -> Result<(), FollowError> {
        self.put_synced(LOG_KEY, format!("{key}\n").as_bytes())
    }

    /// Writes the checkpoint, durably: the last of all, once what it covers is
    /// durable.
    ///
    /// # Errors
    /// [`FollowError::Copy`].
    pub fn put_checkpoint(&self, note: &str) -> Result<(), FollowError> {
        self.put_synced(CHECKPOINT, note.as_bytes())
    }

    /// A file; `None` where there is none.
    pub(super) fn read(&self, name: &str, most: usize) -> Result<Option<Vec<u8>>, FollowError> {
        let read = DirSource::new(&self.dir).get(name, most);
        read.map_err(|error| FollowError::Copy {
            what: self.dir.join(name).display().to_string(),
            why: error.to_string(),
        })
    }

    /// Writes a file, whole or not at all, and durable.
    pub(super) fn put_synced(&self, name: &str, bytes: &[u8]) -> Result<(), FollowError> {
        let target = self.dir.join(name);
        self.write(&target, bytes, true)
            .map_err(|error| copy_error(&target, &error))
    }

    fn write(&self, target: &Path, bytes: &[u8], synced: bool) -> io::Result<()> {
        let dir = target.parent().expect("a file in the copy's directory");
        fs::create_dir_all(dir)?;
        let part = self.dir.join(PART);
        let mut file = File::create(&part)?;
        file.write_all(bytes)?;
        if synced {
            file.sync_all()?;
        }
        fs::rename(&part, target)?;
        if synced {
            File::open(dir)?.sync_all()?;
            File::open(&self.dir)?.sync_all()?;
        }
        Ok(())
    }

    /// Removes the partial tiles with these numbers, of which the full ones are
    /// there: those of runs that were cut off too.
    pub(super) fn drop_partial(&self, kind: TileKind, numbers: Range<u64>) -> Result<(), FollowError> {
        for number in numbers {
            let partial = self.partial_dir(kind, number);
            match fs::remove_dir_all(&partial) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(copy_error(&partial, &error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The widths in which a tile is there in part.
    pub(super) fn partial_widths(&self, kind: TileKind, number: u64) -> Result<BTreeSet<u16>, FollowError> {
        let dir = self.partial_dir(kind, number);
        let failed = |error: io::Error| copy_error(&dir, &error);
        let entries = match fs::read_dir(&dir) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeSet::new()),
            entries => entries.map_err(failed)?,
        };
        let mut widths = BTreeSet::new();
        for entry in entries {
            let name = entry.map_err(failed)?.file_name();
            widths.extend(name.to_str().and_then(|name| name.parse::<u16>().ok()));
        }
        Ok(widths)
    }

    fn partial_dir(&self, kind: TileKind, number: u64) -> PathBuf {
        self.dir
            .join(format!("{}.p", path(kind, number, TILE_LEN as u16)))
    }
}

pub(super) fn copy_error(what: &Path, error: &io::Error) -> FollowError {
    FollowError::Copy {
        what: what.display().to_string(),
        why: error.to_string(),
    }
}
