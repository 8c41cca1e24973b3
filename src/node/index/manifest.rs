//! The row that says which runs count.

use super::row::{MANIFEST_KEY, MANIFEST_MAGIC, damaged, seal, unseal};
use crate::store::{Engine, Row, StoreError};

/// A run as the manifest names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RunEntry {
    pub id: u64,
    pub level: u8,
    /// Number of pairs.
    pub count: u64,
    /// Blocks of its filter.
    pub blocks: u32,
}

/// The live runs, oldest first, and how many log entries they cover.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub covers: u64,
    pub runs: Vec<RunEntry>,
}

const RUN_BYTES: usize = 8 + 1 + 8 + 4;

impl Manifest {
    /// The manifest's row.
    pub fn row(&self) -> Row {
        let mut value = MANIFEST_MAGIC.to_vec();
        value.extend_from_slice(&self.covers.to_be_bytes());
        for run in &self.runs {
            value.extend_from_slice(&run.id.to_be_bytes());
            value.push(run.level);
            value.extend_from_slice(&run.count.to_be_bytes());
            value.extend_from_slice(&run.blocks.to_be_bytes());
        }
        (MANIFEST_KEY.to_vec(), seal(MANIFEST_KEY, value))
    }

    /// Reads the manifest; a store without one has no runs.
    pub fn read(engine: &dyn Engine) -> Result<Self, StoreError> {
        match engine.get(MANIFEST_KEY)? {
            None => Ok(Self::default()),
            Some(value) => {
                let body = unseal(MANIFEST_KEY, &value, MANIFEST_MAGIC)?;
                Self::parse(body).ok_or_else(|| damaged(MANIFEST_KEY, "its length is wrong"))
            }
        }
    }

    fn parse(body: &[u8]) -> Option<Self> {
        let (covers, rest) = body.split_first_chunk()?;
        let runs = rest.chunks_exact(RUN_BYTES);
        if !runs.remainder().is_empty() {
            return None;
        }
        let runs = runs.map(|bytes| {
            let (id, bytes) = bytes.split_first_chunk()?;
            let (level, bytes) = bytes.split_first()?;
            let (count, bytes) = bytes.split_first_chunk()?;
            let (blocks, _) = bytes.split_first_chunk()?;
            Some(RunEntry {
                id: u64::from_be_bytes(*id),
                level: *level,
                count: u64::from_be_bytes(*count),
                blocks: u32::from_be_bytes(*blocks),
            })
        });
        Some(Self {
            covers: u64::from_be_bytes(*covers),
            runs: runs.collect::<Option<_>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::primitives::limits::{INDEX_ROW_BYTES_MAX, INDEX_RUNS_MAX};

    #[test]
    fn the_longest_manifest_fits_a_row_and_reads_back() {
        let run = |id| RunEntry {
            id,
            level: 3,
            count: id * 1_000,
            blocks: 77,
        };
        let manifest = Manifest {
            covers: 12,
            runs: (0..INDEX_RUNS_MAX as u64 + 1).map(run).collect(),
        };
        let (key, value) = manifest.row();
        assert!(value.len() <= INDEX_ROW_BYTES_MAX);
        let body = unseal(&key, &value, MANIFEST_MAGIC).unwrap();
        assert_eq!(Manifest::parse(body), Some(manifest));
        assert_eq!(Manifest::parse(&body[..body.len() - 1]), None);
    }
}
