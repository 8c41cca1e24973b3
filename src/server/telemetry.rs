//! Log lines on standard error, as text or as JSON.

use std::io::IsTerminal as _;

use tracing::Level;
use tracing_subscriber::filter::LevelFilter;

use super::config::LogFormat;

/// Begins to write log lines of `level` and above. A second call changes
/// nothing: the first in a process counts.
pub fn start(format: LogFormat, level: Level) {
    let colours =
        std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    let lines = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(LevelFilter::from_level(level))
        .with_ansi(colours);
    // Only the first subscriber of a process can be set, and that is meant.
    let _ = match format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
}
