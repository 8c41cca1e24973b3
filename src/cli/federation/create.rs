//! `tallystick federation create`: version 1.

use std::path::PathBuf;
use std::process::ExitCode;

use super::draft;
use super::files;
use crate::cli::input::When;
use crate::federation::roster::draft::Founding;
use crate::federation::roster::{Draft, Signer};
use crate::primitives::{Clock as _, Entropy, FederationId, OsEntropy, SystemClock};

/// Draw up version 1 of a new federation: its name, and who signs
///
/// With one signer it is run by a convening body, with a signer to each co-op one
/// co-op has one vote. It lists no members yet: these describe themselves for this
/// federation (`tallystick federation member`) and join with version 2.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  tallystick federation create 'Valley Co-ops' --out valley-1.roster \\\n    \
                  --signer 'Corner Co-op=did:key:z6Mk…' --signer 'Hill Co-op=did:key:z6Mk…' --signer …"
)]
pub struct Args {
    /// The federation's name
    #[arg(value_name = "NAME")]
    name: String,
    /// Who signs, and with which key; once for each
    #[arg(long, value_name = "NAME=DID", required = true, value_parser = files::signer)]
    signer: Vec<Signer>,
    /// How many of them have to sign, more than half and at most all [default: the least that is more than half]
    #[arg(long, value_name = "NUMBER")]
    threshold: Option<u64>,
    /// When it expires, at most five years from now
    #[arg(long, value_name = "TIME", default_value = "+365d", value_parser = When::parse)]
    expires: When,
    /// The file to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let entropy: &dyn Entropy = &OsEntropy;
        let majority = self.signer.len() as u64 / 2 + 1;
        let draft = Draft::founding(Founding {
            federation: FederationId(entropy.bytes()),
            name: self.name,
            issued: SystemClock.now(),
            expires: self.expires.seconds(),
            threshold: self.threshold.unwrap_or(majority),
            signers: self.signer,
        });
        draft::write(draft.finish()?, None, self.out, self.json)
    }
}
