//! Revoking, suspending, and lifting a suspension.

use std::collections::BTreeSet;

use crate::primitives::CouponName;

use super::event::StatusTarget;
use super::refusal::Refusal;
use super::state::State;

/// What the office sets a coupon to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewStatus {
    /// For good.
    Revoked = 0,
    /// For the time being.
    Suspended = 1,
    /// The suspension is lifted.
    Valid = 2,
}

/// A change of status that the office asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusOrder {
    /// Which coupons.
    pub target: StatusTarget,
    /// What they become.
    pub status: NewStatus,
}

/// What a change of status changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatusDecision {
    /// How many coupons.
    pub changed: u64,
    /// The lists that they are in.
    pub lists: BTreeSet<u32>,
}

impl State {
    /// Decides a change of status: how many coupons change, and in which lists.
    /// `coupons` are those that the target covers today; they are visited once
    /// and not kept, for a campaign may have millions.
    ///
    /// # Errors
    /// [`Refusal::CampaignUnknown`], [`Refusal::TargetUnknown`], or
    /// [`Refusal::RevocationFinal`] where one coupon or a campaign is revoked
    /// for good and something else is asked of it.
    pub fn decide_status(
        &self,
        order: &StatusOrder,
        coupons: impl IntoIterator<Item = CouponName>,
    ) -> Result<StatusDecision, Refusal> {
        let final_already = match order.target {
            StatusTarget::Campaign(id) => self.campaign(&id)?.flags.revoked,
            StatusTarget::Coupon(name) => self.status(name).revoked,
            StatusTarget::Batch(_) => false,
        };
        if final_already && order.status != NewStatus::Revoked {
            return Err(Refusal::RevocationFinal);
        }
        let mut coupons = coupons.into_iter().peekable();
        if coupons.peek().is_none() && !matches!(order.target, StatusTarget::Campaign(_)) {
            return Err(Refusal::TargetUnknown);
        }
        let mut decision = StatusDecision::default();
        let mut last = None;
        for name in coupons {
            let flags = self.status(name);
            if flags.set(order.status) == flags {
                continue;
            }
            decision.changed += 1;
            // Neighbours are mostly of one list.
            if last.replace(name.list) != Some(name.list) {
                decision.lists.insert(name.list);
            }
        }
        Ok(decision)
    }
}
