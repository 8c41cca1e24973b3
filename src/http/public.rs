//! What everyone may read: status lists, the node's keys, the checkpoint; and
//! what operators' machines ask: metrics, health, the API's description.

use actix_web::http::StatusCode;
use actix_web::http::header::{self, ETag, EntityTag, IfNoneMatch};
use actix_web::web::{Bytes, Data, Header, Path};
use actix_web::{HttpRequest, HttpResponse, ResponseError as _, get};
use data_encoding::BASE64URL_NOPAD;
use prometheus::{Encoder as _, TextEncoder};
use serde::Serialize;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use utoipa::ToSchema;

use crate::credential::PublicKey;
use crate::federation::client::LOG_SERVICE;
use crate::log::VerifierKey;
use crate::primitives::{Origin, limits};

use super::HttpState;
use super::negotiate::TEXT;
use super::observe::Unmatched;
use super::openapi;
use super::problem::{Problem, errors_md};

const STATUS_LIST: &str = "application/statuslist+cwt";

/// How long a checkpoint may be kept, in seconds: the log grows all the time.
pub const CHECKPOINT_SECONDS: u32 = 2;

/// How long the node's keys may be kept, in seconds: a new key is known within
/// minutes.
const DID_SECONDS: u32 = 300;

/// A status list, as the signed token.
#[utoipa::path(
    tag = "public",
    operation_id = "getStatusList",
    params(("list" = u32, Path, description = "The list's number", example = 0)),
    responses(
        (status = 200, description = "The signed status list (Token Status List, CWT form)",
         content_type = "application/statuslist+cwt", body = Vec<u8>),
        (status = 304, description = "The token that If-None-Match names still stands"),
    )
)]
#[get("/s/{list}")]
pub async fn status_list(
    state: Data<HttpState>,
    list: Path<String>,
    known: Header<IfNoneMatch>,
) -> Result<HttpResponse, Problem> {
    let number: Option<u32> = list.parse().ok();
    // One spelling only: uris are compared whole.
    let number = number
        .filter(|number| number.to_string() == *list)
        .ok_or_else(|| Problem::new("not_found", "there is no such status list"))?;
    let token = state.node.status_list(number).await?;
    let tag = EntityTag::new_strong(BASE64URL_NOPAD.encode(&Sha256::digest(&token)[..16]));
    let fresh = match &*known {
        IfNoneMatch::Any => true,
        IfNoneMatch::Items(tags) => tags.iter().any(|other| other.weak_eq(&tag)),
    };
    let mut response = if fresh {
        HttpResponse::NotModified()
    } else {
        HttpResponse::Ok()
    };
    response
        .insert_header((
            header::CACHE_CONTROL,
            format!("public, max-age={}", limits::STATUS_LIST_TTL_SECONDS),
        ))
        .insert_header(ETag(tag));
    Ok(if fresh {
        response.finish()
    } else {
        response.content_type(STATUS_LIST).body(token)
    })
}

/// The node's keys, as the document of its did:web.
#[utoipa::path(
    tag = "public",
    operation_id = "getDidDocument",
    responses((status = 200, description = "The DID document", content_type = "application/did+json", body = Object))
)]
#[get("/.well-known/did.json")]
pub async fn did_json(state: Data<HttpState>) -> HttpResponse {
    HttpResponse::Ok()
        .content_type("application/did+json")
        .insert_header((header::CACHE_CONTROL, format!("public, max-age={DID_SECONDS}")))
        .body(state.did_document.clone())
}

/// The DID document of the node at `origin` (DID core 1.0, did:web): its
/// methods are named `#<kid in hex>`, the key in use first. The log's key signs no credential: it stands
/// with the log's address among the services, as the verifier key that signed
/// notes' tools know (C2SP signed-note).
pub fn did_document(origin: &Origin, keys: &[PublicKey], log_key: &VerifierKey) -> String {
    let did = origin.did_web();
    let name = |key: &PublicKey| format!("{did}#{}", key.kid());
    let method = |key: &PublicKey| {
        let jwk = key.to_jwk();
        json!({
            "id": name(key),
            "type": "JsonWebKey",
            "controller": did,
            "publicKeyJwk": {"kty": jwk.kty, "crv": jwk.crv, "x": jwk.x},
        })
    };
    let in_use = keys.first().map(PublicKey::did_key);
    json!({
        "@context": ["https://www.w3.org/ns/did/v1", "https://w3id.org/security/jwk/v1"],
        "id": did,
        "alsoKnownAs": Vec::from_iter(in_use),
        "verificationMethod": Vec::from_iter(keys.iter().map(method)),
        "assertionMethod": Vec::from_iter(keys.iter().map(name)),
        "service": [{
            "id": format!("{did}#log"),
            "type": LOG_SERVICE,
            "serviceEndpoint": origin.to_string(),
            "verifierKey": log_key.to_string(),
        }],
    })
    .to_string()
}

/// The newest checkpoint of the log, a signed note.
#[utoipa::path(
    tag = "public",
    operation_id = "getCheckpoint",
    responses((status = 200, description = "The signed checkpoint (C2SP tlog-checkpoint)",
        content_type = "text/plain; charset=utf-8", body = String))
)]
#[get("/checkpoint")]
pub async fn checkpoint(state: Data<HttpState>) -> HttpResponse {
    HttpResponse::Ok()
        .content_type(TEXT)
        .insert_header((
            header::CACHE_CONTROL,
            format!("public, max-age={CHECKPOINT_SECONDS}"),
        ))
        .body(state.node.checkpoint().to_string())
}

/// What the node counts, for Prometheus. For loopback peers only, unless the
/// node is set up otherwise.
#[utoipa::path(
    tag = "operation",
    operation_id = "getMetrics",
    responses((status = 200, description = "Prometheus text format", content_type = "text/plain; version=0.0.4", body = String))
)]
#[get("/metrics")]
pub async fn metrics(state: Data<HttpState>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    if !state.options.metrics_public && !is_local(&request) {
        return Err(Problem::new(
            "role_forbidden",
            "metrics are for loopback peers only",
        ));
    }
    let encoder = TextEncoder::new();
    let mut text = Vec::new();
    encoder
        .encode(&state.registry.gather(), &mut text)
        .map_err(|error| Problem::internal(&error))?;
    Ok(HttpResponse::Ok().content_type(encoder.format_type()).body(text))
}

/// True for a peer on this machine that speaks for itself: behind a proxy on
/// the same machine every peer is on loopback.
fn is_local(request: &HttpRequest) -> bool {
    let forwarded = ["forwarded", "x-forwarded-for", "x-real-ip"];
    let peer = request.peer_addr().map(|peer| peer.ip().to_canonical());
    peer.is_some_and(|peer| peer.is_loopback())
        && !forwarded.iter().any(|name| request.headers().contains_key(*name))
}

/// That all is well.
#[derive(Serialize, ToSchema)]
pub struct Health {
    /// `ok`.
    #[schema(example = "ok")]
    status: &'static str,
}

/// Whether the process lives.
#[utoipa::path(
    tag = "operation",
    operation_id = "getHealth",
    responses((status = 200, description = "It lives", body = Health))
)]
#[get("/healthz")]
pub async fn healthz() -> HttpResponse {
    super::negotiate::json(StatusCode::OK, &Health { status: "ok" })
}

/// Whether the node takes requests: 503 when its writer has stopped.
#[utoipa::path(
    tag = "operation",
    operation_id = "getReadiness",
    responses((status = 200, description = "It takes requests", body = Health))
)]
#[get("/readyz")]
pub async fn readyz(state: Data<HttpState>) -> Result<HttpResponse, Problem> {
    match state.node.stopped() {
        None => Ok(super::negotiate::json(StatusCode::OK, &Health { status: "ok" })),
        Some(_) => Err(Problem::new(
            "stopped",
            "the node has stopped writing and has to be started again",
        )),
    }
}

/// This description.
#[utoipa::path(
    tag = "operation",
    operation_id = "getOpenApi",
    responses((status = 200, description = "OpenAPI 3.1", body = Object))
)]
#[get("/openapi.json")]
pub async fn openapi_json() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("application/json")
        .insert_header((header::CACHE_CONTROL, "public, max-age=300"))
        .body(super::negotiate::in_pieces(Bytes::from_static(
            openapi::text().as_bytes(),
        )))
}

/// All codes of problem documents, for people: where their `type` leads.
#[utoipa::path(
    tag = "operation",
    operation_id = "getErrors",
    responses((status = 200, description = "A list of all error codes, in Markdown", content_type = "text/markdown; charset=utf-8", body = String))
)]
#[get("/errors")]
pub async fn errors() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/markdown; charset=utf-8")
        .insert_header((header::CACHE_CONTROL, "public, max-age=300"))
        .body(errors_md())
}

/// What no route takes: another method would have done, or nothing is there.
pub async fn unmatched(request: HttpRequest) -> HttpResponse {
    let allowed = openapi::methods_of(request.path());
    let mut response = if allowed.is_empty() {
        Problem::new("not_found", "there is nothing at this address").error_response()
    } else {
        let detail = format!("this address takes {}", allowed.join(", "));
        let mut response = Problem::new("method_not_allowed", detail).error_response();
        if let Ok(value) = header::HeaderValue::from_str(&allowed.join(", ")) {
            response.headers_mut().insert(header::ALLOW, value);
        }
        response
    };
    response.extensions_mut().insert(Unmatched);
    response
}
