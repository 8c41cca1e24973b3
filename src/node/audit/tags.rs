//! Coupon tags beside the log, and things that may stand in a log once only.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};
use std::io;
use std::ops::ControlFlow;

use crate::ledger::BatchIssued;
use crate::merkle::{Frontier, TILE_LEN, leaf_hash};
use crate::primitives::{Digest, Tag, limits};
use crate::store::{Engine, StoreError, rows};

use super::finding::{Findings, Rule};
use super::saved::{In, Keep, Out, keep};
use super::served::ServedLog;

/// Where tags are read.
#[derive(Clone, Copy)]
pub(super) enum TagSource<'a> {
    /// In rows of the store.
    Store(&'a dyn Engine),
    /// In tiles of a log that is served.
    Served(&'a dyn ServedLog),
    /// There are none.
    Nowhere,
}

/// Reads tags by position; keeps what was read last.
pub(super) struct TagReader<'a> {
    source: TagSource<'a>,
    /// A row of the store or a served tile, by number and width.
    row: Option<((u64, u16), Vec<u8>)>,
    /// Positions up to the end of the last batch so far: what is served beyond is
    /// not asked for.
    issued: u64,
    /// Tags of batches that were served: whether one stands at two places.
    seen: Fingerprints,
}

impl<'a> TagReader<'a> {
    pub fn new(source: TagSource<'a>) -> Self {
        Self {
            source,
            row: None,
            issued: 0,
            seen: Fingerprints::default(),
        }
    }

    /// What an audit that goes on with this one needs.
    pub fn write(&self, out: &mut Out) -> io::Result<()> {
        self.issued.write(out)?;
        self.seen.write(out)
    }

    /// Goes on with what was written.
    pub fn take_up(&mut self, from: &mut In) -> Result<(), String> {
        self.issued = Keep::read(from)?;
        self.seen = Keep::read(from)?;
        Ok(())
    }

    /// The tag stored at `position`; `None` when there is none, or none can be had.
    pub fn at(&mut self, position: u64) -> Option<Tag> {
        let per_row = match self.source {
            TagSource::Served(_) => TILE_LEN as u64,
            TagSource::Store(_) | TagSource::Nowhere => rows::TILE_ROW_LEN as u64,
        };
        let (tile, place) = (position / per_row, usize::try_from(position % per_row).ok()?);
        let width = self.issued.saturating_sub(tile * per_row).min(per_row);
        let wanted = (tile, u16::try_from(width).expect("at most 256"));
        if self.row.as_ref().is_none_or(|(held, _)| *held != wanted) {
            let row = match self.source {
                TagSource::Store(engine) => engine.get(&rows::tag_tile(tile)).ok()??,
                TagSource::Served(log) => log.tags(tile, wanted.1)?,
                TagSource::Nowhere => return None,
            };
            self.row = Some((wanted, row));
        }
        let (_, row) = self.row.as_ref()?;
        let tag = Tag::from_slice(row.get(place * Tag::LEN..(place + 1) * Tag::LEN)?)?;
        (tag.0 != [0; Tag::LEN]).then_some(tag)
    }

    /// Checks a batch's tags against the root in its entry.
    pub fn check_batch(&mut self, index: u64, batch: &BatchIssued, findings: &mut Findings) {
        if matches!(self.source, TagSource::Nowhere) {
            return;
        }
        let end = batch.first.0.saturating_add(u64::from(batch.count));
        self.issued = self.issued.max(end);
        let mut tree = Frontier::new();
        for leaf in 0..u64::from(batch.count) {
            let tag = batch.first.0.checked_add(leaf).and_then(|at| self.at(at));
            let Some(tag) = tag else {
                return findings.at(
                    index,
                    Rule::TagsMissing,
                    format!(
                        "the tag of coupon {leaf} of this batch of {} cannot be found",
                        batch.count
                    ),
                );
            };
            tree.push(leaf_hash(&tag.0));
            if matches!(self.source, TagSource::Served(_)) {
                self.seen.add(&tag.0);
            }
        }
        if Digest(tree.root()) != batch.tags_root {
            findings.at(
                index,
                Rule::TagsRoot,
                "the coupon tags beside this batch do not give the root in its entry",
            );
        }
    }

    /// Looks whether a tag of those that were served stands at two places. By
    /// fingerprints: two different tags look alike once in 2^64 pairs.
    pub fn check_seen(&mut self, findings: &mut Findings) {
        for tag in std::mem::take(&mut self.seen).doubled() {
            findings.store(
                Rule::TagRepeated,
                format!("a coupon tag that begins with {tag:016x} stands at two positions"),
            );
        }
    }
}

/// Fingerprints that lie together: one vector of all of them would take twice their
/// room whenever it grows.
const PIECE_LEN: usize = 1 << 20;

/// The first 8 bytes of what may stand only once: 8 bytes of memory each.
/// What looks doubled is looked at again, whole.
#[derive(Default)]
pub(super) struct Fingerprints {
    /// All but the last one have `PIECE_LEN`.
    pieces: Vec<Vec<u64>>,
}

keep!(Fingerprints { pieces });

impl Fingerprints {
    pub fn add(&mut self, bytes: &[u8]) {
        match self.pieces.last_mut().filter(|piece| piece.len() < PIECE_LEN) {
            Some(piece) => piece.push(fingerprint(bytes)),
            None => self.pieces.push(vec![fingerprint(bytes)]),
        }
    }

    /// Those that stand more than once.
    pub fn doubled(mut self) -> HashSet<u64> {
        self.pieces.iter_mut().for_each(|piece| piece.sort_unstable());
        let mut rests: Vec<_> = self.pieces.iter().map(|piece| piece.iter().copied()).collect();
        let heads = rests.iter_mut().enumerate();
        let mut heads: BinaryHeap<_> = heads
            .filter_map(|(at, rest)| Some(Reverse((rest.next()?, at))))
            .collect();
        let (mut doubled, mut last) = (HashSet::new(), None);
        while let Some(Reverse((least, at))) = heads.pop() {
            if last.replace(least) == Some(least) {
                doubled.insert(least);
            }
            if let Some(next) = rests[at].next() {
                heads.push(Reverse((next, at)));
            }
        }
        doubled
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_twice_is_found_within_a_piece_and_across_them() {
        let mut seen = Fingerprints::default();
        let len = PIECE_LEN as u64;
        for n in 0..2 * len + 7 {
            // Spread out, as hashes are.
            seen.add(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
        }
        for n in [0, 5, len - 1, 2 * len + 3] {
            seen.add(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
        }
        assert_eq!(seen.pieces.len(), 3);
        assert_eq!(seen.doubled().len(), 4);
        assert!(Fingerprints::default().doubled().is_empty());
    }
}
