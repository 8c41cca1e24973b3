//! Compacting the store of a node that is not running.
//!
//! The new store is made beside the old one, in `DIR/store.compacting`, and
//! exchanged with it in one step once all of it is durable and was read back.
//! Whenever this is cut off, `DIR/store` is a whole store, the old one or the
//! new one, and what lies beside it counts for nothing: the next opening, or
//! the next compaction, removes it. The old store's lock is held from before
//! the first step, the new one's until after the last.

use std::fs;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::Arc;

use super::directory::{NodeDir, make_store_dir};
use super::{Overrides, ServerError, System};
use crate::node::compact::{Copied, check_copy, copy_live};
use crate::store::exchange::{exchange, free_bytes, sync_names};
use crate::store::sled::SledTree;
use crate::store::{Disk, Guard, GuardState, SledEngine, StoreError};

/// What a compaction has reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// So many entries of so many are copied.
    Copied(u64, u64),
    /// The new store is whole and durable; it is read back now.
    Written,
    /// The new store was read back, and has its snapshot.
    Checked,
    /// It stands in the place of the old one, durably.
    Exchanged,
}

/// What a compaction did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compacted {
    /// Entries of the log.
    pub entries: u64,
    /// Bytes that the store took before.
    pub bytes_before: u64,
    /// Bytes that it takes now.
    pub bytes_after: u64,
    /// What was repaired while the old store was opened, a sentence each.
    pub notes: Vec<String>,
}

impl NodeDir {
    /// Copies what lives into a new store and puts it in the place of the old
    /// one. `progress` is told of each step.
    ///
    /// # Errors
    /// [`ServerError`]: the store is open in another process, there is too
    /// little room, or something in the store is missing or damaged. The store
    /// is then as it was, unless the sentence says otherwise.
    pub fn compact(
        &self,
        overrides: &Overrides,
        progress: &mut dyn FnMut(Step),
    ) -> Result<Compacted, ServerError> {
        self.compact_in(&System::default(), overrides, progress)
    }

    /// [`compact`](Self::compact) on another system.
    ///
    /// # Errors
    /// As [`compact`](Self::compact).
    pub fn compact_in(
        &self,
        system: &System,
        overrides: &Overrides,
        progress: &mut dyn FnMut(Step),
    ) -> Result<Compacted, ServerError> {
        let config = self.config(overrides)?;
        let disk = &system.disk;
        let (source, mut notes) = SledEngine::open_on(Arc::clone(disk), &self.store())?;
        let signed = Guard::read(&self.guard_file(&config))?;
        notes.extend(self.remove_left_over()?);
        let (store, fresh) = (self.store(), self.compacting());
        let bytes_before = allocated(&store)?;
        check_room(&store, bytes_before)?;
        let made = guarded(|| self.new_store(disk, &source, &signed, progress));
        let (target, copied) = made
            .and_then(|made| {
                exchange(&store, &fresh)?;
                Ok(made)
            })
            .map_err(|error| self.give_up(&error))?;
        sync_names(disk.as_ref(), &store).map_err(|error| {
            ServerError::Refused(format!(
                "the new store stands in its place, but that may not outlive a power cut ({error}); the old one is \
                 kept as {} until the node is opened",
                fresh.display()
            ))
        })?;
        progress(Step::Exchanged);
        // Only then: an opening must not meet the old store while it goes.
        drop(source);
        self.remove_left_over()?;
        let bytes_after = allocated(&store)?;
        drop(target);
        Ok(Compacted {
            entries: copied.entries,
            bytes_before,
            bytes_after,
            notes,
        })
    }

    /// Writes the new store, opens it anew and reads it back.
    fn new_store(
        &self,
        disk: &Arc<dyn Disk>,
        source: &SledEngine,
        signed: &GuardState,
        progress: &mut dyn FnMut(Step),
    ) -> Result<(SledEngine, Copied), ServerError> {
        let fresh = self.compacting();
        make_store_dir(&fresh)?;
        // Without a journal: what is written here counts only once it is all there.
        let target = SledTree::create_on(Arc::clone(disk), &fresh)?;
        let copied = copy_live(source, &target, signed, &mut |done, size| {
            progress(Step::Copied(done, size));
        })?;
        drop(target);
        progress(Step::Written);
        let (target, _) = SledEngine::open_on(Arc::clone(disk), &fresh)?;
        check_copy(&target, &copied)?;
        progress(Step::Checked);
        Ok((target, copied))
    }

    /// Removes what a compaction that was cut off has left; the store's lock
    /// must be held, so that none is under way.
    pub(super) fn remove_left_over(&self) -> Result<Option<String>, ServerError> {
        let left = self.compacting();
        match fs::remove_dir_all(&left) {
            Ok(()) => Ok(Some(format!(
                "removed {}, which a compaction that was cut off had left",
                left.display()
            ))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(ServerError::io("cannot remove", left)(source)),
        }
    }

    /// Removes the unfinished copy, and says how things stand.
    fn give_up(&self, error: &ServerError) -> ServerError {
        let left = match self.remove_left_over() {
            Ok(_) => String::new(),
            Err(error) => format!(" ({error}; it counts for nothing, and may be removed)"),
        };
        ServerError::Refused(format!(
            "the store was not compacted and is as it was{left}: {error}"
        ))
    }
}

/// Does `work`; sled panics on pages that it cannot make sense of.
fn guarded<T>(work: impl FnOnce() -> Result<T, ServerError>) -> Result<T, ServerError> {
    std::panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        Err(StoreError::Damaged("the storage engine gave up while the store was read".to_owned()).into())
    })
}

fn check_room(store: &Path, needed: u64) -> Result<(), ServerError> {
    let free = free_bytes(store)?;
    if free >= needed {
        return Ok(());
    }
    Err(StoreError::Refused(format!(
        "a compaction writes a second store, which may take as much room as the first until that one is removed: \
         {needed} bytes, but only {free} are free on the disk of {}; make room first",
        store.display()
    ))
    .into())
}

/// Bytes that the files in `dir` take on the disk.
fn allocated(dir: &Path) -> Result<u64, ServerError> {
    use std::os::unix::fs::MetadataExt as _;
    let failed = || ServerError::io("cannot list", dir);
    let mut bytes = 0;
    for file in fs::read_dir(dir).map_err(failed())? {
        let found = file.and_then(|file| file.metadata()).map_err(failed())?;
        bytes += found.blocks() * 512;
    }
    Ok(bytes)
}
