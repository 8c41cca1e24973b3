//! The node as a witness (c2sp.org/tlog-witness, as its main branch has it).
//!
//! In scope: which logs it is told of, whose signatures count, how much of one
//! log is under way at a time. Out of scope: whether a checkpoint continues the
//! one before and how that is remembered ([`crate::node::ToWitness`]), HTTP.

use std::collections::BTreeMap;
use std::sync::Arc;

use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry};
use tokio::sync::Semaphore;

use crate::log::checkpoint::Checkpoint;
use crate::log::{AddCheckpoint, LogError, NotCosigned, Note, VerifierKey};
use crate::node::{Node, NodeError, ToWitness};
use crate::primitives::limits::WITNESS_UNDER_WAY_MAX;

/// Why a checkpoint is not cosigned.
#[derive(Debug, thiserror::Error)]
pub enum WitnessError {
    /// The request is not of its form.
    #[error(transparent)]
    Malformed(LogError),
    /// This witness was not told of the log.
    #[error("this witness was not told of a log with that origin")]
    LogUnknown,
    /// No key of the log has signed the checkpoint, or one has with a wrong
    /// signature.
    #[error("the checkpoint is not signed by a key that is trusted for its origin: {0}")]
    NotSigned(LogError),
    /// It is not shown to continue what was cosigned last.
    #[error(transparent)]
    Refused(NotCosigned),
    /// Others of this log are under way; the same may be sent again.
    #[error("other checkpoints of this log are being cosigned; send it again in a moment")]
    Busy,
    /// The node cannot do it.
    #[error(transparent)]
    Node(NodeError),
}

impl WitnessError {
    /// One word for metrics.
    fn word(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::LogUnknown => "log_unknown",
            Self::NotSigned(_) => "not_signed",
            Self::Refused(NotCosigned::OldAboveSize { .. }) => "old_above_size",
            Self::Refused(NotCosigned::OtherOld { .. }) => "other_old",
            Self::Refused(NotCosigned::Inconsistent(_)) => "inconsistent",
            Self::Busy => "busy",
            Self::Node(_) => "failed",
        }
    }
}

impl From<NodeError> for WitnessError {
    fn from(error: NodeError) -> Self {
        match error {
            NodeError::NotCosigned(why) => Self::Refused(why),
            NodeError::Busy => Self::Busy,
            other => Self::Node(other),
        }
    }
}

/// A log that this witness was told of.
#[derive(Debug)]
struct Told {
    keys: Vec<VerifierKey>,
    under_way: Semaphore,
}

/// Cosigns the checkpoints of the logs that it was told of.
pub struct Witness {
    node: Node,
    logs: BTreeMap<String, Told>,
    requests_total: IntCounterVec,
    size: IntGaugeVec,
}

impl Witness {
    /// A witness for the logs with these keys; a key's name is its log's origin,
    /// and a log may have several.
    ///
    /// # Panics
    /// When `registry` has a witness's metrics already.
    #[must_use]
    pub fn new(node: Node, keys: &[VerifierKey], registry: &Registry) -> Arc<Self> {
        let mut logs: BTreeMap<String, Told> = BTreeMap::new();
        for key in keys {
            let told = logs.entry(key.name().to_owned()).or_insert_with(|| Told {
                keys: Vec::new(),
                under_way: Semaphore::new(WITNESS_UNDER_WAY_MAX),
            });
            told.keys.push(key.clone());
        }
        let requests_total = IntCounterVec::new(
            Opts::new(
                "tallystick_witness_requests_total",
                "Checkpoints of other logs that were sent here to be cosigned, by what became of them",
            ),
            &["result"],
        )
        .expect("constants that fit");
        let size = IntGaugeVec::new(
            Opts::new(
                "tallystick_witnessed_entries",
                "Size at which another log was cosigned last, by its origin",
            ),
            &["log"],
        )
        .expect("constants that fit");
        for collector in [
            Box::new(requests_total.clone()) as Box<dyn prometheus::core::Collector>,
            Box::new(size.clone()),
        ] {
            registry
                .register(collector)
                .expect("a registry without these names");
        }
        Arc::new(Self {
            node,
            logs,
            requests_total,
            size,
        })
    }

    /// Answers an add-checkpoint request with the line that cosigns it.
    ///
    /// # Errors
    /// [`WitnessError`], in the order of the specification's rules.
    pub async fn add_checkpoint(&self, body: &[u8]) -> Result<String, WitnessError> {
        let answer = self.decide(body).await;
        let word = answer.as_ref().map_or_else(WitnessError::word, |_| "cosigned");
        self.requests_total.with_label_values(&[word]).inc();
        answer
    }

    async fn decide(&self, body: &[u8]) -> Result<String, WitnessError> {
        let asked = AddCheckpoint::parse(body).map_err(WitnessError::Malformed)?;
        let note = Note::parse(asked.note.as_bytes()).map_err(WitnessError::Malformed)?;
        let checkpoint = Checkpoint::parse(note.text()).map_err(WitnessError::Malformed)?;
        let told = self
            .logs
            .get(&checkpoint.origin)
            .ok_or(WitnessError::LogUnknown)?;
        let to_witness =
            ToWitness::open(&note, &told.keys, asked.old, asked.proof).map_err(|error| match error {
                LogError::NotSigned | LogError::BadSignature { .. } => WitnessError::NotSigned(error),
                other => WitnessError::Malformed(other),
            })?;
        let _place = told.under_way.try_acquire().map_err(|_| WitnessError::Busy)?;
        match self.node.witness(to_witness).await {
            Ok(line) => {
                let size = i64::try_from(checkpoint.size).unwrap_or(i64::MAX);
                let gauge = self.size.with_label_values(&[&checkpoint.origin]);
                // Two answers may overtake each other here; the size never goes back.
                gauge.set(size.max(gauge.get()));
                Ok(format!("{line}\n"))
            }
            Err(NodeError::NotCosigned(why @ NotCosigned::Inconsistent(_))) => {
                // Signed by the log: perhaps a second history, which somebody has to see.
                tracing::error!(
                    log = checkpoint.origin,
                    size = checkpoint.size,
                    root = %checkpoint.root,
                    "a log that this node witnesses has sent a signed checkpoint that is not shown to continue the one \
                     cosigned last: {why}"
                );
                Err(WitnessError::Refused(why))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The checkpoint that was cosigned last of the log whose origin has this
    /// SHA-256, as a signed note; `None` where none was.
    #[must_use]
    pub fn latest(&self, origin_hash: &[u8; 32]) -> Option<Arc<str>> {
        self.node.witnessed(origin_hash)
    }
}
