//! Redeeming and reversing: the one place where uses, values and budgets are
//! counted (protocol, sections 1 and 2).

use crate::credential::{Benefit, Terms};
use crate::primitives::{
    Amount, CampaignId, CouponName, Currency, Digest, RedemptionId, Register, Tag, UnixSeconds,
};

use super::event::{Mark, PartnerCall, Redeemed, Reversed};
use super::partner::Place;
use super::refusal::Refusal;
use super::state::{CampaignState, CouponState, State};

/// A coupon that was found to be exactly what this node issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presented {
    /// Its status list and index.
    pub name: CouponName,
    /// Its tag.
    pub tag: Tag,
    /// Index of its batch's entry.
    pub batch_entry: u64,
    /// Its place in that batch.
    pub leaf: u32,
    /// The campaign it names.
    pub campaign: CampaignId,
    /// Its own amount, if it has one.
    pub amount: Option<Amount>,
    /// Its own start, if it has one.
    pub not_before: Option<UnixSeconds>,
    /// Its end.
    pub not_after: UnixSeconds,
}

/// What the customer is about to buy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Basket {
    /// What it comes to.
    pub total: Amount,
    /// In which currency.
    pub currency: Currency,
}

/// Who asks for a redemption.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// A register of this co-op.
    Here(Register),
    /// A partner.
    By {
        /// `did:web` of the co-op.
        redeemer: String,
        /// The request's identity, as that co-op drew it.
        request_id: RedemptionId,
    },
}

/// A redemption that a till or a partner asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedemptionOrder {
    /// The redemption's identity.
    pub id: RedemptionId,
    /// The coupon.
    pub coupon: Presented,
    /// Who asks.
    pub asked: Asked,
    /// The basket.
    pub basket: Basket,
    /// How much of a stored value; for other benefits what the till computed.
    pub amount: Option<Amount>,
    /// SHA-256 of the request.
    pub request: Digest,
    /// The time that counts, where it is not now: an import's.
    pub at: Option<UnixSeconds>,
}

/// What a redemption would give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quote {
    /// The benefit.
    pub amount: Amount,
    /// Uses left afterwards; `None` where uses are not limited.
    pub remaining_uses: Option<u32>,
    /// Value left afterwards; `None` unless it is a stored value.
    pub remaining_value: Option<Amount>,
}

/// A reversal that a till or the office asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReversalOrder {
    /// The reversal's identity.
    pub id: RedemptionId,
    /// The redemption.
    pub redemption: RedemptionId,
    /// How much; all that is left when `None`.
    pub amount: Option<Amount>,
    /// Whether the use (of stored value: the amount) returns to the coupon.
    pub give_back: bool,
    /// The time that counts, where it is not now.
    pub at: Option<UnixSeconds>,
    /// The partner that asks, if it is one.
    pub partner: Option<PartnerCall>,
}

/// Uses a coupon has under `terms`; `None` where they are not limited.
#[must_use]
pub(super) fn uses_allowed(terms: &Terms) -> Option<u32> {
    match (terms.uses_per_coupon, terms.benefit) {
        (Some(uses), _) => Some(uses),
        (None, Benefit::StoredValue { .. }) => None,
        (None, _) => Some(1),
    }
}

/// The value a coupon holds under `terms`; `None` unless it is a stored value.
#[must_use]
pub(super) fn stored_value(terms: &Terms, own: Option<Amount>) -> Option<Amount> {
    match terms.benefit {
        Benefit::StoredValue { value } => Some(own.unwrap_or(value)),
        _ => None,
    }
}

/// True when `uses` and `spent` leave nothing.
#[must_use]
pub(super) fn is_used_up(terms: &Terms, own: Option<Amount>, uses: u32, spent: Amount) -> bool {
    let no_uses = uses_allowed(terms).is_some_and(|allowed| uses >= allowed);
    no_uses || stored_value(terms, own).is_some_and(|value| spent >= value)
}

impl Quote {
    /// What is left of a coupon after `uses` and `spent`.
    #[must_use]
    pub fn after(terms: &Terms, own: Option<Amount>, amount: Amount, uses: u32, spent: Amount) -> Self {
        Self {
            amount,
            remaining_uses: uses_allowed(terms).map(|allowed| allowed.saturating_sub(uses)),
            remaining_value: stored_value(terms, own).map(|value| value.minus(spent).unwrap_or(Amount::ZERO)),
        }
    }
}

impl State {
    /// Decides a redemption: who may, when, how often, how much.
    ///
    /// # Errors
    /// [`Refusal`]; nothing has changed then.
    pub fn decide_redemption(&self, order: &RedemptionOrder, now: UnixSeconds) -> Result<Redeemed, Refusal> {
        let at = order.at.unwrap_or(now);
        let campaign = self.campaign(&order.coupon.campaign)?;
        let coupon = self.coupon(order.coupon.name);
        if at > now {
            return Err(Refusal::TimeTooFar {
                seconds: at.distance(now),
                ahead: true,
            });
        }
        let imported = order.at.is_some();
        let (redeemer, place) = match &order.asked {
            Asked::Here(register) => (&self.did, Place::Register(register.clone())),
            Asked::By { redeemer, request_id } => {
                let request_id = *request_id;
                (redeemer, Place::Partner { request_id })
            }
        };
        let quote = self.quote_at(&order.coupon, &order.basket, order.amount, redeemer, at, imported)?;
        let uses_after = coupon.uses.saturating_add(1);
        let spent_after = coupon
            .spent
            .plus(quote.amount)
            .map_err(|_| Refusal::NothingToRedeem)?;
        Ok(Redeemed {
            id: order.id,
            tag: order.coupon.tag,
            name: order.coupon.name,
            batch_entry: order.coupon.batch_entry,
            leaf: order.coupon.leaf,
            campaign: order.coupon.campaign,
            amount: quote.amount,
            basket_total: order.basket.total,
            issuer: self.did.clone(),
            redeemer: redeemer.clone(),
            place,
            request: order.request,
            previous: coupon.last_entry,
            uses_after,
            spent_after,
            used_up: is_used_up(&campaign.terms, order.coupon.amount, uses_after, spent_after),
            at: order.at.filter(|at| *at != now),
            mark: match order.at {
                Some(at) if at != now => Mark::Import,
                _ => Mark::Live,
            },
        })
    }

    /// What redeeming would give now; changes nothing.
    ///
    /// # Errors
    /// [`Refusal`], the same that a redemption would get.
    pub fn quote(
        &self,
        presented: &Presented,
        basket: &Basket,
        amount: Option<Amount>,
        at: UnixSeconds,
    ) -> Result<Quote, Refusal> {
        self.quote_at(presented, basket, amount, &self.did, at, false)
    }

    /// The same; `imported` for what has happened already.
    fn quote_at(
        &self,
        presented: &Presented,
        basket: &Basket,
        amount: Option<Amount>,
        redeemer: &str,
        at: UnixSeconds,
        imported: bool,
    ) -> Result<Quote, Refusal> {
        let campaign = self.campaign(&presented.campaign)?;
        let coupon = self.coupon(presented.name);
        self.check_status(presented, campaign, &coupon)?;
        check_dates(presented, campaign, at)?;
        campaign.check_enforced()?;
        check_redeemer(campaign, redeemer)?;
        check_basket(campaign, basket)?;
        let benefit = match amount {
            // A till does not use up a coupon for nothing. Where it was done, the
            // log says so: of a stored value it is a part of nothing.
            Some(Amount::ZERO) if imported && stored_value(&campaign.terms, None).is_some() => Amount::ZERO,
            _ => benefit(campaign, presented, &coupon, basket, amount)?,
        };
        let left = campaign.budget_left();
        if left.is_some_and(|left| benefit > left) {
            return Err(Refusal::BudgetExhausted {
                left: left.unwrap_or(Amount::ZERO),
            });
        }
        // Without a budget the sum of all benefits is the bound: none is ever lost from it.
        if campaign.spent.plus(benefit).is_err() {
            return Err(Refusal::BudgetExhausted { left: Amount::ZERO });
        }
        let spent = coupon.spent.plus(benefit).map_err(|_| Refusal::NothingToRedeem)?;
        Ok(Quote::after(
            &campaign.terms,
            presented.amount,
            benefit,
            coupon.uses.saturating_add(1),
            spent,
        ))
    }

    fn check_status(
        &self,
        presented: &Presented,
        campaign: &CampaignState,
        coupon: &CouponState,
    ) -> Result<(), Refusal> {
        let flags = self.status(presented.name);
        if flags.revoked {
            return Err(Refusal::CouponRevoked);
        }
        campaign.check_open()?;
        if flags.suspended {
            return Err(Refusal::CouponSuspended);
        }
        let used_up = is_used_up(&campaign.terms, presented.amount, coupon.uses, coupon.spent);
        match (&coupon.last_use, used_up) {
            (Some(taken), true) => Err(Refusal::CouponUsedUp(taken.clone())),
            _ => Ok(()),
        }
    }

    /// Decides a reversal.
    ///
    /// # Errors
    /// [`Refusal`]; nothing has changed then.
    pub fn decide_reversal(&self, order: &ReversalOrder, now: UnixSeconds) -> Result<Reversed, Refusal> {
        let at = order.at.unwrap_or(now);
        let redemption = self
            .redemptions
            .get(&order.redemption)
            .ok_or(Refusal::RedemptionUnknown)?;
        let asks = order
            .partner
            .as_ref()
            .map_or(&self.did, |partner| &partner.redeemer);
        if *asks != redemption.redeemer {
            return Err(match &order.partner {
                // To others it is not even there.
                Some(_) => Refusal::RedemptionUnknown,
                None => Refusal::MadeElsewhere(redemption.redeemer.clone()),
            });
        }
        let campaign = self.campaign(&redemption.campaign)?;
        let window = campaign.terms.reversal_window_seconds;
        if let Some(until) = window.map(|seconds| redemption.at.plus(seconds))
            && at > until
        {
            return Err(Refusal::ReversalWindowOver(until));
        }
        let left = redemption
            .amount
            .minus(redemption.reversed)
            .unwrap_or(Amount::ZERO);
        let amount = order.amount.unwrap_or(left);
        if amount <= Amount::ZERO || amount > left {
            return Err(Refusal::ReversalTooLarge { left });
        }
        let coupon = self.coupon(redemption.name);
        let whole = amount == left;
        let stored = stored_value(&campaign.terms, redemption.coupon_amount).is_some();
        if order.give_back && !whole && !stored {
            return Err(Refusal::GiveBackNeedsWhole);
        }
        let uses_after = if order.give_back && whole {
            coupon.uses.saturating_sub(1)
        } else {
            coupon.uses
        };
        let returned = match (order.give_back, stored) {
            (true, true) => amount,
            // Earlier parts were taken back without the use; the whole use returns now.
            (true, false) => redemption.amount,
            (false, _) => Amount::ZERO,
        };
        let spent_after = coupon.spent.minus(returned).unwrap_or(Amount::ZERO);
        Ok(Reversed {
            id: order.id,
            redemption: order.redemption,
            redemption_entry: redemption.entry,
            tag: redemption.tag,
            name: redemption.name,
            campaign: redemption.campaign,
            amount,
            give_back: order.give_back,
            previous: coupon.last_entry,
            latest_redemption_entry: coupon
                .last_use
                .as_ref()
                .map_or(redemption.entry, |taken| taken.entry),
            uses_after,
            spent_after,
            reversed_after: redemption.reversed.plus(amount).unwrap_or(redemption.amount),
            used_up: is_used_up(&campaign.terms, redemption.coupon_amount, uses_after, spent_after),
            at: order.at.filter(|at| *at != now),
            partner: order.partner.clone(),
        })
    }
}

fn check_redeemer(campaign: &CampaignState, did: &str) -> Result<(), Refusal> {
    match &campaign.terms.redeemers {
        Some(redeemers) if !redeemers.iter().any(|redeemer| redeemer == did) => {
            Err(Refusal::RedeemerNotAllowed)
        }
        _ => Ok(()),
    }
}

fn check_dates(presented: &Presented, campaign: &CampaignState, at: UnixSeconds) -> Result<(), Refusal> {
    let from = presented
        .not_before
        .unwrap_or(campaign.not_before)
        .max(campaign.not_before);
    if at < from {
        return Err(Refusal::CouponNotYetValid(from));
    }
    let until = presented.not_after.min(campaign.not_after);
    if at >= until {
        return Err(Refusal::CouponExpired(until));
    }
    Ok(())
}

fn check_basket(campaign: &CampaignState, basket: &Basket) -> Result<(), Refusal> {
    let terms = &campaign.terms;
    if basket.currency != terms.currency {
        return Err(Refusal::CurrencyDiffers {
            campaign: terms.currency.letters(),
            basket: basket.currency.letters(),
        });
    }
    match terms.minimum_basket {
        Some(minimum) if basket.total < minimum => Err(Refusal::BasketBelowMinimum {
            minimum,
            total: basket.total,
        }),
        _ => Ok(()),
    }
}

/// The benefit on this basket: computed here, never taken from the till.
fn benefit(
    campaign: &CampaignState,
    presented: &Presented,
    coupon: &CouponState,
    basket: &Basket,
    asked: Option<Amount>,
) -> Result<Amount, Refusal> {
    let most_of = |amount: Amount| amount.min(basket.total);
    let computed = match campaign.terms.benefit {
        Benefit::AmountOff { amount } => most_of(presented.amount.unwrap_or(amount)),
        Benefit::PercentOff { basis_points, cap } => {
            let share = percentage(basket.total, basis_points);
            most_of(cap.map_or(share, |cap| share.min(cap)))
        }
        Benefit::StoredValue { value } => {
            let value = presented.amount.unwrap_or(value);
            let most = most_of(value.minus(coupon.spent).unwrap_or(Amount::ZERO)).max(Amount::ZERO);
            return match asked.unwrap_or(most) {
                part if part > most => Err(Refusal::AmountTooLarge { most }),
                part if part <= Amount::ZERO => Err(Refusal::NothingToRedeem),
                part => Ok(part),
            };
        }
    };
    match asked {
        Some(given) if given != computed => Err(Refusal::AmountDiffers { computed, given }),
        _ if computed <= Amount::ZERO => Err(Refusal::NothingToRedeem),
        _ => Ok(computed),
    }
}

/// `total * basis_points / 10,000`, rounded half up (protocol, section 1).
fn percentage(total: Amount, basis_points: u32) -> Amount {
    let product = i128::from(total.minor_units()) * i128::from(basis_points);
    let rounded = (product + 5_000).div_euclid(10_000);
    i64::try_from(rounded)
        .ok()
        .and_then(|units| Amount::new(units).ok())
        .unwrap_or(Amount::ZERO)
}

#[cfg(test)]
#[path = "redemption_tests.rs"]
#[allow(clippy::unwrap_used)]
mod tests;
