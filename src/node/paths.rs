//! The path of a coupon's tag into its batch (protocol, section 1): from the
//! stored tags alone, without the key that signed the coupons.

use std::ops::Range;
use std::sync::Arc;

use crate::ledger::{BatchIssued, Event, Recorded};
use crate::merkle::{self, Frontier, leaf_hash};
use crate::primitives::{CouponName, Digest, Position, Tag};
use crate::store::rows;

use super::answers::EntryRef;
use super::coupons::{TAG_LEN, tag_place};
use super::find::{Lookup, misplaced};
use super::writer::Shared;
use super::{Node, NodeError};

/// A batch as its entry has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchView {
    /// Its entry; the index is the batch's name.
    pub entry: EntryRef,
    /// What was issued, the root of the tags included.
    pub batch: BatchIssued,
}

/// The way from a coupon's tag to the root in its batch's entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagPath {
    /// The batch.
    pub batch: BatchView,
    /// The coupon's name.
    pub name: CouponName,
    /// Its number in the batch, from 0: the leaf's index.
    pub leaf: u32,
    /// Its tag: the leaf.
    pub tag: Tag,
    /// The audit path, from the leaf upwards (RFC 9162, section 2.1.3).
    pub path: Vec<Digest>,
}

const NO_BATCH: NodeError = NodeError::NotFound("there is no such batch");
const NO_COUPON: NodeError = NodeError::NotFound("no such coupon was issued");

impl Node {
    /// The batch whose entry is `entry`.
    ///
    /// # Errors
    /// [`NodeError::NotFound`].
    pub fn batch(&self, entry: u64) -> Result<BatchView, NodeError> {
        if entry >= self.size() {
            return Err(NO_BATCH);
        }
        let recorded = self.inner.shared.entry(entry)?;
        view(&recorded).map_err(|_| NO_BATCH)
    }

    /// The path of the coupon number `leaf` of the batch whose entry is `entry`.
    ///
    /// Hashes all of the batch's tags, in a signing thread: some 50 ms for
    /// 100,000. Memory does not grow with them.
    ///
    /// # Errors
    /// [`NodeError::NotFound`]; [`NodeError::Inconsistent`] when the stored tags
    /// do not give the root in the entry.
    pub async fn tag_path(&self, entry: u64, leaf: u32) -> Result<TagPath, NodeError> {
        let batch = self.batch(entry)?;
        if leaf >= batch.batch.count {
            return Err(NO_COUPON);
        }
        let shared = Arc::clone(&self.inner.shared);
        let _turn = shared.signers.batch_permit().await;
        let work = Arc::clone(&shared);
        let path = shared.signers.run(move || work.path(batch, leaf));
        path.await.map_err(|_| self.not_signed())?
    }

    /// The path of the coupon called `name`.
    ///
    /// # Errors
    /// As [`tag_path`](Self::tag_path).
    pub async fn tag_path_of(&self, name: CouponName) -> Result<TagPath, NodeError> {
        let shared = &self.inner.shared;
        let position = shared.permutations.position_of(name);
        let row = shared.batch_holding(position)?.ok_or(NO_COUPON)?;
        let leaf = u32::try_from(position.0 - row.first).expect("a batch holds fewer than 2^32 coupons");
        self.tag_path(row.entry, leaf).await
    }
}

fn view(recorded: &Recorded) -> Result<BatchView, NodeError> {
    match &recorded.event {
        Event::BatchIssued(batch) => Ok(BatchView {
            entry: recorded.into(),
            batch: batch.clone(),
        }),
        _ => Err(misplaced(recorded.index, "a batch's")),
    }
}

impl Shared {
    fn path(&self, batch: BatchView, leaf: u32) -> Result<TagPath, NodeError> {
        let issued = &batch.batch;
        let (index, count) = (u64::from(leaf), u64::from(issued.count));
        let path = merkle::path_over(index, count, |leaves| self.tags_root(issued, leaves))?;
        let position = issued.position(leaf);
        let tag = self.stored_tag(position)?.ok_or_else(|| missing(position))?;
        let root = merkle::root_of_path(&leaf_hash(&tag.0), index, count, &path);
        if root != Ok(issued.tags_root.0) {
            return Err(NodeError::Inconsistent(format!(
                "the stored tags of the batch in entry {} do not give its root",
                batch.entry.index
            )));
        }
        Ok(TagPath {
            name: self.permutations.name_of(position),
            leaf,
            tag,
            path: path.into_iter().map(Digest).collect(),
            batch,
        })
    }

    /// The root over the tags of coupons `leaves`, read row by row.
    fn tags_root(&self, batch: &BatchIssued, leaves: Range<u64>) -> Result<merkle::Hash, NodeError> {
        let mut tree = Frontier::new();
        let (mut next, end) = (batch.first.0 + leaves.start, batch.first.0 + leaves.end);
        while next < end {
            let (tile, at) = tag_place(Position(next));
            let row = self.engine.get(&rows::tag_tile(tile))?.unwrap_or_default();
            let room = rows::TILE_ROW_LEN - at / TAG_LEN;
            let wanted = usize::try_from(end - next).map_or(room, |left| left.min(room));
            let tags = row.get(at..at + wanted * TAG_LEN);
            for tag in tags.ok_or_else(|| missing(Position(next)))?.chunks_exact(TAG_LEN) {
                tree.push(leaf_hash(tag));
            }
            next += wanted as u64;
        }
        Ok(tree.root())
    }
}

fn missing(position: Position) -> NodeError {
    NodeError::Inconsistent(format!("the tag at position {} is not in the store", position.0))
}
