//! `tallystick monitor`: are logs only ever appended to, and the same for all?

use std::path::PathBuf;
use std::process::ExitCode;

use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256};

use super::UsageError;
use super::follow::{EXIT_CODES, FollowArgs};
use crate::federation::copy::Keep;

/// Follow logs: nothing rewritten, nothing taken out, the same for everyone
///
/// Each round reads a log's checkpoint, demands proof that it only goes on from
/// the last one, reads and hashes every entry that is new and some of the old
/// ones, and compares with what others keep of the log. What is verified is kept
/// in the state directory; so is evidence of a fork, which counts in every later
/// round until a person has moved it away. Any C2SP tlog-tiles log will do.
#[derive(Debug, clap::Args)]
#[command(
    after_help = format!(
        "Examples:\n  tallystick monitor https://coop.example --key AUDITOR_KEY --log-key VKEY --once\n  \
         tallystick monitor https://coop.example https://other.example --hashes-only --metrics \
         /var/lib/node_exporter/tallystick.prom\n\n{EXIT_CODES}"
    )
)]
pub struct Args {
    /// The logs: their URLs, or directories of the same layout
    #[arg(value_name = "URL|DIR", required = true)]
    logs: Vec<String>,
    /// Where what is verified is kept [default: tallystick/monitor in XDG_STATE_HOME or ~/.local/state]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Read no entries, which need an auditor's key: only that nothing is rewritten is shown
    #[arg(long)]
    hashes_only: bool,
    #[command(flatten)]
    follow: FollowArgs,
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let state = match self.state {
            Some(state) => state,
            None => default_state()?,
        };
        let logs = self
            .follow
            .watched(&self.logs, |address| state.join(name_of(address)))?;
        self.follow.follow(logs, Keep::Hashes, self.hashes_only)
    }
}

fn default_state() -> anyhow::Result<PathBuf> {
    let of = |name: &str| {
        std::env::var_os(name)
            .filter(|dir| !dir.is_empty())
            .map(PathBuf::from)
    };
    let state = of("XDG_STATE_HOME").or_else(|| Some(of("HOME")?.join(".local/state")));
    let state = state.ok_or_else(|| {
        UsageError(
            "where is the state kept? Neither HOME nor XDG_STATE_HOME is set; give --state DIR".to_owned(),
        )
    })?;
    Ok(state.join("tallystick/monitor"))
}

/// A directory's name for a log's address: readable, and another one for each.
fn name_of(address: &str) -> String {
    let address = address.trim_end_matches('/');
    let plain: String = address
        .split_once("://")
        .map_or(address, |(_, rest)| rest)
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '-' {
                c
            } else {
                '_'
            }
        })
        .take(60)
        .collect();
    format!("{plain}-{}", HEXLOWER.encode(&Sha256::digest(address)[..4]))
}

#[cfg(test)]
mod tests {
    use super::name_of;

    #[test]
    fn each_address_has_a_directory_of_its_own() {
        let name = name_of("https://coop.example:8443/log");
        assert!(name.starts_with("coop_example_8443_log-"), "{name}");
        assert_eq!(name, name_of("https://coop.example:8443/log/"));
        assert_ne!(name, name_of("http://coop.example:8443/log"));
        assert_ne!(name, name_of("https://coop.example:8443_log"));
        assert!(!name_of("../x").contains(['/', '.']));
    }
}
