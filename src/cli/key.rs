//! `tallystick key`: the bearer keys of tills, office and auditors.

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::{UsageError, output};
use crate::node::access::{AccessKey, Role};
use crate::primitives::{Clock as _, OsEntropy, Register, SystemClock, UnixSeconds};
use crate::server::{NodeDir, Overrides};

/// Make, list and revoke the bearer keys that tills, the office and auditors send
///
/// Works on the node's directory, while the node runs as well: it sees a change
/// within two seconds.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Add(Add),
    List(List),
    Revoke(Revoke),
}

/// Make a key and show it, once
///
/// A till's key is bound to a register: it posts receipts and redemptions of
/// that register and reads no others. An office key may do everything; an
/// auditor's key reads.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  tallystick key add shop --role till --register till-2 --label 'second lane'"
)]
struct Add {
    /// The node's directory
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// What the key may do
    #[arg(long, value_enum)]
    role: RoleName,
    /// The register that a till's key is bound to, 1 to 19 characters
    #[arg(long, value_name = "NAME", required_if_eq("role", "till"))]
    register: Option<String>,
    /// What people call the key [default: its role and register]
    #[arg(long, value_name = "TEXT")]
    label: Option<String>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// Show all keys, the revoked ones too, without the keys themselves
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  tallystick key list shop")]
struct List {
    /// The node's directory
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// Revoke a key: it is refused from then on
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  tallystick key revoke shop 5f0c81aa")]
struct Revoke {
    /// The node's directory
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// The key's id, as `tallystick key list` shows it
    #[arg(value_name = "ID")]
    id: String,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum RoleName {
    Till,
    Office,
    Auditor,
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Add(args) => args.run(),
            Command::List(args) => args.run(),
            Command::Revoke(args) => args.run(),
        }
    }
}

impl Add {
    fn run(self) -> anyhow::Result<ExitCode> {
        let role = match (self.role, self.register) {
            (RoleName::Till, Some(register)) => Role::Till(
                Register::new(register).map_err(|error| UsageError(format!("--register: {error}")))?,
            ),
            (RoleName::Till, None) => unreachable!("clap requires the register"),
            (_, Some(_)) => {
                return Err(UsageError(
                    "only a till's key is bound to a register: leave out --register".to_owned(),
                )
                .into());
            }
            (RoleName::Office, None) => Role::Office,
            (RoleName::Auditor, None) => Role::Auditor,
        };
        let dir = node_dir(&self.dir)?;
        let label = self.label.unwrap_or_else(|| match role.register() {
            Some(register) => format!("{} {register}", role.word()),
            None => role.word().to_owned(),
        });
        let made = dir
            .access_file()
            .add(role.clone(), &label, SystemClock.now(), &OsEntropy)?;
        let result = json!({
            "id": made.id,
            "role": role.word(),
            "register": role.register().map(Register::as_str),
            "label": label,
            "key": made.key.as_str(),
        });
        output::result(self.json, &result, |value| output::text(value, "key"));
        if !self.json {
            output::note(&format!(
                "This is the {} key {} ({label}); it is not shown again. A running node takes it within two seconds.",
                role.word(),
                made.id
            ));
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl List {
    fn run(self) -> anyhow::Result<ExitCode> {
        let keys = node_dir(&self.dir)?.access_file().list()?;
        let keys: Vec<Value> = keys.iter().map(shown).collect();
        output::result(self.json, &json!({ "keys": keys }), |_| {
            let mut text = String::new();
            for key in &keys {
                let state = match key["revoked"].as_str() {
                    Some(at) => format!("revoked {at}"),
                    None => "valid".to_owned(),
                };
                text.push_str(&format!(
                    "{}  {:<8}{:<20}{}  {state}  {}\n",
                    output::text(key, "id"),
                    output::text(key, "role"),
                    output::text(key, "register"),
                    output::text(key, "created"),
                    output::text(key, "label"),
                ));
            }
            text
        });
        Ok(ExitCode::SUCCESS)
    }
}

impl Revoke {
    fn run(self) -> anyhow::Result<ExitCode> {
        let key = node_dir(&self.dir)?
            .access_file()
            .revoke(&self.id, SystemClock.now())?;
        output::result(self.json, &shown(&key), |value| {
            format!(
                "{} revoked {}",
                output::text(value, "id"),
                output::text(value, "revoked")
            )
        });
        Ok(ExitCode::SUCCESS)
    }
}

/// A node's directory, told apart from any other.
fn node_dir(path: &std::path::Path) -> anyhow::Result<NodeDir> {
    let dir = NodeDir::at(path)?;
    dir.config(&Overrides::default())?;
    Ok(dir)
}

fn shown(key: &AccessKey) -> Value {
    json!({
        "id": key.id,
        "role": key.role.word(),
        "register": key.role.register().map(Register::as_str),
        "label": key.label,
        "created": rfc3339(key.created),
        "revoked": key.revoked.map(rfc3339),
    })
}

fn rfc3339(time: UnixSeconds) -> String {
    i64::try_from(time.0)
        .ok()
        .and_then(|seconds| jiff::Timestamp::from_second(seconds).ok())
        .map_or_else(|| time.to_string(), |time| time.to_string())
}
