//! `tallystick federation pin`: which federation a node belongs to.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use serde_json::json;

use super::files::{self, Version};
use crate::cli::output;
use crate::primitives::Digest;
use crate::server::config::Config;
use crate::server::federation::with_setting;
use crate::server::{NodeDir, Overrides};

/// Pin a federation in a node's settings, by the hash of its version 1
///
/// The node belongs to it from its next start on; everything else about the
/// federation it learns from versions that lead on from this one. Compare the hash
/// with what others have pinned.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  tallystick federation pin shop valley-1.roster")]
pub struct Args {
    /// The node's directory
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Version 1 of the federation's roster
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// Writes the pin into a node's settings, whose file comes back. What is pinned already
/// stays.
///
/// # Errors
/// When another federation is pinned, or the settings cannot be read or changed.
pub fn pin(dir: &NodeDir, pin: Digest) -> anyhow::Result<PathBuf> {
    let before = dir.config(&Overrides::default())?;
    let path = dir.config_file();
    match before.federation {
        Some(held) if held == pin => return Ok(path),
        Some(held) => bail!(
            "{} pins {held} already: a node belongs to one federation for good",
            path.display()
        ),
        None => {}
    }
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let text = with_setting(&text, "federation", &format!("\"{pin}\""));
    // What would not be read is not written.
    let read = Config::parse(&path, &text)?;
    anyhow::ensure!(
        read == Config {
            federation: Some(pin),
            ..before
        },
        "{} has a form that this command does not know: add the line federation = \"{pin}\" above its first table \
         yourself",
        path.display()
    );
    files::replace(&path, text.as_bytes())?;
    Ok(path)
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let version = Version::read(&self.file)?;
        if version.roster.version != 1 {
            bail!(
                "{} is version {}; version 1 is what a node pins",
                self.file.display(),
                version.roster.version
            );
        }
        let own = version
            .signed
            .tally(1, version.roster.threshold, &version.roster.signers);
        if own.lacking() > 0 {
            bail!(
                "{} does not count yet: {} of the {} signatures that it needs are there",
                self.file.display(),
                own.signed.len(),
                own.need
            );
        }
        let pin = version.signed.hash();
        let path = self::pin(&NodeDir::at(&self.dir)?, pin)?;
        let result = json!({
            "config": path,
            "federation": pin.to_string(),
            "name": version.roster.name,
        });
        output::result(self.json, &result, |value| output::text(value, "federation"));
        if !self.json {
            output::note(&format!(
                "{} pins {:?}. Start the node again, then publish the versions to it.",
                path.display(),
                version.roster.name
            ));
        }
        Ok(ExitCode::SUCCESS)
    }
}
