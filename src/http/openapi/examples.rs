//! Examples of requests and answers: what a node of the tests answered in a
//! day that a test plays again and compares (`examples.json` beside this file).

use std::sync::LazyLock;

use serde_json::{Value, json};

/// By call: `parameters`, `request`, `location`, and by media type `answers` in text
/// or JSON and `bytes` in hexadecimal, as `sent` is.
static EXAMPLES: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("examples.json")).expect("a test makes it"));

/// Adds the examples of a call to its parameters, body and success.
pub fn add(operation_id: &str, operation: &mut Value) {
    let examples = &EXAMPLES[operation_id];
    let parameters = operation.get_mut("parameters").and_then(Value::as_array_mut);
    for parameter in parameters.into_iter().flatten() {
        let name = parameter["name"].as_str().unwrap_or_default();
        if let Some(example) = examples["parameters"].get(name) {
            parameter["example"] = example.clone();
        }
    }
    if let Some(request) = examples.get("request") {
        let content = operation["requestBody"]["content"].as_object_mut();
        // Of lines the example is one line.
        for (_, what) in content.into_iter().flatten() {
            what["example"] = request.clone();
        }
    }
    if let Some(sent) = examples["sent"].as_object() {
        for (media, hex) in sent {
            operation["requestBody"]["content"][media]["examples"] = told(hex);
        }
    }
    let responses = operation["responses"].as_object_mut().into_iter().flatten();
    for (status, response) in responses {
        let content = response.get_mut("content").and_then(Value::as_object_mut);
        for (media, what) in content.into_iter().flatten() {
            if let Some(answer) = examples["answers"].get(media) {
                what["example"] = answer.clone();
            } else if let Some(hex) = examples["bytes"].get(media) {
                what["examples"] = told(hex);
            }
        }
        if status.starts_with('2')
            && let Some(location) = examples.get("location")
        {
            response["headers"]["Location"]["example"] = location.clone();
        }
    }
}

/// Bytes, which JSON cannot hold: they are told.
fn told(hex: &Value) -> Value {
    let told = format!(
        "These bytes, here in hexadecimal: {}",
        hex.as_str().unwrap_or_default()
    );
    json!({"bytes": {"summary": "Bytes", "description": told}})
}
