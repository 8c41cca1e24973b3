//! Redemptions between co-ops: messages of partners, and a till's calls about their
//! coupons.

use actix_web::http::StatusCode;
use actix_web::web::{Bytes, Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse, post};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::credential::Coupon;
use crate::federation::message::{self, MessageError, MessageName};
use crate::federation::redemption::campaigns::CampaignError;
use crate::federation::redemption::{IssuerError, RedeemError, Redeemer};
use crate::ledger::{End, Wish};
use crate::node::{EntryRef, IntentState, IntentView};
use crate::primitives::{Amount, Origin, RedemptionId};

use super::auth::{Identity, May};
use super::negotiate;
use super::problem::Problem;
use super::problem_table::TABLE;
use super::request::{Post, read_body_of};
use super::scalars::{CouponText, Money};
use super::{EntryBody, HttpState};

impl From<IssuerError> for Problem {
    fn from(error: IssuerError) -> Self {
        let said = error.to_string();
        match error {
            IssuerError::Message(error) => of_message(&error),
            IssuerError::NotRedeeming(_) => Self::new("partners_not_served", said),
            IssuerError::SenderBehind { ours, .. } => {
                Self::new("roster_outdated", said).with("version_in_force", ours)
            }
            IssuerError::Busy => Self::new("busy", said),
            IssuerError::Node(error) => error.into(),
        }
    }
}

/// Why a message is refused.
pub(super) fn of_message(error: &MessageError) -> Problem {
    let said = error.to_string();
    match error {
        MessageError::TooLong { .. } => Problem::new("body_too_large", said),
        MessageError::RosterAhead { .. } => Problem::new("roster_behind", said),
        error => Problem::new("message_refused", said).with("reason", error.reason()),
    }
}

impl From<RedeemError> for Problem {
    fn from(error: RedeemError) -> Self {
        let said = error.to_string();
        match error {
            RedeemError::Node(error) => error.into(),
            RedeemError::NotRedeeming(_) => Self::new("partners_not_served", said),
            RedeemError::Campaign(CampaignError::Peer(_)) => Self::new("issuer_unreachable", said),
            RedeemError::Campaign(_) => Self::new("campaign_unknown", said),
            RedeemError::IssuerNotGood(_) => Self::new("issuer_not_good", said),
            RedeemError::IssuerNotAsked { .. } => Self::new("issuer_unreachable", said),
            RedeemError::IssuerForked { .. } => Self::new("issuer_forked", said),
            RedeemError::Unknown { id, .. } => Self::new("outcome_unknown", said)
                .with("redemption", id.to_string())
                // No campaign's terms that this node enforces have an offline policy.
                .with("offline_acceptance", false),
            RedeemError::Refused { code, .. } => of_issuer(&code, said),
            RedeemError::Cancelled { id } => {
                Self::new("redemption_cancelled", said).with("redemption", id.to_string())
            }
            RedeemError::Made { id } => Self::new("redemption_made", said).with("redemption", id.to_string()),
        }
    }
}

/// What another node refused: with its code, where it is one that a refusal here
/// could have.
fn of_issuer(code: &str, said: String) -> Problem {
    match TABLE.iter().find(|row| row.code == code && row.status == 422) {
        Some(row) => Problem::new(row.code, said),
        None => Problem::new("issuer_refused", said).with("issuer_code", code),
    }
}

/// A coupon, and whose it is.
pub(super) enum Whose {
    /// This node's, or nobody's that is known.
    Own(Vec<u8>),
    /// Another member's.
    Partner(Vec<u8>),
}

/// Reads a coupon's QR text. A link has to lead to the coupon's issuer.
pub(super) fn read_coupon(state: &HttpState, text: &CouponText) -> Result<Whose, Problem> {
    let own = &state.node.options().origin;
    let Some(redeemer) = &state.options.redeemer else {
        return text.bytes(own).map(Whose::Own);
    };
    let read = text.parse()?;
    let Some(issuer) = issuer_of(redeemer, own, &read.bytes) else {
        return text.bytes(own).map(Whose::Own);
    };
    match read.origin {
        Some(linked) if linked != issuer => Err(Problem::new(
            "coupon_link_foreign",
            format!("the code's link leads to {linked}, its issuer would be {issuer}"),
        )),
        _ => Ok(Whose::Partner(read.bytes)),
    }
}

/// The base URL of the other member whose status list the coupon names.
fn issuer_of(redeemer: &Redeemer, own: &Origin, bytes: &[u8]) -> Option<Origin> {
    let coupon = Coupon::parse_unverified(bytes).ok()?;
    if coupon.status.name(own).is_some() {
        return None;
    }
    let member = redeemer.member_of(&coupon.status.uri)?;
    Some(member)
}

/// A redemption at a partner as a till is answered.
pub(super) struct AtPartner {
    pub id: RedemptionId,
    pub amount: Amount,
    pub remaining_uses: Option<u32>,
    pub remaining_value: Option<Amount>,
    pub entry: EntryRef,
    pub half: IssuerHalfBody,
}

/// Where the other half of a redemption at a partner is.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = IssuerHalf)]
pub(super) struct IssuerHalfBody {
    /// `did:web` of the co-op that issued the coupon.
    issuer: String,
    entry: EntryBody,
}

impl AtPartner {
    /// What was made, of an intent that ended with both halves.
    pub fn of(view: &IntentView) -> Option<Self> {
        let IntentState::Made { half, entry, .. } = &view.state else {
            return None;
        };
        Some(Self {
            id: half.id,
            amount: half.amount,
            remaining_uses: half.remaining_uses,
            remaining_value: half.remaining_value,
            entry: *entry,
            half: IssuerHalfBody {
                issuer: half.issuer.clone(),
                entry: EntryRef {
                    index: half.issuer_entry,
                    hash: half.issuer_hash,
                }
                .into(),
            },
        })
    }
}

/// A redemption at a partner that was not made, or not yet.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RedemptionNotMade)]
pub(super) struct NotMadeBody {
    /// Its identity.
    id: String,
    /// `unknown` while the issuer has not answered, `refused`, or `cancelled`.
    state: &'static str,
    /// `did:web` of the co-op that issued the coupon.
    issuer: String,
    /// What was asked for; absent for as much as there is of a stored value.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    amount: Option<Money>,
    /// Of a refusal: its code.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    code: Option<String>,
    /// Of a refusal: its words.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    detail: Option<String>,
}

impl NotMadeBody {
    /// What is told of an intent without halves.
    pub fn of(view: IntentView) -> Option<Self> {
        let (state, refusal) = match view.state {
            IntentState::Made { .. } => return None,
            IntentState::Open { .. } => ("unknown", None),
            IntentState::Ended { end, .. } => match end {
                End::Cancelled { .. } => ("cancelled", None),
                End::Refused { code, detail } => ("refused", Some((code, detail))),
            },
        };
        let amount = match view.intent.wish {
            Wish::Redeem { amount, .. } | Wish::Reverse { amount, .. } => amount,
        };
        let (code, detail) = refusal.unzip();
        Some(Self {
            id: view.intent.id.to_string(),
            state,
            issuer: view.intent.issuer,
            amount: amount.map(Money),
            code,
            detail,
        })
    }
}

/// What redeems other co-ops' coupons, where this node belongs to a federation.
pub(super) fn redeemer(state: &HttpState) -> Option<&std::sync::Arc<Redeemer>> {
    state.options.redeemer.as_ref()
}

/// Requests of a partner: redemptions of this co-op's coupons, reversals, cancellations.
///
/// The body is a signed message of a member (`schemas/messages.cddl`,
/// `schemas/redemption.cddl`), the answer one of this node. What the requests came to is
/// durable before the answer; the same request gets the same outcome again.
#[utoipa::path(
    tag = "public",
    operation_id = "partnerRedemptions",
    request_body(content = Vec<u8>, content_type = "application/cose",
        description = "The message redemption, with the parameter cose-type=\"cose-sign1\""),
    responses((status = 200, description = "The message redemption-answer",
        content_type = "application/cose", body = Vec<u8>))
)]
#[post("/federation/redemptions")]
pub async fn post_partner_redemptions(
    state: Data<HttpState>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let issuer = state
        .options
        .issuer
        .as_ref()
        .ok_or_else(|| Problem::new("not_found", "this node belongs to no federation"))?;
    let body = read_message(&state, &request, payload, MessageName::Redemption).await?;
    Ok(message_answer(issuer.answer(&body).await?))
}

/// The body of a call that takes a message of that name.
pub(super) async fn read_message(
    state: &HttpState,
    request: &HttpRequest,
    payload: Payload,
    name: MessageName,
) -> Result<Bytes, Problem> {
    is_message(request)?;
    read_body_of(request, payload, state.options.client_timeout, name.most()).await
}

/// A message as an answer.
pub(super) fn message_answer(bytes: Vec<u8>) -> HttpResponse {
    HttpResponse::Ok().content_type(message::CONTENT_TYPE).body(bytes)
}

/// Refuses what does not say that it is a COSE_Sign1.
fn is_message(request: &HttpRequest) -> Result<(), Problem> {
    let sent = request
        .headers()
        .get(actix_web::http::header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let is_cose = sent
        .split(';')
        .next()
        .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/cose"));
    if is_cose {
        Ok(())
    } else {
        Err(Problem::new(
            "content_type_unsupported",
            format!(
                "the body has to be sent as Content-Type: {}",
                message::CONTENT_TYPE
            ),
        ))
    }
}

/// A sale that was given up.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Cancellation)]
struct CancellationBody {}

/// A redemption that was cancelled.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CancellationAnswer)]
struct CancellationAnswerBody {
    /// The redemption's identity.
    id: String,
    /// `cancelled`.
    state: &'static str,
}

/// Makes sure that a redemption at a partner has no effect whose outcome is not known.
///
/// For a sale that was given up after `outcome_unknown`. Where the issuer had redeemed
/// the coupon already, this is refused with `redemption_made`: reverse it then. While
/// the issuer does not answer it is `outcome_unknown` again; the wish is kept, and
/// repeated until the issuer knows.
#[utoipa::path(
    tag = "tills",
    operation_id = "cancelRedemption",
    params(("id" = String, Path, description = "The redemption's identity")),
    request_body(content = CancellationBody, content_type = "application/json"),
    responses((status = 200, description = "It has no effect, and never will", body = CancellationAnswerBody))
)]
#[post("/v1/redemptions/{id}/cancellations")]
pub async fn post_cancellation(
    state: Data<HttpState>,
    request: HttpRequest,
    payload: Payload,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    let identity = Identity::of(&state, &request, May::Sell)?;
    let post = Post::read(&state, &request, payload, &identity).await?;
    let CancellationBody {} = post.json()?;
    let id =
        RedemptionId::parse(&id).ok_or_else(|| Problem::new("not_found", "there is no such redemption"))?;
    let made = || Problem::new("redemption_made", "this redemption was made: reverse it");
    let Some(redeemer) = redeemer(&state) else {
        return Err(match state.node.redemption(id) {
            Ok(_) => made().with("redemption", id.to_string()),
            Err(error) => error.into(),
        });
    };
    let view = match state.node.intent(id) {
        Ok(view) => view,
        Err(error) => {
            return Err(match state.node.redemption(id) {
                Ok(_) => made().with("redemption", id.to_string()),
                Err(_) => error.into(),
            });
        }
    };
    identity.check_register(&view.intent.register)?;
    redeemer.cancel(&post.caller, id).await?;
    let answer = CancellationAnswerBody {
        id: id.to_string(),
        state: "cancelled",
    };
    Ok(negotiate::json(StatusCode::OK, &answer))
}
