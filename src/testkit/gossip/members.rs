//! Members of simulated federations: up to a thousand, with keys from their numbers.

use std::collections::HashMap;
use std::sync::Arc;

use crate::credential::SecretKey;
use crate::federation::roster::{Description, Directory, Role};
use crate::primitives::{Origin, UnixSeconds};
use crate::testkit::roster::{FEDERATION, after, founded};

/// A member.
#[derive(Clone, Debug)]
pub struct Member {
    number: u32,
    /// Its did.
    pub did: String,
    /// Its base URL.
    pub origin: Origin,
}

/// A federation's members and its roster, version after version.
#[derive(Clone, Debug)]
pub struct SimFederation {
    /// The members, by the order of their nodes.
    pub members: Vec<Member>,
    /// Who of them has ever lied, so that what it signed is nobody's word.
    pub liar: Option<usize>,
    versions: Vec<Arc<Directory>>,
    places: HashMap<String, usize>,
}

impl Member {
    fn new(number: u32) -> Self {
        let origin = Origin::parse(&format!("https://coop-{number}.example")).expect("a valid origin");
        Self {
            number,
            did: origin.did_web(),
            origin,
        }
    }

    /// Its key for a role.
    #[must_use]
    pub fn key(&self, role: Role) -> SecretKey {
        let mut seed = [0x51; 32];
        seed[..4].copy_from_slice(&self.number.to_be_bytes());
        seed[4] = role.number();
        SecretKey::from_seed(&seed)
    }

    /// Its key for messages.
    #[must_use]
    pub fn messages(&self) -> SecretKey {
        self.key(Role::Messages)
    }

    /// Its key for credentials.
    #[must_use]
    pub fn credentials(&self) -> SecretKey {
        self.key(Role::Credentials)
    }

    fn description(&self) -> Description {
        let keys = Role::ALL.map(|role| (role, self.key(role)));
        let keys = keys.iter().map(|(role, key)| (*role, key));
        let name = format!("Co-op {}", self.number);
        Description::new(FEDERATION, name, self.origin.clone(), keys, Vec::new())
    }
}

impl SimFederation {
    /// A federation of so many members; their roster counts as version 1 here.
    ///
    /// # Panics
    /// With more than a thousand.
    #[must_use]
    pub fn new(members: usize) -> Self {
        let members: Vec<_> = (0..u32::try_from(members).expect("at most a thousand"))
            .map(Member::new)
            .collect();
        let mut first = after(&founded(&[1], 1), |draft| {
            for member in &members {
                draft.member(member.description()).expect("a new member");
            }
        });
        first.version = 1;
        let places = members.iter().map(|member| member.did.clone()).zip(0..);
        Self {
            places: places.collect(),
            members,
            liar: None,
            versions: vec![Arc::new(Directory::new(first))],
        }
    }

    /// The first version.
    ///
    /// # Panics
    /// Never: there is one.
    #[must_use]
    pub fn first(&self) -> &Arc<Directory> {
        self.version(1)
    }

    /// A version, from 1 on.
    ///
    /// # Panics
    /// When there is no such version.
    #[must_use]
    pub fn version(&self, number: u64) -> &Arc<Directory> {
        &self.versions[usize::try_from(number - 1).expect("a few versions")]
    }

    /// The node of a member.
    #[must_use]
    pub fn place(&self, did: &str) -> Option<usize> {
        self.places.get(did).copied()
    }

    /// Draws up the next version, without this member.
    ///
    /// # Panics
    /// When it is none.
    pub fn remove(&mut self, member: usize) -> u64 {
        let before = self.versions.last().expect("a version").roster().clone();
        let did = &self.members[member].did;
        let next = after(&before, |draft| {
            draft.remove(did, 10).expect("a member");
            draft.expires(UnixSeconds(before.expires.0 + 1));
        });
        let version = next.version;
        self.versions.push(Arc::new(Directory::new(next)));
        version
    }
}
