//! `/v1/redemptions`: coupons are redeemed, once, and reversed.

use actix_web::http::StatusCode;
use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse, get, post};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::ledger::{Place, Wish};
use crate::node::{
    IntentState, IntentView, NodeError, RedemptionAnswer, RedemptionRequest, RedemptionView, ReversalAnswer,
    ReversalRequest,
};
use crate::primitives::RedemptionId;

use super::auth::{Identity, May};
use super::coupons::BasketBody;
use super::negotiate;
use super::partners::{self, AtPartner, IssuerHalfBody, NotMadeBody, Whose};
use super::problem::Problem;
use super::proofs::{AnswerWithProof, ProofBody, WithProof};
use super::request::{ByReference, Post};
use super::scalars::{
    CampaignRef, CouponText, Letters, Money, NameOfCoupon, Reference, RegisterName, Time, object,
};
use super::{EntryBody, HttpState};

/// A redemption as a till asks for it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Redemption)]
struct RedemptionBody {
    coupon: CouponText,
    register: RegisterName,
    /// Unique per register and coupon: the same content under it gets the first answer.
    till_reference: Reference,
    #[serde(deserialize_with = "object")]
    basket: BasketBody,
    /// How much of a stored value; for other benefits what the till computed.
    amount: Option<Money>,
}

/// A redemption that was made.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RedemptionAnswer)]
struct RedemptionAnswerBody {
    /// Its identity.
    id: String,
    /// The benefit granted.
    amount: Money,
    /// Uses left; null where they are not limited.
    remaining_uses: Option<u32>,
    /// Value left; null unless it is a stored value.
    remaining_value: Option<Money>,
    entry: EntryBody,
}

impl From<RedemptionAnswer> for RedemptionAnswerBody {
    fn from(made: RedemptionAnswer) -> Self {
        Self {
            id: made.id.to_string(),
            amount: Money(made.amount),
            remaining_uses: made.remaining_uses,
            remaining_value: made.remaining_value.map(Money),
            entry: made.entry.into(),
        }
    }
}

/// A redemption that was made, with its proof where that was asked for.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Redeemed)]
struct RedeemedBody {
    #[serde(flatten)]
    made: RedemptionAnswerBody,
    /// Of another co-op's coupon: where the other half is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    issuer_half: Option<IssuerHalfBody>,
    /// With `?proof=cose`: what proves that it is in the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    proof: Option<ProofBody>,
}

/// A redemption as it stands now.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RedemptionView)]
struct RedemptionViewBody {
    #[serde(flatten)]
    made: RedemptionAnswerBody,
    /// The coupon's name.
    coupon: NameOfCoupon,
    campaign: CampaignRef,
    currency: Letters,
    /// What the customer's basket came to.
    basket_total: Money,
    /// The register that made it; absent where a partner did.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    register: Option<RegisterName>,
    /// `did:web` of the partner that made it, if one did.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    redeemer: Option<String>,
    redeemed_at: Time,
    /// How much of it has been reversed.
    reversed: Money,
    /// Of another co-op's coupon: where the other half is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    issuer_half: Option<IssuerHalfBody>,
    /// With `?proof=cose`: what proves that it is in the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    proof: Option<ProofBody>,
}

impl From<RedemptionView> for RedemptionViewBody {
    fn from(view: RedemptionView) -> Self {
        Self {
            made: view.made.into(),
            coupon: NameOfCoupon(view.coupon),
            campaign: CampaignRef(view.campaign),
            currency: Letters(view.currency),
            basket_total: Money(view.basket_total),
            redeemer: match &view.place {
                Place::Register(_) => None,
                Place::Partner { .. } => Some(view.redeemer),
            },
            register: view.place.register().cloned().map(RegisterName),
            redeemed_at: Time(view.at),
            reversed: Money(view.reversed),
            issuer_half: None,
            proof: None,
        }
    }
}

impl RedemptionViewBody {
    /// A redemption of another co-op's coupon; `None` where it was not made, or it is
    /// the reversal of one.
    fn at_partner(view: &IntentView) -> Option<Self> {
        let (Wish::Redeem { basket_total, .. }, IntentState::Made { at, .. }) =
            (view.intent.wish, &view.state)
        else {
            return None;
        };
        let made = AtPartner::of(view)?;
        Some(Self {
            made: RedemptionAnswerBody {
                id: made.id.to_string(),
                amount: Money(made.amount),
                remaining_uses: made.remaining_uses,
                remaining_value: made.remaining_value.map(Money),
                entry: made.entry.into(),
            },
            coupon: NameOfCoupon(view.intent.name),
            campaign: CampaignRef(view.intent.campaign),
            currency: Letters(view.intent.currency),
            basket_total: Money(basket_total),
            register: Some(RegisterName(view.intent.register.clone())),
            redeemer: None,
            redeemed_at: Time(*at),
            reversed: Money(view.reversed),
            issuer_half: Some(made.half),
            proof: None,
        })
    }
}

/// What a till is answered of a redemption at a partner.
fn at_partner(view: IntentView) -> Result<(RedemptionAnswer, Option<IssuerHalfBody>), Problem> {
    let made = AtPartner::of(&view).ok_or_else(|| Problem::internal(&"an intent that has not ended"))?;
    let answer = RedemptionAnswer {
        id: made.id,
        amount: made.amount,
        remaining_uses: made.remaining_uses,
        remaining_value: made.remaining_value,
        entry: made.entry,
    };
    Ok((answer, Some(made.half)))
}

/// Redemptions that were found.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Redemptions)]
struct RedemptionsBody {
    redemptions: Vec<RedemptionViewBody>,
    /// Of other co-ops' coupons: those that were not made, or not yet.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    not_made: Vec<NotMadeBody>,
}

/// Redeems a coupon. Of two tills at the same instant exactly one succeeds; the
/// other learns when and at which register it was used.
#[utoipa::path(
    tag = "tills",
    operation_id = "redeemCoupon",
    params(AnswerWithProof),
    request_body(content = RedemptionBody, content_type = "application/json"),
    responses((status = 201, description = "The redemption", body = RedeemedBody,
        headers(("Location" = String, description = "Where it can be read"))))
)]
#[post("/v1/redemptions")]
pub async fn post_redemption(
    state: Data<HttpState>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let identity = Identity::of(&state, &request, May::Sell)?;
    let proof = AnswerWithProof::asked(&request)?;
    let post = Post::read(&state, &request, payload, &identity).await?;
    let body: RedemptionBody = post.json()?;
    identity.check_register(&body.register.0)?;
    let (coupon, partner) = match partners::read_coupon(&state, &body.coupon)? {
        Whose::Own(coupon) => (coupon, None),
        Whose::Partner(coupon) => (coupon, partners::redeemer(&state)),
    };
    let wanted = RedemptionRequest {
        coupon,
        register: body.register.0,
        till_reference: body.till_reference.0,
        basket: body.basket.into_basket()?,
        amount: body.amount.map(|amount| amount.0),
    };
    let (made, issuer_half) = match partner {
        None => (state.node.redeem(&post.caller, wanted).await?, None),
        Some(redeemer) => at_partner(redeemer.redeem(&post.caller, wanted).await?)?,
    };
    let path = format!("/v1/redemptions/{}", made.id);
    let proof = proof.of(&state, made.entry)?;
    let answer = RedeemedBody {
        made: made.into(),
        issuer_half,
        proof,
    };
    let response = negotiate::json(StatusCode::CREATED, &answer);
    Ok(negotiate::located(response, &path))
}

/// Finds what became of calls by their till reference: a sale may redeem
/// several coupons under one.
#[utoipa::path(
    tag = "tills",
    operation_id = "findRedemptions",
    params(ByReference),
    responses((status = 200, description = "The redemptions, none if there is none", body = RedemptionsBody))
)]
#[get("/v1/redemptions")]
pub async fn find_redemptions(state: Data<HttpState>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let identity = Identity::of(&state, &request, May::Read)?;
    let (register, reference) = ByReference::read(&request, &identity)?;
    let found = state.node.redemptions_by_reference(&register, &reference)?;
    let mut redemptions: Vec<_> = found.into_iter().map(RedemptionViewBody::from).collect();
    let mut not_made = Vec::new();
    for view in state.node.intents_by_reference(&register, &reference)? {
        redemptions.extend(RedemptionViewBody::at_partner(&view));
        not_made.extend(NotMadeBody::of(view));
    }
    let body = RedemptionsBody {
        redemptions,
        not_made,
    };
    Ok(negotiate::json(StatusCode::OK, &body))
}

fn id_of(text: &str) -> Result<RedemptionId, Problem> {
    RedemptionId::parse(text).ok_or_else(|| Problem::new("not_found", "there is no such redemption"))
}

/// One redemption as it stands.
#[utoipa::path(
    tag = "tills",
    operation_id = "getRedemption",
    params(("id" = String, Path, description = "The redemption's identity"), WithProof),
    responses((status = 200, description = "The redemption", body = RedemptionViewBody))
)]
#[get("/v1/redemptions/{id}")]
pub async fn get_redemption(
    state: Data<HttpState>,
    request: HttpRequest,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    let identity = Identity::of(&state, &request, May::Read)?;
    let id = id_of(&id)?;
    let view = match state.node.redemption(id) {
        Err(NodeError::NotFound(why)) => return partner_view(&state, &request, &identity, id, why),
        found => found?,
    };
    identity.check_place(&view.place)?;
    let proof = WithProof::of(&state, &request, view.made.entry)?;
    let body = RedemptionViewBody { proof, ..view.into() };
    Ok(negotiate::json(StatusCode::OK, &body))
}

/// One redemption of another co-op's coupon as it stands; the truth about one that was
/// not made.
fn partner_view(
    state: &HttpState,
    request: &HttpRequest,
    identity: &Identity,
    id: RedemptionId,
    absent: &'static str,
) -> Result<HttpResponse, Problem> {
    let view = state.node.intent(id)?;
    identity.check_register(&view.intent.register)?;
    if let Some(redeemer) = partners::redeemer(state) {
        redeemer.state(id)?;
    }
    let body = RedemptionViewBody::at_partner(&view).ok_or_else(|| Problem::new("not_found", absent))?;
    let entry = match view.state {
        IntentState::Made { entry, .. } => entry,
        _ => view.entry,
    };
    let proof = WithProof::of(state, request, entry)?;
    Ok(negotiate::json(
        StatusCode::OK,
        &RedemptionViewBody { proof, ..body },
    ))
}

/// A reversal as a till or the office asks for it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Reversal)]
struct ReversalBody {
    till_reference: Reference,
    /// How much; all that is left if absent.
    amount: Option<Money>,
    /// Whether the use (of stored value: the amount) returns to the coupon.
    give_back: bool,
}

/// A reversal that was made.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ReversalAnswer)]
struct ReversalAnswerBody {
    /// Its identity.
    id: String,
    /// How much was taken back.
    amount: Money,
    entry: EntryBody,
}

/// Reverses a redemption in whole or in part.
#[utoipa::path(
    tag = "tills",
    operation_id = "reverseRedemption",
    params(("id" = String, Path, description = "The redemption's identity")),
    request_body(content = ReversalBody, content_type = "application/json"),
    responses((status = 201, description = "The reversal", body = ReversalAnswerBody))
)]
#[post("/v1/redemptions/{id}/reversals")]
pub async fn post_reversal(
    state: Data<HttpState>,
    request: HttpRequest,
    payload: Payload,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    let identity = Identity::of(&state, &request, May::Sell)?;
    let post = Post::read(&state, &request, payload, &identity).await?;
    let body: ReversalBody = post.json()?;
    let wanted = ReversalRequest {
        redemption: id_of(&id)?,
        till_reference: body.till_reference.0,
        amount: body.amount.map(|amount| amount.0),
        give_back: body.give_back,
    };
    let elsewhere = match (partners::redeemer(&state), state.node.intent(wanted.redemption)) {
        (Some(redeemer), Ok(view)) => Some((redeemer, view)),
        _ => None,
    };
    let made = match elsewhere {
        None => state.node.reverse(&post.caller, wanted).await?,
        Some((redeemer, view)) => {
            identity.check_register(&view.intent.register)?;
            let (made, _) = at_partner(redeemer.reverse(&post.caller, wanted).await?)?;
            ReversalAnswer {
                id: made.id,
                amount: made.amount,
                entry: made.entry,
            }
        }
    };
    let answer = ReversalAnswerBody {
        id: made.id.to_string(),
        amount: Money(made.amount),
        entry: made.entry.into(),
    };
    Ok(negotiate::json(StatusCode::CREATED, &answer))
}
