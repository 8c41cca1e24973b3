//! The committed description, and what every call in it has to say.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;
use tallystick::http::openapi_document;
use tallystick::http::problem::TABLE;

#[test]
fn the_description_is_the_committed_one() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/openapi.json");
    let generated = openapi_document();
    if std::env::var_os("TALLYSTICK_REGENERATE").is_some() {
        let mut text = serde_json::to_string_pretty(generated).unwrap();
        text.push('\n');
        std::fs::write(&path, text).unwrap();
    }
    let committed = std::fs::read(&path).unwrap_or_default();
    let committed: Value = serde_json::from_slice(&committed).unwrap_or_default();
    assert!(
        committed == *generated,
        "docs/openapi.json differs from the handlers; if the change is meant, run this test with TALLYSTICK_REGENERATE=1"
    );
}

/// Every call: its method, path and description.
pub fn calls() -> impl Iterator<Item = (String, String, &'static Value)> {
    let paths = openapi_document()["paths"].as_object().unwrap();
    paths.iter().flat_map(|(path, item)| {
        let item = item.as_object().unwrap();
        item.iter()
            .map(|(method, call)| (method.to_uppercase(), path.clone(), call))
    })
}

/// What a reference leads to, or the thing itself.
pub fn resolved(value: &'static Value) -> &'static Value {
    match value["$ref"].as_str() {
        Some(to) => openapi_document()
            .pointer(to.trim_start_matches('#'))
            .unwrap_or_else(|| panic!("{to} leads nowhere")),
        None => value,
    }
}

#[test]
fn every_call_has_a_name_a_word_its_headers_and_its_examples() {
    let mut names = BTreeSet::new();
    for (method, path, call) in calls() {
        let at = format!("{method} {path}");
        assert!(names.insert(call["operationId"].as_str().unwrap()), "{at}");
        assert!(!call["summary"].as_str().unwrap().is_empty(), "{at}");
        let keyless = method == "GET" && path.starts_with("/v1/campaigns") || path.ends_with("/consistency");
        let needs_key = path.starts_with("/v1/") && !keyless
            || ["/tile/entries/", "/tile/stubs/", "/tile/tags/"]
                .iter()
                .any(|tiles| path.contains(tiles));
        assert_eq!(call.get("security").is_some(), needs_key, "{at}");
        for parameter in call
            .get("parameters")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            let parameter = resolved(parameter);
            let (own, of_schema) = (&parameter["example"], &resolved(&parameter["schema"])["example"]);
            assert!(
                !own.is_null() || !of_schema.is_null(),
                "{at}: {} has no example",
                parameter["name"]
            );
        }
        if let Some(body) = call.get("requestBody") {
            let json = body["content"]["application/json"]["example"].is_object();
            let text = body["content"]["text/plain"]["example"].is_string();
            let bytes = ["application/cbor", "application/cose"]
                .iter()
                .any(|media| body["content"][media]["examples"].is_object());
            assert!(json || text || bytes, "{at}: no example of the body");
        }
        for (status, response) in call["responses"].as_object().unwrap() {
            let at = format!("{at}: {status}");
            every_part_has_an_example(&at, resolved(response));
            has_its_header(&at, status, resolved(response));
        }
    }
    assert_eq!(names.len(), 53);
}

fn every_part_has_an_example(at: &str, response: &'static Value) {
    for name in ["X-Request-Id", "Cache-Control", "X-Content-Type-Options"] {
        assert!(
            response["headers"].get(name).is_some(),
            "{at} lacks the header {name}"
        );
    }
    for (name, header) in response["headers"].as_object().unwrap() {
        assert!(
            !resolved(header)["example"].is_null(),
            "{at}: {name} has no example"
        );
    }
    for (media, content) in response
        .get("content")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        let some = content.get("example").is_some() || content.get("examples").is_some();
        assert!(some, "{at}: {media} has no example");
    }
}

fn has_its_header(at: &str, status: &str, response: &'static Value) {
    // Another size is no matter of waiting.
    if !response["content"]["text/x.tlog.size"].is_null() {
        return;
    }
    let needed = match status {
        "401" => Some("WWW-Authenticate"),
        "405" => Some("Allow"),
        "409" | "503" => Some("Retry-After"),
        _ => None,
    };
    assert!(
        needed.is_none_or(|name| response["headers"].get(name).is_some()),
        "{at}"
    );
}

#[test]
fn every_code_of_a_problem_is_told_with_an_example() {
    let document = openapi_document();
    let mut told = BTreeSet::new();
    for (_, _, call) in calls() {
        for (status, response) in call["responses"].as_object().unwrap() {
            let problem = &resolved(response)["content"]["application/problem+json"];
            for code in problem["schema"]["allOf"][1]["properties"]["code"]["enum"]
                .as_array()
                .into_iter()
                .flatten()
            {
                let code = code.as_str().unwrap();
                let example = resolved(&problem["examples"][code]);
                assert_eq!(example["value"]["code"], code);
                assert_eq!(example["value"]["status"].to_string(), *status, "{code}");
                told.insert(code);
            }
        }
    }
    let table: BTreeSet<&str> = TABLE.iter().map(|row| row.code).collect();
    assert_eq!(told, table);
    let listed = document["components"]["schemas"]["Problem"]["properties"]["code"]["enum"]
        .as_array()
        .unwrap();
    assert_eq!(listed.len(), table.len());
}
