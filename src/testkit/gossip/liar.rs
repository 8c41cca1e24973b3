//! What a member that lies sends.

use std::sync::Arc;

use super::{GossipWorld, Packet};
use crate::credential::SecretKey;
use crate::credential::status_list::{Status, Statuses};
use crate::federation::gossip::Kind;
use crate::federation::gossip::body::Body;
use crate::federation::message::{Head, MessageName, seal};

/// A lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// A message that was sent before, to whom it was for.
    Replay,
    /// A message that was for another node.
    Misdirected,
    /// Bytes that were changed on the way.
    Garbled,
    /// Two status lists of one version, to two nodes.
    TwoLists,
    /// A list in the name of an honest member.
    Forged,
    /// A list from tomorrow.
    Tomorrow,
    /// A message by a key that nobody has listed.
    Stranger,
    /// A kind that does not travel yet, and one that does not exist.
    OddKinds,
}

impl Lie {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Replay,
        Self::Misdirected,
        Self::Garbled,
        Self::TwoLists,
        Self::Forged,
        Self::Tomorrow,
        Self::Stranger,
        Self::OddKinds,
    ];
}

impl GossipWorld {
    /// The liar at `node` tells a random lie.
    pub(super) fn lie(&mut self, node: usize) {
        let lie = Lie::ALL[self.dice.place(Lie::ALL.len())];
        self.tell_lie(node, lie);
    }

    /// The member at `node` tells this lie.
    ///
    /// # Panics
    /// In a federation of one.
    pub fn tell_lie(&mut self, node: usize, lie: Lie) {
        self.federation.liar = Some(node);
        let to = self.another(node, node);
        let member = self.federation.members[node].clone();
        let now = self.network.clock(node);
        let list = |index, at| {
            let mut statuses = Statuses::from_packed(vec![0; super::LIST_BYTES]).expect("some bytes");
            statuses.set(index, Status::Suspended);
            member.list(&statuses, at)
        };
        match lie {
            Lie::Replay | Lie::Misdirected | Lie::Garbled => {
                if self.told.is_empty() {
                    return;
                }
                let (meant, bytes) = self.told[self.dice.place(self.told.len())].clone();
                let mut bytes = bytes.to_vec();
                if lie == Lie::Garbled {
                    let at = self.dice.place(bytes.len());
                    bytes[at] ^= 1;
                }
                let to = if lie == Lie::Misdirected {
                    self.another(node, meant)
                } else {
                    meant
                };
                self.ask(node, to, bytes);
            }
            Lie::TwoLists => {
                let other = self.another(node, to);
                for (to, index) in [(to, 1), (other, 2)] {
                    self.item(node, to, Kind::StatusList.number().into(), list(index, now));
                }
            }
            Lie::Forged => {
                let victim = self.federation.members[self.another(node, node)].clone();
                let mut statuses = Statuses::from_packed(vec![0; super::LIST_BYTES]).expect("some bytes");
                statuses.set(3, Status::Revoked);
                // In the victim's name, by the liar's key.
                let list = crate::credential::status_list::StatusList {
                    uri: victim.origin.status_uri(0),
                    issued_at: now.plus(60),
                    expires: now.plus(86_400),
                    ttl: 60,
                    statuses,
                }
                .sign(&member.credentials(), crate::credential::Algorithm::EdDsa);
                self.item(node, to, Kind::StatusList.number().into(), list);
            }
            Lie::Tomorrow => {
                self.item(
                    node,
                    to,
                    Kind::StatusList.number().into(),
                    list(4, now.plus(86_400)),
                );
            }
            Lie::Stranger => {
                let key = SecretKey::from_seed(&[0xee; 32]);
                let bytes = self.sealed(node, to, &key, &Body::default());
                self.ask(node, to, bytes);
            }
            Lie::OddKinds => {
                for kind in [6, 99] {
                    self.item(node, to, kind, vec![0; 40]);
                }
            }
        }
    }

    fn another(&self, than: usize, and: usize) -> usize {
        let others: Vec<_> = (0..self.nodes.len())
            .filter(|node| *node != than && *node != and)
            .collect();
        if others.is_empty() {
            and
        } else {
            others[self.dice.place(others.len())]
        }
    }

    fn item(&mut self, node: usize, to: usize, kind: u64, bytes: Vec<u8>) {
        let body = Body {
            items: vec![(kind, bytes)],
            ..Body::default()
        };
        let key = self.federation.members[node].messages();
        let bytes = self.sealed(node, to, &key, &body);
        self.ask(node, to, bytes);
    }

    fn sealed(&self, node: usize, to: usize, key: &SecretKey, body: &Body) -> Vec<u8> {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.dice.below(u64::MAX).to_be_bytes());
        let head = Head {
            sender: self.federation.members[node].did.clone(),
            audience: self.federation.members[to].did.clone(),
            time: self.network.clock(node),
            id,
            roster_version: self.nodes[node].disk.roster,
        };
        seal(key, MessageName::Gossip, &head, &body.encode())
    }

    fn ask(&mut self, node: usize, to: usize, bytes: Vec<u8>) {
        let bytes: Arc<[u8]> = bytes.into();
        self.told.push((to, Arc::clone(&bytes)));
        self.network.send(node, to, Packet::Asks(u64::MAX, bytes));
    }
}
