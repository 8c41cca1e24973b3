//! `tallystick federation sign` and `merge`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;

use super::files::Version;
use super::picture::Picture;
use crate::cli::node_args::PassphraseArgs;
use crate::cli::output;
use crate::credential::Algorithm;
use crate::federation::roster::Roster;
use crate::node::keyring;
use crate::server::Passphrase;

/// Sign a version with a signer's key; the signature goes into its file
///
/// Look at it first, with `tallystick federation show`: it says what the version
/// changes. Files that several have signed are put together with `merge`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  tallystick federation sign valley-2.roster --key corner-coop.pem")]
pub struct Sign {
    /// The version
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The signer's key file
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The version before it [default: the file beside it that it names]
    #[arg(long, value_name = "FILE")]
    after: Option<PathBuf>,
    #[command(flatten)]
    passphrase: PassphraseArgs,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

impl Sign {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let mut version = Version::read(&self.file)?;
        let before = version.before(self.after.as_deref())?;
        let passphrase = self.passphrase.read()?;
        let key = keyring::load_file(&self.key, passphrase.as_ref().map(Passphrase::as_str))?;
        let signers = before
            .iter()
            .chain([&version.roster])
            .flat_map(|roster| &roster.signers);
        if !signers.into_iter().any(|signer| signer.key == *key.public()) {
            bail!(
                "{} is the key of no signer of version {}{}",
                self.key.display(),
                version.roster.version,
                match (&before, version.roster.version) {
                    (Some(_), number) => format!(", nor of version {}", number - 1),
                    (None, 1) => String::new(),
                    (None, number) => format!(
                        "; name version {} with --after to let its signers sign",
                        number - 1
                    ),
                }
            );
        }
        version.signed.sign(&key, Algorithm::EdDsa)?;
        version.write()?;
        shown(&version, before.as_ref(), self.json)
    }
}

/// Put the signatures of copies of one version together
///
/// They go into the first file.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  tallystick federation merge valley-2.roster from-hill/valley-2.roster from-lake/valley-2.roster"
)]
pub struct Merge {
    /// The version
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Copies of it that others have signed
    #[arg(value_name = "COPY", required = true)]
    copies: Vec<PathBuf>,
    /// The version before it [default: the file beside it that it names]
    #[arg(long, value_name = "FILE")]
    after: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

impl Merge {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let mut version = Version::read(&self.file)?;
        let before = version.before(self.after.as_deref())?;
        for path in &self.copies {
            let copy = Version::read(path)?;
            if copy.signed.hash() != version.signed.hash() {
                bail!(
                    "{} and {} are different versions, {} and {}: only signatures of the same one are put together",
                    self.file.display(),
                    path.display(),
                    version.signed.hash(),
                    copy.signed.hash()
                );
            }
            version.signed.merge(&copy.signed)?;
        }
        version.write()?;
        shown(&version, before.as_ref(), self.json)
    }
}

fn shown(version: &Version, before: Option<&Roster>, json: bool) -> anyhow::Result<ExitCode> {
    let picture = Picture::of(&version.signed, &version.roster, before);
    output::result(json, &picture.to_json(), |_| picture.who_has_signed());
    Ok(ExitCode::SUCCESS)
}
