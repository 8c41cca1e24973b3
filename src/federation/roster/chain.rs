//! From version to version: what is followed, and what is not.
//!
//! A chain begins with a pin, the hash of version 1, and holds the version in
//! force. [`Chain::offer`] judges what comes from outside and gives the chain as
//! it would be; nothing changes before the caller has made that durable.
//!
//! - Version n+1 is followed once a threshold of the signers of version n has
//!   signed it and its own threshold of its own signers, and it keeps the rules.
//! - A chain never goes back. It also knows the highest version that was ever in
//!   force ([`Chain::new`]), so that with an older store in the place of its own
//!   nothing is redeemed for partners before it has caught up.
//! - A second valid version of the number in force is evidence that signers have
//!   signed two. The chain stays where it is, follows nothing further, and nothing
//!   is redeemed for partners until the operator has decided which one counts
//!   ([`Chain::decide`]). It does not fall back to the version before: what the
//!   version in force took away (a stolen key, a member) would count again.
//! - A second version of a number that was passed since is refused as an old one.
//!   The signers who could make one may have been replaced because their keys were
//!   stolen: nobody is to stop a federation with them.

use std::sync::Arc;

use super::body::{Roster, Signer};
use super::directory::Directory;
use super::signed::{SignedRoster, Tally};
use super::{RosterError, possession, rules};
use crate::encoding::cbor::GateError;
use crate::encoding::cbor_write as write;
use crate::primitives::{Digest, UnixSeconds};

/// The versions of a federation's roster, as far as this one follows them.
#[derive(Clone, Debug)]
pub struct Chain {
    pin: Digest,
    /// The highest version that was ever in force.
    floor: u64,
    current: Option<Held>,
    conflict: Option<Conflict>,
}

/// The version in force.
#[derive(Clone, Debug)]
struct Held {
    directory: Arc<Directory>,
    signed: SignedRoster,
    /// The one before it, whose signers let it follow.
    before: Option<Arc<Directory>>,
}

/// Two valid versions of one number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// Their number.
    pub version: u64,
    /// The one in force, with its signatures.
    pub held: SignedRoster,
    /// The other one, with its signatures.
    pub other: SignedRoster,
    /// Whether the operator has decided that the one in force counts.
    pub is_decided: bool,
}

/// What became of something that was offered. Make it durable, then go on with the
/// chain in it.
#[derive(Clone, Debug)]
pub enum Offered {
    /// Nothing new.
    Known,
    /// More signatures of the version in force.
    Signatures(Chain),
    /// The next version.
    Next(Chain),
    /// A second version of the number in force: evidence, and an alarm.
    Conflict(Chain),
}

/// Why nothing is redeemed for partners.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotRedeeming {
    /// No version is there.
    #[error("no roster of the federation is there yet")]
    NoRoster,
    /// A higher version was in force here before.
    #[error(
        "version {floor} of the roster was in force here before, and only version {held} is there: publish what is missing"
    )]
    Behind {
        /// The highest version that was ever in force.
        floor: u64,
        /// The version that is there.
        held: u64,
    },
    /// The version in force has expired.
    #[error("the roster has expired: its signers have to issue the next version")]
    Expired,
    /// Two versions of one number, and nobody has decided.
    #[error("two versions {version} of the roster were signed: the operator has to decide which one counts")]
    Conflict {
        /// Their number.
        version: u64,
    },
}

impl Conflict {
    /// Both, for whoever is to see them: a CBOR array of two byte strings.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        write::head(&mut out, write::ARRAY, 2);
        write::bytes(&mut out, &self.held.encode());
        write::bytes(&mut out, &self.other.encode());
        out
    }
}

impl Chain {
    /// The chain that begins with the version whose hash is `pin`. `floor` is the
    /// highest version that was ever in force, as the guard file says, or 0.
    #[must_use]
    pub fn new(pin: Digest, floor: u64) -> Self {
        Self {
            pin,
            floor,
            current: None,
            conflict: None,
        }
    }

    /// The hash of version 1.
    #[must_use]
    pub fn pin(&self) -> Digest {
        self.pin
    }

    /// The version in force.
    #[must_use]
    pub fn directory(&self) -> Option<&Arc<Directory>> {
        self.current.as_ref().map(|held| &held.directory)
    }

    /// The version in force with its signatures.
    #[must_use]
    pub fn signed(&self) -> Option<&SignedRoster> {
        self.current.as_ref().map(|held| &held.signed)
    }

    /// The number of the version in force; 0 where there is none.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.directory().map_or(0, |directory| directory.roster().version)
    }

    /// Two versions of the number in force, if they were ever seen.
    #[must_use]
    pub fn conflict(&self) -> Option<&Conflict> {
        self.conflict.as_ref()
    }

    /// Whether partners' coupons may be redeemed at `now`, and ours at partners.
    /// What does not need a partner goes on.
    ///
    /// # Errors
    /// [`NotRedeeming`] with the reason.
    pub fn may_redeem(&self, now: UnixSeconds) -> Result<(), NotRedeeming> {
        let roster = self.directory().ok_or(NotRedeeming::NoRoster)?.roster();
        let held = roster.version;
        if held < self.floor {
            let floor = self.floor;
            return Err(NotRedeeming::Behind { floor, held });
        }
        if self.is_undecided() {
            return Err(NotRedeeming::Conflict { version: held });
        }
        if now >= roster.expires {
            return Err(NotRedeeming::Expired);
        }
        Ok(())
    }

    fn is_undecided(&self) -> bool {
        self.conflict
            .as_ref()
            .is_some_and(|conflict| !conflict.is_decided)
    }

    /// Judges a version that came from anywhere. Proofs of possession are verified
    /// of keys that are new in it.
    ///
    /// # Errors
    /// [`RosterError`]; nothing is to be kept then.
    pub fn offer(&self, offered: &SignedRoster, now: UnixSeconds) -> Result<Offered, RosterError> {
        let Some(held) = &self.current else {
            return self.begin(offered, now);
        };
        if offered.hash() == held.directory.hash() {
            return self.more_signatures(held, offered);
        }
        let roster = held.directory.roster();
        let next = offered.tally(roster.version, roster.threshold, &roster.signers);
        if next.lacking() == 0 {
            let next = offered.roster()?;
            // The same signers may have signed the version in force twice, or an old one.
            if next.version > roster.version {
                return self.follow(held, offered, next, now);
            }
        }
        self.second(held, offered, &next, now)
    }

    /// Version 1: the one that is pinned.
    fn begin(&self, offered: &SignedRoster, now: UnixSeconds) -> Result<Offered, RosterError> {
        let found = offered.hash();
        if found != self.pin {
            return Err(match offered.version_said() {
                Some(version) if version > 1 => RosterError::Gap { version, next: 1 },
                _ => RosterError::NotPinned { found, pin: self.pin },
            });
        }
        let roster = offered.roster()?;
        check_time(&roster, now)?;
        signed_by(offered, &roster)?;
        possession::check_all(&roster, None)?;
        let signed = offered.cleaned(&roster.signers);
        Ok(Offered::Next(self.with(roster, signed, None)))
    }

    fn follow(
        &self,
        held: &Held,
        offered: &SignedRoster,
        next: Roster,
        now: UnixSeconds,
    ) -> Result<Offered, RosterError> {
        if let Some(conflict) = self.conflict.as_ref().filter(|conflict| !conflict.is_decided) {
            return Err(RosterError::Undecided {
                version: conflict.version,
                held: conflict.held.hash(),
                other: conflict.other.hash(),
            });
        }
        let signed = valid_after(&held.directory, offered, &next, now)?;
        let before = Some(Arc::clone(&held.directory));
        Ok(Offered::Next(self.with(next, signed, before)))
    }

    fn with(&self, roster: Roster, signed: SignedRoster, before: Option<Arc<Directory>>) -> Self {
        Self {
            pin: self.pin,
            floor: self.floor.max(roster.version),
            current: Some(Held {
                directory: Arc::new(Directory::new(roster)),
                signed,
                before,
            }),
            conflict: None,
        }
    }

    fn more_signatures(&self, held: &Held, offered: &SignedRoster) -> Result<Offered, RosterError> {
        let mut merged = held.signed.clone();
        merged.merge(&offered.cleaned(held.signers()))?;
        let merged = merged.cleaned(held.signers());
        if merged.signatures() <= held.signed.signatures() {
            return Ok(Offered::Known);
        }
        let mut chain = self.clone();
        if let Some(held) = &mut chain.current {
            held.signed = merged.clone();
        }
        if let Some(conflict) = &mut chain.conflict {
            conflict.held = merged;
        }
        Ok(Offered::Signatures(chain))
    }

    /// What does not follow the version in force: a second version of its number,
    /// an older one, one that is too far ahead, or one that too few have signed.
    fn second(
        &self,
        held: &Held,
        offered: &SignedRoster,
        next: &Tally,
        now: UnixSeconds,
    ) -> Result<Offered, RosterError> {
        let version = held.directory.roster().version;
        let too_few = too_few(next);
        let said = offered.version_said();
        let said = said.ok_or(GateError::Shape("the body is no roster's"))?;
        if said > version + 1 {
            let next = version + 1;
            return Err(RosterError::Gap { version: said, next });
        }
        if said == version + 1 {
            return Err(too_few);
        }
        let older = RosterError::Older {
            version: said,
            held: version,
        };
        let before = match &held.before {
            Some(before) if said == version => before,
            None if said == version => {
                let (found, pin) = (offered.hash(), self.pin);
                return Err(RosterError::NotPinned { found, pin });
            }
            _ => return Err(older),
        };
        let roster = before.roster();
        let tally = offered.tally(roster.version, roster.threshold, &roster.signers);
        if tally.lacking() > 0 {
            return Err(self::too_few(&tally));
        }
        let other = offered.roster()?;
        let other = valid_after(before, offered, &other, now)?;
        if let Some(known) = &self.conflict
            && known.held.hash() != other.hash()
        {
            // One pair convicts; a third version adds nothing.
            return Ok(Offered::Known);
        }
        let mut chain = self.clone();
        chain.conflict = Some(Conflict {
            version,
            held: held.signed.clone(),
            other,
            is_decided: false,
        });
        Ok(Offered::Conflict(chain))
    }

    /// The chain after the operator has decided that of two versions of the number
    /// in force the one with this hash counts; `None` where it is neither.
    #[must_use]
    pub fn decide(&self, counts: Digest) -> Option<Self> {
        let conflict = self.conflict.as_ref()?;
        let current = self.current.as_ref()?;
        let mut chain = self.clone();
        if conflict.other.hash() == counts {
            let roster = conflict.other.roster().ok()?;
            chain.current = Some(Held {
                directory: Arc::new(Directory::new(roster)),
                signed: conflict.other.clone(),
                before: current.before.clone(),
            });
            chain.conflict = Some(Conflict {
                version: conflict.version,
                held: conflict.other.clone(),
                other: conflict.held.clone(),
                is_decided: true,
            });
            return Some(chain);
        }
        if conflict.held.hash() != counts {
            return None;
        }
        if let Some(conflict) = &mut chain.conflict {
            conflict.is_decided = true;
        }
        Some(chain)
    }
}

impl Held {
    /// Whose signatures of it are kept: those who had to let it follow, and its own.
    fn signers(&self) -> impl Iterator<Item = &Signer> {
        let before = self.before.as_ref().map(|before| &before.roster().signers);
        let own = &self.directory.roster().signers;
        before.into_iter().flatten().chain(own)
    }
}

/// Who has signed `offered`, and who has to: signers of the version `before` (none
/// before version 1), and its own.
#[must_use]
pub fn tallies(offered: &SignedRoster, roster: &Roster, before: Option<&Roster>) -> Vec<Tally> {
    before
        .into_iter()
        .chain([roster])
        .map(|whose| offered.tally(whose.version, whose.threshold, &whose.signers))
        .collect()
}

/// Holds `next`, signed as in `offered`, against everything that the version after
/// `before` has to keep, and gives it with the signatures that count.
fn valid_after(
    before: &Directory,
    offered: &SignedRoster,
    next: &Roster,
    now: UnixSeconds,
) -> Result<SignedRoster, RosterError> {
    let roster = before.roster();
    if next.version > roster.version + 1 {
        return Err(RosterError::Gap {
            version: next.version,
            next: roster.version + 1,
        });
    }
    check_time(next, now)?;
    for tally in tallies(offered, next, Some(roster)) {
        if tally.lacking() > 0 {
            return Err(too_few(&tally));
        }
    }
    rules::check_follows(roster, next)?;
    possession::check_all(next, Some(roster))?;
    Ok(offered.cleaned(roster.signers.iter().chain(&next.signers)))
}

fn signed_by(offered: &SignedRoster, roster: &Roster) -> Result<(), RosterError> {
    let own = offered.tally(roster.version, roster.threshold, &roster.signers);
    if own.lacking() > 0 {
        return Err(too_few(&own));
    }
    Ok(())
}

fn too_few(tally: &Tally) -> RosterError {
    RosterError::TooFewSigners {
        version: tally.version,
        have: tally.signed.len() as u64,
        need: tally.need,
    }
}

fn check_time(roster: &Roster, now: UnixSeconds) -> Result<(), RosterError> {
    if rules::is_issued(roster, now) {
        return Ok(());
    }
    Err(RosterError::Rule {
        version: roster.version,
        rule: "it is dated more than five minutes ahead of this machine's clock".to_owned(),
    })
}
