//! What calls have in common: keys, headers, problem documents; and what holds
//! for the whole API.

use serde_json::{Value, json};

use super::{codes, examples, links, page, problems, scalars};

/// Calls under `/v1/` that need no key.
const KEYLESS: [&str; 3] = ["listCampaigns", "getCampaign", "getConsistencyProof"];

/// POSTs without an `Idempotency-Key`: these change nothing, or are as their
/// specification has them, or each request in them has an identity of its own.
const WITHOUT_IDEMPOTENCY_KEY: [&str; 5] = [
    "validateCoupon",
    "addCheckpoint",
    "partnerRedemptions",
    "gossip",
    "readEntries",
];

/// Calls outside of `/v1/` for those who may read entries.
const FOR_AUDITORS: [&str; 6] = [
    "getEntryBundle",
    "getStubBundle",
    "getTagTile",
    "getMirrorEntryBundle",
    "getMirrorStubBundle",
    "getMirrorTagTile",
];

/// The usual form of a request to cosign a checkpoint; checkpoints of others may
/// have further lines.
const ADD_CHECKPOINT: &str = concat!(
    "^old (0|[1-9][0-9]{0,17})\n([A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=\n){0,63}\n",
    "[!-*,-~]{1,253}\n(0|[1-9][0-9]{0,17})\n[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=\n\n",
    "(\u{2014} [!-*,-~]{1,253} ([A-Za-z0-9+/]{4}){2,30}\n){1,16}$",
);

/// Media types of signed bytes.
const BINARY: [&str; 4] = [
    "application/cose",
    "application/statuslist+cwt",
    "application/cbor",
    "application/octet-stream",
];

const ABOUT: &str = "\
Signed receipts and coupons of a co-op, in a log that anyone can check.

**Manners.** Amounts are integers of the currency's minor unit, decimals are strings, times are RFC 3339 with an \
offset, bytes are base64url without padding; unknown and duplicate members are refused, `null` is as if absent. Bodies \
are JSON in UTF-8 of at most 512 KiB, without a Content-Encoding.

**Errors** are problem documents (RFC 9457) with a stable `code`; `/errors` lists all of them. 422 says that a \
well-formed body breaks a rule of the domain. A request that was refused has changed nothing.

**Retries.** Every POST under `/v1/` that changes something carries an `Idempotency-Key`: send it again with the same body, after \
`Retry-After` seconds where that header stands, else with growing pauses, until there is an answer other than 408, 409, \
500 and 503; it is done once, and its answer is the first one byte for byte. If even the key is lost, look the call up by \
register and `till_reference`.

**Methods.** HEAD is answered wherever GET is, with the same headers and without the body. Every other method gets 405 \
and `Allow`; OPTIONS too, unless it is a browser's preflight from an origin that the node's setting `cors_origins` \
names: then it gets the headers of CORS.

**Below HTTP handling.** What is no request by RFC 9112 is answered with an empty body before the API sees it, and the \
connection ends: 400 (a malformed head, both Content-Length and Transfer-Encoding, either of them \
twice, a missing or second Host, another transfer coding than chunked, a malformed chunk), 431 (more than 96 headers, or a \
head of more than 128 KiB) and 408 (a head that does not arrive within 10 seconds). An answer that is not read is given up after 60 seconds, an \
idle connection after 75.";

/// Completes the description that utoipa made.
pub fn complete(document: &mut Value) {
    document["info"] = json!({
        "title": "Tallystick",
        "version": env!("CARGO_PKG_VERSION"),
        "description": ABOUT,
        "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
    });
    document["servers"] = json!([{"url": "/", "description": "This node"}]);
    document["tags"] = json!([
        {"name": "tills", "description": "What tills do"},
        {"name": "office", "description": "What the office does"},
        {"name": "public", "description": "What anyone may read"},
        {"name": "operation", "description": "What operators' machines ask"},
    ]);
    for (path, item) in page::paths().as_object_mut().into_iter().flatten() {
        document["paths"][path] = item.take();
    }
    let components = &mut document["components"];
    components["securitySchemes"] = security_schemes();
    components["parameters"] = parameters();
    components["headers"] = headers();
    components["examples"] = problems::examples();
    components["responses"] = problems::shared_responses();
    scalars::refine(&mut components["schemas"]);
    components["schemas"]["Problem"] = problems::schema();
    for (path, item) in document["paths"].as_object_mut().into_iter().flatten() {
        for (method, operation) in item.as_object_mut().into_iter().flatten() {
            complete_operation(path, method, operation);
        }
    }
    // Bytes as they are, as in answers.
    document["paths"]["/v1/federation/rosters"]["post"]["requestBody"]["content"]["application/cbor"]
        .as_object_mut()
        .map(|content| content.remove("schema"));
    document["paths"]["/add-checkpoint"]["post"]["requestBody"]["content"]["text/plain"]["schema"] =
        json!({"type": "string", "pattern": ADD_CHECKPOINT});
    links::add(document);
    document["paths"]["/v1/receipts"]["post"]["responses"]["200"]["content"]["application/x-ndjson"]["schema"] =
        line_of_receipts();
}

/// What becomes of one line of a stream: a receipt, or a problem with the line's number.
fn line_of_receipts() -> Value {
    json!({"oneOf": [
        {"$ref": "#/components/schemas/ReceiptResult"},
        {"allOf": [
            {"$ref": "#/components/schemas/Problem"},
            {"type": "object", "required": ["line"], "properties": {"line": {"type": "integer", "minimum": 1}}},
        ]},
    ]})
}

fn security_schemes() -> Value {
    json!({
        "access_key": {
            "type": "http", "scheme": "bearer",
            "description": "A till key (bound to its register), an office key or an auditor key",
        },
        "receipt_proof": {
            "type": "apiKey", "in": "header", "name": "Receipt-Proof",
            "description": "Base64url of SHA-256 of the signature of a receipt's stub: opens this one receipt",
        },
    })
}

fn parameters() -> Value {
    json!({
        "IdempotencyKey": {
            "name": "Idempotency-Key", "in": "header", "required": true,
            "description": "Names the intent: a repeat with the same key and body gets the first answer, byte for \
                byte, and is done once. 1 to 255 visible ASCII characters, scoped to the register or the office.",
            "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
            "example": "6f0c2a52-7d0e-4d3e-9a1e-0d4f5c1b2a33",
        },
        "IfNoneMatch": {
            "name": "If-None-Match", "in": "header",
            "description": "The ETag of what is at hand: 304 if it still stands",
            "schema": {"type": "string"}, "example": "\"b1946ac92492d2347c6235b4d2611184\"",
        },
    })
}

fn headers() -> Value {
    let header = |what: &str, example: &str| {
        json!({
            "description": what, "required": true, "schema": {"type": "string"}, "example": example,
        })
    };
    let mut headers = json!({
        "RequestId": header("Names the request in the node's log", "9f3c1a20-17"),
        "NotStored": header("It is the caller's alone", "no-store"),
        "NoSniff": header("It is what Content-Type says", "nosniff"),
        "NoReferrer": header("Addresses of this node are told to nobody", "no-referrer"),
        "ContentSecurityPolicy": header(
            "It is no page, or a page that loads only from here", "default-src 'none'; frame-ancestors 'none'"
        ),
        "RetryAfter": header("Seconds to wait", "1"),
        "Allow": header("The methods that the address takes", "GET, HEAD, POST"),
        "WwwAuthenticate": header("How to authenticate", "Bearer"),
        "ETag": header("Names this content", "\"b1946ac92492d2347c6235b4d2611184\""),
        "Vary": header("The answer depends on this header of the request", "Accept"),
        "VaryEncoding": header("The answer depends on this header of the request", "Accept-Encoding"),
    });
    headers["RetryAfter"]["schema"] = json!({"type": "integer", "minimum": 1});
    headers["RetryAfter"]["example"] = json!(1);
    headers["RequestId"]["schema"]["pattern"] = json!("^[0-9a-f]{8}-[0-9]+$");
    headers
}

/// Adds headers to a response: those of every answer, and `own` as pairs of
/// name and component.
pub fn add_headers(response: &mut Value, own: &[(&str, &str)]) {
    let all = [
        ("X-Request-Id", "RequestId"),
        ("X-Content-Type-Options", "NoSniff"),
        ("Referrer-Policy", "NoReferrer"),
        ("Content-Security-Policy", "ContentSecurityPolicy"),
    ];
    for (name, component) in all.iter().chain(own) {
        response["headers"][name] = json!({"$ref": format!("#/components/headers/{component}")});
    }
}

fn complete_operation(path: &str, method: &str, operation: &mut Value) {
    let id = operation["operationId"].as_str().unwrap_or_default().to_owned();
    if path.starts_with("/v1/") && !KEYLESS.contains(&id.as_str()) {
        operation["security"] = json!([{"access_key": []}]);
    }
    match id.as_str() {
        "getReceipt" => operation["security"] = json!([{"access_key": []}, {"receipt_proof": []}]),
        // By index for everyone.
        "getInclusionProof" => operation["security"] = json!([{}, {"access_key": []}, {"receipt_proof": []}]),
        id if FOR_AUDITORS.contains(&id) => operation["security"] = json!([{"access_key": []}]),
        _ => {}
    }
    let more = match id.as_str() {
        id if method == "post" && !WITHOUT_IDEMPOTENCY_KEY.contains(&id) => Some("IdempotencyKey"),
        "getStatusList" => Some("IfNoneMatch"),
        _ => None,
    };
    if let Some(name) = more {
        if !operation["parameters"].is_array() {
            operation["parameters"] = json!([]);
        }
        if let Some(list) = operation["parameters"].as_array_mut() {
            list.push(json!({"$ref": format!("#/components/parameters/{name}")}));
        }
    }
    for (status, response) in operation["responses"].as_object_mut().into_iter().flatten() {
        complete_success(&id, status, response);
    }
    let mut codes = codes::of_call(&id).unwrap_or_default();
    codes.push("method_not_allowed");
    for (status, response) in problems::responses(&codes) {
        operation["responses"][status] = response;
    }
    examples::add(&id, operation);
}

fn complete_success(id: &str, status: &str, response: &mut Value) {
    let content = response.get_mut("content").and_then(Value::as_object_mut);
    for (media, what) in content.into_iter().flatten() {
        // Bytes as they are: OpenAPI 3.1 has no schema for them.
        if BINARY.contains(&media.as_str()) {
            *what = json!({});
        }
    }
    let mut own = Vec::new();
    if matches!(
        id,
        "getStatusList" | "getPageFile" | "getVerificationPage" | "getVerificationPageInLowerCase"
    ) {
        own.push(("ETag", "ETag"));
    }
    match id {
        "getCampaign" => own.push(("Vary", "Vary")),
        "getEntryBundle" | "getMirrorEntryBundle" | "getStubBundle" | "getMirrorStubBundle" => {
            own.push(("Vary", "VaryEncoding"));
        }
        _ => {}
    }
    add_headers(response, &own);
    let (kept, why) = kept(id);
    let schema = match id {
        // A partial one is kept for a minute.
        "getTile" | "getMirrorTile" => json!({"type": "string"}),
        id if FOR_AUDITORS.contains(&id) => json!({"type": "string"}),
        _ => json!({"type": "string", "const": kept}),
    };
    response["headers"]["Cache-Control"] =
        json!({"description": why, "required": true, "schema": schema, "example": kept});
    if status == "304"
        && let Some(members) = response.as_object_mut()
    {
        members.remove("content");
    }
}

/// What `Cache-Control` says of a success, and why.
fn kept(id: &str) -> (&'static str, &'static str) {
    match id {
        "getCampaign" => ("public, max-age=3600", "A campaign never changes"),
        "getDidDocument" => ("public, max-age=300", "A new key is known within minutes"),
        "getTile" | "getMirrorTile" => (
            "public, max-age=31536000, immutable",
            "A full tile never changes; a partial one is kept for a minute",
        ),
        "getMirrorStubBundle" | "getMirrorTagTile" => ("no-store", "What is lacking may come"),
        id if FOR_AUDITORS.contains(&id) => (
            "private, max-age=31536000, immutable",
            "As of a tile; private unless entries are public",
        ),
        "getWitnessedCheckpoint" => ("public, max-age=2", "Logs grow all the time"),
        "getCheckpoint" | "getMirrorCheckpoint" | "getMirrorKey" => {
            ("public, max-age=2", "The log grows all the time")
        }
        "getRoster" | "getRosterVersion" | "getRosterConflict" => {
            ("public, max-age=60", "A new version is known within minutes")
        }
        "getStatusList" => ("public, max-age=60", "The token's ttl"),
        "getOpenApi" | "getErrors" => ("public, max-age=300", "It changes with the node's version"),
        "getVerificationPage" | "getVerificationPageInLowerCase" | "getPageFile" => {
            ("no-cache", "Scripts of two versions must not mix: ask each time")
        }
        _ => ("no-store", "It is the caller's alone, or of this moment"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use crate::http::openapi::{codes, document};
    use crate::http::problem::TABLE;

    #[test]
    fn every_call_names_its_codes_and_every_code_a_call() {
        let mut named = BTreeSet::from(["method_not_allowed"]);
        for item in document()["paths"].as_object().unwrap().values() {
            for operation in item.as_object().unwrap().values() {
                let id = operation["operationId"].as_str().unwrap();
                let codes = codes::of_call(id).unwrap_or_else(|| panic!("{id} has no codes"));
                let each: BTreeSet<&str> = codes.iter().copied().collect();
                assert_eq!(each.len(), codes.len(), "{id} names a code twice");
                named.extend(codes);
            }
        }
        let table: BTreeSet<&str> = TABLE.iter().map(|row| row.code).collect();
        assert_eq!(named, table);
        let refused = codes::of_refused_validation();
        assert!(refused.iter().all(|code| table.contains(code)));
    }
}
