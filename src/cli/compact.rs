//! `tallystick compact`: a store without what it does not need any more.

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use serde_json::json;

use super::output;
use crate::server::{NodeDir, Overrides, Step};

/// Copy what lives in a node's store into a new one, and put it in its place
///
/// A store keeps room for what was removed or rewritten, and a node with little to
/// do writes many small rows. The copy has neither, and a node that opens it
/// needs less memory. The node must not be running; the disk needs room for
/// a second store meanwhile. Everything is checked on the way: where something is
/// missing or damaged nothing is changed, and `tallystick audit` says what it is.
/// It may be cut off at any moment: the store is then the old one or the new one.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  tallystick compact shop")]
pub struct Args {
    /// The node's directory, which no process has open
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Where the guard file is [default: as the settings have it]
    #[arg(long, value_name = "FILE", env = "TALLYSTICK_GUARD")]
    guard: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let overrides = Overrides {
            guard: self.guard,
            ..Overrides::default()
        };
        let dir = NodeDir::at(&self.dir)?;
        let begin = Instant::now();
        let terminal = std::io::stderr().is_terminal();
        let done = dir.compact(&overrides, &mut |step| {
            if terminal {
                let _ = write!(std::io::stderr(), "\r{}\u{1b}[K", word(step));
            }
        });
        if terminal {
            let _ = write!(std::io::stderr(), "\r\u{1b}[K");
        }
        let done = done?;
        for note in &done.notes {
            output::note(&format!("note: {note}"));
        }
        let seconds = begin.elapsed().as_secs_f64();
        let result = json!({
            "entries": done.entries,
            "bytes_before": done.bytes_before,
            "bytes_after": done.bytes_after,
            "seconds": (seconds * 1e3).round() / 1e3,
        });
        output::result(self.json, &result, |_| {
            format!(
                "Compacted {}: {} entries took {} and take {} now; it took {seconds:.1} s.",
                self.dir.display(),
                done.entries,
                megabytes(done.bytes_before),
                megabytes(done.bytes_after),
            )
        });
        Ok(ExitCode::SUCCESS)
    }
}

fn word(step: Step) -> String {
    match step {
        Step::Copied(done, size) => format!("{done} of {size} entries copied"),
        Step::Written => "reading the new store back".to_owned(),
        Step::Checked => "putting it in its place".to_owned(),
        Step::Exchanged => "removing the old store".to_owned(),
    }
}

/// In megabytes, a tenth of one at the least.
fn megabytes(bytes: u64) -> String {
    let tenths = bytes.div_ceil(100_000);
    format!("{}.{} MB", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    #[test]
    fn bytes_are_shown_in_tenths_of_megabytes() {
        for (bytes, text) in [(0, "0.0 MB"), (1, "0.1 MB"), (1_234_567, "1.3 MB")] {
            assert_eq!(super::megabytes(bytes), text);
        }
    }
}
