//! An engine in memory, and a writer with its log on it.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::node::index::{Index, IndexReader, StepOutcome};
use crate::store::{Batch, Engine, Row, StoreError, Visitor};

/// Longest value that the store keeps in its pages.
const VALUE_BYTES_MAX: usize = 7_000;

/// An engine in memory that checks the sizes of rows and counts reads.
#[derive(Default)]
pub struct Memory {
    pub rows: Mutex<BTreeMap<Vec<u8>, Vec<u8>>>,
    reads: AtomicUsize,
}

impl Memory {
    /// Number of rows whose keys begin with a byte.
    pub fn rows_of(&self, family: u8) -> usize {
        self.rows
            .lock()
            .unwrap()
            .keys()
            .filter(|key| key[0] == family)
            .count()
    }

    pub fn reads(&self) -> usize {
        self.reads.load(Ordering::Relaxed)
    }
}

impl Engine for Memory {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        Ok(self.rows.lock().unwrap().get(key).cloned())
    }

    fn at_or_before(&self, prefix: &[u8], key: &[u8]) -> Result<Option<Row>, StoreError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let rows = self.rows.lock().unwrap();
        let bounds = (Bound::Included(prefix), Bound::Included(key));
        let found = rows.range::<[u8], _>(bounds).next_back();
        Ok(found.map(|(key, value)| (key.clone(), value.clone())))
    }

    fn scan(&self, prefix: &[u8], from: &[u8], visit: &mut Visitor<'_>) -> Result<(), StoreError> {
        let rows = self.rows.lock().unwrap();
        let bounds = (Bound::Included(prefix.max(from)), Bound::Unbounded);
        for (key, value) in rows
            .range::<[u8], _>(bounds)
            .take_while(|row| row.0.starts_with(prefix))
        {
            if visit(key, value).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        let mut rows = self.rows.lock().unwrap();
        for (key, value) in batch.writes {
            match value {
                Some(value) => {
                    assert!(value.len() < VALUE_BYTES_MAX && key.len() < 64);
                    rows.insert(key, value);
                }
                None => drop(rows.remove(&key)),
            }
        }
        Ok(())
    }
}

/// A key whose bits are as structured as a position's.
pub fn key(number: u64) -> [u8; 16] {
    u128::from(number).to_be_bytes()
}

/// A writer with its log: entry `n` contributes the keys `log[n]`.
pub struct World {
    pub engine: Memory,
    pub index: Index,
    pub reader: IndexReader,
    pub log: Vec<Vec<u64>>,
    /// What the log says.
    expected: HashMap<u64, u64>,
}

impl World {
    pub fn new() -> Self {
        let engine = Memory::default();
        let (index, covers) = Index::open(&engine).unwrap();
        assert_eq!(covers, 0);
        let reader = index.reader();
        Self {
            engine,
            index,
            reader,
            log: Vec::new(),
            expected: HashMap::new(),
        }
    }

    /// Commits entries together with at most `rows_max` index rows.
    pub fn write(&mut self, entries: &[Vec<u64>], rows_max: usize) -> StepOutcome {
        self.insert(entries);
        let (batch, outcome) = self.step(rows_max);
        self.engine.commit(batch).unwrap();
        self.log.extend_from_slice(entries);
        self.expect_from(self.log.len() - entries.len());
        self.index.committed();
        outcome
    }

    fn expect_from(&mut self, first: usize) {
        for (entry, keys) in self.log.iter().enumerate().skip(first) {
            self.expected.extend(keys.iter().map(|key| (*key, entry as u64)));
        }
    }

    pub fn insert(&mut self, entries: &[Vec<u64>]) {
        for (entry, keys) in (self.log.len() as u64..).zip(entries) {
            for number in keys {
                self.index.insert(key(*number), entry);
            }
        }
    }

    pub fn step(&mut self, rows_max: usize) -> (Batch, StepOutcome) {
        let mut batch = Batch::default();
        let outcome = self.index.step(&self.engine, &mut batch, rows_max).unwrap();
        assert!(batch.writes.len() <= rows_max);
        let rows = match outcome {
            StepOutcome::Nothing => 0,
            StepOutcome::Rows(rows) | StepOutcome::Checkpoint { rows, .. } | StepOutcome::Merge { rows } => {
                rows
            }
        };
        assert_eq!(rows, batch.writes.len());
        (batch, outcome)
    }

    /// Steps until there is nothing more to do.
    pub fn settle(&mut self, rows_max: usize) {
        while !self.index.is_idle() {
            let outcome = self.write(&[], rows_max);
            assert!(outcome != StepOutcome::Nothing || self.index.is_idle());
        }
    }

    pub fn checkpoint(&mut self) -> bool {
        self.index.begin_checkpoint(self.log.len() as u64)
    }

    /// Opens anew from what is durable, and replays what the runs don't cover.
    pub fn reopen(&mut self) {
        let (index, covers) = Index::open(&self.engine).unwrap();
        (self.reader, self.index) = (index.reader(), index);
        for (entry, keys) in self.log.iter().enumerate().skip(usize::try_from(covers).unwrap()) {
            keys.iter()
                .for_each(|number| self.index.insert(key(*number), entry as u64));
        }
        self.index.committed();
    }

    pub fn check(&self, numbers: impl Iterator<Item = u64>) {
        for number in numbers {
            let expected = self.expected.get(&number).copied();
            assert_eq!(
                self.index.lookup(&self.engine, key(number)).unwrap(),
                expected,
                "key {number}"
            );
            assert_eq!(
                self.reader.lookup(&self.engine, key(number)).unwrap(),
                expected,
                "key {number}"
            );
        }
    }
}

/// `count` entries with a key each, from `first` on.
pub fn entries(first: u64, count: u64) -> Vec<Vec<u64>> {
    (first..first + count).map(|number| vec![number]).collect()
}
