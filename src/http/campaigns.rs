//! `/v1/campaigns`: the signed terms of coupons. Reading them is for everyone.

use actix_web::http::{StatusCode, header};
use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse, get, post};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::credential::{Benefit, Terms};
use crate::ledger::CampaignDraft;
use crate::node::{CampaignAnswer, CampaignView};
use crate::primitives::CampaignId;

use super::auth::{Identity, May};
use super::negotiate::{self, wants_cose};
use super::problem::Problem;
use super::request::Post;
use super::scalars::{Base64Url, Letters, Money, Time, object};
use super::{EntryBody, HttpState};

/// How long a campaign may be kept by caches, in seconds: one never changes.
const CAMPAIGN_SECONDS: u32 = 3_600;

/// What a coupon gives.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
#[schema(as = Benefit)]
enum BenefitBody {
    /// An amount off the basket.
    AmountOff {
        /// The amount, unless the coupon carries its own.
        amount: Money,
    },
    /// A percentage off the basket.
    PercentOff {
        /// Hundredths of a percent, 1 to 10,000.
        #[schema(minimum = 1, maximum = 10000)]
        basis_points: u32,
        /// At most this much off.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cap: Option<Money>,
    },
    /// Value that may be spent in parts.
    StoredValue {
        /// The value, unless the coupon carries its own.
        amount: Money,
    },
}

impl From<BenefitBody> for Benefit {
    fn from(benefit: BenefitBody) -> Self {
        match benefit {
            BenefitBody::AmountOff { amount } => Self::AmountOff { amount: amount.0 },
            BenefitBody::PercentOff { basis_points, cap } => Self::PercentOff {
                basis_points,
                cap: cap.map(|cap| cap.0),
            },
            BenefitBody::StoredValue { amount } => Self::StoredValue { value: amount.0 },
        }
    }
}

impl From<Benefit> for BenefitBody {
    fn from(benefit: Benefit) -> Self {
        match benefit {
            Benefit::AmountOff { amount } => Self::AmountOff {
                amount: Money(amount),
            },
            Benefit::PercentOff { basis_points, cap } => Self::PercentOff {
                basis_points,
                cap: cap.map(Money),
            },
            Benefit::StoredValue { value } => Self::StoredValue { amount: Money(value) },
        }
    }
}

/// A campaign's terms. They never change: a change is a new campaign.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Campaign)]
struct CampaignBody {
    /// For people, 1 to 200 bytes.
    #[schema(min_length = 1, max_length = 200)]
    name: String,
    /// What people are to know of it, at most 2,000 bytes.
    #[schema(max_length = 2000)]
    text: String,
    currency: Letters,
    #[serde(deserialize_with = "object")]
    benefit: BenefitBody,
    /// The least total of a basket.
    minimum_basket: Option<Money>,
    /// How often a coupon can be redeemed; once if absent (a stored value: until it is spent).
    #[schema(minimum = 1)]
    uses_per_coupon: Option<u32>,
    /// What all redemptions may give together.
    budget: Option<Money>,
    /// The did:web of every co-op that may redeem.
    #[schema(min_items = 1, max_items = 20)]
    redeemers: Option<Vec<String>>,
    /// When its coupons become valid.
    not_before: Time,
    /// When they expire.
    not_after: Time,
    /// For how long a redemption can be reversed.
    reversal_window_seconds: Option<u64>,
}

impl From<CampaignBody> for CampaignDraft {
    fn from(body: CampaignBody) -> Self {
        let mut terms = Terms::new(body.name, body.text, body.currency.0, body.benefit.into());
        terms.minimum_basket = body.minimum_basket.map(|amount| amount.0);
        terms.uses_per_coupon = body.uses_per_coupon;
        terms.budget = body.budget.map(|amount| amount.0);
        terms.redeemers = body.redeemers;
        terms.reversal_window_seconds = body.reversal_window_seconds;
        Self {
            terms,
            not_before: body.not_before.0,
            not_after: body.not_after.0,
        }
    }
}

/// A signed campaign.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CampaignAnswer)]
struct CampaignAnswerBody<'a> {
    /// Its identity.
    id: String,
    /// The signed campaign (COSE).
    credential: Base64Url<'a>,
}

/// A campaign as anyone may see it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CampaignView)]
struct CampaignViewBody<'a> {
    /// Its identity.
    id: String,
    /// The signed campaign (COSE).
    credential: Base64Url<'a>,
    name: String,
    text: String,
    currency: Letters,
    benefit: BenefitBody,
    #[serde(skip_serializing_if = "Option::is_none")]
    minimum_basket: Option<Money>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uses_per_coupon: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    budget: Option<Money>,
    #[serde(skip_serializing_if = "Option::is_none")]
    redeemers: Option<Vec<String>>,
    not_before: Time,
    not_after: Time,
    #[serde(skip_serializing_if = "Option::is_none")]
    reversal_window_seconds: Option<u64>,
    /// When it was signed.
    issued_at: Time,
    entry: EntryBody,
}

impl<'a> From<&'a CampaignView> for CampaignViewBody<'a> {
    fn from(view: &'a CampaignView) -> Self {
        let terms = view.terms.clone();
        Self {
            id: view.id.to_string(),
            credential: (&view.credential).into(),
            name: terms.name,
            text: terms.text,
            currency: Letters(terms.currency),
            benefit: terms.benefit.into(),
            minimum_basket: terms.minimum_basket.map(Money),
            uses_per_coupon: terms.uses_per_coupon,
            budget: terms.budget.map(Money),
            redeemers: terms.redeemers,
            not_before: Time(view.not_before),
            not_after: Time(view.not_after),
            reversal_window_seconds: terms.reversal_window_seconds,
            issued_at: Time(view.issued_at),
            entry: view.entry.into(),
        }
    }
}

/// All campaigns, the newest last.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Campaigns)]
struct CampaignsBody<'a> {
    campaigns: Vec<CampaignViewBody<'a>>,
}

/// Signs a campaign.
#[utoipa::path(
    tag = "office",
    operation_id = "signCampaign",
    request_body(content = CampaignBody, content_type = "application/json"),
    responses((status = 201, description = "The campaign",
        content((CampaignAnswerBody = "application/json"), (Vec<u8> = "application/cose")),
        headers(("Location" = String, description = "Where it can be read"))))
)]
#[post("/v1/campaigns")]
pub async fn post_campaign(
    state: Data<HttpState>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let identity = Identity::of(&state, &request, May::Administer)?;
    let post = Post::read(&state, &request, payload, &identity).await?;
    let body: CampaignBody = post.json()?;
    let CampaignAnswer { id, credential } = state.node.sign_campaign(&post.caller, body.into()).await?;
    let response = if wants_cose(&request) {
        negotiate::cose(StatusCode::CREATED, credential)
    } else {
        let answer = CampaignAnswerBody {
            id: id.to_string(),
            credential: (&credential).into(),
        };
        negotiate::json(StatusCode::CREATED, &answer)
    };
    Ok(negotiate::located(response, &format!("/v1/campaigns/{id}")))
}

/// All campaigns.
#[utoipa::path(
    tag = "public",
    operation_id = "listCampaigns",
    responses((status = 200, description = "All campaigns, the newest last", body = CampaignsBody))
)]
#[get("/v1/campaigns")]
pub async fn list_campaigns(state: Data<HttpState>) -> HttpResponse {
    let all = state.node.campaigns();
    let campaigns = all.iter().map(|view| view.as_ref().into()).collect();
    negotiate::json(StatusCode::OK, &CampaignsBody { campaigns })
}

/// One campaign.
#[utoipa::path(
    tag = "public",
    operation_id = "getCampaign",
    params(("id" = String, Path, description = "The campaign's identity")),
    responses((status = 200, description = "The campaign",
        content((CampaignViewBody = "application/json"), (Vec<u8> = "application/cose"))))
)]
#[get("/v1/campaigns/{id}")]
pub async fn get_campaign(
    state: Data<HttpState>,
    request: HttpRequest,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    let id = CampaignId::parse(&id).ok_or_else(|| Problem::new("not_found", "there is no such campaign"))?;
    let view = state.node.campaign(&id)?;
    let mut response = if wants_cose(&request) {
        negotiate::cose(StatusCode::OK, view.credential.clone())
    } else {
        negotiate::json(StatusCode::OK, &CampaignViewBody::from(view.as_ref()))
    };
    let headers = response.headers_mut();
    let kept = format!("public, max-age={CAMPAIGN_SECONDS}");
    if let Ok(kept) = header::HeaderValue::from_str(&kept) {
        headers.insert(header::CACHE_CONTROL, kept);
    }
    headers.insert(header::VARY, header::HeaderValue::from_static("Accept"));
    Ok(response)
}
