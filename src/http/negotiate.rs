//! JSON or COSE: what the caller accepts, and the answers in either form.

use std::convert::Infallible;

use actix_web::body::{BoxBody, SizedStream};
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName};
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse};
use futures_util::stream;
use serde::Serialize;

use crate::primitives::limits;

use super::request::NDJSON;

/// The media type of a signed credential (RFC 9052, section 11.3.1).
pub const COSE: &str = "application/cose; cose-type=\"cose-sign1\"";

/// The media type of an entry's bytes (RFC 8949, section 9.5).
pub const CBOR: &str = "application/cbor";

/// The media type of signed notes and of proofs in text.
pub const TEXT: &str = "text/plain; charset=utf-8";

/// True when the caller would rather have `application/cose` than JSON.
pub fn wants_cose(request: &HttpRequest) -> bool {
    prefers(request, "application/cose")
}

/// True when the caller would rather have `application/cbor` than JSON.
pub fn wants_cbor(request: &HttpRequest) -> bool {
    prefers(request, CBOR)
}

/// True when the caller would rather have `text/plain` than JSON.
pub fn wants_text(request: &HttpRequest) -> bool {
    prefers(request, "text/plain")
}

/// True when the caller asks for gzip, and not rather for bytes as they are.
pub fn wants_gzip(request: &HttpRequest) -> bool {
    is_preferred(request, &header::ACCEPT_ENCODING, "gzip", "identity")
}

/// True when the caller would rather have a line for each thing than one answer.
pub fn wants_ndjson(request: &HttpRequest) -> bool {
    prefers(request, NDJSON)
}

fn prefers(request: &HttpRequest, wanted: &str) -> bool {
    is_preferred(request, &header::ACCEPT, wanted, "application/json")
}

/// Whether the header asks for `wanted`, and for `usual` no more than for it.
fn is_preferred(request: &HttpRequest, name: &HeaderName, wanted: &str, usual: &str) -> bool {
    let mut special = 0.0;
    let mut plain = 0.0;
    let values = request.headers().get_all(name);
    for range in values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(','))
    {
        let mut parts = range.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default();
        let quality = parts
            .find_map(|part| part.strip_prefix("q=")?.parse::<f32>().ok())
            .unwrap_or(1.0);
        if media.eq_ignore_ascii_case(wanted) {
            special = quality;
        } else if media.eq_ignore_ascii_case(usual) {
            plain = quality;
        }
    }
    special > 0.0 && special >= plain
}

/// An answer in JSON.
pub fn json(status: StatusCode, body: &impl Serialize) -> HttpResponse {
    let bytes = serde_json::to_vec(body).expect("answers hold nothing that JSON cannot");
    HttpResponse::build(status)
        .content_type("application/json")
        .body(in_pieces(bytes.into()))
}

/// A body that is sent in pieces where it is long: what waits for a slow reader
/// is a piece of it, beside the body itself, and not a second copy.
pub fn in_pieces(whole: Bytes) -> BoxBody {
    if whole.len() <= limits::ANSWER_PIECE_BYTES {
        return BoxBody::new(whole);
    }
    let length = whole.len() as u64;
    let pieces = stream::unfold(whole, async |mut rest| {
        if rest.is_empty() {
            return None;
        }
        let piece = rest.split_to(rest.len().min(limits::ANSWER_PIECE_BYTES));
        Some((Ok::<_, Infallible>(piece), rest))
    });
    BoxBody::new(SizedStream::new(length, Box::pin(pieces)))
}

/// A credential as it was signed.
pub fn cose(status: StatusCode, credential: Vec<u8>) -> HttpResponse {
    HttpResponse::build(status).content_type(COSE).body(credential)
}

/// Adds where the thing that was made can be read.
pub fn located(mut response: HttpResponse, path: &str) -> HttpResponse {
    if let Ok(value) = header::HeaderValue::from_str(path) {
        response.headers_mut().insert(header::LOCATION, value);
    }
    response
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn bodies_are_packed_for_who_asks_for_it() {
        for (accept, wanted) in [
            ("gzip", true),
            ("br, GZIP;q=0.8, *;q=0.1", true),
            ("gzip;q=1.0, identity;q=0.5", true),
            ("gzip;q=0.5, identity", false),
            ("gzip;q=0", false),
            ("*", false),
            ("br", false),
            ("", false),
        ] {
            let request = TestRequest::default()
                .insert_header((header::ACCEPT_ENCODING, accept))
                .to_http_request();
            assert_eq!(wants_gzip(&request), wanted, "{accept}");
        }
    }

    #[test]
    fn cose_is_given_to_who_asks_for_it() {
        for (accept, wanted) in [
            ("application/cose", true),
            ("application/cose; cose-type=\"cose-sign1\"", true),
            ("Application/COSE, */*;q=0.1", true),
            ("application/json, application/cose;q=0.5", false),
            ("application/cose;q=0", false),
            ("*/*", false),
            ("", false),
        ] {
            let request = TestRequest::default()
                .insert_header((header::ACCEPT, accept))
                .to_http_request();
            assert_eq!(wants_cose(&request), wanted, "{accept}");
            let accept = accept.replace("application/cose", NDJSON);
            let request = TestRequest::default()
                .insert_header((header::ACCEPT, accept.clone()))
                .to_http_request();
            assert_eq!(
                wants_ndjson(&request),
                wanted && !accept.contains("COSE"),
                "{accept}"
            );
        }
    }
}
