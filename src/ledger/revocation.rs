//! Revoking, suspending, and lifting a suspension.

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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusOrder {
    /// Which coupons.
    pub target: StatusTarget,
    /// What they become.
    pub status: NewStatus,
    /// The coupons that `target` covers today.
    pub coupons: Vec<CouponName>,
}

impl State {
    /// Decides a change of status: how many of the coupons change.
    ///
    /// # Errors
    /// [`Refusal::CampaignUnknown`], [`Refusal::TargetUnknown`], or
    /// [`Refusal::RevocationFinal`] where one coupon or a campaign is revoked
    /// for good and something else is asked of it.
    pub fn decide_status(&self, order: &StatusOrder) -> Result<u64, Refusal> {
        let final_already = match order.target {
            StatusTarget::Campaign(id) => self.campaign(&id)?.flags.revoked,
            StatusTarget::Coupon(name) => self.status(name).revoked,
            StatusTarget::Batch(_) => false,
        };
        if final_already && order.status != NewStatus::Revoked {
            return Err(Refusal::RevocationFinal);
        }
        if order.coupons.is_empty() && !matches!(order.target, StatusTarget::Campaign(_)) {
            return Err(Refusal::TargetUnknown);
        }
        let changes = |name: &&CouponName| {
            let flags = self.status(**name);
            flags.set(order.status) != flags
        };
        Ok(order.coupons.iter().filter(changes).count() as u64)
    }
}
