//! `/v1/erasures`: what is personal of receipts is removed for good.

use actix_web::http::StatusCode;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse, post};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::node::ErasureTarget;
use crate::primitives::Tag;

use super::auth::{Identity, May};
use super::negotiate;
use super::problem::Problem;
use super::request::Post;
use super::scalars::Reference;
use super::{EntryBody, HttpState};

/// An erasure: exactly one of `receipt` and `member`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Erasure)]
struct ErasureBody {
    /// The receipt's `id`.
    #[schema(
        pattern = "^[A-Za-z0-9_-]{43}$",
        example = "mJ2yJb5nH0YkqFv0m3K7m3Jx0l2y8b1dH9w7Z4T1u0E"
    )]
    receipt: Option<String>,
    /// All receipts that name this member.
    member: Option<Reference>,
    /// Stands in the log for good, where auditors read it: it names no person.
    #[schema(min_length = 1, max_length = 500, example = "request of the person concerned")]
    reason: String,
}

impl ErasureBody {
    fn target(&self) -> Result<ErasureTarget, Problem> {
        match (&self.receipt, &self.member) {
            (Some(receipt), None) => Tag::parse(receipt)
                .map(ErasureTarget::Receipt)
                .ok_or_else(|| Problem::new("not_found", "there is no such receipt")),
            (None, Some(member)) => Ok(ErasureTarget::Member(member.0.clone())),
            _ => Err(Problem::new(
                "body_invalid",
                "name exactly one of receipt and member",
            )),
        }
    }
}

/// An erasure that was made.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ErasureAnswer)]
struct ErasureAnswerBody {
    /// How many receipts were erased.
    erased: u64,
    /// The entry of the last one: there is one for each.
    entry: EntryBody,
}

/// Erases what is personal of one receipt, or of all of a member's.
///
/// Lines, tenders, taxes, cashier, member, till reference and secret go; the
/// signed stub, which names no person, stays, so that totals can still be proven.
/// An entry of the log says when it was done and why. Whoever asks for the
/// receipt afterwards, its till included, gets `erased`. The bytes are gone from
/// the node's disk after `tallystick compact`.
#[utoipa::path(
    tag = "office",
    operation_id = "eraseReceipts",
    request_body(content = ErasureBody, content_type = "application/json"),
    responses((status = 201, description = "The erasure", body = ErasureAnswerBody))
)]
#[post("/v1/erasures")]
pub async fn post_erasure(
    state: Data<HttpState>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let identity = Identity::of(&state, &request, May::Administer)?;
    let post = Post::read(&state, &request, payload, &identity).await?;
    let body: ErasureBody = post.json()?;
    let target = body.target()?;
    let done = state.node.erase(&post.caller, target, &body.reason).await?;
    let answer = ErasureAnswerBody {
        erased: done.erased,
        entry: done.entry.into(),
    };
    Ok(negotiate::json(StatusCode::CREATED, &answer))
}
