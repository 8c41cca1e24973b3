//! An engine whose commits go into a journal first, and in large pieces into the
//! engine below it.
//!
//! A commit is one `pwrite` and one `fdatasync` of one file, and then a change of
//! a table in memory. When a segment of the journal is full, its table is frozen
//! and a thread of its own carries it down, some hundred rows at a time, while
//! commits go on in the other segment. So the engine below, which for sled means
//! threads to wake, pages to rewrite and a file to flush and sync, works once for
//! some thousand commits instead of once for each; rows that were written again
//! in between are carried down once.
//!
//! Everything in the tables is in the journal, so a kill or a power cut loses
//! nothing: opening carries down what the journal holds. Values are absolute, so
//! carrying a row down again does no harm. A clean end leaves the journal empty.
//!
//! Reads look at the table, then at the frozen one, then below.

use std::fmt;
use std::ops::{Bound, ControlFlow};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::thread::JoinHandle;

use super::engine::{check_sizes, floor_row};
pub use super::journal::SEGMENT_FILES;
use super::journal::{Journal, Layout, Table};
use super::{Batch, Disk, Engine, Row, StoreError, Visitor};
use crate::primitives::WithRemedy;
use crate::primitives::limits::{JOURNAL_CARRY_BYTES, JOURNAL_SEGMENT_BYTES};

/// `E` behind a journal.
pub struct Journaled<E: Engine> {
    shared: Arc<Shared<E>>,
    /// Held by the one commit under way. `Err` says why the engine is poisoned.
    committing: Mutex<Result<Journal, String>>,
    carrier: Option<JoinHandle<()>>,
    segment_bytes: u64,
}

struct Shared<E> {
    below: E,
    tables: RwLock<Tables>,
    carrying: Mutex<Carrying>,
    changed: Condvar,
}

/// Rows that are not below yet.
#[derive(Default)]
struct Tables {
    /// Those of the current segment.
    active: Table,
    /// Those of the other one, while they are carried down.
    frozen: Option<Arc<Table>>,
}

/// What the carrier is to do, and what became of it.
#[derive(Default)]
struct Carrying {
    /// A frozen table waits or is under way.
    under_way: bool,
    stop: bool,
    failed: Option<String>,
}

impl<E: Engine> fmt::Debug for Journaled<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journaled").finish_non_exhaustive()
    }
}

impl<E: Engine> Journaled<E> {
    /// Puts the journal in `dir` before `below`, and carries down what it holds.
    /// The directory belongs to this process alone: `below` holds its lock.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when the journal lacks a record;
    /// [`StoreError::Io`]; what `below` gives.
    pub fn before(below: E, disk: Arc<dyn Disk>, dir: &Path) -> Result<Self, StoreError> {
        Self::with_segments(below, disk, dir, JOURNAL_SEGMENT_BYTES, Layout::WHOLE_BLOCKS)
    }

    fn with_segments(
        below: E,
        disk: Arc<dyn Disk>,
        dir: &Path,
        segment_bytes: u64,
        layout: Layout,
    ) -> Result<Self, StoreError> {
        let (mut journal, held) = Journal::open(disk, dir, layout)?;
        carry_down(&below, &held)?;
        journal.mark_empty().map_err(StoreError::io(format!(
            "could not write the journal in {}",
            dir.display()
        )))?;
        let shared = Arc::new(Shared {
            below,
            tables: RwLock::default(),
            carrying: Mutex::default(),
            changed: Condvar::new(),
        });
        let carrier = {
            let shared = Arc::clone(&shared);
            std::thread::Builder::new()
                .name("tallystick-store".to_owned())
                .spawn(move || shared.carry())
                .map_err(StoreError::io("could not start the store's thread"))?
        };
        Ok(Self {
            shared,
            committing: Mutex::new(Ok(journal)),
            carrier: Some(carrier),
            segment_bytes,
        })
    }

    /// The engine below the journal. It lacks what the journal still holds.
    pub(super) fn below(&self) -> &E {
        &self.shared.below
    }

    /// Journals and takes in one batch; an error text means that nobody knows
    /// what is on disk.
    fn write(&self, journal: &mut Journal, batch: Batch) -> Result<(), String> {
        self.shared.carrying().check()?;
        if journal.filled() >= self.segment_bytes {
            self.shared.freeze()?;
            journal.turn().map_err(unwritten)?;
        }
        journal.append(&batch).map_err(unwritten)?;
        self.shared
            .write_tables(|tables| tables.active.extend(batch.writes));
        Ok(())
    }
}

fn unwritten(error: std::io::Error) -> String {
    format!("writing the journal: {}", WithRemedy(&error))
}

impl Carrying {
    fn check(&self) -> Result<(), String> {
        self.failed.clone().map_or(Ok(()), Err)
    }
}

impl<E: Engine> Shared<E> {
    fn tables(&self) -> RwLockReadGuard<'_, Tables> {
        // Nothing that holds this lock can leave it half changed.
        self.tables.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_tables(&self, change: impl FnOnce(&mut Tables)) {
        change(&mut self.tables.write().unwrap_or_else(PoisonError::into_inner));
    }

    fn carrying(&self) -> MutexGuard<'_, Carrying> {
        self.carrying.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands the active table to the carrier, once it has finished the last one.
    fn freeze(&self) -> Result<(), String> {
        let mut carrying = self.carrying();
        while carrying.under_way && carrying.failed.is_none() {
            carrying = self
                .changed
                .wait(carrying)
                .unwrap_or_else(PoisonError::into_inner);
        }
        carrying.check()?;
        self.write_tables(|tables| tables.frozen = Some(Arc::new(std::mem::take(&mut tables.active))));
        carrying.under_way = true;
        self.changed.notify_all();
        Ok(())
    }

    /// The carrier's thread: one frozen table after the other.
    fn carry(&self) {
        loop {
            let mut carrying = self.carrying();
            while !carrying.under_way && !carrying.stop {
                carrying = self
                    .changed
                    .wait(carrying)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            if !carrying.under_way {
                return;
            }
            drop(carrying);
            let frozen = self.tables().frozen.clone().unwrap_or_default();
            let carried = carry_down(&self.below, &frozen);
            let mut carrying = self.carrying();
            match carried {
                Ok(()) => {
                    self.write_tables(|tables| tables.frozen = None);
                    carrying.under_way = false;
                }
                Err(error) => carrying.failed = Some(error.to_string()),
            }
            let over = carrying.failed.is_some();
            self.changed.notify_all();
            if over {
                return;
            }
        }
    }

    /// What the tables say of `key`: `Some(None)` for a row that was removed.
    fn recent(&self, key: &[u8]) -> Option<Option<Vec<u8>>> {
        let tables = self.tables();
        let frozen = || tables.frozen.as_ref().and_then(|frozen| frozen.get(key));
        tables.active.get(key).or_else(frozen).cloned()
    }
}

/// Commits a table below, in pieces, in the order of its keys.
fn carry_down(below: &impl Engine, table: &Table) -> Result<(), StoreError> {
    let mut batch = Batch::default();
    let mut bytes = 0;
    for (key, value) in table {
        bytes += key.len() + value.as_ref().map_or(0, Vec::len);
        batch.writes.push((key.clone(), value.clone()));
        if bytes >= JOURNAL_CARRY_BYTES {
            below.commit(std::mem::take(&mut batch))?;
            bytes = 0;
        }
    }
    if batch.is_empty() {
        Ok(())
    } else {
        below.commit(batch)
    }
}

impl<E: Engine> Engine for Journaled<E> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        match self.shared.recent(key) {
            Some(value) => Ok(value),
            None => self.shared.below.get(key),
        }
    }

    fn at_or_before(&self, prefix: &[u8], key: &[u8]) -> Result<Option<Row>, StoreError> {
        let recent = {
            let tables = self.shared.tables();
            let frozen = tables.frozen.as_deref();
            floor_row(prefix, key, |bound| {
                let in_active = last_kept(&tables.active, bound, |_| false);
                let removed = |key: &[u8]| tables.active.contains_key(key);
                let in_frozen = frozen.and_then(|frozen| last_kept(frozen, bound, removed));
                in_active.max(in_frozen)
            })
        };
        let mut at = key.to_vec();
        loop {
            let below = self.shared.below.at_or_before(prefix, &at)?;
            let Some(row) = below.filter(|row| recent.as_ref().is_none_or(|(key, _)| row.0 > *key)) else {
                return Ok(recent);
            };
            // The tables may say that it was removed, or have a value by now.
            match self.shared.recent(&row.0) {
                None => return Ok(Some(row)),
                Some(Some(value)) => return Ok(Some((row.0, value))),
                Some(None) => {}
            }
            let Some(before) = just_before(&row.0) else {
                return Ok(recent);
            };
            at = before;
        }
    }

    fn scan(&self, prefix: &[u8], from: &[u8], visit: &mut Visitor<'_>) -> Result<(), StoreError> {
        let recent = self.recent_rows(prefix, from);
        let mut recent = recent.iter().peekable();
        let mut broke = false;
        self.shared.below.scan(prefix, from, &mut |key, value| {
            while let Some((newer, newer_value)) = recent.next_if(|(newer, _)| newer.as_slice() <= key) {
                let flow = newer_value
                    .as_ref()
                    .map_or(ControlFlow::Continue(()), |value| visit(newer, value));
                if flow.is_break() {
                    broke = true;
                    return flow;
                }
                if newer.as_slice() == key {
                    return ControlFlow::Continue(());
                }
            }
            let flow = visit(key, value);
            broke = flow.is_break();
            flow
        })?;
        if !broke {
            for (key, value) in recent {
                if let Some(value) = value
                    && visit(key, value).is_break()
                {
                    break;
                }
            }
        }
        Ok(())
    }

    fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        check_sizes(&batch)?;
        let panicked = |_| StoreError::Fatal("an earlier commit panicked".into());
        let mut committing = self.committing.lock().map_err(panicked)?;
        let journal = committing
            .as_mut()
            .map_err(|why| StoreError::Fatal(why.clone()))?;
        if let Some(key) = &batch.require_absent
            && self.get(key)?.is_some()
        {
            return Err(StoreError::HeadMoved);
        }
        if batch.is_empty() {
            return Ok(());
        }
        if let Err(why) = self.write(journal, batch) {
            // After a failed sync the kernel may call lost pages clean, so no
            // later success can be trusted.
            *committing = Err(format!("an earlier commit failed ({why})"));
            return Err(StoreError::Fatal(why));
        }
        Ok(())
    }
}

impl<E: Engine> Journaled<E> {
    /// The tables' rows that a scan passes, removed ones included: as they are
    /// now, so that a commit during the scan is seen whole or not at all.
    fn recent_rows(&self, prefix: &[u8], from: &[u8]) -> Table {
        let start = from.max(prefix);
        let tables = self.shared.tables();
        let mut rows = Table::new();
        for table in tables.frozen.as_deref().into_iter().chain([&tables.active]) {
            let inside = table
                .range::<[u8], _>((Bound::Included(start), Bound::Unbounded))
                .take_while(|(key, _)| key.starts_with(prefix));
            rows.extend(inside.map(|(key, value)| (key.clone(), value.clone())));
        }
        rows
    }
}

/// The last row of `table` within `bound` that was not removed, there or above.
fn last_kept(table: &Table, bound: Bound<&[u8]>, removed: impl Fn(&[u8]) -> bool) -> Option<Row> {
    table
        .range::<[u8], _>((Bound::Unbounded, bound))
        .rev()
        .find_map(|(key, value)| Some((key.clone(), value.clone().filter(|_| !removed(key))?)))
}

/// The greatest key of at most the store's longest that is less than `key`.
fn just_before(key: &[u8]) -> Option<Vec<u8>> {
    let (last, front) = key.split_last()?;
    let mut before = front.to_vec();
    if let Some(less) = last.checked_sub(1) {
        before.push(less);
        before.resize(crate::primitives::limits::KEY_BYTES_MAX, u8::MAX);
    }
    Some(before)
}

impl<E: Engine> Drop for Journaled<E> {
    /// Carries everything down and leaves the journal empty. Where that fails
    /// nothing is lost: the journal holds it, and the next opening carries on.
    fn drop(&mut self) {
        self.shared.carrying().stop = true;
        self.shared.changed.notify_all();
        let joined = self.carrier.take().is_none_or(|carrier| carrier.join().is_ok());
        let journal = self.committing.get_mut().unwrap_or_else(PoisonError::into_inner);
        let failed = self.shared.carrying().failed.is_some();
        if let (true, false, Ok(journal)) = (joined, failed, journal) {
            let active = std::mem::take(
                &mut self
                    .shared
                    .tables
                    .write()
                    .unwrap_or_else(PoisonError::into_inner)
                    .active,
            );
            if carry_down(&self.shared.below, &active).is_ok() {
                let _ = journal.mark_empty();
            }
        }
    }
}

#[cfg(test)]
#[path = "journaled_tests.rs"]
mod tests;
