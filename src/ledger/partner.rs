//! Redemptions between co-ops: what each side records (protocol, section 2).
//!
//! | at | entry | says |
//! |---|---|---|
//! | the redeemer | [`Intent`] | a partner's coupon is to be redeemed, or such a redemption reversed |
//! | the issuer | `Redeemed`, `Reversed` with [`Place::Partner`] | the issuer half |
//! | the issuer | [`RequestCancelled`] | a request that came never, or too late, has no effect |
//! | the redeemer | [`RedeemerHalf`] | the redeemer half, which carries the issuer half's hash |
//! | the redeemer | [`IntentEnded`] | the issuer refused, or the request was cancelled |
//! | the redeemer | [`CancelWished`] | the sale was given up while the outcome was unknown |
//!
//! An intent ends exactly once. In scope: what the entries say and how they follow
//! one another. Out of scope: messages (`federation`), who is a member.

use sha2::{Digest as _, Sha256};

use super::refusal::Refusal;
use crate::primitives::{
    Amount, CampaignId, CouponName, Currency, Digest, RedemptionId, Register, Tag, UnixSeconds,
};

/// Who asked for a redemption or a reversal at the issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A register of the issuer's own.
    Register(Register),
    /// Another co-op, under its own identity for the request.
    Partner {
        /// The request's identity, as the redeemer drew it.
        request_id: RedemptionId,
    },
}

impl Place {
    /// The register, where it is one of the issuer's own.
    #[must_use]
    pub fn register(&self) -> Option<&Register> {
        match self {
            Self::Register(register) => Some(register),
            Self::Partner { .. } => None,
        }
    }
}

/// The identity of an issuer half: that of the request, scoped to its redeemer,
/// so that no co-op can take up the identities of another (protocol, section 2).
#[must_use]
pub fn half_id(redeemer: &str, request_id: RedemptionId) -> RedemptionId {
    let mut hasher = Sha256::new_with_prefix(b"tallystick/request/v1");
    hasher.update(request_id.0);
    hasher.update(redeemer.as_bytes());
    let mut id = [0; 16];
    id.copy_from_slice(&hasher.finalize()[..16]);
    RedemptionId(id)
}

/// What a redeemer wants of the issuer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// A redemption.
    Redeem {
        /// What the basket comes to.
        basket_total: Amount,
        /// How much; of a stored value `None` for as much as there is.
        amount: Option<Amount>,
    },
    /// The reversal of one.
    Reverse {
        /// The redemption, by the identity that its redeemer gave it.
        redemption: RedemptionId,
        /// Index of the redeemer half that it reverses.
        redemption_entry: u64,
        /// How much; `None` for all that is left.
        amount: Option<Amount>,
        /// Whether the use, or of a stored value the amount, returns to the coupon.
        give_back: bool,
    },
}

/// A redeemer is about to ask the issuer: durable before it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// Its identity: the request's, and the redemption's or the reversal's.
    pub id: RedemptionId,
    /// The coupon's tag.
    pub tag: Tag,
    /// The coupon's status list and index, at its issuer.
    pub name: CouponName,
    /// `did:web` of the issuer.
    pub issuer: String,
    /// The campaign.
    pub campaign: CampaignId,
    /// Its currency.
    pub currency: Currency,
    /// Where it was asked for.
    pub register: Register,
    /// What is wanted.
    pub wish: Wish,
    /// The issuer refuses the request when it first sees it later than this.
    pub not_after: UnixSeconds,
    /// SHA-256 of the request's bytes.
    pub request: Digest,
}

/// A redemption or a reversal by a partner, as the partner records it: the
/// redeemer half.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedeemerHalf {
    /// The intent's identity.
    pub id: RedemptionId,
    /// The coupon's tag.
    pub tag: Tag,
    /// Index of the intent's entry.
    pub intent_entry: u64,
    /// `did:web` of the issuer.
    pub issuer: String,
    /// Index of the issuer half in the issuer's log.
    pub issuer_entry: u64,
    /// Hash of the issuer half.
    pub issuer_hash: Digest,
    /// The campaign.
    pub campaign: CampaignId,
    /// Its currency.
    pub currency: Currency,
    /// The benefit granted, or how much of it was taken back.
    pub amount: Amount,
    /// Uses left; `None` where they are not limited.
    pub remaining_uses: Option<u32>,
    /// Value left; `None` unless it is a stored value.
    pub remaining_value: Option<Amount>,
    /// What it reverses, for a reversal.
    pub reverses: Option<Reverses>,
}

/// What a reversal by a partner reverses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reverses {
    /// The redemption.
    pub redemption: RedemptionId,
    /// Index of its redeemer half.
    pub entry: u64,
    /// How much of it is reversed after this.
    pub reversed_after: Amount,
}

/// How an intent ended without a half.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The issuer refused.
    Refused {
        /// Its code.
        code: String,
        /// Its words.
        detail: String,
    },
    /// It was cancelled: the issuer's log says so, in its [`RequestCancelled`].
    Cancelled {
        /// Index of that entry in the issuer's log.
        issuer_entry: u64,
        /// Its hash.
        issuer_hash: Digest,
    },
}

/// An intent ended without effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IntentEnded {
    /// The intent's identity.
    pub id: RedemptionId,
    /// The coupon's tag.
    pub tag: Tag,
    /// Index of the intent's entry.
    pub intent_entry: u64,
    /// How.
    pub end: End,
}

/// A sale was given up while the outcome was unknown: the issuer is asked to
/// cancel from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CancelWished {
    /// The intent's identity.
    pub id: RedemptionId,
    /// The coupon's tag.
    pub tag: Tag,
    /// Index of the intent's entry.
    pub intent_entry: u64,
}

/// The issuer's tombstone: a request that it had not seen was cancelled, and has
/// no effect whenever it comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestCancelled {
    /// The request's identity, as the redeemer drew it.
    pub request_id: RedemptionId,
    /// `did:web` of the redeemer.
    pub redeemer: String,
}

/// What an issuer half says, as the redeemer has verified it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerHalf {
    /// Index in the issuer's log.
    pub entry: u64,
    /// Its hash.
    pub hash: Digest,
    /// The benefit granted, or how much of it was taken back.
    pub amount: Amount,
    /// Uses left; `None` where they are not limited.
    pub remaining_uses: Option<u32>,
    /// Value left; `None` unless it is a stored value.
    pub remaining_value: Option<Amount>,
    /// How much of the reversed redemption is reversed after it, for a reversal.
    pub reversed_after: Option<Amount>,
}

impl Intent {
    /// The redeemer half of this intent in the entry `intent_entry`.
    ///
    /// # Errors
    /// [`Refusal::HalfDiffers`] when the issuer half answers something else than
    /// what was asked.
    pub fn half(&self, intent_entry: u64, half: &IssuerHalf) -> Result<RedeemerHalf, Refusal> {
        let differs = |what: &'static str| Refusal::HalfDiffers(what);
        let asked = match self.wish {
            Wish::Redeem { amount, .. } | Wish::Reverse { amount, .. } => amount,
        };
        if half.amount <= Amount::ZERO || asked.is_some_and(|asked| asked != half.amount) {
            return Err(differs("its amount"));
        }
        let reverses = match (self.wish, half.reversed_after) {
            (Wish::Redeem { basket_total, .. }, None) if half.amount <= basket_total => None,
            (
                Wish::Reverse {
                    redemption,
                    redemption_entry,
                    ..
                },
                Some(reversed_after),
            ) => Some(Reverses {
                redemption,
                entry: redemption_entry,
                reversed_after,
            }),
            (Wish::Redeem { .. }, None) => return Err(differs("its amount, which exceeds the basket")),
            _ => return Err(differs("what was asked for")),
        };
        Ok(RedeemerHalf {
            id: self.id,
            tag: self.tag,
            intent_entry,
            issuer: self.issuer.clone(),
            issuer_entry: half.entry,
            issuer_hash: half.hash,
            campaign: self.campaign,
            currency: self.currency,
            amount: half.amount,
            remaining_uses: half.remaining_uses,
            remaining_value: half.remaining_value,
            reverses,
        })
    }
}
