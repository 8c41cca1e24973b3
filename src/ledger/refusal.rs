//! Why the domain says no. Each refusal has a stable code; what a till should
//! do about it stands beside the code in the HTTP floor.

use super::partner::Place;
use crate::primitives::{Amount, RedemptionId, UnixSeconds, limits};

/// The use that stands in the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakenBy {
    /// The redemption.
    pub redemption: RedemptionId,
    /// Index of its entry.
    pub entry: u64,
    /// When it was made.
    pub at: UnixSeconds,
    /// `did:web` of the co-op that redeemed it.
    pub redeemer: String,
    /// Who asked.
    pub place: Place,
}

impl TakenBy {
    /// Where it was, in words.
    #[must_use]
    pub fn place_said(&self) -> String {
        match &self.place {
            Place::Register(register) => format!("register {register}"),
            Place::Partner { .. } => self.redeemer.clone(),
        }
    }
}

/// A well-formed request that breaks a rule of the domain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A campaign asks for terms that this node does not enforce.
    #[error(
        "this node does not enforce the campaign's terms numbered {0:?}, so it neither signs nor redeems under them"
    )]
    TermsNotSupported(Vec<u64>),
    /// A campaign's terms contradict themselves.
    #[error("the campaign's terms do not work: {0}")]
    TermsInvalid(String),
    /// The same campaign was signed before.
    #[error("exactly this campaign was signed before; give it another name or text if a second one is meant")]
    CampaignExists,
    /// No such campaign here.
    #[error("this node knows no such campaign")]
    CampaignUnknown,
    /// The campaign is over.
    #[error("the campaign ended at {at}", at = .0.rfc3339())]
    CampaignEnded(UnixSeconds),
    /// The campaign was revoked or suspended.
    #[error("the campaign is {0}")]
    CampaignClosed(&'static str),
    /// A batch's order does not fit its campaign.
    #[error("these coupons cannot be issued: {0}")]
    BatchInvalid(String),
    /// Well signed, but never issued: the key may be stolen.
    #[error("this coupon bears a good signature but was never issued here")]
    CouponNotIssued,
    /// No signature of a known issuer, or altered.
    #[error("this is not a coupon that was issued here: {0}")]
    CouponForged(String),
    /// Issued by somebody else.
    #[error("this coupon was issued by another co-op, which this node does not know")]
    CouponForeign,
    /// Bound to a holder's key.
    #[error("this coupon is bound to its holder's key, and the holder's signature is missing")]
    HolderSignatureMissing,
    /// Too early.
    #[error("this coupon is valid only from {at}", at = .0.rfc3339())]
    CouponNotYetValid(UnixSeconds),
    /// Too late.
    #[error("this coupon expired at {at}", at = .0.rfc3339())]
    CouponExpired(UnixSeconds),
    /// Revoked for good.
    #[error("this coupon has been revoked")]
    CouponRevoked,
    /// Suspended for the time being.
    #[error("this coupon is suspended")]
    CouponSuspended,
    /// Nothing is left of it.
    #[error("this coupon is used up: last redeemed at {at} at {place}", at = .0.at.rfc3339(), place = .0.place_said())]
    CouponUsedUp(TakenBy),
    /// Its issuer's status list says that nothing is left of it.
    #[error("this coupon is used up, as its issuer's status list says")]
    CouponUsedUpElsewhere,
    /// The campaign names its redeemers, and this co-op is not among them.
    #[error("this campaign's coupons are not redeemable at this co-op")]
    RedeemerNotAllowed,
    /// The basket is in another currency.
    #[error("the campaign is in {campaign}, the basket in {basket}")]
    CurrencyDiffers {
        /// Letters of the campaign's currency.
        campaign: &'static str,
        /// Letters of the basket's.
        basket: &'static str,
    },
    /// The basket is too small.
    #[error("the basket comes to {total} minor units, the campaign asks for at least {minimum}")]
    BasketBelowMinimum {
        /// The campaign's minimum.
        minimum: Amount,
        /// The basket's total.
        total: Amount,
    },
    /// The benefit would be nothing.
    #[error("there is nothing to take off this basket")]
    NothingToRedeem,
    /// The till's amount is not what the terms give.
    #[error("the terms give {computed} minor units on this basket, not {given}")]
    AmountDiffers {
        /// What the terms give.
        computed: Amount,
        /// What the till said.
        given: Amount,
    },
    /// More than what is left of the stored value, or of the basket.
    #[error("at most {most} minor units can be taken off this basket with this coupon")]
    AmountTooLarge {
        /// The most that is possible.
        most: Amount,
    },
    /// The campaign's budget does not cover it.
    #[error("the campaign's budget has {left} minor units left, which does not cover this")]
    BudgetExhausted {
        /// What is left.
        left: Amount,
    },
    /// A request first seen after its time.
    #[error("this request came after its time, {at}, and has no effect", at = .0.rfc3339())]
    RequestExpired(UnixSeconds),
    /// A request that was cancelled before it came.
    #[error("this request was cancelled, and has no effect")]
    RequestCancelled,
    /// A partner used a request's identity for another request.
    #[error("this request's identity belongs to another request of the same co-op")]
    RequestReused,
    /// Only who made a redemption reverses it.
    #[error("this redemption was made by {0}, which alone can reverse it")]
    MadeElsewhere(String),
    /// An intent has ended, or is not there.
    #[error("there is no redemption at a partner under way with this identity")]
    NoIntent,
    /// What the issuer recorded is not what was asked.
    #[error("the issuer's half differs from what was asked, in {0}")]
    HalfDiffers(&'static str),
    /// One sale, too many coupons.
    #[error("this sale has redeemed as many coupons as one sale may")]
    TooManyCoupons,
    /// No such redemption.
    #[error("this node knows no such redemption")]
    RedemptionUnknown,
    /// More than what is left to reverse.
    #[error("a reversal takes back 1 minor unit or more, and {left} of this redemption are left")]
    ReversalTooLarge {
        /// What is left to reverse.
        left: Amount,
    },
    /// Too late to reverse.
    #[error("the campaign's reversal window ended at {at}", at = .0.rfc3339())]
    ReversalWindowOver(UnixSeconds),
    /// A use is given back whole or not at all.
    #[error(
        "a use is given back only when the whole redemption is reversed; reverse the rest, or set give_back to false"
    )]
    GiveBackNeedsWhole,
    /// The receipt does not add up, or breaks another rule.
    #[error("{0}")]
    ReceiptInvalid(String),
    /// The sale's time is too far from the clock.
    #[error("{}", time_too_far(*.seconds, *.ahead))]
    TimeTooFar {
        /// Distance in seconds.
        seconds: u64,
        /// Whether the sale lies after the node's clock: no mark allows that.
        ahead: bool,
    },
    /// A reason's length.
    #[error("a reason has 1 to {max} bytes", max = limits::REASON_BYTES_MAX)]
    ReasonInvalid,
    /// An erasure's reason stands in the log.
    #[error(
        "the reason of an erasure has 1 to {max} bytes and no control characters; it stands in the log for good, so it \
         names no person",
        max = limits::REASON_BYTES_MAX
    )]
    ErasureReasonInvalid,
    /// No such coupon or batch to revoke.
    #[error("nothing was issued here under that name")]
    TargetUnknown,
    /// A revocation is final.
    #[error("a revocation is final; only a suspension can be lifted")]
    RevocationFinal,
    /// The key was used for something else.
    #[error("this Idempotency-Key was used for another request")]
    KeyReused,
    /// The till reference was used for something else.
    #[error("this till_reference was used at this register for another content")]
    ReferenceReused,
}

impl Refusal {
    /// The stable code of this refusal, as clients see it.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::TermsNotSupported(_) => "terms_not_supported",
            Self::TermsInvalid(_) => "terms_invalid",
            Self::CampaignExists => "campaign_exists",
            Self::CampaignUnknown => "campaign_unknown",
            Self::CampaignEnded(_) => "campaign_ended",
            Self::CampaignClosed(_) => "campaign_closed",
            Self::BatchInvalid(_) => "batch_invalid",
            Self::CouponNotIssued => "coupon_not_issued",
            Self::CouponForged(_) => "coupon_forged",
            Self::CouponForeign => "coupon_foreign",
            Self::HolderSignatureMissing => "holder_signature_missing",
            Self::CouponNotYetValid(_) => "coupon_not_yet_valid",
            Self::CouponExpired(_) => "coupon_expired",
            Self::CouponRevoked => "coupon_revoked",
            Self::CouponSuspended => "coupon_suspended",
            Self::CouponUsedUp(_) | Self::CouponUsedUpElsewhere => "coupon_used_up",
            Self::RedeemerNotAllowed => "redeemer_not_allowed",
            Self::CurrencyDiffers { .. } => "currency_differs",
            Self::BasketBelowMinimum { .. } => "basket_below_minimum",
            Self::NothingToRedeem => "nothing_to_redeem",
            Self::AmountDiffers { .. } => "amount_differs",
            Self::AmountTooLarge { .. } => "amount_too_large",
            Self::BudgetExhausted { .. } => "budget_exhausted",
            Self::RequestExpired(_) => "request_expired",
            Self::RequestCancelled => "request_cancelled",
            Self::RequestReused => "request_id_reused",
            Self::MadeElsewhere(_) => "made_elsewhere",
            Self::NoIntent => "redemption_unknown",
            Self::HalfDiffers(_) => "half_differs",
            Self::TooManyCoupons => "too_many_coupons",
            Self::RedemptionUnknown => "redemption_unknown",
            Self::ReversalTooLarge { .. } => "reversal_too_large",
            Self::ReversalWindowOver(_) => "reversal_window_over",
            Self::GiveBackNeedsWhole => "give_back_needs_whole",
            Self::ReceiptInvalid(_) => "receipt_invalid",
            Self::TimeTooFar { .. } => "time_too_far",
            Self::ReasonInvalid | Self::ErasureReasonInvalid => "body_invalid",
            Self::TargetUnknown => "target_unknown",
            Self::RevocationFinal => "revocation_final",
            Self::KeyReused => "idempotency_key_reused",
            Self::ReferenceReused => "till_reference_reused",
        }
    }
}

fn time_too_far(seconds: u64, ahead: bool) -> String {
    let most = limits::CLOCK_SKEW_SECONDS_MAX;
    if ahead {
        format!(
            "issued_at lies {seconds} seconds after the node's clock, {most} are allowed: check the till's clock, then \
             the node's"
        )
    } else {
        format!(
            "issued_at lies {seconds} seconds before the node's clock, {most} are allowed: check the till's clock; a \
             sale made during an outage needs \"offline\": true"
        )
    }
}
