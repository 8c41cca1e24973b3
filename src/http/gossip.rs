//! Gossip of other members' nodes.

use actix_web::http::StatusCode;
use actix_web::web::{Data, Payload};

use actix_web::{HttpRequest, HttpResponse, get, post};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::federation::gossip::{Evidence, GossipError};
use crate::federation::gossiper::{GossiperError, HeldEvidence, SomeEvidence, WhichEvidence};
use crate::federation::message::{MessageError, MessageName};

use super::HttpState;
use super::auth::{Identity, May};
use super::negotiate;
use super::partners::{message_answer, read_message};
use super::problem::Problem;
use super::request::query;
use super::scalars::Base64Url;

impl From<GossiperError> for Problem {
    fn from(error: GossiperError) -> Self {
        let said = error.to_string();
        match error {
            GossiperError::Refused(GossipError::Message(MessageError::TooLong { .. })) => {
                Self::new("body_too_large", said)
            }
            GossiperError::Refused(GossipError::Message(MessageError::TooMany)) => Self::new("busy", said),
            GossiperError::Refused(error) => {
                Self::new("message_refused", said).with("reason", error.reason())
            }
            GossiperError::Node(error) => error.into(),
        }
    }
}

/// Gossip of another member's node.
///
/// The message `gossip` (schemas/messages.cddl, schemas/gossip.cddl) by a member's key
/// for messages: what its node holds, or asks for. What is new and good is durable
/// before the answer goes out. A member may send 512 messages at once and 8 a second.
#[utoipa::path(
    tag = "public",
    operation_id = "gossip",
    request_body(content = Vec<u8>, content_type = "application/cose",
        description = "The message gossip"),
    responses((status = 200, description = "The message gossip-answer",
        content_type = "application/cose", body = Vec<u8>))
)]
#[post("/federation/gossip")]
pub async fn post_gossip(
    state: Data<HttpState>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let gossiper = state
        .options
        .gossiper
        .as_ref()
        .ok_or_else(|| Problem::new("not_found", "this node belongs to no federation"))?;
    let body = read_message(&state, &request, payload, MessageName::Gossip).await?;
    Ok(message_answer(gossiper.receive(&body).await?))
}

/// Evidence against members.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Evidence)]
struct EvidenceBody {
    /// `did:web` of the member whom it convicts.
    #[schema(example = "did:web:coop-3.example")]
    member: String,
    kind: EvidenceKind,
    /// What the member has done, for people.
    said: String,
    /// Of a fork, the key whose log is convicted, a vkey.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    log_key: Option<String>,
    /// Of two status lists, their number.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    list: Option<u32>,
    /// Whether this node takes no new redemption of the member's coupons for it. Its
    /// operator may have forgiven it, and a key that was compromised convicts nobody.
    stops_redemptions: bool,
    /// The evidence, which anybody can check, as `tallystick verify --evidence` takes it:
    /// of a fork schemas/fork-evidence.cddl, of two lists schemas/list-evidence.cddl.
    evidence: Base64Url<'static>,
}

/// What was proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum EvidenceKind {
    /// A log has two histories.
    Fork,
    /// Two status lists of one number and version say different things.
    TwoLists,
}

/// A part of what is held.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EvidenceList)]
struct EvidenceListBody {
    /// By the member's did, a fork before lists, and these by number.
    evidence: Vec<EvidenceBody>,
    /// Pieces that are held of what was asked for, shown here or not. Those after the ones
    /// that are shown come with `from`.
    #[schema(example = 1)]
    total: usize,
}

/// Which evidence: what meets all that is given.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct EvidenceQuery {
    /// Only what convicts this member, by its did.
    #[param(nullable = false, example = "did:web:coop-3.example")]
    member: Option<String>,
    /// Only of this kind.
    #[param(nullable = false, example = "two_lists")]
    kind: Option<EvidenceKind>,
    /// Only of two status lists of this number.
    #[param(nullable = false, required = false, value_type = i64, minimum = 0, maximum = 4294967295_i64, example = 0)]
    list: Option<u32>,
    /// Pieces that are passed over: what earlier answers have shown.
    #[param(required = false, value_type = i64, minimum = 0, maximum = 4294967295_i64, default = 0, example = 0)]
    from: Option<u32>,
}

impl From<EvidenceQuery> for WhichEvidence {
    fn from(asked: EvidenceQuery) -> Self {
        Self {
            member: asked.member,
            forks: asked.kind.map(|kind| kind == EvidenceKind::Fork),
            list: asked.list,
            from: asked.from.unwrap_or_default() as usize,
        }
    }
}

impl From<SomeEvidence> for EvidenceListBody {
    fn from(some: SomeEvidence) -> Self {
        Self {
            evidence: some.shown.into_iter().map(EvidenceBody::from).collect(),
            total: some.total,
        }
    }
}

impl From<HeldEvidence> for EvidenceBody {
    fn from(held: HeldEvidence) -> Self {
        let said = held.said();
        let (kind, log_key, list) = match held.evidence {
            Evidence::Fork { evidence, .. } => (EvidenceKind::Fork, Some(evidence.log_key), None),
            Evidence::TwoLists { list, .. } => (EvidenceKind::TwoLists, None, Some(list)),
        };
        Self {
            member: held.member,
            kind,
            said,
            log_key,
            list,
            stops_redemptions: held.stops_redemptions,
            evidence: Base64Url(held.bytes.into()),
        }
    }
}

/// What convicts members of having signed two things that contradict each other.
///
/// For the office and auditors. The node has found it or gossip has brought it; it is
/// kept for ever. At most 64 pieces are shown at once; `total` says how many there are.
/// docs/gossip.md says what to do about it.
#[utoipa::path(
    tag = "office",
    operation_id = "listEvidence",
    params(EvidenceQuery),
    responses((status = 200, description = "At most 64 pieces", body = EvidenceListBody))
)]
#[get("/v1/federation/evidence")]
pub async fn list_evidence(state: Data<HttpState>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    Identity::of(&state, &request, May::Examine)?;
    if state.options.rosters.is_none() {
        return Err(Problem::new("not_found", "this node belongs to no federation"));
    }
    let asked: EvidenceQuery = query(&request)?;
    let some = match &state.options.gossiper {
        Some(gossiper) => gossiper.evidence(&asked.into()).await,
        None => SomeEvidence::default(),
    };
    Ok(negotiate::json(StatusCode::OK, &EvidenceListBody::from(some)))
}
