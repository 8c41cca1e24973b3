//! Immutable sorted runs: looking up, walking through, and building them.

use std::sync::Arc;

use super::filter::Filter;
use super::key::{Mixed, Tail};
use super::manifest::RunEntry;
use super::row::{DataRow, PAIRS_MAX, damaged, data_key, data_row, run_prefix};
use crate::store::{Engine, Row, StoreError};

/// A key and its value.
type Pair = (Mixed, u64);

/// A run whose rows are all in the store.
pub(super) struct Run {
    pub id: u64,
    pub level: u8,
    /// Number of pairs.
    pub count: u64,
    pub filter: Filter,
}

impl Run {
    /// Reads the filter of a run that the manifest names.
    pub fn open(engine: &dyn Engine, entry: RunEntry) -> Result<Self, StoreError> {
        let filter = Filter::read(engine, entry.id, entry.blocks)?;
        Ok(Self {
            id: entry.id,
            level: entry.level,
            count: entry.count,
            filter,
        })
    }

    pub fn entry(&self) -> RunEntry {
        RunEntry {
            id: self.id,
            level: self.level,
            count: self.count,
            blocks: self.filter.blocks(),
        }
    }

    /// The value of `key`, with at most one read.
    pub fn lookup(&self, engine: &dyn Engine, key: Mixed) -> Result<Option<u64>, StoreError> {
        if !self.filter.may_hold(key) {
            return Ok(None);
        }
        let at = data_key(self.id, key);
        let found = engine.at_or_before(&run_prefix(super::row::DATA, self.id), &at)?;
        let (row_key, value) = found.ok_or_else(|| damaged(&at, "the row before it is missing"))?;
        let row = DataRow::parse(&row_key, value)?;
        if row.high < key {
            return Err(damaged(&at, "the row that holds this key is missing"));
        }
        Ok(row.find(key))
    }
}

/// Walks through a run in order, one row in memory at a time.
pub(super) struct Cursor {
    run: u64,
    row: Option<DataRow>,
    at: usize,
    /// Where the next row begins; `None` after the last.
    next_low: Option<Mixed>,
}

impl Cursor {
    fn new(run: u64) -> Self {
        Self {
            run,
            row: None,
            at: 0,
            next_low: Some(Mixed::MIN),
        }
    }

    /// The pair at the cursor; `None` at the end.
    fn peek(&mut self, engine: &dyn Engine) -> Result<Option<Pair>, StoreError> {
        loop {
            if let Some(row) = self.row.as_ref().filter(|row| self.at < row.len()) {
                return Ok(Some(row.pair(self.at)));
            }
            let Some(low) = self.next_low else { return Ok(None) };
            let key = data_key(self.run, low);
            let value = engine.get(&key)?.ok_or_else(|| damaged(&key, "it is missing"))?;
            let row = DataRow::parse(&key, value)?;
            self.next_low = row.high.after();
            (self.row, self.at) = (Some(row), 0);
        }
    }
}

/// Where a new run's pairs come from, in order and each key once.
pub(super) enum Source {
    /// The frozen tail, sorted a shard at a time.
    Tail {
        tail: Arc<Tail>,
        next_shard: usize,
        sorted: std::vec::IntoIter<Pair>,
    },
    /// Older runs, oldest first: of equal keys the last one's value stays.
    Runs(Vec<Cursor>),
}

impl Source {
    fn next(&mut self, engine: &dyn Engine) -> Result<Option<Pair>, StoreError> {
        match self {
            Self::Tail {
                tail,
                next_shard,
                sorted,
            } => loop {
                if let Some(pair) = sorted.next() {
                    return Ok(Some(pair));
                }
                let Some(shard) = tail.sorted_shard(*next_shard) else {
                    return Ok(None);
                };
                *sorted = shard.into_iter();
                *next_shard += 1;
            },
            Self::Runs(cursors) => {
                let mut least: Option<Pair> = None;
                for cursor in cursors.iter_mut() {
                    if let Some(pair) = cursor.peek(engine)?
                        && least.is_none_or(|least| pair.0 <= least.0)
                    {
                        least = Some(pair);
                    }
                }
                let Some(least) = least else { return Ok(None) };
                for cursor in cursors.iter_mut() {
                    if cursor.peek(engine)?.is_some_and(|pair| pair.0 == least.0) {
                        cursor.at += 1;
                    }
                }
                Ok(Some(least))
            }
        }
    }
}

/// A run under construction, which gives out its rows one by one.
pub(super) struct Build {
    id: u64,
    level: u8,
    source: Source,
    filter: Filter,
    count: u64,
    /// Where the next row begins; `None` once the last was given out.
    low: Option<Mixed>,
    /// The first pair of the next row.
    ahead: Option<Pair>,
    next_chunk: u32,
}

impl Build {
    /// Out of the frozen tail.
    pub fn of_tail(id: u64, tail: Arc<Tail>) -> Self {
        let keys = tail.len() as u64;
        Self::new(
            id,
            0,
            keys,
            Source::Tail {
                tail,
                next_shard: 0,
                sorted: Vec::new().into_iter(),
            },
        )
    }

    /// Out of runs of one level, oldest first.
    pub fn of_runs(id: u64, runs: &[Arc<Run>]) -> Self {
        let keys = runs.iter().map(|run| run.count).sum();
        let level = runs
            .iter()
            .map(|run| run.level)
            .max()
            .unwrap_or(0)
            .saturating_add(1);
        Self::new(
            id,
            level,
            keys,
            Source::Runs(runs.iter().map(|run| Cursor::new(run.id)).collect()),
        )
    }

    fn new(id: u64, level: u8, keys: u64, source: Source) -> Self {
        let filter = Filter::for_keys(keys);
        Self {
            id,
            level,
            source,
            filter,
            count: 0,
            low: Some(Mixed::MIN),
            ahead: None,
            next_chunk: 0,
        }
    }

    pub fn id(&self) -> u64 {
        self.id
    }

    /// True while no pair was given out.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub fn memory_bytes(&self) -> usize {
        self.filter.bytes()
    }

    /// The next row to write; `None` when all are given out.
    pub fn next_row(&mut self, engine: &dyn Engine) -> Result<Option<Row>, StoreError> {
        if let Some(low) = self.low {
            return self.next_data_row(engine, low).map(Some);
        }
        let row = self.filter.row(self.id, self.next_chunk);
        self.next_chunk += 1;
        Ok(row)
    }

    fn next_data_row(&mut self, engine: &dyn Engine, low: Mixed) -> Result<Row, StoreError> {
        let mut pairs = Vec::with_capacity(PAIRS_MAX);
        pairs.extend(self.ahead.take());
        while let Some(pair) = self.source.next(engine)? {
            if pairs.len() == PAIRS_MAX {
                self.ahead = Some(pair);
                break;
            }
            pairs.push(pair);
        }
        for pair in &pairs {
            self.filter.insert(pair.0);
        }
        self.count += pairs.len() as u64;
        self.low = self.ahead.map(|pair| pair.0);
        let high = self.low.and_then(Mixed::before).unwrap_or(Mixed::MAX);
        Ok(data_row(self.id, low, high, &pairs))
    }

    /// What the manifest will say of the run, once all its rows were given out.
    pub fn entry(&self) -> RunEntry {
        RunEntry {
            id: self.id,
            level: self.level,
            count: self.count,
            blocks: self.filter.blocks(),
        }
    }

    /// The run, once its manifest is durable.
    pub fn into_run(self) -> Run {
        Run {
            id: self.id,
            level: self.level,
            count: self.count,
            filter: self.filter,
        }
    }
}
