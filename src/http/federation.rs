//! The federation's roster: published by the office, read by everyone.

use actix_web::http::{StatusCode, header};
use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse, get, post};
use serde::Serialize;
use utoipa::ToSchema;

use crate::federation::roster::{RosterError, SignedRoster};
use crate::federation::rosters::{Rosters, RostersError};

use super::HttpState;
use super::auth::{Identity, May};
use super::negotiate::{self, CBOR};
use super::problem::Problem;
use super::request::Post;

/// How long a roster may be kept, in seconds: a new version is known within minutes.
const ROSTER_SECONDS: u32 = 60;

impl From<RostersError> for Problem {
    fn from(error: RostersError) -> Self {
        match error {
            RostersError::Refused(refused) => refused.into(),
            RostersError::Conflict(_) => Self::new("roster_conflict", error.to_string()),
            RostersError::OtherFederation { .. } => Self::internal(&error),
            RostersError::Node(error) => error.into(),
        }
    }
}

impl From<RosterError> for Problem {
    fn from(error: RosterError) -> Self {
        let said = error.to_string();
        match error {
            RosterError::Gate(_) => Self::new("body_invalid", said),
            RosterError::Gap { next, .. } => Self::new("roster_incomplete", said).with("next_version", next),
            RosterError::TooFewSigners { version, have, need } => Self::new("roster_incomplete", said)
                .with("signers_of_version", version)
                .with("signed", have)
                .with("needed", need),
            RosterError::Undecided { .. } => Self::new("roster_conflict", said),
            _ => Self::new("roster_refused", said),
        }
    }
}

/// The rosters that are read.
fn rosters(state: &HttpState) -> Result<&Rosters, Problem> {
    let rosters = state.options.rosters.as_deref();
    rosters.ok_or_else(|| Problem::new("not_found", "this node belongs to no federation"))
}

/// The version that is followed.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RosterAnswer)]
struct RosterAnswerBody {
    /// Its number.
    #[schema(example = 2)]
    version: u64,
    /// SHA-256 of its body, base64url.
    #[schema(example = "YmKti_o1XyJpnz1ntf8grn64nxaoiRJrEyCRNfvsmYs")]
    hash: String,
}

/// Brings the next version of the federation's roster, or more signatures of the newest.
///
/// The body is the version with its signatures as `schemas/roster.cddl` has it. It is
/// followed once enough signers of the version before and of its own have signed it;
/// a version that is followed already changes nothing. Of a second version of the
/// newest number, though it is refused, the node keeps the evidence.
#[utoipa::path(
    tag = "office",
    operation_id = "publishRoster",
    request_body(content = Vec<u8>, content_type = "application/cbor", description = "A signed roster"),
    responses((status = 200, description = "It is followed", body = RosterAnswerBody))
)]
#[post("/v1/federation/rosters")]
pub async fn post_roster(
    state: Data<HttpState>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let identity = Identity::of(&state, &request, May::Administer)?;
    let post = Post::read_roster(&state, &request, payload, &identity).await?;
    let rosters = state.options.rosters.as_deref().ok_or_else(|| {
        Problem::new(
            "federation_not_pinned",
            "this node belongs to no federation: its setting federation names none",
        )
    })?;
    let (version, hash) = rosters
        .offer(&SignedRoster::decode(post.bytes())?, Some(&post.caller))
        .await?;
    let answer = RosterAnswerBody {
        version,
        hash: hash.to_string(),
    };
    Ok(negotiate::json(StatusCode::OK, &answer))
}

/// The version of the federation's roster that this node follows.
#[utoipa::path(
    tag = "public",
    operation_id = "getRoster",
    responses((status = 200, description = "The version with its signatures (schemas/roster.cddl)",
        content_type = "application/cbor", body = Vec<u8>))
)]
#[get("/federation/roster")]
pub async fn newest_roster(state: Data<HttpState>) -> Result<HttpResponse, Problem> {
    let chain = rosters(&state)?.chain();
    let signed = chain.signed().ok_or_else(none)?;
    Ok(answer(signed.encode()))
}

/// A version of the federation's roster that this node follows, or followed.
#[utoipa::path(
    tag = "public",
    operation_id = "getRosterVersion",
    params(("version" = u64, Path, description = "Its number, from 1 on", example = 1, minimum = 1)),
    responses((status = 200, description = "The version with its signatures (schemas/roster.cddl)",
        content_type = "application/cbor", body = Vec<u8>))
)]
#[get("/federation/roster/{version}")]
pub async fn roster_version(state: Data<HttpState>, version: Path<String>) -> Result<HttpResponse, Problem> {
    let rosters = rosters(&state)?;
    let number: Option<u64> = version.parse().ok();
    // One spelling only, as of all numbers in addresses.
    let number = number
        .filter(|number| number.to_string() == *version)
        .ok_or_else(none)?;
    let bytes = rosters
        .version(number)
        .map_err(|error| Problem::internal(&error))?;
    Ok(answer(bytes.ok_or_else(none)?))
}

/// Two versions of the newest number that were signed, if there are: evidence.
///
/// A CBOR array of the two signed rosters, each as a byte string; the first is the one
/// that this node follows.
#[utoipa::path(
    tag = "public",
    operation_id = "getRosterConflict",
    responses((status = 200, description = "Both, as byte strings in an array",
        content_type = "application/cbor", body = Vec<u8>))
)]
#[get("/federation/conflict")]
pub async fn roster_conflict(state: Data<HttpState>) -> Result<HttpResponse, Problem> {
    let chain = rosters(&state)?.chain();
    let conflict = chain
        .conflict()
        .ok_or_else(|| Problem::new("not_found", "no two versions of the newest number are known here"))?;
    Ok(answer(conflict.encode()))
}

fn none() -> Problem {
    Problem::new("not_found", "this version of the roster is not here")
}

fn answer(bytes: Vec<u8>) -> HttpResponse {
    HttpResponse::Ok()
        .content_type(CBOR)
        .insert_header((header::CACHE_CONTROL, format!("public, max-age={ROSTER_SECONDS}")))
        .body(negotiate::in_pieces(bytes.into()))
}
