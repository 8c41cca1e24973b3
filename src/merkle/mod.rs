//! Floor 1: the Merkle tree of RFC 6962 section 2.1 (SHA-256). Pure.
//!
//! In scope: hashes, roots, the tree as half tiles for storage, inclusion and
//! consistency proofs (RFC 9162 sections 2.1.3 and 2.1.4), proofs of several leaves at
//! once. Out of scope: where
//! the half tiles lie; a [`NodeReader`] fetches them.

mod batch;
mod frontier;
mod hash;
mod proof;
#[cfg(test)]
mod tests;
mod tiles;
mod view;

pub use batch::{BatchPaths, batch_proof, open_batch};
pub use frontier::Frontier;
pub use hash::{Hash, leaf_hash, leaf_hash_of_parts, node_hash, root_of};
pub use proof::{
    PROOF_LEN_MAX, ProofError, consistency_proof, inclusion_proof, path_in, path_over, root_of_path,
    verify_consistency, verify_inclusion,
};
pub use tiles::{
    HALF_TILE_LEN, HalfTile, NodeReader, TILE_LEN, TileBuilder, TreeError, half_tile_from_bytes,
};
pub use view::TreeView;
