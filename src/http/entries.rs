//! Members that read entries of this log by signed message.

use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse, post};

use crate::federation::entries::ArchiveError;
use crate::federation::message::MessageName;

use super::HttpState;
use super::partners::{message_answer, of_message, read_message};
use super::problem::Problem;

impl From<ArchiveError> for Problem {
    fn from(error: ArchiveError) -> Self {
        match error {
            ArchiveError::Message(error) => of_message(&error),
            ArchiveError::Busy => Self::new("busy", error.to_string()),
            ArchiveError::Node(error) => error.into(),
        }
    }
}

/// Entries for a member of the federation, tags of coupons, or what proves one coupon.
///
/// The message `entries-request` (`schemas/messages.cddl`, `schemas/entries.cddl`) by a
/// member's key for messages. It changes nothing. What the log does not have is answered
/// by message, too. A member may have 16 such messages under way.
#[utoipa::path(
    tag = "public",
    operation_id = "readEntries",
    request_body(content = Vec<u8>, content_type = "application/cose",
        description = "The message entries-request, with the parameter cose-type=\"cose-sign1\""),
    responses((status = 200, description = "The message entries",
        content_type = "application/cose", body = Vec<u8>))
)]
#[post("/federation/entries")]
pub async fn post_entries(
    state: Data<HttpState>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let archive = state
        .options
        .archive
        .as_ref()
        .ok_or_else(|| Problem::new("not_found", "this node belongs to no federation"))?;
    let body = read_message(&state, &request, payload, MessageName::EntriesRequest).await?;
    Ok(message_answer(archive.answer(&body).await?))
}
