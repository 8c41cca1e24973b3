//! Replaying coupons in a node's directory: campaigns are signed first, then
//! each coupon is issued and redeemed at its own time.

use std::collections::HashSet;
use std::future::Future;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::replay::{Plan, Use};
use super::target::{Failure, pause};
use crate::ledger::{Basket, BatchOrder, CampaignDraft, Refusal};
use crate::node::{Caller, EntryRef, IssuedCoupon, Node, NodeError, RedemptionRequest, Scope};
use crate::primitives::{Amount, CampaignId, Currency, Digest, Register, limits};

/// The campaigns of a replay, by their place in the data.
pub struct Signed {
    /// What each is called, or why it cannot be used.
    ids: Vec<Result<CampaignId, String>>,
    /// Campaigns that were signed now.
    pub issued: u64,
    /// Campaigns that an earlier import signed.
    pub repeated: u64,
    currency: Currency,
}

/// Signs the campaigns, each once.
///
/// # Errors
/// When the node fails. A campaign that it refuses is known by the refusal of
/// its redemptions.
pub async fn sign(node: &Node, plans: &[Plan], currency: Currency) -> anyhow::Result<Signed> {
    let before: HashSet<CampaignId> = node.campaigns().iter().map(|campaign| campaign.id).collect();
    let mut signed = Signed {
        ids: Vec::new(),
        issued: 0,
        repeated: 0,
        currency,
    };
    for plan in plans {
        let caller = caller(&format!("campaign/{}", plan.number), &campaign_parts(&plan.draft));
        let made = patiently(|| node.sign_campaign(&caller, plan.draft.clone())).await;
        signed.ids.push(match made {
            Ok(made) if before.contains(&made.id) => {
                signed.repeated += 1;
                Ok(made.id)
            }
            Ok(made) => {
                signed.issued += 1;
                Ok(made.id)
            }
            Err(NodeError::Refused(Refusal::KeyReused)) => Err(format!(
                "campaign {} was imported before with other dates: the export or its time zone has changed",
                plan.number
            )),
            Err(NodeError::Refused(refusal)) => Err(format!("campaign {}: {refusal}", plan.number)),
            Err(error) => return Err(error.into()),
        });
    }
    Ok(signed)
}

impl Signed {
    /// Issues the coupon of `used`, a batch of one, at its time.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn issue(&self, node: &Node, used: &Use) -> Result<IssuedCoupon, Failure> {
        let campaign = self.campaign(used)?;
        let order = BatchOrder {
            campaign,
            count: 1,
            amount: Some(used.value).filter(|value| *value > Amount::ZERO),
            not_before: None,
            not_after: None,
        };
        let caller = caller(
            &format!("coupon/{}", used.name),
            &redemption_parts(campaign, used),
        );
        let issued = patiently(|| node.issue_coupons_at(&caller, order.clone(), used.at)).await;
        let mut issued = issued.map_err(|error| failure(error, used))?;
        Ok(issued.coupons.swap_remove(0))
    }

    /// Redeems the coupon of `used` at its time, behind what was given to the
    /// node before.
    pub fn redeem(
        &self,
        node: &Node,
        used: &Use,
        coupon: IssuedCoupon,
    ) -> Result<impl Future<Output = Result<EntryRef, NodeError>> + Send + use<>, Failure> {
        let request = RedemptionRequest {
            coupon: coupon.credential,
            register: Register::new(used.register.clone())
                .map_err(|error| Failure::Refused(error.to_string()))?,
            till_reference: used.name.clone(),
            basket: Basket {
                total: used.basket.unwrap_or(Amount::ZERO),
                currency: self.currency,
            },
            amount: Some(used.value),
        };
        let parts = redemption_parts(self.campaign(used)?, used);
        let caller = caller(&format!("redemption/{}", used.name), &parts);
        let waiting = node.enqueue_redemption(&caller, request, used.at);
        waiting.map_err(|error| failure(error, used))
    }

    fn campaign(&self, used: &Use) -> Result<CampaignId, Failure> {
        self.ids[used.campaign].clone().map_err(Failure::Refused)
    }
}

/// What a coupon's failure means for the import.
pub fn failure(error: NodeError, used: &Use) -> Failure {
    match error {
        NodeError::Refused(Refusal::KeyReused) => Failure::Refused(format!(
            "the redemption {:?} was imported before with other content: the export or its time zone has changed",
            used.name
        )),
        NodeError::Refused(refusal) => Failure::Refused(refusal.to_string()),
        error => Failure::Fatal(error.into()),
    }
}

/// Calls again while the node is busy.
async fn patiently<T, F>(mut call: impl FnMut() -> F) -> Result<T, NodeError>
where
    F: Future<Output = Result<T, NodeError>>,
{
    let mut attempt = 0;
    loop {
        match call().await {
            Err(NodeError::Busy | NodeError::InProgress) if attempt + 1 < limits::IMPORT_ATTEMPTS_MAX => {
                attempt += 1;
                let pause: Duration = pause(attempt);
                tokio::time::sleep(pause).await;
            }
            answer => return answer,
        }
    }
}

/// Importing is office work. What is asked is told apart by `parts`.
fn caller(name: &str, parts: &[Vec<u8>]) -> Caller {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    Caller {
        scope: Scope::Office,
        idempotency_key: format!("import/complete-journey/{name}"),
        request: Digest(hasher.finalize().into()),
    }
}

fn campaign_parts(draft: &CampaignDraft) -> [Vec<u8>; 4] {
    [
        draft.terms.name.clone().into_bytes(),
        draft.terms.text.clone().into_bytes(),
        draft.not_before.0.to_be_bytes().to_vec(),
        draft.not_after.0.to_be_bytes().to_vec(),
    ]
}

fn redemption_parts(campaign: CampaignId, used: &Use) -> [Vec<u8>; 5] {
    let amount =
        |amount: Option<Amount>| amount.map_or(Vec::new(), |a| a.minor_units().to_be_bytes().to_vec());
    [
        campaign.0.to_vec(),
        used.register.clone().into_bytes(),
        used.at.0.to_be_bytes().to_vec(),
        amount(used.basket),
        amount(Some(used.value)),
    ]
}
