//! What becomes of the answers of a member that lies, or of the one in the middle.

use std::sync::Arc;

use super::forged;
use super::line::Door;
use crate::federation::message::{self, Head, MessageName};
use crate::federation::redemption::wire::{Answer, LogState, Outcome, Proof, Receipts};
use crate::ledger::Event;
use crate::log::cose_receipt::SignedTree;
use crate::log::{Entry, entry_hash};
use crate::merkle::{Hash, open_batch};
use crate::node::Node;
use crate::node::keyring::Keyring;
use crate::primitives::{Amount, Clock, RedemptionId, UnixSeconds};
use crate::testkit::Dice;

/// How answers are changed, each time or now and then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// A byte of them is another.
    Garbled,
    /// An earlier answer comes in their place.
    Replayed,
    /// They end too early.
    CutShort,
    /// A refusal that nobody has signed comes in their place.
    Unsigned,
    /// Nothing comes: 200 and no body.
    Empty,
    /// Under the member's key id, but signed by somebody else: all is refused.
    Forged,
    /// Signed by the member: the halves of other requests, with all that proves them.
    OtherHalves,
    /// Signed by the member: a half as it was asked for, which is in no log, with a
    /// receipt of a tree of its own.
    OtherTree,
    /// Signed by the member: halves without a log.
    NoLog,
    /// Signed by the member: the log as it was before.
    OlderLog,
    /// Signed by the member: what was made is cancelled, as if the half said so.
    NeverMade,
    /// Signed by the member: a half that says something else.
    OtherEntry,
}

/// A member that lies, with what that takes.
#[derive(Clone)]
pub struct Liar {
    /// Which member.
    pub member: usize,
    /// How it lies: each time in one of these ways.
    pub lies: Vec<Lie>,
    /// Its keys.
    pub keyring: Arc<Keyring>,
    /// Its clock.
    pub clock: Arc<dyn Clock>,
}

impl Lie {
    /// What anybody in the middle can do.
    const UNSIGNED: [Self; 6] = [
        Self::Garbled,
        Self::Replayed,
        Self::CutShort,
        Self::Unsigned,
        Self::Empty,
        Self::Forged,
    ];

    /// What takes the member's keys.
    const SIGNED: [Self; 6] = [
        Self::OtherHalves,
        Self::OtherTree,
        Self::NoLog,
        Self::OlderLog,
        Self::NeverMade,
        Self::OtherEntry,
    ];

    /// A few of both kinds, other ones each turn.
    #[must_use]
    pub fn some(turn: u64, dice: &Dice) -> Vec<Self> {
        let kinds = Self::SIGNED.len() as u64;
        let signed = [turn, turn + 1].map(|turn| usize::try_from(turn % kinds).expect("few kinds"));
        let unsigned = Self::UNSIGNED[dice.place(Self::UNSIGNED.len())];
        let signed = signed.map(|lie| Self::SIGNED[lie]);
        signed.into_iter().chain([unsigned]).collect()
    }
}

/// An answer that the liar has given before.
pub struct Earlier {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// What it says, if it is about redemptions.
    pub answer: Option<Answer>,
}

impl Liar {
    /// What its own answer `body` to `audience` says, if it is about redemptions.
    #[must_use]
    pub fn read(&self, door: &Door, audience: &str, body: &[u8]) -> Option<(Head, Answer)> {
        let (name, now) = (MessageName::RedemptionAnswer, self.clock.now());
        let chain = door.rosters.chain();
        let (head, value) = message::open(body, name, chain.directory()?, audience, now).ok()?;
        Some((head, Answer::decode(&value).ok()?))
    }

    /// What is handed on in the place of the answer `body`, which says `read` and comes
    /// from `node`, and how that is a lie; `None` for the truth.
    #[must_use]
    pub fn told(
        &self,
        dice: &Dice,
        node: &Node,
        (body, read): (&[u8], Option<&(Head, Answer)>),
        earlier: &[Earlier],
    ) -> Option<(Lie, (u16, Vec<u8>))> {
        // Now and then it tells the truth, or nothing would go on.
        if dice.once_in(3) || body.is_empty() {
            return None;
        }
        let earlier = (!earlier.is_empty()).then(|| &earlier[dice.place(earlier.len())]);
        let lie = self.chosen(dice, read.map(|(_, answer)| answer));
        let body = match lie {
            Lie::Garbled => changed(dice, body),
            Lie::Replayed => earlier?.bytes.clone(),
            Lie::CutShort => body[..dice.place(body.len())].to_vec(),
            Lie::Unsigned => {
                let refusal = br#"{"code":"coupon_used_up","detail":"used up, says somebody"}"#;
                return Some((lie, (422, refusal.to_vec())));
            }
            Lie::Empty => Vec::new(),
            Lie::Forged => {
                let (head, answer) = read?;
                let body = refusing(answer).encode();
                let kid = self.keyring.messages.kid();
                forged::seal(kid, MessageName::RedemptionAnswer, head, &body)
            }
            signed => {
                let (head, answer) = read?;
                let earlier = earlier.and_then(|told| told.answer.as_ref());
                let answer = self.bent(signed, dice, node, answer.clone(), earlier)?;
                let key = &self.keyring.messages;
                message::seal(key, MessageName::RedemptionAnswer, head, &answer.encode())
            }
        };
        Some((lie, (200, body)))
    }

    /// Where there are halves it mostly lies about them.
    fn chosen(&self, dice: &Dice, answer: Option<&Answer>) -> Lie {
        let is_half = |(_, outcome): &(RedemptionId, Outcome)| matches!(outcome, Outcome::Half { .. });
        let has_halves = answer.is_some_and(|answer| answer.outcomes.iter().any(is_half));
        let mut signed = self.lies.iter().filter(|lie| Lie::SIGNED.contains(lie));
        let nth = dice.place(2);
        match signed.nth(nth) {
            Some(lie) if has_halves && !dice.once_in(4) => *lie,
            _ => self.lies[dice.place(self.lies.len())],
        }
    }

    /// The answer with something else in it; `None` where there is nothing to lie about.
    fn bent(
        &self,
        lie: Lie,
        dice: &Dice,
        node: &Node,
        mut answer: Answer,
        earlier: Option<&Answer>,
    ) -> Option<Answer> {
        let halves = answer.outcomes.iter_mut().map(|(_, outcome)| outcome);
        let halves = halves.filter(|outcome| matches!(outcome, Outcome::Half { .. }));
        match lie {
            Lie::OtherHalves => {
                let log = &answer.proof.as_ref()?.log;
                let (others, proof) = self.others(dice, node, &answer.outcomes, log)?;
                answer.outcomes = others;
                answer.proof = Some(proof);
            }
            Lie::OtherTree => {
                let proof = answer.proof.as_mut()?;
                proof.receipts = self.elsewhere(halves, proof)?;
            }
            Lie::NoLog => answer.proof = None,
            Lie::OlderLog => {
                let log = earlier?.proof.as_ref()?.log.clone();
                answer.proof.as_mut()?.log = log;
            }
            Lie::NeverMade => {
                for outcome in halves {
                    if let Outcome::Half { entry } = outcome.clone() {
                        *outcome = Outcome::Cancelled { entry };
                    }
                }
            }
            _ => {
                for outcome in halves {
                    if let Outcome::Half { entry } = outcome {
                        *entry = changed(dice, entry);
                    }
                }
            }
        }
        Some(answer)
    }

    /// For each half another one of the member's log, alike if there is such a one, and
    /// what proves all of them.
    fn others(
        &self,
        dice: &Dice,
        node: &Node,
        outcomes: &[(RedemptionId, Outcome)],
        named: &LogState,
    ) -> Option<(Vec<(RedemptionId, Outcome)>, Proof)> {
        let log: Vec<(u64, Vec<u8>, Alike)> = (0..node.size())
            .filter_map(|index| {
                let bytes = node.log_entry(index).ok()?.bytes;
                let alike = alike(&bytes)?;
                Some((index, bytes, alike))
            })
            .collect();
        let mut others = outcomes.to_vec();
        let mut indices = Vec::new();
        for (_, outcome) in &mut others {
            match outcome {
                Outcome::Half { entry } => {
                    let like = alike(entry)?;
                    let mut fit: Vec<_> = log.iter().filter(|(_, bytes, _)| bytes != entry).collect();
                    if fit.iter().any(|(.., other)| *other == like) {
                        fit.retain(|(.., other)| *other == like);
                    }
                    let (index, bytes, _) = *fit.get(dice.place(fit.len().max(1)))?;
                    indices.push(*index);
                    *entry = bytes.clone();
                }
                Outcome::Cancelled { entry } => indices.push(Entry::decode(entry).ok()?.index),
                Outcome::Refused { .. } | Outcome::NotNow => {}
            }
        }
        let proofs = node.partner_proofs(&indices, named.old_size, None).ok()?;
        let tree = self.signed(proofs.first.second, proofs.first.second_root.0)?;
        let proof = Proof {
            log: LogState::from(&proofs.first),
            link: None,
            receipts: Receipts::of(&tree, proofs.hashes),
        };
        Some((others, proof))
    }

    /// The same halves made a second later, with receipts of a tree that they are in and
    /// that the member's log has signed.
    fn elsewhere<'a>(
        &self,
        halves: impl Iterator<Item = &'a mut Outcome>,
        proof: &Proof,
    ) -> Option<Receipts> {
        let mut leaves = Vec::new();
        for outcome in halves {
            let Outcome::Half { entry } = outcome else {
                continue;
            };
            let mut other = Entry::decode(entry).ok()?;
            other.time = UnixSeconds(other.time.0 + 1);
            *entry = other.encode().ok()?;
            leaves.push((other.index, entry_hash(entry).0));
        }
        leaves.sort_unstable();
        leaves.dedup();
        // The second line of a checkpoint (C2SP tlog-checkpoint).
        let size = proof.log.checkpoint.lines().nth(1)?.parse().ok()?;
        let hashes = proof.receipts.hashes.clone();
        let root = open_batch(&leaves, size, &hashes).ok()?.root;
        Some(Receipts::of(&self.signed(size, root)?, hashes))
    }

    fn signed(&self, size: u64, root: Hash) -> Option<SignedTree> {
        let key = &self.keyring.log;
        let sign = |text: &[u8]| key.sign(text);
        SignedTree::new(size, root, (-8, key.kid()), sign).ok()
    }
}

/// What makes one half pass for another: whether it reverses, and its amount.
type Alike = (bool, Amount);

/// The answer with everything refused.
fn refusing(answer: &Answer) -> Answer {
    let refused = Outcome::Refused {
        code: "coupon_used_up".to_owned(),
        detail: "used up, says somebody".to_owned(),
    };
    let ids = answer.outcomes.iter().map(|(id, _)| *id);
    Answer {
        outcomes: ids.map(|id| (id, refused.clone())).collect(),
        proof: None,
    }
}

/// The half's in `entry`, if it is one.
fn alike(entry: &[u8]) -> Option<Alike> {
    let entry = Entry::decode(entry).ok()?;
    let (event, _) = Event::from_body(entry.kind, &entry.body).ok()?;
    match event {
        Event::Redeemed(half) => Some((false, half.amount)),
        Event::Reversed(half) => Some((true, half.amount)),
        _ => None,
    }
}

/// The same with one bit changed.
fn changed(dice: &Dice, bytes: &[u8]) -> Vec<u8> {
    let mut changed = bytes.to_vec();
    let at = dice.place(bytes.len());
    changed[at] ^= 1 << dice.below(8);
    changed
}
