//! A log's verified files in a directory, laid out as C2SP logs serve them
//! (c2sp.org/tlog-tiles v0.1.0), so that any server of files can serve them and
//! whatever follows logs can read them. A mirror keeps entries and hashes, a
//! monitor the hashes alone, which name the entry that was changed.
//!
//! ```text
//! DIR/checkpoint               the newest checkpoint that was verified
//! DIR/tile/0/000, …            hashes, and entries in DIR/tile/entries
//! DIR/tile/stubs, DIR/tile/tags  receipts' stubs and coupons' tags, of a Tallystick log
//! DIR/log.vkey                 the log's key
//! DIR/evidence/fork-….cbor     what convicts the log
//! ```
//!
//! Files are written beside and renamed, each one synced before the checkpoint
//! that covers it takes the place of the last one. So at every moment DIR is a
//! whole copy as of its checkpoint; what lies there beyond it counts for nothing
//! and is checked before it is taken for read.

mod beside;
mod files;
mod tags;

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

pub use self::beside::{BesideKept, BesideTaken};
pub use self::files::CopyFiles;
use self::files::copy_error;
pub use self::tags::TagTiles;
use super::bundles::{Bundle, EntryForm};
use super::chain::{entries_of, join};
use super::client::{CHECKPOINT, LOG_KEY, LogClient, SignedCheckpoint};
use super::dir_source::DirSource;
use super::error::FollowError;
use super::source::LogSource as _;
use super::tree::{VerifiedTree, path};
use crate::log::tile_path::TileKind;
use crate::log::{Entry, ForkEvidence, VerifierKey};
use crate::merkle::{TILE_LEN, root_of};
use crate::primitives::limits;

const BUNDLE_LEN: u64 = TILE_LEN as u64;

/// Held while a process keeps the copy.
const LOCK: &str = ".lock";

/// There while some entries under the hashes have never been read.
const HASHES_ONLY: &str = ".hashes-only";

const EVIDENCE: &str = "evidence";

/// What a copy keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Hashes: 32 bytes an entry.
    Hashes,
    /// Hashes and entries, and of a Tallystick log what lies beside them and is
    /// shown: receipts' stubs and coupons' tags.
    Entries,
}

/// What is read of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// Each entry, which is hashed.
    Entries(EntryForm),
    /// Hashes alone: shows that the log was not rewritten, not what it says.
    HashesOnly,
}

/// A verified copy in a directory that no other process writes.
#[derive(Debug)]
pub struct LogCopy {
    files: CopyFiles,
    keep: Keep,
    source: Arc<DirSource>,
    lock: File,
}

impl Drop for LogCopy {
    fn drop(&mut self) {
        // Closing alone would not do: a child process that is just being started
        // holds a copy of the file until it becomes another program.
        let _ = self.lock.unlock();
    }
}

impl LogCopy {
    /// Opens the copy in `dir`, which is made where it is missing.
    ///
    /// # Errors
    /// [`FollowError::Copy`]; also while another process keeps it.
    pub fn open(dir: &Path, keep: Keep) -> Result<Self, FollowError> {
        let failed = |error: io::Error| copy_error(dir, &error);
        fs::create_dir_all(dir).map_err(failed)?;
        let lock = File::create(dir.join(LOCK)).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(FollowError::Copy {
                    what: dir.display().to_string(),
                    why: "another process keeps it up to date".to_owned(),
                });
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        Ok(Self {
            files: CopyFiles::new(dir),
            keep,
            source: Arc::new(DirSource::new(dir)),
            lock,
        })
    }

    /// The directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.files.dir()
    }

    /// The key of the log that it is a copy of; `None` of a new one.
    ///
    /// # Errors
    /// [`FollowError::Copy`] when it cannot be read.
    pub fn key(&self) -> Result<Option<VerifierKey>, FollowError> {
        let Some(text) = self.source.get(LOG_KEY, limits::NOTE_BYTES_MAX)? else {
            return Ok(None);
        };
        let text = String::from_utf8_lossy(&text);
        match VerifierKey::parse(text.trim_end()) {
            Ok(key) => Ok(Some(key)),
            Err(error) => Err(FollowError::Copy {
                what: self.dir().join(LOG_KEY).display().to_string(),
                why: error.to_string(),
            }),
        }
    }

    /// Remembers the log's key.
    ///
    /// # Errors
    /// [`FollowError::Copy`].
    pub fn pin(&self, key: &VerifierKey) -> Result<(), FollowError> {
        self.files.put_key(key)
    }

    /// The newest checkpoint that was verified; `None` before the first.
    ///
    /// # Errors
    /// [`FollowError::Copy`] when it is there and is none of this log.
    pub fn held(&self, client: &LogClient) -> Result<Option<SignedCheckpoint>, FollowError> {
        let Some(note) = self.source.get(CHECKPOINT, limits::NOTE_BYTES_MAX)? else {
            return Ok(None);
        };
        client.open(&note).map(Some).map_err(|error| FollowError::Copy {
            what: self.dir().join(CHECKPOINT).display().to_string(),
            why: error.to_string(),
        })
    }

    /// The tree of the checkpoint that is held, from the hashes that are kept.
    ///
    /// # Errors
    /// [`FollowError::Copy`] where they were damaged.
    pub fn tree(&self, held: SignedCheckpoint) -> Result<VerifiedTree, FollowError> {
        let source = Arc::<DirSource>::clone(&self.source);
        VerifiedTree::open(source, held).map_err(|error| FollowError::Copy {
            what: self.dir().display().to_string(),
            why: error.to_string(),
        })
    }

    /// Takes over what `tree`, which begins with the tree of `held`, has more:
    /// reads and checks it, writes it, and then holds the tree's checkpoint.
    /// `progress` is told how many entries have been read, then beside how many.
    ///
    /// What comes back says what became of stubs and tags, where they are kept: a
    /// log's entries are taken over without them too.
    ///
    /// # Errors
    /// What reading and checking gives, [`FollowError::Copy`] for what cannot be
    /// written; then the checkpoint that is held is what it was.
    pub fn advance(
        &self,
        held: Option<&SignedCheckpoint>,
        tree: &VerifiedTree,
        reading: Reading,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Option<BesideTaken>, FollowError> {
        let from = held.map_or(0, |held| held.checkpoint.size);
        let unread = self.dir().join(HASHES_ONLY);
        let some_unread = unread.exists();
        let is_new = held.is_none() || tree.size() > from;
        match reading {
            Reading::HashesOnly if is_new => {
                File::create(&unread).map_err(|error| copy_error(&unread, &error))?;
                self.take_hashes(from, tree, progress)?;
            }
            Reading::Entries(form) if some_unread => self.take_entries(0, 0, tree, form, progress)?,
            Reading::Entries(form) if is_new => {
                let start = self.first_missing(from / BUNDLE_LEN, tree)?;
                self.take_entries(from, start, tree, form, progress)?;
            }
            _ => {}
        }
        if is_new {
            self.take_upper_levels(from, tree)?;
        }
        let beside = match (self.keep, reading) {
            (Keep::Entries, Reading::Entries(EntryForm::Tallystick)) => {
                Some(self.take_beside(tree, progress)?)
            }
            _ => None,
        };
        // Cosignatures may have come for the same tree.
        let is_other = held.is_none_or(|held| held.note != tree.signed().note);
        let news = beside.as_ref().filter(|beside| beside.is_news());
        if is_other || news.is_some() {
            self.files.sync()?;
        }
        if let Some(news) = news {
            news.settle(&self.files)?;
        }
        if is_other {
            // Before the checkpoint that covers the full ones: a run that is cut off
            // after it would not come by here again.
            self.drop_partial(from, tree.size())?;
            self.files.put_checkpoint(&tree.signed().note)?;
        }
        if matches!(reading, Reading::Entries(_)) && some_unread {
            fs::remove_file(&unread).map_err(|error| copy_error(&unread, &error))?;
        }
        Ok(beside)
    }

    /// Reads entries from bundle `start` on, those before `from` being known.
    fn take_entries(
        &self,
        from: u64,
        start: u64,
        tree: &VerifiedTree,
        form: EntryForm,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), FollowError> {
        // One bundle back where the link to the entry before lies there.
        let known = start * BUNDLE_LEN >= from;
        let begin = start.saturating_sub(u64::from(known)) * BUNDLE_LEN;
        let decode = |bundle: &Bundle| match form {
            EntryForm::Tallystick => entries_of(bundle),
            EntryForm::Any => Ok(Vec::new()),
        };
        let mut end = None;
        tree.read_entries(
            begin..tree.size(),
            form,
            &decode,
            &mut |bundle, entries: Vec<Entry>| {
                end = join(end, &bundle, &entries)?;
                self.put_bundle(&bundle)?;
                progress(bundle.first() + bundle.hashes().len() as u64);
                Ok(())
            },
        )
    }

    fn take_hashes(
        &self,
        from: u64,
        tree: &VerifiedTree,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), FollowError> {
        for number in from / BUNDLE_LEN..tree.size().div_ceil(BUNDLE_LEN) {
            self.files.put_hashes(tree, 0, number)?;
            progress(tree.size().min((number + 1) * BUNDLE_LEN));
        }
        Ok(())
    }

    /// The tiles above level 0 that have changed since `from`.
    fn take_upper_levels(&self, from: u64, tree: &VerifiedTree) -> Result<(), FollowError> {
        for level in 1..8 {
            let (known, count) = (nodes_at(level, from), nodes_at(level, tree.size()));
            for number in known / BUNDLE_LEN..count.div_ceil(BUNDLE_LEN) {
                self.files.put_hashes(tree, level, number)?;
            }
        }
        Ok(())
    }

    fn put_bundle(&self, bundle: &Bundle) -> Result<(), FollowError> {
        match self.keep {
            Keep::Entries => self.files.put_bundle(bundle),
            Keep::Hashes => self.files.put_hashes_of(bundle),
        }
    }

    /// The first full bundle from `start` on that was not taken over by a run that
    /// was cut off, or the last one.
    fn first_missing(&self, start: u64, tree: &VerifiedTree) -> Result<u64, FollowError> {
        let mut number = start;
        while number < tree.size() / BUNDLE_LEN && self.has(number, tree)? {
            number += 1;
        }
        Ok(number)
    }

    fn has(&self, number: u64, tree: &VerifiedTree) -> Result<bool, FollowError> {
        let read = |kind, most| {
            let path = path(kind, number, TILE_LEN as u16).to_string();
            self.source.get(&path, most)
        };
        let Some(tile) = read(TileKind::Hashes(0), TILE_LEN * 32)? else {
            return Ok(false);
        };
        let (hashes, rest) = tile.as_chunks::<32>();
        let is_tile = rest.is_empty()
            && hashes.len() == TILE_LEN
            && root_of(hashes) == tree.node(BUNDLE_LEN.ilog2(), number)?;
        if !is_tile || self.keep == Keep::Hashes {
            return Ok(is_tile);
        }
        let most = TILE_LEN * (2 + limits::FOREIGN_ENTRY_BYTES_MAX);
        let Some(bytes) = read(TileKind::Entries, most)? else {
            return Ok(false);
        };
        Ok(Bundle::whole(number, bytes).is_ok_and(|bundle| bundle.hashes() == hashes))
    }

    /// Keeps evidence, unless there is enough of it, and says where.
    ///
    /// # Errors
    /// [`FollowError::Copy`].
    pub fn keep_evidence(&self, evidence: &ForkEvidence) -> Result<PathBuf, FollowError> {
        let bytes = evidence.encode();
        let name = data_encoding::HEXLOWER.encode(&Sha256::digest(&bytes)[..8]);
        let name = format!("{EVIDENCE}/fork-{name}.cbor");
        let kept = self.evidence()?;
        match kept.into_iter().nth(limits::EVIDENCE_KEPT_MAX - 1) {
            // A log that goes on under two histories gives new evidence each time.
            Some(enough) if !self.dir().join(&name).exists() => Ok(enough),
            _ => {
                self.files.put_synced(&name, &bytes)?;
                Ok(self.dir().join(name))
            }
        }
    }

    /// The files of evidence that are kept, in the order of their names.
    ///
    /// # Errors
    /// [`FollowError::Copy`].
    pub fn evidence(&self) -> Result<Vec<PathBuf>, FollowError> {
        let dir = self.dir().join(EVIDENCE);
        let failed = |error: io::Error| copy_error(&dir, &error);
        let entries = match fs::read_dir(&dir) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(failed)?,
        };
        let mut found = entries
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<io::Result<Vec<_>>>()
            .map_err(failed)?;
        found.retain(|path| path.extension().is_some_and(|extension| extension == "cbor"));
        found.sort();
        Ok(found)
    }

    /// Removes the partial tiles of what has become full since `from`, those of runs
    /// that were cut off too. Who reads by the last checkpoint finds the full ones.
    fn drop_partial(&self, from: u64, size: u64) -> Result<(), FollowError> {
        let full = |level| nodes_at(level, from) / BUNDLE_LEN..nodes_at(level, size) / BUNDLE_LEN;
        for level in 0..8 {
            self.files.drop_partial(TileKind::Hashes(level), full(level))?;
        }
        self.files.drop_partial(TileKind::Entries, full(0))
    }
}

fn nodes_at(level: u8, size: u64) -> u64 {
    size >> (u32::from(level) * 8)
}
