//! Look-ups of what is held durably, from memory: for whoever redeems.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock, RwLock};

use super::evidence::Evidence;
use super::held::Stored;
use super::item::{Content, Name};
use super::machine::Kept;
use crate::credential::status_list::{Status, StatusListToken, Statuses};
use crate::credential::{Campaign, Signed};
use crate::log::ForkEvidence;
use crate::primitives::{CampaignId, UnixSeconds, limits};

/// A campaign that came by gossip: its signature was checked, its key belongs to its
/// author. What the key's signature is worth now, the roster says.
#[derive(Debug)]
pub struct KnownCampaign {
    /// The did of the member that has signed it.
    pub author: String,
    /// The campaign.
    pub campaign: Arc<Signed<Campaign>>,
}

/// What the lists held say of a coupon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CouponStatus {
    /// Nothing against it.
    Valid,
    /// Revoked, for good.
    Revoked,
    /// Suspended.
    Suspended,
    /// All of it was used.
    UsedUp,
    /// It cannot be told, which is neither for nor against the coupon.
    Undetermined(Undetermined),
}

/// Why a status cannot be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Undetermined {
    /// No list of that number came from its issuer.
    #[error("no such status list of its issuer has come yet")]
    NoList,
    /// The list has no such place. The coupon is to be refused.
    #[error("the status list has no such index")]
    OutOfBounds,
    /// The list is not good any more.
    #[error("the newest status list held has expired")]
    Expired,
    /// The list is older than was asked for.
    #[error("the newest status list held is {0} s old")]
    TooOld(u64),
    /// The own clock is behind what others have signed.
    #[error("this node's clock is {0} s behind what other nodes have signed")]
    ClockBehind(u64),
}

#[derive(Debug)]
struct HeldList {
    token: Arc<[u8]>,
    issued_at: UnixSeconds,
    expires: UnixSeconds,
    /// Unpacked when it is first looked into: most lists of a large federation never
    /// are.
    statuses: OnceLock<Option<Statuses>>,
}

/// A fork of a member's log.
#[derive(Clone, Debug)]
pub struct KnownFork {
    /// What convicts it.
    pub evidence: ForkEvidence,
    /// What it shows, in a sentence without its end.
    pub said: String,
}

#[derive(Debug, Default)]
struct Known {
    lists: HashMap<(String, u32), Arc<HeldList>>,
    campaigns: HashMap<CampaignId, Arc<KnownCampaign>>,
    forks: BTreeMap<(String, [u8; 32]), Arc<KnownFork>>,
    newest: UnixSeconds,
}

/// What is known of other members' coupons and logs.
#[derive(Debug, Default)]
pub struct View {
    known: RwLock<Known>,
}

impl View {
    /// Takes in what has become durable.
    ///
    /// # Panics
    /// When a holder of its lock has.
    pub fn keep(&self, kept: &[Kept]) {
        let mut known = self.known.write().expect("no holder of this lock panics");
        for Kept { stored, content } in kept {
            known.keep(stored, content);
        }
    }

    /// Forgets what counts no more.
    ///
    /// # Panics
    /// When a holder of its lock has.
    pub fn forget(&self, gone: &[Stored]) {
        let mut known = self.known.write().expect("no holder of this lock panics");
        for stored in gone {
            match stored.key.name {
                Name::List(list) => {
                    known.lists.remove(&(stored.key.author.clone(), list));
                }
                Name::Campaign(id) => {
                    known.campaigns.remove(&id);
                }
                Name::Fork(key) => {
                    known.forks.remove(&(stored.key.author.clone(), key));
                }
                Name::Only | Name::TwoLists(_) => {}
            }
        }
    }

    /// The campaign with this identity, if its author's node has told of it.
    ///
    /// # Panics
    /// When a holder of its lock has.
    #[must_use]
    pub fn campaign(&self, id: &CampaignId) -> Option<Arc<KnownCampaign>> {
        let known = self.known.read().expect("no holder of this lock panics");
        known.campaigns.get(id).cloned()
    }

    /// What the newest list `list` of the member `issuer` says of `index` at `now`;
    /// with `age_max`, of a list that is at most so many seconds old.
    ///
    /// # Panics
    /// When a holder of its lock has.
    #[must_use]
    pub fn status(
        &self,
        issuer: &str,
        list: u32,
        index: u32,
        now: UnixSeconds,
        age_max: Option<u64>,
    ) -> CouponStatus {
        let (held, newest) = {
            let known = self.known.read().expect("no holder of this lock panics");
            (known.lists.get(&(issuer.to_owned(), list)).cloned(), known.newest)
        };
        let Some(held) = held else {
            return CouponStatus::Undetermined(Undetermined::NoList);
        };
        held.status(index, now, newest, age_max)
    }

    /// What convicts the logs of the member `did`, for each key that has signed two
    /// histories.
    ///
    /// # Panics
    /// When a holder of its lock has.
    #[must_use]
    pub fn forks_of(&self, did: &str) -> Vec<Arc<KnownFork>> {
        let known = self.known.read().expect("no holder of this lock panics");
        let from = (did.to_owned(), [0; 32]);
        let forks = known.forks.range(from..).take_while(|((of, _), _)| of == did);
        forks.map(|(_, fork)| Arc::clone(fork)).collect()
    }

    /// All logs that are convicted, with their members' dids.
    ///
    /// # Panics
    /// When a holder of its lock has.
    #[must_use]
    pub fn forks(&self) -> Vec<(String, Arc<KnownFork>)> {
        let known = self.known.read().expect("no holder of this lock panics");
        let forks = known.forks.iter();
        forks
            .map(|((did, _), fork)| (did.clone(), Arc::clone(fork)))
            .collect()
    }

    /// The age in seconds of the oldest of the newest lists of each member, by did.
    ///
    /// # Panics
    /// When a holder of its lock has.
    #[must_use]
    pub fn list_ages(&self, now: UnixSeconds) -> HashMap<String, u64> {
        let known = self.known.read().expect("no holder of this lock panics");
        let mut ages: HashMap<String, u64> = HashMap::new();
        for ((did, _), list) in &known.lists {
            let age = now.0.saturating_sub(list.issued_at.0);
            let oldest = ages.entry(did.clone()).or_default();
            *oldest = age.max(*oldest);
        }
        ages
    }
}

impl Known {
    fn keep(&mut self, stored: &Stored, content: &Content) {
        let author = stored.key.author.clone();
        match (content, stored.key.name) {
            (Content::StatusList(token), Name::List(list)) => {
                let token = token.list();
                self.newest = self.newest.max(token.issued_at);
                let held = HeldList {
                    token: Arc::clone(&stored.bytes),
                    issued_at: token.issued_at,
                    expires: token.expires,
                    statuses: OnceLock::new(),
                };
                self.lists.insert((author, list), Arc::new(held));
            }
            (Content::Campaign(campaign), Name::Campaign(id)) => {
                let campaign = campaign.as_ref().clone();
                self.campaigns.insert(
                    id,
                    Arc::new(KnownCampaign {
                        author,
                        campaign: Arc::new(campaign),
                    }),
                );
            }
            (Content::Evidence(evidence), Name::Fork(key)) => {
                if let Evidence::Fork { evidence, said } = evidence.as_ref() {
                    let fork = KnownFork {
                        evidence: evidence.clone(),
                        said: said.clone(),
                    };
                    self.forks.insert((author, key), Arc::new(fork));
                }
            }
            _ => {}
        }
    }
}

impl HeldList {
    fn status(
        &self,
        index: u32,
        now: UnixSeconds,
        newest: UnixSeconds,
        age_max: Option<u64>,
    ) -> CouponStatus {
        let undetermined = CouponStatus::Undetermined;
        let behind = newest.0.saturating_sub(now.0);
        if behind > limits::CLOCK_SKEW_SECONDS_MAX {
            return undetermined(Undetermined::ClockBehind(behind));
        }
        let statuses = self.statuses.get_or_init(|| {
            let token = StatusListToken::parse(&self.token).ok()?;
            Some(token.into_list().statuses)
        });
        let Some(status) = statuses.as_ref().and_then(|statuses| statuses.get(index)) else {
            return undetermined(Undetermined::OutOfBounds);
        };
        if now >= self.expires {
            return undetermined(Undetermined::Expired);
        }
        let age = now.0.saturating_sub(self.issued_at.0);
        if age_max.is_some_and(|most| age > most) {
            return undetermined(Undetermined::TooOld(age));
        }
        match status {
            Status::Valid => CouponStatus::Valid,
            Status::Revoked => CouponStatus::Revoked,
            Status::Suspended => CouponStatus::Suspended,
            Status::UsedUp => CouponStatus::UsedUp,
        }
    }
}
