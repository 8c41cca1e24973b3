//! Reading requests: `Idempotency-Key`, raw bodies with a cap, queries.

use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::http::header::{self, HeaderName};
use actix_web::web::{Bytes, BytesMut, Payload, Query};
use futures_util::StreamExt as _;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use utoipa::IntoParams;

use crate::node::Caller;
use crate::primitives::{Register, limits};

use super::HttpState;
use super::auth::Identity;
use super::negotiate::CBOR;
use super::problem::Problem;
use super::scalars::{Object, Reference, RegisterName};

/// Names the intent of a POST.
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

const JSON: &str = "application/json";

/// A JSON object a line, each a request of its own.
pub const NDJSON: &str = "application/x-ndjson";

/// A POST that changes state, read but not yet understood.
pub struct Post {
    /// Who asks, under which key, with what.
    pub caller: Caller,
    body: Bytes,
}

impl Post {
    /// Reads the key and the body, raw: a key is bound to the bytes as sent.
    pub async fn read(
        state: &HttpState,
        request: &HttpRequest,
        payload: Payload,
        identity: &Identity,
    ) -> Result<Self, Problem> {
        let idempotency_key = idempotency_key(request)?;
        let content_type = json_content_type(request)?;
        let body = read_body(request, payload, state.options.client_timeout).await?;
        Ok(Self::named(
            request,
            identity,
            idempotency_key,
            content_type,
            body,
        ))
    }

    /// Reads a roster: CBOR, and longer than JSON may be.
    pub async fn read_roster(
        state: &HttpState,
        request: &HttpRequest,
        payload: Payload,
        identity: &Identity,
    ) -> Result<Self, Problem> {
        let idempotency_key = idempotency_key(request)?;
        let content_type = content_type(request, CBOR)?.ok_or_else(|| {
            let why = "the body has to be sent as Content-Type: application/cbor";
            Problem::new("content_type_unsupported", why)
        })?;
        let within = state.options.client_timeout;
        let body = read_body_of(request, payload, within, limits::ROSTER_BYTES_MAX).await?;
        Ok(Self::named(
            request,
            identity,
            idempotency_key,
            content_type,
            body,
        ))
    }

    fn named(
        request: &HttpRequest,
        identity: &Identity,
        idempotency_key: &str,
        content_type: &str,
        body: Bytes,
    ) -> Self {
        let path = request.uri().path();
        let digest = Caller::request_digest(request.method().as_str(), path, content_type, &body);
        let caller = Caller {
            scope: identity.scope(),
            idempotency_key: idempotency_key.to_owned(),
            request: digest,
        };
        Self { caller, body }
    }

    /// The body, raw.
    pub fn bytes(&self) -> &[u8] {
        &self.body
    }

    /// The body as a `T`.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        parse(&self.body)
    }
}

/// The JSON body of a call that changes nothing.
pub async fn read_json<T: DeserializeOwned>(
    state: &HttpState,
    request: &HttpRequest,
    payload: Payload,
) -> Result<T, Problem> {
    json_content_type(request)?;
    parse(&read_body(request, payload, state.options.client_timeout).await?)
}

/// The query, all of whose members have to be known.
pub fn query<T: DeserializeOwned>(request: &HttpRequest) -> Result<T, Problem> {
    Query::<T>::from_query(request.query_string())
        .map(Query::into_inner)
        .map_err(|error| Problem::new("query_invalid", error.to_string()))
}

/// What a till asks after a call whose answer was lost.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ByReference {
    /// A till key implies its own.
    #[param(value_type = Option<RegisterName>, nullable = false)]
    register: Option<RegisterName>,
    /// The till's own reference.
    #[param(value_type = Reference)]
    till_reference: Reference,
}

impl ByReference {
    /// Register and reference out of the query, the register as `identity` may.
    pub fn read(request: &HttpRequest, identity: &Identity) -> Result<(Register, String), Problem> {
        let asked: Self = query(request)?;
        let register = identity.register_or(asked.register.map(|name| name.0))?;
        Ok((register, asked.till_reference.0))
    }
}

/// Reads a body, or a line of a stream.
pub fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let read: Result<Object<T>, _> = serde_json::from_slice(body);
    read.map(|object| object.0)
        .map_err(|error| Problem::new("body_invalid", error.to_string()))
}

/// The key that the header gives.
pub fn idempotency_key(request: &HttpRequest) -> Result<&str, Problem> {
    let mut values = request.headers().get_all(IDEMPOTENCY_KEY);
    let Some(value) = values.next() else {
        return Err(Problem::new(
            "idempotency_key_required",
            "every POST that changes something needs the header Idempotency-Key",
        ));
    };
    let invalid = |why| Problem::new("idempotency_key_invalid", why);
    if values.next().is_some() {
        return Err(invalid("the header Idempotency-Key stands more than once"));
    }
    let visible = value.as_bytes().iter().all(|byte| (0x21..=0x7e).contains(byte));
    if !visible || !(1..=limits::IDEMPOTENCY_KEY_CHARS_MAX).contains(&value.len()) {
        return Err(invalid(
            "an Idempotency-Key has 1 to 255 visible ASCII characters and no spaces",
        ));
    }
    value
        .to_str()
        .map_err(|_| invalid("an Idempotency-Key is made of ASCII characters"))
}

/// The content type as sent, if it says JSON and nothing is packed.
fn json_content_type(request: &HttpRequest) -> Result<&str, Problem> {
    content_type(request, JSON)?.ok_or_else(|| {
        let why = "the body has to be sent as Content-Type: application/json";
        Problem::new("content_type_unsupported", why)
    })
}

/// The content type as sent, if it is `media`; `None` if it is another.
///
/// # Errors
/// When the body is packed.
pub fn content_type<'a>(request: &'a HttpRequest, media: &str) -> Result<Option<&'a str>, Problem> {
    unpacked(request)?;
    let value = request.headers().get(header::CONTENT_TYPE);
    let text = value.and_then(|value| value.to_str().ok()).unwrap_or_default();
    let said = text.split(';').next().unwrap_or_default().trim();
    Ok(said.eq_ignore_ascii_case(media).then_some(text))
}

/// Refuses a body that is packed.
pub fn unpacked(request: &HttpRequest) -> Result<(), Problem> {
    let packed = request.headers().get(header::CONTENT_ENCODING);
    if packed.is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(Problem::new(
            "content_type_unsupported",
            "bodies are taken as they are, without a Content-Encoding",
        ));
    }
    Ok(())
}

/// The body, raw. One that comes in a single piece, as most do, is not copied.
pub async fn read_body(request: &HttpRequest, payload: Payload, within: Duration) -> Result<Bytes, Problem> {
    read_body_of(request, payload, within, limits::BODY_BYTES_MAX).await
}

/// The body of at most `most` bytes.
pub async fn read_body_of(
    request: &HttpRequest,
    payload: Payload,
    within: Duration,
    most: usize,
) -> Result<Bytes, Problem> {
    tokio::time::timeout(within, gather(request, payload, most))
        .await
        .unwrap_or_else(|_| Err(Problem::new("body_timeout", "the body did not arrive in time")))
}

async fn gather(request: &HttpRequest, mut payload: Payload, most: usize) -> Result<Bytes, Problem> {
    let declared = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|length| length > limits::BODY_DRAIN_BYTES_MAX as u64) {
        return Err(too_large(most));
    }
    let broken = |_| Problem::new("body_invalid", "the body broke off");
    let Some(first) = payload.next().await else {
        return Ok(Bytes::new());
    };
    let first = first.map_err(broken)?;
    let Some(second) = payload.next().await else {
        return if first.len() > most {
            Err(too_large(most))
        } else {
            Ok(first)
        };
    };
    let room = usize::try_from(declared.unwrap_or(0)).unwrap_or(0);
    let mut whole = BytesMut::with_capacity(room.min(most));
    whole.extend_from_slice(&first);
    let mut next = Some(second);
    let mut length = whole.len();
    while let Some(piece) = next {
        let piece = piece.map_err(broken)?;
        length += piece.len();
        // What is a little too long is read and dropped, so that its sender
        // gets to read why; an endless body is cut off.
        if length > limits::BODY_DRAIN_BYTES_MAX {
            return Err(too_large(most));
        }
        if length <= most {
            whole.extend_from_slice(&piece);
        }
        next = payload.next().await;
    }
    if length > most {
        return Err(too_large(most));
    }
    Ok(whole.freeze())
}

fn too_large(most: usize) -> Problem {
    Problem::new("body_too_large", format!("the body has more than {most} bytes"))
}
