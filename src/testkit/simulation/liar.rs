//! What becomes of the answers of a member that lies, or of the one in the middle.

use std::sync::Arc;

use super::forged;
use super::line::Door;
use crate::federation::message::{self, Head, MessageName};
use crate::federation::redemption::wire::{Answer, LogState, Outcome};
use crate::ledger::Event;
use crate::log::cose_receipt::{self, Inclusion};
use crate::log::{Entry, entry_hash};
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
                let log = answer.log.as_ref()?;
                let (others, log) = self.others(dice, node, &answer.outcomes, log)?;
                answer.outcomes = others;
                answer.log = Some(log);
            }
            Lie::OtherTree => {
                for outcome in halves {
                    *outcome = self.elsewhere(outcome)?;
                }
            }
            Lie::NoLog => answer.log = None,
            Lie::OlderLog => answer.log = Some(earlier?.log.clone()?),
            Lie::NeverMade => {
                for outcome in halves {
                    if let Outcome::Half { entry, receipt } = outcome.clone() {
                        *outcome = Outcome::Cancelled { entry, receipt };
                    }
                }
            }
            _ => {
                for outcome in halves {
                    if let Outcome::Half { entry, .. } = outcome {
                        *entry = changed(dice, entry);
                    }
                }
            }
        }
        Some(answer)
    }

    /// For each half another one of the member's log, alike if there is such a one, and
    /// the log that all of them are in.
    fn others(
        &self,
        dice: &Dice,
        node: &Node,
        outcomes: &[(RedemptionId, Outcome)],
        named: &LogState,
    ) -> Option<(Vec<(RedemptionId, Outcome)>, LogState)> {
        let log: Vec<(u64, Vec<u8>, Alike)> = (0..node.size())
            .filter_map(|index| {
                let bytes = node.log_entry(index).ok()?.bytes;
                let alike = alike(&bytes)?;
                Some((index, bytes, alike))
            })
            .collect();
        let mut others = outcomes.to_vec();
        let mut state = None;
        for (_, outcome) in &mut others {
            let Outcome::Half { entry, receipt } = outcome else {
                continue;
            };
            let like = alike(entry)?;
            let mut fit: Vec<_> = log.iter().filter(|(_, bytes, _)| bytes != entry).collect();
            if fit.iter().any(|(.., other)| *other == like) {
                fit.retain(|(.., other)| *other == like);
            }
            let (index, bytes, _) = *fit.get(dice.place(fit.len().max(1)))?;
            let proofs = node.partner_proofs(&[*index], named.old_size, None).ok()?;
            let proven = &proofs.inclusions[0];
            let inclusion = Inclusion {
                size: proven.tree_size,
                index: *index,
                path: proven.path.iter().map(|hash| hash.0).collect(),
            };
            *entry = bytes.clone();
            *receipt = self.receipt(bytes, &inclusion)?;
            state = Some(LogState::from(&proofs.first));
        }
        Some((others, state?))
    }

    /// The same half made a second later, with a receipt that the member's log has signed
    /// for a tree that it is in.
    fn elsewhere(&self, half: &Outcome) -> Option<Outcome> {
        let Outcome::Half { entry, receipt } = half else {
            return None;
        };
        let key = ed25519_dalek::VerifyingKey::from_bytes(self.keyring.log.public().as_bytes()).ok()?;
        let proven = cose_receipt::verify(receipt, &entry_hash(entry), &key).ok()?;
        let mut other = Entry::decode(entry).ok()?;
        other.time = UnixSeconds(other.time.0 + 1);
        let entry = other.encode().ok()?;
        let receipt = self.receipt(&entry, &proven.inclusion)?;
        Some(Outcome::Half { entry, receipt })
    }

    fn receipt(&self, entry: &[u8], inclusion: &Inclusion) -> Option<Vec<u8>> {
        let key = &self.keyring.log;
        let sign = |text: &[u8]| key.sign(text);
        cose_receipt::issue(&entry_hash(entry), inclusion, -8, key.kid(), sign).ok()
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
        log: None,
        link: None,
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
