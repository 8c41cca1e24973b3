//! `tallystick federation publish`: a version, or more signatures, to a node.

use std::path::PathBuf;
use std::process::ExitCode;

use data_encoding::HEXLOWER;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::files::Version;
use crate::cli::node_args::NodeArgs;
use crate::cli::output;

/// Publish versions at a node, which follows them from then on
///
/// Give those that the node lacks, in their order; a version that it follows already
/// changes nothing, so all may be given, to each member's node.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  tallystick federation publish valley-1.roster valley-2.roster --node https://tally.coop.example"
)]
pub struct Args {
    /// The versions
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    node: NodeArgs,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let versions = self.files.iter().map(|path| Version::read(path));
        let versions: Vec<_> = versions.collect::<Result<_, _>>()?;
        let followed = self.node.with(|client| {
            let mut followed = Vec::new();
            for version in &versions {
                let bytes = version.signed.encode();
                // Named by what it brings: however often it is sent, it is one call.
                let key = format!("roster-{}", HEXLOWER.encode(&Sha256::digest(&bytes)));
                let answer = client
                    .post_cbor("/v1/federation/rosters", &key, &bytes)
                    .map_err(|error| error.context(format!("{} is not followed", version.path.display())))?;
                followed.push(json!({
                    "file": version.path,
                    "version": answer["version"],
                    "hash": answer["hash"],
                }));
            }
            Ok(followed)
        })?;
        output::result(self.json, &json!({ "followed": followed }), |_| {
            let lines = followed.iter().map(|one| {
                format!(
                    "version {}  {}\n",
                    output::text(one, "version"),
                    output::text(one, "hash")
                )
            });
            lines.collect()
        });
        Ok(ExitCode::SUCCESS)
    }
}
