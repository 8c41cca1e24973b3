//! What the writer publishes and everybody reads.

use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::key::{Mixed, Tail};
use super::run::Run;
use crate::store::{Engine, StoreError};

/// The live runs, oldest first.
pub(super) type Runs = Arc<[Arc<Run>]>;

struct View {
    tail: Tail,
    frozen: Option<Arc<Tail>>,
    runs: Runs,
}

impl View {
    fn of(runs: Vec<Arc<Run>>) -> Self {
        Self {
            tail: Tail::new(),
            frozen: None,
            runs: runs.into(),
        }
    }
}

/// The published state. One lock is enough: it is held for a few hash look-ups
/// by readers, and by the writer to add one batch's keys; no read of the store
/// happens under it.
pub(super) struct Shared {
    view: RwLock<View>,
}

impl Shared {
    pub fn new(runs: Vec<Arc<Run>>) -> Self {
        Self {
            view: RwLock::new(View::of(runs)),
        }
    }

    /// Forgets everything.
    pub fn clear(&self) {
        *self.write() = View::of(Vec::new());
    }

    fn read(&self) -> RwLockReadGuard<'_, View> {
        self.view.read().expect("nothing panics while it holds the view")
    }

    fn write(&self) -> RwLockWriteGuard<'_, View> {
        self.view.write().expect("nothing panics while it holds the view")
    }

    pub fn lookup(&self, engine: &dyn Engine, key: Mixed) -> Result<Option<u64>, StoreError> {
        let runs = {
            let view = self.read();
            let in_memory = view.tail.get(key).or_else(|| view.frozen.as_ref()?.get(key));
            if in_memory.is_some() {
                return Ok(in_memory);
            }
            Arc::clone(&view.runs)
        };
        for run in runs.iter().rev() {
            if let Some(value) = run.lookup(engine, key)? {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }

    pub fn publish(&self, pairs: impl ExactSizeIterator<Item = (Mixed, u64)>) {
        if pairs.len() == 0 {
            return;
        }
        let mut view = self.write();
        for (key, value) in pairs {
            view.tail.insert(key, value);
        }
    }

    pub fn tail_len(&self) -> usize {
        self.read().tail.len()
    }

    pub fn runs(&self) -> Runs {
        Arc::clone(&self.read().runs)
    }

    /// Makes the tail the frozen one, and starts an empty tail.
    pub fn freeze(&self) -> Arc<Tail> {
        let fresh = Tail::new();
        let mut view = self.write();
        debug_assert!(view.frozen.is_none(), "one checkpoint at a time");
        let frozen = Arc::new(std::mem::replace(&mut view.tail, fresh));
        view.frozen = Some(Arc::clone(&frozen));
        frozen
    }

    /// Puts `runs` in place; `thaw` drops the frozen tail in the same moment,
    /// whose keys are now in a run.
    pub fn replace_runs(&self, runs: Vec<Arc<Run>>, thaw: bool) {
        let mut view = self.write();
        let old_runs = std::mem::replace(&mut view.runs, runs.into());
        let old_tail = if thaw { view.frozen.take() } else { None };
        // Freeing them takes longer than readers should wait.
        drop(view);
        drop((old_runs, old_tail));
    }

    pub fn memory_bytes(&self) -> usize {
        let view = self.read();
        let filters: usize = view.runs.iter().map(|run| run.filter.bytes()).sum();
        filters + view.tail.bytes() + view.frozen.as_ref().map_or(0, |tail| tail.bytes())
    }
}

/// Looks keys up from any thread while the writer goes on. Cheap to clone.
///
/// It sees a key once the writer has called
/// [`committed`](super::Index::committed) for it.
#[derive(Clone)]
pub struct IndexReader {
    shared: Arc<Shared>,
}

impl IndexReader {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// The newest published value of `key`.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when a row is not what was written; any error of
    /// the engine.
    pub fn lookup(&self, engine: &dyn Engine, key: [u8; 16]) -> Result<Option<u64>, StoreError> {
        self.shared.lookup(engine, Mixed::of(key))
    }
}
