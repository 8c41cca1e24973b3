//! `tallystick federation member` and `new-key`: what a node's operator does.

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;

use super::files::{self, Version};
use super::picture;
use crate::cli::node_args::PassphraseArgs;
use crate::cli::{UsageError, output};
use crate::federation::roster::{Description, Role};
use crate::primitives::FederationId;
use crate::server::{NodeDir, Overrides, Passphrase};

/// Describe a node for a federation, with proofs that it has its keys
///
/// Hand the file to whoever draws up the next version. No secret key is in it. A
/// node may be running meanwhile.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  tallystick federation member shop --roster valley-1.roster --out corner.member"
)]
pub struct Args {
    /// The node's directory
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// A version of the federation's roster
    #[arg(long, value_name = "FILE", required_unless_present = "federation")]
    roster: Option<PathBuf>,
    /// The federation's id, in place of a version of its roster
    #[arg(
        long,
        value_name = "ID",
        conflicts_with = "roster",
        allow_hyphen_values = true
    )]
    federation: Option<String>,
    /// The name to be listed under [default: the node's]
    #[arg(long)]
    name: Option<String>,
    /// The did of a member that mirrors this node's log; once for each, at most two
    #[arg(long, value_name = "DID")]
    mirror: Vec<String>,
    /// The file to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    passphrase: PassphraseArgs,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// What a node hands in to be listed: by its own name unless another one is given.
///
/// # Errors
/// When its settings or keys cannot be read.
pub fn describe(
    dir: &NodeDir,
    federation: FederationId,
    passphrase: Option<&Passphrase>,
    name: Option<String>,
    mirrors: Vec<String>,
) -> anyhow::Result<Description> {
    let config = dir.config(&Overrides::default())?;
    let keyring = dir.keyring(passphrase)?;
    let keys = [
        (Role::Credentials, &keyring.credential),
        (Role::Log, &keyring.log),
        (Role::Witness, &keyring.witness),
        (Role::Messages, &keyring.messages),
    ];
    let next = keyring.messages_next.as_ref().map(|key| (Role::Messages, key));
    let name = name.unwrap_or(config.name);
    let keys = keys.into_iter().chain(next);
    Ok(Description::new(federation, name, config.base_url, keys, mirrors))
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let federation = match (&self.roster, &self.federation) {
            (Some(path), _) => Version::read(path)?.roster.federation,
            (None, Some(id)) => FederationId::parse(id)
                .ok_or_else(|| UsageError("--federation is an id as `federation show` has it".to_owned()))?,
            (None, None) => unreachable!("clap requires one of them"),
        };
        let dir = NodeDir::at(&self.dir)?;
        let passphrase = self.passphrase.read()?;
        let description = describe(&dir, federation, passphrase.as_ref(), self.name, self.mirror)?;
        let bytes = description.encode();
        // What would not be read is not handed out.
        Description::decode(&bytes)?;
        files::create(&self.out, &bytes)?;
        let shown = picture::described(&description);
        output::result(self.json, &shown, |_| picture::described_text(&description));
        if !self.json {
            output::note(&format!(
                "Written to {0}. Hand it to whoever draws up the next version: tallystick federation propose … --member {0}",
                self.out.display()
            ));
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Replace a node's key for messages, without an outage
///
/// First without --use: the new key is made, and stands in the node's next
/// description (`member`) beside the old one, which the node goes on signing with.
/// Once a version that lists both is published, with --use: the node signs with the
/// new one from its next start on. Then have the old one retired (`propose --retire`).
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  tallystick federation new-key shop\n  tallystick federation new-key shop --use"
)]
pub struct NewKey {
    /// The node's directory
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Put the key that was made before in the place of the old one, which is deleted
    #[arg(long = "use")]
    use_it: bool,
    #[command(flatten)]
    passphrase: PassphraseArgs,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

impl NewKey {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let passphrase = self.passphrase.read()?;
        let dir = NodeDir::at(&self.dir)?;
        dir.config(&Overrides::default())?;
        let key = dir.next_messages_key(passphrase.as_ref(), self.use_it)?;
        let result = json!({
            "key": key.did_key(),
            "kid": key.kid().to_string(),
            "role": Role::Messages.word(),
            "in_use": self.use_it,
        });
        output::result(self.json, &result, |value| output::text(value, "kid"));
        if !self.json {
            output::note(if self.use_it {
                "The node signs messages with this key from its next start on. Have the old one retired with the next \
                 version."
            } else {
                "The node goes on signing with the old key. Describe it again (tallystick federation member), have the \
                 next version published, then run this once more with --use."
            });
        }
        Ok(ExitCode::SUCCESS)
    }
}
