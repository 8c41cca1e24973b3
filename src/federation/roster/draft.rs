//! The next version, as people propose it. Whatever is proposed, the result keeps
//! the rules and follows the version before, or there is none.

use super::body::{KeyState, Member, MemberStatus, Roster, Signer};
use super::description::Description;
use super::{RosterError, possession, rules};
use crate::primitives::{Digest, FederationId, KeyId, UnixSeconds};

/// A version under way.
#[derive(Clone, Debug)]
pub struct Draft {
    before: Option<Roster>,
    roster: Roster,
}

/// What a federation begins with.
#[derive(Clone, Debug)]
pub struct Founding {
    /// Its identity: 16 random bytes.
    pub federation: FederationId,
    /// Its name for people.
    pub name: String,
    /// When it is drawn up.
    pub issued: UnixSeconds,
    /// When version 1 expires.
    pub expires: UnixSeconds,
    /// Who signs.
    pub signers: Vec<Signer>,
    /// How many of them have to.
    pub threshold: u64,
}

fn no<T>(why: impl Into<String>) -> Result<T, RosterError> {
    Err(RosterError::Proposal(why.into()))
}

impl Draft {
    /// Version 1, without members: to be listed they have to know the federation.
    #[must_use]
    pub fn founding(begun: Founding) -> Self {
        Self {
            before: None,
            roster: Roster {
                federation: begun.federation,
                name: begun.name,
                version: 1,
                previous: Digest::ZERO,
                issued: begun.issued,
                expires: begun.expires,
                threshold: begun.threshold,
                signers: begun.signers,
                former_signers: Vec::new(),
                members: Vec::new(),
            },
        }
    }

    /// The version after `before`, drawn up at `issued` and not before that one, and
    /// as long in force as `before` unless [`expires`](Self::expires) says otherwise.
    #[must_use]
    pub fn after(before: &Roster, issued: UnixSeconds) -> Self {
        Self {
            roster: Roster {
                version: before.version + 1,
                previous: before.hash(),
                issued: issued.max(before.issued),
                ..before.clone()
            },
            before: Some(before.clone()),
        }
    }

    /// Sets when it expires.
    pub fn expires(&mut self, at: UnixSeconds) {
        self.roster.expires = at;
    }

    /// Gives the federation another name.
    pub fn rename(&mut self, name: String) {
        self.roster.name = name;
    }

    /// Lists who handed in `description`: a new member, or one that is listed with
    /// its name, its mirrors and keys that it did not have before. Keys that stand
    /// there already keep their state.
    ///
    /// # Errors
    /// [`RosterError::Proposal`].
    pub fn member(&mut self, description: Description) -> Result<(), RosterError> {
        let Description {
            federation,
            mut member,
        } = description;
        if federation != self.roster.federation {
            return no(format!(
                "{} describes itself for another federation; have it describe itself for this one",
                member.did()
            ));
        }
        let issued = self.roster.issued;
        let did = member.did();
        let Some(listed) = self.roster.members.iter_mut().find(|listed| listed.did() == did) else {
            member.joined = issued;
            self.roster.members.push(member);
            return Ok(());
        };
        if !listed.is_active() {
            return no(format!(
                "{did} was removed, and that is final, since its log is frozen; it can join with another host name"
            ));
        }
        listed.name = member.name;
        listed.mirrors = member.mirrors;
        for key in member.keys {
            if !listed.keys.iter().any(|held| held.key == key.key) {
                listed.keys.push(key);
            }
        }
        Ok(())
    }

    /// Removes a member: its log is frozen at `frozen` entries. Who named it as a
    /// mirror does not any more.
    ///
    /// # Errors
    /// [`RosterError::Proposal`] where it is none.
    pub fn remove(&mut self, did: &str, frozen: u64) -> Result<(), RosterError> {
        let left = self.roster.issued;
        let member = self.active(did)?;
        member.status = MemberStatus::Removed { left, frozen };
        for member in &mut self.roster.members {
            member.mirrors.retain(|mirror| mirror != did);
        }
        Ok(())
    }

    /// Names the members that mirror one.
    ///
    /// # Errors
    /// [`RosterError::Proposal`] where it is none.
    pub fn mirrors(&mut self, did: &str, mirrors: Vec<String>) -> Result<(), RosterError> {
        self.active(did)?.mirrors = mirrors;
        Ok(())
    }

    fn active(&mut self, did: &str) -> Result<&mut Member, RosterError> {
        let listed = self.roster.members.iter_mut().find(|member| member.did() == did);
        match listed {
            Some(member) if member.is_active() => Ok(member),
            Some(_) => no(format!("{did} was removed before")),
            None => no(format!(
                "{did} is no member; `tallystick federation show` lists them"
            )),
        }
    }

    /// Has the key `kid` sign nothing new, and verify until then.
    ///
    /// # Errors
    /// [`RosterError::Proposal`] where no member has one such key.
    pub fn retire(&mut self, kid: KeyId, until: UnixSeconds) -> Result<(), RosterError> {
        self.set_key(kid, |_| Ok(KeyState::VerifyOnly { until }))
    }

    /// Marks the key `kid` as compromised since then; of a key for credentials or
    /// the log the member's log is frozen, for this key, at `frozen` entries.
    ///
    /// # Errors
    /// [`RosterError::Proposal`] where no member has one such key, and where the
    /// size is lacking or of no use.
    pub fn compromised(
        &mut self,
        kid: KeyId,
        since: UnixSeconds,
        frozen: Option<u64>,
    ) -> Result<(), RosterError> {
        self.set_key(kid, |by_size| match (by_size, frozen) {
            (true, None) => no(
                "of a key for credentials or the log, say the size of the log up to which what it signed still counts",
            ),
            (false, Some(_)) => no("a key for witnessing or messages freezes no log: leave its size out"),
            _ => Ok(KeyState::Compromised { since, frozen }),
        })
    }

    fn set_key(
        &mut self,
        kid: KeyId,
        state: impl FnOnce(bool) -> Result<KeyState, RosterError>,
    ) -> Result<(), RosterError> {
        let keys = self.roster.members.iter_mut().flat_map(|member| &mut member.keys);
        let mut keys: Vec<_> = keys.filter(|key| key.key.kid() == kid).collect();
        match keys.as_mut_slice() {
            [key] => {
                key.state = state(key.role.is_frozen_by_size())?;
                Ok(())
            }
            [] => no(format!(
                "no member has a key {kid}; `tallystick federation show` lists them"
            )),
            _ => no(format!("two keys are called {kid}")),
        }
    }

    /// Adds a signer; a former one comes back.
    ///
    /// # Errors
    /// [`RosterError::Proposal`] where the key is a signer's already.
    pub fn add_signer(&mut self, signer: Signer) -> Result<(), RosterError> {
        if self.roster.signers.iter().any(|held| held.key == signer.key) {
            return no(format!("the key of {:?} is a signer's already", signer.name));
        }
        self.roster
            .former_signers
            .retain(|former| former.key != signer.key);
        self.roster.signers.push(signer);
        Ok(())
    }

    /// Takes a signer out, by name or kid; it stays listed as a former one.
    ///
    /// # Errors
    /// [`RosterError::Proposal`] where there is no such signer.
    pub fn drop_signer(&mut self, named: &str) -> Result<(), RosterError> {
        let is_named = |signer: &Signer| signer.name == named || signer.key.kid().to_string() == named;
        let signers = &mut self.roster.signers;
        match signers.iter().position(is_named) {
            Some(at) => {
                let signer = signers.remove(at);
                self.roster.former_signers.push(signer);
                Ok(())
            }
            None => no(format!(
                "there is no signer {named:?}; `tallystick federation show` lists them"
            )),
        }
    }

    /// Sets how many have to sign.
    pub fn threshold(&mut self, need: u64) {
        self.roster.threshold = need;
    }

    /// The version, in keeping with all rules; signatures come afterwards.
    ///
    /// # Errors
    /// [`RosterError`] with the rule that is broken.
    pub fn finish(self) -> Result<Roster, RosterError> {
        let Self { before, mut roster } = self;
        roster.sort();
        rules::check(&roster)?;
        if let Some(before) = &before {
            rules::check_follows(before, &roster)?;
        }
        possession::check_all(&roster, before.as_ref())?;
        Ok(roster)
    }
}
