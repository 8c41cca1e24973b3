//! Gossip of other members' nodes.

use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse, post};

use crate::federation::gossip::GossipError;
use crate::federation::gossiper::GossiperError;
use crate::federation::message::{MessageError, MessageName};

use super::HttpState;
use super::partners::{message_answer, read_message};
use super::problem::Problem;

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
