//! An engine in memory: for tests, and for the conformance suite to prove itself on.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;
use std::sync::{Arc, RwLock, RwLockReadGuard};

use super::{Batch, Engine, Row, StoreError, Visitor};

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

/// Rows in a map. Clones share the rows, so that a test can 'open it anew'.
#[derive(Clone, Default)]
pub struct MemoryEngine {
    rows: Arc<RwLock<Rows>>,
}

impl fmt::Debug for MemoryEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryEngine").finish_non_exhaustive()
    }
}

impl MemoryEngine {
    /// An engine without rows.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A copy with rows of its own: what a disk held at this moment.
    #[must_use]
    pub fn fork(&self) -> Self {
        let rows = self.rows.read().expect("no holder of the lock panics").clone();
        Self {
            rows: Arc::new(RwLock::new(rows)),
        }
    }

    fn rows(&self) -> Result<RwLockReadGuard<'_, Rows>, StoreError> {
        self.rows
            .read()
            .map_err(|_| StoreError::Fatal("a writer panicked".into()))
    }
}

impl Engine for MemoryEngine {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.rows()?.get(key).cloned())
    }

    fn at_or_before(&self, prefix: &[u8], key: &[u8]) -> Result<Option<Row>, StoreError> {
        let rows = self.rows()?;
        Ok(super::engine::floor_row(prefix, key, |bound| {
            rows.range::<[u8], _>((Bound::Unbounded, bound))
                .next_back()
                .map(|(key, value)| (key.clone(), value.clone()))
        }))
    }

    fn scan(&self, prefix: &[u8], from: &[u8], visit: &mut Visitor<'_>) -> Result<(), StoreError> {
        let mut bound = Bound::Included(from.max(prefix).to_vec());
        // The lock is not held over `visit`, which may read or commit itself.
        loop {
            let row = {
                let rows = self.rows()?;
                rows.range::<Vec<u8>, _>((bound, Bound::Unbounded))
                    .next()
                    .map(|(key, value)| (key.clone(), value.clone()))
            };
            let Some((key, value)) = row.filter(|(key, _)| key.starts_with(prefix)) else {
                return Ok(());
            };
            if visit(&key, &value).is_break() {
                return Ok(());
            }
            bound = Bound::Excluded(key);
        }
    }

    fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        super::engine::check_sizes(&batch)?;
        let mut rows = self
            .rows
            .write()
            .map_err(|_| StoreError::Fatal("a writer panicked".into()))?;
        if batch.require_absent.is_some_and(|key| rows.contains_key(&key)) {
            return Err(StoreError::HeadMoved);
        }
        for (key, value) in batch.writes {
            match value {
                Some(value) => rows.insert(key, value),
                None => rows.remove(&key),
            };
        }
        Ok(())
    }
}
