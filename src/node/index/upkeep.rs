//! Checkpoints, merges and removals, a few rows at a time.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::StepOutcome;
use super::key::Tail;
use super::manifest::Manifest;
use super::reader::Shared;
use super::row::{DATA, FILTER, MANIFEST_KEY, run_prefix};
use super::run::{Build, Run};
use crate::primitives::limits::{INDEX_FAN_IN, INDEX_RUNS_MAX, INDEX_WIPE_ROWS_MAX};
use crate::store::{Batch, Engine, Row, StoreError};

/// Keys with their new values, or `None` to remove them.
type Writes = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// A checkpoint that writes the frozen tail out.
struct Checkpoint {
    covers: u64,
    frozen: Arc<Tail>,
    build: Build,
}

/// A merge of neighbouring runs of one level.
struct Merge {
    level: u8,
    /// Its inputs' ids, oldest first.
    inputs: Vec<u64>,
    build: Build,
}

/// A run whose rows are to be removed.
struct Removal {
    run: u64,
    /// The run, if it was live in this process: readers may still be in it.
    held: Option<Arc<Run>>,
    /// The batch under way removes its last rows.
    ends: bool,
}

/// Which manifest the batch under way carries.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Staged {
    Nothing,
    Checkpoint,
    /// Of the merge of this level.
    Merge(u8),
}

/// All work that is under way.
pub(super) struct Upkeep {
    next_run: u64,
    checkpoint: Option<Checkpoint>,
    /// At most one a level. Low levels go first, so that a long merge never
    /// lets short runs pile up.
    merges: Vec<Merge>,
    removals: VecDeque<Removal>,
    staged: Staged,
}

impl Upkeep {
    /// Finds the rows of runs that are not among `runs`.
    pub fn open(engine: &dyn Engine, runs: &[Arc<Run>]) -> Result<Self, StoreError> {
        let mut found = run_ids(engine, DATA)?;
        found.extend(run_ids(engine, FILTER)?);
        found.extend(runs.iter().map(|run| run.id));
        found.sort_unstable();
        found.dedup();
        let next_run = found.last().map_or(0, |last| last + 1);
        let live = |id: &u64| runs.iter().any(|run| run.id == *id);
        let removals = found
            .into_iter()
            .filter(|id| !live(id))
            .map(Removal::of_left_over)
            .collect();
        Ok(Self {
            next_run,
            checkpoint: None,
            merges: Vec::new(),
            removals,
            staged: Staged::Nothing,
        })
    }

    fn new_run_id(&mut self) -> u64 {
        self.next_run += 1;
        self.next_run - 1
    }

    pub fn is_idle(&self) -> bool {
        self.checkpoint.is_none() && self.merges.is_empty() && self.removals.is_empty()
    }

    pub fn may_checkpoint(&self, runs_len: usize) -> bool {
        self.checkpoint.is_none() && runs_len < INDEX_RUNS_MAX
    }

    pub fn memory_bytes(&self) -> usize {
        let checkpoint = self.checkpoint.iter().map(|checkpoint| &checkpoint.build);
        let builds = checkpoint.chain(self.merges.iter().map(|merge| &merge.build));
        builds.map(Build::memory_bytes).sum()
    }

    pub fn begin_checkpoint(&mut self, covers: u64, frozen: Arc<Tail>) {
        let build = Build::of_tail(self.new_run_id(), Arc::clone(&frozen));
        self.checkpoint = Some(Checkpoint {
            covers,
            frozen,
            build,
        });
    }

    /// Begins the merges that are due: on each level where none is under way,
    /// of its oldest runs, if there are enough. Runs lie in the order of their
    /// age and their levels fall along it, so those of a level are neighbours.
    pub fn plan_merges(&mut self, runs: &[Arc<Run>]) {
        for of_level in runs.chunk_by(|a, b| a.level == b.level) {
            let level = of_level[0].level;
            if of_level.len() < INDEX_FAN_IN || self.merges.iter().any(|merge| merge.level == level) {
                continue;
            }
            let inputs = &of_level[..INDEX_FAN_IN];
            let build = Build::of_runs(self.new_run_id(), inputs);
            let inputs = inputs.iter().map(|run| run.id).collect();
            self.merges.push(Merge { level, inputs, build });
        }
        self.merges.sort_by_key(|merge| merge.level);
    }

    /// Adds up to `rows_max` writes; the first manifest among them is the last
    /// of the batch. `manifest` is the one that counts now.
    pub fn step(
        &mut self,
        engine: &dyn Engine,
        manifest: &Manifest,
        writes: &mut Writes,
        rows_max: usize,
    ) -> Result<StepOutcome, StoreError> {
        if self.staged != Staged::Nothing {
            return Ok(StepOutcome::Nothing);
        }
        while writes.len() < rows_max {
            if let Some(checkpoint) = &mut self.checkpoint {
                match checkpoint.next_row(engine)? {
                    Some((key, value)) => writes.push((key, Some(value))),
                    None => {
                        let (key, value) = checkpoint.manifest(manifest).row();
                        writes.push((key, Some(value)));
                        self.staged = Staged::Checkpoint;
                        return Ok(StepOutcome::Checkpoint {
                            rows: writes.len(),
                            covers: checkpoint.covers,
                        });
                    }
                }
            } else if self.remove_some(engine, writes, rows_max)? {
            } else if let Some(merge) = self.merges.first_mut() {
                match merge.build.next_row(engine)? {
                    Some((key, value)) => writes.push((key, Some(value))),
                    None => {
                        let (key, value) = merge.manifest(manifest).row();
                        writes.push((key, Some(value)));
                        self.staged = Staged::Merge(merge.level);
                        return Ok(StepOutcome::Merge { rows: writes.len() });
                    }
                }
            } else {
                break;
            }
        }
        Ok(if writes.is_empty() {
            StepOutcome::Nothing
        } else {
            StepOutcome::Rows(writes.len())
        })
    }

    /// Adds removals until the step is full or one run's rows are all in it.
    /// False when there is no run that can be removed now.
    fn remove_some(
        &mut self,
        engine: &dyn Engine,
        writes: &mut Writes,
        rows_max: usize,
    ) -> Result<bool, StoreError> {
        let Some(at) = self.removals.iter_mut().position(Removal::is_ready) else {
            return Ok(false);
        };
        let removal = &mut self.removals[at];
        let before = writes.len();
        removal.ends = true;
        for family in [DATA, FILTER] {
            let prefix = run_prefix(family, removal.run);
            engine.scan(&prefix, &prefix, &mut |key, _| {
                if writes.len() == rows_max {
                    removal.ends = false;
                    return ControlFlow::Break(());
                }
                writes.push((key.to_vec(), None));
                ControlFlow::Continue(())
            })?;
        }
        if removal.ends && writes.len() == before {
            // Not a row is left: nothing has to be committed for it.
            self.removals.remove(at);
        }
        Ok(true)
    }

    /// The batch is durable. Returns what the runs cover after a checkpoint.
    pub fn committed(&mut self, shared: &Shared) -> Option<u64> {
        self.removals.retain(|removal| !removal.ends);
        let mut runs = shared.runs().to_vec();
        let covers = match std::mem::replace(&mut self.staged, Staged::Nothing) {
            Staged::Nothing => return None,
            Staged::Checkpoint => {
                let checkpoint = self.checkpoint.take().expect("its manifest was in the batch");
                if !checkpoint.build.is_empty() {
                    runs.push(Arc::new(checkpoint.build.into_run()));
                }
                shared.replace_runs(runs, true);
                Some(checkpoint.covers)
            }
            Staged::Merge(level) => {
                let at = self.merges.iter().position(|merge| merge.level == level);
                let merge = self.merges.remove(at.expect("its manifest was in the batch"));
                let first = position_of(&merge.inputs, runs.iter().map(|run| run.id));
                let new = Arc::new(merge.build.into_run());
                let old: Vec<_> = runs.splice(first..first + merge.inputs.len(), [new]).collect();
                shared.replace_runs(runs, false);
                self.removals.extend(old.into_iter().map(Removal::of_live));
                None
            }
        };
        self.plan_merges(&shared.runs());
        covers
    }

    /// The batch was not written: what is under way begins anew, under other
    /// run ids, and the rows it has written so far become left-overs.
    pub fn abandon(&mut self, runs: &[Arc<Run>]) {
        self.staged = Staged::Nothing;
        for removal in &mut self.removals {
            removal.ends = false;
        }
        for merge in std::mem::take(&mut self.merges) {
            self.removals.push_back(Removal::of_left_over(merge.build.id()));
        }
        if let Some(checkpoint) = self.checkpoint.take() {
            self.removals
                .push_back(Removal::of_left_over(checkpoint.build.id()));
            self.begin_checkpoint(checkpoint.covers, checkpoint.frozen);
        }
        self.plan_merges(runs);
    }
}

impl Checkpoint {
    /// The next row; a tail without keys needs no run.
    fn next_row(&mut self, engine: &dyn Engine) -> Result<Option<Row>, StoreError> {
        if self.frozen.len() == 0 {
            Ok(None)
        } else {
            self.build.next_row(engine)
        }
    }

    fn manifest(&self, old: &Manifest) -> Manifest {
        let mut runs = old.runs.clone();
        if !self.build.is_empty() {
            runs.push(self.build.entry());
        }
        Manifest {
            covers: self.covers,
            runs,
        }
    }
}

impl Merge {
    fn manifest(&self, old: &Manifest) -> Manifest {
        let mut runs = old.runs.clone();
        let first = position_of(&self.inputs, runs.iter().map(|run| run.id));
        runs.splice(first..first + self.inputs.len(), [self.build.entry()]);
        Manifest {
            covers: old.covers,
            runs,
        }
    }
}

/// Where the inputs of a merge begin among the live runs.
fn position_of(inputs: &[u64], mut ids: impl Iterator<Item = u64>) -> usize {
    ids.position(|id| id == inputs[0])
        .expect("the inputs of a merge stay live until it counts")
}

impl Removal {
    fn of_left_over(run: u64) -> Self {
        Self {
            run,
            held: None,
            ends: false,
        }
    }

    fn of_live(run: Arc<Run>) -> Self {
        Self {
            run: run.id,
            held: Some(run),
            ends: false,
        }
    }

    /// True when no reader can be in the run any more. Readers hold the list of
    /// runs that they search, and no new one can get at a list with this run.
    fn is_ready(&mut self) -> bool {
        !self.ends && self.held.as_mut().is_none_or(|run| Arc::get_mut(run).is_some())
    }
}

/// The ids of all runs with rows of a family: one short scan for each.
fn run_ids(engine: &dyn Engine, family: u8) -> Result<Vec<u64>, StoreError> {
    let mut ids = Vec::new();
    let mut from = vec![family];
    loop {
        let mut found = None;
        engine.scan(&[family], &from, &mut |key, _| {
            found = key
                .get(1..9)
                .and_then(|id| id.try_into().ok())
                .map(u64::from_be_bytes);
            ControlFlow::Break(())
        })?;
        let Some(id) = found else { return Ok(ids) };
        ids.push(id);
        let Some(next) = id.checked_add(1) else {
            return Ok(ids);
        };
        from = run_prefix(family, next);
    }
}

/// Removes all rows, the manifest first.
pub(super) fn wipe(engine: &dyn Engine) -> Result<(), StoreError> {
    let mut batch = Batch::default();
    batch.remove(MANIFEST_KEY);
    engine.commit(batch)?;
    for family in [DATA, FILTER] {
        loop {
            let mut batch = Batch::default();
            engine.scan(&[family], &[family], &mut |key, _| {
                batch.remove(key);
                if batch.writes.len() < INDEX_WIPE_ROWS_MAX {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            })?;
            if batch.is_empty() {
                break;
            }
            engine.commit(batch)?;
        }
    }
    Ok(())
}
