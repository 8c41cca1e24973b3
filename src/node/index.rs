//! The node's index: from 16-byte keys to the log entries they lead to.
//!
//! Each log entry contributes up to four keys (keyed hashes of an
//! `Idempotency-Key` and of a till reference, the prefix of a receipt's tag, a
//! redemption's identity, a coupon's position). A key inserted again leads to
//! its newest value. The index is derived: all of it can be had again by
//! replaying the log.
//!
//! # Shape
//! A small log-structured merge tree over an [`Engine`]:
//!
//! - `pending`: keys of the batch under way, seen by the writer alone;
//! - the *tail*: keys since the last checkpoint, in memory;
//! - the *frozen* tail: while a checkpoint writes it out;
//! - *runs*: immutable sorted rows in the store, each with a Bloom filter in
//!   memory, so that an absent key mostly costs no read. Eight
//!   ([`INDEX_FAN_IN`]) runs of a level are merged into one of the next, so that
//!   the number of runs grows as the logarithm of the number of checkpoints.
//!   A merge takes neighbours in age; the newest run that has a key is right.
//! - the *manifest*: the row that makes runs count. It is the last write of a
//!   checkpoint or merge. Rows of runs that it does not name are left-overs,
//!   and are removed.
//!
//! Keys are scrambled one-to-one before use and stored scrambled (`key.rs`), so
//! that positions that count up behave like hashes. The bytes of the rows, and
//! why their checksum is not SHA-256, stand in `row.rs`.
//!
//! # Whoever can choose keys
//! The scrambling has no secret. A key that an outsider can choose freely must
//! come in as a keyed hash, or the outsider could crowd one hash table.
//!
//! # Writing
//! One thread owns the [`Index`]. For each batch of the log it calls
//! [`insert`](Index::insert) for the new entries' keys, then
//! [`step`](Index::step) to add a bounded number of index rows to the same
//! commit, commits, and calls [`committed`](Index::committed): only then do
//! [`IndexReader`]s see the keys. If the commit failed it calls
//! [`abandon`](Index::abandon). Every [`INDEX_CHECKPOINT_ENTRIES`] entries it
//! calls [`begin_checkpoint`](Index::begin_checkpoint). While the node is idle
//! it commits batches with nothing but steps until [`is_idle`](Index::is_idle).
//!
//! # Opening
//! [`Index::open`] reads the manifest and the filters (1.3 bytes a key) and
//! says how many log entries the runs cover. The caller replays the entries
//! that follow, in order, with `insert` and `committed`. When that is more than
//! a checkpoint's worth it checkpoints on the way, as when writing.
//!
//! # Damage
//! A row that is missing or whose checksum is wrong gives
//! [`StoreError::Damaged`] with its key in hexadecimal, never a wrong answer. The
//! remedy, also when `covers` is greater than the log's length, is
//! [`Index::wipe`] and opening anew: the index then covers 0 entries, and the
//! caller replays the whole log.
//!
//! [`INDEX_FAN_IN`]: crate::primitives::limits::INDEX_FAN_IN
//! [`INDEX_CHECKPOINT_ENTRIES`]: crate::primitives::limits::INDEX_CHECKPOINT_ENTRIES

mod copy;
pub(crate) mod filter;
pub(crate) mod key;
pub(crate) mod manifest;
mod reader;
pub(crate) mod row;
mod run;
#[cfg(test)]
mod tests;
mod upkeep;

use std::sync::Arc;

use self::key::{Map, Mixed};
use self::manifest::Manifest;
use self::reader::Shared;
use self::row::VALUE_MAX;
use self::run::Run;
use self::upkeep::Upkeep;
use crate::store::{Batch, Engine, StoreError};

pub use self::copy::copy;
pub use self::reader::IndexReader;

/// What a [`step`](Index::step) added to the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepOutcome {
    /// Nothing: there is nothing to do, or the manifest in an earlier step of
    /// this batch has to be committed first, or a reader is still in a run that
    /// is to be removed. The caller tries again with its next batch.
    Nothing,
    /// This many rows.
    Rows(usize),
    /// Rows with the manifest of a checkpoint: once committed, the runs cover
    /// this many log entries.
    Checkpoint {
        /// Rows added.
        rows: usize,
        /// Log entries covered.
        covers: u64,
    },
    /// Rows with the manifest of a merge.
    Merge {
        /// Rows added.
        rows: usize,
    },
}

/// The writer's side of the index; see the module's documentation.
pub struct Index {
    shared: Arc<Shared>,
    /// Keys of the batch under way.
    pending: Map,
    /// Log entries that the durable runs cover.
    covers: u64,
    upkeep: Upkeep,
}

impl Index {
    /// Opens the index and says how many log entries its runs cover: the
    /// caller replays the entries from that one on.
    ///
    /// Rows left over by a crash are found here and removed by later steps.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when the manifest or a filter is not what was
    /// written (see [`wipe`](Self::wipe)); any error of the engine.
    pub fn open(engine: &dyn Engine) -> Result<(Self, u64), StoreError> {
        let manifest = Manifest::read(engine)?;
        let runs = manifest
            .runs
            .iter()
            .map(|entry| Run::open(engine, *entry).map(Arc::new));
        let runs: Vec<Arc<Run>> = runs.collect::<Result<_, _>>()?;
        let upkeep = Upkeep::open(engine, &runs)?;
        let covers = manifest.covers;
        let shared = Arc::new(Shared::new(runs));
        let mut index = Self {
            shared,
            pending: Map::default(),
            covers,
            upkeep,
        };
        index.upkeep.plan_merges(&index.shared.runs());
        Ok((index, covers))
    }

    /// Removes all rows of the index, the manifest first, in batches of its
    /// own. No [`Index`] may be open on this engine.
    ///
    /// # Errors
    /// Any error of the engine. Opening and wiping again afterwards is safe.
    pub fn wipe(engine: &dyn Engine) -> Result<(), StoreError> {
        upkeep::wipe(engine)
    }

    /// Removes all rows, as [`wipe`](Self::wipe), and begins anew with an
    /// index that covers no entry. For damage that is met before anyone reads.
    ///
    /// # Errors
    /// Any error of the engine.
    pub fn clear(&mut self, engine: &dyn Engine) -> Result<(), StoreError> {
        upkeep::wipe(engine)?;
        self.pending.clear();
        self.shared.clear();
        self.covers = 0;
        self.upkeep = Upkeep::open(engine, &[])?;
        Ok(())
    }

    /// A view for other threads.
    #[must_use]
    pub fn reader(&self) -> IndexReader {
        IndexReader::new(Arc::clone(&self.shared))
    }

    /// Notes that `key` now leads to `value`, for [`committed`](Self::committed)
    /// to publish.
    ///
    /// # Panics
    /// When `value` is 2^40 or more: no log gets that long.
    pub fn insert(&mut self, key: [u8; 16], value: u64) {
        assert!(value <= VALUE_MAX, "log entry indices are below 2^40");
        self.pending.insert(Mixed::of(key), value);
    }

    /// The newest value of `key`, uncommitted inserts included.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when a row is not what was written; any error of
    /// the engine.
    pub fn lookup(&self, engine: &dyn Engine, key: [u8; 16]) -> Result<Option<u64>, StoreError> {
        let key = Mixed::of(key);
        match self.pending.get(&key) {
            Some(value) => Ok(Some(*value)),
            None => self.shared.lookup(engine, key),
        }
    }

    /// Number of published keys that no checkpoint has begun to write out.
    #[must_use]
    pub fn tail_len(&self) -> usize {
        self.shared.tail_len()
    }

    /// Log entries that the durable runs cover.
    #[must_use]
    pub fn covers(&self) -> u64 {
        self.covers
    }

    /// Number of runs in the store.
    #[must_use]
    pub fn runs_len(&self) -> usize {
        self.shared.runs().len()
    }

    /// Bytes of memory in filters and in the tails' tables, roughly.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.shared.memory_bytes() + self.upkeep.memory_bytes()
    }

    /// Begins to write the tail out: a checkpoint that covers the first
    /// `covers` entries of the log, which must be all those whose keys have
    /// been published. Keys that are pending do not belong to it.
    ///
    /// False, and nothing has changed, when a checkpoint is under way, when
    /// merges have fallen behind ([`INDEX_RUNS_MAX`]), or when there is nothing
    /// new to cover; the caller asks again after its next batch.
    ///
    /// [`INDEX_RUNS_MAX`]: crate::primitives::limits::INDEX_RUNS_MAX
    pub fn begin_checkpoint(&mut self, covers: u64) -> bool {
        let runs_len = self.shared.runs().len();
        if covers <= self.covers || !self.upkeep.may_checkpoint(runs_len) {
            return false;
        }
        let frozen = self.shared.freeze();
        self.upkeep.begin_checkpoint(covers, frozen);
        true
    }

    /// Adds at most `rows_max` writes of the checkpoint, merge or removal under
    /// way to `batch`, which the caller commits before calling
    /// [`committed`](Self::committed).
    ///
    /// A row written is at most 6,400 bytes, and costs up to eight rows read.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when a row to merge is not what was written; any
    /// error of the engine. Nothing was added to `batch` by this step, and the
    /// batch must not be committed if an earlier step added to it; call
    /// [`abandon`](Self::abandon).
    pub fn step(
        &mut self,
        engine: &dyn Engine,
        batch: &mut Batch,
        rows_max: usize,
    ) -> Result<StepOutcome, StoreError> {
        let mut writes = Vec::new();
        let manifest = Manifest {
            covers: self.covers,
            runs: self.shared.runs().iter().map(|run| run.entry()).collect(),
        };
        let outcome = self.upkeep.step(engine, &manifest, &mut writes, rows_max)?;
        batch.writes.append(&mut writes);
        Ok(outcome)
    }

    /// The batch is durable: publishes its keys, and lets the manifest count
    /// if the batch had one.
    pub fn committed(&mut self) {
        self.shared.publish(self.pending.drain());
        if let Some(covers) = self.upkeep.committed(&self.shared) {
            self.covers = covers;
        }
    }

    /// The batch was not written: drops its keys, and begins the work of which
    /// it carried rows again.
    pub fn abandon(&mut self) {
        self.pending.clear();
        self.upkeep.abandon(&self.shared.runs());
    }

    /// True when a [`step`](Self::step) would have nothing to do.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.upkeep.is_idle()
    }
}
