//! Coupon tags beside the log, and things that may stand in a log once only.

use std::collections::HashSet;
use std::ops::ControlFlow;

use crate::ledger::BatchIssued;
use crate::merkle::{Frontier, leaf_hash};
use crate::primitives::{Digest, Tag, limits};
use crate::store::{Engine, StoreError, rows};

use super::finding::{Findings, Rule};

/// Reads tags by position; keeps the row read last.
pub(super) struct TagReader<'a> {
    engine: Option<&'a dyn Engine>,
    row: Option<(u64, Vec<u8>)>,
}

impl<'a> TagReader<'a> {
    pub fn new(engine: Option<&'a dyn Engine>) -> Self {
        Self { engine, row: None }
    }

    /// The tag stored at `position`; `None` when there is none, or no engine.
    pub fn at(&mut self, position: u64) -> Option<Tag> {
        let per_row = rows::TILE_ROW_LEN as u64;
        let (tile, place) = (position / per_row, usize::try_from(position % per_row).ok()?);
        if self.row.as_ref().is_none_or(|(held, _)| *held != tile) {
            let row = self.engine?.get(&rows::tag_tile(tile)).ok()??;
            self.row = Some((tile, row));
        }
        let (_, row) = self.row.as_ref()?;
        let tag = Tag::from_slice(row.get(place * Tag::LEN..(place + 1) * Tag::LEN)?)?;
        (tag.0 != [0; Tag::LEN]).then_some(tag)
    }

    /// Checks a batch's tags against the root in its entry.
    pub fn check_batch(&mut self, index: u64, batch: &BatchIssued, findings: &mut Findings) {
        if self.engine.is_none() {
            return;
        }
        let mut tree = Frontier::new();
        for leaf in 0..u64::from(batch.count) {
            let tag = batch.first.0.checked_add(leaf).and_then(|at| self.at(at));
            let Some(tag) = tag else {
                return findings.at(
                    index,
                    Rule::TagsMissing,
                    format!(
                        "the tag of coupon {leaf} of this batch of {} is not in the store",
                        batch.count
                    ),
                );
            };
            tree.push(leaf_hash(&tag.0));
        }
        if Digest(tree.root()) != batch.tags_root {
            findings.at(
                index,
                Rule::TagsRoot,
                "the coupon tags beside this batch do not give the root in its entry",
            );
        }
    }
}

/// The first 8 bytes of what may stand only once: 8 bytes of memory each.
/// What looks doubled is looked at again, whole.
#[derive(Default)]
pub(super) struct Fingerprints {
    all: Vec<u64>,
}

impl Fingerprints {
    pub fn add(&mut self, bytes: &[u8]) {
        self.all.push(fingerprint(bytes));
    }

    /// Those that stand more than once.
    pub fn doubled(mut self) -> HashSet<u64> {
        self.all.sort_unstable();
        self.all
            .windows(2)
            .filter(|pair| pair[0] == pair[1])
            .map(|pair| pair[0])
            .collect()
    }
}

pub(super) fn fingerprint(bytes: &[u8]) -> u64 {
    let mut first = [0; 8];
    let len = bytes.len().min(8);
    first[..len].copy_from_slice(&bytes[..len]);
    u64::from_be_bytes(first)
}

/// Goes over all stored tags: none outside of the batches and of what is
/// reserved, none at two places. `ranges` are the batches' positions with their
/// entries, in order.
///
/// Memory does not grow with the tags: a share of [`limits::AUDIT_TAGS_HELD_MAX`]
/// is compared at a time.
pub(super) fn check_all(
    engine: &dyn Engine,
    ranges: &[(u64, u64, u64)],
    reserved: &[(u64, u64)],
    findings: &mut Findings,
) -> Result<(), StoreError> {
    let entry_at = |position: u64| {
        let at = ranges.partition_point(|range| range.0 <= position);
        let (_, end, entry) = ranges[at.checked_sub(1)?];
        (position < end).then_some(entry)
    };
    let is_reserved = |position: u64| reserved.iter().any(|(from, to)| (*from..*to).contains(&position));
    let mut stored = 0_u64;
    each(engine, |position, _| {
        stored += 1;
        if entry_at(position).is_none() && !is_reserved(position) {
            findings.store(
                Rule::TagUnexpected,
                format!("a coupon tag is stored at position {position}, where no batch was issued"),
            );
        }
    })?;
    let shares = stored.div_ceil(limits::AUDIT_TAGS_HELD_MAX);
    for share in 0..shares {
        // Tags are hashes: they spread evenly.
        let is_in = |tag: &Tag| fingerprint(&tag.0) % shares == share;
        let mut seen = Fingerprints::default();
        each(engine, |_, tag| {
            if is_in(tag) {
                seen.add(&tag.0);
            }
        })?;
        let doubled = seen.doubled();
        if doubled.is_empty() {
            continue;
        }
        let mut places = std::collections::HashMap::new();
        each(engine, |position, tag| {
            if doubled.contains(&fingerprint(&tag.0))
                && let Some(entry) = entry_at(position)
                && let Some(other) = places.insert(*tag, position)
            {
                findings.at(
                    entry,
                    Rule::TagRepeated,
                    format!("the coupon at position {position} has the tag of the one at position {other}"),
                );
            }
        })?;
    }
    Ok(())
}

/// Visits all stored tags with their positions.
fn each(engine: &dyn Engine, mut visit: impl FnMut(u64, &Tag)) -> Result<(), StoreError> {
    engine.scan(&[rows::TAG_TILE], &[rows::TAG_TILE], &mut |key, row| {
        let tile = rows::number_of(key).unwrap_or(u64::MAX);
        let first = tile.saturating_mul(rows::TILE_ROW_LEN as u64);
        for (place, bytes) in (0_u64..).zip(row.chunks_exact(Tag::LEN)) {
            let tag = Tag::from_slice(bytes).filter(|tag| tag.0 != [0; Tag::LEN]);
            if let Some(tag) = tag {
                visit(first.saturating_add(place), &tag);
            }
        }
        ControlFlow::Continue(())
    })
}
