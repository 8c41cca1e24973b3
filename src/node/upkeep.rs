//! What the writer keeps in memory beside the log, and how it gets into the
//! store: a few rows with each commit, all of it at the end.

use crate::primitives::limits;
use crate::store::{Batch, StoreError};

use super::NodeError;
use super::index::StepOutcome;
use super::pending::Pending;
use super::writer::Writer;

/// Rows of index and derived state that one commit takes along at most: some
/// 50 KB, a fraction of a full batch of entries.
const UPKEEP_ROWS_MAX: usize = 8;

/// Rows that one commit takes along while nobody waits: some 1 MB.
const ALONE_ROWS_MAX: usize = 256;

/// How a node looks after what it keeps in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upkeep {
    /// Entries between two index checkpoints: bounds what opening reads.
    pub checkpoint_entries: u64,
}

impl Default for Upkeep {
    fn default() -> Self {
        Self {
            checkpoint_entries: limits::INDEX_CHECKPOINT_ENTRIES,
        }
    }
}

impl Writer {
    /// Adds a bounded share of index and derived-state rows to the batch.
    pub(super) fn add_upkeep(&mut self, pending: &mut Pending) -> Result<(), NodeError> {
        self.add_rows(pending, UPKEEP_ROWS_MAX)
    }

    fn add_rows(&mut self, pending: &mut Pending, rows_max: usize) -> Result<(), NodeError> {
        let due = self.tree.size() >= self.index.covers() + self.upkeep.checkpoint_entries;
        if due && pending.entries.is_empty() {
            self.begin_checkpoint();
        } else if due {
            // Under load there is always a batch: the checkpoint then covers what is published.
            let published = self
                .shared
                .head
                .read()
                .expect("no holder of this lock panics")
                .size;
            self.begin_checkpoint_at(published);
        }
        if self.snapshot.is_idle() && self.index.is_idle() {
            return Ok(());
        }
        let rows = self
            .snapshot
            .step(&self.state, self.applied, &mut pending.batch, rows_max);
        if rows < rows_max {
            let engine = self.shared.engine.as_ref();
            let outcome = self.index.step(engine, &mut pending.batch, rows_max - rows);
            let outcome = outcome.or_else(|error| self.mark_at_once(error))?;
            if let StepOutcome::Checkpoint { covers, .. } = outcome {
                self.snapshot.conclude(&self.state, covers, &mut pending.batch);
            }
        }
        Ok(())
    }

    /// A merge cannot leave out a damaged row: the writer ends with this error,
    /// and the mark has to be in the store before it does.
    fn mark_at_once(&self, error: StoreError) -> Result<StepOutcome, NodeError> {
        let error = self.shared.index_error(error);
        let mut batch = Batch::default();
        self.shared.mark_index_damage(&mut batch);
        if !batch.is_empty() {
            self.shared.engine.commit(batch)?;
        }
        Err(error)
    }

    fn begin_checkpoint(&mut self) {
        self.begin_checkpoint_at(self.applied);
    }

    fn begin_checkpoint_at(&mut self, covers: u64) {
        if self.index.begin_checkpoint(covers) {
            self.snapshot.begin();
            self.forget_coupons();
        }
    }

    /// Runs the upkeep to its end, so that the next opening reads little.
    pub(super) fn settle(&mut self) -> Result<(), NodeError> {
        self.begin_checkpoint();
        while !(self.index.is_idle() && self.snapshot.is_idle()) {
            let mut pending = Pending::default();
            let before = (self.index.covers(), self.index.is_idle());
            self.add_rows(&mut pending, ALONE_ROWS_MAX)?;
            if pending.is_empty() {
                // A reader is still in a run that is to be removed: the next opening removes it.
                tracing::debug!(?before, "upkeep left to the next opening");
                break;
            }
            self.commit(&mut pending)?;
        }
        Ok(())
    }

    /// Writes derived state that was made anew. The index covers the log
    /// already, so no checkpoint would come for it until the log has grown, and
    /// each opening would read the whole log till then.
    pub(super) fn write_state(&mut self) -> Result<(), NodeError> {
        self.snapshot.begin();
        loop {
            let mut batch = Batch::default();
            self.snapshot
                .step(&self.state, self.applied, &mut batch, ALONE_ROWS_MAX);
            let last = self.snapshot.is_idle();
            if last {
                self.snapshot.conclude(&self.state, self.applied, &mut batch);
            }
            self.shared.engine.commit(batch)?;
            if last {
                return Ok(());
            }
        }
    }

    /// Forgets coupons and redemptions at work when they are many: everything
    /// is in the log, and what is wanted again is read again. Never while a
    /// batch is under way.
    pub(super) fn bound_memory(&mut self) {
        if self.state.coupons.len() + self.state.redemptions.len() > limits::COUPONS_AT_WORK_MAX {
            self.forget_coupons();
        }
    }

    fn forget_coupons(&mut self) {
        self.state.coupons.clear();
        self.state.redemptions.clear();
    }
}
