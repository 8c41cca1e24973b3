//! Floor 1: the Merkle tree of RFC 6962 section 2.1 (SHA-256). Pure.

mod hash;

pub use hash::{Hash, leaf_hash, node_hash, root_of};
