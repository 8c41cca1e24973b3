//! `tallystick federation member` and `new-key`: what a node's operator does.

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;

use super::files::{self, Version};
use super::picture;
use crate::cli::node_args::PassphraseArgs;
use crate::cli::{UsageError, output};
use crate::federation::roster::{Description, Role};
use crate::node::keyring::NextKey;
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
    let next = [
        (Role::Credentials, &keyring.credential_next),
        (Role::Messages, &keyring.messages_next),
    ];
    let next = next
        .into_iter()
        .filter_map(|(role, key)| Some((role, key.as_ref()?)));
    // Coupons that they signed are to be redeemed at partners too.
    let before = keyring.credentials_before.iter();
    let before = before.map(|key| (Role::Credentials, key));
    let name = name.unwrap_or(config.name);
    let keys = keys.into_iter().chain(next).chain(before);
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

/// Replace a node's key for messages or credentials, without an outage
///
/// First without --use: the new key is made, and stands in the node's next
/// description (`member`) beside the old one, which the node goes on signing with.
/// Once a version that lists both is published, with --use: the node signs with the
/// new one from its next start on. Then have the old one retired (`propose --retire`).
///
/// A key for credentials stands in did.json too, from the node's next start on, also
/// where the node is in no federation.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  tallystick federation new-key shop\n  tallystick federation new-key shop --use\n  \
                  tallystick federation new-key shop --role credentials"
)]
pub struct NewKey {
    /// The node's directory
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// What the key signs: messages to other nodes, or credentials (coupons, receipts,
    /// campaigns) and status lists
    #[arg(long, value_name = "ROLE", default_value = "messages")]
    role: ReplacedRole,
    /// Put the key that was made before in the place of the old one. An old key for
    /// messages is deleted; one for credentials stays in keys/ under its kid
    #[arg(long = "use")]
    use_it: bool,
    #[command(flatten)]
    passphrase: PassphraseArgs,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum ReplacedRole {
    Messages,
    Credentials,
}

impl ReplacedRole {
    fn of_roster(self) -> Role {
        match self {
            Self::Messages => Role::Messages,
            Self::Credentials => Role::Credentials,
        }
    }

    fn of_keys(self) -> NextKey {
        match self {
            Self::Messages => NextKey::Messages,
            Self::Credentials => NextKey::Credentials,
        }
    }

    /// What to do next.
    fn note(self, is_in_use: bool) -> &'static str {
        match (self, is_in_use) {
            (Self::Messages, false) => {
                "The node goes on signing with the old key. Describe it again (tallystick federation member), have the \
                 next version published, then run this once more with --use."
            }
            (Self::Messages, true) => {
                "The node signs messages with this key from its next start on. Have the old one retired with the next \
                 version."
            }
            (Self::Credentials, false) => {
                "The node goes on signing with the old key. Start it again: its did.json lists this one too. In a \
                 federation, describe it again (tallystick federation member) and have the next version published. \
                 Then run this once more with --use."
            }
            (Self::Credentials, true) => {
                "The node signs credentials with this key from its next start on. The old one stays in keys/: what it \
                 signed goes on counting, and did.json lists it. In a federation, have it retired with a later version."
            }
        }
    }
}

impl NewKey {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let passphrase = self.passphrase.read()?;
        let dir = NodeDir::at(&self.dir)?;
        dir.config(&Overrides::default())?;
        let key = dir.next_key(self.role.of_keys(), passphrase.as_ref(), self.use_it)?;
        let result = json!({
            "key": key.did_key(),
            "kid": key.kid().to_string(),
            "role": self.role.of_roster().word(),
            "in_use": self.use_it,
        });
        output::result(self.json, &result, |value| output::text(value, "kid"));
        if !self.json {
            output::note(self.role.note(self.use_it));
        }
        Ok(ExitCode::SUCCESS)
    }
}
