//! Proofs that several leaves are in one tree.
//!
//! The audit paths (RFC 9162 section 2.1.3.1) of leaves that lie together share most of
//! their hashes, and what is left follows largely from the leaves themselves. A batch
//! proof is what neither gives: the hashes of the largest subtrees that hold none of the
//! leaves, from left to right. Whoever has it and the leaves' hashes has the root, and
//! each leaf's own audit path.

use std::ops::Range;

use super::proof::split;
use super::{Hash, NodeReader, ProofError, TreeError, TreeView, node_hash};

/// The batch proof of the leaves at `indices`, which increase strictly, in the tree of the
/// first `size` leaves. Empty for no leaves.
///
/// # Errors
/// [`TreeError`] when the indices do not increase or are not below `size`, `size` is above
/// the view's, or a half tile cannot be read.
pub fn batch_proof<R: NodeReader>(
    indices: &[u64],
    size: u64,
    view: &TreeView<'_, R>,
) -> Result<Vec<Hash>, TreeError<R::Error>> {
    if !are_leaves(indices.iter().copied(), size) || size > view.size() {
        return Err(view.out_of_range("a batch proof"));
    }
    let mut proof = Vec::new();
    if !indices.is_empty() {
        collect(indices, 0..size, view, &mut proof)?;
    }
    Ok(proof)
}

fn collect<R: NodeReader>(
    indices: &[u64],
    tree: Range<u64>,
    view: &TreeView<'_, R>,
    proof: &mut Vec<Hash>,
) -> Result<(), TreeError<R::Error>> {
    if indices.is_empty() {
        proof.push(view.range(tree.start, tree.end)?);
        return Ok(());
    }
    if tree.end - tree.start == 1 {
        return Ok(());
    }
    let middle = tree.start + split(tree.end - tree.start);
    let (left, right) = indices.split_at(indices.partition_point(|index| *index < middle));
    collect(left, tree.start..middle, view, proof)?;
    collect(right, middle..tree.end, view, proof)
}

/// What a batch proof comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchPaths {
    /// The root of the tree. It proves nothing before it is compared with a signed one.
    pub root: Hash,
    /// Each leaf's audit path from the leaf upwards, in the leaves' order.
    pub paths: Vec<Vec<Hash>>,
}

/// The root of a tree of `size` leaves, and the audit paths in it, of `leaves`: indices,
/// which increase strictly, with their hashes.
///
/// # Errors
/// [`ProofError::IndexOutOfRange`] when there are no leaves, or their indices do not
/// increase or are not below `size`; [`ProofError::WrongLength`] for a proof of fewer or
/// more hashes than they need.
pub fn open_batch(leaves: &[(u64, Hash)], size: u64, proof: &[Hash]) -> Result<BatchPaths, ProofError> {
    if leaves.is_empty() || !are_leaves(leaves.iter().map(|(index, _)| *index), size) {
        return Err(ProofError::IndexOutOfRange);
    }
    let mut paths = vec![Vec::new(); leaves.len()];
    let mut rest = proof;
    let root = fold(leaves, 0..size, &mut paths, &mut rest)?;
    if rest.is_empty() {
        Ok(BatchPaths { root, paths })
    } else {
        Err(ProofError::WrongLength)
    }
}

/// As deep as the tree is high, and into no subtree without leaves.
fn fold(
    leaves: &[(u64, Hash)],
    tree: Range<u64>,
    paths: &mut [Vec<Hash>],
    rest: &mut &[Hash],
) -> Result<Hash, ProofError> {
    let Some((_, first)) = leaves.first() else {
        let (hash, others) = rest.split_first().ok_or(ProofError::WrongLength)?;
        *rest = others;
        return Ok(*hash);
    };
    if tree.end - tree.start == 1 {
        return Ok(*first);
    }
    let middle = tree.start + split(tree.end - tree.start);
    let at = leaves.partition_point(|(index, _)| *index < middle);
    let (left_leaves, right_leaves) = leaves.split_at(at);
    let (left_paths, right_paths) = paths.split_at_mut(at);
    let left = fold(left_leaves, tree.start..middle, left_paths, rest)?;
    let right = fold(right_leaves, middle..tree.end, right_paths, rest)?;
    left_paths.iter_mut().for_each(|path| path.push(right));
    right_paths.iter_mut().for_each(|path| path.push(left));
    Ok(node_hash(&left, &right))
}

fn are_leaves(indices: impl Iterator<Item = u64>, size: u64) -> bool {
    let mut next = 0;
    for index in indices {
        if index < next || index >= size {
            return false;
        }
        // No overflow: it is below the size.
        next = index + 1;
    }
    true
}
