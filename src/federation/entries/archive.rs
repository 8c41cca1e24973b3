//! A member's signed requests in, what the log has out.

use std::fmt;
use std::sync::Arc;

use prometheus::{IntCounter, IntCounterVec, Opts, Registry};

use super::wire::{Answer, CouponPath, Request};
use crate::federation::catch_up::catch_up_beside;
use crate::federation::message::{self, Head, MessageError, MessageName};
use crate::federation::peers::Peers;
use crate::federation::redemption::wire::LogState;
use crate::federation::rosters::Rosters;
use crate::federation::turns::Turns;
use crate::log::TilePath;
use crate::log::tile_path::TileKind;
use crate::merkle::Hash;
use crate::node::{Node, NodeError};
use crate::primitives::{CouponName, Digest, limits};

/// Why a request gets no answer.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It is refused as a message.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// Too many requests of this member are being worked on.
    #[error("too many requests of this co-op for entries are being worked on: ask again in a moment")]
    Busy,
    /// The node failed.
    #[error(transparent)]
    Node(#[from] NodeError),
}

impl ArchiveError {
    /// The reason as a word, for metrics.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Message(error) => error.reason(),
            Self::Busy | Self::Node(NodeError::Busy) => "busy",
            Self::Node(_) => "node_failed",
        }
    }
}

/// Answers members that ask for entries.
pub struct Archive {
    node: Node,
    rosters: Arc<Rosters>,
    peers: Peers,
    turns: Turns,
    messages_total: IntCounterVec,
    bytes_total: IntCounter,
}

impl fmt::Debug for Archive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Archive").finish_non_exhaustive()
    }
}

impl Archive {
    /// The log of `node`, for the members of the roster that is followed.
    ///
    /// # Panics
    /// When `registry` has its metrics already.
    #[must_use]
    pub fn new(node: Node, rosters: Arc<Rosters>, peers: Peers, registry: &Registry) -> Arc<Self> {
        let opts = Opts::new(
            "tallystick_entries_messages_total",
            "Messages of members that ask for entries or a coupon's proof, by what became of them",
        );
        let messages_total = IntCounterVec::new(opts, &["result"]).expect("constants that fit");
        let bytes_total = IntCounter::new(
            "tallystick_entries_sent_bytes_total",
            "Bytes of the answers to such messages",
        )
        .expect("constants that fit");
        let collectors: [Box<dyn prometheus::core::Collector>; 2] =
            [Box::new(messages_total.clone()), Box::new(bytes_total.clone())];
        for collector in collectors {
            registry
                .register(collector)
                .expect("a registry without these names");
        }
        Arc::new(Self {
            node,
            rosters,
            peers,
            turns: Turns::new(limits::ENTRIES_UNDER_WAY_MAX),
            messages_total,
            bytes_total,
        })
    }

    /// Answers a message.
    ///
    /// # Errors
    /// [`ArchiveError`].
    pub async fn answer(&self, bytes: &[u8]) -> Result<Vec<u8>, ArchiveError> {
        let answered = self.answer_counted(bytes).await;
        let result = match &answered {
            Ok((word, answer)) => {
                self.bytes_total.inc_by(answer.len() as u64);
                word
            }
            Err(error) => error.reason(),
        };
        self.messages_total.with_label_values(&[result]).inc();
        answered.map(|(_, answer)| answer)
    }

    async fn answer_counted(&self, bytes: &[u8]) -> Result<(&'static str, Vec<u8>), ArchiveError> {
        let chain = self.rosters.chain();
        let directory = chain.directory().ok_or(MessageError::NotAMember)?;
        let own_did = self.node.options().origin.did_web();
        let now = self.node.now();
        let opened = message::open(bytes, MessageName::EntriesRequest, directory, &own_did, now);
        if let Err(MessageError::RosterAhead { .. }) = &opened {
            catch_up_beside(&self.peers, &self.rosters, message::signed_by(bytes, directory));
        }
        let (head, body) = opened?;
        let request = Request::decode(&body).map_err(MessageError::Malformed)?;
        let _turn = self.turns.take(&head.sender).ok_or(ArchiveError::Busy)?;
        let answer = match request {
            Request::File { path, offset } => self.file(path, offset).await,
            Request::Coupon { name, log_size } => self.coupon(name, log_size).await,
        };
        let answer = match answer {
            Err(NodeError::NotFound(_)) => Answer::Nothing,
            answer => answer?,
        };
        let word = match answer {
            Answer::Piece { .. } => "piece",
            Answer::Coupon(_) => "coupon",
            Answer::Nothing => "nothing",
        };
        let answer_head = Head {
            sender: own_did,
            audience: head.sender,
            time: self.node.now(),
            id: head.id,
            roster_version: chain.version(),
        };
        let (key, name) = (self.node.messages_key(), MessageName::Entries);
        Ok((word, message::seal(key, name, &answer_head, &answer.encode())))
    }

    /// What lies at `path`, from `offset` on.
    async fn file(&self, path: TilePath, offset: u64) -> Result<Answer, NodeError> {
        const NOTHING_THERE: NodeError = NodeError::NotFound("the file ends before this offset");
        let node = self.node.clone();
        // Up to 1.5 MB are read: not in the thread that serves.
        let read = move || match path.kind() {
            TileKind::Tags => node.tag_bundle(&path).map(|tags| tags.bytes),
            _ => node.entry_bundle(&path),
        };
        let file = self.node.aside(read).await??;
        let from = usize::try_from(offset).map_err(|_| NOTHING_THERE)?;
        let rest = file.get(from..).filter(|rest| !rest.is_empty());
        let rest = rest.ok_or(NOTHING_THERE)?;
        Ok(Answer::Piece {
            length: file.len() as u64,
            bytes: rest[..rest.len().min(limits::ENTRIES_PIECE_BYTES_MAX)].to_vec(),
        })
    }

    /// What proves the coupon called `name` to one who has verified the log's first
    /// `log_size` entries.
    async fn coupon(&self, name: CouponName, log_size: u64) -> Result<Answer, NodeError> {
        let path = self.node.tag_path_of(name).await?;
        let index = path.batch.entry.index;
        let proofs = self.node.partner_proofs(&[index], log_size, None)?;
        let hashes = |digests: &[Digest]| -> Vec<Hash> { digests.iter().map(|digest| digest.0).collect() };
        Ok(Answer::Coupon(Box::new(CouponPath {
            entry: self.node.log_entry(index)?.bytes,
            entry_path: proofs.paths[0].clone(),
            leaf: path.leaf,
            tag: path.tag,
            tag_path: hashes(&path.path),
            log: LogState::from(&proofs.first),
        })))
    }
}
