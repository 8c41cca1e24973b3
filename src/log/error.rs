//! Why something of the log was refused.

use crate::encoding::cbor::GateError;
use crate::merkle::ProofError;
use crate::primitives::UnixSeconds;

/// Why something of the log was refused. Nothing here is worth a retry: the
/// same input is refused again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// An entry is not deterministic CBOR of the entry's form.
    #[error("entry: {0}")]
    Entry(GateError),
    /// An entry's index is not the one after the previous entry's.
    #[error("entry {found} stands where entry {expected} has to")]
    EntryIndex {
        /// The index that follows.
        expected: u64,
        /// The index found.
        found: u64,
    },
    /// An entry does not carry the hash of the entry before it.
    #[error("entry {index} does not carry the hash of the entry before it")]
    EntryPrevious {
        /// Index of the entry.
        index: u64,
    },
    /// An entry is older than the entry before it.
    #[error(
        "entry {index} is of {}, before the {} of the entry before it",
        UnixSeconds(*.found).rfc3339(), UnixSeconds(*.previous).rfc3339()
    )]
    EntryTime {
        /// Index of the entry.
        index: u64,
        /// The previous entry's time in seconds since 1970.
        previous: u64,
        /// This entry's time in seconds since 1970.
        found: u64,
    },
    /// Not a signed note.
    #[error("signed note: {0}")]
    Note(&'static str),
    /// Not a verifier key.
    #[error("verifier key: {0}")]
    VerifierKey(&'static str),
    /// A signature by a known key is wrong.
    #[error("the signature of {name} is wrong")]
    BadSignature {
        /// The key's name.
        name: String,
    },
    /// No known key has signed.
    #[error("no trusted key has signed this note")]
    NotSigned,
    /// The policy asks for more cosignatures.
    #[error("a quorum has not cosigned it, by the policy: {cosigned} have")]
    NoQuorum {
        /// Who has.
        cosigned: String,
    },
    /// A key was asked for a signature that is not of its kind or name.
    #[error("the key {name} is not for this signature")]
    WrongKey {
        /// The key's name.
        name: String,
    },
    /// Not a checkpoint.
    #[error("checkpoint: {0}")]
    Checkpoint(&'static str),
    /// Not the path of a tile or entry bundle.
    #[error("tile path: {0}")]
    TilePath(&'static str),
    /// Not an entry bundle.
    #[error("entry bundle: {0}")]
    Bundle(&'static str),
    /// Not a proof in text.
    #[error("tlog-proof: {0}")]
    TlogProof(&'static str),
    /// Not what logs and witnesses say to each other.
    #[error("add-checkpoint: {0}")]
    AddCheckpoint(&'static str),
    /// Not a COSE receipt.
    #[error("COSE receipt: {0}")]
    Receipt(GateError),
    /// Not evidence of a fork.
    #[error("evidence of a fork: {0}")]
    Evidence(GateError),
    /// A proof does not hold.
    #[error(transparent)]
    Proof(#[from] ProofError),
}
