//! The API's description is pinned: a change of the API is seen in review.

use std::path::Path;

use tallystick::http::openapi_document;

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
    let committed: serde_json::Value = serde_json::from_slice(&committed).unwrap_or_default();
    assert!(
        committed == *generated,
        "docs/openapi.json differs from the handlers; if the change is meant, run this test with TALLYSTICK_REGENERATE=1"
    );
}

#[test]
fn every_call_has_a_name_a_word_and_its_errors() {
    let document = openapi_document();
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["info"]["title"], "Tallystick");
    let mut names = std::collections::BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, call) in item.as_object().unwrap() {
            assert!(
                names.insert(call["operationId"].as_str().unwrap()),
                "{method} {path}"
            );
            assert!(!call["summary"].as_str().unwrap().is_empty(), "{method} {path}");
            let keyless = method == "get" && path.starts_with("/v1/campaigns");
            let needs_key = path.starts_with("/v1/") && !keyless;
            assert_eq!(call["security"].is_array(), needs_key, "{method} {path}");
            assert_eq!(call["responses"]["401"].is_object(), needs_key, "{method} {path}");
        }
    }
    assert_eq!(names.len(), 24);
}
