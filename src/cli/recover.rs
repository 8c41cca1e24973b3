//! `tallystick recover`: a lost guard file is made again.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use serde_json::json;

use super::node_args::PassphraseArgs;
use super::output;
use crate::server::{NodeDir, Overrides};

/// Make a lost guard file again from a checkpoint that somebody else has kept
///
/// The guard file says what a node has signed, and keeps it from signing a second
/// history. When it is lost, the log is compared with the newest checkpoint that
/// anyone holds: an auditor, a partner, a witness. An older checkpoint than the
/// newest would not protect the entries that follow it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  tallystick recover shop --checkpoint newest-checkpoint.txt")]
pub struct Args {
    /// The node's directory, which no process has open
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// The newest checkpoint that anyone holds, as /checkpoint served it
    #[arg(long, value_name = "FILE")]
    checkpoint: PathBuf,
    /// Where the guard file goes [default: as the settings have it]
    #[arg(long, value_name = "FILE", env = "TALLYSTICK_GUARD")]
    guard: Option<PathBuf>,
    #[command(flatten)]
    passphrase: PassphraseArgs,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let note = std::fs::read(&self.checkpoint)
            .with_context(|| format!("could not read {}", self.checkpoint.display()))?;
        let overrides = Overrides {
            guard: self.guard,
            ..Overrides::default()
        };
        let dir = NodeDir::at(&self.dir)?;
        let (guard, size) = dir.recover(&overrides, self.passphrase.read()?.as_ref(), &note)?;
        let result = json!({"guard": guard, "size": size});
        output::result(self.json, &result, |_| {
            format!(
                "The log agrees with the checkpoint at {size} entries; {} was made again. \
                 `tallystick serve {}` starts the node.",
                guard.display(),
                self.dir.display()
            )
        });
        Ok(ExitCode::SUCCESS)
    }
}
