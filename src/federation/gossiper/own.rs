//! What gossip says of the node's own log: cosignatures, or that the log is not what the
//! node has signed. It signs no more then.

use super::Gossiper;
use crate::federation::gossip::{Effects, Gossip, ItemKey, Kept, Kind, Name};
use crate::federation::mirrored::{Lost, MirroredError, check_gossiped};
use crate::log::Note;
use crate::primitives::{UnixSeconds, limits};

impl Gossiper {
    /// Why this node has stopped itself, if it has: gossip has shown that its log is not
    /// what it has signed.
    #[must_use]
    pub fn stopped_by(&self) -> Option<&Lost> {
        self.stopped_by.get()
    }

    /// Takes in what has come of the node's own: another history under its own keys stops
    /// it, before it signs more of its own one, unless its operator has decided to go on.
    pub(super) async fn take_own(&self, kept: &Kept) {
        let node = &self.parts.node;
        let (kind, bytes) = (kept.stored.key.kind, &kept.stored.bytes);
        match check_gossiped(node, kind, bytes) {
            Ok(()) => {
                if kind == Kind::Checkpoint {
                    self.keep_cosigned(bytes).await;
                }
            }
            Err(MirroredError::Lost(lost)) if self.parts.forgiven.contains(&self.own) => {
                tracing::error!("the operator has decided to go on, though {lost}");
                self.show_at_once();
            }
            Err(MirroredError::Lost(lost)) => {
                let why = lost.to_string();
                // The first reason is the one that counts.
                if self.stopped_by.set(lost).is_ok() {
                    node.halt(why).await;
                }
            }
            Err(error) => tracing::error!("what gossip says of this node's log was not compared: {error}"),
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
