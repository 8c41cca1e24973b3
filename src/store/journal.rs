//! The journal's files: commits that are durable, and not yet in the engine below.
//!
//! Two segments are written in turn, each from its beginning when its turn
//! comes. They grow by zeros, in pieces, that are synced before a record is
//! written over them: so a commit overwrites blocks that the file has already, and
//! no record depends on metadata of the file system. It overwrites whole blocks:
//! the first of them once more with what the records before left in it.
//!
//! ```text
//! record  = "TLYJ"  number u64  below u64  length u32  check [16]  payload
//! payload = ( key length u16  value length u32  key  value ) *
//! ```
//!
//! Numbers are big-endian and consecutive, over both segments and over every
//! opening, so what an earlier turn left in a segment never continues what a
//! later one wrote. Records numbered less than `below` are in the engine below.
//! `check` is the first half of the SHA-256 of all the rest. A value length of
//! 2^32 - 1 removes the key. Before a segment is written over, a record without
//! payload in the other one says that what it held is below.
//!
//! A record is synced before the next one is written, so a cut can tear only the
//! last one, which nobody was told of. Anything else that is missing between the
//! greatest `below` and the greatest number is damage.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::blocks::{BLOCK_BYTES, BlockFile};
use super::files::sync_dir;
use super::{Batch, Disk, StoreError};
use crate::primitives::limits::JOURNAL_GROWTH_BYTES;

/// The two segments inside the store's directory.
pub const SEGMENT_FILES: [&str; 2] = ["journal.0", "journal.1"];

const MAGIC: &[u8; 4] = b"TLYJ";
const CHECK_AT: usize = 4 + 8 + 8 + 4;
const HEAD_BYTES: usize = CHECK_AT + 16;
const REMOVED: u32 = u32::MAX;

/// How the segments are written.
#[derive(Clone, Copy)]
pub(super) struct Layout {
    /// By how much a segment grows.
    pub growth: u64,
    /// Bytes of a block; a divisor of `growth`.
    pub block: usize,
}

impl Layout {
    /// The node's.
    pub const WHOLE_BLOCKS: Self = Self {
        growth: JOURNAL_GROWTH_BYTES,
        block: BLOCK_BYTES,
    };

    /// Segments as long as their records, for tests that look at every byte.
    #[cfg(test)]
    pub const BYTES: Self = Self { growth: 1, block: 1 };
}

/// Rows with their values, or `None` for one that was removed.
pub(crate) type Table = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

struct Segment {
    /// For growing.
    file: File,
    /// For records.
    blocks: BlockFile,
    path: PathBuf,
    length: u64,
}

/// Both segments, and where the next record goes.
pub(super) struct Journal {
    disk: Arc<dyn Disk>,
    layout: Layout,
    segments: [Segment; 2],
    current: usize,
    /// Number of the current segment's first record, and where its last one ends.
    first: u64,
    end: u64,
    /// Number of the next record.
    next: u64,
    /// Records before this one are in the engine below.
    below: u64,
    record: Vec<u8>,
    /// What stands between the last block's beginning and `end`.
    tail: Vec<u8>,
}

impl Journal {
    /// Opens the journal in `dir`, or makes it, and gives back the newest value
    /// of every key that it holds and the engine below may lack.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when a record is missing in the middle;
    /// [`StoreError::Io`].
    pub fn open(disk: Arc<dyn Disk>, dir: &Path, layout: Layout) -> Result<(Self, Table), StoreError> {
        let (mut segments, mut runs) = (Vec::new(), Vec::new());
        for (segment, name) in SEGMENT_FILES.into_iter().enumerate() {
            let path = dir.join(name);
            let failed = || StoreError::io(format!("could not open {}", path.display()));
            let mut file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)
                .map_err(failed())?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).map_err(failed())?;
            let length = bytes.len() as u64;
            runs.push(Run::read(segment, bytes));
            let blocks = BlockFile::open(Arc::clone(&disk), &path, layout.block).map_err(failed())?;
            segments.push(Segment {
                file,
                blocks,
                path,
                length,
            });
        }
        sync_dir(disk.as_ref(), dir)?;
        let (below, table) = joined(&mut runs)?;
        let newest = runs.iter().rev().max_by_key(|run| run.end);
        let newest = newest.expect("two runs were read");
        let whole = newest.length - newest.length % layout.block;
        let tail = newest.bytes[whole..newest.length].to_vec();
        let journal = Self {
            disk,
            layout,
            segments: segments
                .try_into()
                .unwrap_or_else(|_| unreachable!("two segments were opened")),
            current: newest.segment,
            first: newest.first,
            end: newest.length as u64,
            next: newest.end.max(1),
            below,
            record: Vec::new(),
            tail,
        };
        Ok((journal, table))
    }

    /// Bytes of records in the current segment.
    pub fn filled(&self) -> u64 {
        self.end
    }

    /// Writes `batch` behind the last record, and syncs it.
    pub fn append(&mut self, batch: &Batch) -> std::io::Result<()> {
        begin(&mut self.record);
        for (key, value) in &batch.writes {
            let length = |bytes: &[u8]| u32::try_from(bytes.len()).expect("the batch's sizes were checked");
            let key_length = u16::try_from(key.len()).expect("the batch's sizes were checked");
            self.record.extend(key_length.to_be_bytes());
            let value_length = value.as_deref().map_or(REMOVED, length);
            self.record.extend(value_length.to_be_bytes());
            self.record.extend(key);
            self.record.extend(value.as_deref().unwrap_or_default());
        }
        self.write()
    }

    /// Lets the next record begin the other segment, all of which is in the
    /// engine below.
    pub fn turn(&mut self) -> std::io::Result<()> {
        self.mark(self.first)
    }

    /// Notes that everything is in the engine below: behind the last record, so
    /// that it is known whatever becomes of the rest, and then at the beginning of
    /// both segments, so that no damage to what they held before matters.
    pub fn mark_empty(&mut self) -> std::io::Result<()> {
        for _ in 0..3 {
            self.mark(self.next + 1)?;
        }
        (self.current, self.first, self.end) = (1 - self.current, self.next - 1, HEAD_BYTES as u64);
        let whole = HEAD_BYTES - HEAD_BYTES % self.layout.block;
        self.tail.clone_from(&self.record);
        self.tail.drain(..whole);
        Ok(())
    }

    fn mark(&mut self, below: u64) -> std::io::Result<()> {
        self.below = below;
        begin(&mut self.record);
        self.write()?;
        self.current = 1 - self.current;
        (self.first, self.end) = (self.next, 0);
        self.tail.clear();
        Ok(())
    }

    /// Puts `file` in the place of the current segment.
    #[cfg(test)]
    pub fn replace_current(&mut self, file: File) {
        self.segments[self.current].blocks.replace(file);
    }

    fn write(&mut self) -> std::io::Result<()> {
        finish(&mut self.record, self.next, self.below);
        let block = self.layout.block;
        let segment = &mut self.segments[self.current];
        let begin = self.end - self.tail.len() as u64;
        let filled = self.tail.len() + self.record.len();
        let needed = begin + filled.next_multiple_of(block) as u64;
        if needed > segment.length {
            let length = needed.next_multiple_of(self.layout.growth);
            let zeros = vec![0; usize::try_from(length - segment.length).expect("a few records")];
            self.disk
                .write_at(&segment.file, &segment.path, &zeros, segment.length)?;
            self.disk.sync_file(&segment.file, &segment.path)?;
            segment.length = length;
        }
        segment.blocks.overwrite(&[&self.tail, &self.record], begin)?;
        self.end += self.record.len() as u64;
        self.next += 1;
        let kept = filled % block;
        if let Some(cut) = self.record.len().checked_sub(kept) {
            self.tail.clear();
            self.tail.extend_from_slice(&self.record[cut..]);
        } else {
            // Still the block that the record began in.
            self.tail.extend_from_slice(&self.record);
        }
        Ok(())
    }
}

/// A record with `payload`.
pub(crate) fn record(number: u64, below: u64, payload: &[u8]) -> Vec<u8> {
    let mut record = Vec::new();
    begin(&mut record);
    record.extend_from_slice(payload);
    finish(&mut record, number, below);
    record
}

/// The rows that two segments hold and the engine below may lack.
pub(crate) fn rows_in(segments: [Vec<u8>; 2]) -> Result<Table, StoreError> {
    let mut runs: Vec<_> = (0..)
        .zip(segments)
        .map(|(at, bytes)| Run::read(at, bytes))
        .collect();
    Ok(joined(&mut runs)?.1)
}

fn begin(record: &mut Vec<u8>) {
    record.clear();
    record.resize(HEAD_BYTES, 0);
}

/// Fills in the head of a record whose payload stands behind it.
fn finish(record: &mut [u8], number: u64, below: u64) {
    let payload = u32::try_from(record.len() - HEAD_BYTES).expect("a batch is far below 4 GiB");
    record[..4].copy_from_slice(MAGIC);
    record[4..12].copy_from_slice(&number.to_be_bytes());
    record[12..20].copy_from_slice(&below.to_be_bytes());
    record[20..CHECK_AT].copy_from_slice(&payload.to_be_bytes());
    let check = check_of(record);
    record[CHECK_AT..HEAD_BYTES].copy_from_slice(&check);
}

fn check_of(record: &[u8]) -> [u8; HEAD_BYTES - CHECK_AT] {
    let hash = Sha256::new_with_prefix(&record[..CHECK_AT])
        .chain_update(&record[HEAD_BYTES..])
        .finalize();
    let mut check = [0; HEAD_BYTES - CHECK_AT];
    check.copy_from_slice(&hash[..HEAD_BYTES - CHECK_AT]);
    check
}

/// A whole record at the beginning of `bytes`.
struct Record<'a> {
    number: u64,
    below: u64,
    payload: &'a [u8],
}

impl<'a> Record<'a> {
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let head = bytes.get(..HEAD_BYTES)?;
        if &head[..4] != MAGIC {
            return None;
        }
        let length = u32::from_be_bytes(head[20..CHECK_AT].try_into().ok()?);
        let whole = bytes.get(..HEAD_BYTES.checked_add(usize::try_from(length).ok()?)?)?;
        (check_of(whole) == head[CHECK_AT..]).then_some(Self {
            number: u64::from_be_bytes(head[4..12].try_into().ok()?),
            below: u64::from_be_bytes(head[12..20].try_into().ok()?),
            payload: &whole[HEAD_BYTES..],
        })
    }

    fn bytes(&self) -> usize {
        HEAD_BYTES + self.payload.len()
    }
}

/// The consecutive records at the beginning of a segment.
#[derive(Default)]
struct Run {
    segment: usize,
    /// Number of the first record; 0 when there is none.
    first: u64,
    /// Number after the last record.
    end: u64,
    /// Greatest `below` of a record.
    below: u64,
    /// The segment, and how much of it the records take.
    bytes: Vec<u8>,
    length: usize,
    /// The greatest number of a whole record behind the run.
    behind: u64,
}

impl Run {
    fn read(segment: usize, bytes: Vec<u8>) -> Self {
        let mut run = Self {
            segment,
            ..Self::default()
        };
        while let Some(record) = Record::read(&bytes[run.length..]) {
            if run.length == 0 {
                run.first = record.number;
            } else if record.number != run.end {
                break;
            }
            run.end = record.number.saturating_add(1);
            run.below = run.below.max(record.below);
            run.length += record.bytes();
        }
        run.behind = greatest_number(&bytes[run.length..]);
        run.bytes = bytes;
        run
    }

    /// Puts what its records from `below` on write into `table`.
    fn replay(&self, below: u64, table: &mut Table) -> Result<(), StoreError> {
        let mut at = 0;
        while at < self.length {
            let record = Record::read(&self.bytes[at..]).expect("it was read before");
            at += record.bytes();
            if record.number >= below && replay(record.payload, table).is_none() {
                let number = record.number;
                return Err(damaged(&format!(
                    "the journal's record {number} does not hold rows"
                )));
            }
        }
        Ok(())
    }
}

/// The greatest number of a whole record in `bytes`; 0 when there is none.
fn greatest_number(bytes: &[u8]) -> u64 {
    let (mut at, mut greatest) = (0, 0);
    while let Some(found) = bytes[at..].windows(MAGIC.len()).position(|four| four == MAGIC) {
        at += found;
        match Record::read(&bytes[at..]) {
            Some(record) => {
                greatest = greatest.max(record.number);
                at += record.bytes();
            }
            None => at += 1,
        }
    }
    greatest
}

/// From which record on the engine below may lack something, and what that is;
/// the run that begins earlier is put first.
fn joined(runs: &mut [Run]) -> Result<(u64, Table), StoreError> {
    runs.sort_by_key(|run| run.first);
    let below = runs.iter().map(|run| run.below).max().unwrap_or(0).max(1);
    Ok((below, join(runs, below)?))
}

/// What two runs, the one that begins earlier first, hold from `below` on.
fn join(runs: &[Run], below: u64) -> Result<Table, StoreError> {
    let end = runs.iter().map(|run| run.end).max().unwrap_or(0).max(1);
    if let Some(behind) = runs.iter().map(|run| run.behind).find(|behind| *behind >= end) {
        return Err(damaged(&format!(
            "the journal holds record {behind}, and a record before it cannot be read"
        )));
    }
    let mut table = Table::new();
    let mut next = below;
    for run in runs.iter().filter(|run| run.end > below) {
        if run.first > next {
            return Err(damaged(&format!(
                "the journal's records {next} to {} cannot be read",
                run.first - 1
            )));
        }
        run.replay(below, &mut table)?;
        next = run.end;
    }
    Ok(table)
}

fn replay(mut payload: &[u8], table: &mut Table) -> Option<()> {
    while !payload.is_empty() {
        let (head, rest) = payload.split_at_checked(6)?;
        let key_length = usize::from(u16::from_be_bytes(head[..2].try_into().ok()?));
        let value_length = u32::from_be_bytes(head[2..].try_into().ok()?);
        let (key, rest) = rest.split_at_checked(key_length)?;
        if value_length == REMOVED {
            table.insert(key.to_vec(), None);
            payload = rest;
        } else {
            let (value, rest) = rest.split_at_checked(usize::try_from(value_length).ok()?)?;
            table.insert(key.to_vec(), Some(value.to_vec()));
            payload = rest;
        }
    }
    Some(())
}

fn damaged(what: &str) -> StoreError {
    StoreError::Damaged(format!(
        "{what}; keep a copy of the directory as it is, and run `tallystick audit` on that copy to learn what \
         can be read"
    ))
}

#[cfg(test)]
#[path = "journal_tests.rs"]
mod tests;
