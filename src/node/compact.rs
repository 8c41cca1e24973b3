//! Compaction: what lives in a store, copied into a new one.
//!
//! A store keeps what was removed or rewritten until the engine writes over it,
//! and a node with little to do writes many small rows. The copy has entries
//! and the records beside them in full rows, the tree's tiles made anew, the
//! rows of the index that count, and every other row as it is.
//!
//! Nothing is dropped silently: entries are decoded, linked and hashed, their
//! root is compared with what was signed, every receipt's record and every
//! batch's tags are held against their entry, and index rows against their
//! checksums. Whatever does not fit ends the compaction. Afterwards the copy is
//! read back and compared with what was written to it.
//!
//! Memory is that of the engines, and one stretch of entries.

use std::collections::HashMap;
use std::ops::ControlFlow;

use sha2::{Digest as _, Sha256};

use crate::credential::receipt_tag;
use crate::ledger::{BatchIssued, Event};
use crate::merkle::{Frontier, Hash, TileBuilder, leaf_hash};
use crate::primitives::limits::{COMPACT_BATCH_BYTES, COMPACT_STRETCH_ENTRIES};
use crate::primitives::{Digest, Tag, UnixSeconds};
use crate::store::{Batch, Engine, GuardState, Packer, StoreError, beside, rows, scan_entries};

use super::NodeError;
use super::answers::ReceiptRecord;
use super::find::linked;
use super::index;
use super::open::{behind, log_end};
use super::pending::BatchRow;

/// What was written to the new store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copied {
    /// Entries of the log.
    pub entries: u64,
    rows: RowSum,
}

/// Copies what lives in `source` into `target`, an empty store. `progress` is
/// told how many entries of how many are copied.
///
/// # Errors
/// [`NodeError::Refuse`] when the store is behind `signed`, what the guard
/// holds, or has another root; [`NodeError::Store`] and
/// [`NodeError::Inconsistent`] for whatever is missing or damaged. `source` is
/// only read; `target` is of no use then.
pub fn copy_live(
    source: &dyn Engine,
    target: &dyn Engine,
    signed: &GuardState,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Copied, NodeError> {
    let (size, _) = log_end(source)?;
    if size < signed.size {
        return Err(behind(size, signed.size));
    }
    let mut copy = Copy {
        source,
        out: Output {
            target,
            batch: Batch::default(),
            bytes: 0,
            rows: RowSum::default(),
        },
        tree: TileBuilder::new(),
        packer: Packer::new(),
        previous: Digest::ZERO,
        time: UnixSeconds(0),
        receipts: HashMap::new(),
        signed,
        signed_root: None,
    };
    while copy.tree.size() < size {
        let from = copy.tree.size();
        copy.stretch(from, size.min(from + COMPACT_STRETCH_ENTRIES))?;
        progress(copy.tree.size(), size);
    }
    if copy.signed_root != Some(signed.root) {
        return Err(NodeError::Refuse(format!(
            "the entries in the store do not give the root that was signed at size {}: the store is damaged or was \
             replaced. Run `tallystick audit` on it",
            signed.size
        )));
    }
    let mut out = copy.finish()?;
    index::copy(source, &mut |key, value| out.put(key, value))?;
    copy_other_rows(source, &mut out)?;
    out.flush()?;
    Ok(Copied {
        entries: size,
        rows: out.rows,
    })
}

/// Reads the new store back and compares it with what was written to it.
///
/// # Errors
/// [`StoreError::Damaged`] when it is not that.
pub fn check_copy(target: &dyn Engine, copied: &Copied) -> Result<(), StoreError> {
    let mut found = RowSum::default();
    target.scan(&[], &[], &mut |key, value| {
        if key != rows::FORMAT_KEY {
            found.add(key, value);
        }
        ControlFlow::Continue(())
    })?;
    if found == copied.rows {
        return Ok(());
    }
    Err(StoreError::Damaged(format!(
        "the new store does not hold what was written to it ({} rows, {} were written): look after the disk",
        found.count, copied.rows.count
    )))
}

/// Rows without their order: how many, and the sum of their hashes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct RowSum {
    count: u64,
    sum: u128,
}

impl RowSum {
    fn add(&mut self, key: &[u8], value: &[u8]) {
        let mut hasher = Sha256::new();
        hasher.update((key.len() as u64).to_be_bytes());
        hasher.update(key);
        hasher.update(value);
        let hash: [u8; 32] = hasher.finalize().into();
        let half = hash.first_chunk().expect("32 bytes begin with 16");
        self.count += 1;
        self.sum = self.sum.wrapping_add(u128::from_be_bytes(*half));
    }
}

/// Rows on their way into the new store, a megabyte a commit.
struct Output<'a> {
    target: &'a dyn Engine,
    batch: Batch,
    bytes: usize,
    rows: RowSum,
}

impl Output<'_> {
    fn put(&mut self, key: Vec<u8>, value: Vec<u8>) -> Result<(), StoreError> {
        self.rows.add(&key, &value);
        self.bytes += key.len() + value.len();
        self.batch.put(key, value);
        if self.bytes >= COMPACT_BATCH_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    fn put_all(&mut self, batch: Batch) -> Result<(), StoreError> {
        for (key, value) in batch.writes {
            self.put(key, value.expect("only rows are added"))?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        self.bytes = 0;
        self.target.commit(std::mem::take(&mut self.batch))
    }
}

/// The copy of the log itself, under way.
struct Copy<'a> {
    source: &'a dyn Engine,
    out: Output<'a>,
    tree: TileBuilder,
    packer: Packer,
    previous: Digest,
    time: UnixSeconds,
    /// Receipts of the stretch under way whose records were not met yet.
    receipts: HashMap<u64, Tag>,
    signed: &'a GuardState,
    signed_root: Option<Hash>,
}

impl<'a> Copy<'a> {
    /// Copies the entries `from..until` and the records beside them.
    fn stretch(&mut self, from: u64, until: u64) -> Result<(), NodeError> {
        let source = self.source;
        let mut outcome = Ok(());
        scan_entries(source, from, &mut |index, bytes| {
            if index >= until {
                return ControlFlow::Break(());
            }
            outcome = self.entry(index, bytes);
            go_on(&outcome)
        })?;
        outcome?;
        if self.tree.size() != until {
            return Err(NodeError::Inconsistent(format!(
                "entries {} to {} are missing from the store",
                self.tree.size(),
                until - 1
            )));
        }
        self.records(from, until)?;
        match self.receipts.keys().min() {
            None => Ok(()),
            Some(index) => Err(NodeError::Inconsistent(format!(
                "the receipt of entry {index} is missing from the store: its stub and details were not erased, but lost"
            ))),
        }
    }

    fn entry(&mut self, index: u64, bytes: &[u8]) -> Result<(), NodeError> {
        let (recorded, previous) = linked(index, bytes)?;
        if index != self.tree.size() || previous != self.previous || recorded.time < self.time {
            return Err(NodeError::Inconsistent(format!(
                "entry {index} does not follow the one before it"
            )));
        }
        (self.previous, self.time) = (recorded.hash, recorded.time);
        match &recorded.event {
            Event::ReceiptIssued(receipt) => {
                self.receipts.insert(index, receipt.tag);
            }
            Event::BatchIssued(batch) => check_batch(self.source, index, batch)?,
            _ => {}
        }
        if let Some(row) = self.packer.push(index, bytes)? {
            self.out.put(rows::entry(row.first), row.bytes)?;
        }
        let mut tiles = Batch::default();
        self.tree.append(recorded.hash.0, &mut |half| {
            tiles.put(rows::hash_tile(half.level, half.tile, half.half), half.as_bytes());
        });
        self.out.put_all(tiles)?;
        if self.tree.size() == self.signed.size {
            self.signed_root = Some(self.tree.root());
        }
        Ok(())
    }

    fn records(&mut self, from: u64, until: u64) -> Result<(), NodeError> {
        let source = self.source;
        let mut group: Vec<(u64, Vec<u8>)> = Vec::new();
        let mut bytes_held = 0;
        let mut outcome = Ok(());
        beside::scan(source, from, &mut |index, bytes| {
            if index >= until {
                return ControlFlow::Break(());
            }
            outcome = self.record(index, bytes).map_err(NodeError::from);
            bytes_held += bytes.len();
            group.push((index, bytes.to_vec()));
            if outcome.is_ok() && bytes_held >= COMPACT_BATCH_BYTES {
                bytes_held = 0;
                outcome = put_records(&mut self.out, &mut group);
            }
            go_on(&outcome)
        })?;
        outcome?;
        put_records(&mut self.out, &mut group)
    }

    /// Holds a record against its entry.
    fn record(&mut self, index: u64, bytes: &[u8]) -> Result<(), StoreError> {
        let Some(tag) = self.receipts.remove(&index) else {
            // The reason of a revocation: the entry has nothing to hold it against.
            return Ok(());
        };
        let stub = ReceiptRecord::stub_of(bytes);
        if stub.is_some_and(|stub| receipt_tag(stub) == tag) {
            return Ok(());
        }
        Err(StoreError::Damaged(format!(
            "the stub beside entry {index} is not that of its receipt"
        )))
    }

    /// The last row of entries, and that nothing lies beside entries that are not there.
    fn finish(mut self) -> Result<Output<'a>, NodeError> {
        if let Some(row) = std::mem::take(&mut self.packer).finish() {
            self.out.put(rows::entry(row.first), row.bytes)?;
        }
        let mut beyond = None;
        beside::scan(self.source, self.tree.size(), &mut |index, _| {
            beyond = Some(index);
            ControlFlow::Break(())
        })?;
        match beyond {
            None => Ok(self.out),
            Some(index) => Err(NodeError::Inconsistent(format!(
                "there is a record beside entry {index}, but the log ends with entry {}",
                self.tree.size().saturating_sub(1)
            ))),
        }
    }
}

fn go_on<E>(outcome: &Result<(), E>) -> ControlFlow<()> {
    if outcome.is_ok() {
        ControlFlow::Continue(())
    } else {
        ControlFlow::Break(())
    }
}

fn put_records(out: &mut Output<'_>, group: &mut Vec<(u64, Vec<u8>)>) -> Result<(), NodeError> {
    let mut batch = Batch::default();
    beside::append(
        &mut batch,
        group.iter().map(|(index, bytes)| (*index, bytes.as_slice())),
    )?;
    group.clear();
    Ok(out.put_all(batch)?)
}

/// Holds a batch's row and its coupons' tags against its entry.
fn check_batch(source: &dyn Engine, index: u64, batch: &BatchIssued) -> Result<(), NodeError> {
    let first = batch.first.0;
    let row = BatchRow {
        first,
        count: batch.count,
        entry: index,
        campaign: batch.campaign,
    };
    if source.get(&rows::batch(first))? != Some(row.encode()) {
        return Err(NodeError::Inconsistent(format!(
            "the row of the coupon batch in entry {index} is missing, or says something else"
        )));
    }
    let mut tree = Frontier::new();
    let mut tile = (None, Vec::new());
    for position in first..first + u64::from(batch.count) {
        let (number, at) = super::coupons::tag_place(crate::primitives::Position(position));
        if tile.0 != Some(number) {
            tile = (
                Some(number),
                source.get(&rows::tag_tile(number))?.unwrap_or_default(),
            );
        }
        if let Some(tag) = tile.1.get(at..at + Tag::LEN) {
            tree.push(leaf_hash(tag));
        }
    }
    if Digest(tree.root()) != batch.tags_root {
        return Err(NodeError::Inconsistent(format!(
            "the coupons' tags beside the batch in entry {index} do not give the root in it"
        )));
    }
    Ok(())
}

/// Every row that is not copied otherwise, of kinds that this program does not
/// know, too.
fn copy_other_rows(source: &dyn Engine, out: &mut Output<'_>) -> Result<(), StoreError> {
    const COPIED: [u8; 5] = [
        rows::ENTRY,
        rows::BESIDE,
        rows::HASH_TILE,
        rows::INDEX_RUN,
        rows::INDEX_META,
    ];
    for prefix in (0..=u8::MAX).filter(|prefix| !COPIED.contains(prefix)) {
        let mut outcome = Ok(());
        source.scan(&[prefix], &[prefix], &mut |key, value| {
            if key != rows::FORMAT_KEY {
                outcome = out.put(key.to_vec(), value.to_vec());
            }
            go_on(&outcome)
        })?;
        outcome?;
    }
    Ok(())
}
