//! `tallystick federation show`: a version, what it changes, who has signed.

use std::path::PathBuf;
use std::process::ExitCode;

use super::files::{self, Version};
use super::picture::{self, Picture};
use crate::cli::output;
use crate::federation::roster::Description;
use crate::primitives::limits;

/// Show a version: what it changes, who has signed it and who has not, and its members
///
/// A member's description is shown, too.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  tallystick federation show valley-2.roster")]
pub struct Args {
    /// A version, or a member's description
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The version before it [default: the file beside it that it names]
    #[arg(long, value_name = "FILE")]
    after: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let bytes = files::read(&self.file, limits::ROSTER_BYTES_MAX)?;
        if let Ok(description) = Description::decode(&bytes) {
            let shown = picture::described(&description);
            output::result(self.json, &shown, |_| picture::described_text(&description));
            return Ok(ExitCode::SUCCESS);
        }
        let version = Version::read(&self.file)?;
        let before = version.before(self.after.as_deref())?;
        let picture = Picture::of(&version.signed, &version.roster, before.as_ref());
        output::result(self.json, &picture.to_json(), |_| picture.to_text());
        Ok(ExitCode::SUCCESS)
    }
}
