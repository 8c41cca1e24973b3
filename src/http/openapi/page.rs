//! The web page's routes, described by hand: their handlers are not the API's.

use serde_json::{Value, json};

/// The routes of `web`, as path items.
pub fn paths() -> Value {
    json!({
        "/V": page("getVerificationPage"),
        "/v": page("getVerificationPageInLowerCase"),
        "/web/{file}": {"get": file()},
        "/V%23{digits}": {"get": escaped()},
    })
}

fn not_modified() -> Value {
    json!({"description": "What If-None-Match names still stands"})
}

fn if_none_match() -> Value {
    json!({"$ref": "#/components/parameters/IfNoneMatch"})
}

fn page(operation_id: &str) -> Value {
    json!({"get": {
        "tags": ["public"],
        "operationId": operation_id,
        "summary": "The page behind a QR code: checks a coupon or receipt in the browser.",
        "description": "The code stands after `#` and is never sent to the node.",
        "parameters": [if_none_match()],
        "responses": {
            "200": {
                "description": "The page",
                "content": {"text/html": {
                    "schema": {"type": "string"}, "example": "<!doctype html>\n<html lang=\"en\">…",
                }},
            },
            "304": not_modified(),
        },
    }})
}

fn file() -> Value {
    let names: Vec<&str> = crate::web::files()
        .filter_map(|(path, _)| path.strip_prefix("/web/"))
        .collect();
    let mut content = json!({});
    for (path, media) in crate::web::files() {
        let media = media.split(';').next().unwrap_or(media);
        content[media] = json!({"schema": {"type": "string"}, "example": format!("the text of {path}")});
    }
    json!({
        "tags": ["public"],
        "operationId": "getPageFile",
        "summary": "A script, style or picture of that page.",
        "parameters": [
            {
                "name": "file", "in": "path", "required": true, "description": "The file's name",
                "schema": {"type": "string", "enum": names}, "example": "page.js",
            },
            if_none_match(),
        ],
        "responses": {"200": {"description": "The file", "content": content}, "304": not_modified()},
    })
}

fn escaped() -> Value {
    json!({
        "tags": ["public"],
        "operationId": "followEscapedLink",
        "summary": "Sends a scanner that wrote `#` as `%23` back to where the code stays in the browser.",
        "description": "Served at `/v%23…` too.",
        "parameters": [{
            "name": "digits", "in": "path", "required": true, "description": "The code's digits",
            "schema": {"type": "string", "pattern": "^[0-9]+$", "minLength": 1, "maxLength": 2500},
            "example": "411",
        }],
        "responses": {"302": {
            "description": "The page, with the code after `#`",
            "headers": {"Location": {
                "description": "The page and the code", "required": true,
                "schema": {"type": "string"}, "example": "/V#411",
            }},
        }},
    })
}
