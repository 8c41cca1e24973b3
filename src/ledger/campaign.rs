//! Signing campaigns and ordering coupons under them.

use crate::credential::{Benefit, Terms};
use crate::primitives::{Amount, CampaignId, UnixSeconds, limits};

use super::refusal::Refusal;
use super::state::State;

/// A campaign as the office means it, before it is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CampaignDraft {
    /// The terms.
    pub terms: Terms,
    /// When its coupons become valid.
    pub not_before: UnixSeconds,
    /// When they expire.
    pub not_after: UnixSeconds,
}

impl CampaignDraft {
    /// Checks that the terms can work and are all enforced here.
    ///
    /// # Errors
    /// [`Refusal::TermsNotSupported`] or [`Refusal::TermsInvalid`].
    pub fn check(&self) -> Result<(), Refusal> {
        let unsupported = self.terms.unsupported();
        if !unsupported.is_empty() {
            return Err(Refusal::TermsNotSupported(unsupported));
        }
        if self.not_before >= self.not_after {
            return invalid("not_after has to be later than not_before");
        }
        if self.not_after.0 > limits::UNIX_SECONDS_MAX {
            return invalid("not_after lies beyond the year 9999");
        }
        let terms = &self.terms;
        texts(terms)?;
        match terms.benefit {
            Benefit::AmountOff { amount } | Benefit::StoredValue { value: amount }
                if amount <= Amount::ZERO =>
            {
                invalid("the benefit's amount has to be positive")
            }
            Benefit::PercentOff { basis_points, .. } if !(1..=10_000).contains(&basis_points) => {
                invalid("basis_points have to be from 1 to 10,000")
            }
            Benefit::PercentOff { cap: Some(cap), .. } if cap <= Amount::ZERO => {
                invalid("the cap has to be positive")
            }
            _ => Ok(()),
        }?;
        if terms
            .minimum_basket
            .is_some_and(|minimum| minimum <= Amount::ZERO)
        {
            return invalid("minimum_basket has to be positive, or left out");
        }
        if terms.budget.is_some_and(|budget| budget <= Amount::ZERO) {
            return invalid("the budget has to be positive");
        }
        if terms.uses_per_coupon == Some(0) {
            return invalid("uses_per_coupon is at least 1");
        }
        terms
            .check()
            .map_err(|error| Refusal::TermsInvalid(error.to_string()))
    }
}

fn texts(terms: &Terms) -> Result<(), Refusal> {
    let fits =
        |text: &str, most: usize| text.len() <= most && !text.chars().any(|c| c.is_control() && c != '\n');
    let one_line = !terms.name.trim().is_empty() && !terms.name.contains('\n');
    if !one_line || !fits(&terms.name, limits::CAMPAIGN_NAME_BYTES_MAX) {
        return invalid("the name has 1 to 200 bytes without control characters");
    }
    if !fits(&terms.text, limits::CAMPAIGN_TEXT_BYTES_MAX) {
        return invalid("the text has at most 2,000 bytes without control characters but newlines");
    }
    if let Some(redeemers) = &terms.redeemers {
        let plausible = |did: &String| did.starts_with("did:web:") && did.len() > 8 && fits(did, 300);
        if redeemers.is_empty() || redeemers.len() > limits::CAMPAIGN_REDEEMERS_MAX {
            return invalid("redeemers names 1 to 20 co-ops, or is left out");
        }
        if !redeemers.iter().all(plausible) {
            return invalid("redeemers are named by did:web, such as did:web:coop.example");
        }
    }
    Ok(())
}

fn invalid<T>(why: &str) -> Result<T, Refusal> {
    Err(Refusal::TermsInvalid(why.to_owned()))
}

/// Coupons as the office orders them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchOrder {
    /// The campaign.
    pub campaign: CampaignId,
    /// How many.
    pub count: u32,
    /// An amount in place of the benefit's.
    pub amount: Option<Amount>,
    /// A start in place of the campaign's.
    pub not_before: Option<UnixSeconds>,
    /// An end in place of the campaign's.
    pub not_after: Option<UnixSeconds>,
}

impl State {
    /// Decides whether `order` may be issued; the end of the coupons' validity
    /// comes back.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn decide_batch(&self, order: &BatchOrder, now: UnixSeconds) -> Result<UnixSeconds, Refusal> {
        let campaign = self.campaign(&order.campaign)?;
        campaign.check_open()?;
        if now >= campaign.not_after {
            return Err(Refusal::CampaignEnded(campaign.not_after));
        }
        let refuse = |why: &str| Err(Refusal::BatchInvalid(why.to_owned()));
        if order.count == 0 {
            return refuse("count is at least 1");
        }
        match (order.amount, campaign.terms.benefit) {
            (Some(_), Benefit::PercentOff { .. }) => {
                return refuse("a coupon's own amount does not go with a percentage");
            }
            (Some(amount), _) if amount <= Amount::ZERO => return refuse("the amount has to be positive"),
            _ => {}
        }
        let not_after = order.not_after.unwrap_or(campaign.not_after);
        let not_before = order.not_before.unwrap_or(campaign.not_before);
        if not_before < campaign.not_before || not_after > campaign.not_after {
            return refuse("coupons are valid within their campaign's dates");
        }
        if not_before >= not_after {
            return refuse("not_after has to be later than not_before");
        }
        Ok(not_after)
    }
}

#[cfg(test)]
#[path = "campaign_tests.rs"]
#[allow(clippy::unwrap_used)]
mod tests;
