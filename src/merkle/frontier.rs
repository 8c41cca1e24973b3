//! The compact range of a growing tree: enough to append and to tell the root.

use super::tiles::{NodeReader, TreeError, stored_node};
use super::{Hash, node_hash, root_of};

/// The roots of the complete subtrees that a tree of some size falls into (one
/// for each set bit of the size, RFC 6962 section 2.1): appending costs one
/// node hash on average, the root at most 63.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    /// Largest subtree first.
    peaks: Vec<Hash>,
}

impl Frontier {
    /// The frontier of the empty tree.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Leaves so far.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The roots of the complete subtrees, the largest first.
    pub(super) fn peaks(&self) -> &[Hash] {
        &self.peaks
    }

    /// Appends a leaf by its leaf hash.
    pub fn push(&mut self, leaf_hash: Hash) {
        self.push_with(leaf_hash, |_, _, _| {});
    }

    /// Appends a leaf and tells `completed` every node that it completes, from
    /// the leaf upwards, as (tree level, index in that level, hash).
    pub(super) fn push_with(&mut self, leaf_hash: Hash, mut completed: impl FnMut(u32, u64, &Hash)) {
        let mut hash = leaf_hash;
        let mut level = 0;
        completed(level, self.size, &hash);
        while (self.size >> level) & 1 == 1 {
            let left = self.peaks.pop().expect("a peak for each set bit of the size");
            hash = node_hash(&left, &hash);
            level += 1;
            completed(level, self.size >> level, &hash);
        }
        self.peaks.push(hash);
        self.size += 1;
    }

    /// The tree's root; SHA-256 of nothing for the empty tree.
    #[must_use]
    pub fn root(&self) -> Hash {
        fold(&self.peaks)
    }

    /// The frontier of the last whole half tile at or before `size` (that is of
    /// `size - size % 128` leaves), read from stored half tiles. Push the leaf
    /// hashes that follow, 127 at the most, to arrive at `size`.
    ///
    /// # Errors
    /// [`TreeError`] when a half tile is missing or cannot be read.
    pub fn from_reader<R: NodeReader>(size: u64, reader: &R) -> Result<Self, TreeError<R::Error>> {
        let size = super::tiles::stored_size(size);
        let mut peaks = Vec::new();
        for (level, index) in subtrees(0, size) {
            peaks.push(stored_node(reader, level, index)?);
        }
        Ok(Self { size, peaks })
    }

    /// A frontier of known peaks, largest subtree first.
    pub(super) fn from_peaks(size: u64, peaks: Vec<Hash>) -> Self {
        debug_assert_eq!(peaks.len(), size.count_ones() as usize);
        Self { size, peaks }
    }
}

/// The root over complete subtrees of falling size.
pub(super) fn fold(peaks: &[Hash]) -> Hash {
    match peaks.split_last() {
        None => root_of(&[]),
        Some((last, rest)) => rest
            .iter()
            .rev()
            .fold(*last, |right, left| node_hash(left, &right)),
    }
}

/// The complete subtrees, as (tree level, index), that the leaves
/// `from..from + len` fall into, largest first. `from` is a multiple of the
/// largest of them.
pub(super) fn subtrees(from: u64, len: u64) -> impl Iterator<Item = (u32, u64)> {
    (0..u64::BITS)
        .rev()
        .filter(move |level| (len >> level) & 1 == 1)
        .map(move |level| {
            // The subtrees before this one are the higher bits of `len`.
            let before = (len >> level) ^ 1;
            (level, (from >> level) + before)
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merkle::leaf_hash;

    #[test]
    fn the_root_is_the_tree_hash_at_every_size() {
        let leaves: Vec<Hash> = (0..600_u32).map(|n| leaf_hash(&n.to_be_bytes())).collect();
        let mut frontier = Frontier::new();
        assert_eq!(frontier.root(), root_of(&[]));
        for (at, leaf) in leaves.iter().enumerate() {
            frontier.push(*leaf);
            assert_eq!(frontier.size(), at as u64 + 1);
            assert_eq!(frontier.root(), root_of(&leaves[..=at]), "size {}", at + 1);
        }
    }

    #[test]
    fn subtrees_follow_the_bits_of_the_length() {
        let found: Vec<_> = subtrees(0, 13).collect();
        assert_eq!(found, [(3, 0), (2, 2), (0, 12)]);
        let found: Vec<_> = subtrees(16, 5).collect();
        assert_eq!(found, [(2, 4), (0, 20)]);
        assert_eq!(subtrees(0, 0).count(), 0);
    }
}
