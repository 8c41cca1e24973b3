//! The issuer's side: a partner's signed requests in, the issuer halves out.
//!
//! What a message does is harmless twice: its requests are known by their identities,
//! and each gets its first answer again. So replays need not be remembered here.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus::{Histogram, HistogramOpts, IntCounterVec, Opts, Registry};

use super::wire::{self, Answer, Link, LogState, Outcome, Proof, Receipts, Request, Wanted};
use crate::federation::catch_up::catch_up_beside;
use crate::federation::message::{self, Head, MessageError, MessageName};
use crate::federation::peers::Peers;
use crate::federation::roster::NotRedeeming;
use crate::federation::rosters::Rosters;
use crate::federation::turns::Turns;
use crate::log::cose_receipt::SignedTree;
use crate::node::{ConsistencyProof, Node, NodeError, PartnerOutcome, PartnerRequest, PartnerWish};
use crate::primitives::limits;

/// Why a message gets no answer; nothing has been recorded.
#[derive(Debug, thiserror::Error)]
pub enum IssuerError {
    /// It is refused as a message.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// This node may not redeem for others now.
    #[error("this node redeems nothing for other co-ops now: {0}")]
    NotRedeeming(#[from] NotRedeeming),
    /// The sender follows an older roster.
    #[error("its sender follows version {theirs} of the roster, version {ours} is in force: fetch it first")]
    SenderBehind {
        /// The sender's.
        theirs: u64,
        /// This node's.
        ours: u64,
    },
    /// Too many messages of this member are being worked on.
    #[error("too many messages of this co-op are being worked on: send the same requests again in a moment")]
    Busy,
    /// The node failed.
    #[error(transparent)]
    Node(#[from] NodeError),
}

impl IssuerError {
    /// The reason as a word, for metrics.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Message(error) => error.reason(),
            Self::NotRedeeming(_) => "not_redeeming",
            Self::SenderBehind { .. } => "roster_behind",
            Self::Busy | Self::Node(NodeError::Busy) => "busy",
            Self::Node(_) => "node_failed",
        }
    }
}

/// The largest log that each redeemer was answered with: its next answer is linked to it.
/// What a restart forgets, the redeemer asks for.
#[derive(Default)]
struct Answered(Mutex<HashMap<String, u64>>);

impl Answered {
    fn sizes(&self) -> MutexGuard<'_, HashMap<String, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn size(&self, redeemer: &str) -> Option<u64> {
        self.sizes().get(redeemer).copied()
    }

    fn note(&self, redeemer: &str, size: u64) {
        let mut sizes = self.sizes();
        match sizes.get_mut(redeemer) {
            Some(largest) => *largest = size.max(*largest),
            None => {
                sizes.insert(redeemer.to_owned(), size);
            }
        }
    }
}

/// Answers partners' requests.
pub struct Issuer {
    node: Node,
    rosters: Arc<Rosters>,
    peers: Peers,
    turns: Turns,
    answered: Answered,
    messages_total: IntCounterVec,
    requests_total: IntCounterVec,
    seconds: Histogram,
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer").finish_non_exhaustive()
    }
}

impl Issuer {
    /// The issuer's side of `node`, for the members of the roster that is followed.
    ///
    /// # Panics
    /// When `registry` has its metrics already.
    #[must_use]
    pub fn new(node: Node, rosters: Arc<Rosters>, peers: Peers, registry: &Registry) -> Arc<Self> {
        let counter = |name: &str, help: &str, label: &str| {
            IntCounterVec::new(Opts::new(name, help), &[label]).expect("constants that fit")
        };
        let messages_total = counter(
            "tallystick_partner_messages_total",
            "Messages of partners that ask for redemptions, by what became of them",
            "result",
        );
        let requests_total = counter(
            "tallystick_partner_requests_total",
            "Requests of partners in them, by what became of them",
            "result",
        );
        let seconds = Histogram::with_opts(HistogramOpts::new(
            "tallystick_partner_message_seconds",
            "Time that an answered message of a partner took",
        ))
        .expect("constants that fit");
        let collectors: [Box<dyn prometheus::core::Collector>; 3] = [
            Box::new(messages_total.clone()),
            Box::new(requests_total.clone()),
            Box::new(seconds.clone()),
        ];
        for collector in collectors {
            registry
                .register(collector)
                .expect("a registry without these names");
        }
        Arc::new(Self {
            node,
            rosters,
            peers,
            turns: Turns::new(limits::PARTNER_MESSAGES_UNDER_WAY_MAX),
            answered: Answered::default(),
            messages_total,
            requests_total,
            seconds,
        })
    }

    /// Answers a message. Whatever it came to is durable when this returns.
    ///
    /// # Errors
    /// [`IssuerError`].
    pub async fn answer(&self, bytes: &[u8]) -> Result<Vec<u8>, IssuerError> {
        let timer = self.seconds.start_timer();
        let answered = self.answer_counted(bytes).await;
        let result = match &answered {
            Ok(_) => {
                timer.observe_duration();
                "answered"
            }
            Err(error) => {
                timer.stop_and_discard();
                error.reason()
            }
        };
        self.messages_total.with_label_values(&[result]).inc();
        answered
    }

    async fn answer_counted(&self, bytes: &[u8]) -> Result<Vec<u8>, IssuerError> {
        let now = self.node.now();
        let chain = self.rosters.chain();
        let directory = chain.directory().ok_or(MessageError::NotAMember)?;
        let own_did = self.node.options().origin.did_web();
        let opened = message::open(bytes, MessageName::Redemption, directory, &own_did, now);
        if let Err(MessageError::RosterAhead { .. }) = &opened {
            catch_up_beside(&self.peers, &self.rosters, message::signed_by(bytes, directory));
        }
        let (head, body) = opened?;
        let ours = chain.version();
        if head.roster_version < ours {
            let theirs = head.roster_version;
            return Err(IssuerError::SenderBehind { theirs, ours });
        }
        chain.may_redeem(now)?;
        let (known_size, requests) = wire::read_requests(&body).map_err(MessageError::Malformed)?;
        let is_theirs =
            |(_, request): &(_, Request)| request.redeemer == head.sender && request.issuer == own_did;
        if !requests.iter().all(is_theirs) {
            let what = "each request names the message's sender as redeemer, and its audience as issuer";
            return Err(MessageError::Malformed(crate::encoding::cbor::GateError::Shape(what)).into());
        }
        let _turn = self.turns.take(&head.sender).ok_or(IssuerError::Busy)?;
        let ids: Vec<_> = requests.iter().map(|(_, request)| request.id).collect();
        let requests = requests
            .into_iter()
            .map(|(digest, request)| for_node(digest, request))
            .collect();
        let outcomes = self.node.serve_partner(requests).await?;
        let answer = self.prove(&head.sender, known_size, ids.into_iter().zip(outcomes).collect())?;
        let answer_head = Head {
            sender: own_did,
            audience: head.sender,
            time: self.node.now(),
            id: head.id,
            roster_version: ours,
        };
        let key = self.node.messages_key();
        Ok(message::seal(
            key,
            MessageName::RedemptionAnswer,
            &answer_head,
            &answer.encode(),
        ))
    }

    /// Adds what proves that each half, and each cancellation, is in the log.
    fn prove(
        &self,
        redeemer: &str,
        known_size: u64,
        outcomes: Vec<(crate::primitives::RedemptionId, Result<PartnerOutcome, NodeError>)>,
    ) -> Result<Answer, NodeError> {
        let halves = outcomes.iter().filter_map(|(_, outcome)| match outcome {
            Ok(PartnerOutcome::Half(recorded) | PartnerOutcome::Cancelled(recorded)) => Some(recorded.index),
            _ => None,
        });
        let indices: Vec<u64> = halves.collect();
        let count = |result: &str| self.requests_total.with_label_values(&[result]).inc();
        let proof = if indices.is_empty() {
            None
        } else {
            Some(self.proof(redeemer, known_size, &indices)?)
        };
        let mut entries = self.node.entries_at(&indices)?.into_iter();
        let mut answered = Vec::with_capacity(outcomes.len());
        for (id, outcome) in outcomes {
            let outcome = match outcome {
                Ok(PartnerOutcome::Half(_)) => {
                    count("half");
                    let entry = entries.next().expect("one for each half");
                    Outcome::Half { entry }
                }
                Ok(PartnerOutcome::Cancelled(_)) => {
                    count("cancelled");
                    let entry = entries.next().expect("one for each cancellation");
                    Outcome::Cancelled { entry }
                }
                Ok(PartnerOutcome::Refused { code, detail }) => {
                    count(&code);
                    Outcome::Refused { code, detail }
                }
                Err(error) => {
                    count("not_now");
                    tracing::warn!(%error, "a partner's request could not be decided");
                    Outcome::NotNow
                }
            };
            answered.push((id, outcome));
        }
        Ok(Answer {
            outcomes: answered,
            proof,
        })
    }

    /// What proves the entries at `indices`: one checkpoint and one signature for all.
    fn proof(&self, redeemer: &str, known_size: u64, indices: &[u64]) -> Result<Proof, NodeError> {
        let before = self.answered.size(redeemer);
        let proofs = self.node.partner_proofs(indices, known_size, before)?;
        let ConsistencyProof {
            second, second_root, ..
        } = proofs.first;
        self.answered.note(redeemer, second);
        let (kid, algorithm) = self.node.log_key_id();
        let sign = |text: &[u8]| self.node.sign_tree(text);
        let signed = SignedTree::new(second, second_root.0, (algorithm, kid), sign)
            .map_err(|error| NodeError::Inconsistent(error.to_string()))?;
        Ok(Proof {
            log: LogState::from(&proofs.first),
            link: proofs.other.as_ref().map(Link::from),
            receipts: Receipts::of(&signed, proofs.hashes),
        })
    }
}

fn for_node(digest: crate::primitives::Digest, request: Request) -> PartnerRequest {
    let (not_after, wanted) = match request.wanted {
        Wanted::Redeem {
            not_after,
            coupon,
            basket,
            amount,
            ..
        } => (
            not_after,
            PartnerWish::Redeem {
                coupon,
                basket,
                amount,
            },
        ),
        Wanted::Reverse {
            not_after,
            redemption,
            amount,
            give_back,
            ..
        } => (
            not_after,
            PartnerWish::Reverse {
                redemption,
                amount,
                give_back,
            },
        ),
        Wanted::Cancel => (crate::primitives::UnixSeconds(0), PartnerWish::Cancel),
    };
    PartnerRequest {
        redeemer: request.redeemer,
        id: request.id,
        request: digest,
        not_after,
        wanted,
    }
}
