//! Inclusion and consistency proofs (RFC 9162 sections 2.1.3 and 2.1.4).

use std::ops::Range;

use super::{Hash, NodeReader, TreeError, TreeView, node_hash, root_of};

/// Most hashes in a proof: a tree has fewer than 2^64 leaves, a consistency
/// proof one hash more than its height.
pub const PROOF_LEN_MAX: usize = 65;

/// Why a proof was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The leaf's index is not below the tree's size.
    #[error("the leaf's index is not within the tree")]
    IndexOutOfRange,
    /// The old size is greater than the new one.
    #[error("the old tree is larger than the new one")]
    SizesReversed,
    /// The proof has fewer or more hashes than the sizes require.
    #[error("the proof has the wrong number of hashes")]
    WrongLength,
    /// The proof does not lead to the (new) root.
    #[error("the proof does not lead to the root")]
    WrongRoot,
    /// The proof does not start from the old root.
    #[error("the proof does not start from the old root")]
    WrongOldRoot,
}

/// The audit path of leaf `index` in the tree of the first `size` leaves, from
/// the leaf upwards (RFC 9162 section 2.1.3.1). Reads O(log size) half tiles.
///
/// # Errors
/// [`TreeError`] when `index` is not below `size`, `size` is above the view's,
/// or a half tile cannot be read.
pub fn inclusion_proof<R: NodeReader>(
    index: u64,
    size: u64,
    view: &TreeView<'_, R>,
) -> Result<Vec<Hash>, TreeError<R::Error>> {
    if index >= size || size > view.size() {
        return Err(view.out_of_range("an inclusion proof"));
    }
    path_over(index, size, |leaves| view.range(leaves.start, leaves.end))
}

/// The audit path of leaf `index` in a tree of `size` leaves, from the leaf
/// upwards (RFC 9162 section 2.1.3.1), where `root_of` gives the root over a
/// range of its leaves: the ranges are asked for from the largest to the
/// smallest, and no leaf but `index` is in none of them.
///
/// # Panics
/// When `index` is not below `size`.
///
/// # Errors
/// What `root_of` gives.
pub fn path_over<E>(
    index: u64,
    size: u64,
    mut root_of: impl FnMut(Range<u64>) -> Result<Hash, E>,
) -> Result<Vec<Hash>, E> {
    assert!(index < size, "a leaf of the tree");
    let mut path = Vec::new();
    let (mut from, mut to) = (0, size);
    while to - from > 1 {
        let middle = from + split(to - from);
        if index < middle {
            path.push(root_of(middle..to)?);
            to = middle;
        } else {
            path.push(root_of(from..middle)?);
            from = middle;
        }
    }
    path.reverse();
    Ok(path)
}

/// The proof that the tree of `new` leaves begins with the tree of `old`
/// leaves (RFC 9162 section 2.1.4.1). Empty when `old` is 0 or equals `new`.
/// Reads O(log new) half tiles.
///
/// # Errors
/// [`TreeError`] when `old` is above `new`, `new` is above the view's size, or
/// a half tile cannot be read.
pub fn consistency_proof<R: NodeReader>(
    old: u64,
    new: u64,
    view: &TreeView<'_, R>,
) -> Result<Vec<Hash>, TreeError<R::Error>> {
    if old > new || new > view.size() {
        return Err(view.out_of_range("a consistency proof"));
    }
    let mut proof = Vec::new();
    if old == 0 || old == new {
        return Ok(proof);
    }
    let (mut from, mut to) = (0, new);
    while old != to {
        let middle = from + split(to - from);
        if old <= middle {
            proof.push(view.range(middle, to)?);
            to = middle;
        } else {
            proof.push(view.range(from, middle)?);
            from = middle;
        }
    }
    // A verifier already has the old root; any other last subtree it is given.
    if from != 0 {
        proof.push(view.range(from, to)?);
    }
    proof.reverse();
    Ok(proof)
}

/// The audit path of leaf `index` among `leaf_hashes`, for small trees in
/// memory (the tags of a batch, the leaves of a receipt). Hashes the whole
/// tree. `None` when `index` is not below the number of leaves.
#[must_use]
pub fn path_in(leaf_hashes: &[Hash], index: usize) -> Option<Vec<Hash>> {
    if index >= leaf_hashes.len() {
        return None;
    }
    let mut path = Vec::new();
    let (mut leaves, mut index) = (leaf_hashes, index);
    while leaves.len() > 1 {
        let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
        if index < left.len() {
            path.push(root_of(right));
            leaves = left;
        } else {
            path.push(root_of(left));
            index -= left.len();
            leaves = right;
        }
    }
    path.reverse();
    Some(path)
}

/// Checks that `leaf_hash` is leaf `index` of the tree of `size` leaves with
/// this root (RFC 9162 section 2.1.3.2). Safe on hostile input.
///
/// # Errors
/// [`ProofError`] says what is wrong.
pub fn verify_inclusion(
    leaf_hash: &Hash,
    index: u64,
    size: u64,
    proof: &[Hash],
    root: &Hash,
) -> Result<(), ProofError> {
    if root_of_path(leaf_hash, index, size, proof)? == *root {
        Ok(())
    } else {
        Err(ProofError::WrongRoot)
    }
}

/// The root that an audit path leads to, for proofs whose root is signed and
/// not sent (COSE receipts). Says nothing by itself: compare the root.
///
/// # Errors
/// [`ProofError`] when index, size and number of hashes do not fit together.
pub fn root_of_path(leaf_hash: &Hash, index: u64, size: u64, proof: &[Hash]) -> Result<Hash, ProofError> {
    if index >= size {
        return Err(ProofError::IndexOutOfRange);
    }
    if proof.len() > PROOF_LEN_MAX {
        return Err(ProofError::WrongLength);
    }
    let mut walk = Walk::new(index, size - 1);
    let mut hash = *leaf_hash;
    for sibling in proof {
        hash = match walk.up()? {
            Side::Left => node_hash(sibling, &hash),
            Side::Right => node_hash(&hash, sibling),
        };
    }
    walk.finish()?;
    Ok(hash)
}

/// Checks that the tree of `new` leaves with root `new_root` begins with the
/// tree of `old` leaves with root `old_root` (RFC 9162 section 2.1.4.2). Safe
/// on hostile input.
///
/// The RFC leaves two cases out, which are strict here: an old size of 0 takes
/// an empty proof and the empty tree's root, equal sizes take an empty proof
/// and equal roots.
///
/// # Errors
/// [`ProofError`] says what is wrong.
pub fn verify_consistency(
    old: u64,
    new: u64,
    old_root: &Hash,
    new_root: &Hash,
    proof: &[Hash],
) -> Result<(), ProofError> {
    if old > new {
        return Err(ProofError::SizesReversed);
    }
    if proof.len() > PROOF_LEN_MAX {
        return Err(ProofError::WrongLength);
    }
    if old == 0 || old == new {
        return verify_trivial(old, new, old_root, new_root, proof);
    }
    // A complete old tree is itself the subtree that the proof starts from.
    let (start, rest) = if old.is_power_of_two() {
        (old_root, proof)
    } else {
        proof.split_first().ok_or(ProofError::WrongLength)?
    };
    let skipped = (old - 1).trailing_ones();
    let mut walk = Walk::new((old - 1) >> skipped, (new - 1) >> skipped);
    let (mut old_hash, mut new_hash) = (*start, *start);
    for sibling in rest {
        match walk.up()? {
            Side::Left => {
                old_hash = node_hash(sibling, &old_hash);
                new_hash = node_hash(sibling, &new_hash);
            }
            Side::Right => new_hash = node_hash(&new_hash, sibling),
        }
    }
    walk.finish()?;
    if old_hash != *old_root {
        Err(ProofError::WrongOldRoot)
    } else if new_hash != *new_root {
        Err(ProofError::WrongRoot)
    } else {
        Ok(())
    }
}

fn verify_trivial(
    old: u64,
    new: u64,
    old_root: &Hash,
    new_root: &Hash,
    proof: &[Hash],
) -> Result<(), ProofError> {
    if !proof.is_empty() {
        return Err(ProofError::WrongLength);
    }
    if old == 0 && *old_root != root_of(&[]) {
        return Err(ProofError::WrongOldRoot);
    }
    if old == new && old_root != new_root {
        return Err(ProofError::WrongRoot);
    }
    Ok(())
}

/// The largest power of two below `len`, where a tree of `len` > 1 splits.
pub(super) fn split(len: u64) -> u64 {
    1 << (len - 1).ilog2()
}

/// On which side of the path the next hash of a proof stands.
enum Side {
    Left,
    Right,
}

/// The way up that both verifications share: `node` and `last` are the RFC's
/// `fn` and `sn`, the indices of the path's node and of the level's last one.
struct Walk {
    node: u64,
    last: u64,
}

impl Walk {
    fn new(node: u64, last: u64) -> Self {
        Self { node, last }
    }

    fn up(&mut self) -> Result<Side, ProofError> {
        if self.last == 0 {
            return Err(ProofError::WrongLength);
        }
        let side = if self.node & 1 == 1 || self.node == self.last {
            // A last node without a sibling rises until it has one on its left
            // (it is not 0 here, since `last` is not).
            self.shift(self.node.trailing_zeros());
            Side::Left
        } else {
            Side::Right
        };
        self.shift(1);
        Ok(side)
    }

    fn shift(&mut self, levels: u32) {
        self.node >>= levels;
        self.last >>= levels;
    }

    fn finish(&self) -> Result<(), ProofError> {
        if self.last == 0 {
            Ok(())
        } else {
            Err(ProofError::WrongLength)
        }
    }
}
