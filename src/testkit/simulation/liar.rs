//! What becomes of the answers of a member that lies, or of the one in the middle.

use std::sync::Arc;

use crate::credential::SecretKey;
use crate::federation::message::{self, Head, MessageName};
use crate::federation::redemption::wire::{Answer, Outcome};
use crate::federation::roster::Directory;
use crate::primitives::Clock;
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
    /// Signed by the member: the halves of other requests.
    OtherHalves,
    /// Signed by the member: halves without a log.
    NoLog,
    /// Signed by the member: the log as it was before.
    OlderLog,
    /// Signed by the member: what was made is cancelled, though nobody wished so.
    NeverMade,
    /// Signed by the member: a half that says something else.
    OtherEntry,
}

/// A member that lies, with what that takes.
#[derive(Clone)]
pub struct Liar {
    /// Which member.
    pub member: usize,
    /// How it lies now.
    pub lie: Lie,
    /// Its key for messages.
    pub key: SecretKey,
    /// The roster.
    pub directory: Arc<Directory>,
    /// Its clock.
    pub clock: Arc<dyn Clock>,
}

impl Lie {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Garbled,
        Self::Replayed,
        Self::CutShort,
        Self::Unsigned,
        Self::Empty,
        Self::OtherHalves,
        Self::NoLog,
        Self::OlderLog,
        Self::NeverMade,
        Self::OtherEntry,
    ];
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
    pub fn read(&self, audience: &str, body: &[u8]) -> Option<(Head, Answer)> {
        let name = MessageName::RedemptionAnswer;
        let now = self.clock.now();
        let (head, value) = message::open(body, name, &self.directory, audience, now).ok()?;
        Some((head, Answer::decode(&value).ok()?))
    }

    /// What is handed on in the place of the answer `body`, which says `read`; `None`
    /// for the truth.
    #[must_use]
    pub fn told(
        &self,
        dice: &Dice,
        (body, read): (&[u8], Option<&(Head, Answer)>),
        earlier: &[Earlier],
    ) -> Option<(u16, Vec<u8>)> {
        // Now and then it tells the truth, or nothing would go on.
        if dice.once_in(3) || body.is_empty() {
            return None;
        }
        let earlier = (!earlier.is_empty()).then(|| &earlier[dice.place(earlier.len())]);
        let body = match self.lie {
            Lie::Garbled => changed(dice, body),
            Lie::Replayed => earlier?.bytes.clone(),
            Lie::CutShort => body[..dice.place(body.len())].to_vec(),
            Lie::Unsigned => {
                let refusal = br#"{"code":"coupon_used_up","detail":"used up, says somebody"}"#;
                return Some((422, refusal.to_vec()));
            }
            Lie::Empty => Vec::new(),
            _ => {
                let (head, answer) = read?;
                let answer = self.bent(
                    dice,
                    answer.clone(),
                    earlier.and_then(|told| told.answer.as_ref()),
                )?;
                message::seal(&self.key, MessageName::RedemptionAnswer, head, &answer.encode())
            }
        };
        Some((200, body))
    }

    /// The answer with something else in it; `None` where there is nothing to lie about.
    fn bent(&self, dice: &Dice, mut answer: Answer, earlier: Option<&Answer>) -> Option<Answer> {
        let outcomes = answer.outcomes.iter_mut().map(|(_, outcome)| outcome);
        match self.lie {
            Lie::OtherHalves => {
                let others = earlier?.outcomes.iter().map(|(_, outcome)| outcome);
                let others: Vec<&Outcome> = others
                    .filter(|other| matches!(other, Outcome::Half { .. }))
                    .collect();
                for outcome in outcomes {
                    *outcome = (*others.get(dice.place(others.len().max(1)))?).clone();
                }
                answer.log = earlier?.log.clone();
            }
            Lie::NoLog => answer.log = None,
            Lie::OlderLog => answer.log = Some(earlier?.log.clone()?),
            Lie::NeverMade => {
                for outcome in outcomes.filter(|outcome| matches!(outcome, Outcome::Half { .. })) {
                    *outcome = Outcome::Cancelled;
                }
            }
            _ => {
                for outcome in outcomes {
                    if let Outcome::Half { entry, .. } = outcome {
                        *entry = changed(dice, entry);
                    }
                }
            }
        }
        Some(answer)
    }
}

/// The same with one bit changed.
fn changed(dice: &Dice, bytes: &[u8]) -> Vec<u8> {
    let mut changed = bytes.to_vec();
    let at = dice.place(bytes.len());
    changed[at] ^= 1 << dice.below(8);
    changed
}
