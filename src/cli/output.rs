//! Data on standard output, all else on standard error.

use std::io::{ErrorKind, Write as _};

use serde_json::Value;

/// Prints data. A reader that has gone away (`| head`) ends the program
/// quietly, as it does with other tools.
pub fn data(text: &str) {
    let mut out = std::io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| {
        if text.ends_with('\n') {
            Ok(())
        } else {
            out.write_all(b"\n")
        }
    });
    match written.and_then(|()| out.flush()) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => {
            note(&format!("error: standard output: {error}"));
            std::process::exit(1);
        }
    }
}

/// Prints a result as JSON, or as `text` makes it.
pub fn result(json: bool, value: &Value, text: impl FnOnce(&Value) -> String) {
    if json {
        data(&serde_json::to_string_pretty(value).expect("JSON values are written"));
    } else {
        data(&text(value));
    }
}

/// Prints a word to the person at the terminal.
pub fn note(text: &str) {
    // Nobody can be told that standard error is gone.
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// A member of a JSON object as text: strings without quotes, `-` when absent.
pub fn text(value: &Value, member: &str) -> String {
    match &value[member] {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
