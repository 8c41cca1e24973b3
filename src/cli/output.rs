//! Data on standard output, all else on standard error.

use std::fmt;
use std::io::{BufWriter, ErrorKind, StdoutLock, Write as _};

use serde_json::Value;

/// Bytes that are printed at a time.
const LINES_BYTES: usize = 64 * 1024;

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
    self::written(written.and_then(|()| out.flush()));
}

fn written(result: std::io::Result<()>) {
    match result {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => {
            note(&format!("error: standard output: {error}"));
            std::process::exit(1);
        }
    }
}

/// Prints many lines, some at a time.
pub struct Lines(BufWriter<StdoutLock<'static>>);

impl Lines {
    /// Begins to print.
    pub fn begin() -> Self {
        Self(BufWriter::with_capacity(LINES_BYTES, std::io::stdout().lock()))
    }

    /// Prints `line` with an end of line.
    pub fn print(&mut self, line: fmt::Arguments<'_>) {
        written(self.0.write_fmt(line).and_then(|()| self.0.write_all(b"\n")));
    }

    /// Prints what has been kept back.
    pub fn flush(&mut self) {
        written(self.0.flush());
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
