//! The API's description, generated from the handlers: OpenAPI 3.1. What all
//! calls have in common (keys, headers, problem documents) is added here.

use std::sync::LazyLock;

use actix_web::App;
use serde_json::{Map, Value, json};
use utoipa_actix_web::AppExt as _;
use utoipa_actix_web::service_config::ServiceConfig;

use super::problem::{PROBLEM_JSON, TABLE};
use super::{batches, campaigns, coupons, public, receipts, redemptions, revocations};

/// Calls under `/v1/` that need no key.
const KEYLESS: [&str; 2] = ["/v1/campaigns", "/v1/campaigns/{id}"];

/// A POST that changes nothing, so that it needs no `Idempotency-Key`.
const CHANGES_NOTHING: &str = "/v1/validations";

/// Media types of signed bytes.
const BINARY: [&str; 2] = ["application/cose", "application/statuslist+cwt"];

/// Every route, for serving and for describing alike.
pub fn routes(config: &mut ServiceConfig<'_>) {
    // Routes are tried in this order: what tills wait for comes first.
    config
        .service(redemptions::post_redemption)
        .service(receipts::post_receipt)
        .service(coupons::post_validation)
        .service(receipts::find_receipts)
        .service(receipts::get_receipt)
        .service(campaigns::post_campaign)
        .service(campaigns::list_campaigns)
        .service(campaigns::get_campaign)
        .service(coupons::post_coupons)
        .service(batches::get_batch)
        .service(batches::get_tag_path)
        .service(batches::get_coupon_path)
        .service(redemptions::find_redemptions)
        .service(redemptions::get_redemption)
        .service(redemptions::post_reversal)
        .service(revocations::post_revocation)
        .service(public::status_list)
        .service(public::did_json)
        .service(public::checkpoint)
        .service(public::metrics)
        .service(public::healthz)
        .service(public::readyz)
        .service(public::openapi_json)
        .service(public::errors);
}

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    let (_, generated) = App::new().into_utoipa_app().configure(routes).split_for_parts();
    let mut document = serde_json::to_value(generated).expect("OpenAPI is JSON");
    complete(&mut document);
    document
});

static TEXT: LazyLock<String> = LazyLock::new(|| DOCUMENT.to_string());

/// The description as JSON.
#[must_use]
pub fn document() -> &'static Value {
    &DOCUMENT
}

/// The description as text.
pub fn text() -> &'static str {
    &TEXT
}

/// The methods that a path takes, HEAD wherever GET is; none where there is no
/// such path.
pub fn methods_of(path: &str) -> Vec<String> {
    let paths = DOCUMENT["paths"].as_object().into_iter().flatten();
    let found = paths.filter(|(pattern, _)| matches(pattern, path));
    let methods = found.flat_map(|(_, item)| item.as_object().into_iter().flat_map(Map::keys));
    let mut all = Vec::new();
    for method in methods {
        all.push(method.to_uppercase());
        if method == "get" {
            all.push("HEAD".to_owned());
        }
    }
    all
}

fn matches(pattern: &str, path: &str) -> bool {
    let mut segments = path.split('/');
    pattern.split('/').all(|wanted| {
        let found = segments.next();
        found.is_some_and(|found| found == wanted || (wanted.starts_with('{') && !found.is_empty()))
    }) && segments.next().is_none()
}

fn complete(document: &mut Value) {
    document["info"] = json!({
        "title": "Tallystick",
        "version": env!("CARGO_PKG_VERSION"),
        "description": "Signed receipts and coupons of a co-op, in a log that anyone can check. Amounts are integers \
            of the currency's minor unit, decimals are strings, times are RFC 3339, bytes are base64url without \
            padding; unknown members are refused. Errors are problem documents with a stable code: see /errors.",
        "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
    });
    document["tags"] = json!([
        {"name": "tills", "description": "What tills do"},
        {"name": "office", "description": "What the office does"},
        {"name": "public", "description": "What anyone may read"},
        {"name": "operation", "description": "What operators' machines ask"},
    ]);
    let components = &mut document["components"];
    components["securitySchemes"] = json!({
        "access_key": {
            "type": "http", "scheme": "bearer",
            "description": "A till key (bound to its register), an office key or an auditor key",
        },
        "receipt_proof": {
            "type": "apiKey", "in": "header", "name": "Receipt-Proof",
            "description": "Base64url of SHA-256 of the signature of a receipt's stub: opens this one receipt",
        },
    });
    components["schemas"]["Problem"] = problem_schema();
    components["parameters"] = json!({
        "IdempotencyKey": {
            "name": "Idempotency-Key", "in": "header", "required": true,
            "description": "Names the intent: a repeat with the same key and body gets the first answer, byte for \
                byte, and is done once. 1 to 255 visible ASCII characters, scoped to the register or the office.",
            "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
            "example": "6f0c2a52-7d0e-4d3e-9a1e-0d4f5c1b2a33",
        },
    });
    components["headers"] = json!({
        "RequestId": {"description": "Names the request in the node's log", "schema": {"type": "string"}},
        "RetryAfter": {"description": "Seconds to wait", "schema": {"type": "integer"}},
        "Allow": {"description": "The methods that the address takes", "schema": {"type": "string"}},
        "WwwAuthenticate": {"description": "Bearer", "schema": {"type": "string"}},
    });
    components["responses"] = Value::Object(statuses().map(problem_response).collect());
    for (path, item) in document["paths"].as_object_mut().into_iter().flatten() {
        for (method, operation) in item.as_object_mut().into_iter().flatten() {
            complete_operation(path, method, operation);
        }
    }
}

/// The statuses of problems, each once.
fn statuses() -> impl Iterator<Item = u16> {
    let mut statuses: Vec<u16> = TABLE.iter().map(|row| row.status).collect();
    statuses.sort_unstable();
    statuses.dedup();
    statuses.into_iter()
}

fn problem_response(status: u16) -> (String, Value) {
    let rows = TABLE.iter().filter(|row| row.status == status);
    let lines: Vec<String> = rows
        .clone()
        .map(|row| format!("- `{}`: {}", row.code, row.title))
        .collect();
    let codes: Vec<&str> = rows.map(|row| row.code).collect();
    let mut headers = json!({"X-Request-Id": {"$ref": "#/components/headers/RequestId"}});
    match status {
        401 => headers["WWW-Authenticate"] = json!({"$ref": "#/components/headers/WwwAuthenticate"}),
        405 => headers["Allow"] = json!({"$ref": "#/components/headers/Allow"}),
        409 | 503 => headers["Retry-After"] = json!({"$ref": "#/components/headers/RetryAfter"}),
        _ => {}
    }
    let response = json!({
        "description": lines.join("\n"),
        "headers": headers,
        "content": {PROBLEM_JSON: {"schema": {"allOf": [
            {"$ref": "#/components/schemas/Problem"},
            {"type": "object", "properties": {"status": {"const": status}, "code": {"enum": codes}}},
        ]}}},
    });
    (format!("Problem{status}"), response)
}

fn problem_schema() -> Value {
    let codes: Vec<&str> = TABLE.iter().map(|row| row.code).collect();
    json!({
        "type": "object",
        "description": "A problem document (RFC 9457). Further members say more of the case.",
        "required": ["type", "title", "status", "detail", "code", "retry", "action"],
        "properties": {
            "type": {"type": "string", "format": "uri-reference", "description": "Where the code is explained"},
            "title": {"type": "string", "description": "What happened"},
            "status": {"type": "integer"},
            "detail": {"type": "string", "description": "This case, for people"},
            "code": {"type": "string", "enum": codes, "description": "Stable, for programs"},
            "retry": {"type": "boolean", "description": "Whether the very same request may succeed later"},
            "action": {"type": "string", "description": "What to do"},
            "used_at": {"type": "string", "format": "date-time", "description": "With coupon_used_up"},
            "used_register": {"type": "string", "description": "With coupon_used_up"},
        },
        "example": {
            "type": "/errors#coupon_used_up", "title": "This coupon is used up", "status": 422,
            "detail": "this coupon is used up: last redeemed at 2026-03-07T15:21:09Z at register shop1-lane3",
            "code": "coupon_used_up", "retry": false,
            "action": "used_at and used_register say when and where it was last redeemed. If that was your own \
                call, ask by register and till_reference.",
            "used_at": "2026-03-07T15:21:09Z", "used_register": "shop1-lane3",
        },
    })
}

fn complete_operation(path: &str, method: &str, operation: &mut Value) {
    let mut problems = match path {
        "/readyz" => vec![503],
        "/metrics" => vec![403],
        "/s/{list}" => vec![404, 503],
        _ => Vec::new(),
    };
    if path.starts_with("/v1/") {
        let keyless = method == "get" && KEYLESS.contains(&path);
        if !keyless {
            operation["security"] = json!([{"access_key": []}]);
            problems.extend([401, 403, 500, 503]);
        }
        if method == "get" && path == "/v1/receipts/{id}" {
            operation["security"] = json!([{"access_key": []}, {"receipt_proof": []}]);
            problems.push(410);
        }
        // Coupons are taken up again from a line only where they were issued.
        if path.contains('{') || (method == "post" && path == "/v1/coupons") {
            problems.push(404);
        }
        if method == "post" {
            problems.extend([400, 408, 413, 415, 422]);
        } else if !keyless && !path.contains('{') {
            problems.extend([400, 410]);
        }
        if method == "post" && path != CHANGES_NOTHING {
            problems.extend([406, 409, 410]);
            let parameters = &mut operation["parameters"];
            if !parameters.is_array() {
                *parameters = json!([]);
            }
            if let Some(list) = parameters.as_array_mut() {
                list.push(json!({"$ref": "#/components/parameters/IdempotencyKey"}));
            }
        }
    }
    for response in operation["responses"].as_object_mut().into_iter().flatten() {
        let content = response.1["content"].as_object_mut();
        for (media, what) in content.into_iter().flatten() {
            // Bytes as they are: OpenAPI 3.1 has no schema for them.
            if BINARY.contains(&media.as_str()) {
                *what = json!({});
            }
        }
    }
    problems.sort_unstable();
    for status in problems {
        let reference = format!("#/components/responses/Problem{status}");
        operation["responses"][status.to_string()] = json!({"$ref": reference});
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_know_their_methods() {
        assert_eq!(methods_of("/v1/receipts"), ["GET", "HEAD", "POST"]);
        assert_eq!(methods_of("/v1/receipts/x"), ["GET", "HEAD"]);
        assert_eq!(methods_of("/v1/redemptions/x/reversals"), ["POST"]);
        assert!(methods_of("/v1/receipts/").is_empty());
        assert!(methods_of("/v1/coupons/0-1").is_empty());
        assert!(methods_of("/").is_empty());
    }

    #[test]
    fn every_reference_leads_somewhere_and_every_body_has_an_example() {
        fn walk(value: &Value, each: &mut dyn FnMut(&str)) {
            match value {
                Value::Object(members) => {
                    for (name, member) in members {
                        match (name.as_str(), member) {
                            ("$ref", Value::String(to)) => each(to),
                            _ => walk(member, each),
                        }
                    }
                }
                Value::Array(items) => items.iter().for_each(|item| walk(item, each)),
                _ => {}
            }
        }
        let document = document();
        assert_eq!(document["openapi"], "3.1.0");
        let mut references = 0;
        walk(document, &mut |to| {
            references += 1;
            let pointer = to.trim_start_matches('#');
            assert!(document.pointer(pointer).is_some(), "{to} leads nowhere");
        });
        assert!(references > 50);
        for (path, item) in document["paths"].as_object().unwrap() {
            for operation in item.as_object().unwrap().values() {
                let body = &operation["requestBody"]["content"]["application/json"];
                if let Some(to) = body["schema"]["$ref"].as_str() {
                    let schema = document.pointer(to.trim_start_matches('#')).unwrap();
                    assert!(schema["example"].is_object(), "{path}: {to} has no example");
                }
            }
        }
    }
}
