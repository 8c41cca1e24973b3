//! `/v1/revocations`: coupons are revoked or suspended, suspensions lifted.

use actix_web::http::StatusCode;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse, post};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::ledger::NewStatus;
use crate::node::RevocationTarget;
use crate::primitives::Origin;

use super::auth::{Identity, May};
use super::negotiate;
use super::problem::Problem;
use super::request::Post;
use super::scalars::{CampaignRef, CouponText, NameOfCoupon};
use super::{EntryBody, HttpState};

/// What the coupons become.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = CouponStatus)]
enum StatusWord {
    /// For good.
    Revoked,
    /// For the time being.
    Suspended,
    /// A suspension is lifted.
    Valid,
}

/// A change of status: exactly one of `coupon`, `name`, `batch`, `campaign`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Revocation)]
struct RevocationBody {
    coupon: Option<CouponText>,
    name: Option<NameOfCoupon>,
    /// The index of the batch's entry.
    batch: Option<u64>,
    campaign: Option<CampaignRef>,
    status: StatusWord,
    /// Kept beside the log, at most 500 bytes.
    #[schema(min_length = 1, max_length = 500)]
    reason: Option<String>,
}

impl RevocationBody {
    fn target(&self, origin: &Origin) -> Result<RevocationTarget, Problem> {
        match (&self.coupon, &self.name, self.batch, &self.campaign) {
            (Some(coupon), None, None, None) => coupon.bytes(origin).map(RevocationTarget::Coupon),
            (None, Some(name), None, None) => Ok(RevocationTarget::Name(name.0)),
            (None, None, Some(batch), None) => Ok(RevocationTarget::Batch(batch)),
            (None, None, None, Some(campaign)) => Ok(RevocationTarget::Campaign(campaign.0)),
            _ => Err(Problem::new(
                "body_invalid",
                "name exactly one of coupon, name, batch and campaign",
            )),
        }
    }
}

/// A change of status that was made.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RevocationAnswer)]
struct RevocationAnswerBody {
    /// How many coupons changed.
    changed: u64,
    entry: EntryBody,
}

/// Revokes or suspends coupons, or lifts a suspension.
#[utoipa::path(
    tag = "office",
    operation_id = "setCouponStatus",
    request_body(content = RevocationBody, content_type = "application/json"),
    responses((status = 201, description = "The change", body = RevocationAnswerBody))
)]
#[post("/v1/revocations")]
pub async fn post_revocation(
    state: Data<HttpState>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let identity = Identity::of(&state, &request, May::Administer)?;
    let post = Post::read(&state, &request, payload, &identity).await?;
    let body: RevocationBody = post.json()?;
    let target = body.target(&state.node.options().origin)?;
    let status = match body.status {
        StatusWord::Revoked => NewStatus::Revoked,
        StatusWord::Suspended => NewStatus::Suspended,
        StatusWord::Valid => NewStatus::Valid,
    };
    let set = state
        .node
        .set_status(&post.caller, &target, status, body.reason)
        .await?;
    let answer = RevocationAnswerBody {
        changed: set.changed,
        entry: set.entry.into(),
    };
    Ok(negotiate::json(StatusCode::CREATED, &answer))
}
