//! Status lists: what changed is gathered, and a list is signed at most once a
//! second; used-up bits at most every 10 seconds (formats, section 3).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::credential::status_list::{Status, StatusList, Statuses};
use crate::ledger::{Event, StatusFlags, StatusListSigned};
use crate::primitives::{CouponName, UnixSeconds, limits};

use super::find::sha256;
use super::pending::Pending;
use super::writer::Writer;
use super::{Node, NodeError};

/// A signed list as it is served.
#[derive(Debug)]
pub(super) struct SignedList {
    pub token: Vec<u8>,
    pub issued_at: UnixSeconds,
}

/// Which lists have changed, and when each is to be signed again.
#[derive(Debug, Default)]
pub(super) struct Lists {
    due: BTreeMap<u32, UnixSeconds>,
    signed: BTreeMap<u32, UnixSeconds>,
    /// Signed by this process, so that the token is at hand.
    signed_now: BTreeMap<u32, UnixSeconds>,
}

impl Lists {
    /// A coupon of `list` was revoked, suspended or set valid.
    pub fn revoked(&mut self, list: u32, now: UnixSeconds) {
        self.plan(list, now, limits::LIST_SIGN_SECONDS_MIN);
    }

    /// A coupon of `list` was used, or a use was given back.
    pub fn used_up(&mut self, list: u32, now: UnixSeconds) {
        self.plan(list, now, limits::LIST_USED_UP_SECONDS_MIN);
    }

    /// Signs `list` no sooner than `gap` seconds after the last time.
    fn plan(&mut self, list: u32, now: UnixSeconds, gap: u64) {
        let last = self.signed.get(&list).copied();
        let at = last.map_or(now, |last| last.plus(gap).max(now));
        self.due
            .entry(list)
            .and_modify(|due| *due = at.min(*due))
            .or_insert(at);
    }

    /// `list` was last signed at `at`.
    pub fn signed_at(&mut self, list: u32, at: UnixSeconds) {
        self.signed.insert(list, at);
    }

    fn take_due(&mut self, now: UnixSeconds) -> Vec<u32> {
        let due: Vec<u32> = self
            .due
            .iter()
            .filter(|(_, at)| **at <= now)
            .map(|(list, _)| *list)
            .collect();
        for list in &due {
            self.due.remove(list);
        }
        due
    }
}

impl Node {
    /// The newest tokens of the node's own lists that were signed in this run: number,
    /// version, bytes.
    #[must_use]
    pub fn signed_lists(&self) -> Vec<(u32, UnixSeconds, Vec<u8>)> {
        let shared = &self.inner.shared;
        let lists = shared.lists.read().expect("no holder of this lock panics");
        let lists = lists.iter();
        lists
            .map(|(list, signed)| (*list, signed.issued_at, signed.token.clone()))
            .collect()
    }

    /// Changes whenever lists were signed.
    #[must_use]
    pub fn lists_signed(&self) -> tokio::sync::watch::Receiver<u64> {
        self.inner.shared.lists_signed.subscribe()
    }
}

/// Flags of coupons of which there is nothing to say.
const NOTHING_SAID: [u8; 256] = [0; 256];

impl Writer {
    /// Plans to show that nothing is left of a coupon, or something again;
    /// called before the state has it.
    pub(super) fn plan_list(&mut self, name: CouponName, used_up: bool) {
        if self.state.status(name).used_up != used_up {
            self.lists.used_up(name.list, self.now());
        }
    }

    /// Whether `list` is signed and has more than half of its life before it:
    /// of many who ask at once, the first one gets it signed for all.
    pub(super) fn has_fresh_list(&self, list: u32) -> bool {
        let half = self.shared.options.status_list_seconds / 2;
        // What this very batch signs is published before its answers go out.
        let signed = self.lists.signed_now.get(&list);
        signed.is_some_and(|at| self.now() < at.plus(half))
    }

    /// Signs every list that is due and adds its entry to the batch.
    pub(super) fn sign_due_lists(&mut self, pending: &mut Pending) -> Result<(), NodeError> {
        if !self.shared.is_compared.load(Ordering::Acquire) {
            return Ok(());
        }
        let now = self.now();
        for list in self.lists.take_due(now) {
            self.sign_list(list, now, pending)?;
        }
        Ok(())
    }

    /// Signs `list` as it stands: its version is `max(now, last + 1)`.
    pub(super) fn sign_list(
        &mut self,
        list: u32,
        now: UnixSeconds,
        pending: &mut Pending,
    ) -> Result<(), NodeError> {
        let issued = self
            .state
            .next_position
            .0
            .div_ceil(u64::from(limits::STATUS_LIST_LEN));
        if u64::from(list) >= issued {
            return Err(NodeError::NotFound("there is no such status list"));
        }
        self.name_credential_key(pending)?;
        let last = self.state.list_versions.get(&list).copied();
        let issued_at = last.map_or(now, |last| now.max(last.plus(1)));
        let expires = issued_at.plus(self.shared.options.status_list_seconds);
        let mut statuses = Statuses::new();
        let flags = self.state.lists.get(&list).map_or(&[][..], |flags| &flags[..]);
        // Nothing is said of most coupons.
        for (piece, from) in flags
            .chunks(NOTHING_SAID.len())
            .zip((0..).step_by(NOTHING_SAID.len()))
        {
            if *piece == NOTHING_SAID[..piece.len()] {
                continue;
            }
            for (byte, index) in piece.iter().zip(from..).filter(|(byte, _)| **byte != 0) {
                statuses.set(index, status_of(StatusFlags::from_byte(*byte)));
            }
        }
        let token = StatusList {
            uri: self.shared.options.origin.status_uri(list),
            issued_at,
            expires,
            ttl: limits::STATUS_LIST_TTL_SECONDS,
            statuses,
        }
        .sign(&self.shared.keyring.credential, self.shared.options.algorithm);
        let event = Event::StatusListSigned(StatusListSigned {
            list,
            issued_at,
            expires,
            token: sha256(&token),
        });
        self.record(event, None, pending)?;
        self.lists.signed_at(list, issued_at);
        self.lists.signed_now.insert(list, issued_at);
        self.lists.due.remove(&list);
        pending.lists.push((list, token));
        Ok(())
    }

    pub(super) fn publish_lists(&self, pending: &Pending) {
        if pending.lists.is_empty() {
            return;
        }
        let mut lists = self.shared.lists.write().expect("no holder of this lock panics");
        for (list, token) in &pending.lists {
            let issued_at = self.state.list_versions.get(list).copied().unwrap_or_default();
            let signed = SignedList {
                token: token.clone(),
                issued_at,
            };
            lists.insert(*list, Arc::new(signed));
        }
        drop(lists);
        self.shared.lists_signed.send_modify(|times| *times += 1);
    }
}

/// What a list says of a coupon: revoked over suspended over used up over valid.
pub(super) fn status_of(flags: StatusFlags) -> Status {
    match flags {
        StatusFlags { revoked: true, .. } => Status::Revoked,
        StatusFlags { suspended: true, .. } => Status::Suspended,
        StatusFlags { used_up: true, .. } => Status::UsedUp,
        _ => Status::Valid,
    }
}
