//! Revocations, suspensions and status lists. Which coupons a batch's or a
//! campaign's change covers is told by position; their names need the node's
//! secret, so only coupons that the log names are followed one by one.

use crate::ledger::{NewStatus, Recorded, StatusFlags, StatusListSigned, StatusSet, StatusTarget};
use crate::primitives::{CouponName, limits};

use super::books::Books;
use super::finding::{Findings, Rule};
use super::saved::keep;

/// Changes of status of one coupon, batch or campaign: the latest of each kind.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Changes {
    revoked: Option<u64>,
    suspended: Option<(u64, bool)>,
}

keep!(Changes { revoked, suspended });

impl Changes {
    pub fn note(&mut self, index: u64, status: NewStatus) {
        match status {
            NewStatus::Revoked => self.revoked = Some(index),
            NewStatus::Suspended => self.suspended = Some((index, true)),
            NewStatus::Valid => self.suspended = Some((index, false)),
        }
    }

    pub fn latest(&self) -> Option<u64> {
        self.revoked.max(self.suspended.map(|(index, _)| index))
    }
}

impl Books {
    /// What the log's changes of status make of a coupon; used up is not in it.
    pub fn flags(&self, name: CouponName, batch: u64) -> StatusFlags {
        let named = self.named.get(&name).copied().unwrap_or_default();
        let of_batch = self.of_batches.get(&batch).copied().unwrap_or_default();
        let campaign = self.batches.get(&batch).map(|batch| batch.campaign);
        let of_campaign = campaign.and_then(|id| self.of_campaigns.get(&id)).copied();
        // A campaign's status goes to the coupons that are there, and to those
        // of a batch that was still being signed.
        let of_campaign = of_campaign.unwrap_or_default();
        let all = [named, of_batch, of_campaign];
        StatusFlags {
            revoked: all.iter().any(|changes| changes.revoked.is_some()),
            suspended: all
                .iter()
                .filter_map(|changes| changes.suspended)
                .max()
                .is_some_and(|(_, suspended)| suspended),
            used_up: false,
        }
    }

    /// A redeemed coupon's byte in a row of statuses, and the index of the
    /// latest entry that can have changed it.
    pub fn status_byte(&self, name: CouponName) -> Option<(u8, u64)> {
        let coupon = self.coupons.get(&name)?;
        let flags = StatusFlags {
            used_up: coupon.used_up,
            ..self.flags(name, coupon.batch)
        };
        let named = self.named.get(&name).and_then(Changes::latest);
        let latest = [named, self.latest_wide_change()].into_iter().flatten().max();
        Some((flags.to_byte(), coupon.touched.max(latest.unwrap_or(0))))
    }

    /// Index of the latest change of status of a whole batch or campaign.
    pub fn latest_wide_change(&self) -> Option<u64> {
        let batches = self.of_batches.values().filter_map(Changes::latest).max();
        let campaigns = self.of_campaigns.values().filter_map(Changes::latest).max();
        batches.max(campaigns).max(self.closed_batch)
    }

    pub fn status(&mut self, recorded: &Recorded, set: &StatusSet, findings: &mut Findings) {
        let index = recorded.index;
        let covered = match self.covered(set) {
            Ok(covered) => covered,
            Err(why) => {
                if self.whole {
                    findings.at(index, Rule::StatusTarget, why);
                }
                u64::MAX
            }
        };
        let exact = self.changed_exactly(set, covered);
        if set.changed > covered || exact.is_some_and(|exact| self.whole && exact != set.changed) {
            findings.at(
                index,
                Rule::StatusCount,
                format!(
                    "it says that {} coupons changed; {} did",
                    set.changed,
                    exact.map_or(format!("at most {covered}"), |exact| exact.to_string())
                ),
            );
        }
        self.status_changes += 1;
        let changes = match set.target {
            StatusTarget::Coupon(name) => self.named.entry(name).or_default(),
            StatusTarget::Batch(entry) => self.of_batches.entry(entry).or_default(),
            StatusTarget::Campaign(id) => {
                self.flags_changed.insert(id, index);
                self.of_campaigns.entry(id).or_default()
            }
        };
        changes.note(index, set.status);
        self.state.apply(recorded, None);
    }

    /// How many coupons the target covers; why it cannot be one.
    fn covered(&self, set: &StatusSet) -> Result<u64, String> {
        let taken_back = "it takes back a revocation, which is for good";
        match set.target {
            StatusTarget::Coupon(name) => {
                let revoked = match self.coupons.get(&name) {
                    Some(coupon) => self.flags(name, coupon.batch).revoked,
                    None => self
                        .named
                        .get(&name)
                        .is_some_and(|changes| changes.revoked.is_some()),
                };
                let lists = self
                    .state
                    .next_position
                    .0
                    .div_ceil(u64::from(limits::STATUS_LIST_LEN));
                if u64::from(name.list) >= lists {
                    return Err(format!(
                        "coupon {name} was never issued: there is no list of that number"
                    ));
                }
                if revoked && set.status != NewStatus::Revoked {
                    return Err(format!("coupon {name}: {taken_back}"));
                }
                Ok(1)
            }
            StatusTarget::Batch(entry) => match self.batches.get(&entry) {
                Some(batch) => Ok(u64::from(batch.count)),
                None => Err(format!("entry {entry} is no earlier batch's entry")),
            },
            StatusTarget::Campaign(id) => match self.state.campaigns.get(&id) {
                Some(campaign) if campaign.flags.revoked && set.status != NewStatus::Revoked => {
                    Err(format!("campaign {id}: {taken_back}"))
                }
                Some(campaign) => Ok(campaign.issued),
                None => Err(format!("no earlier entry signs the campaign {id}")),
            },
        }
    }

    /// How many coupons change, where that can be told without the secret that
    /// turns positions into names.
    fn changed_exactly(&self, set: &StatusSet, covered: u64) -> Option<u64> {
        if covered == u64::MAX {
            return None;
        }
        if self.status_changes == 0 {
            return Some(if set.status == NewStatus::Valid {
                0
            } else {
                covered
            });
        }
        let StatusTarget::Coupon(name) = set.target else {
            return None;
        };
        let flags = match self.coupons.get(&name) {
            Some(coupon) => self.flags(name, coupon.batch),
            None if self.of_batches.is_empty() && self.of_campaigns.is_empty() => self.flags(name, u64::MAX),
            None => return None,
        };
        Some(u64::from(flags.set(set.status) != flags))
    }

    pub fn list(&mut self, recorded: &Recorded, signed: &StatusListSigned, findings: &mut Findings) {
        let index = recorded.index;
        let list = signed.list;
        let mut note = |why: String| findings.at(index, Rule::StatusList, why);
        if let Some((last, entry)) = self.lists.get(&list)
            && signed.issued_at <= *last
        {
            note(format!(
                "status list {list} has the version {}, entry {entry} had {last} already",
                signed.issued_at
            ));
        }
        if signed.expires <= signed.issued_at {
            note(format!("status list {list} expires before it is issued"));
        }
        if signed.issued_at.distance(recorded.time) > limits::CLOCK_SKEW_SECONDS_MAX {
            note(format!(
                "status list {list} says that it was issued {} seconds away from its entry's time",
                signed.issued_at.distance(recorded.time)
            ));
        }
        self.lists.insert(list, (signed.issued_at, index));
        self.state.apply(recorded, None);
    }
}
