//! Floor 3: the formats of the log. Pure.
//!
//! In scope: the entry and its hash link, signed notes, checkpoints, tile
//! paths and bundles, cosignatures, what witnesses are sent and when they
//! cosign, which of them make a quorum, COSE receipts, proofs as text, evidence
//! of a fork. Out of
//! scope: what entries say (the ledger), where they lie (the store), who may
//! read them (http).

pub mod checkpoint;
pub mod cose_receipt;
pub mod cosignature;
pub mod entry;
mod error;
pub mod evidence;
pub mod note;
pub mod policy;
pub mod tile_path;
pub mod tlog_proof;
pub mod witness;

pub use checkpoint::Checkpoint;
pub use entry::{Entry, entry_hash};
pub use error::LogError;
pub use evidence::ForkEvidence;
pub use note::{KeyKind, Note, NoteSignature, VerifierKey};
pub use policy::{Policy, PolicyError};
pub use tile_path::TilePath;
pub use tlog_proof::TlogProof;
pub use witness::{AddCheckpoint, NotCosigned, TreeHead};
