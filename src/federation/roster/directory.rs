//! A version in force, with the look-ups that redemption, gossip and witnessing
//! need.

use std::collections::HashMap;

use super::body::{KeyState, Member, MemberKey, MemberStatus, Role, Roster};
use crate::primitives::{Digest, KeyId, Origin, UnixSeconds};

/// A roster with what it is searched by.
#[derive(Clone, Debug)]
pub struct Directory {
    roster: Roster,
    hash: Digest,
    by_did: HashMap<String, usize>,
    by_origin: HashMap<String, usize>,
    by_kid: HashMap<KeyId, Vec<(usize, usize)>>,
}

/// A listed key, and whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownAs<'a> {
    /// Whose.
    pub member: &'a Member,
    /// The key.
    pub key: &'a MemberKey,
}

/// What a key's signature is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// As much as any.
    Good,
    /// Its member was removed, or the key compromised: a coupon counts if an
    /// inclusion proof shows its batch's entry below this size of the member's log
    /// (dates inside a credential prove nothing then).
    Frozen {
        /// The size, in entries.
        size: u64,
    },
    /// Nothing.
    Void,
}

impl KnownAs<'_> {
    /// What a signature of this key is worth at `now`.
    #[must_use]
    pub fn standing(&self, now: UnixSeconds) -> Standing {
        let by_size = self.key.role.is_frozen_by_size();
        let of_key = match self.key.state {
            KeyState::Active => Standing::Good,
            KeyState::VerifyOnly { until } if now < until => Standing::Good,
            KeyState::VerifyOnly { .. } => Standing::Void,
            KeyState::Compromised { frozen, .. } => {
                frozen.map_or(Standing::Void, |size| Standing::Frozen { size })
            }
        };
        match (self.member.status, of_key) {
            (MemberStatus::Active, standing) => standing,
            (MemberStatus::Removed { .. }, Standing::Void) => Standing::Void,
            (MemberStatus::Removed { .. }, _) if !by_size => Standing::Void,
            (MemberStatus::Removed { frozen, .. }, Standing::Good) => Standing::Frozen { size: frozen },
            (MemberStatus::Removed { frozen, .. }, Standing::Frozen { size }) => Standing::Frozen {
                size: size.min(frozen),
            },
        }
    }

    /// Whether it may sign something new.
    #[must_use]
    pub fn signs(&self) -> bool {
        self.member.is_active() && self.key.state == KeyState::Active
    }
}

impl Directory {
    /// Prepares the look-ups of `roster`.
    #[must_use]
    pub fn new(roster: Roster) -> Self {
        let hash = roster.hash();
        let mut by_kid: HashMap<_, Vec<_>> = HashMap::new();
        for (at, member) in roster.members.iter().enumerate() {
            for (key_at, key) in member.keys.iter().enumerate() {
                by_kid.entry(key.key.kid()).or_default().push((at, key_at));
            }
        }
        let members = || roster.members.iter().enumerate();
        Self {
            by_did: members().map(|(at, member)| (member.did(), at)).collect(),
            by_origin: members()
                .map(|(at, member)| (member.log_origin().to_owned(), at))
                .collect(),
            by_kid,
            hash,
            roster,
        }
    }

    /// The roster.
    #[must_use]
    pub fn roster(&self) -> &Roster {
        &self.roster
    }

    /// Its identity.
    #[must_use]
    pub fn hash(&self) -> Digest {
        self.hash
    }

    /// The member with this did, removed or not.
    #[must_use]
    pub fn by_did(&self, did: &str) -> Option<&Member> {
        self.at(self.by_did.get(did))
    }

    /// The member with this base URL, removed or not.
    #[must_use]
    pub fn by_base_url(&self, base_url: &Origin) -> Option<&Member> {
        let member = self.by_log_origin(base_url.authority())?;
        (member.base_url == *base_url).then_some(member)
    }

    /// The member whose log has this origin, removed or not.
    #[must_use]
    pub fn by_log_origin(&self, origin: &str) -> Option<&Member> {
        self.at(self.by_origin.get(origin))
    }

    /// All keys that were ever listed with this kid: try them all.
    pub fn by_kid(&self, kid: KeyId) -> impl Iterator<Item = KnownAs<'_>> {
        let places = self.by_kid.get(&kid).into_iter().flatten();
        places.map(|(at, key)| {
            let member = &self.roster.members[*at];
            let key = &member.keys[*key];
            KnownAs { member, key }
        })
    }

    /// The keys of `member` whose signatures are good at `now`, for `role`.
    pub fn keys<'a>(
        &self,
        member: &'a Member,
        role: Role,
        now: UnixSeconds,
    ) -> impl Iterator<Item = &'a MemberKey> {
        let known = member.keys.iter().map(move |key| KnownAs { member, key });
        known
            .filter(move |known| known.key.role == role && known.standing(now) == Standing::Good)
            .map(|known| known.key)
    }

    /// Who are members now.
    pub fn active(&self) -> impl Iterator<Item = &Member> {
        self.roster.members.iter().filter(|member| member.is_active())
    }

    fn at(&self, place: Option<&usize>) -> Option<&Member> {
        place.map(|at| &self.roster.members[*at])
    }
}
