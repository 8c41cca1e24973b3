//! Records beside the log: what is personal (a receipt's details and secret)
//! and may have to be erased, so that it is never in an entry (formats.md,
//! section 4).
//!
//! A record belongs to one entry and is found by that entry's index. Small
//! records share a row, a large one is split over rows of its own ('parts').
//!
//! ```text
//! row  = "TLYSIDE1"  first u64  part u16  parts u16  count u16  sha256 [32]  item*
//! item = index u64  length u16  bytes
//! ```
//!
//! Numbers are big-endian; the SHA-256 is over everything else in the row. The
//! row lies under the key of `first` and `part`. With `parts` above 1, each
//! part has one item, a piece of the record `first`. A row has at most
//! `DETAIL_ROW_BYTES_MAX` bytes.
//!
//! Erasing rewrites the row without the record. The engine keeps the old bytes
//! in its file until it writes over them; only a compaction, a copy of what
//! lives, is sure to end them.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::ControlFlow;

use sha2::{Digest as _, Sha256};

use super::rows::{BESIDE, beside};
use super::{Batch, Engine, StoreError};
use crate::primitives::limits::{DETAIL_RECORD_BYTES_MAX, DETAIL_ROW_BYTES_MAX};

/// What a row beside the log begins with.
pub const MAGIC: &[u8; 8] = b"TLYSIDE1";

const SHA_AT: usize = 22;
const HEADER: usize = SHA_AT + 32;
const ITEM_HEADER: usize = 10;

/// Most bytes of a record that still shares a row, or of a piece.
const PIECE_BYTES_MAX: usize = DETAIL_ROW_BYTES_MAX - HEADER - ITEM_HEADER;

/// Adds `records` (entry index and bytes, in ascending order of index, one a
/// entry) to `batch`. The indices must follow all those that have a record.
///
/// # Errors
/// [`StoreError::Refused`] for a record over `DETAIL_RECORD_BYTES_MAX`, and for
/// indices out of order.
pub fn append<'a>(
    batch: &mut Batch,
    records: impl IntoIterator<Item = (u64, &'a [u8])>,
) -> Result<(), StoreError> {
    let mut row = RowBuilder::default();
    let mut last = None;
    for (index, bytes) in records {
        if last.is_some_and(|last| last >= index) {
            return Err(StoreError::Refused(format!(
                "the record of entry {index} is out of order"
            )));
        }
        last = Some(index);
        if bytes.len() > DETAIL_RECORD_BYTES_MAX {
            return Err(StoreError::Refused(format!(
                "the record of entry {index} has {} bytes, the most is {DETAIL_RECORD_BYTES_MAX}",
                bytes.len()
            )));
        }
        if !row.fits(bytes.len()) {
            std::mem::take(&mut row).finish(batch);
        }
        if bytes.len() > PIECE_BYTES_MAX {
            split(batch, index, bytes);
        } else {
            row.push(index, bytes);
        }
    }
    row.finish(batch);
    Ok(())
}

/// The record of entry `index`; `None` when it has none (any more).
///
/// # Errors
/// [`StoreError::Damaged`] when its row is not what was written.
pub fn read(engine: &dyn Engine, index: u64) -> Result<Option<Vec<u8>>, StoreError> {
    Ok(group_at(engine, index)?.and_then(|mut group| group.records.remove(&index)))
}

/// Changes records: `Some` replaces or adds, `None` erases. Says for each edit
/// whether there was a record before.
///
/// All edits that go into one batch are given in one call, since rows are read
/// from the engine and rewritten whole; and an edit cannot see records that
/// the same batch appends.
///
/// # Errors
/// [`StoreError::Damaged`] when a row is not what was written;
/// [`StoreError::Refused`] as [`append`].
pub fn edit(
    engine: &dyn Engine,
    batch: &mut Batch,
    edits: &BTreeMap<u64, Option<Vec<u8>>>,
) -> Result<Vec<bool>, StoreError> {
    let mut groups: BTreeMap<u64, Group> = BTreeMap::new();
    let mut existed = Vec::with_capacity(edits.len());
    for (&index, edit) in edits {
        // An index before every row gets a row of its own.
        let first = first_at(engine, index)?.unwrap_or(index);
        let group = match groups.entry(first) {
            Entry::Occupied(group) => group.into_mut(),
            Entry::Vacant(place) => place.insert(group_at(engine, index)?.unwrap_or_default()),
        };
        existed.push(
            match edit {
                Some(bytes) => group.records.insert(index, bytes.clone()),
                None => group.records.remove(&index),
            }
            .is_some(),
        );
    }
    for group in groups.into_values() {
        for key in group.keys {
            batch.remove(key);
        }
        // Put after the removals: of two writes to one key the last counts.
        append(
            batch,
            group
                .records
                .iter()
                .map(|(index, bytes)| (*index, bytes.as_slice())),
        )?;
    }
    Ok(existed)
}

/// Visits all records from entry `from` on, in order, until `visit` breaks.
///
/// # Errors
/// [`StoreError::Damaged`] at the first row that is not what was written.
pub fn scan(
    engine: &dyn Engine,
    from: u64,
    visit: &mut dyn FnMut(u64, &[u8]) -> ControlFlow<()>,
) -> Result<(), StoreError> {
    let mut outcome = Ok(());
    scan_past(engine, from, visit, &mut |_, error| {
        outcome = Err(error);
        ControlFlow::Break(())
    })?;
    outcome
}

/// As [`scan`]; `damaged` is told of each row that is not what was written, by the
/// entry that it begins with, and says whether to go on behind it.
///
/// # Errors
/// [`StoreError`] where the engine fails.
pub fn scan_past(
    engine: &dyn Engine,
    from: u64,
    visit: &mut dyn FnMut(u64, &[u8]) -> ControlFlow<()>,
    damaged: &mut dyn FnMut(u64, StoreError) -> ControlFlow<()>,
) -> Result<(), StoreError> {
    let start = first_at(engine, from)?.unwrap_or(from);
    let mut joined = Joined::default();
    engine.scan(
        &[BESIDE],
        &beside(start, 0),
        &mut |key, value| match row_at(key, value).and_then(|row| joined.take(&row)) {
            Ok(records) => {
                for (index, bytes) in records.into_iter().filter(|(index, _)| *index >= from) {
                    visit(index, &bytes)?;
                }
                ControlFlow::Continue(())
            }
            Err(error) => {
                joined = Joined::default();
                damaged(super::rows::number_of(key).unwrap_or(from), error)
            }
        },
    )?;
    // A break comes between records, never inside one.
    if let Some((first, ..)) = joined.open {
        let _ = damaged(first, lacks_a_part(first));
    }
    Ok(())
}

/// The records that are rewritten together: those of one shared row, or the
/// one record of a split row.
#[derive(Default)]
struct Group {
    keys: Vec<Vec<u8>>,
    records: BTreeMap<u64, Vec<u8>>,
}

/// Index in the key of the row that a record of `index` would be in.
fn first_at(engine: &dyn Engine, index: u64) -> Result<Option<u64>, StoreError> {
    Ok(engine
        .at_or_before(&[BESIDE], &beside(index, u16::MAX))?
        .and_then(|(key, _)| super::rows::number_of(&key)))
}

fn group_at(engine: &dyn Engine, index: u64) -> Result<Option<Group>, StoreError> {
    let Some((key, value)) = engine.at_or_before(&[BESIDE], &beside(index, u16::MAX))? else {
        return Ok(None);
    };
    let last = row_at(&key, &value)?;
    let first = last.first;
    let mut group = Group::default();
    let mut joined = Joined::default();
    for part in 0..last.parts {
        let key = beside(first, part);
        let value = engine.get(&key)?.ok_or_else(|| lacks_a_part(first))?;
        group.records.extend(joined.take(&row_at(&key, &value)?)?);
        group.keys.push(key);
    }
    Ok(Some(group))
}

/// Puts the pieces of split records together.
#[derive(Default)]
struct Joined {
    record: Vec<u8>,
    /// First index, parts taken and parts in all of the record under way.
    open: Option<(u64, u16, u16)>,
}

impl Joined {
    /// The records that are whole once `row` is taken.
    fn take(&mut self, row: &SideRow<'_>) -> Result<Vec<(u64, Vec<u8>)>, StoreError> {
        let expected = match self.open {
            Some((first, taken, parts)) if (row.first, row.part, row.parts) != (first, taken, parts) => {
                return Err(lacks_a_part(first));
            }
            Some((_, taken, _)) => taken,
            None => 0,
        };
        if row.part != expected {
            return Err(lacks_a_part(row.first));
        }
        if row.parts == 1 {
            return Ok(row
                .items
                .iter()
                .map(|(index, bytes)| (*index, bytes.to_vec()))
                .collect());
        }
        for (_, piece) in &row.items {
            self.record.extend_from_slice(piece);
        }
        if row.part + 1 == row.parts {
            self.open = None;
            return Ok(vec![(row.first, std::mem::take(&mut self.record))]);
        }
        self.open = Some((row.first, row.part + 1, row.parts));
        Ok(Vec::new())
    }
}

fn lacks_a_part(first: u64) -> StoreError {
    StoreError::Damaged(format!("the record of entry {first} lacks a part"))
}

struct SideRow<'a> {
    first: u64,
    part: u16,
    parts: u16,
    items: Vec<(u64, &'a [u8])>,
}

fn row_at<'a>(key: &[u8], value: &'a [u8]) -> Result<SideRow<'a>, StoreError> {
    parse(value)
        .filter(|row| key == beside(row.first, row.part))
        .ok_or_else(|| {
            StoreError::Damaged(format!(
                "the row of records beside entry {:?} does not match its SHA-256 or its key",
                super::rows::number_of(key)
            ))
        })
}

fn parse(row: &[u8]) -> Option<SideRow<'_>> {
    if row.len() < HEADER || !row.starts_with(MAGIC) || digest_of(row) != row[SHA_AT..HEADER] {
        return None;
    }
    let u16_at = |at: usize| u16::from_be_bytes([row[at], row[at + 1]]);
    let (part, parts, count) = (u16_at(16), u16_at(18), u16_at(20));
    if part >= parts || (parts > 1 && count != 1) {
        return None;
    }
    let mut items = Vec::with_capacity(usize::from(count));
    let mut rest = &row[HEADER..];
    for _ in 0..count {
        let (header, after) = rest.split_at_checked(ITEM_HEADER)?;
        let index = u64::from_be_bytes(header[..8].try_into().ok()?);
        let (bytes, after) =
            after.split_at_checked(usize::from(u16::from_be_bytes([header[8], header[9]])))?;
        items.push((index, bytes));
        rest = after;
    }
    rest.is_empty().then_some(SideRow {
        first: u64::from_be_bytes(row[8..16].try_into().ok()?),
        part,
        parts,
        items,
    })
}

fn digest_of(row: &[u8]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update(&row[..SHA_AT]);
    hasher.update(&row[HEADER..]);
    hasher.finalize().into()
}

/// A row under way, header included once it has an item.
#[derive(Default)]
struct RowBuilder {
    first: u64,
    count: u16,
    items: Vec<u8>,
}

impl RowBuilder {
    fn fits(&self, length: usize) -> bool {
        HEADER + self.items.len() + ITEM_HEADER + length <= DETAIL_ROW_BYTES_MAX
    }

    fn push(&mut self, index: u64, bytes: &[u8]) {
        debug_assert!(self.fits(bytes.len()), "the caller finishes a full row first");
        if self.count == 0 {
            self.first = index;
        }
        self.count += 1;
        self.items.extend_from_slice(&index.to_be_bytes());
        let length = u16::try_from(bytes.len()).expect("a piece fits 16 bits");
        self.items.extend_from_slice(&length.to_be_bytes());
        self.items.extend_from_slice(bytes);
    }

    fn finish(self, batch: &mut Batch) {
        self.finish_part(batch, 0, 1);
    }

    fn finish_part(self, batch: &mut Batch, part: u16, parts: u16) {
        if self.count == 0 {
            return;
        }
        let mut row = Vec::with_capacity(HEADER + self.items.len());
        row.extend_from_slice(MAGIC);
        row.extend_from_slice(&self.first.to_be_bytes());
        row.extend_from_slice(&part.to_be_bytes());
        row.extend_from_slice(&parts.to_be_bytes());
        row.extend_from_slice(&self.count.to_be_bytes());
        row.resize(HEADER, 0);
        row.extend_from_slice(&self.items);
        let digest = digest_of(&row);
        row[SHA_AT..HEADER].copy_from_slice(&digest);
        batch.put(beside(self.first, part), row);
    }
}

fn split(batch: &mut Batch, index: u64, bytes: &[u8]) {
    let pieces = bytes.chunks(PIECE_BYTES_MAX);
    let parts = u16::try_from(pieces.len()).expect("DETAIL_RECORD_BYTES_MAX is far below 65,535 parts");
    for (part, piece) in (0..parts).zip(pieces) {
        let mut row = RowBuilder::default();
        row.push(index, piece);
        row.finish_part(batch, part, parts);
    }
}

#[cfg(test)]
#[path = "beside_tests.rs"]
mod tests;
