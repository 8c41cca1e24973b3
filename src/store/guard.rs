//! The guard file: what this node last signed (protocol.md, section 6, 'Never
//! fork oneself'). It lies beside the node's directory, outside backups, so
//! that a restored store cannot make the node sign a second history, of its own
//! log or of one that it witnesses: of those it holds the roots too, since to a
//! size alone no later checkpoint could be proven consistent.
//!
//! Two slots of [`SLOT_BYTES`] are overwritten in turn, each write one `pwrite`
//! and one `fdatasync`: a write that is cut short leaves the slot before it.
//!
//! ```text
//! slot = "TLYGUARD"  sequence u64  size u64  root [32]  roster version u64
//!        count u16  ( log [16]  size u64  root [32] ) * count  sha256 [32]
//! ```
//!
//! Numbers are big-endian; `log` is the first half of the SHA-256 of a witnessed
//! log's origin, or of what stands for a log that was declared in its place; the
//! SHA-256 is over what stands before it in the slot; what follows it means nothing.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::blocks::{BLOCK_BYTES, BlockFile};
use super::files::{parent_of, sync_dir};
use super::{Disk, OsDisk, StoreError};
use crate::primitives::WithRemedy;
use crate::primitives::limits::GUARD_WITNESSED_MAX;

/// Bytes of a slot: a page, so that a torn write of one never reaches the other.
pub const SLOT_BYTES: usize = BLOCK_BYTES;

const MAGIC: &[u8; 8] = b"TLYGUARD";
const COUNT_AT: usize = 64;
const WITNESSED_AT: usize = 66;
const WITNESSED_BYTES: usize = 56;

/// Another log as this node cosigned it last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Witnessed {
    /// Which: [`Witnessed::log_of`] its origin, unless it was declared in another's place.
    pub log: [u8; 16],
    /// Its size, in entries.
    pub size: u64,
    /// Its root at that size.
    pub root: [u8; 32],
}

impl Witnessed {
    /// The first half of the SHA-256 of `origin`.
    #[must_use]
    pub fn log_of(origin: &str) -> [u8; 16] {
        let hash: [u8; 32] = Sha256::digest(origin).into();
        *hash.first_chunk().expect("32 bytes begin with 16")
    }

    /// Whether this log, cosigned so before, may be cosigned as in `now`.
    fn may_become(&self, now: &[Self]) -> bool {
        now.iter()
            .any(|now| now.log == self.log && (now.size > self.size || now == self))
    }
}

/// What was signed last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuardState {
    /// Size of the log last signed, in entries.
    pub size: u64,
    /// Root of the log at that size.
    pub root: [u8; 32],
    /// Other logs as this node cosigned them last, each once; at most
    /// `GUARD_WITNESSED_MAX`.
    pub witnessed: Vec<Witnessed>,
    /// Version of the roster last followed.
    pub roster_version: u64,
}

impl GuardState {
    /// A log of `size` entries with `root`, nothing witnessed, no roster.
    #[must_use]
    pub fn new(size: u64, root: [u8; 32]) -> Self {
        Self {
            size,
            root,
            witnessed: Vec::new(),
            roster_version: 0,
        }
    }

    pub(crate) fn to_slot(&self, sequence: u64) -> Vec<u8> {
        let mut slot = Vec::with_capacity(WITNESSED_AT + self.witnessed.len() * WITNESSED_BYTES + 32);
        slot.extend_from_slice(MAGIC);
        slot.extend_from_slice(&sequence.to_be_bytes());
        slot.extend_from_slice(&self.size.to_be_bytes());
        slot.extend_from_slice(&self.root);
        slot.extend_from_slice(&self.roster_version.to_be_bytes());
        let count = u16::try_from(self.witnessed.len()).expect("checked against GUARD_WITNESSED_MAX");
        slot.extend_from_slice(&count.to_be_bytes());
        for witnessed in &self.witnessed {
            slot.extend_from_slice(&witnessed.log);
            slot.extend_from_slice(&witnessed.size.to_be_bytes());
            slot.extend_from_slice(&witnessed.root);
        }
        let digest = Sha256::digest(&slot);
        slot.extend_from_slice(&digest);
        slot
    }

    /// The sequence number and state in `slot`; `None` when it is not whole.
    pub(crate) fn from_slot(slot: &[u8]) -> Option<(u64, Self)> {
        if !slot.starts_with(MAGIC) {
            return None;
        }
        let number = |at: usize| Some(u64::from_be_bytes(slot.get(at..at + 8)?.try_into().ok()?));
        let count = usize::from(u16::from_be_bytes(
            slot.get(COUNT_AT..WITNESSED_AT)?.try_into().ok()?,
        ));
        if count > GUARD_WITNESSED_MAX {
            return None;
        }
        let end = WITNESSED_AT + count * WITNESSED_BYTES;
        if slot.get(end..end + 32)? != Sha256::digest(&slot[..end]).as_slice() {
            return None;
        }
        let witnessed = (0..count)
            .map(|i| {
                let at = WITNESSED_AT + i * WITNESSED_BYTES;
                Some(Witnessed {
                    log: slot[at..at + 16].try_into().ok()?,
                    size: number(at + 16)?,
                    root: slot[at + 24..at + 56].try_into().ok()?,
                })
            })
            .collect::<Option<_>>()?;
        let state = Self {
            size: number(16)?,
            root: slot[24..56].try_into().ok()?,
            witnessed,
            roster_version: number(56)?,
        };
        Some((number(8)?, state))
    }

    /// Refuses what would take back something that was signed.
    fn check_follows(&self, before: &Self) -> Result<(), StoreError> {
        let forks = self.size < before.size || (self.size == before.size && self.root != before.root);
        if forks {
            return Err(StoreError::Fatal(format!(
                "a log of {} entries would be signed after one of {}: that would be a second history",
                self.size, before.size
            )));
        }
        // Equal lists are the rule, so the walk is rare.
        let unwitnesses = self.witnessed != before.witnessed
            && !before.witnessed.iter().all(|log| log.may_become(&self.witnessed));
        if unwitnesses || self.roster_version < before.roster_version {
            return Err(StoreError::Fatal(
                "the guard file holds a newer roster, or another log that was cosigned at a larger size or with \
                 another root"
                    .into(),
            ));
        }
        if self.witnessed.len() > GUARD_WITNESSED_MAX {
            return Err(StoreError::Fatal(format!(
                "the guard file has room for {GUARD_WITNESSED_MAX} witnessed logs, not {}",
                self.witnessed.len()
            )));
        }
        Ok(())
    }
}

/// What remembers the last signed state, durably.
///
/// # Contract
/// - When [`write`](Self::write) returns `Ok`, the state outlives a power cut.
/// - When it fails, either state may be there; the caller signs nothing and stops.
/// - After a failure every later write fails.
pub trait GuardFile: Send {
    /// Records `state`, which must follow the one before: not a smaller size,
    /// nor the same size with another root, nor an older roster, nor a log
    /// that was witnessed left out, smaller, or with another root at its size. What does not follow is not written.
    ///
    /// # Errors
    /// [`StoreError::Fatal`].
    fn write(&mut self, state: &GuardState) -> Result<(), StoreError>;
}

impl GuardFile for Box<dyn GuardFile> {
    fn write(&mut self, state: &GuardState) -> Result<(), StoreError> {
        (**self).write(state)
    }
}

/// The guard on disk.
#[derive(Debug)]
pub struct Guard {
    disk: Arc<dyn Disk>,
    slots: BlockFile,
    path: PathBuf,
    sequence: u64,
    last: GuardState,
    failed: bool,
}

impl Guard {
    /// Makes the guard file, readable by its owner only, and syncs it with its
    /// directory.
    ///
    /// # Errors
    /// [`StoreError::Refused`] when it is there already; [`StoreError::Io`].
    pub fn create(path: &Path, state: &GuardState) -> Result<Self, StoreError> {
        Self::create_on(Arc::new(OsDisk), path, state)
    }

    /// [`create`](Self::create) on another disk than the system's.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub fn create_on(disk: Arc<dyn Disk>, path: &Path, state: &GuardState) -> Result<Self, StoreError> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .map_err(|source| match source.kind() {
                ErrorKind::AlreadyExists => StoreError::Refused(format!(
                    "the guard file {} is there already: it belongs to a log that was signed before; \
                     keep it, or move it away yourself if that log is gone for good",
                    path.display()
                )),
                _ => StoreError::io(format!("could not create {}", path.display()))(source),
            })?;
        // Both slots get their blocks now: later a full disk cannot keep the guard from being written.
        disk.write_at(&file, path, &[0; 2 * SLOT_BYTES], 0)
            .map_err(StoreError::io(format!("could not write {}", path.display())))?;
        let mut guard = Self {
            slots: slots_at(&disk, path)?,
            disk,
            path: path.to_owned(),
            sequence: 0,
            last: state.clone(),
            failed: false,
        };
        guard.write(state)?;
        sync_dir(guard.disk.as_ref(), parent_of(path))?;
        Ok(guard)
    }

    /// Opens the guard file and reads the newest whole slot.
    ///
    /// # Errors
    /// [`StoreError::GuardMissing`] when there is no file;
    /// [`StoreError::Damaged`] when neither slot is whole; [`StoreError::Io`].
    pub fn open(path: &Path) -> Result<(Self, GuardState), StoreError> {
        Self::open_on(Arc::new(OsDisk), path)
    }

    /// [`open`](Self::open) on another disk than the system's.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_on(disk: Arc<dyn Disk>, path: &Path) -> Result<(Self, GuardState), StoreError> {
        let file = File::open(path).map_err(|source| missing_or_io(path, source))?;
        let (sequence, last) = newest(&file, path)?;
        let guard = Self {
            slots: slots_at(&disk, path)?,
            disk,
            path: path.to_owned(),
            sequence,
            last: last.clone(),
            failed: false,
        };
        Ok((guard, last))
    }

    /// Reads the guard file without opening it for writing, as an audit does.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn read(path: &Path) -> Result<GuardState, StoreError> {
        let file = File::open(path).map_err(|source| missing_or_io(path, source))?;
        Ok(newest(&file, path)?.1)
    }

    /// Whether nothing newer than what [`read`](Self::read) gives can have been
    /// recorded: the other slot is the one before it. Where it is not, a write of
    /// it was cut short, or damage has hit what it held.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn is_whole(path: &Path) -> Result<bool, StoreError> {
        let file = File::open(path).map_err(|source| missing_or_io(path, source))?;
        let (sequence, _) = newest(&file, path)?;
        let before = sequence.wrapping_sub(1);
        let slot = read_slot(&file, (before % 2) * SLOT_BYTES as u64)
            .map_err(StoreError::io(format!("could not read {}", path.display())))?;
        Ok(match GuardState::from_slot(&slot) {
            Some((number, _)) => number == before,
            // As `create` leaves it.
            None => before == 0 && slot.len() == SLOT_BYTES && slot.iter().all(|byte| *byte == 0),
        })
    }

    /// The state last written or read.
    #[must_use]
    pub fn state(&self) -> &GuardState {
        &self.last
    }
}

impl GuardFile for Guard {
    fn write(&mut self, state: &GuardState) -> Result<(), StoreError> {
        if self.failed {
            return Err(StoreError::Fatal(
                "an earlier write of the guard file failed".into(),
            ));
        }
        state.check_follows(&self.last)?;
        let sequence = self.sequence + 1;
        let slot = state.to_slot(sequence);
        let offset = (sequence % 2) * SLOT_BYTES as u64;
        if let Err(error) = self.slots.overwrite(&[&slot], offset) {
            self.failed = true;
            return Err(StoreError::Fatal(format!(
                "could not write the guard file {}: {}",
                self.path.display(),
                WithRemedy(&error)
            )));
        }
        self.sequence = sequence;
        self.last.clone_from(state);
        Ok(())
    }
}

fn slots_at(disk: &Arc<dyn Disk>, path: &Path) -> Result<BlockFile, StoreError> {
    BlockFile::open(Arc::clone(disk), path, SLOT_BYTES).map_err(StoreError::io(format!(
        "could not open the guard file {}",
        path.display()
    )))
}

fn missing_or_io(path: &Path, source: std::io::Error) -> StoreError {
    if source.kind() == ErrorKind::NotFound {
        return StoreError::GuardMissing {
            path: path.display().to_string(),
        };
    }
    StoreError::io(format!("could not open the guard file {}", path.display()))(source)
}

fn newest(file: &File, path: &Path) -> Result<(u64, GuardState), StoreError> {
    let mut found: Option<(u64, GuardState)> = None;
    for number in 0..2 {
        let slot = read_slot(file, number * SLOT_BYTES as u64)
            .map_err(StoreError::io(format!("could not read {}", path.display())))?;
        if let Some(slot) = GuardState::from_slot(&slot)
            && found.as_ref().is_none_or(|(sequence, _)| slot.0 > *sequence)
        {
            found = Some(slot);
        }
    }
    found.ok_or_else(|| {
        StoreError::Damaged(format!(
            "neither slot of the guard file {} is whole, so what was signed last is not known; keep the file, \
             and run `tallystick recover` to compare this log with a checkpoint that others hold",
            path.display()
        ))
    })
}

/// Up to a slot of bytes at `offset`; fewer where the file is cut short.
fn read_slot(file: &File, offset: u64) -> std::io::Result<Vec<u8>> {
    let mut slot = vec![0; SLOT_BYTES];
    let mut filled = 0;
    while filled < SLOT_BYTES {
        match file.read_at(&mut slot[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    slot.truncate(filled);
    Ok(slot)
}

#[cfg(test)]
#[path = "guard_tests.rs"]
mod tests;
