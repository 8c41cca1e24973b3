//! `tallystick mirror`: a verified copy of a log.

use std::path::PathBuf;
use std::process::ExitCode;

use super::follow::{EXIT_CODES, FollowArgs};
use crate::federation::copy::Keep;

/// Keep a verified copy of a log, which anyone can be served from
///
/// The copy holds the log's entries, hashes and newest verified checkpoint in
/// the layout of C2SP tlog-tiles, and receipts' stubs and coupons' tags where they
/// are shown: a server of files can serve it, and `monitor`, `mirror`, `audit` and
/// `recover` read it like the log itself. It is checked as `monitor`
/// checks a log. Whatever moment it is stopped at, it is whole as of its
/// checkpoint and goes on from there.
#[derive(Debug, clap::Args)]
#[command(
    after_help = format!(
        "Examples:\n  tallystick mirror https://coop.example /srv/mirrors/coop --key AUDITOR_KEY --once\n  \
         tallystick mirror https://coop.example /srv/mirrors/coop --key AUDITOR_KEY --interval 30\n\n{EXIT_CODES}"
    )
)]
pub struct Args {
    /// The log: its URL, or a directory of the same layout
    #[arg(value_name = "URL|DIR")]
    log: String,
    /// The copy's directory, made where it is missing
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    #[command(flatten)]
    follow: FollowArgs,
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let logs = self
            .follow
            .watched(std::slice::from_ref(&self.log), |_| self.dir.clone())?;
        self.follow.follow(logs, Keep::Entries, false)
    }
}
