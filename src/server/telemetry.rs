//! Log lines on standard error, as text or as JSON.

use std::io::IsTerminal as _;

use tracing::Level;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::config::LogFormat;

/// Begins to write log lines of `level` and above. A second call changes
/// nothing: the first in a process counts.
pub fn start(format: LogFormat, level: Level) {
    let colours =
        std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    // What libraries have to say below a warning is for those who build them.
    let level = LevelFilter::from_level(level);
    let shown = Targets::new()
        .with_default(level.min(LevelFilter::WARN))
        .with_target(env!("CARGO_CRATE_NAME"), level);
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(colours);
    let lines = tracing_subscriber::registry().with(shown).with(match format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    });
    // Only the first subscriber of a process can be set, and that is meant.
    let _ = lines.try_init();
}
