//! Coupons of a key that was stolen: the issuer is asked for their place in its log,
//! and what it shows is verified, before anything is begun.

use std::sync::Arc;

use super::answers;
use super::desk::Failure;
use super::frozen::{self, Shown};
use super::redeemer::{LookedAt, RedeemError, Redeemer};
use crate::federation::roster::{Directory, Member, Standing};

impl Redeemer {
    /// Makes sure that a coupon whose key is compromised was issued with a batch among
    /// the first entries of its issuer's log that still count (protocol, section 5).
    /// A coupon of any other key passes, and nobody is asked.
    ///
    /// # Errors
    /// [`RedeemError::IssuerNotGood`] where that is not proven;
    /// [`RedeemError::IssuerNotAsked`] while the issuer does not answer.
    pub(super) async fn prove_issued(
        self: &Arc<Self>,
        directory: &Directory,
        member: &Member,
        looked: &LookedAt,
    ) -> Result<(), RedeemError> {
        let Some(frozen) = looked.frozen else {
            return Ok(());
        };
        let proving = self.prove_before(directory, member, looked, frozen);
        match tokio::time::timeout(self.waits, proving).await {
            Ok(proven) => proven,
            Err(_) => Err(self.not_asked(looked, "it takes too long to answer")),
        }
    }

    async fn prove_before(
        self: &Arc<Self>,
        directory: &Directory,
        member: &Member,
        looked: &LookedAt,
        frozen: u64,
    ) -> Result<(), RedeemError> {
        let issuer = &looked.issuer;
        let keys = answers::log_keys(directory, member, self.node.now());
        let desk = self.desk(issuer);
        let named = desk.named(self, member, &keys);
        let asked = self.asker.coupon(issuer, looked.name, named.size).await;
        let path = asked.map_err(|error| self.not_asked(looked, &error.to_string()))?;
        let path = path.ok_or_else(|| stolen(issuer, "it has issued no coupon of this name"))?;
        let verified = desk.log_of(self, member, (&path.log, None), &keys, &named).await;
        let log = verified.map_err(|failure| match failure {
            Failure::Answer(error) => stolen(issuer, &error.to_string()),
            failure => self.not_asked(looked, &failure.to_string()),
        })?;
        let shown = Shown {
            tag: looked.tag,
            name: looked.name,
            campaign: looked.coupon.campaign,
            kid: looked.kid,
        };
        frozen::verify(&path, &shown, frozen, &log.tree()).map_err(|error| stolen(issuer, &error.to_string()))
    }

    fn not_asked(&self, looked: &LookedAt, why: &str) -> RedeemError {
        RedeemError::IssuerNotAsked {
            issuer: looked.issuer.clone(),
            why: why.to_owned(),
        }
    }
}

/// Whether the issuer's key counts: of one that was stolen up to which entry of its log.
pub(super) fn check_issuer(member: &Member, standing: Standing) -> Result<Option<u64>, RedeemError> {
    let did = member.did();
    match standing {
        _ if !member.is_active() => Err(RedeemError::IssuerNotGood(format!(
            "{did}, which issued this coupon, was removed from the federation: nobody counts its coupons for it any more"
        ))),
        Standing::Good => Ok(None),
        Standing::Frozen { size } => Ok(Some(size)),
        Standing::Void => Err(RedeemError::IssuerNotGood(format!(
            "the key of {did} that signed this coupon is retired: the co-op has to issue it anew"
        ))),
    }
}

fn stolen(issuer: &str, why: &str) -> RedeemError {
    RedeemError::IssuerNotGood(format!(
        "the key of {issuer} that signed this coupon was stolen, and it is not proven that the coupon was issued before: \
         {why}"
    ))
}
