//! What gossip says of the node's own log: cosignatures, or that the log is not what the
//! node has signed. It signs no more then.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::time::{sleep, timeout};

use super::{Gossiper, PATH};
use crate::federation::gossip::{Effects, Gossip, ItemKey, Kind, Name, Sending, Stored, evidence};
use crate::federation::message::MessageName;
use crate::federation::mirrored::{Lost, MirroredError, check_gossiped};
use crate::federation::peers::PeerError;
use crate::log::evidence::OtherHistory;
use crate::log::{ForkEvidence, Note};
use crate::primitives::{UnixSeconds, limits};

/// From one try to the next to tell a member, when there is little time.
const TELL_AGAIN: Duration = Duration::from_millis(500);

/// A history under the node's own key that is not its own.
pub(super) struct OwnFork {
    /// Why the node stops.
    pub lost: Lost,
    /// What convicts it, as it travels.
    pub evidence: Vec<u8>,
}

impl Gossiper {
    /// Why this node has stopped itself, if it has: gossip has shown that its log is not
    /// what it has signed.
    #[must_use]
    pub fn stopped_by(&self) -> Option<&Lost> {
        self.stopped_by.get()
    }

    /// Takes in what has come of the node's own, in the place of what was held or
    /// (`!is_newest`) older than it: another history under its own keys stops it, before it
    /// signs more of its own one, unless its operator has decided to go on. What is evidence
    /// comes back, and is to be kept first.
    pub(super) async fn take_own(&self, stored: &Stored, is_newest: bool) -> Option<OwnFork> {
        let node = &self.parts.node;
        let (kind, bytes) = (stored.key.kind, &stored.bytes);
        match check_gossiped(node, kind, bytes) {
            Ok(()) => {
                if kind == Kind::Checkpoint && is_newest {
                    self.keep_cosigned(bytes).await;
                }
            }
            Err(MirroredError::Lost(lost)) if self.parts.forgiven.contains(&self.own) => {
                if is_newest {
                    tracing::error!("the operator has decided to go on, though {lost}");
                    self.show_at_once();
                }
            }
            Err(MirroredError::Lost(lost)) => match self.evidence_against_itself(&lost, bytes) {
                Some(evidence) => return Some(OwnFork { lost, evidence }),
                None => self.stop(lost).await,
            },
            Err(error) => tracing::error!("what gossip says of this node's log was not compared: {error}"),
        }
        None
    }

    /// A checkpoint that the node's own key has signed and its log does not contain, with the
    /// newest of its log: that convicts it anywhere.
    fn evidence_against_itself(&self, lost: &Lost, note: &[u8]) -> Option<Vec<u8>> {
        let Lost::Forked { held, .. } = lost else {
            return None;
        };
        let node = &self.parts.node;
        let own = node.consistency(*held, None).ok()?;
        let other_history = (own.first < own.second).then(|| OtherHistory {
            root: own.first_root,
            proof: own.path.iter().map(|hash| hash.0).collect(),
        });
        let fork = ForkEvidence::new(&node.log_key(), note, own.checkpoint.as_bytes(), other_history);
        evidence::of_fork(&fork.ok()?)
    }

    /// Signs nothing any more. The first reason is the one that counts.
    pub(super) async fn stop(&self, lost: Lost) {
        let why = lost.to_string();
        if self.stopped_by.set(lost).is_ok() {
            self.parts.node.halt(why).await;
        }
    }

    /// The last that a node does which has [stopped](Self::stopped_by) itself: it tells the
    /// others what convicts it, if anything does, all at once and for a few seconds. Who
    /// hears it takes no new redemption of its coupons.
    pub async fn part(&self) {
        if self.stopped_by().is_none() {
            return;
        }
        let telling = async {
            let now = self.parts.node.now();
            let sends = self.machine.lock().await.part(now).sends;
            let telling = sends.into_iter().map(|sending| self.tell_last(sending));
            telling.collect::<FuturesUnordered<_>>().count().await
        };
        let within = Duration::from_secs(limits::GOSSIP_PARTING_SECONDS_MAX);
        match timeout(within, telling).await {
            Ok(0) => {}
            Ok(members) => tracing::warn!(members, "the others were told what convicts this node"),
            Err(_) => tracing::warn!("not all others could be told what convicts this node"),
        }
    }

    /// Posts a message until it has got through. Nothing is done with the answer.
    async fn tell_last(&self, sending: Sending) {
        let chain = self.parts.rosters.chain();
        let to = chain
            .directory()
            .and_then(|directory| directory.by_did(&sending.to));
        let Some(member) = to else { return };
        let (base_url, most) = (&member.base_url, MessageName::GossipAnswer.most());
        loop {
            let told = self.parts.peers.post(base_url, PATH, sending.bytes.clone(), most);
            match told.await {
                Err(PeerError::NotReached { .. } | PeerError::NoAnswer { .. }) => sleep(TELL_AGAIN).await,
                // Once more it would be a replay.
                _ => return,
            }
        }
    }

    async fn keep_cosigned(&self, bytes: &[u8]) {
        let Ok(note) = Note::parse(bytes) else { return };
        let text = String::from_utf8_lossy(bytes);
        let cosigned = note.signatures().len() - 1;
        if cosigned == 0 {
            return;
        }
        let is_quorum = cosigned >= self.quorum();
        if let Err(error) = self.parts.node.keep_cosigned(&text, is_quorum).await {
            tracing::warn!("cosignatures of this node's checkpoint are not kept: {error}");
        }
    }

    /// The next round shows the newest own checkpoint, whatever the one shown before has
    /// gathered: others hold one that is newer, or another history.
    fn show_at_once(&self) {
        *self.shown_since.lock().expect("no holder of this lock panics") = None;
    }

    /// Shows the newest own checkpoint, once the one shown before has gathered a quorum
    /// or had its time: all others cosign the same one so.
    pub(super) fn publish_checkpoint(&self, machine: &mut Gossip, now: UnixSeconds) -> Effects {
        let key = ItemKey {
            kind: Kind::Checkpoint,
            author: self.own.clone(),
            name: Name::Only,
        };
        let shown = machine.held().get(key.kind, &key.id());
        let cosigned = shown.and_then(|shown| Note::parse(&shown.bytes).ok());
        let cosigned = cosigned.map_or(usize::MAX, |note| note.signatures().len() - 1);
        let mut since = self.shown_since.lock().expect("no holder of this lock panics");
        let has_time = since.is_some_and(|since| now < since.plus(limits::GOSSIPED_CHECKPOINT_SECONDS));
        if has_time && cosigned < self.quorum() {
            return Effects::default();
        }
        *since = Some(now);
        let note = self.parts.node.checkpoint();
        let mut effects = machine.publish(key.kind, note.as_bytes(), now);
        // Before the roster lists this node, nobody would take it.
        effects.refused.clear();
        let held = machine.held().get(key.kind, &key.id());
        let is_shown = held.is_some_and(|held| held.bytes.starts_with(text(&note).as_bytes()));
        if !is_shown {
            // Another history's is held in its place: the next one may be newer.
            *since = None;
        }
        effects
    }

    /// How many others have to cosign a checkpoint: more than half of them.
    fn quorum(&self) -> usize {
        let chain = self.parts.rosters.chain();
        let members = chain
            .directory()
            .map_or(0, |directory| directory.active().count());
        members.saturating_sub(1) / 2 + 1
    }
}

/// What was signed of a note: up to the empty line before its signatures, with it.
fn text(note: &str) -> &str {
    note.find("\n\n").map_or(note, |end| &note[..end + 2])
}
