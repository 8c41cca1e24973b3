//! An engine and a guard that fail on demand, driven from a shared handle.

use std::sync::{Arc, Mutex, MutexGuard};

use crate::store::{Batch, Engine, GuardFile, GuardState, Row, StoreError, Visitor};

/// How a durable write fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The error comes back and nothing was written.
    NotPersisted,
    /// The error comes back although all of it was written.
    Persisted,
}

#[derive(Debug, Default)]
struct Plan {
    writes: u64,
    fault: Option<(u64, Fault)>,
    failed: bool,
}

/// Decides which write fails. Clones drive the same engine or guard.
#[derive(Clone, Debug, Default)]
pub struct FaultHandle {
    plan: Arc<Mutex<Plan>>,
}

impl FaultHandle {
    /// Lets the `nth` write from now fail (1 is the next one).
    pub fn fail(&self, nth: u64, fault: Fault) {
        let mut plan = self.plan();
        plan.fault = Some((plan.writes + nth, fault));
    }

    /// Lets no write fail that has not failed yet.
    pub fn spare(&self) {
        self.plan().fault = None;
    }

    /// Writes tried so far, failed ones included.
    #[must_use]
    pub fn writes(&self) -> u64 {
        self.plan().writes
    }

    /// True once a write has failed: every later one fails too.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.plan().failed
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().expect("no holder of the lock panics")
    }

    /// Does `write`, or fails as planned.
    fn run(&self, write: impl FnOnce() -> Result<(), StoreError>) -> Result<(), StoreError> {
        let mut plan = self.plan();
        if plan.failed {
            return Err(StoreError::Fatal("an earlier write failed".into()));
        }
        plan.writes += 1;
        let fault = plan
            .fault
            .filter(|(at, _)| *at == plan.writes)
            .map(|(_, fault)| fault);
        match fault {
            None => {
                let done = write();
                plan.failed = matches!(done, Err(StoreError::Fatal(_)));
                done
            }
            Some(fault) => {
                if fault == Fault::Persisted {
                    write()?;
                }
                plan.failed = true;
                Err(StoreError::Fatal(format!("a fault was asked for: {fault:?}")))
            }
        }
    }
}

/// An engine whose commits fail on demand.
#[derive(Debug)]
pub struct FaultyEngine<E> {
    inner: E,
    faults: FaultHandle,
}

impl<E> FaultyEngine<E> {
    /// Wraps `inner`; the handle plans the faults.
    pub fn new(inner: E) -> (Self, FaultHandle) {
        let faults = FaultHandle::default();
        (
            Self {
                inner,
                faults: faults.clone(),
            },
            faults,
        )
    }
}

impl<E: Engine> Engine for FaultyEngine<E> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.get(key)
    }

    fn at_or_before(&self, prefix: &[u8], key: &[u8]) -> Result<Option<Row>, StoreError> {
        self.inner.at_or_before(prefix, key)
    }

    fn scan(&self, prefix: &[u8], from: &[u8], visit: &mut Visitor<'_>) -> Result<(), StoreError> {
        self.inner.scan(prefix, from, visit)
    }

    fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        self.faults.run(|| self.inner.commit(batch))
    }
}

/// A guard whose writes fail on demand.
#[derive(Debug)]
pub struct FaultyGuard<G> {
    inner: G,
    faults: FaultHandle,
}

impl<G> FaultyGuard<G> {
    /// Wraps `inner`; the handle plans the faults.
    pub fn new(inner: G) -> (Self, FaultHandle) {
        let faults = FaultHandle::default();
        (
            Self {
                inner,
                faults: faults.clone(),
            },
            faults,
        )
    }
}

impl<G: GuardFile> GuardFile for FaultyGuard<G> {
    fn write(&mut self, state: &GuardState) -> Result<(), StoreError> {
        self.faults.run(|| self.inner.write(state))
    }
}

#[cfg(test)]
#[path = "faulty_tests.rs"]
mod tests;
