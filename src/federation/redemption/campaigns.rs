//! The terms of other co-ops' campaigns: verified once, held in memory, fetched from
//! their author where gossip has not brought them.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use data_encoding::BASE64URL_NOPAD;

use crate::credential::{Campaign, Signed};
use crate::federation::peers::{PeerError, Peers};
use crate::federation::roster::{Directory, Member, Role, Standing};
use crate::primitives::{CampaignId, UnixSeconds, limits};

/// A campaign whose author is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartnerCampaign {
    /// `did:web` of the co-op that signed it.
    pub author: String,
    /// What it says.
    pub campaign: Campaign,
}

/// Why a campaign is not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CampaignError {
    /// Its author could not be asked.
    #[error("the campaign's terms are not known here, and its co-op could not be asked: {0}")]
    Peer(#[from] PeerError),
    /// Its author does not have it.
    #[error("its co-op has no such campaign")]
    Unknown,
    /// What is shown is not it, or nobody that may has signed it.
    #[error("what its co-op shows is not this campaign, signed by that co-op: {0}")]
    Refused(String),
}

/// The campaigns that are known.
#[derive(Debug, Default)]
pub struct Campaigns(RwLock<BTreeMap<CampaignId, Arc<PartnerCampaign>>>);

impl Campaigns {
    /// Fetches a campaign of `member` from its node.
    ///
    /// # Errors
    /// [`CampaignError`].
    pub async fn fetch(
        &self,
        peers: &Peers,
        directory: &Directory,
        member: &Member,
        id: CampaignId,
        now: UnixSeconds,
    ) -> Result<Arc<PartnerCampaign>, CampaignError> {
        let path = format!("/v1/campaigns/{id}");
        let answer = peers
            .get(&member.base_url, &path, limits::CAMPAIGN_ANSWER_BYTES_MAX)
            .await?
            .ok_or(CampaignError::Unknown)?;
        let refused = |why: &str| CampaignError::Refused(why.to_owned());
        let answer: serde_json::Value =
            serde_json::from_slice(&answer).map_err(|error| CampaignError::Refused(error.to_string()))?;
        let credential = answer["credential"]
            .as_str()
            .and_then(|text| BASE64URL_NOPAD.decode(text.as_bytes()).ok())
            .ok_or_else(|| refused("its answer has no credential"))?;
        let signed = Signed::<Campaign>::parse(&credential)
            .map_err(|error| CampaignError::Refused(error.to_string()))?;
        self.take(directory, member, id, &signed, now)
    }

    /// Takes in a campaign of `member` that somebody shows.
    ///
    /// # Errors
    /// [`CampaignError::Refused`].
    pub fn take(
        &self,
        directory: &Directory,
        member: &Member,
        id: CampaignId,
        signed: &Signed<Campaign>,
        now: UnixSeconds,
    ) -> Result<Arc<PartnerCampaign>, CampaignError> {
        let refused = |why: &str| CampaignError::Refused(why.to_owned());
        if signed.id() != id {
            return Err(refused("it is another one"));
        }
        // A key that was stolen, too: the coupon names the campaign by its hash, and has been
        // found good, or issued before the theft.
        let is_signed = directory.by_kid(signed.kid()).any(|known| {
            known.member.did() == member.did()
                && known.key.role == Role::Credentials
                && known.standing(now) != Standing::Void
                && signed.verify(&known.key.key).is_ok()
        });
        if !is_signed {
            return Err(refused(
                "no key that the roster lists for its credentials has signed it",
            ));
        }
        let known = Arc::new(PartnerCampaign {
            author: member.did(),
            campaign: signed.content().clone(),
        });
        self.keep(id, Arc::clone(&known));
        Ok(known)
    }

    /// A campaign that is held.
    #[must_use]
    pub fn known(&self, id: &CampaignId) -> Option<Arc<PartnerCampaign>> {
        let campaigns = self.0.read().unwrap_or_else(PoisonError::into_inner);
        campaigns.get(id).cloned()
    }

    fn keep(&self, id: CampaignId, campaign: Arc<PartnerCampaign>) {
        let mut campaigns = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if campaigns.len() >= limits::PARTNER_CAMPAIGNS_MAX {
            campaigns.clear();
        }
        campaigns.insert(id, campaign);
    }
}
