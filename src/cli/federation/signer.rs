//! `tallystick federation signer`: a key that signs rosters.

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;

use crate::cli::node_args::PassphraseArgs;
use crate::cli::output;
use crate::node::keyring::{self, KeyringError};
use crate::primitives::OsEntropy;
use crate::server::Passphrase;

/// Make the key of a signer of rosters, or show the public half of one
///
/// Keep the file offline, on a medium of its own, and encrypted: with it the
/// federation's members are decided. Hand out the did:key that is shown.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  tallystick federation signer corner-coop.pem --passphrase-file secret")]
pub struct Args {
    /// The key's file; shown if it is there, otherwise made
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    passphrase: PassphraseArgs,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let passphrase = self.passphrase.read()?;
        let passphrase = passphrase.as_ref().map(Passphrase::as_str);
        let (key, is_new) = match keyring::create_file(&self.file, &OsEntropy, passphrase) {
            Err(KeyringError::Exists { .. }) => (keyring::load_file(&self.file, passphrase)?, false),
            made => (made?, true),
        };
        let result = json!({
            "file": self.file,
            "key": key.public().did_key(),
            "kid": key.kid().to_string(),
            "made": is_new,
            "encrypted": passphrase.is_some(),
        });
        output::result(self.json, &result, |value| output::text(value, "key"));
        if !self.json && is_new {
            output::note(&format!(
                "Made {}{}. Keep it offline, with a copy elsewhere; hand out the did:key only.",
                self.file.display(),
                if passphrase.is_some() {
                    ", encrypted"
                } else {
                    ", not encrypted (--passphrase-file encrypts it)"
                }
            ));
        }
        Ok(ExitCode::SUCCESS)
    }
}
