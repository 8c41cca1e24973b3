//! Floor 5: one co-op's node. Joins ledger, log and store.
//!
//! A call goes down through [`Node`]: what can be done without the log (gate,
//! signatures, sums) is done by the caller's thread; then the one writer
//! decides it, makes it durable together with whatever else has arrived, and
//! only then answers. See `writer` for the order that keeps a log from
//! forking.

pub mod access;
pub(crate) mod answers;
pub mod audit;
pub(crate) mod batches;
mod beside_bundles;
mod by_hand;
mod calls;
mod commands;
pub mod compact;
mod cosigned;
mod coupons;
mod credential_keys;
mod damage;
mod erasure;
mod find;
mod gossiped;
mod halves;
pub mod index;
mod intents;
pub mod keyring;
mod lists;
mod metrics;
mod numbers;
mod open;
mod paths;
pub(crate) mod pending;
mod pieces;
mod proofs;
mod reads;
mod receipts;
mod recover;
mod repeats;
mod replay;
mod requests;
mod restore;
mod rosters;
mod signers;
pub(crate) mod snapshot;
mod statuses;
mod upkeep;
mod verified;
mod witnessing;
mod writer;

#[cfg(test)]
#[path = "recovery_tests.rs"]
mod recovery_tests;

use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

pub use answers::{
    CampaignAnswer, CampaignView, CouponsAnswer, EntryRef, IssuedCoupon, ReceiptAnswer, ReceiptStubAnswer,
    RedemptionAnswer, RedemptionView, ReversalAnswer, StatusAnswer,
};
pub use beside_bundles::BesideBundle;
pub use by_hand::WriterByHand;
pub use calls::{CouponStream, RedemptionRequest, ReversalRequest, RevocationTarget};
pub use cosigned::CosignedCheckpoint;
pub use erasure::{ErasureAnswer, ErasureTarget};
pub use gossiped::GossipedToKeep;
pub use halves::{PartnerOutcome, PartnerRequest, PartnerWish};
pub use intents::{Ending, IntentState, IntentView, NewIntent, OpenIntent, PreparedIntent};
pub use metrics::NodeMetrics;
pub use open::{NewNode, NodeOptions, NodeParts, OpenReport, create_log};
pub use paths::{BatchView, TagPath};
pub use proofs::{ConsistencyProof, InclusionProof, LogEntry, PartnerProofs};
pub use receipts::{CheckedReceipt, PreparedReceipt};
pub use recover::guard_from_checkpoint;
pub use requests::{Caller, Scope};
pub use restore::Restore;
pub use rosters::RosterToKeep;
pub(crate) use signers::give_way;
pub use upkeep::Upkeep;
pub use verified::VerifiedCheckpoint;
pub use witnessing::{KeyId, ToWitness};

use crate::ledger::Refusal;
use crate::log::NotCosigned;
use crate::primitives::UnixSeconds;
use crate::store::StoreError;

/// Why a node could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The domain refuses; nothing has changed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A checkpoint of another log may not be cosigned; nothing has changed.
    #[error(transparent)]
    NotCosigned(#[from] NotCosigned),
    /// Too much is waiting; the same request may be sent again.
    #[error("the node has more work waiting than it takes on; send the same request again in a moment")]
    Busy,
    /// The first request with this key is still being worked on.
    #[error("the first request with this Idempotency-Key is still being worked on")]
    InProgress,
    /// The answer cannot be made again.
    #[error("{0}")]
    Gone(&'static str),
    /// What was on this receipt was erased, for good.
    #[error("this receipt was erased at {at}, because: {reason}", at = .at.rfc3339())]
    Erased {
        /// Index of the entry that says so.
        entry: u64,
        /// When.
        at: UnixSeconds,
        /// Why.
        reason: String,
    },
    /// A member's receipts were erased but for those that could not be looked at; the
    /// same request may be sent again once the store was put right.
    #[error(
        "{erased} receipts of this member were erased, but whether there are more is not known: rows beside the log cannot \
         be read, {rows} in all, such as begin with the entries {}",
        named(first, *rows)
    )]
    ErasedInPart {
        /// Receipts erased.
        erased: u64,
        /// Rows that cannot be read.
        rows: u64,
        /// The entries that the first of them begin with.
        first: Vec<u64>,
    },
    /// It was done, but what its answer is made from was lost with an earlier
    /// store: this one was recovered from the log alone.
    #[error(
        "this was done, as entry {entry} of the log, before the node lost its store; what it answered then was not \
         recovered"
    )]
    DoneBeforeLoss {
        /// Index of the entry.
        entry: u64,
    },
    /// There is no such thing.
    #[error("{0}")]
    NotFound(&'static str),
    /// Not for this caller.
    #[error("{0}")]
    Forbidden(&'static str),
    /// The writer has stopped; the process must be started again.
    #[error("the node has stopped writing: {0}")]
    Stopped(String),
    /// The index is damaged where this call needs it; the next start mends it.
    #[error(
        "the index is damaged ({0}); start the node again: it then makes the index anew from the log, and the same \
         request may be sent again"
    )]
    IndexDamaged(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What the store holds does not fit together.
    #[error("the log does not fit together: {0}")]
    Inconsistent(String),
    /// The node cannot start as things are.
    #[error("{0}")]
    Refuse(String),
}

/// Some of `all` numbers, the first ones.
fn named(first: &[u64], all: u64) -> String {
    let texts: Vec<String> = first.iter().map(u64::to_string).collect();
    let more = if all > first.len() as u64 {
        " and others"
    } else {
        ""
    };
    format!("{}{more}", texts.join(", "))
}

/// A running node. Cloning gives another handle to the same one.
#[derive(Clone)]
pub struct Node {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<writer::Shared>,
    jobs: std::sync::mpsc::SyncSender<commands::Job>,
    /// It has no threads: its writer is given its turns.
    is_by_hand: bool,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// Finishes the large batches that a crash cut off.
    left: Mutex<Option<JoinHandle<()>>>,
}
