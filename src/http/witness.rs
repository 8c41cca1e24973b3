//! `add-checkpoint` (c2sp.org/tlog-witness): other logs' checkpoints, to be
//! cosigned; and the newest of them for who watches those logs. As its
//! specification has it: no access key, no `Idempotency-Key`.

use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse, get, post};
use data_encoding::HEXLOWER;

use crate::federation::WitnessError;
use crate::log::NotCosigned;
use crate::log::witness::SIZE_TYPE;
use crate::primitives::limits;

use super::HttpState;
use super::negotiate::TEXT;
use super::problem::Problem;
use super::request::{read_body, unpacked};

/// How long a witnessed checkpoint may be kept, in seconds: logs grow all the time.
const WITNESSED_SECONDS: u32 = 2;

impl From<WitnessError> for Problem {
    fn from(error: WitnessError) -> Self {
        let said = error.to_string();
        match error {
            WitnessError::Malformed(_) | WitnessError::Refused(NotCosigned::OldAboveSize { .. }) => {
                Self::new("checkpoint_invalid", said)
            }
            WitnessError::LogUnknown => Self::new("log_unknown", said),
            WitnessError::NotSigned(_) => Self::new("checkpoint_not_signed", said),
            WitnessError::Refused(why) => why.into(),
            WitnessError::Busy => Self::new("busy", said),
            WitnessError::Node(error) => error.into(),
        }
    }
}

impl From<NotCosigned> for Problem {
    fn from(why: NotCosigned) -> Self {
        Self::new("checkpoint_inconsistent", why.to_string())
    }
}

/// Cosigns a checkpoint of another log (C2SP tlog-witness).
///
/// For logs that the node's setting `witness_logs` names, signed by a key that
/// stands there. The body is `old` and a size, the proof that the checkpoint
/// continues the one of that size which this witness cosigned last, a line a
/// hash, an empty line, and the checkpoint. Where another size was cosigned last,
/// that size is the answer.
#[utoipa::path(
    tag = "public",
    operation_id = "addCheckpoint",
    request_body(content = String, content_type = "text/plain", description = "As tlog-witness has it"),
    responses(
        (status = 200, description = "The line that cosigns it", content_type = "text/plain; charset=utf-8", body = String),
        (status = 409, description = "The size that was cosigned last", content_type = "text/x.tlog.size", body = String),
    )
)]
#[post("/add-checkpoint")]
pub async fn add_checkpoint(
    state: Data<HttpState>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    unpacked(&request)?;
    let body = read_body(&request, payload, state.options.client_timeout).await?;
    if body.len() > limits::ADD_CHECKPOINT_BYTES_MAX {
        return Err(Problem::new(
            "body_too_large",
            format!(
                "the body has more than {} bytes",
                limits::ADD_CHECKPOINT_BYTES_MAX
            ),
        ));
    }
    match state.witness.add_checkpoint(&body).await {
        Ok(line) => Ok(HttpResponse::Ok().content_type(TEXT).body(line)),
        Err(WitnessError::Refused(NotCosigned::OtherOld { held })) => {
            Ok(HttpResponse::build(StatusCode::CONFLICT)
                .content_type(SIZE_TYPE)
                .body(format!("{held}\n")))
        }
        Err(error) => Err(error.into()),
    }
}

/// The checkpoint of another log that this witness cosigned last.
///
/// Named by the SHA-256 of the log's origin: what the log shows is to be
/// consistent with it.
#[utoipa::path(
    tag = "public",
    operation_id = "getWitnessedCheckpoint",
    params(("origin" = String, Path, description = "SHA-256 of the log's origin in lower-case hexadecimal")),
    responses((status = 200, description = "The signed checkpoint, cosigned (C2SP tlog-witness)",
        content_type = "text/plain; charset=utf-8", body = String))
)]
#[get("/{origin}/checkpoint")]
pub async fn witnessed_checkpoint(
    state: Data<HttpState>,
    origin: Path<String>,
) -> Result<HttpResponse, Problem> {
    let hash = HEXLOWER.decode(origin.as_bytes()).ok();
    let hash = hash.and_then(|hash| <[u8; 32]>::try_from(hash).ok());
    let note = hash.and_then(|hash| state.witness.latest(&hash));
    let note = note.ok_or_else(|| {
        Problem::new(
            "not_found",
            "no checkpoint of a log with this hash of its origin was cosigned",
        )
    })?;
    Ok(HttpResponse::Ok()
        .content_type(TEXT)
        .insert_header((
            header::CACHE_CONTROL,
            format!("public, max-age={WITNESSED_SECONDS}"),
        ))
        .body(note.to_string()))
}
