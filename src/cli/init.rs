//! `tallystick init`: a new node.

use std::path::PathBuf;
use std::process::ExitCode;

use data_encoding::HEXLOWER;
use serde_json::json;

use super::node_args::PassphraseArgs;
use super::{UsageError, output};
use crate::primitives::{Origin, Register};
use crate::server::{NewDir, NodeDir, config};

/// Make a new node in a directory: settings, keys, an empty log, and a first key for till and office
///
/// The bearer keys are shown once and kept nowhere: write them down. Beside the
/// directory stands its guard file, DIR.guard, which says what the node has
/// signed; leave it out of backups.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  tallystick init shop --base-url https://tally.coop.example --name 'Corner Co-op'"
)]
pub struct Args {
    /// The directory to make; it may be there, if it is empty
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// The node's address as others see it, which can't be changed later: it stands in every QR code
    #[arg(
        long,
        value_name = "ORIGIN",
        env = "TALLYSTICK_BASE_URL",
        default_value = "http://127.0.0.1:8080"
    )]
    base_url: String,
    /// The co-op's name for people [default: the base URL's host]
    #[arg(long)]
    name: Option<String>,
    /// The register of the first till key, 1 to 19 characters
    #[arg(long, value_name = "NAME", default_value = "till-1")]
    register: String,
    /// Where the guard file goes [default: DIR.guard]
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
        let usage = |error: String| UsageError(error);
        let base_url =
            Origin::parse(&self.base_url).map_err(|error| usage(format!("--base-url: {error}")))?;
        let name = self.name.unwrap_or_else(|| base_url.authority().to_owned());
        let new = NewDir {
            name: config::name(name).map_err(|error| usage(format!("--name: {error}")))?,
            register: Register::new(self.register).map_err(|error| usage(format!("--register: {error}")))?,
            guard: self.guard,
            passphrase: self.passphrase.read()?,
            base_url,
        };
        let made = NodeDir::create(&self.dir, &new)?;
        let result = json!({
            "directory": made.directory.root(),
            "config": made.directory.config_file(),
            "guard": made.guard,
            "base_url": new.base_url.to_string(),
            "name": new.name,
            "register": new.register.as_str(),
            "till_key": made.till_key.as_str(),
            "office_key": made.office_key.as_str(),
            "vkey": made.vkey.to_string(),
            "witness_vkey": made.witness_vkey.to_string(),
            "did": new.base_url.did_web(),
            "credential_key": made.credential_key.did_key(),
            "kid": HEXLOWER.encode(&made.credential_key.kid().0),
        });
        output::result(self.json, &result, |value| {
            let mut text = String::new();
            for member in [
                "directory",
                "guard",
                "base_url",
                "name",
                "register",
                "till_key",
                "office_key",
                "vkey",
                "witness_vkey",
            ] {
                text.push_str(&format!("{member:<13} {}\n", output::text(value, member)));
            }
            text
        });
        if !self.json {
            output::note(&format!(
                "The two bearer keys are not shown again: write them down. The settings are in {}.\n\
                 Start the node with: tallystick serve {}",
                made.directory.config_file().display(),
                self.dir.display()
            ));
        }
        Ok(ExitCode::SUCCESS)
    }
}
