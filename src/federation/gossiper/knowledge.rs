//! What redemption learns from gossip.

use std::sync::Arc;

use super::Gossiper;
use crate::credential::{Campaign, Signed};
use crate::federation::gossip::CouponStatus;
use crate::federation::redemption::{Knowledge, Status};
use crate::primitives::{CampaignId, CouponName, UnixSeconds, limits};

impl Knowledge for Gossiper {
    fn status(&self, issuer: &str, name: CouponName, now: UnixSeconds) -> Status {
        match self.view.status(issuer, name.list, name.index, now, None) {
            CouponStatus::Valid => Status::Valid,
            CouponStatus::Revoked => Status::Revoked,
            CouponStatus::Suspended => Status::Suspended,
            CouponStatus::UsedUp => Status::UsedUp,
            CouponStatus::Undetermined(_) => Status::Undetermined,
        }
    }

    fn campaign(&self, issuer: &str, id: &CampaignId) -> Option<Arc<Signed<Campaign>>> {
        let known = Gossiper::campaign(self, id)?;
        (known.author == issuer).then(|| Arc::clone(&known.campaign))
    }

    fn forked(&self, did: &str) -> Option<String> {
        self.fork(did).map(|fork| fork.said.clone())
    }

    fn saw(&self, did: &str, checkpoint: &str) {
        // Under load there are hundreds a second; the newest one stands for them all.
        let mut shown = self.shown.lock().expect("no holder of this lock panics");
        shown.newest.insert(did.to_owned(), checkpoint.to_owned());
    }

    fn saw_other(&self, checkpoint: &str) {
        let mut shown = self.shown.lock().expect("no holder of this lock panics");
        // Those that find no room are seen when the next one is shown.
        if shown.others.len() < limits::GOSSIP_SHOWN_MAX {
            shown.others.push(checkpoint.to_owned());
            self.seen_more.notify_one();
        }
    }
}
