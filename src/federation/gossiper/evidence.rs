//! Evidence that a node holds, for whoever has to decide what comes of it.

use crate::federation::gossip::evidence::check;
use crate::federation::gossip::{Content, Evidence, Held, ItemKey, Kind, Name};
use crate::federation::roster::Directory;
use crate::primitives::{UnixSeconds, limits};

/// What evidence is asked for: all of it, or what meets each of these.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WhichEvidence {
    /// Against this member, by its did.
    pub member: Option<String>,
    /// Of forks alone (`true`), or of two status lists alone (`false`).
    pub forks: Option<bool>,
    /// Of two status lists of this number alone.
    pub list: Option<u32>,
    /// So many that meet the rest are passed over.
    pub from: usize,
}

impl WhichEvidence {
    fn is_met_by(&self, key: &ItemKey) -> bool {
        let is_fork = matches!(key.name, Name::Fork(_));
        self.member.as_ref().is_none_or(|member| key.author == *member)
            && self.forks.is_none_or(|forks| is_fork == forks)
            && self.list.is_none_or(|list| key.name == Name::TwoLists(list))
    }

    /// The part of what is held that is shown at once: by member, a fork before lists, and
    /// these by number.
    pub(super) fn read(&self, held: &Held, directory: &Directory) -> SomeEvidence {
        let of_kind = held.of_kind(Kind::Evidence).map(|(_, stored)| stored);
        let mut met: Vec<_> = of_kind.filter(|stored| self.is_met_by(&stored.key)).collect();
        met.sort_by(|one, other| one.key.cmp(&other.key));
        let part = met.iter().skip(self.from).take(limits::EVIDENCE_SHOWN_MAX);
        SomeEvidence {
            shown: part
                .filter_map(|stored| HeldEvidence::read(&stored.bytes, directory))
                .collect(),
            total: met.len(),
        }
    }
}

/// A part of the evidence that is held.
#[derive(Clone, Debug, Default)]
pub struct SomeEvidence {
    /// At most [`limits::EVIDENCE_SHOWN_MAX`] pieces.
    pub shown: Vec<HeldEvidence>,
    /// How many there are of what was asked for, those that were passed over included.
    pub total: usize,
}

/// A piece of evidence against a member.
#[derive(Clone, Debug)]
pub struct HeldEvidence {
    /// `did:web` of the member whom it convicts.
    pub member: String,
    /// What was proven.
    pub evidence: Evidence,
    /// Of a fork what convicts the log (schemas/fork-evidence.cddl); of two lists the
    /// evidence as it travels (schemas/gossip.cddl).
    pub bytes: Vec<u8>,
    /// Whether this node takes no new redemption of the member's coupons for it.
    pub stops_redemptions: bool,
}

impl HeldEvidence {
    fn read(bytes: &[u8], directory: &Directory) -> Option<Self> {
        let item = check(bytes, directory).ok()?;
        let Content::Evidence(evidence) = item.content else {
            return None;
        };
        let bytes = match evidence.as_ref() {
            Evidence::Fork { evidence, .. } => evidence.encode(),
            Evidence::TwoLists { .. } => item.bytes,
        };
        Some(Self {
            member: item.key.author,
            evidence: *evidence,
            bytes,
            stops_redemptions: false,
        })
    }

    pub(super) fn is_fork(&self) -> bool {
        matches!(self.evidence, Evidence::Fork { .. })
    }

    /// What the member has done, in a sentence without its end.
    #[must_use]
    pub fn said(&self) -> String {
        match &self.evidence {
            Evidence::Fork { said, .. } => said.clone(),
            Evidence::TwoLists { list, version } => format!(
                "two status lists {list} that say different things were signed as of {}",
                UnixSeconds(*version).rfc3339()
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credential::status_list::{Status, StatusList, Statuses};
    use crate::credential::{Algorithm, ListEvidence};
    use crate::federation::gossip::evidence::of_fork;
    use crate::federation::roster::Role;
    use crate::log::{Checkpoint, ForkEvidence, KeyKind, VerifierKey};
    use crate::primitives::Digest;
    use crate::testkit::gossip::{Member, SimFederation};
    use crate::testkit::roster::ISSUED;

    fn two_lists(member: &Member, list: u32) -> Vec<u8> {
        let token = |index| {
            let mut statuses = Statuses::from_packed(vec![0; 2]).unwrap();
            statuses.set(index, Status::Revoked);
            let list = StatusList {
                uri: member.origin.status_uri(list),
                issued_at: ISSUED,
                expires: ISSUED.plus(60),
                ttl: 60,
                statuses,
            };
            list.sign(&member.credentials(), Algorithm::EdDsa)
        };
        ListEvidence::of(&token(1), &token(2))
    }

    fn fork(member: &Member) -> Vec<u8> {
        let (name, log) = (member.origin.authority(), member.key(Role::Log));
        let key = VerifierKey::of(name, KeyKind::Ed25519, log.public()).unwrap();
        let [one, other] = [1, 2].map(|root| {
            let checkpoint = Checkpoint::new(name, 5, Digest([root; 32]));
            checkpoint
                .sign(&key, |bytes| log.sign(bytes))
                .unwrap()
                .to_string()
        });
        let fork = ForkEvidence::new(&key, one.as_bytes(), other.as_bytes(), None).unwrap();
        of_fork(&fork).unwrap()
    }

    #[test]
    fn what_is_asked_for_is_shown_in_its_order_and_counted_whole() {
        const LISTS: u32 = 70;
        let federation = SimFederation::new(3);
        let directory = federation.first();
        let [_, one, other] = &federation.members[..] else {
            panic!("three members")
        };
        let mut held = Held::default();
        let lists = (0..LISTS).rev().map(|list| two_lists(one, list));
        for bytes in lists.chain([fork(other), two_lists(other, 7), fork(one)]) {
            held.take(check(&bytes, directory).unwrap(), &[]).unwrap();
        }
        let read = |which: WhichEvidence| {
            let some = which.read(&held, directory);
            let place = |held: &HeldEvidence| {
                let list = match held.evidence {
                    Evidence::Fork { .. } => None,
                    Evidence::TwoLists { list, .. } => Some(list),
                };
                (held.member == one.did, list)
            };
            (some.total, some.shown.iter().map(place).collect::<Vec<_>>())
        };
        let which = WhichEvidence::default;
        let all = [None]
            .into_iter()
            .chain((0..LISTS).map(Some))
            .map(|list| (true, list));
        let all: Vec<_> = all.chain([(false, None), (false, Some(7))]).collect();
        let parts = [
            (0, 0..64),
            (64, 64..73),
            (72, 72..73),
            (73, 73..73),
            (usize::MAX, 73..73),
        ];
        for (from, part) in parts {
            let shown = read(WhichEvidence { from, ..which() });
            assert_eq!(shown, (73, all[part].to_vec()), "from {from}");
        }
        let member = Some(other.did.clone());
        let of_other = read(WhichEvidence {
            member: member.clone(),
            ..which()
        });
        assert_eq!(of_other, (2, vec![(false, None), (false, Some(7))]));
        let forks = read(WhichEvidence {
            forks: Some(true),
            ..which()
        });
        assert_eq!(forks, (2, vec![(true, None), (false, None)]));
        let seventh = read(WhichEvidence {
            list: Some(7),
            ..which()
        });
        assert_eq!(seventh, (2, vec![(true, Some(7)), (false, Some(7))]));
        let lists = read(WhichEvidence {
            forks: Some(false),
            from: 70,
            ..which()
        });
        assert_eq!(lists, (71, vec![(false, Some(7))]));
        for none in [
            WhichEvidence {
                member: Some("did:web:elsewhere".to_owned()),
                ..which()
            },
            WhichEvidence {
                list: Some(LISTS),
                ..which()
            },
            WhichEvidence {
                forks: Some(true),
                list: Some(7),
                ..which()
            },
        ] {
            assert_eq!(read(none), (0, Vec::new()));
        }
        assert_eq!(
            read(WhichEvidence {
                member,
                list: Some(7),
                ..which()
            })
            .0,
            1
        );
    }
}
